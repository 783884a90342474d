"""What Celery 4 took on its command line and Celery 5 does not.

Source: ``celery/bin/base.py``, ``worker.py`` and ``beat.py`` of 4.4.7. Options stood before or after the
sub-command, and could be shortened (argparse). Only used while there is no option table of Celery 4.
"""

from __future__ import annotations

from celery_triage.commandline import Problem

#: Names that only Celery 4 has, or that it has on the other side of the sub-command.
_OPTIONS = frozenset(
    "--app -A --broker -b --result-backend --loader --config --workdir --no-color -C --quiet -q "
    "--maxtasksperchild --maxmemperchild --discard --events --schedule-filename --statedb -S --executable "
    "--max-tasks-per-child --max-memory-per-child --prefetch-multiplier --time-limit --soft-time-limit "
    "--timeout --destination -d --json -j --no-execv --autoreload --detach -D --purge --uid --gid --umask "
    "--pidfile --logfile -f --hostname -n --concurrency -c --loglevel -l".split()
)


def took(problem: Problem) -> bool:
    """Whether Celery 4 took, under its own documented name, what is refused here."""
    if problem.kind == "misplaced_option":
        return True  # one parser read all words, before and after the sub-command
    if problem.kind == "bad_value" and problem.option in ("-l", "--loglevel"):
        return "WARN'" in problem.message.upper()  # every name of Python's logging: WARN, NOTSET
    return problem.kind == "unknown_option" and problem.option in _OPTIONS
