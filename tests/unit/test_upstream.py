"""Faults that are known upstream: the table, and which versions have them."""

from __future__ import annotations

import re

import pytest
from linted import HEALTHY, found, judged

from celery_triage.model import SEVERITIES
from celery_triage.upstream import Known, faults, image_version, matching

NAMES = {fault.name for fault in faults()}
REDIS = frozenset({"redis"})


def names(versions, python="", *, servers=None, brokers=REDIS, role="worker", options=()):
    known = Known(versions, python, servers or {}, frozenset(brokers), role, frozenset(options))
    return {fault.name for fault in matching(known)}


#: What has each fault, and the same with the release in which it is gone or the condition that does not hold.
CASES = [
    (
        "flower-0-on-celery-5",
        [{"flower": "0.9.5", "celery": "5.0.5"}],
        [{"flower": "1.0.0", "celery": "5.0.5"}],
    ),
    ("vine-5-on-celery-4", [{"vine": "5.0.0", "celery": "4.3.0"}], [{"vine": "1.3.0", "celery": "4.3.0"}]),
    (
        "importlib-metadata-5",
        [{"importlib-metadata": "5.0.0", "celery": "5.2.7"}, "3.7"],
        [{"importlib-metadata": "5.0.0", "celery": "5.2.7"}, "3.8"],
    ),
    ("celery-5-2-5-extensions", [{"celery": "5.2.5"}], [{"celery": "5.2.6"}]),
    ("async-is-a-keyword", [{"celery": "4.2.2"}, "3.7"], [{"celery": "4.3.0"}, "3.7"]),
    ("redis-reconnect-deaf", [{"kombu": "5.3.7"}], [{"kombu": "5.4.0"}]),
    ("celery-5-6-redis-failover", [{"celery": "5.6.2"}], [{"celery": "5.6.3"}]),
    ("redis-py-4-5-5", [{"redis": "4.5.5", "celery": "5.2.7"}], [{"redis": "4.5.4", "celery": "5.2.7"}]),
    ("redis-py-4-0-0", [{"redis": "4.0.1", "kombu": "5.2.1"}], [{"redis": "4.0.2", "kombu": "5.2.1"}]),
    (
        "redis-py-too-old-for-kombu-4-4",
        [{"redis": "2.10.6", "kombu": "4.4.0"}],
        [{"redis": "2.10.6", "kombu": "4.3.0"}],
    ),
    (
        "redis-py-8-under-kombu-5-6",
        [{"redis": "8.1.0", "kombu": "5.6.2"}],
        [{"redis": "8.1.0", "kombu": "5.7.0"}],
    ),
    (
        "kombu-5-6-1-credential-provider",
        [{"redis": "4.6.0", "kombu": "5.6.1"}],
        [{"redis": "4.6.0", "kombu": "5.6.2"}],
    ),
    (
        "celery-5-6-3-old-redis-py",
        [{"redis": "5.2.1", "celery": "5.6.3"}],
        [{"redis": "5.3.0", "celery": "5.6.3"}],
    ),
    ("tracebacks-leak", [{"celery": "5.5.3"}, "3.11"], [{"celery": "5.6.0"}, "3.11"]),
    ("beat-undecodable", [{"celery": "5.3.6"}], [{"celery": "5.4.0"}]),
    ("beat-unpickling", [{"celery": "5.5.3"}], [{"celery": "5.6.0"}]),
    ("beat-sleeps-300", [{"celery": "5.2.3"}], [{"celery": "5.3.0"}]),
    ("detach-stalls", [{"celery": "5.5.3"}], [{"celery": "5.7.0"}]),
    ("embedded-beat-stalls", [{"celery": "5.5.3"}], [{"celery": "5.7.0"}]),
    ("free-process-stalls", [{"celery": "5.6.3"}], [{"celery": "5.7.0"}]),
    ("rabbitmq-4-3-transient-queues", [{"celery": "5.6.3"}], [{"celery": "5.7.0"}]),
    (
        "click-8-on-celery-5-1",
        [{"click": "8.0.1", "celery": "5.1.2"}],
        [{"click": "7.1.2", "celery": "5.1.2"}],
    ),
    (
        "setuptools-82-without-pkg-resources",
        [{"setuptools": "82.0.1", "celery": "5.1.2"}],
        [{"setuptools": "80.9.0", "celery": "5.1.2"}],
    ),
    (
        "kombu-sqlalchemy-2-broker",
        [{"kombu": "5.2.4", "sqlalchemy": "2.0.30"}],
        [{"kombu": "5.3.0", "sqlalchemy": "2.0.30"}],
    ),
    ("kombu-4-6-4-no-replies", [{"kombu": "4.6.4"}], [{"kombu": "4.6.5"}]),
    ("redis-task-lost-at-shutdown", [{"kombu": "5.3.1"}], [{"kombu": "5.3.2"}]),
    ("unpicklable-retry", [{"celery": "5.2.7"}], [{"celery": "5.3.0"}]),
]
CONDITIONS = {
    "beat-undecodable": {"role": "beat"},
    "beat-unpickling": {"role": "beat"},
    "beat-sleeps-300": {"role": "beat"},
    "detach-stalls": {"options": ["detach"]},
    "embedded-beat-stalls": {"options": ["beat"]},
    "free-process-stalls": {"options": ["disable_prefetch"]},
    "rabbitmq-4-3-transient-queues": {"servers": {"rabbitmq": "4.3.1"}, "brokers": {"amqp"}},
    "kombu-sqlalchemy-2-broker": {"brokers": {"sql"}},
}


@pytest.mark.parametrize(("name", "has", "has_not"), CASES, ids=[case[0] for case in CASES])
def test_the_last_bad_version_has_the_fault_and_the_mended_one_has_not(name, has, has_not):
    """Each entry at the edge of its range; and nothing is said where the versions are not known."""
    conditions = CONDITIONS.get(name, {})
    assert name in names(*has, **conditions)
    assert name not in names(*has_not, **conditions)
    assert name not in names({}, **conditions)


def test_every_entry_is_among_the_cases_and_tells_its_thread():
    """A sentence of what happens, the release that mends it, and at least one thread at its own address."""
    assert {case[0] for case in CASES} == NAMES and len(NAMES) >= 20
    for fault in faults():
        assert fault.threads and fault.severity in SEVERITIES and str(fault.affected)
        assert all(
            re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+", one)
            for one in fault.threads
        )
        assert fault.happens.endswith(".") and fault.when and fault.fixed


def test_a_condition_that_does_not_hold_or_is_not_known_is_no_match():
    """Another broker, another role, an option that is not given, a server of an older or unknown version."""
    assert "redis-reconnect-deaf" not in names({"kombu": "5.3.7"}, brokers={"amqp"})
    assert "redis-reconnect-deaf" not in names({"kombu": "5.3.7"}, brokers=())
    assert "beat-unpickling" not in names({"celery": "5.5.3"}, role="worker")
    assert "detach-stalls" not in names({"celery": "5.5.3"})
    assert "async-is-a-keyword" not in names({"celery": "4.2.2"})
    assert not {"rabbitmq-4-3-transient-queues"} & names({"celery": "5.6.3"}, servers={"rabbitmq": "4.2.0"})
    assert not names({"celery": "no version", "kombu": ""})


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("rabbitmq:4.3.1-management", "4.3.1"),
        ("docker.io/library/rabbitmq:4.3-alpine@sha256:00", "4.3"),
        ("rabbitmq:4", ""),
        ("rabbitmq", ""),
        ("localhost:5000/rabbitmq", ""),
        ("rabbitmq:management", ""),
    ],
)
def test_a_server_has_the_version_of_its_image_where_the_tag_says_it(image, version):
    """A tag of one number may be any release of that number, so it says nothing."""
    assert image_version(image) == version


BUILT = HEALTHY.replace("image: shop", "build: .")


def project(requirements: str, python: str = "3.12", compose: str = BUILT) -> dict[str, str]:
    return {
        "docker-compose.yml": compose,
        "Dockerfile": f"FROM python:{python}-slim\n",
        "requirements.txt": requirements,
    }


def test_lint_tells_a_known_fault_of_pinned_versions_only(tmp_path):
    """``==`` says the version; a range does not, nor do two lists that differ."""
    told = judged(tmp_path / "pinned", project("celery[redis]==5.3.6\nkombu==5.3.7 \\\n  --hash=sha256:00\n"))
    (one,) = [finding for finding in told.diagnosis.findings if finding.object == "redis-reconnect-deaf"]
    assert (one.severity, one.services) == ("notice", ("worker",)) and "5.3.7" in one.title
    assert "requirements.txt" in one.detail and "issues/8091" in one.detail
    loose = project("celery[redis]==5.3.6\nkombu>=5.3,<5.4\n")
    assert "redis-reconnect-deaf" not in _objects(judged(tmp_path / "loose", loose))
    two = project("celery[redis]==5.3.6\nkombu==5.3.7\n") | {"requirements-dev.txt": "kombu==5.4.2\n"}
    assert "redis-reconnect-deaf" not in _objects(judged(tmp_path / "two", two))


def _objects(linted) -> set[str]:
    return {one.object for one in linted.diagnosis.findings if one.code == "PKG020"}


def test_lint_warns_where_pinned_versions_never_start(tmp_path):
    """Flower 0.9 beside Celery 5; the same Flower beside Celery 4 is left alone."""
    flower = BUILT + "  flower: {build: ., command: celery -A shop flower, restart: always}\n"
    broken = project("celery==5.0.5\nflower==0.9.5\nredis==3.5.3\n", "3.8", flower)
    assert found(judged(tmp_path / "broken", broken))["PKG020"] == "warning"
    sound = project("celery==4.4.7\nflower==0.9.5\nredis==3.5.3\n", "3.8", flower)
    assert "flower-0-on-celery-5" not in _objects(judged(tmp_path / "sound", sound))


def test_lint_takes_python_from_the_dockerfile(tmp_path):
    """One base image says it; two different ones say nothing."""
    pins = "celery[redis]==5.5.3\n"
    assert "tracebacks-leak" in _objects(judged(tmp_path / "new", project(pins, "3.12")))
    assert "tracebacks-leak" not in _objects(judged(tmp_path / "old", project(pins, "3.9")))
    twice = project(pins) | {"Dockerfile": "FROM python:3.9 AS build\nFROM python:3.12\n"}
    assert "tracebacks-leak" not in _objects(judged(tmp_path / "twice", twice))
