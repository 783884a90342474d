"""Deleting old reports: only what the tool made, and never the last report of something still open."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ... import since
from ...show import units
from . import entries, listing
from .publishing import locked, write

#: What a report folder holds. A file beside these is somebody's, and keeps the whole folder.
OURS = re.compile(
    r"(?:index|rules|resolution|\d\d_\w+)\.html|summary\.json|calls\.txt|fix\.patch"
    r"|notebooks/\d\d_\w+\.ipynb"
    r"|evidence/(?:manifest\.json|calls\.txt|sections/[\w.-]+\.json|logs/[\w.-]+\.jsonl)"
)


def prune(
    folder: Path, open_now: Collection[tuple[str, str]], days: float, count: int, now: datetime | None = None
) -> tuple[str, ...]:
    """Delete reports that are older than ``days``, and the oldest of a target that has more than ``count``
    (0: no such limit). The names of what was deleted.

    Kept whatever their age: the newest report of each target, the last one of a target in which a finding of
    ``open_now`` (target and fingerprint) stands, and every folder with a file that is not the tool's own.
    Lines of deleted reports leave the list. Raises OSError where the list cannot be written.
    """
    if not (days or count):
        return ()
    with locked(folder):
        lines = entries.read(folder)
        chosen = _too_old(lines, set(open_now), days, count, now or datetime.now(UTC))
        gone = [name for name in chosen if _delete(folder / name)]
        if gone:
            left = entries.save(folder, [one for one in lines if one["name"] not in gone])
            write(folder / "index.html", listing.page(folder, left))
    return tuple(gone)


def _too_old(
    lines: Sequence[Mapping[str, Any]], open_now: set[tuple[str, str]], days: float, count: int, now: datetime
) -> list[str]:
    found, of_target, wanted = [], {}, set(open_now)
    for entry in reversed(lines):  # newest first
        target = (entry.get("target"), entry.get("origin"))
        place = of_target[target] = of_target.get(target, 0) + 1
        there = {(str(entry.get("target")), since.fingerprint(one)) for one in since.reported(entry)}
        there = there if entry.get("origin") == "live" else set()  # a recording proves nothing of the stack
        last_of_open, wanted = bool(there & wanted), wanted - there
        taken = units.when(str(entry.get("taken_at")))
        aged = bool(days) and taken is not None and (now - taken).total_seconds() > days * 86400
        if place > 1 and not last_of_open and (aged or (count and place > count)):
            found.append(str(entry["name"]))
    return found


def _delete(report: Path) -> bool:
    """Delete a report that is wholly ours; a folder that is gone already counts as deleted."""
    if not entries.NAME.fullmatch(report.name) or report.is_symlink():
        return False
    if not report.exists():
        return True
    for path in report.rglob("*"):
        if path.is_symlink() or (
            not path.is_dir() and not OURS.fullmatch(path.relative_to(report).as_posix())
        ):
            return False
    shutil.rmtree(report, ignore_errors=True)
    return not report.exists()


__all__ = ["prune"]
