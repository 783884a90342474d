"""Evidence of one incident before and after its cure, as `collect` recorded it from the lab's running stack.

``before``: the fault backend-reboot. ``incident_after``: the incident's own cure after 48 s (option, URL and
database mended, health checks added, one of them a ping on beat, Flower taken out of the file);
``incident_later``: the same after 171 s, beat unhealthy. ``cured_young`` and ``cured``: the lab's own cure,
Flower put into the image, after 21 s and 135 s. The logs were cut to their last 60 lines, and the lab's
prefix and folder were taken out.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from celery_triage.model import Evidence, Section
from celery_triage.report.compare import Comparison, Side, compare

FOLDER = Path(__file__).parent / "data" / "proof"


@cache
def recorded(name: str) -> Evidence:
    """One of the recorded looks, by the name of its file."""
    head, *rest = (json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines())
    return Evidence(**head, sections={one["name"]: Section(**one) for one in rest}, origin=f"bundle {name}")


@cache
def side(name: str) -> Side:
    """One of the recorded looks with its diagnosis."""
    return Side.of(recorded(name))


@cache
def compared(after: str) -> Comparison:
    """The incident against one of its later looks."""
    return compare(side("before"), side(after))
