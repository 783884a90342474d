"""The brokers that were asked, of whatever kind: each kind has a section of its own, in the same form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery_triage.checks.registry import Look
from celery_triage.core import SECTIONS
from celery_triage.stack import Service, Url


def section_of(server: Mapping[str, Any]) -> str:
    """The section that an entry stands in."""
    return SECTIONS.get(str(server.get("family")), "redis")


def broker_url(service: Service) -> Url | None:
    """The URL by which a service goes to a broker that can be asked."""
    url = service.url("broker")
    return url if url is not None and url.parsed.family in SECTIONS and url.parsed.networked else None


def has_broker(service: Service) -> bool:
    """Whether a service uses a broker that can be asked, over the network."""
    return broker_url(service) is not None


def uses_rabbitmq(look: Look) -> bool:
    """Whether a service of this stack has RabbitMQ as its broker."""
    return any(
        url is not None and url.parsed.family == "amqp"
        for url in (broker_url(service) for service in look.stack.services)
    )


def asked_servers(look: Look) -> list[Mapping[str, Any]]:
    """Every server that was asked as a broker or as a result backend. The section of a kind of broker that
    nobody here uses is not missed."""
    found = list((look.data("redis") or {}).get("servers") or ())
    if uses_rabbitmq(look):
        section = look.section("rabbitmq")
        if not section.readable:
            look.note("rabbitmq", section.why)
        found += ((section.data or {}).get("servers") or ()) if section.readable else ()
    return found


def brokers(look: Look) -> list[Mapping[str, Any]]:
    """The servers that are brokers."""
    return [one for one in asked_servers(look) if "broker" in (one.get("purposes") or ["broker"])]


def labels_of(server: Mapping[str, Any]) -> set[str]:
    """The services whose URL leads to a server, also those that share no network with it."""
    return {*(server.get("services") or ()), *(server.get("unreached") or ())}
