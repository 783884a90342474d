"""What became of each cause of a first look at the second one, and what is new; pure.

Findings of two looks are the same where code and object are, and a service is common to both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from celery_triage.checks import RULES
from celery_triage.model import Finding
from celery_triage.report.lived import Lived, counterparts
from celery_triage.report.side import Side
from celery_triage.show import units

#: What can become of a cause.
FATES = ("left", "removed", "unproven", "settling", "gone")


@dataclass(frozen=True)
class Judged:
    """What became of one cause of the first look: one of FATES, the sentence why, the services on which it is
    still there, the seconds that are left, and the finding of now where there is one."""

    finding: Finding
    became: str
    why: str
    services: tuple[str, ...] = ()
    left: int | None = None
    now: Finding | None = None


@dataclass(frozen=True)
class New:
    """A cause of the second look that the first one did not have. ``why``: how it can be new."""

    finding: Finding
    why: str


def same(one: Finding, other: Finding, first: Side, second: Side) -> bool:
    """Whether two findings of two looks are about the same thing: code, object, and a service in common."""
    if one.code != other.code or one.object != other.object:
        return False
    mine, theirs = first.named(one), second.named(other)
    return bool(mine & theirs) or not (mine or theirs)


def fate(cause: Finding, before: Side, after: Side, services: Iterable[Lived]) -> Judged:
    now = next(
        (
            one
            for one in after.diagnosis.findings
            if one.state != "history" and same(cause, one, before, after)
        ),
        None,
    )
    if now is not None:
        on = units.listed(now.services) if now.services else "the stack"
        why = f"{cause.code} finds it still, on {on} ({now.state})"
        return Judged(cause, "left", why, now.services, now=now)
    outcome = after.outcome(cause.code)
    if outcome is None:
        return Judged(cause, "unproven", f"this version has no rule {cause.code}, so nothing was asked")
    if outcome.outcome in ("unknown", "broken") or (outcome.outcome == "fired" and outcome.missing):
        return Judged(cause, "unproven", f"{cause.code} could not judge: {outcome.why}")
    own = _of(cause, before, after, services)
    quiet = {"quiet": f"{cause.code} looked and is quiet", "fired": f"{cause.code} finds it no more"}.get(
        outcome.outcome, f"{cause.code} does not apply any more: {outcome.why}"
    )
    gone = [one.label for one in own if one.became == "removed"]
    if own and len(gone) == len(own):
        return Judged(cause, "removed", f"{units.listed(gone)} left the stack: removed, not mended")
    quiet += f"; {units.listed(gone)} removed, not mended" if gone else ""
    for became in ("down", "unproven", "settling"):
        if held := [one for one in own if one.became == became and not _blamed(one.label, cause, after)]:
            fate = "settling" if became == "settling" else "unproven"
            left = max((one.left for one in held if one.left), default=None)
            names = units.listed([one.label for one in held])
            word = {"down": "not running", "unproven": f"not proven ({held[0].why})"}.get(
                became, f"settling, at most {left} s left"
            )
            return Judged(cause, fate, f"{quiet}; {names} {word}", left=left)
    return Judged(cause, "gone", quiet)


def _blamed(label: str, cause: Finding, after: Side) -> bool:
    """Whether something else is known to stop a service now, so that its state says nothing about a cause
    that was judged from the thing itself (its rule belongs to a step of the start)."""
    rule = RULES.get(cause.code)
    return bool(rule and rule.step) and after.critical(label) is not None


def _of(cause: Finding, before: Side, after: Side, services: Iterable[Lived]) -> list[Lived]:
    """The standings of the services that a cause is about."""
    labels = set(cause.services)
    for label in cause.services:
        old = before.stack.get(label)
        if old is not None:
            labels |= {new.label for new in counterparts(old, after.stack)}
    return [lived for lived in services if lived.label in labels]


def new(before: Side, after: Side) -> tuple[list[Judged], list[New]]:
    """The causes of the second look that were none at the first: those that were there as a consequence of
    something else, and those that are new."""
    known = before.diagnosis.cause_findings
    lingering, fresh = [], []
    for finding in after.diagnosis.cause_findings:
        if any(same(one, finding, before, after) for one in known):
            continue
        earlier = [one for one in before.diagnosis.findings if same(one, finding, before, after)]
        present = [one for one in earlier if one.state != "history"]
        if present:
            why = _lingers(present[0], before)
            lingering.append(Judged(present[0], "left", why, finding.services, now=finding))
            continue
        outcome = before.outcome(finding.code)
        if earlier:
            why = "it was healed at the first look and has come back"
        elif outcome is None or outcome.outcome in ("unknown", "broken"):
            why = f"{finding.code} could not judge at the first look"
        else:
            why = "the first look did not have it"
        fresh.append(New(finding, why))
    return lingering, fresh


def _lingers(finding: Finding, before: Side) -> str:
    by = next((one for one in before.diagnosis.findings if one.id == finding.explained_by), None)
    if by is None:
        return f"{finding.code} finds it still, and worse than before"
    return f"it was taken for a consequence of “{by.title}”, and is still there"


__all__ = ["FATES", "Judged", "New", "fate", "new", "same"]
