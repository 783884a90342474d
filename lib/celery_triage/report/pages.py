"""One page for each executed notebook, by the project's own template."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..runbooks import NoRunbooks, everything
from ..show.output import style
from .execute import Executed
from .safe import clean, markdown

#: What the fold of a cell is called, by the cell's tag.
LABELS = {"injected-parameters": "parameters as run", "parameters": "parameters"}
#: The rule of a card, as ``show/finding.html`` writes it and the allow-list leaves it.
RULE = re.compile(r'<span class="ct-rule">([A-Z]{3}\d{3}) ([\w-]+)</span>')
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Page:
    """A page of the report: its file, what the navigation calls it, its title, and why it is incomplete."""

    file: str
    label: str
    title: str = ""
    why: str = ""
    seconds: float = 0.0
    cells: list[dict[str, Any]] = field(default_factory=list, repr=False)


@functools.cache
def environment() -> Environment:
    """The templates of the report, escaping by default."""
    return Environment(
        loader=PackageLoader("celery_triage.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def css() -> Markup:
    """The one style sheet of a page: the page's own and that of everything shown. It holds no foreign
    text."""
    text = resources.files("celery_triage.report").joinpath("templates/page.css").read_text("utf-8")
    return Markup(" ".join(line.strip() for line in text.splitlines() if line.strip()) + " " + style())


def render(template: str, **values: Any) -> str:
    """A page as text."""
    return environment().get_template(template).render(css=css(), **values) + "\n"


def read(executed: Executed, there: Collection[str] | None = None) -> Page:
    """What an executed notebook shows, cleaned. A file that cannot be read gives a page without cells.

    ``there`` are the pages of the report, so that no link leads to a runbook that was left out.
    """
    import nbformat

    name = executed.runbook
    file, label = f"{name}.html", name.replace("_", " ")
    try:
        notebook = nbformat.read(executed.path, as_version=4)
    except Exception as error:  # missing, cut or not a notebook: the page is lost, the report is not
        why = executed.why or f"the notebook cannot be read: {type(error).__name__}"
        return Page(file, label, _asked(name) or label, why, executed.seconds)
    cells = [made for made in (_cell(cell, there) for cell in notebook.cells) if made]
    return Page(file, label, _title(notebook) or label, executed.why, executed.seconds, cells)


def _asked(name: str) -> str:
    """The question of a runbook that was not begun, as its source asks it."""
    try:
        return next((book.title for book in everything() if book.name == name), "")
    except NoRunbooks:
        return ""


def _title(notebook: Any) -> str:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return cell.source.splitlines()[0][2:].strip()
    return ""


def _cell(cell: Any, there: Collection[str] | None) -> dict[str, Any] | None:
    if cell.cell_type == "markdown":
        return {"kind": "prose", "html": markdown(cell.source)}
    if cell.cell_type != "code":
        return None
    outputs = [made for made in (_output(one, there) for one in cell.get("outputs", ())) if made]
    tags = cell.metadata.get("tags", [])
    label = next((words for tag, words in LABELS.items() if tag in tags), "code")
    return {"kind": "code", "source": cell.source, "outputs": outputs, "label": label}


def _output(output: Any, there: Collection[str] | None) -> Markup | None:
    """One output as safe HTML: cleaned where it is HTML, escaped where it is text."""
    kind = output.output_type
    if kind in ("execute_result", "display_data"):
        if "text/html" in output.data:
            return to_rules(clean(_joined(output.data["text/html"]), there))
        return Markup("<pre>{}</pre>").format(_joined(output.data.get("text/plain", "")))
    if kind == "stream":
        return Markup("<pre>{}</pre>").format(_joined(output.text))
    if kind == "error":
        said = output.evalue if output.ename == "CannotLook" else f"{output.ename}: {output.evalue}"
        return Markup('<p class="ct-sentence ct-critical">{}</p>').format(ANSI.sub("", said))
    return None


def to_rules(html: Markup) -> Markup:
    """Each rule that a card names leads to its page of the report; a notebook alone has no such page."""
    return Markup(RULE.sub(r'<a class="ct-rule" href="rules.html#\1">\1 \2</a>', str(html)))


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
