"""Before and after: which causes are gone, what is left, what is new, and what is not proven; pure.

"Resolved" asks for all of it at once: every cause is gone and the rule that found it says so now, nothing new
has come, every service is still there, has lived longer than its proof needs, is not called unhealthy, and
every worker is seen to take work. Whatever of that is not seen is named; it never counts as seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery_triage import core
from celery_triage.checks import RULES
from celery_triage.model import SCHEMA, Finding, plain
from celery_triage.report.changes import Changes, between
from celery_triage.report.fates import FATES, Judged, New, fate, new
from celery_triage.report.lived import Lived, stands
from celery_triage.report.points import Point, points
from celery_triage.report.ps import status
from celery_triage.report.side import NotReadable, Side, read
from celery_triage.show import units

RESULTS = ("not_resolved", "settling", "not_proven", "resolved")
#: Exit codes of ``compare``.
EXIT_CODES = {"resolved": 0, "settling": 1, "not_proven": 1, "not_resolved": 2}


class Swapped(ValueError):
    """The look that should be the later one was taken before the other; the text is one sentence."""


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
        """Seconds after which at the latest all services that are too young have lived long enough, if
        nothing else happens; None where none is."""
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
        parts += [f"{units.listed(young)} settling, at most {self.left} s left"] if young else []
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
    causes = [fate(cause, before, after, services) for cause in before.diagnosis.cause_findings]
    lingering, fresh = new(before, after)
    seen = points(before, after, services)
    return Comparison(
        before,
        after,
        (*causes, *lingering),
        tuple(fresh),
        services,
        seen,
        between(before.evidence, after.evidence),
        tuple(_doubts(before, after)),
    )


def _doubts(before: Side, after: Side) -> list[str]:
    """Why "nothing new" cannot be said although nothing new was found: a rule broke, or one that finds
    critical things could judge at the first look and cannot now. Of lesser rules that is an open risk."""
    found = [f"core evidence is missing: {why}" for why in core.missing(after.evidence)]
    if not before.stack.members:
        found.append("the first look has no containers of the target, so nobody knows what was there")
    if before.evidence.target != after.evidence.target:
        found.append(
            f"the two looks are at different targets: {before.evidence.target} and {after.evidence.target}"
        )
    causes = {cause.code for cause in before.diagnosis.cause_findings}
    for outcome in after.diagnosis.outcomes:
        earlier = before.outcome(outcome.code)
        rule = RULES.get(outcome.code)
        critical = rule is None or rule.severity == "critical"
        judged = critical and earlier is not None and earlier.outcome in ("quiet", "fired")
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
]
