"""What the rules about monitoring have in common: the endpoints of a service, and the ports that the stack
declares for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from celery_triage.checks.registry import Look
from celery_triage.lives import age_of
from celery_triage.stack import Service

#: A service younger than this (s) may not have opened its port yet.
OPEN_AFTER_S = 20.0
_CONTAINER_PORT = re.compile(r"([0-9]{1,5})(?:/tcp)?$")

Entry = Mapping[str, Any]


def entries(look: Look, service: Service) -> list[Entry]:
    """What was asked of one service's own endpoints, as ``http`` has it."""
    found = (look.data("http") or {}).get("endpoints") or ()
    return [entry for entry in found if entry["label"] == service.label == entry.get("owner")]


def grown(service: Service) -> bool:
    """Whether a service has run for long enough to have opened its ports."""
    age = age_of(service)
    return service.running and age is not None and age >= OPEN_AFTER_S


def answers(entry: Entry) -> bool:
    """Whether somebody answered by HTTP, with whatever code: 401 is alive, too."""
    return entry.get("code") is not None


def declared_ports(look: Look, service: Service) -> dict[int, str]:
    """The TCP ports that the stack itself declares for a service, each with the sentence where.

    Those are published ports, what its Compose files say under ``ports`` and ``expose``, and exposed ports
    that another container of the same image lacks. A port that the image alone exposes says nothing: a worker
    often shares the image of a web server."""
    found: dict[int, str] = {}
    exposed = service.item.get("ports") or ()
    image = service.item.get("image_id")
    siblings = [one for one in look.stack.services if image and one.item.get("image_id") == image]
    for port in exposed:
        if port.get("proto") != "tcp":
            continue
        number = port["container"]
        if port.get("host"):
            found[number] = f"port {number} of the container is published at {port['host']}"
        elif any(number not in _numbers(one) for one in siblings):
            found[number] = f"port {number} is exposed for this container, and not by its image"
    described = ((look.data("compose") or {}).get("services") or {}).get(service.item.get("service") or "")
    for key in ("ports", "expose"):
        for number in _written((described or {}).get(key)):
            found.setdefault(number, f"the Compose file names port {number} under {key}")
    return found


def _numbers(service: Service) -> set[int]:
    return {port["container"] for port in service.item.get("ports") or ()}


def _written(nodes: Any) -> list[int]:
    """The container ports of Compose's ``ports`` or ``expose``, short and long form; ranges and variables are
    left out."""
    found = []
    for node in nodes if isinstance(nodes, list) else [nodes] if nodes else ():
        value = node.get("value") if isinstance(node, Mapping) else None
        for item in value if isinstance(value, list) else ():
            text = item.get("target") if isinstance(item, Mapping) else item
            match = _CONTAINER_PORT.search(str(text).rpartition(":")[2]) if text is not None else None
            if match and "-" not in str(text) and "$" not in str(text):
                found.append(int(match[1]))
    return found
