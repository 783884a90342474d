"""Workers: does each one that runs also work?"""

from __future__ import annotations

from celery_triage.checks.workers import consuming, frozen, full, messages, names, recycling, waiting
from celery_triage.checks.workers.frozen import ASKS_WITHIN_S

__all__ = ["ASKS_WITHIN_S", "consuming", "frozen", "full", "messages", "names", "recycling", "waiting"]
