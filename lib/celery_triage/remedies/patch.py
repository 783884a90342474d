"""Edits as a unified diff."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from celery_triage.model import Diagnosis, Edit, Evidence


def patch(diagnosis: Diagnosis, evidence: Evidence) -> str:
    """The patch of all exact remedies among the causes; empty where there is none that can be one."""
    edits = [
        edit
        for cause in diagnosis.cause_findings
        if cause.remedy and cause.remedy.kind == "exact"
        for edit in cause.remedy.edits
    ]
    containers = evidence.data("containers") or {}
    return unified(edits, evidence.data("compose"), containers.get("working_dir"))


def unified(edits: Iterable[Edit], compose: Mapping[str, Any] | None, folder: str | None = None) -> str:
    """A unified diff of these edits for ``git apply`` and ``patch -p1`` in the project's folder.

    Edits of lines that are not known by hash, and hunks whose context would show a masked line, are left out:
    the remedy has them as commands or as text. Paths outside ``folder`` are given from the root.
    """
    texts = {file["path"]: file for file in _texts(compose)}
    by_path: dict[str, list[Edit]] = {}
    for edit in edits:
        if edit.line and edit.sha256 and edit.file in texts and edit not in by_path.setdefault(edit.file, []):
            by_path[edit.file].append(edit)
    return "".join(
        _file_diff(texts[path], found, _shown(path, folder)) for path, found in by_path.items() if found
    )


def _texts(compose: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    for file in (compose or {}).get("files") or ():
        if file.get("readable", True) and file.get("lines"):
            yield file
    dotenv = (compose or {}).get("dotenv")
    if dotenv and dotenv.get("lines"):
        yield dotenv


def _shown(path: str, folder: str | None) -> str:
    inside = folder and path.startswith(folder.rstrip("/") + "/")
    return path[len(folder.rstrip("/")) + 1 :] if inside else path.lstrip("/")


def _file_diff(file: Mapping[str, Any], edits: Sequence[Edit], shown: str) -> str:
    lines, hashes = list(file["lines"]), list(file.get("hashes") or ())
    changed: dict[int, str] = {}
    for edit in edits:
        index = edit.line - 1
        text = changed.get(index, lines[index])
        if text.count(edit.old) == 1:
            changed[index] = text.replace(edit.old, edit.new)
    hunks = list(_hunks(sorted(changed), lines, hashes))
    if not hunks:
        return ""
    out = [f"--- a/{shown}", f"+++ b/{shown}"]
    grown = 0
    for first, last, chosen in hunks:
        before, after = [], []
        body = []
        index = first
        while index <= last:
            if index in chosen:
                run = []
                while index in chosen:
                    run.append(index)
                    index += 1
                old = [lines[number] for number in run]
                new = [piece for number in run for piece in changed[number].split("\n")]
                body += [f"-{text}" for text in old] + [f"+{text}" for text in new]
                before += old
                after += new
                continue
            body.append(f" {lines[index]}")
            before.append(lines[index])
            after.append(lines[index])
            index += 1
        out.append(f"@@ -{first + 1},{len(before)} +{first + 1 + grown},{len(after)} @@")
        out += body
        grown += len(after) - len(before)
    return "\n".join(out) + "\n"


def _hunks(changed: Sequence[int], lines: Sequence[str], hashes: Sequence[str | None]):
    """(first, last, changed lines) of each hunk, with as much context, at most three lines on each side, as
    can be shown. The same number on both sides, for an uneven hunk is taken to lie at an end of the file."""

    def readable(index: int) -> bool:
        return index < len(hashes) and hashes[index] is not None

    last_end, groups = -1, []
    for index in changed:
        if groups and index - groups[-1][-1] <= 6:
            groups[-1].append(index)
        else:
            groups.append([index])
    for group in groups:
        for context in (3, 2, 1):
            first, last = max(group[0] - context, 0), min(group[-1] + context, len(lines) - 1)
            if first > last_end and all(readable(index) for index in range(first, last + 1)):
                yield first, last, frozenset(group)
                last_end = last
                break
