"""``index.html`` of the archive: every report by target, newest first, and how long each cause was there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ... import since
from ...show import units
from ...show.output import MARKS, Cell, table
from ..pages import render

#: Reports of one target that are listed; the older ones stay in their folders and in ``index.jsonl``.
LISTED = 500
#: Causes of one target that are listed, those seen last first.
CAUSES = 100


def page(folder: Path, entries: Sequence[Mapping[str, Any]]) -> str:
    """The page, from the lines alone. A report whose folder is gone keeps its row and loses its link."""
    there = {path.name for path in folder.iterdir() if path.is_dir()}
    targets: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in reversed(entries):
        targets.setdefault((str(entry.get("target")), str(entry.get("origin"))), []).append(entry)
    parts = [
        _target(number, target, origin, listed, there)
        for number, ((target, origin), listed) in enumerate(targets.items(), 1)
    ]
    return render("archive.html", targets=parts)


def _target(
    number: int, target: str, origin: str, entries: Sequence[Mapping[str, Any]], there: set[str]
) -> dict[str, Any]:
    newest = entries[0]
    first = str(entries[-1].get("name"))
    rows = [_row(entry, there, first) for entry in entries[:LISTED]]
    older = len(entries) - len(rows)
    note = "" if origin == "live" else "Recorded evidence, not a live stack. "
    return {
        "id": f"t{number}",
        "name": (target or "no name") + ("" if origin == "live" else " (recorded)"),
        "note": note
        + f"Last taken {units.moment(newest.get('taken_at'))}, {_mark(newest)}."
        + (f" {units.count(older, 'older report')} not listed here." if older > 0 else ""),
        "reports": _reports(rows).html,
        "causes": _causes(entries, there).html,
    }


def _reports(rows: Sequence[Sequence[Any]]) -> Any:
    return table(("Report", "Verdict", "Causes", "Since the report before"), rows)


def _row(entry: Mapping[str, Any], there: set[str], first: str) -> tuple[Any, ...]:
    return (
        _link(entry, there),
        Cell(
            _mark(entry), tone={"critical": "critical", "ok": "ok"}.get(str(entry.get("verdict")), "warning")
        ),
        "\n".join(f"• {one['title']}" for one in _of(entry, entry.get("causes") or ())) or None,
        _since(entry, first),
    )


def _mark(entry: Mapping[str, Any]) -> str:
    verdict = str(entry.get("verdict"))
    settling = ", settling" if entry.get("settling") else ""
    return f"{MARKS.get(verdict, '?')} {verdict}{settling}"


def _link(entry: Mapping[str, Any], there: set[str]) -> Cell:
    name, taken = str(entry["name"]), units.moment(entry.get("taken_at"))
    if name not in there:
        return Cell(f"{taken} (deleted)")
    return Cell(taken, html=Markup('<a href="{}/index.html">{}</a>').format(name, taken))


def _of(entry: Mapping[str, Any], fingerprints: Iterable[str]) -> list[Mapping[str, Any]]:
    """The findings of a line that bear these fingerprints, in their order."""
    known = {since.fingerprint(one): one for one in since.reported(entry)}
    return [known[key] for key in fingerprints if key in known]


def _since(entry: Mapping[str, Any], first: str) -> str | None:
    """What is different from the report before; ``first`` is the name of the oldest one of the target."""
    compared = entry.get("since")
    if not isinstance(compared, dict):
        return "the first report" if entry["name"] == first else "of the same moment as the first report"
    words = (
        ("new", "new"),
        ("resolved", "resolved"),
        ("still", "still there"),
        ("unproven", "not proven gone"),
    )
    told = [f"{len(compared[key])} {text}" for key, text in words if compared.get(key)]
    return ", ".join(told) or "nothing was or is wrong"


def _causes(entries: Sequence[Mapping[str, Any]], there: set[str]) -> Any:
    """Each cause of a target: when it was first and last seen, and in how many reports; newest first."""
    seen: dict[str, dict[str, Any]] = {}
    for entry in entries:  # newest first
        for finding in _of(entry, entry.get("causes") or ()):
            known = seen.setdefault(
                since.fingerprint(finding), {"title": finding["title"], "last": entry, "count": 0}
            )
            known["first"], known["count"] = entry, known["count"] + 1
    newest = entries[0]
    rows = [
        (
            one["title"],
            _link(one["first"], there),
            _link(one["last"], there),
            one["count"],
            "open" if one["last"] is newest else "not in the newest report",
        )
        for one in list(seen.values())[:CAUSES]
    ]
    return table(
        ("Cause", "First seen", "Last seen", "Reports", "Now"),
        rows,
        empty="No cause was ever found here.",
    )
