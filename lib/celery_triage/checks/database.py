"""The PostgreSQL behind result backends and database URLs: databases, roles, room for connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.connections import idle_states, similar, url_changes
from celery_triage.checks.registry import Look, NotApplicable, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.steps import checks_backend_at_start
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, create_database, identifier, psql, recreate, restart
from celery_triage.stack import Service, Url

_DEATHS = (Prediction(("CTR001", "CTR003"), exits=(1,)),)


def servers(look: Look) -> list[Mapping[str, Any]]:
    """The PostgreSQL servers of the evidence; NotApplicable where no URL leads to one."""
    if not any(_postgres_url(service) for service in look.stack.members) and look.section("containers").status == "ok":
        raise NotApplicable("no service has a URL of a PostgreSQL")
    return (look.data("postgres") or {}).get("servers") or []


def _postgres_url(service: Service) -> Url | None:
    """The PostgreSQL URL that matters for a service: its result backend in use, else a database URL."""
    for url in service.urls:
        fits = (url.parsed.dialect or "").startswith("postgres")
        if fits and (url.purpose == "database" or (url.purpose == "result" and url.used)):
            return url
    return None


def _concerned(look: Look, labels: Sequence[str]) -> list[Service]:
    """The services of the target among these labels, in the order of the stack."""
    return [service for service in look.stack.members if service.label in labels]


def _effect(look: Look, services: Sequence[Service], idle: Mapping[str, str]) -> tuple[list[Service], str]:
    """The services that something wrong with the result backend strikes, and what it does to them, in words."""
    struck = [service for service in services if service.label not in idle]
    names = listed([service.label for service in struck])
    if any(checks_backend_at_start(service) is not False and service.is_celery for service in struck):
        return struck, f"{names} {verb(struck, 'ends', 'end')} at the start"
    if any(service.is_celery for service in struck):
        return struck, f"{names} {verb(struck, 'starts', 'start')}, but no result can be stored"
    return struck, f"{names} cannot use it"


def _unseen(look: Look, server: Mapping[str, Any]) -> bool:
    """Note a server that did not let itself be asked."""
    if server.get("status") == "ok":
        return False
    look.note("postgres", f"{server['key']}: {server.get('why')}")
    return True


@check("DBS001", "database-missing", severity="critical", needs=("containers", "postgres"),
       uses=("logs/*", "events", "compose", "files/*"), step="database", predicts=_DEATHS)
def database_missing(look: Look) -> Iterator[Finding]:
    """The database that a URL names does not exist on its server.

    ## What
    The server was asked for its databases (`pg_database`, by a login to `postgres`), and the one of the URL is not
    among them.

    ## Why
    From Celery 5.5 on worker and beat open the result database when they start and end without it, some seconds later,
    so `docker ps` mostly says `Up`. Up to 5.4 they start as if all were well; the first result fails and is lost.
    Flower never opens it at its start.

    ## Looks like
    `FATAL:  database "ai_backend" does not exist`. With Celery 5.4 nothing, until the first result.

    ## Confirm
    `docker exec POSTGRES psql -U postgres -l` lists the databases.

    ## Do
    Create it, owned by the role of the URL; or correct the name in the URL. The official image makes `POSTGRES_DB` only
    when its data folder is new.

    ## False alarms
    None is known: the server itself was asked. Lines in a log do not count here, for they may be old.
    """
    judged: set[str] = set()
    for server in servers(look):
        for name, wanted in sorted((server.get("wanted") or {}).items()):
            if wanted.get("exists") is False:
                services = _concerned(look, wanted.get("services") or ())
                judged.update(service.label for service in services)
                if services:
                    yield _missing(look, server, name, services)
            elif wanted.get("exists") is None and not _unseen(look, server):
                look.note("postgres", f"whether {name} exists on {server['key']} is not known")
            else:
                judged.update(wanted.get("services") or () if wanted.get("exists") else ())
    yield from reported(look, judged)
    yield from healed(look)


def _missing(look: Look, server: Mapping[str, Any], name: str, services: Sequence[Service]) -> Finding:
    idle = idle_states(services, "result")
    struck, effect = _effect(look, services, idle)
    if not struck:
        struck, idle = list(services), {}
    container = server.get("container") or server["key"]
    there = listed(sorted(server.get("databases") or {}), 8)
    proof = [Proof("postgres", f"{server['key']} ({server.get('via')}): databases: {there}")]
    for service in services:
        proof += look.seen(service).proof(name)
    seen = any(look.seen(service).effect(name, (1,)) for service in struck)
    detail = ""
    if idle:
        detail = f"{listed(sorted(idle))} {verb(sorted(idle), 'carries', 'carry')} the same URL and " \
                 f"{verb(sorted(idle), 'starts', 'start')} without the database."
    return look.finding(
        f'The database "{name}" does not exist on {container}: {effect}',
        severity="critical" if any(service.role != "flower" for service in struck) else "warning",
        services=tuple(service.label for service in services), object=name, detail=detail,
        certainty="confirmed" if seen else "inferred", proof=proof, remedy=_create(look, server, name, services),
        verify=(*_exists(look, server, name), *alive(struck)), service_states=idle)


def _exists(look: Look, server: Mapping[str, Any], name: str) -> tuple[str, ...]:
    container = look.stack.get(server.get("container") or "")
    if container is None:
        return ()
    quoted = name.replace("'", "''")
    line = psql(container, _superuser(container), f"SELECT datname FROM pg_database WHERE datname = '{quoted}'")
    return (f"{line}  # one row",)


def _superuser(container: Service) -> str:
    return container.env.get("POSTGRES_USER") or container.env.get("POSTGRESQL_USERNAME") or "postgres"


def _create(look: Look, server: Mapping[str, Any], name: str, services: Sequence[Service]) -> Remedy:
    container = look.stack.get(server.get("container") or "")
    user = server.get("user")
    role = (server.get("roles") or {}).get(user or "") or {}
    owner = user if role.get("exists") else None
    down = [service for service in services if look.seen(service).effect(name, (1,)) and service.is_celery
            and checks_backend_at_start(service) is not False]
    if container is None:
        return Remedy("manual", f'Create the database "{name}" on {server["key"]}, owned by {user}; it is no container of '
                                f"this engine.", commands=restart(down))
    create = (create_database(container, name, owner), *restart(down))
    risk = f'Makes a new, empty database "{name}"; touches no other.'
    near = similar(name, [other for other in server.get("databases") or {} if not other.startswith("template")])
    if not near:
        return Remedy("exact", f'Create the database "{name}"{f", owned by {owner}" if owner else ""}.', commands=create,
                      risk=risk)
    pairs = [(service, url) for service in services if (url := _postgres_url(service)) is not None]
    changed = url_changes(look, pairs, f"/{name}", f"/{near[0]}")
    use = Option("use-existing", f'Write "{near[0]}" instead of "{name}" in the URL.', changed.edits + changed.texts,
                 changed.commands + recreate(look.stack, services))
    return Remedy("choice", f'Create "{name}", or use "{near[0]}".', options=(
        Option("create", f'Create the database "{name}".', commands=create), use), risk=risk,
        question=f'There is a database "{near[0]}". Is "{name}" a slip for it?')


@check("DBS002", "role-missing", severity="critical", needs=("containers", "postgres"), uses=("logs/*", "events"),
       step="database", predicts=_DEATHS)
def role_missing(look: Look) -> Iterator[Finding]:
    """The user of a database URL does not exist on the server.

    ## What
    The server's list of roles, read with another login to the same server, does not hold the user of the URL.

    ## Why
    Every connection is refused. PostgreSQL does not say so: for a role that is not there it, too, says
    `password authentication failed`.

    ## Looks like
    `FATAL:  password authentication failed for user "backend"` or `FATAL:  role "backend" does not exist`.

    ## Confirm
    `docker exec POSTGRES psql -U postgres -c '\\du'` lists the roles.

    ## Do
    Create the role with the password of the URL and give it the database.

    ## False alarms
    None is known where another login could read the roles; without one the rule says nothing.
    """
    judged: set[str] = set()
    for server in servers(look):
        user = server.get("user")
        role = (server.get("roles") or {}).get(user or "")
        if role is None:
            _unseen(look, server)
            continue
        services = _concerned(look, server.get("services") or ())
        judged.update(service.label for service in services)
        if role.get("exists") is False and services and server.get("status") != "ok":
            idle = idle_states(services, "result")
            struck, effect = _effect(look, services, idle)
            container = look.stack.get(server.get("container") or "")
            commands = ()
            if container is not None:
                commands = (psql(container, _superuser(container), f"CREATE ROLE {identifier(user)} LOGIN"),)
            proof = [Proof("postgres", f"{server['key']}: {server.get('why')}; no role {user} among its roles")]
            for service in services:
                proof += look.seen(service).proof(user)
            seen = any(look.seen(service).effect(None, (1,)) for service in struck)
            yield look.finding(
                f'The role "{user}" does not exist on {server.get("container") or server["key"]}: {effect}',
                services=tuple(service.label for service in services), object=user, proof=proof,
                certainty="confirmed" if seen else "inferred", service_states=idle, verify=alive(struck),
                remedy=Remedy("manual", f"Create the role {user}, then give it the password of the URL (\\password {user} in "
                                        f"psql) and the database.", commands=commands))
    yield from reported(look, judged)
    yield from healed(look)


@check("DBS003", "connections-exhausted", severity="critical", needs=("containers", "postgres"),
       uses=("logs/*", "events"), step="database", predicts=_DEATHS)
def connections_exhausted(look: Look) -> Iterator[Finding]:
    """The PostgreSQL server has no room for another connection.

    ## What
    The server said so to our own login, or all of its slots for ordinary roles are taken.

    ## Why
    Celery's database backend opens a connection for every result, so results are lost, and a service that starts
    cannot.

    ## Looks like
    `FATAL:  sorry, too many clients already`, `remaining connection slots are reserved`.

    ## Confirm
    `docker exec POSTGRES psql -U postgres -c 'SELECT datname, usename, state, count(*) FROM pg_stat_activity GROUP BY
    1, 2, 3'`.

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
            _unseen(look, server)
            continue
        services = _concerned(look, server.get("services") or ())
        if not services:
            continue
        said = f"{taken} of {most} connections are taken, {reserved} are reserved" if full else server.get("why")
        top = sorted((room.get("by_database") or {}).items(), key=lambda pair: (-pair[1], pair[0]))[:3]
        held = ", ".join(f"{name} {count}" for name, count in top)
        yield look.finding(
            f"{server.get('container') or server['key']} has no room for another connection: {said}",
            services=tuple(service.label for service in services), object=server["key"],
            certainty="confirmed" if server.get("sqlstate") == "53300" else "inferred",
            proof=[Proof("postgres", f"{server['key']}: {said}" + (f"; most by {held}" if held else ""))],
            service_states=idle_states(services, "result"), verify=alive(services),
            remedy=Remedy("manual", "See who holds the connections (pg_stat_activity), lower pools or concurrency there, or "
                                    "raise max_connections and start the server again.",
                          risk="Starting the server again cuts every connection."))
    yield from reported(look, set())
    yield from healed(look)


@check("DBS004", "database-server-down", severity="critical", needs=("containers", "postgres"),
       uses=("logs/*", "events"), step="database", predicts=_DEATHS)
def database_server_down(look: Look) -> Iterator[Finding]:
    """The container is there that a database URL leads to, but no PostgreSQL answers in it.

    ## What
    The host of the URL is a container of this engine; it does not run, or nothing listens on the port.

    ## Why
    Worker and beat end at their start (Celery 5.5 and later), or lose their results (up to 5.4).

    ## Looks like
    `connection refused`, `failed to resolve host` (a container that does not run has no name), `the database system is
    starting up`.

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
            _unseen(look, server)
            continue
        services = [service for service in _concerned(look, server.get("services") or ())
                    if owner.label != service.label]
        if not services:
            continue
        idle = idle_states(services, "result")
        _, effect = _effect(look, services, idle)
        yield look.finding(
            f"No PostgreSQL answers in {owner.label}: {effect}",
            services=tuple(service.label for service in services), object=server["key"], service_states=idle,
            certainty="confirmed", proof=[Proof("postgres", f"{server['key']}: {server.get('why')}")],
            verify=alive([owner, *services]),
            remedy=Remedy("manual", f"See why {owner.label} does not answer (its last words in the log), then start it.",
                          commands=restart([owner])))
    yield from reported(look, set())
    yield from healed(look)
