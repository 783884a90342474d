"""Single values in the blocks of a service in the Compose file, and how they are changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery_triage.checks.registry import Look
from celery_triage.model import Edit
from celery_triage.remedies import Change, locate, shared_by
from celery_triage.stack import Service


def value_in(look: Look, service: Service, block: str, key: str, new: str) -> Change | None:
    """The change of one value in a block of the Compose file (``cpus: "0.1"``), quotes kept; None where it is
    shared with other services, or not written in just one line."""
    found = [line for line in lines_of(look, service, block, key) if line.strip().startswith(f"{key}:")]
    if len(found) != 1:
        return None
    old = found[0].strip().partition(" #")[0].rstrip()
    value = old.partition(":")[2].strip()
    quote = value[:1] if value[:1] in ("'", '"') else ""
    if not value or "$" in value:
        return None
    name = service.item.get("service") or ""
    return locate(look.data("compose"), name, block, old, f"{key}: {quote}{new}{quote}")


def lines_of(look: Look, service: Service, block: str, key: str) -> Sequence[str]:
    """The lines of a service's block in the last Compose file that sets this key in it; none where no file
    that can be read does, and where other services share these lines (an anchor)."""
    compose = look.data("compose") or {}
    services, files = compose.get("services") or {}, compose.get("files") or ()
    own = service.item.get("service") or ""
    for node in reversed((services.get(own) or {}).get(block) or ()):
        number, first = node.get("file"), node.get("line") or 1
        if not isinstance(number, int) or number >= len(files):
            continue
        lines = (files[number].get("lines") or ())[first - 1 : node.get("end_line") or first]
        if any(line.strip().startswith(f"{key}:") for line in lines):
            shared = [
                name
                for name, other in services.items()
                for one in other.get(block) or ()
                if name != own and (one.get("file"), one.get("line")) == (number, node.get("line"))
            ]
            return () if shared else lines
    return ()


def split(changes: Sequence[Change | None]) -> tuple[tuple[Edit, ...], tuple[str, ...]]:
    """(edits, commands) of changes that were all found."""
    edits = tuple(dict.fromkeys(change.edit for change in changes if change and change.edit))
    return edits, tuple(dict.fromkeys(change.command for change in changes if change and change.command))


def value_of(look: Look, service: Service, key: str, new: str) -> Change | None:
    """The change of one plain value of the service itself (``restart: "no"``); where it is not set at all, a
    line for it below one that is the service's alone. None where it is shared, or not to be placed."""
    compose, own = look.data("compose") or {}, service.item.get("service") or ""
    node, text = _line_of(compose, own, key)
    if node:
        value = text.strip().partition(" #")[0].rstrip()
        return locate(compose, own, key, value, f"{key}: {new}") if value.startswith(f"{key}:") else None
    for beside in ("restart", "container_name", "image", "command"):
        node, text = _line_of(compose, own, beside)
        line = text.strip()
        if node and line.startswith(f"{beside}:") and line[-1:] not in "|>&{[" and key not in line:
            indent = text[: len(text) - len(text.lstrip())]
            return locate(compose, own, beside, line, f"{line}\n{indent}{key}: {new}")
    return None


def _line_of(compose: Mapping[str, Any], service: str, key: str) -> tuple[Mapping[str, Any] | None, str]:
    """The node of a key that is written in one line and belongs to this service alone, and that line."""
    found = ((compose.get("services") or {}).get(service) or {}).get(key)
    nodes = [found] if isinstance(found, Mapping) else list(found or ())
    if not nodes or shared_by(compose, service, key) != {service}:
        return None, ""
    node, files = nodes[-1], compose.get("files") or ()
    number, line = node.get("file"), node.get("line") or 0
    if not isinstance(number, int) or number >= len(files) or (node.get("end_line") or line) != line:
        return None, ""
    lines = files[number].get("lines") or ()
    return (node, lines[line - 1]) if 0 < line <= len(lines) else (None, "")
