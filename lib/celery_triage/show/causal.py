"""The causal picture: how far the start of each service gets, what stops it there, and what waits behind.

One row for each service, one column for each step of its start. It draws what the diagnosis says and adds
nothing: marks come from the causes and their state for that service, the way travelled from what its
lives were seen to reach.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from .drawing import Drawing, wrapped
from .output import Shown, sentence

LABEL_W, STEP_W, END_W, ROW_H, HEAD_H = 160, 67, 190, 46, 34


@dataclass(frozen=True)
class Start:
    """The start of one service. ``marks``: step → (state, code) pairs; ``passed``: the steps that it is
    proven to have passed; ``end``: what becomes of it, in a few words."""

    label: str
    marks: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    passed: Collection[str] = ()
    end: str = ""


def picture(starts: Sequence[Start], steps: Sequence[str]) -> Shown:
    """The picture of all starts over the steps in their order."""
    if not starts:
        return sentence("No service whose start could be drawn.")
    high = HEAD_H + ROW_H * len(starts) + 40
    drawing = Drawing(LABEL_W + STEP_W * len(steps) + END_W, high)
    centre = {step: LABEL_W + STEP_W * n + STEP_W / 2 for n, step in enumerate(steps)}
    for step in steps:
        drawing.text(centre[step], 16, step, "soft", 9.5, "center")
    for n, start in enumerate(starts):
        _row(drawing, start, HEAD_H + ROW_H * n, steps, centre)
    _legend(drawing, high - 16)
    return drawing.finish(
        _words(starts, steps), "How far each start gets: what stops it, and what waits behind it."
    )


def _row(
    drawing: Drawing, start: Start, top: float, steps: Sequence[str], centre: Mapping[str, float]
) -> None:
    drawing.line([0, drawing.wide], [top, top])
    middle = top + ROW_H / 2 - 5
    drawing.text(8, middle, _short(start.label, 24), size=12.5)
    passed = _passed(start, steps)
    xs = [centre[step] for step in steps]
    stop = _stop(start, steps)
    last = max([steps.index(step) for step in passed if step in steps], default=-1)
    reached = steps.index(stop) if stop else last
    if reached > 0:
        drawing.line([xs[0], xs[reached]], [middle, middle], "ok", 2)
    if reached < len(steps) - 1:
        drawing.line([xs[max(reached, 0)], xs[-1]], [middle, middle], "grid", 2, dashed=True)
    plain = [(step, x) for step, x in zip(steps, xs, strict=True) if not start.marks.get(step)]
    through = [x for step, x in plain if step in passed]
    ahead = [x for step, x in plain if step not in passed]
    drawing.dots(through, [middle] * len(through), "ok", 8)
    drawing.dots(ahead, [middle] * len(ahead), "soft", 6, hollow=True)
    for step, marks in start.marks.items():
        if step in centre:
            _mark(drawing, centre[step], middle, marks)
    lines = wrapped(start.end, 30)[:2] if start.end else []
    for n, line in enumerate(lines):
        drawing.text(
            LABEL_W + STEP_W * len(steps) + 8, middle + (n - (len(lines) - 1) / 2) * 15, line, "soft", 11
        )


def _mark(drawing: Drawing, x: float, y: float, marks: Sequence[tuple[str, str]]) -> None:
    active = any(state == "active" for state, _ in marks)
    if active:
        drawing.dots([x], [y], "critical", 20)
        drawing.dots([x], [y], "on", 8, mark="x")
    else:
        drawing.dots([x], [y], "warning", 18, hollow=True)
        drawing.dots([x], [y], "warning", 7)
    codes = ", ".join(dict.fromkeys(code for _, code in marks))
    drawing.text(x, y + 19, codes, "critical" if active else "warning", 10.5, "center", mono=True)


def _legend(drawing: Drawing, y: float) -> None:
    drawing.dots([14], [y], "ok", 8)
    drawing.text(24, y, "passed", "soft", 11)
    drawing.dots([92], [y], "critical", 14)
    drawing.dots([92], [y], "on", 5, mark="x")
    drawing.text(104, y, "stops here (active)", "soft", 11)
    drawing.dots([246], [y], "warning", 13, hollow=True)
    drawing.dots([246], [y], "warning", 5)
    drawing.text(258, y, "waits behind (latent)", "soft", 11)
    drawing.dots([404], [y], "soft", 6, hollow=True)
    drawing.text(414, y, "not seen to be reached", "soft", 11)


def _passed(start: Start, steps: Sequence[str]) -> set[str]:
    """What it is proven to have passed, and all that comes before what stops it: it could not stop there
    else.

    Only ``results`` proves nothing of the steps before it: up to Celery 5.4 driver and database are left out.
    """
    stop = _stop(start, steps)
    before = steps[: steps.index(stop)] if stop and stop != "results" else ()
    return set(start.passed) | set(before)


def _stop(start: Start, steps: Sequence[str]) -> str:
    return next(
        (step for step in steps if any(state == "active" for state, _ in start.marks.get(step, ()))), ""
    )


def _words(starts: Sequence[Start], steps: Sequence[str]) -> str:
    lines = []
    for start in starts:
        stop = _stop(start, steps)
        codes = {
            state: [code for step in steps for found, code in start.marks.get(step, ()) if found == state]
            for state in ("active", "latent")
        }
        if stop:
            said = f"stops at {stop} ({', '.join(codes['active'])})"
        else:
            through = [step for step in steps if step in start.passed]
            said = f"is seen to have passed {', '.join(through)}" if through else "is not seen to start"
        if codes["latent"]:
            said += f"; behind it wait {', '.join(codes['latent'])}"
        lines.append(f"{start.label} {said}" + (f"; {start.end}" if start.end else ""))
    return "Start of each service. " + ". ".join(lines) + "."


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
