"""What a scheduled check remembers between rounds: a file for each job in ``.state`` beside the reports."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .. import since
from ..model import dumps

FOLDER = ".state"
LIMIT = 16 * 2**20


class Busy(Exception):
    """The same job is being run already; the message says so."""


@dataclass(frozen=True)
class Archived:
    """The last report of a job: its folder, the time of its evidence, and ``what`` it said: the verdict and
    the status of each finding."""

    report: str
    at: str
    what: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """What is kept of a job: the state, and its last report."""

    state: since.State
    archived: Archived | None = None


def archived(state: since.State, report: str) -> Archived:
    """What a report of this state says. A flapping finding says the same whether it is there or not."""
    there = ((one.status(state.taken_at), one.fingerprint) for one in state.seen.values())
    what = sorted(f"{status} {name}" for status, name in there if status)
    return Archived(report, state.taken_at, (state.verdict, *what))


def slug(job: str) -> str:
    """A job as the name of a file."""
    return re.sub(r"[^\w.-]+", "-", job).strip("-.")[:80] or "default"


@contextlib.contextmanager
def held(out: Path, job: str) -> Iterator[None]:
    """The job for this process alone. Raises ``Busy`` at once where another one holds it.

    The lock is the kernel's (flock): it ends with its process, however that ends."""
    (out / FOLDER).mkdir(exist_ok=True)
    with (out / FOLDER / f"{slug(job)}.lock").open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise Busy(
                f"another round of {job} is running ({handle.read(200).strip()}); this one left"
            ) from None
        handle.truncate(0)
        handle.write(f"process {os.getpid()}")
        handle.flush()
        yield


def path(out: Path, job: str) -> Path:
    """Where the state of a job lies."""
    return out / FOLDER / f"{slug(job)}.json"


def load(out: Path, job: str) -> tuple[Kept, list[str]]:
    """What is kept of a job, and what could not be read of it; nothing for a job that never ran."""
    file = path(out, job)
    try:
        if not file.exists():
            return Kept(since.State()), []
        return _kept(json.loads(_text(file))), []
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return Kept(since.State()), [f"the state in {file} cannot be read ({error}); it begins anew"]


def save(out: Path, job: str, kept: Kept) -> None:
    """Write it, by one rename. Raises OSError."""
    file = path(out, job)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    making = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(dumps({"state": kept.state, "archived": kept.archived}) + "\n")
        os.replace(making, file)
    finally:
        making.unlink(missing_ok=True)


def needed(out: Path) -> frozenset[tuple[str, str]]:
    """Target and fingerprint of all findings that are open in any job, flapping ones too."""
    found: set[tuple[str, str]] = set()
    for file in (out / FOLDER).glob("*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            state = _kept(json.loads(_text(file))).state
            found |= {
                (state.target, one.fingerprint) for one in state.seen.values() if one.status(state.taken_at)
            }
    return frozenset(found)


def _text(file: Path) -> str:
    if file.stat().st_size > LIMIT:
        raise ValueError(f"it is larger than {LIMIT >> 20} MiB")
    return file.read_text("utf-8")


def _kept(value: dict[str, Any]) -> Kept:
    state = value["state"]
    seen = {str(key): since.Seen(**_known(since.Seen, one)) for key, one in state["seen"].items()}
    last = value.get("archived")
    return Kept(
        since.State(**{**_known(since.State, state), "seen": seen}),
        Archived(**_known(Archived, last)) if last else None,
    )


def _known(kind: type, value: dict[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass in a JSON object: lists become tuples, what is unknown is left out."""
    names = {one.name for one in fields(kind)}
    return {
        key: tuple(item) if isinstance(item, list) else item for key, item in value.items() if key in names
    }


__all__ = ["Archived", "Busy", "Kept", "archived", "held", "load", "needed", "path", "save", "slug"]
