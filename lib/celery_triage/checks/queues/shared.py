"""What the rules about queues have in common: the brokers, what waits, who takes it, what workers said."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from celery_triage.checks.registry import Look
from celery_triage.checks.words import listed
from celery_triage.stack import Service

#: A queue's name; kombu's own text of a queue object is none.
_NAME = re.compile(r"[^\s<>]+$")


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


def uses_redis(service: Service) -> bool:
    url = service.url("broker")
    return url is not None and url.parsed.family == "redis" and url.parsed.networked


def same_redis(service: Service, server: Mapping[str, Any]) -> bool:
    """Whether a service's broker is on this server, on whatever database of it."""
    if service.label in labels_of(server):
        return True
    url = service.url("broker")
    return url is not None and str(url.parsed.server).rpartition("/")[0] == server["key"].rpartition("/")[0]


def consumed_by(worker: Service, reply: Mapping[str, Any] | None) -> list[str] | None:
    """The queues that a worker takes from; None where only a default could be assumed."""
    if reply and reply.get("active_queues") is not None:
        return list(reply["active_queues"])
    if worker.banner.get("queues") or worker.queues != ["celery"]:
        return worker.queues
    given = worker.launch.options.get("queues") if worker.launch else None
    return worker.queues if given else None


def broadcast(look: Look, server: Mapping[str, Any]) -> Mapping[str, Any]:
    asked = (look.data("celery") or {}).get("brokers") or ()
    return next((broker for broker in asked if broker.get("key") == server["key"]), {})


def answers(look: Look, server: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The answers of all nodes on this broker, of known containers or not."""
    broker = broadcast(look, server)
    return [reply for reply in (broker.get("replies") or {}).values() if reply]


def queue_of(entry: Mapping[str, Any], conf: Mapping[str, Any]) -> str:
    """The queue to which an entry of the schedule goes, by its own options or by a route that names its task;
    empty where that is not known (a pattern, a function, the task's own setting)."""
    options, routes = entry.get("options") or {}, conf.get("task_routes")
    queue = options.get("queue")
    if queue is None and isinstance(routes, Mapping) and not options.keys() & {"exchange", "routing_key"}:
        route = routes.get(str(entry.get("task")))
        queue = route.get("queue") if isinstance(route, Mapping) else None
    return queue if isinstance(queue, str) and _NAME.match(queue) else ""


def taken_on(look: Look, server: Mapping[str, Any]) -> tuple[set[str], str]:
    """The queues of a server that somebody takes from, and a clause why more may be taken; empty where that
    cannot be. A worker on another database of the same Redis is another rule's: it counts here too."""
    workers = {one.label: one for one in look.stack.services if one.role == "worker" and uses_redis(one)}
    replies = replies_of(look)
    consumed = {label: consumed_by(worker, replies.get(label)) for label, worker in workers.items()}
    taken = {
        queue
        for label, worker in workers.items()
        if same_redis(worker, server)
        for queue in consumed[label] or ()
    }
    taken |= {queue for reply in answers(look, server) for queue in reply.get("active_queues") or ()}
    unsure = sorted(label for label in labels_of(server) & workers.keys() if consumed[label] is None)
    return taken, _strangers(look, server) or (
        f"the queues of {listed(unsure)} are not known" if unsure else ""
    )


def _strangers(look: Look, server: Mapping[str, Any]) -> str:
    """Why somebody else may consume here whose queues are not known; empty where nobody can."""
    broker = broadcast(look, server)
    answered, listening = answers(look, server), broker.get("asked")
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
