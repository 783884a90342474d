"""Services that end well, and should not end at all."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from celery_triage.checks.registry import Look, check
from celery_triage.checks.restarts.loops import DOWN, concerned, weight
from celery_triage.checks.words import lasted, shown, times
from celery_triage.lives import Life
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate
from celery_triage.stack import Service

#: Sub-commands of Celery that end by themselves (4.0 to 5.7).
_ENDING = (
    "amqp", "call", "control", "graph", "inspect", "list", "migrate", "purge", "report", "result", "status",
    "upgrade",
)  # fmt: skip
#: What lets a worker or beat go into the background (4.0 to 5.7).
_DETACH = ("--detach", "-D")
#: So many ends of its own with exit code 0 make a loop; fewer may be a job that was run twice.
ENOUGH = 2
#: A life that lasts longer than this (seconds) and than all that ended well is none of them.
AT_ONCE = 10.0


@check(
    "CTR004",
    "exits-with-zero",
    severity="critical",
    needs=("containers",),
    uses=("events", "logs/*", "compose", "files/*"),
    step="subcommand",
    predicts=DOWN,
)
def exits_with_zero(look: Look) -> Iterator[Finding]:
    """A container ends with exit code 0, is started again, and so on for ever.

    ## What
    Its restart policy (`always`, `unless-stopped`) starts it again although its last lives ended by
    themselves, with exit code 0; it waits for its next start now, or its present life is no older than those.

    ## Why
    Nothing failed, so nothing looks wrong: no error, only `Restarting (0)`. What runs there is a program
    that does its work and ends (`celery --version`, `celery report`, a shell without a terminal, a
    migration), where one was meant that stays: a command that was lost in a merge, an entrypoint that
    starts the worker in the background and ends, `--detach`.

    ## Looks like
    `Restarting (0) 4 seconds ago` in `docker ps`; the same few lines again and again in its log.

    ## Confirm
    `docker inspect -f '{{.Path}} {{.Args}} {{.State.ExitCode}} {{.RestartCount}}' CONTAINER`, twice.

    ## Do
    Take `--detach` out where it is there. Else give the service the command that it was meant to run, in the
    foreground; give a job that shall end `restart: "no"` or `on-failure`.

    ## False alarms
    A service that somebody stops and starts ends with exit code 0, too: what was asked to end does not count.
    Where no Celery and no server is run, lives of more than ten seconds are taken for a job that is meant so.
    """
    for service in concerned(look):
        policy = (service.item.get("restart_policy") or {}).get("name")
        if policy not in ("always", "unless-stopped") or service.item.get("vanished"):
            continue
        course = look.course(service)
        by_design = ends_by_design(service)
        well = [life for life in course.lives if _well(life, by_design)]
        if _severity(service) != "critical" and any((life.seconds or 0.0) > AT_ONCE for life in well):
            continue  # a job that works for a while and is started again may be meant so
        if len(well) >= ENOUGH and not any(life.failed for life in course.lives[-ENOUGH:]):
            if _goes_on(service, course.lives[-1], well, by_design):
                yield _finding(look, service, well)


def _severity(service: Service) -> str:
    """A Celery program that ends was meant to be one that stays, whatever its sub-command says."""
    return "critical" if service.unwrapped.is_celery else weight(service)


def _well(life: Life, by_design: bool) -> bool:
    """Whether a life ended well by itself; where the engine forgot its exit code, the command tells."""
    good = life.exit_code == 0 or (life.exit_code is None and life.end is not None and by_design)
    return not life.running and good and not life.asked


def ends_by_design(service: Service) -> bool:
    """Whether it runs a Celery command that tells something or does one thing, and then ends."""
    if not service.unwrapped.is_celery:
        return False
    told = {"--version", "--help", "-h"} & set(service.argv)
    return bool(told) or (service.launch is not None and service.launch.subcommand in _ENDING)


def _goes_on(service: Service, now: Life, well: list[Life], by_design: bool) -> bool:
    """Whether it waits for its next start, or its present life is still as young as those that ended. One
    that ends by design is about to."""
    status = service.latest.get("status")
    if by_design and status in ("running", "restarting"):
        return True
    if status == "restarting":
        return now is well[-1] or now.running
    longest = max([life.seconds or 0.0 for life in well] + [AT_ONCE])
    return status == "running" and now.running and (now.seconds or 0.0) <= longest


def _finding(look: Look, service: Service, well: list[Life]) -> Finding:
    count = max(service.latest.get("restart_count") or 0, len(well))
    seconds = sorted(life.seconds for life in well if life.seconds is not None)
    each = f", each life about {lasted(seconds[len(seconds) // 2])}" if seconds else ""
    words = [*(service.item.get("entrypoint") or ()), *(service.item.get("cmd") or ())]
    command = shown(shlex.join(words), 120)
    known = any(life.exit_code == 0 for life in well)
    code = "exit code 0 each time" if known else "with exit codes that the engine has forgotten"
    proof = [
        Proof(
            "containers",
            f"{service.label}: {service.latest.get('status')}, restart count "
            f"{service.latest.get('restart_count')}" + (", exit code 0" if known else ""),
            time=service.latest.get("t"),
        ),
        Proof("containers", f"{service.label}: {command}"),
    ]
    course = look.course(service)
    lines = course.lines(well[-1])
    if lines:
        number = (well[-1].first_line or 1) + len(lines) - 1
        proof.append(Proof(f"logs/{service.label}", lines[-1][2], number, lines[-1][0] or None))
    told = service.launch is not None and service.launch.options.get("detach")
    detach = next((word for word in service.argv if told and word in _DETACH), "")
    why = f": it detaches itself from its container's main process ({detach})" if detach else ""
    return look.finding(
        f"{service.label} restarts for ever because its command ends well{why}: {times(count)} so far{each}, "
        f"{code} ({command})",
        severity=_severity(service),
        services=(service.label,),
        object=detach or command,
        certainty="confirmed" if known else "inferred",
        proof=proof,
        remedy=_attached(look, service, detach) if detach else _another(service),
        verify=alive([service]),
    )


def _attached(look: Look, service: Service, word: str) -> Remedy:
    changed = changes(look.data("compose"), [(service, "command", f" {word}", "")], alone=True)
    again = recreate(look.stack, [service]) if changed.complete else ()
    return Remedy(
        "exact" if changed.complete else "manual",
        f"Take {word} out of the command of {service.label}: in a container the worker is the main process, "
        "and Docker does what an init script did. Then make its container anew.",
        (*changed.edits, *changed.texts),
        (*changed.commands, *again),
    )


def _another(service: Service) -> Remedy:
    return Remedy(
        "manual",
        f"Give {service.label} in the Compose file the command that it is meant to run, one that "
        'stays in the foreground; if it is a job that shall end, write `restart: "no"`. Then make its '
        "container anew.",
    )
