"""Database URLs as SQLAlchemy reads them (1.4.54, 2.0.58 and 2.1.9 measured, all the same).

The user ends at the first ``:``, the password at the first ``@``; a password may hold ``: / # ? [``, but no
``@``: ``u:p@ss@h`` is user u, password p, host ``ss@h``. A port that is no number is refused, also an empty
one.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, parse_qsl, unquote

from celery_triage.urls import schemes
from celery_triage.urls.model import ParsedUrl, Problem, empty_credentials, port_number

#: What Celery (``db``) and kombu (``sqla``) put before a URL of SQLAlchemy.
RESULT_PREFIXES = ("db", "database")
BROKER_PREFIXES = ("sqla", "sqlalchemy")
PREFIXES = RESULT_PREFIXES + BROKER_PREFIXES

_PLACE = re.compile(r"(?:\[([^/?]+)\]|([^/:?]+))?(?::([^/?]*))?")


def parse_sql(text: str, purpose: str, scheme: str, rest: str, problems: list[Problem]) -> ParsedUrl:
    """The parts of ``scheme://rest``; what is wrong is added to ``problems``."""
    prefix, _, inner = scheme.partition("+")
    wrapped = prefix in PREFIXES
    dialect, _, driver = (inner if wrapped else scheme).partition("+")
    problems += _scheme_problems(scheme, prefix if wrapped else "", dialect, driver, purpose)
    real = schemes.DIALECT_SLIPS.get(dialect.lower(), dialect.lower())
    default = schemes.DIALECTS.get(real, {}).get("port")
    user, password, host, port_text, tail = _split(rest, problems)
    path, _, query_text = tail[1:].partition("?") if tail[:1] == "/" else ("", "", tail[1:])
    port = port_number(port_text, problems)
    query = {key: values[-1] for key, values in parse_qs(query_text, keep_blank_values=True).items()}
    hosts = ((host, port or default),) if host else _hosts_in_query(query_text, port or default)
    if hosts and not host:
        host, port = hosts[0]
    socket = None
    if host and host.startswith("/"):
        socket, host, hosts = f"{host}/.s.PGSQL.{port or default}", None, ()
    elif not host and default:
        problems.append(Problem("empty_host", "It names no host: the driver then looks for a server inside "
                                              "the container itself, on its local socket."))
    if user == "" and not password:
        problems.append(empty_credentials())
    return ParsedUrl(
        text, purpose, scheme=scheme, family="sql", transport=prefix if wrapped else real, dialect=dialect,
        driver=driver or None, user=unquote(user) if user else None,
        password_token=unquote(password) if password else None, host=host, port=port or default,
        port_written=port is not None, hosts=hosts, database=unquote(path) or None, socket=socket,
        tls=query.get("sslmode") in ("require", "verify-ca", "verify-full"), query=query,
        problems=tuple(problems))


def _split(rest: str, problems: list[Problem]) -> tuple[str | None, str | None, str | None, str | None, str]:
    """User, password, host, port (texts, None where there is none) and what follows them. Where an ``@`` cuts
    the password short, the parts are those that were meant."""
    userinfo = re.match(r"([^:/]*)(?::([^@]*))?@", rest)
    user, password = (userinfo[1], userinfo[2]) if userinfo else (None, None)
    place = rest[userinfo.end():] if userinfo else rest
    found = _PLACE.match(place)
    if "@" in (found[2] or "") or "@" in (found[3] or ""):
        problems.append(Problem(
            "unescaped", "The password holds an @ that is not written as %40: SQLAlchemy ends the password "
                         "there and takes the rest for the host.", hint="%40"))
        written, _, place = rest[:len(rest) - len(place) + found.end()].rpartition("@")
        user, _, password = written.partition(":")
        return (user, password, *_PLACE.match(place).group(2, 3), rest[len(written) + 1 + len(place):])
    return user, password, found[1] or found[2], found[3], place[found.end():]


def _hosts_in_query(query: str, port: int | None) -> tuple[tuple[str, int | None], ...]:
    """The hosts of ``?host=a:1&host=b`` or ``?host=a,b&port=1,2``: libpq's way to name several."""
    pairs = parse_qsl(query)
    named = [part for key, value in pairs if key == "host" for part in value.split(",")]
    ports = [part for key, value in pairs if key == "port" for part in value.split(",")]
    found = []
    for index, name in enumerate(named):
        bare, _, own = (name, "", "") if name.startswith("/") else name.partition(":")
        own = own or (ports[min(index, len(ports) - 1)] if ports else "")
        found.append((bare, int(own) if own.isdigit() else port))
    return tuple(found)


def _scheme_problems(scheme: str, prefix: str, dialect: str, driver: str, purpose: str) -> list[Problem]:
    found = []
    name = f"{dialect}+{driver}" if driver else dialect
    real = schemes.DIALECT_SLIPS.get(dialect.lower(), dialect.lower())
    right = schemes.DRIVER_SLIPS.get(driver, driver)
    good = f"{real}+{right}" if right else real
    before = f"{prefix}+" if prefix else ""
    if purpose == "result" and prefix not in RESULT_PREFIXES:
        found.append(Problem("unknown_scheme", f"Celery has no result backend named {prefix or dialect}: a "
                                               f"database needs db+ before its URL.", hint=f"db+{good}://"))
    elif purpose == "broker" and prefix not in BROKER_PREFIXES:
        found.append(Problem("unknown_scheme", f"kombu has no transport named {prefix or dialect}: a "
                                               f"database as broker needs sqla+ before its URL.", hint=f"sqla+{good}://"))
    if not dialect:
        found.append(Problem("dialect", f"{scheme}:// names no database: a dialect such as postgresql "
                                        f"belongs behind the +."))
    elif dialect != real and schemes.is_sql(dialect):
        found.append(Problem("dialect", f"SQLAlchemy (1.4 and later) knows no dialect {dialect}; it is "
                                        f"called {real}.", hint=f"{before}{good}://"))
    if driver != right:
        found.append(Problem("dialect", f"SQLAlchemy knows no driver {driver} for {real}; it is called "
                                        f"{right}.", hint=f"{before}{good}://"))
    elif driver and real in schemes.DIALECTS and driver not in schemes.DIALECTS[real]["drivers"]:
        found.append(Problem("dialect", f"SQLAlchemy itself has no driver {driver} for {real}; a package "
                                        f"could bring one.", stops=False))
    if driver in schemes.ASYNC_DRIVERS and (prefix or purpose in ("broker", "result")):
        # MissingGreenlet: measured with Celery 5.4, SQLAlchemy 2.0.58, for asyncpg and psycopg_async.
        found.append(Problem("async_driver", f"{name} works only in an asyncio engine; Celery makes a plain "
                                             f"one, and every use of it ends in MissingGreenlet."))
    return found
