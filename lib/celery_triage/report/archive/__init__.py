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
from pathlib import Path
from typing import Any

from ...model import dumps
from . import entries, listing
from .publishing import Leak, folder_name, locked, publish, read_summary, staged, write
from .retention import prune

STATE = "latest.json"


def refresh(archive: Path, newest: Path, summary: Mapping[str, Any], live: bool) -> None:
    """Bring the link, the state and the lists of all reports up to date, each by one rename. Of the reports
    only those are read that came into the folder by another way."""
    with locked(archive):
        with contextlib.suppress(OSError):  # a file system without links: the list says which is the newest
            link = Path(tempfile.mktemp(prefix=".latest-", dir=archive))
            link.symlink_to(newest.name)
            os.replace(link, archive / "latest")
        if live or not _of_live(archive / STATE):
            write(archive / STATE, dumps({**summary, "report": newest.name}) + "\n")
        known = entries.add(archive, newest.name, summary)
        write(archive / "index.html", listing.page(archive, known))


def _of_live(state: Path) -> bool:
    return (read_summary(state) or {}).get("origin") == "live"


__all__ = ["Leak", "folder_name", "locked", "prune", "publish", "read_summary", "refresh", "staged", "write"]
