"""Health checks and what they cost, limits against use, networks and restart policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..checks.health.probes import Probe, health_of, judged_after, ping_of, probes
from . import units
from .drawing import Drawing
from .output import Cell, Shown, sentence, table

if TYPE_CHECKING:
    from ..notebook import Look
    from ..stack import Service

BAR_W, LABEL_W, ROW_H, END_W = 520, 200, 34, 190
TONES = {"healthy": "ok", "unhealthy": "critical", "starting": "unknown"}


def _checked(look: Look, service: str = "") -> list[Service]:
    return [one for one in look.services(service) if one.item.get("healthcheck")]


def _no_checks(look: Look, service: str) -> Shown:
    section = look.evidence.section("containers")
    if section.readable:
        return sentence(look.none(service, "No service here has a health check.", "has no health check"))
    return sentence(f"The containers could not be read: {section.why}.", "unknown")


def plot(look: Look, service: str = "") -> Shown:
    """How long the last probes of each health check took, against the time-out of that check."""
    shown = _checked(look, service)
    if not shown:
        return _no_checks(look, service)
    drawing = Drawing(LABEL_W + BAR_W + END_W, 18 + ROW_H * len(shown) + 46)
    said = [_probes(drawing, one, 12 + ROW_H * n) for n, one in enumerate(shown)]
    foot = 14 + ROW_H * len(shown)
    edge = LABEL_W + BAR_W * 0.9
    drawing.line([edge, edge], [8, foot], "critical", 1.2, dashed=True)
    drawing.text(edge, foot + 10, "time-out", "critical", 11, "center")
    for x, role, mark, words in ((8, "ok", "o", "passed"), (90, "critical", "x", "failed or given up")):
        drawing.dots([x + 6], [foot + 28], role, 8, mark=mark)
        drawing.text(x + 18, foot + 28, words, "soft", 11)
    return drawing.finish(
        "Health checks. " + " ".join(said),
        "The last probes (Docker keeps five), each as a part of the time-out of its own check.",
    )


def _probes(drawing: Drawing, service: Service, top: float) -> str:
    middle, timeout = top + 12, float(service.item["healthcheck"].get("timeout_s") or 30.0)
    drawing.text(8, middle, _short(service.label), size=12.5)
    drawing.bar(LABEL_W, top + 3, BAR_W, 18, "band", "grid")
    found = [probe for probe in probes(service) if probe.seconds is not None]
    for good, role, mark in ((True, "ok", "o"), (False, "critical", "x")):
        chosen = [probe for probe in found if (probe.exit_code == 0) is good]
        xs = [LABEL_W + BAR_W * min(0.9 * probe.seconds / timeout, 0.985) for probe in chosen]
        drawing.dots(xs, [middle] * len(xs), role, 8, mark=mark)
    words = _took(found, timeout) or ("no probe yet" if service.running else "not running")
    drawing.text(LABEL_W + BAR_W + 10, middle, words, "soft", 11.5)
    return f"{service.label}: {words}."


def _took(found: Sequence[Probe], timeout: float) -> str:
    if not found:
        return ""
    seconds = sorted(probe.seconds or 0.0 for probe in found)
    low, high = f"{seconds[0]:.1f}", f"{seconds[-1]:.1f}"
    return f"{low if low == high else f'{low} to {high}'} s of {timeout:g} s"


def _short(label: str) -> str:
    return label if len(label) <= 28 else label[:27] + "…"


def checks(look: Look, service: str = "") -> Shown:
    """Each health check: what it asks, what Docker says, what the last probe said, what it costs."""
    rows = []
    for one in _checked(look, service):
        check, health = one.item["healthcheck"], health_of(one)
        found = probes(one)
        status = str(health.get("status") or "not running")
        rows.append(
            (
                Cell(one.label, code=True),
                Cell(" ".join((check.get("test") or [])[1:]), code=True),
                _whom(one),
                Cell(status, tone=TONES.get(status, "quiet")),
                f"{health.get('failing_streak') or 0} of {check.get('retries')}" if health else None,
                " ".join(found[-1].output.split())[:120] if found else None,
                _cost(found, float(check.get("interval_s") or 0)),
                units.duration(judged_after(one)),
            )
        )
    columns = ("Service", "Check", "Asks", "Docker says", "Failed in a row", "Last probe said", "Costs",
               "Judged after")  # fmt: skip
    if not rows:
        return _no_checks(look, service)
    return table(columns, rows, note="Judged after: the life after which a check that never passes is told.")


def _whom(service: Service) -> str:
    ping = ping_of(service)
    if ping is None:
        return "no worker"
    if ping.unsure:
        return f"a worker: {ping.unsure}"
    if not ping.nodes:
        return "any worker"
    own = " (its own worker)" if service.nodename in ping.nodes else ""
    return ", ".join(ping.nodes) + own


def _cost(found: Sequence[Probe], interval: float) -> str | None:
    seconds = [probe.seconds for probe in found if probe.seconds is not None]
    if not seconds:
        return None
    mean = sum(seconds) / len(seconds)
    return f"{units.duration(mean)} every {units.duration(mean + interval)}"


# --- Limits -------------------------------------------------------------------------------------------------


def _used(look: Look, service: Service) -> Mapping[str, Any]:
    return look.evidence.data(f"usage/{service.label}") or {}


def memory(look: Look, service: str = "", full_percent: float = 85.0) -> Shown:
    """The memory of each service that runs, as a part of its limit."""
    shown = [one for one in look.services(service) if _used(look, one).get("memory")]
    limited = [one for one in shown if _used(look, one).get("memory_limit")]
    if not shown:
        nobody = look.none(service, "no service runs, or nobody asked.", "does not run, or nobody asked")
        unread = (one for one in look.evidence.under("usage").values() if not one.readable)
        why = next((f"{section.why}." for section in unread), nobody)
        return sentence(f"The use of memory is not known: {why}", "unknown")
    if not limited:
        return sentence(look.none(service, "No service that runs has a memory limit.", "has no memory limit"))
    drawing = Drawing(LABEL_W + BAR_W + END_W, 18 + ROW_H * len(limited) + 30)
    said = [_bar(drawing, look, one, full_percent, 12 + ROW_H * n) for n, one in enumerate(limited)]
    foot, x = 14 + ROW_H * len(limited), LABEL_W + BAR_W * full_percent / 100
    drawing.line([x, x], [8, foot], "warning", 1.2, dashed=True)
    drawing.text(x, foot + 12, f"{full_percent:g} %", "warning", 11, "center")
    return drawing.finish("Memory. " + " ".join(said), "Memory in use, without file cache, of each limit.")


def _bar(drawing: Drawing, look: Look, service: Service, full_percent: float, top: float) -> str:
    used = _used(look, service)
    part = 100 * used["memory"] / used["memory_limit"]
    drawing.text(8, top + 12, _short(service.label), size=12.5)
    drawing.bar(LABEL_W, top + 3, BAR_W, 18, "band", "grid")
    role = "warning" if part >= full_percent else "calm"
    drawing.bar(LABEL_W, top + 3, max(2.0, BAR_W * min(part, 100) / 100), 18, role)
    words = f"{units.size(used['memory'])} of {units.size(used['memory_limit'])}, {part:.0f} %"
    drawing.text(LABEL_W + BAR_W + 10, top + 12, words, "soft", 11.5)
    return f"{service.label}: {words}."


def limits(look: Look, service: str = "") -> Shown:
    """Limits and use of each service, how often its CPU limit held it back, its restart policy, its
    networks."""
    rows = []
    for one in look.services(service):
        used, limit = _used(look, one), one.item.get("limits") or {}
        held = used.get("throttled") or {}
        share = held["throttled_periods"] / held["periods"] if held.get("periods") else None
        cpu = used.get("cpu_percent")
        rows.append(
            (
                Cell(one.label, code=True),
                units.size(used["memory"]) if used.get("memory") else None,
                units.size(limit["memory"]) if limit.get("memory") else "no limit",
                f"{cpu:g} %" if cpu is not None else None,
                f"{limit['cpus']:g}" if limit.get("cpus") else "no limit",
                f"{share:.0%}" if share is not None and limit.get("cpus") else None,
                used.get("pids"),
                (one.item.get("restart_policy") or {}).get("name") or "no",
                ", ".join(sorted(one.networks)),
            )
        )
    columns = ("Service", "Memory", "Memory limit", "CPU now", "CPU limit", "Held back", "Tasks (kernel)",
               "Restart policy", "Networks")  # fmt: skip
    note = "CPU now is of one processor. Held back: of the periods in which it had work, since its start."
    return table(columns, rows, empty="There is no service to show.", note=note)
