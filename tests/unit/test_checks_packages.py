"""Packages that the application imports and the image does not have."""

from __future__ import annotations

from evidence import SITE, Incident

from celery_triage.causes import diagnose

MISSING = [
    "[2026-11-23 12:00:01,717: CRITICAL/MainProcess] Unrecoverable error: "
    "ModuleNotFoundError(\"No module named 'requests'\")",
    "Traceback (most recent call last):",
    f'  File "{SITE}/celery/worker/worker.py", line 203, in start',
    "    self.blueprint.start(self)",
    '  File "/app/shared/tasks.py", line 3, in <module>',
    "    import requests",
    "ModuleNotFoundError: No module named 'requests'",
]


def missing():
    return Incident().loop("email_worker", 1, MISSING)


def failover():
    return Incident(celery="5.6.2")


FIRES = {"PKG001": missing, "PKG020": failover}


def test_a_package_that_is_not_there_is_reported_with_its_name():
    """The last words name it; nothing else can."""
    (cause,) = diagnose(missing().evidence()).cause_findings
    assert (cause.name, cause.object, cause.certainty) == ("package-missing", "requests", "reported")


def test_a_task_that_lacks_a_package_is_no_cause():
    """The worker goes on; one task failed."""
    stack = Incident().say(
        "email_worker",
        "[2026-11-23 14:13:02,000: ERROR/ForkPoolWorker-1] Task shared.tasks.quick[0f5c1c1e-9f8a-4b1e-9f57-"
        "0d1c2b3a4d5e] raised unexpected: ModuleNotFoundError(\"No module named 'requests'\")",
        *MISSING[1:],
    )
    assert diagnose(stack.evidence()).causes == ()


def test_a_version_with_a_known_fault_is_a_notice_with_its_thread_and_never_a_cause():
    """The version and the broker are known; whether the fault has struck is not."""
    told = diagnose(failover().evidence())
    (one,) = [finding for finding in told.findings if finding.code == "PKG020"]
    assert (one.severity, one.certainty, one.object) == ("notice", "inferred", "celery-5-6-redis-failover")
    assert "celery 5.6.2" in one.title and "celery/celery/pull/10151" in one.detail
    assert "5.6.3" in one.remedy.summary and told.causes == ()


def test_the_mark_of_a_known_fault_in_the_log_is_quoted():
    """A message that only this fault has is shown beside the version; without it the version alone is."""
    words = "_pickle.UnpicklingError: invalid load key, 'x'."
    stack = Incident(celery="5.5.3").say("celery_beat", words)
    told = [one for one in diagnose(stack.evidence()).findings if one.object == "beat-unpickling"]
    assert [one.certainty for one in told] == ["reported"]
    assert any(words in proof.text for proof in told[0].proof)
    quiet = diagnose(Incident(celery="5.5.3").evidence()).findings
    assert [one.certainty for one in quiet if one.object == "beat-unpickling"] == ["inferred"]
