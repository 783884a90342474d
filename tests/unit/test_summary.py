"""The published JSON of a diagnosis, and its schema."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest
from evidence import Incident, backend_reboot
from test_recorded import EXPECTED, recorded

from celery_triage.causes import diagnose
from celery_triage.model import dumps
from celery_triage.summary import summary

SCHEMA = json.loads(
    files("celery_triage").joinpath("data", "summary.schema.json").read_text(encoding="utf-8")
)


def of(evidence):
    return json.loads(dumps(summary(diagnose(evidence), evidence)))


def test_the_schema_is_a_schema():
    """Draft 2020-12, and nothing in it is misspelt."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_recorded_fault_gives_json_that_the_schema_allows(name):
    """No key too many, none missing."""
    jsonschema.validate(of(recorded(name)), SCHEMA, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "stack", [Incident(), backend_reboot().without_logs(), Incident().section("redis", "timeout")]
)
def test_health_and_missing_evidence_give_json_that_the_schema_allows(stack):
    """Also without any finding, and with sections that could not be had."""
    jsonschema.validate(of(stack.evidence()), SCHEMA, cls=jsonschema.Draft202012Validator)


def test_a_finding_says_all_that_a_reader_needs():
    """Service states, step, certainty, remedy with edits and commands, verify."""
    told = of(backend_reboot().evidence())
    first = told["findings"][0]
    assert (first["id"], first["code"], first["object"], first["step"]) == (
        "f1",
        "CMD001",
        "--queue",
        "options",
    )
    assert first["service_states"]["email_worker"] == "active" and first["verify"]
    assert {"file", "line", "old", "new", "sha256"} == set(first["remedy"]["edits"][0])
    assert told["causes"] == ["f1", "f2", "f3", "f4"] and told["schema"] == 1


def test_what_was_not_seen_is_listed_with_the_rules_that_wait_for_it():
    """Section, status, why, codes."""
    told = of(Incident().section("postgres", "timeout", "the deadline passed").evidence())
    (row,) = [row for row in told["unknown"] if row["section"] == "postgres"]
    assert (row["status"], row["why"]) == ("timeout", "the deadline passed")
    assert "DBS001" in row["checks"]
    assert {check["outcome"] for check in told["checks"] if check["code"] == "DBS001"} == {"unknown"}


def test_why_the_verdict_is_unknown_is_said():
    """The core evidence that is missing, one sentence each."""
    told = of(
        Incident().section("redis", "timeout", "the deadline passed").section("celery", "timeout").evidence()
    )
    assert told["verdict"] == "unknown" and told["core_missing"] == [
        "broker redis:6379/0: the deadline passed"
    ]
