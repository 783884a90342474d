"""What the rules about connection strings have in common: the URLs in use, whom a result backend concerns."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from celery_triage.checks.registry import Look, Prediction
from celery_triage.checks.steps import checks_backend_at_start
from celery_triage.checks.words import listed
from celery_triage.remedies import Changes, changes
from celery_triage.stack import Service, Url

DEATHS = (Prediction(("CTR001", "CTR003"), exits=(1,)),)

PURPOSES = ("broker", "result")


def used(service: Service, purposes: Iterable[str] = PURPOSES) -> list[Url]:
    """The URLs that a Celery service goes by."""
    return [url for url in service.urls if url.purpose in purposes and url.used] if service.is_celery else []


def idle_states(services: Iterable[Service], purpose: str) -> dict[str, str]:
    """The services that carry a result URL and are not stopped by what is wrong with it: Flower (2.2 starts
    without), and beat up to Celery 5.4. Measured with 5.4.0, 5.6.3 and 5.7.0."""
    if purpose != "result":
        return {}
    return {
        service.label: "latent"
        for service in services
        if service.role == "flower" or (service.role == "beat" and checks_backend_at_start(service) is False)
    }


def proven(look: Look, url: Url, step: str, image: str | None = None) -> bool:
    """Whether some service that goes by the same URL (with ``image``: out of the same image) is proven to
    have got past a step with it. Flower and beat say little of themselves; what serves a worker serves them.
    """
    return any(
        other.text == url.text and look.course(service).past(step)
        for service in look.members
        if image is None or service.item.get("image_id") == image
        for other in used(service, (url.purpose,))
    )


def asked(look: Look, section: str) -> set[str]:
    """The services whose server was asked and answered, or said why it did not: there its own word counts,
    and not what an older line of a log says."""
    return {
        label
        for server in (look.data(section) or {}).get("servers") or ()
        if server.get("status") == "ok" or server.get("error_kind")
        for label in server.get("services") or ()
    }


def port_of(server: Mapping[str, Any]) -> int | None:
    """The port in the key of a server (``redis:6379/0``, ``postgres:5432``)."""
    written = server["key"].partition("/")[0]
    port = written.rpartition(":")[2]
    return int(port) if port.isdigit() else None


def off_port(owner: Service, port: int | None) -> bool:
    """Whether a container has ports and this is none of them."""
    ports = {entry.get("container") for entry in owner.item.get("ports") or ()}
    return bool(ports) and port not in ports


def url_changes(look: Look, pairs: Sequence[tuple[Service, Url]], old: str, new: str) -> Changes:
    """The change of a fragment of the URL of each service, where that URL is written."""
    places = [
        (service, url.var or ("command" if url.source.startswith("option") else ""), old, new)
        for service, url in pairs
    ]
    return changes(look.data("compose"), places)


def no_place(changed: Changes) -> str:
    """Why a change cannot be given as an edit."""
    if changed.texts:
        return (
            f"in {listed(sorted({edit.file for edit in changed.texts}))}, which could not be read from here"
        )
    where = "which is in no Compose file that could be read" if changed.read else "no Compose file was read"
    return f"where the URL of {listed(changed.unplaced)} is set, {where}"


def similar(name: str, others: Iterable[str]) -> list[str]:
    """The names that somebody may have meant by this one, nearest first."""

    def plain(text: str) -> str:
        return "".join(char for char in text.lower() if char.isalnum())

    ratios = {other: difflib.SequenceMatcher(None, plain(name), plain(other)).ratio() for other in others}
    return sorted(
        (other for other, ratio in ratios.items() if ratio >= 0.8), key=lambda other: (-ratios[other], other)
    )
