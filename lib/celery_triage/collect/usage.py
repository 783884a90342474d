"""The section `usage/<label>`: what a container uses now, as ``docker stats`` counts it, against its limits.

GET ``/containers/{id}/stats?stream=false&one-shot=true``, all containers at once, twice: the processor's part
is the difference of two samples. The engine reads each container's counters once a second for as long as
somebody asks (20.10, ``daemon/stats/collector.go``), so one sample is there within a second, however many are
asked for; nothing runs in the stack itself.

Formulas: docker's own client (``cli/command/container/stats_helpers.go``; the same in 20.10 and 28).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery_triage.collect.docker import ONE_SAMPLE, Engine, EngineError, NotFound
from celery_triage.collect.probe import Emit, Source, now
from celery_triage.collect.together import together
from celery_triage.model import Section

DEADLINE_S = 14.0
#: Seconds from the first request to the second, and seconds between two samples below which the processor's
#: part would be a matter of chance.
BETWEEN_S = 1.0
LEAST_S = 0.3
_HOW = "GET …/stats of the Docker Engine API, two single samples"
_NEVER = "0001-"  # the year of a time that was never set


def source(
    items: Sequence[Mapping[str, Any]], redactor: Any, connect: Callable[[Emit], Engine],
) -> Source:
    """The sections of these unmasked items of the section `containers`. A container that does not run has a
    section with ``running`` false and no figures; the engine is not asked for it."""
    entries = {entry["label"]: entry for entry in items if not entry.get("vanished")}

    def run(emit: Emit) -> None:
        asked = {}
        for label, entry in entries.items():
            latest = (entry.get("samples") or [{}])[-1]
            if latest.get("status") in ("running", "paused"):
                asked[label] = entry
            else:
                emit.section(Section(f"usage/{label}", "ok", usage(entry, {}), how=_HOW, taken_at=now()))
        begin = time.monotonic()
        first = _sampled(asked, emit, connect, emit.left() / 2)
        for label in asked.keys() - first.keys():
            why = "the engine gave no sample of it in time"
            emit.section(Section(f"usage/{label}", "timeout", why=why, how=_HOW, taken_at=now()))
        for label, sample in first.items():
            emit.section(_section(asked[label], sample, None, redactor, "the second sample is missing"))
        again = [label for label, sample in first.items() if _readable(sample) and not _primed(sample)]
        if not again:
            return
        # An engine that reads once a second has let us wait already, and will again.
        time.sleep(max(0.0, begin + BETWEEN_S - time.monotonic()))
        second = _sampled({label: asked[label] for label in again}, emit, connect, emit.left() - 0.5)
        for label, sample in second.items():
            emit.section(_section(asked[label], first[label], sample, redactor))

    return Source("usage", tuple(f"usage/{label}" for label in entries), run, deadline_s=DEADLINE_S)


def _sampled(
    asked: Mapping[str, Mapping[str, Any]], emit: Emit, connect: Callable[[Emit], Engine], limit_s: float,
) -> dict[str, Any]:
    """One sample of each container, or the exception instead of it; without those that take too long."""
    def ask(identity: str) -> Any:
        return connect(emit).ask(f"/containers/{identity}/stats", **ONE_SAMPLE)

    labels = list(asked)
    jobs = [lambda identity=asked[label]["id"]: ask(identity) for label in labels]
    return {labels[number]: told for number, told in together(jobs, limit_s)}


def _section(
    entry: Mapping[str, Any], first: Any, second: Any, redactor: Any, missing: str = "",
) -> Section:
    name, facts = f"usage/{entry['label']}", {"how": _HOW, "taken_at": now()}
    if isinstance(first, NotFound):
        return Section(name, "vanished", why="the container vanished while being looked at", **facts)
    if not _readable(first):
        status = getattr(first, "status", None)
        why = first if isinstance(first, EngineError) else getattr(first, "why", type(first).__name__)
        return Section(name, status if isinstance(status, str) else "no_reply",
                       why=redactor.text(str(why), 300) or "no figures came", **facts)
    why = missing if _running(first) and not _primed(first) else ""
    if second is not None:
        stopped = isinstance(second, NotFound) or (_readable(second) and not _running(second))
        if stopped and _running(first):
            why = "it stopped between the two samples"
        elif not _readable(second):
            why = f"the second sample is missing: {redactor.text(str(second), 300)}"
        else:
            why = ""
    data = usage(entry, first, second if _readable(second) else None)
    return Section(name, "partial" if why else "ok", data, why=why, **facts)


def _readable(sample: Any) -> bool:
    return isinstance(sample, Mapping)


def _running(sample: Mapping[str, Any]) -> bool:
    """An engine answers for a container that does not run with figures that are all zero."""
    read = sample.get("read")
    return isinstance(read, str) and bool(read) and not read.startswith(_NEVER)


def _primed(sample: Mapping[str, Any]) -> bool:
    """Whether the sample holds the one before it: engines before API 1.41 do not know ``one-shot``."""
    return not str(sample.get("preread") or _NEVER).startswith(_NEVER) or not _running(sample)


def usage(
    entry: Mapping[str, Any], first: Mapping[str, Any], second: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The data of a section from one or two samples of the engine, `entry` being the container's item.

    Bytes, percents, counts, seconds; None for what the engine does not tell. ``memory`` is without the file
    cache that could be given back, as ``docker stats`` shows it; ``memory_limit`` and ``cpus_limit`` are 0
    where there is none, and then ``memory_percent`` is None. ``cpu_percent`` is of one processor: 150 is one
    and a half. ``throttled`` counts since the container's start; its ``recent_…`` figures are of the time
    between the samples. ``failed`` counts how often the memory limit was hit (cgroup v1 only).
    """
    last = second if second and _running(second) else first
    running = bool(last) and _running(last)
    limits = entry.get("limits") or {}
    limited = _number(limits.get("memory")) or 0
    data: dict[str, Any] = {
        "running": running, "t": last.get("read") if running else None, "memory": None, "cache": None,
        "memory_limit": limited, "memory_percent": None, "failed": None, "cpu_percent": None,
        "cpus_limit": _number(limits.get("cpus")) or 0, "pids": None, "pids_limit": None, "throttled": None}
    if not running:
        return data
    memory = _mapping(last, "memory_stats")
    total, cache = _number(memory.get("usage")), _cache(_mapping(memory, "stats"))
    if total is not None:
        data["cache"] = cache if cache < total else 0
        data["memory"] = total - data["cache"]
    if limited:
        data["memory_limit"] = _number(memory.get("limit")) or limited
        if data["memory"] is not None:
            data["memory_percent"] = round(100 * data["memory"] / data["memory_limit"], 1)
    data["failed"] = _number(memory.get("failcnt"))
    if data["failed"] is None and "max_usage" in memory:  # cgroup v1; a nought is left out
        data["failed"] = 0
    pids = _mapping(last, "pids_stats")
    data["pids"], most = _number(pids.get("current")), _number(pids.get("limit"))
    data["pids_limit"] = most if most and most < 2**62 else None  # cgroup v2 says "max" as the largest number
    before = _mapping(first, "cpu_stats") if last is not first else None
    if before is None and _primed(last):
        before = _mapping(last, "precpu_stats")
    data["cpu_percent"] = _cpu(_mapping(last, "cpu_stats"), before)
    data["throttled"] = _throttled(_mapping(last, "cpu_stats"), before)
    return data


def _cache(stats: Mapping[str, Any]) -> int:
    """File cache that could be given back: v1 counts it with its children, v2 has only the one figure."""
    found = _number(stats.get("total_inactive_file"))
    return (_number(stats.get("inactive_file")) or 0 if found is None else found)


def _cpu(now_: Mapping[str, Any], before: Mapping[str, Any] | None) -> float | None:
    if not before:
        return None
    used, used_before = (_number(_mapping(one, "cpu_usage").get("total_usage")) for one in (now_, before))
    clock, clock_before = (_number(one.get("system_cpu_usage")) for one in (now_, before))
    processors = (_number(now_.get("online_cpus"))
                  or len(_mapping(now_, "cpu_usage").get("percpu_usage") or ()) or 1)
    if None in (used, used_before, clock, clock_before) or used < used_before:
        return None
    if clock - clock_before < LEAST_S * 1e9 * processors:  # the clock adds up the time of all processors
        return None
    return round(100 * (used - used_before) / (clock - clock_before) * processors, 1)


def _throttled(now_: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    told = _mapping(now_, "throttling_data")
    periods, held, time_ns = (_number(told.get(key))
                              for key in ("periods", "throttled_periods", "throttled_time"))
    if None in (periods, held, time_ns):
        return None
    found = {"periods": periods, "throttled_periods": held, "time_s": round(time_ns / 1e9, 3),
             "recent_periods": None, "recent_throttled_periods": None}
    if before:
        past = _mapping(before, "throttling_data")
        found["recent_periods"] = max(0, periods - (_number(past.get("periods")) or 0))
        found["recent_throttled_periods"] = max(0, held - (_number(past.get("throttled_periods")) or 0))
    return found


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
