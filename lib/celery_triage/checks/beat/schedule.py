"""What a beat should send, what its log says that it sent, and what came of it. Pure.

The schedule is told by a worker of the same application (``conf`` of Celery's remote control), for beat
itself answers nothing. That holds for Celery's own two schedulers, which take ``beat_schedule`` from the
settings; the schedules of others (django-celery-beat, RedBeat) stand elsewhere and are not known here.

``Scheduler: Sending due task NAME (TASK)`` and ``beat: Starting...`` are logged at INFO by the same logger
(``celery/beat.py``; recorded with 5.4, 5.6 and 5.7), and beat's own level is WARNING unless another is given.
So only where one of them was seen does a log without sending mean anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from celery_triage.checks.course import Course
from celery_triage.checks.queues.shared import queue_of
from celery_triage.lives import Life, seconds_of
from celery_triage.stack import Service, Stack

#: Celery's own schedulers, with either way to write a class.
IN_SETTINGS = ("celery.beat.PersistentScheduler", "celery.beat.Scheduler")
#: Beat's own entry (4.0 to 5.7): daily, where the result backend does not expire by itself.
CLEANUP = "celery.backend_cleanup"
#: A task is late when it was due this often (times its interval) and so long (seconds) ago.
LATE_TIMES, LATE_S = 2, 30.0

_SENDING = re.compile(r"Scheduler: Sending due task (.+) \(([^()\s]+)\)\s*$")
_STARTING = "beat: Starting..."
#: The levels at which beat logs what it sends.
_TELLING = ("INFO", "DEBUG")
_FAILING = re.compile(r"beat: Connection error|Message Error: |beat raised exception")
_SCHEDULER = re.compile(r"\s+\. scheduler -> (\S+)")
_CLOCK = re.compile(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d(?:\.\d+)?)$")
_FREQ = re.compile(r"<freq: ([\d.]+) (second|minute|hour|day)s?>$")
_CRONTAB = re.compile(r"<crontab: (\S+) (\S+) (\S+) (\S+) (\S+) \(")
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


@dataclass(frozen=True)
class Entry:
    """One entry of a schedule. ``period`` is the longest pause between two runs in seconds, None where that
    is not the same all day (most crontabs, sunrise); ``queue`` is where its options say, empty without."""

    name: str
    task: str
    text: str
    period: float | None
    queue: str


def period_of(schedule: Any) -> float | None:
    """The longest pause in seconds between two runs, of a schedule as remote control tells it; None where it
    changes over the day. A crontab is read where only its minutes count, or its hours are all."""
    if isinstance(schedule, (int, float)):
        return float(schedule) if schedule > 0 else None
    text = str(schedule or "")
    if found := _CLOCK.match(text):
        days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + seconds or None
    if found := _FREQ.match(text):
        return float(found[1]) * _UNITS[found[2]] or None
    found = _CRONTAB.match(text)
    if found is None or any(part != "*" for part in found.groups()[1:]):
        return None
    minute = found[1]
    if minute == "*":
        return 60.0
    if re.fullmatch(r"\*/\d{1,2}", minute) and 0 < int(minute[2:]) < 60:
        return int(minute[2:]) * 60.0
    return 3600.0 if minute.isdigit() else None


@dataclass
class Beat:
    """One service that sends what is due: a beat, or a worker with ``-B``. ``entries`` is None where its
    schedule is not known; ``unknown`` then says why."""

    service: Service
    course: Course
    entries: tuple[Entry, ...] | None = None
    unknown: str = ""
    teller: str = ""  # the service that told the schedule
    conf: Mapping[str, Any] = field(default_factory=dict)
    done: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by_task of its result database
    asked: float | None = None  # when that database was asked

    @property
    def label(self) -> str:
        return self.service.label

    @property
    def embedded(self) -> bool:
        return self.service.role == "worker"

    @property
    def runs(self) -> bool:
        return self.service.latest.get("status") == "running"

    @cached_property
    def life(self) -> Life | None:
        """Its present life; None where it does not run."""
        last = self.course.lives[-1] if self.course.lives else None
        return last if last is not None and last.running else None

    @property
    def now(self) -> float:
        """The moment of its last sample, seconds since 1970."""
        return seconds_of(self.service.latest.get("t")) or 0.0

    @property
    def age(self) -> float:
        """Seconds that it has lived."""
        start = seconds_of(self.service.latest.get("started_at"))
        return max(0.0, self.now - start) if start is not None else 0.0

    @cached_property
    def _lines(self) -> Sequence[Sequence[str]]:
        return self.course.lines(self.life) if self.life is not None else ()

    @cached_property
    def sent(self) -> tuple[tuple[float, str, str, int], ...]:
        """What its present life logged as sent: (seconds since 1970, entry, task, line of the log)."""
        first = (self.life.first_line or 1) if self.life else 1
        found = []
        for place, line in enumerate(self._lines, first):
            told = _SENDING.search(line[2][:600])
            at = seconds_of(line[0])
            if told and at is not None:
                found.append((at, told[1], told[2], place))
        return tuple(found)

    @cached_property
    def tells(self) -> bool:
        """Whether its log would show what it sends."""
        return bool(self.sent) or any(_STARTING in line[2][:200] for line in self._lines)

    @property
    def untold(self) -> str:
        """Why its log does not tell what it sends, where it does not: a clause."""
        if not self.runs:
            return "it does not run"
        options = self.service.launch.options if self.service.launch else {}
        if str(options.get("loglevel") or "").upper() in _TELLING:
            return "neither its start nor anything sent stands in what was read of its present life"
        return "that needs --loglevel=info"

    @property
    def last_sent(self) -> float | None:
        return self.sent[-1][0] if self.sent else None

    @cached_property
    def failing(self) -> str:
        """What it said of not being able to send, after the last time that it sent; empty without."""
        after = self.last_sent or 0.0
        said = [line[2] for line in self._lines if (seconds_of(line[0]) or 0.0) >= after]
        return next((text for text in reversed(said) if _FAILING.search(text[:300])), "")

    def sent_at(self, entry: Entry) -> float | None:
        """When it last sent this entry, by its log."""
        return next((at for at, name, _, _ in reversed(self.sent) if name == entry.name), None)

    def pause(self, entry: Entry) -> float:
        """The longest pause between two runs in seconds: by the schedule, or longer where its own log shows
        one (the settings of a worker may have been given another interval by its environment)."""
        times = [at for at, name, _, _ in self.sent if name == entry.name]
        seen = [after - before for before, after in zip(times, times[1:], strict=False)]
        return max([entry.period or 0.0, *seen])

    def late_s(self, entry: Entry) -> float:
        """Seconds without this entry after which it is late."""
        return LATE_TIMES * self.pause(entry) + LATE_S

    def done_at(self, entry: Entry) -> float | None:
        """When a run of this task last came to its end, by the result table; None where that knows none."""
        return seconds_of((self.done.get(entry.task) or {}).get("last"))

    def done_lately(self, entry: Entry) -> bool | None:
        """Whether a run of this task came to its end within its time; None where no run is known of, or its
        interval is not."""
        last = self.done_at(entry)
        if last is None or not entry.period or self.asked is None:
            return None
        return self.asked - last <= self.late_s(entry)

    @property
    def scheduler(self) -> str:
        """The class of its scheduler: by its banner, its option, else what the settings say."""
        told = next((m[1] for line in self._lines if (m := _SCHEDULER.match(line[2]))), "")
        given = self.service.launch.options.get("scheduler") if self.service.launch else None
        return (told or str(given or "") or str(self.conf.get("beat_scheduler") or "")).replace(":", ".")


def beats(
    stack: Stack,
    course: Callable[[Service], Course],
    celery: Mapping[str, Any] | None,
    results: Mapping[str, Any] | None,
) -> list[Beat]:
    """The beats of the target by name, each with its schedule and what the result tables know of its tasks.
    ``celery`` and ``results`` are the data of these sections."""
    found = []
    for service in sorted(stack.members, key=lambda one: one.label):
        if service.has_beat:
            beat = Beat(service, course(service))
            _schedule(beat, stack, celery)
            _results(beat, results)
            found.append(beat)
    return found


def module_of(service: Service) -> str:
    """The module of its application, without an attribute."""
    return str(service.app_module or "").partition(":")[0]


def _schedule(beat: Beat, stack: Stack, celery: Mapping[str, Any] | None) -> None:
    """Find a worker of the same application on the same broker, and take its settings."""
    url = beat.service.url("broker")
    for broker in (celery or {}).get("brokers") or ():
        here = beat.label in (broker.get("services") or ())
        if not here and (url is None or str(url.parsed.server) != broker.get("key")):
            continue
        for reply in (broker.get("replies") or {}).values():
            worker = stack.get(reply.get("label") or "")
            if worker is not None and reply.get("conf") and module_of(worker) == module_of(beat.service):
                beat.conf, beat.teller = reply["conf"], worker.label
                break
    if beat.scheduler and beat.scheduler not in IN_SETTINGS:
        beat.unknown = f"the schedule of {beat.label} is kept by {beat.scheduler}, not in the settings"
    elif beat.conf.get("beat_schedule") is None:
        beat.unknown = f"no worker of the same application told the schedule of {beat.label}"
    else:
        told = {name: entry for name, entry in beat.conf["beat_schedule"].items() if entry}
        strange = sorted({name for _, name, _, _ in beat.sent} - told.keys() - {CLEANUP})
        if strange:
            beat.unknown = f"{beat.label} sends {strange[0]}, which the settings of {beat.teller} do not hold"
        else:
            beat.entries = tuple(_entry(name, entry, beat.conf) for name, entry in sorted(told.items()))


def _entry(name: str, entry: Mapping[str, Any], conf: Mapping[str, Any]) -> Entry:
    text = entry.get("schedule")
    return Entry(name, str(entry.get("task") or ""), _told(text), period_of(text), queue_of(entry, conf))


def _told(schedule: Any) -> str:
    """A schedule in words: ``every 5 s``, or Celery's own text of it."""
    return f"every {schedule:g} s" if isinstance(schedule, (int, float)) else str(schedule)


def _results(beat: Beat, results: Mapping[str, Any] | None) -> None:
    for server in (results or {}).get("servers") or ():
        latest = server.get("latest")
        if beat.label in (server.get("services") or ()) and latest and latest.get("sure", True):
            beat.done = latest.get("by_task") or {}
            beat.asked = seconds_of(latest.get("clock"))
