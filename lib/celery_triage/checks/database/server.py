"""Servers that do not answer, or have no room."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.connections.shared import asked, idle_states, off_port, port_of
from celery_triage.checks.database.shared import DEATHS, concerned, effect_on, servers, unseen
from celery_triage.checks.registry import Look, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, restart


@check(
    "DBS003",
    "connections-exhausted",
    severity="critical",
    needs=("containers", "postgres"),
    uses=("logs/*", "events"),
    step="database",
    predicts=DEATHS,
)
def connections_exhausted(look: Look) -> Iterator[Finding]:
    """The PostgreSQL server has no room for another connection.

    ## What
    The server said so to our own login, or all of its slots for ordinary roles are taken.

    ## Why
    Celery's database backend holds a connection for each pool process (and one more for each result outside
    of the pool), so results are lost, and a service that starts cannot.

    ## Looks like
    `FATAL:  sorry, too many clients already`, `remaining connection slots are reserved`.

    ## Confirm
    `docker exec POSTGRES psql -U postgres -c 'SELECT datname, usename, state, count(*) FROM pg_stat_activity
    GROUP BY 1, 2, 3'` (`-U` and the value of POSTGRES_USER, where that is another).

    ## Do
    Find who holds the connections; lower pools and concurrency, or raise `max_connections`.

    ## False alarms
    A short peak at the moment of the look: look again before changing anything.
    """
    for server in servers(look):
        room = server.get("connections") or {}
        most, reserved, taken = room.get("max"), room.get("reserved") or 0, room.get("used")
        full = most is not None and taken is not None and taken >= most - reserved
        if server.get("sqlstate") != "53300" and not full:
            unseen(look, server)
            continue
        services = concerned(look, server.get("services") or ())
        if not services:
            continue
        said = (
            f"{taken} of {most} connections are taken, {reserved} are reserved" if full else server.get("why")
        )
        top = sorted((room.get("by_database") or {}).items(), key=lambda pair: (-pair[1], pair[0]))[:3]
        held = ", ".join(f"{name} {count}" for name, count in top)
        yield look.finding(
            f"{listed([service.label for service in services])} cannot open a connection: "
            f"{server.get('container') or server['key']} has no room ({said})",
            services=tuple(service.label for service in services),
            object=server["key"],
            certainty="confirmed" if server.get("sqlstate") == "53300" else "inferred",
            proof=[Proof("postgres", f"{server['key']}: {said}" + (f"; most by {held}" if held else ""))],
            service_states=idle_states(services, "result"),
            verify=alive(services),
            remedy=Remedy(
                "manual",
                "See who holds the connections (pg_stat_activity), lower pools or concurrency there, or "
                "raise max_connections and start the server again.",
                risk="Starting the server again cuts every connection.",
            ),
        )
    yield from reported(look, asked(look, "postgres"))
    yield from healed(look)


@check(
    "DBS004",
    "database-server-down",
    severity="critical",
    needs=("containers", "postgres"),
    uses=("logs/*", "events"),
    step="database",
    predicts=DEATHS,
)
def database_server_down(look: Look) -> Iterator[Finding]:
    """The container is there that a database URL leads to, but no PostgreSQL answers in it.

    ## What
    The host of the URL is a container of this engine; it does not run, or nothing listens on the port.

    ## Why
    Worker and beat end at their start (Celery 5.5 and later), or lose their results (up to 5.4).

    ## Looks like
    `connection refused`, `failed to resolve host` (a container that does not run has no name), `the database
    system is starting up`.

    ## Confirm
    `docker ps -a` and the last words of the server: `docker logs --tail 50 POSTGRES`.

    ## Do
    Start the server; its own log says why it ended.

    ## False alarms
    A server that was only just started: look again some seconds later.
    """
    for server in servers(look):
        kind = server.get("error_kind")
        owner = look.stack.get(server.get("container") or "")
        stopped = owner is not None and not owner.running and server.get("status") == "unreachable"
        if owner is None or not (stopped or kind in ("refused", "starting")):
            unseen(look, server)
            continue
        services = [
            service
            for service in concerned(look, server.get("services") or ())
            if owner.label != service.label
        ]
        if not services or (not stopped and kind == "refused" and off_port(owner, port_of(server))):
            continue  # the URL's port is wrong: another rule's
        idle = idle_states(services, "result")
        _, effect = effect_on(services, idle)
        yield look.finding(
            f"No PostgreSQL answers in {owner.label}: {effect}",
            services=tuple(service.label for service in services),
            object=server["key"],
            service_states=idle,
            certainty="confirmed",
            proof=[Proof("postgres", f"{server['key']}: {server.get('why')}")],
            verify=alive([owner, *services]),
            remedy=Remedy(
                "manual",
                f"See why {owner.label} does not answer (its last words in the log), then start it.",
                commands=restart([owner]),
            ),
        )
    yield from reported(look, asked(look, "postgres"))
    yield from healed(look)
