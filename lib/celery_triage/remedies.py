"""What cures a finding: edits of a file, commands to paste, and the patch made of the edits.

An edit changes one fragment of one line and nothing else; it is found where the value really stands: the last file
that sets it (an override before the base), the anchor that it was written at, the ``.env`` line whose variable
holds it. Commands are quoted for a POSIX shell and hold no secret. Pure: nothing here writes or runs anything.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celery_triage.model import Diagnosis, Edit, Evidence
from celery_triage.stack import Service, Stack

#: ``${NAME}``, ``${NAME:-default}``, ``${NAME-default}``, ``$NAME`` as Compose writes them; ``$$`` is a dollar sign.
_VARIABLE = re.compile(r"(?<!\$)\$(?:\{(\w+)(?::?[-?+][^}]*)?\}|(\w+))")


@dataclass(frozen=True)
class Change:
    """How one fragment is changed: as an edit, or, where its line holds a secret, as a command."""

    edit: Edit | None = None
    command: str = ""


@dataclass(frozen=True)
class Changes:
    """All changes of one remedy. ``unplaced`` are the services whose fragment was found in no file; ``texts`` are
    edits of files that could not be read from here: to be shown, not to be applied by a machine."""

    edits: tuple[Edit, ...] = ()
    commands: tuple[str, ...] = ()
    texts: tuple[Edit, ...] = ()
    unplaced: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether carrying them out changes the fragment for every service."""
        return not self.unplaced and not self.texts


# --- Where a fragment stands -----------------------------------------------------------------------------------


def changes(
    compose: Mapping[str, Any] | None, places: Iterable[tuple[Service, str, str, str]],
) -> Changes:
    """The changes for some services. Each place is (service, where, old, new): ``where`` is ``command``,
    ``entrypoint`` or the name of a variable. What several services share (an anchor) is changed once."""
    found: list[Change] = []
    unplaced, texts = [], []
    for service, where, old, new in places:
        change = locate(compose, service.item.get("service") or "", where, old, new)
        if change is None:
            unplaced.append(service.label)
        elif change.edit is not None and change.edit.line is None:
            texts.append(change.edit)
        elif change not in found:
            found.append(change)
    return Changes(
        tuple(change.edit for change in found if change.edit is not None),
        tuple(change.command for change in found if change.command),
        tuple(dict.fromkeys(texts)), tuple(unplaced))


def locate(compose: Mapping[str, Any] | None, service: str, where: str, old: str, new: str) -> Change | None:
    """The change of ``old`` into ``new`` in what the Compose files say of a service; None where no file holds it
    exactly once in one line."""
    if not compose:
        return None
    nodes = _nodes(compose, service, where)
    if not nodes:
        return None
    node = nodes[-1]  # the last one wins: an override before the base file
    file = _file(compose, node)
    if file is None or not file.get("readable", True):
        return Change(Edit(file["path"] if file else "", None, old, new)) if file else None
    first, last = int(node.get("line") or 0), int(node.get("end_line") or node.get("line") or 0)
    change = _in_lines(file, range(first, last + 1), old, new)
    return change or _in_dotenv(compose, node.get("value"), old, new)


def _nodes(compose: Mapping[str, Any], service: str, where: str) -> list[Mapping[str, Any]]:
    described = (compose.get("services") or {}).get(service) or {}
    if where in ("command", "entrypoint"):
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
        return Change(Edit(file["path"], number, *fragments, sha256=known))
    return Change(command=sed(file["path"], number, *fragments))


def _unique(line: str, old: str, new: str) -> tuple[str, str] | None:
    """The fragment, widened word by word to the right until it stands once in its line; None if it cannot be."""
    start = _standing_alone(line, old)
    if start is None:
        return None
    end = start + len(old)
    while line.count(line[start:end]) > 1:
        further = re.compile(r"\s*\S+").match(line, end)
        if further is None:
            return None
        end = further.end()
    return line[start:end], new + line[start + len(old):end]


def _standing_alone(line: str, old: str) -> int | None:
    """Where ``old`` begins as a word of its own: ``--queue`` stands in ``--queues`` too, and is not meant there."""
    tail = r"(?![\w-])" if re.search(r"\w$", old) else ""
    head = r"(?<![\w-])" if re.match(r"[\w-]", old) else ""
    hits = [match.start() for match in re.finditer(head + re.escape(old) + tail, line)]
    return hits[0] if len(hits) == 1 else None


def _in_dotenv(compose: Mapping[str, Any], value: Any, old: str, new: str) -> Change | None:
    """The change in ``.env``, where the value is written as ``${NAME}`` and that line holds the fragment."""
    dotenv = compose.get("dotenv")
    if not dotenv or not isinstance(value, str):
        return None
    for match in _VARIABLE.finditer(value):
        entry = (dotenv.get("values") or {}).get(match[1] or match[2])
        if entry and old in str(entry.get("value") or ""):
            return _in_lines(dotenv, [int(entry["line"])], old, new)
    return None


def sed(path: str, line: int, old: str, new: str) -> str:
    """A command that changes one fragment of one line, and only where it still stands there. It shows no more of
    the line than the fragment."""
    target = shlex.quote(path)
    program = shlex.quote(f"{line}s#{_literal(old)}#{new.translate(_REPLACEMENT)}#")
    return f"sed -n {line}p {target} | grep -qF -e {shlex.quote(old)} && sed -i {program} {target}"


_REPLACEMENT = str.maketrans({"\\": "\\\\", "&": "\\&", "#": "\\#"})


def _literal(text: str) -> str:
    """A text as a basic regular expression of ``sed`` that means just itself."""
    return re.sub(r"([\\.*^$\[\]#])", r"\\\1", text)


# --- Commands --------------------------------------------------------------------------------------------------


def recreate(stack: Stack, services: Iterable[Service], *, build: bool = False) -> tuple[str, ...]:
    """The command that makes the containers of these services anew from the Compose files, and touches no other;
    none for containers that no Compose project made."""
    chosen = [service for service in services if service.item.get("service") and stack.project]
    names = list(dict.fromkeys(service.item["service"] for service in chosen))
    if not names:
        return ()
    words = ["docker", "compose", "-p", stack.project]
    labels = chosen[0].item.get("labels") or {}
    folder = stack.data.get("working_dir") or labels.get("com.docker.compose.project.working_dir")
    files = list(stack.data.get("config_files") or ())
    if folder and (not files or posixpath.dirname(files[0]) != folder):
        words += ["--project-directory", folder]
    for name in (labels.get("com.docker.compose.project.environment_file") or "").split(","):
        words += ["--env-file", name] if name else []
    for path in files:
        words += ["-f", path]
    words += ["up", "-d", "--no-deps", *(["--build"] if build else []), *names]
    return (shlex.join(words),)


def restart(services: Iterable[Service]) -> tuple[str, ...]:
    """The command that starts these containers again as they are: it ends the waiting between two tries."""
    names = list(dict.fromkeys(service.name for service in services))
    return (shlex.join(["docker", "restart", *names]),) if names else ()


def create_database(server: Service, database: str, owner: str | None) -> str:
    """The command that makes a database inside the container of its server, as that server's superuser."""
    superuser = server.env.get("POSTGRES_USER") or server.env.get("POSTGRESQL_USERNAME") or "postgres"
    owned = f" OWNER {identifier(owner)}" if owner else ""
    return psql(server, superuser, f"CREATE DATABASE {identifier(database)}{owned}")


def psql(server: Service, superuser: str, statement: str) -> str:
    """One SQL statement inside the server's own container, by its local socket (no password on the line)."""
    return shlex.join(["docker", "exec", server.name, "psql", "-v", "ON_ERROR_STOP=1", "-U", superuser, "-d", "postgres",
                       "-c", statement])


def identifier(name: str) -> str:
    """A name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def alive(services: Sequence[Service]) -> tuple[str, ...]:
    """Commands with which a person sees that these services live: state and restarts of all, then each worker's
    answer to a ping."""
    names = list(dict.fromkeys(service.name for service in services))
    found = []
    if names:
        line = shlex.join(["docker", "inspect", "-f", "{{.Name}} {{.State.Status}} {{.RestartCount}}", *names])
        found.append(f"{line}  # running, and after a minute the same count")
    for service in services:
        if service.role == "worker" and service.app_module and service.nodename:
            ping = shlex.join(["docker", "exec", service.name, "celery", "-A", service.app_module, "inspect", "ping",
                               "-d", service.nodename])
            if "%" not in service.nodename and "$" not in service.nodename:
                found.append(f"{ping}  # pong")
    return tuple(found)


# --- The patch -------------------------------------------------------------------------------------------------


def patch(diagnosis: Diagnosis, evidence: Evidence) -> str:
    """The patch of all exact remedies among the causes; empty where there is none that can be one."""
    edits = [edit for cause in diagnosis.cause_findings if cause.remedy and cause.remedy.kind == "exact"
             for edit in cause.remedy.edits]
    containers = evidence.data("containers") or {}
    return unified(edits, evidence.data("compose"), containers.get("working_dir"))


def unified(edits: Iterable[Edit], compose: Mapping[str, Any] | None, folder: str | None = None) -> str:
    """A unified diff of these edits for ``git apply`` and ``patch -p1`` in the project's folder.

    Edits of lines that are not known by hash, and hunks whose context would show a masked line, are left out: the
    remedy has them as commands or as text. Paths outside ``folder`` are given from the root.
    """
    texts = {file["path"]: file for file in _texts(compose)}
    by_path: dict[str, list[Edit]] = {}
    for edit in edits:
        if edit.line and edit.sha256 and edit.file in texts and edit not in by_path.setdefault(edit.file, []):
            by_path[edit.file].append(edit)
    return "".join(_file_diff(texts[path], found, _shown(path, folder)) for path, found in by_path.items() if found)


def _texts(compose: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    for file in (compose or {}).get("files") or ():
        if file.get("readable", True) and file.get("lines"):
            yield file
    dotenv = (compose or {}).get("dotenv")
    if dotenv and dotenv.get("lines"):
        yield dotenv


def _shown(path: str, folder: str | None) -> str:
    inside = folder and path.startswith(folder.rstrip("/") + "/")
    return path[len(folder.rstrip("/")) + 1:] if inside else path.lstrip("/")


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
    """(first, last, changed lines) of each hunk, with as much context, at most three lines on each side, as can be
    shown. The same number on both sides, for an uneven hunk is taken to lie at an end of the file."""
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
