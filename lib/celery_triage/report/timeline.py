"""What happened when, as far as two looks at a stack tell; pure."""

from __future__ import annotations

from collections.abc import Callable

from celery_triage.lives import seconds_of
from celery_triage.report.compare import Comparison
from celery_triage.report.side import Side
from celery_triage.show import units
from celery_triage.stack import Service

#: Seconds within which starts count as one deed, from the first to the last.
AT_ONCE_S = 30.0


def events(comparison: Comparison) -> list[tuple[str, str]]:
    """The time line: (ISO time, sentence), in order."""
    before, after = comparison.before, comparison.after
    found = [
        (
            before.evidence.taken_at,
            f"first look: {before.diagnosis.verdict}, {units.count(len(before.diagnosis.causes), 'cause')}",
        ),
        (after.evidence.taken_at, f"second look: {comparison.headline}"),
    ]
    failed = [
        life
        for service in before.stack.members
        for life in before.courses.of(service.label).lives
        if life.failed and life.start
    ]
    if failed:
        first = min(failed, key=lambda life: seconds_of(life.start) or 0.0)
        found.append(
            (
                first.start or "",
                f"the first failed start that is still known: {first.label}, exit code {first.exit_code}",
            )
        )
    since = seconds_of(before.evidence.taken_at) or 0.0
    ends = [
        life
        for service in after.stack.members
        for life in after.courses.of(service.label).lives
        if life.failed and (seconds_of(life.end) or 0.0) > since
    ]
    if ends:
        last = max(ends, key=lambda life: seconds_of(life.end) or 0.0)
        found.append(
            (last.end or "", f"the last failure that is known: {last.label}, exit code {last.exit_code}")
        )
    found += _births(after, "container made anew", lambda one: one.item.get("created"), since)
    found += _births(after, "present life began", lambda one: one.latest.get("started_at"), since)
    return sorted(found, key=lambda one: seconds_of(one[0]) or 0.0)


def _births(
    side: Side, what: str, when: Callable[[Service], str | None], since: float
) -> list[tuple[str, str]]:
    """The containers that were made, or started, after a moment; those of one deed together."""
    moments = sorted(
        (at, when(one), one.label)
        for one in side.stack.services
        if one.running and (at := seconds_of(when(one)) or 0.0) > since
    )
    groups: list[list[tuple[float, str, str]]] = []
    for moment in moments:
        if groups and moment[0] - groups[-1][0][0] <= AT_ONCE_S:
            groups[-1].append(moment)
        else:
            groups.append([moment])
    return [(group[0][1] or "", f"{what}: {_named(group)}") for group in groups]


def _named(group: list[tuple[float, str, str]]) -> str:
    """Who was born in one deed, with the time of the last one where it is another than that of the first,
    under which all of them stand."""
    names = units.listed(sorted(label for *_, label in group))
    first, last = (units.moment(group[place][1]) for place in (0, -1))
    return names if first == last else f"{names} (the last of them at {units.clock(group[-1][1])})"


__all__ = ["events"]
