"""What changed since the report of the same target before, as a new report tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ... import since
from . import entries


@dataclass(frozen=True)
class Earlier:
    """The report before: its folder's name, when it was taken, its verdict, whether it is still ``there``,
    and what is different, each kind as fingerprint → title."""

    name: str
    taken_at: str
    verdict: str
    there: bool
    new: Mapping[str, str] = field(default_factory=dict)
    still: Mapping[str, str] = field(default_factory=dict)
    resolved: Mapping[str, str] = field(default_factory=dict)
    unproven: Mapping[str, str] = field(default_factory=dict)


def earlier(folder: Path, summary: Mapping[str, Any]) -> Earlier | None:
    """The report before that one in this archive, from the archive's list alone; None where there is none.

    ``summary`` is the new report's, as ``summary.json`` holds it. What is new or gone is decided by
    ``since.between``.
    """
    before = entries.before(entries.read(folder), summary)
    if before is None:
        return None
    compared = since.between(before, summary)
    titles = {
        since.fingerprint(one): str(one.get("title") or one.get("name") or one.get("code"))
        for one in (*since.reported(before), *since.reported(summary))
    }
    name = str(before["name"])
    return Earlier(
        name,
        str(before.get("taken_at") or ""),
        str(before.get("verdict") or "unknown"),
        (folder / name / "index.html").is_file(),
        **{kind: {key: titles.get(key, key) for key in found} for kind, found in compared.items()},
    )


__all__ = ["Earlier", "earlier"]
