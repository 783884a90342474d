"""Who is let in: a virtual host that is not there, a user without permission, guest from another host."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.connections import passwords
from celery_triage.checks.connections.shared import DEATHS, no_place, similar, url_changes
from celery_triage.checks.rabbitmq.shared import asked, ctl, pairs_of
from celery_triage.checks.registry import Look, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, recreate, restart
from celery_triage.stack import Service

#: What the API says to a user who may log in only from the broker's own machine (3.10.8, recorded).
LOCAL_ONLY = re.compile(r"can only (?:log in|connect) via localhost")
_ALL = (".*", ".*", ".*")


@check(
    "BRK006",
    "broker-vhost-missing",
    severity="critical",
    needs=("containers", "rabbitmq"),
    uses=("logs/*", "events", "compose", "files/*"),
    step="broker",
    predicts=DEATHS,
)
def vhost_missing(look: Look) -> Iterator[Finding]:
    """The virtual host of the broker URL does not exist in RabbitMQ.

    ## What
    RabbitMQ was asked with the URL's own login: it knows the user and not the virtual host, which is what
    stands behind the last slash of the URL. Nothing behind it, or a second slash, is the virtual host `/`.

    ## Why
    RabbitMQ closes the connection. The services end or try again; no task is sent or done.

    ## Looks like
    `(530) NOT_ALLOWED - vhost shop not found`.

    ## Confirm
    `docker exec RABBITMQ rabbitmqctl list_vhosts`.

    ## Do
    Correct the URL, or make the virtual host and give the user permission in it. `RABBITMQ_DEFAULT_VHOST` is
    read only when RabbitMQ makes its data folder: a volume that is older keeps what it had.

    ## False alarms
    The server itself says that the virtual host is not there, so none is known.
    """
    judged: set[str] = set()
    for server, owner, services in asked(look):
        if server.get("error_kind") != "vhost":
            judged |= {one.label for one in services if server.get("status") == "ok"}
            continue
        judged |= {one.label for one in services}
        yield _vhost_missing(look, server, owner, services)
    yield from reported(look, judged)
    yield from healed(look)


def _vhost_missing(
    look: Look, server: Mapping[str, Any], owner: Service | None, services: list[Service]
) -> Finding:
    vhost, there = str(server.get("vhost")), server.get("vhosts")
    names = listed([one.label for one in services])
    proof = [Proof("rabbitmq", f"{server['key']}: {server.get('why')} ({server.get('via')})")]
    if there:
        proof.append(Proof("rabbitmq", f"{server['key']}: the virtual hosts that the user may see: "
                                       f"{', '.join(there)}"))
    for service in services:
        proof += look.seen(service).proof()
    meant = similar(vhost, there or ()) or (there if there and len(there) == 1 else [])
    return look.finding(
        f"{names} cannot use the broker: {server.get('container') or server['key']} has no virtual host "
        f"{vhost}" + (f"; there is {listed(list(there), 5)}" if there else ""),
        services=tuple(one.label for one in services),
        object=vhost,
        certainty="confirmed" if any(look.seen(one).effect(None, (1,)) for one in services) else "inferred",
        proof=proof,
        verify=alive(services),
        remedy=_vhost_remedy(look, server, owner, services, meant[:1]),
    )


def _vhost_remedy(
    look: Look, server: Mapping[str, Any], owner: Service | None, services: list[Service], meant: list[str]
) -> Remedy:
    vhost, user, pairs = str(server.get("vhost")), str(server.get("user") or "guest"), pairs_of(services)
    options = []
    if meant:
        host = pairs[0][1].text.partition("?")[0].rpartition("@")[2]
        new = host.partition("/")[0] + "/" + ("" if meant[0] == "/" else meant[0])
        changed = url_changes(look, pairs, host, new)
        hint = "" if changed.complete else f" Change it {no_place(changed)}."
        commands = (*changed.commands, *recreate(look.stack, services)) if changed.complete else ()
        options.append(Option("correct the URL", f"Write the virtual host {meant[0]} instead of {vhost} into "
                              f"the broker URL.{hint}", (*changed.edits, *changed.texts), commands))
    else:
        options.append(Option("correct the URL", f"Write a virtual host that exists instead of {vhost} into "
                              f"the broker URL ({passwords.places(look, pairs)}), and make the containers "
                              "anew."))
    make: tuple[str, ...] = ()
    if owner is not None:
        make = (ctl(owner, "add_vhost", vhost), ctl(owner, "set_permissions", "-p", vhost, user, *_ALL),
                *restart(services))
    options.append(Option("make the virtual host", f"Make {vhost} and let {user} do everything in it.",
                          commands=make))
    return Remedy(
        "choice", f"The broker URL has to name a virtual host that RabbitMQ has ({vhost} it has not).",
        question=f"Is {vhost} a slip, or was it never made?", options=tuple(options),
        risk="A new virtual host is empty: what was sent into another one stays there.")


@check(
    "BRK010",
    "broker-no-permission",
    severity="critical",
    needs=("containers", "rabbitmq"),
    uses=("logs/*", "events", "compose", "files/*"),
    step="broker",
    predicts=DEATHS,
)
def no_permission(look: Look) -> Iterator[Finding]:
    """RabbitMQ lets the user log in, and not into the virtual host of the broker URL.

    ## What
    The login of the URL was tried once: user and password are right, the virtual host exists, and the user
    has no permission in it. Where the user may enter and lacks the permission for a queue or an exchange,
    the log of a service says so.

    ## Why
    Celery declares its queues and exchanges itself: it needs to configure, write and read.

    ## Looks like
    `(530) NOT_ALLOWED - access to vhost 'shop' refused for user 'backend'`, `(403) ACCESS_REFUSED - access to
    queue 'mail' in vhost 'shop' refused for user 'backend'`.

    ## Confirm
    `docker exec RABBITMQ rabbitmqctl list_permissions -p VHOST`.

    ## Do
    `docker exec RABBITMQ rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*'`, or use a virtual host in
    which the user has them. A user made by hand has none anywhere.

    ## False alarms
    A user that shall only send needs no permission to read: then its own log says nothing.
    """
    judged: set[str] = set()
    for server, owner, services in asked(look):
        if server.get("error_kind") == "permission":
            judged |= {one.label for one in services}
            yield _no_permission(look, server, owner, services)
            continue
        for thing, told in _complaints(look, services).items():
            judged |= {one.label for one in told}
            yield _no_permission(look, server, owner, told, thing)
    yield from reported(look, judged)
    yield from healed(look)


def _complaints(look: Look, services: list[Service]) -> dict[str, list[Service]]:
    """The queues and exchanges that services say they may not use."""
    found: dict[str, list[Service]] = {}
    for service in services:
        for said in look.seen(service).says():
            told = found.setdefault(said.object, [])
            if service not in told:
                told.append(service)
    return found


def _no_permission(
    look: Look, server: Mapping[str, Any], owner: Service | None, services: list[Service], thing: str = "",
) -> Finding:
    vhost, user = str(server.get("vhost")), str(server.get("user") or "guest")
    where = server.get("container") or server["key"]
    names = listed([one.label for one in services])
    has = next((one for one in server.get("permissions") or () if one.get("vhost") == vhost), None)
    proof = []
    if not thing:
        proof.append(Proof("rabbitmq", f"{server['key']}: {server.get('why')} ({server.get('via')})"))
    if has is not None:
        told = ", ".join(f"{name} {has.get(name) or '(nothing)'}" for name in ("configure", "write", "read"))
        proof.append(Proof("rabbitmq", f"{server['key']}: permissions of {user} in {vhost}: {told}"))
    for service in services:
        proof += look.seen(service).proof(thing or None)
    grant: tuple[str, ...] = ()
    if owner is not None:
        grant = (ctl(owner, "set_permissions", "-p", vhost, user, *_ALL), *restart(services))
    what = f"may not use {thing} in the virtual host {vhost}" if thing else f"has no permission in {vhost}"
    sure = not thing or has is not None
    seen = any(look.seen(one).effect(None, (1,)) for one in services)
    return look.finding(
        f"{names} cannot use the broker: the user {user} {what} of {where}",
        services=tuple(one.label for one in services),
        object=thing or vhost,
        certainty="reported" if not sure else "confirmed" if seen else "inferred",
        proof=proof,
        verify=alive(services),
        remedy=Remedy(
            "choice", f"The user of the broker URL needs permissions in the virtual host {vhost}.",
            question=f"Shall {user} work in {vhost}?",
            options=(
                Option("grant", f"Yes: let {user} configure, write and read everything in {vhost}.",
                       commands=grant),
                Option("correct the URL", "No: write the user or the virtual host that is meant into the "
                       f"broker URL ({passwords.places(look, pairs_of(services))}), and make the containers "
                       "anew."),
            ),
            risk=f"{user} may then read and delete every queue of {vhost}."))


def guest_from_outside(server: Mapping[str, Any]) -> bool:
    """Whether a RabbitMQ refuses this user only because it comes from another host."""
    told = f"{(server.get('management') or {}).get('why')} {server.get('why')}"
    return server.get("error_kind") == "auth" and bool(LOCAL_ONLY.search(told))


@check(
    "BRK011",
    "broker-guest-remote",
    severity="critical",
    needs=("containers", "rabbitmq"),
    uses=("logs/*", "events", "compose", "files/*"),
    step="broker",
    predicts=DEATHS,
)
def guest_remote(look: Look) -> Iterator[Finding]:
    """The broker URL uses `guest`, which RabbitMQ lets in only from its own machine.

    ## What
    The login of the URL was refused, and the management API says why: the user may log in via localhost only.

    ## Why
    Another container is another host. RabbitMQ ships `guest` with that restriction (`loopback_users`); the
    official image takes it away, a distribution's package or a configuration file of one's own does not.

    ## Looks like
    `ACCESS_REFUSED - Login was refused`, as with a wrong password; RabbitMQ's log tells the difference: `user
    'guest' can only connect via localhost`.

    ## Confirm
    `docker logs RABBITMQ 2>&1 | grep 'via localhost'`.

    ## Do
    Make a user of your own and put it into the URLs: `RABBITMQ_DEFAULT_USER` and `RABBITMQ_DEFAULT_PASS` on
    a new volume, or `rabbitmqctl add_user`, `set_permissions`.

    ## False alarms
    Where no management API answers, the refusal is told as a login that is refused (BRK002).
    """
    judged: set[str] = set()
    for server, owner, services in asked(look):
        if not guest_from_outside(server):
            continue
        judged |= {one.label for one in services}
        user, vhost = str(server.get("user") or "guest"), str(server.get("vhost") or "/")
        names = listed([one.label for one in services])
        told = (server.get("management") or {}).get("why")
        proof = [Proof("rabbitmq", f"{server['key']}: {server.get('why')} ({server.get('via')})"),
                 Proof("rabbitmq", f"{server['key']}: the management API says: {told}")]
        for service in services:
            proof += look.course(service) and [
                look.course(service).proof(said) for said in look.course(service).says("BRK002")[-1:]]
        how = ""
        if owner is not None:
            add, grant = ctl(owner, "add_user", "NAME"), ctl(owner, "set_permissions", "-p", vhost, "NAME",
                                                             *_ALL)
            how = f" (`{add}` asks for a password; `{grant}`)"
        yield look.finding(
            f"{names} cannot log in: RabbitMQ lets {user} in from its own machine only",
            services=tuple(one.label for one in services),
            object=user,
            certainty="confirmed" if len(proof) > 2 else "inferred",
            proof=proof,
            verify=alive(services),
            remedy=Remedy(
                "manual",
                f"Make a user of your own in RabbitMQ{how}, write it into the broker URL instead of {user} "
                f"({passwords.places(look, pairs_of(services))}), and make the containers anew.",
                commands=recreate(look.stack, services)))
    yield from reported(look, judged)
    yield from healed(look)
