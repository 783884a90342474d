"""What commands print for people."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .ending import NOT_WRITTEN, Ended, give, say, told

if TYPE_CHECKING:
    from ..model import Diagnosis, Evidence
    from ..report.compare import Comparison


def print_page(diagnosis: Diagnosis, evidence: Evidence) -> None:
    """The diagnosis on stdout, coloured where stdout is a terminal that wants it."""
    import shutil

    from ..show.terminal import page

    wide = max(60, min(110, shutil.get_terminal_size((100, 24)).columns))
    print_lines(page(diagnosis, evidence, wide=wide))


def print_lines(lines: Iterable[tuple[str, str]]) -> None:
    """Lines with a colour each, coloured where the user did not forbid it."""
    plain = bool(os.environ.get("NO_COLOR"))
    for line, colour in lines:
        bold = colour == "bold"
        styled = line if plain or not colour else click.style(line, fg=None if bold else colour, bold=bold)
        give(styled)


def show_comparison(
    compared: Comparison, redactor: Any, as_json: bool, markdown: Path | None, html: Path | None
) -> None:
    """The comparison on stdout, and the summary in files."""
    import shutil

    from ..model import dumps
    from ..report import archive, compare, resolution

    try:
        for path, form in ((markdown, resolution.markdown), (html, resolution.html)):
            if path is not None:
                resolution.write(path, form(compared), redactor)
                say(f"written: {path}")
    except archive.Leak as error:
        raise Ended(NOT_WRITTEN, f"the summary could not be written: {error}") from None
    except OSError as error:
        raise Ended(NOT_WRITTEN, f"the summary could not be written: {told(error)}") from None
    if as_json:
        give(dumps(compare.as_json(compared)))
        return
    wide = max(60, min(110, shutil.get_terminal_size((100, 24)).columns))
    print_lines(resolution.lines(compared, wide))
