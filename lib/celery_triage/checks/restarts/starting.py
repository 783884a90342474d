"""Services that were made and never started: a port that is taken, a dependency that does not get well."""

from __future__ import annotations

import re
from collections.abc import Iterator

from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.restarts.loops import concerned, weight
from celery_triage.checks.words import lasted, listed
from celery_triage.lives.unstarted import being_started, conditions, made_ago, not_yet
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate
from celery_triage.stack import Service

_ENDS = (Prediction(("CTR001", "CTR003", "LOG001", "LOG002", "MON002")),)
#: What the engine says of a start that failed for a port of the host: 20.10 to 29.
_TAKEN = re.compile(
    r"Bind for \S{0,60}?:(\d+) failed: port is already allocated"
    r"|listen tcp\d? \S{0,60}?:(\d+): bind: address already in use"
    r"|failed to bind (?:host )?port (?:for )?\S{0,60}?:(\d+)[:/]\S{0,60}?.{0,80}address already in use"
)


@check(
    "CTR005",
    "port-taken",
    severity="critical",
    needs=("containers",),
    uses=("compose",),
    step="container",
    predicts=_ENDS,
)
def port_taken(look: Look) -> Iterator[Finding]:
    """A container does not start, because a port of the host that it publishes is taken.

    ## What
    The engine's own error of the last start says that the port is already allocated (another container
    publishes it) or in use (a process of the host listens there).

    ## Why
    The container was made and has no process. A restart policy does not help: it begins only with a start
    that succeeded.

    ## Looks like
    `Created` in `docker ps -a`; `Bind for 0.0.0.0:5555 failed: port is already allocated` when Compose
    started it.

    ## Confirm
    `docker inspect -f '{{.State.Error}}' CONTAINER`; `docker ps --filter publish=PORT`; `ss -ltnp`.

    ## Do
    Publish another port of the host, or end who has it. Services on one Docker network need no published
    port at all.

    ## False alarms
    The error is that of the last start; where the port was freed since, only a start is missing.
    """
    for service in concerned(look):
        status, error = service.latest.get("status"), str(service.latest.get("error") or "")
        found = _TAKEN.search(error)
        if status not in ("created", "exited", "dead") or found is None or service.item.get("vanished"):
            continue
        yield _taken(look, service, next(filter(None, found.groups())), error)


def _taken(look: Look, service: Service, port: str, error: str) -> Finding:
    holders = [
        other
        for other in look.stack.services
        if other.label != service.label
        and other.running
        and any(
            str(one.get("host") or "").rpartition(":")[2] == port for one in other.item.get("ports") or ()
        )
    ]
    who = f": {listed([other.label for other in holders])} publishes it" if holders else ""
    proof = [
        Proof(
            "containers",
            f"{service.label}: {' '.join(error.split())[-200:]}",
            time=service.latest.get("finished_at"),
        )
    ]
    for other in holders:
        published = next(
            str(one["host"]) for one in other.item["ports"] if str(one.get("host") or "").endswith(f":{port}")
        )
        proof.append(Proof("containers", f"{other.label} ({other.name}) publishes {published}"))
    free = _free(look, port)
    changed = changes(look.data("compose"), [(service, "ports", port, free)], alone=True)
    again = recreate(look.stack, [service])
    told = "" if changed.complete else " (no single line of a Compose file here holds it)"
    another = Option(
        "another-port",
        f"Publish port {free} of the host instead of {port}{told}; choose any other that is free.",
        (*changed.edits, *changed.texts),
        (*changed.commands, *again) if changed.complete else (),
    )
    end = Option(
        "end-the-other",
        f"Stop who has port {port} (`docker ps --filter publish={port}`, `ss -ltnp`), then start "
        f"{service.label}.",
        commands=(f"docker start {service.name}",),
    )
    return look.finding(
        f"{service.label} was never started: port {port} of the host, which it publishes, is taken{who}",
        severity=weight(service),
        services=(service.label,),
        object=port,
        proof=proof,
        remedy=Remedy(
            "choice",
            f"{service.label} needs another port of the host, or this one for itself.",
            options=(another, end),
            question=f"Do people or scrapers ask for port {port} of {service.label}?",
        ),
        verify=alive([service]),
    )


def _free(look: Look, port: str) -> str:
    """The next port of the host that no container here publishes; whether a process has it is not known."""
    known = {
        str(one.get("host") or "").rpartition(":")[2]
        for other in look.stack.services
        for one in other.item.get("ports") or ()
    }
    number = int(port) + 1
    while str(number) in known:
        number += 1
    return str(number if number < 65536 else 20000)


@check(
    "CTR006",
    "waits-for-dependency",
    severity="critical",
    needs=("containers",),
    uses=("compose",),
    step="container",
    predicts=_ENDS,
)
def waits_for_dependency(look: Look) -> Iterator[Finding]:
    """A container was made and never started: it waits for another one that does not get well.

    ## What
    Its state is `created`, without an error of the engine, and `depends_on` lets it wait until another
    service is healthy (`service_healthy`) or has done its work (`service_completed_successfully`); that one
    is unhealthy, does not run, has no health check, or has ended with an error.

    ## Why
    Compose starts the service only then; it gives up when the other one is unhealthy, and nothing tries again
    later, no restart policy either.

    ## Looks like
    `Created` in `docker ps -a`; `dependency failed to start: container … is unhealthy` from Compose.

    ## Confirm
    `docker inspect -f '{{.State.Health.Status}}'` of the one that it waits for; `docker compose config`.

    ## Do
    Mend the other service or its health check; then start this one.

    ## False alarms
    A service that Compose is starting right now: one that was made less than ten seconds ago is not reported,
    nor one whose dependency is still starting: both are *settling*.
    """
    members, compose = look.stack.by_compose_name, look.data("compose")
    for service in look.members:
        if service.latest.get("status") != "created" or service.latest.get("error"):
            continue
        if being_started(service, members, compose):
            continue
        for name, condition in sorted(conditions(compose, service).items()):
            other = members.get(name)
            why = not_yet(other, condition) if other else ""
            if other and why:
                yield _waiting(look, service, other, condition, why)


def _waiting(look: Look, service: Service, other: Service, condition: str, why: str) -> Finding:
    ago = made_ago(service)
    since = f" for {lasted(ago)}" if ago is not None else ""
    proof = [
        Proof(
            "containers",
            f"{service.label}: created, depends on {other.label} ({condition})",
            time=service.item.get("created"),
        ),
        Proof(
            "containers",
            f"{other.label}: {other.latest.get('status')}, health "
            f"{(other.latest.get('health') or {}).get('status') or 'without a check'}, exit code "
            f"{other.latest.get('exit_code')}",
            time=other.latest.get("t"),
        ),
    ]
    return look.finding(
        f"{service.label} was never started{since}: it waits for {other.label}, which {why}",
        severity=weight(service),
        services=(service.label,),
        object=other.label,
        proof=proof,
        remedy=Remedy(
            "exact",
            f"Mend {other.label} or its health check first, then start {service.label}.",
            commands=(f"docker start {service.name}",),
            risk=f"Docker starts it whatever the state of {other.label} is: where that one really does not "
            "work, this one will not either.",
        ),
        verify=alive([service]),
    )
