"""What the archive remembers of each report: one line of JSON in ``index.jsonl``.

A line holds what the list of all reports shows, so that adding a report reads no other one. A report that
came into the folder by another way (copied from elsewhere, made by an older version) is read once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ... import since
from ...model import VERDICTS
from .publishing import read_summary, write

INDEX = "index.jsonl"
NAME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{6}Z_[\w.-]+")
#: Characters kept of a title: the list of reports is no report.
TITLE = 300


def entry(name: str, summary: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The line of one report; ``before`` is the line of the report of the same target before it."""
    findings = {str(one.get("id")): one for one in since.reported(summary)}
    causes = [findings[str(id)] for id in summary.get("causes") or () if str(id) in findings]
    compared = since.between(before, summary)
    return {
        "name": name,
        "target": str(summary.get("target") or ""),
        "origin": "live" if summary.get("origin") == "live" else "recorded",
        "taken_at": str(summary.get("taken_at") or ""),
        "verdict": str(summary.get("verdict")) if summary.get("verdict") in VERDICTS else "unknown",
        "settling": len(summary.get("settling") or ()),
        "causes": [since.fingerprint(one) for one in causes],
        "findings": [_short(one) for one in findings.values()],
        "since": {"report": before["name"], **compared} if before else None,
    }


def _short(finding: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{
            key: finding.get(key) for key in ("id", "code", "name", "severity", "state", "services", "object")
        },
        "title": str(finding.get("title") or "")[:TITLE],
    }


def read(folder: Path) -> list[dict[str, Any]]:
    """The lines that are there, oldest first; a line that is none of ours is left out."""
    try:
        text = (folder / INDEX).read_text("utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and isinstance(value.get("name"), str) and is_name(value["name"]):
            found.append(value)
    return found


def add(folder: Path, name: str, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the line of a new report, and of those that came by another way; all lines, oldest first."""
    known = {one["name"]: one for one in read(folder) if one["name"] != name}
    there = {path.name for path in folder.iterdir() if is_name(path.name) and not path.is_symlink()}
    read_now = {other: read_summary(folder / other / "summary.json") for other in there - set(known) - {name}}
    read_now = {other: found for other, found in read_now.items() if found is not None} | {name: summary}
    for other, found in sorted(read_now.items(), key=lambda one: str(one[1].get("taken_at"))):
        known[other] = entry(other, found, before(known.values(), found))
    return save(folder, known.values())


def save(folder: Path, lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write the lines, oldest first, by one rename."""
    ordered = sorted(map(dict, lines), key=lambda one: (str(one.get("taken_at")), one["name"]))
    text = "".join(json.dumps(one, ensure_ascii=False, sort_keys=True) + "\n" for one in ordered)
    write(folder / INDEX, text)
    return ordered


def before(lines: Iterable[Mapping[str, Any]], summary: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The line of the last report of the same target, live or recorded alike, taken before that one."""
    origin = "live" if summary.get("origin") == "live" else "recorded"
    taken = str(summary.get("taken_at") or "")
    same = [
        one
        for one in lines
        if one.get("target") == summary.get("target")
        and one.get("origin") == origin
        and str(one.get("taken_at")) < taken
    ]
    return max(same, key=lambda one: str(one.get("taken_at")), default=None)


def is_name(name: str) -> bool:
    """Whether a folder may be a report of ours: a dated name, or the committed sample."""
    return name == "sample" or NAME.fullmatch(name) is not None
