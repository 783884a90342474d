"""Restarts: who restarts for ever, who does not run, who was never started."""

from __future__ import annotations

from celery_triage.checks.restarts import endings, loops, starting, writing
from celery_triage.checks.restarts.loops import DOWN, KILLED, concerned, deaths, ended, looping, weight

__all__ = [
    "DOWN",
    "KILLED",
    "concerned",
    "deaths",
    "ended",
    "endings",
    "looping",
    "loops",
    "starting",
    "weight",
    "writing",
]
