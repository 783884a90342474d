"""Hosts of URLs that mean no container which the service can reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from celery_triage.checks.connections.shared import DEATHS, idle_states, no_place, url_changes, used
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service, Stack, Url


@check(
    "URL003",
    "broker-host-unknown",
    severity="critical",
    needs=("containers",),
    uses=("logs/*", "events", "compose", "redis", "postgres", "networks"),
    step="broker",
    predicts=(*DEATHS, Prediction(("BRK001", "URL005"))),
    also=("result-host-unknown", "network-missing"),
    steps={"result-host-unknown": "database", "network-missing": "database"},
)
def host_unknown(look: Look) -> Iterator[Finding]:
    """The host in a broker or result backend URL means no container that the service can reach.

    ## What
    The host name is looked up as Docker's own name server does it: among the names and aliases of the
    containers that share a network with the service. Either nobody bears the name, or its bearer shares no
    network with the service (then the finding is called network-missing).

    ## Why
    Celery tries to connect to its broker for ever, so the worker is up and works on nothing. A result backend
    that is not found ends worker and beat from Celery 5.5 on.

    ## Looks like
    `Cannot connect to redis://…: Error -2 connecting to redsi:6379. Name or service not known.`, `failed to
    resolve host`, `could not translate host name`.

    ## Confirm
    `docker exec CONTAINER python -c 'import socket; print(socket.gethostbyname("HOST"))'`.

    ## Do
    Write the name of the service that is meant, start it, or put both on one network.

    ## False alarms
    A name with a dot, or one that the host's own name server knows, can be a machine outside: such a name is
    reported only where the service's own log says that it cannot be resolved. A service that is connected is
    never reported, unless its container was taken off all its networks since.
    """
    found: dict[tuple[str, str, str], list[tuple[Service, Url, str]]] = {}
    judged: set[str] = set()
    known, told_of = _resolved(look), _complained(look)
    for service, url, host, port in _hosts(look):
        meaning = look.stack.resolve(service.label, host, port)
        if meaning.owner or meaning.literal_ip or meaning.machine:
            judged.add(service.label)  # that its owner does not run or answer is another rule's
        elif not (meaning.elsewhere and _cut_off(service)) and (
            (service.label, host) in known or look.course(service).past(_late(url))
        ):
            judged.add(service.label)
        elif meaning.elsewhere:
            found.setdefault(("network-missing", url.purpose, host), []).append((service, url, meaning.how))
        elif (service.label, host) in told_of or (_only_a_container(host) and not _silent(look, service)):
            name = "broker-host-unknown" if url.purpose == "broker" else "result-host-unknown"
            found.setdefault((name, url.purpose, host), []).append((service, url, meaning.how))
        else:
            look.note("containers", f"whether {host} can be resolved in {service.label} is not known")
    for (name, purpose, host), told in found.items():
        if name != "network-missing":
            yield _unknown_host(look, name, purpose, host, told)
    yield from _apart(look, {key: told for key, told in found.items() if key[0] == "network-missing"})
    yield from reported(look, judged | {one.label for told in found.values() for one, _, _ in told})
    yield from healed(look)


def _cut_off(service: Service) -> bool:
    """Whether a container runs and is on no network any more: whatever it reached before, it does not now."""
    return service.running and not service.networks


def _hosts(look: Look) -> Iterator[tuple[Service, Url, str, int | None]]:
    """The hosts of all URLs in use, without those that hold a variable which nothing replaced."""
    for service in look.members:
        for url in used(service):
            if url.parsed.networked and not any(problem.kind == "unset" for problem in url.problems):
                for host, port in url.parsed.hosts:
                    yield service, url, host, port


def _late(url: Url) -> str:
    """The step that proves that the host of a URL was found."""
    return "broker" if url.purpose == "broker" else "database"


def _resolved(look: Look) -> set[tuple[str, str]]:
    """(service, host) for hosts that a service on the same networks is proven to have reached: beat and
    Flower say little, and ask the same name server."""
    proven = {
        (service.networks, host)
        for service, url, host, _ in _hosts(look)
        if look.course(service).past(_late(url))
    }
    return {
        (service.label, host) for service, _, host, _ in _hosts(look) if (service.networks, host) in proven
    }


def _complained(look: Look) -> set[tuple[str, str]]:
    """(service, host) for hosts that a service on the same networks says it cannot resolve."""
    said = {(service.networks, host) for service, _, host, _ in _hosts(look) if look.seen(service).says(host)}
    return {(service.label, host) for service, _, host, _ in _hosts(look) if (service.networks, host) in said}


def _silent(look: Look, service: Service) -> bool:
    """Whether a running service would have complained about a host by now, and did not."""
    course = look.course(service)
    told = course.told
    return course.readable and told is not None and told.running and (told.seconds or 0) > 30


def _only_a_container(host: str) -> bool:
    """Whether a name can hardly be a machine outside: it has no domain, and is none of Docker's own names."""
    return "." not in host and ":" not in host and not host.startswith(("host-", "gateway"))


def _unknown_host(
    look: Look,
    name: str,
    purpose: str,
    host: str,
    told: Sequence[tuple[Service, Url, str]],
) -> Finding:
    services = [service for service, _, _ in told]
    idle = idle_states(services, purpose)
    names = listed(
        [service.label for service in services if service.label not in idle]
        or [service.label for service in services]
    )
    what = "broker" if purpose == "broker" else "result backend"
    title = f"{names} cannot reach the {what}: no container on their networks is called {host}"
    proof = [
        Proof("containers", f"{service.label}: {url.source}: host {host}; {how}")
        for service, url, how in told
    ]
    for service in services:
        proof += look.seen(service).proof(host)
    seen = any(look.seen(service).effect(host, ()) for service in services)
    remedy = _host_remedy(look, purpose, host, [(service, url) for service, url, _ in told])
    return look.finding(
        title,
        name=name,
        services=tuple(service.label for service in services),
        object=host,
        certainty="confirmed" if seen else "inferred",
        proof=proof,
        remedy=remedy,
        verify=alive(services),
        service_states=idle,
    )


def _apart(
    look: Look, found: Mapping[tuple[str, str, str], Sequence[tuple[Service, Url, str]]]
) -> Iterator[Finding]:
    """One finding for services that share no network with the servers of their URLs, however many of these
    there are: a network that is missing is missing for broker and result backend alike."""
    groups: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for (_, purpose, host), told in found.items():
        groups.setdefault(tuple(service.label for service, _, _ in told), []).append((purpose, host))
    for labels, hosts in groups.items():
        told = [one for purpose, host in hosts for one in found["network-missing", purpose, host]]
        services = [look.stack.get(label) for label in labels]
        idle = idle_states(services, "result") if all(purpose == "result" for purpose, _ in hosts) else {}
        struck = [label for label in labels if label not in idle] or list(labels)
        names = list(dict.fromkeys(host for _, host in hosts))
        owners = [str(look.stack.resolve(labels[0], host).elsewhere) for host in names]
        what = ["broker" if purpose == "broker" else "result backend" for purpose, _ in hosts]
        proof = [
            Proof("containers", f"{service.label}: {url.source}: host {url.parsed.host}; {how}")
            for service, url, how in told
        ]
        for service in services:
            proof += [one for host in names for one in look.seen(service).proof(host)]
        seen = any(look.seen(service).effect(host, ()) for service in services for host in names)
        where = verb(names, "is the container", "are the containers")
        yield look.finding(
            f"{listed(struck)} cannot reach the {listed(list(dict.fromkeys(what)))}: {listed(names)} {where} "
            f"{listed(owners)}, on {verb(names, 'a network', 'networks')} that they are not on",
            name="network-missing",
            services=labels,
            object=",".join(names),
            certainty="confirmed" if seen else "inferred",
            proof=proof,
            remedy=_join_networks(look, services, owners),
            verify=alive(services),
            service_states=idle,
        )


def _join_networks(look: Look, services: Sequence[Service], owners: Sequence[str]) -> Remedy:
    wanted = []
    for owner in dict.fromkeys(owners):
        other = look.stack.get(owner)
        shared = sorted(other.networks - {"bridge", "host", "none"}) if other else []
        wanted.append(f"of {owner} ({listed(shared) or 'a network of its own'})")
    names = listed([service.label for service in services])
    return Remedy(
        "manual",
        f"Put {names} on a network {' and one '.join(wanted)} in the Compose file (networks: of "
        f"the service, external: true at the end), then make the containers anew.",
        commands=recreate(look.stack, services),
    )


def _host_remedy(look: Look, purpose: str, host: str, pairs: Sequence[tuple[Service, Url]]) -> Remedy:
    services = [service for service, _ in pairs]
    commands = recreate(look.stack, services)
    risk = f"Makes the containers of {listed([service.label for service in services])} anew."
    options = []
    for candidate in fitting(look, pairs):
        name = name_for(look.stack, candidate, services)
        port = pairs[0][1].parsed
        old, new = (f"{host}:{port.port}", f"{name}:{port.port}") if port.port_written else (host, name)
        changed = url_changes(look, pairs, old, new)
        extra = "" if changed.complete else f" ({no_place(changed)})"
        options.append(
            Option(
                "use-existing",
                f"Write {name} instead of {host}: that container is there and runs{extra}.",
                changed.edits + changed.texts,
                changed.commands + commands,
            )
        )
    defined = ((look.data("compose") or {}).get("services") or {}).get(host)
    if defined is not None and not any(
        service.item.get("service") == host for service in look.stack.services
    ):
        starting = (
            recreate(look.stack, services)[0].rsplit(" --no-deps ", 1)[0] + f" --no-deps {host}"
            if commands
            else ""
        )
        options.append(
            Option(
                "start-missing",
                f"Start the service {host}, which the Compose file defines and which has no container.",
                commands=(starting,) if starting else (),
            )
        )
    if not options:
        return Remedy(
            "manual",
            f"Write the name of the {'broker' if purpose == 'broker' else 'database server'} that is "
            f"meant instead of {host}, or start a container of that name on their network."
            f"{_also_there(look, services)}",
            commands=commands,
        )
    return Remedy(
        "choice",
        f"Let {host} lead to a server.",
        options=tuple(options),
        risk=risk,
        question=f"Is {host} a slip for a server that is there, or is a container of that name missing?",
    )


def _also_there(look: Look, services: Sequence[Service]) -> str:
    """The other containers on a network that all these services share: the one that is meant may be among
    them, also where no URL leads to it."""
    shared = frozenset.intersection(*(frozenset(service.networks) for service in services))
    own = {service.name for service in look.stack.members}
    items = (look.data("networks") or {}).get("items") or ()
    names = {name for item in items if item.get("name") in shared for name in item.get("members") or ()} - own
    return f" On their networks there are also: {listed(sorted(names), 8)}." if names else ""


def fitting(look: Look, pairs: Sequence[tuple[Service, Url]]) -> list[Service]:
    """The one running server of the right kind that all these services share a network with; none if there
    are several: then nobody can say which is meant."""
    family = pairs[0][1].parsed.family
    role = {"redis": "redis", "amqp": "rabbitmq", "sql": "postgres"}.get(family, "")
    if family == "sql" and not (pairs[0][1].parsed.dialect or "").startswith("postgres"):
        role = ""
    there = [
        other
        for other in look.stack.with_role(role)
        if other.running
        and all(other.networks & service.networks - {"bridge", "host", "none"} for service, _ in pairs)
    ]
    return there if len(there) == 1 else []


def name_for(stack: Stack, server: Service, services: Sequence[Service]) -> str:
    """The name by which all these services reach the server: its Compose service name where that does."""
    names = [server.item.get("service") or "", server.label, server.name]
    return next(
        (
            name
            for name in names
            if name and all(stack.resolve(service.label, name).owner == server.label for service in services)
        ),
        server.name,
    )
