"""All other URLs as kombu 5.7 reads them (brokers, and Celery's Redis result backend).

kombu hands ``http://`` + what follows the scheme to ``urllib``: the user and the password end at the *last*
``@`` before the first ``/ ? #``. So a password may hold ``@`` and ``:``; ``/ ? #`` end it too early, and a
bracket makes it an "Invalid IPv6 URL".
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from celery_triage.urls import schemes
from celery_triage.urls.model import ParsedUrl, Problem, empty_credentials, port_number

#: Schemes with a + that kombu or Celery read themselves.
_COMPOUND = frozenset({"redis+socket", "cache+memcached", "cache+memory", "cache+pymemcache", "cache+dummy"})


def parse_wire(text: str, purpose: str, scheme: str, body: str, problems: list[Problem]) -> ParsedUrl:
    """The parts of ``body`` (the whole URL); what is wrong is added to ``problems``."""
    first, _, inner = scheme.partition("+")
    transport = first if first in schemes.BROKERS or first in schemes.RESULTS else first.lower()
    slip = schemes.BROKER_SLIPS.get(scheme) or schemes.BROKER_SLIPS.get(transport)
    problems += _scheme_problems(scheme, first, transport, slip, purpose)
    meant = slip or transport
    tables = (schemes.RESULTS, schemes.BROKERS) if purpose == "result" else (schemes.BROKERS, schemes.RESULTS)
    family = tables[0].get(meant) or tables[1].get(meant) or ""
    default = schemes.PORTS.get(meant)
    several = [part for part in body.split(";") if part.strip()] if family in ("redis", "amqp") else [body]
    user, password, host, port, path, query = _parts(several[0].partition("://")[2], problems)
    hosts = [(host or "localhost", port or default)] if default else [(host, port)] if host else []
    for other in several[1:]:
        _, _, name, number, _, _ = _parts(other.partition("://")[2] or other, problems)
        hosts.append((name or "localhost", number or default))
    database, socket = path or None, None
    if family == "redis" and inner == "socket":
        socket, database = "/" + path.lstrip("/"), query.get("virtual_host", "0").strip("/")
        hosts, host, port, default = [], None, None, None
    elif family == "redis":
        database = path.strip("/") or "0"
    elif family == "amqp":
        database = path or "/"
    if family == "redis" and not (database or "").isdigit():
        problems.append(Problem("redis_database", "The Redis database, behind the last slash, is no number."))
    if family in ("redis", "amqp") and not host and not socket:
        problems.append(Problem("empty_host", f"It names no host: Celery then connects to "
                                              f"localhost:{default}, which is the container itself."))
    if re.search("://:?@", body) and family in ("redis", "amqp"):
        problems.append(empty_credentials())
    if transport == "rediss" and purpose == "result" and "ssl_cert_reqs" not in query:
        problems.append(Problem("tls", "A rediss:// result backend needs ?ssl_cert_reqs=… in its URL, unless "
                                       "redis_backend_use_ssl is set in the app.", stops=False))
    if socket == "/":
        problems.append(Problem("socket", "The path of the socket is missing."))
    return ParsedUrl(
        text, purpose, scheme=scheme, family=family, transport=transport, user=user, password_token=password,
        host=host, port=port or default, port_written=port is not None, hosts=tuple(hosts), database=database,
        virtual_host=database if family == "amqp" else None, socket=socket,
        tls=transport in ("rediss", "amqps"), query=query, problems=tuple(problems))


def _scheme_problems(
    scheme: str, first: str, transport: str, slip: str | None, purpose: str,
) -> list[Problem]:
    if scheme in _COMPOUND:
        return []
    if scheme == "redis+sentinel":
        return [Problem("unknown_scheme", "kombu reads redis+sentinel:// as Redis on localhost; the scheme "
                                          "is sentinel://.", hint="sentinel://")]
    if purpose == "result":
        return _result_problems(scheme, first, transport, slip)
    if purpose == "broker" and (transport not in schemes.BROKERS or slip):
        better = slip or ("amqp" if transport == "rpc" else "")
        called = f"; it is called {better}." if better else "."
        return [Problem("unknown_scheme", f"kombu has no transport named {scheme}{called}",
                        hint=f"{better}://" if better else "")]
    return []


def _result_problems(scheme: str, first: str, transport: str, slip: str | None) -> list[Problem]:
    if first in schemes.RESULTS:
        return []
    if transport in schemes.RESULTS:  # kombu lowers the case of a scheme, Celery does not
        return [Problem("unknown_scheme", f"Celery has no result backend named {first}; it is called "
                                          f"{transport}.", hint=scheme.replace(first, transport, 1) + "://")]
    if schemes.BROKERS.get(slip or transport) == "amqp":
        return [Problem("unknown_scheme", f"Celery 5 has no result backend named {transport}; results over "
                                          f"AMQP are rpc://.", hint="rpc://")]
    if transport == "socket":
        return [Problem("unknown_scheme", "Celery has no result backend named socket; a Redis socket is "
                                          "redis+socket://.", hint="redis+socket://")]
    return [Problem("unknown_scheme", f"Celery has no result backend named {transport} of its own; a package "
                                      f"could bring one.", stops=False)]


def _parts(rest: str, problems: list[Problem]):
    """User, password, host, port, path and query. Where a reserved character cuts the password short, the
    parts are those that were meant: everything up to the last ``@`` is user and password."""
    authority = re.match(r"[^/?#]*", rest)[0]
    late = re.search(r"@(?:\[[^\]]*\]|[\w.${}-]+)(?::[\w${}]*)?(?:[/?;]|$)", rest[len(authority):])
    cut = "@" not in authority and late is not None and ":" in authority
    if cut and re.match(r"[\w.-]+:\d+(?:/\d*)?\?[^@]*=", rest):
        cut = False  # host:port/0?name=a@b: a query
    bracket = "@" in authority and re.search(r"[\[\]]", authority.rpartition("@")[0])
    if cut or bracket:
        userinfo, _, place = (rest if cut else authority).rpartition("@")
        if not cut:
            place += rest[len(authority):]
        wrong = sorted({char for char in userinfo if char in "/?#[]"})
        told = ", ".join(f"{char} (to be written %{ord(char):02X})" for char in wrong)
        problems.append(Problem(
            "unescaped", f"The user or the password holds characters that end it too early: {told}.",
            hint=" ".join(f"%{ord(char):02X}" for char in wrong)))
    else:
        userinfo, _, place = authority.rpartition("@")
        place += rest[len(authority):]
    user, _, password = userinfo.partition(":")
    try:
        split = urlsplit("http://" + place)
        host = unquote(split.hostname or "")
    except ValueError:
        problems.append(Problem("no_scheme", "The host stands in a broken pair of square brackets."))
        return unquote(user) or None, unquote(password) or None, None, None, "", {}
    written = re.search(r":([^:\]]*)$", split.netloc)
    port = port_number(written[1], problems) if written and written[1] else None
    if "${" in host:  # urllib lowers the case of a host; a variable's name keeps its own
        host = re.match(r"[^$]*\$\{[^}]*\}?[^:]*", split.netloc)[0]
    path = split.path[1:] if split.path[:1] == "/" else split.path
    return (unquote(user) or None, unquote(password) or None, host or None, port, unquote(path),
            dict(parse_qsl(split.query)))
