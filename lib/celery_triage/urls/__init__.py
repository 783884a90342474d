"""Broker, result and database URLs: their parts, what is wrong with them, and which driver each one needs."""

from celery_triage.urls.drivers import Need, needed_driver
from celery_triage.urls.model import ParsedUrl, Problem, unset_variables
from celery_triage.urls.parse import guess_purpose, parse
from celery_triage.urls.schemes import known

__all__ = [
    "Need", "ParsedUrl", "Problem", "guess_purpose", "known", "needed_driver", "parse", "unset_variables",
]
