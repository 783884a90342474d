"""Ports of URLs at which nothing listens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.connections.shared import (
    DEATHS,
    asked,
    idle_states,
    no_place,
    off_port,
    port_of,
    url_changes,
    used,
)
from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.servers import uses_rabbitmq
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service, Url


@check(
    "URL005",
    "nothing-listens",
    severity="critical",
    needs=("containers", "redis", "postgres"),
    uses=("rabbitmq", "logs/*", "events", "compose"),
    step="broker",
    predicts=DEATHS,
    also=("broker-nothing-listens",),
    steps={"nothing-listens": "database"},
)
def nothing_listens(look: Look) -> Iterator[Finding]:
    """The container that a URL leads to runs, and nothing listens on the port of the URL.

    ## What
    The connection was refused, and the port of the URL is none of the ports that the container exposes.

    ## Why
    Celery tries its broker for ever; without its result backend a service ends (Celery 5.5 and later) or
    loses its results (up to 5.4).

    ## Looks like
    `Connection refused` with the right host. Between containers the port inside counts (5432), never the one
    that is published on the machine (`15432:5432`).

    ## Confirm
    `docker inspect -f '{{json .Config.ExposedPorts}}' SERVER`.

    ## Do
    Write the port on which the server listens.

    ## False alarms
    A server may listen on a port that its image does not declare: only a refused connection is reported.
    """
    if not any(used(service) for service in look.members) and look.section("containers").status == "ok":
        raise NotApplicable("no service has a broker or result backend URL")
    sections = ("postgres", "redis", *(("rabbitmq",) if uses_rabbitmq(look) else ()))
    for section in sections:
        for server in (look.data(section) or {}).get("servers") or ():
            owner = look.stack.get(server.get("container") or "")
            refused = server.get("error_kind") == "refused" and owner is not None and owner.running
            if refused and off_port(owner, port_of(server)):
                for purpose in ("broker", "result"):
                    yield from _refused(look, section, server, owner, purpose)
            elif (
                server.get("status") != "ok"
                and not server.get("error_kind")
                and (owner is None or owner.running)
            ):
                look.note(section, f"{server['key']}: {server.get('why')}")
    yield from reported(look, {label for section in sections for label in asked(look, section)})
    yield from healed(look)


def _refused(
    look: Look, section: str, server: Mapping[str, Any], owner: Service, purpose: str
) -> Iterator[Finding]:
    port = port_of(server)
    pairs: list[tuple[Service, Url]] = [
        (service, url)
        for service in look.members
        if service.label in (server.get("services") or ())
        for url in used(service, (purpose,))
        if any(number == port for _, number in url.parsed.hosts)
    ]
    if not pairs:
        return
    services = [service for service, _ in pairs]
    names = listed([service.label for service in services])
    open_ports = sorted({entry["container"] for entry in owner.item.get("ports") or ()})
    has = listed([str(one) for one in open_ports])
    proof = [Proof(section, f"{server['key']}: {server.get('why')}; {owner.label} has port {has}")]
    for service in services:
        proof += look.seen(service).proof()
    remedy = Remedy(
        "manual",
        f"Write the port on which {owner.label} listens instead of {port}.",
        commands=recreate(look.stack, services),
    )
    if len(open_ports) == 1:
        changed = url_changes(look, pairs, f":{port}", f":{open_ports[0]}")
        summary = f"Write port {open_ports[0]}, the one that {owner.label} has, instead of {port}"
        commands = changed.commands + recreate(look.stack, services)
        if changed.complete:
            remedy = Remedy(
                "exact", f"{summary}.", changed.edits, commands, risk=f"Makes the containers of {names} anew."
            )
        else:
            remedy = Remedy(
                "manual", f"{summary}, {no_place(changed)}.", changed.edits + changed.texts, commands
            )
    yield look.finding(
        f"{names} cannot reach {owner.label}: nothing listens on its port {port}",
        name="broker-nothing-listens" if purpose == "broker" else "nothing-listens",
        services=tuple(service.label for service in services),
        object=server["key"],
        proof=proof,
        remedy=remedy,
        certainty="confirmed"
        if any(look.seen(service).effect(None, (1,)) for service in services)
        else "inferred",
        verify=alive(services),
        service_states=idle_states(services, purpose),
    )
