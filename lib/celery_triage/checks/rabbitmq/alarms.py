"""Alarms: RabbitMQ that takes no messages any more, because memory or disk run short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.rabbitmq.shared import asked, ctl
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive
from celery_triage.stack import Service

#: What follows where nobody can send: silent beats, checks that get no answer, workers that get no question.
_FOLLOWS = ("BEA003", "BRK003", "BRK005", "WRK004", "HLT001", "HLT002", "HLT003", "MON002",
            "RMQ057")
_MEGA = 1_000_000


@check(
    "BRK007",
    "broker-alarm",
    severity="critical",
    heals=False,
    needs=("containers", "rabbitmq"),
    uses=("logs/*", "events"),
    step="consuming",
    predicts=(Prediction(_FOLLOWS, on="anyone"),),
)
def broker_alarm(look: Look) -> Iterator[Finding]:
    """RabbitMQ has an alarm, memory or disk, and takes no message from anybody.

    ## What
    The management API says it of each node: the memory in use is above the mark (`vm_memory_high_watermark`,
    0.4 of the memory unless set, 0.6 from RabbitMQ 4.0 on), or the free disk is below its limit
    (`disk_free_limit`). Where the API is not to be had, RabbitMQ's own log says it.

    ## Why
    RabbitMQ stops reading from every connection that sends. Consumers go on, so workers look healthy and
    idle: beat sends nothing, calls of `delay()` hang, results over RPC do not come, health checks with
    `inspect ping` fail.

    ## Looks like
    Nothing in Celery's logs. In RabbitMQ's: `memory resource limit alarm set on node`, `Free disk space is
    insufficient`.

    ## Confirm
    `docker exec RABBITMQ rabbitmq-diagnostics check_local_alarms`, `docker exec RABBITMQ rabbitmqctl
    list_connections user state` (blocked, blocking).

    ## Do
    Memory: drain or delete what waits, raise the mark or the container's memory. Disk: make room on the disk
    of its volume, or set the limit to what is wanted. The alarm goes by itself, and senders go on.

    ## False alarms
    An alarm that comes and goes under load: it is reported only while it is set.
    """
    for server, owner, services in asked(look):
        hosts = server.get("hosts") or ()
        for kind, alarm in (("memory", "mem_alarm"), ("disk", "disk_free_alarm")):
            struck = [host for host in hosts if host.get(alarm)]
            if struck:
                yield _finding(look, server, owner, services, kind, struck)
        if not hosts:
            kind = _by_the_log(look, owner)
            if kind:
                yield _finding(look, server, owner, services, kind, [])
            else:
                why = (server.get("management") or {}).get("why") or server.get("why")
                look.note("rabbitmq", f"{server['key']}: whether it has an alarm is not known ({why})")


def _by_the_log(look: Look, owner: Service | None) -> str:
    """The alarm of which RabbitMQ's log speaks last, as far as it is not said to be over."""
    if owner is None:
        return ""
    for line in reversed((look.data(f"logs/{owner.label}") or {}).get("lines") or ()):
        for kind in ("memory", "disk"):
            if f"{kind} resource limit alarm cleared" in line[2]:
                return ""
            if f"{kind} resource limit alarm set" in line[2]:
                return kind
    return ""


def _finding(
    look: Look, server: Mapping[str, Any], owner: Service | None, services: list[Service], kind: str,
    hosts: list[Mapping[str, Any]],
) -> Finding:
    where = server.get("container") or server["key"]
    names = [one.label for one in services]
    proof = [Proof("rabbitmq", f"{server['key']}: {host.get('name')}: {_measure(kind, host)}")
             for host in hosts]
    blocked = sorted({str(one.get("label") or one.get("address")) for one in server.get("connections") or ()
                      if one.get("state") in ("blocked", "blocking")})
    if blocked:
        proof.append(Proof("rabbitmq", f"{server['key']}: connections that it blocks: {listed(blocked, 8)}"))
    if owner is not None:
        lines = (look.data(f"logs/{owner.label}") or {}).get("lines") or ()
        said = next(((place, line) for place, line in reversed(list(enumerate(lines, 1)))
                     if f"{kind} resource limit alarm set" in line[2]), None)
        if said:
            proof.append(Proof(f"logs/{owner.label}", said[1][2], said[0], said[1][0] or None))
    much = f" ({_measure(kind, hosts[0])})" if hosts else ""
    return look.finding(
        f"{where} has a {kind} alarm{much}: it takes no message from {listed(names)} or anybody else",
        services=tuple(names),
        object=kind,
        certainty=("confirmed" if blocked else "inferred") if hosts else "reported",
        proof=proof,
        remedy=_remedy(kind, where, owner),
        verify=_verify(owner) + alive(services),
    )


def _measure(kind: str, host: Mapping[str, Any]) -> str:
    first, second = ("mem_used", "mem_limit") if kind == "memory" else ("disk_free", "disk_free_limit")
    if host.get(first) is None or host.get(second) is None:
        return f"its {kind} alarm is set"
    has, mark = (f"{host[name] / _MEGA:.0f} MB" for name in (first, second))
    return f"{has} of memory in use, its mark is {mark}" if kind == "memory" else (
        f"{has} of disk free, its limit is {mark}")


def _remedy(kind: str, where: str, owner: Service | None) -> Remedy:
    if kind == "memory":
        command = ctl(owner, "set_vm_memory_high_watermark", "0.4") if owner else ""
        now = f" (`{command}` until its next start)" if owner else ""
        return Remedy(
            "manual",
            f"Drain or delete what waits in the queues of {where}, or raise its mark{now} and "
            "vm_memory_high_watermark in its configuration, within the memory of its container.",
            risk="A mark near the container's limit lets the kernel kill RabbitMQ instead.")
    command = ctl(owner, "set_disk_free_limit", "50MB") if owner else ""
    now = f" (`{command}` until its next start)" if owner else ""
    return Remedy(
        "manual",
        f"Make room on the disk on which {where} has its data (`docker system df`, `df -h`), or set the "
        f"limit to what is wanted{now}, disk_free_limit in its configuration.",
        risk="A disk that fills up ends RabbitMQ, and may damage its queues.")


def _verify(owner: Service | None) -> tuple[str, ...]:
    if owner is None:
        return ()
    return (f"docker exec {owner.name} rabbitmq-diagnostics -q check_local_alarms  # exit code 0",)
