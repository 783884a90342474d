"""The static rules: functions from a ``Subject`` to findings.

Where a live rule judges the same thing, the static one bears its code and shares its judgement (option
tables, URL grammar, name resolution, pings); what only a file can show has a code ``CMP…`` and its page here.
"""

from celery_triage.lint.rules import (
    applications,
    beat,
    commands,
    connections,
    files,
    flower,
    health,
    layout,
    programs,
    properties,
    quoting,
    servers,
    starting,
    upstream,
)
from celery_triage.lint.rules.registry import PAGES, STATIC, Static

__all__ = [
    "PAGES",
    "STATIC",
    "Static",
    "applications",
    "beat",
    "commands",
    "connections",
    "files",
    "flower",
    "health",
    "layout",
    "programs",
    "properties",
    "quoting",
    "servers",
    "starting",
    "upstream",
]
