"""One round of a scheduled check: look, say what has changed, archive what is worth it.

A round keeps its state in the folder of reports, a file for each job (a job is what is looked at), and leaves
``latest.json`` behind whatever happens: no engine, and a round that ran out of time, are a verdict too.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import since
from ..lives import seconds_of
from . import handing, states

#: Seconds of a round that are left for writing the pages; runbooks run until then.
WRITING_S = 5.0
#: What a look gives: the evidence and the redactor that knows its secrets.
Collected = tuple[Any, Any]


class Overrun(BaseException):
    """The time of the round is up. No Exception, so that nothing that mends exceptions takes it for one."""


@dataclass(frozen=True)
class Plan:
    """How a job is run. Times in seconds; ``archive_every_s`` 0 archives no report for its age alone, and
    ``keep_days`` and ``keep_count`` 0 keep all reports for ever."""

    out: Path
    job: str
    only: tuple[str, ...] = ()
    deadline_s: float = 120.0
    archive_on_change: bool = True
    archive_every_s: float = 86400.0
    keep_days: float = 90.0
    keep_count: int = 500
    on_change: tuple[str, ...] = ()
    on_change_timeout_s: float = 30.0


@dataclass(frozen=True)
class Round:
    """What became of a round: the verdict, the change (empty: none), the report that was archived (None: none
    was), the reports that were deleted, and sentences about what went wrong beside it. ``unwritten``: state
    or report could not be written."""

    verdict: str
    change: since.Change
    report: Path | None = None
    deleted: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    unwritten: bool = False

    @property
    def line(self) -> str:
        """The round in one line; empty where there is nothing to tell."""
        if not self.change and self.report is None:
            return ""
        counted: dict[str, int] = {}
        for event in self.change.events:
            counted[event.what] = counted.get(event.what, 0) + 1
        told = ", ".join(f"{number} {what}" for what, number in counted.items())
        before = f" (was {self.change.before})" if self.change.before != self.change.now else ""
        before = before if self.change.before else " (first look)"
        parts = [f"{self.verdict}{before}", told, str(self.report / "index.html") if self.report else ""]
        return "; ".join(part for part in parts if part)


def run(plan: Plan, collect: Callable[[], Collected], progress: Callable[[str], None]) -> Round:
    """One round. ``collect`` gives the evidence; what it raises (no engine, no permission) is the verdict
    *unknown*, with its sentence. Raises ``states.Busy`` where the same job is being run already, and OSError
    where the folder of reports cannot be used at all."""
    plan.out.mkdir(parents=True, exist_ok=True)
    with states.held(plan.out, plan.job):
        return _round(plan, collect, progress)


def _round(plan: Plan, collect: Callable[[], Collected], progress: Callable[[str], None]) -> Round:
    kept, troubles = states.load(plan.out, plan.job)
    started, unwritten = time.monotonic(), False
    evidence = redactor = diagnosis = report = None
    try:
        with _deadline(plan.deadline_s):
            evidence, redactor = collect()
            from ..causes import diagnose
            from ..summary import summary as summary_of

            diagnosis = diagnose(evidence)
            summary = summary_of(diagnosis, evidence)
    except Overrun:
        summary = _nothing(kept, plan, f"the round was not done within {plan.deadline_s:g} s")
    except CannotLook as error:
        summary = _nothing(kept, plan, str(error))
    state, change = since.look(kept.state, summary)
    reason = _worth(plan, kept, state)
    if diagnosis is not None and reason:
        left = max(5.0, plan.deadline_s - (time.monotonic() - started))
        try:
            with _deadline(left):
                report = _archive(plan, evidence, redactor, progress, time.monotonic() + left - WRITING_S)
        except Overrun:
            troubles.append(f"no report: it was not made within the {plan.deadline_s:g} s of the round")
        except (OSError, RuntimeError) as error:
            troubles.append(f"no report: {error}")
            unwritten = True
    handed = not change
    if change and plan.on_change:
        payload = handing.payload(plan.job, state, change, report)
        trouble = handing.hand_over(plan.on_change, payload, plan.on_change_timeout_s)
        handed = not trouble
        troubles += [trouble] if trouble else []
    elif change:
        handed = True
    archived = states.archived(state, report.name) if report is not None else kept.archived
    try:
        states.save(plan.out, plan.job, states.Kept(since.told(state) if handed else state, archived))
        deleted = _latest(plan, summary, report, archived)
    except OSError as error:
        troubles.append(f"the state could not be written: {error}")
        deleted, unwritten = (), True
    return Round(str(summary["verdict"]), change, report, deleted, tuple(troubles), unwritten)


class CannotLook(Exception):
    """There is no evidence; the text is the sentence why."""


def _worth(plan: Plan, kept: states.Kept, state: since.State) -> bool:
    """Whether this diagnosis is to be archived: it differs from the last archived one, or that is too old."""
    if kept.archived is None:
        return plan.archive_on_change or bool(plan.archive_every_s)
    if plan.archive_on_change and states.archived(state, "").what != kept.archived.what:
        return True
    then, now = seconds_of(kept.archived.at), seconds_of(state.taken_at)
    old = then is None or now is None or now - then >= plan.archive_every_s
    return bool(plan.archive_every_s) and old


def _archive(plan: Plan, evidence: Any, redactor: Any, progress: Callable[[str], None], until: float) -> Path:
    from .. import report  # not before: it brings threads with it, and collecting forks

    try:
        return report.run(evidence, plan.out, plan.only, progress, redactor=redactor, until=until).path
    except report.archive.Leak as error:
        raise RuntimeError(str(error)) from None


def _latest(
    plan: Plan, summary: dict[str, Any], report: Path | None, archived: states.Archived | None
) -> tuple[str, ...]:
    """Write ``latest.json`` (a run that archived has done it) and delete what is too old."""
    from ..model import dumps
    from ..report import archive

    if report is None:
        name = archived.report if archived else None
        archive.write(plan.out / archive.STATE, dumps({**summary, "report": name}) + "\n")
    return archive.prune(plan.out, states.needed(plan.out), plan.keep_days, plan.keep_count)


def _nothing(kept: states.Kept, plan: Plan, why: str) -> dict[str, Any]:
    """The summary of a round without evidence: unknown, and why."""
    from ..model import SCHEMA

    return {
        "schema": SCHEMA,
        "verdict": "unknown",
        "target": kept.state.target or plan.job,
        "taken_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "origin": "live",
        "versions": {},
        "settling": [],
        "causes": [],
        "findings": [],
        "unknown": [{"section": "engine", "status": "no_reply", "why": why, "checks": []}],
        "core_missing": ["containers"],
        "checks": [],
    }


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise ``Overrun`` in here when the time is up, and again every 10 s should that be lost."""

    def over(*_: object) -> None:
        raise Overrun

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, 10.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


__all__ = ["CannotLook", "Overrun", "Plan", "Round", "run"]
