"""What does not forbid the word "resolved", and should be known all the same; pure."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.report.compare import Comparison
from celery_triage.report.side import Side
from celery_triage.show import units


def risks(comparison: Comparison) -> Iterator[str]:
    """What does not forbid the word "resolved", and should be known all the same."""
    before, after = comparison.before, comparison.after
    yield from unseen(comparison)
    causes = set(after.diagnosis.causes)
    for finding in after.diagnosis.findings:
        if finding.state != "history" and finding.id not in causes and finding.explained_by is None:
            yield f"{finding.severity}: {finding.title} ({finding.code})"
    for outcome in after.diagnosis.outcomes:
        if outcome.outcome in ("unknown", "broken"):
            yield f"{outcome.code} {outcome.name} could not judge: {outcome.why}"
    replicas = [_replicas(side) for side in (before, after)]
    for name, count in replicas[0].items():
        if 0 < replicas[1].get(name, 0) < count:
            yield f"{name} has {replicas[1][name]} of the {count} containers that it had"
    unwatched = [one.label for one in after.stack.workers if one.running and not one.item.get("healthcheck")]
    if unwatched:
        yield f"{units.listed(unwatched)}: no health check, so Docker sees only that the process lives"


def unseen(comparison: Comparison) -> Iterator[str]:
    """The points that are not proven on services which look well otherwise, the same of several together."""
    well = {one.label for one in comparison.services if one.became in ("proven", "settling")}
    grouped: dict[tuple[str, str], list[str]] = {}
    for one in comparison.points:
        if one.service in well and not (one.proven or one.needed or one.life):
            grouped.setdefault((one.what, one.why), []).append(one.service)
    for (what, why), names in grouped.items():
        yield f"{units.listed(names)}: that it {what} is not proven: {why}"


def _replicas(side: Side) -> dict[str, int]:
    found: dict[str, int] = {}
    for service in side.stack.members:
        name = str(service.item.get("service") or service.label)
        found[name] = found.get(name, 0) + 1
    return found


__all__ = ["risks", "unseen"]
