"""The section `results`: Celery's result tables, Alembic's version and the names of all tables, in each
database that exists.

One login to each database that a result backend or database URL means, after ``pg_database`` has said that
it exists and that this user may connect (a refused login would be a FATAL line of our own in the server's
log), in a READ ONLY transaction. Every statement that can be sent is made from ``STATEMENTS``.

A table of results may have ten million rows: only the newest ``SAMPLE`` rows by ``id`` are read, by the index
that Celery's own table has on it, and never where there is no such index; ``sample`` says what was seen.

Times: Celery writes ``date_done`` into a column without time zone. With psycopg 3 and Celery 5.7 the server
stores what its clock shows in the session's time zone (measured: one hour ahead of UTC with
``TimeZone = 'Europe/Berlin'``); a version that writes plain UTC stores UTC. So where the session's zone is
not UTC both readings are tried, and ``read_as`` and ``sure`` say which one was taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from celery_triage.collect.probe import Emit, now
from celery_triage.collect.servers import NOT_YET
from celery_triage.model import Section

#: Rows of the result table that are read, newest first: of ten million rows (2 GB) 131 pages and 4.5 ms, all
#: statements of one database together 7 to 10 ms, 18 ms right after the server's start (PostgreSQL 15).
SAMPLE = 5000
#: Without an index on ``id`` a table with more rows than this (or of unknown size) is not read.
SMALL = 20_000
STATEMENT_TIMEOUT_MS = 2000
#: More databases of one server, task names and versions are not looked at.
MOST_DATABASES = 8
MOST_NAMES = 300
MOST_VERSIONS = 20
MOST_RELATIONS = 1000

#: Names that Celery gives its tables (``database_table_names`` can change them), and Alembic's.
TABLES = ("celery_taskmeta", "celery_tasksetmeta")
ALEMBIC = "alembic_version"
#: States in which a task has not come to its end: a row with one of them says nothing of something done.
UNREADY = ("PENDING", "RECEIVED", "STARTED", "RETRY", "PROGRESS")

#: SQLSTATEs of a statement that ran into our own time-out, and of a lock that somebody holds.
_TOO_LONG = ("57014", "55P03")

STATEMENTS = {
    "timeout": f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}",
    "lock": "SET LOCAL lock_timeout = 300",
    "alone": "SET LOCAL max_parallel_workers_per_gather = 0",
    "clock": """
        SELECT current_setting('TimeZone'), extract(epoch FROM now())::float8,
               extract(epoch FROM localtimestamp - timezone('UTC', now()))::float8""",
    "tables": """
        SELECT c.relname, n.nspname, c.oid::bigint, c.relkind::text, c.reltuples::float8,
               has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
               pg_table_is_visible(c.oid)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
         ORDER BY pg_table_is_visible(c.oid) DESC, n.nspname LIMIT 100""",
    "relations": """
        SELECT n.nspname, c.relname, pg_table_is_visible(c.oid)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname <> 'information_schema'
           AND n.nspname !~ '^pg_' ORDER BY c.relname, n.nspname LIMIT %s""",
    "columns": """
        SELECT a.attname, format_type(a.atttypid, NULL),
               EXISTS (SELECT FROM pg_index i
                        WHERE i.indrelid = a.attrelid AND i.indisvalid AND i.indpred IS NULL
                          AND i.indkey[0] = a.attnum)
          FROM pg_attribute a
         WHERE a.attrelid = %s::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped LIMIT 200""",
    "alembic": "SELECT left(version_num::text, 100) FROM {table} ORDER BY 1 LIMIT %s",
    "newest": """
        WITH newest AS (SELECT {name} AS name, status, {done} AS done FROM {table} ORDER BY id DESC LIMIT %s)
        SELECT left(name::text, 200), left(status::text, 50), count(*),
               count(*) FILTER (WHERE done > timezone('UTC', now()) - interval '1 hour'),
               count(*) FILTER (WHERE done > localtimestamp - interval '1 hour'),
               extract(epoch FROM max(done))::float8, extract(epoch FROM min(done))::float8
          FROM newest GROUP BY 1, 2""",
}

Open = Callable[[str], AbstractContextManager[psycopg.Connection]]


def section(entries: list[dict[str, Any]]) -> Section:
    """The section made of these entries."""
    told = [f"{entry['key']}/{entry['database']}: {entry['why']}" for entry in entries if entry["why"]]
    status = "partial" if told else "ok"
    if entries and all(entry["status"] == "withheld" for entry in entries):
        status = "withheld"
    return Section("results", status, {"servers": entries}, why="; ".join(told), taken_at=now(),
                   how="logins to the databases from the engine's machine, read-only statements")


def blanks(
    server: Mapping[str, Any], purposes: Mapping[str, Iterable[str]], clean: Callable[..., str],
) -> dict[str, dict[str, Any]]:
    """An entry for each database that a URL means on a server, by its name, with nothing read yet. `server`
    is its entry in the section `postgres`, `purposes` are those of the URLs by database, `clean` masks."""
    found = {}
    for database, wanted in sorted(server["wanted"].items()):
        status, why = _not_to_be_asked(server, database, wanted, clean) or (
            "timeout", NOT_YET)
        found[database] = {
            "key": server["key"], "database": clean(database, 200), "services": list(wanted["services"]),
            "purposes": sorted(purposes.get(database, ())), "exists": wanted["exists"], "status": status,
            "why": why, "sqlstate": None, "tables": dict.fromkeys(TABLES), "schemas": {}, "alembic": None,
            "relations": None, "rows_estimate": None, "time_zone": None, "latest": None}
    return found


def look(
    entries: Mapping[str, dict[str, Any]], open_: Open, emit: Emit,
    told: Callable[[Exception], Mapping[str, Any]], clean: Callable[..., str],
) -> None:
    """Fill those entries of `blanks` that wait for it. `open_` logs in to a database, `told` says what an
    exception means."""
    waiting = [(name, entry) for name, entry in entries.items() if entry["status"] == "timeout"]
    for database, entry in waiting[:MOST_DATABASES]:
        if emit.left() < 1:
            return
        try:
            with open_(database) as connection, _asking(emit, entry) as asked:
                _read(connection, entry, clean)
                connection.rollback()
                asked.outcome = _outcome(entry)
        except Exception as error:  # also a name that is no UTF-8, from a database without an encoding
            entry.update({key: value for key, value in told(error).items() if key in entry})
            if entry["sqlstate"] in _TOO_LONG:
                entry["status"] = "timeout"
            if None not in entry["tables"].values():
                entry["status"] = "partial"


def _not_to_be_asked(
    server: Mapping[str, Any], database: str, wanted: Mapping[str, Any], clean: Callable[..., str],
) -> tuple[str, str] | None:
    """(status, why) where a login would fail or must not be tried."""
    if server["status"] != "ok":
        return server["status"], f"the server could not be asked: {server['why']}"
    there = server["databases"].get(clean(database, 200)) or {}
    if not wanted["exists"]:
        return "no_reply", "there is no such database"
    if there.get("allow_connections") is False:
        return "denied", "the database allows no connections"
    if there.get("can_connect") is False:
        return "denied", "this user may not connect to it"
    return None


def _asking(emit: Emit, entry: Mapping[str, Any]) -> AbstractContextManager[Any]:
    return emit.asking(f"postgres {', '.join(STATEMENTS)} {entry['key']}/{entry['database']}")


def _read(connection: psycopg.Connection, entry: dict[str, Any], clean: Callable[..., str]) -> None:
    """Fill the entry, all in one transaction: what is told is of one moment."""
    for setting in ("timeout", "lock", "alone"):
        connection.execute(STATEMENTS[setting])
    zone, clock, offset = connection.execute(STATEMENTS["clock"]).fetchone()
    entry["time_zone"] = clean(zone, 100)
    found: dict[str, list[tuple]] = {}
    for name, *facts in connection.execute(STATEMENTS["tables"], ([*TABLES, ALEMBIC],)):
        found.setdefault(name, []).append(tuple(facts))
    entry["tables"] = {name: name in found for name in TABLES}
    entry["schemas"] = {name: [clean(facts[0], 200) for facts in rows]
                        for name, rows in sorted(found.items())}
    entry["relations"] = _relations(connection, clean)
    why = []
    if ALEMBIC in found:
        schema, _, kind, _, readable, _ = found[ALEMBIC][0]
        if readable and kind in "rp":
            table = sql.Identifier(schema, ALEMBIC)
            rows = connection.execute(sql.SQL(STATEMENTS["alembic"]).format(table=table), (MOST_VERSIONS,))
            entry["alembic"] = {"version": [clean(version or "", 100) for (version,) in rows]}
        else:
            why.append(f"{ALEMBIC} may not be read by this user")
    if TABLES[0] in found:
        schema, oid, kind, estimate, readable, _ = found[TABLES[0]][0]
        entry["rows_estimate"] = int(estimate) if estimate >= 0 else None  # -1: never analysed (14 and later)
        refusal = "it may not be read by this user" if not readable else ""
        refusal = refusal or ("it is no plain table" if kind not in "rp" else "")
        columns = {name: (kind_, index) for name, kind_, index in connection.execute(
            STATEMENTS["columns"], (oid,))}
        refusal = refusal or _not_to_be_read(columns, estimate)
        if refusal:
            why.append(f"{TABLES[0]} was not read: {refusal}")
        else:
            rows = connection.execute(_newest(schema, columns), (SAMPLE,)).fetchall()
            absolute = columns["date_done"][0].endswith("with time zone")
            entry["latest"] = latest(rows, clock, 0.0 if absolute else offset, entry["time_zone"], clean)
    entry.update(status="partial" if why else "ok", why="; ".join(why))


def _relations(connection: psycopg.Connection, clean: Callable[..., str]) -> dict[str, Any]:
    """The names of tables, views and sequences: `visible` those that a statement finds by their bare name,
    `all` of them with their schemas. `complete` is false where there are more than MOST_RELATIONS."""
    rows = connection.execute(STATEMENTS["relations"], (MOST_RELATIONS + 1,)).fetchall()
    told: dict[str, Any] = {"visible": [], "all": [], "complete": len(rows) <= MOST_RELATIONS}
    for schema, name, visible in rows[:MOST_RELATIONS]:
        if visible:
            told["visible"].append(clean(name, 200))
        told["all"].append(clean(f"{schema}.{name}", 400))
    return told


def _not_to_be_read(columns: Mapping[str, tuple[str, bool]], estimate: float) -> str:
    if missing := [name for name in ("id", "status", "date_done") if name not in columns]:
        return f"it has no column {', '.join(missing)}"
    if not columns["date_done"][0].startswith("timestamp"):
        return "its date_done is no time"
    if not columns["id"][1] and not 0 <= estimate <= SMALL:
        return "there is no index on its id, so its newest rows cannot be found without reading all of it"
    return ""


def _newest(schema: str, columns: Mapping[str, tuple[str, bool]]) -> sql.Composed:
    name = sql.Identifier("name") if "name" in columns else sql.SQL("NULL")
    absolute = columns["date_done"][0].endswith("with time zone")
    done = sql.SQL("timezone('UTC', date_done)" if absolute else "date_done")
    return sql.SQL(STATEMENTS["newest"]).format(name=name, done=done, table=sql.Identifier(schema, TABLES[0]))


def latest(
    rows: Iterable[tuple], clock: float, offset: float, zone: str, clean: Callable[..., str],
) -> dict[str, Any]:
    """What the newest rows say, grouped by name and state: (name, state, rows, rows of the last hour if
    times are UTC, the same if they are in the session's zone, newest time, oldest time), times in seconds as
    written. `clock` is the server's time in seconds since 1970, `offset` its zone's seconds ahead of UTC."""
    rows = list(rows)
    ready = [row for row in rows if row[1] not in UNREADY]
    newest = max((row[5] for row in ready if row[5] is not None), default=None)
    local, sure = _reading(newest, clock, offset)
    shift, hour = (offset, 4) if local else (0.0, 3)

    def iso(seconds: float | None) -> str | None:
        return _iso(None if seconds is None else seconds - shift)

    by_task: dict[str, dict[str, Any]] = {}
    for row in sorted(ready, key=lambda row: -(row[5] or float("-inf"))):
        if row[0] is None or (row[0] not in by_task and len(by_task) >= MOST_NAMES):
            continue
        task = by_task.setdefault(row[0], {"done": 0, "failed": 0, "last": iso(row[5])})
        task["done"] += row[hour]
        task["failed"] += row[hour] if row[1] == "FAILURE" else 0
    states: dict[str, int] = {}
    for row in rows:
        name = clean(row[1] or "", 50)
        states[name] = states.get(name, 0) + row[2]
    total, hourly = sum(row[2] for row in rows), sum(row[hour] for row in ready)
    oldest = min((row[6] for row in rows if row[6] is not None), default=None)
    whole = total < SAMPLE
    return {
        "done": iso(newest), "rows_last_hour": hourly,
        "at_least": not whole and oldest is not None and clock - (oldest - shift) < 3600,
        "by_task": {clean(name, 200): task for name, task in by_task.items()}, "states": states,
        "sample": {"rows": total, "whole_table": whole, "oldest": iso(oldest),
                   "how": f"the newest {SAMPLE} rows by id"},
        "read_as": zone if local else "UTC", "sure": sure, "clock": _iso(clock)}


def _reading(newest: float | None, clock: float, offset: float) -> tuple[bool, bool]:
    """(whether times are taken as local, whether that is sure). A time in the future is a wrong reading."""
    if not offset or newest is None:
        return False, True
    if newest > clock + 60:
        return True, newest - offset <= clock + 60
    if newest - offset > clock + 60:
        return False, True
    return True, False


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None  # infinity, and years that Python does not know
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _outcome(entry: Mapping[str, Any]) -> str:
    there = [name for name, found in entry["tables"].items() if found]
    rows = (entry["latest"] or {}).get("sample", {}).get("rows")
    return f"tables {', '.join(there) or 'none'}" + (f", {rows} rows looked at" if rows is not None else "")
