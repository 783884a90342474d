"""PostgreSQL as it is asked: the right questions, no others, and every way in which it can refuse."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time

import psycopg
import pytest
from real_servers import PASSWORD, psql, server_log, started, wait_until

from celery_triage.collect import postgres
from celery_triage.collect.probe import run_sources
from celery_triage.collect.servers import servers
from celery_triage.redact import Redactor
from celery_triage.stack import Stack


def worker(label, env, network="back", **more):
    """A worker of the target on that network."""
    return {"label": label, "name": label, "id": "", "service": label, "project": "shop", "member": True,
            "image": "x", "entrypoint": [], "cmd": ["celery", "-A", "x", "worker"], "env": env, "ports": [],
            "networks": {network: {"ip": None, "aliases": []}}, "samples": [{"status": "running"}], **more}


def owner(ip, label="db", network="back", **more):
    """A container of this engine with that address."""
    return {**worker(label, {}, network), "member": False, "cmd": ["postgres"],
            "networks": {network: {"ip": ip, "aliases": [label]}}, **more}


def ask(items, **options):
    """(section, calls, seconds) of one run of the source in its own child."""
    redactor = Redactor()
    for entry in items:
        redactor.learn_env(entry["env"])
    begin = time.monotonic()
    probed = run_sources([postgres.source(Stack({"items": items}), options, redactor)], mask=redactor.text)
    return probed.sections["postgres"], probed.calls, time.monotonic() - begin


def result(url):
    return {"CELERY_RESULT_BACKEND": url}


# Without a server

def test_nobody_to_ask():
    """A stack without any PostgreSQL gives an empty, healthy section: there was nothing to look at."""
    section, calls, _ = ask([worker("w", {"CELERY_RESULT_BACKEND": "redis://r/1"})])
    assert (section.status, section.data, calls) == ("ok", {"servers": []}, [])


def test_outside_is_left_alone():
    """A host that no container of this engine owns is not asked, and its name is not even looked up."""
    section, calls, _ = ask([worker("w", result("db+postgresql://u:p@db.example.com/d"))])
    assert (section.status, calls) == ("withheld", [])
    assert "--reach-external" in section.why and "db.example.com" in section.why


def test_outside_only_when_told_so():
    """With ``reach_external`` the name is looked up, in the child, and a failure is told as what it is."""
    section, calls, _ = ask([worker("w", result("db+postgresql://u:p@no-such-host.invalid/d"))],
                            reach_external=True)
    entry = section.data["servers"][0]
    assert (entry["status"], entry["error_kind"]) == ("unreachable", "dns")
    assert len(calls) == 1


def test_localhost_is_not_this_machine():
    """localhost in a container's URL never leads to the machine that runs this."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        section, calls, _ = ask([worker("w", result(f"db+postgresql://u:p@localhost:{port}/d"))])
        listener.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert (section.data["servers"][0]["status"], calls) == ("unreachable", [])
    assert "inside a container" in section.why


@pytest.mark.parametrize(("host", "word"), [("${DB_HOST}", "variable"), ("db", "not running")])
def test_hosts_that_lead_nowhere(host, word):
    """A variable that nothing replaced and a container that does not run are told, not asked."""
    stopped = owner("", samples=[{"status": "exited"}])
    section, calls, _ = ask([worker("w", result(f"db+postgresql://u:p@{host}/d")), stopped])
    assert (section.data["servers"][0]["status"], calls) == ("unreachable", [])
    assert word in section.why


def test_no_login():
    """With ``no_login`` nothing is sent at all; what would have been asked is told."""
    items = [worker("w", result("db+postgresql://u:p@db/d")), owner("127.0.0.1")]
    section, calls, _ = ask(items, no_login=True)
    assert (section.status, calls) == ("withheld", [])
    assert "--no-login" in section.why


def test_refused_and_the_published_port():
    """An address that refuses is told with its kind; the published port is the second way that is tried."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    published = [{"container": port, "proto": "tcp", "host": f"127.0.0.1:{port}"}]
    section, calls, _ = ask([worker("w", result(f"db+postgresql://u:p@db:{port}/d")),
                             owner("127.0.0.1", ports=published)])
    entry = section.data["servers"][0]
    assert (section.status, entry["status"], entry["error_kind"]) == ("partial", "unreachable", "refused")
    assert len(calls) == 2 and "published port" in entry["via"]


def test_a_server_that_never_answers():
    """A peer that takes the connection and says nothing costs the connect time-out and no more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"db+postgresql://u:p@db:{port}/d"
        section, _, seconds = ask([worker("w", result(url)), owner("127.0.0.1")])
    assert section.data["servers"][0]["status"] == "timeout"
    assert seconds < postgres.CONNECT_TIMEOUT_S + 2


def test_a_mysql_result_backend_is_not_asked():
    """Only PostgreSQL is asked in the language of PostgreSQL."""
    section, calls, _ = ask([worker("w", result("db+mysql+pymysql://u:p@db/d")), owner("127.0.0.1")])
    assert (section.data, calls) == ({"servers": []}, [])


def test_one_login_for_each_user_and_password():
    """Services with the same address, user and password share one login; another password is another
    login."""
    items = [worker("a", result("db+postgresql://u:p@db/d")), worker("b", result("db+postgresql://u:p@db/other")),
             worker("c", result("db+postgresql://u:q@db/d")), owner("172.20.0.2")]
    found = servers(Stack({"items": items}), "sql", ("result", "database"), {})
    assert [server.services for server in found] == [["a", "b"], ["c"]]


def test_a_service_that_cannot_reach_it():
    """A server that a service names but shares no network with is asked for the others, and this is told."""
    items = [worker("near", result("db+postgresql://u:p@db/d")),
             worker("far", result("db+postgresql://u:p@db/d"), network="front"), owner("172.20.0.2")]
    found = servers(Stack({"items": items}), "sql", ("result",), {})
    assert [server.services for server in found] == [["near"]]
    assert "shares no network" in found[0].unreached["far"]


SENTENCES = [  # recorded from PostgreSQL 15 through psycopg 3.3, but those with an earlier or later wording
    ('failed: FATAL:  password authentication failed for user "app"', "28P01", "denied"),
    ('failed: FATAL:  no pg_hba.conf entry for host "172.26.0.1", user "app", database "x", no encryption',
     "28000", "denied"),
    ('failed: FATAL:  role "app" is not permitted to log in', "28000", "denied"),
    ('failed: FATAL:  role "app" does not exist', "28000", "denied"),
    ('failed: FATAL:  Peer authentication failed for user "app"', "28000", "denied"),
    ('failed: FATAL:  database "x" does not exist', "3D000", "denied"),
    ('failed: FATAL:  database "x" is not currently accepting connections', "55000", "denied"),
    ('failed: FATAL:  too many connections for role "app"', "53300", "denied"),
    ("failed: FATAL:  sorry, too many clients already", "53300", "denied"),
    ("failed: FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
     "53300", "denied"),
    ("failed: FATAL:  the database system is starting up", "57P03", "no_reply"),
    ("failed: FATAL:  the database system is shutting down", "57P03", "no_reply"),
    ("failed: FATAL:  the database system is not yet accepting connections", "57P03", "no_reply"),
    ('failed: FATAL:  permission denied for database "postgres"', "42501", "denied"),
    ("failed: FATAL:  Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen", None, "no_reply"),
    ("failed: fe_sendauth: no password supplied", None, "denied"),
    ("failed: server does not support SSL, but SSL was required", None, "denied"),
]


@pytest.mark.parametrize(("sentence", "sqlstate", "status"), SENTENCES)
def test_sqlstate_of_a_refused_login(sentence, sqlstate, status):
    """libpq gives no SQLSTATE for a refused login, so it is told from the server's sentence; one that is not
    understood is kept without one."""
    told = postgres.told(psycopg.OperationalError(f"connection failed: {sentence}"), Redactor())
    assert (told["sqlstate"], told["status"]) == (sqlstate, status)
    assert told["why"] == sentence.replace("  ", " ")


# With a real server

@pytest.fixture(scope="module")
def server():
    """A PostgreSQL that logs every statement and connection, with roles and databases for the tests."""
    settings = [word for name in ("log_statement=all", "log_connections=on", "max_connections=20")
                for word in ("-c", name)]
    with started("postgres", "postgres", *settings, POSTGRES_PASSWORD=PASSWORD) as running:
        def answers():
            with contextlib.suppress(psycopg.Error):
                login(running).close()
                return True

        wait_until(answers)
        psql(running, *(f"CREATE ROLE {name} PASSWORD '{PASSWORD}' {more}" for name, more in (
            ("app", "LOGIN"), ("full", "LOGIN CONNECTION LIMIT 0"), ("locked", "NOLOGIN"),
            ("shut", "LOGIN"))))
        psql(running, "CREATE DATABASE appdb OWNER app", "CREATE DATABASE closed ALLOW_CONNECTIONS false",
             "CREATE DATABASE private", "REVOKE CONNECT ON DATABASE private FROM PUBLIC")
        yield running


def login(running, **more):
    return psycopg.connect(hostaddr=running.ip, user="postgres", password=PASSWORD, dbname="postgres",
                           connect_timeout=3, **more)


def entry_for(server, *urls, **options):
    """The entries for workers with these URLs (``{}`` stands for the password), each worker with one."""
    items = [worker(f"w{index}", result(url.format(PASSWORD)), network=server.network)
             for index, url in enumerate(urls)]
    section, calls, _ = ask([*items, server.item("db")], **options)
    assert PASSWORD not in repr(section) + repr(calls)
    return section, section.data["servers"]


@pytest.mark.docker
def test_what_an_ordinary_role_may_see(server):
    """A role without any right beyond its own database sees all databases, its rights, roles and connections;
    a wanted database that is missing is said to be missing."""
    section, entries = entry_for(server, "db+postgresql+psycopg://app:{}@db/appdb",
                                 "db+postgresql+psycopg://app:{}@db:5432/nowhere", "db+postgresql://app:{}@db/")
    assert (section.status, len(entries)) == ("ok", 1)
    entry = entries[0]
    assert (entry["key"], entry["container"], entry["address"]) == ("db:5432", "db", f"{server.ip}:5432")
    assert entry["services"] == ["w0", "w1", "w2"]
    assert re.match(r"1[0-9]\.", entry["version"]) and entry["in_recovery"] is False
    assert {name: wanted["exists"] for name, wanted in entry["wanted"].items()} == {
        "appdb": True, "nowhere": False, "app": False}
    assert entry["databases"]["appdb"] == {"owner": "app", "allow_connections": True, "can_connect": True}
    assert entry["databases"]["private"]["can_connect"] is False
    assert entry["databases"]["closed"]["allow_connections"] is False
    assert entry["roles"]["app"] == {"exists": True, "can_login": True, "superuser": False, "createdb": False}
    assert entry["connections"]["max"] == 20 and entry["connections"]["used"] >= 1


@pytest.mark.docker
def test_who_waits_for_whose_lock(server):
    """A session that waits is told with the one that holds it up, and what that does."""
    app = {"hostaddr": server.ip, "user": "app", "password": PASSWORD, "dbname": "appdb"}
    with psycopg.connect(**app, application_name="lunch") as holder, psycopg.connect(**app) as waiter:
        pids = (waiter.info.backend_pid, holder.info.backend_pid)
        holder.execute("CREATE TABLE IF NOT EXISTS results (id int)")
        holder.commit()
        holder.execute("LOCK TABLE results")
        asking = threading.Thread(target=waiter.execute, args=("SELECT count(*) FROM results",))
        asking.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        with login(server) as other:
            wait_until(lambda: other.execute(waiting).fetchone()[0])
        (told,) = entry_for(server, "db+postgresql+psycopg://app:{}@db/appdb")[1][0]["waiting"]
        holder.rollback()
        asking.join()
    by = told["by"]
    assert (told["database"], told["pid"], by["pid"]) == ("appdb", *pids)
    assert (by["state"], by["user"], by["application"]) == ("idle in transaction", "app", "lunch")


@pytest.mark.docker
def test_only_shipped_statements_and_never_the_wanted_database(server):
    """The server's own log shows nothing but the shipped statements, in a READ ONLY transaction, and no
    failed login to a database that does not exist."""
    before = len(server_log(server))
    entry_for(server, "db+postgresql+psycopg://app:{}@db/missing_one")
    log = server_log(server)[before:]
    shipped = {" ".join(statement.replace("%s", "$1").split()) for statement in postgres.STATEMENTS.values()}
    seen = re.findall(r"LOG:  (?:statement|execute <unnamed>): (.*?)(?=\n\d{4}-\d\d-\d\d|\Z)", log, re.DOTALL)
    seen = [" ".join(statement.split()) for statement in seen]
    assert seen[0] == "BEGIN READ ONLY" and seen[-1] == "ROLLBACK"
    assert set(seen[1:-1]) == shipped
    assert "missing_one" not in log.replace("ANY", "") and "FATAL" not in log
    assert "database=postgres" in log


@pytest.mark.docker
@pytest.mark.parametrize(("url", "status", "sqlstate", "kind"), [
    ("db+postgresql+psycopg://app:wrong-password@db/appdb", "denied", "28P01", "refused_login"),
    ("db+postgresql+psycopg://ghost:{}@db/appdb", "denied", "28P01", "refused_login"),
    ("db+postgresql+psycopg://locked:{}@db/appdb", "denied", "28000", "refused_login"),
    ("db+postgresql+psycopg://full:{}@db/appdb", "denied", "53300", "refused_login"),
    ("db+postgresql+psycopg://app@db/appdb", "denied", None, "no_password"),
    ("db+postgresql+psycopg://app:{}@db/appdb?sslmode=require", "denied", None, "tls"),
    ("db+postgresql+psycopg://app:{}@db:5433/appdb", "unreachable", None, "refused"),
])
def test_refusals(server, url, status, sqlstate, kind):
    """Each refusal keeps its class, and whether the wanted database exists stays open."""
    section, entries = entry_for(server, url)
    assert section.status == "partial"
    entry = entries[0]
    assert (entry["status"], entry["sqlstate"], entry["error_kind"]) == (status, sqlstate, kind)
    assert entry["wanted"]["appdb"]["exists"] is None
    assert entry["why"]


@pytest.mark.docker
def test_a_wrong_password_is_tried_once(server):
    """A refused password is not tried again at the second maintenance database: no account gets locked."""
    before = len(server_log(server))
    entry_for(server, "db+postgresql+psycopg://app:wrong-password@db/appdb")
    assert server_log(server)[before:].count("password authentication failed") == 1


@pytest.mark.docker
def test_another_login_tells_what_the_refused_one_could_not(server):
    """Where another service's login succeeds at the same server, it is known whether the database and the
    role of the refused one exist."""
    section, entries = entry_for(server, "db+postgresql+psycopg://app:{}@db/appdb",
                                 "db+postgresql+psycopg://ghost:x@db/nowhere")
    refused = next(entry for entry in entries if entry["user"] == "ghost")
    assert (section.status, refused["status"]) == ("partial", "denied")
    assert refused["wanted"]["nowhere"]["exists"] is False
    assert refused["roles"]["ghost"]["exists"] is False


@pytest.mark.docker
def test_without_the_usual_maintenance_database(server):
    """Where the role may not connect to ``postgres``, ``template1`` serves; where neither, it is denied."""
    psql(server, "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    try:
        assert entry_for(server, "db+postgresql+psycopg://shut:{}@db/appdb")[1][0]["status"] == "ok"
        psql(server, "REVOKE CONNECT ON DATABASE template1 FROM PUBLIC")
        refused = entry_for(server, "db+postgresql+psycopg://shut:{}@db/appdb")[1][0]
        assert (refused["status"], refused["sqlstate"]) == ("denied", "42501")
    finally:
        psql(server, "GRANT CONNECT ON DATABASE postgres, template1 TO PUBLIC")


@pytest.mark.docker
def test_settings_of_the_person_who_runs_it(server, monkeypatch):
    """PG… variables of the person who runs this change neither where nor as whom we log in."""
    for name, value in {"PGHOST": "example.com", "PGUSER": "postgres", "PGPASSWORD": PASSWORD, "PGPORT": "1",
                        "PGSSLMODE": "require", "PGOPTIONS": "-c role=none", "PGDATABASE": "x"}.items():
        monkeypatch.setenv(name, value)
    _, entries = entry_for(server, "db+postgresql+psycopg://app:{}@db/appdb",
                           "db+postgresql+psycopg://locked@db/appdb")
    assert {entry["user"]: entry["status"] for entry in entries} == {"app": "ok", "locked": "denied"}


@pytest.mark.docker
def test_a_login_that_hangs(server):
    """A catalogue that somebody has locked holds back every login; that costs the connect time-out."""
    with login(server) as blocker:
        blocker.execute("LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE")
        url = result(f"db+postgresql+psycopg://app:{PASSWORD}@db/appdb")
        section, _, seconds = ask([worker("w", url, network=server.network), server.item("db")])
        blocker.rollback()
    assert section.data["servers"][0]["status"] == "timeout"
    assert seconds < postgres.CONNECT_TIMEOUT_S + 2


@pytest.mark.docker
def test_a_statement_that_hangs(server, monkeypatch):
    """A statement ends at the server's own time-out; what was read before it is kept."""
    monkeypatch.setitem(postgres.STATEMENTS, "connections", "SELECT 'x', pg_sleep(30)")
    _, entries = entry_for(server, "db+postgresql+psycopg://app:{}@db/appdb")
    assert (entries[0]["status"], entries[0]["sqlstate"]) == ("no_reply", "57014")
    assert entries[0]["wanted"]["appdb"]["exists"] is True and entries[0]["connections"] is None
