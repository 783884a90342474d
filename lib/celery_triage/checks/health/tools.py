"""Health checks whose program is not in the image."""

from __future__ import annotations

import re
from collections.abc import Iterator

from celery_triage.checks.health.probes import (
    Probe,
    disabled,
    health_of,
    own_node,
    probes,
    proof_of,
    status_command,
    tested,
)
from celery_triage.checks.registry import Look, check
from celery_triage.checks.values import split
from celery_triage.model import Finding, Option, Remedy
from celery_triage.remedies import Change, recreate
from celery_triage.stack import Service

_PROGRAM = r"(?P<name>[\w./+-]{1,100})"
#: What a shell (dash, bash, busybox, zsh) says of a program that is not there, and what the engine says of a
#: check without a shell.
_MISSING = (
    re.compile(r"(?:^|[\s/])(?:ba|da|a|z)?sh: (?:(?:line )?\d+: )?" + _PROGRAM + r": (?:command )?not found"),
    re.compile(
        r'exec: \\?"' + _PROGRAM + r'\\?": (?:executable file not found in \$PATH|stat [^:]{1,200}: '
        r"no such file or directory)"
    ),
)


@check(
    "HLT007",
    "health-check-tool-missing",
    severity="warning",
    needs=("containers",),
    uses=("compose", "files/*"),
)
def tool_missing(look: Look) -> Iterator[Finding]:
    """The health check calls a program that is not in the image.

    ## What
    Every probe of the present life that Docker kept failed, as many in a row as `retries` says, and the last
    one printed that a program which stands in the check is not there (`curl: not found`, `exec: "curl":
    executable file not found in $PATH`).

    ## Why
    The check fails every time, whatever the service does, and Docker calls a service unhealthy that works:
    what waits for `service_healthy` never starts, and a watchdog or an orchestrator restarts it for ever.
    Slim images have neither `curl` nor `wget`, an application's image no `pg_isready`.

    ## Looks like
    `(unhealthy)` in `docker ps`; exit code 127, or 1 where the check ends with `|| exit 1`.

    ## Confirm
    `docker inspect -f '{{json .State.Health.Log}}' CONTAINER`; `docker exec CONTAINER which PROGRAM`.

    ## Do
    Check with what is there (`celery inspect ping -d` of its own name for a worker, Python's `urllib` for a
    web page), or install the program in the image.

    ## False alarms
    A check that has passed once in the present life is not reported, nor one whose output names a program
    that the check itself does not name.
    """
    for service in look.members:
        check_, health = service.item.get("healthcheck") or {}, health_of(service)
        last = probes(service)
        if not check_ or not health or not last or any(probe.exit_code == 0 for probe in last):
            continue
        if (health.get("failing_streak") or 0) < min(check_.get("retries") or 1, 5):
            continue
        missing = _missing(last[-1], " ".join(check_.get("test") or ()))
        if missing:
            yield _finding(look, service, missing, last)


def _missing(probe: Probe, test: str) -> str:
    """The program that a probe did not find, where the check names it; empty for any other failure."""
    for pattern in _MISSING:
        found = pattern.search(probe.output)
        if found and re.search(rf"(?<![\w-]){re.escape(found['name'])}(?![\w-])", test):
            return found["name"]
    return ""


def _finding(look: Look, service: Service, missing: str, last: list[Probe]) -> Finding:
    code = last[-1].exit_code
    return look.finding(
        f"The health check of {service.label} can never pass: {missing} is not in its image",
        services=(service.label,),
        object=missing,
        proof=proof_of(service, 2),
        remedy=_remedy(look, service, missing, code),
        verify=(f"{status_command(service)}  # healthy, or no health check",),
    )


def _remedy(look: Look, service: Service, missing: str, code: int | None) -> Remedy:
    again = recreate(look.stack, [service])
    options = []
    node = own_node(service) if service.role == "worker" and service.app_module else ""
    if node:
        ping = f"celery -A {service.app_module} inspect ping -d {node.replace('$', '$$')} || exit 1"
        options.append(
            _option(
                "ask-the-worker",
                f"Let the check ping {service.label} itself.",
                tested(look, service, f'test: ["CMD-SHELL", "{ping}"]'),
                again,
            )
        )
    options.append(
        _option(
            "no-check",
            "Take the check away: Docker tells anyway whether the process lives.",
            disabled(look, service),
            again,
        )
    )
    options.append(
        Option(
            "install",
            f"Install {missing} in the image of {service.label} (in its Dockerfile), build it and make "
            "the container anew.",
        )
    )
    return Remedy(
        "choice",
        f"Let the health check of {service.label} use what its image has.",
        options=tuple(options),
        question=f"What shall the health of {service.label} mean?",
    )


def _option(name: str, summary: str, change: Change | None, again: tuple[str, ...]) -> Option:
    """One way, with its edit where the line of the check is known, else in words only."""
    edits, instead = split([change])
    if not change or (change.edit is not None and change.edit.line is None):
        return Option(name, f"{summary} (No single line of a Compose file here holds the check.)", edits)
    return Option(name, summary, edits, (*instead, *again))
