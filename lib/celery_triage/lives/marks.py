"""The starts and ends of a container, each once, from samples and events."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

#: Two tellings of one start or end are closer than this, two different ones farther apart (seconds).
SAME = 0.25
#: An ``oom`` or ``kill`` event may come this much after the end that it belongs to (seconds).
AFTER_END = 0.5
_ENDED = ("restarting", "exited", "dead")
_NEVER = "0001-01-01"


@dataclass
class Mark:
    at: float
    kind: str  # start, end
    text: str
    told_by: str
    exit_code: int | None = None
    oom: bool | None = None
    signal: str | None = None
    asked: bool = False


def seconds_of(text: str | None) -> float | None:
    """ISO 8601 as seconds since the epoch; None for nothing, Docker's year 1 and what cannot be read."""
    if not text or text.startswith(_NEVER):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def age_of(service: Any) -> float | None:
    """Seconds that its present life has lasted, at its last sample."""
    start, now = seconds_of(service.latest.get("started_at")), seconds_of(service.latest.get("t"))
    return None if start is None or now is None else max(0.0, now - start)


def is_of(event: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    if event.get("container"):
        return event["container"] == item.get("name")
    return event.get("label") == item.get("label")


def marks_of(item: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> list[Mark]:
    """Starts and ends from all sources, each once, in the order of time."""
    marks: list[Mark] = []
    for sample in item.get("samples") or ():
        if not sample:
            continue
        started, finished = seconds_of(sample.get("started_at")), seconds_of(sample.get("finished_at"))
        ended = sample.get("status") in _ENDED
        if started is not None:
            marks.append(Mark(started, "start", sample["started_at"], "sample"))
        if finished is not None and not (ended and started is not None and finished < started):
            code = sample.get("exit_code") if ended else None
            oom = bool(sample.get("oom_killed")) if ended else None
            marks.append(Mark(finished, "end", sample["finished_at"], "sample", code, oom))
    killed: list[tuple[float, str | None]] = []
    for event in events:
        at = seconds_of(event.get("t"))
        if at is None:
            continue
        if event.get("action") == "start":
            marks.append(Mark(at, "start", event["t"], "events"))
        elif event.get("action") == "die":
            marks.append(Mark(at, "end", event["t"], "events", event.get("exit_code")))
        elif event.get("action") in ("kill", "stop"):
            killed.append((at, event.get("signal")))
    marks = _once(sorted(marks, key=lambda mark: mark.at))
    for at, name in killed:
        _asked(marks, at, name)
    for event in events:
        at = seconds_of(event.get("t"))
        if event.get("action") == "oom" and at is not None:
            _oom(marks, at)
    return marks


def _once(marks: list[Mark]) -> list[Mark]:
    """Join tellings of the same start or end. The time of the sample stays (it is the earlier one), the
    exit code of the event too: a sample of a later life has lost it."""
    kept: list[Mark] = []
    for mark in marks:
        same = next((k for k in reversed(kept[-4:]) if k.kind == mark.kind and mark.at - k.at < SAME), None)
        if same is None:
            kept.append(mark)
            continue
        if mark.told_by == "events":
            same.told_by = "events"
        if mark.exit_code is not None and (same.exit_code is None or mark.told_by == "events"):
            same.exit_code = mark.exit_code
        same.oom = mark.oom if same.oom is None else same.oom
    return kept


def _asked(marks: list[Mark], at: float, name: str | None) -> None:
    """A signal sent by hand belongs to the end that follows it within the stop time, or just went before."""
    for mark in marks:
        if mark.kind == "end" and -AFTER_END <= mark.at - at <= 60:
            mark.asked = True
            mark.signal = signal_name(name) or mark.signal
            return


def _oom(marks: list[Mark], at: float) -> None:
    """An ``oom`` event belongs to the first end behind it (or just before), else to the life that goes on."""
    for place, mark in enumerate(marks):
        if mark.kind == "end" and mark.at >= at - AFTER_END:
            begun = next((m for m in reversed(marks[:place]) if m.kind == "start"), None)
            if begun is None or begun.at <= at + AFTER_END:
                mark.oom = True
                return
    for mark in reversed(marks):
        if mark.kind == "start" and mark.at <= at:
            mark.oom = True
            return


def signal_name(value: str | int | None) -> str | None:
    if value in (None, ""):
        return None
    text = str(value)
    if not text.isdigit():
        return text if text.startswith("SIG") else "SIG" + text
    try:
        return signal.Signals(int(text)).name
    except ValueError:
        return text
