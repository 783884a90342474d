"""The three verdicts on a beat: its process lives, it ticks, what it sends is done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from celery_triage.checks.beat.schedule import Beat, Entry
from celery_triage.checks.words import lasted, listed

#: Without a known interval a beat that sent something within this long (seconds) ticks: it is the longest
#: that Celery's own beat sleeps (``maxinterval``, recorded with 5.4 to 5.7).
LOOP_S = 300.0


@dataclass(frozen=True)
class Verdict:
    """``answer`` is yes, no or unknown; ``why`` a clause that says by what."""

    answer: str
    why: str


def alive(beat: Beat) -> Verdict:
    """Whether its process lives, by its container."""
    status = str(beat.service.latest.get("status") or "not seen")
    if status == "running":
        return Verdict("yes", f"it has run for {lasted(beat.age)}")
    return Verdict("no", f"its container is {status}")


def late(beat: Beat) -> list[Entry] | None:
    """The entries that are due and were not sent in time, where all whose time is known are: then beat does
    not tick. None where that cannot be known: the log does not tell, the schedule is not known, or nothing
    was due yet. An entry that was done lately was sent, whatever the log says."""
    if not beat.runs or beat.life is None or not beat.tells or not beat.entries:
        return None
    judged = [entry for entry in beat.entries if entry.period]
    if not judged:
        return None
    start = beat.now - beat.age
    over = [entry for entry in judged if beat.now - (beat.sent_at(entry) or start) > beat.late_s(entry)]
    if any(beat.done_lately(entry) for entry in judged):
        return []
    if len(over) < len(judged):
        return [] if beat.sent else None
    return over


def unfinished(beat: Beat) -> list[Entry]:
    """Where the log tells nothing: the entries whose runs came to their end once, and not any more, if no
    other's do."""
    judged = [entry for entry in beat.entries or () if beat.done_lately(entry) is not None]
    over = [entry for entry in judged if not beat.done_lately(entry) and beat.age > beat.late_s(entry)]
    return over if over and len(over) == len(judged) else []


def ticking(beat: Beat) -> Verdict:
    """Whether it sends what is due."""
    if not beat.runs:
        return Verdict("no", "it does not run")
    found = late(beat)
    if found:
        return Verdict("no", "; ".join(overdue(beat, entry) for entry in found[:3]))
    fresh = [entry for entry in beat.entries or () if beat.done_lately(entry)]
    if found is not None or (beat.sent and beat.now - beat.sent[-1][0] <= LOOP_S):
        if beat.sent:
            at, name, _, _ = beat.sent[-1]
            if beat.now - at <= LOOP_S or not fresh:
                return Verdict("yes", f"it sent {name} {lasted(max(0.0, beat.now - at))} ago")
    if fresh:
        return Verdict("yes", f"{listed([entry.name for entry in fresh], 3)} came to an end in time")
    if beat.entries is None:
        return Verdict("unknown", beat.unknown)
    if not beat.entries:
        return Verdict("unknown", f"the settings of {beat.teller} hold no schedule")
    if not beat.tells:
        return Verdict("unknown", f"its log does not tell what it sends ({beat.untold})")
    if not any(entry.period for entry in beat.entries):
        return Verdict("unknown", "all that it sends is due only at certain hours")
    return Verdict("unknown", "nothing has been due for long enough since it started")


def overdue(beat: Beat, entry: Entry) -> str:
    """How late an entry is, in words."""
    at = beat.sent_at(entry)
    if at is None:
        return f"{entry.name}, due {entry.text}, was not sent since it started {lasted(beat.age)} ago"
    return f"{entry.name}, due {entry.text}, was last sent {lasted(beat.now - at)} ago"


def delivered(beat: Beat, lost: Sequence[str] = ()) -> Verdict:
    """Whether what it sends is done. ``lost`` are clauses about what is known to arrive nowhere."""
    if lost:
        return Verdict("no", "; ".join(lost))
    if beat.entries is None:
        return Verdict("unknown", beat.unknown)
    known = [entry for entry in beat.entries if beat.done_lately(entry) is not None]
    good = [entry for entry in known if beat.done_lately(entry)]
    stale = [entry for entry in known if not beat.done_lately(entry)]
    if stale:
        ages = [f"{entry.name} was last done {lasted(done_ago(beat, entry))} ago" for entry in stale[:3]]
        return Verdict("no", "; ".join(ages))
    if good:
        entry = max(good, key=lambda one: beat.done_at(one) or 0.0)
        return Verdict("yes", f"{entry.name} was last done {lasted(done_ago(beat, entry))} ago")
    if not beat.entries:
        return Verdict("unknown", f"the settings of {beat.teller} hold no schedule")
    return Verdict("unknown", "no result of its tasks that tells the time is stored")


def done_ago(beat: Beat, entry: Entry) -> float:
    """Seconds since a run of this entry's task came to its end."""
    return max(0.0, (beat.asked or 0.0) - (beat.done_at(entry) or 0.0))
