"""Health checks, and limits against use."""

from __future__ import annotations

from celery_triage.checks.health import capacity, pings, timing, tools

__all__ = ["capacity", "pings", "timing", "tools"]
