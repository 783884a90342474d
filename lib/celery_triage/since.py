"""What has changed since the last look at a target: decided here, and nowhere else. Pure.

A finding is the same in two looks when its fingerprint is (code, services, object). "Could not look" never
reads as "gone": a finding that is missing counts as resolved only where its rule could judge, and no service
that it was about is too young to be believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .lives import seconds_of
from .model import worst

#: A finding that came or went so often within this time is flapping: came, went, came again. The time is
#: longer than the back-off of a restart loop and shorter than a working day.
FLAPS, FLAP_WINDOW_S = 3, 6 * 3600
#: So long what is resolved is remembered, so that a return can be told from something new (s).
REMEMBERED_S = 7 * 24 * 3600
#: An unknown verdict is news only when it was unknown twice: one look that timed out is none.
UNKNOWN_TWICE = 2

PRESENT, FLAPPING = "present", "flapping"


@dataclass(frozen=True)
class Seen:
    """One finding over several looks. ``turns`` are the times (ISO 8601) at which it came or went, ``doubt``
    says why it is kept as present although the last look did not find it, ``told`` is the status that was
    last handed over (empty: none)."""

    fingerprint: str
    code: str
    name: str
    severity: str
    title: str
    services: tuple[str, ...]
    object: str
    cause: bool
    first_seen: str
    last_seen: str
    present: bool = True
    turns: tuple[str, ...] = ()
    doubt: str = ""
    told: str = ""

    def status(self, now: str) -> str:
        """``flapping``, ``present`` or empty for what is gone."""
        if len(_recent(self.turns, now)) >= FLAPS:
            return FLAPPING
        return PRESENT if self.present else ""


@dataclass(frozen=True)
class Event:
    """One change: ``new``, ``failing`` (it flapped and now stays), ``flapping`` or ``resolved``."""

    what: str
    seen: Seen
    why: str = ""


@dataclass(frozen=True)
class State:
    """What is known of one target after a look: every finding that is there or was, the verdict (never better
    than what is not proven to be gone), and the verdict that was handed over last. ``unknowns`` counts the
    looks in a row that came to unknown. ``told_verdict`` is empty before anything was."""

    target: str = ""
    taken_at: str = ""
    verdict: str = ""
    told_verdict: str = ""
    unknowns: int = 0
    seen: Mapping[str, Seen] = field(default_factory=dict)

    @property
    def open(self) -> tuple[Seen, ...]:
        """What is there, or not proven to be gone, worst first."""
        rank = {"critical": 0, "warning": 1}
        there = (one for one in self.seen.values() if one.present)
        return tuple(
            sorted(there, key=lambda one: (not one.cause, rank.get(one.severity, 2), one.fingerprint))
        )


@dataclass(frozen=True)
class Change:
    """What is to be handed over: the events, and the verdict before (None at the first look) and now. False
    where there is nothing."""

    before: str | None
    now: str
    events: tuple[Event, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.events) or (self.before or "ok") != self.now


def look(state: State, summary: Mapping[str, Any]) -> tuple[State, Change]:
    """The state after one more look, and what has changed since what was handed over last.

    ``summary`` is a diagnosis as ``summary.summary`` writes it. The new state counts the change as not yet
    told: `told` marks it. A first look at a target tells what is wrong and says nothing where all is well.
    """
    now = str(summary.get("taken_at") or "")
    found = {fingerprint(one): one for one in reported(summary)}
    causes = set(summary.get("causes") or ())
    seen: dict[str, Seen] = {}
    for key, finding in found.items():
        seen[key] = _found(state.seen.get(key), key, finding, str(finding.get("id")) in causes, now)
    why: dict[str, str] = {}
    for key, old in state.seen.items():
        if key in seen:
            continue
        if not old.present:
            seen[key] = old
            continue
        doubt = _doubt(old, summary)
        if doubt:
            seen[key] = replace(old, doubt=doubt)
        else:
            seen[key] = replace(old, present=False, doubt="", turns=(*_recent(old.turns, now), now))
            why[key] = _gone(old, summary)
    seen = {key: one for key, one in seen.items() if one.present or one.told or not _old(one, now)}
    doubted = (one.severity for one in seen.values() if one.present and one.doubt)
    verdict = worst([str(summary.get("verdict") or "unknown"), *doubted])
    # What is not proven to be gone stays, and does not hide that nobody can look any more.
    unknowns = state.unknowns + 1 if summary.get("verdict", "unknown") == "unknown" else 0
    target = str(summary.get("target") or state.target)
    after = State(target, now, verdict, state.told_verdict, unknowns, seen)
    events = tuple(
        Event(what, one, why.get(one.fingerprint, "")) for one in seen.values() if (what := _event(one, now))
    )
    return after, Change(state.told_verdict or None, _verdict_to_tell(after) or "ok", _ordered(events))


def told(state: State) -> State:
    """The same state, its change handed over."""
    seen = {key: replace(one, told=one.status(state.taken_at)) for key, one in state.seen.items()}
    kept = {key: one for key, one in seen.items() if one.present or one.told or not _old(one, state.taken_at)}
    return replace(state, seen=kept, told_verdict=_verdict_to_tell(state))


def between(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is different between two reports of one target, as fingerprints: ``new``, ``still``, ``resolved``
    and ``unproven`` (not seen, but not proven to be gone either). Without a report before all is new."""
    first, second = {fingerprint(one) for one in reported(before or {})}, set()
    for one in reported(after):
        second.add(fingerprint(one))
    gone: dict[str, list[str]] = {"resolved": [], "unproven": []}
    for one in reported(before or {}):
        key = fingerprint(one)
        if key not in second:
            old = _found(None, key, one, False, "")
            gone["unproven" if _doubt(old, after) else "resolved"].append(key)
    return {"new": sorted(second - first), "still": sorted(first & second), **gone}


def reported(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The findings that count as open: above notice, and not healed."""
    findings = summary.get("findings")
    told = [one for one in findings if isinstance(one, dict)] if isinstance(findings, list) else []
    return [
        one
        for one in told
        if one.get("severity") in ("critical", "warning") and one.get("state") != "history"
    ]


def fingerprint(finding: Mapping[str, Any]) -> str:
    """As ``model.Finding.fingerprint``, of a finding read from JSON."""
    services = finding.get("services") if isinstance(finding.get("services"), list) else []
    return "|".join(
        (str(finding.get("code")), ",".join(sorted(map(str, services))), str(finding.get("object") or ""))
    )


def _found(old: Seen | None, key: str, finding: Mapping[str, Any], cause: bool, now: str) -> Seen:
    came = old is None or not old.present
    turns = _recent(old.turns if old else (), now)
    return Seen(
        fingerprint=key,
        code=str(finding.get("code")),
        name=str(finding.get("name")),
        severity=str(finding.get("severity")),
        title=str(finding.get("title")),
        services=tuple(sorted(map(str, finding.get("services") or ()))),
        object=str(finding.get("object") or ""),
        cause=cause,
        first_seen=now if came else old.first_seen,
        last_seen=now,
        turns=(*turns, now) if came else turns,
        told=old.told if old else "",
    )


def _doubt(old: Seen, summary: Mapping[str, Any]) -> str:
    """Why a finding that is missing from a look cannot be called gone; empty where it can."""
    for check in summary.get("checks") or ():
        if check.get("code") == old.code and check.get("outcome") in ("unknown", "broken"):
            return f"{old.code} could not be checked: {check.get('why') or 'its evidence could not be had'}"
    if summary.get("core_missing"):
        return "core evidence could not be had"
    for sentence in summary.get("settling") or ():
        if str(sentence).partition(":")[0] in old.services:
            return f"settling: {sentence}"
    return ""


def _gone(old: Seen, summary: Mapping[str, Any]) -> str:
    there = summary.get("services")
    missing = [name for name in old.services if isinstance(there, list) and name not in there]
    if missing and len(missing) == len(old.services):
        return f"removed, not mended: {', '.join(missing)} is no service of the stack any more"
    return ""


def _event(one: Seen, now: str) -> str:
    status = one.status(now)
    if status == one.told:
        return ""
    if status == FLAPPING:
        return "flapping"
    if status == PRESENT:
        return "failing" if one.told == FLAPPING else "new"
    return "resolved" if one.told else ""


def _verdict_to_tell(state: State) -> str:
    """What is handed over as the verdict: one look that came to unknown is no news, two in a row are."""
    if not state.unknowns:
        return state.verdict
    return "unknown" if state.unknowns >= UNKNOWN_TWICE else state.told_verdict


def _ordered(events: Iterable[Event]) -> tuple[Event, ...]:
    kinds = ("new", "flapping", "failing", "resolved")
    return tuple(
        sorted(events, key=lambda one: (kinds.index(one.what), not one.seen.cause, one.seen.fingerprint))
    )


def _recent(turns: Iterable[str], now: str) -> tuple[str, ...]:
    """The turns within the window; a time that cannot be read stays, for it proves nothing."""
    at = seconds_of(now)
    times = [(turn, seconds_of(turn)) for turn in turns]
    return tuple(turn for turn, then in times if at is None or then is None or at - then <= FLAP_WINDOW_S)


def _old(one: Seen, now: str) -> bool:
    then, at = seconds_of(one.last_seen), seconds_of(now)
    return then is not None and at is not None and at - then > REMEMBERED_S


__all__ = ["Change", "Event", "Seen", "State", "between", "fingerprint", "look", "reported", "told"]
