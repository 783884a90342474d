"""Which containers are the target, how they are called, and which of the others they talk to.

Pure: in go the engine's list of containers and the unmasked items, out come names. What cannot be decided
is a `NoTarget` with a sentence that says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from celery_triage.stack import Service, Stack
from celery_triage.stack.roles import SERVER_ROLES

Listed = Mapping[str, Any]
_CELERY = re.compile(r"(?:^|[\s/;&|(\"'])celery(?:$|[\s\"'])")
_HOST = re.compile(r"(?=.{1,253}$)([A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_])?)(?::([0-9]{1,5}))?$")


class NoTarget(Exception):
    """It is not clear which containers are meant; the text says what there is and which option decides."""


def choose(
    listed: Sequence[Listed], project: str | None, containers: Sequence[str], networks: Sequence[str],
    celery_env: Iterable[str] = (),
) -> tuple[str | None, list[Listed]]:
    """(project or None, its containers). `celery_env` are ids of containers whose environment speaks of
    Celery: they count where no command line does."""
    there = [entry for entry in listed if not _one_off(entry)]
    if containers or networks:
        return None, _named(there, containers, networks)
    if project is not None:
        members = [entry for entry in there if project_of(entry) == project]
        if not members:
            raise NoTarget(f"there is no container of a Compose project {project!r}; {_projects(there)}")
        return project, members
    running = {project_of(entry) for entry in there if _CELERY.search(str(entry.get("Command") or ""))}
    if not running:
        running = {project_of(entry) for entry in there if entry.get("Id") in set(celery_env)}
    named = sorted(name for name in running if name)
    if len(named) == 1:
        return named[0], [entry for entry in there if project_of(entry) == named[0]]
    if named:
        raise NoTarget(f"several projects run Celery: {', '.join(named)}; choose one with -p")
    if running:
        loose = sorted(name_of(entry) for entry in there
                       if not project_of(entry) and _CELERY.search(str(entry.get("Command") or "")))
        what = f" ({', '.join(loose[:10])})" if loose else ""
        raise NoTarget(f"Celery runs only in containers without Compose labels{what}; "
                       "choose with --container NAME or --network NAME")
    raise NoTarget(f"no container of this engine runs Celery; {_projects(there)}")


def _named(listed: Sequence[Listed], containers: Sequence[str], networks: Sequence[str]) -> list[Listed]:
    found: dict[str, Listed] = {}
    for name in containers:
        hits = [entry for entry in listed if name_of(entry) == name] or [
            entry for entry in listed if len(name) >= 4 and str(entry.get("Id") or "").startswith(name)]
        if len(hits) != 1:
            raise NoTarget(f"there is {'no' if not hits else 'more than one'} container {name!r}")
        found[str(hits[0].get("Id"))] = hits[0]
    for name in networks:
        hits = [entry for entry in listed if name in networks_of(entry)]
        if not hits:
            raise NoTarget(f"no container is on a network {name!r}")
        found.update({str(entry.get("Id")): entry for entry in hits})
    return list(found.values())


def _projects(listed: Sequence[Listed]) -> str:
    names = sorted({name for entry in listed if (name := project_of(entry))})
    return f"projects here: {', '.join(names[:20])}" if names else "this engine has no Compose projects"


def _one_off(entry: Listed) -> bool:
    """`docker compose run` leaves such containers; they are no service."""
    return str(labels_of(entry).get("com.docker.compose.oneoff")).lower() == "true"


def labels_of(entry: Listed) -> Mapping[str, Any]:
    return entry.get("Labels") if isinstance(entry.get("Labels"), dict) else {}


def project_of(entry: Listed) -> str | None:
    return labels_of(entry).get("com.docker.compose.project") or None


def service_of(entry: Listed) -> str | None:
    return labels_of(entry).get("com.docker.compose.service") or None


def name_of(entry: Listed) -> str:
    """The container's own name: of the listed ones the one without a second slash (links add such)."""
    names = [str(name).lstrip("/") for name in entry.get("Names") or ()]
    return next((name for name in names if "/" not in name), str(entry.get("Id") or "")[:12])


def networks_of(entry: Listed) -> set[str]:
    settings = entry.get("NetworkSettings")
    there = settings.get("Networks") if isinstance(settings, dict) else None
    return set(there) if isinstance(there, dict) else set()


def member_labels(members: Sequence[Listed]) -> dict[str, str]:
    """Label of each container id: its service; `<service>-<number>` where several have it; else its name."""
    services = [service_of(entry) for entry in members]
    labels: dict[str, str] = {}
    for entry, service in zip(members, services, strict=True):
        label = service or name_of(entry)
        if service and services.count(service) > 1:
            label = f"{service}-{labels_of(entry).get('com.docker.compose.container-number') or '?'}"
        labels[str(entry.get("Id"))] = _free(label, name_of(entry), set(labels.values()))
    return labels


def neighbour_label(entry: Listed, taken: set[str]) -> str:
    """A neighbour's label: its service if no other has it, else its own name."""
    return _free(service_of(entry) or name_of(entry), name_of(entry), taken)


def _free(wanted: str, name: str, taken: set[str]) -> str:
    """`wanted`, else `name`, else with a number; only letters that may stand in a section and a file name."""
    for choice in (wanted, name, *(f"{name}-{n}" for n in range(2, 1000))):
        label = re.sub(r"[^\w.\-]", "_", choice, flags=re.ASCII)[:120]
        label = "_" + label.lstrip(".") if label.startswith(".") or not label else label
        if label not in taken:
            return label
    raise NoTarget("too many containers have the same name")


def candidates(listed: Sequence[Listed], members: Sequence[Listed]) -> list[Listed]:
    """Containers that share a network with the target; the default bridge counts only by address."""
    inside = {str(entry.get("Id")) for entry in members}
    shared = set().union(*(networks_of(entry) for entry in members)) - {"host", "none"}
    return [entry for entry in listed if str(entry.get("Id")) not in inside and networks_of(entry) & shared]


def by_name_or_port(listed: Sequence[Listed], stack: Stack) -> list[Listed]:
    """Containers on other networks that bear the name, or publish the port, that a URL of the target means
    and that nothing nearer answers to."""
    hosts, ports = set(), set()
    for service in stack.members:
        for host, port in _wanted(service):
            resolution = stack.resolve(service.label, host, port)
            if resolution.owner is None:
                hosts.add(host.lower())
                ports.add(port)
    return [entry for entry in listed
            if {name_of(entry).lower(), str(service_of(entry)).lower()} & hosts
            or _published(entry) & (ports - {None})]


def _published(entry: Listed) -> set[int]:
    ports = [port.get("PublicPort") for port in entry.get("Ports") or () if isinstance(port, dict)]
    return {port for port in ports if port}


def neighbours(stack: Stack) -> set[str]:
    """Labels of the containers outside the target that it talks to, by its URLs and environment; where it
    names nobody, the database and broker servers on its networks."""
    found: set[str] = set()
    asked = False
    for service in stack.members:
        for host, port in _wanted(service):
            asked = True
            resolution = stack.resolve(service.label, host, port)
            found.update(label for label in (resolution.owner, resolution.elsewhere) if label)
        for host, port in _hosts_in_env(service):
            owner = stack.resolve(service.label, host, port).owner
            found.update({owner} - {None})
    others = {service.label for service in stack.services if not service.member}
    found &= others
    if not asked and not found:
        networks = set().union(*(service.networks for service in stack.members))
        return {service.label for service in stack.services
                if service.label in others and service.role in SERVER_ROLES and service.networks & networks}
    return found


def _wanted(service: Service) -> Iterable[tuple[str, int | None]]:
    """The hosts and ports of a service's URLs."""
    for url in service.urls:
        for host, port in (*url.parsed.hosts, (url.parsed.host, url.parsed.port)):
            if host:
                yield host, port


def _hosts_in_env(service: Service) -> Iterable[tuple[str, int | None]]:
    """Values that are nothing but a name, or a name and a port: they may be hosts (``REDIS_HOST=redis``)."""
    for value in service.env.values():
        found = _HOST.match(value.strip())
        if found and not found[1].isdigit():
            yield found[1], int(found[2]) if found[2] else None
