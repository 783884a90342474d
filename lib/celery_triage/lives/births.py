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
_TIME = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: "
_HEAD = re.compile(_TIME)
_POOL = re.compile(_TIME + r"\w+/(?!MainProcess\])")
_DEATH = re.compile(_TIME + r"CRITICAL/MainProcess\] (?:Unrecoverable error|beat raised exception)")
#: What a life can begin with behind a death: a record that is not beat's printed traceback.
_FRESH = re.compile(_TIME + r"(?!WARNING/MainProcess\])|\s*-{14} \S+@\S+ v\d|celery beat v|Usage: celery")
#: The engine waits at least 100 ms before it starts a container again.
PAUSE = 0.09


def word(text: str) -> int | None:
    """The order of a line's words among the first words of a life, None for other lines."""
    head = text[:200]
    return next((order for order, pattern in _WORDS if pattern.search(head)), None)


def cut(lines: Sequence[Sequence[str]], begin: int, end: int) -> list[tuple[int, int]]:
    """The pieces of ``lines[begin:end]`` that are lives, as half-open ranges in order.

    After a pause, a piece begins with first words that cannot follow those already said in the same life,
    with the very first line said again, or with any record behind Celery's word that it ends."""
    if begin >= end:
        return []
    starts, said, first, dead = [begin], -1, "", False
    for place in range(begin, end):
        text = lines[place][2]
        order = word(text)
        start = place
        while start - 1 > starts[-1] and not lines[start - 1][2].strip() and _pause(lines, start) is False:
            start -= 1  # the blank lines before a banner
        pause = _pause(lines, start) if start > begin else False
        new = (
            (order is not None and order <= said and (pause or (pause is None and not _quoted(lines, start))))
            or (place > starts[-1] and text == first and bool(pause) and not _HEAD.match(lines[start - 1][2]))
            or (dead and bool(pause) and _FRESH.match(text) is not None)
        )
        if new and start > starts[-1]:
            starts.append(start)
            said, first, dead = -1, "", False
        first = first or (text if text.strip() else "")
        said = said if order is None else order
        dead = dead or _DEATH.match(text) is not None
    return list(zip(starts, [*starts[1:], end], strict=True))


def _quoted(lines: Sequence[Sequence[str]], place: int) -> bool:
    """Whether a line without a time stands behind a record of a pool process, which may quote anything."""
    return place > 0 and _POOL.match(lines[place - 1][2]) is not None


def _pause(lines: Sequence[Sequence[str]], place: int) -> bool | None:
    """Whether there was a pause before the line; None where there are no times."""
    try:
        before, now = (datetime.fromisoformat(lines[p][0]) for p in (place - 1, place))
        return (now - before).total_seconds() >= PAUSE
    except (ValueError, TypeError):
        return None
