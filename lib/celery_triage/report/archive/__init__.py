"""The folder of dated reports.

Beside the reports lie ``index.jsonl`` (a line for each, see ``entries``), ``index.html`` (the same for
people), ``latest`` (a link to the newest) and ``latest.json`` (the last known state). A diagnosis of recorded
evidence never replaces the last known state of a live stack.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...model import dumps
from . import entries, listing
from .earlier import Earlier, earlier
from .publishing import Leak, NotListed, folder_name, locked, publish, read_summary, staged, write
from .retention import prune

STATE = "latest.json"


def refresh(archive: Path, newest: Path, summary: Mapping[str, Any], live: bool) -> None:
    """Bring the link, the state and the lists of all reports up to date, each by one rename. Of the reports
    only those are read that came into the folder by another way. Of two runs that overlap the later look is
    the newest, whichever ends first."""
    with locked(archive):
        _point(archive, newest.name)
        state = read_summary(archive / STATE) or {}
        of_live = state.get("origin") == "live"
        if not (of_live and (not live or _later(archive, str(state.get("report")), newest.name))):
            write(archive / STATE, dumps({**summary, "report": newest.name}) + "\n")
        known = entries.add(archive, newest.name, summary)
        write(archive / "index.html", listing.page(archive, known))


def _point(archive: Path, name: str) -> None:
    with contextlib.suppress(OSError):  # a file system without links: the list says which is the newest
        link = archive / "latest"
        if link.is_symlink() and _later(archive, os.readlink(link), name):
            return
        made = Path(tempfile.mktemp(prefix=".latest-", dir=archive))
        made.symlink_to(name)
        os.replace(made, link)


def _later(archive: Path, there: str, name: str) -> bool:
    """Whether a report that is there is dated later than this one; a date that is still to come (a wrong
    clock, a report from elsewhere) does not count."""
    moment = f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    dates = name[: len(moment)], there[: len(moment)]
    return entries.is_name(there) and dates[0] < dates[1] <= moment and (archive / there).is_dir()


__all__ = [
    "Earlier",
    "Leak",
    "NotListed",
    "earlier",
    "folder_name",
    "locked",
    "prune",
    "publish",
    "read_summary",
    "refresh",
    "staged",
    "write",
]
