"""PostgreSQL: databases and roles that are missing, servers that do not answer or are full."""

from __future__ import annotations

from evidence import CELERY, NO_DATABASE, NO_DATABASE_BEAT, WORKERS, Incident, iso, ready

from celery_triage.causes import diagnose


def missing(name="ai_backend"):
    stack = Incident()
    del stack.databases["ai_backend"]
    stack.loop("celery_beat", 1, NO_DATABASE_BEAT, lived=4)
    for label in WORKERS:
        stack.loop(label, 1, NO_DATABASE, lived=4)
    return stack


def no_role():
    stack = Incident()
    stack.postgres = {
        "status": "denied",
        "sqlstate": "28P01",
        "error_kind": "refused_login",
        "connections": None,
        "databases": {},
        "why": 'FATAL: password authentication failed for user "backend"',
        "wanted": {"ai_backend": {"exists": None, "services": list(CELERY)}},
        "roles": {"backend": {"exists": False, "can_login": None, "superuser": None, "createdb": None}},
    }
    for label in WORKERS:
        stack.loop(
            label,
            1,
            [
                line.replace(
                    'database "ai_backend" does not exist',
                    'password authentication failed for user "backend"',
                )
                for line in NO_DATABASE
            ],
            lived=4,
        )
    return stack


def full():
    stack = Incident()
    stack.postgres = {
        "connections": {"max": 20, "reserved": 3, "used": 17, "by_database": {"shop": 15, "ai_backend": 2}}
    }
    return stack


def down():
    stack = missing()
    stack.databases["ai_backend"] = "backend"
    stack.lives["postgres"] = [{"start": 10.0, "end": 8000.0, "exit": 0, "oom": False}]
    stack.item("postgres", sample={"status": "exited", "exit_code": 0, "finished_at": iso(8000)})
    stack.postgres = {
        "status": "unreachable",
        "why": "the container postgres is not running (exited)",
        "connections": None,
        "databases": {},
        "roles": {},
        "wanted": {"ai_backend": {"exists": None, "services": list(CELERY)}},
    }
    for label in ("celery_beat", *WORKERS):
        stack.loop(
            label,
            1,
            [
                line.replace(
                    'connection failed: connection to server at "172.18.0.2", port 5432 failed: '
                    'FATAL:  database "ai_backend" does not exist',
                    "failed to resolve host 'postgres': [Errno -2] Name or service not known",
                )
                for line in (NO_DATABASE_BEAT if label == "celery_beat" else NO_DATABASE)
            ],
            lived=4,
        )
    return stack


#: Worker and PostgreSQL of the fault migration-missing (Celery 5.7.0, psycopg 3.3.9, PostgreSQL 15).
NO_TABLE = [
    "[2026-11-23 14:13:29,003: ERROR/ForkPoolWorker-1] Task invoices.open_invoices["
    "ae3c5716-fbdd-4cdb-9981-cf4ec1e9c619] raised unexpected: ProgrammingError('(psycopg.errors."
    'UndefinedTable) relation "invoices" does not exist\\nLINE 1: SELECT count(*) FROM invoices\')',
    "Traceback (most recent call last):",
    '  File "/usr/local/lib/python3.11/dist-packages/psycopg/cursor.py", line 117, in execute',
    "    raise ex.with_traceback(None)",
    'sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedTable) relation "invoices" does not exist',
]


def no_table(*there, table="invoices", **entry):
    """A task failed for want of a table; ``there`` is what the database holds beside Celery's own tables."""
    stack = Incident().say("data_sync_worker", *[line.replace("invoices", table) for line in NO_TABLE])
    told = stack.evidence().data("results")["servers"][0]
    visible = [*[name for name in told["relations"]["visible"] if name != table], *there]
    relations = {"visible": visible, "all": [f"public.{name}" for name in visible], "complete": True}
    return stack.section("results", "ok", "", {"servers": [{**told, "relations": relations, **entry}]})


def locked(state="idle in transaction", seconds=40.0, **by):
    """A worker's statement waits for another session."""
    stack = Incident()
    address = stack.evidence().data("containers")["items"][2]["networks"]["database-net"]["ip"]
    by = {"pid": 71, "state": state, "seconds": 300.0, "user": "postgres", "application": "psql",
          "address": None, **by}
    stack.postgres = {"waiting": [
        {"database": "ai_backend", "pid": 90, "seconds": seconds, "address": address, "by": by}]}
    return stack


def without_tls():
    """The URL demands TLS; the words are those of PostgreSQL 15 without it."""
    stack = down()
    stack.items.pop("postgres")
    stack.lives["postgres"] = [{"start": 10.0, "end": None, "exit": 0, "oom": False}]
    stack.url("CELERY_RESULT_BACKEND", "/ai_backend", "/ai_backend?sslmode=require")
    for label in CELERY:
        written = stack.written[label]["CELERY_RESULT_BACKEND"].removesuffix("?sslmode=require")
        stack.written[label]["CELERY_RESULT_BACKEND"] = f"{written}?sslmode=require"
    why = ('connection to server at "172.18.0.15", port 5432 failed: server does not support SSL, but SSL '
           "was required")
    for label in ("celery_beat", *WORKERS):
        lines = NO_DATABASE_BEAT if label == "celery_beat" else NO_DATABASE
        stack.loop(label, 1, [
            line.replace('connection to server at "172.18.0.2", port 5432 failed: FATAL:  database '
                         '"ai_backend" does not exist', why) for line in lines], lived=4)
    stack.postgres = {"status": "denied", "error_kind": "tls", "why": why, "connections": None, "databases":
    {}, "roles": {}, "wanted": {"ai_backend": {"exists": None, "services": list(CELERY)}},
                      "services": sorted(CELERY)}
    return stack


FIRES = {"DBS054": locked, "DBS052": without_tls}
FIRES |= {"DBS001": missing, "DBS002": no_role, "DBS003": full, "DBS004": down, "DBS005": no_table}


def only(stack):
    (cause,) = diagnose(stack.evidence()).cause_findings
    return cause


def test_the_missing_database_is_judged_by_the_server_and_confirmed_by_the_services():
    """The list of databases is the first proof, their last words the others."""
    cause = only(missing())
    assert (cause.object, cause.certainty, cause.state) == ("ai_backend", "confirmed", "active")
    assert cause.proof[0].section == "postgres" and "databases: postgres" in cause.proof[0].text


def test_it_is_made_in_its_own_container_by_its_superuser_for_the_role_of_the_url():
    """The command holds no password and quotes the names for SQL and for the shell."""
    stack = missing().item("postgres", env={"POSTGRES_USER": "root of all"})
    create, restart = only(stack).remedy.commands
    assert create == (
        "docker exec ai_infra_postgres psql -v ON_ERROR_STOP=1 -U 'root of all' -d postgres "
        '-c \'CREATE DATABASE "ai_backend" OWNER "backend"\''
    )
    assert restart.startswith("docker restart ai_backend_celery_beat") and "flower" not in restart


def test_without_a_known_superuser_it_is_postgres():
    """The official image's default."""
    assert " -U postgres " in only(missing().item("postgres", env={})).remedy.commands[0]


def test_a_database_with_nearly_that_name_makes_it_a_choice():
    """`ai-backend` is there: was the name in the URL a slip?"""
    stack = missing()
    stack.databases["ai-backend"] = "backend"
    remedy = only(stack).remedy
    assert remedy.kind == "choice" and '"ai-backend"' in remedy.question
    assert [option.name for option in remedy.options] == ["create", "use-existing"]
    assert not any("pg_database" in step for step in only(stack).verify), "it would hold for one answer only"


def test_services_that_run_are_not_restarted_for_it():
    """With Celery 5.4 nothing is down; making the database is all."""
    stack = Incident("5.4.0")
    del stack.databases["ai_backend"]
    assert len(only(stack).remedy.commands) == 1


def test_a_database_that_was_made_a_moment_ago_is_no_cause_though_the_last_words_still_name_it():
    """The server counts, not the log: the next start will succeed."""
    stack = missing()
    stack.databases["ai_backend"] = "backend"
    names = {cause.name for cause in diagnose(stack.evidence()).cause_findings}
    assert "database-missing" not in names


def test_where_the_server_cannot_be_asked_the_last_words_are_reported():
    """No login (--no-login): what the services say is all there is."""
    stack = missing()
    stack.postgres = {
        "status": "withheld",
        "why": "not asked: --no-login sends no password",
        "connections": None,
        "databases": {},
        "roles": {},
        "wanted": {"ai_backend": {"exists": None, "services": list(CELERY)}},
    }
    cause = only(stack)
    assert (cause.name, cause.object, cause.certainty) == ("database-missing", "ai_backend", "reported")
    assert set(cause.services) == {"celery_beat", *WORKERS}


def test_a_role_that_is_not_there_is_told_though_the_server_speaks_of_a_password():
    """Another login to the same server saw the list of roles."""
    cause = only(no_role())
    assert (cause.name, cause.object, cause.remedy.kind) == ("role-missing", "backend", "manual")


def test_a_server_without_room_names_who_holds_the_connections():
    """Seventeen of the seventeen that ordinary roles may have."""
    cause = only(full())
    assert cause.name == "connections-exhausted" and "shop 15" in cause.proof[0].text


def test_a_stopped_server_is_the_one_cause_of_all_that_its_users_suffer():
    """It does not run; that no PostgreSQL answers and that services restart follows."""
    diagnosis = diagnose(down().evidence())
    assert [cause.name for cause in diagnosis.cause_findings] == ["not-running"]
    explained = {f.name for f in diagnosis.findings if f.explained_by}
    assert explained == {"database-server-down", "restart-loop"}


def test_a_server_that_runs_and_refuses_is_a_cause_of_its_own():
    """It is still starting up."""
    stack = down()
    stack.items.pop("postgres")
    stack.lives["postgres"] = [{"start": 10.0, "end": None, "exit": 0, "oom": False}]
    stack.postgres.update(status="no_reply", error_kind="starting", why="the database system is starting up")
    assert [c.name for c in diagnose(stack.evidence()).cause_findings][0] == "database-server-down"


def test_a_stack_without_postgresql_is_not_concerned():
    """Results in Redis: the rules have no subject here."""
    stack = Incident()
    for label in CELERY:
        stack.env[label]["CELERY_RESULT_BACKEND"] = "redis://redis:6379/1"
    for label in WORKERS:
        stack.logs[label] = [
            [
                at,
                out,
                text.replace(
                    "postgresql+psycopg://backend:**@postgres:5432/ai_backend", "redis://redis:6379/1"
                ),
            ]
            for at, out, text in stack.logs[label]
        ]
    outcomes = {o.code: o.outcome for o in diagnose(stack.evidence()).outcomes}
    assert {code: outcomes[code] for code in FIRES} == dict.fromkeys(FIRES, "not_applicable")
    assert ready("email_worker")


def test_a_table_that_a_task_names_and_the_database_lacks_is_a_warning_about_the_task():
    """The worker lives; what is told is what the list of tables and the log say."""
    cause = only(no_table())
    assert (cause.name, cause.object, cause.severity) == ("table-missing", "invoices", "warning")
    assert (cause.certainty, cause.remedy.kind, cause.services) == (
        "inferred",
        "manual",
        ("data_sync_worker",),
    )
    assert "no invoices; no alembic_version" in cause.proof[0].text
    assert "to_regclass('\"'\"'invoices'\"'\"')" in cause.verify[0] and " -d ai_backend " in cause.verify[0]


def test_what_alembic_says_stands_beside_the_missing_table():
    """An empty alembic_version and one at a revision are not the same."""
    at = no_table(alembic={"version": ["1975ea83b712"]}, schemas={"alembic_version": ["public"]})
    none = no_table(alembic={"version": []}, schemas={"alembic_version": ["public"]})
    assert "alembic_version: 1975ea83b712" in only(at).proof[0].text
    assert "alembic_version: empty" in only(none).proof[0].text


def test_celerys_own_table_that_went_under_a_running_worker_is_made_by_a_restart():
    """Celery makes it once in the life of a process."""
    cause = only(no_table(table="celery_taskmeta"))
    assert (cause.name, cause.severity, cause.remedy.kind) == ("result-table-missing", "critical", "exact")
    restart, wait = cause.remedy.commands
    assert restart == "docker restart ai_backend_data_sync_worker"
    # Until the table is there the other workers lose their results as well.
    assert wait.startswith("timeout 60 sh -c 'until docker exec ai_infra_postgres psql ")


def test_a_table_that_is_there_by_now_is_history():
    """Somebody applied the migration since."""
    diagnosis = diagnose(no_table("invoices").evidence())
    assert diagnosis.causes == ()
    assert [f.state for f in diagnosis.findings if f.code == "DBS005"] == ["history"]


def test_a_table_in_a_schema_that_the_bare_name_does_not_find_is_missing():
    """`search_path` decides: what stands elsewhere is not found."""
    stack = no_table()
    entry = stack.evidence().data("results")["servers"][0]
    entry["relations"]["all"].append("billing.invoices")
    assert only(stack.section("results", "ok", "", {"servers": [entry]})).object == "invoices"


def test_whether_a_table_is_missing_is_unknown_where_not_all_tables_were_seen():
    """A bundle of an older version has no list, a huge database only a part of one."""
    for relations in (None, {"visible": [], "all": [], "complete": False}):
        diagnosis = diagnose(no_table(relations=relations).evidence())
        outcome = next(one for one in diagnosis.outcomes if one.code == "DBS005")
        assert (outcome.outcome, diagnosis.causes) == ("unknown", ())


def test_a_text_about_a_missing_table_is_no_finding():
    """A task logged a support ticket."""
    ticket = '[2026-11-23 14:13:29,003: ERROR/ForkPoolWorker-1] ticket: relation "invoices" does not exist'
    diagnosis = diagnose(Incident().say("data_sync_worker", ticket).evidence())
    assert [finding.code for finding in diagnosis.findings] == []


def test_a_session_that_holds_a_lock_and_does_nothing_is_named():
    """It is critical, for it never ends by itself; to end it is one way."""
    cause = only(locked())
    assert (cause.name, cause.object, cause.severity) == ("database-locks", "ai_backend", "critical")
    assert "session 71 (psql, role postgres, by the local socket)" in cause.title and len(cause.services) == 1
    assert "pg_terminate_backend(71)" in cause.remedy.options[1].commands[0]
    assert only(locked(state="active")).severity == "warning"


def test_a_short_wait_for_a_lock_is_nothing():
    """Locks are the daily life of a database."""
    assert diagnose(locked(seconds=2.0).evidence()).findings == ()


def test_only_the_head_of_the_line_is_named():
    """A session that waits itself is no cause."""
    stack = locked()
    behind = {**stack.postgres["waiting"][0], "pid": 91}
    behind["by"] = {**behind["by"], "pid": 90, "state": "active"}
    stack.postgres["waiting"].append(behind)
    assert "session 71" in only(stack).title and only(stack).title.startswith("2 statements wait")


def test_a_url_that_demands_tls_of_a_plain_server_is_one_cause():
    """Where the traffic goes decides which side changes."""
    cause = only(without_tls())
    assert (cause.name, cause.object, cause.certainty) == ("database-tls", "postgres:5432", "confirmed")
    first = cause.remedy.options[0]
    assert first.name == "do-without" and {edit.new for edit in first.edits} == {"sslmode=prefer"}
