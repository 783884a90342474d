"""The workers: who answers a ping and who should, what each can do, and under which name it is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core import SECTIONS
from . import units
from .drawing import Drawing
from .output import Cell, Shown, sentence, table

if TYPE_CHECKING:
    from ..notebook import Look
    from ..stack import Service

BAR_W, LABEL_W, ROW_H, END_W = 520, 200, 34, 150


def brokers(look: Look) -> list[Mapping[str, Any]]:
    """The brokers over which a ping was sent."""
    return (look.evidence.data("celery") or {}).get("brokers") or []


def replies(look: Look) -> dict[str, Mapping[str, Any]]:
    """What each service answered, with its node's name as ``node``."""
    return {
        reply["label"]: {**reply, "node": node}
        for broker in brokers(look)
        for node, reply in sorted((broker.get("replies") or {}).items())
        if reply.get("label")
    }


def known_nodes(look: Look) -> set[str]:
    """The nodes that the brokers' bindings and queues name."""
    sections = [look.evidence.data(name) or {} for name in SECTIONS.values()]
    servers = [server for section in sections for server in section.get("servers") or ()]
    return {node for server in servers for node in server.get("nodes") or ()}


def _not_asked(look: Look) -> str:
    section = look.evidence.section("celery")
    return "" if section.readable else f"No worker was asked: {section.why}."


def _workers(look: Look, service: str = "") -> list[Service]:
    return [one for one in look.services(service, members=True) if one.role == "worker"]


def plot(look: Look, service: str = "", slow_ms: float = 1000.0) -> Shown:
    """The time that each worker took to answer the ping; who did not answer is marked."""
    workers = _workers(look, service)
    if why := _not_asked(look):
        return sentence(why, "unknown")
    if not workers:
        return sentence(look.none(service, "There is no worker to ask.", "is no worker"))
    answers = replies(look)
    times = {one.label: answers[one.label]["ms"] for one in workers if one.label in answers}
    most = max([slow_ms, *times.values(), 1.0])
    drawing = Drawing(LABEL_W + BAR_W + END_W, 18 + ROW_H * len(workers) + 30)
    said = []
    for n, one in enumerate(workers):
        said.append(_row(drawing, one, times.get(one.label), most, slow_ms, 12 + ROW_H * n))
    x = LABEL_W + BAR_W * slow_ms / most
    foot = 14 + ROW_H * len(workers)
    drawing.line([x, x], [8, foot], "warning", 1.2, dashed=True)
    drawing.text(x, foot + 12, f"slow: {slow_ms:g} ms", "warning", 11, "center")
    return drawing.finish("Ping. " + " ".join(said), "Milliseconds from the ping to each worker's answer.")


def _row(drawing: Drawing, worker: Service, ms: float | None, most: float, slow_ms: float, top: float) -> str:
    middle = top + 12
    drawing.text(8, middle, worker.label if len(worker.label) <= 28 else worker.label[:27] + "…", size=12.5)
    drawing.bar(LABEL_W, top + 3, BAR_W, 18, "band", "grid")
    if ms is None:
        words = "no answer" if worker.running else "not running"
        drawing.dots([LABEL_W + 12], [middle], "critical" if worker.running else "soft", 9, mark="x")
        drawing.text(LABEL_W + 26, middle, words, "critical" if worker.running else "soft", 11.5)
        return f"{worker.label}: {words}."
    drawing.bar(LABEL_W, top + 3, max(2.0, BAR_W * ms / most), 18, "warning" if ms > slow_ms else "ok")
    drawing.text(LABEL_W + BAR_W + 10, middle, f"{ms:g} ms", "soft", 11.5)
    return f"{worker.label}: {ms:g} ms."


def who(look: Look, service: str = "") -> Shown:
    """Each worker: does it run, is its node known to the broker, did it answer, since when, how busy."""
    answers, nodes = replies(look), known_nodes(look)
    rows = []
    for one in _workers(look, service):
        reply = answers.get(one.label)
        node = reply["node"] if reply else one.nodename
        stats = (reply or {}).get("stats") or {}
        rows.append(
            (
                Cell(one.label, code=True),
                Cell(node or "–", code=True),
                Cell("yes", tone="ok") if one.running else Cell(_state(one), tone="critical"),
                "yes" if node in nodes else "no" if nodes else None,
                _answer(look, one, reply),
                units.duration(stats["uptime"]) if stats.get("uptime") is not None else None,
                (reply or {}).get("active_count"),
                (reply or {}).get("reserved"),
                (reply or {}).get("scheduled"),
            )
        )
    return table(
        ("Worker", "Node", "Runs", "Known to the broker", "Ping", "Up", "Running", "Taken, waiting", "Later"),
        rows,
        empty=look.none(service, "There is no worker in this stack.", "is no worker"),
        note=_counted(look),
    )


def _state(worker: Service) -> str:
    return str(worker.latest.get("status") or "unknown")


def _answer(look: Look, worker: Service, reply: Mapping[str, Any] | None) -> Cell:
    if reply:
        return Cell(f"{reply['ms']:g} ms", tone="ok")
    if _not_asked(look):
        return Cell("not asked", tone="unknown")
    return Cell("no answer", tone="critical") if worker.running else Cell("–", tone="quiet")


def _counted(look: Look) -> str:
    """How many nodes got the ping, and how many answered, for each broker."""
    return _not_asked(look) or " ".join(
        f"{broker.get('key')}: {broker['asked']} nodes listened, {len(broker.get('replies') or {})} answered."
        for broker in brokers(look)
        if broker.get("asked") is not None
    )


def pools(look: Look, service: str = "") -> Shown:
    """Each worker's pool: kind, processes, how many tasks it takes in advance, how many it has done."""
    rows, labels = [], look.labels(service)
    for label, reply in sorted(replies(look).items()):
        if label not in labels:
            continue
        stats, conf = reply.get("stats") or {}, reply.get("conf") or {}
        pool = stats.get("pool") or {}
        total = stats.get("total")
        rows.append(
            (
                Cell(label, code=True),
                str(pool.get("implementation") or "").rpartition(":")[0].rpartition(".")[2] or None,
                pool.get("max-concurrency"),
                len(pool["processes"]) if pool.get("processes") is not None else None,
                stats.get("prefetch_count"),
                _yes(conf.get("task_acks_late")),
                sum(total.values()) if isinstance(total, Mapping) else None,
            )
        )
    return table(
        ("Worker", "Pool", "Concurrency", "Processes", "Takes in advance", "Acks late", "Done since start"),
        rows,
        empty=_not_asked(look) or look.none(service, "No worker answered.", "is no worker that answered"),
    )


def _yes(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def tasks(look: Look, service: str = "") -> Shown:
    """Each task that a worker knows: by whom it can be run, and how often it was since their start."""
    answers = {label: one for label, one in replies(look).items() if one.get("registered") is not None}
    labels = look.labels(service)
    chosen = {label: one for label, one in answers.items() if label in labels}
    rows = []
    for name in sorted({name for one in chosen.values() for name in one["registered"]}):
        holders = sorted(label for label, one in answers.items() if name in one["registered"])
        others = sorted(set(answers) - set(holders))
        done = [((one.get("stats") or {}).get("total") or {}).get(name, 0) for one in chosen.values()]
        rows.append(
            (
                Cell(name, code=True),
                "all that answered" if not others else units.listed(holders),
                Cell(units.listed(others), tone="warning") if others else None,
                sum(done),
            )
        )
    return table(
        ("Task", "Registered by", "Unknown to", "Done since start"),
        rows,
        empty=_not_asked(look) or look.none(service, "No worker told its tasks.", "told no tasks"),
    )


def names(look: Look) -> Shown:
    """Every node's name: whose it is, and whether it is borne twice or by nobody."""
    owners: dict[str, list[str]] = {}
    for one in _workers(look):
        owners.setdefault(one.nodename or "–", []).append(one.label)
    answers = {
        node: reply for broker in brokers(look) for node, reply in (broker.get("replies") or {}).items()
    }
    known = known_nodes(look)
    rows = []
    for node in sorted({*owners, *answers, *known}):
        held = owners.get(node) or ([answers[node]["label"]] if answers.get(node, {}).get("label") else [])
        rows.append(
            (
                Cell(node, code=True),
                units.listed(held) if held else None,
                "yes" if node in known else "no",
                "yes" if node in answers else "no",
                _judged(look, node, held, node in answers),
            )
        )
    return table(
        ("Node", "Container", "Known to the broker", "Answered", "Remark"),
        rows,
        empty="No node is known.",
        note="Before Celery 5.7 a worker that was killed leaves its name behind in Redis.",
    )


def _judged(look: Look, node: str, held: list[str], answered: bool) -> Cell | None:
    if len(held) > 1:
        return Cell("borne twice: each answers for the other", tone="critical")
    if not held:
        return Cell(
            "of no container here" if answered else "nobody's: left behind, or elsewhere", tone="quiet"
        )
    running = look.stack.get(held[0]) is not None and look.stack.get(held[0]).running
    if running and not answered and not _not_asked(look):
        return Cell("silent", tone="critical")
    return None
