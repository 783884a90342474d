"""Evidence as a folder, and back.

::

    manifest.json            schema, target, time, versions, options, the index of sections
    sections/<name>.json     the data of one section
    logs/<label>.jsonl       the lines of one log: [time, stream, text] each
    calls.txt                every call that was made to the stack

A bundle comes from anywhere, so reading takes nothing for granted: sizes are capped, links are not
followed, no path leads out of the folder, types are checked, control characters are gone. Whatever is not
as it should be is a `BundleError` with one sentence; files that no index names are not looked at.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from celery_triage import shapes
from celery_triage.model import SCHEMA, Evidence, Section, dumps, plain
from celery_triage.redact import clean

#: Bytes of the manifest or the list of calls, of one section, and of everything that is read.
MANIFEST_LIMIT = 4 * 2**20
SECTION_LIMIT = 32 * 2**20
TOTAL_LIMIT = 192 * 2**20
SECTIONS = 4000
_NAME = re.compile(r"[A-Za-z0-9_][\w.\-]{0,149}(?:/[A-Za-z0-9_][\w.\-]{0,149})?", re.ASCII)
_FILE = re.compile(r"(sections|logs)/([A-Za-z0-9_][\w.\-]{0,199}\.jsonl?)", re.ASCII)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})")


class BundleError(ValueError):
    """The folder is no bundle that can be used; the text is one sentence."""


def save(evidence: Evidence, folder: str | Path) -> Path:
    """Write the evidence as a new folder, which appears whole or not at all. FileExistsError, OSError."""
    folder = Path(folder).absolute()
    if folder.exists():
        raise FileExistsError(f"{folder} exists already")
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(evidence, making)
        making.chmod(0o777 & ~_umask())
        making.rename(folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return folder


def _write(evidence: Evidence, folder: Path) -> None:
    (folder / "sections").mkdir()
    (folder / "logs").mkdir()
    index, taken = [], set()
    for name in sorted(evidence.sections):
        section = evidence.sections[name]
        told = {"name": name, "status": section.status, "why": section.why, "how": section.how,
                "taken_at": section.taken_at, "file": None}
        data = plain(section.data)
        if data is not None:
            log = name.startswith("logs/") and isinstance(data, dict) and isinstance(data.get("lines"), list)
            told["file"] = _file_name(name, log, taken)
            if log:
                told["about"] = {key: value for key, value in data.items() if key != "lines"}
                lines = (json.dumps(line, ensure_ascii=False) for line in data["lines"])
                content = "".join(f"{line}\n" for line in lines)
            else:
                content = dumps(data) + "\n"
            (folder / told["file"]).write_text(content, "utf-8")
        index.append(told)
    manifest = {"schema": SCHEMA, "target": evidence.target, "taken_at": evidence.taken_at,
                "tool": dict(evidence.tool), "options": dict(evidence.options), "sections": index}
    (folder / "calls.txt").write_text("".join(f"{line}\n" for line in evidence.calls), "utf-8")
    (folder / "manifest.json").write_text(dumps(manifest) + "\n", "utf-8")


def _file_name(name: str, log: bool, taken: set[str]) -> str:
    """A file for a section: its name, made unique where two differ only in what a file name cannot hold."""
    plain_name = name.removeprefix("logs/") if log else name.replace("/", "-")
    stem = re.sub(r"[^A-Za-z0-9_.\-]", "_", plain_name)[:150]
    stem = stem if re.match(r"[A-Za-z0-9_]", stem) else f"_{stem}"
    folder, ending = ("logs", "jsonl") if log else ("sections", "json")
    choices = (f"{folder}/{stem}{n}.{ending}" for n in ("", *(f".{n}" for n in range(2, SECTIONS))))
    chosen = next(choice for choice in choices if choice.lower() not in taken)
    taken.add(chosen.lower())
    return chosen


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def load(folder: str | Path) -> Evidence:
    """The evidence of a bundle, whoever wrote it. BundleError."""
    folder = Path(folder)
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BundleError(f"{folder} is no folder that can be read: {error.strerror}") from None
    try:
        return _Reader(top, folder).evidence()
    except RecursionError:
        raise BundleError(f"{folder} holds data that is nested too deeply") from None
    finally:
        os.close(top)


class _Reader:
    """Reads the files of one open folder and counts their bytes."""

    def __init__(self, top: int, folder: Path) -> None:
        self._top, self._folder = top, folder
        self._left = TOTAL_LIMIT
        self._files: set[str] = set()

    def evidence(self) -> Evidence:
        manifest = _object(self._json("manifest.json", MANIFEST_LIMIT), "manifest.json")
        schema = manifest.get("schema")
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise BundleError("manifest.json does not say its schema, so this is no bundle of evidence")
        if schema > SCHEMA:
            raise BundleError(f"the bundle has schema {schema}; this celery-triage reads up to {SCHEMA}")
        taken_at = _text(manifest, "taken_at", "manifest.json")
        if not _TIME.fullmatch(taken_at):
            raise BundleError("manifest.json does not say in ISO 8601 when the evidence was taken")
        index = manifest.get("sections")
        if not isinstance(index, list) or len(index) > SECTIONS:
            raise BundleError(f"manifest.json needs a list of at most {SECTIONS} sections")
        tool = _object(manifest.get("tool", {}), "tool in manifest.json")
        if not all(isinstance(value, str) for value in tool.values()):
            raise BundleError("tool in manifest.json must hold texts only")
        sections: dict[str, Section] = {}
        for entry in index:
            section = self._section(_object(entry, "a section in manifest.json"))
            if section.name in sections:
                raise BundleError(f"manifest.json names the section {section.name} twice")
            sections[section.name] = section
        calls = clean(self._text("calls.txt", MANIFEST_LIMIT)).split("\n")
        target = _text(manifest, "target", "manifest.json")
        options = _object(manifest.get("options", {}), "options in manifest.json")
        return Evidence(
            target=" ".join(target.split()), taken_at=taken_at, sections=sections, calls=tuple(calls[:-1]),
            origin=str(self._folder), tool=tool, options=options)

    def _section(self, entry: Mapping[str, Any]) -> Section:
        name = _text(entry, "name", "a section in manifest.json")
        if not _NAME.fullmatch(name):
            raise BundleError(f"manifest.json has a section whose name cannot be: {name[:80]!r}")
        where = f"section {name} in manifest.json"
        parts = ("status", "why", "how", "taken_at")
        texts = {key: _text(entry, key, where) for key in parts if key in entry}
        data = self._data(name, entry, where)
        try:
            return Section(name, data=data, **texts)
        except (ValueError, TypeError) as error:
            raise BundleError(f"{where} is not as it should be: {error}") from None

    def _data(self, name: str, entry: Mapping[str, Any], where: str) -> Any:
        file = entry.get("file")
        if file is None:
            return None
        found = _FILE.fullmatch(file) if isinstance(file, str) else None
        if not found or file in self._files or (found[1] == "logs" and not name.startswith("logs/")):
            raise BundleError(f"{where} names a file that cannot be its own in a bundle")
        self._files.add(file)
        if found[1] == "logs":
            data = {**_object(entry.get("about", {}), where), "lines": list(self._lines(file))}
        else:
            data = self._json(file, SECTION_LIMIT)
        if wrong := shapes.wrong(name, data):
            raise BundleError(f"{file}: {wrong}")
        return data

    def _lines(self, file: str) -> Iterator[list[str]]:
        text = self._text(file, SECTION_LIMIT)
        for number, line in enumerate(text.split("\n")[:-1], start=1):
            told = _parsed(line, f"{file}, line {number}")
            if not isinstance(told, list) or [type(part) for part in told] != [str, str, str]:
                raise BundleError(f"{file}, line {number} is no [time, stream, text]")
            yield [part.replace("\n", " ") for part in told]

    def _json(self, file: str, limit: int) -> Any:
        return _parsed(self._text(file, limit), file)

    def _text(self, file: str, limit: int) -> str:
        try:
            return self._bytes(file, limit).decode("utf-8")
        except UnicodeDecodeError:
            raise BundleError(f"{file} is not UTF-8") from None

    def _bytes(self, file: str, limit: int) -> bytes:
        """The content of a regular file, reached without following any link below the folder."""
        folder, _, name = file.rpartition("/")
        opened, flags = self._top, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            if folder:
                opened = os.open(folder, flags | os.O_DIRECTORY, dir_fd=self._top)
            with open(os.open(name, flags, dir_fd=opened), "rb") as source:
                if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                    raise BundleError(f"{file} is no regular file")
                limit = min(limit, self._left)
                raw = source.read(limit + 1)
        except FileNotFoundError:
            raise BundleError(f"{file} is missing, so {self._folder} is no whole bundle") from None
        except OSError as error:
            raise BundleError(f"{file} cannot be read ({error.strerror}); links are not followed") from None
        finally:
            if opened != self._top:
                os.close(opened)
        if len(raw) > limit:
            raise BundleError(f"{file} is larger than a bundle may be")
        self._left -= len(raw)
        return raw


def _parsed(text: str, what: str) -> Any:
    """JSON data, its texts without control characters, which an escape can bring back."""
    try:
        return _clean(json.loads(text, parse_constant=_no_constant))
    except ValueError:
        raise BundleError(f"{what} is no valid JSON") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): _clean(item) for key, item in value.items()}
    return value


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BundleError(f"{what} must be a JSON object")
    return value


def _text(entry: Mapping[str, Any], key: str, what: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise BundleError(f"{what} must have a text {key}")
    return value


__all__ = ["BundleError", "load", "save"]
