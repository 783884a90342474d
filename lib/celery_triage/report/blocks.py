"""A small document: headings, prose, code, tables, lists, and the same of it as Markdown, HTML and text.

Whatever stands in a block is foreign until it is rendered here: every text is escaped for its form. Back
ticks in prose mark code.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from celery_triage.report.safe import clean
from celery_triage.show.output import MARKS, Cell, table, ticks


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Prose:
    """A paragraph; with a tone (a key of ``MARKS``) it is the result of the whole."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Code:
    text: str
    language: str = ""


@dataclass(frozen=True)
class Grid:
    """A table; a cell is prose, or code on one line."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | Code, ...], ...]


@dataclass(frozen=True)
class Points:
    """A list of (tone, text): the tone is a key of ``MARKS``, or empty for a plain point."""

    points: tuple[tuple[str, str], ...]


Block = Heading | Prose | Code | Grid | Points

_SPECIAL = re.compile(r"([\\`*\[\]<>#|~!&$])|(?<![^\W_])(_)|(_)(?![^\W_])")
#: What makes a list or a heading of a line that begins with it.
_LEADING = re.compile(r"^(\d*)([-+=.)])(?=[-+=\s]|$)")


def markdown(blocks: Iterable[Block]) -> str:
    """The document as Markdown (CommonMark with tables)."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_words(block.text)}"
    if isinstance(block, Prose):
        text = _words(block.text)
        return f"**{MARKS[block.tone]} {text}**" if block.tone else text
    if isinstance(block, Code):
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
        return f"{fence}{block.language}\n{block.text}\n{fence}"
    if isinstance(block, Points):
        return "\n".join(f"- {_marked(tone, _words(text))}" for tone, text in block.points)
    head = [f"| {' | '.join(_words(name) for name in block.columns)} |", f"|{' --- |' * len(block.columns)}"]
    return "\n".join([*head, *(f"| {' | '.join(map(_cell, row))} |" for row in block.rows)])


def _cell(value: str | Code) -> str:
    if isinstance(value, Code):
        return _span(value.text).replace("|", "\\|") or "–"
    return _words(value) or "–"


def _words(text: str) -> str:
    """Prose on one line, escaped, what stands in back ticks as code."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:
        parts = ["`".join(parts)]
    words = "".join(_span(part) if n % 2 else _escaped(part) for n, part in enumerate(parts))
    return _LEADING.sub(r"\1\\\2", words)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def _span(text: str) -> str:
    """A code span on one line, whatever stands in it."""
    text = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""


def html(blocks: Iterable[Block]) -> Markup:
    """The document as HTML: escaped where it is made, and once more through the allow-list."""
    return clean(Markup("\n").join(_html(block) for block in blocks))


def _html(block: Block) -> Markup:
    if isinstance(block, Heading):
        return Markup("<h{0}>{1}</h{0}>").format(block.level, ticks(block.text))
    if isinstance(block, Prose):
        if not block.tone:
            return Markup("<p>{}</p>").format(ticks(block.text))
        shape = Markup('<p class="ct-verdict ct-{}">{} {}</p>')
        return shape.format(block.tone, MARKS[block.tone], ticks(block.text))
    if isinstance(block, Code):
        return Markup('<pre class="ct-proof">{}</pre>').format(block.text)
    if isinstance(block, Points):
        marked = any(tone for tone, _ in block.points)
        points = Markup("\n").join(_point(tone, words) for tone, words in block.points)
        return Markup('<ul class="{}">{}</ul>').format("runbooks" if marked else "", points)
    return table(block.columns, [[_shown(value) for value in row] for row in block.rows]).html


def _point(tone: str, words: str) -> Markup:
    mark = Markup('<span class="ct-sentence ct-{}">{}</span> ').format(tone, MARKS[tone]) if tone else ""
    return Markup("<li>{}{}</li>").format(mark, ticks(words))


def _shown(value: str | Code) -> Cell:
    """A cell for the eye; an empty one is a dash."""
    if isinstance(value, Code) and value.text:
        return Cell(value.text, code=True)
    words = "–" if isinstance(value, Code) else value or "–"
    return Cell(words, html=ticks(words))


def text(blocks: Iterable[Block], wide: int = 100) -> list[tuple[str, str]]:
    """The document for a terminal: lines with a colour each (a name that click knows, ``bold``, or empty)."""
    lines: list[tuple[str, str]] = []
    for block in blocks:
        lines += [("", "")] if lines else []
        if isinstance(block, Heading):
            lines.append((block.text, "bold"))
        elif isinstance(block, Prose):
            lines += [
                (line, TONES.get(block.tone, "")) for line in _wrapped(_marked(block.tone, block.text), wide)
            ]
        elif isinstance(block, Code):
            lines += [(f"  {line}", "") for line in block.text.split("\n")]
        elif isinstance(block, Points):
            for tone, words in block.points:
                told = _marked(tone, words) if tone else f"- {words}"
                lines += [(line, TONES.get(tone, "")) for line in _wrapped(told, wide)]
        else:
            rows = [[_shown(value) for value in row] for row in block.rows]
            lines += [(line, "") for line in table(block.columns, rows).text.split("\n")]
    return lines


TONES = {"critical": "red", "warning": "yellow", "unknown": "yellow", "ok": "green"}


def _marked(tone: str, words: str) -> str:
    return f"{MARKS[tone]} {words}" if tone else words


def _wrapped(words: str, wide: int) -> list[str]:
    return textwrap.wrap(
        " ".join(words.replace("`", "").split()),
        wide,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


__all__ = ["Block", "Code", "Grid", "Heading", "Points", "Prose", "html", "markdown", "text"]
