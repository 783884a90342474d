"""What the logs say: errors over time, the last words of each life, and the lines that were read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import timeline, units
from .drawing import Drawing
from .errors import ERROR
from .output import Cell, Shown, render, sentence, stacked, table, ticks
from .restarts import end_of

if TYPE_CHECKING:
    from ..notebook import Look
    from ..signatures import Match

BINS = 75


def _sections(look: Look, service: str) -> dict[str, Any]:
    labels = look.labels(service)
    return {
        label: section
        for label, section in look.evidence.under("logs").items()
        if not service or label in labels
    }


def held(look: Look, service: str = "") -> Shown:
    """How much of each log was read: lines, span, and what was cut or could not be had."""
    rows = []
    for label, section in _sections(look, service).items():
        if not section.readable:
            rows.append(
                (
                    Cell(label, code=True),
                    None,
                    None,
                    Cell(f"{section.status.replace('_', ' ')}: {section.why}", tone="unknown"),
                    None,
                )
            )
            continue
        lines = section.data.get("lines") or []
        cut = section.data.get("cut")
        errors = sum(1 for line in lines if ERROR.search(line[2]))
        rows.append(
            (
                Cell(label, code=True),
                len(lines),
                errors or None,
                f"{units.moment(lines[0][0])} to {units.clock(lines[-1][0])}" if lines else "empty",
                _cut(cut),
            )
        )
    return table(("Log of", "Lines", "With errors", "From, to", "Cut"), rows, empty="No log was read.")


def _cut(cut: dict[str, Any] | None) -> str | None:
    if not cut:
        return None
    size = f" ({units.size(cut['bytes'])} left out)" if cut.get("bytes") else ""
    return f"{cut.get('why', '')}{size}"


def plot(look: Look, service: str = "") -> Shown:
    """Error lines over time, one strip for each service; the height of a bar is its number of lines."""
    moments: dict[str, list[float]] = {}
    everything: list[float] = []
    for label, section in _sections(look, service).items():
        moments[label] = []
        for time, _, text in (section.data or {}).get("lines", ()) if section.readable else ():
            at = timeline.seconds(time)
            if at is not None:
                everything.append(at)
                if ERROR.search(text):
                    moments[label].append(at)
    found = [at for ats in moments.values() for at in ats]
    if not found:
        return sentence("No log line with an error was read." if everything else "No log line was read.")
    end = timeline.seconds(look.evidence.taken_at) or max(everything)
    start = max(min(found), end - 7 * 86400)
    return _strips(moments, start - (end - start) * 0.02, end)


def _strips(moments: dict[str, list[float]], start: float, end: float) -> Shown:
    axis = timeline.Axis(start, end)
    high = 34
    drawing = Drawing(
        timeline.LABEL_W + timeline.PLOT_W + timeline.END_W, timeline.HEAD_H + high * len(moments) + 10
    )
    axis.draw(drawing, timeline.HEAD_H + high * len(moments))
    counts = {label: _binned(ats, axis) for label, ats in moments.items()}
    most = max(max(bins) for bins in counts.values()) or 1
    wide = timeline.PLOT_W / BINS
    bars, said = [], []
    for n, (label, bins) in enumerate(counts.items()):
        top = timeline.HEAD_H + n * high
        drawing.line([0, drawing.wide], [top, top])
        drawing.text(8, top + high / 2, label if len(label) <= 24 else label[:23] + "…", size=12)
        for at, number in enumerate(bins):
            if number:
                tall = max(3.0, (high - 8) * number / most)
                bars.append((axis.left + at * wide, top + high - 3 - tall, max(wide - 1, 1), tall))
        ats = sorted(moments[label])
        words = f"{units.count(len(ats), 'line')}, first {_clock(ats[0])}" if ats else "none"
        drawing.text(
            timeline.LABEL_W + timeline.PLOT_W + 10, top + high / 2, words, "critical" if ats else "soft", 11
        )
        said.append(f"{label}: {words}.")
    drawing.bars(bars, "critical")
    return drawing.finish(
        "Error lines over time. " + " ".join(said),
        f"Lines with an error over time; the tallest bar is {units.count(most, 'line')}. Times in UTC.",
    )


def _clock(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def _binned(ats: list[float], axis: timeline.Axis) -> list[int]:
    bins = [0] * BINS
    for at in ats:
        if axis.start <= at <= axis.end:
            bins[min(BINS - 1, int((at - axis.start) / (axis.end - axis.start) * BINS))] += 1
    return bins


def last_words(look: Look, service: str = "", lines: int = 4) -> Shown:
    """The last lines of the newest ended life of each service, or of its log where no life is known."""
    rows = []
    for label, section in _sections(look, service).items():
        if not section.readable or not section.data.get("lines"):
            continue
        said = section.data["lines"]
        ended = [life for life in look.lives_of(label) if not life.running and life.of(said)]
        words = [line for line in (ended[-1].of(said) if ended else said) if line[2].strip()]
        chosen = words[-lines:]
        if not chosen:
            continue
        rows.append(
            (
                Cell(label, code=True),
                units.clock(chosen[-1][0]),
                Cell("\n".join(line[2] for line in chosen), code=True),
                Cell(end_of(ended[-1]), tone="critical" if ended[-1].failed else "")
                if ended
                else "still running",
            )
        )
    return table(("Service", "At", "Last words", "Then"), rows, empty="No log line was read.")


#: Who speaks in a known message, in words.
CONTEXT_WORDS = {
    "death": "its last words",
    "running": "the process itself, going on",
    "task": "a task of it, going on",
    "logged": "logged by the application",
    "quoted": "quoted by the application",
}


def signatures(look: Look, service: str = "") -> Shown:
    """Known messages in each log: what they mean, who says them, how often, when first and last."""
    rows = []
    for label, section in _sections(look, service).items():
        lines = (section.data or {}).get("lines") or () if section.readable else ()
        for found in _known(look, label, lines):
            tone = "critical" if found.context == "death" and not found.harmless else "quiet"
            rows.append(
                (
                    Cell(label, code=True),
                    Cell(found.text, code=True),
                    _prose(found.says + (f" Harmless: {found.harmless}" if found.harmless else "")),
                    Cell(CONTEXT_WORDS.get(found.context, found.context), tone=tone),
                    found.count,
                    _span(found.first, found.last),
                    found.code,
                )
            )
    return table(
        ("Service", "Message", "Means", "Said by", "Times", "First, last", "Rule"),
        rows,
        empty="No known message stands in these logs.",
    )


def _known(look: Look, label: str, lines: Sequence[Any]) -> list[Match]:
    """The known messages of a log, looked for in each life alone: what ended an earlier life are last words
    also while the container runs again. The same of several lives together."""
    from ..signatures import match

    held: dict[tuple[str, str, str], Match] = {}
    for part, running in _lives(look, label, lines):
        for one in match(part, running=running):
            key = (one.signature, one.object, one.context)
            before = held.get(key)
            held[key] = replace(before, count=before.count + one.count, last=one.last) if before else one
    return sorted(held.values(), key=lambda one: one.first or "")


def _lives(look: Look, label: str, lines: Sequence[Any]) -> Iterator[tuple[Sequence[Any], bool | None]]:
    """The log in pieces of one life each, with whether that life goes on; None for lines of no known life."""
    done = 0
    for life in look.lives_of(label):
        if life.first_line is None or life.last_line is None:
            continue
        if life.first_line - 1 > done:
            yield lines[done : life.first_line - 1], None
        yield life.of(lines), life.running
        done = max(done, life.last_line)
    if done < len(lines):
        yield lines[done:], None


def _prose(text: str) -> Cell:
    """A sentence of the catalogue, what stands in back ticks as code."""
    return Cell(text.replace("`", ""), html=ticks(text))


def _span(first: str | None, last: str | None) -> str:
    """From the first to the last time that something was said; one time where it was said once."""
    begin, end = units.clock(first), units.clock(last)
    return begin if begin == end else f"{begin} to {end}"


def unexplained(look: Look, service: str = "") -> Shown:
    """Errors that no signature knows, alike ones together, the most frequent first."""
    from ..signatures import unrecognised

    rows = []
    for label, section in _sections(look, service).items():
        lines = (section.data or {}).get("lines") or () if section.readable else ()
        for found in unrecognised(lines):
            rows.append(
                (
                    Cell(label, code=True),
                    Cell(found.text, code=True),
                    found.level,
                    found.count,
                    _span(found.first, found.last),
                    f"line {found.lines[0]}" if found.lines else None,
                )
            )
    return table(
        ("Service", "Reads", "Level", "Times", "First, last", "Where"),
        rows,
        empty="Every error in these logs is a known one.",
    )


def tail(look: Look, service: str = "", lines: int = 20) -> Shown:
    """The newest lines of each log as they were read, with the time; a fold for each service."""
    parts = []
    for label, section in _sections(look, service).items():
        held_lines = (section.data or {}).get("lines") or [] if section.readable else []
        if held_lines:
            newest = [f"{units.clock(time)}  {text}" for time, _, text in held_lines[-lines:]]
            summary = f"{label}: the last {len(newest)} of {units.count(len(held_lines), 'line')}"
            html = render("fold.html", summary=summary, text="\n".join(newest), open=bool(service))
            parts.append(Shown(html, "\n".join([summary, *newest])))
    return stacked(*parts) if parts else sentence("No log line was read.")
