"""Commands that Celery refuses, by the option tables of the versions that are possible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher

from celery_triage.checks.commands.shared import surely
from celery_triage.checks.words import listed, shown, verb
from celery_triage.commandline import Launch, Problem
from celery_triage.commandline.refusals import GONE
from celery_triage.lint.pins import Pin
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject, spread
from celery_triage.model import Finding
from celery_triage.stack import Service

_NAMES = {
    "unknown_option": ("CMD001", "unknown-option"),
    "misplaced_option": ("CMD001", "misplaced-option"),
    "missing_value": ("CMD001", "bad-option-value"),
    "bad_value": ("CMD001", "bad-option-value"),
    "unexpected_argument": ("CMD001", "unexpected-argument"),
    "unknown_command": ("CMD002", "subcommand-not-available"),
    "no_command": ("CMD002", "no-subcommand"),
}


@static("CMD001", "unknown-option", "critical")
def refused(subject: Subject) -> Iterator[Finding]:
    """Options and sub-commands that the possible versions of Celery refuse."""
    groups: dict[tuple, list[tuple[Service, Problem]]] = {}
    for service in subject.services:
        if not service.unwrapped.is_celery:
            _unreadable(subject, service)
    for service in subject.celery:
        if service.unwrapped.argv and service.unwrapped.argv[0].rsplit("/", 1)[-1] in (
            "celeryd",
            "celerybeat",
        ):
            continue
        for problem, versions in _problems(subject.launches(service)):
            if problem.kind not in _NAMES:
                continue  # Flower's own, see there
            if subject.pin(service).open and all(version.startswith("4.") for version in versions):
                continue  # an option that is newer than Celery 4, where nothing says that Celery 4 is meant
            if "$" in problem.token or "`" in problem.token:
                why = "a part of its command stands in a variable"
                subject.note(service.label, why, "CMD001")
                continue
            sort = (subject.pin(service).how, _meant_for_four(subject, service))
            key = (problem.kind, problem.token, problem.option, versions, sort)
            groups.setdefault(key, []).append((service, problem))
    for (kind, *_, versions, _), pairs in groups.items():
        told = _told(subject, kind, versions, pairs)
        if told is not None:
            yield told


def _unreadable(subject: Subject, service: Service) -> None:
    """A service that may be Celery and whose command cannot be read is said to be unknown."""
    why = service.unwrapped.unreadable
    words = " ".join([service.label, *service.item["cmd"], *service.item["entrypoint"]]).lower()
    if why and why != "there is no command" and ("celery" in words or service.is_celery):
        subject.note(service.label, why, "CMD001", "CMD002")
    elif service.is_celery and not service.argv and subject.known[service.label].docker is None:
        subject.note(service.label, "its command is the image's own, which is not here", "CMD001", "CMD002")


def _problems(launches: Mapping[str, Launch]) -> list[tuple[Problem, tuple[str, ...]]]:
    """Each refused word once, with the versions that refuse it; the newest version's words for it."""
    versions: dict[tuple[str, int | None], list[str]] = {}
    said: dict[tuple[str, int | None], Problem] = {}
    for version, launch in launches.items():
        for problem in launch.problems:
            key = (problem.token, problem.index)
            if version not in versions.setdefault(key, []):
                versions[key].append(version)
            said[key] = problem
    return [(said[key], tuple(told)) for key, told in versions.items()]


def _told(
    subject: Subject, kind: str, versions: Sequence[str], pairs: Sequence[tuple[Service, Problem]]
) -> Finding | None:
    services = [service for service, _ in pairs]
    service, problem = pairs[0]
    if kind == "misplaced_option" and not _is_meant(problem):
        kind = "unknown_option"
    pin = subject.pin(service)
    code, name = _NAMES[kind]
    names = listed([one.label for one in services])
    severity = _severity(subject, kind, pin, versions, pairs)
    wrong = _wrong_for(pin, versions)
    nodes = [subject.command_node(one, told.token) for one, told in pairs]
    if kind == "no_command":
        title = f"{names} {verb(services, 'ends', 'end')} at once: the command names no sub-command ({wrong})"
    elif kind == "unknown_command":
        title = f"{names}: Celery has no command {problem.token} ({wrong})"
    elif kind == "bad_value" or kind == "missing_value":
        title = f"{names}: {_sentence(problem)} ({wrong})"
    elif kind == "unexpected_argument":
        title = f"{names}: Celery takes no word {shown(problem.token, 40)} there ({wrong})"
    elif kind == "misplaced_option":
        title = f"{names}: {problem.option} stands on the wrong side of the sub-command ({wrong})"
    elif severity == "notice":
        title = (
            f"{names}: {problem.option or problem.token} is no option of Celery itself ({wrong}); whether "
            f"the application adds it is not known"
        )
    else:
        title = f"{names}: Celery has no option {problem.option or problem.token} ({wrong})"
    return found(
        subject,
        code,
        name,
        severity,
        title,
        nodes,
        services=services,
        thing=problem.option or problem.token,
        fix=_fix(kind, problem),
        detail=f"Known by {pin.how}." if pin.how else "",
    )


def _severity(
    subject: Subject, kind: str, pin: Pin, versions: Sequence[str], pairs: Sequence[tuple[Service, Problem]]
) -> str:
    """Critical only where every version that is possible refuses it, and nothing else can make it legal."""
    service, problem = pairs[0]
    if kind == "no_command":
        return "notice"  # it prints its help and ends with 0: it may be meant so
    takes = [version for version in pin.minors if version not in versions]
    if not all(_shortened(subject, service, problem, version) for version in takes):
        return "warning"
    if kind == "unknown_command":
        meant = problem.candidates[:1]
        typo = meant and SequenceMatcher(None, problem.token, meant[0]).ratio() >= 0.75
        return "critical" if typo else "warning"
    if kind == "unknown_option" and problem.option not in GONE and not _is_meant(problem):
        return "notice"  # it may be one that the application adds
    if _hidden_entrypoint(subject, service) and service.unwrapped.assumed:
        return "warning"
    return "critical"


def _is_meant(problem: Problem) -> bool:
    """Whether an unknown option is so like one of Celery's own that it was meant, as a typo or as its
    beginning; others may well be the application's own."""
    word = problem.option.strip("-").lower()
    for candidate in problem.candidates[:1]:
        name = candidate.strip("-").lower()
        begins = len(word) >= 3 and name.startswith(word)
        return begins or SequenceMatcher(None, word, name).ratio() >= 0.75 or len(word) == 1
    return False


def _shortened(subject: Subject, service: Service, problem: Problem, version: str) -> bool:
    """Whether a version takes a refused option only because Celery 4 lets names be shortened, and nothing
    says that this image has Celery 4: nobody writes ``--queue`` for the sake of that."""
    launch = subject.launches(service).get(version)
    if launch is None or not subject.pin(service).open or _meant_for_four(subject, service):
        return False
    return problem.option in launch.abbreviated


def _meant_for_four(subject: Subject, service: Service) -> bool:
    """Whether a command that Celery 4 takes as a whole has words that only Celery 4 takes, under their whole
    names (``celery worker -A app``, ``-l warn``)."""
    launches = subject.launches(service)
    newest = next(reversed(launches.values()), None)
    return newest is not None and any(
        version.startswith("4.")
        and not launch.problems
        and any(problem.option not in launch.abbreviated for problem in newest.problems)
        for version, launch in launches.items()
    )


def _hidden_entrypoint(subject: Subject, service: Service) -> bool:
    """Whether an entrypoint that cannot be read may change the words of the command."""
    return bool(service.item["entrypoint"]) and not service.unwrapped.is_celery


def _wrong_for(pin: Pin, versions: Sequence[str]) -> str:
    judged = pin.minors
    told = f"Celery {spread(versions)}"
    if set(versions) == set(judged):
        return f"wrong for {told}, the version here" if len(judged) == 1 and pin.how else f"wrong for {told}"
    right = [version for version in judged if version not in versions]
    return f"wrong for {told}, right for {spread(right)}"


def _sentence(problem: Problem) -> str:
    text = problem.message.strip()
    return shown(text[:-1] if text.endswith(".") else text, 140)


def _fix(kind: str, problem: Problem) -> str:
    if kind == "misplaced_option":
        return (
            f"Write {problem.option} on the other side of the sub-command: celery -A app worker …, options "
            f"of the worker behind it."
        )
    named = kind == "unknown_command" or (kind == "unknown_option" and _is_meant(problem))
    if problem.candidates and named:
        first = problem.candidates[0]
        old = problem.option or problem.token
        if surely(old, problem.candidates):
            return f"Write {first} instead of {old}."
        return f"Write the one that was meant instead of {old}: {listed(problem.candidates[:3])}."
    if kind == "bad_value" and problem.candidates:
        return f"One of: {', '.join(problem.candidates[:12])}."
    if kind == "unknown_option" and problem.option in GONE:
        return f"Take {problem.option} out, it is gone since Celery 4.0: {GONE[problem.option]}."
    if kind == "unknown_option":
        return (
            f"Take {problem.option or problem.token} out, unless the application adds it (app.user_options)."
        )
    if kind == "no_command":
        return "Name what is to run: celery -A app worker (or beat, flower)."
    if kind == "unexpected_argument":
        return f"Take {shown(problem.token, 40)} out, or write the option that it belongs to."
    return ""


@static("CMP004", "app-not-named")
def app_not_named(subject: Subject) -> Iterator[Finding]:
    """A worker or beat is started without `-A`.

    ## What
    The command names no application, and the environment in the Compose file has no `CELERY_APP` (Celery 5
    reads it).

    ## Why
    Celery then makes an application of its own, with a broker at `amqp://guest@localhost` and without any
    task, unless a `celeryconfig.py` lies in the working directory.

    ## Looks like
    `consumer: Cannot connect to amqp://guest:**@127.0.0.1:5672//` in the log of a worker whose broker is
    Redis.

    ## Confirm
    `docker compose run --rm SERVICE celery report` shows the settings that are in use.

    ## Do
    Write `celery -A MODULE worker`, with the module that holds the application.

    ## False alarms
    A `celeryconfig.py` in the image may name broker and tasks. Where an env file could not be read, or the
    command names a broker or a configuration, nothing is reported.
    """
    for service in subject.celery:
        launches = list(subject.launches(service).values())
        if not launches or launches[-1].subcommand not in ("worker", "beat"):
            continue
        launch = launches[-1]
        given = launch.app or launch.global_options.get("broker") or launch.global_options.get("config")
        if given or any("$" in word for word in service.argv) or launch.problems:
            continue
        if any(name in service.env for name in ("CELERY_APP", "APP", "CELERY_CONFIG_MODULE")):
            continue
        if subject.known[service.label].env_missing:
            subject.note(service.label, subject.known[service.label].env_missing, "CMP004")
            continue
        yield found(
            subject,
            "CMP004",
            "app-not-named",
            "warning",
            f"{service.label}: the command names no application (-A), so without a "
            f"celeryconfig.py it knows no "
            f"task and its broker is amqp://guest@localhost",
            [subject.command_node(service, "celery")],
            services=[service],
            thing="-A",
            fix="Write celery -A MODULE before the sub-command.",
        )


@static("CMD002", "flower-not-installed")
def flower_not_installed(subject: Subject) -> Iterator[Finding]:
    """``celery flower`` where the requirements beside the Dockerfile do not name Flower."""
    pairs = []
    for service in subject.celery:
        launches = list(subject.launches(service).values())
        if not launches or launches[-1].subcommand != "flower" or service.argv[0].endswith("flower"):
            continue
        if service.item["image"].partition(":")[0].endswith("/flower"):
            continue  # mher/flower and its copies
        pin = subject.pin(service)
        if pin.packages is None or "celery" not in pin.packages:
            subject.note(service.label, "whether Flower is in its image is not written here", "CMD002")
        elif "flower" not in pin.packages:
            pairs.append(service)
    if pairs:
        names = listed([service.label for service in pairs])
        sure = all(subject.pin(service).complete for service in pairs)
        yield found(
            subject,
            "CMD002",
            "flower-not-installed",
            "warning" if sure else "notice",
            f"{names}: celery flower needs the package flower, and the requirements beside the "
            f"Dockerfile do not "
            f"name it",
            [subject.command_node(service, "flower") for service in pairs],
            services=pairs,
            thing="flower",
            fix="Add flower to the requirements and build the image anew.",
        )
