"""What the rules about queues have in common: the brokers, what waits, who takes it, what workers said."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from celery_triage.checks.registry import Look
from celery_triage.checks.servers import broker_url, has_broker, labels_of
from celery_triage.checks.words import listed
from celery_triage.stack import Service

#: A queue's name; kombu's own text of a queue object is none.
_NAME = re.compile(r"[^\s<>]+$")


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
    if server.get("family") == "amqp":
        words = ["docker", "exec", owner.name if owner else "RABBITMQ", "rabbitmqctl", "-q", "list_queues"]
        words += ["-p", str(server.get("vhost") or "/"), "name", "messages", "consumers"]
        return f"{shlex.join(words)}  # {queue}: 0, or falling"
    words = ["docker", "exec", owner.name if owner else "REDIS", "redis-cli"]
    database = server["key"].rpartition("/")[2]
    words += ["-n", database] if database.isdigit() and database != "0" else []
    return shlex.join([*words, "llen", queue]) + "  # 0, or falling"


def same_broker(service: Service, server: Mapping[str, Any]) -> bool:
    """Whether a service's broker is on this server: on whatever database of a Redis (a worker on another one
    is another rule's), in this virtual host of a RabbitMQ."""
    if service.label in labels_of(server):
        return True
    url = broker_url(service)
    if url is None or server.get("family") == "amqp":
        return False
    return str(url.parsed.server).rpartition("/")[0] == server["key"].rpartition("/")[0]


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
    workers = {one.label: one for one in look.stack.services if one.role == "worker" and has_broker(one)}
    replies = replies_of(look)
    consumed = {label: consumed_by(worker, replies.get(label)) for label, worker in workers.items()}
    taken = {
        queue
        for label, worker in workers.items()
        if same_broker(worker, server)
        for queue in consumed[label] or ()
    }
    taken |= {queue for reply in answers(look, server) for queue in reply.get("active_queues") or ()}
    if server.get("family") == "amqp":
        unlisted = "" if server.get("all_queues") else "not all queues of it could be listed"
        return taken | _counted(server), unlisted
    unsure = sorted(label for label in labels_of(server) & workers.keys() if consumed[label] is None)
    return taken, _strangers(look, server) or (
        f"the queues of {listed(unsure)} are not known" if unsure else ""
    )


def _counted(server: Mapping[str, Any]) -> set[str]:
    """Which queues have consumers by RabbitMQ's own count in any sample, whoever these are. A worker that is
    still starting is none yet, and shall take from its queues all the same."""
    samples = server.get("samples") or ()
    return {queue for one in samples for queue, n in (one.get("consumers") or {}).items() if n}


def parked(server: Mapping[str, Any]) -> set[str]:
    """The queues of a RabbitMQ that are meant to have no consumer: dead letters, delays (what is too old goes
    on to another exchange; Celery's own ``celery_delayed_N`` are such), streams, and those of one
    connection alone."""
    facts = server.get("queue_facts") or {}
    found, letters = set(), set()
    for queue, fact in facts.items():
        arguments = fact.get("arguments") or {}
        if fact.get("exclusive") or fact.get("type") == "stream":
            found.add(queue)
        exchange = arguments.get("x-dead-letter-exchange")
        if exchange is None:
            continue
        if arguments.get("x-message-ttl") is not None:
            found.add(queue)
        key = arguments.get("x-dead-letter-routing-key", queue)
        letters |= {(exchange, key), (exchange, None)}
    if not letters:
        return found  # nor are Redis's bindings, which have another shape, any of these
    for source, key, destination, kind in server.get("bindings") or ():
        # Which key a topic lets through is not worked out: all that hangs on such an exchange may be meant.
        if kind == "queue" and ((source, key) in letters or (source and (source, None) in letters)):
            found.add(destination)
    return found


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
