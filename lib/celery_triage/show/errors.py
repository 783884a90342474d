"""What counts as an error line of a log, for pictures; the rules judge by the catalogue of signatures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: A level word of Python's logging, PostgreSQL or Redis, a traceback, an exception's line.
ERROR = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL|PANIC)\b|^Traceback \(most recent call last\)|^Error: |^[\w.]+Error\b"
)


def first_error(lines: Iterable[Sequence[str]]) -> str | None:
    """The time of the first error among log lines (``[time, stream, text]``); None where there is none."""
    return next((line[0] for line in lines if ERROR.search(line[2])), None)
