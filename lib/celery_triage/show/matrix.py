"""A grid of yes, no and unknown as a picture: services down, questions across."""

from __future__ import annotations

from collections.abc import Sequence

from .drawing import Drawing
from .output import Shown, sentence

LABEL_W, COLUMN_W, ROW_H, HEAD_H = 170, 130, 40, 32
WORDS = {"yes": "yes", "no": "no", "unknown": "unknown", "none": "not needed"}


def matrix(
    rows: Sequence[tuple[str, Sequence[tuple[str, str]]]], columns: Sequence[str], subject: str, caption: str
) -> Shown:
    """Rows of (label, answers), an answer being (yes, no, unknown or none; a few words below the mark)."""
    if not rows:
        return sentence("There is nothing to draw.")
    drawing = Drawing(LABEL_W + COLUMN_W * len(columns), HEAD_H + ROW_H * len(rows) + 34)
    for n, name in enumerate(columns):
        drawing.text(LABEL_W + COLUMN_W * (n + 0.5), 15, name, "soft", 11.5, "center")
    for n, (label, answers) in enumerate(rows):
        top = HEAD_H + n * ROW_H
        drawing.line([0, drawing.wide], [top, top])
        drawing.text(8, top + ROW_H / 2, label if len(label) <= 24 else label[:23] + "…", size=12.5)
        for column, (answer, words) in enumerate(answers):
            _answer(
                drawing, LABEL_W + COLUMN_W * (column + 0.5), top + ROW_H / 2 - (6 if words else 0), answer
            )
            if words:
                short = words if len(words) <= 20 else words[:19] + "…"
                drawing.text(
                    LABEL_W + COLUMN_W * (column + 0.5),
                    top + ROW_H / 2 + 11,
                    short,
                    "critical" if answer == "no" else "soft",
                    10,
                    "center",
                    mono=True,
                )
    _legend(drawing, HEAD_H + ROW_H * len(rows) + 18)
    said = [
        f"{label}: "
        + ", ".join(
            f"{columns[n]} {WORDS[answer]}" + (f" ({words})" if words else "")
            for n, (answer, words) in enumerate(answers)
        )
        for label, answers in rows
    ]
    return drawing.finish(f"{subject}. " + ". ".join(said) + ".", caption)


def _answer(drawing: Drawing, x: float, y: float, answer: str) -> None:
    if answer == "yes":
        drawing.dots([x], [y], "ok", 9)
    elif answer == "no":
        drawing.dots([x], [y], "critical", 16)
        drawing.dots([x], [y], "on", 6, mark="x")
    elif answer == "unknown":
        drawing.dots([x], [y], "warning", 14, hollow=True)
        drawing.text(x, y, "?", "warning", 10, "center", bold=True)
    else:
        drawing.line([x - 5, x + 5], [y, y], "soft", 1.5)


def _legend(drawing: Drawing, y: float) -> None:
    for x, answer, words in (
        (14, "yes", "yes"),
        (74, "no", "no"),
        (134, "unknown", "could not be looked at"),
    ):
        _answer(drawing, x, y, answer)
        drawing.text(x + 13, y, words, "soft", 11)
