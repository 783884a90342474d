"""Before and after: which causes are gone, what is left, what is new, and what is not proven; pure.

"Resolved" asks for all of it at once: every cause is gone and the rule that found it says so now, nothing new
has come, every service is still there, has lived longer than its proof needs, is not called unhealthy, and
every worker is seen to take work. Whatever of that is not seen is named; it never counts as seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from celery_triage import core
from celery_triage.model import SCHEMA, Finding, plain
from celery_triage.report.changes import Changes, between
from celery_triage.report.lived import Lived, counterparts, idle, judge
from celery_triage.report.points import Point, points
from celery_triage.report.ps import status
from celery_triage.report.side import NotReadable, Side, read
from celery_triage.show import units
from celery_triage.stack import Service

RESULTS = ("not_resolved", "settling", "not_proven", "resolved")
#: Exit codes of ``compare``.
EXIT_CODES = {"resolved": 0, "settling": 1, "not_proven": 1, "not_resolved": 2}
#: What can become of a cause.
FATES = ("left", "removed", "unproven", "settling", "gone")


class Swapped(ValueError):
    """The look that should be the later one was taken before the other; the text is one sentence."""


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


@dataclass(frozen=True)
class Comparison:
    """All that two looks at one stack tell of the cure. ``doubts`` are sentences that forbid to call anything
    resolved although no single cause or service is the reason."""

    before: Side
    after: Side
    causes: tuple[Judged, ...]
    new: tuple[New, ...]
    services: tuple[Lived, ...]
    points: tuple[Point, ...]
    changes: Changes
    doubts: tuple[str, ...] = ()

    @property
    def result(self) -> str:
        """One of RESULTS. ``settling``: time is missing (perhaps not only time); ``not_proven``: something is
        missing that time alone does not bring."""
        fates = {cause.became for cause in self.causes} | {lived.became for lived in self.services}
        if fates & {"left", "removed", "down"} or self.new:
            return "not_resolved"
        if "settling" in fates:
            return "settling"
        return "not_proven" if "unproven" in fates or self.doubts or self.unseen else "resolved"

    @property
    def unseen(self) -> tuple[Point, ...]:
        """The points without which nothing is resolved, and that are not proven."""
        return tuple(point for point in self.points if point.needed and not point.proven)

    @property
    def left(self) -> int | None:
        """Seconds until all services that are too young could have proven themselves; None where none is."""
        return max((lived.left for lived in self.services if lived.left is not None), default=None)

    @property
    def open(self) -> tuple[str, ...]:
        """Everything that forbids the word "resolved", one sentence each."""
        judged = [one for one in self.causes if one.became in ("left", "unproven")]
        causes = [f"{one.finding.title}: {one.why}" for one in judged]
        new = [f"new: {one.finding.title} ({one.why})" for one in self.new]
        reasons: dict[str, list[str]] = {}
        for one in self.services:
            if one.became not in ("proven", "as_before"):
                reasons.setdefault(one.why, []).append(one.label)
        lived = [f"{units.listed(names)}: {why}" for why, names in reasons.items()]
        unseen = [f"{one.service}: that it {one.what} is not proven: {one.why}" for one in self.unseen]
        return (*causes, *new, *lived, *unseen, *self.doubts)

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        said = {name: [one for one in self.causes if one.became == name] for name in FATES}
        causes = units.count(len(self.causes), "cause")
        if self.result == "resolved":
            gone = f"{causes} gone" if self.causes else "there was no cause to begin with"
            return f"resolved: {gone}, nothing new, and every service has outlived what its proof needs"
        parts = [f"{units.count(len(said['left']), 'cause')} still there"] if said["left"] else []
        parts += [f"{len(self.new)} new"] if self.new else []
        for word, tail in (("removed", "was removed, not mended"), ("down", "does not run")):
            names = [one.label for one in self.services if one.became == word]
            tail = tail if len(names) < 2 else tail.replace("was", "were").replace("does", "do")
            parts += [f"{units.listed(names)} {tail}"] if names else []
        young = [one.label for one in self.services if one.became == "settling"]
        parts += [f"{units.listed(young)} settling, {self.left} s left"] if young else []
        doubtful = [one.label for one in self.services if one.became == "unproven"]
        parts += [f"{units.listed(doubtful)} not proven"] if doubtful else []
        others = len([one for one in said["unproven"] if not set(one.finding.services) & set(doubtful)])
        others += len(self.doubts) + len([one for one in self.unseen if one.service not in young])
        parts += [f"{units.count(others, 'thing')} not proven"] if others else []
        gone = f" ({len(said['gone'])} of {causes} gone)" if self.causes else ""
        return f"{self.result.replace('_', ' ')}: {'; '.join(parts)}{gone}"


def compare(before: Side, after: Side) -> Comparison:
    """Judge the second look by the first. Swapped where the second was taken before the first."""
    first, second = before.evidence.taken_at, after.evidence.taken_at
    if (units.between(first, second) or 0.0) < 0:
        times = f"AFTER was taken at {units.moment(second)}, earlier than BEFORE ({units.moment(first)})"
        raise Swapped(f"{times}; they seem to be swapped")
    services = stands(before, after)
    causes = [_judged(cause, before, after, services) for cause in before.diagnosis.cause_findings]
    lingering, new = _new(before, after)
    seen = points(after.evidence, after.stack, after.courses, services)
    return Comparison(
        before,
        after,
        (*causes, *lingering),
        tuple(new),
        services,
        seen,
        between(before.evidence, after.evidence),
        tuple(_doubts(before, after)),
    )


def same(one: Finding, other: Finding, first: Side, second: Side) -> bool:
    """Whether two findings of two looks are about the same thing: code, object, and a service in common."""
    if one.code != other.code or one.object != other.object:
        return False
    mine, theirs = first.named(one), second.named(other)
    return bool(mine & theirs) or not (mine or theirs)


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
            removed.append(_removed(old))
    judged = []
    for new in after.stack.services:
        if new.member or new.label in former:
            olds = former.get(new.label, [])
            lives = [life for old in olds for life in before.courses.of(old.label).lives]
            judged.append(judge(new, (*lives, *after.courses.of(new.label).lives), olds))
    return tuple(sorted((*judged, *removed), key=lambda one: one.label))


def _removed(old: Service) -> Lived:
    if idle(old, "exited"):
        return Lived(old.label, "as_before", "it had done its work at the first look, and is gone since")
    return Lived(old.label, "removed", "it was removed from the stack, not mended")


def _judged(cause: Finding, before: Side, after: Side, services: Iterable[Lived]) -> Judged:
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
        if held := [one for one in own if one.became == became]:
            fate = "settling" if became == "settling" else "unproven"
            left = max((one.left for one in held if one.left), default=None)
            names = units.listed([one.label for one in held])
            word = {"down": "not running", "unproven": f"not proven ({held[0].why})"}.get(
                became, f"settling, {left} s left"
            )
            return Judged(cause, fate, f"{quiet}; {names} {word}", left=left)
    return Judged(cause, "gone", quiet)


def _of(cause: Finding, before: Side, after: Side, services: Iterable[Lived]) -> list[Lived]:
    """The standings of the services that a cause is about."""
    labels = set(cause.services)
    for label in cause.services:
        old = before.stack.get(label)
        if old is not None:
            labels |= {new.label for new in counterparts(old, after.stack)}
    return [lived for lived in services if lived.label in labels]


def _new(before: Side, after: Side) -> tuple[list[Judged], list[New]]:
    """The causes of the second look that were none at the first: those that were there as a consequence of
    something else, and those that are new."""
    known = before.diagnosis.cause_findings
    lingering, new = [], []
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
        new.append(New(finding, why))
    return lingering, new


def _lingers(finding: Finding, before: Side) -> str:
    by = next((one for one in before.diagnosis.findings if one.id == finding.explained_by), None)
    if by is None:
        return f"{finding.code} finds it still, and worse than before"
    return f"it was taken for a consequence of “{by.title}”, and is still there"


def _doubts(before: Side, after: Side) -> list[str]:
    """Why "nothing new" cannot be said although nothing new was found."""
    found = [f"core evidence is missing: {why}" for why in core.missing(after.evidence)]
    if before.evidence.target != after.evidence.target:
        found.append(
            f"the two looks are at different targets: {before.evidence.target} and {after.evidence.target}"
        )
    causes = {cause.code for cause in before.diagnosis.cause_findings}
    for outcome in after.diagnosis.outcomes:
        earlier = before.outcome(outcome.code)
        judged = earlier is not None and earlier.outcome in ("quiet", "fired")
        if outcome.code in causes:
            continue  # said where that cause is judged
        if outcome.outcome == "broken":
            found.append(f"{outcome.code} {outcome.name} broke, a fault of this tool: {outcome.why}")
        elif outcome.outcome == "unknown" and judged:
            found.append(f"{outcome.code} {outcome.name} could not judge this time: {outcome.why}")
    return found


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as the published JSON (``--json``): schema 1, see ``data/comparison.schema.json``."""
    sides = {
        name: {
            "taken_at": side.evidence.taken_at,
            "verdict": side.diagnosis.verdict,
            "remarks": list(side.remarks),
        }
        for name, side in (("before", comparison.before), ("after", comparison.after))
    }
    return {
        "schema": SCHEMA,
        "result": comparison.result,
        "headline": comparison.headline,
        "target": comparison.after.evidence.target,
        "seconds_left": comparison.left,
        **sides,
        "causes": [
            {
                **_named(one.finding),
                "id": one.finding.id,
                "became": one.became,
                "why": one.why,
                "still_on": list(one.services),
                "seconds_left": one.left,
                "verify": list(one.finding.verify),
            }
            for one in comparison.causes
        ],
        "new": [
            {
                **_named(one.finding),
                "severity": one.finding.severity,
                "state": one.finding.state,
                "why": one.why,
            }
            for one in comparison.new
        ],
        "services": [
            {
                "service": one.label,
                "became": one.became,
                "why": one.why,
                "age": one.age,
                "needed": one.needed,
                "seconds_left": one.left,
                "added": one.added,
                "before": _status(comparison.before, one.label),
                "after": _status(comparison.after, one.label),
            }
            for one in comparison.services
        ],
        "verification": [plain(point) for point in comparison.points],
        "changes": [plain(change) for change in comparison.changes.found],
        "not_proven": list(comparison.open),
    }


def _named(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "name": finding.name,
        "title": finding.title,
        "object": finding.object,
        "services": list(finding.services),
    }


def _status(side: Side, label: str) -> str | None:
    service = side.stack.get(label)
    return status(service.latest) if service else None


__all__ = [
    "EXIT_CODES",
    "FATES",
    "RESULTS",
    "Comparison",
    "Judged",
    "New",
    "NotReadable",
    "Side",
    "Swapped",
    "as_json",
    "compare",
    "read",
    "same",
    "stands",
]
