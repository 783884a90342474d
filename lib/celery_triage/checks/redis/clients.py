"""A Redis that lets nobody in, or not far enough: no connection left, protected mode, an ACL."""

from __future__ import annotations

import re
from collections.abc import Iterator

from celery_triage.checks.redis.shared import STOPS, cli, concerned, name_of, said, servers, words_of
from celery_triage.checks.registry import Look, check
from celery_triage.checks.reports import reported
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive
from celery_triage.signatures import Match
from celery_triage.stack import Service

#: What a process logs that may use what it needs: a worker consumes, Flower connects anew after each refusal
#: (Celery 5.7, Flower 2.2).
_WELL = {"worker": re.compile(r"\S+@\S+ ready\."), "flower": re.compile(r"Connected to \w+")}


@check(
    "RDS054",
    "redis-max-clients",
    severity="critical",
    heals=False,
    needs=("containers", "redis"),
    uses=("logs/*", "events"),
    step="broker",
    predicts=STOPS,
)
def redis_max_clients(look: Look) -> Iterator[Finding]:
    """Redis has no connection left.

    ## What
    The server refused our own connection for it; or the number of its clients is its `maxclients`; or it has
    rejected connections (`rejected_connections`), and a service says that it was one of them.

    ## Why
    Whoever starts cannot connect; whoever reconnects is shut out. Each Celery process holds several
    connections: one to wait for tasks, one to send, one for events and control.

    ## Looks like
    `max number of clients reached`. Redis lowers `maxclients` by itself where its limit of open files is low.

    ## Confirm
    `docker exec REDIS redis-cli client list` (as soon as one connection is free): who holds them?

    ## Do
    Bound `broker_pool_limit` and `redis_max_connections`, end what leaks connections (a web process that
    never closes them, old workers), set `timeout` for idle clients, or raise `maxclients` and the limit of
    open files.

    ## False alarms
    A short peak at the moment of the look: look again before changing anything.
    """
    judged: set[str] = set()
    for server, services in servers(look):
        info = server.get("info") or {}
        most, clients = info.get("maxclients"), server.get("clients")
        turned_away = info.get("rejected_connections") or 0
        refused = server.get("error_kind") == "full"
        at_most = bool(most and clients and clients >= most)
        full = refused or at_most or bool(turned_away and said(look, services))
        if not full:
            if server.get("status") != "ok":
                look.note("redis", f"{server['key']}: {server.get('why')}")
            else:
                judged |= concerned(server, services)
            continue
        judged |= concerned(server, services)
        name, names = name_of(look, server), listed([one.label for one in services])
        told = server.get("why")
        if server.get("status") == "ok":
            told = f"{clients} clients of {most} at this moment, {turned_away} turned away so far"
        yield look.finding(
            f"{name} has no connection left: {names} cannot connect, or cannot once they lose what they have",
            services=tuple(one.label for one in services),
            object="maxclients",
            certainty="confirmed" if refused or said(look, services) else "inferred",
            proof=[Proof("redis", f"{server['key']}: {told}"), *words_of(look, server, services)],
            remedy=Remedy(
                "manual",
                f"Find who holds the connections of {name} (CLIENT LIST) and bound them (broker_pool_limit, "
                "redis_max_connections), or raise maxclients in its configuration or command and the limit "
                "of open "
                "files of its container, and start it again.",
                risk="Starting it again cuts every connection, and loses what it has not saved.",
            ),
            verify=(
                f"{cli(look, server, 'info', 'clients')}  # connected_clients below maxclients",
                *alive(services),
            ),
        )
    yield from reported(look, judged)


@check(
    "RDS055",
    "redis-protected-mode",
    severity="critical",
    needs=("containers", "redis"),
    uses=("logs/*", "events"),
    step="broker",
    predicts=STOPS,
)
def redis_protected_mode(look: Look) -> Iterator[Finding]:
    """Redis is in protected mode and takes only local clients.

    ## What
    The server told our own connection so, in its own words.

    ## Why
    Without a password and with `protected-mode yes` Redis answers only its own machine, and in a container
    that is the container: every other service is refused.

    ## Looks like
    `DENIED Redis is running in protected mode because protected mode is enabled and no password is set for
    the default user.` The official image switches it off; a configuration file of one's own brings it back.

    ## Confirm
    `docker exec REDIS redis-cli config get protected-mode`.

    ## Do
    Set a password and put it into the URLs; or, where only the Compose network reaches the server,
    `protected-mode no`. Never publish such a port.

    ## False alarms
    A service that is connected is never reported.
    """
    judged: set[str] = set()
    for server, services in servers(look):
        if server.get("error_kind") != "protected":
            if server.get("status") != "ok":
                look.note("redis", f"{server['key']}: {server.get('why')}")
            continue
        judged |= concerned(server, services)
        services = [one for one in services if not look.course(one).past("broker")] or services
        name, names = name_of(look, server), listed([one.label for one in services])
        published = [entry["host"] for entry in _ports(look, server) if entry.get("host")]
        yield look.finding(
            f"{name} is in protected mode and takes nobody from another container: {names} cannot connect",
            services=tuple(one.label for one in services),
            object="protected-mode",
            certainty="confirmed" if said(look, services) else "inferred",
            proof=[
                Proof("redis", f"{server['key']}: {server.get('why')}"),
                *words_of(look, server, services),
            ],
            remedy=Remedy(
                "choice",
                f"Give {name} a password, or let it trust its network.",
                question=f"Can only this stack's own networks reach {name}"
                + (
                    f" (its port is published as {listed(published)})?"
                    if published
                    else " (no port is published)?"
                ),
                options=(
                    Option(
                        "set-password",
                        f"No: set requirepass in the configuration or command of {name}, write the "
                        f"password into "
                        f"the URLs of {names}, and make all of them anew.",
                    ),
                    Option(
                        "trust-network",
                        f"Yes: switch protected mode off; write `protected-mode no` into the configuration "
                        f"or "
                        f"command of {name}, too, or its next start forgets it.",
                        commands=(cli(look, server, "config", "set", "protected-mode", "no"),),
                    ),
                ),
                risk="Whoever reaches the port may then read, change and delete everything in it.",
            ),
            verify=alive(services),
        )
    yield from reported(look, judged)


def _refused_now(look: Look, service: Service) -> list[Match]:
    """What a service says of a refusal, behind its last word of having got what it needs."""
    well = _WELL.get(service.role)
    lines = (look.data(f"logs/{service.label}") or {}).get("lines") or ()
    last = max((n for n, line in enumerate(lines, 1) if well.search(line[2])), default=0) if well else 0
    return [match for match in look.seen(service).says() if match.lines[-1] > last]


def _ports(look: Look, server) -> list:
    owner = look.stack.get(server.get("container") or "")
    return list(owner.item.get("ports") or ()) if owner else []


@check(
    "RDS058",
    "redis-acl",
    severity="critical",
    heals=False,
    needs=("containers", "redis", "logs/*"),
    uses=("events",),
    predicts=STOPS,
)
def redis_acl(look: Look) -> Iterator[Finding]:
    """The Redis user may not use this command or key.

    ## What
    A service says in its current life that Redis refuses a command, a key or a channel. Redis itself is not
    asked for the rights of its users: that needs rights of its own.

    ## Why
    Celery needs lists, sets, hashes, publish and subscribe, and scripts. From Redis 7 on a new user may use
    no channel unless that is said (`&*`), so a worker that is let in cannot listen for control messages.

    ## Looks like
    `this user has no permissions to access one of the channels used as arguments`, `… to run the 'brpop'
    command`, `unknown command` for a command that was renamed.

    ## Confirm
    `docker exec REDIS redis-cli acl getuser USER`, and `acl log`: what was refused to whom.

    ## Do
    Give the user the commands, keys and channels: `ACL SETUSER USER ~* &* +@all -@dangerous +info`, then
    write it into the ACL file; take `rename-command` for a command that Celery needs out of the
    configuration.

    ## False alarms
    Words of an application that uses Redis itself, with another user: they are its own. Words from before a
    worker was ready, or before Flower's last connection, are over.
    """
    told: list[str] = []
    for server, services in servers(look):
        refused = listed(sorted(server.get("not_allowed") or ()))
        told += [f"{server['key']}: our own login may not use {refused}"] if refused else []
        user = server.get("user") or "default"
        about = [one for one in services if _refused_now(look, one)]
        if not about:
            continue
        names, name = listed([one.label for one in about]), name_of(look, server)
        things = list(
            dict.fromkeys(match.object for one in about for match in _refused_now(look, one) if match.object)
        )
        thing = things[0] if things else "permission"
        unknown = any(
            match.signature == "redis-unknown-command" for one in about for match in _refused_now(look, one)
        )
        proof = words_of(look, server, about)
        if refused:
            proof.append(Proof("redis", f"{server['key']}: our own login may not use {refused}"))
        if unknown:
            title = f"{name} does not know a command that {names} {verb(about, 'needs', 'need')}: {thing}"
            remedy = (
                f"Take `rename-command` for {thing} out of the configuration of {name} and start it again."
            )
        else:
            title = f"{name} refuses {names} what Celery needs: {listed(things) or 'a command or a key'}"
            remedy = (
                f"Give the user of the URL the commands, keys and channels that Celery needs on {name} "
                "(ACL SETUSER USER ~* &* +@all -@dangerous +info), and write it into the ACL file."
            )
        yield look.finding(
            title,
            services=tuple(one.label for one in about),
            object=thing,
            certainty="reported",
            proof=proof,
            remedy=Remedy("manual", remedy),
            verify=(f"{cli(look, server, 'acl', 'getuser', user)}  # the rights of the user", *alive(about)),
        )
    for service in look.celery:
        look.section(f"logs/{service.label}")
