"""How a report appears: by one rename or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ...model import Evidence
from ...show import units

SUMMARY_LIMIT = 4 * 2**20
LOCK = ".archive.lock"


class Leak(Exception):
    """A known secret stands in a file that was to be published; the message names the files, never the
    secret."""


class NotListed(OSError):
    """A report is published, and the list of reports could not be brought up to date."""

    def __init__(self, report: Path, error: OSError) -> None:
        super().__init__(error.errno, error.strerror or str(error), str(report))
        self.report = report


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


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The archive for one process at a time: two runs that end together must not lose a line of each other.

    It is held for milliseconds; a file system without locks (OSError) goes without."""
    with (folder / LOCK).open("a") as handle:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


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
