"""Edits: one fragment of one line, found where the value really stands.

That is the last file that sets it (an override before the base), the anchor that it was written at, the line
of an env file whose variable holds it. A line that holds a secret is changed by a command that shows only the
fragment.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from celery_triage.model import Edit
from celery_triage.stack import Service

#: ``${NAME}``, ``${NAME:-default}``, ``${NAME-default}``, ``$NAME`` as Compose writes them; ``$$`` is a
#: dollar sign.
_VARIABLE = re.compile(r"(?<!\$)\$(?:\{(\w+)(?::?[-?+][^}]*)?\}|(\w+))")
_DEFAULT = re.compile(r"(?<!\$)\$\{(\w+):?-([^}]*)\}")

#: Blocks of a service in which a fragment can stand in any line.
BLOCKS = ("healthcheck", "deploy")
#: Keys of a service whose lines may hold the key itself, too.
_WITH_KEYS = ("restart", "container_name", "image", "ports", "read_only", "tmpfs", *BLOCKS)
#: Keys of a service itself; every other name is that of a variable.
KEYS = ("command", "entrypoint", "env_file", *_WITH_KEYS)


@dataclass(frozen=True)
class Change:
    """How one fragment is changed: as an edit, or, where its line holds a secret, as a command."""

    edit: Edit | None = None
    command: str = ""


@dataclass(frozen=True)
class Changes:
    """All changes of one remedy. ``unplaced`` are the services whose fragment was found in no file; ``texts``
    are edits of files that could not be read from here: to be shown, not to be applied by a machine; ``read``
    tells whether there was any Compose file to look into."""

    edits: tuple[Edit, ...] = ()
    commands: tuple[str, ...] = ()
    texts: tuple[Edit, ...] = ()
    unplaced: tuple[str, ...] = ()
    read: bool = True

    @property
    def complete(self) -> bool:
        """Whether carrying them out changes the fragment for every service."""
        return not self.unplaced and not self.texts


def changes(
    compose: Mapping[str, Any] | None,
    places: Iterable[tuple[Service, str, str, str]],
    *,
    alone: bool = False,
) -> Changes:
    """The changes for some services. Each place is (service, where, old, new): ``where`` is ``command``,
    ``entrypoint``, another one of KEYS or the name of a variable. What several services share (an anchor) is
    changed once; with ``alone`` not at all where one of them is not among these, for what is right for one is
    then no good for the other."""
    found: list[Change] = []
    unplaced, texts = [], []
    places = list(places)
    meant = {service.item.get("service") or "" for service, *_ in places}
    for service, where, old, new in places:
        if alone and not shared_by(compose, service.item.get("service") or "", where) <= meant:
            unplaced.append(service.label)
            continue
        change = locate(compose, service.item.get("service") or "", where, old, new)
        if change is None:
            unplaced.append(service.label)
        elif change.edit is not None and change.edit.line is None:
            texts.append(change.edit)
        elif change not in found:
            found.append(change)
    edits = [change.edit for change in found if change.edit is not None]
    return Changes(
        tuple(sorted(edits, key=lambda edit: (edit.file, edit.line or 0))),
        tuple(change.command for change in found if change.command),
        tuple(dict.fromkeys(texts)),
        tuple(unplaced),
        compose is not None,
    )


def shared_by(compose: Mapping[str, Any] | None, service: str, where: str) -> set[str]:
    """The services whose value stands in the very same place: those that merge the same anchor or extend the
    same service, the one itself among them."""
    own = _nodes(compose or {}, service, where)[-1:]
    places = [(node.get("file"), node.get("line"), node.get("col")) for node in own]
    found = {service}
    for other in (compose or {}).get("services") or {}:
        theirs = _nodes(compose or {}, other, where)[-1:]
        if own and [(node.get("file"), node.get("line"), node.get("col")) for node in theirs] == places:
            found.add(other)
    return found


def locate(compose: Mapping[str, Any] | None, service: str, where: str, old: str, new: str) -> Change | None:
    """The change of ``old`` into ``new`` in what the Compose files say of a service; None where no file holds
    it exactly once in one line."""
    if not compose:
        return None
    nodes = _nodes(compose, service, where)
    if not nodes:
        return _in_env_files(compose, service, where, old, new)
    if where in BLOCKS:  # merged key by key: the last one that holds the fragment is the one that counts
        node = next((one for one in reversed(nodes) if _holds(compose, one, old)), nodes[-1])
    else:
        node = nodes[-1]  # the last one wins: an override before the base file
    file = _file(compose, node)
    if file is None:
        return None
    if not file.get("readable", True):
        return Change(Edit(path_of(file), None, old, new))
    first, last = int(node.get("line") or 0), int(node.get("end_line") or node.get("line") or 0)
    set_elsewhere = _defaults_not_used(compose, node.get("value"), old)
    # What stands in the lines and not in the value stands in a comment. In a block the keys are meant, too.
    value = node.get("value")
    held = where in _WITH_KEYS or value is None or node.get("masked") or old in _text_of(value)
    change = _in_lines(file, range(first, last + 1), old, new) if held and not set_elsewhere else None
    if value is None and where not in KEYS:
        value = f"${{{where}}}"  # a name alone: Compose takes its value from where ${NAME} comes from
    return change or _in_dotenv(compose, value, old, new)


def _text_of(value: Any) -> str:
    """All words of a value, a text or a list of words."""
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _defaults_not_used(compose: Mapping[str, Any], value: Any, old: str) -> bool:
    """Whether the fragment stands in the default of a variable that ``.env`` sets: then that counts."""
    known = (compose.get("dotenv") or {}).get("values") or {}
    defaults = _DEFAULT.findall(value) if isinstance(value, str) else ()
    return any(old in default and name in known for name, default in defaults)


def _holds(compose: Mapping[str, Any], node: Mapping[str, Any], fragment: str) -> bool:
    """Whether a fragment stands in the lines of a node."""
    lines = (_file(compose, node) or {}).get("lines") or ()
    first, last = int(node.get("line") or 1), int(node.get("end_line") or node.get("line") or 0)
    return any(fragment in line for line in lines[first - 1 : last])


def _in_env_files(
    compose: Mapping[str, Any], service: str, variable: str, old: str, new: str
) -> Change | None:
    """The change in the last env file of the service that sets the variable."""
    named = [path for node in _nodes(compose, service, "env_file") for path in _paths(compose, node)]
    setting = [
        file
        for path in named
        for file in compose.get("env_files") or ()
        if file["path"] == path and variable in (file.get("values") or {})
    ]
    if not setting or old not in str(setting[-1]["values"][variable].get("value") or ""):
        return None
    return _in_lines(setting[-1], [int(setting[-1]["values"][variable]["line"])], old, new)


def _paths(compose: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """The env files that a node names, in order: short and long form, from the folder of its Compose file."""
    folder = posixpath.dirname((_file(compose, node) or {}).get("path") or "")
    told = node.get("value")
    items = told if isinstance(told, list) else [told]
    paths = [item.get("path") if isinstance(item, Mapping) else item for item in items]
    return [posixpath.normpath(posixpath.join(folder, path)) for path in paths if isinstance(path, str)]


def _nodes(compose: Mapping[str, Any], service: str, where: str) -> list[Mapping[str, Any]]:
    described = (compose.get("services") or {}).get(service) or {}
    if where in KEYS:
        found = described.get(where)
    else:
        found = (described.get("environment") or {}).get(where)
    return [found] if isinstance(found, Mapping) else list(found or ())


def _file(compose: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    files, index = compose.get("files") or (), node.get("file")
    return files[index] if isinstance(index, int) and 0 <= index < len(files) else None


def _in_lines(file: Mapping[str, Any], numbers: Iterable[int], old: str, new: str) -> Change | None:
    lines, hashes = file.get("lines") or (), file.get("hashes") or ()
    hits = [number for number in numbers if 0 < number <= len(lines) and old in lines[number - 1]]
    if len(hits) != 1:
        return None
    number = hits[0]
    fragments = _unique(lines[number - 1], old, new)
    if fragments is None:
        return None
    known = hashes[number - 1] if number <= len(hashes) else None
    if known:
        return Change(Edit(path_of(file), number, *fragments, sha256=known))
    return Change(command=sed(path_of(file), number, *fragments))


def path_of(file: Mapping[str, Any]) -> str:
    """The path to edit: the file itself where the project's path is a link, for ``git apply``, ``patch`` and
    ``sed -i`` change no link."""
    return file.get("real") or file["path"]


def _unique(line: str, old: str, new: str) -> tuple[str, str] | None:
    """The fragment, widened to the right until it stands once in its line; None if it cannot be."""
    start = _standing_alone(line, old)
    if start is None:
        return None
    end = start + len(old)
    while line.count(line[start:end]) > 1:
        further = re.compile(r"\s*\S+").match(line, end)
        if further is None:
            return None
        end = further.end()
    return line[start:end], new + line[start + len(old) : end]


def _standing_alone(line: str, old: str) -> int | None:
    """Where ``old`` begins as a word of its own: ``--queue`` stands in ``--queues`` too, and is not meant
    there."""
    tail = r"(?![\w-])" if re.search(r"\w$", old) else ""
    # Behind `:-` a default begins: ${RESULTS:-db+postgresql://…}.
    head = r"(?:(?<![\w-])|(?<=:-))" if re.match(r"[\w-]", old) else ""
    hits = [match.start() for match in re.finditer(head + re.escape(old) + tail, line)]
    return hits[0] if len(hits) == 1 else None


def _in_dotenv(compose: Mapping[str, Any], value: Any, old: str, new: str) -> Change | None:
    """The change in ``.env``, where the value is written as ``${NAME}`` and that line holds the fragment."""
    dotenv = compose.get("dotenv")
    if not dotenv or not isinstance(value, str):
        return None
    for match in _VARIABLE.finditer(value):
        entry = (dotenv.get("values") or {}).get(match[1] or match[2])
        held = str(entry.get("value") or "") if entry else ""
        if held and old in held:
            return _in_lines(dotenv, [int(entry["line"])], old, new)
        # `/name` of a URL is written as `/${NAME}`: the variable holds the name alone.
        if held and "/" in (old[:1], new[:1]) and held == old.lstrip("/"):
            return _in_lines(dotenv, [int(entry["line"])], held, new.lstrip("/"))
    return None


def sed(path: str, line: int, old: str, new: str) -> str:
    """A command that changes one fragment of one line, and only where it still stands there. It shows no more
    of the line than the fragment."""
    target = shlex.quote(path)
    program = shlex.quote(f"{line}s#{_literal(old)}#{new.translate(_REPLACEMENT)}#")
    return f"sed -n {line}p {target} | grep -qF -e {shlex.quote(old)} && sed -i {program} {target}"


_REPLACEMENT = str.maketrans({"\\": "\\\\", "&": "\\&", "#": "\\#"})


def _literal(text: str) -> str:
    """A text as a basic regular expression of ``sed`` that means just itself."""
    return re.sub(r"([\\.*^$\[\]#])", r"\\\1", text)
