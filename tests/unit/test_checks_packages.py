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


FIRES = {"PKG001": missing}


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
