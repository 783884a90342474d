"""``python -m celery_triage.cli``, where the command is not on the path."""

from . import main

main()
