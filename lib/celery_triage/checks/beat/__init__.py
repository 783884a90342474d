"""Beat: does its process live, does it tick, is what it sends done? Three separate verdicts."""

from celery_triage.checks.beat import delivery, doubles, files, ticking

__all__ = ["delivery", "doubles", "files", "ticking"]
