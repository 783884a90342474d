"""Databases and roles that a URL names and the server does not have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.connections.refusals import last_refusal
from celery_triage.checks.connections.shared import idle_states, no_place, similar, url_changes
from celery_triage.checks.database.shared import (
    DEATHS,
    concerned,
    effect_on,
    postgres_url,
    servers,
    superuser,
    unseen,
)
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.steps import checks_backend_at_start
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, create_database, identifier, psql, recreate, restart
from celery_triage.stack import Service


@check(
    "DBS001",
    "database-missing",
    severity="critical",
    needs=("containers", "postgres"),
    uses=("logs/*", "events", "compose", "files/*"),
    step="database",
    predicts=DEATHS,
)
def database_missing(look: Look) -> Iterator[Finding]:
    """The database that a URL names does not exist on its server.

    ## What
    The server was asked for its databases (`pg_database`, by a login to `postgres`), and the one of the URL
    is not among them.

    ## Why
    From Celery 5.5 on worker and beat open the result database when they start and end without it, some
    seconds later, so `docker ps` mostly says `Up`. Up to 5.4 they start as if all were well; the first result
    fails and is lost. Flower never opens it at its start.

    ## Looks like
    `FATAL:  database "ai_backend" does not exist`. With Celery 5.4 nothing, until the first result.

    ## Confirm
    `docker exec POSTGRES psql -U postgres -l` lists the databases.

    ## Do
    Create it, owned by the role of the URL; or correct the name in the URL. The official image makes
    `POSTGRES_DB` only when its data folder is new.

    ## False alarms
    None is known: the server itself was asked. Lines in a log do not count here, for they may be old.
    """
    judged: set[str] = set()
    missing: dict[tuple[str, str], tuple[Mapping[str, Any], set[str]]] = {}
    for server in servers(look):
        for name, wanted in sorted((server.get("wanted") or {}).items()):
            labels = set(wanted.get("services") or ())
            if wanted.get("exists") is None:
                if not unseen(look, server):
                    look.note("postgres", f"whether {name} exists on {server['key']} is not known")
                continue
            judged |= labels
            if not wanted["exists"]:
                key = (server.get("container") or server["key"], name)
                missing.setdefault(key, (server, set()))[1].update(labels)
    for (_, name), (server, labels) in missing.items():
        services = concerned(look, labels)
        if services:
            yield _missing(look, server, name, services)
    yield from reported(look, judged)
    yield from healed(look)


def _missing(look: Look, server: Mapping[str, Any], name: str, services: Sequence[Service]) -> Finding:
    idle = idle_states(services, "result")
    struck, effect = effect_on(services, idle)
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
        detail = (
            f"{listed(sorted(idle))} {verb(sorted(idle), 'carries', 'carry')} the same URL and "
            f"{verb(sorted(idle), 'starts', 'start')} without the database."
        )
    owner = look.stack.get(server.get("container") or "")
    if owner is not None and owner.env.get("POSTGRES_DB") == name:
        why = f"POSTGRES_DB of {container} is {name}, too, and had no effect: its data folder is older"
        proof.append(Proof("containers", why))
        detail = f"{detail} {why}.".strip()
    remedy = _create(look, server, name, services)
    # Where another name may be the right one, that the missing one exists proves nothing.
    proven = () if remedy.kind == "choice" else _exists(look, server, name)
    return look.finding(
        f'The database "{name}" does not exist on {container}: {effect}',
        severity="critical" if any(service.role != "flower" for service in struck) else "warning",
        services=tuple(service.label for service in services),
        object=name,
        detail=detail,
        certainty="confirmed" if seen else "inferred",
        proof=proof,
        remedy=remedy,
        verify=(*proven, *alive(struck)),
        service_states=idle,
    )


def _exists(look: Look, server: Mapping[str, Any], name: str) -> tuple[str, ...]:
    container = look.stack.get(server.get("container") or "")
    if container is None:
        return ()
    quoted = name.replace("'", "''")
    line = psql(
        container, superuser(container), f"SELECT datname FROM pg_database WHERE datname = '{quoted}'"
    )
    return (f"{line}  # one row",)


def _create(look: Look, server: Mapping[str, Any], name: str, services: Sequence[Service]) -> Remedy:
    container = look.stack.get(server.get("container") or "")
    user = server.get("user")
    role = (server.get("roles") or {}).get(user or "") or {}
    owner = user if role.get("exists") else None
    down = [
        service
        for service in services
        if look.seen(service).effect(name, (1,))
        and service.is_celery
        and checks_backend_at_start(service) is not False
    ]
    if container is None:
        return Remedy(
            "manual",
            f'Create the database "{name}" on {server["key"]}, owned by {user}; it is no container of '
            f"this engine.",
            commands=restart(down),
        )
    create = (create_database(container, name, owner), *restart(down))
    risk = f'Makes a new, empty database "{name}"; touches no other.'
    near = similar(
        name, [other for other in server.get("databases") or {} if not other.startswith("template")]
    )
    if not near:
        return Remedy(
            "exact",
            f'Create the database "{name}"{f", owned by {owner}" if owner else ""}.',
            commands=create,
            risk=risk,
        )
    pairs = [(service, url) for service in services if (url := postgres_url(service)) is not None]
    changed = url_changes(look, pairs, f"/{name}", f"/{near[0]}")
    where = "" if changed.complete else f" This must be done {no_place(changed)}."
    use = Option(
        "use-existing",
        f'Write "{near[0]}" instead of "{name}" in the URL.{where}',
        changed.edits + changed.texts,
        changed.commands + recreate(look.stack, services),
    )
    return Remedy(
        "choice",
        f'Create "{name}", or use "{near[0]}".',
        options=(Option("create", f'Create the database "{name}".', commands=create), use),
        risk=f"{risk[:-1]} (create); makes the containers of {listed([s.label for s in services])} anew "
        "(use-existing).",
        question=f'There is a database "{near[0]}". Is "{name}" a slip for it?',
    )


@check(
    "DBS002",
    "role-missing",
    severity="critical",
    needs=("containers", "postgres"),
    uses=("logs/*", "events"),
    step="database",
    predicts=(*DEATHS, Prediction(("URL004",))),
)
def role_missing(look: Look) -> Iterator[Finding]:
    """The user of a database URL does not exist on the server.

    ## What
    The server's list of roles, read with another login to the same server, does not hold the user of the URL;
    or the server refused the user just now, and its own log says of its newest refusal that there is no such
    role.

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
    None is known where another login could read the roles, or where the server's container has a log that can
    be read; without both the rule says nothing.
    """
    judged: set[str] = set()
    for server in servers(look):
        user = server.get("user")
        role = (server.get("roles") or {}).get(user or "")
        refusal = last_refusal(look, server, user) if server.get("sqlstate") == "28P01" else None
        if role is None and refusal is not None and refusal.reason == "no_role":
            role = {"exists": False}
        if role is None:
            unseen(look, server)
            continue
        services = concerned(look, server.get("services") or ())
        judged.update(service.label for service in services)
        if role.get("exists") is False and services and server.get("status") != "ok":
            idle = idle_states(services, "result")
            struck, effect = effect_on(services, idle)
            container = look.stack.get(server.get("container") or "")
            commands = ()
            if container is not None:
                commands = (psql(container, superuser(container), f"CREATE ROLE {identifier(user)} LOGIN"),)
            proof = [Proof("postgres", f"{server['key']}: {server.get('why')}; there is no role {user}")]
            proof += [refusal.proof] if refusal is not None and refusal.reason == "no_role" else []
            for service in services:
                proof += look.seen(service).proof(user)
            # PostgreSQL does not tell a role that is missing from a wrong password.
            seen = any(
                look.seen(service).effect(None, (1,))
                or look.course(service).says("URL004", user, step="database")
                for service in struck
            )
            yield look.finding(
                f'The role "{user}" does not exist on {server.get("container") or server["key"]}: {effect}',
                services=tuple(service.label for service in services),
                object=user,
                proof=proof,
                certainty="confirmed" if seen else "inferred",
                service_states=idle,
                verify=alive(struck),
                remedy=Remedy(
                    "manual",
                    f"Create the role {user}, then give it the password of the URL (\\password {user} in "
                    f"psql) and the database.",
                    commands=commands,
                ),
            )
    yield from reported(look, judged)
    yield from healed(look)
