"""Whose password is right, as far as that can be told without knowing one.

Equal secrets have equal masks (see ``redact``), so it shows whether two services use the same password, and
whether a PostgreSQL container was made with the one of the URL. PostgreSQL reads ``POSTGRES_PASSWORD`` only
when it makes its data folder (official image, versions 10 to 18: its entry point), so a password that is the
same on both sides and refused was changed on the server, or the folder is older.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from celery_triage.checks.connections.refusals import last_refusal
from celery_triage.checks.connections.shared import used
from celery_triage.checks.registry import Look
from celery_triage.checks.words import listed, verb
from celery_triage.model import Option, Proof, Remedy
from celery_triage.remedies import recreate, restart, set_password
from celery_triage.stack import Service, Url

#: The part of a URL between the user and the @ as it is written in a file, and a variable in it.
_PASSWORD = re.compile(r"://[^/@:]*:([^@]*)@")
_VARIABLE = re.compile(r"\$\{?(\w+)")


def url_for(service: Service, purpose: str, family: str) -> Url | None:
    """The URL of a service that a login of this kind was made with."""
    return next((url for url in used(service, (purpose,)) if url.parsed.family == family), None)


def places(look: Look, pairs: Sequence[tuple[Service, Url]]) -> str:
    """Where the passwords of these URLs are written, as the end of a sentence: the variable, the line of a
    file; the name of the variable alone where no file could be read."""
    found = [_place(look.data("compose") or {}, service, url) for service, url in pairs]
    return listed(list(dict.fromkeys(found)))


def _place(compose: Mapping[str, Any], service: Service, url: Url) -> str:
    told = (compose.get("services") or {}).get(service.item.get("service") or "") or {}
    nodes = (told.get("environment") or {}).get(url.var or "") or []
    if nodes:
        node = nodes[-1]
        written = _PASSWORD.search(str(node.get("value") or ""))
        name = _VARIABLE.search(written[1]) if written else None
        if name:
            dotenv = compose.get("dotenv") or {}
            held = (dotenv.get("values") or {}).get(name[1])
            if not held:
                return f"the variable {name[1]}"
            return f"{name[1]}, line {held['line']} of {dotenv['path']}"
        file = compose["files"][node["file"]]
        return f"line {node['line']} of {file['path']}"
    for file in reversed(compose.get("env_files") or ()):
        if told.get("env_file") and url.var in (file.get("values") or {}):
            return f"{url.var}, line {file['values'][url.var]['line']} of {file['path']}"
    return f"{url.source} of {service.label}"


def compared(
    look: Look, section: str, server: Mapping[str, Any], pairs: Sequence[tuple[Service, Url]], purpose: str
) -> list[Proof]:
    """What the masks say: services that log in to the same server as the same user with another password,
    and with which password a PostgreSQL container was made."""
    proof = own_words(look, server) if section == "postgres" else []
    ours = {url.parsed.password_token for _, url in pairs}
    others = _others(look, section, server, pairs, purpose, ours)
    mine = listed(sorted(filter(None, ours)))
    for label, token in others:
        told = f"{label} is let in as the same user with another password ({token}, not {mine})"
        proof.append(Proof("containers", told))
    owner = look.stack.get(server.get("container") or "")
    made_with = _made_with(owner, server.get("user")) if section == "postgres" else None
    if made_with and not others and len(ours) == 1:
        equal = made_with in ours
        which = "the password of the URL" if equal else f"another password than that of the URL ({mine})"
        proof.append(Proof("containers", f"{owner.label}: POSTGRES_PASSWORD is {which}: {made_with}"))
    return proof


def _others(
    look: Look, section: str, server: Mapping[str, Any], pairs: Sequence[tuple[Service, Url]], purpose: str,
    ours: set[str | None],
) -> list[tuple[str, str]]:
    """(service, masked password) of those that the same server lets in as the same user."""
    ok = {
        label
        for other in (look.data(section) or {}).get("servers") or ()
        if other.get("status") == "ok" and other.get("container") == server.get("container")
        and other.get("user") == server.get("user")
        for label in other.get("services") or ()
    }
    refused = {service.label for service, _ in pairs}
    family = pairs[0][1].parsed.family if pairs else ""
    found = [(one, url_for(one, purpose, family)) for one in look.members if one.label in ok - refused]
    return [(one.label, url.parsed.password_token) for one, url in found
            if url is not None and url.parsed.password_token and url.parsed.password_token not in ours]


def _made_with(owner: Service | None, user: str | None) -> str | None:
    """The masked password with which a PostgreSQL container made this user; None where nothing tells."""
    if owner is None or user != (owner.env.get("POSTGRES_USER") or "postgres"):
        return None
    return owner.env.get("POSTGRES_PASSWORD") or None


def remedy(
    look: Look, section: str, server: Mapping[str, Any], pairs: Sequence[tuple[Service, Url]],
    down: Sequence[Service],
) -> Remedy:
    """What to do about a refused password. No command holds one: where the server's container still has the
    password of the URL in its environment, a command can set it anew from there; else a person must type."""
    services = [service for service, _ in pairs]
    user, name = server.get("user") or "default", server.get("container") or server["key"]
    owner = look.stack.get(server.get("container") or "")
    written = places(look, pairs)
    if section == "redis" and server.get("error_kind") == "noauth":
        return _missing_password(look, name, written, services)
    if section == "redis" and none_set(server):
        return _no_password_there(look, name, written, services)
    tokens = {url.parsed.password_token for _, url in pairs}
    again = recreate(look.stack, services)
    known = _made_with(owner, server.get("user")) if section == "postgres" else None
    if owner is None or known is None or tokens != {known}:
        typed = f", or set it anew on {name}"
        if section == "postgres" and owner is not None:
            typed += f" (`\\password {user}` in psql)"
        return Remedy(
            "manual",
            f"Write the right password of {user} where it is set ({written}){typed}; then make the "
            f"containers anew.",
            commands=again,
            risk=f"Makes the containers of {listed([one.label for one in services])} anew: tasks that run in "
            "them are cut off.",
        )
    return Remedy(
        "choice",
        f"{name} has another password for {user} than these services and its own POSTGRES_PASSWORD.",
        question=f"Was the password of {user} changed on the server on purpose?",
        options=(
            Option(
                "write-new",
                f"Yes: write the new password where the old one is set ({written}), then make "
                f"{verb(services, 'the container', 'the containers')} anew.",
                commands=again,
            ),
            Option(
                "set-on-server",
                f"No: set the password of {user} on {name} back to the one that its container has in "
                "POSTGRES_PASSWORD, the same as in the URL.",
                commands=(set_password(owner, user), *restart(down)),
            ),
        ),
        risk=f"Whoever uses the new password of {user} is shut out by set-on-server, and a server that logs "
        "its statements writes the password into its log; write-new makes the containers of "
        f"{listed([one.label for one in services])} anew, and tasks that run in them are cut off.",
    )


def none_set(server: Mapping[str, Any]) -> bool:
    """Whether a Redis has no password set although the URL sends one."""
    return bool(server.get("no_password_set"))


def _missing_password(look: Look, name: str, written: str, services: Sequence[Service]) -> Remedy:
    return Remedy(
        "manual",
        f"Write the password of {name} into the URL, before the host: redis://:PASSWORD@HOST… ({written}); "
        f"then "
        "make the containers anew. A variable that holds it may be empty or not passed to these services.",
        commands=recreate(look.stack, services),
    )


def _no_password_there(look: Look, name: str, written: str, services: Sequence[Service]) -> Remedy:
    return Remedy(
        "manual",
        f"Either take the password out of the URL ({written}) and make the containers anew, or give {name} "
        f"that "
        "password again (requirepass in its configuration or command): was it lost when it was made anew?",
        commands=recreate(look.stack, services),
    )


def own_words(look: Look, server: Mapping[str, Any]) -> list[Proof]:
    """What the server's own log says of its newest refusal of that user."""
    refusal = last_refusal(look, server, server.get("user"))
    return [refusal.proof] if refusal is not None else []


def let_in(look: Look, server: Mapping[str, Any], down: Sequence[Service]) -> Remedy:
    """What to do where ``pg_hba.conf`` has no line: a person says whom it shall let in."""
    name, user = server.get("container") or server["key"], server.get("user") or "USER"
    wanted = listed(sorted(server.get("wanted") or {})) or "DATABASE"
    return Remedy(
        "manual",
        f"Add a line to pg_hba.conf of {name} (psql: SHOW hba_file) that lets this user in from the "
        f"network of "
        f"the services, as `host {wanted} {user} samenet scram-sha-256`, before any line that rejects "
        f"them; then "
        "SELECT pg_reload_conf(). Or give the services back the network and address that it names.",
        commands=restart(down),
        risk="Whoever is on that network may then try the password of this user.",
    )
