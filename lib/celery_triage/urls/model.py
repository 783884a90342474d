"""The parts of a URL and what is wrong with it, as plain frozen data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_NETWORKED = frozenset({"redis", "amqp", "mongodb", "kafka", "etcd", "consul", "zookeeper", "pgmq", "qpid"})


@dataclass(frozen=True)
class Problem:
    """What is wrong with a URL. ``kind`` is one of empty, quoted, space, unset, no_scheme, unknown_scheme,
    dialect, async_driver, unescaped, empty_host, empty_credentials, port, redis_database, tls, socket;
    ``text`` is one sentence without any secret; ``stops`` is true when the program was measured to fail on
    it (or to go somewhere else), false for what is only odd. ``hint`` is what to write instead, where that
    is sure.
    """

    kind: str
    text: str
    stops: bool = True
    hint: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class ParsedUrl:
    """The parts of one URL. ``text`` is the URL as it was given, masked or not; ``user`` is decoded,
    ``password_token`` is what stands in the place of the password (the token of a masked URL, the decoded
    password of an unmasked one: such an object never leaves ``collect``), None where there is none.

    ``purpose`` is what it was parsed for; ``family`` names the protocol (redis, amqp, sql, rpc, sqs, file
    …, or ``""`` when the scheme is unknown); ``transport`` is kombu's transport or Celery's backend
    (``redis``, ``db``); ``dialect`` and ``driver`` are SQLAlchemy's (``driver`` None where none is named).
    ``host`` is None when none is named; ``port`` is the default of the scheme where none is written
    (``port_written`` tells); ``hosts`` has every host of a URL with several. ``database`` is the SQL
    database, the Redis number as text, or the AMQP virtual host (``virtual_host`` is the same for AMQP
    only). ``socket`` is the path of a Unix socket.
    """

    text: str = field(repr=False)
    purpose: str = ""
    scheme: str = ""
    family: str = ""
    transport: str = ""
    dialect: str | None = None
    driver: str | None = None
    user: str | None = None
    password_token: str | None = field(default=None, repr=False)
    host: str | None = None
    port: int | None = None
    port_written: bool = False
    hosts: tuple[tuple[str, int | None], ...] = ()
    database: str | None = None
    virtual_host: str | None = None
    socket: str | None = None
    tls: bool = False
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing in the text itself stops the program that reads it."""
        return not any(problem.stops for problem in self.problems)

    @property
    def networked(self) -> bool:
        """Whether using it means a connection to a host (not a file, memory, a Unix socket, another URL)."""
        sql = self.family == "sql" and self.dialect != "sqlite"
        return (self.family in _NETWORKED or sql) and not self.socket

    @property
    def server(self) -> str:
        """``host:port/database`` of a Redis, ``host:port/name`` of a virtual host other than ``/``,
        ``host:port`` of everything else: the key of a server."""
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host or "localhost"
        where = self.socket or (f"{host}:{self.port}" if self.port else host)
        if self.family == "amqp" and (self.virtual_host or "/") != "/":
            return f"{where}/{self.virtual_host}"
        return f"{where}/{self.database or '0'}" if self.family == "redis" else where


def unset_variables(text: str) -> tuple[str, ...]:
    """The variables that stand unreplaced in a text, as ``${NAME}`` without their defaults: ``${NAME}``
    anywhere, ``$NAME``, ``%NAME%`` and ``{{ name }}`` only where it is a whole part of a URL (a password
    may hold a dollar sign)."""
    found = [f"${{{name}}}" for name in re.findall(r"\$\{(\w*)[^}\s]*\}?", text)]
    if "://" in text:
        whole = r"(?<=[/:@])(\$[A-Z_][A-Z0-9_]*|\{\{\s*\w+\s*\}\}|%[A-Z_]{3,}%)(?=[/:@]|$)"
        found += re.findall(whole, text)
    return tuple(dict.fromkeys(found))


def port_number(written: str | None, problems: list[Problem]) -> int | None:
    """The port as a number; what stands there is never quoted, it may be a password that lost its ``@``."""
    if written is None:
        return None
    if written.isascii() and written.isdigit() and len(written) < 6 and int(written) < 65536:
        return int(written)
    what = "empty" if not written else "a variable" if "$" in written else "no number from 0 to 65535"
    problems.append(Problem("port", f"What stands behind the colon of the host, as its port, is {what}."))
    return None


def empty_credentials() -> Problem:
    return Problem("empty_credentials", "User and password are both empty: were their variables unset when "
                                        "the container was made?", stops=False)
