"""Tasks that the broker gives out again while they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.queues.shared import replies_of
from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.words import lasted, times
from celery_triage.lives import seconds_of
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive
from celery_triage.stack import Service

#: kombu's default (seconds; kombu 4.0 to 5.7, ``transport/redis.py``).
DEFAULT_S = 3600.0


@check(
    "BRK013",
    "task-redelivered",
    severity="warning",
    needs=("containers", "celery"),
    uses=("logs/*", "files/*"),
    step="consuming",
)
def task_redelivered(look: Look) -> Iterator[Finding]:
    """A task runs longer than the broker waits for its acknowledgement, so it is given out again.

    ## What
    By the workers' own answers: a task that is not acknowledged yet (`acks_late`) runs for longer than the
    `visibility_timeout` of the Redis transport, an hour unless it is set; or the same task runs twice at
    once.

    ## Why
    Redis knows no acknowledgement: kombu puts a message that is older than that back into its queue, whether
    its worker lives or not. The task then runs again and again beside itself; mail goes out twice, and the
    work of the queue multiplies.

    ## Looks like
    Long tasks that are executed several times, each `received` with the same id. No error anywhere.

    ## Confirm
    `celery -A APP inspect active` (the id twice, `acknowledged: False`), `celery -A APP inspect conf`
    (`broker_transport_options`).

    ## Do
    Set `broker_transport_options = {"visibility_timeout": …}` above the longest task, ETA and countdown, for
    all workers and for whoever sends; or acknowledge early (`acks_late=False`); or make the task shorter.

    ## False alarms
    A task that somebody sends twice under one id. Tasks that are acknowledged when they begin (the default)
    are never given out again for this, and not reported.
    """
    workers = {one.label for one in look.members if one.role == "worker" and _by_redis(one)}
    if not workers and look.section("containers").status == "ok":
        raise NotApplicable("no worker of this stack uses Redis as its broker")
    now = seconds_of(look.section("celery").taken_at)
    running: dict[str, list[tuple[str, Mapping[str, Any], float]]] = {}
    for label, reply in sorted(replies_of(look).items()):
        if label not in workers:
            continue
        if reply.get("active") is None:
            look.note("celery", f"what {label} runs is not known")
        for task in reply.get("active") or ():
            if task.get("acknowledged") is False and task.get("time_start") and task.get("id"):
                running.setdefault(str(task["id"]), []).append(
                    (label, task, _limit(reply.get("conf") or {})))
    struck: dict[str, list[tuple[str, Mapping[str, Any], float]]] = {}
    for found in running.values():
        oldest = min(task["time_start"] for _, task, _ in found)
        if len(found) > 1 or (now or oldest) - oldest > min(limit for _, _, limit in found):
            struck.setdefault(str(found[0][1].get("name")), []).extend(found)
    for name, found in struck.items():
        yield _finding(look, name, found, now or max(task["time_start"] for _, task, _ in found))


def _by_redis(service: Service) -> bool:
    """Only Redis (and SQS) have such a time-out: RabbitMQ gives out again what a dead connection had."""
    url = service.url("broker")
    return url is not None and url.parsed.family == "redis"


def _limit(conf: Mapping[str, Any]) -> float:
    """The visibility timeout of a worker, in seconds."""
    given = (conf.get("broker_transport_options") or {}).get("visibility_timeout")
    try:
        return float(given) if given is not None else DEFAULT_S
    except (TypeError, ValueError):
        return DEFAULT_S


def _finding(
    look: Look, name: str, found: list[tuple[str, Mapping[str, Any], float]], now: float
) -> Finding:
    labels = list(dict.fromkeys(label for label, _, _ in found))
    services = [look.stack.get(label) for label in labels]
    limit = min(limit for _, _, limit in found)
    ids: dict[str, int] = {}
    for _, task, _ in found:
        ids[str(task["id"])] = ids.get(str(task["id"]), 0) + 1
    most = max(ids.values())
    oldest = now - min(task["time_start"] for _, task, _ in found)
    twice = f", and one of them runs {times(most)} at this moment" if most > 1 else ""
    proof = []
    for label, task, own in found[:6]:
        since = lasted(max(0.0, now - task["time_start"]))
        told = f"{label}: {task['name']}[{task['id']}] runs for {since}, not acknowledged"
        proof.append(Proof("celery", f"{told}; visibility_timeout {own:.0f} s"))
    return look.finding(
        f"{name} runs for {lasted(max(0.0, oldest))} unacknowledged, and the broker gives it out again after "
        f"{lasted(limit)} (visibility_timeout){twice}",
        services=tuple(labels),
        object=name,
        certainty="confirmed" if most > 1 else "inferred",
        proof=proof,
        remedy=Remedy(
            "manual",
            f"Set broker_transport_options visibility_timeout above the longest run of {name} (now "
            f"{limit:.0f} s) in all workers and senders, or acknowledge it early (acks_late=False), or "
            f"make it "
            "shorter.",
            risk="With a longer visibility_timeout the tasks of a worker that died wait longer, too.",
        ),
        verify=alive(services),
    )
