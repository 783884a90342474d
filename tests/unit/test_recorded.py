"""The faults of the lab as they were recorded from its real stack: the diagnosis of each, without an engine.

``data/recorded`` holds the evidence that ``collect`` brought of each fault (logs cut to their last lives,
names made neutral). What is expected here is what the fault's own file expects.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from celery_triage.causes import diagnose
from celery_triage.model import Evidence, Section
from celery_triage.summary import summary

DATA = Path(__file__).parent / "data" / "recorded"
WORKERS = {"email_worker", "payment_worker", "data_sync_worker"}
ALL = WORKERS | {"celery_beat", "flower"}

OPTION = ("unknown-option", "--queue", WORKERS, "active", "exact")
DRIVER = ("driver-not-installed", "psycopg2", ALL, "active", "exact")
FLOWER = ("flower-not-installed", "flower", {"flower"}, "active", "manual")
DATABASE = ("database-missing", "ai_backend", ALL, "active", "exact")
LATENT_DATABASE = (*DATABASE[:3], "latent", "exact")
EXPECTED = {
    "app-module-missing": [("app-module-missing", "shared.infra.celery_app", ALL, "active", "manual")],
    "backend-reboot": [OPTION, DRIVER, FLOWER, LATENT_DATABASE],
    "broker-wrong-host": [("broker-host-unknown", "redis-cache", ALL, "active", "manual")],
    "database-missing": [DATABASE],
    "database-missing-54": [DATABASE],
    "driver-not-installed": [DRIVER],
    "equals-sign": [],
    "healthy": [],
    "no-logs": [OPTION, DRIVER, FLOWER, LATENT_DATABASE],
    "quoted-error": [],
    "stale-error": [],
    "unknown-option": [OPTION],
}


@cache
def recorded(name: str) -> Evidence:
    """The evidence of one fault."""
    told = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    sections = {
        section: Section(
            section,
            entry["status"],
            entry.get("data"),
            entry.get("why", ""),
            entry.get("how", ""),
            entry.get("taken_at", ""),
        )
        for section, entry in told["sections"].items()
    }
    return Evidence(told["target"], told["taken_at"], sections, options=told["options"])


def test_every_recorded_fault_is_judged_here():
    """A recording without an expectation would prove nothing."""
    assert {path.stem for path in DATA.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_recorded_fault_has_exactly_its_causes_in_their_order(name):
    """Name, object, services, state and kind of remedy of every cause."""
    diagnosis = diagnose(recorded(name))
    found = [
        (cause.name, cause.object, set(cause.services), cause.state, cause.remedy.kind)
        for cause in diagnosis.cause_findings
    ]
    assert found == EXPECTED[name]
    assert diagnosis.verdict == ("critical" if EXPECTED[name] else "ok")


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_no_check_broke_on_the_recorded_fault(name):
    """Real evidence holds what hand-built evidence forgets."""
    assert [o for o in diagnose(recorded(name)).outcomes if o.outcome == "broken"] == []


@pytest.mark.parametrize(
    "name", ["app-module-missing", "database-missing", "driver-not-installed", "unknown-option"]
)
def test_what_the_service_itself_says_confirms_the_cause(name):
    """Judged from the thing itself, and its effect seen in the current life."""
    (cause,) = diagnose(recorded(name)).cause_findings
    assert cause.certainty == "confirmed"
    assert any(proof.section.startswith("logs/") for proof in cause.proof)


def test_the_missing_database_of_celery_5_4_is_known_from_the_server_alone():
    """No log says a word of it, so it is inferred, not confirmed."""
    (cause,) = diagnose(recorded("database-missing-54")).cause_findings
    assert cause.certainty == "inferred"
    assert [proof.section for proof in cause.proof] == ["postgres"]


def test_the_mended_database_is_told_as_history():
    """It is found among the findings, and is no cause."""
    diagnosis = diagnose(recorded("stale-error"))
    assert {f.name: f.state for f in diagnosis.findings} == {
        "database-missing": "history",
        "restart-loop": "history",
    }


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_quoted_line_stands_in_the_evidence(name):
    """A proof that names a line of a log can be looked up there."""
    evidence = recorded(name)
    for finding in diagnose(evidence).findings:
        for proof in finding.proof:
            if proof.section.startswith("logs/"):
                line = evidence.data(proof.section)["lines"][proof.line - 1]
                assert (line[0], line[2]) == (proof.time, proof.text)


def test_the_same_recording_gives_the_same_json():
    """Diagnosed twice, to the letter."""
    assert summary(diagnose(recorded("backend-reboot")), recorded("backend-reboot")) == summary(
        diagnose(recorded("backend-reboot")), recorded("backend-reboot")
    )
