"""What the rules about RabbitMQ have in common: its entries with the services behind them, its commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.registry import Look, NotApplicable
from celery_triage.checks.servers import broker_url, uses_rabbitmq
from celery_triage.stack import Service, Url

#: One RabbitMQ as it was asked, its container where one is known, and the Celery services that go by it.
Asked = tuple[Mapping[str, Any], "Service | None", list[Service]]


def asked(look: Look) -> Iterator[Asked]:
    """Each RabbitMQ that a Celery service has as its broker. NotApplicable where none has one."""
    if not uses_rabbitmq(look) and look.section("containers").status == "ok":
        raise NotApplicable("no service uses RabbitMQ as its broker")
    for server in (look.data("rabbitmq") or {}).get("servers") or ():
        labels = {*(server.get("services") or ()), *(server.get("unreached") or ())}
        services = [one for one in look.celery if one.label in labels and broker_url(one) is not None]
        if services:
            yield server, look.stack.get(server.get("container") or ""), services


def pairs_of(services: list[Service]) -> list[tuple[Service, Url]]:
    """Each service with its broker's URL."""
    return [(one, url) for one in services if (url := broker_url(one)) is not None]


def ctl(owner: Service, *words: str) -> str:
    """A command of RabbitMQ's own tool inside its container."""
    return shlex.join(["docker", "exec", owner.name, "rabbitmqctl", *words])
