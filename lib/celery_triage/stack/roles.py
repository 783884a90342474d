"""What a container is for: worker, beat, flower, postgres, redis, rabbitmq, app or other.

Decided by the strongest witness there is: the program that it starts, what its own log says it is, the name
of its image, what its environment is made for, and last the ports that it exposes. An image may be renamed
and a port moved; not all of them at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("worker", "beat", "flower", "postgres", "redis", "rabbitmq", "app", "other")
CELERY_ROLES = ("worker", "beat", "flower")
SERVER_ROLES = ("postgres", "redis", "rabbitmq")

_COMMANDS = {"worker": "worker", "multi": "worker", "beat": "beat", "flower": "flower"}
_PROGRAMS = {
    "postgres": "postgres", "pg_ctl": "postgres", "postmaster": "postgres", "pg_ctlcluster": "postgres",
    "redis-server": "redis", "valkey-server": "redis", "keydb-server": "redis", "dragonfly": "redis",
    "rabbitmq-server": "rabbitmq",
}
_IMAGES = {
    "postgres": "postgres", "postgresql": "postgres", "postgis": "postgres", "timescaledb": "postgres",
    "pgvector": "postgres", "redis": "redis", "valkey": "redis", "keydb": "redis", "dragonfly": "redis",
    "rabbitmq": "rabbitmq", "flower": "flower",
}
#: Words of an image that is named after a server and is none: it talks to one.
_CLIENTS = frozenset((
    "exporter commander insight redisinsight admin pgadmin ui web proxy backup bouncer pgbouncer pgpool "
    "sentinel operator client cli tools migrate express").split())
#: Settings that only such a server's image has (official images and Bitnami's).
_SETTINGS = {
    "PGDATA": "postgres", "PG_MAJOR": "postgres", "POSTGRESQL_VOLUME_DIR": "postgres",
    "REDIS_DOWNLOAD_URL": "redis", "VALKEY_VERSION": "redis", "REDIS_DATA_DIR": "redis",
    "RABBITMQ_DATA_DIR": "rabbitmq", "RABBITMQ_VERSION": "rabbitmq", "RABBITMQ_DEFAULT_USER": "rabbitmq",
}
_PORTS = {5432: "postgres", 6379: "redis", 5672: "rabbitmq", 5671: "rabbitmq"}


def role_of(
    item: Mapping[str, Any],
    argv: Sequence[str] | None,
    subcommand: str | None,
    *,
    has_urls: bool = False,
    logged: str | None = None,
) -> str:
    """The role of one container. ``argv`` is its command without wrappers (None: it cannot be read),
    ``subcommand`` Celery's where it is a Celery command, ``has_urls`` whether its environment names a broker,
    result backend or database, ``logged`` the role that its start banner shows."""
    if subcommand in _COMMANDS:
        return _COMMANDS[subcommand]
    for program in _programs(item, argv):
        if program in _PROGRAMS:
            return _PROGRAMS[program]
    if logged:
        return logged
    if role := _by_image(item.get("image") or ""):
        return role
    if subcommand is None and not has_urls:
        env = item.get("env") or {}
        exposed = [port.get("container") for port in item.get("ports") or ()]
        found = [_SETTINGS[name] for name in _SETTINGS if name in env]
        found += [_PORTS[port] for port in exposed if port in _PORTS]
        return found[0] if found else "other"
    if subcommand is None:
        return _by_script(item, argv) or "app"
    return "app"


def _programs(item: Mapping[str, Any], argv: Sequence[str] | None) -> list[str]:
    """The programs that a command starts: the first word of each of its parts, and of each step of a shell
    line."""
    entrypoint, command = item.get("entrypoint") or (), item.get("cmd") or ()
    found = [*(argv or ())[:1], *entrypoint[:1], *command[:1]]
    for word in (*entrypoint, *command):
        if " " in word:
            found += re.findall(r"(?:^|&&|\|\||[;|])\s*(?:exec\s+)?([\w./-]+)", word)
    return [word.rsplit("/", 1)[-1] for word in found]


def _by_image(image: str) -> str | None:
    name = image.partition("@")[0].rsplit("/", 1)[-1].partition(":")[0].lower()
    words = [word for word in re.split(r"[^a-z0-9]+", name) if word]
    if _CLIENTS.intersection(words):
        return None
    return next((_IMAGES[word] for word in words if word in _IMAGES), None)


def _by_script(item: Mapping[str, Any], argv: Sequence[str] | None) -> str | None:
    """The role that the name of a start-up script gives away (``/start-celeryworker``); where the command
    cannot be read, the service's name does."""
    if argv is not None:
        texts = [argv[0].rsplit("/", 1)[-1]] if argv else []
    else:
        script = " ".join([*(item.get("entrypoint") or ()), *(item.get("cmd") or ())])
        texts = [script, item.get("service") or "", item.get("name") or ""]
    for text in texts:
        for role in ("flower", "beat", "worker"):
            if role in text.lower():
                return role
    return None
