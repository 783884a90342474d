"""The broker: down, loading, refusing a login."""

from __future__ import annotations

from evidence import CELERY, WORKERS, Incident, banner, ready

from celery_triage.causes import diagnose

REFUSED = (
    "[2026-11-23 12:00:02,886: ERROR/MainProcess] consumer: Cannot connect to redis://redis:6379/0: "
    "Error 111 connecting to redis:6379. Connection refused.."
)
PASSWORD = (
    "[2026-11-23 12:00:02,886: ERROR/MainProcess] consumer: Cannot connect to redis://:**@redis:6379/0: "
    "invalid username-password pair or user is disabled.."
)
NONE_SET = (
    "[2026-11-23 12:00:02,886: ERROR/MainProcess] consumer: Cannot connect to redis://:**@redis:6379/0: "
    "AUTH <password> called without any password configured for the default user. Are you sure your "
    "configuration is correct?."
)


def waiting(stack, words):
    """All services run and wait for the broker."""
    for label in (*WORKERS, "celery_beat", "flower"):
        stack.lives[label], stack.logs[label] = [], []
    for label in WORKERS:
        stack.life(label, 10, None, lines=[*banner(label), words])
    stack.life("celery_beat", 10, None, lines=ready("celery_beat")[:5])
    stack.life("flower", 10, None, lines=ready("flower")[:1])
    return stack.section("celery", "no_reply", "nobody answered")


def down():
    stack = waiting(Incident(), REFUSED)
    stack.redis = {"status": "unreachable", "error_kind": "refused", "why": "Connection refused"}
    return stack


def refused():
    stack = waiting(Incident(), PASSWORD)
    stack.redis = {"status": "denied", "error_kind": "auth", "why": "invalid username-password pair"}
    return stack


FIRES = {"BRK001": down, "BRK002": refused}


def test_a_broker_whose_container_runs_and_refuses_is_the_cause_itself():
    """Nothing explains it: the process in the container does not listen."""
    (cause,) = diagnose(down().evidence()).cause_findings
    assert (cause.name, cause.object, set(cause.services)) == ("broker-down", "redis:6379/0", set(CELERY))
    assert cause.verify[0].startswith("docker inspect")


def test_a_broker_that_loads_its_data_is_a_warning():
    """It will answer by itself."""
    stack = down()
    stack.redis.update(
        status="no_reply", error_kind="loading", why="LOADING Redis is loading the dataset in memory"
    )
    diagnosis = diagnose(stack.evidence())
    assert [cause.name for cause in diagnosis.cause_findings] == ["broker-loading"]
    assert diagnosis.verdict in ("warning", "unknown")


def test_a_broker_that_nobody_could_ask_leaves_the_rule_unknown():
    """A deadline is no answer."""
    diagnosis = diagnose(Incident().section("redis", "timeout", "the deadline passed").evidence())
    assert next(o for o in diagnosis.outcomes if o.code == "BRK001").outcome == "unknown"


def test_words_of_a_broker_that_was_away_and_came_back_are_nothing():
    """The worker connected again."""
    stack = Incident()
    stack.logs["email_worker"] = []
    stack.lives["email_worker"] = []
    stack.life(
        "email_worker", 10, None, lines=[*banner("email_worker"), REFUSED, *ready("email_worker")[-4:]]
    )
    assert diagnose(stack.evidence()).findings == ()


def test_a_refused_login_names_the_broker():
    """The password of the URL is not the broker's."""
    (cause,) = diagnose(refused().evidence()).cause_findings
    assert (cause.name, cause.object, cause.certainty) == (
        "broker-login-refused",
        "redis:6379/0",
        "confirmed",
    )


def test_a_url_without_the_password_that_is_wanted_is_told_so():
    """Nothing is refused: there is no password in the URL."""
    stack = refused()
    stack.redis.update(error_kind="noauth", why="AuthenticationError: Authentication required.")
    (cause,) = diagnose(stack.evidence()).cause_findings
    assert "wants a password" in cause.title and "before the host" in cause.remedy.summary


def test_a_password_where_none_is_set_is_told_so():
    """Redis 6 and later refuse it, and redis-py gives up."""
    stack = waiting(Incident(), NONE_SET)
    stack.redis = {"no_password_set": True}
    (cause,) = diagnose(stack.evidence()).cause_findings
    assert "no password set" in cause.title and "requirepass" in cause.remedy.summary


def test_a_password_that_nobody_asked_for_is_nothing_where_all_get_in_with_it():
    """redis-py 8 speaks RESP3 and is let in with any password."""
    stack = Incident()
    stack.redis = {"no_password_set": True}
    assert diagnose(stack.evidence()).findings == ()
