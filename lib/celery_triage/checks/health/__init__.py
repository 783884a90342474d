"""Health checks, and limits against use."""

from __future__ import annotations

from celery_triage.checks.health import pings, timing

__all__ = ["pings", "timing"]
