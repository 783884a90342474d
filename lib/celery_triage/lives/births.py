"""The first words of a Celery process: where a log that tells several lives in one is cut.

Needed for lives that are older than the engine's 256 events, and for logs that come without an engine.
Recorded logs of 5.4 to 5.7 show the words and their order: the warning about superuser rights before the
worker's banner, the sentence about ``-A`` before ``Usage:``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

#: The words, by their order within one life.
_WORDS = (
    (0, re.compile(r"SecurityWarning: You're running the worker with superuser privileges")),
    (0, re.compile(r"You are using `(-A|--app)` as an option of the ")),
    (1, re.compile(r"\s*-{14} \S+@\S+ v\d")),
    (1, re.compile(r"celery beat v\S+ .{0,40}is starting\.$")),
    (1, re.compile(r"Usage: celery\b")),
    (1, re.compile(r"\[I \d{6} \d\d:\d\d:\d\d \w+:\d+\] Visit me at ")),
)
_LOG_HEAD = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: ")
#: The engine waits at least 100 ms before it starts a container again.
PAUSE = 0.09


def word(text: str) -> int | None:
    """The order of a line's words among the first words of a life, None for other lines."""
    head = text[:200]
    return next((order for order, pattern in _WORDS if pattern.search(head)), None)


def cut(lines: Sequence[Sequence[str]], begin: int, end: int) -> list[tuple[int, int]]:
    """The pieces of ``lines[begin:end]`` that are lives, as half-open ranges in order.

    A piece begins where first words come that cannot follow those already said in the same life, or where
    the very first line is said again after a pause."""
    if begin >= end:
        return []
    starts, said, first = [begin], -1, ""
    for place in range(begin, end):
        text = lines[place][2]
        order = word(text)
        start = place
        while start - 1 > starts[-1] and not lines[start - 1][2].strip() and not _pause(lines, start):
            start -= 1  # the blank lines before a banner
        again = place > starts[-1] and text == first and _paused(lines, start)
        if again or (order is not None and order <= said):
            starts.append(start)
            said, first = -1, ""
        first = first or (text if text.strip() else "")
        said = said if order is None else order
    return list(zip(starts, [*starts[1:], end], strict=True))


def _pause(lines: Sequence[Sequence[str]], place: int) -> bool:
    """Whether there was a pause before the line; False where there are no times."""
    try:
        before, now = (datetime.fromisoformat(lines[p][0]) for p in (place - 1, place))
        return (now - before).total_seconds() >= PAUSE
    except (ValueError, TypeError):
        return False


def _paused(lines: Sequence[Sequence[str]], place: int) -> bool:
    """Whether the line comes after a pause, and is not the body of a log record before it."""
    return not _LOG_HEAD.match(lines[place - 1][2]) and _pause(lines, place)
