"""Redis by its own words: full, unable to save, a replica, without a connection left, protected, "
"restricted."""

from __future__ import annotations

from evidence import CELERY, WORKERS, Incident, banner, ready
from test_checks_broker import waiting

from celery_triage.causes import diagnose

MIB = 2**20
CANNOT = "[2026-11-23 12:00:02,886: ERROR/MainProcess] consumer: Cannot connect to redis://redis:6379/0: "
OOM = CANNOT + "OOM command not allowed when used memory > 'maxmemory'.."
MISCONF = (
    CANNOT
    + "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.."
)
READONLY = CANNOT + "You can't write against a read only replica.."
CHANNEL = (
    "redis.exceptions.NoPermissionError: this user has no permissions to access one of the channels used as "
    "arguments"
)
FAILED = {"rdb_last_bgsave_status": "err", "aof_last_write_status": "ok", "maxclients": 10000}
HEALTHY = {**FAILED, "rdb_last_bgsave_status": "ok"}


def said(words, **server):
    """All services wait for the broker with these words; the server says this of itself."""
    stack = waiting(Incident(), words)
    stack.redis = server
    return stack


def full():
    return said(OOM, memory={"used": 3 * MIB, "max": 2 * MIB, "policy": "noeviction"})


def unable_to_save():
    return said(
        MISCONF, info=FAILED, saving={"save": "3600 1", "stops_writes": True, "replica_read_only": True}
    )


def replica(**info):
    return said(
        READONLY,
        role="slave",
        info={**HEALTHY, "master_host": "203.0.113.9", "master_link_status": "down", **info},
    )


def no_room():
    words = CANNOT + "max number of clients reached.."
    return said(
        words, status="denied", error_kind="full", why="ConnectionError: max number of clients reached"
    )


def protected():
    words = CANNOT + "DENIED Redis is running in protected mode because protected mode is enabled.."
    return said(
        words, status="denied", error_kind="protected", why="DENIED Redis is running in protected mode"
    )


def plain():
    """The URL asks for TLS and the server has none: the services hang without a word."""
    stack = said("", status="denied", error_kind="plain", why="the server answers only without")
    return stack.url("CELERY_BROKER_URL", "redis://", "rediss://")


def restricted():
    """The workers are let in, and may not listen to their channels."""
    stack = Incident()
    for label in WORKERS:
        stack.lives[label], stack.logs[label] = [], []
        stack.loop(
            label,
            1,
            [
                *banner(label),
                "Traceback (most recent call last):",
                '  File "/usr/lib/python3/dist-packages/redis/client.py", line 9, in execute',
                "    raise response",
                CHANNEL,
            ],
        )
    stack.redis = {"user": "backend"}
    return stack


def evicting(**info):
    stack = Incident()
    stack.redis = {
        "memory": {"used": MIB, "max": 64 * MIB, "policy": "allkeys-lru"},
        "info": {**HEALTHY, **info},
    }
    return stack


FIRES = {
    "RDS050": full,
    "RDS051": unable_to_save,
    "RDS053": replica,
    "RDS054": no_room,
    "RDS055": protected,
    "RDS056": plain,
    "RDS058": restricted,
    "RDS059": evicting,
}


def only(stack):
    """The one cause."""
    (cause,) = diagnose(stack.evidence()).cause_findings
    return cause


def names(stack):
    return [cause.name for cause in diagnose(stack.evidence()).cause_findings]


def test_a_full_redis_is_the_cause_by_its_own_figures():
    """The services' words make it sure; more memory is one of two ways."""
    cause = only(full())
    assert (cause.name, cause.certainty, set(cause.services)) == (
        "redis-out-of-memory",
        "confirmed",
        set(CELERY),
    )
    raising = cause.remedy.options[0]
    assert raising.commands == ("docker exec ai_infra_redis redis-cli config set maxmemory 64mb",)


def test_words_of_a_redis_that_has_room_again_are_nothing():
    """The figures of now count, not an older line of a log."""
    stack = full()
    stack.redis = {"memory": {"used": MIB, "max": 64 * MIB, "policy": "noeviction"}}
    assert "redis-out-of-memory" not in names(stack)


def test_a_redis_that_may_evict_is_not_called_full():
    """It throws away and goes on taking writes."""
    stack = Incident()
    stack.redis = {"memory": {"used": 3 * MIB, "max": 2 * MIB, "policy": "allkeys-lru"}}
    assert names(stack) == ["redis-eviction"]


def test_a_server_with_a_password_gets_no_command_that_could_not_work():
    """No password may stand on a command line."""
    stack = full().url("CELERY_BROKER_URL", "redis://", "redis://:‹secret:9f9f›@")
    assert all(not option.commands for option in only(stack).remedy.options)


def test_a_failed_snapshot_stops_writes_only_where_that_is_configured():
    """Without save points, or with stop-writes-on-bgsave-error off, Redis takes writes all the same."""
    assert only(unable_to_save()).object == "RDB snapshot"
    for saving in ({"save": "", "stops_writes": True}, {"save": "3600 1", "stops_writes": False}):
        stack = Incident()
        stack.redis = {"info": FAILED, "saving": {**saving, "replica_read_only": True}}
        assert names(stack) == []


def test_a_replica_names_its_primary_and_both_ways():
    """Whoever made it one decides which way is right."""
    cause = only(replica())
    assert "203.0.113.9" in cause.title and cause.certainty == "confirmed"
    assert [option.name for option in cause.remedy.options] == ["use-the-primary", "promote"]


def test_a_replica_that_takes_writes_is_not_reported():
    """replica-read-only no: nobody is refused."""
    stack = Incident()
    stack.redis = {"role": "slave", "saving": {"save": "", "stops_writes": True, "replica_read_only": False}}
    assert names(stack) == []


def test_a_server_without_a_connection_left_is_the_one_cause():
    """Not that the broker is down, nor that the workers are silent."""
    assert only(no_room()).name == "redis-max-clients"


def test_protected_mode_is_a_choice_between_a_password_and_trust():
    """Which is right depends on who can reach the port."""
    cause = only(protected())
    assert cause.name == "redis-protected-mode"
    assert [option.name for option in cause.remedy.options] == ["set-password", "trust-network"]


def test_what_a_user_may_not_do_is_reported_by_its_service():
    """Only the log says it; the services that end for it are its consequence."""
    cause = only(restricted())
    assert (cause.name, cause.certainty, set(cause.services)) == ("redis-acl", "reported", set(WORKERS))


def test_a_url_that_asks_a_plain_server_for_tls_is_corrected():
    """Nobody says anything, so only the server's own answer tells."""
    cause = only(plain())
    assert (cause.name, cause.certainty, cause.remedy.kind) == ("broker-tls", "inferred", "exact")
    assert {(edit.old, edit.new) for edit in cause.remedy.edits} == {("rediss://", "redis://")}


def test_connections_that_were_turned_away_count_though_one_is_free_now():
    """Those that were refused ended, and left room for us."""
    words = CANNOT + "max number of clients reached.."
    cause = only(said(words, clients=1, info={**HEALTHY, "maxclients": 4, "rejected_connections": 9}))
    assert (cause.name, cause.certainty) == ("redis-max-clients", "confirmed")
    assert "9 turned away" in cause.proof[0].text


def test_an_eviction_policy_is_a_warning_and_says_what_is_lost_already():
    """Nothing has happened yet, or it has."""
    cause = only(evicting())
    assert (cause.severity, cause.certainty, cause.remedy.kind) == ("warning", "inferred", "exact")
    assert "7 keys" in only(evicting(evicted_keys=7)).title


def test_policies_that_spare_queues_and_a_redis_without_limit_are_nothing():
    """A queue has no expiry, so volatile policies never take it; without maxmemory nothing is evicted."""
    for memory in (
        {"used": 1, "max": 64 * MIB, "policy": "volatile-lru"},
        {"used": 1, "max": 0, "policy": "allkeys-lru"},
    ):
        stack = Incident()
        stack.redis = {"memory": memory}
        assert names(stack) == []


def test_a_healthy_start_says_nothing_of_redis():
    """Ready services with a Redis that answers."""
    assert ready("email_worker") and names(Incident()) == []
