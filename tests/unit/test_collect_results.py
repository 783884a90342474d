"""Result tables and Alembic: only what exists is asked, only the newest rows are read, times are right."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import time
from datetime import UTC, datetime

import psycopg
import pytest
from evidence import Incident
from real_servers import PASSWORD, psql, server_log, started, wait_until
from test_collect_postgres import owner, worker

from celery_triage import bundle, shapes
from celery_triage.collect import postgres, results
from celery_triage.collect.probe import run_sources
from celery_triage.redact import Redactor
from celery_triage.stack import Stack

NOW = 1795474090.0  # 2026-11-23T22:48:10Z


def str_(text, limit=None):
    return str(text)[:limit]


def ask(items, deadline_s=None, **options):
    """(section, calls, seconds) of one run of the source in its own child."""
    redactor = Redactor()
    for entry in items:
        redactor.learn_env(entry["env"])
    source = postgres.source(Stack({"items": items}), options, redactor, with_results=True)
    if deadline_s:
        source = dataclasses.replace(source, deadline_s=deadline_s)
    begin = time.monotonic()
    probed = run_sources([source], mask=redactor.text)
    assert shapes.wrong("results", probed.sections["results"].data) == ""
    return probed.sections["results"], probed.calls, time.monotonic() - begin


def backend(url):
    return {"CELERY_RESULT_BACKEND": url}


# Without a server

def test_nothing_to_look_into():
    """A stack without PostgreSQL has an empty, healthy section; it was not forgotten."""
    section, calls, _ = ask([worker("w", backend("redis://r/1"))])
    assert (section.status, section.data, calls) == ("ok", {"servers": []}, [])


def test_no_login():
    """With ``no_login`` the databases are named, and nothing is sent."""
    items = [worker("w", backend("db+postgresql://u:p@db/d")), owner("127.0.0.1")]
    section, calls, _ = ask(items, no_login=True)
    entry = section.data["servers"][0]
    assert (section.status, entry["status"], calls) == ("withheld", "withheld", [])
    assert (entry["database"], entry["services"], entry["tables"]["celery_taskmeta"]) == ("d", ["w"], None)


def test_a_server_that_refuses():
    """What could not be asked has no tables that are missing: they are unknown."""
    section, _, _ = ask([worker("w", backend("db+postgresql://u:p@db:1/d")), owner("127.0.0.1")])
    entry = section.data["servers"][0]
    assert (section.status, entry["status"], entry["latest"]) == ("partial", "unreachable", None)
    assert set(entry["tables"].values()) == {None} and "could not be asked" in entry["why"]


def row(name, state, newest, rows=10, oldest=None, utc=None, local=None):
    """One group of the sample: rows of the last hour default to all."""
    return (name, state, rows, rows if utc is None else utc, rows if local is None else local, newest,
            newest if oldest is None else oldest)


def test_what_the_newest_rows_say():
    """By task: what came to its end in the last hour, what of it failed, and when last; a row of a task that
    only has started says nothing of an end."""
    told = results.latest([row("a", "SUCCESS", NOW - 5), row("a", "FAILURE", NOW - 60, 2),
                           row("b", "SUCCESS", NOW - 7200, utc=0), row("b", "STARTED", NOW - 1, 1),
                           row("c", "STARTED", None, 1)], NOW, 0.0, "UTC", str_)
    assert told["done"] == "2026-11-23T22:48:05.000Z"
    assert (told["rows_last_hour"], told["at_least"]) == (12, False)
    assert told["by_task"] == {
        "a": {"done": 12, "failed": 2, "last": "2026-11-23T22:48:05.000Z"},
        "b": {"done": 0, "failed": 0, "last": "2026-11-23T20:48:10.000Z"}}
    assert told["states"] == {"SUCCESS": 20, "FAILURE": 2, "STARTED": 2}
    assert told["sample"]["rows"] == 24 and told["sample"]["whole_table"] is True


def test_without_names_and_without_rows():
    """Without ``result_extended`` names are not stored: then nothing is said by task. An empty table is one
    that was read."""
    told = results.latest([row(None, "SUCCESS", NOW - 5)], NOW, 0.0, "UTC", str_)
    assert (told["by_task"], told["rows_last_hour"]) == ({}, 10)
    told = results.latest([], NOW, 0.0, "UTC", str_)
    assert (told["done"], told["rows_last_hour"], told["sample"]["rows"]) == (None, 0, 0)


def test_a_sample_that_does_not_reach_back_an_hour():
    """Where all rows that were read are younger than an hour, there are at least so many."""
    told = results.latest([row("a", "SUCCESS", NOW - 5, results.SAMPLE, NOW - 900)], NOW, 0.0, "UTC", str_)
    assert (told["at_least"], told["sample"]["whole_table"]) == (True, False)
    told = results.latest([row("a", "SUCCESS", NOW - 5, results.SAMPLE, NOW - 9000)], NOW, 0.0, "UTC", str_)
    assert told["at_least"] is False


@pytest.mark.parametrize(("offset", "written", "local", "sure"), [
    (0.0, -5, False, True),        # one reading only
    (3600.0, 3595, True, True),    # an hour in the future as UTC: it is Berlin's clock
    (3600.0, -5, True, False),     # five seconds or an hour ago
    (-18000.0, -5, False, True),   # as New York's clock it would be in the future
    (-18000.0, -18005, True, False),
])
def test_in_which_zone_times_were_written(offset, written, local, sure):
    """A reading that puts the newest row into the future is wrong; where both can be, the session's zone is
    taken, as Celery 5.7 writes, and it is said that this is not sure."""
    rows = [row("a", "SUCCESS", NOW + written, utc=3, local=7)]
    told = results.latest(rows, NOW, offset, "Zone", str_)
    assert (told["read_as"], told["sure"]) == ("Zone" if local else "UTC", sure)
    assert told["rows_last_hour"] == (7 if local else 3)
    seconds = datetime.fromisoformat(told["done"].replace("Z", "+00:00")).timestamp()
    assert seconds == NOW + written - (offset if local else 0)


@pytest.mark.parametrize("seconds", [float("inf"), float("-inf"), 1e15, float("nan")])
def test_times_that_are_none(seconds):
    """``infinity`` and years that nobody lives to see are no times."""
    assert results.latest([row("a", "SUCCESS", seconds)], NOW, 0.0, "UTC", str_)["done"] is None


def test_the_sections_survive_a_bundle(tmp_path):
    """Use, results, endpoints and the workers' answers are read back as they were saved."""
    evidence = Incident().evidence()
    loaded = bundle.load(bundle.save(evidence, tmp_path / "bundle"))
    for name in ("celery", "results", "http", "usage/email_worker", "usage/redis"):
        assert loaded.section(name) == evidence.section(name) and loaded.section(name).data


# With a real server

@pytest.fixture(scope="module")
def server():
    """A PostgreSQL that logs each statement, with databases and roles that differ."""
    with started("postgres", alias="db", POSTGRES_PASSWORD=PASSWORD) as probe:
        wait_until(lambda: _answers(probe), 60)
        psql(probe, "ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()",
             f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'", f"CREATE ROLE poor LOGIN PASSWORD '{PASSWORD}'",
             "CREATE DATABASE shop OWNER app", "CREATE DATABASE empty OWNER app",
             "CREATE DATABASE private OWNER app", "REVOKE CONNECT ON DATABASE private FROM PUBLIC",
             "CREATE DATABASE large OWNER app", "CREATE DATABASE odd OWNER app")
        yield probe


def _answers(server):
    try:
        login(server, "postgres").close()
        return True
    except psycopg.OperationalError:
        return False


def login(server, database="shop", user="postgres"):
    return psycopg.connect(host=server.ip, user=user, password=PASSWORD, dbname=database, connect_timeout=5,
                           autocommit=True)


def look(server, *databases, user="app", variable="CELERY_RESULT_BACKEND", **more):
    """(section, entries by database, calls, seconds)."""
    items = [worker(f"w{number}", {variable: f"db+postgresql+psycopg://{user}:{PASSWORD}@db/{database}"},
                    network=server.network) for number, database in enumerate(databases)]
    section, calls, seconds = ask([*items, server.item("db")], **more)
    return section, {entry["database"]: entry for entry in section.data["servers"]}, calls, seconds


APP = """
from celery import Celery
app = Celery("shop", backend={url!r})
app.conf.result_extended = {extended}
class Request:
    id, task, args, kwargs, hostname, retries, delivery_info = "", "shop.add", (), {{}}, "w@h", 0, {{}}
    group = parent_id = errbacks = chord = None; children = []; stamps = None; ignore_result = False
for number in range(5):
    state = "FAILURE" if number == 4 else "SUCCESS"
    value = ValueError("no") if number == 4 else number
    Request.id = {name!r} + str(number)
    app.backend.store_result(Request.id, value, state, request=Request())
"""


def celery_writes(server, database, extended=True, zone=""):
    """Celery itself stores five results, the last of which is a failure."""
    url = f"db+postgresql+psycopg://app:{PASSWORD}@{server.ip}/{database}"
    code = APP.format(url=url, extended=extended, name=f"{zone or 'utc'}-{extended}-")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def shop(server):
    """The database ``shop`` with Celery's tables, five results and Alembic's version; emptied afterwards."""
    celery_writes(server, "shop")
    with login(server) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('1975ea83b712')")
        connection.execute("GRANT SELECT ON alembic_version TO app")
    yield server
    with login(server) as connection:
        connection.execute("DROP TABLE alembic_version, celery_taskmeta, celery_tasksetmeta")


@pytest.mark.docker
def test_results_that_celery_wrote(shop):
    """The tables that a real Celery made, its last result to the second, and what failed, by task."""
    section, entries, calls, seconds = look(shop, "shop")
    entry = entries["shop"]
    assert (section.status, entry["status"], entry["purposes"]) == ("ok", "ok", ["result"])
    assert entry["tables"] == {"celery_taskmeta": True, "celery_tasksetmeta": True}
    assert entry["alembic"] == {"version": ["1975ea83b712"]}
    assert {"alembic_version", "celery_taskmeta", "task_id_sequence"} <= set(entry["relations"]["visible"])
    assert "public.celery_taskmeta" in entry["relations"]["all"] and entry["relations"]["complete"]
    latest = entry["latest"]
    assert latest["by_task"]["shop.add"]["done"] == 5 and latest["by_task"]["shop.add"]["failed"] == 1
    assert (latest["rows_last_hour"], latest["at_least"], latest["read_as"]) == (5, False, "UTC")
    done = datetime.fromisoformat(latest["done"].replace("Z", "+00:00"))
    assert abs((datetime.now(UTC) - done).total_seconds()) < 60 and seconds < 3
    assert PASSWORD not in repr(section) + repr(calls)
    assert sum("login" in call for call in calls) == 2


@pytest.mark.docker
def test_only_shipped_statements_read_only(shop):
    """In the database's own log: one login, one READ ONLY transaction, our statements and a rollback."""
    before = len(server_log(shop))
    look(shop, "shop")
    log = server_log(shop)[before:]
    seen = [" ".join(text.split()) for text in re.findall(
        r"LOG:  (?:statement|execute <unnamed>): (.*?)(?=\n\d{4}-\d\d-\d\d|\Z)", log, re.DOTALL)]
    begins = [at for at, text in enumerate(seen) if text == "BEGIN READ ONLY"]
    assert len(begins) == 2 and seen[-1] == "ROLLBACK" and "FATAL" not in log
    mine = seen[begins[1] + 1:-1]

    def shape(text):
        return re.sub(r"\$\d|%s|\{\w+\}|\"[^\"]*\"(\.\"[^\"]*\")?", "?", " ".join(text.split()))

    assert {shape(text) for text in mine} == {shape(text.replace("{done}", "date_done"))
                                             for text in results.STATEMENTS.values()}


@pytest.mark.docker
def test_a_database_without_tables(server):
    """No table is a fact, once the database was looked into; nothing was read from one."""
    section, entries, _, _ = look(server, "empty")
    assert section.status == "ok"
    assert entries["empty"]["tables"] == {"celery_taskmeta": False, "celery_tasksetmeta": False}
    assert (entries["empty"]["alembic"], entries["empty"]["latest"]) == (None, None)


@pytest.mark.docker
def test_no_login_that_would_fail(server):
    """A database that does not exist, or that this user may not enter, is never logged in to: the server's
    log holds no FATAL line of ours."""
    before = len(server_log(server))
    section, entries, _, _ = look(server, "nowhere", "private", user="poor")
    assert (entries["nowhere"]["status"], entries["nowhere"]["exists"]) == ("no_reply", False)
    assert entries["private"]["status"] == "denied" and section.status == "partial"
    assert set(entries["nowhere"]["tables"].values()) == {None}
    assert "FATAL" not in server_log(server)[before:]


@pytest.mark.docker
def test_a_role_that_may_not_read(shop):
    """The tables are seen, their rows are not: this is told, and it is not an empty table."""
    section, entries, _, _ = look(shop, "shop", user="poor")
    entry = entries["shop"]
    assert (section.status, entry["status"], entry["latest"]) == ("partial", "partial", None)
    assert entry["tables"]["celery_taskmeta"] is True and "may not be read" in entry["why"]


@pytest.mark.docker
def test_an_applications_own_database(server):
    """A ``DATABASE_URL`` that leads to another database is looked into for its migrations, and marked as no
    result database."""
    with login(server, "empty") as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS app AUTHORIZATION app")
        connection.execute("CREATE TABLE app.alembic_version (version_num varchar(32) NOT NULL)")
        connection.execute("GRANT SELECT ON app.alembic_version TO app")
    try:
        url = f"postgresql+psycopg://app:{PASSWORD}@db/empty"
        items = [worker("w", {"DATABASE_URL": url}, network=server.network), server.item("db")]
        entry = ask(items)[0].data["servers"][0]
    finally:
        login(server, "empty").execute("DROP SCHEMA app CASCADE")
    assert (entry["purposes"], entry["schemas"]) == (["database"], {"alembic_version": ["app"]})
    assert entry["alembic"] == {"version": []}
    # The role is named like the schema, so that its search_path finds it.
    assert entry["relations"]["visible"] == ["alembic_version"]
    assert entry["relations"]["all"] == ["app.alembic_version"]


@pytest.mark.docker
@pytest.mark.parametrize("extended", [True, False])
def test_a_server_in_another_time_zone(server, extended):
    """Celery 5.7 with psycopg 3 lets the server write its own local time into a column without zone; read as
    what it is, the last result is seconds old, not an hour in the future."""
    psql(server, "ALTER ROLE app SET TimeZone = 'Asia/Tokyo'")
    try:
        celery_writes(server, "shop", extended, "tokyo")
        with login(server) as connection:
            (ahead,) = connection.execute(
                "SELECT extract(epoch FROM max(date_done) - timezone('UTC', now()))::float "
                "FROM celery_taskmeta").fetchone()
        latest = look(server, "shop")[1]["shop"]["latest"]
    finally:
        psql(server, "ALTER ROLE app RESET TimeZone")
        with login(server) as connection:
            connection.execute("DROP TABLE IF EXISTS celery_taskmeta, celery_tasksetmeta")
    assert 8.9 < ahead / 3600 <= 9.0
    assert (latest["read_as"], latest["sure"]) == ("Asia/Tokyo", True)
    done = datetime.fromisoformat(latest["done"].replace("Z", "+00:00"))
    assert abs((datetime.now(UTC) - done).total_seconds()) < 60
    assert latest["rows_last_hour"] == 5 and list(latest["by_task"]) == (["shop.add"] if extended else [])


@pytest.fixture(scope="module")
def large(server):
    """A result table of three hundred thousand rows, one each 10 ms, and the same without an index."""
    with login(server, "large", "app") as connection:
        connection.execute(
            "CREATE UNLOGGED TABLE celery_taskmeta (id int, task_id varchar(155), status varchar(50), "
            "result bytea, date_done timestamp, name varchar(155))")
        connection.execute(
            "INSERT INTO celery_taskmeta SELECT g, g::text, 'SUCCESS', repeat('x', 80)::bytea, "
            "timezone('UTC', now()) - (300000 - g) * interval '10 ms', 'shop.t' || (g % 7) "
            "FROM generate_series(1, 300000) g")
        connection.execute("ANALYZE celery_taskmeta")
    return server


@pytest.mark.docker
def test_a_huge_table_costs_what_a_small_one_does(large):
    """Without an index on ``id`` nothing is read; with Celery's own index only the newest rows are, and what
    was looked at is said."""
    entry = look(large, "large")[1]["large"]
    assert (entry["status"], entry["latest"], entry["rows_estimate"]) == ("partial", None, 300000)
    assert "no index on its id" in entry["why"]
    with login(large, "large", "app") as connection:
        connection.execute("ALTER TABLE celery_taskmeta ADD PRIMARY KEY (id)")
    section, entries, _, seconds = look(large, "large")
    latest = entries["large"]["latest"]
    assert section.status == "ok" and seconds < 3
    assert (latest["rows_last_hour"], latest["at_least"]) == (results.SAMPLE, True)
    assert latest["sample"]["whole_table"] is False and len(latest["by_task"]) == 7
    with login(large, "large") as connection:
        columns = {"date_done": ("timestamp without time zone", False), "name": ("", False)}
        query = results._newest("public", columns).as_string(connection).replace("%s", "5000")
        plan = "\n".join(line for (line,) in connection.execute("EXPLAIN (ANALYZE, BUFFERS) " + query))
    assert "Index Scan Backward" in plan and "Seq Scan" not in plan
    assert sum(map(int, re.findall(r"(?:hit|read)=(\d+)", plan.partition("\n  ->")[0]))) < 1000


@pytest.mark.docker
def test_a_table_that_somebody_has_locked(large):
    """A migration that holds the table costs the lock's time-out: which tables there are is still told."""
    with login(large, "large") as blocker:
        blocker.autocommit = False
        blocker.execute("LOCK TABLE celery_taskmeta IN ACCESS EXCLUSIVE MODE")
        section, entries, _, seconds = look(large, "large")
        blocker.rollback()
    entry = entries["large"]
    assert (entry["status"], entry["sqlstate"], entry["latest"]) == ("partial", "55P03", None)
    assert entry["tables"]["celery_taskmeta"] is True and section.status == "partial" and seconds < 3


@pytest.mark.docker
@pytest.mark.parametrize(("make", "word"), [
    ("CREATE VIEW celery_taskmeta AS SELECT 1 AS id, '' AS status, now() AS date_done, pg_sleep(30)::text",
     "no plain table"),
    ("CREATE TABLE celery_taskmeta (id int PRIMARY KEY, status text)", "no column date_done"),
    ("CREATE TABLE celery_taskmeta (id int PRIMARY KEY, status text, date_done text)", "no time"),
])
def test_tables_of_that_name_that_are_others(server, make, word):
    """A view could do anything, another table holds something else: neither is read."""
    with login(server, "odd", "app") as connection:
        connection.execute(make)
    try:
        section, entries, _, seconds = look(server, "odd")
    finally:
        kind = "VIEW" if "VIEW" in make else "TABLE"
        login(server, "odd").execute(f"DROP {kind} celery_taskmeta")
    assert entries["odd"]["latest"] is None and word in entries["odd"]["why"] and seconds < 3


@pytest.mark.docker
def test_a_column_with_a_time_zone_and_hostile_names(server):
    """Absolute times need no guess; a task's name with control characters, or a million letters, is cleaned
    and cut; an infinite time is none."""
    with login(server, "odd", "app") as connection:
        connection.execute("CREATE TABLE celery_taskmeta (id int PRIMARY KEY, status text, name text, "
                           "date_done timestamptz)")
        connection.execute(
            "INSERT INTO celery_taskmeta VALUES (1, 'SUCCESS', E'a\\x1b[2J\\nb', now()), "
            "(2, 'SUCCESS', repeat('x', 1000000), 'infinity')")
        connection.execute("ALTER ROLE app SET TimeZone = 'Asia/Tokyo'")
    try:
        latest = look(server, "odd")[1]["odd"]["latest"]
    finally:
        psql(server, "ALTER ROLE app RESET TimeZone")
        login(server, "odd").execute("DROP TABLE celery_taskmeta")
    assert latest["done"] is None and latest["read_as"] == "UTC"
    assert max(map(len, latest["by_task"])) <= 220 and "\x1b" not in "".join(latest["by_task"])


@pytest.mark.docker
def test_a_deadline_in_the_middle(server, monkeypatch):
    """What was not reached before the probe was killed is a time-out in the section, not an absence."""
    monkeypatch.setitem(results.STATEMENTS, "clock", "SELECT pg_sleep(30)::text, 0.0, 0.0")
    monkeypatch.setitem(results.STATEMENTS, "timeout", "SET LOCAL statement_timeout = 0")
    section, _, seconds = ask(
        [worker("w", backend(f"db+postgresql+psycopg://app:{PASSWORD}@db/shop"), network=server.network),
         server.item("db")], deadline_s=2)
    assert section.status == "timeout" and seconds < 4
