"""Celery workers: who answers a ping, how fast, and what they say of themselves.

The one declared write of the tool, spoken to the broker directly (kombu's own way retries a dead broker for
ever, and leaves its reply queue behind when it is killed). On Redis (``redis_post``) it is a member in
``_kombu.binding.reply.celery.pidbox`` and a list, both named after an id that the parent made before the
child was forked, so that it can remove them whatever became of the child; on RabbitMQ (``amqp_post``) a queue
that belongs to the connection and goes with it. The broker tells how many nodes listen; that many replies are
waited for and not one more, so a healthy stack answers in milliseconds (Celery 5.7 on Redis: 4 ms, against
1.07 s without a limit).

The ping goes first and alone, so that its time means something. The other questions (``control``) then go out
together, addressed only to the nodes that have answered: one that is frozen is not waited for again, and
passes over them when it wakes. All of it has one bound, ``ROUND_S``.

The message and the names are kombu's (``kombu/pidbox.py``, ``kombu/transport/redis.py``; the same in 4.6 to
5.7).
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celery_triage.collect import amqp_client, broker
from celery_triage.collect.amqp_post import AmqpPost
from celery_triage.collect.broker import PIDBOX
from celery_triage.collect.control import ARGUMENTS, BLANK, QUESTIONS, kept
from celery_triage.collect.probe import Emit, Source, now
from celery_triage.collect.redis_post import RedisPost
from celery_triage.collect.servers import Server, servers, settled
from celery_triage.model import Section
from celery_triage.stack import Stack

DEADLINE_S = 10.0
#: Seconds that the nodes which listen get to answer the ping, and seconds for all questions together. Where
#: nobody has answered the ping in its time, nothing else is asked and the rest is waited for it.
REPLY_S = 2.0
ROUND_S = 4.0
#: More replies than that are not read.
MOST_NODES = 500

#: A reply longer than this (characters) is not read.
LONGEST_REPLY = 16 * 2**20


def source(stack: Stack, options: Mapping[str, Any], redactor: Any) -> Source:
    """The section ``celery``: all questions by every broker of the target that a container of this engine
    owns (or, with ``reach_external``, any). ``withheld`` with ``no_broadcast``."""
    asked: list[Server] = []
    if not options.get("no_broadcast"):
        asked = servers(stack, "redis", ("broker",), options) + servers(stack, "amqp", ("broker",), options)
    login = not options.get("no_login")
    ids = [str(uuid.uuid4()) for _ in asked]

    def run(emit: Emit) -> None:
        if options.get("no_broadcast"):
            emit.section(Section("celery", "withheld", why="not asked: --no-broadcast", taken_at=now()))
            return
        entries = [_blank(server, login) for server in asked]
        for index, (server, entry) in enumerate(zip(asked, entries, strict=True)):
            if entry["status"] == "timeout":
                _Round(stack, server, entry, ids[index], redactor).ask(emit, str(index), login)
                emit.section(_section(entries))
        emit.section(_section(entries))

    def finalise(emit: Emit, values: Mapping[str, Any]) -> None:
        for name, way in values.items():
            server, reply_id = asked[int(name)], ids[int(name)]
            with emit.asking(f"redis SREM, DEL of our own reply queue {server.key}"):
                RedisPost(server, tuple(way), reply_id, login).close()

    return Source("celery", ("celery",), run, deadline_s=DEADLINE_S, finalise=finalise)


def _section(entries: list[dict[str, Any]]) -> Section:
    status, why = settled(entries)
    return Section("celery", status, {"brokers": entries}, why=why, taken_at=now(),
                   how=f"broadcast of {', '.join(QUESTIONS)} over the broker, from the engine's machine")


def _blank(server: Server, login: bool) -> dict[str, Any]:
    withheld = "not asked: --no-login, and AMQP knows no client without one"
    entry = server.entry(withheld if server.family == "amqp" and not login else "")
    return {**entry, "error_kind": None, "expected": [], "asked": None, "replies": {}}


class _Round:
    """The questions to the workers of one broker; what they say goes into ``entry``."""

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
            try:
                post = self.post(way, login)
                if self.server.family == "redis":
                    emit.value(name, list(way))
                self.broadcast(post, emit)
                self.judge(post.blocked)
            except Exception as error:  # whatever answers there may send anything
                told = amqp_client.told if self.server.family == "amqp" else broker.told
                self.entry.update(told(error, self.redactor))
            if self.entry["error_kind"] not in ("refused", "timeout"):
                return

    def post(self, way: tuple[str, int, str], login: bool) -> Any:
        """The broadcast's way over this broker, connected."""
        if self.server.family == "amqp":
            return AmqpPost(self.server, way, self.reply_id, sorted(self.expected))
        return RedisPost(self.server, way, self.reply_id, login)

    def broadcast(self, post: Any, emit: Emit) -> None:
        talk = None
        try:
            post.open()
            talk = Talk(post, min(ROUND_S, emit.left()))  # its time begins when the first question can go
            with self.asking(emit, "ping") as asked:
                ping = talk.ask("ping")
                self.entry["asked"] = ping.listening
                talk.listen(ping.complete, REPLY_S)
                if not ping.replies and not post.blocked:
                    talk.listen(ping.complete, ROUND_S)
                # By AMQP only the nodes that were looked for are counted beforehand; others answer as well.
                self.entry["asked"] = max(ping.listening, len(ping.names | ping.replies.keys()))
                asked.outcome = ping.told()
            if awake := sorted(ping.replies):
                self.ask_more(talk, emit, awake)
        finally:
            for question, heard in (talk.heard if talk else {}).items():
                for node, (answer, milliseconds) in heard.replies.items():
                    self.note(self.redactor.text(node, 200), question, answer, milliseconds)
            post.close()

    def ask_more(self, talk: Talk, emit: Emit, awake: Sequence[str]) -> None:
        """All questions but the ping at once, to those that have answered it."""
        with contextlib.ExitStack() as stack:
            calls, heard = {}, {}
            for question in QUESTIONS[1:]:
                calls[question] = stack.enter_context(self.asking(emit, question))
                heard[question] = talk.ask(question, awake)
            talk.listen(lambda: all(one.complete() for one in heard.values()), ROUND_S)
            for question, asked in calls.items():
                asked.outcome = heard[question].told()

    def asking(self, emit: Emit, question: str) -> contextlib.AbstractContextManager:
        return emit.asking(f"celery {question} (broadcast) {self.server.key}")

    def note(self, node: str, question: str, answer: Any, milliseconds: float) -> None:
        keys = [key for filled in BLANK.values() for key in filled]
        new = {"label": _label(self.stack, node), "ms": milliseconds, "unanswered": list(QUESTIONS[1:]),
               **dict.fromkeys(keys)}
        reply = self.entry["replies"].setdefault(node, new)
        told = kept(question, answer)
        reply.update(self.redactor.data(told))
        if question in reply["unanswered"] and None not in told.values():
            reply["unanswered"].remove(question)

    def judge(self, blocked: str) -> None:
        """``ok`` when every node that listens has answered, and every running worker is among them;
        ``partial`` when one that is missing could be one of those whose name fits no container."""
        if blocked:  # nobody got the question, so nobody is silent
            self.entry.update(status="no_reply", asked=None, error_kind="blocked",
                              why=f"the broker blocks whoever sends: {self.redactor.text(blocked, 200)}")
            return
        listening, replies = self.entry["asked"], self.entry["replies"]
        known = {reply["label"] for reply in replies.values()}
        silent = sorted(name for name, label in self.expected.items() if label not in known)
        strangers = sorted(name for name, reply in replies.items() if reply["label"] is None)
        if not silent and len(replies) >= listening:
            gaps = sorted(f"{name} ({', '.join(reply['unanswered'])})" for name, reply in replies.items()
                          if reply["unanswered"])
            why = f"a ping was answered, other questions were not: {'; '.join(gaps)}" if gaps else ""
            self.entry.update(status="partial" if gaps else "ok", why=why)
            return
        who = f"no answer from {', '.join(silent)}" if silent else "not all that listen have answered"
        why = f"{who}: {listening} listen, {len(replies)} answered within {ROUND_S:g} s"
        if silent and strangers:
            why += f"; of no known container: {', '.join(strangers)}"
        self.entry.update(status="partial" if silent and strangers else "no_reply", why=why)


@dataclass
class Heard:
    """What one question brought: how many nodes were to answer, and each one's answer with its
    milliseconds."""

    listening: int
    replies: dict[str, tuple[Any, float]] = field(default_factory=dict)
    #: Those among them whose names are known; all of them are waited for.
    names: frozenset[str] = frozenset()

    def complete(self) -> bool:
        return len(self.replies) >= min(self.listening, MOST_NODES) and self.names <= self.replies.keys()

    def told(self) -> str:
        return f"{len(self.replies)} of {self.listening} that listen"


class Talk:
    """Questions on one broker and the replies to them, for at most ``limit_s`` seconds from now and the whole
    second that is then under way."""

    def __init__(self, post: Any, limit_s: float) -> None:
        self._post, self._start, self._limit_s = post, time.monotonic(), limit_s
        self._asked: dict[str, tuple[Heard, float]] = {}
        self.heard: dict[str, Heard] = {}

    def ask(self, question: str, nodes: Sequence[str] = ()) -> Heard:
        """Publish a question: to these nodes, else to all. Its answers come into the result by `listen`."""
        ticket, start = str(uuid.uuid4()), time.monotonic()
        told = message(question, self._post.reply_to, ticket, self._limit_s, nodes)
        heard = Heard(self._post.publish(told))
        heard.names = frozenset(getattr(self._post, "listeners", ()))
        if nodes:
            heard.listening, heard.names = min(heard.listening, len(nodes)), frozenset()
        self._asked[ticket], self.heard[question] = (heard, start), heard
        return heard

    def listen(self, complete: Callable[[], bool], limit_s: float) -> None:
        """Take replies until all are there, or ``limit_s`` seconds since the talk began have passed."""
        until = self._start + min(limit_s, self._limit_s)
        while not complete() and time.monotonic() < until and not self._post.blocked:
            text = self._post.take()
            if text:
                self._take(text)

    def _take(self, text: str) -> None:
        ticket, reply = opened(text) or ("", {})
        if ticket in self._asked:
            heard, start = self._asked[ticket]
            milliseconds = round(1000 * (time.monotonic() - start), 1)
            heard.replies.update({name: (value, milliseconds) for name, value in reply.items()})


def hear(post: Any, question: str, limit_s: float) -> Heard:
    """Publish one question and read as many replies as there are listeners."""
    talk = Talk(post, limit_s)
    heard = talk.ask(question)
    talk.listen(heard.complete, limit_s)
    return heard


def message(
    question: str, reply_to: Mapping[str, str], ticket: str, limit_s: float, nodes: Sequence[str] = (),
) -> str:
    """The control message as kombu puts it on the wire."""
    body = {"method": question, "arguments": ARGUMENTS.get(question, {}), "destination": list(nodes) or None,
            "pattern": None, "matcher": None, "ticket": ticket,
            "reply_to": dict(reply_to)}
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
    found = opened(text)
    return found[1] if found and found[0] == ticket else None


def opened(text: str) -> tuple[str, dict[str, Any]] | None:
    """The ticket of a reply and ``{node: answer}``; None for anything else."""
    if len(text) > LONGEST_REPLY:
        return None
    try:
        envelope = json.loads(text)
        ticket, body = envelope["headers"].get("ticket"), envelope["body"]
        if envelope["properties"].get("body_encoding") == "base64":
            body = base64.b64decode(body)
        reply = json.loads(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(reply, dict) or not isinstance(ticket, str):
        return None
    return ticket, {str(name): value for name, value in reply.items()}


def _label(stack: Stack, nodename: str) -> str | None:
    """The service that a node is: by its whole name, else by its host, which is the container's."""
    for service in stack.services:
        if service.nodename == nodename:
            return service.label
    host = nodename.rpartition("@")[2]
    return next((service.label for service in stack.services if service.hostname == host), None)
