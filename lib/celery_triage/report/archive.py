"""The folder of dated reports: a report appears in it by one rename or not at all.

Beside the reports lie ``index.html`` (all of them), ``latest`` (a link to the newest) and ``latest.json``
(the last known state). A diagnosis of recorded evidence never replaces the last known state of a live
stack.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ..model import Evidence, dumps
from ..show import units
from ..show.output import MARKS, Cell, table
from .pages import render

NAME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{6}Z_[\w.-]+")
SUMMARY_LIMIT = 4 * 2**20


class Leak(Exception):
    """A known secret stands in a file that was to be published; the message names the files, never the
    secret."""


def folder_name(evidence: Evidence, made: datetime) -> str:
    """``2026-11-23T141503Z_ai_backend``: when the report was made, and its target.

    A live report is dated by its evidence, recorded evidence by the time of its diagnosis.
    """
    moment = units.when(evidence.taken_at) if evidence.origin == "live" else None
    target = re.sub(r"[^\w.-]+", "-", evidence.target).strip("-.") or "stack"
    return f"{(moment or made):%Y-%m-%dT%H%M%SZ}_{target[:60]}"


@contextlib.contextmanager
def staged(archive: Path, name: str) -> Iterator[Path]:
    """A private folder beside the reports in which to make one; it is gone afterwards unless it was
    published."""
    archive.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".making-{name}-", dir=archive))
    try:
        yield making
    finally:
        shutil.rmtree(making, ignore_errors=True)


def publish(making: Path, archive: Path, name: str) -> Path:
    """Rename the finished folder to its name; a number is added where that name is taken."""
    making.chmod(0o755)
    for number in range(1, 1000):
        final = archive / (name if number == 1 else f"{name}-{number}")
        if final.exists():
            continue
        try:
            os.rename(making, final)
        except OSError:
            if final.exists():  # another run was faster
                continue
            raise
        return final
    raise FileExistsError(f"there are 999 reports named {name}")


def refresh(archive: Path, newest: Path, summary: Mapping[str, Any], live: bool) -> None:
    """Bring the link, the state and the list of all reports up to date, each by one rename."""
    with contextlib.suppress(OSError):  # a file system without links: the list says which is the newest
        link = Path(tempfile.mktemp(prefix=".latest-", dir=archive))
        link.symlink_to(newest.name)
        os.replace(link, archive / "latest")
    state = archive / "latest.json"
    if live or not _of_live(state):
        write(state, dumps({**summary, "report": newest.name}) + "\n")
    write(archive / "index.html", listing(archive))


def _of_live(state: Path) -> bool:
    return (read_summary(state) or {}).get("origin") == "live"


def listing(archive: Path) -> str:
    """The page that lists all reports of the folder, newest first."""
    rows = []
    names = sorted((path.name for path in archive.iterdir() if path.is_dir()), reverse=True)
    for name in names:
        summary = read_summary(archive / name / "summary.json")
        if summary is None or not (NAME.match(name) or name == "sample"):
            continue
        verdict = str(summary.get("verdict", "unknown"))
        tone = {"critical": "critical", "ok": "ok"}.get(verdict, "warning")
        titles = {str(f.get("id")): str(f.get("title")) for f in summary.get("findings", ())}
        causes = [titles[id] for id in summary.get("causes", ()) if id in titles]
        rows.append(
            (
                link(f"{name}/index.html", name),
                str(summary.get("target", "")),
                Cell(f"{MARKS.get(verdict, '?')} {verdict}", tone=tone),
                "\n".join(f"• {title}" for title in causes) or None,
                "live" if summary.get("origin") == "live" else "recorded",
                units.moment(str(summary.get("taken_at", ""))),
            )
        )
    shown = table(
        ("Report", "Target", "Verdict", "Causes", "Evidence", "Taken"), rows, empty="There is no report yet."
    )
    return render("archive.html", table=shown.html)


def link(target: str, text: str) -> Cell:
    """A table cell that is a link inside the archive."""
    from markupsafe import Markup

    return Cell(text, html=Markup('<a href="{}">{}</a>').format(target, text))


def read_summary(path: Path) -> dict[str, Any] | None:
    """A summary that was written earlier; None for what is missing, too large or no summary."""
    try:
        if path.stat().st_size > SUMMARY_LIMIT:
            return None
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write(path: Path, text: str) -> None:
    """Write a whole file or nothing."""
    making = Path(tempfile.mktemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        making.write_text(text, "utf-8")
        os.replace(making, path)
    finally:
        making.unlink(missing_ok=True)
