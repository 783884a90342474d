"""What a notebook cell shows: HTML for the browser, the same as text for everything else, both the same
every time.

Every HTML text goes through Jinja2 with auto-escaping, so what a log says stays text. An object shows no
memory address and no time of its own making, because archived notebooks are compared cell by cell when
they are run again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..model import Edit, Finding, Proof
from . import units

#: Marks beside each word of state, so that colour never speaks alone.
MARKS = {
    "active": "●",
    "latent": "◐",
    "history": "○",
    "critical": "✕",
    "warning": "▲",
    "notice": "·",
    "ok": "✓",
    "unknown": "?",
}
CERTAINTY_WORDS = {
    "confirmed": "judged from the thing itself, and its effect seen in the current life",
    "inferred": "judged from the thing itself, its effect not seen",
    "reported": "only a log of the current life says so",
}
STATE_WORDS = {
    "active": "stops something now",
    "latent": "true, but something earlier stops the service first",
    "history": "healed since",
}


@functools.cache
def environment() -> Environment:
    """The templates of this package, escaping by default, an unknown name being an error."""
    made = Environment(
        loader=PackageLoader("celery_triage", "show"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        duration=units.duration,
        size=units.size,
        moment=units.moment,
        clock=units.clock,
        listed=units.listed,
        ticks=ticks,
        unbroken=unbroken,
        step=step,
        one_each=one_each,
        quotations=quotations,
        on=on,
    )
    made.globals.update(
        MARKS=MARKS,
        CERTAINTY_WORDS=CERTAINTY_WORDS,
        STATE_WORDS=STATE_WORDS,
        count=units.count,
    )
    return made


#: An option as it stands in a command or a sentence; a longer one may be broken.
OPTION = re.compile(r"(?<![\w-])(--?[A-Za-z][\w.@%:/=+-]{0,31})(?![\w.@%:/=+-])")


def unbroken(text: str) -> Markup:
    """A text whose options are never cut at the end of a line: a browser breaks ``--queue`` behind its
    hyphens, and half of it is another option."""
    parts = OPTION.split(text)
    shape = (Markup("{}"), Markup('<span class="ct-o">{}</span>'))
    return Markup("").join(shape[n % 2].format(part) for n, part in enumerate(parts))


def ticks(text: str) -> Markup:
    """A text in which what stands in back ticks is shown as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return unbroken(text)
    shape = (Markup("{}"), Markup("<code>{}</code>"))
    return Markup("").join(shape[n % 2].format(unbroken(part)) for n, part in enumerate(parts))


def step(text: str) -> Markup:
    """A step of a verification: a command with what it must show behind ``  # ``, or a sentence."""
    command, mark, expected = text.partition("  # ")
    if not mark:
        return ticks(text)
    return Markup("<code>{}</code> <small>{}</small>").format(unbroken(command), unbroken(expected))


def on(finding: Finding) -> str:
    """The services of a finding, where its title does not name them already."""
    unnamed = [name for name in finding.services if name not in finding.title]
    return units.listed(finding.services) + " · " if unnamed else ""


@dataclass(frozen=True)
class Change:
    """The same edit in all lines of one file."""

    file: str
    lines: str
    old: str
    new: str

    @property
    def new_lines(self) -> list[str]:
        """What stands there afterwards, line by line: an edit may add a line."""
        return self.new.split("\n")


def one_each(edits: Iterable[Edit]) -> list[Change]:
    """Edits that change the same text of one file in the same way, as one with all its lines."""
    held: dict[tuple[str, str, str], list[int]] = {}
    for edit in edits:
        held.setdefault((edit.file, edit.old, edit.new), []).extend([edit.line] if edit.line else [])
    return [
        Change(
            file,
            (("line " if len(lines) == 1 else "lines ") + units.listed(map(str, sorted(lines))))
            * bool(lines),
            old,
            new,
        )
        for (file, old, new), lines in held.items()
    ]


@dataclass(frozen=True)
class Quotation:
    """One text with every place where it stands."""

    text: str
    sources: tuple[str, ...]


def source(proof: Proof) -> str:
    """Where a quotation stands: section, line, time."""
    parts = [proof.section]
    parts += [f"line {proof.line}"] if proof.line else []
    parts += [units.moment(proof.time)] if units.when(proof.time) else []
    return ", ".join(parts)


def quotations(proofs: Iterable[Proof]) -> list[Quotation]:
    """Proofs with the same text as one quotation with all its sources, in order of appearance."""
    held: dict[str, list[str]] = {}
    for proof in proofs:
        held.setdefault(proof.text, []).append(source(proof))
    return [Quotation(text, tuple(sources)) for text, sources in held.items()]


@functools.cache
def style() -> str:
    """The style sheet of everything that is shown; a page, and a notebook in its first output, has it
    once."""
    text = resources.files(__package__).joinpath("style.css").read_text("utf-8")
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def render(template: str, **values: Any) -> Markup:
    """A template of this package with these values, as safe HTML."""
    return Markup(environment().get_template(template).render(**values).strip())


@dataclass(frozen=True)
class Shown:
    """Something to look at: ``html`` (safe, without style) and ``text`` say the same."""

    html: Markup
    text: str

    def _repr_html_(self) -> str:
        return f'<div class="ct">{self.html}</div>'

    def with_style(self) -> str:
        """The same with the style sheet, which then holds for all outputs of the notebook."""
        return f"<style>{style()}</style>{self._repr_html_()}"

    def __repr__(self) -> str:
        return self.text

    def __html__(self) -> str:
        return self.html


@dataclass(frozen=True, repr=False)
class Table(Shown):
    """A table that can also be worked with: its columns and the full text of each cell."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

    def frame(self):
        """The same table as a pandas DataFrame of texts, to filter and sort by hand in a notebook."""
        import pandas  # 0.3 s: only for who asks for it

        return pandas.DataFrame(list(self.rows), columns=list(self.columns))


@dataclass(frozen=True)
class Cell:
    """A table cell with more than a text: a tone (critical, warning, ok, quiet), code or number, its own
    HTML."""

    text: str
    tone: str = ""
    code: bool = False
    number: bool = False
    html: Markup | None = None

    @property
    def short(self) -> bool:
        """Each of its lines is short enough to stand unbroken: names, numbers, ages."""
        return _width(self.text) <= (32 if self.code else 18)


def cell(value: Any) -> Cell:
    """Any value as a cell; None is a dash."""
    if isinstance(value, Cell):
        return value
    if isinstance(value, Shown):
        return Cell(value.text, html=value.html)
    if value is None or value == "":
        return Cell("–", tone="quiet")
    return Cell(str(value), number=isinstance(value, (int, float)) and not isinstance(value, bool))


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    empty: str = "Nothing to list.",
    caption: str = "",
    note: str = "",
    label: str = "",
) -> Shown:
    """A table with its full text. Without rows it is the sentence ``empty``: a person never sees an empty
    grid. Where the page is too narrow for columns each row is a card of its own.
    ``label`` tells the table from others with the same columns, for who hears the page."""
    body = [[cell(value) for value in row] for row in rows]
    if not body:
        return sentence(empty)
    label = label or caption or ", ".join(columns)
    html = render("table.html", columns=columns, rows=body, caption=caption, note=note, label=label)
    widths = [max(len(columns[i]), *(_width(row[i].text) for row in body)) for i in range(len(columns))]
    lines = [caption] if caption else []
    lines += ["  ".join(name.ljust(widths[i]) for i, name in enumerate(columns)).rstrip()]
    lines += ["  ".join("─" * width for width in widths)]
    for row in body:
        parts = [item.text.split("\n") for item in row]
        for n in range(max(map(len, parts))):
            line = "  ".join(
                (part[n] if n < len(part) else "").ljust(widths[i]) for i, part in enumerate(parts)
            )
            lines.append(line.rstrip())
    lines += ["", note] if note else []
    texts = tuple(tuple(item.text for item in row) for row in body)
    return Table(html, "\n".join(lines), tuple(columns), texts)


def grouped(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Rows that differ only in their first cell (a service) as one row with all of them, in order of
    appearance."""
    held: dict[tuple, dict[str, None]] = {}
    kept: dict[tuple, Sequence[Any]] = {}
    for row in rows:
        key = tuple(cell(value) for value in row[1:])
        held.setdefault(key, {})[cell(row[0]).text] = None
        kept.setdefault(key, row[1:])
    return [[Cell("\n".join(names), code=True), *kept[key]] for key, names in held.items()]


def _width(text: str) -> int:
    return max(len(line) for line in text.split("\n"))


def sentence(text: str, tone: str = "") -> Shown:
    """One plain sentence; ``tone`` is critical, warning, ok, unknown or nothing."""
    mark = MARKS.get(tone, "")
    return Shown(render("sentence.html", text=text, tone=tone, mark=mark), f"{mark} {text}".strip())


def stacked(*parts: Shown) -> Shown:
    """Several things below each other."""
    return Shown(Markup("\n").join(part.html for part in parts), "\n\n".join(part.text for part in parts))
