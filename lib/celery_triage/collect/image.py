"""Python inside one container, seen file by file from outside: interpreter, package folders, versions,
modules.

Asked by `HEAD …/archive` (does it exist, where does a link lead) and, for a few small text files, `GET
…/archive`; both also answer for a container that is restarting. A folder cannot be listed, so every place
is guessed by the rules by which Python and the shell find it. Times on Engine 20.10: 2 to 4 ms for a HEAD,
about 50 ms for a GET.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from celery_triage.collect.docker import Engine, NotFound, Stat

#: Import name and the file inside it that states the version as text ("" where none does).
PACKAGES = {
    "celery": "__init__.py", "kombu": "__init__.py", "redis": "__init__.py", "sqlalchemy": "__init__.py",
    "flower": "__init__.py", "psycopg": "version.py", "psycopg2": "", "asyncpg": "_version.py",
    "pymysql": "__init__.py", "MySQLdb": "release.py", "amqp": "__init__.py", "billiard": "__init__.py",
    "prometheus_client": "", "alembic": "__init__.py", "vine": "__init__.py", "click": "__init__.py",
    "importlib_metadata": "",
}
#: What Docker sets for an image that says nothing.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VERSION_TEXT = re.compile(
    r"^[ \t]*(?:__version__|version|VERSION_STRING)[ \t]*(?::[^=\n]{1,40})?="
    r"[ \t]*[\"']([0-9][^\"'\n]{0,40})", re.MULTILINE)
_VERSION_TUPLE = re.compile(
    r"^[ \t]*(?:VERSION|version_info)[ \t]*=[ \t]*\([ \t]*([0-9]+)[ \t]*,[ \t]*([0-9]+)[ \t]*,[ \t]*([0-9]+)",
    re.MULTILINE)
_PYTHON = re.compile(r"python([23]\.[0-9]{1,2})$")
_APPLICATION = re.compile(r"^(\w+)[ \t]*(?::[^=\n]{1,80})?=[ \t]*(?:\w+\.)?Celery\(", re.MULTILINE)
#: How a module comes by a name: assigned, defined, imported, or by ways that cannot be read.
_NAMES = (r"^[ \t]*(?:NAME\b[ \t]*(?:=|:|,|\)|$)|(?:async[ \t]+)?(?:def|class)[ \t]+NAME\b)"
          r"|\bimport\b[^\n]*\bNAME\b|\bas[ \t]+NAME\b|,[ \t]*NAME[ \t]*="
          r"|import[ \t]+\*|__getattr__|globals\(|setattr")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$")
#: Tried where no interpreter tells its version.
_VERSIONS = tuple(f"3.{minor}" for minor in range(14, 5, -1))


class Image:
    """The files of one container. `entry` is its unmasked item; answers are remembered, so no place is asked
    twice. `texts` is shared by containers of one image: a file of the same path, size and time of change is
    read once. NotFound and EngineError come from the engine."""

    def __init__(
        self, engine: Engine, entry: Mapping[str, Any], env: Mapping[str, str],
        texts: dict[tuple, str] | None = None,
    ) -> None:
        self._engine, self._id = engine, entry["id"]
        self._texts = {} if texts is None else texts
        self.env = env
        self.cwd = entry.get("working_dir") or "/"
        self.user = str(entry.get("user") or "").partition(":")[0]
        self._known: dict[str, tuple[str, Stat] | None] = {}
        self._hidden = [mount["target"].rstrip("/") + "/" for mount in entry.get("mounts") or ()
                        if mount.get("type") == "tmpfs" and mount.get("target")]

    def hidden(self, path: str) -> bool:
        """True below a tmpfs, which the archive call cannot see."""
        return any((path.rstrip("/") + "/").startswith(target) for target in self._hidden)

    def find(self, path: str) -> tuple[str, Stat] | None:
        """(path behind all links, what stands there) or None where nothing stands."""
        if path not in self._known:
            self._known[path] = self._engine.follow(self._id, path)
        return self._known[path]

    def is_file(self, path: str) -> bool:
        found = self.find(path)
        return bool(found and found[1].is_file)

    def is_folder(self, path: str) -> bool:
        found = self.find(path)
        return bool(found and found[1].is_directory)

    def text(self, path: str) -> str:
        """The content of a small text file, "" where there is none. It stays in this process."""
        found = self.find(path)
        if not found:
            return ""
        key = (found[0], found[1].size, found[1].modified)
        if key not in self._texts:
            try:
                raw = self._engine.read_found(self._id, *found)
            except NotFound:  # gone since it was seen; whether the container is, too, is asked at the end
                raw = None
            self._texts[key] = (raw or b"").decode("utf-8", "replace")
        return self._texts[key]

    def size(self, path: str) -> int | None:
        """Bytes of a regular file."""
        found = self.find(path)
        return found[1].size if found and found[1].is_file else None

    def join(self, *parts: str) -> str:
        """An absolute path, relative ones from the working directory."""
        return posixpath.normpath(posixpath.join("/", self.cwd, *parts))

    def executable(self, name: str, more: Iterable[str] = ()) -> tuple[str | None, list[str]]:
        """(path, all paths looked at) of a command, as the shell finds it on PATH; `more` are folders
        behind."""
        if "/" in name:
            places = [self.join(name)]
        else:
            folders = [folder for folder in self.env.get("PATH", DEFAULT_PATH).split(":") if folder]
            places = [self.join(folder, name) for folder in (*folders, *more)]
        looked = []
        for place in dict.fromkeys(places):
            looked.append(place)
            if self.is_file(place):
                return place, looked
        return None, looked


class Python:
    """The `interpreter` named, else the one that runs `executable`, else the first one on PATH: `version`
    (``3.11``), the folders from which it imports packages that exist (`site`), in the order in which it
    looks."""

    def __init__(self, image: Image, executable: str | None, interpreter: str | None = None) -> None:
        self._image = image
        self.version: str | None = None
        self.path = image.executable(interpreter)[0] if interpreter else self._interpreter(executable)
        folder = posixpath.dirname(posixpath.dirname(self.path)) if self.path else ""
        self._read_version(folder)
        self.site = [path for path in dict.fromkeys(self._folders(folder)) if image.is_folder(path)]

    def _interpreter(self, executable: str | None) -> str | None:
        """From the first lines of the script: ``#!/usr/bin/python3``, ``#!/usr/bin/env python3``, or the way
        round a long path that pip writes (``#!/bin/sh`` and ``'''exec' /long/path/python``)."""
        if executable:
            head = self._image.text(executable)[:1000].splitlines()[:2]
            words = head[0][2:].split() if head and head[0].startswith("#!") else []
            if words and posixpath.basename(words[0]) == "env":
                words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
                words = words and [self._image.executable(words[0])[0] or ""]
            elif words and posixpath.basename(words[0]) in ("sh", "bash") and len(head) > 1:
                found = re.search(r"exec'?\s+\"?([^\s\"]*python[^\s\"]*)", head[1])
                words = [found[1]] if found else []
            if words and "python" in words[0]:
                return words[0]
        for name in ("python3", "python"):
            if path := self._image.executable(name)[0]:
                return path
        return None

    def _read_version(self, folder: str) -> None:
        found = self._image.find(self.path) if self.path else None
        self.virtual = self._image.text(f"{folder}/pyvenv.cfg") if folder not in ("", "/", "/usr") else ""
        for text in (found[0] if found else "", self.path or ""):
            if match := _PYTHON.search(text):
                self.version = match[1]
                return
        if match := re.search(r"^version(?:_info)?\s*=\s*([23]\.[0-9]{1,2})", self.virtual, re.MULTILINE):
            self.version = match[1]
        elif folder == "/usr/local" and "PYTHON_VERSION" in self._image.env:  # the official images set it
            self.version = ".".join(self._image.env["PYTHON_VERSION"].split(".")[:2])
        else:
            self.version = next((version for version in _VERSIONS
                                 if folder and self._image.is_folder(f"{folder}/lib/python{version}")), None)

    def _folders(self, folder: str) -> Iterator[str]:
        """Where packages can be, in the order of ``sys.path``: PYTHONPATH, the user's, the interpreter's own.

        Debian's own Python (below ``/usr``) uses ``dist-packages``, those below ``/usr/local`` first; no
        other Python looks there, the official images' one in ``/usr/local`` neither.
        """
        image, versions = self._image, (self.version,) if self.version else _VERSIONS
        for part in image.env.get("PYTHONPATH", "").split(":"):
            if part:
                yield image.join(part)
        if self.virtual:
            yield from _own(folder, versions)
            if not re.search(r"(?im)^include-system-site-packages\s*=\s*true", self.virtual):
                return
            home = re.search(r"^home\s*=\s*(\S+)", self.virtual, re.MULTILINE)
            folder = posixpath.dirname(home[1]) if home else "/usr"
        owner = "/root" if image.user in ("", "0", "root") else f"/home/{image.user}"
        home = image.env.get("HOME") or owner
        for version in versions:
            yield f"{home}/.local/lib/python{version}/site-packages"
        if folder in ("", "/", "/usr"):
            for version in versions:
                yield f"/usr/local/lib/python{version}/dist-packages"
            yield from _own("/usr/local", versions)
            yield "/usr/lib/python3/dist-packages"
            yield from _own("/usr", versions)
        else:
            yield from _own(folder, versions)

    def packages(self) -> dict[str, dict[str, Any]]:
        """Presence, version and path of each of PACKAGES. `present` is None where no package folder is known,
        `version` where a package is there and does not state it in text."""
        return {name: self._package(name, file) for name, file in PACKAGES.items()}

    def _package(self, name: str, file: str) -> dict[str, Any]:
        for folder in self.site:
            base = f"{folder}/{name}"
            if self._image.is_file(f"{base}/__init__.py"):
                version = read_version(self._image.text(f"{base}/{file}")) if file else None
                return {"present": True, "version": version, "path": base}
        return {"present": False if self.site else None, "version": None, "path": None}


def _own(folder: str, versions: Iterable[str]) -> Iterator[str]:
    for version in versions:
        yield f"{folder}/lib/python{version}/site-packages"
        yield f"{folder}/lib64/python{version}/site-packages"


def read_version(text: str) -> str | None:
    """The version that a package's own file states; None where it computes it (psycopg from 3.2 on does, and
    falls back on ``0.0.0.0``)."""
    for found in _VERSION_TEXT.finditer(text):
        if found[1] != "0.0.0.0":
            return found[1]
    found = _VERSION_TUPLE.search(text)
    return ".".join(found.groups()) if found else None


def module_files(module: str) -> list[str]:
    """The files that can be a module, relative to a folder of ``sys.path``, in Python's order."""
    path = module.replace(".", "/")
    return [f"{path}/__init__.py", f"{path}.py", f"{path}/__init__.pyc", f"{path}.pyc"]


def find_app(image: Image, app: str, bases: Iterable[str]) -> dict[str, Any]:
    """The module of ``-A app`` below the first of `bases` that has it: `module`, `present`, `path`, `looked`.

    Celery 5.7 (`celery/app/utils.py`) takes the last part for an attribute of the rest first, then for a
    module: so where the rest is a module that mentions the name, `present` stays None.
    """
    module = app.partition(":")[0]
    looked: list[str] = []
    result = {"module": module, "present": None, "path": None, "looked": looked}
    if not _MODULE.match(module):
        return result
    bases = list(dict.fromkeys(bases))
    if found := _search(image, module, bases, looked):
        return {**result, "present": True, "path": found}
    if any(image.hidden(base) for base in bases) or not bases:
        return result
    parent, _, last = module.rpartition(".")
    if parent and ":" not in app and (holder := _search(image, parent, bases, [])):
        if not image.size(holder):
            return {**result, "present": False}
        text = image.text(holder)
        if re.search(rf"\b{last}\b|import \*|__getattr__", text) or not text:
            return {**result, "path": holder}
    return {**result, "present": False}


def inside_app(image: Image, app: str, path: str) -> dict[str, Any]:
    """What else is seen of a module that is there: ``apps``, the names that it gives to Celery applications,
    ``named``, whether it mentions the attribute of ``-A module:attribute``, and ``closed``, the first folder
    or file on its way that not everybody may enter or read."""
    text, attribute = image.text(path), app.partition(":")[2].partition(".")[0]
    told: dict[str, Any] = {"apps": list(dict.fromkeys(_APPLICATION.findall(text)))[:4]}
    if attribute and text:
        told["named"] = bool(re.search(_NAMES.replace("NAME", re.escape(attribute)), text, re.MULTILINE))
    parts = path.strip("/").split("/")
    for number in range(1, len(parts) + 1):
        place = "/" + "/".join(parts[:number])
        stands = image.find(place)
        needed = 0o004 if number == len(parts) else 0o001
        if stands and not stands[1].mode & needed:
            told["closed"] = {"path": place, "mode": stands[1].mode & 0o777}
            break
    return told


def _search(image: Image, module: str, bases: Iterable[str], looked: list[str]) -> str | None:
    for base in bases:
        for file in module_files(module):
            place = posixpath.join(base, file)
            if place.endswith(".py"):
                looked.append(place)
            if image.is_file(place):
                return place
    return None
