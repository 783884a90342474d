"""The lives of a container: from each start to its end, told by samples, events and the log; pure.

Measured on Docker Engine 20.10 with a container that ended every half second: the ``start`` event comes 1
to 17 ms after ``StartedAt``, the ``die`` event less than 1 ms after ``FinishedAt``; the shortest pause
between an end and the next start was 0.43 s (back-off of 100 ms). While the status is ``restarting``,
``ExitCode`` and ``OOMKilled`` belong to the life that ended and ``RestartCount`` already counts the start
to come; while it is ``running`` both are reset and ``FinishedAt`` still tells the end before. A start by
hand sets ``RestartCount`` to 0.

How far a life got is in ``reached``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from celery_triage.lives import births
from celery_triage.lives.marks import Mark, is_of, marks_of, seconds_of, signal_name
from celery_triage.model import Evidence

#: How long the engine may take to write the last words of a process into its log (seconds; not measured,
#: chosen on the safe side).
WRITTEN = 0.25


@dataclass(frozen=True)
class Life:
    """One life. Times are ISO 8601 in UTC as they were told, None where they are not known.

    ``number`` counts from the last start by hand where ``RestartCount`` allows it, else from the oldest
    that is known. ``exit_code`` None: not known, or it lives. ``signal`` is the name of the signal that
    ended it (exit code above 128) or that was sent to it by ``docker kill`` or ``docker stop``; ``asked``
    is true for the latter. ``oom``: the kernel killed a process of this life for memory, the main process
    only if ``exit_code`` is 137. ``seconds``: how long it lived, to the last sample where it still lives.
    ``current``: the life that runs now, else the last that ended. ``first_line`` and ``last_line`` are
    1-based numbers of its log lines, None without any. ``told_by``: ``events``, ``sample`` or ``log`` (then
    the bounds are those of its lines). ``cut``: it ended after its log was read, so that its last words may
    be missing."""

    label: str
    number: int
    start: str | None
    end: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    oom: bool = False
    seconds: float | None = None
    current: bool = False
    first_line: int | None = None
    last_line: int | None = None
    running: bool = False
    asked: bool = False
    told_by: str = "sample"
    cut: bool = False

    @property
    def failed(self) -> bool:
        """It ended by itself with an exit code that is not 0."""
        return not self.running and self.exit_code not in (None, 0) and not self.asked

    def of(self, lines: Sequence[Any]) -> Sequence[Any]:
        """The log lines of this life, out of all lines of the container."""
        if self.first_line is None or self.last_line is None:
            return []
        return lines[self.first_line - 1 : self.last_line]


def lives(
    item: Mapping[str, Any], events: Sequence[Mapping[str, Any]] = (), lines: Sequence[Sequence[str]] = ()
) -> list[Life]:
    """The lives of one container, oldest first.

    ``item`` is its entry of section ``containers``; ``events`` are the items of section ``events`` (those
    of other containers are left out here); ``lines`` are ``[time, stream, text]`` of its log section."""
    marks = marks_of(item, [event for event in events if is_of(event, item)])
    found = _walk(str(item.get("label") or item.get("name") or ""), marks)
    found = _with_lines(found, lines, str(item.get("label") or ""))
    samples = [sample for sample in item.get("samples") or () if sample]
    return _numbered(_last(found, samples[-1] if samples else {}), samples[-1] if samples else {})


def from_log(label: str, lines: Sequence[Sequence[str]]) -> list[Life]:
    """The lives that a log alone tells: cut where a Celery process says its first words again."""
    return _numbered(_last(_with_lines([], lines, label), {}), {})


def told(found: Sequence[Life]) -> Life | None:
    """The life that says most about now: the current one, but the one before where that failed and the
    current one is so young that the one before had lived longer, has not said a word yet, or ended in the
    same way after its log was read."""
    if not found:
        return None
    current = found[-1]
    before = found[-2] if len(found) > 1 else None
    if before is None or not before.failed:
        return current
    if current.running:
        younger = (current.seconds or 0) <= (before.seconds or 0)
        return before if younger or current.first_line is None else current
    alike = current.failed and current.exit_code == before.exit_code and before.first_line is not None
    return before if alike and (current.cut or current.first_line is None) else current


def _cut_off(found: Sequence[Life], read: float | None) -> list[Life]:
    """The lives, with those marked that ended after their log was read (seconds since the epoch), or so
    shortly before that the engine may not have written their last words yet."""
    if read is None:
        return list(found)
    ends = [seconds_of(life.end) for life in found]
    return [
        replace(life, cut=life.told_by != "log" and end is not None and end > read - WRITTEN)
        for life, end in zip(found, ends, strict=True)
    ]


def _walk(label: str, marks: list[Mark]) -> list[Life]:
    """Pair starts with ends. A missing start or end stays None."""
    found: list[Life] = []
    open_: Mark | None = None
    for mark in marks:
        if mark.kind == "start":
            if open_ is not None:
                found.append(_life(label, open_, None))
            open_ = mark
        else:
            found.append(_life(label, open_, mark))
            open_ = None
    if open_ is not None:
        found.append(_life(label, open_, None))
    return found


def _life(label: str, start: Mark | None, end: Mark | None) -> Life:
    code = end.exit_code if end else None
    by_code = signal_name(code - 128) if code is not None and 128 < code < 160 else None
    return Life(
        label,
        0,
        start.text if start else None,
        end.text if end else None,
        code,
        by_code or (end.signal if end else None),
        bool((end and end.oom) or (start and start.oom)),
        max(0.0, end.at - start.at) if start and end else None,
        asked=bool(end and end.asked),
        told_by=(start or end).told_by if start or end else "sample",
    )


def _with_lines(found: list[Life], lines: Sequence[Sequence[str]], label: str) -> list[Life]:
    """Give each life its lines: those from its start to the next one. Earlier lines are lives told by the
    log."""
    if not lines:
        return found
    begun = [place for place, life in enumerate(found) if seconds_of(life.start) is not None]
    bounds = _places(lines, [(seconds_of(found[place].start) or 0.0) - 0.01 for place in begun])
    first = bounds[0] if bounds else len(lines)
    placed = list(found)
    for place, begin, end in zip(begun, bounds, [*bounds[1:], len(lines)], strict=False):
        if end > begin:
            placed[place] = replace(found[place], first_line=begin + 1, last_line=end)
    earlier = [
        Life(label, 0, lines[b][0], lines[e - 1][0], first_line=b + 1, last_line=e, told_by="log")
        for b, e in births.cut(lines, 0, first)
    ]
    if (
        earlier and found and found[0].start is None
    ):  # its end is known: its lines are the last of the earlier ones
        last = earlier.pop()
        placed[0] = replace(found[0], first_line=last.first_line, last_line=last.last_line)
    return earlier + placed


def _places(lines: Sequence[Sequence[str]], moments: list[float]) -> list[int]:
    """For each moment, in order, the place of the first line at or after it."""
    places: list[int] = []
    place = 0
    for moment in moments:
        while place < len(lines):
            at = seconds_of(lines[place][0])
            if at is not None and at >= moment:
                break
            place += 1
        places.append(place)
    return places


def _last(found: list[Life], sample: Mapping[str, Any]) -> list[Life]:
    """Mark the current life, and say that it runs if the last sample says so."""
    if not found:
        return []
    life = found[-1]
    running = life.end is None and sample.get("status") in ("running", "paused")
    seconds = life.seconds
    if running:
        now, start = seconds_of(sample.get("t")), seconds_of(life.start)
        seconds = max(0.0, now - start) if now is not None and start is not None else None
    return [*found[:-1], replace(life, current=True, running=running, seconds=seconds)]


def _numbered(found: list[Life], sample: Mapping[str, Any]) -> list[Life]:
    count = sample.get("restart_count")
    last = len(found)
    if isinstance(count, int) and count:
        last = max(last, count if sample.get("status") == "restarting" else count + 1)
    return [replace(life, number=last - len(found) + 1 + place) for place, life in enumerate(found)]


@dataclass(frozen=True)
class Lives:
    """The lives of all containers of an evidence, by label."""

    by_label: Mapping[str, tuple[Life, ...]]

    @classmethod
    def of(cls, evidence: Evidence) -> Lives:
        """From the sections ``containers``, ``events`` and ``logs/…``, as far as they can be read."""
        events = (evidence.data("events") or {}).get("items") or ()
        found = {}
        for item in (evidence.data("containers") or {}).get("items") or ():
            label = str(item.get("label") or item.get("name") or "")
            log = evidence.section(f"logs/{label}")
            lines = (evidence.data(log.name) or {}).get("lines") or ()
            found[label] = tuple(_cut_off(lives(item, events, lines), seconds_of(log.taken_at)))
        return cls(found)

    def of_service(self, label: str) -> tuple[Life, ...]:
        """The lives of one container, oldest first; none for a label that is not there."""
        return self.by_label.get(label, ())

    def last_exit(self, label: str) -> int | None:
        """The exit code of the last life that ended, None where none did or its code is not known."""
        return next((life.exit_code for life in reversed(self.of_service(label)) if not life.running), None)
