"""Packages: what is imported and not in the image, what does not fit, faults of their versions."""

from celery_triage.checks.packages import fitting, known, missing, upstream

__all__ = ["fitting", "known", "missing", "upstream"]
