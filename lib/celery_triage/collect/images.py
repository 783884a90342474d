"""The images of containers: how old each is, for which processor, and what its name means on this engine by
now.

Asked by `GET /images/{id or name}/json` (Docker Engine API v1.41), each once: 2 to 4 ms on Engine 20.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from celery_triage.collect.docker import Engine, EngineError, Forbidden, NotFound

#: More images than this are not asked about.
MOST = 60
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}$")


def tell(engine: Engine, items: Iterable[dict[str, Any]]) -> None:
    """Adds to each unmasked item ``image_created`` (ISO 8601), ``image_arch`` (as Go names processors: amd64,
    arm64) and ``image_now``, the id that the name of its image has now; empty where there is no such image
    any more or the engine does not say."""
    known: dict[str, dict[str, Any]] = {}

    def ask(reference: str) -> dict[str, Any]:
        if reference not in known and reference and len(known) < MOST:
            try:
                told = engine.ask(f"/images/{quote(reference, safe='/:@')}/json")
            except (NotFound, EngineError, Forbidden):
                told = {}
            known[reference] = told if isinstance(told, dict) else {}
        return known.get(reference, {})

    for item in items:
        name = item["image"]
        item["image_created"] = str(ask(item["image_id"]).get("Created") or "")
        item["image_arch"] = str(ask(item["image_id"]).get("Architecture") or "")
        item["image_now"] = "" if _ID.fullmatch(name) else str(ask(name).get("Id") or "")
