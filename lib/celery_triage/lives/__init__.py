"""The lives of containers: when each began and ended, how, what it said, how far it got. Pure."""

from __future__ import annotations

from celery_triage.lives.marks import age_of, seconds_of
from celery_triage.lives.reached import STEPS, UNBEGUN_S, Reached, reached
from celery_triage.lives.spans import Life, Lives, from_log, lives, told

__all__ = [
    "STEPS",
    "UNBEGUN_S",
    "Life",
    "Lives",
    "Reached",
    "age_of",
    "from_log",
    "lives",
    "reached",
    "seconds_of",
    "told",
]
