"""Edits as a unified diff, and as commands where a diff would show a secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celery_triage.model import Diagnosis, Edit, Evidence
from celery_triage.remedies.places import path_of, sed

#: Lines of context on each side of a change, where they can be shown; ``git apply`` and ``patch`` need one at
#: least.
CONTEXT = 3


def patch(diagnosis: Diagnosis, evidence: Evidence) -> str:
    """The patch of all exact remedies among the causes; empty where there is none that can be one."""
    containers = evidence.data("containers") or {}
    return unified(exact_edits(diagnosis), evidence.data("compose"), containers.get("working_dir"))


def exact_edits(diagnosis: Diagnosis) -> tuple[Edit, ...]:
    """The edits of all exact remedies among the causes, each once, in the order of the causes."""
    remedies = [cause.remedy for cause in diagnosis.cause_findings if cause.remedy]
    found = [edit for remedy in remedies if remedy.kind == "exact" for edit in remedy.edits]
    return tuple(dict.fromkeys(found))


def left_over(diagnosis: Diagnosis, evidence: Evidence) -> tuple[str, ...]:
    """Commands for those edits of all exact remedies that the patch cannot hold."""
    containers = evidence.data("containers") or {}
    return beside_secrets(exact_edits(diagnosis), evidence.data("compose"), containers.get("working_dir"))


def unified(edits: Iterable[Edit], compose: Mapping[str, Any] | None, folder: str | None = None) -> str:
    """A unified diff of these edits for ``git apply`` and ``patch -p1`` in the project's folder.

    Left out are edits of lines that are not known by hash, hunks whose context would show a masked line,
    files outside ``folder`` and files whose lines do not all end alike: for these there is
    ``beside_secrets``.
    """
    return "".join(diff.text(folder) for diff in _diffs(edits, compose, folder))


def beside_secrets(
    edits: Iterable[Edit], compose: Mapping[str, Any] | None, folder: str | None = None
) -> tuple[str, ...]:
    """Commands for those edits that no diff can hold, mostly since a secret stands in the lines around."""
    edits = list(edits)
    held = {
        (diff.path, index + 1)
        for diff in _diffs(edits, compose, folder)
        for hunk in diff.hunks
        for index in hunk.changed
    }
    return tuple(
        sed(edit.file, edit.line, edit.old, edit.new)
        for edit in edits
        if edit.line and (edit.file, edit.line) not in held
    )


@dataclass(frozen=True)
class _Hunk:
    """Lines ``first`` to ``last`` (from 0, both in it), of which ``changed`` are exchanged."""

    first: int
    last: int
    changed: tuple[int, ...]


@dataclass(frozen=True)
class _Diff:
    path: str
    lines: Sequence[str]
    new: Mapping[int, str]
    hunks: Sequence[_Hunk]
    crlf: bool = False
    newline: bool = True

    def text(self, folder: str | None) -> str:
        shown = _shown(self.path, folder)
        # Behind a name with a blank both programs look for a tab.
        tab = "\t" if " " in shown else ""
        out = [f"--- a/{shown}{tab}", f"+++ b/{shown}{tab}"]
        grown = 0
        for hunk in self.hunks:
            body, more = self._body(hunk)
            length = hunk.last - hunk.first + 1
            out.append(f"@@ -{hunk.first + 1},{length} +{hunk.first + 1 + grown},{length + more} @@")
            out += body
            grown += more
        return "\n".join(out) + "\n" if self.hunks else ""

    def _body(self, hunk: _Hunk) -> tuple[list[str], int]:
        """The lines of a hunk, and how many lines it adds."""
        body, added, more = [], [], 0
        for index in range(hunk.first, hunk.last + 1):
            if index in hunk.changed:
                new = self.new[index].split("\n")
                body += self._ended("-", self.lines[index], index)
                for text in new[:-1]:
                    added += self._ended("+", text, -1)
                added += self._ended("+", new[-1], index)
                more += len(new) - 1
            else:
                body += [*added, *self._ended(" ", self.lines[index], index)]
                added = []
        return [*body, *added], more

    def _ended(self, mark: str, text: str, index: int) -> list[str]:
        """One line of a hunk with the end that it has in the file."""
        if index == len(self.lines) - 1 and not self.newline:
            return [mark + text, "\\ No newline at end of file"]
        return [mark + text + "\r" * self.crlf]


def _diffs(
    edits: Iterable[Edit], compose: Mapping[str, Any] | None, folder: str | None = None
) -> Iterator[_Diff]:
    by_path: dict[str, dict[Edit, None]] = {}
    for edit in edits:
        by_path.setdefault(edit.file, {})[edit] = None
    for file in _texts(compose):
        chosen = [edit for edit in by_path.get(path_of(file), ()) if edit.line and edit.sha256]
        # Of a bundle that was made before line ends were looked at, they are taken to be plain.
        if chosen and file.get("crlf", False) is not None and _nameable(path_of(file), folder):
            yield _diff(file, chosen)


def _texts(compose: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """All files that were read, each once."""
    compose = compose or {}
    seen = set()
    for file in (
        *(compose.get("files") or ()),
        *(compose.get("env_files") or ()),
        compose.get("dotenv") or {},
    ):
        if file.get("readable", True) and file.get("lines") and path_of(file) not in seen:
            seen.add(path_of(file))
            yield file


def _nameable(path: str, folder: str | None) -> bool:
    """Whether a patch can name a file: below the project's folder, and without a sign that ends a name."""
    below = not folder or path.startswith(folder.rstrip("/") + "/")
    return below and not set(path) & set('\t\r\n"\\')


def _diff(file: Mapping[str, Any], edits: Sequence[Edit]) -> _Diff:
    lines, hashes = list(file["lines"]), list(file.get("hashes") or ())
    new: dict[int, str] = {}
    for edit in edits:
        index = edit.line - 1
        text = new.get(index, lines[index] if 0 <= index < len(lines) else "")
        if text.count(edit.old) == 1 and index < len(hashes) and hashes[index] == edit.sha256:
            new[index] = text.replace(edit.old, edit.new)
    readable = [index < len(hashes) and hashes[index] is not None for index in range(len(lines))]
    hunks = tuple(_hunks(sorted(new), readable))
    return _Diff(path_of(file), lines, new, hunks, bool(file.get("crlf")), file.get("newline", True))


def _hunks(changed: Sequence[int], readable: Sequence[bool]) -> Iterator[_Hunk]:
    """The hunks of these lines, those near each other together where nothing between them is a secret."""
    groups: list[list[int]] = []
    for index in changed:
        if groups and index - groups[-1][-1] <= 2 * CONTEXT and all(readable[groups[-1][-1] : index]):
            groups[-1].append(index)
        else:
            groups.append([index])
    used = -1
    for group in groups:
        hunk = _fitting(group, readable, used)
        if hunk is not None:
            yield hunk
            used = hunk.last


def _fitting(group: Sequence[int], readable: Sequence[bool], used: int) -> _Hunk | None:
    """The hunk with the most context that shows no secret and touches no other hunk. There is as much of it
    on both sides, for an uneven hunk is taken to lie at an end of the file."""
    for context in range(CONTEXT, 0, -1):
        first, last = max(group[0] - context, 0), min(group[-1] + context, len(readable) - 1)
        if first > used and all(readable[first : last + 1]):
            return _Hunk(first, last, tuple(group))
    return None


def _shown(path: str, folder: str | None) -> str:
    """The path as a patch names it: from the project's folder; from the root where none is known."""
    head = (folder or "").rstrip("/") + "/"
    return path.removeprefix(head).lstrip("/") if folder else path.lstrip("/")
