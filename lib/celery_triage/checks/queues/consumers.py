"""Queues that nobody takes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.connections.shared import similar
from celery_triage.checks.queues.shared import (
    consumed_by,
    count,
    depth_command,
    parked,
    queue_of,
    replies_of,
    steady,
    taken_on,
    waiting_in,
)
from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.servers import brokers, has_broker, labels_of, section_of
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import Changes, alive, changes, recreate
from celery_triage.stack import Service

#: How an entry of beat's schedule is called among those who send.
SCHEDULED = "the schedule's entry"


@check(
    "BRK003",
    "queue-without-consumer",
    severity="critical",
    needs=("containers", "redis"),
    uses=("rabbitmq", "celery", "compose", "logs/*", "files/*"),
    step="consuming",
)
def queue_without_consumer(look: Look) -> Iterator[Finding]:
    """Tasks wait in a queue of the broker that no worker consumes.

    ## What
    Every queue that a producer or a worker ever declared in a Redis leaves a binding behind; RabbitMQ lists
    its queues and counts their consumers. One of them holds tasks, and no worker that uses this broker takes
    tasks from it: by RabbitMQ's count, by the worker's own answer (`active_queues`) or, where it was not
    asked, by its command or its start banner.

    ## Why
    Nothing fails: producers send, workers are healthy and idle, and the work is never done. A name that is
    misspelt on one side is enough.

    ## Looks like
    Nothing in any log. `LLEN` of the queue only grows; RabbitMQ shows messages and 0 consumers.

    ## Confirm
    `docker exec REDIS redis-cli llen QUEUE` or `docker exec RABBITMQ rabbitmqctl list_queues -p VHOST name
    messages consumers`, and `celery -A APP inspect active_queues`.

    ## Do
    Let a worker consume the queue (`--queues`), or send the tasks to a queue that has a worker. What waits
    is then taken; tasks that were sent to the wrong queue long ago may be out of date.

    ## False alarms
    A queue whose consumer runs only at times, or on another machine at a moment when it is not connected. A
    queue that nothing in this stack names is only a warning.
    """
    workers = {one.label: one for one in look.stack.services if one.role == "worker" and has_broker(one)}
    if not workers and look.section("containers").status == "ok":
        raise NotApplicable("no worker of this stack uses Redis or RabbitMQ as its broker")
    replies = replies_of(look)
    consumed = {label: consumed_by(worker, replies.get(label)) for label, worker in workers.items()}
    for server in brokers(look):
        if server.get("status") != "ok":
            look.note(section_of(server), f"{server['key']}: {server.get('why')}")
            continue
        if not server.get("all_queues"):
            told = f"{server['key']}: not all queues that were declared there could be listed"
            look.note(section_of(server), told)
        users = [workers[label] for label in sorted(labels_of(server) & workers.keys())]
        waiting = {queue: depth for queue, depth in waiting_in(server).items() if depth}
        taken, why = taken_on(look, server)
        free = {queue: depth for queue, depth in waiting.items() if queue not in taken | parked(server)}
        if not free or not users:
            continue
        if why and server.get("family") != "amqp":  # RabbitMQ has counted the consumers of these
            look.note(
                section_of(server),
                f"{server['key']}: {listed(sorted(free))} {verb(list(free), 'holds', 'hold')} "
                f"tasks, and {why}",
            )
            continue
        for queue, depth in sorted(free.items()):
            yield _finding(look, server, queue, depth, users, consumed)


def _finding(
    look: Look,
    server: Mapping[str, Any],
    queue: str,
    depth: int,
    users: list[Service],
    consumed: Mapping[str, list[str] | None],
) -> Finding:
    near = {name: worker for worker in users for name in consumed[worker.label] or ()}
    names = similar(queue, near)
    senders = _senders(look, queue)
    beats = [one.label for one in look.celery if one.has_beat and one.label in labels_of(server)]
    meant = near[names[0]] if names else users[0] if len(users) == 1 else None
    if beats and any(sender.startswith(SCHEDULED) for sender in senders):
        about, hint = beats, f"{listed(senders)} {verb(senders, 'sends', 'send')} there"
    elif names:
        about, hint = [meant.label], f"{meant.label} consumes {names[0]}"
    elif senders and beats:
        about, hint = beats, f"{listed(senders)} {verb(senders, 'sends', 'send')} there"
    else:
        about, hint = [worker.label for worker in users], ""
        if senders:
            hint = f"{listed(senders)} {verb(senders, 'sends', 'send')} there"
    proof = [
        Proof(
            section_of(server),
            f"{server['key']}: {count(depth)} in {queue}, in each of two samples"
            if steady(server, queue)
            else f"{server['key']}: {count(depth)} in {queue}",
        )
    ]
    for worker in users:
        source = "celery" if replies_of(look).get(worker.label) else "containers"
        told = ", ".join(consumed[worker.label] or ())
        proof.append(Proof(source, f"{worker.nodename} consumes {told}"))
    return look.finding(
        f"{count(depth)} {'waits' if depth == 1 else 'wait'} in the queue {queue}, which no worker consumes"
        + (f"; {hint}" if hint else ""),
        services=tuple(about),
        severity="critical" if names or senders else "warning",
        object=queue,
        proof=proof,
        remedy=_remedy(look, queue, meant, (consumed[meant.label] or [])[-1:] if meant else []),
        verify=(depth_command(look, server, queue), *alive([meant] if meant else users)),
    )


def _remedy(look: Look, queue: str, meant: Service | None, last: list[str]) -> Remedy:
    """Let the worker that may be meant consume the queue too, or send the tasks elsewhere."""
    return Remedy(
        "choice",
        f"A worker has to consume {queue}, or nothing may be sent there.",
        question=f"Is {queue} the queue where these tasks belong?",
        options=(
            let_consume(look, queue, "these tasks", meant, last),
            Option(
                "send elsewhere",
                f"Correct the name of the queue where the tasks are sent (task_routes, "
                f"the queue of the call, the schedule). What waits in {queue} stays "
                f"there until somebody consumes or deletes it.",
            ),
        ),
        risk="All that waits is run at once, also what is out of date by now.",
    )


def let_consume(look: Look, queue: str, tasks: str, meant: Service | None, last: list[str]) -> Option:
    """The way in which a worker is made to consume a queue: ``meant``, behind the last queue of its command
    (``last``, at most one), by an edit where that is known."""
    consume = f"Add {queue} to --queues of the worker that shall run {tasks}, and make it anew."
    changed, commands = Changes(), ()
    if meant is not None and last:
        place = (meant, "command", last[0], f"{last[0]},{queue}")
        changed = changes(look.data("compose"), [place], alone=True)
        consume = f"Let {meant.label} consume {queue} beside what it consumes now, and make it anew."
        if changed.complete:
            commands = (*changed.commands, *recreate(look.stack, [meant]))
        else:
            changed = Changes(texts=changed.texts)
    return Option("let a worker consume it", consume, (*changed.edits, *changed.texts), commands)


def _senders(look: Look, queue: str) -> list[str]:
    """What in the configuration of the workers names a queue: routes, the schedule, the default."""
    found: dict[str, None] = {}
    for reply in replies_of(look).values():
        conf = reply.get("conf") or {}
        for name, entry in (conf.get("beat_schedule") or {}).items():
            if queue_of(entry or {}, conf) == queue:
                found[f"{SCHEDULED} {name}"] = None
        routes = conf.get("task_routes")
        for pattern, route in routes.items() if isinstance(routes, Mapping) else ():
            if isinstance(route, Mapping) and route.get("queue") == queue:
                found[f"the route of {pattern}"] = None
        if conf.get("task_default_queue") == queue:
            found["what has no route"] = None
    return list(found)
