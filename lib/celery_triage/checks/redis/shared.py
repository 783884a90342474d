"""What the rules about a Redis server have in common: the servers, whom they concern, the command to ask."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.registry import Look, NotApplicable, Prediction
from celery_triage.model import Proof
from celery_triage.stack import Service

#: What a Redis that refuses everybody makes of its users: some end, the others wait, answer nobody, send
#: nothing.
STOPS = (Prediction(("CTR001", "CTR003", "LOG001", "LOG002", "BRK001", "BEA003", "WRK004")),)


def servers(look: Look) -> Iterator[tuple[Mapping[str, Any], list[Service]]]:
    """Every Redis of the evidence with the services of the target that go by it. Raises NotApplicable where
    no URL leads to one."""
    members = [one for one in look.members if one.is_celery and any(_redis(url) for url in one.urls)]
    if not members and look.section("containers").status == "ok":
        raise NotApplicable("no service uses Redis")
    for server in (look.data("redis") or {}).get("servers") or ():
        labels = server.get("services") or ()
        if services := [one for one in members if one.label in labels]:
            yield server, services


def _redis(url: Any) -> bool:
    return (
        url.used
        and url.purpose in ("broker", "result")
        and url.parsed.family == "redis"
        and url.parsed.networked
    )


def concerned(server: Mapping[str, Any], services: Sequence[Service]) -> set[str]:
    """Whose words do not count beside what the server says of itself: its users' and its own."""
    return {*[one.label for one in services], server.get("container") or ""}


def unasked(look: Look, server: Mapping[str, Any]) -> bool:
    """Note a server that did not let itself be asked."""
    if server.get("status") == "ok":
        return False
    look.note("redis", f"{server['key']}: {server.get('why')}")
    return True


def name_of(look: Look, server: Mapping[str, Any]) -> str:
    owner = look.stack.get(server.get("container") or "")
    return owner.label if owner else server["key"]


def cli(look: Look, server: Mapping[str, Any], *words: str) -> str:
    """A command inside the server's own container; without a password, for none may stand on a line."""
    owner = look.stack.get(server.get("container") or "")
    return shlex.join(["docker", "exec", owner.name if owner else "REDIS", "redis-cli", *words])


def can_be_told(look: Look, server: Mapping[str, Any]) -> bool:
    """Whether such a command works as it stands: the server is a container, and the URL of a service that is
    let in has neither user nor password."""
    return (
        bool(look.stack.get(server.get("container") or ""))
        and not server.get("user")
        and not _password(look, server)
    )


def _password(look: Look, server: Mapping[str, Any]) -> bool:
    return any(
        url.parsed.password_token
        for one in look.members
        if one.label in (server.get("services") or ())
        for url in one.urls
        if _redis(url)
    )


def words_of(look: Look, server: Mapping[str, Any], services: Sequence[Service]) -> list[Proof]:
    """What the server and its users say of the rule, as quotations."""
    owner = look.stack.get(server.get("container") or "")
    proof = look.seen(owner).proof() if owner else []
    for service in services:
        proof += look.seen(service).proof()
    return proof


def said(look: Look, services: Sequence[Service]) -> bool:
    """Whether one of the users says so itself."""
    return any(look.seen(one).says() for one in services)
