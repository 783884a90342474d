"""What the rules about PostgreSQL have in common: the servers, whom they concern, what it does to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from celery_triage.checks.registry import Look, NotApplicable, Prediction
from celery_triage.checks.steps import checks_backend_at_start
from celery_triage.checks.words import listed, verb
from celery_triage.stack import Service, Url

DEATHS = (Prediction(("CTR001", "CTR003"), exits=(1,)),)


def servers(look: Look) -> list[Mapping[str, Any]]:
    """The PostgreSQL servers of the evidence; NotApplicable where no URL leads to one."""
    if (
        not any(postgres_url(service) for service in look.members)
        and look.section("containers").status == "ok"
    ):
        raise NotApplicable("no service has a URL of a PostgreSQL")
    return (look.data("postgres") or {}).get("servers") or []


def postgres_url(service: Service) -> Url | None:
    """The PostgreSQL URL that matters for a service: its result backend in use, else a database URL."""
    for url in service.urls:
        fits = (url.parsed.dialect or "").startswith("postgres")
        if fits and (url.purpose == "database" or (url.purpose == "result" and url.used)):
            return url
    return None


def concerned(look: Look, labels: Collection[str]) -> list[Service]:
    """The services of the target among these labels, in the order of the stack."""
    return [service for service in look.members if service.label in labels]


def effect_on(services: Sequence[Service], idle: Mapping[str, str]) -> tuple[list[Service], str]:
    """The services that a wrong result backend strikes, and what it does to them, in words."""
    struck = [service for service in services if service.label not in idle]
    names = listed([service.label for service in struck])
    if any(checks_backend_at_start(service) is not False and service.is_celery for service in struck):
        return struck, f"{names} {verb(struck, 'ends', 'end')} at the start"
    if any(service.is_celery for service in struck):
        return struck, f"{names} {verb(struck, 'starts', 'start')}, but no result can be stored"
    return struck, f"{names} cannot use it"


def unseen(look: Look, server: Mapping[str, Any]) -> bool:
    """Note a server that did not let itself be asked."""
    if server.get("status") == "ok":
        return False
    look.note("postgres", f"{server['key']}: {server.get('why')}")
    return True


def superuser(container: Service) -> str:
    return container.env.get("POSTGRES_USER") or container.env.get("POSTGRESQL_USERNAME") or "postgres"
