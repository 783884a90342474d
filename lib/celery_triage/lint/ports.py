"""Ports of a service: ``expose``, and ``ports`` in the short and the long syntax."""

from __future__ import annotations

import re
from typing import Any

from celery_triage.lint.project import Project
from celery_triage.lint.reading import Node


def ports(project: Project, node: Node) -> list[dict[str, Any]]:
    """The ports of a service as the section ``containers`` has them."""
    found = []
    for item in _members(node, "expose"):
        inner = project.written(item).partition("/")[0]
        if inner.isdigit():
            found.append({"container": int(inner), "protocol": "tcp", "host": None})
    for item in _members(node, "ports"):
        for host, published, inner, protocol in published_ports(project, item):
            found.append(
                {
                    "container": inner,
                    "protocol": protocol,
                    "host": f"{host or '0.0.0.0'}:{published}" if published else None,
                }
            )
    return found


def published_ports(project: Project, item: Node) -> list[tuple[str, int, int, str]]:
    """(address on the host, port there or 0, port inside, protocol) of one entry of ``ports``, of both
    syntaxes; none for what is not known (ranges count for each port, up to 100)."""
    if isinstance(item.value, dict):
        host = project.written(item.get("host_ip"))
        outer, inner = project.written(item.get("published")), project.written(item.get("target"))
        protocol = project.written(item.get("protocol")) or "tcp"
    else:
        text, _, protocol = project.written(item).partition("/")
        found = re.fullmatch(r"(?:(\[[^\]]+\]|\d+\.[\d.]+|[A-Za-z][\w.-]*):)?(?:([\d-]*):)?([\d-]+)", text)
        if not found:
            return []
        host, outer, inner = found[1] or "", found[2] or "", found[3]
        protocol = protocol or "tcp"
    inside, outside = _range(inner), _range(outer)
    if not inside or (outer and not outside):
        return []
    if outside and len(outside) != len(inside):
        return []
    return [
        (host.strip("[]"), outside[at] if outside else 0, port, protocol) for at, port in enumerate(inside)
    ]


def _range(text: str) -> list[int]:
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()) or len(first) > 5 or len(last) > 5:
        return []
    low, high = int(first), int(last or first)
    return list(range(low, high + 1)) if low <= high < low + 100 else []


def _members(node: Node, key: str) -> list[Node]:
    told = node.get(key)
    return told.items() if told is not None else []
