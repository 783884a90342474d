"""The verification list: a line of a log proves what was, and nothing that is found false now."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evidence import TAKEN_S, WORKERS, Incident, backend_reboot, iso, ready

from celery_triage.checks import RULES
from celery_triage.model import Finding, Section
from celery_triage.report import resolution
from celery_triage.report.compare import Comparison, Side, compare
from celery_triage.report.points import Point

LOST = (
    "[2026-11-23 12:00:02,886: ERROR/MainProcess] consumer: Cannot connect to redis://redis:6379/0: "
    "Error 111 connecting to redis:6379. Connection refused.."
)


def cured(ago: float = 300.0) -> Incident:
    """The healthy stack, every service of which was started so many seconds ago, after the first look."""
    stack = Incident()
    for label in (*WORKERS, "celery_beat", "flower"):
        stack.lives[label], stack.logs[label] = [], []
        stack.life(label, TAKEN_S - ago, None, lines=ready(label))
    return stack


def judged(after: Incident, looked: float = TAKEN_S - 600) -> Comparison:
    """The incident, looked at at that moment, against a stack of after."""
    before = replace(backend_reboot().evidence(), taken_at=iso(looked))
    return compare(Side.of(before), Side.of(after.evidence()))


def point(found: Comparison, label: str, *words: str) -> Point:
    """The one point of a service that says these words."""
    (one,) = (one for one in found.points if one.service == label and all(word in one.what for word in words))
    return one


def stopped(stack: Incident, label: str) -> Incident:
    """A server of the stack was stopped a minute ago."""
    sample = {"status": "exited", "exit_code": 0, "finished_at": iso(TAKEN_S - 60), "pid": 0}
    stack.item(label, sample=sample)
    getattr(stack, label).update(status="unreachable", why=f"{label} does not run", error_kind="not_running")
    return stack


def unasked(stack: Incident) -> Incident:
    """Nobody sent a ping."""
    (broker,) = stack.evidence().data("celery")["brokers"]
    told = {"brokers": [{**broker, "status": "withheld", "asked": None, "replies": {}}]}
    stack.sections["celery"] = Section("celery", "partial", told, why="--no-broadcast")
    return stack


def test_no_point_is_proven_that_needs_a_server_which_is_down():
    """Broker and database were stopped after the workers had said that they reached both."""
    found = judged(unasked(stopped(stopped(cured(), "redis"), "postgres")))
    for label in WORKERS:
        for words in ("its broker", "its result database", "work from"):
            one = point(found, label, words)
            assert not one.proven and one.contrary, one
    for words in ("its broker", "its result database", "what is due", "tasks taken"):
        assert point(found, "celery_beat", words).contrary
    text = resolution.markdown(found).split("## Verification")[1].split("##")[0]
    assert "- ✕ `email_worker` reaches its broker redis:6379/0: no, No broker answers in redis" in text
    assert "(BRK001)" in text and "(DBS004)" in text and "Connected to redis" not in text


def test_a_beat_that_is_found_silent_sends_nothing_whatever_it_once_said():
    """It was frozen minutes ago; the task that it sent before that proves neither sending nor taking."""
    stack = cured()
    results = stack.evidence().section("results")
    results.data["servers"][0]["latest"]["by_task"]["shared.tasks.heartbeat"]["last"] = iso(TAKEN_S - 299)
    stack.sections["results"] = results
    found = judged(stack)
    assert any(one.finding.code == "BEA003" for one in found.new)
    for words in ("what is due", "tasks taken"):
        one = point(found, "celery_beat", words)
        assert one.contrary and not one.proven and "BEA003" in one.why


@pytest.mark.parametrize(
    ("code", "changed"),
    [("WRK004", None), ("WRK005", {"active_queues": []})],
)
def test_a_worker_that_is_found_not_to_take_work_takes_none(code, changed):
    """It is silent, or its queue was taken from it: its own ready. of before says nothing."""
    stack = cured()
    (broker,) = stack.evidence().data("celery")["brokers"]
    replies = {name: dict(reply) for name, reply in broker["replies"].items()}
    name = next(name for name, reply in replies.items() if reply["label"] == "email_worker")
    if changed is None:
        del replies[name]
    else:
        replies[name].update(changed)
    told = {"brokers": [{**broker, "services": list(WORKERS), "replies": replies}]}
    stack.sections["celery"] = Section("celery", "partial", told, why="one did not answer")
    found = judged(stack)
    one = point(found, "email_worker", "work from")
    assert one.contrary and one.needed and code in one.why and found.result != "resolved"


def test_an_old_line_proves_what_was_and_the_last_one_is_quoted():
    """A worker that was not asked: the line of its second connection, and the past tense with its time."""
    again = "[2026-11-23 12:00:02,554: INFO/MainProcess] Connected to redis://redis:6379/0"
    stack = unasked(cured(3000.0)).say("email_worker", LOST, at=TAKEN_S - 210)
    stack.say("email_worker", again, at=TAKEN_S - 200)
    one = point(judged(stack, TAKEN_S - 4000), "email_worker", "its broker")
    number = len(stack.logs["email_worker"])
    assert one.proven and one.what.startswith("reached its broker redis:6379/0 at 2026-11-23 ")
    assert one.why.startswith(f"logs/email_worker, line {number}: ")


def test_a_line_of_a_moment_ago_proves_what_is():
    """Beat has sent its task three seconds before the look."""
    stack = cured().say("celery_beat", ready("celery_beat")[-1], at=TAKEN_S - 3)
    one = point(judged(stack), "celery_beat", "what is due")
    assert one.proven and one.what == "sends what is due"
    assert f"line {len(stack.logs['celery_beat'])}:" in one.why


def test_the_last_task_that_was_taken_proves_that_a_worker_took_work():
    """Not the ready. of its start, but the task which it took later."""
    took = "[2026-11-23 12:30:00,000: INFO/MainProcess] Task shared.tasks.quick[0c9f] received"
    stack = unasked(cured(3000.0)).say("email_worker", took, at=TAKEN_S - 100)
    one = point(judged(stack, TAKEN_S - 4000), "email_worker", "work from")
    assert one.proven and one.what.startswith("was ready to take work")
    assert "Task shared.tasks.quick" in one.why


def test_what_was_said_before_the_first_look_proves_nothing_of_after_it():
    """The worker lives on from before; its start was true of then."""
    found = judged(unasked(cured(3000.0)), TAKEN_S - 600)
    for words in ("its broker", "its result database", "work from"):
        one = point(found, "email_worker", words)
        assert not one.proven and not one.contrary and "before the first look" in one.why


def test_a_server_that_was_lost_again_is_not_reached():
    """The last word of the worker about its broker is that it cannot connect."""
    stack = unasked(cured()).say("email_worker", LOST, at=TAKEN_S - 10)
    found = judged(stack)
    assert not point(found, "email_worker", "its broker").proven
    assert not point(found, "email_worker", "work from").proven


def test_a_paused_worker_does_nothing():
    """It lives, and neither its answers nor what Docker last heard of its health are of now."""
    stack = cured().health("email_worker", "true").item("email_worker", sample={"status": "paused"})
    stack.items["email_worker"]["sample"]["health"] = {"status": "healthy"}
    found = [one for one in judged(stack).points if one.service == "email_worker"]
    assert len(found) > 3 and not any(one.proven for one in found)


@pytest.mark.parametrize(
    ("code", "thing", "label", "words", "contrary"),
    [
        ("WRK008", "email_worker", "email_worker", "work from", True),
        ("BEA004", "nightly", "celery_beat", "tasks taken", True),
        ("BEA004", "nightly", "celery_beat", "what is due", False),
        ("BRK002", "redis:6379/0", "email_worker", "its broker", True),
        ("BRK003", "email_processing", "email_worker", "work from", True),
        ("BRK003", "nightly", "email_worker", "work from", False),
        ("DBS001", "ai_backend", "email_worker", "its result database", True),
        ("DBS001", "reporting", "email_worker", "its result database", False),
        ("WRK002", "shared.tasks.quick", "email_worker", "work from", False),
    ],
)
def test_a_finding_strikes_only_the_points_that_it_is_about(code, thing, label, words, contrary):
    """By its code, its service and its object; one that is history strikes none."""
    before = Side.of(replace(backend_reboot().evidence(), taken_at=iso(TAKEN_S - 600)))
    after = Side.of(cured().say("celery_beat", ready("celery_beat")[-1], at=TAKEN_S - 3).evidence())
    rule = RULES[code]
    for state in ("active", "history"):
        one = Finding(code, rule.name, rule.severity, "it is so", (label,), thing, state, id="f1")
        found = compare(before, replace(after, diagnosis=replace(after.diagnosis, findings=(one,))))
        assert point(found, label, words).contrary == (contrary and state == "active")
