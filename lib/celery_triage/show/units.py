"""Numbers as a person reads them: durations, sizes, moments, exit codes, lists. Pure functions of their
arguments."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from datetime import UTC, datetime

from ..exits import meaning


def duration(seconds: float | None) -> str:
    """Seconds as two units at most: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 14 min``, ``3 d 4 h``; a
    dash for None."""
    if seconds is None:
        return "–"
    if seconds < 0:
        return "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for unit, name, smaller, small_name in (
        (60, "min", 1, "s"),
        (3600, "h", 60, "min"),
        (86400, "d", 3600, "h"),
    ):
        if whole < unit * {"min": 60, "h": 24, "d": 10**9}[name]:
            big, rest = divmod(whole, unit)
            small = rest // smaller
            return f"{big} {name} {small} {small_name}" if small else f"{big} {name}"
    raise AssertionError("every duration has a unit")


def size(count: float | None) -> str:
    """Bytes in binary units with three digits: ``512 MiB``, ``1.5 GiB``; a dash for None."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            break
        value /= 1024
    text = f"{value:.0f}" if unit == "B" or value >= 100 else f"{value:.1f}".removesuffix(".0")
    return f"{text} {unit}"


def when(text: str | None) -> datetime | None:
    """An ISO 8601 text as a moment in UTC; None for what is none, and for Docker's zero time (year 1)."""
    if not text:
        return None
    head, dot, tail = text.partition(".")
    if dot:  # Docker writes nanoseconds; datetime reads six digits
        digits = tail[: next((i for i, c in enumerate(tail) if not c.isdigit()), len(tail))]
        text = f"{head}.{digits[:6]}{tail[len(digits) :]}"
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    if moment.year <= 1:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def moment(text: str | None) -> str:
    """``2026-11-23 14:15:03 UTC``; a dash where there is no time."""
    found = when(text)
    return found.strftime("%Y-%m-%d %H:%M:%S UTC") if found else "–"


def clock(text: str | None) -> str:
    """``14:15:03``, the time of day in UTC; a dash where there is no time."""
    found = when(text)
    return found.strftime("%H:%M:%S") if found else "–"


def between(start: str | None, end: str | None) -> float | None:
    """Seconds from one ISO time to another; None where one is missing."""
    first, last = when(start), when(end)
    return (last - first).total_seconds() if first and last else None


def ending(code: int | None, oom: bool = False) -> str:
    """How a life ended, in words with its exit code; codes above 128 are signals (128 + number)."""
    if oom:
        return f"out of memory (exit {code})" if code is not None else "out of memory"
    if code is None:
        return "unknown"
    if code > 128:
        return f"ended by {signal_name(code)} (exit {code})" if code < 160 else f"exit {code}"
    words, _ = meaning(code)
    return f"{words} (exit {code})" if words else f"exit {code}"


def signal_name(code: int) -> str:
    """The signal of an exit code above 128: ``SIGTERM``, or ``signal 35`` for one without a name."""
    try:
        return signal.Signals(code - 128).name
    except ValueError:
        return f"signal {code - 128}"


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 service``, ``3 services``; thousands with a thin space."""
    return f"{number:,}".replace(",", "\u2009") + " " + (noun if number == 1 else plural or noun + "s")


def listed(items: Iterable[str], limit: int = 0) -> str:
    """``a, b and c``; beyond the limit ``a, b and 3 more``."""
    names = list(items)
    if limit and len(names) > limit:
        return ", ".join(names[:limit]) + f" and {len(names) - limit} more"
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else "none"
