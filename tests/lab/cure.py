"""Cures the lab's stack with the remedy that a diagnosis gave: edits applied strictly, commands run verbatim.

This is the hand of the person on call, without the person's eye: where a remedy is not exact to the byte it
is refused here, never repaired. Nothing is imported from the tool; a diagnosis is the plain JSON it printed.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Refused(Exception):
    """An edit or a remedy that cannot be carried out as it stands."""


@dataclass(frozen=True)
class ByHand:
    """What a person does for the finding of that name."""

    name: str


@dataclass(frozen=True)
class Plan:
    """What a diagnosis tells to do: all edits, then step by step a command (text) or something by hand.

    ``kinds`` are the kinds of remedy, one for each cause in their order.
    """

    kinds: tuple[str, ...] = ()
    edits: tuple[Mapping[str, Any], ...] = ()
    steps: tuple[str | ByHand, ...] = ()


@dataclass(frozen=True)
class Ran:
    """One command that was run: its exit status (None: killed at its deadline) and what it printed."""

    command: str
    exit_code: int | None
    output: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True)
class Done:
    """What became of a plan: ``refused`` says why nothing was edited, ``ran`` holds every command."""

    files: tuple[str, ...] = ()
    ran: tuple[Ran, ...] = ()
    refused: str = ""

    @property
    def ok(self) -> bool:
        return not self.refused and all(ran.ok for ran in self.ran)

    @property
    def why(self) -> str:
        if self.refused:
            return self.refused
        failed = next((ran for ran in self.ran if not ran.ok), None)
        if failed is None:
            return ""
        code = failed.exit_code
        end = "was killed at its deadline" if code is None else f"gave exit code {code}"
        return f"the remedy's command `{failed.command}` {end}: {failed.output.strip()[-300:]}"


def plan(
    causes: Iterable[Mapping[str, Any]],
    choice: Mapping[str, str] | None = None,
    manual: Container[str] = (),
) -> Plan:
    """The steps that the remedies of these causes ask for, in their order.

    ``choice`` gives the option to take by a finding's name, ``manual`` holds the names of findings for which
    the fault says what a person does. The same edit or command is done once. Raises Refused for a cause
    without a remedy and for a decision that nobody has taken.
    """
    kinds: list[str] = []
    edits: list[Mapping[str, Any]] = []
    steps: list[str | ByHand] = []
    for cause in causes:
        name = cause["name"]
        remedy = cause.get("remedy")
        if not remedy:
            raise Refused(f"{name} came without a remedy")
        kind = remedy.get("kind")
        if kind == "exact":
            source: Mapping[str, Any] = remedy
            if not (remedy.get("edits") or remedy.get("commands")):
                raise Refused(f"{name}: an exact remedy without an edit and without a command")
        elif kind == "choice":
            source = _chosen(name, remedy, choice or {})
        elif kind == "manual":
            if name not in manual:
                raise Refused(f"{name}: the remedy is manual and the fault does not say what the person does")
            source = {"commands": [ByHand(name)]}
        else:
            raise Refused(f"{name}: remedy of unknown kind {kind!r}")
        kinds.append(str(kind))
        edits += [edit for edit in source.get("edits") or () if edit not in edits]
        steps += [step for step in source.get("commands") or () if step not in steps]
    return Plan(tuple(kinds), tuple(edits), tuple(steps))


def _chosen(name: str, remedy: Mapping[str, Any], choice: Mapping[str, str]) -> Mapping[str, Any]:
    wanted = choice.get(name)
    names = [option.get("name") for option in remedy.get("options") or ()]
    if wanted is None:
        raise Refused(f"{name}: the remedy is a choice ({', '.join(map(str, names))}), the fault takes none")
    if names.count(wanted) != 1:
        raise Refused(f"{name}: the fault takes {wanted!r}, the remedy offers {', '.join(map(str, names))}")
    return remedy["options"][names.index(wanted)]


@dataclass
class _Line:
    """One line of a file while its edits are gathered: positions refer to the original text."""

    text: str
    end: str
    spans: list[tuple[int, int, str]] = field(default_factory=list)


def apply_edits(edits: Iterable[Mapping[str, Any]], folder: Path) -> list[str]:
    """Applies all edits or none; gives the files changed, in the order of their first edit.

    An edit is ``{file, line, old, new, sha256}``: ``line`` counts from 1 in the original file, ``sha256`` is
    of the whole original line without its line end (empty: not checked), ``old`` must stand exactly once in
    that line. Several edits may touch one file and even one line, as long as they do not overlap. Line ends
    and bytes that are no UTF-8 are kept. Raises Refused when an edit does not fit or leaves ``folder``.
    """
    files: dict[Path, list[_Line]] = {}
    for edit in edits:
        path = _inside(folder, str(edit.get("file") or ""))
        if path not in files:
            files[path] = _lines(path)
        _gather(edit, path, files[path])
    for path, lines in files.items():
        whole = "".join(_edited(line) + line.end for line in lines)
        path.write_bytes(whole.encode("utf-8", "surrogateescape"))
    return [str(path) for path in files]


def _inside(folder: Path, name: str) -> Path:
    if not name:
        raise Refused("an edit names no file")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Refused(f"{name} is outside the lab's folder")
    if not path.is_file():
        raise Refused(f"{name} is not a file")
    return path


def _lines(path: Path) -> list[_Line]:
    # Only \n and \r\n end a line here: str.splitlines would also split at form feeds and Unicode separators.
    *ended, last = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    lines = [_Line(piece[:-1], "\r\n") if piece.endswith("\r") else _Line(piece, "\n") for piece in ended]
    return [*lines, _Line(last, "")] if last else lines


def _gather(edit: Mapping[str, Any], path: Path, lines: list[_Line]) -> None:
    number, old, new = edit.get("line"), edit.get("old") or "", edit.get("new")
    where = f"{path.name}, line {number}"
    if not isinstance(number, int) or not 1 <= number <= len(lines):
        raise Refused(f"{where}: the file has no such line ({len(lines)} lines)")
    line = lines[number - 1]
    expected = edit.get("sha256") or ""
    actual = hashlib.sha256(line.text.encode("utf-8", "surrogateescape")).hexdigest()
    if expected and expected != actual:
        raise Refused(f"{where}: the line is not the one that the remedy was made for (its hash differs)")
    if not old or not isinstance(new, str):
        raise Refused(f"{where}: an edit needs an old and a new fragment")
    start = line.text.find(old)
    if start < 0:
        raise Refused(f"{where}: {old!r} does not stand there")
    if line.text.find(old, start + 1) >= 0:
        raise Refused(f"{where}: {old!r} stands there more than once")
    span = (start, start + len(old), new)
    if span in line.spans:
        return
    if any(start < end and begin < span[1] for begin, end, _ in line.spans):
        raise Refused(f"{where}: two edits overlap")
    line.spans.append(span)


def _edited(line: _Line) -> str:
    text = line.text
    for start, end, new in sorted(line.spans, reverse=True):
        text = text[:start] + new.replace("\n", line.end or "\n") + text[end:]
    return text


def run_command(
    command: str, folder: Path, seconds: float = 300.0, env: Mapping[str, str] | None = None
) -> Ran:
    """Runs one command verbatim with ``bash -c`` in ``folder``; killed with its children at the deadline."""
    began = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )
    exit_code: int | None
    try:
        output, _ = process.communicate(timeout=seconds)
        exit_code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        exit_code = None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return Ran(command, exit_code, output.decode("utf-8", "backslashreplace"), time.monotonic() - began)


def carry_out(
    todo: Plan, folder: Path, cwd: Path, by_hand: Callable[[str], object] | None = None,
    seconds: float = 300.0, env: Mapping[str, str] | None = None,
) -> Done:
    """Applies the edits to files in ``folder``, then takes every step once: ``cwd`` is where commands run.

    Edits come first because they count the lines of the files as they were diagnosed. A failing command does
    not stop the next step. ``by_hand`` is called with the finding's name for what is left to a person.
    """
    try:
        files = tuple(apply_edits(todo.edits, folder))
    except Refused as error:
        return Done(refused=str(error))
    ran: list[Ran] = []
    for step in todo.steps:
        if isinstance(step, str):
            ran.append(run_command(step, cwd, seconds, env))
        elif by_hand is None:
            return Done(files, tuple(ran), f"{step.name}: nobody is there to do it by hand")
        else:
            by_hand(step.name)
    return Done(files, tuple(ran))
