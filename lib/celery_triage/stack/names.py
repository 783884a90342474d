"""Which container a host name means inside another container, by Docker's own rules.

The embedded DNS of a user-defined network answers a container's name, its network aliases (Compose adds the
service's name) and its short id, each also with ``.<network>`` behind it, and only while that container
runs. The default bridge ``bridge`` answers no names at all. Measured on Docker Engine 20.10
(``tests/unit/test_stack.py`` asks the engine itself).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

#: Names that lead out of the containers to the machine that runs them.
HOST_NAMES = frozenset({
    "host.docker.internal", "gateway.docker.internal", "host.containers.internal",
    "docker.for.mac.host.internal", "docker.for.mac.localhost",
})
#: Networks on which no container has a name.
NO_NAMES = frozenset({"bridge", "host", "none"})


@dataclass(frozen=True)
class Resolution:
    """What a host means to one service. ``owner`` is the label of the container that it leads to, ``ip``
    that container's address on the first of the ``shared`` networks (None while it does not run),
    ``others`` further owners of the same name. ``elsewhere`` is a container that bears the name, or has the
    address, but shares no network; ``itself`` is true when the name means the asking container;
    ``external`` when no container of this engine is meant, ``machine`` when that is the machine that runs
    them: the name leads there for certain, and a server may run there beside all containers. ``how`` says
    all that in a sentence."""

    host: str
    owner: str | None = None
    shared: tuple[str, ...] = ()
    ip: str | None = None
    elsewhere: str | None = None
    literal_ip: bool = False
    how: str = ""
    itself: bool = False
    external: bool = False
    machine: bool = False
    running: bool | None = None
    others: tuple[str, ...] = ()


def resolve(asker: Any, everyone: Iterable[Any], host: str | None, port: int | None = None) -> Resolution:
    """Resolve ``host`` as the service ``asker`` would; ``everyone`` are all services of the stack."""
    everyone = list(everyone)
    if (shared := _shares_with(asker, everyone)) is not None:
        asker = shared  # network_mode: container:… has the other one's names, addresses and localhost
    name = (host or "").strip().strip("[]").rstrip(".").lower()
    if not name or name == "localhost" or name.endswith(".localhost") or _loops_back(name):
        return _itself(asker, everyone, host or "localhost", port, literal=_address(name) is not None)
    if name in HOST_NAMES:
        return _through_host(everyone, name, port, f"{name} is the machine that runs the containers")
    for entry in asker.item.get("extra_hosts") or ():
        told, _, address = str(entry).replace("=", ":", 1).partition(":")
        if told.lower() == name:
            how = f"extra_hosts of {asker.label} leads {name} to {address}"
            if address == "host-gateway":
                return _through_host(everyone, name, port, how)
            return _literal(asker, everyone, name, address.strip("[]"), port, how)
    if _address(name) is not None:
        return _literal(asker, everyone, name, name, port)
    return _named(asker, everyone, name)


def by_name(everyone: Iterable[Any]) -> dict[str, list[Any]]:
    """The services that a name may mean, on any network, for ``plain`` names."""
    found: dict[str, dict[int, Any]] = {}
    for service in everyone:
        names = {name.lower() for name in service.own_names}
        for network in service.networks:
            names |= (known := service.names_on(network)) | {f"{name}.{network.lower()}" for name in known}
        for name in names:
            found.setdefault(name, {})[id(service)] = service
    return {name: list(services.values()) for name, services in found.items()}


def plain(asker: Any, host: str | None) -> str:
    """The name, where only the services that bear it decide what it means to ``asker``; else empty."""
    name = (host or "").strip().strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost") or name in HOST_NAMES or _address(name) is not None:
        return ""
    shares = str(asker.item.get("network_mode") or "").startswith("container:")
    return "" if shares or asker.item.get("extra_hosts") else name


def _shares_with(asker: Any, everyone: list[Any]) -> Any:
    """The container whose network this one lives in (``network_mode: service:…``), else None."""
    kind, _, other = str(asker.item.get("network_mode") or "").partition(":")
    if kind != "container" or not other:
        return None
    return next((service for service in everyone if service.name == other
                 or (service.item.get("id") and other.startswith(service.item["id"]))), None)


def _named(asker: Any, everyone: list[Any], name: str) -> Resolution:
    owners = []
    for other in everyone:
        networks = (asker.networks - NO_NAMES) & other.networks
        if shared := tuple(sorted(network for network in networks if _answers(other, network, name))):
            owners.append((other, shared))
    if not owners:
        return _nowhere(asker, everyone, name)
    owners.sort(key=lambda pair: (not pair[0].running, pair[0] is asker))
    owner, shared = owners[0]
    how = f"{name} is {owner.label} on the network {', '.join(shared)}"
    if not owner.running:
        how += "; it does not run, so at this moment the name leads nowhere"
    ip = next((found for network in shared if (found := _ip(owner, network))), None)
    return Resolution(name, owner.label, shared, ip, running=owner.running, itself=owner is asker, how=how,
                      others=tuple(other.label for other, _ in owners[1:]))


def _answers(service: Any, network: str, name: str) -> bool:
    known = service.names_on(network)
    return name in known or (name.endswith("." + network.lower()) and name[:-len(network) - 1] in known)


def _nowhere(asker: Any, everyone: list[Any], name: str) -> Resolution:
    """No container answers the name to this service: perhaps one bears it on another network."""
    mine = ", ".join(sorted(asker.networks)) or "none"
    why = ""
    if "host" in asker.networks:
        why = f"; {asker.label} is on the host's network, where no container has a name"
    elif asker.networks and asker.networks <= NO_NAMES:
        why = f"; {asker.label} is only on the default bridge, which answers no names"
    for other in everyone:
        if other is asker:
            continue
        if any(_answers(other, network, name) for network in other.networks) or name in other.own_names:
            theirs = ", ".join(sorted(other.networks)) or "none"
            return Resolution(name, elsewhere=other.label, running=other.running, how=(
                f"{name} is {other.label}, with which {asker.label} shares no network that has names "
                f"(networks of {other.label}: {theirs}; of {asker.label}: {mine}){why}"))
    return Resolution(name, external=True, how=f"no container that is known here bears the name {name}{why}")


def _itself(asker: Any, everyone: list[Any], host: str, port: int | None, literal: bool) -> Resolution:
    if "host" in asker.networks:
        how = f"{asker.label} is on the host's network, so {host} is the machine itself"
        return _through_host(everyone, host, port, how)
    return Resolution(host, asker.label, tuple(sorted(asker.networks)), asker.ip, literal_ip=literal,
                      itself=True, running=asker.running,
                      how=f"{host} inside a container is that container: {asker.label}")


def _through_host(everyone: list[Any], name: str, port: int | None, how: str) -> Resolution:
    for other, inner, _, outer in _published(everyone):
        if outer == port:
            return Resolution(name, other.label, running=other.running,
                              how=f"{how}; {other.label} publishes its port {inner} there as {port}")
    return Resolution(name, external=True, machine=True,
                      how=f"{how}; no known container publishes the port {port} there")


def _literal(
    asker: Any, everyone: list[Any], name: str, address: str, port: int | None, how: str = "",
) -> Resolution:
    for other in everyone:
        for network in sorted(other.networks):
            if _ip(other, network) != address:
                continue
            if network in asker.networks:
                return Resolution(name, other.label, (network,), address, literal_ip=True,
                                  itself=other is asker, running=other.running,
                                  how=f"{address} is {other.label} on {network} for now; at its next start "
                                      f"it may get another address")
            return Resolution(name, elsewhere=other.label, literal_ip=True, running=other.running,
                              how=f"{address} is {other.label} on {network}, and {asker.label} is not on "
                                  f"that network")
    for other, inner, bound, outer in _published(everyone):
        if outer == port and bound == address:
            return Resolution(name, other.label, literal_ip=True, running=other.running,
                              how=f"{other.label} publishes its port {inner} at {address}:{port}")
    how = how or f"{address} is no container's address here"
    return Resolution(name, literal_ip=True, external=True, how=how)


def _published(everyone: list[Any]) -> Iterator[tuple[Any, int, str, int]]:
    """Every published port: (service, port inside, address on the host, port on the host)."""
    for other in everyone:
        for port in other.item.get("ports") or ():
            bound, _, number = str(port.get("host") or "").rpartition(":")
            if number.isdigit():
                yield other, port["container"], bound.strip("[]"), int(number)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _loops_back(name: str) -> bool:
    address = _address(name)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _ip(service: Any, network: str) -> str | None:
    return ((service.item.get("networks") or {}).get(network) or {}).get("ip") or None
