"""Who restarts, how often, and how each life ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from markupsafe import Markup

from ..exits import meaning
from . import causal, timeline, units
from .errors import first_error
from .output import Cell, Shown, sentence, table
from .triage import explaining

if TYPE_CHECKING:
    from ..lives import Life
    from ..notebook import Look

#: Windows of the time line, in seconds: 15 min, 1 h, 6 h, a day, a week, a month.
WINDOWS = (900, 3600, 21600, 86400, 604800, 2592000)
LEGEND = (
    ("ok", "bar", "running, or ended without error"),
    ("critical", "bar", "ended with an error"),
    ("warning", "bar", "stopped from outside"),
    ("soft", "bar", "exit code not known"),
    ("calm", "d", "health changed"),
    ("ink", "x", "first error in the log"),
)
#: Rows of a picture up to which it keeps the order of the services; beyond it the troubled ones come first.
IN_ORDER = 12


def services(look: Look, service: str = "", *, anchors: Collection[str] = ()) -> Shown:
    """``docker ps`` with sense: state, lives, how each ended, health, age, and the causes that concern it.
    ``anchors`` are the causes that have a card on the same page, to which their numbers lead."""
    order = {finding.id: n for n, finding in enumerate(look.diagnosis.cause_findings, 1)}
    rows = []
    for one in look.services(service):
        latest = one.latest
        status = "gone" if one.item.get("vanished") else str(latest.get("status") or "unknown")
        lives = look.lives_of(one.label)
        concern = [(f.id, f"{order[f.id]} {f.code}") for f in explaining(look.diagnosis, one.label)]
        rows.append(
            (
                Cell(one.label, code=True),
                one.role if one.member else f"{one.role} (neighbour)",
                _state(status, latest),
                seen(lives),
                endings(lives) or None,
                health(latest, one.item),
                units.duration(units.between(one.item.get("created"), look.evidence.taken_at)),
                _concern(concern, anchors) if concern else None,
            )
        )
    if len(rows) > IN_ORDER:
        rows.sort(key=lambda row: (row[2].tone == "ok", row[-1] is None))
    return table(
        ("Service", "Role", "State", "Lives seen", "How they ended", "Health", "Age", "Causes"),
        rows,
        empty="No container could be read.",
    )


def _concern(causes: Sequence[tuple[str, str]], anchors: Collection[str]) -> Cell:
    """Causes with number and code, each unbroken; a link where its card is on the page."""
    shown = [
        Markup('<a href="#{}">{}</a>').format(id, words.replace(" ", "\xa0"))
        if id in anchors
        else words.replace(" ", "\xa0")
        for id, words in causes
    ]
    return Cell(", ".join(words for _, words in causes), html=Markup(", ").join(shown))


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


def seen(lives: Sequence[Life]) -> Cell:
    """How many lives were seen, and the number of the last one where there were more."""
    if not lives:
        return Cell("none", tone="quiet")
    more = f", last no. {lives[-1].number}" if lives[-1].number > len(lives) else ""
    return Cell(f"{len(lives)}{more}", number=not more)


def end_of(life: Life) -> str:
    """How one life ended, in words."""
    if life.running:
        return "still running"
    if life.exit_code is None:
        return "exit code not known"
    words = units.ending(life.exit_code, life.oom and life.exit_code == 137)
    if life.asked:
        words += ", stopped from outside"
    return words


def endings(lives: Sequence[Life]) -> str:
    """How the ended lives ended, the most frequent first: ``refused its command line (exit 2) × 14``."""
    ended = [life for life in lives if not life.running]
    known = Counter(end_of(life) for life in ended if life.exit_code is not None).most_common()
    unknown = Counter(end_of(life) for life in ended if life.exit_code is None).most_common()
    counted = ((_unbroken(words), number) for words, number in known + unknown)
    return "\n".join(f"{words} ×\xa0{number}" if number > 1 else words for words, number in counted)


def _unbroken(words: str) -> str:
    """What stands in brackets on one line."""
    head, mark, tail = words.partition("(")
    return head + mark + tail.replace(" ", "\xa0")


def table_of_lives(look: Look, service: str = "", last: int = 12) -> Shown:
    """Each life with its start, length and end, newest first, at most ``last`` for each service."""
    rows = []
    for one in look.services(service, members=True):
        for life in list(reversed(look.lives_of(one.label)))[:last]:
            lines = f"{life.first_line} to {life.last_line}" if life.first_line else None
            tone = "ok" if life.running else "critical" if life.failed else ""
            rows.append(
                (
                    Cell(one.label, code=True),
                    life.number,
                    units.clock(life.start),
                    units.duration(life.seconds),
                    Cell(end_of(life), tone=tone),
                    lines,
                    life.told_by,
                )
            )
    return table(
        ("Service", "No.", "Started", "Lived", "End", "Log lines", "Told by"),
        rows,
        empty="No life of a container was seen.",
        note=f"At most the newest {last} lives of each service. Times in UTC.",
    )


def exit_codes(look: Look, service: str = "") -> Shown:
    """Each exit code that was seen, what it means here, and what shows it: the findings that concern the
    service, else the last words of its last life that ended so."""
    rows = []
    for one in look.services(service, members=True):
        ended = [life for life in look.lives_of(one.label) if not life.running and life.exit_code is not None]
        codes = Counter((life.exit_code, life.oom and life.exit_code == 137) for life in ended)
        for (code, oom), number in codes.most_common():
            words, decides = meaning(code, oom)
            last = [life for life in ended if life.exit_code == code][-1]
            rows.append(
                (
                    Cell(one.label, code=True),
                    code,
                    number,
                    (words[:1].upper() + words[1:] + ". " if words else "") + decides,
                    _evidence(look, one.label, last),
                )
            )
    return table(
        ("Service", "Exit code", "Times", "Means", "Shown by"),
        rows,
        empty="No life of a container has ended, as far as can be seen.",
    )


def _evidence(look: Look, label: str, life: Life) -> str:
    """What shows the reason of one end: causes that concern the service, its last words, its signal."""
    if life.asked:
        return f"Asked from outside ({life.signal or 'docker stop'})."
    causes = explaining(look.diagnosis, label)
    found = [f"{finding.code} {finding.name}: {finding.object}" for finding in causes]
    lines = (look.evidence.data(f"logs/{label}") or {}).get("lines") or ()
    said = [line[2].strip() for line in life.of(lines) if line[2].strip()]
    if found and life.failed:
        return "\n".join(found)
    return f"Its last words: {said[-1][:200]}" if said else "It said nothing."


def plot(look: Look, service: str = "") -> Shown:
    """The lives of each container on one time line, with how they ended and each change of health."""
    chosen = look.services(service)
    taken = timeline.seconds(look.evidence.taken_at)
    changes, errors = _health_changes(look), _first_errors(look)
    rows, begins = [], []
    for one in chosen:
        lives = look.lives_of(one.label)
        bars = [bar for bar in (_bar(life, taken) for life in lives) if bar]
        begins += [bar.start for bar in bars if not bar.open]
        troubled = bool(lives) and (lives[-1].failed or (len(lives) > 1 and lives[-2].failed))
        rows.append(
            timeline.Row(
                one.label,
                bars,
                [*changes.get(one.label, ()), *errors.get(one.label, ())],
                words(lives),
                "critical" if troubled else "soft",
            )
        )
    if len(rows) > IN_ORDER:
        rows.sort(key=lambda row: row.end_role != "critical")
    if taken is None or not any(row.bars for row in rows):
        return sentence("No life of a container was seen, so there is no time line.")
    begin = _begin(begins, [bar.start for row in rows for bar in row.bars], taken)
    older = sum(1 for row in rows for bar in row.bars if bar.end < begin)
    alt = "Lives over time. " + " ".join(f"{row.label}: {row.end}." for row in rows)
    caption = "Each bar is one life of a container, gaps are the waits before the next start. Times in UTC."
    caption += f" {units.count(older, 'older life', 'older lives')} not drawn." if older else ""
    return timeline.timeline(rows, begin, taken, alt, caption, LEGEND)


def _bar(life: Life, taken: float | None) -> timeline.Bar | None:
    """The stretch of one life; one whose start or end was not seen is a thin mark at what is known."""
    start, end = timeline.seconds(life.start), timeline.seconds(life.end)
    if life.running:
        end = taken
    start, end = (end if start is None else start), (start if end is None else end)
    if start is None or end is None:
        return None
    role = (
        "ok"
        if life.running or life.exit_code == 0
        else "warning"
        if life.asked
        else "critical"
        if life.failed
        else "soft"
    )
    return timeline.Bar(start, end, role, open=life.running)


def _begin(ended: Sequence[float], everything: Sequence[float], taken: float) -> float:
    """Where the axis begins: with the lives that ended, not with a neighbour's start weeks ago.

    The shortest window is taken that holds most of them, so that an old incident does not squeeze a new one.
    """
    inside = sorted(ended) or sorted(everything)
    for window in WINDOWS:
        recent = [moment for moment in inside if moment >= taken - window]
        if len(recent) >= 0.75 * len(inside):
            inside = recent
            break
    return inside[0] - 0.02 * max(taken - inside[0], 10.0)


def _health_changes(look: Look) -> dict[str, list[tuple[float, str, str]]]:
    found: dict[str, list[tuple[float, str, str]]] = {}
    for event in (look.evidence.data("events") or {}).get("items", ()):
        moment = timeline.seconds(event.get("t"))
        if event.get("action") == "health_status" and moment:
            found.setdefault(str(event.get("label")), []).append((moment, "calm", "d"))
    return found


def _first_errors(look: Look) -> dict[str, list[tuple[float, str, str]]]:
    """The first error line that is still in each log."""
    found: dict[str, list[tuple[float, str, str]]] = {}
    for label, section in look.evidence.under("logs").items():
        lines = (section.data or {}).get("lines") or () if section.readable else ()
        moment = timeline.seconds(first_error(lines))
        if moment is not None:
            found[label] = [(moment, "ink", "x")]
    return found


def words(lives: Sequence[Life]) -> str:
    """The lives in a few words: how many, and how most of them ended."""
    ended = [life for life in lives if not life.running]
    if not ended:
        return "one life, still running" if lives else "no life seen"
    known = Counter(life.exit_code for life in ended if life.exit_code is not None).most_common(1)
    lived = sorted(life.seconds for life in ended if life.seconds is not None)
    parts = [units.count(len(lives), "life", "lives")]
    parts += [f"exit {code}" + (f" × {number}" if number > 1 else "") for code, number in known]
    parts += [f"{units.duration(lived[len(lived) // 2])} each"] if len(lived) > 2 else []
    return ", ".join(parts)


def starts(look: Look) -> Shown:
    """How far each start gets, what stops it and what waits behind."""
    from ..checks.registry import RULES
    from ..checks.steps import STEPS, met_at

    found = []
    for one in look.services(celery=True):
        marks: dict[str, list[tuple[str, str]]] = {}
        for finding in look.diagnosis.cause_findings:
            rule = RULES.get(finding.code)
            step = rule.step_of(finding.name) if rule else ""
            state = finding.service_states.get(one.label, finding.state)
            if step and one.label in finding.services and state in ("active", "latent"):
                marks.setdefault(met_at(step, one), []).append((state, finding.code))
        found.append(causal.Start(one.label, marks, look.passed(one.label), words(look.lives_of(one.label))))
    return causal.picture(alike(found) if len(found) > IN_ORDER else found, STEPS)


def alike(starts: Sequence[causal.Start]) -> list[causal.Start]:
    """Starts that go equally far and are stopped by the same as one, those that something stops first."""
    held: dict[tuple, list[causal.Start]] = {}
    for one in starts:
        marks = tuple(sorted((step, tuple(found)) for step, found in one.marks.items()))
        held.setdefault((marks, frozenset(one.passed)), []).append(one)
    joined = [
        same[0]
        if len(same) == 1
        else replace(
            same[0],
            label=f"{same[0].label} and {len(same) - 1} more",
            end=units.count(len(same), "service") + " alike",
        )
        for same in held.values()
    ]
    return sorted(joined, key=lambda one: not one.marks)
