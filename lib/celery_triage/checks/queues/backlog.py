"""Queues that fill faster than their workers empty them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.queues.shared import (
    consumed_by,
    count,
    depth_command,
    replies_of,
)
from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.servers import brokers, has_broker, labels_of, section_of
from celery_triage.checks.words import lasted, listed, verb
from celery_triage.lives import seconds_of
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive
from celery_triage.stack import Service

#: Fewer waiting tasks than this are a burst and no backlog.
BACKLOG = 100


@check(
    "BRK005",
    "backlog-growing",
    severity="warning",
    needs=("containers", "redis"),
    uses=("rabbitmq", "celery", "logs/*", "files/*"),
    step="consuming",
)
def backlog_growing(look: Look) -> Iterator[Finding]:
    """A queue is deep and grows, although its workers run: more is sent than they do.

    ## What
    A hundred tasks or more waited in both samples, and more in the second one. Its consumers answer.

    ## Why
    Each task waits longer than the one before it; the broker's memory grows with the queue, until it refuses
    new tasks, blocks those who send, or is killed.

    ## Looks like
    Work that comes later every hour. No error in any log.

    ## Confirm
    `docker exec REDIS redis-cli llen QUEUE` (or `rabbitmqctl list_queues` in RabbitMQ's container) twice,
    some seconds apart, and `celery -A APP inspect active`.

    ## Do
    See what the workers are busy with. More processes (`--concurrency`, within the limit of memory), more
    workers for that queue, or less work: tasks that are sent twice, a time limit for those that hang.

    ## False alarms
    A batch that was sent this very second: look again; it is a backlog only while it grows.
    """
    workers = {one.label: one for one in look.members if one.role == "worker" and has_broker(one)}
    if not workers and look.section("containers").status == "ok":
        raise NotApplicable("no worker of this stack uses Redis or RabbitMQ as its broker")
    replies = replies_of(look)
    for server in brokers(look):
        samples = server.get("samples") or ()
        if server.get("status") != "ok" or len(samples) < 2:
            told = f"{server['key']}: {server.get('why') or 'only one sample was taken'}"
            look.note(section_of(server), told)
            continue
        users = [workers[label] for label in sorted(labels_of(server) & workers.keys())]
        for queue, last in sorted((samples[-1].get("queues") or {}).items()):
            first = (samples[0].get("queues") or {}).get(queue)
            if first is None or last is None or first < BACKLOG or last <= first:
                continue
            # A consumer that is down or silent is the cause itself, and another rule's.
            busy = [one for one in users if one.label in replies
                    and queue in (consumed_by(one, replies[one.label]) or ())]
            if busy:
                yield _finding(look, server, queue, busy, {one.label: replies[one.label] for one in busy})


def _finding(
    look: Look,
    server: Mapping[str, Any],
    queue: str,
    busy: Sequence[Service],
    replies: Mapping[str, Mapping[str, Any]],
) -> Finding:
    before, after = server["samples"][0], server["samples"][-1]
    first, last = before["queues"][queue], after["queues"][queue]
    seconds = max(0.001, (seconds_of(after["t"]) or 0) - (seconds_of(before["t"]) or 0))
    names = [one.label for one in busy]
    told = f"{server['key']}: {queue} held {first}, {seconds:.1f} s later {last}"
    proof = [Proof(section_of(server), told)]
    proof += [Proof("celery", told) for label in names if (told := _hands(label, replies[label], look))]
    return look.finding(
        f"{count(last)} wait in {queue} and it grows by {(last - first) / seconds:.0f} a second: "
        f"at this pace {listed(names)} never {verb(names, 'empties', 'empty')} it",
        services=tuple(names),
        object=queue,
        proof=proof,
        verify=(depth_command(look, server, queue), *alive(busy)),
        remedy=Remedy(
            "manual",
            f"See what {listed(names)} {verb(names, 'is', 'are')} busy with; then more processes or workers "
            f"for {queue} (within the limit of memory), or less work sent.",
            risk="More processes need more memory and more database connections.",
        ),
    )


def _hands(label: str, reply: Mapping[str, Any], look: Look) -> str:
    """How many of a worker's processes are busy, with what, and for how long at most."""
    most = ((reply.get("stats") or {}).get("pool") or {}).get("max-concurrency")
    active = reply.get("active")
    if active is None or most is None:
        return ""
    told = f"{label} runs {reply.get('active_count') or len(active)} of {most} that it can run at once"
    names = listed(sorted({str(task.get("name")) for task in active}), 3)
    starts = [task["time_start"] for task in active if task.get("time_start")]
    now = seconds_of(look.section("celery").taken_at)
    oldest = f", the longest for {lasted(max(0.0, now - min(starts)))}" if starts and now else ""
    return told + (f": {names}{oldest}" if names else "")
