"""The way of a broadcast over RabbitMQ: kombu's control exchange, and a reply queue of our own.

The queue belongs to the connection alone (exclusive, deleted with it): nothing is left behind however this
process ends. Replies come to it over the default exchange, which needs no binding: a worker of kombu 4.6 to
5.7 declares no exchange without a name. Who listens is asked passively, by the names of the workers that run:
a queue that is there or locked (kombu 5.7 makes it exclusive) has a node behind it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import amqp
from amqp import exceptions, spec

from celery_triage.collect.amqp_client import ReadingAmqp, ReadingChannel, connect
from celery_triage.collect.broker import PIDBOX
from celery_triage.collect.servers import Server

REPLY_SUFFIX = ".reply.celery.pidbox"


class AskingChannel(ReadingChannel):
    """A channel that may also make one exclusive queue for replies, consume it, and publish to kombu's
    control exchange; nothing else."""

    def allowed(self, method: tuple[int, int], arguments: tuple) -> bool:
        if method == spec.Queue.Declare and str(arguments[1]).endswith(REPLY_SUFFIX):
            return bool(arguments[4] and arguments[5])  # exclusive, deleted with the connection
        if method == spec.Basic.Consume:
            return str(arguments[1]).endswith(REPLY_SUFFIX)
        if method == spec.Basic.Publish:
            return arguments[1] == PIDBOX
        return super().allowed(method, arguments)


class AskingAmqp(ReadingAmqp):
    """A connection for a broadcast."""

    Channel = AskingChannel


class AmqpPost:
    """One broadcast over one RabbitMQ. ``listeners`` are those of the expected nodes that have a control
    queue; ``blocked`` is why the broker takes no messages, empty while it does."""

    def __init__(
        self, server: Server, way: tuple[str, int, str], reply_id: str, expected: Sequence[str],
    ) -> None:
        self._queue = reply_id + REPLY_SUFFIX
        self.reply_to = {"exchange": "", "routing_key": self._queue}
        self.blocked = ""
        self.listeners: tuple[str, ...] = ()
        self._expected, self._heard = expected, []
        self._connection: Any = connect(server, way, AskingAmqp)
        self._connection.on_blocked = self._on_blocked
        self._channel: Any = None

    def _on_blocked(self, reason: Any = "") -> None:
        self.blocked = str(reason or "no reason given")

    def open(self) -> None:
        """Our queue, and who listens."""
        found = []
        for node in self._expected:
            channel = self._connection.channel()
            try:
                channel.queue_declare(queue=f"{node}.{PIDBOX}", passive=True)
                channel.close()
            except exceptions.ResourceLocked:
                pass
            except exceptions.NotFound:
                continue
            found.append(node)
        self.listeners = tuple(found)
        self._channel = self._connection.channel()
        self._channel.queue_declare(queue=self._queue, exclusive=True, auto_delete=True)
        self._channel.basic_consume(queue=self._queue, no_ack=True, callback=self._heard.append)

    def publish(self, told: str) -> int:
        """A message as it goes over Redis, put on the wire of AMQP."""
        envelope = json.loads(told)
        self._channel.basic_publish(amqp.Message(
            base64.b64decode(envelope["body"]), content_type=envelope["content-type"],
            content_encoding=envelope["content-encoding"], delivery_mode=1,
            application_headers=envelope["headers"]), exchange=PIDBOX)
        return len(self.listeners)

    def take(self) -> str | None:
        """The next reply, waited for a second, in the form that it has on Redis."""
        if not self._heard:
            try:
                self._connection.drain_events(timeout=1)
            except TimeoutError:
                return None
        if not self._heard:
            return None
        reply = self._heard.pop(0)
        body = reply.body.decode("utf-8", "replace") if isinstance(reply.body, bytes) else reply.body
        return json.dumps({"headers": {"ticket": (reply.headers or {}).get("ticket")}, "properties": {},
                           "body": body})

    def close(self) -> None:
        """The connection, and with it our queue."""
        if self.blocked:
            self._connection.collect()  # a broker that has stopped reading answers no farewell
        else:
            self._connection.shut()
