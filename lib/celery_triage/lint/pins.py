"""Which versions of Celery an image can hold: by its tag, its Dockerfile, or the requirements beside it.

Where nothing says it, every supported version is possible. A requirement counts only as far as it excludes:
``celery>=5.2,<5.4`` leaves 5.2 and 5.3, ``celery`` leaves all.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from celery_triage.commandline import minor, versions
from celery_triage.lint.dockerfile import Dockerfile
from celery_triage.lint.project import Project
from celery_triage.lint.reading import Node, Unreadable, text_of

#: Stands for every release of Celery 4: its command line took another order and other names.
FOUR = "4"
_SIZE = 4 * 2**20
#: More patch releases than any minor version has had.
_PATCHES = range(40)
_LOCKS = ("poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock")
_LISTS = ("requirements.txt", "pyproject.toml", "Pipfile")
_FOLDERS = ("", "requirements", "requirement", "reqs")
_OTHER = re.compile(r"\s*(-r|-c|--requirement|--constraint)[ =]\s*([^\s#]+)")
_PIP = re.compile(r"(?:pip3?|uv pip|uv|poetry|pdm|pipenv)\s+(?:install|add)\s+([^\n;&|]*)")
_FOUR_OR_LESS = (
    "4.0.0",
    "4.0.2",
    "4.1.0",
    "4.1.1",
    "4.2.0",
    "4.2.1",
    "4.2.2",
    "4.3.0",
    "4.3.1",
    "4.4.0",
    "4.4.2",
    "4.4.6",
    "4.4.7",
    "3.1.26",
)


@dataclass(frozen=True)
class Pin:
    """``minors``: the versions that are possible (``"4"`` among them where nothing excludes it), oldest
    first; ``how``: a sentence by what that is known, empty where it is not; ``packages``: the names that the
    requirements list (canonical), None where none could be read; ``complete``: they are a lock file;
    ``exact``: packages of which all lists allow one version only, with it and the list's name."""

    minors: tuple[str, ...]
    how: str = ""
    packages: frozenset[str] | None = None
    complete: bool = False
    extras: frozenset[str] = frozenset()
    exact: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether nothing excludes any version."""
        return not self.how


@dataclass
class _Found:
    specifiers: list[tuple[SpecifierSet, str]] = field(default_factory=list)
    packages: set[str] = field(default_factory=set)
    versions: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    extras: set[str] = field(default_factory=set)
    read: list[str] = field(default_factory=list)
    followed: list[str] = field(default_factory=list)
    locked: bool = False


def every() -> tuple[str, ...]:
    """All versions that a command is judged by when nothing says which it is, Celery 4 first."""
    known = versions()
    return known if any(one.startswith("4.") for one in known) else (FOUR, *known)


def pin_of(project: Project, service: Node, docker: Dockerfile | None) -> Pin:
    """What is known of the Celery in the image of a service."""
    image = project.text(service.get("image")) or ""
    bare = image.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
    name, _, tag = bare.partition(":")  # the official image; others of that name may hold anything
    if name == "celery" and service.get("build") is None and (told := minor(tag)):
        return _of([(SpecifierSet(f"=={told}.*"), f"the tag of the image {image}")], _Found())
    cache = project.__dict__.setdefault("_pins", {})
    key = (docker.path, docker.context) if docker else None
    if docker is None:
        return Pin(every())
    if key not in cache:
        found = _Found()
        _from_dockerfile(docker, found)
        _from_folder(docker.context, found)
        if os.path.dirname(docker.path) != docker.context and not found.read:
            _from_folder(os.path.dirname(docker.path), found)
        cache[key] = _of(found.specifiers, found)
    return cache[key]


def _of(specifiers: list[tuple[SpecifierSet, str]], found: _Found) -> Pin:
    packages = frozenset(found.packages) if found.read else None
    whole = {
        "packages": packages,
        "complete": found.locked,
        "extras": frozenset(found.extras),
        "exact": _exact(found),
    }
    telling = [(spec, how) for spec, how in specifiers if str(spec)]
    if not telling:
        return Pin(every(), **whole)
    left: list[str] = []
    for version in every():
        # Several lists may serve several images: a version that one of them allows is possible.
        if any(_allows(spec, version) for spec, _ in telling):
            left.append(version)
    if len(left) == len(every()):
        return Pin(every(), **whole)
    how = "; ".join(
        dict.fromkeys(
            f"celery{spec} in {how}" if not how.startswith("the tag") else how for spec, how in telling
        )
    )
    return Pin(tuple(left), how, **whole)


def _exact(found: _Found) -> dict[str, tuple[str, str]]:
    told = {}
    for name, seen in found.versions.items():
        if len({version for version, _ in seen}) == 1 and all(version for version, _ in seen):
            version, _ = next(iter(seen))
            told[name] = (version, ", ".join(sorted({how for _, how in seen})))
    return told


def _pinned(wanted: SpecifierSet) -> str:
    """The one version that ``==1.2.3`` leaves; empty where more are possible."""
    specifiers = list(wanted)
    if len(specifiers) != 1 or specifiers[0].operator not in ("==", "==="):
        return ""
    version = specifiers[0].version
    return "" if "*" in version else version


def _allows(spec: SpecifierSet, version: str) -> bool:
    if version == FOUR:
        return any(spec.contains(one) for one in _FOUR_OR_LESS)
    if any(one.operator in ("==", "===") and minor(one.version) == version for one in spec):
        return True  # also a pre-release, 5.5.0rc3
    return any(spec.contains(f"{version}.{patch}", prereleases=True) for patch in _PATCHES)


def _from_dockerfile(docker: Dockerfile, found: _Found) -> None:
    joined = re.sub(r"\\\s*\n", " ", re.sub(r"(?m)^\s*#.*\n", "", docker.text))
    given = dict(re.findall(r"(?m)^\s*(?:ARG|ENV)\s+(\w+)[= ][\"']?([\w.]+)", docker.text))
    joined = re.sub(r"\$\{?(\w+)(?::-[\w.]+)?\}?", lambda found_: given.get(found_[1], found_[0]), joined)
    for command in _PIP.findall(joined):
        for word in re.findall(
            r"""["']?([A-Za-z][\w.-]*(?:\[[\w,\s-]*\])?(?:[=<>~!]=?[^\s"']*)?)["']?""", command
        ):
            _requirement(word, os.path.basename(docker.path), found)


def _from_folder(folder: str, found: _Found) -> None:
    """Locks first: where one names Celery, what the loose lists allow says nothing more."""
    for name in _LOCKS:
        _one(os.path.join(folder, name), found)
    if any(how.endswith(_LOCKS) for _, how in found.specifiers):
        found.locked = True
        return
    for below in _FOLDERS:
        for path in _lists(os.path.join(folder, below)):
            _one(path, found)


def _lists(folder: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder or "."))[:2000]
    except OSError:
        return
    for name in names:
        inside = os.path.basename(folder) in _FOLDERS[1:] and name.endswith((".txt", ".pip"))
        if name in _LISTS or inside or re.fullmatch(r"require[\w.-]*\.txt", name):
            yield os.path.join(folder, name)


def _one(path: str, found: _Found) -> None:
    name = os.path.basename(path)
    try:
        text = text_of(path, _SIZE)
    except Unreadable:
        return
    try:
        if name.endswith((".lock", ".toml")) and name != "Pipfile.lock" or name == "Pipfile":
            _toml(name, tomllib.loads(text), found)
        elif name == "Pipfile.lock":
            for member, told in (json.loads(text).get("default") or {}).items():
                _requirement(f"{member}{(told or {}).get('version') or ''}", name, found)
        else:
            for line in text.splitlines():
                if other := _OTHER.match(line):
                    _follow(os.path.join(os.path.dirname(path), other[2]), other[1], found)
                    continue
                bare = line.split(" #")[0].split(" --")[0].strip()
                _requirement(bare.rstrip("\\").rstrip(), name, found)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return
    found.read.append(name)


def _follow(path: str, option: str, found: _Found) -> None:
    """What ``-r`` and ``-c`` in a list lead to. Constraints install nothing: only what they say of Celery
    counts."""
    name = os.path.basename(path)
    if name in found.read or name in found.followed or "$" in path:
        return
    found.followed.append(name)
    if option in ("-r", "--requirement"):
        _one(path, found)
        return
    other = _Found(followed=found.followed)
    _one(path, other)
    found.specifiers += other.specifiers


def _toml(name: str, told: dict, found: _Found) -> None:
    for package in told.get("package") or () if isinstance(told.get("package"), list) else ():
        _requirement(f"{package.get('name')}=={package.get('version')}", name, found)
    if name == "Pipfile":
        for member, wanted in (told.get("packages") or {}).items():
            _loose(member, wanted, name, found)
        return
    project = told.get("project") or {}
    groups = [
        project.get("dependencies") or [],
        *(project.get("optional-dependencies") or {}).values(),
        *(told.get("dependency-groups") or {}).values(),
    ]
    for group in groups:
        for line in group:
            if isinstance(line, str):
                _requirement(line, name, found)
    poetry = (told.get("tool") or {}).get("poetry") or {}
    tables = [poetry.get("dependencies") or {}]
    tables += [(group or {}).get("dependencies") or {} for group in (poetry.get("group") or {}).values()]
    for table in tables:
        for member, wanted in table.items():
            _loose(member, wanted, name, found)


def _loose(member: str, wanted: object, name: str, found: _Found) -> None:
    """A requirement of Pipfile or Poetry: ``"*"``, ``"^5.3"``, ``"~5.3.1"``, or a table with ``version``."""
    extras = ""
    if isinstance(wanted, dict):
        extras = "[" + ",".join(wanted.get("extras") or ()) + "]" if wanted.get("extras") else ""
        wanted = wanted.get("version") or "*"
    text = str(wanted).strip()
    parts = text.lstrip("^~=").split(".")
    if text.startswith("^") and parts[0].isdigit():
        text = f">={text[1:]},<{int(parts[0]) + 1}"
    elif text.startswith("~") and not text.startswith("~=") and all(part.isdigit() for part in parts[:2]):
        upper = f"{parts[0]}.{int(parts[1]) + 1}" if len(parts) > 1 else str(int(parts[0]) + 1)
        text = f">={text[1:]},<{upper}"
    elif text == "*":
        text = ""
    elif text[:1].isdigit():
        text = f"=={text}"
    _requirement(f"{member}{extras}{text}", name, found)


def _requirement(line: str, how: str, found: _Found) -> None:
    if "$" in line or not line or line.startswith(("-", "#", "git+", "http")) or len(line) > 500:
        return
    try:
        wanted = Requirement(line)
    except (InvalidRequirement, InvalidSpecifier):
        return
    name = canonicalize_name(wanted.name)
    found.packages.add(name)
    found.versions.setdefault(name, set()).add((_pinned(wanted.specifier), how))
    if name == "celery":
        found.extras.update(wanted.extras)
        found.specifiers.append((wanted.specifier, how))
