"""Queues: does anybody take what waits in them?"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.connections.shared import similar
from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import Changes, alive, changes, recreate
from celery_triage.stack import Service


@check(
    "BRK003",
    "queue-without-consumer",
    severity="critical",
    needs=("containers", "redis"),
    uses=("celery", "compose", "logs/*", "files/*"),
    step="consuming",
)
def queue_without_consumer(look: Look) -> Iterator[Finding]:
    """Tasks wait in a queue of the broker that no worker consumes.

    ## What
    Every queue that a producer or a worker ever declared in this Redis leaves a binding behind. One of them
    holds tasks, and no worker that uses this broker takes tasks from it, by its own answer
    (`active_queues`) or, where it was not asked, by its command or its start banner.

    ## Why
    Nothing fails: producers send, workers are healthy and idle, and the work is never done. A name that is
    misspelt on one side is enough.

    ## Looks like
    Nothing in any log. `LLEN` of the queue only grows.

    ## Confirm
    `docker exec REDIS redis-cli llen QUEUE`, and `celery -A APP inspect active_queues`.

    ## Do
    Let a worker consume the queue (`--queues`), or send the tasks to a queue that has a worker. What waits
    is then taken; tasks that were sent to the wrong queue long ago may be out of date.

    ## False alarms
    A queue whose consumer runs only at times, or on another machine at a moment when it is not connected. A
    queue that nothing in this stack names is only a warning.
    """
    workers = {one.label: one for one in look.stack.services if one.role == "worker" and _redis(one)}
    if not workers and look.section("containers").status == "ok":
        raise NotApplicable("no worker of this stack uses Redis as its broker")
    replies = replies_of(look)
    consumed = {label: _consumed(worker, replies.get(label)) for label, worker in workers.items()}
    for server in brokers(look):
        if server.get("status") != "ok":
            look.note("redis", f"{server['key']}: {server.get('why')}")
            continue
        if not server.get("all_queues"):
            look.note("redis", f"{server['key']}: not all queues that were declared there could be listed")
        users = [workers[label] for label in sorted(labels_of(server) & workers.keys())]
        waiting = {queue: depth for queue, depth in waiting_in(server).items() if depth}
        # A worker on another database of the same Redis is another rule's.
        taken = {
            queue
            for label, worker in workers.items()
            if _same_redis(worker, server)
            for queue in consumed[label] or ()
        }
        taken |= {queue for reply in _answers(look, server) for queue in reply.get("active_queues") or ()}
        free = {queue: depth for queue, depth in waiting.items() if queue not in taken}
        if not free or not users:
            continue
        unsure = [worker.label for worker in users if consumed[worker.label] is None]
        why = _strangers(look, server) or (f"the queues of {listed(unsure)} are not known" if unsure else "")
        if why:
            look.note(
                "redis",
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
    beats = [one.label for one in look.celery if one.role == "beat" and one.label in labels_of(server)]
    meant = near[names[0]] if names else users[0] if len(users) == 1 else None
    if names:
        about, hint = [meant.label], f"{meant.label} consumes {names[0]}"
    elif senders and beats:
        about, hint = beats, f"{listed(senders)} {verb(senders, 'sends', 'send')} there"
    else:
        about, hint = [worker.label for worker in users], ""
        if senders:
            hint = f"{listed(senders)} {verb(senders, 'sends', 'send')} there"
    proof = [
        Proof(
            "redis",
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
    consume = f"Add {queue} to --queues of the worker that shall run these tasks, and make it anew."
    changed, commands = Changes(), ()
    if meant is not None and last:
        changed = changes(look.data("compose"), [(meant, "command", last[0], f"{last[0]},{queue}")])
        consume = f"Let {meant.label} consume {queue} beside what it consumes now, and make it anew."
        if changed.complete:
            commands = (*changed.commands, *recreate(look.stack, [meant]))
        else:
            changed = Changes(texts=changed.texts)
    return Remedy(
        "choice",
        f"A worker has to consume {queue}, or nothing may be sent there.",
        question=f"Is {queue} the queue where these tasks belong?",
        options=(
            Option("let a worker consume it", consume, (*changed.edits, *changed.texts), commands),
            Option(
                "send elsewhere",
                f"Correct the name of the queue where the tasks are sent (task_routes, "
                f"the queue of the call, the schedule). What waits in {queue} stays "
                f"there until somebody consumes or deletes it.",
            ),
        ),
        risk="All that waits is run at once, also what is out of date by now.",
    )


def brokers(look: Look) -> list[Mapping[str, Any]]:
    """The Redis servers that are brokers."""
    servers = (look.data("redis") or {}).get("servers") or ()
    return [server for server in servers if "broker" in (server.get("purposes") or ["broker"])]


def labels_of(server: Mapping[str, Any]) -> set[str]:
    """The services whose URL leads to a server, also those that share no network with it."""
    return {*(server.get("services") or ()), *(server.get("unreached") or ())}


def waiting_in(server: Mapping[str, Any]) -> dict[str, int]:
    """The least depth of each queue over all samples: what waited all the time."""
    samples = [sample.get("queues") or {} for sample in server.get("samples") or ()]
    names = dict.fromkeys(name for sample in samples for name in sample)
    return {name: min(sample.get(name) or 0 for sample in samples) for name in names}


def steady(server: Mapping[str, Any], queue: str) -> bool:
    """Whether a queue was equally deep in two samples."""
    depths = [(sample.get("queues") or {}).get(queue) for sample in server.get("samples") or ()]
    return len(depths) > 1 and len(set(depths)) == 1


def replies_of(look: Look) -> dict[str, Mapping[str, Any]]:
    """What each worker answered to the broadcast, by service."""
    return {
        reply["label"]: reply
        for broker in (look.data("celery") or {}).get("brokers") or ()
        for reply in (broker.get("replies") or {}).values()
        if reply.get("label")
    }


def count(depth: int) -> str:
    return "1 task" if depth == 1 else f"{depth} tasks"


def depth_command(look: Look, server: Mapping[str, Any], queue: str) -> str:
    """The command that tells how deep a queue is."""
    owner = look.stack.get(server.get("container") or "")
    words = ["docker", "exec", owner.name if owner else "REDIS", "redis-cli"]
    database = server["key"].rpartition("/")[2]
    words += ["-n", database] if database.isdigit() and database != "0" else []
    return shlex.join([*words, "llen", queue]) + "  # 0, or falling"


def _redis(service: Service) -> bool:
    url = service.url("broker")
    return url is not None and url.parsed.family == "redis" and url.parsed.networked


def _same_redis(service: Service, server: Mapping[str, Any]) -> bool:
    """Whether a service's broker is on this server, on whatever database of it."""
    if service.label in labels_of(server):
        return True
    url = service.url("broker")
    return url is not None and str(url.parsed.server).rpartition("/")[0] == server["key"].rpartition("/")[0]


def _consumed(worker: Service, reply: Mapping[str, Any] | None) -> list[str] | None:
    """The queues that a worker takes from; None where only a default could be assumed."""
    if reply and reply.get("active_queues") is not None:
        return list(reply["active_queues"])
    if worker.banner.get("queues") or worker.queues != ["celery"]:
        return worker.queues
    given = worker.launch.options.get("queues") if worker.launch else None
    return worker.queues if given else None


def _answers(look: Look, server: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The answers of all nodes on this broker, of known containers or not."""
    broker = _broker(look, server)
    return [reply for reply in (broker.get("replies") or {}).values() if reply]


def _broker(look: Look, server: Mapping[str, Any]) -> Mapping[str, Any]:
    asked = (look.data("celery") or {}).get("brokers") or ()
    return next((broker for broker in asked if broker.get("key") == server["key"]), {})


def _strangers(look: Look, server: Mapping[str, Any]) -> str:
    """Why somebody else may consume here whose queues are not known; empty where nobody can."""
    broker = _broker(look, server)
    answered, listening = _answers(look, server), broker.get("asked")
    if listening is not None and len(answered) >= listening:
        return ""
    others = [
        one["address"]
        for one in server.get("consumers") or ()
        if one.get("command") == "brpop" and not one.get("label")
    ]
    if others:
        return f"what {listed(others)} consumes, no container of this stack, is not known"
    if "CLIENT LIST" in (server.get("not_allowed") or ()):
        return "who else consumes there could not be seen"
    return ""


def _senders(look: Look, queue: str) -> list[str]:
    """What in the configuration of the workers names a queue: routes, the schedule, the default."""
    found: dict[str, None] = {}
    for reply in replies_of(look).values():
        conf = reply.get("conf") or {}
        for name, entry in (conf.get("beat_schedule") or {}).items():
            if ((entry or {}).get("options") or {}).get("queue") == queue:
                found[f"the schedule's entry {name}"] = None
        routes = conf.get("task_routes")
        for pattern, route in routes.items() if isinstance(routes, Mapping) else ():
            if isinstance(route, Mapping) and route.get("queue") == queue:
                found[f"the route of {pattern}"] = None
        if conf.get("task_default_queue") == queue:
            found["what has no route"] = None
    return list(found)
