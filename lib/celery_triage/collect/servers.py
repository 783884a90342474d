"""The servers that the stack's URLs lead to, and the addresses at which they may be asked.

The address rule of the tool: a host is looked up among the containers on the networks of the service whose
URL it is (their address, then their published port); whatever no container of this engine owns is left
alone unless the user said ``--reach-external``, and only then is its name looked up. Pure: nothing is
contacted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from celery_triage.stack import Service, Stack, Url

#: Why there is no answer of something that stands in the list and was not reached before the deadline.
NOT_YET = "its turn did not come before the time was up"


@dataclass
class Server:
    """One server with one login. ``services`` are the labels whose URL leads here, ``unreached`` those that
    name it but cannot reach it, each with the sentence why. ``ways`` are (address, port, sentence), best
    first; empty when it cannot or must not be asked: then ``status`` and ``why`` say so."""

    key: str
    family: str
    host: str
    port: int | None
    container: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ways: list[tuple[str, int, str]] = field(default_factory=list)
    services: list[str] = field(default_factory=list)
    unreached: dict[str, str] = field(default_factory=dict)
    urls: list[tuple[str, Url]] = field(default_factory=list)
    status: str = "ok"
    why: str = ""

    @property
    def database(self) -> str | None:
        return self.urls[0][1].parsed.database

    @property
    def purposes(self) -> set[str]:
        return {url.purpose for _, url in self.urls}

    def entry(self, withheld: str = "") -> dict[str, Any]:
        """What every entry of a section says of a server that nobody has asked yet. ``withheld``: why it will
        not be; "" where it will be if there is a way to it. Behind a Sentinel nobody looks."""
        status, why = self.status, self.why
        if not withheld and self.urls and self.urls[0][1].parsed.transport == "sentinel":
            withheld = "a Sentinel: this version does not look for the Redis behind it"
        if withheld:
            status, why = "withheld", withheld
        elif self.ways:
            status, why = "timeout", NOT_YET
        return {"key": self.key, "services": list(self.services), "unreached": dict(self.unreached),
                "container": self.container, "address": None, "via": "", "status": status, "why": why}


def servers(stack: Stack, family: str, purposes: Iterable[str], options: Mapping[str, Any]) -> list[Server]:
    """All servers of a family (``sql`` means PostgreSQL) to which URLs of these purposes lead, in the order
    of their keys. Of brokers and result backends only those in use are taken."""
    found: dict[tuple, Server] = {}
    for service in stack.members:
        for url in service.urls:
            parsed = url.parsed
            if url.purpose not in purposes or parsed.family != family or not parsed.networked:
                continue
            if url.purpose in ("broker", "result") and not url.used:
                continue
            if family == "sql" and (parsed.dialect or "").partition("+")[0] not in ("postgresql", "postgres"):
                continue
            for host, port in parsed.hosts or (((parsed.host or "localhost"), parsed.port),):
                server = _server(stack, service, url, host, port, options)
                _merge(found, server, service.label)
    for server in found.values():
        server.services.sort()
    return sorted(found.values(), key=lambda server: (server.key, server.user or ""))


def _merge(found: dict[tuple, Server], server: Server, label: str) -> None:
    """Servers at one address with one login (and one way with TLS) are one; the services that use it add
    up."""
    where = server.ways[0][:2] if server.ways else (server.host, server.port, server.why)
    database = server.database if server.family in ("redis", "amqp") else None
    known = found.setdefault((where, database, server.user, server.password, server.tls), server)
    if known is server:
        return
    known.services += [name for name in server.services if name not in known.services]
    known.unreached.update(server.unreached)
    known.urls += server.urls


def _server(
    stack: Stack, service: Service, url: Url, host: str, port: int | None, options: Mapping[str, Any],
) -> Server:
    parsed = url.parsed
    # Celery's banner hides passwords as **: such a password is not known here.
    password = None if url.source == "banner" else parsed.password_token
    named = f"{host}:{port}" if port else host
    key = f"{named}/{parsed.database or '0'}" if parsed.family == "redis" else named
    if parsed.family == "amqp" and (parsed.database or "/") != "/":
        key = f"{named}/{parsed.database}"
    server = Server(key, parsed.family, host, port, user=parsed.user, password=password, tls=parsed.tls,
                    urls=[(service.label, url)])
    meaning = stack.resolve(service.label, host, port)
    owner = stack.get(meaning.owner or meaning.elsewhere or "")
    if meaning.itself and meaning.owner == service.label:
        server.container, server.services = service.label, [service.label]
        server.status, server.why = "unreachable", meaning.how
    elif owner is not None:
        server.container = owner.label
        server.ways = owner.ways(meaning, port)
        if meaning.owner:
            server.services = [service.label]
        else:
            server.unreached = {service.label: meaning.how}
        if not server.ways:
            state = owner.latest.get("status") or "has no address"
            server.status, server.why = "unreachable", f"the container {owner.label} is not running ({state})"
    elif host.startswith("$") or "${" in host:
        server.services = [service.label]
        server.status, server.why = "unreachable", f"{host} is a variable that nothing replaced, no host"
    elif options.get("reach_external") and port:
        server.services = [service.label]
        server.ways = [(host, port, "by its name, from the engine's machine")]
    else:
        server.services = [service.label]
        server.status = "withheld"
        server.why = f"{meaning.how}; nothing outside this engine is asked without --reach-external"
    return server


def settled(entries: list[dict[str, Any]]) -> tuple[str, str]:
    """(status, why) of a section made of such entries: ``ok`` when all are, else ``partial`` with the
    sentences; ``withheld`` when none was asked at all."""
    bad = [entry for entry in entries if entry["status"] != "ok"]
    if not bad:
        return "ok", ""
    why = "; ".join(f"{entry['key']}: {entry['why']}" for entry in bad)
    if len(bad) == len(entries) and all(entry["status"] == "withheld" for entry in bad):
        return "withheld", why
    return "partial", why
