"""What is different between two looks at the same stack: what was changed, as far as evidence tells; pure.

Masked values have another token in every collection, for the key is forgotten: they are compared without it.
So a changed secret does not show, and `Changes.masked` says that there was one which could have changed.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from celery_triage.model import Evidence
from celery_triage.report.lived import counterparts
from celery_triage.show import units
from celery_triage.stack import Service, Stack

#: A masked secret, as ``redact`` writes it, and what stands for all of them here.
TOKEN, MASK = re.compile(r"\*\*\*[0-9a-f]{6}"), "***"
#: Lines of the difference of the Compose files that are shown.
DIFF_LINES = 120


@dataclass(frozen=True)
class Change:
    """One difference: what it is about, the value before and after (empty: there was, there is none), and the
    services that it was made for. ``told``: before and after are words of ours, not values."""

    what: str
    before: str
    after: str
    services: tuple[str, ...] = ()
    told: bool = False


#: What a person would tell first.
ORDER = (
    "service",
    "image",
    "package",
    "command",
    "environment",
    "health check",
    "networks",
    "database",
    "role",
    "tables",
)


@dataclass(frozen=True)
class Changes:
    """All differences, in the order in which a person would tell them. ``diff`` are lines of a unified
    difference of the Compose files; ``masked``: secrets stood in what was compared."""

    found: tuple[Change, ...] = ()
    diff: tuple[str, ...] = ()
    masked: bool = False


def between(before: Evidence, after: Evidence) -> Changes:
    """The differences of two looks."""
    first, second = Stack.of(before), Stack.of(after)
    if not (first.services and second.services):  # one of them could not see them: nothing is known
        first = second = Stack(None)
    raw = [change for old in first.services for change in _service(old, second)]
    raw += [
        Change(f"service {new.label}", "not there", "added", (new.label,), told=True)
        for new in second.members
        if not counterparts(new, first)
    ]
    raw += _packages(first, second)
    raw += _servers(before, after)
    raw += _tables(before, after)
    raw += _engine(before, after)
    return Changes(tuple(_together(raw)), tuple(_compose(before, after)), _masks(before) or _masks(after))


def plain(text: str) -> str:
    """A text in which every masked secret reads the same."""
    return TOKEN.sub(MASK, text)


def _masks(evidence: Evidence) -> bool:
    items = (evidence.data("containers") or {}).get("items") or ()
    return any(TOKEN.search(str(item.get(key))) for item in items for key in ("env", "cmd", "entrypoint"))


def _together(raw: Iterable[Change]) -> list[Change]:
    """The same difference of several services as one."""
    grouped: dict[Change, list[str]] = {}
    for change in raw:
        names = grouped.setdefault(replace(change, services=()), [])
        names += [name for name in change.services if name not in names]
    found = [replace(change, services=tuple(sorted(names))) for change, names in grouped.items()]
    return sorted(found, key=lambda change: (_place(change.what), change.what, change.services))


def _place(what: str) -> int:
    return next((n for n, word in enumerate(ORDER) if what.startswith(word)), len(ORDER))


def _service(old: Service, stack: Stack) -> list[Change]:
    """What is different in the containers of one service; the first of several replicas speaks for all."""
    found = counterparts(old, stack)
    if not found:
        gone = "removed" if old.member else "no neighbour of the stack any more"
        return [Change(f"service {old.label}", "there", gone, (old.label,), told=True)]
    new = found[0]
    changes = [
        Change(what, one, other, (new.label,))
        for what, one, other in (*_facts(old, new), *_variables(old.item, new.item))
        if one != other
    ]
    return changes


def _facts(old: Service, new: Service) -> list[tuple[str, str, str]]:
    facts = [
        ("image", _image(old), _image(new)),
        ("command", _words(old.item), _words(new.item)),
        ("health check", _health(old.item), _health(new.item)),
        ("networks", ", ".join(sorted(old.networks)), ", ".join(sorted(new.networks))),
        ("restart policy", _policy(old.item), _policy(new.item)),
        ("limits", _limits(old.item), _limits(new.item)),
        ("user", str(old.item.get("user") or ""), str(new.item.get("user") or "")),
        ("working folder", str(old.item.get("working_dir") or ""), str(new.item.get("working_dir") or "")),
        ("mounts", _mounts(old.item), _mounts(new.item)),
        ("published ports", _ports(old.item), _ports(new.item)),
        ("log driver", str(old.item.get("log_driver") or ""), str(new.item.get("log_driver") or "")),
    ]
    if facts[0][1] == facts[0][2] and old.item.get("image_id") != new.item.get("image_id"):
        ids = [f"{facts[0][1]} ({_short(one.item.get('image_id'))})" for one in (old, new)]
        facts[0] = ("image, under the same name", *ids)
    return facts


def _variables(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    before, after = old.get("env") or {}, new.get("env") or {}
    return [
        (f"environment {name}", plain(before.get(name) or ""), plain(after.get(name) or ""))
        for name in sorted({*before, *after})
    ]


def _image(service: Service) -> str:
    return str(service.item.get("image") or "")


def _short(image_id: Any) -> str:
    return str(image_id or "unknown").removeprefix("sha256:")[:12]


def _words(item: Mapping[str, Any]) -> str:
    words = (*(item.get("entrypoint") or ()), *(item.get("cmd") or ()))
    return plain(shlex.join(str(word) for word in words))


def _health(item: Mapping[str, Any]) -> str:
    check = item.get("healthcheck")
    if not check:
        return ""
    test = list(check.get("test") or ())
    command = " ".join(test[1:]) if test[:1] in (["CMD"], ["CMD-SHELL"]) else " ".join(test)
    times = (("every", "interval_s"), ("time-out", "timeout_s"), ("start period", "start_period_s"))
    told = [f"{name} {units.duration(check.get(key) or 0)}" for name, key in times]
    return plain(f"{command} ({', '.join(told)}, {check.get('retries') or 0:g} tries)")


def _policy(item: Mapping[str, Any]) -> str:
    policy = item.get("restart_policy") or {}
    most = policy.get("max") or 0
    return str(policy.get("name") or "no") + (f", at most {most:g}" if most else "")


def _limits(item: Mapping[str, Any]) -> str:
    limits = item.get("limits") or {}
    parts = [f"memory {units.size(limits['memory'])}"] if limits.get("memory") else []
    parts += [f"{limits['cpus']:g} CPUs"] if limits.get("cpus") else []
    return ", ".join(parts)


def _mounts(item: Mapping[str, Any]) -> str:
    mounts = item.get("mounts") or ()
    return ", ".join(sorted(f"{one.get('source') or ''}:{one.get('target') or ''}" for one in mounts))


def _ports(item: Mapping[str, Any]) -> str:
    ports = item.get("ports") or ()
    return ", ".join(sorted(f"{one['host']}->{one['container']:g}" for one in ports if one.get("host")))


def _packages(first: Stack, second: Stack) -> list[Change]:
    """What is different among the packages in the images."""
    found = []
    for old in first.members:
        for new in counterparts(old, second)[:1]:
            for name in sorted({*old.packages, *new.packages}):
                told = [_package(one.packages.get(name)) for one in (old, new)]
                if told[0] != told[1] and all(told):
                    found.append(Change(f"package {name} in the image", *told, (new.label,), told=True))
    return found


def _package(known: Mapping[str, Any] | None) -> str:
    """Version or absence of a package; empty where nobody could look."""
    if not known or known.get("present") is None:
        return ""
    return str(known.get("version") or "there") if known["present"] else "not there"


def _servers(before: Evidence, after: Evidence) -> list[Change]:
    """Databases and roles that came or went, versions of servers that changed."""
    found = []
    for kind in ("postgres", "redis", "rabbitmq"):
        old, new = _by_key(before, kind), _by_key(after, kind)
        for key in sorted({*old, *new}):
            one, other = old.get(key), new.get(key)
            if not one or not other or not one.get("status") == other.get("status") == "ok":
                continue
            for what, part in (("database", "databases"), ("role", "roles")) if kind == "postgres" else ():
                if one.get(part) is None or other.get(part) is None:
                    continue
                had, has = _there(one[part]), _there(other[part])
                users = (other.get("wanted") or {}) if part == "databases" else {}
                found += [
                    Change(
                        f"{what} {name} on {key}",
                        "there" if name in had else "not there",
                        "there" if name in has else "not there",
                        tuple(sorted((users.get(name) or {}).get("services") or ())),
                        told=True,
                    )
                    for name in sorted(had ^ has)
                ]
            if one.get("version") and other.get("version") and one["version"] != other["version"]:
                found.append(Change(f"version of {kind} {key}", one["version"], other["version"]))
    return found


def _tables(before: Evidence, after: Evidence) -> list[Change]:
    """Tables that came or went, and the revision of Alembic, where both looks saw all tables."""
    old, new = _by_database(before), _by_database(after)
    found = []
    for key in sorted(old.keys() & new.keys()):
        sides = (old[key], new[key])
        tables = [side.get("relations") or {} for side in sides]
        if not all(told.get("complete") for told in tables):
            continue
        users = tuple(sorted(sides[1].get("services") or ()))
        had, has = (set(told["all"]) for told in tables)
        if had != has:
            words = [units.listed(sorted(names)) for names in (had - has, has - had)]  # "none" for none
            found.append(Change(f"tables in {key[1]} (gone, come)", *words, users, told=True))
        versions = [", ".join((side.get("alembic") or {}).get("version") or ()) for side in sides]
        if versions[0] != versions[1]:
            found.append(Change(f"tables in {key[1]}: alembic_version", *versions, users))
    return found


def _by_database(evidence: Evidence) -> dict[tuple[str, str], Mapping[str, Any]]:
    entries = (evidence.data("results") or {}).get("servers") or ()
    return {(str(one.get("key")), str(one.get("database"))): one for one in entries}


def _there(named: Mapping[str, Any]) -> set[str]:
    return {name for name, told in named.items() if (told or {}).get("exists", True)}


def _by_key(evidence: Evidence, kind: str) -> dict[str, Mapping[str, Any]]:
    servers = (evidence.data(kind) or {}).get("servers") or ()
    return {str(server.get("key")): server for server in servers}


def _engine(before: Evidence, after: Evidence) -> list[Change]:
    versions = [str((one.data("engine") or {}).get("version") or "") for one in (before, after)]
    return [Change("Docker Engine", *versions)] if versions[0] != versions[1] and all(versions) else []


def _compose(before: Evidence, after: Evidence) -> list[str]:
    """A unified difference of the Compose files, secrets masked; none of a file that was read only once."""
    old, new = _texts(before), _texts(after)
    lines: list[str] = []
    for path in sorted({*old, *new}):
        if path in old and path in new:
            name = path.rpartition("/")[2]
            lines += difflib.unified_diff(old[path], new[path], name, name, n=1, lineterm="")
    if len(lines) > DIFF_LINES:
        lines = [*lines[:DIFF_LINES], f"… {len(lines) - DIFF_LINES} more lines differ"]
    return lines


def _texts(evidence: Evidence) -> dict[str, Sequence[str]]:
    compose = evidence.data("compose") or {}
    files = [one for one in compose.get("files") or () if one.get("readable", True) and one.get("lines")]
    dotenv = compose.get("dotenv")
    files += [dotenv] if dotenv and dotenv.get("lines") else []
    return {str(one.get("path")): [plain(line) for line in one["lines"]] for one in files}


__all__ = ["Change", "Changes", "between", "plain"]
