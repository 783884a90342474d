"""Restarts: loops, containers that do not run."""

from __future__ import annotations

import pytest
from evidence import OPTION, WORKERS, Incident, iso, ready

from celery_triage.causes import diagnose
from celery_triage.checks import RULES, Look, judge


def looping():
    return Incident().loop("email_worker", 3, ["Weird: 17"], times=5)


def stopped(code=0, status="exited", **sample):
    stack = Incident()
    stack.lives["email_worker"] = [{"start": 10.0, "end": 8000.0, "exit": code, "oom": False}]
    return stack.item(
        "email_worker", sample={"status": status, "exit_code": code, "finished_at": iso(8000), **sample}
    )


FIRES = {"CTR001": looping, "CTR003": stopped}


def alone(code, stack):
    findings, _ = judge(RULES[code], Look(stack.evidence(), RULES[code]))
    return [finding for finding in findings if finding.state != "history"]


def test_a_loop_tells_how_often_how_long_and_how_it_ends():
    """Count, length of a life and exit code, in one sentence."""
    (finding,) = alone("CTR001", looping())
    assert finding.title == "email_worker restarts for ever: 5 times so far, each life about 2 s, exit code 3"


def test_a_service_without_restart_policy_does_not_loop():
    """It stays down: that is another rule's."""
    stack = looping().item("email_worker", restart_policy={"name": "no", "max": 0})
    assert alone("CTR001", stack) == []


def test_a_loop_that_nothing_explains_is_a_cause_with_its_last_words():
    """What the service said last is shown, and nothing is concluded from it."""
    diagnosis = diagnose(looping().evidence())
    assert [cause.name for cause in diagnosis.cause_findings] == ["unrecognised-death"]
    assert diagnosis.finding("f2").explained_by == "f1"


def test_a_service_that_runs_longer_than_it_ever_died_has_a_history_only():
    """Restarted twice an hour ago, well since."""
    stack = Incident()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    stack.life("email_worker", 100, 103, 1, ["Weird: 17"]).life("email_worker", 110, 113, 1, ["Weird: 17"])
    stack.life("email_worker", 120, None, lines=ready("email_worker"))
    diagnosis = diagnose(stack.evidence())
    assert diagnosis.verdict == "ok" and [f.state for f in diagnosis.findings] == ["history"]


def test_a_stop_by_hand_is_no_failure():
    """`docker restart` ends a worker with exit code 0, or 137 where it takes too long."""
    stack = Incident()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    stack.life("email_worker", 100, 8000, 0).life("email_worker", 8001, None, lines=ready("email_worker"))
    assert alone("CTR001", stack) == []


@pytest.mark.parametrize("code", [0, 143])
def test_a_service_that_somebody_stopped_is_started(code):
    """Exit codes of an orderly end: the remedy is to start it."""
    (finding,) = alone("CTR003", stopped(code))
    assert finding.remedy.kind == "exact" and finding.remedy.commands == (
        "docker start ai_backend_email_worker",
    )


def test_a_service_that_died_is_not_just_started():
    """First it has to be known why."""
    (finding,) = alone("CTR003", stopped(139))
    assert finding.remedy.kind == "manual" and "exit code 139" in finding.title


def test_a_paused_service_is_let_go_on():
    """It lives, and does nothing."""
    (finding,) = alone("CTR003", stopped(0, "paused"))
    assert (finding.name, finding.remedy.commands) == ("paused", ("docker unpause ai_backend_email_worker",))


def test_a_container_that_died_of_a_cause_without_restart_policy_is_explained_by_it():
    """It does not run, for its option is wrong."""
    stack = Incident().replace_in_commands("--queues ", "--queue=")
    for label in WORKERS:
        stack.loop(label, 2, OPTION, times=1)
        stack.item(label, restart_policy={"name": "no", "max": 0}, sample={"status": "exited"})
    diagnosis = diagnose(stack.evidence())
    assert [cause.name for cause in diagnosis.cause_findings] == ["unknown-option"]
    assert {f.name for f in diagnosis.findings if f.explained_by} == {"not-running"}
