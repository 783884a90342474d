"""The way of a broadcast over Redis: kombu's control channel, a reply queue of our own and its binding."""

from __future__ import annotations

from typing import Any

from celery_triage.collect.broker import (
    BINDINGS,
    PIDBOX,
    PRIORITY_SEPARATOR,
    ReadingRedis,
    RefusedHere,
    connect,
)
from celery_triage.collect.servers import Server

REPLY_EXCHANGE = "reply.celery.pidbox"
REPLY_BINDINGS = BINDINGS + REPLY_EXCHANGE


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


class RedisPost:
    """One broadcast over one Redis. PUBLISH tells how many nodes listen."""

    def __init__(self, server: Server, way: tuple[str, int, str], reply_id: str, login: bool) -> None:
        self.reply_to = {"exchange": REPLY_EXCHANGE, "routing_key": reply_id}
        self.blocked = ""
        self._client = connect(server, way, login=login, client=AskingRedis)
        self._channel, self._reply_id = f"/{server.database or 0}.{PIDBOX}", reply_id
        self._client.ping()

    def open(self) -> None:
        """From here on there is something to remove."""
        self._client.sadd(REPLY_BINDINGS, binding(self._reply_id))

    def publish(self, told: str) -> int:
        return self._client.publish(self._channel, told)

    def take(self) -> str | None:
        """The next reply, waited for a second."""
        # Whole seconds: Redis before 6 takes no others, and the socket itself gives up after two.
        popped = self._client.brpop([reply_queue(self._reply_id)], timeout=1)
        return popped[1] if popped else None

    def close(self) -> None:
        """Remove our reply queue and what leads to it. A reply that comes later finds no binding and is
        dropped."""
        self._client.srem(REPLY_BINDINGS, binding(self._reply_id))
        self._client.delete(reply_queue(self._reply_id))
        self._client.close()
