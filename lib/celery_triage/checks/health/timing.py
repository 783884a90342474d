"""Health checks that run out of time."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.health.probes import (
    Probe,
    health_of,
    ping_of,
    probes,
    proof_of,
    status_command,
)
from celery_triage.checks.registry import Look, check
from celery_triage.checks.servers import asked_servers
from celery_triage.checks.values import split, value_in
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import recreate
from celery_triage.stack import Service

#: A share of the periods in which a CPU limit held the container back, from which the limit is called tight
#: (cgroup's own counters). A worker of the lab with half a processor and a ping every 30 s showed 0.02, also
#: on a machine with 20 processes waiting for each processor, where every ping ran out of its 10 s.
TIGHT = 0.25
#: Where nobody read the counters: a limit this small stretches the 1 to 2 s of a ping beyond any usual
#: time-out.
SMALL_CPUS = 0.25
#: One ``inspect ping`` took 1.1 to 2 s with nothing else on the machine (Celery 5.7).
SHORT_S = 2.0


@check(
    "HLT003",
    "health-check-too-slow",
    severity="warning",
    needs=("containers",),
    uses=("compose", "usage/*", "redis", "rabbitmq", "files/*", "logs/*"),
)
def too_slow(look: Look) -> Iterator[Finding]:
    """A health check takes longer than its time-out, every time.

    ## What
    As many probes in a row as `retries` says were given up by Docker at the time-out, in the present life of
    the container. What each one took is read from `State.Health.Log`.

    ## Why
    Docker says unhealthy of a service that may work. `celery inspect ping` starts a Python interpreter and
    imports the application: 1 to 2 s of processor time, which a CPU limit of 0.1 stretches to 10 s and more;
    and it takes them from the worker itself.

    ## Looks like
    `Health check exceeded timeout (5s)` with exit code -1.

    ## Confirm
    `docker inspect -f '{{json .State.Health.Log}}' CONTAINER`: start and end of the last five;
    `docker stats --no-stream CONTAINER` beside the CPU limit.

    ## Do
    Allow more processor time, or more time for the check.

    ## False alarms
    One probe that took too long is not reported, and where neither the CPU limit nor a very short time-out is
    the reason, the machine itself has too much to do: then it is only worth knowing. A ping also waits when
    its broker is gone: then the broker's own rule speaks, and this one does not.
    """
    for service in look.members:
        check_, health = service.item.get("healthcheck") or {}, health_of(service)
        if not check_ or not health or service.latest.get("status") == "paused":
            continue
        retries = check_.get("retries") or 1
        last = probes(service)[-min(retries, 5):]
        lasting = (health.get("failing_streak") or 0) >= retries and len(last) >= min(retries, 5)
        if not lasting or not all(probe.timed_out for probe in last):
            continue
        broker = _broker(look, service) if ping_of(service) else "ok"
        if broker in ("ok", ""):
            yield _slow(look, service, last, certain=broker == "ok")


def _broker(look: Look, service: Service) -> str:
    """The status of the broker of a service, empty where nobody asked it."""
    url = service.url("broker")
    for server in asked_servers(look):
        if url is not None and server.get("key") == url.parsed.server:
            return str(server.get("status") or "")
    return ""


def _slow(look: Look, service: Service, last: list[Probe], certain: bool) -> Finding:
    check_ = service.item["healthcheck"]
    cpus = float((service.item.get("limits") or {}).get("cpus") or 0)
    share = throttled(look, service)
    proof = proof_of(service, 3)
    if share is not None:
        proof.append(Proof(f"usage/{service.label}", f"{service.label}: held back by its CPU limit in "
                           f"{share:.0%} of all periods"))
    often = f"the last {len(last)} times in a row" if len(last) > 1 else "the last time"
    tight = bool(cpus) and (cpus <= SMALL_CPUS if share is None else share > TIGHT)
    short = ping_of(service) is not None and (check_.get("timeout_s") or 0) <= SHORT_S
    why = f" (CPU limit {cpus:g})" if tight else ", and its CPU limit is not the reason" if cpus else ""
    return look.finding(
        f"The health check of {service.label} runs out of time: {often} it was given up after "
        f"{check_.get('timeout_s'):g} s{why}",
        severity="warning" if tight or short else "notice",
        services=(service.label,),
        object="timeout",
        certainty="confirmed" if certain else "inferred",
        proof=proof,
        remedy=_remedy(look, service, cpus if tight else 0.0),
        verify=(f"{status_command(service)}  # healthy",),
    )


def throttled(look: Look, service: Service) -> float | None:
    """The share of scheduler periods in which the CPU limit held this container back, since its start."""
    found = (look.data(f"usage/{service.label}") or {}).get("throttled") or {}
    periods, held = found.get("periods"), found.get("throttled_periods")
    return None if not periods or held is None else held / periods


def _remedy(look: Look, service: Service, cpus: float) -> Remedy:
    options = []
    if cpus:
        more = max(0.5, 2 * cpus)
        edits, instead = split([value_in(look, service, "deploy", "cpus", f"{more:g}")])
        kept = "" if edits or instead else " (write it into the Compose file, too)"
        options.append(
            Option(
                "raise-cpu-limit",
                f"Allow {more:g} processors instead of {cpus:g}{kept}.",
                edits,
                (*instead, f"docker update --cpus {more:g} {service.name}"),
            )
        )
    timeout = float(service.item["healthcheck"].get("timeout_s") or 0)
    longer = max(10.0, 3 * timeout)
    change = value_in(look, service, "healthcheck", "timeout", f"{longer:g}s")
    edits, instead = split([change])
    kept = "" if change else " (no line of the Compose file could be told for it)"
    options.append(
        Option(
            "lengthen-timeout",
            f"Give the check {longer:g} s instead of {timeout:g} s{kept}.",
            edits,
            (*instead, *recreate(look.stack, [service])),
        )
    )
    return Remedy(
        "choice",
        f"Let the health check of {service.label} end in time.",
        options=tuple(options),
        question=f"Does the machine have processor time to spare for {service.label}?",
        risk=f"A longer time-out makes the container of {service.label} anew, and hides that the service "
        f"itself is short of processor time.",
    )
