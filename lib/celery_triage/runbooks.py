"""The runbooks of this repository: where they lie, and which one shows the findings of a code.

A runbook says in its own metadata which codes it shows (``celery_triage.prefixes``), so adding one
touches nothing else.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class NoRunbooks(Exception):
    """The runbooks were not found, or none has the number that was asked for."""


@dataclass(frozen=True)
class Runbook:
    """One notebook: its path, the question that is its title, and the prefixes of the codes that it shows."""

    path: Path
    title: str
    prefixes: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def label(self) -> str:
        """``30 launch commands``."""
        return self.name.replace("_", " ")


def folder() -> Path:
    """Where the runbooks lie: beside ``lib/`` in the repository."""
    found = Path(__file__).resolve().parents[2] / "runbooks"
    if not found.is_dir():
        raise NoRunbooks(
            "the runbooks are not beside the library: run celery-triage from a clone of its repository"
        )
    return found


@functools.cache
def everything(where: Path | None = None) -> tuple[Runbook, ...]:
    """All runbooks in the order of a triage."""
    return tuple(_read(path) for path in sorted((where or folder()).glob("[0-9][0-9]_*.ipynb")))


def _read(path: Path) -> Runbook:
    notebook = json.loads(path.read_text("utf-8"))
    first = "".join(notebook["cells"][0]["source"]).splitlines()
    prefixes = notebook["metadata"].get("celery_triage", {}).get("prefixes", ())
    return Runbook(path, first[0].removeprefix("# ").strip() if first else path.stem, tuple(prefixes))


def source_of(book: Runbook, tag: str) -> str:
    """The code of the cells with that tag (``parameters``); "" where there is none."""
    cells = json.loads(book.path.read_text("utf-8"))["cells"]
    found = [cell for cell in cells if tag in cell["metadata"].get("tags", ())]
    return "\n".join("".join(cell["source"]) for cell in found)


def chosen(only: Sequence[str] = (), where: Path | None = None) -> list[Runbook]:
    """The runbooks with these numbers (``30``) or names (``30_launch_commands``); all for none."""
    found = everything(where)
    missing = [name for name in only if not any(name in (one.name, one.name[:2]) for one in found)]
    if missing:
        raise NoRunbooks(
            f"there is no runbook {', '.join(missing)}; there are {', '.join(r.name for r in found)}"
        )
    return [one for one in found if not only or one.name in only or one.name[:2] in only]


def showing(code: str, where: Path | None = None) -> Runbook | None:
    """The runbook that shows the findings of a code, None where none says so."""
    return next((one for one in everything(where) if code.startswith(one.prefixes)), None) if code else None
