"""Containers that were made and not yet started: Compose makes all of them first, and lets one wait for
another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery_triage.lives.marks import seconds_of

#: A container that was made so long ago (seconds) is not one that is being started just now.
SETTLED = 10.0
HEALTHY, COMPLETED = "service_healthy", "service_completed_successfully"


def made_ago(service: Any) -> float | None:
    """Seconds since a container was made, at its last sample; None where either is not known."""
    made, now = seconds_of(service.item.get("created")), seconds_of(service.latest.get("t"))
    return None if made is None or now is None else max(0.0, now - made)


def conditions(compose: Mapping[str, Any] | None, service: Any) -> dict[str, str]:
    """What a service waits for, and in which state: by Compose's label on its container, else by the file
    (``compose`` is that section's data)."""
    label = str((service.item.get("labels") or {}).get("com.docker.compose.depends_on") or "")
    found = {}
    for part in filter(None, label.split(",")):
        name, _, rest = part.partition(":")
        found[name] = rest.partition(":")[0] or "service_started"
    if found:
        return found
    described = ((compose or {}).get("services") or {}).get(service.item.get("service") or "")
    nodes: Any = (described or {}).get("depends_on") or ()
    for node in [nodes] if isinstance(nodes, Mapping) else nodes:
        value = node.get("value")
        for name, given in value.items() if isinstance(value, Mapping) else ():
            found[str(name)] = str((given or {}).get("condition") or "") if isinstance(given, Mapping) else ""
    return found


def not_yet(other: Any, condition: str) -> str:
    """Why a service does not fulfil a condition, and will not by waiting; empty where it does, may still, or
    nobody can tell."""
    latest = other.latest
    if condition == HEALTHY:
        if not other.running:
            return f"does not run ({latest.get('status')})"
        if (latest.get("health") or {}).get("status") == "unhealthy":
            return "is unhealthy"
        return "has no health check" if other.item.get("healthcheck") is None else ""
    if condition == COMPLETED and latest.get("status") in ("exited", "dead"):
        code = latest.get("exit_code")
        return f"ended with exit code {code}" if code else ""
    return ""


def being_started(service: Any, members: Mapping[str, Any], compose: Mapping[str, Any] | None) -> str:
    """What a container that was made and not started may still be waiting for; empty where nothing is on its
    way. ``members`` are the services beside it by their names in Compose."""
    if service.latest.get("status") != "created" or service.latest.get("error"):
        return ""
    ago = made_ago(service)
    for name, condition in sorted(conditions(compose, service).items()):
        other = members.get(name)
        if other is None or not other.running:
            continue
        if condition == HEALTHY and (other.latest.get("health") or {}).get("status") == "starting":
            return f"it waits until {other.label} is healthy"
        if condition == COMPLETED:
            return f"it waits until {other.label} has done its work"
    if ago is not None and ago < SETTLED:
        return f"it was made {ago:.0f} s ago and has not been started yet"
    return ""
