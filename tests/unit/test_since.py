"""What has changed since the last look: new, failing, flapping, resolved, and what is not proven gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celery_triage import since

SAMPLE = Path(__file__).resolve().parents[2] / "reports" / "sample" / "summary.json"
MINUTE = 60


def at(minutes: float) -> str:
    """A moment of 2026-11-23, so many minutes after noon."""
    whole = int(minutes * MINUTE)
    return f"2026-11-23T{12 + whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}Z"


def broken(minutes: float = 0, **facts: Any) -> dict[str, Any]:
    """The recorded incident, as seen so many minutes after noon."""
    return {**json.loads(SAMPLE.read_text("utf-8")), "taken_at": at(minutes), **facts}


def cured(minutes: float, **facts: Any) -> dict[str, Any]:
    """The same stack with nothing wrong: every rule could judge."""
    checks = [{**one, "outcome": "quiet", "why": ""} for one in broken()["checks"]]
    clean = {"findings": [], "causes": [], "verdict": "ok", "settling": [], "checks": checks}
    return broken(minutes, **{**clean, "services": services(), **facts})


def services() -> list[str]:
    return sorted({name for one in broken()["findings"] for name in one["services"]})


def follow(*looks: dict[str, Any]) -> list[since.Change]:
    """The changes of a row of looks, each handed over."""
    state, changes = since.State(), []
    for look in looks:
        state, change = since.look(state, look)
        state = since.told(state)
        changes.append(change)
    return changes


def kinds(change: since.Change) -> set[str]:
    return {event.what for event in change.events}


def test_healthy_broken_and_cured_are_two_changes():
    """The first look at a healthy stack says nothing, a second look at a broken one neither."""
    first, second, again, third, last = follow(cured(0), broken(5), broken(10), cured(15), cured(20))
    assert not first and not again and not last
    assert kinds(second) == {"new"} and (second.before, second.now) == ("ok", "critical")
    assert kinds(third) == {"resolved"} and (third.before, third.now) == ("critical", "ok")
    assert {one.seen.fingerprint for one in second.events} == {one.seen.fingerprint for one in third.events}


def test_the_first_look_at_a_broken_stack_tells_what_is_wrong():
    """A check that is set up during an incident does not wait for the next one."""
    (change,) = follow(broken())
    assert kinds(change) == {"new"} and (change.before, change.now) == (None, "critical")
    causes = [event for event in change.events if event.seen.cause]
    assert len(causes) == len(broken()["causes"]) and list(change.events[: len(causes)]) == causes


def test_what_could_not_be_looked_at_is_not_resolved():
    """A rule whose evidence is missing keeps its finding open, with the reason."""
    code = broken()["findings"][0]["code"]
    blind = cured(5)
    for check in blind["checks"]:
        if check["code"] == code:
            check.update(outcome="unknown", why="the logs did not come")
    state, _ = since.look(since.State(), broken(0))
    state, change = since.look(since.told(state), blind)
    kept = [one for one in state.open if one.code == code]
    assert kept and all("the logs did not come" in one.doubt for one in kept)
    assert code not in {event.seen.code for event in change.events} and change.now == "critical"


@pytest.mark.parametrize("missing", [{"core_missing": ["containers"]}, {"core_missing": ["logs"]}])
def test_a_look_without_core_evidence_resolves_nothing(missing):
    """An engine that does not answer is no cure."""
    _, blind, still = follow(broken(0), cured(5, verdict="unknown", **missing), broken(10))
    assert not blind.events and not still.events


def test_two_looks_in_a_row_that_nobody_could_take_are_news_also_beside_an_open_cause():
    """Whoever has an incident already must hear that the watch is blind; when it sees again, it says so."""
    blind = {"verdict": "unknown", "core_missing": ["containers"]}
    _, once, twice, again, seen = follow(
        broken(0), *(cured(minute, **blind) for minute in (5, 10, 15)), broken(20)
    )
    assert not once and not again
    assert (twice.before, twice.now) == ("critical", "unknown") and not twice.events
    assert (seen.before, seen.now) == ("unknown", "critical") and not seen.events


def test_a_first_look_that_nobody_could_take_is_told_when_there_was_a_second():
    """Nothing was ever seen, so nothing is said to have been well."""
    blind = {"verdict": "unknown", "core_missing": ["containers"]}
    once, twice = follow(cured(0, **blind), cured(5, **blind))
    assert not once and (twice.before, twice.now) == (None, "unknown")


def test_a_service_that_is_settling_is_not_resolved_yet():
    """It may die once more: resolved is said once, when it is proven."""
    settling = [f"{name}: 8 s left of 10 s (back-off)" for name in services()]
    _, young, proven = follow(broken(0), cured(5, settling=settling), cured(6))
    assert not young and kinds(proven) == {"resolved"}


def test_a_finding_that_comes_and_goes_is_flapping_and_told_once():
    """Came, went, came again within six hours: one event more, then silence until it stays."""
    looks = [broken(0), cured(5), broken(10), cured(15), broken(20), broken(10 + 6 * 60 + 11)]
    changes = follow(*looks)
    assert [sorted(kinds(change)) for change in changes] == [
        ["new"],
        ["resolved"],
        ["flapping"],
        [],
        [],
        ["failing"],
    ]


def test_two_incidents_with_a_day_between_are_no_flapping():
    """The window ends: what came long ago counts no more."""
    later = {"taken_at": "2026-11-24T12:00:00Z"}
    changes = follow(broken(0), cured(5), {**broken(0), **later})
    assert kinds(changes[2]) == {"new"}


def test_a_service_that_was_removed_is_told_as_removed():
    """Flower taken out of the file is gone, not mended."""
    gone = cured(5, services=["some_other"])
    _, change = follow(broken(0), gone)
    assert change.events and all("removed, not mended" in event.why for event in change.events)


def test_one_unknown_look_is_no_news_and_two_are():
    """A time-out under load wakes nobody; a check that is blind for two rounds does."""
    blind = {"verdict": "unknown", "core_missing": ["containers"]}
    _, once, twice, back = follow(cured(0), cured(5, **blind), cured(10, **blind), cured(15))
    assert not once and (twice.before, twice.now) == ("ok", "unknown") and back.now == "ok" and back


def test_a_change_that_was_not_handed_over_is_told_again():
    """A notifier that failed loses nothing."""
    state, first = since.look(since.State(), broken(0))
    _, second = since.look(state, broken(5))
    assert [one.seen.fingerprint for one in first.events] == [one.seen.fingerprint for one in second.events]


def test_what_is_healed_or_a_mere_notice_is_not_open():
    """History and notices never wake anybody."""
    findings = [dict(one) for one in broken()["findings"]]
    for number, one in enumerate(findings):
        one.update({"state": "history"} if number % 2 else {"severity": "notice"})
    (change,) = follow(broken(0, findings=findings, causes=[], verdict="ok"))
    assert not change


def test_first_and_last_seen_are_those_of_the_present_occurrence():
    """An alert says since when."""
    state = since.State()
    for look in (broken(0), broken(5), cured(10), broken(500), broken(505)):
        state, _ = since.look(state, look)
        state = since.told(state)
    assert {(one.first_seen, one.last_seen) for one in state.open} == {(at(500), at(505))}


def test_two_reports_are_compared_by_fingerprint():
    """New, still there, resolved and not proven gone, each with its fingerprints."""
    keys = sorted(since.fingerprint(one) for one in since.reported(broken()))
    assert since.between(None, broken()) == {"new": keys, "still": [], "resolved": [], "unproven": []}
    assert since.between(broken(0), broken(5))["still"] == keys
    assert sorted(since.between(broken(0), cured(5))["resolved"]) == keys
    blind = cured(5, core_missing=["logs"])
    assert sorted(since.between(broken(0), blind)["unproven"]) == keys


@pytest.mark.parametrize(
    "spoilt", [{"findings": None}, {"findings": ["x"]}, {"taken_at": "never"}, {"checks": []}]
)
def test_a_summary_of_another_version_does_not_break_the_look(spoilt):
    """What cannot be read is not there; nothing is raised."""
    state, _ = since.look(since.State(), broken(0))
    after, _ = since.look(state, broken(5, **spoilt))
    assert after.verdict == "critical"
