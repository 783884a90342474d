"""Faults of released versions that are known upstream: which of them a set of versions has.

``data/upstream.yml`` holds them. A condition that is not known to hold is no match: nothing is said then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version


@dataclass(frozen=True)
class Fault:
    """One entry of the table; the file says what each field means."""

    name: str
    package: str
    affected: SpecifierSet
    fixed: str
    happens: str
    when: str
    threads: tuple[str, ...]
    beside: Mapping[str, SpecifierSet] = field(default_factory=dict)
    python: SpecifierSet | None = None
    servers: Mapping[str, SpecifierSet] = field(default_factory=dict)
    broker: str = ""
    role: str = ""
    options: frozenset[str] = frozenset()
    says: tuple[str, ...] = ()
    severity: str = "notice"


@dataclass(frozen=True)
class Known:
    """What is known of one service: versions by package (canonical names) and of servers by role, Python,
    the families of its broker URLs, its role, and which options its command gives."""

    versions: Mapping[str, str]
    python: str = ""
    servers: Mapping[str, str] = field(default_factory=dict)
    brokers: frozenset[str] = frozenset()
    role: str = ""
    options: frozenset[str] = frozenset()


@cache
def faults() -> tuple[Fault, ...]:
    """All entries, in the order of the file."""
    told = yaml.safe_load(files("celery_triage.data").joinpath("upstream.yml").read_text(encoding="utf-8"))
    return tuple(_fault(name, entry) for name, entry in told.items())


def _fault(name: str, entry: Mapping[str, Any]) -> Fault:
    return Fault(
        name,
        entry["package"],
        SpecifierSet(entry["affected"], prereleases=True),
        entry["fixed"],
        entry["happens"],
        entry["when"],
        tuple(entry["threads"]),
        _ranges(entry.get("with")),
        SpecifierSet(entry["python"]) if "python" in entry else None,
        _ranges(entry.get("server")),
        entry.get("broker", ""),
        entry.get("role", ""),
        frozenset(entry.get("options", ())),
        tuple(entry.get("says", ())),
        entry.get("severity", "notice"),
    )


def _ranges(told: Mapping[str, str] | None) -> dict[str, SpecifierSet]:
    return {name: SpecifierSet(text, prereleases=True) for name, text in (told or {}).items()}


def matching(known: Known) -> Iterator[Fault]:
    """The faults that a service with these versions has, as far as is known."""
    for fault in faults():
        held = [_in(fault.affected, known.versions.get(fault.package))]
        held += [_in(allowed, known.versions.get(name)) for name, allowed in fault.beside.items()]
        held += [_in(allowed, known.servers.get(role)) for role, allowed in fault.servers.items()]
        held.append(fault.python is None or _in(fault.python, known.python))
        held.append(not fault.broker or known.brokers == {fault.broker})
        held.append(not fault.role or fault.role == known.role)
        held.append(not fault.options or bool(fault.options & known.options))
        if all(held):
            yield fault


def _in(allowed: SpecifierSet, version: str | None) -> bool:
    try:
        return bool(version) and allowed.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def image_version(image: str) -> str:
    """``4.3.1`` of ``rabbitmq:4.3.1-management``; empty where the tag begins with no two numbers."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2].partition("-")[0]
    parts = tag.split(".")
    return tag if len(parts) >= 2 and all(part.isdigit() for part in parts) else ""


def servers_of(services: Iterable[Any]) -> dict[str, str]:
    """The versions of the servers of a stack by role, as far as the tags of their images say them."""
    return {one.role: image_version(one.item.get("image") or "") for one in services}


def known_of(service: Any, servers: Mapping[str, str], versions: Mapping[str, str], python: str) -> Known:
    """What is known of a service; ``servers`` as ``servers_of`` says it."""
    launch = service.launch
    url = service.url("broker")
    return Known(
        {name.lower().replace("_", "-"): version for name, version in versions.items() if version},
        python,
        servers,
        frozenset({url.parsed.family} if url is not None and not url.guessed else ()),
        service.role,
        frozenset(launch.options if launch is not None and not launch.problems else ()),
    )
