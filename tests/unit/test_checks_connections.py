"""Connection strings: unreadable, without a driver, to nowhere, refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evidence import (
    CELERY,
    COMPOSE,
    NO_BROKER,
    NO_DRIVER,
    NO_DRIVER_BEAT,
    RESULT,
    TAKEN_S,
    TOKEN,
    WORKERS,
    Incident,
    banner,
    iso,
    ready,
)

from celery_triage.causes import diagnose
from celery_triage.checks import RULES, Look, judge
from celery_triage.model import Section

BACKEND = "CELERY_RESULT_BACKEND"
BROKER = "CELERY_BROKER_URL"
TRANSPORT = [
    "Traceback (most recent call last):",
    '  File "/usr/lib/python3/dist-packages/kombu/transport/__init__.py", line 74, in resolve_transport',
    "    raise KeyError(f'No such transport: {transport}')",
    "KeyError: 'No such transport: rediss2'",
]
PASSWORD = [
    "[2026-11-23 12:00:04,101: CRITICAL/MainProcess] Unrecoverable error: OperationalError('x')",
    "Traceback (most recent call last):",
    '  File "/usr/lib/python3/dist-packages/psycopg/connection.py", line 126, in connect',
    "    raise last_ex.with_traceback(None)",
    "sqlalchemy.exc.OperationalError: (psycopg.OperationalError) connection failed: connection to server at "
    '"172.18.0.2", port 5432 failed: FATAL:  password authentication failed for user "backend"',
]


def unreadable():
    stack = Incident().url(BROKER, "redis://", "rediss2://")
    for label in CELERY:
        stack.loop(label, 1, TRANSPORT)
    stack.redis = {"services": []}
    return stack


def no_driver():
    stack = Incident().url(BACKEND, "postgresql+psycopg", "postgresql").loop("celery_beat", 1, NO_DRIVER_BEAT)
    for label in WORKERS:
        stack.loop(label, 1, NO_DRIVER)
    return stack


def again(stack, label, lines, start=10.0):
    """The service has one life, which runs and says this."""
    stack.lives[label], stack.logs[label] = [], []
    return stack.life(label, start, None, lines=lines)


def wrong_host(host="redsi", said=True):
    stack = Incident().url(BROKER, "redis:6379", f"{host}:6379")
    words = [line.replace("redsi", host) for line in NO_BROKER] if said else []
    for label in WORKERS:
        again(stack, label, [*banner(label), *words])
    again(stack, "celery_beat", ready("celery_beat")[:5])
    again(stack, "flower", ready("flower")[:1])
    stack.redis = {
        "key": f"{host}:6379/0",
        "container": None,
        "status": "withheld",
        "why": f"no container is called {host}",
    }
    return stack.section("celery", "no_reply", "nobody answered")


def refused_login():
    stack = Incident()
    for label in WORKERS:
        stack.loop(label, 1, PASSWORD, lived=4)
    stack.postgres = {
        "status": "denied",
        "sqlstate": "28P01",
        "error_kind": "refused_login",
        "databases": {},
        "roles": {},
        "why": 'FATAL: password authentication failed for user "backend"',
        "connections": None,
        "wanted": {"ai_backend": {"exists": None, "services": list(CELERY)}},
    }
    return stack


def wrong_port():
    stack = Incident().url(BROKER, "redis:6379", "redis:6380")
    for label in WORKERS:
        again(stack, label, banner(label))
    again(stack, "celery_beat", ready("celery_beat")[:5])
    again(stack, "flower", ready("flower")[:1])
    stack.redis = {
        "key": "redis:6380/0",
        "status": "unreachable",
        "error_kind": "refused",
        "why": "Connection refused",
    }
    return stack.section("celery", "no_reply", "nobody answered")


def localhost(host="localhost"):
    """A broker at the container itself; only the workers say that they are refused."""
    stack, host = Incident().url(BROKER, "redis:6379", f"{host}:6379"), host or "localhost"
    said = (f"[2026-11-23 12:00:02,886: ERROR/MainProcess] consumer: Cannot connect to "
            f"redis://{host}:6379/0: Error 111 connecting to {host}:6379. Connection refused..")
    for label in WORKERS:
        again(stack, label, [*banner(label), said])
    again(stack, "celery_beat", ready("celery_beat")[:5])
    again(stack, "flower", ready("flower")[:1])
    stack.redis = {"key": f"{host}:6379/0", "container": "email_worker", "status": "unreachable",
                   "services": ["email_worker"], "why": f"{host} inside a container is that container"}
    return stack.section("celery", "no_reply", "nobody answered")


FIRES = {
    "URL006": localhost,
    "URL001": unreadable,
    "URL002": no_driver,
    "URL003": wrong_host,
    "URL004": refused_login,
    "URL005": wrong_port,
}


def causes(stack):
    return diagnose(stack.evidence()).cause_findings


@pytest.mark.parametrize(("lived", "said", "past"), [(70, [], False), (400, [], True), (100, [0], False)])
def test_a_start_that_is_short_of_processor_time_has_not_outlived_its_driver(lived, said, past):
    """Past the missing driver is only who lives twice as long as the start that failed of it, and not one
    that has yet to say its first word: under a tight CPU limit an import takes minutes."""
    stack = no_driver()
    stack.lives["celery_beat"], stack.logs["celery_beat"] = [], []
    if said:
        stack.life("celery_beat", 3000, 3065, 1, NO_DRIVER_BEAT)
    stack.life("celery_beat", TAKEN_S - lived, None, lines=[ready("celery_beat")[place] for place in said])
    named = [finding.services for finding in diagnose(stack.evidence()).findings if finding.code == "URL002"]
    assert (not any("celery_beat" in services for services in named)) is past


def test_a_scheme_that_kombu_does_not_know_stops_its_services():
    """Worker and beat die of it before they look for anything else."""
    (cause,) = [c for c in causes(unreadable()) if c.name == "url-does-not-parse"]
    assert cause.object == BROKER and "rediss2" in cause.title


@pytest.mark.parametrize(
    "written,right", [("postgres://", "db+postgresql://"), ("postgresql://", "db+postgresql://")]
)
def test_a_result_backend_without_its_prefix_is_corrected(written, right):
    """Celery needs db+ before the URL of a database, and SQLAlchemy forgot postgres:// in 1.4."""
    stack = Incident().url(BACKEND, "db+postgresql+psycopg://", written).package("psycopg2", True)
    for label in ("celery_beat", *WORKERS):
        stack.loop(label, 1, ["Weird: 1"])
    cause = next(c for c in causes(stack) if c.name == "url-does-not-parse")
    assert {(edit.old, edit.new) for edit in cause.remedy.edits} == {(written, right)}


def test_the_missing_driver_is_named_and_the_one_that_is_there_is_written():
    """psycopg2 is what postgresql:// means up to SQLAlchemy 2.0; psycopg 3 is in the image."""
    (cause,) = causes(no_driver())
    assert (cause.name, cause.object, set(cause.services)) == (
        "driver-not-installed",
        "psycopg2",
        set(CELERY),
    )
    assert cause.remedy.kind == "exact" and len(cause.remedy.edits) == 5
    assert {(e.file, e.old, e.new) for e in cause.remedy.edits} == {
        (COMPOSE, "db+postgresql://", "db+postgresql+psycopg://")
    }


def test_with_sqlalchemy_2_1_the_same_url_is_right():
    """There postgresql:// means psycopg 3: what is right depends on what is installed."""
    stack = Incident().url(BACKEND, "postgresql+psycopg", "postgresql").package("sqlalchemy", True, "2.1.9")
    assert diagnose(stack.evidence()).findings == ()


def test_without_any_driver_the_image_has_to_be_built_anew():
    """No other spelling of the URL would help."""
    (cause,) = causes(no_driver().package("psycopg", False))
    assert cause.remedy.kind == "manual" and "psycopg2-binary" in cause.remedy.summary


def test_a_driver_that_cannot_be_looked_for_is_unknown():
    """Neither missing nor there: nobody could look."""
    stack = Incident().url(BACKEND, "postgresql+psycopg", "postgresql").package("psycopg2", None)
    for label in ("celery_beat", *WORKERS):
        stack.loop(label, 1, ["Weird: 17"])
    _, outcome = judge(RULES["URL002"], Look(stack.evidence(), RULES["URL002"]))
    assert outcome.outcome == "unknown"


def test_a_worker_that_opened_its_backend_has_its_driver_wherever_it_is():
    """Its banner names the results: a module in a place that nobody looked at."""
    stack = Incident().package("psycopg", False)
    assert diagnose(stack.evidence()).findings == ()


def test_what_serves_a_worker_serves_flower_and_beat_of_the_same_image():
    """They are not seen to open the backend; a worker with the same URL is."""
    stack = Incident().url(BACKEND, "postgresql+psycopg", "postgresql")
    for label in WORKERS:
        again(stack, label, ready(label))
    again(stack, "celery_beat", ready("celery_beat")[:5])
    assert diagnose(stack.evidence()).causes == ()


def test_up_to_5_4_the_missing_driver_is_active_on_the_workers_alone():
    """Beat and Flower carry the URL and do not open it; the first result of a worker fails."""
    stack = Incident("5.4.0").url(BACKEND, "postgresql+psycopg", "postgresql")
    (cause,) = causes(stack)
    assert {label for label, state in cause.service_states.items() if state == "active"} == set(WORKERS)
    assert "cannot store results" in cause.title


def test_a_host_that_nobody_bears_is_confirmed_by_the_workers_own_words():
    """Beat and Flower ask the same name server, though they say nothing."""
    (cause,) = causes(wrong_host())
    assert (cause.name, cause.object, cause.certainty) == ("broker-host-unknown", "redsi", "confirmed")
    assert set(cause.services) == set(CELERY)


def test_the_one_server_that_fits_is_offered_as_a_choice():
    """It may be a slip, or a container may be missing: a person decides."""
    (cause,) = causes(wrong_host())
    assert cause.remedy.kind == "choice" and cause.remedy.question
    (option,) = cause.remedy.options
    assert option.name == "use-existing" and len(option.edits) == 5
    assert {(edit.old, edit.new) for edit in option.edits} == {("redsi:6379", "redis:6379")}


def test_with_two_servers_that_fit_none_is_offered():
    """Nobody can say which is meant."""
    stack = wrong_host()
    stack.item("postgres", image="redis:7", cmd=["redis-server"])
    (cause,) = [c for c in causes(stack) if c.name == "broker-host-unknown"]
    assert cause.remedy.kind == "manual"


def test_a_name_with_a_dot_can_be_a_machine_outside():
    """Without a complaint in the log it is unknown, with one it is found."""
    _, outcome = judge(
        RULES["URL003"], Look(wrong_host("redis.example.org", said=False).evidence(), RULES["URL003"])
    )
    assert outcome.outcome == "unknown"
    (cause,) = causes(wrong_host("redis.example.org"))
    assert (cause.name, cause.object) == ("broker-host-unknown", "redis.example.org")


def test_a_name_that_only_the_machine_knows_is_not_reported_while_a_worker_is_connected():
    """It resolves by the search domain of the machine; the workers prove it, for beat and Flower as well."""
    stack = Incident().url(BROKER, "redis:6379", "cache1:6379")
    stack.redis = {"key": "cache1:6379/0", "container": None, "status": "withheld", "why": "outside"}
    assert [f for f in diagnose(stack.evidence()).findings] == []


def test_a_server_on_another_network_is_a_missing_network():
    """It is there and runs, and its name means nothing where the service is."""
    stack = Incident()
    stack.item("redis", networks={"cache-net": {"ip": "172.30.0.2", "aliases": ["redis", "ai_infra_redis"]}})
    for label in WORKERS:
        again(stack, label, banner(label))
    again(stack, "celery_beat", ready("celery_beat")[:5])
    again(stack, "flower", ready("flower")[:1])
    stack.redis = {"services": [], "unreached": dict.fromkeys(CELERY, "no shared network")}
    stack.section("celery", "no_reply", "nobody answered")
    (cause,) = causes(stack)
    assert (cause.name, cause.object) == ("network-missing", "redis") and "cache-net" in cause.remedy.summary


def test_a_service_without_a_network_to_broker_and_database_has_one_cause():
    """One thing is missing: it is said once, with both servers."""
    alone = {"payment-net": {"ip": "172.30.0.2", "aliases": ["payment_worker"]}}
    said = (
        "(psycopg.OperationalError) failed to resolve host 'postgres': [Errno -2] Name or service not known"
    )
    lost = [
        f'[2026-11-23 12:00:04,101: CRITICAL/MainProcess] Unrecoverable error: OperationalError("{said}")',
        "Traceback (most recent call last):",
        f"sqlalchemy.exc.OperationalError: {said}",
    ]
    stack = Incident().loop("payment_worker", 1, lost)
    stack.item("payment_worker", networks=alone)
    (cause,) = causes(stack)
    assert (cause.name, cause.services, cause.state) == ("network-missing", ("payment_worker",), "active")
    assert set(cause.object.split(",")) == {"redis", "postgres"}
    assert "cannot reach the" in cause.title and "result backend" in cause.title


def test_a_stopped_server_is_not_called_an_unknown_host():
    """Its name does not resolve while it is down; that it is down is the cause."""
    stack = Incident()
    stack.lives["redis"] = [{"start": 10.0, "end": 8000.0, "exit": 0, "oom": False}]
    stack.item("redis", sample={"status": "exited", "exit_code": 0, "finished_at": iso(8000)})
    stack.redis = {"status": "unreachable", "why": "the container redis is not running (exited)"}
    for label in WORKERS:
        again(stack, label, [*banner(label), *[line.replace("redsi", "redis") for line in NO_BROKER]])
    assert [c.name for c in causes(stack)] == ["not-running"]


def test_a_refused_password_is_one_cause_with_its_server():
    """The user and the server are named, never the password."""
    (cause,) = causes(refused_login())
    assert (cause.name, cause.object, cause.certainty) == ("login-refused", "postgres:5432", "confirmed")
    assert "backend" in cause.title and cause.remedy.kind == "manual"


def test_a_password_that_only_our_own_login_has_wrong_is_not_reported():
    """The workers use the database; the server may treat addresses differently."""
    stack = refused_login()
    for label in WORKERS:
        again(stack, label, ready(label))
    diagnosis = diagnose(stack.evidence())
    assert diagnosis.causes == ()
    assert next(o for o in diagnosis.outcomes if o.code == "URL004").outcome == "unknown"


def test_a_port_that_the_container_does_not_have_is_corrected():
    """Redis listens on one port, and it is not the one of the URL."""
    (cause,) = causes(wrong_port())
    assert (cause.name, cause.object, cause.remedy.kind) == (
        "broker-nothing-listens",
        "redis:6380/0",
        "exact",
    )
    assert {(edit.old, edit.new) for edit in cause.remedy.edits} == {(":6380", ":6379")}


OTHER = "‹secret:9f00›"


def made_with(password, stack=None):
    """Refused logins; PostgreSQL's container carries this password for the user of the URL."""
    env = {"POSTGRES_USER": "backend", "POSTGRES_PASSWORD": password}
    return (stack or refused_login()).item("postgres", env=env)


def test_a_password_that_the_server_was_made_with_and_refuses_was_changed_there():
    """The masks are the same, so no file is wrong: was the change meant?"""
    (cause,) = causes(made_with(TOKEN))
    assert (cause.name, cause.object, cause.certainty) == ("login-refused", "postgres:5432", "confirmed")
    assert f"POSTGRES_PASSWORD is the password of the URL: {TOKEN}" in cause.proof[1].text
    assert [option.name for option in cause.remedy.options] == ["write-new", "set-on-server"]
    command = cause.remedy.options[1].commands[0]
    assert TOKEN not in command and "printf %s \"$POSTGRES_PASSWORD\"" in command
    assert cause.remedy.risk and cause.remedy.question


def test_a_server_that_was_made_with_another_password_leaves_it_to_a_person():
    """Which one is right nobody here can know; where it is written is told."""
    (cause,) = causes(made_with(OTHER))
    assert cause.remedy.kind == "manual" and "POSTGRES_PASSWORD" in cause.remedy.summary
    assert f"another password than that of the URL ({TOKEN}): {OTHER}" in cause.proof[1].text


def test_a_service_that_is_let_in_with_another_password_is_named():
    """Two services use different passwords for one user: their masks differ, and one works."""
    stack = refused_login()
    stack.env["celery_beat"]["CELERY_RESULT_BACKEND"] = RESULT.replace(TOKEN, OTHER)
    refused = stack.evidence().data("postgres")["servers"][0]
    refused = {**refused, "services": [*WORKERS, "flower"]}
    let_in = {**refused, "services": ["celery_beat"], "status": "ok", "sqlstate": None, "error_kind": None}
    let_in |= {"databases": {"ai_backend": {"owner": "backend"}}, "wanted": {"ai_backend": {
        "exists": True, "services": ["celery_beat"]}}}
    stack.section("postgres", "partial", "one login was refused", {"servers": [refused, let_in]})
    (cause,) = causes(stack)
    assert cause.services == ("data_sync_worker", "email_worker", "flower", "payment_worker")
    assert f"celery_beat is let in as the same user with another password ({OTHER}" in cause.proof[1].text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_localhost_in_a_container_is_corrected_to_the_one_server_there_is(host):
    """Inside a container localhost is that container; all services of that URL are concerned."""
    (cause,) = causes(localhost(host))
    assert (cause.name, cause.object, set(cause.services)) == ("broker-is-localhost", host, set(CELERY))
    assert (cause.certainty, cause.remedy.kind) == ("confirmed", "exact")
    assert {(edit.old, edit.new) for edit in cause.remedy.edits} == {(f"{host}:6379", "redis:6379")}


def test_a_url_without_a_host_names_the_variables_that_are_empty():
    """Compose put an empty text in their place."""
    stack = localhost("")
    for label in CELERY:
        stack.env[label][BROKER] = "redis://:@:6379/0"
        stack.written[label][BROKER] = "redis://:${REDIS_PASSWORD}@${REDIS_HOST}:6379/0"
    (cause,) = causes(stack)
    assert (cause.name, cause.object, cause.remedy.kind) == ("broker-is-localhost", BROKER, "manual")
    assert "REDIS_PASSWORD and REDIS_HOST" in cause.remedy.summary


def test_a_worker_that_is_connected_at_localhost_has_its_broker_beside_it():
    """A server in the same container: nothing is said."""
    stack = localhost()
    for label in WORKERS:
        again(stack, label, ready(label))
    assert "broker-is-localhost" not in [cause.name for cause in causes(stack)]


@pytest.mark.parametrize(
    ("host", "way"),
    [
        ("localhost", {"network_mode": "host", "networks": {"host": {"ip": None, "aliases": []}}}),
        ("cache", {"extra_hosts": ["cache:host-gateway"]}),
    ],
)
def test_a_name_that_leads_to_the_machine_is_no_unknown_host(host, way):
    """A server may run on the machine itself, beside all containers: that it is no container proves
    nothing."""
    stack = Incident().url(BROKER, "redis:6379", f"{host}:6379")
    for label in CELERY:
        stack.item(label, **way)
    stack.without_logs()
    stack.redis = {"key": f"{host}:6379/0", "container": None, "status": "no_reply",
                   "services": list(CELERY), "why": "nothing outside this engine is asked"}
    stack.section("celery", "no_reply", "nobody answered")
    found, _ = judge(RULES["URL003"], Look(stack.evidence(), RULES["URL003"]))
    assert not [one.title for one in found]


def test_who_else_is_on_the_network_may_be_the_one_that_is_meant():
    """Where no URL leads to the broker, nothing tells which container it is: all that are there are named."""
    evidence = wrong_host("broker-of-the-shop").evidence()
    told = dict(evidence.section("containers").data)
    told["items"] = [item for item in told["items"] if item["label"] != "redis"]
    shared = next(iter(next(item for item in told["items"] if item["label"] == "flower")["networks"]))

    def said(members):
        networks = {"items": [{"name": shared, "members": dict.fromkeys(members, "172.18.0.77")}]}
        new = {"containers": told, "networks": networks}
        sections = evidence.sections | {name: Section(name, "ok", data) for name, data in new.items()}
        found = diagnose(replace(evidence, sections=sections)).cause_findings
        return next(one.remedy.summary for one in found if one.name == "broker-host-unknown")

    assert said(["shop_queue", "ai_backend_flower"]).endswith("there are also: shop_queue.")
    assert "On their networks" not in said(["ai_backend_flower"])


HBA = ('FATAL: no pg_hba.conf entry for host "172.18.0.9", user "backend", database "ai_backend", '
       'no encryption')


def test_a_missing_line_of_pg_hba_is_no_matter_of_passwords():
    """No password would help; the line that is missing is written out."""
    stack = refused_login()
    for label in WORKERS:
        stack.loop(label, 1, [line.replace('FATAL:  password authentication failed for user "backend"', HBA)
                              for line in PASSWORD], lived=4)
    stack.postgres.update(sqlstate="28000", why=HBA)
    (cause,) = causes(stack)
    assert (cause.name, cause.certainty, cause.remedy.kind) == ("no-pg-hba-entry", "confirmed", "manual")
    assert "host ai_backend backend samenet" in cause.remedy.summary


def told_by_the_server(*details):
    """Refused logins; the server's own log has these details of them, oldest first."""
    stack = refused_login()
    for number, detail in enumerate(details):
        stack.say("postgres",
                  '2026-11-23 14:14:00.000 UTC [77] FATAL:  password authentication failed for user '
                  '"backend"',
                  f"2026-11-23 14:14:00.000 UTC [77] DETAIL:  {detail}", at=8000.0 + number)
    return stack


def test_the_servers_log_tells_a_role_that_is_missing_from_a_wrong_password():
    """To the client it says the same for both."""
    (cause,) = causes(told_by_the_server('Role "backend" does not exist.'))
    assert (cause.name, cause.object) == ("role-missing", "backend")
    assert any(proof.section == "logs/postgres" for proof in cause.proof)


def test_only_the_newest_refusal_counts():
    """The role was made since, with another password."""
    (cause,) = causes(told_by_the_server('Role "backend" does not exist.',
                                         'Password does not match for user "backend".'))
    assert cause.name == "login-refused"


def test_a_container_that_was_taken_off_all_its_networks_is_not_well_for_what_its_log_says():
    """It was connected and ready, and reaches nothing now; one that keeps a network is judged by its log."""
    cut = Incident().item("email_worker", networks={})
    (cause,) = diagnose(cut.evidence()).cause_findings
    assert (cause.name, cause.services) == ("network-missing", ("email_worker",))
    assert diagnose(Incident().evidence()).cause_findings == ()
