"""Sentences about services, for titles that a tired person understands."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str], most: int = 6) -> str:
    """``a``, ``a and b``, ``a, b and c``, ``a, b, c and 7 more``."""
    names = list(names)
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def verb(names: Sequence[str], one: str, several: str) -> str:
    """The form of a verb that fits so many."""
    return one if len(names) == 1 else several


def times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"


def lasted(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172800 else f"{seconds / 86400:.0f} days"


def shown(text: str, most: int = 160) -> str:
    """A quotation in one line, cut where it is too long for a title."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
