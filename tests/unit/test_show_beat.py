"""What the runbook of beat shows: three verdicts apart, due against done, and what is not known as such."""

from __future__ import annotations

import pytest
from evidence import Incident, without_section
from test_checks_beat import HEARTBEAT, Scheduled, silent, twice, unregistered, wrong_queue

from celery_triage import show
from celery_triage.notebook import Look


def looked(stack, *missing):
    evidence = stack.evidence()
    for name in missing:
        evidence = without_section(evidence, name)
    return Look(evidence)


def three(stack, *missing, label="celery_beat"):
    """The three verdicts on a beat, first words only."""
    frame = show.beat.verdicts(looked(stack, *missing)).frame()
    row = frame[frame["Beat"] == label].iloc[0]
    return [str(row[name]).partition(":")[0] for name in ("Process lives", "Ticks", "Delivered")]


def test_a_healthy_beat_lives_ticks_and_is_delivered():
    """By its container, its log and the result table."""
    assert three(Scheduled().sends(2)) == ["yes", "yes", "yes"]


@pytest.mark.parametrize(
    "stack,answers",
    [
        (silent(), ["yes", "no", "no"]),
        (wrong_queue(), ["yes", "yes", "no"]),
        (unregistered().sends(3), ["yes", "yes", "no"]),
        (Incident().loop("celery_beat", 1, ["it ends"]), ["no", "no", "yes"]),
    ],
    ids=["silent", "wrong queue", "unregistered", "down"],
)
def test_the_three_verdicts_are_separate(stack, answers):
    """One that lives may send nothing; what one sends may reach nobody; what was done stays done."""
    assert three(stack) == answers


def test_what_cannot_be_known_is_no_verdict():
    """Without workers' answers the schedule is not known, without results nobody knows what was done."""
    assert three(Scheduled().sends(301), "celery") == ["yes", "unknown", "unknown"]
    assert three(Scheduled().sends(2), "results") == ["yes", "yes", "unknown"]


def test_a_schedule_in_a_database_is_unknown_though_the_log_shows_that_it_ticks():
    """It sent something a moment ago: that much is seen."""
    stack = Scheduled().sends(2)
    stack.command("celery_beat", f"{stack.commands['celery_beat']} -S django_celery_beat.schedulers:X")
    assert three(stack) == ["yes", "yes", "unknown"]
    assert "not in the settings" in show.beat.told(looked(stack)).text


def test_the_picture_counts_due_sent_and_done():
    """A minute of an entry each five seconds: twelve due, two sent, done five minutes ago."""

    def said(stack):
        return show.beat.plot(looked(stack), "", 1.0).text

    assert "celery_beat, heartbeat: 12 due · 0 sent · done 5 min ago." in said(silent())
    assert "celery_beat, heartbeat: 12 due · 2 sent · done 2 s ago." in said(Scheduled().sends(2, 7))


def test_the_picture_is_the_same_each_time():
    """An archived page is not changed by being made again."""
    first, second = (show.beat.plot(looked(silent())).html for _ in range(2))
    assert first == second and first.startswith("<")


def test_the_entries_name_who_takes_them():
    """A queue with its worker, and one that nobody who answered takes."""
    assert "data_sync_worker" in show.beat.entries(looked(Scheduled().sends(2))).text
    assert "nobody who answered" in show.beat.entries(looked(wrong_queue())).text


def test_one_beat_can_be_looked_at_alone():
    """Two beats are two rows; the parameter picks one."""
    assert len(show.beat.verdicts(looked(twice())).frame()) == 2
    assert len(show.beat.verdicts(looked(twice()), "data_sync_worker").frame()) == 1


def test_no_beat_and_no_containers_are_told_apart():
    """The one is a fact, the other is not knowing."""
    stack = Scheduled().command("celery_beat", "gunicorn app:app")
    stack.logs["celery_beat"] = []
    for part in (show.beat.verdicts, show.beat.plot, show.beat.entries, show.beat.told):
        assert "No service here is a beat" in part(looked(stack)).text
        assert "could not be read: the deadline passed" in part(looked(Incident(), "containers")).text


def test_an_empty_schedule_is_said_to_be_empty():
    """Beat then sends nothing, and nothing is late."""
    look = looked(Scheduled({}, done=None).sends())
    assert "the schedule is empty" in show.beat.entries(look).text
    assert "it is empty" in show.beat.plot(look).text


def test_many_entries_are_all_drawn():
    """A schedule of forty has forty rows."""
    schedule = {f"entry-{n}": HEARTBEAT for n in range(40)}
    assert show.beat.plot(looked(Scheduled(schedule).sends())).text.count(" due · ") == 40


def test_why_a_log_tells_nothing_is_said_as_it_is():
    """A beat that does not run, and one that logs at INFO and was read too late, lack no option."""

    def why(stack):
        return show.beat.told(looked(stack)).frame().iloc[0]["Its log tells"]

    assert why(Incident().loop("celery_beat", 1, ["it ends"])) == "no: it does not run"
    stack = Scheduled()
    stack.logs["celery_beat"] = []
    assert why(stack).startswith("no: neither its start nor anything sent stands in what was read")
    stack.command("celery_beat", "celery -A shared.infrastructure.celery_app beat")
    assert why(stack) == "no: that needs --loglevel=info"
