"""Which container a host name means inside another container, by Docker's own rules.

Measured on Docker Engine 20.10: the embedded DNS of a user-defined network answers a container's name, its
network aliases (Compose adds the service's name) and its short id, each also with ``.<network>`` behind it, and
only while that container runs. The default bridge ``bridge`` answers no names at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Names that lead out of the containers to the machine that runs them.
HOST_NAMES = frozenset({"host.docker.internal", "gateway.docker.internal", "docker.for.mac.host.internal",
                        "host.containers.internal", "docker.for.mac.localhost", "host-gateway"})
NO_NAMES = frozenset({"bridge", "host", "none"})


@dataclass(frozen=True)
class Resolution:
    """What a host means to one service. ``owner`` is the label of the container that it leads to, ``ip`` that
    container's address on the first of the ``shared`` networks (None while it does not run), ``others`` further
    owners of the same name. ``elsewhere`` is a container that bears the name, or has the address, but shares no
    network; ``itself`` is true when the name means the asking container; ``external`` when no container of this
    engine is meant. ``how`` says all that in a sentence."""

    host: str
    owner: str | None = None
    shared: tuple[str, ...] = ()
    ip: str | None = None
    elsewhere: str | None = None
    literal_ip: bool = False
    how: str = ""
    itself: bool = False
    external: bool = False
    running: bool | None = None
    others: tuple[str, ...] = ()


def resolve(asker: Any, everyone: Iterable[Any], host: str | None, port: int | None = None) -> Resolution:
    """Resolve ``host`` as the service ``asker`` would; ``everyone`` are all services of the stack."""
    everyone = list(everyone)
    name = (host or "").strip().strip("[]").rstrip(".").lower()
    own = asker.networks
    if not name or name == "localhost" or name.endswith(".localhost") or _loopback(name):
        return _loops(asker, everyone, host or "localhost", port, literal=_address(name) is not None)
    if name in HOST_NAMES:
        return _through_host(everyone, name, port, f"{name} is the machine that runs the containers")
    for entry in asker.item.get("extra_hosts") or ():
        told, _, address = str(entry).replace("=", ":", 1).partition(":")
        if told.lower() == name:
            if address == "host-gateway":
                return _through_host(everyone, name, port, f"extra_hosts of {asker.label} leads {name} to the host")
            return _literal(asker, everyone, name, address.strip("[]"), port,
                            f"extra_hosts of {asker.label} gives {address}")
    if _address(name) is not None:
        return _literal(asker, everyone, name, name, port, "")
    if "host" in own:
        return _unknown(asker, everyone, name, f"{asker.label} is on the host's network, where no container has a name")
    named = own - NO_NAMES
    owners = []
    for other in everyone:
        shared = tuple(sorted(net for net in named & other.networks if _answers(other, net, name)))
        if shared:
            owners.append((other, shared))
    if not owners:
        where = "" if named else (f"; {asker.label} is only on the default bridge, which answers no names"
                                  if own else f"; {asker.label} is on no network")
        return _unknown(asker, everyone, name, where=where)
    owners.sort(key=lambda pair: (not pair[0].running, pair[0] is asker))
    owner, shared = owners[0]
    ip = next((_ip(owner, net) for net in shared if _ip(owner, net)), None)
    how = f"{name} is {owner.label} on the network {', '.join(shared)}"
    if not owner.running:
        how += f"; it does not run, so at this moment the name leads nowhere"
    return Resolution(name, owner.label, shared, ip, running=owner.running, itself=owner is asker, how=how,
                      others=tuple(other.label for other, _ in owners[1:]))


def _answers(service: Any, network: str, name: str) -> bool:
    names = service.names_on(network)
    return name in names or (name.endswith("." + network.lower()) and name[:-len(network) - 1] in names)


def _unknown(asker: Any, everyone: list[Any], name: str, how: str = "", where: str = "") -> Resolution:
    for other in everyone:
        if other is not asker and any(_answers(other, net, name) for net in other.networks or {""}):
            nets = ", ".join(sorted(other.networks)) or "no network"
            mine = ", ".join(sorted(asker.networks)) or "no network"
            return Resolution(name, elsewhere=other.label, running=other.running, how=how or (
                f"{name} is {other.label}, which shares no network with {asker.label} "
                f"({other.label}: {nets}; {asker.label}: {mine}){where}"))
    return Resolution(name, external=True, how=how or f"no container of this engine that is known here bears the name "
                                                      f"{name}{where}")


def _loops(asker: Any, everyone: list[Any], host: str, port: int | None, literal: bool) -> Resolution:
    if "host" in asker.networks:
        return _through_host(everyone, host, port,
                             f"{asker.label} is on the host's network, so {host} is the machine itself")
    return Resolution(host, asker.label, tuple(sorted(asker.networks)), asker.ip, literal_ip=literal, itself=True,
                      running=asker.running, how=f"{host} inside a container means that container: {asker.label} itself")


def _through_host(everyone: list[Any], name: str, port: int | None, how: str) -> Resolution:
    for other in everyone:
        for published in other.item.get("ports") or ():
            if port and published.get("host") and str(published["host"]).rpartition(":")[2] == str(port):
                return Resolution(name, other.label, (), None, running=other.running,
                                  how=f"{how}; {other.label} publishes its port {published['container']} there as {port}")
    return Resolution(name, external=True, how=f"{how}; no known container publishes a port {port or 'there'}")


def _literal(asker: Any, everyone: list[Any], name: str, address: str, port: int | None, how: str) -> Resolution:
    for other in everyone:
        for network, member in (other.item.get("networks") or {}).items():
            if (member or {}).get("ip") == address:
                if network in asker.networks:
                    return Resolution(name, other.label, (network,), address, literal_ip=True, itself=other is asker,
                                      running=other.running, how=f"{address} is {other.label} on {network} for now; "
                                      f"Docker may give it another address at its next start")
                return Resolution(name, elsewhere=other.label, literal_ip=True, running=other.running,
                                  how=f"{address} is {other.label} on {network}, a network that {asker.label} is not on")
    for other in everyone:
        for published in other.item.get("ports") or ():
            bound, _, number = str(published.get("host") or "").rpartition(":")
            if port and number == str(port) and bound.strip("[]") == address:
                return Resolution(name, other.label, (), None, literal_ip=True, running=other.running,
                                  how=f"{other.label} publishes its port {published['container']} at {address}:{port}")
    return Resolution(name, literal_ip=True, external=True, how=how or f"{address} is no container's address here")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _loopback(name: str) -> bool:
    address = _address(name)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _ip(service: Any, network: str) -> str | None:
    member: Mapping[str, Any] = (service.item.get("networks") or {}).get(network) or {}
    return member.get("ip") or None
