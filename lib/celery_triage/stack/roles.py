"""What a container is for: worker, beat, flower, postgres, redis, rabbitmq, app or other.

Decided by the strongest witness there is: the program that it starts, the name of its image, what its environment
is made for, and last the ports that it exposes. An image may be renamed, a port may be moved; not all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("worker", "beat", "flower", "postgres", "redis", "rabbitmq", "app", "other")
CELERY_ROLES = ("worker", "beat", "flower")
SERVER_ROLES = ("postgres", "redis", "rabbitmq")

_PROGRAMS = {
    "postgres": "postgres", "pg_ctl": "postgres", "postmaster": "postgres", "pg_ctlcluster": "postgres",
    "redis-server": "redis", "valkey-server": "redis", "keydb-server": "redis", "dragonfly": "redis",
    "rabbitmq-server": "rabbitmq", "rabbitmq-server.sh": "rabbitmq",
}
_IMAGES = {
    "postgres": "postgres", "postgresql": "postgres", "postgis": "postgres", "timescaledb": "postgres",
    "pgvector": "postgres", "redis": "redis", "valkey": "redis", "keydb": "redis", "dragonfly": "redis",
    "rabbitmq": "rabbitmq", "flower": "flower",
}
#: An image that is named after a server and is none: it talks to one.
_CLIENTS = {"exporter", "commander", "insight", "redisinsight", "admin", "pgadmin", "ui", "web", "proxy", "backup",
            "bouncer", "pgbouncer", "pgpool", "sentinel", "operator", "client", "cli", "tools", "migrate", "express"}
_SETTINGS = {"PGDATA": "postgres", "PG_MAJOR": "postgres", "REDIS_DOWNLOAD_URL": "redis", "VALKEY_VERSION": "redis",
             "RABBITMQ_DATA_DIR": "rabbitmq", "RABBITMQ_DEFAULT_USER": "rabbitmq", "RABBITMQ_VERSION": "rabbitmq"}
_PORTS = {5432: "postgres", 6379: "redis", 5672: "rabbitmq", 5671: "rabbitmq"}
_COMMANDS = {"worker": "worker", "multi": "worker", "beat": "beat", "flower": "flower"}


def role_of(item: Mapping[str, Any], argv: Sequence[str] | None, subcommand: str | None, has_urls: bool) -> str:
    """The role of one container. ``argv`` is its command without wrappers (None: unreadable), ``subcommand``
    that of Celery where it is a Celery command, ``has_urls`` whether its environment names a broker, result
    backend or database."""
    if subcommand in _COMMANDS:
        return _COMMANDS[subcommand]
    words = _words(item, argv)
    for word in words:
        if word in _PROGRAMS and not (word == "postgres" and "-c" in words[:1]):
            return _PROGRAMS[word]
    named = _by_image(item.get("image") or "")
    if named:
        return named
    env = item.get("env") or {}
    if subcommand is None and not has_urls:
        for name, role in _SETTINGS.items():
            if name in env:
                return role
        for port in item.get("ports") or ():
            if port.get("container") in _PORTS and port.get("proto", "tcp") == "tcp":
                return _PORTS[port["container"]]
    return "app" if has_urls or subcommand else "other"


def _words(item: Mapping[str, Any], argv: Sequence[str] | None) -> list[str]:
    """The programs of a command line: its first word, and the first words of what a shell line starts."""
    whole = [*(item.get("entrypoint") or ()), *(item.get("cmd") or ())]
    found = [argv[0]] if argv else []
    for word in whole:
        found += re.findall(r"(?:^|[\s;&|])(?:exec\s+)?([\w./-]+)", word)[:1] if " " not in word else re.findall(
            r"(?:^|&&|\|\||;)\s*(?:exec\s+)?([\w./-]+)", word)
    return [word.rsplit("/", 1)[-1] for word in found]


def _by_image(image: str) -> str | None:
    name = image.partition("@")[0].rsplit("/", 1)[-1].partition(":")[0].lower()
    words = [word for word in re.split(r"[^a-z0-9]+", name) if word]
    if _CLIENTS.intersection(words):
        return None
    return next((_IMAGES[word] for word in words if word in _IMAGES), None)
