"""Launch commands: does each one parse with the Celery in its image, and is there what it starts?"""

from celery_triage.checks.commands import (
    flower,
    loading,
    naming,
    options,
    programs,
    quoting,
    settings,
    starting,
    subcommands,
    swallowing,
    users,
)

__all__ = [
    "flower",
    "loading",
    "naming",
    "options",
    "programs",
    "quoting",
    "settings",
    "starting",
    "subcommands",
    "swallowing",
    "users",
]
