"""Hosts of URLs that mean the container itself, where no such server is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from celery_triage.checks.connections.hosts import fitting, name_for
from celery_triage.checks.connections.shared import DEATHS, idle_states, no_place, proven, url_changes, used
from celery_triage.checks.registry import Look, NotApplicable, Prediction, check
from celery_triage.checks.reports import healed
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service, Url

#: What a process says of a server that nobody finds at its address: the codes of these words.
_SAID = ("URL005", "BRK001")


@check(
    "URL006",
    "broker-is-localhost",
    severity="critical",
    needs=("containers",),
    uses=("logs/*", "events", "compose"),
    step="broker",
    predicts=(*DEATHS, Prediction(("BRK001", "URL003", "URL005"))),
    also=("result-is-localhost",),
    steps={"result-is-localhost": "database"},
)
def is_localhost(look: Look) -> Iterator[Finding]:
    """The host of a URL means the container itself, and no such server runs in it.

    ## What
    The URL says `localhost`, `127.0.0.1` or the like, or no host at all, which means the same to Celery.
    Inside a container that is this very container, not the machine and not the container of the server; and
    the service is refused there.

    ## Why
    A URL of a developer's machine, the default of a settings file whose variable is set nowhere, or a
    variable for the host that is empty (`redis://:@:6379/0`). Celery
    tries its broker for ever; without its result backend a service ends (Celery 5.5 and later) or loses its
    results (up to 5.4).

    ## Looks like
    `Cannot connect to redis://localhost:6379/0: Error 111 connecting to localhost:6379. Connection refused.`
    while the server is up and well.

    ## Confirm
    `docker exec CONTAINER env` shows the URL as the process gets it.

    ## Do
    Write the name of the server's Compose service instead of localhost, and its port inside.

    ## False alarms
    A container that runs the server beside Celery (supervisord), or shares the network of another container
    or of the host: only a service that says itself that it is refused is reported, and those that go by the
    same URL.
    """
    if not any(used(service) for service in look.members) and look.section("containers").status == "ok":
        raise NotApplicable("no service has a broker or result backend URL")
    found: dict[tuple[str, str], list[tuple[Service, Url]]] = {}
    for service in look.members:
        for url in used(service):
            parsed = url.parsed
            if not parsed.networked or len(parsed.hosts) != 1:
                continue
            meaning = look.stack.resolve(service.label, *parsed.hosts[0])
            step = "broker" if url.purpose == "broker" else "database"
            if meaning.itself and meaning.owner and not proven(look, url, step):
                found.setdefault((url.purpose, parsed.host or ""), []).append((service, url))
    for (purpose, host), pairs in found.items():
        if any(_refused(look, service) for service, _ in pairs):
            yield _finding(look, purpose, host, pairs)
        elif unreadable := [one.label for one, _ in pairs if not look.course(one).readable]:
            look.note(
                f"logs/{unreadable[0]}", f"whether {listed(unreadable)} is refused there is not known"
            )
    yield from healed(look)


def _refused(look: Look, service: Service) -> bool:
    """Whether a service says now that nobody answers it."""
    step = look.rule.step
    return any(look.course(service).says(code, step=step) for code in _SAID)


def _finding(look: Look, purpose: str, host: str, pairs: Sequence[tuple[Service, Url]]) -> Finding:
    services = [service for service, _ in pairs]
    names = listed([service.label for service in services])
    named = f"host {host}" if host else "no host"
    proof = [
        Proof("containers", f"{one.label}: {url.source}: {url.text} ({named}: the container itself)")
        for one, url in pairs
    ]
    for service in services:
        course = look.course(service)
        proof += [
            course.proof(said[-1]) for code in _SAID if (said := course.says(code, step=look.rule.step))
        ]
    what = "broker" if purpose == "broker" else "result backend"
    looks = f"{names} {verb(services, 'looks', 'look')} for the {what}"
    title = (
        f"{looks} at {host}, which inside a container is that container itself: nothing listens there"
        if host
        else f"{looks} in {verb(services, 'its', 'their')} own container, for the URL names no host: was its "
        "variable empty?"
    )
    return look.finding(
        title,
        name="broker-is-localhost" if purpose == "broker" else "result-is-localhost",
        services=tuple(service.label for service in services),
        object=host or (pairs[0][1].var or pairs[0][1].source),
        certainty="confirmed",
        proof=proof,
        remedy=_remedy(look, purpose, host, pairs),
        verify=alive(services),
        service_states=idle_states(services, purpose),
    )


def _empty(look: Look, pairs: Sequence[tuple[Service, Url]]) -> str:
    """The variables in these URLs, as they are written in a Compose file, that have no value there."""
    compose = look.data("compose") or {}
    values = (compose.get("dotenv") or {}).get("values") or {}
    found: dict[str, None] = {}
    for service, url in pairs:
        told = (compose.get("services") or {}).get(service.item.get("service") or "") or {}
        for node in (told.get("environment") or {}).get(url.var or "") or ():
            for name in re.findall(r"\$\{?(\w+)\}?", str(node.get("value") or "")):
                if name not in values:
                    found[name] = None
    return f" ({listed(list(found))})" if found else ""


def _remedy(look: Look, purpose: str, host: str, pairs: Sequence[tuple[Service, Url]]) -> Remedy:
    """The one server that can be meant, where there is only one; else a person must say which."""
    services = [service for service, _ in pairs]
    again = recreate(look.stack, services)
    names = listed([service.label for service in services])
    risk = f"Makes the containers of {names} anew."
    what = "broker" if purpose == "broker" else "database server"
    there = fitting(look, pairs)
    inside = {entry.get("container") for one in there for entry in one.item.get("ports") or ()}
    if not host:
        return Remedy(
            "manual",
            f"Set the variables that make up {pairs[0][1].var or 'the URL'}{_empty(look, pairs)}, in .env "
            f"or where "
            "they come from; then make the containers anew.",
            commands=again, risk=risk,
        )
    if not there or len(inside) > 1:
        return Remedy("manual", f"Write the name of the {what}'s service instead of {host}.", commands=again)
    name, port = name_for(look.stack, there[0], services), pairs[0][1].parsed.port
    right = inside.pop() if inside else port
    old, new = (f"{host}:{port}", f"{name}:{right}") if pairs[0][1].parsed.port_written else (host, name)
    changed = url_changes(look, pairs, old, new)
    summary = f"Write {new} instead of {old}: {there[0].label} is the only such server on their networks"
    if not changed.complete:
        return Remedy(
            "manual",
            f"{summary}, {no_place(changed)}.",
            changed.edits + changed.texts,
            changed.commands + again,
            risk=risk,
        )
    return Remedy("exact", f"{summary}.", changed.edits, changed.commands + again, risk=risk)
