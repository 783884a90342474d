"""A project as Compose would load it: files merged, ``extends`` and ``include`` followed, variables put in.

Nothing is started and nothing outside the named files, what they name (``extends``, ``include``,
``env_file``, Dockerfile, requirements) and the ``.env`` beside the first one is read. What cannot be read is
kept as a doubt, never taken for absent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from celery_triage.lint import variables
from celery_triage.lint.merging import merge, named, names
from celery_triage.lint.reading import Duplicate, Missing, Node, Read, Unreadable, read
from celery_triage.lint.variables import Variables

#: More files than that (with ``extends`` and ``include``) are not followed, nor deeper chains.
FILES = 40
DEPTH = 12
_TOP = ("networks", "volumes", "secrets", "configs")
_KNOWN_TOP = frozenset((*_TOP, "services", "include", "version", "name", "models"))
#: Names under which Compose finds a file by itself; another file alone may be meant for use beside one.
BASE_NAMES = frozenset(("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"))


@dataclass(frozen=True)
class Doubt:
    """Something that could not be read: which file, why; ``missing`` where it is not there at all, ``given``
    where the user named it."""

    path: str
    why: str
    missing: bool = False
    given: bool = False


@dataclass
class Project:
    """What was read. ``services`` by name, merged; ``top`` the merged top-level ``networks``, ``volumes`` …;
    ``incomplete`` the services of which a part could not be read, with the reason; ``broken`` those that
    extend what is surely not there (service, place, why)."""

    paths: tuple[str, ...]
    folder: str
    variables: Variables
    dotenv: bool = False
    reads: dict[str, Read] = field(default_factory=dict)
    services: dict[str, Node] = field(default_factory=dict)
    top: dict[str, Node] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)
    incomplete: dict[str, str] = field(default_factory=dict)
    legacy: list[str] = field(default_factory=list)
    odd_versions: list[Node] = field(default_factory=list)
    broken: list[tuple[str, Node, str]] = field(default_factory=list)
    name: str = ""

    @property
    def duplicates(self) -> list[Duplicate]:
        return [one for told in self.reads.values() for one in told.duplicates]

    @cached_property
    def fragment(self) -> str:
        """Why other files may belong to these, empty where they are whole."""
        for name, node in self.services.items():
            if not any(key in node.pairs() for key in ("image", "build", "provider")):
                return (
                    f"the service {name} has neither image nor build here, so another file belongs to these"
                )
        if not self.services and all(path in self.reads for path in self.paths):
            return "these files have no services, so others may belong to them"
        for doubt in self.doubts:
            if not doubt.path.endswith(".env"):
                return f"{doubt.path} could not be read"
        return ""

    @property
    def alone(self) -> bool:
        """Whether a single file was named that Compose would not find by itself."""
        return len(self.paths) == 1 and os.path.basename(self.paths[0]) not in BASE_NAMES

    def text(self, node: Node | None) -> str | None:
        """The text of a node, variables put in."""
        return None if node is None or node.text is None else self.variables.put_in(node.text)

    def written(self, node: Node | None) -> str:
        """The text with unknown variables written as ``${NAME}``; empty where there is none."""
        return variables.written(self.text(node) or "")

    def line(self, file: str, line: int) -> str:
        """A line of a file as it stands; empty where there is none."""
        told = self.reads.get(file)
        return told.lines[line - 1] if told and 0 < line <= len(told.lines) else ""


def load(paths: Sequence[str], env_files: Sequence[str] = ()) -> Project:
    """The project of these files, in the order of ``-f``. Never raises for what stands in them."""
    folder = os.path.dirname(paths[0])
    project = Project(tuple(paths), folder, Variables())
    project.variables.known, project.dotenv = _dotenv(project, folder, env_files)
    for path in paths:
        _add(project, path, folder, 0, given=True)
    _without_services(project)
    return project


def _without_services(project: Project) -> None:
    """Files that come to no service at all were looked at in vain: that is no "nothing wrong there"."""
    if project.services or any(doubt.given for doubt in project.doubts):
        return
    for path in project.paths:
        told = project.reads.get(path)
        empty = told is None or told.root is None or not told.root.pairs()
        why = "it is empty" if empty else "it has no services"
        project.doubts.append(Doubt(path, f"{why}, so there is nothing to judge", given=True))


def _dotenv(project: Project, folder: str, env_files: Sequence[str]) -> tuple[dict[str, str], bool]:
    values: dict[str, str] = {}
    seen = False
    for path in env_files or (os.path.join(folder, ".env"),):
        try:
            values |= variables.env_file(path)
            seen = True
        except Missing as error:
            if env_files:
                project.doubts.append(Doubt(path, str(error), missing=True, given=True))
        except Unreadable as error:
            project.doubts.append(Doubt(path, str(error), given=bool(env_files)))
    return values, seen


def _add(project: Project, path: str, folder: str, depth: int, given: bool = False) -> None:
    """Merge one file, and before it what it includes, into the project."""
    told = _read(project, path, given)
    if told is None or told.root is None:
        return
    root = told.root
    services = root.get("services")
    if services is None and "include" not in root.pairs():
        services = _first_format(root)
        if services is None:
            if not (set(root.pairs()) & _KNOWN_TOP or any(key.startswith("x-") for key in root.pairs())):
                project.doubts.append(Doubt(path, "it is no Compose file: it has no services", given=given))
        else:
            project.legacy.append(path)
    for other, below in _included(project, root, path, folder):
        if depth < DEPTH:
            _add(project, other, below, depth + 1)
    version = root.get("version")
    if version is not None and not _version_known(version.text):
        project.odd_versions.append(version)
    if (name := project.text(root.get("name"))) and not variables.unknown(name):
        project.name = name
    for key in _TOP:
        if (node := root.get(key)) is not None:
            merged = merge(project.top.get(key), node, key)
            if merged is not None:
                project.top[key] = merged
    if services is not None and not isinstance(services.value, (dict, type(None))):
        project.doubts.append(Doubt(path, "it is no Compose file: services is no mapping", given=given))
        return
    for service, node in (services.pairs() if services is not None else {}).items():
        if not isinstance(node.value, dict):
            if node.tag == "!reset":
                project.services.pop(service, None)
            else:
                why = f"the service {service} is no mapping (line {node.line})"
                project.doubts.append(Doubt(path, why, given=given))
            continue
        whole = _extended(project, path, service, node, 0)
        merged = merge(project.services.get(service), whole, service)
        if merged is None:
            project.services.pop(service, None)
        else:
            project.services[service] = merged


def _version_known(text: str | None) -> bool:
    parts = (text or "").split(".")
    return len(parts) <= 2 and parts[0] in ("1", "2", "3") and all(part.isdigit() for part in parts)


def _first_format(root: Node) -> Node | None:
    """The services of a file of Compose's first format (until 2016), which has no ``services``."""
    members = root.pairs().values()
    looks = [
        isinstance(member.value, dict) and bool({"image", "build", "extends"} & set(member.pairs()))
        for member in members
    ]
    return root if looks and all(looks) else None


def _included(project: Project, root: Node, path: str, folder: str) -> Iterator[tuple[str, str]]:
    for item in (root.get("include") or Node(None, path, 0)).items():
        node = item.get("path") if isinstance(item.value, dict) else item
        for one in node.items() if node is not None else ():
            other = project.text(one)
            if not other:
                continue
            if variables.unknown(other) or "://" in other or other.startswith("git@"):
                project.doubts.append(
                    Doubt(variables.written(other), "it is not on this machine, or its path is not known")
                )
                continue
            target = os.path.normpath(os.path.join(folder or ".", other))
            yield target, os.path.dirname(target)


def _read(project: Project, path: str, given: bool = False) -> Read | None:
    if path in project.reads:
        return project.reads[path]
    try:
        if len(project.reads) >= FILES:
            raise Unreadable(f"more than {FILES} files belong together")
        told = read(path, path)
        if told.root is not None and not isinstance(told.root.value, dict):
            raise Unreadable("it is no Compose file: it is no mapping")
    except Unreadable as error:
        if not any(doubt.path == path for doubt in project.doubts):
            project.doubts.append(Doubt(path, str(error), isinstance(error, Missing), given))
        return None
    project.reads[path] = told
    return told


def _extended(project: Project, path: str, name: str, node: Node, depth: int) -> Node:
    """A service with what it extends beneath it."""
    extends = node.get("extends")
    if extends is None:
        return node
    file = project.text(extends.get("file")) if isinstance(extends.value, dict) else None
    other = project.text(extends.get("service") if isinstance(extends.value, dict) else extends)
    why = ""
    base: Node | None = None
    at = extends.get("service") if isinstance(extends.value, dict) else extends
    if depth > DEPTH:
        why = "it extends others in a circle"
        project.broken.append((name, at or extends, "services extend each other in a circle"))
    elif not other:
        why = "what it extends is not named"
    elif file and variables.unknown(file):
        why = "the file that it extends is not known"
    else:
        target = os.path.normpath(os.path.join(os.path.dirname(path) or ".", file)) if file else path
        told = _read(project, target)
        root = told.root if told else None
        services = (root.get("services") or _first_format(root)) if root is not None else None
        base = services.get(other) if services is not None else None
        if base is None:
            why = f"{other}, which it extends, could not be read in {target}"
            if services is not None and not (root is not None and "include" in root.pairs()):
                project.broken.append((name, at or extends, f"{target} has no service {other}"))
        else:
            base = _extended(project, target, other, base, depth + 1)
    if why:
        project.incomplete[name] = why
        return node
    merged = merge(base, node, "service")
    return merged if merged is not None else node


__all__ = ["BASE_NAMES", "Doubt", "Project", "load", "named", "names"]
