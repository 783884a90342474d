"""The broker: does it answer, and do all mean the same one?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.connections.shared import asked, no_place, off_port, port_of, url_changes
from celery_triage.checks.registry import Look, NotApplicable, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.servers import brokers, has_broker, section_of, uses_rabbitmq
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, recreate, restart
from celery_triage.stack import Service, Url


@check(
    "BRK001",
    "broker-down",
    severity="critical",
    needs=("containers", "redis"),
    uses=("rabbitmq", "logs/*", "events"),
    step="broker",
    predicts=(Prediction(("CTR001", "CTR003"), exits=(1,)),),
    also=("broker-loading",),
)
def broker_down(look: Look) -> Iterator[Finding]:
    """The container is there that a broker URL leads to, but no broker answers in it.

    ## What
    The host of the URL is a container of this engine; it does not run, nothing listens on the port, or it
    says that it is still loading its data.

    ## Why
    Celery tries to connect for ever: workers are up and work on nothing, beat sends nothing.

    ## Looks like
    `Cannot connect to redis://redis:6379/0: Error 111 connecting to redis:6379. Connection refused.`, or
    `Name or service not known` for a container that does not run: Docker then answers its name no more.

    ## Confirm
    `docker exec REDIS redis-cli ping` or `docker exec RABBITMQ rabbitmq-diagnostics -q ping`, and
    `docker logs --tail 50 BROKER`.

    ## Do
    Start it; its own log says why it ended.

    ## False alarms
    A broker that was only just started: look again some seconds later. RabbitMQ opens its port last, after
    10 s and more.
    """
    if (
        not any(service.is_celery and has_broker(service) for service in look.members)
        and look.section("containers").status == "ok"
    ):
        raise NotApplicable("no service uses Redis or RabbitMQ as its broker")
    for server in brokers(look):
        section = section_of(server)
        kind, owner = server.get("error_kind"), look.stack.get(server.get("container") or "")
        stopped = owner is not None and not owner.running and server.get("status") == "unreachable"
        services = [
            service
            for service in look.members
            if service.label in (server.get("services") or ())
            and service.is_celery
            and has_broker(service)
        ]
        if (
            owner is None
            or not services
            or owner in services
            or not (stopped or kind in ("refused", "loading"))
            or (not stopped and kind == "refused" and off_port(owner, port_of(server)))
        ):
            if server.get("status") != "ok":
                look.note(section, f"{server['key']}: {server.get('why')}")
            continue
        names = listed([service.label for service in services])
        proof = [Proof(section, f"{server['key']}: {server.get('why')}")]
        for service in services:
            proof += look.seen(service).proof()
        loading = kind == "loading"
        yield look.finding(
            f"The broker {owner.label} is still loading its data; {names} wait for it"
            if loading
            else f"No broker answers in {owner.label}: {names} can neither get nor send tasks",
            name="broker-loading" if loading else "broker-down",
            severity="warning" if loading else "critical",
            services=tuple(service.label for service in services),
            object=server["key"],
            proof=proof,
            verify=alive([owner, *services]),
            remedy=Remedy(
                "manual",
                "Wait until it has loaded its data."
                if loading
                else f"See why {owner.label} does not answer (its last words in the log), then start it.",
                commands=() if loading else restart([owner]),
            ),
        )
    judged = asked(look, "redis")
    yield from reported(look, judged | asked(look, "rabbitmq") if uses_rabbitmq(look) else judged)
    yield from healed(look)


@check(
    "BRK004",
    "broker-wrong-database",
    severity="critical",
    needs=("containers", "redis"),
    uses=("celery", "compose", "logs/*", "files/*"),
    step="consuming",
)
def broker_wrong_database(look: Look) -> Iterator[Finding]:
    """Services that belong together use different databases of the same Redis as their broker.

    ## What
    The broker URLs of this stack lead to one Redis server and to several of its numbered databases. Most
    workers are on one of them; the services of the finding are on another.

    ## Why
    The databases of a Redis share nothing: what is sent into one is never seen by a worker on another.
    Nobody gets an error.

    ## Looks like
    Beat logs `Sending due task`, the workers `ready.`, and nothing is ever done. Only the number behind the
    last slash of the URLs differs.

    ## Confirm
    `docker exec REDIS redis-cli info keyspace`, and `redis-cli -n NUMBER llen QUEUE` for each.

    ## Do
    Give all of them the same number, and make those that change anew. What was sent into the other database
    stays there.

    ## False alarms
    Two applications in one project that shall share nothing: workers on a database of their own, with nobody
    there who lacks them, are only a warning.
    """
    urls = {one: url for one in look.members if (url := _broker_url(one)) is not None}
    if not urls and look.section("containers").status == "ok":
        raise NotApplicable("no service uses Redis as its broker")
    if not look.section("redis").readable:
        return
    servers = {
        label: server
        for server in (look.data("redis") or {}).get("servers") or ()
        if "broker" in (server.get("purposes") or ["broker"])
        for label in (*(server.get("services") or ()), *(server.get("unreached") or ()))
    }
    groups: dict[str, dict[str, list[Service]]] = {}
    for service, url in urls.items():
        owner = (servers.get(service.label) or {}).get("container") or f"{url.parsed.host}:{url.parsed.port}"
        groups.setdefault(owner, {}).setdefault(url.parsed.database or "0", []).append(service)
    for owner, databases in groups.items():
        workers = {
            number: [one for one in found if one.role == "worker"] for number, found in databases.items()
        }
        home = max(databases, key=lambda one: (len(workers[one]), len(databases[one]), one == "0"))
        if not workers[home]:
            continue
        for number, services in sorted(databases.items()):
            if number != home:
                yield _apart(look, owner, urls, services, databases[home], servers)


def _broker_url(service: Service) -> Url | None:
    """The Redis that a service sends to or takes from; also of a service that only sends."""
    found = [url for url in service.urls if url.purpose == "broker" and not url.guessed]
    url = service.url("broker") if service.is_celery else next(iter(found), None)
    return url if url is not None and url.parsed.family == "redis" and url.parsed.networked else None


def _apart(
    look: Look,
    owner: str,
    urls: Mapping[Service, Url],
    services: list[Service],
    home: list[Service],
    servers: Mapping[str, Mapping[str, Any]],
) -> Finding:
    """The finding for services whose database is not that of the others."""
    url, other = urls[services[0]], urls[home[0]]
    here, there = url.parsed.database or "0", other.parsed.database or "0"
    names, others = [one.label for one in services], [one.label for one in home]
    alone = not any(one.role == "worker" for one in services)
    senders = [one.label for one in services if one.role not in ("worker", "flower")]
    server = servers.get(names[0]) or {}
    depths = (server.get("samples") or [{}])[-1].get("queues") or {}
    waiting = {queue: depth for queue, depth in depths.items() if depth}
    # Only those that send or take work are stopped by it; Flower alone merely shows nothing.
    lost = bool(senders) and alone or (not alone and any(one.role == "beat" for one in home))
    heard = server.get("nodes") or ()
    proof = [
        Proof("containers", f"{one.label}: {urls[one].source}, {urls[one].text}")
        for one in (*services, *home)
    ]
    if waiting:
        held = listed([f"{queue} {depth}" for queue, depth in sorted(waiting.items())])
        known = f"workers known there: {len(heard)}"
        proof.append(Proof("redis", f"{server['key']}: tasks wait there ({held}); {known}"))
    pairs = [(one, urls[one]) for one in services]
    changed = url_changes(look, pairs, _tail(url), re.sub(r"/\d+$", "", _tail(url)) + f"/{there}")
    edits = (*changed.edits, *changed.texts)
    commands = (*changed.commands, *recreate(look.stack, services)) if changed.complete else ()
    hint = "" if changed.complete else f" Change it {no_place(changed)}."
    return look.finding(
        f"{listed(names)} {verb(names, 'uses', 'use')} database {here} of {owner} as broker, "
        f"{listed(others)} {verb(others, 'uses', 'use')} database {there}: neither sees what the other sends",
        services=tuple(names),
        severity="critical" if lost and not (alone and heard) else "warning",
        object=url.parsed.server,
        certainty="confirmed" if waiting and alone else "inferred",
        proof=proof,
        remedy=Remedy(
            "choice",
            f"All that shall work together need the same database of {owner}.",
            question=f"Is database {there}, where most workers are, the right one?",
            options=(
                Option(
                    "join the workers",
                    f"Write /{there} into the broker URL of {listed(names)}.{hint}",
                    edits,
                    commands,
                ),
                Option(
                    "move the workers",
                    f"Write /{here} into the broker URL of {listed(others)}, and make them anew.",
                ),
            ),
            risk=f"What already waits in database {here} stays there.",
        ),
        verify=alive([*services, *[one for one in home if one.role == "worker"]]),
    )


def _tail(url: Url) -> str:
    """Host, port and number as they stand at the end of a URL, without user and password."""
    return re.split(r"//|@", url.text.partition("?")[0])[-1]
