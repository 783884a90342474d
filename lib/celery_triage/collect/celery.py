"""Celery workers: who answers a ping, how fast, and what its ``stats`` say. Redis brokers only.

The one declared write of the tool, spoken to Redis directly (kombu's own way retries a dead broker for
ever, and leaves its reply queue behind when it is killed): a member in
``_kombu.binding.reply.celery.pidbox`` and a list, both named after an id that the parent made before the
child was forked, so that it can remove them whatever became of the child. PUBLISH tells how many nodes
listen; that many replies are waited for and not one more, so a healthy stack answers in milliseconds
(Celery 5.7: 4 ms, against 1.07 s without a limit).

The message and the names are kombu's (``kombu/pidbox.py``, ``kombu/transport/redis.py``; the same in 4.6 to
5.7).
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from celery_triage.collect.broker import (
    BINDINGS,
    PIDBOX,
    PRIORITY_SEPARATOR,
    ReadingRedis,
    RefusedHere,
    connect,
    told,
)
from celery_triage.collect.probe import Emit, Source, now
from celery_triage.collect.servers import Server, servers, settled
from celery_triage.model import Section
from celery_triage.stack import Stack

DEADLINE_S = 10.0
#: Seconds that the nodes which listen get for their replies, for each of the two questions.
REPLY_S = 2.0
#: More replies than that are not read.
MOST_NODES = 500

REPLY_EXCHANGE = "reply.celery.pidbox"
REPLY_BINDINGS = BINDINGS + REPLY_EXCHANGE
QUESTIONS = ("ping", "stats")


class AskingRedis(ReadingRedis):
    """A client that may also send what a broadcast needs: to kombu's control channel, and to our own reply
    queue and its binding; to nothing else."""

    allowed = frozenset({"PING", "PUBLISH", "SADD", "SREM", "BRPOP", "DEL"})

    def execute_command(self, *args: Any, **options: Any) -> Any:
        command, key = str(args[0]).upper(), str(args[1]) if len(args) > 1 else ""
        ours = {
            "PUBLISH": key.endswith("." + PIDBOX), "BRPOP": key.endswith("." + REPLY_EXCHANGE),
            "DEL": key.endswith("." + REPLY_EXCHANGE) and len(args) == 2, "PING": True,
            "SADD": key == REPLY_BINDINGS, "SREM": key == REPLY_BINDINGS,
        }
        if not ours.get(command):
            raise RefusedHere(f"{command} may not be sent to {key!r}")
        return super().execute_command(*args, **options)


def reply_queue(reply_id: str) -> str:
    """The name of the list that replies come to."""
    return f"{reply_id}.{REPLY_EXCHANGE}"


def binding(reply_id: str) -> str:
    """The member that leads replies to that list."""
    return PRIORITY_SEPARATOR.join((reply_id, "", reply_queue(reply_id)))


def source(stack: Stack, options: Mapping[str, Any], redactor: Any) -> Source:
    """The section ``celery``: a ping and ``stats`` by every broker of the target that a container of this
    engine owns (or, with ``reach_external``, any). ``withheld`` with ``no_broadcast``."""
    asked: list[Server] = []
    if not options.get("no_broadcast"):
        asked = servers(stack, "redis", ("broker",), options) + servers(stack, "amqp", ("broker",), options)
    login = not options.get("no_login")
    ids = [str(uuid.uuid4()) for _ in asked]

    def run(emit: Emit) -> None:
        if options.get("no_broadcast"):
            emit.section(Section("celery", "withheld", why="not asked: --no-broadcast", taken_at=now()))
            return
        entries = [_blank(server) for server in asked]
        for index, (server, entry) in enumerate(zip(asked, entries, strict=True)):
            if entry["status"] == "timeout":
                _Round(stack, server, entry, ids[index], redactor).ask(emit, str(index), login)
                emit.section(_section(entries))
        emit.section(_section(entries))

    def finalise(emit: Emit, values: Mapping[str, Any]) -> None:
        for name, way in values.items():
            server, reply_id = asked[int(name)], ids[int(name)]
            with emit.asking(f"redis SREM, DEL of our own reply queue {server.key}"):
                _clean(connect(server, tuple(way), login=login, client=AskingRedis), reply_id)

    return Source("celery", ("celery",), run, deadline_s=DEADLINE_S, finalise=finalise)


def _section(entries: list[dict[str, Any]]) -> Section:
    status, why = settled(entries)
    return Section("celery", status, {"brokers": entries}, why=why, taken_at=now(),
                   how="broadcast of ping and stats over the broker, from the engine's machine")


def _blank(server: Server) -> dict[str, Any]:
    entry = {**server.entry(), "error_kind": None, "expected": [], "asked": None, "replies": {}}
    parsed = server.urls[0][1].parsed
    if parsed.family == "amqp":
        entry.update(status="withheld", why="this version does not ask workers behind an AMQP broker")
    elif parsed.transport == "sentinel":
        entry.update(status="withheld", why="this version does not ask workers behind a Sentinel")
    elif server.ways:
        entry.update(status="timeout", why="its turn did not come before the time was up")
    return entry


class _Round:
    """The two questions to the workers of one broker; what they say goes into ``entry``."""

    def __init__(
        self, stack: Stack, server: Server, entry: dict[str, Any], reply_id: str, redactor: Any,
    ) -> None:
        self.stack, self.server, self.entry = stack, server, entry
        self.reply_id, self.redactor = reply_id, redactor
        labels = {label for label, _ in server.urls}
        self.expected = {service.nodename: service.label for service in stack.workers
                         if service.label in labels and service.running}
        self.entry["expected"] = sorted(self.expected)

    def ask(self, emit: Emit, name: str, login: bool) -> None:
        """Ask by the first way that is not refused. ``name`` is told to the parent with the way, before there
        is anything to remove."""
        for way in self.server.ways:
            if emit.left() < 1:
                return
            self.entry.update(address=f"{way[0]}:{way[1]}", via=way[2])
            client = connect(self.server, way, login=login, client=AskingRedis)
            try:
                client.ping()
                emit.value(name, list(way))
                self.broadcast(client, emit)
                self.judge()
            except Exception as error:  # whatever answers there may send anything
                self.entry.update(told(error, self.redactor))
            if self.entry["error_kind"] not in ("refused", "timeout"):
                return

    def broadcast(self, client: Any, emit: Emit) -> None:
        try:
            client.sadd(REPLY_BINDINGS, binding(self.reply_id))
            for question in QUESTIONS:
                with emit.asking(f"celery {question} (broadcast) {self.server.key}") as asked:
                    channel = f"/{self.server.database or 0}.{PIDBOX}"
                    heard = hear(client, channel, question, self.reply_id, min(REPLY_S, emit.left()))
                    self.entry["asked"] = max(self.entry["asked"] or 0, heard.listening)
                    for node, (answer, milliseconds) in heard.replies.items():
                        self.note(self.redactor.text(node, 200), question, answer, milliseconds)
                    asked.outcome = f"{len(heard.replies)} of {heard.listening} that listen"
        finally:
            _clean(client, self.reply_id)

    def note(self, node: str, question: str, answer: Any, milliseconds: float) -> None:
        new = {"label": _label(self.stack, node), "ms": milliseconds, "stats": None}
        reply = self.entry["replies"].setdefault(node, new)
        if question == "stats" and isinstance(answer, Mapping):
            reply["stats"] = self.redactor.data(_stats(answer))

    def judge(self) -> None:
        """``ok`` when every node that listens has answered, and every running worker is among them;
        ``partial`` when one that is missing could be one of those whose name fits no container."""
        listening, replies = self.entry["asked"], self.entry["replies"]
        known = {reply["label"] for reply in replies.values()}
        silent = sorted(name for name, label in self.expected.items() if label not in known)
        strangers = sorted(name for name, reply in replies.items() if reply["label"] is None)
        if not silent and len(replies) >= listening:
            self.entry.update(status="ok", why="")
            return
        who = f"no answer from {', '.join(silent)}" if silent else "not all that listen have answered"
        why = f"{who}: {listening} listen, {len(replies)} answered within {REPLY_S:g} s"
        if silent and strangers:
            why += f"; of no known container: {', '.join(strangers)}"
        self.entry.update(status="partial" if silent and strangers else "no_reply", why=why)


@dataclass
class Heard:
    """What one question brought: how many nodes listened, and each one's answer with its milliseconds."""

    listening: int
    replies: dict[str, tuple[Any, float]] = field(default_factory=dict)


def hear(client: Any, channel: str, question: str, reply_id: str, limit_s: float) -> Heard:
    """Publish one question and read as many replies as there are listeners, for at most ``limit_s`` seconds
    and the whole second that is then under way."""
    ticket, start = str(uuid.uuid4()), time.monotonic()
    heard = Heard(client.publish(channel, message(question, reply_id, ticket, limit_s)))
    answers = 0
    while answers < min(heard.listening, MOST_NODES) and time.monotonic() - start < limit_s:
        # Whole seconds: Redis before 6 takes no others, and the socket itself gives up after two.
        popped = client.brpop([reply_queue(reply_id)], timeout=1)
        reply = read_reply(popped[1], ticket) if popped else None
        if reply is not None:
            answers += 1
            milliseconds = round(1000 * (time.monotonic() - start), 1)
            heard.replies.update({name: (value, milliseconds) for name, value in reply.items()})
    return heard


def message(question: str, reply_id: str, ticket: str, limit_s: float) -> str:
    """The control message as kombu puts it on the wire."""
    body = {"method": question, "arguments": {}, "destination": None, "pattern": None, "matcher": None,
            "ticket": ticket, "reply_to": {"exchange": REPLY_EXCHANGE, "routing_key": reply_id}}
    return json.dumps({
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8", "content-type": "application/json",
        "headers": {"clock": 1, "expires": time.time() + limit_s},
        "properties": {
            "delivery_mode": 2, "delivery_info": {"exchange": PIDBOX, "routing_key": ""}, "priority": 0,
            "body_encoding": "base64", "delivery_tag": str(uuid.uuid4()),
        },
    })


def read_reply(text: str, ticket: str) -> dict[str, Any] | None:
    """``{node: answer}`` of a reply to this question; None for anything else."""
    try:
        envelope = json.loads(text)
        if envelope["headers"].get("ticket") != ticket:
            return None
        body = envelope["body"]
        if envelope["properties"].get("body_encoding") == "base64":
            body = base64.b64decode(body)
        reply = json.loads(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return {str(name): value for name, value in reply.items()} if isinstance(reply, dict) else None


def _label(stack: Stack, nodename: str) -> str | None:
    """The service that a node is: by its whole name, else by its host, which is the container's."""
    for service in stack.services:
        if service.nodename == nodename:
            return service.label
    host = nodename.rpartition("@")[2]
    return next((service.label for service in stack.services if service.hostname == host), None)


def _stats(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a node's statistics (Celery 5.7, ``worker/worker.py`` stats)."""
    pool = answer.get("pool") if isinstance(answer.get("pool"), Mapping) else {}
    broker = answer.get("broker") if isinstance(answer.get("broker"), Mapping) else {}
    processes = pool.get("processes")
    return {
        "pid": answer.get("pid"), "uptime": answer.get("uptime"), "total": answer.get("total"),
        "prefetch_count": answer.get("prefetch_count"), "clock": answer.get("clock"),
        "pool": {"implementation": pool.get("implementation"), "max-concurrency": pool.get("max-concurrency"),
                 "processes": processes[:200] if isinstance(processes, list) else None},
        "broker": {name: broker.get(name) for name in ("hostname", "port", "virtual_host", "transport")},
    }


def _clean(client: Any, reply_id: str) -> None:
    """Remove our reply queue and what leads to it. A reply that comes later finds no binding and is
    dropped."""
    client.srem(REPLY_BINDINGS, binding(reply_id))
    client.delete(reply_queue(reply_id))
    client.close()
