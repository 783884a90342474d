"""One time axis for all services: bars for lives, marks for what happened. Readable at 5 and at 100 rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from . import units
from .drawing import Drawing
from .output import Shown, sentence

LABEL_W, PLOT_W, END_W, ROW_H, HEAD_H = 170, 600, 220, 26, 30
#: Rows are this high where there are more than MANY of them.
DENSE_H, MANY = 17, 25
#: Distances of ticks in seconds; the first that gives at most eight is taken.
TICKS = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    172800,
    604800,
    1209600,
    2592000,
)


@dataclass(frozen=True)
class Bar:
    """One stretch of time, in seconds since the epoch; ``role`` is a colour role; ``open`` means not over
    yet."""

    start: float
    end: float
    role: str
    open: bool = False


@dataclass(frozen=True)
class Row:
    """One service on the axis: bars, marks (time, role, shape), and a few words at the end."""

    label: str
    bars: Sequence[Bar] = ()
    marks: Sequence[tuple[float, str, str]] = ()
    end: str = ""
    end_role: str = "soft"


class Axis:
    """The time axis from ``start`` to ``end`` (seconds since the epoch) in pixels."""

    def __init__(self, start: float, end: float, left: float = LABEL_W, wide: float = PLOT_W) -> None:
        self.start, self.end = start, max(end, start + 1)
        self.left, self.wide = left, wide

    def x(self, time: float) -> float:
        share = (time - self.start) / (self.end - self.start)
        return self.left + self.wide * min(1.0, max(0.0, share))

    def ticks(self) -> list[tuple[float, str]]:
        """Round moments with their texts in UTC."""
        span = self.end - self.start
        step = next((tick for tick in TICKS if span / tick <= 8), TICKS[-1])
        first = -(-self.start // step) * step
        form = (
            "%m-%d"
            if step >= 86400
            else "%m-%d %H:%M"
            if span > 86400
            else "%H:%M"
            if step >= 60
            else "%H:%M:%S"
        )
        moments = [first + n * step for n in range(int((self.end - first) // step) + 1)]
        return [(moment, datetime.fromtimestamp(moment, UTC).strftime(form)) for moment in moments]

    def draw(self, drawing: Drawing, bottom: float) -> None:
        """Ticks with their texts at the top, thin lines down to ``bottom``."""
        for moment, text in self.ticks():
            x = self.x(moment)
            drawing.line([x, x], [HEAD_H - 6, bottom])
            drawing.text(min(x, self.left + self.wide - 14), 12, text, "soft", 10.5, "center")


def timeline(
    rows: Sequence[Row],
    start: float,
    end: float,
    alt: str,
    caption: str,
    legend: Sequence[tuple[str, str, str]] = (),
) -> Shown:
    """The rows over one axis. ``legend``: (role, shape, words), shape ``bar`` or a mark of
    ``Drawing.dots``."""
    if not rows:
        return sentence("There is nothing to draw on a time line.")
    row_h = ROW_H if len(rows) <= MANY else DENSE_H
    bottom = HEAD_H + row_h * len(rows)
    drawing = Drawing(LABEL_W + PLOT_W + END_W, bottom + (30 if legend else 8))
    axis, gap = Axis(start, end), row_h * 0.23
    for n in range(0, len(rows), 2):
        drawing.bar(0, HEAD_H + n * row_h, drawing.wide, row_h, "band")
    axis.draw(drawing, bottom)
    held: dict[str, list[tuple[float, float, float, float]]] = {}
    for n, row in enumerate(rows):
        top = HEAD_H + n * row_h
        middle = top + row_h / 2
        label = row.label if len(row.label) <= 24 else row.label[:23] + "…"
        drawing.text(8, middle, label, size=12 if row_h == ROW_H else 11)
        for bar in row.bars:
            if bar.end < axis.start:
                continue
            x = axis.x(bar.start)
            area = (x, top + gap, max(axis.x(bar.end) - x, 2.0), row_h - 2 * gap)
            held.setdefault(bar.role, []).append(area)
        for time, role, shape in row.marks:
            if axis.start <= time <= axis.end:
                drawing.dots([axis.x(time)], [middle], role, 7, mark=shape)
        drawing.text(LABEL_W + PLOT_W + 10, middle, row.end[:40], row.end_role, 11)
    for role, areas in held.items():
        drawing.bars(areas, role)
    _legend(drawing, legend, bottom + 18)
    return drawing.finish(alt, caption)


def _legend(drawing: Drawing, legend: Sequence[tuple[str, str, str]], y: float) -> None:
    x = 8.0
    for role, shape, words in legend:
        if shape == "bar":
            drawing.bar(x, y - 5, 14, 10, role)
        else:
            drawing.dots([x + 7], [y], role, 7, mark=shape)
        drawing.text(x + 20, y, words, "soft", 11)
        x += 34 + 6.2 * len(words)


def seconds(text: str | None) -> float | None:
    """An ISO time as seconds since the epoch."""
    found = units.when(text)
    return found.timestamp() if found else None
