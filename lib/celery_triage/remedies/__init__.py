"""What cures a finding: edits of a file, commands to paste, and the patch made of the edits. Pure: nothing
here writes or runs anything."""

from celery_triage.remedies.commands import (
    alive,
    create_database,
    identifier,
    psql,
    recreate,
    restart,
    set_password,
)
from celery_triage.remedies.patch import beside_secrets, exact_edits, left_over, patch, unified
from celery_triage.remedies.places import Change, Changes, changes, locate, sed, shared_by
from celery_triage.remedies.risk import with_risk

__all__ = [
    "Change",
    "Changes",
    "alive",
    "beside_secrets",
    "changes",
    "create_database",
    "exact_edits",
    "identifier",
    "left_over",
    "locate",
    "patch",
    "psql",
    "recreate",
    "restart",
    "sed",
    "set_password",
    "shared_by",
    "unified",
    "with_risk",
]
