"""Launch commands: does each one parse with the Celery in its image, and is there what it starts?"""

from celery_triage.checks.commands import flower, options, programs, subcommands

__all__ = ["flower", "options", "programs", "subcommands"]
