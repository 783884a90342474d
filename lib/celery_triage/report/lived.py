"""Whether each service of a stack is still there and has lived long enough to be called mended; pure.

A service has proven itself when it has lived longer than Docker's restart back-off, than the longest life
that it is known to have ended by itself, before or after the cure, and than its health check needs to
judge: ``start_period + interval × retries``, for only then would Docker have called it unhealthy (Docker's
reference for HEALTHCHECK: failures during the start period do not count). A check that has not judged yet
can take a time-out longer for each try. Ages are those of the evidence; no clock is asked here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from celery_triage.lives import Life, age_of
from celery_triage.report.side import Side
from celery_triage.settling import BACK_OFF_RESET_S
from celery_triage.stack import Service, Stack

#: What can be said of one service, worst first.
STANDINGS = ("down", "removed", "unproven", "settling", "as_before", "proven")
#: Exit codes of a process that was told to end: 128 and SIGINT, 128 and SIGTERM.
TOLD_TO_END = (130, 143)


@dataclass(frozen=True)
class Need:
    """More seconds of life than these are needed, and the reason as a clause."""

    seconds: float
    why: str


@dataclass(frozen=True)
class Lived:
    """What was seen of one service after the cure.

    ``became``: ``proven``, ``settling`` (``left`` seconds are missing), ``unproven`` (waiting alone shows
    nothing), ``down``, ``removed``, or ``as_before`` for a job that runs neither now nor before. ``age`` and
    ``needed`` are seconds; ``added``: it was not there before.
    """

    label: str
    became: str
    why: str
    age: float | None = None
    needed: float | None = None
    left: int | None = None
    added: bool = False


def needs(check: Mapping[str, Any] | None, health: str | None, former: float | None) -> tuple[Need, ...]:
    """How long a service must have lived, each reason with its seconds.

    ``check`` is its health check as configured (seconds), ``health`` what Docker says of it now, ``former``
    the longest life that it is known to have ended by itself.
    """
    found = [Need(BACK_OFF_RESET_S, "Docker's restart back-off is reset only then")]
    if former is not None:
        found.append(Need(former, "its longest former life lasted that long"))
    if check:
        start, interval = check.get("start_period_s") or 0, check.get("interval_s") or 0
        retries, timeout = check.get("retries") or 0, check.get("timeout_s") or 0
        if health == "starting":
            longest = start + retries * (interval + timeout)
            found.append(Need(longest, "its health check may take that long to judge"))
        else:
            found.append(Need(start + interval * retries, "its health check needs that long to judge"))
    return tuple(found)


def stand(status: str, health: str | None, age: float | None, needed: Sequence[Need]) -> tuple[str, str]:
    """What the state of a running container and its age prove: one of STANDINGS, and a sentence.

    The age must be more than every need: at exactly that age the thing may still be about to happen.
    """
    if status == "paused":
        return "down", "it is paused: it lives and does nothing"
    if health == "unhealthy":
        return "unproven", "Docker calls it unhealthy"
    if age is None:
        return "unproven", "when it was started is not known"
    longest = max(needed, key=lambda need: need.seconds)
    lived = f"it has lived for {seconds(age)}"
    if age <= longest.seconds:
        return "settling", f"{lived} and must live longer than {seconds(longest.seconds)}: {longest.why}"
    if health == "starting":
        return "unproven", f"{lived} and its health check has still not judged"
    return "proven", f"{lived}, longer than {seconds(longest.seconds)}: {longest.why}"


def left(age: float | None, needed: Sequence[Need]) -> int:
    """Whole seconds until the age is more than every need; at least 1 while it is not."""
    return max(0, math.floor(max(need.seconds for need in needed) - (age or 0.0)) + 1)


def longest_former(lives: Iterable[Life]) -> float | None:
    """The longest of the lives that failed by themselves, in seconds; None where none is known.

    A life that somebody ended, or whose exit code nobody told, says nothing about when the service dies.
    """
    known = [
        life.seconds
        for life in lives
        if life.seconds is not None
        and not life.running
        and (life.oom or (life.failed and life.exit_code not in TOLD_TO_END))
    ]
    return max(known, default=None)


def judge(service: Service, former: Sequence[Life], before: Sequence[Service]) -> Lived:
    """One service as it is now. ``former`` are all its lives that are known, of both looks; ``before`` are
    the containers that were this service at the first look, none where it was added since."""
    sample, label, added = service.latest, service.label, not before
    if service.item.get("vanished") or not sample:
        return Lived(label, "unproven", "it vanished while it was looked at", added=added)
    status = str(sample.get("status"))
    if not service.running:
        code = sample.get("exit_code")
        now = "waits for its next start after" if status == "restarting" else f"is {status} with"
        if status in ("exited", "created") and before and all(idle(one, status) for one in before):
            return Lived(label, "as_before", f"it does not run, as before: {status} with exit code {code}")
        return Lived(label, "down", f"it does not run: it {now} exit code {code}", added=added)
    check = service.item.get("healthcheck")
    health = (sample.get("health") or {}).get("status") if check else None
    age, needed = age_of(service), needs(check, health, longest_former(former))
    became, why = stand(status, health, age, needed)
    if became == "proven" and check and health != "healthy":
        became, why = "unproven", "it has a health check, and what Docker says of it is not known"
    remaining = left(age, needed) if became == "settling" else None
    return Lived(label, became, why, age, max(need.seconds for need in needed), remaining, added)


def idle(service: Service, status: str) -> bool:
    """Whether it was no running service at the first look either: a job that had done its work, or one that
    was never started."""
    sample = service.latest
    return not service.is_celery and sample.get("status") == status and sample.get("exit_code") in (0, None)


def counterparts(service: Service, stack: Stack) -> tuple[Service, ...]:
    """The containers of a stack that are the same service as one of another look: by label, else by Compose
    service, else by container name. None where it is not there any more."""
    same = stack.get(service.label)
    if same is not None and same.item.get("service") == service.item.get("service"):
        return (same,)
    if name := service.item.get("service"):
        return tuple(
            other
            for other in stack.services
            if other.item.get("service") == name and other.member == service.member
        )
    return tuple(other for other in stack.services if other.name == service.name)


def stands(before: Side, after: Side) -> tuple[Lived, ...]:
    """Every member of the stack, of both looks, and what else a cause is about: how it stands now."""
    named = {label for cause in before.diagnosis.cause_findings for label in cause.services}
    former: dict[str, list[Service]] = {}
    removed = []
    for old in before.stack.services:
        if not old.member and old.label not in named:
            continue
        found = counterparts(old, after.stack)
        for new in found:
            former.setdefault(new.label, []).append(old)
        if not found:
            removed.append(_removed(old, after))
    judged = []
    for new in after.stack.services:
        if new.member or new.label in former:
            olds = former.get(new.label, [])
            lives = [life for old in olds for life in before.courses.of(old.label).lives]
            lived = judge(new, (*lives, *after.courses.of(new.label).lives), olds)
            judged.append(_struck(lived, after))
    return tuple(sorted((*judged, *removed), key=lambda one: one.label))


def _struck(lived: Lived, after: Side) -> Lived:
    """However old the present life is, it proves nothing where something critical is still found there."""
    found = after.critical(lived.label)
    if found is None or lived.became not in ("proven", "settling"):
        return lived
    return replace(lived, became="unproven", why=f"{found.code} {found.name} is found on it", left=None)


def _removed(old: Service, after: Side) -> Lived:
    section = after.evidence.section("containers")
    if not section.readable:
        return Lived(old.label, "unproven", f"the containers could not be seen: {section.why}")
    if idle(old, "exited"):
        return Lived(old.label, "as_before", "it had done its work at the first look, and is gone since")
    return Lived(old.label, "removed", "it was removed from the stack, not mended")


def seconds(value: float) -> str:
    """Seconds as this page writes them: a tenth below ten seconds, whole above."""
    return f"{value:.1f} s" if value < 9.95 and value != int(value) else f"{value:.0f} s"


__all__ = [
    "STANDINGS",
    "Lived",
    "Need",
    "counterparts",
    "idle",
    "judge",
    "left",
    "longest_former",
    "needs",
    "seconds",
    "stand",
    "stands",
]
