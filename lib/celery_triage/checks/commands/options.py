"""Options that the Celery in the image does not have, or not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from celery_triage.checks.commands.quoting import after_operator, broken
from celery_triage.checks.commands.shared import (
    DEATHS,
    REFUSED,
    already_written,
    celery_version,
    not_placed,
    option_changes,
    standing_in,
    surely,
)
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed, verb
from celery_triage.commandline import Problem, parse, versions
from celery_triage.commandline.four import FAILURE
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import Changes, alive, changes, recreate
from celery_triage.stack import Service

_NAMES = {
    "unknown_option": "unknown-option",
    "misplaced_option": "misplaced-option",
    "missing_value": "bad-option-value",
    "bad_value": "bad-option-value",
    "unexpected_argument": "unexpected-argument",
}

#: Options of Celery itself that take a value (``celery --help``, 5.0 to 5.7).
_WITH_VALUE = ("-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir")


@check(
    "CMD001",
    "unknown-option",
    severity="critical",
    needs=("containers", "files/*"),
    uses=("logs/*", "events", "compose"),
    step="options",
    predicts=(Prediction((*DEATHS, "LOG001"), exits=(REFUSED, FAILURE)),),
    also=("misplaced-option", "bad-option-value", "unexpected-argument"),
)
def unknown_option(look: Look) -> Iterator[Finding]:
    """A service is started with an option that the Celery in its image does not have.

    ## What
    The launch command is parsed with the option table of the Celery version that is in the image. An option
    that this version does not know, one on the wrong side of the sub-command (`celery worker -A app`, the
    order of Celery 4), a value that is missing or not allowed, and words that belong nowhere are found.

    ## Why
    Celery ends with exit code 2 (Celery 4 with 1 for an unknown log level) before it looks at broker, driver
    or database, so it hides whatever is wrong with those. With a restart policy the container restarts for
    ever.

    ## Looks like
    `Error: No such option: --queue (Possible options: --exclude-queues, --queues)` (click up to 8.1) or
    `Error: No such option '--queue'. (Did you mean one of: '--exclude-queues', '--queues'?)` (click 8.5), and
    `Restarting (2)` in `docker ps`.

    ## Confirm
    Run the image's own parser: `docker run --rm --entrypoint celery IMAGE -A APP worker --help`, and look
    whether the option is listed.

    ## Do
    Correct the option in the Compose file and make the container anew. `--queues=a,b`, `--queues a,b` and `-Q
    a,b` are all valid.

    ## False alarms
    An application may add its own options to `celery worker` (`app.user_options`). A worker that got past its
    command line with this very option is taken as proof of that, and nothing is reported.
    """
    groups: dict[tuple[str, str, str], list[tuple[Service, Problem]]] = {}
    for service in look.members:
        launch = service.launch
        if launch is None or look.course(service).past("options"):
            continue
        problems = [
            problem
            for problem in launch.problems
            if problem.kind in _NAMES and not after_operator(service.unwrapped, problem)
        ]
        if not celery_version(service):
            problems = [problem for problem in problems if _wrong_for_all(look, service, problem)]
            look.needs_file(service, "the version of Celery in the image is not known")
        for problem in problems:
            key = (_NAMES[problem.kind], problem.option or problem.token, ",".join(problem.candidates))
            groups.setdefault(key, []).append((service, problem))
    for (name, option, _), found in groups.items():
        yield _refused_option(look, name, option, found)
    told = {service.label for found in groups.values() for service, _ in found}
    yield from reported(look, told | {service.label for service in look.members if broken(service)})
    yield from healed(look)


def _wrong_for_all(look: Look, service: Service, problem: Problem) -> bool:
    """Whether every known version refuses the same word. Celery 4 takes long options that are written in part
    (``--queue``); that counts only as long as the process has not been seen to refuse this very option."""
    launches = [parse(service.argv, version) for version in versions()]
    takes = [
        launch for launch in launches if all(other.index != problem.index for other in launch.problems)
    ]
    return all(problem.option in launch.abbreviated for launch in takes) and (
        not takes or look.seen(service).effect(problem.option, (REFUSED,))
    )


def _refused_option(look: Look, name: str, option: str, found: Sequence[tuple[Service, Problem]]) -> Finding:
    services = [service for service, _ in found]
    problem = found[0][1]
    version = celery_version(services[0])
    celery = f"Celery {version}" if version else "Celery"
    names = listed([service.label for service in services])
    what = {
        "unknown-option": f"{celery} knows no option {option}",
        "misplaced-option": f"the option {option} stands on the wrong side of the sub-command",
        "bad-option-value": f"the value of {option} is missing or not allowed",
        "unexpected-argument": f"nothing knows what {option} means on the command line",
    }[name]
    title = f"{names} {verb(services, 'cannot', 'cannot')} start: {what}"
    proof, seen = [], []
    for service, own in found:
        proof.append(Proof("containers", f"{service.label}: {_around(service, own)}"))
        proof += look.seen(service).proof(option)
        seen.append(look.seen(service).effect(option, (service.launch.exit_code or REFUSED,)))
    proof.append(Proof("files/" + services[0].label, services[0].launch.how))
    return look.finding(
        title,
        name=name,
        services=tuple(service.label for service in services),
        object=option,
        certainty="confirmed" if all(seen) else "inferred",
        proof=proof,
        remedy=_option_remedy(look, name, option, found),
        verify=alive(services),
        detail=problem.message,
    )


def _around(service: Service, problem: Problem) -> str:
    """The part of the command in which the refused word stands."""
    words, index = service.argv, problem.index
    if index is None or len(words) <= 12:
        return " ".join(words)
    return " ".join(("…", *words[max(0, index - 4) : index + 3], "…"))


def _option_remedy(look: Look, name: str, option: str, found: Sequence[tuple[Service, Problem]]) -> Remedy:
    services = [service for service, _ in found]
    commands = recreate(look.stack, services)
    candidates = found[0][1].candidates
    risk = (
        f"Makes the {verb(services, 'container', 'containers')} of "
        f"{listed([service.label for service in services])} anew, "
        f"which {verb(services, 'does', 'do')} not stay up anyway."
    )
    if name == "unknown-option" and candidates:
        ways = []
        for candidate in candidates[:3]:
            changed = option_changes(look, found, option, candidate)
            ways.append(
                Option(
                    candidate.lstrip("-"),
                    f"Write {candidate} instead of {option}.",
                    changed.edits + changed.texts,
                    changed.commands + commands,
                )
            )
        sure = surely(option, candidates)
        changed = option_changes(look, found, option, candidates[0])
        if sure and changed.complete:
            return Remedy(
                "exact",
                f"Write {candidates[0]} instead of {option}.",
                changed.edits,
                changed.commands + commands,
                risk=risk,
            )
        if sure and already_written(look, found, option, candidates[0]):
            return Remedy(
                "exact",
                f"Make the containers anew: the Compose file already says {candidates[0]}.",
                commands=commands,
                risk=risk,
            )
        if sure:
            return Remedy(
                "manual",
                f"Write {candidates[0]} instead of {option} {not_placed(changed)}, then make the "
                f"containers anew.",
                changed.edits + changed.texts,
                commands,
                risk=risk,
            )
        return Remedy(
            "choice",
            f"Write the option that was meant instead of {option}.",
            question=f"Which option was meant by {option}?",
            options=tuple(ways),
            risk=risk,
        )
    order = f"celery {option} … {found[0][0].launch.subcommand or 'worker'} …"
    if name == "misplaced-option":
        changed = _moved(look, found)
        if changed.complete and (changed.edits or changed.commands):
            return Remedy(
                "exact",
                f"Write {option} before the sub-command ({order}).",
                changed.edits,
                changed.commands + commands,
                risk=risk,
            )
    hint = {
        "misplaced-option": f"Move {option} to the other side of the sub-command ({order}).",
        "bad-option-value": f"Give {option} a value that Celery takes: {found[0][1].message}",
        "unexpected-argument": f"Take {option} out of the command, or write the option that it belongs to.",
    }
    return Remedy(
        "manual",
        hint.get(name, f"Take {option} out of the command, or write the option that was meant."),
        commands=commands,
        risk=risk,
    )


def _moved(look: Look, found: Sequence[tuple[Service, Problem]]) -> Changes:
    """The change that puts an option of Celery itself, which stands behind the sub-command with its value, in
    front of it; nothing where it stands elsewhere or its value cannot be told."""
    places = []
    for service, problem in found:
        words, sub = service.argv, service.launch.subcommand
        start = words.index(sub) if sub in words else -1
        misplaced = [one for one in service.launch.problems if one.kind == "misplaced_option"]
        behind = 0 <= start < (problem.index or 0)
        # Two of them in one command would be two edits of the same words.
        if not behind or len(misplaced) > 1 or problem.option not in _WITH_VALUE:
            return Changes()
        # `-A app` are two words, `--app=app` and `-Aapp` one.
        joined = problem.token != problem.option or "=" in words[problem.index]
        own = words[problem.index : problem.index + (1 if joined else 2)]
        if not joined and (len(own) < 2 or own[1].startswith("-")):
            return Changes()
        between = words[start : problem.index]
        old, new = " ".join([*between, *own]), " ".join([*own, *between])
        places.append((service, standing_in(service, sub), old, new))
    return changes(look.data("compose"), places)
