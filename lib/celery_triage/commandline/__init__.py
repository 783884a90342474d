"""Command lines of Celery and Flower: find them behind wrappers (``unwrap``), judge them by the option
tables of the version that is in the image (``parse``). Nothing here runs anything."""

from __future__ import annotations

from celery_triage.commandline.parse import Launch, parse
from celery_triage.commandline.problem import Problem
from celery_triage.commandline.tables import minor, versions
from celery_triage.commandline.unwrap import unwrap
from celery_triage.commandline.unwrapped import Unwrapped

__all__ = ["Launch", "Problem", "Unwrapped", "minor", "parse", "unwrap", "versions"]
