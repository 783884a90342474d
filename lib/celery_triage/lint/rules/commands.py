"""Commands that Celery refuses, by the option tables of the versions that are possible."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher

from celery_triage.checks.commands.quoting import after_operator, broken, written
from celery_triage.checks.words import listed, shown, verb
from celery_triage.commandline import Launch, Problem
from celery_triage.commandline.refusals import GONE
from celery_triage.commandline.unwrapped import CELERY, base
from celery_triage.lint.pins import FOUR, Pin
from celery_triage.lint.rules.fixes import fix_of, having, is_meant
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
        if not subject.pin(service).minors:
            why = f"there is no table of the options of {subject.pin(service).how}"
            subject.note(service.label, why, "CMD001", "CMD002")
        if service.unwrapped.argv and service.unwrapped.argv[0].rsplit("/", 1)[-1] in (
            "celeryd",
            "celerybeat",
        ):
            continue
        told = _problems(subject.launches(service))
        told += [one for launches in subject.other_launches(service) for one in _problems(launches)]
        for problem, versions in told:
            if problem.kind not in _NAMES:
                continue  # Flower's own, see there
            if after_operator(service.unwrapped, problem) or (
                problem.kind == "no_command" and (broken(service) or subject.known[service.label].dropped)
            ):
                continue  # CMD010 tells it
            if subject.pin(service).open and all(version.startswith("4.") for version in versions):
                continue  # an option that is newer than Celery 4, where nothing says that Celery 4 is meant
            if "$" in problem.token or "`" in problem.token or _behind_variable(service, problem):
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


def _behind_variable(service: Service, problem: Problem) -> bool:
    """Whether a word that nothing takes stands behind a variable that may hold the option that takes it."""
    if problem.kind not in ("unexpected_argument", "unknown_command") or problem.index is None:
        return False
    return any(word.startswith(("$", "`")) for word in service.argv[: problem.index])


def _unreadable(subject: Subject, service: Service) -> None:
    """A service that may be Celery and whose command cannot be read is said to be unknown."""
    why = service.unwrapped.unreadable
    told = written(service)
    words = " ".join([service.label, *told]).lower()
    if base((service.argv or [""])[0].partition(" ")[0]).lower() in CELERY:
        return  # Celery, or a whole line as one word: CMD005 tells it
    if why and why != "there is no command" and ("celery" in words or service.is_celery or _named(told)):
        subject.note(service.label, why, "CMD001", "CMD002")
    elif not why and any(base(word.strip("'\"")) in CELERY for text in told for word in text.split()):
        why = f"what {shown(service.argv[0], 40)} does with the words behind it is not known"
        subject.note(service.label, why, "CMD001", "CMD002")
    elif subject.known[service.label].unsplit[0]:
        return  # CMP013 tells it
    elif service.is_celery and not service.argv and subject.known[service.label].docker is None:
        subject.note(service.label, "its command is the image's own, which is not here", "CMD001", "CMD002")


def _named(words: Sequence[str]) -> bool:
    """Whether a script or a command of the project is called as what Celery does (``./bin/worker``)."""
    return any(re.search(r"(?:^|[-_./])(?:worker|beat|flower)s?(?:\.\w+)?$", word) for word in words[:3])


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
    if kind == "misplaced_option" and not is_meant(problem):
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
    elif kind == "misplaced_option" and problem.candidates[:1] not in ((), (problem.option,)):
        title = f"{names}: Celery has no option {problem.option} ({wrong})"
    elif kind == "misplaced_option":
        title = f"{names}: {problem.option} stands on the wrong side of the sub-command ({wrong})"
    elif severity == "notice" and all(version in versions for version in pin.minors):
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
        fix=fix_of(kind, problem, _subcommand(subject, service)),
        detail=_detail(subject, service, problem, versions),
    )


def _subcommand(subject: Subject, service: Service) -> str:
    launch = next(reversed(subject.launches(service).values()), None)
    return (launch.subcommand if launch is not None else None) or "worker"


def _detail(subject: Subject, service: Service, problem: Problem, versions: Sequence[str]) -> str:
    pin = subject.pin(service)
    if service.unwrapped.assumed:
        return f"{service.unwrapped.assumed[0].upper()}{service.unwrapped.assumed[1:]}."
    if pin.how:
        return f"Known by {pin.how}."
    takes = [version for version in pin.minors if version not in versions and version != FOUR]
    if takes and all(_shortened(subject, service, problem, version) for version in takes):
        return (
            "Celery 4 takes it as a shortened name; nothing here says that this is Celery 4, and no Celery 5 "
            "starts with it."
        )
    return ""


def _severity(
    subject: Subject, kind: str, pin: Pin, versions: Sequence[str], pairs: Sequence[tuple[Service, Problem]]
) -> str:
    """Critical only where no Celery 5 could start, nothing says that Celery 4 is meant, and nothing else can
    make it legal."""
    service, problem = pairs[0]
    if kind == "no_command":  # it prints its help and ends with 0
        meant = all(one.item["restart_policy"]["name"] == "no" for one, _ in pairs)
        return "notice" if meant else "warning"
    takes = [version for version in pin.minors if version not in versions]
    if not all(_shortened(subject, service, problem, version) for version in takes):
        # Where nothing says the version, the newest is meant rather than an old one.
        return "notice" if pin.open and pin.minors[-1] in takes else "warning"
    if kind == "unknown_command":
        meant = problem.candidates[:1]
        typo = meant and SequenceMatcher(None, problem.token, meant[0]).ratio() >= 0.75
        # A package may bring a command of its own, of a name that Python allows.
        return "critical" if typo or not re.fullmatch(r"[A-Za-z][\w.-]*", problem.token) else "warning"
    own = problem.option in GONE or is_meant(problem) or having(problem, _subcommand(subject, service))
    if kind == "unknown_option" and not own:
        return "notice"  # it may be one that the application adds
    # What an entrypoint script makes of the words is not known.
    return "warning" if any(one.unwrapped.assumed for one, _ in pairs) else "critical"


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
        if launch.ends:
            continue  # help or version
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
