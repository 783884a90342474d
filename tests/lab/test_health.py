"""The oracle of health checks: it freezes, tries, and always lets go again."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from tests.lab import health
from tests.lab.outside import Unanswered

PING = ["CMD-SHELL", "celery inspect ping -d w@$HOSTNAME || exit 1"]


@pytest.fixture
def engine(monkeypatch):
    """An engine with one container; ``said`` holds every command, ``exec`` raises what it is told to."""
    made = SimpleNamespace(said=[], test=PING, status="healthy", exec=Unanswered("exit code 1"))

    def docker(*words, seconds=20.0, given=None):
        made.said.append(words)
        if words[0] == "inspect":
            health = {"Status": made.status} if made.status else None
            check = {"Test": made.test, "Timeout": 10**10} if made.test else None
            return json.dumps([{"Config": {"Healthcheck": check}, "State": {"Health": health}}])
        if words[0] == "exec" and made.exec:
            raise made.exec
        return ""

    monkeypatch.setattr(health, "docker", docker)
    monkeypatch.setattr(health, "lives", lambda project: {"worker": [SimpleNamespace(id="abc")]})
    return made


def test_a_check_that_turns_red_when_its_process_is_frozen_is_true(engine):
    """Frozen, tried by the container's own shell, let go on."""
    assert health.told_true("p", "worker", True)[0]
    assert engine.said[1:] == [
        ("kill", "--signal", "STOP", "abc"),
        ("exec", "abc", "/bin/sh", "-c", PING[1]),
        ("kill", "--signal", "CONT", "abc"),
    ]


def test_a_check_that_stays_green_is_not(engine):
    """Somebody else answered for it; the process is let go on all the same."""
    engine.exec = None
    ok, why = health.told_true("p", "worker", True)
    assert not ok and "passes while its main process is frozen" in why
    assert engine.said[-1][0:3] == ("kill", "--signal", "CONT")


@pytest.mark.parametrize("status", ["unhealthy", "starting"])
def test_what_docker_does_not_call_healthy_is_no_cure(engine, status):
    """Not yet is not yes; nothing is frozen then."""
    engine.status = status
    assert health.told_true("p", "worker", True) == (False, f"Docker says {status} of worker")
    assert len(engine.said) == 1


@pytest.mark.parametrize(("expected", "ok"), [(True, False), (False, True)])
def test_no_check_is_true_only_where_there_was_none(engine, expected, ok):
    """Taking the check off a worker that had a good one is no cure."""
    engine.test = None
    assert health.told_true("p", "worker", expected)[0] is ok


def test_a_service_that_is_gone_is_not_healthy(engine):
    """There is nothing to ask."""
    assert health.told_true("p", "flower", False) == (False, "flower has no container")
