"""The section `compose`: the project's files as they stand on this machine, and where in them each thing
stands.

The files are those that the label `com.docker.compose.project.config_files` names. A label is written by
whoever started the container, so a file is shown only if it is a regular file of bounded size that really
is a Compose file, and an env file only if it holds nothing but assignments. Every line is masked; a line
that was not changed by that carries the SHA-256 of its text, so that a patch can tell whether it is still
the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from celery_triage.collect import document
from celery_triage.collect.containers import PUBLIC_NAME
from celery_triage.collect.probe import Emit, Source
from celery_triage.model import Section
from celery_triage.redact import Redactor, is_no_secret, is_secret_name

#: Largest Compose or env file that is read, in bytes, and most files in all (with `extends` and `include`).
SIZE = 512 * 2**10
FILES = 20
_KEPT = ("command", "entrypoint", "image", "build", "env_file", "healthcheck", "networks", "restart",
         "depends_on", "container_name", "deploy", "working_dir", "user", "ports", "extends", "profiles",
         "scale", "read_only", "tmpfs")
_ASSIGNMENT = re.compile(
    r"\s{0,80}(?:export\s{1,80})?([A-Za-z_][\w.\-]*+)\s{0,80}(?:=|:\s)(.*)", re.DOTALL)
_NAME_ONLY = re.compile(r"\s*[A-Za-z_]\w*\s*")
_HOW = "files on this machine that the containers' labels name"


class Unreadable(Exception):
    """A file that cannot be shown; the text says why, as the end of a sentence."""


class Missing(Unreadable):
    """There is no such file."""


def source(data: Mapping[str, Any], options: Mapping[str, Any], redactor: Redactor) -> Source:
    """The source of `compose`. `data` is the unmasked `containers`. Its value `learnt` is for
    `Redactor.adopt`."""

    def run(emit: Emit) -> None:
        if not data["config_files"]:
            emit.section(Section("compose", "unreachable", how=_HOW,
                                 why="no container of the target has a label that names a Compose file"))
            return
        project = Project(redactor, emit)
        for path in data["config_files"]:
            project.add(path)
        folder = data["working_dir"] or os.path.dirname(data["config_files"][0])
        dotenv = project.env_file(_dotenv(data) or os.path.join(folder, ".env"))
        env_files = [project.env_file(path) for path in project.env_paths()]
        emit.value("learnt", redactor.export())
        files = project.shown()
        dotenv, *env_files = [project.finish(entry) for entry in (dotenv, *env_files)]
        unread = [f"{file['path']}: {file['why']}" for file in (*files, *env_files) if not file["readable"]]
        if not dotenv["readable"] and not dotenv["missing"]:
            unread.append(f"{dotenv['path']}: {dotenv['why']}")
        status = "ok" if not unread else "partial" if any(file["readable"] for file in files) else "denied"
        told = {"files": files, "services": project.services(), "env_files": env_files,
                "dotenv": dotenv if dotenv["readable"] else None}
        emit.section(Section("compose", status, told, why="; ".join(unread), how=_HOW))

    return Source("compose", ("compose",), run, deadline_s=8)


def _dotenv(data: Mapping[str, Any]) -> str | None:
    """The file given with ``--env-file``, which is read in place of ``.env`` (Compose 2 notes it in a label);
    of several the last, which wins."""
    told = [
        (item.get("labels") or {}).get("com.docker.compose.project.environment_file")
        for item in data.get("items") or ()
        if item.get("member")
    ]
    return next((text.split(",")[-1] for text in told if text), None)


class Project:
    """The Compose files of one project, base first, as they are read."""

    def __init__(self, redactor: Redactor, emit: Emit) -> None:
        self._redactor, self._emit = redactor, emit
        self._files: list[dict[str, Any]] = []
        self._documents: list[document.Document | None] = []
        self._at: dict[str, int] = {}

    def add(self, path: str, *, extended: bool = False) -> int:
        """Read one file and those that it includes or extends; its index. Included ones stand before it.
        The services of a file that is only ``extended`` are none of the project."""
        path = os.path.normpath(path)
        if path in self._at:
            self._files[self._at[path]]["extended"] &= extended
            return self._at[path]
        entry = {"path": path, "readable": False, "why": "", "modified": None, "lines": [], "hashes": []}
        text, parsed = "", None
        try:
            if len(self._files) >= FILES:
                raise Unreadable(f"more than {FILES} files")
            text, about = _read(path, self._emit, utf8=True)
            entry.update(about)
            parsed = document.parse(text)
            if not parsed.is_compose:
                parsed = None
                raise Unreadable("it is no Compose file")
            entry["readable"] = True
        except (Unreadable, document.TooComplex) as error:
            entry["why"] = str(error)
        except document.NotYaml as error:
            entry["why"] = f"it is no valid YAML: {self._redactor.text(str(error), 200)}"
        for other in parsed.includes() if parsed else ():
            self.add(os.path.join(os.path.dirname(path), other))
        index = self._at[path] = len(self._files)
        entry["extended"] = extended
        self._files.append(entry)
        self._documents.append(parsed)
        entry["text"] = text if entry["readable"] else ""
        if parsed:
            self._learn(parsed)
            for other in parsed.extended_files():
                self.add(os.path.join(os.path.dirname(path), other), extended=True)
        return index

    def _learn(self, parsed: document.Document) -> None:
        self._redactor.publish(parsed.service_names)
        for name, value in parsed.assignments():
            self._redactor.learn_env({name: value})
        for argv in parsed.argvs():
            self._redactor.learn_argv(argv)

    def shown(self) -> list[dict[str, Any]]:
        """The files with their masked lines; called when all secrets are learnt."""
        for entry, parsed in zip(self._files, self._documents, strict=True):
            lines = _split(entry.pop("text"))
            spans = parsed.secret_spans() if parsed else ()
            entry["lines"], entry["hashes"] = mask_lines(lines, self._redactor, spans)
            _forget(entry)
        return self._files

    def services(self) -> dict[str, dict[str, Any]]:
        """For each service and key all places where it stands, in the order in which later ones win."""
        result: dict[str, dict[str, Any]] = {}
        for index, parsed in enumerate(self._documents):
            if parsed is None or self._files[index]["extended"]:
                continue
            for name in parsed.service_names:
                told = result.setdefault(name, {**{key: [] for key in _KEPT}, "environment": {}})
                for at, node in self._layers(index, name, depth=0):
                    self._add(told, at, node)
        return {self._redactor.text(name): told for name, told in result.items()}

    def _layers(self, index: int, name: str, depth: int) -> Iterator[tuple[int, document.Service]]:
        """The service itself, before it what it extends."""
        parsed = self._documents[index]
        service = parsed.service(name) if parsed else None
        if service is None or depth > 8:
            return
        if base := service.extends():
            file, other = base
            at = index
            if file:
                place = os.path.normpath(os.path.join(os.path.dirname(self._files[index]["path"]), file))
                at = self._at.get(place, -1)
            if at >= 0:
                yield from self._layers(at, other, depth + 1)
        yield index, service

    def _add(self, told: dict[str, Any], index: int, service: document.Service) -> None:
        for key in _KEPT:
            if (place := service.place(key)) is not None:
                told[key].append(self._node(index, key, place))
        for name, place in service.environment():
            name = self._redactor.text(name)
            value = place.value if place.value is None else str(place.value)
            masked = value if value is None else self._redactor.value(name, value)
            told["environment"].setdefault(name, []).append(
                {**_where(index, place), "value": masked, "masked": masked != value})

    def _node(self, index: int, key: str, place: document.Place) -> dict[str, Any]:
        value = place.value
        if key in ("command", "entrypoint") and isinstance(value, list):
            masked = self._redactor.argv([str(word) for word in value])
            value = [str(word) for word in value]
        else:
            masked = self._redactor.data(value)
        return {**_where(index, place), "value": masked, "masked": masked != value}

    def env_paths(self) -> list[str]:
        """The paths of all env files that the services name, in order."""
        found = []
        for index, parsed in enumerate(self._documents):
            for path in parsed.env_files() if parsed else ():
                if "$" not in path:
                    folder = os.path.dirname(self._files[index]["path"])
                    found.append(os.path.normpath(os.path.join(folder, path)))
        return list(dict.fromkeys(found))[:FILES]

    def env_file(self, path: str) -> dict[str, Any]:
        """One env file, its secrets learnt; `finish` gives it its lines, hashes and values."""
        entry = {"path": path, "readable": False, "missing": False, "why": "", "modified": None}
        try:
            text, about = _read(path, self._emit)
            entry.update(about)
            assignments = assignments_of(text)
        except Unreadable as error:
            return {**entry, "missing": isinstance(error, Missing), "why": str(error)}
        entry["readable"] = True
        for one in assignments:
            self._redactor.learn_env({one.name: one.value})
        self._redactor.publish(one.value for one in assignments if PUBLIC_NAME.search(one.name.upper()))
        entry["text"], entry["assignments"] = text, assignments
        return entry

    def finish(self, entry: dict[str, Any]) -> dict[str, Any]:
        """An env file with its masked lines; called when all secrets are learnt."""
        lines, assignments = _split(entry.pop("text", "")), entry.pop("assignments", [])
        spans = [one.span(lines) for one in assignments
                 if is_secret_name(one.name) and not is_no_secret(one.value)]
        entry["lines"], entry["hashes"] = mask_lines(lines, self._redactor, spans)
        _forget(entry)
        entry["values"] = {}
        for one in assignments:
            value = self._redactor.value(one.name, one.value)
            entry["values"][self._redactor.text(one.name)] = {"line": one.line + 1, "value": value}
        return entry


@dataclass(frozen=True)
class Assignment:
    """One variable of an env file; lines from 0."""

    line: int
    end_line: int
    col: int
    name: str
    value: str = field(repr=False)

    def span(self, lines: Sequence[str]) -> document.Span:
        end = len(lines[self.end_line])
        return document.Span(self.line, self.col, self.end_line, end, self.name, self.value)


def assignments_of(text: str) -> list[Assignment]:
    """The assignments of an env file, in order. Unreadable when anything else stands in it.

    As Compose reads them: comments, blanks, ``NAME=value``, ``NAME: value``, ``export``; a value in quotes
    may go over several lines.
    """
    found: list[Assignment] = []
    lines = _split(text)
    at = 0
    while at < len(lines):
        first, line = at, lines[at]
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ASSIGNMENT.match(line)
        if not match:
            if _NAME_ONLY.fullmatch(line):
                continue
            raise Unreadable(f"line {first + 1} is no assignment, so it is no env file")
        value = match[2].strip()
        if value[:1] in ("'", '"'):
            quote, value = value[0], value[1:]
            while not (end := re.search(rf"(?<!\\){quote}", value)):
                if at >= len(lines):
                    raise Unreadable(f"the quote of line {first + 1} is never closed")
                value += "\n" + lines[at]
                at += 1
            value = value[:end.start()]
        else:
            value = re.split(r"\s#", value, maxsplit=1)[0].rstrip()
        found.append(Assignment(first, at - 1, match.start(2), match[1], value))
    return found


def mask_lines(
    lines: Sequence[str], redactor: Redactor, spans: Sequence[document.Span],
) -> tuple[list[str], list[str | None]]:
    """(masked lines, SHA-256 of the line's own text or None where masking or cleaning changed it)."""
    edited = list(lines)
    for span in sorted(spans, key=lambda span: (span.line, span.col), reverse=True):
        masked = redactor.value(span.name, span.value)
        if span.line == span.end_line:
            line = edited[span.line]
            edited[span.line] = line[:span.col] + span.quote + masked + span.quote + line[span.end_col:]
            continue
        edited[span.line] = edited[span.line][:span.col] + masked.split("\n")[0]
        for at in range(span.line + 1, min(span.end_line + 1, len(edited))):
            indent = len(edited[at]) - len(edited[at].lstrip())
            edited[at] = edited[at][:indent] + redactor.token(span.value)
    shown = redactor.lines(edited)
    hashes = [hashlib.sha256(old.encode("utf-8", "surrogateescape")).hexdigest() if old == new else None
              for old, new in zip(lines, shown, strict=True)]
    return shown, hashes


def _split(text: str) -> list[str]:
    """Lines without their ends."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def _where(index: int, place: document.Place) -> dict[str, Any]:
    return {"file": index, "line": place.line, "end_line": place.end_line, "col": place.col}


def _read(path: str, emit: Emit, *, utf8: bool = False) -> tuple[str, dict[str, Any]]:
    """(text, what the entry of a regular file says of it: see `_about`). With `utf8` a file that is nothing
    else is refused, as Compose refuses it. Unreadable."""
    if not os.path.isabs(path):
        raise Unreadable("its path is not absolute, so it is not known which file is meant")
    with emit.asking(f"read the file {path}") as asked:
        try:
            opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                told = os.fstat(opened)
                if not stat.S_ISREG(told.st_mode):
                    raise Unreadable("it is no regular file")
                raw = b""
                while len(raw) <= SIZE and (piece := os.read(opened, SIZE + 1 - len(raw))):
                    raw += piece
            finally:
                os.close(opened)
        except FileNotFoundError:
            asked.outcome = "no such file"
            raise Missing("there is no such file on this machine") from None
        except PermissionError:
            asked.outcome = "not permitted"
            raise Unreadable("this user may not read it") from None
        except OSError as error:
            asked.outcome = type(error).__name__
            raise Unreadable(f"it cannot be read: {error.strerror}") from None
        asked.outcome = f"{len(raw)} bytes"
    if len(raw) > SIZE:
        raise Unreadable(f"it is larger than {SIZE // 2**10} KiB")
    modified = datetime.fromtimestamp(told.st_mtime, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        text = raw.decode("utf-8", "strict" if utf8 else "backslashreplace")
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1}"
        raise Unreadable(f"it is no UTF-8 text ({where}), and Compose reads no other") from None
    return text, {"modified": modified, **_about(path, raw)}


def _about(path: str, raw: bytes) -> dict[str, Any]:
    """What an edit of the file must know beside its lines: `real` the file itself where the path leads to it
    by a link; `crlf` whether its lines end with CR LF, None where some do; `newline` whether its last line
    ends; `odd` the lines (from 0) with bytes that are no UTF-8."""
    pieces = raw.split(b"\n")
    newline = not pieces[-1]
    pieces = pieces[:-1] if newline else pieces
    ends = {piece.endswith(b"\r") for piece in (pieces if newline else pieces[:-1])}
    return {"real": _behind(path) if os.path.islink(path) else None, "newline": newline,
            "crlf": None if len(ends) > 1 else True in ends,
            "odd": [at for at, piece in enumerate(pieces) if not _is_text(piece)]}


def _behind(path: str) -> str:
    """The file that a link leads to, its folder spelt as it was where that is possible: a patch names it from
    there."""
    target = path
    for _ in range(40):
        if not os.path.islink(target):
            break
        target = os.path.normpath(os.path.join(os.path.dirname(target), os.readlink(target)))
    real = os.path.realpath(path)
    return target if os.path.realpath(target) == real else real


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _forget(entry: dict[str, Any]) -> None:
    """The hashes of lines that cannot be shown as they are: no patch can hold them."""
    for at in entry.pop("odd", ()):
        entry["hashes"][at] = None
