"""Logins that a server refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.connections import passwords
from celery_triage.checks.connections.shared import DEATHS, idle_states, used
from celery_triage.checks.rabbitmq.doors import guest_from_outside
from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.servers import uses_rabbitmq
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Proof
from celery_triage.remedies import alive
from celery_triage.stack import Service, Url


@check(
    "URL004",
    "login-refused",
    severity="critical",
    needs=("containers", "redis", "postgres"),
    uses=("logs/*", "events", "compose"),
    step="database",
    predicts=DEATHS,
    also=("no-pg-hba-entry",),
)
def login_refused(look: Look) -> Iterator[Finding]:
    """The server of a result backend refuses the user or the password of the URL.

    ## What
    The login of each URL was tried once, to the server's own container, with a maintenance database. Masks
    are the same for the same password, so it shows whether others are let in with another one, and whether
    a PostgreSQL container was made with the password of the URL. Where `pg_hba.conf` has no line for this
    user and address, no password would help: the finding is then called no-pg-hba-entry.

    ## Why
    Worker and beat end at their start (Celery 5.5 and later) or lose every result (up to 5.4).

    ## Looks like
    `FATAL:  password authentication failed for user "backend"`, `no pg_hba.conf entry for host …`.

    ## Confirm
    Compare the password that the service has with the one that the server was made with. A data folder that
    is older than the password keeps the old one: PostgreSQL reads `POSTGRES_PASSWORD` only when it makes its
    data folder.

    ## Do
    Write the right password where it is set (the finding names the line), or set it anew on the server. Where
    the server's own container was made with the password of the URL, it was changed later: was that meant?
    Without an entry add a line to `pg_hba.conf` (`host DATABASE USER samenet scram-sha-256`) and reload it.

    ## False alarms
    The login was made from the engine's machine, so a rule for addresses (`pg_hba.conf`) may treat the
    service otherwise: a service that uses its server without an error is never reported.
    """
    yield from refused_logins(look, "result", ("postgres", "redis"))


@check(
    "BRK002",
    "broker-login-refused",
    severity="critical",
    needs=("containers", "redis"),
    uses=("rabbitmq", "logs/*", "events", "compose"),
    step="broker",
    predicts=DEATHS,
)
def broker_login_refused(look: Look) -> Iterator[Finding]:
    """The broker refuses the user or the password of the broker URL.

    ## What
    The login of each broker URL was tried once, to the broker's own container.

    ## Why
    Celery tries to connect for ever: workers are up and work on nothing, beat sends nothing.

    ## Looks like
    `Cannot connect to redis://…: invalid username-password pair or user is disabled.`, `Authentication
    required.`, `AUTH <password> called without any password configured for the default user.` (Redis 6 and
    later refuse a password where none is set; a redis-py that speaks RESP3, 8 by itself, is let in), `(403)
    ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.`

    ## Confirm
    `docker exec REDIS redis-cli -a PASSWORD ping`, `docker exec RABBITMQ rabbitmqctl authenticate_user USER
    PASSWORD`, with the password of the URL.

    ## Do
    Write the right password where it is set, or set it anew on the server (`requirepass`, ACL; `rabbitmqctl
    change_password`). RabbitMQ reads `RABBITMQ_DEFAULT_PASS` only when its data folder is made.

    ## False alarms
    A service that is connected is never reported.
    """
    yield from refused_logins(look, "broker", ("redis", "rabbitmq") if uses_rabbitmq(look) else ("redis",))


#: The family of the URLs that lead to the servers of a section, and the step that proves the login.
_FAMILIES = {
    "postgres": ("sql", "database"),
    "redis": ("redis", "broker"),
    "rabbitmq": ("amqp", "broker"),
}


def refused_logins(look: Look, purpose: str, sections: Sequence[str]) -> Iterator[Finding]:
    """One finding for each server that refuses the login of services that go by it for this purpose."""
    nothing = not any(used(service, (purpose,)) for service in look.members)
    if nothing and look.section("containers").status == "ok":
        raise NotApplicable(f"no service has a {purpose} URL")
    judged: set[str] = set()
    for section in sections:
        for server in (look.data(section) or {}).get("servers") or ():
            judged |= _judged_elsewhere(look, section, server)
            if guest_from_outside(server):
                judged.update(server.get("services") or ())  # another rule's
            elif _refused(look, section, server):
                told = list(_refused_login(look, section, server, purpose))
                if not told and server.get("status") != "ok":
                    look.note(section, f"{server['key']}: {server.get('why')}")
                judged.update(label for finding in told for label in finding.services)
                yield from told
    yield from reported(look, judged)
    yield from healed(look)


def _refused(look: Look, section: str, server: Mapping[str, Any]) -> bool:
    """Whether a server refused a password or an address; a role that is not there is another rule's."""
    if section != "postgres":
        return server.get("error_kind") in ("auth", "noauth") or passwords.none_set(server)
    role = (server.get("roles") or {}).get(server.get("user") or "") or {}
    refusal = passwords.last_refusal(look, server, server.get("user"))
    gone = role.get("exists") is False or (refusal is not None and refusal.reason == "no_role")
    return (server.get("sqlstate") == "28P01" and not gone) or _not_listed(server)


def _judged_elsewhere(look: Look, section: str, server: Mapping[str, Any]) -> set[str]:
    """Whose words do not count here: the server's own, which speak of all who come, and those of services
    whose role is not there, which is another rule's."""
    refused = server.get("error_kind") == "refused_login" and not _refused(look, section, server)
    gone = set(server.get("services") or ()) if refused and server.get("sqlstate") == "28P01" else set()
    return gone | {server.get("container") or ""}


def _not_listed(server: Mapping[str, Any]) -> bool:
    """Whether no line of ``pg_hba.conf`` lets the user in from where it comes."""
    return server.get("sqlstate") == "28000" and "pg_hba.conf" in (server.get("why") or "")


def _refused_login(look: Look, section: str, server: Mapping[str, Any], purpose: str) -> Iterator[Finding]:
    """The finding for the services that go by this server for one purpose and are not seen to use it."""
    family, late = _FAMILIES[section]
    with_it = [
        service
        for service in look.members
        if service.label in (server.get("services") or ())
        and any(url.parsed.family == family and not _cut(url) for url in used(service, (purpose,)))
    ]
    services = [service for service in with_it if look.seen(service).says()]
    alone = passwords.none_set(server)  # who speaks RESP3 gets in with any password: only words count
    if not alone and not any(look.course(service).past(late) for service in with_it):
        services = with_it  # nobody is seen to get in with this login
    if not services:
        return
    pairs = [(one, url) for one in services if (url := passwords.url_for(one, purpose, family)) is not None]
    down = [one for one in services if look.seen(one).effect(None, (1,)) and one.latest.get("restart_count")]
    why = server.get("why") or "it has no password set, and lets everybody in without one"
    proof = [Proof(section, f"{server['key']}: {why} ({server.get('via')})")]
    for service in services:
        proof += look.seen(service).proof()
    if _not_listed(server):
        proof[1:1] = passwords.own_words(look, server)
        remedy = passwords.let_in(look, server, down)
    else:
        proof[1:1] = passwords.compared(look, section, server, pairs, purpose)
        remedy = passwords.remedy(look, section, server, pairs, down)
    yield look.finding(
        _title(section, server, services),
        name="no-pg-hba-entry" if _not_listed(server) else look.rule.name,
        services=tuple(service.label for service in services),
        object=server["key"],
        proof=proof,
        certainty="confirmed" if any(look.seen(one).effect() for one in services) else "inferred",
        remedy=remedy,
        verify=alive(services),
        service_states=idle_states(services, purpose),
    )


def _cut(url: Url) -> bool:
    """Whether user or password end too early as they are written: nobody can tell what is sent then."""
    return any(problem.kind == "unescaped" for problem in url.problems)


def _title(section: str, server: Mapping[str, Any], services: Sequence[Service]) -> str:
    names, user = listed([service.label for service in services]), server.get("user") or "default"
    if _not_listed(server):
        return f"No line of pg_hba.conf on {server['key']} lets {names} in (user {user})"
    if section == "redis" and server.get("error_kind") == "noauth":
        return f"{server['key']} wants a password, and the broker or result URL of {names} has none"
    if section == "redis" and passwords.none_set(server):
        sent = f"{names} {verb(services, 'sends', 'send')} one"
        return f"{server['key']} has no password set, and {sent}: refused"
    return f"{server['key']} refuses the login of {names} (user {user})"
