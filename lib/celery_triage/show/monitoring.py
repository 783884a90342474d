"""Metrics endpoints and Flower: who answers on which port, how fast, with how much."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..checks.monitoring.shared import answers
from . import units
from .drawing import Drawing
from .output import Cell, Shown, sentence, table

if TYPE_CHECKING:
    from ..notebook import Look

BAR_W, LABEL_W, ROW_H, END_W = 430, 300, 34, 200
#: What an answer means, by its code: whoever says no has answered.
_WORDS = {401: "asks for a login", 403: "refuses us", 404: "no such page"}

Entry = Mapping[str, Any]


def endpoints(look: Look, service: str = "") -> list[Entry]:
    """All endpoints that were looked for, or those of one service; by service, then port."""
    found = (look.evidence.data("http") or {}).get("endpoints") or ()
    labels = look.labels(service)
    chosen = [entry for entry in found if not service or labels & {entry["label"], entry.get("owner")}]
    return sorted(chosen, key=lambda entry: (entry["label"], entry["port"], entry["purpose"]))


def _nothing(look: Look, service: str) -> Shown:
    section = look.evidence.section("http")
    if section.readable:
        whole = "No service here names a metrics port, and there is no Flower."
        return sentence(look.none(service, whole, "names no metrics port, and is no Flower"))
    return sentence(f"Nobody was asked: {section.why}.", "unknown")


def _tone(entry: Entry) -> str:
    """ok: it answers as it should; warning: it answers otherwise; critical: a port that is named and does not
    answer; quiet: a guess that came to nothing."""
    if answers(entry):
        return "ok" if entry["code"] < 400 or entry["code"] in (401, 403) else "warning"
    return "critical" if entry["declared"] else "quiet"


def _said(entry: Entry) -> str:
    """What came of asking, in a few words."""
    if not answers(entry):
        return entry["why"] or str(entry["status"])
    code, families = entry["code"], entry.get("families")
    if entry["purpose"] == "metrics" and code == 200:
        return "no metrics in its answer" if families is None else f"{families} metric families"
    return _WORDS.get(code, "answers" if code < 400 else "an error")


def plot(look: Look, service: str = "", slow_ms: float = 500.0) -> Shown:
    """How long each endpoint took to answer, and which did not; slower than ``slow_ms`` (milliseconds) is
    marked. The scale is logarithmic, from 1 ms to Prometheus' own time-out of 10 s."""
    shown = endpoints(look, service)
    if not shown:
        return _nothing(look, service)
    drawing = Drawing(LABEL_W + BAR_W + END_W, 18 + ROW_H * len(shown) + 46)
    foot, edge = 14 + ROW_H * len(shown), _x(slow_ms)
    said = [_row(drawing, entry, slow_ms, 12 + ROW_H * n) for n, entry in enumerate(shown)]
    for ms, words in ((1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1000, "1 s"), (10_000, "10 s")):
        drawing.line([_x(ms), _x(ms)], [8, foot], "grid")
        drawing.text(_x(ms), foot + 10, words, "soft", 11, "center")
    drawing.line([edge, edge], [8, foot], "warning", 1.2, dashed=True)
    for x, role, mark, words in (
        (8, "ok", "o", "answered"),
        (100, "warning", "o", "slow, or answered no"),
        (250, "critical", "x", "named, and no answer"),
        (410, "soft", "x", "a guess, and no answer"),
    ):
        drawing.dots([x + 6], [foot + 28], role, 8, mark=mark)
        drawing.text(x + 18, foot + 28, words, "soft", 11)
    return drawing.finish(
        "Endpoints. " + " ".join(said),
        "Time until the whole answer was there, asked once from the engine's machine. Right of the dashed "
        "line it counts as slow.",
    )


def _x(ms: float) -> float:
    """Where a time stands on the scale."""
    return LABEL_W + BAR_W * min(math.log10(max(ms, 1.0)), 4.0) / 4.0


def _row(drawing: Drawing, entry: Entry, slow_ms: float, top: float) -> str:
    middle, ms, tone = top + 12, entry["ms"] or 0.0, _tone(entry)
    name = f"{entry['label']} :{entry['port']}{entry['path']}"
    drawing.text(8, middle, name if len(name) <= 42 else name[:41] + "…", size=12.5)
    drawing.bar(LABEL_W, top + 3, BAR_W, 18, "band", "grid")
    end = LABEL_W + BAR_W + 10
    if not answers(entry):
        kind = str(entry.get("error_kind") or entry["status"]).replace("_", " ")
        drawing.dots([LABEL_W + 8], [middle], "critical" if tone == "critical" else "soft", 9, mark="x")
        drawing.text(end, middle, kind, "soft", 11.5)
        return f"{name}: no answer ({kind})."
    role = "warning" if ms > slow_ms or tone == "warning" else "ok"
    drawing.bar(LABEL_W, top + 7, max(1.0, _x(ms) - LABEL_W), 10, role)
    drawing.dots([_x(ms)], [middle], role, 8)
    told = _said(entry).replace("metric families", "families")
    drawing.text(end, middle, f"{ms:.0f} ms · {entry['code']} · {told}", "soft", 11.5)
    return f"{name}: {entry['code']} after {ms:.0f} ms, {_said(entry)}."


def answered(look: Look, service: str = "", slow_ms: float = 500.0) -> Shown:
    """Each endpoint: where its port is named, who answered, how fast, with how many metric families."""
    rows = []
    for entry in endpoints(look, service):
        tone = _tone(entry)
        slow = entry["ms"] is not None and answers(entry) and entry["ms"] > slow_ms
        rows.append(
            (
                Cell(entry["label"], code=True),
                entry["purpose"],
                Cell(f"{entry['port']}{entry['path']}", code=True),
                Cell(entry["source"] if entry["declared"] else f"{entry['source']} (a guess)", code=True),
                Cell(_said(entry), tone=tone),
                entry["code"],
                Cell(f"{entry['ms']:.0f} ms", tone="warning" if slow else "")
                if entry["ms"] is not None
                else None,
                units.size(entry["bytes"]) + (" and more" if entry["cut"] else "")
                if entry["bytes"] is not None
                else None,
                entry["server"],
            )
        )
    section = look.evidence.section("http")
    if not rows:
        return _nothing(look, service)
    return table(
        ("Service", "What", "Port and page", "Named by", "What came", "Code", "Time", "Size", "Server"),
        rows,
        note="" if section.status == "ok" else f"Not all could be asked: {section.why}.",
    )


def ways(look: Look, service: str = "") -> Shown:
    """Each endpoint: the address that was asked, and whether its own stack could ask there."""
    rows = [
        (
            Cell(entry["label"], code=True),
            Cell(entry["url"], code=True),
            entry["via"],
            Cell(entry["unreached"], tone="warning") if entry["unreached"] else None,
            Cell(units.listed(_published(look, entry)), code=True) if _published(look, entry) else "nowhere",
        )
        for entry in endpoints(look, service)
    ]
    if not rows:
        return _nothing(look, service)
    return table(
        ("Service", "Asked at", "That is", "Not reached from the service", "Published at"),
        rows,
        note="Published at 127.0.0.1 can be asked from the engine's machine only; not published, from the "
        "container's networks only.",
    )


def _published(look: Look, entry: Entry) -> list[str]:
    owner = look.stack.get(entry.get("owner") or "")
    ports = owner.item.get("ports") or () if owner is not None else ()
    return [port["host"] for port in ports if port.get("host") and port["container"] == entry["port"]]
