"""PostgreSQL: which databases exist, what the URL's user may do, and how much room is left for connections.

One login for each distinct server address, user and password, to the maintenance database ``postgres``
(then ``template1``), never to the wanted one: a failed login there would be a FATAL line of our own in the
log that the next run reads. Every statement that can be sent stands in ``STATEMENTS``; each runs in a READ
ONLY transaction with a ``statement_timeout``. What is in a database that exists, `results` reads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from celery_triage.collect import results
from celery_triage.collect.probe import Emit, Source, now
from celery_triage.collect.servers import Server, servers, settled
from celery_triage.model import Section
from celery_triage.stack import Stack

MAINTENANCE = ("postgres", "template1")
CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_MS = 3000
DEADLINE_S = 15.0

#: Everything that is ever sent. The first two are settings of the transaction, the others read catalogues
#: that every role may read (PostgreSQL 10 to 18).
STATEMENTS = {
    "timeout": f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}",
    "lock": "SET LOCAL lock_timeout = 500",
    "server": """
        SELECT current_setting('server_version'), pg_is_in_recovery(), current_user,
               current_setting('max_connections')::int,
               current_setting('superuser_reserved_connections')::int
               + coalesce(current_setting('reserved_connections', true), '0')::int""",
    "databases": """
        SELECT datname, pg_get_userbyid(datdba), datallowconn, has_database_privilege(oid, 'CONNECT')
          FROM pg_database WHERE NOT datistemplate ORDER BY datname LIMIT 1000""",
    "roles": """
        SELECT rolname, rolcanlogin, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = ANY(%s)""",
    "connections": """
        SELECT datname, numbackends FROM pg_stat_database
         WHERE datname IS NOT NULL AND numbackends > 0 ORDER BY datname LIMIT 1000""",
    "waiting": """
        SELECT w.datname, w.pid, extract(epoch FROM now() - w.query_start)::float8, host(w.client_addr),
               b.pid, b.state, extract(epoch FROM now() - b.xact_start)::float8, b.usename,
               b.application_name, host(b.client_addr)
          FROM pg_stat_activity w, unnest(pg_blocking_pids(w.pid)) AS held(pid)
          JOIN pg_stat_activity b ON b.pid = held.pid
         WHERE w.wait_event_type = 'Lock' ORDER BY w.query_start LIMIT 200""",
}

#: A refused login has no SQLSTATE in psycopg 3.3 (libpq drops it), so it is told from the server's sentence
#: (PostgreSQL 15 run here; texts the same in the sources of 12 to 18). A server that speaks another
#: language keeps ``sqlstate`` null and its own sentence.
_SQLSTATES = (
    ("28P01", r"password authentication failed for user"),
    ("28000", r"no pg_hba\.conf entry|pg_hba\.conf rejects|role \".*\" does not exist|not permitted to log in"
              r"|(?:Peer|Ident|GSSAPI|LDAP|PAM|RADIUS|certificate|trust) authentication failed"),
    ("3D000", r"database \".*\" does not exist"),
    ("55000", r"is not currently accepting connections"),
    ("53300", r"too many connections for|too many clients|remaining connection slots are reserved"),
    ("57P03", r"the database system is (?:starting up|shutting down|in recovery mode|not )"),
    ("42501", r"permission denied for database"),
)
_STATUS = {"28P01": "denied", "28000": "denied", "42501": "denied", "53300": "denied", "57P03": "no_reply",
           "3D000": "denied", "55000": "denied"}


def source(
    stack: Stack, options: Mapping[str, Any], redactor: Any, *, with_results: bool = False,
) -> Source:
    """The section ``postgres``: every PostgreSQL that a result backend or database URL of the target leads
    to; ``with_results`` also the section ``results``: what is in those of their databases that exist."""
    asked = servers(stack, "sql", ("result", "database"), options)

    def run(emit: Emit) -> None:
        _forget_own_settings()
        entries = [_blank(server) for server in asked]
        for server, entry in zip(asked, entries, strict=True):
            if options.get("no_login") and server.ways:
                entry.update(status="withheld", why="not asked: --no-login sends no password")
            elif server.ways:
                here = [other.user for other in asked if other.ways[:1] == server.ways[:1] and other.user]
                _ask(server, entry, here, emit, redactor)
                emit.section(_section(entries))
        _borrow(entries)
        emit.section(_section(entries))
        if with_results:
            _look_into(asked, entries, emit, redactor)

    names = ("postgres", "results") if with_results else ("postgres",)
    return Source("postgres", names, run, deadline_s=DEADLINE_S)


def _look_into(
    asked: list[Server], entries: list[dict[str, Any]], emit: Emit, redactor: Any,
) -> None:
    """The section ``results``, sent after each server: what was read before a deadline is kept."""
    found: list[dict[str, dict[str, Any]]] = []
    for server, entry in zip(asked, entries, strict=True):
        purposes: dict[str, set[str]] = {}
        for _, url in server.urls:
            purposes.setdefault(url.parsed.database or url.parsed.user or "", set()).add(url.purpose)
        found.append(results.blanks(entry, purposes, redactor.text))
    for server, entry, databases in zip(asked, entries, found, strict=True):
        def log_in(database: str, server: Server = server, entry: dict[str, Any] = entry) -> Any:
            address, _, port = entry["address"].rpartition(":")
            return _open(server, address, int(port), database, emit)

        results.look(databases, log_in, emit, lambda error: told(error, redactor), redactor.text)
        emit.section(results.section([one for each in found for one in each.values()]))
    if not asked:
        emit.section(results.section([]))


def _section(entries: list[dict[str, Any]]) -> Section:
    status, why = settled(entries)
    return Section("postgres", status, {"servers": entries}, why=why, taken_at=now(),
                   how="logins to the maintenance database from the engine's machine, read-only statements")


def _blank(server: Server) -> dict[str, Any]:
    entry = {**server.entry(), "sqlstate": None, "error_kind": None, "user": server.user, "version": None,
             "in_recovery": None, "databases": {}, "wanted": {}, "roles": {}, "connections": None,
             "waiting": None}
    for label, url in server.urls:
        # Without a database in the URL, libpq takes the one that is named like the user.
        name = url.parsed.database or url.parsed.user
        if name:
            wanted = entry["wanted"].setdefault(name, {"exists": None, "services": []})
            if label not in wanted["services"]:
                wanted["services"].append(label)
    return entry


def _ask(server: Server, entry: dict[str, Any], users: list[str], emit: Emit, redactor: Any) -> None:
    for index, (address, port, via) in enumerate(server.ways):
        if emit.left() < 1:
            return
        entry.update(address=f"{address}:{port}", via=via)
        try:
            with _login(server, address, port, emit) as connection:
                _read(connection, entry, users, emit, server, redactor.text)
                entry.update(status="ok", why="", sqlstate=None, error_kind=None)
                return
        except Exception as error:  # also a name that is no UTF-8, from a database without an encoding
            entry.update(told(error, redactor))
        if entry["error_kind"] not in ("refused", "timeout") or index == len(server.ways) - 1:
            return


def _login(server: Server, address: str, port: int, emit: Emit) -> psycopg.Connection:
    """A connection to the first maintenance database that takes one. Another is tried only when the refusal
    was about the database, never for a wrong password."""
    for database in MAINTENANCE:
        try:
            return _open(server, address, port, database, emit)
        except psycopg.Error as error:
            retry = sqlstate_of(str(error)) in ("3D000", "55000", "42501", "28000")
            if retry and database != MAINTENANCE[-1] and "role " not in str(error):
                continue
            raise
    raise AssertionError("the last database either returned or raised")


def _open(server: Server, address: str, port: int, database: str, emit: Emit) -> psycopg.Connection:
    """One login, after which every transaction is READ ONLY."""
    parsed = server.urls[0][1].parsed
    mode = parsed.query.get("sslmode", "prefer")
    by_name = not re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]+", address)
    given = {
        "host": address if by_name else server.host, "port": port, "user": server.user,
        "password": server.password, "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "celery-triage", "client_encoding": "utf8",
        # The authorities' certificates lie in the container, not here: encrypted, but not verified.
        "sslmode": "require" if mode.startswith("verify") else mode,
        "gssencmode": "disable", "passfile": "/dev/null",
    }
    if not by_name:
        given["hostaddr"] = address
    target = f"{server.user}@{server.host}:{port}/{database}"
    with emit.asking(f"postgres login {target} ({address}:{port})"):
        connection = psycopg.connect(**given, dbname=database)
    connection.read_only = True
    return connection


def _read(
    connection: psycopg.Connection, entry: dict[str, Any], users: list[str], emit: Emit, server: Server,
    clean: Callable[..., str],
) -> None:
    with emit.asking(f"postgres {', '.join(STATEMENTS)} {server.key}") as asked:
        connection.execute(STATEMENTS["timeout"])
        connection.execute(STATEMENTS["lock"])
        version, recovering, user, most, reserved = connection.execute(STATEMENTS["server"]).fetchone()
        entry.update(version=version, in_recovery=recovering, user=user)
        there = {"template0", "template1"}
        for name, owner, allowed, can in connection.execute(STATEMENTS["databases"]):
            there.add(name)
            entry["databases"][clean(name, 200)] = {
                "owner": clean(owner, 200), "allow_connections": allowed, "can_connect": can}
        for wanted, state in entry["wanted"].items():
            state["exists"] = wanted in there
        names = sorted({*users, user})
        found = {row[0]: row[1:] for row in connection.execute(STATEMENTS["roles"], (names,))}
        for name in names:
            login, superuser, creates = found.get(name, (None, None, None))
            entry["roles"][name] = {"exists": name in found, "can_login": login, "superuser": superuser,
                                    "createdb": creates}
        counted = connection.execute(STATEMENTS["connections"]).fetchall()
        by_database = {clean(name, 200): number for name, number in counted}
        entry["connections"] = {"max": most, "reserved": reserved, "used": sum(by_database.values()),
                                "by_database": by_database}
        asked.outcome = f"PostgreSQL {version}, {len(entry['databases'])} databases"
        try:
            waiting = connection.execute(STATEMENTS["waiting"]).fetchall()
        except psycopg.Error:  # all that was read before is worth more; the transaction ends here anyway
            waiting = None
        entry["waiting"] = waiting if waiting is None else [
            {"database": clean(row[0] or "", 200), "pid": row[1], "seconds": row[2], "address": row[3],
             "by": {"pid": row[4], "state": row[5], "seconds": row[6], "user": clean(row[7] or "", 200),
                    "application": clean(row[8] or "", 200), "address": row[9]}}
            for row in waiting]
    connection.rollback()


def _borrow(entries: list[dict[str, Any]]) -> None:
    """What another login at the same address saw of a role that was refused and of its database."""
    for entry in entries:
        for other in entries:
            if entry["status"] == "ok" or other["status"] != "ok" or other["address"] != entry["address"]:
                continue
            for name, wanted in entry["wanted"].items():
                wanted["exists"] = name in other["databases"]
            if entry["user"] in other["roles"]:
                entry["roles"][entry["user"]] = other["roles"][entry["user"]]


def told(error: Exception, redactor: Any) -> dict[str, Any]:
    """Status, sentence, SQLSTATE and kind of a failure, masked."""
    text = str(error)
    state = getattr(error, "sqlstate", None) or sqlstate_of(text)
    if state:
        status, kind = _STATUS.get(state, "no_reply"), "starting" if state == "57P03" else "refused_login"
    elif isinstance(error, psycopg.errors.ConnectionTimeout) or "timeout expired" in text:
        status, kind = "timeout", "timeout"
    elif "Connection refused" in text or "No route to host" in text or "is unreachable" in text:
        status, kind = "unreachable", "refused"
    elif "could not translate host name" in text or "failed to resolve host" in text:
        status, kind = "unreachable", "dns"
    elif "no password supplied" in text:
        status, kind = "denied", "no_password"
    elif "SSL" in text or "TLS" in text:
        status, kind = "denied", "tls"
    else:
        status, kind = "no_reply", "other"
    sentence = re.sub(r"^connection failed: ", "", " ".join(text.split()))
    return {"status": status, "why": redactor.text(sentence, 500), "sqlstate": state, "error_kind": kind}


def sqlstate_of(text: str) -> str | None:
    """The SQLSTATE that the sentence of a refused login stands for; None when it is not known."""
    return next((state for state, pattern in _SQLSTATES if re.search(pattern, text)), None)


def _forget_own_settings() -> None:
    """Nothing of the person who runs this decides where and as whom we log in: no PG… variables, no password
    file, no client certificate of theirs (libpq looks in the home folder)."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    os.environ["HOME"] = "/nonexistent"
