"""Parsing a broker, result or database URL the way that the program which gets it parses it.

Three readers, three grammars, all measured: kombu 5.7 (brokers, and Celery's Redis result backend) splits as
``urllib`` splits ``http://…``; SQLAlchemy 1.4 to 2.1 (``db+…``, ``sqla+…`` and every database URL) has its own
pattern, in which a password may hold ``: / # ?`` but no ``@``. So an unescaped ``@`` breaks only SQL URLs, and
``/ # ? [ ]`` break only the others; only what breaks is called a problem.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from celery_triage.urls import schemes

PURPOSES = ("broker", "result", "database", "")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a URL. ``kind`` is one of empty, quoted, space, unset, no_scheme, unknown_scheme,
    dialect, async_driver, unescaped, empty_host, empty_credentials, port, redis_database, tls, socket;
    ``text`` is one sentence without any secret; ``stops`` is true when the program was measured to fail on it
    (or to go somewhere else), false for what is only odd. ``hint`` is what to write instead, where one is certain.
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

    ``purpose`` is what it was parsed for; ``family`` names the protocol (redis, amqp, sql, rpc, sqs, file …, or
    ``""`` when the scheme is unknown); ``transport`` is kombu's transport or Celery's backend (``redis``, ``db``);
    ``dialect`` and ``driver`` are SQLAlchemy's (``driver`` None where none is named). ``host`` is None when none
    is named; ``port`` is the default of the scheme where none is written (``port_written`` tells); ``hosts`` has
    every host of a URL with several. ``database`` is the SQL database, the Redis number as text, or the AMQP
    virtual host (``virtual_host`` is the same for AMQP only). ``socket`` is the path of a Unix socket.
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
        """Whether using it means a connection to a host (not a file, memory, Unix socket or another URL)."""
        return (self.family in ("redis", "amqp", "mongodb", "kafka", "etcd", "consul", "zookeeper", "pgmq", "qpid")
                or (self.family == "sql" and self.dialect != "sqlite")) and not self.socket

    @property
    def server(self) -> str:
        """``host:port/database`` of a Redis, ``host:port`` of everything else: the key of a server."""
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host or "localhost"
        where = self.socket or (f"{host}:{self.port}" if self.port else host)
        return f"{where}/{self.database or '0'}" if self.family == "redis" else where


def parse(text: str, purpose: str = "") -> ParsedUrl:
    """What ``text`` means to the program that uses it as ``purpose`` (broker, result, database; ``""``: as its
    scheme says). Never raises; whatever cannot be read is told in ``problems``, and the parts are then filled
    with what was probably meant."""
    if purpose not in PURPOSES:
        raise ValueError(f"{purpose!r} is not one of {', '.join(PURPOSES)}")
    problems: list[Problem] = []
    body = _unwrap(text, problems)
    if not body:
        what = {"broker": "Celery then takes its default, amqp://guest@localhost:5672//",
                "result": "Celery then keeps no results"}.get(purpose, "there is nothing to connect to")
        return ParsedUrl(text, purpose, problems=(Problem("empty", f"The value is empty; {what}."), *problems))
    scheme, separator, rest = body.partition("://")
    if not separator:
        return _without_scheme(text, body, purpose, problems)
    if unset := unset_variables(body):
        names = ", ".join(unset)
        problems.append(Problem("unset", f"{names} was never replaced by a value: it stands there literally."))
    first, _, inner = scheme.partition("+")
    sql = inner.partition("+")[0] if first in ("db", "database", "sqla", "sqlalchemy") else first
    purpose_here = purpose or guess_purpose(scheme)
    if schemes.is_sql(sql) or first in ("db", "database", "sqla", "sqlalchemy"):
        return _sql(text, purpose_here, scheme, rest, problems)
    return _kombu(text, purpose_here, scheme, body, problems)


def guess_purpose(scheme: str) -> str:
    """The purpose that a scheme alone decides: broker, result, database, or ``""`` (redis can be either)."""
    first = scheme.partition("+")[0]
    if first in ("sqla", "sqlalchemy") or schemes.BROKERS.get(first.lower()) in ("amqp", "sqs", "kafka", "qpid"):
        return "broker"
    if first in ("db", "database", "rpc", "cache", "file"):
        return "result"
    return "database" if schemes.is_sql(first) else ""


def unset_variables(text: str) -> tuple[str, ...]:
    """The variables that stand unreplaced in a text: ``${NAME}`` anywhere, ``$NAME`` or ``%NAME%`` only where
    it is a whole part of the URL (a password may hold a dollar sign)."""
    found = re.findall(r"\$\{[^}\s]*\}?", text)
    if "://" in text:
        found += re.findall(r"(?<=[/:@])(\$[A-Z_][A-Z0-9_]*|\{\{?\s*\w+\s*\}?\}|%[A-Z_]{3,}%)(?=[/:@]|$)", text)
    return tuple(dict.fromkeys(found))


def _unwrap(text: str, problems: list[Problem]) -> str:
    """The text without what does not belong to it: surrounding quotes and blanks."""
    body = text.strip()
    if len(body) > 1 and body[0] in "'\"" and body[-1] == body[0]:
        problems.append(Problem(
            "quoted", f"The quotes ({body[0]}) are part of the value: whoever set it quoted it twice."))
        return body[1:-1].strip()
    if body and body[0] in "'\"":
        problems.append(Problem("quoted", f"The value begins with a quote ({body[0]}) that is never closed."))
        return body[1:]
    if body and body != text:
        # A leading blank makes kombu 5.7 read the host as the path; a trailing one belongs to the last part.
        problems.append(Problem("space", "There is a blank or a line end before or after the URL."))
    return body


def _without_scheme(text: str, body: str, purpose: str, problems: list[Problem]) -> ParsedUrl:
    if unset := unset_variables(body):
        problems.append(Problem(
            "unset", f"{', '.join(unset)} was never replaced by a value: it stands there literally."))
        return ParsedUrl(text, purpose, problems=tuple(problems))
    table = schemes.RESULTS if purpose == "result" else schemes.BROKERS
    if body in table:  # a bare name is legal: `result_backend = "rpc"`
        family, port = table[body], schemes.PORTS.get(body)
        host = "localhost" if port else None
        return ParsedUrl(text, purpose, scheme=body, family=family, transport=body, host=host, port=port,
                         hosts=((host, port),) if host else (), problems=tuple(problems))
    slip = re.match(r"(\w[\w+-]*):/?/?(?!/)", body)
    if slip and schemes.known(slip[1]) and "//" not in body:
        problems.append(Problem("no_scheme", f"After {slip[1]} there should be ://, and it is not.",
                                hint=f"{slip[1]}://"))
    elif purpose == "broker":
        problems.append(Problem("no_scheme", "It has no scheme (such as redis:// or amqp://); kombu then takes "
                                             "all of it for the name of an AMQP host."))
    else:
        problems.append(Problem("no_scheme", "It has no scheme (such as redis:// or db+postgresql://)."))
    return ParsedUrl(text, purpose, problems=tuple(problems))


def _number(written: str | None, problems: list[Problem]) -> int | None:
    if written is None:
        return None
    if written.isascii() and written.isdigit() and int(written) < 65536:
        return int(written)
    if written.startswith("$"):
        problems.append(Problem("port", f"The port is not a number but {written}."))
    else:
        problems.append(Problem("port", f"The port {written!r} is not a number from 0 to 65535."))
    return None


def _sql(text: str, purpose: str, scheme: str, rest: str, problems: list[Problem]) -> ParsedUrl:
    prefix, _, inner = scheme.partition("+")
    wrapped = prefix in ("db", "database", "sqla", "sqlalchemy")
    dialect, _, driver = (inner if wrapped else scheme).partition("+")
    problems += _sql_scheme_problems(scheme, prefix if wrapped else "", dialect, driver, purpose)
    userinfo = re.match(r"([^:/]*)(?::([^@]*))?@", rest)
    user, password = (userinfo[1], userinfo[2]) if userinfo else (None, None)
    place = rest[userinfo.end():] if userinfo else rest
    authority = re.match(r"(?:\[([^/?]+)\]|([^/:?]+))?(?::([^/?]*))?", place)
    tail = place[authority.end():]
    host = authority[1] or authority[2]
    port_text = authority[3]
    path, _, query_text = tail[1:].partition("?") if tail[:1] == "/" else ("", "", tail[1:])
    if host and "@" in host:
        # "u:p@ss@h" is user u, password p, host ss@h to SQLAlchemy (1.4.54, 2.0.58, 2.1.9).
        problems.append(Problem("unescaped", "The password holds an @ that is not written as %40: SQLAlchemy ends "
                                             "the password there and takes the rest for the host.", hint="%40"))
        extra, host = host.rsplit("@", 1)
        password = f"{password}@{extra}"
    elif port_text and "@" in port_text:
        problems.append(Problem("unescaped", "The password holds an @ that is not written as %40: SQLAlchemy ends "
                                             "the password there and takes the rest for host and port.", hint="%40"))
        extra, _, place = rest.rpartition("@")
        user, _, password = extra.partition(":")
        authority = re.match(r"([^/:?]*)(?::([^/?]*))?", place)
        host, port_text, tail = authority[1], authority[2], place[authority.end():]
        path, _, query_text = tail[1:].partition("?")
    real = schemes.DIALECT_SLIPS.get(dialect.lower(), dialect.lower())
    default = schemes.DIALECTS.get(real, {}).get("port")
    port = _number(port_text, problems)
    query = {key: values[-1] for key, values in parse_qs(query_text, keep_blank_values=True).items()}
    hosts = _sql_hosts(host, port or default, query_text, default)
    if hosts and not host:
        host, port = hosts[0][0], hosts[0][1]
    socket = None
    if host and host.startswith("/"):
        socket, host = f"{host}/.s.PGSQL.{port or default}", None
    elif not host and default:
        problems.append(Problem("empty_host", "It names no host: the driver then looks for a server inside the "
                                              "container itself, on its local socket."))
    if userinfo and not user and not password:
        problems.append(Problem("empty_credentials", "User and password are both empty: were their variables "
                                                     "unset when the container was made?", stops=False))
    return ParsedUrl(
        text, purpose, scheme=scheme, family="sql", transport=prefix if wrapped else real, dialect=dialect,
        driver=driver or None, user=unquote(user) if user else None,
        password_token=unquote(password) if password else None, host=host, port=port or default,
        port_written=port is not None, hosts=hosts, database=unquote(path) or None, socket=socket,
        tls=query.get("sslmode") in ("require", "verify-ca", "verify-full"), query=query, problems=tuple(problems))


def _sql_hosts(host: str | None, port: int | None, query: str, default: int | None):
    """All hosts: of the URL, or of repeated ``host=`` in its query (libpq's way to name several)."""
    if host:
        return ((host, port),)
    pairs = parse_qsl(query)
    named = [part for key, value in pairs if key == "host" for part in value.split(",")]
    ports = [part for key, value in pairs if key == "port" for part in value.split(",")]
    found = []
    for index, name in enumerate(named):
        bare, _, own = name.partition(":") if not name.startswith("/") else (name, "", "")
        own = own or (ports[min(index, len(ports) - 1)] if ports else "")
        found.append((bare, int(own) if own.isdigit() else port or default))
    return tuple(found)


def _sql_scheme_problems(scheme: str, prefix: str, dialect: str, driver: str, purpose: str) -> list[Problem]:
    found = []
    name = f"{dialect}+{driver}" if driver else dialect
    real = schemes.DIALECT_SLIPS.get(dialect.lower(), dialect.lower())
    good = f"{real}+{driver}" if driver else real
    if purpose == "result" and prefix not in ("db", "database"):
        found.append(Problem("unknown_scheme", f"Celery has no result backend named {scheme}: a database needs "
                                               f"db+ before its URL.", hint=f"db+{good}://"))
    elif purpose == "broker" and prefix not in ("sqla", "sqlalchemy"):
        found.append(Problem("unknown_scheme", f"kombu has no transport named {prefix or scheme}: a database as "
                                               f"broker needs sqla+ before its URL.", hint=f"sqla+{good}://"))
    if dialect and dialect not in schemes.DIALECTS and schemes.is_sql(dialect):
        found.append(Problem("dialect", f"SQLAlchemy (1.4 and later) knows no dialect {dialect}; it is called "
                                        f"{real}.", hint=f"{prefix + '+' if prefix else ''}{good}://"))
    elif not dialect:
        found.append(Problem("dialect", f"{scheme}:// names no database: a dialect such as postgresql belongs "
                                        f"after the +."))
    if driver in schemes.DRIVER_SLIPS:
        right = f"{real}+{schemes.DRIVER_SLIPS[driver]}"
        found.append(Problem("dialect", f"SQLAlchemy knows no driver {driver} for {real}; it is called "
                                        f"{schemes.DRIVER_SLIPS[driver]}.",
                             hint=f"{prefix + '+' if prefix else ''}{right}://"))
    if driver in schemes.ASYNC_DRIVERS and (prefix or purpose in ("broker", "result")):
        # MissingGreenlet, measured with Celery 5.4 and SQLAlchemy 2.0.58 for asyncpg and psycopg_async.
        found.append(Problem("async_driver", f"{name} works only in an asyncio engine; Celery makes a plain one, "
                                             f"and every use ends in MissingGreenlet."))
    return found


def _kombu(text: str, purpose: str, scheme: str, body: str, problems: list[Problem]) -> ParsedUrl:
    first, _, inner = scheme.partition("+")
    transport = first if first in schemes.BROKERS or first in schemes.RESULTS else first.lower()
    problems += _kombu_scheme_problems(scheme, transport, purpose)
    family = (schemes.RESULTS if purpose == "result" else schemes.BROKERS).get(transport) or (
        schemes.BROKERS.get(transport) or schemes.RESULTS.get(transport)
        or schemes.BROKERS.get(schemes.BROKER_SLIPS.get(scheme, ""), ""))
    default = schemes.PORTS.get(transport) or schemes.PORTS.get(schemes.BROKER_SLIPS.get(scheme, ""))
    alternates = [part for part in body.split(";") if part.strip()] if family in ("redis", "amqp") else [body]
    user, password, host, port, path, query = _parts(alternates[0].partition("://")[2], problems)
    hosts = [(host or "localhost", port or default)] if default else [(host, port)] if host else []
    for other in alternates[1:]:
        _, _, name, number, _, _ = _parts(other.partition("://")[2] if "://" in other else other, problems)
        hosts.append((name or "localhost", number or default))
    database, socket = path or None, None
    if family == "redis":
        if inner == "socket":
            socket, database = "/" + path.lstrip("/"), query.get("virtual_host", "0").strip("/")
            hosts, host, port, default = [], None, None, None
        else:
            database = path.strip("/") or "0"
        if not database.isdigit():
            problems.append(Problem("redis_database", f"The Redis database must be a number, not {database!r}."))
    elif family == "amqp":
        database = path or "/"
    if family in ("redis", "amqp") and not host and not socket:
        problems.append(Problem("empty_host", f"It names no host: Celery then connects to localhost:{default}, "
                                              f"which is the container itself.",
                                stops=purpose != "" or "@" in body))
    if "@" in body and not user and not password and family in ("redis", "amqp"):
        problems.append(Problem("empty_credentials", "User and password are both empty: were their variables "
                                                     "unset when the container was made?", stops=False))
    if transport == "rediss" and purpose == "result" and "ssl_cert_reqs" not in query:
        problems.append(Problem("tls", "A rediss:// result backend needs ?ssl_cert_reqs=… in its URL, unless "
                                       "redis_backend_use_ssl is set in the app.", stops=False))
    if socket is None and inner == "socket" and transport == "redis":
        problems.append(Problem("socket", "The path of the socket is missing."))
    return ParsedUrl(
        text, purpose, scheme=scheme, family=family, transport=transport, user=user, password_token=password,
        host=host, port=port or default, port_written=port is not None, hosts=tuple(hosts), database=database,
        virtual_host=database if family == "amqp" else None, socket=socket,
        tls=transport in ("rediss", "amqps"), query=query, problems=tuple(problems))


def _kombu_scheme_problems(scheme: str, transport: str, purpose: str) -> list[Problem]:
    if scheme in ("redis+socket", "cache+memcached", "cache+memory", "cache+pymemcache", "cache+dummy"):
        return []
    slip = schemes.BROKER_SLIPS.get(scheme) or schemes.BROKER_SLIPS.get(transport)
    if scheme == "redis+sentinel":
        return [Problem("unknown_scheme", "kombu reads redis+sentinel:// as Redis on localhost; the scheme is "
                                          "sentinel://.", hint="sentinel://")]
    if purpose == "result" and transport not in schemes.RESULTS:
        if schemes.BROKERS.get(transport) == "amqp" or slip in ("amqp", "pyamqp"):
            return [Problem("unknown_scheme", f"Celery 5 has no result backend named {transport}; results over "
                                              f"AMQP are rpc://.", hint="rpc://")]
        hint = {"socket": "redis+socket://"}.get(transport, "")
        return [Problem("unknown_scheme", f"Celery has no result backend named {transport} of its own; a package "
                                          f"could bring one." if not hint else
                        f"Celery has no result backend named {transport}; a Redis socket is {hint}.",
                        stops=bool(hint), hint=hint)]
    if purpose == "broker" and (transport not in schemes.BROKERS or slip):
        better = slip or ("amqp" if transport == "rpc" else "")
        return [Problem("unknown_scheme", f"kombu has no transport named {transport}"
                                          + (f"; it is called {better}." if better else "."),
                        hint=f"{better}://" if better else "")]
    return []


def _parts(rest: str, problems: list[Problem]):
    """User, password, host, port, path and query as kombu 5.7 finds them: it splits ``http://`` + rest."""
    authority = re.match(r"[^/?#]*", rest)[0]
    # A reserved character in the password ends the authority early, and the @ is left in what follows.
    late = re.search(r"@(?:\[[^\]]*\]|[\w.${}-]*)(?::[\w${}]*)?(?:[/?;]|$)", rest[len(authority):])
    broken = sorted({char for char in rest.rpartition("@")[0] if char in "/?#[]"})
    if "@" in authority and not ("[" in broken or "]" in broken):
        broken = []
    elif "@" not in authority and not (late and ":" in authority):
        broken = []
    if broken:
        quoted = " ".join(f"{char} (write %{ord(char):02X})" for char in broken)
        problems.append(Problem("unescaped", f"The password or user holds characters that end it too early: "
                                             f"{quoted}.", hint=" ".join(f"%{ord(char):02X}" for char in broken)))
        userinfo, _, place = rest.rpartition("@")
        user, _, password = userinfo.partition(":")
    else:
        userinfo, at, place = authority.rpartition("@")
        user, _, password = userinfo.partition(":")
        place = place + rest[len(authority):]
    try:
        split = urlsplit("http://" + place)
        host = split.hostname
    except ValueError:
        problems.append(Problem("no_scheme", "The host stands in a broken pair of square brackets."))
        return unquote(user) or None, unquote(password) or None, None, None, "", {}
    written = re.search(r":([^:\]]*)$", split.netloc)
    port = _number(written[1], problems) if written and written[1] else None
    if host and "$" in host:  # urllib lowers the case of hosts; a variable's name keeps its own
        host = re.match(r"[^:]*", split.netloc)[0] if "{" not in split.netloc else split.netloc.partition("}")[0] + "}"
    path = split.path[1:] if split.path[:1] == "/" else split.path
    return (unquote(user) or None, unquote(password) or None, unquote(host or "") or None, port,
            unquote(path), dict(parse_qsl(split.query)))
