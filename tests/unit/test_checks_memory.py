"""Main processes that were killed for memory."""

from __future__ import annotations

from evidence import Incident, ready

from celery_triage.causes import diagnose
from celery_triage.checks import RULES, Look, judge


def killed():
    return Incident().loop("email_worker", 137, ready("email_worker"), lived=30, oom=True)


FIRES = {"CTR002": killed}


def test_the_limit_is_named_and_both_ways_are_offered():
    """Fewer processes or more memory: a person decides."""
    (cause,) = diagnose(killed().evidence()).cause_findings
    assert cause.name == "killed-for-memory" and "512 MiB" in cause.title
    assert [option.name for option in cause.remedy.options] == ["lower-concurrency", "raise-limit"]
    assert [(e.old, e.new) for e in cause.remedy.options[0].edits] == [("--concurrency=4", "--concurrency=2")]


def test_exit_code_137_without_an_oom_is_not_called_memory():
    """Somebody may have killed it."""
    stack = Incident().loop("email_worker", 137, ready("email_worker"), lived=30)
    names = {f.name for f in diagnose(stack.evidence()).findings}
    assert "killed-for-memory" not in names and "unrecognised-death" not in names


def test_a_worker_that_was_killed_once_and_lives_is_no_cause():
    """That was before its present life."""
    stack = Incident()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    stack.life("email_worker", 10, 100, 137, ready("email_worker"), oom=True)
    stack.life("email_worker", 110, None, lines=ready("email_worker"))
    findings, outcome = judge(RULES["CTR002"], Look(stack.evidence(), RULES["CTR002"]))
    assert (findings, outcome.outcome) == ((), "quiet")
