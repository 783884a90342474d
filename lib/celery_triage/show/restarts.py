"""Who restarts, how often, and how each life ends."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from . import causal, timeline, units
from .output import Cell, Shown, table
from .triage import explaining

if TYPE_CHECKING:
    from ..notebook import Look

LEGEND = (
    ("ok", "bar", "alive, ended well or still running"),
    ("critical", "bar", "a life that ended with an error"),
    ("warning", "bar", "stopped by a signal"),
    ("calm", "d", "health changed"),
)


def services(look: Look, service: str = "") -> Shown:
    """``docker ps`` with sense: state, lives, how each ended, health, age, and the causes that concern it."""
    order = {finding.id: n for n, finding in enumerate(look.diagnosis.cause_findings, 1)}
    rows = []
    for one in look.stack.services:
        if service and one.label != service:
            continue
        latest = one.latest
        status = "gone" if one.item.get("vanished") else str(latest.get("status") or "unknown")
        lives = look.lives_of(one.label)
        concern = [f"{order[f.id]} {f.code}" for f in explaining(look.diagnosis, one.label)]
        rows.append(
            (
                Cell(one.label, code=True),
                one.role if one.member else f"{one.role} (neighbour)",
                _state(status, latest),
                len(lives) or None,
                endings(lives) or None,
                health(latest, one.item),
                units.duration(units.between(one.item.get("created"), look.evidence.taken_at)),
                ", ".join(concern) or None,
            )
        )
    return table(
        ("Service", "Role", "State", "Lives seen", "How they ended", "Health", "Age", "Causes"),
        rows,
        empty="No container could be read.",
    )


def _state(status: str, latest: dict) -> Cell:
    """The state with how long it has lasted; red for what is not up."""
    if status == "running":
        return Cell(
            f"up {units.duration(units.between(latest.get('started_at'), latest.get('t')))}", tone="ok"
        )
    if status == "restarting":
        return Cell("restarting", tone="critical")
    if status in ("exited", "dead"):
        since = units.duration(units.between(latest.get("finished_at"), latest.get("t")))
        return Cell(
            f"{status} {since} ago, {units.ending(latest.get('exit_code'), bool(latest.get('oom_killed')))}",
            tone="critical",
        )
    return Cell(status, tone="warning")


def health(latest: dict, item: dict) -> Cell:
    """What the health check says; that there is none is said too."""
    found = latest.get("health") or {}
    if not found:
        return Cell("no check" if not item.get("healthcheck") else "unknown", tone="quiet")
    word = str(found.get("status"))
    streak = found.get("failing_streak") or 0
    tone = {"healthy": "ok", "unhealthy": "critical"}.get(word, "warning")
    return Cell(word + (f", {streak} failures in a row" if streak else ""), tone=tone)


def endings(lives) -> str:
    """How the ended lives ended, the most frequent first: ``refused its command line (exit 2) × 14``."""
    ended = Counter(units.ending(life.exit_code, bool(life.oom)) for life in lives if life.end)
    return "\n".join(f"{words} × {number}" if number > 1 else words for words, number in ended.most_common())


def table_of_lives(look: Look, service: str = "", last: int = 12) -> Shown:
    """Each life with its start, length and end, newest first, at most ``last`` for each service."""
    rows = []
    for one in look.stack.members:
        if service and one.label != service:
            continue
        for life in list(reversed(look.lives_of(one.label)))[:last]:
            lived = units.between(life.start, life.end or look.evidence.taken_at)
            running = not life.end
            rows.append(
                (
                    Cell(one.label, code=True),
                    units.clock(life.start),
                    units.duration(lived) if lived is not None else None,
                    Cell("still running", tone="ok")
                    if running
                    else units.ending(life.exit_code, bool(life.oom)),
                )
            )
    return table(
        ("Service", "Started", "Lived", "End"),
        rows,
        empty="No life of a container was seen.",
        note=f"The newest {last} lives of each service, times in UTC.",
    )


def plot(look: Look, service: str = "") -> Shown:
    """The lives of each container on one time line, with how they ended and each change of health."""
    rows, moments = [], []
    taken = timeline.seconds(look.evidence.taken_at)
    health_marks = _health_changes(look)
    for one in look.stack.services:
        if service and one.label != service:
            continue
        bars = []
        for life in look.lives_of(one.label):
            start = timeline.seconds(life.start)
            end = timeline.seconds(life.end) or taken
            if end is None:
                continue
            start = end if start is None else start
            bars.append(timeline.Bar(start, end, _role(life), open=not life.end))
            moments.append(start)
        lives = look.lives_of(one.label)
        rows.append(
            timeline.Row(
                one.label,
                bars,
                health_marks.get(one.label, ()),
                _words(one, lives),
                "critical" if any(bar.role == "critical" for bar in bars[-2:]) else "soft",
            )
        )
    if taken is None or not moments:
        return table((), [], empty="No life of a container was seen, so there is no time line.")
    begin = _begin(look, moments, taken)
    alt = "Lives over time. " + " ".join(f"{row.label}: {row.end}." for row in rows)
    caption = "Each bar is one life of a container; gaps are the waits before the next start. Times in UTC."
    return timeline.timeline(rows, begin, taken, alt, caption, LEGEND)


def _begin(look: Look, moments: list[float], taken: float) -> float:
    """Where the axis begins: with the events that were kept, not with a neighbour's start days ago."""
    since = timeline.seconds((look.evidence.data("events") or {}).get("since"))
    ended = [
        timeline.seconds(life.start)
        for one in look.stack.services
        for life in look.lives_of(one.label)
        if life.end and life.start
    ]
    first = min([moment for moment in ended if moment] or moments)
    return max(since, first) - 5 if since and since > first else max(first - 5, taken - 7 * 86400)


def _health_changes(look: Look) -> dict[str, list[tuple[float, str, str]]]:
    found: dict[str, list[tuple[float, str, str]]] = {}
    for event in (look.evidence.data("events") or {}).get("items", ()):
        moment = timeline.seconds(event.get("t"))
        if event.get("action") == "health_status" and moment:
            found.setdefault(str(event.get("label")), []).append((moment, "calm", "d"))
    return found


def _role(life) -> str:
    if not life.end or life.exit_code == 0:
        return "ok"
    return "warning" if life.exit_code in (143, 130) and not life.oom else "critical"


def _words(one, lives) -> str:
    ended = [life for life in lives if life.end]
    if not ended:
        return "up, one life" if lives else "no life seen"
    codes = Counter(life.exit_code for life in ended)
    code, number = codes.most_common(1)[0]
    return (
        f"{units.count(len(lives), 'life', 'lives')}, exit {code} × {number}"
        if code is not None
        else units.count(len(lives), "life", "lives")
    )


def starts(look: Look) -> Shown:
    """How far each start gets, what stops it and what waits behind."""
    from ..checks import RULES, STEPS

    found = []
    for one in look.stack.celery:
        marks: dict[str, list[tuple[str, str]]] = {}
        for finding in look.diagnosis.cause_findings:
            state = finding.service_states.get(one.label, finding.state)
            step = RULES[finding.code].step if finding.code in RULES else None
            if one.label in finding.services and step and state in ("active", "latent"):
                marks.setdefault(step, []).append((state, finding.code))
        lives = look.lives_of(one.label)
        found.append(causal.Start(one.label, marks, look.reached(one.label), _words(one, lives)))
    return causal.picture(found, STEPS)
