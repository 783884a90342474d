"""The queues: the broker behind them, how deep they are, who consumes them, and when they will be empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core import SECTIONS
from ..notebook import CannotLook
from . import units
from .drawing import Drawing
from .output import Cell, Shown, sentence, table
from .workers import brokers as brokers_asked
from .workers import replies

if TYPE_CHECKING:
    from ..notebook import Look

BAR_W, LABEL_W, ROW_H, END_W = 430, 230, 38, 250


@dataclass(frozen=True)
class Queue:
    """One queue of one server: its depth in two samples, the seconds between them, who consumes it: as it
    says itself, or, where it did not answer, by its command line (``silent``), or would if it ran
    (``down``)."""

    server: str
    name: str
    first: int | None
    last: int | None
    seconds: float | None
    consumers: tuple[str, ...]
    silent: tuple[str, ...] = ()
    down: tuple[str, ...] = ()

    @property
    def alone(self) -> bool:
        """Whether nobody takes from it who runs."""
        return not self.consumers and not self.silent

    @property
    def takers(self) -> str:
        """Who takes from it, in words."""
        told = [units.listed(self.consumers)] if self.consumers else []
        told += [f"{name} (did not answer)" for name in self.silent]
        told += [f"{name} (does not run)" for name in self.down]
        return ", ".join(told) or "nobody"

    @property
    def rate(self) -> float | None:
        """Tasks by which it grows in a second (negative: it empties); None without two samples."""
        if self.first is None or self.last is None or not self.seconds:
            return None
        return (self.last - self.first) / self.seconds

    @property
    def drains_s(self) -> float | None:
        """Seconds until it is empty at the pace seen between the samples; None where it does not empty."""
        return self.last / -self.rate if self.rate is not None and self.rate < 0 else None

    @property
    def outlook(self) -> str:
        """What will become of it, in a few words."""
        if self.last is None:
            return "not known"
        if not self.last and not self.first:
            return "empty"
        if self.rate is None:
            return "seen only once"
        if self.rate < 0:
            return f"empty in {units.duration(self.drains_s)}" if self.last else "just emptied"
        return f"grows by {self.rate:.1f} a second" if self.rate > 0 else "does not move"


def servers(look: Look) -> list[Mapping[str, Any]]:
    """The servers that are brokers: Redis and RabbitMQ."""
    sections = [look.evidence.data(name) or {} for name in SECTIONS.values()]
    found = [server for section in sections for server in section.get("servers") or ()]
    return [server for server in found if "broker" in (server.get("purposes") or ["broker"])]


def _nothing(look: Look, otherwise: str) -> str:
    amqp = any((url := one.url("broker")) and url.parsed.family == "amqp" for one in look.stack.services)
    section = look.evidence.section("rabbitmq" if amqp else "redis")
    kind = "RabbitMQ" if amqp else "Redis"
    return otherwise if section.readable else f"{kind} could not be asked: {section.why}."


def queues(look: Look, queue: str = "") -> list[Queue]:
    """All queues that somebody declared, or the named one; the deepest first. CannotLook for a name that
    none has."""
    answers = replies(look)
    workers = {one.label: one for one in look.stack.services if one.role == "worker"}
    consumes = {
        label: (answers.get(label) or {}).get("active_queues") or one.queues for label, one in workers.items()
    }
    found = []
    for server in servers(look):
        samples = server.get("samples") or []
        depths = [sample.get("queues") or {} for sample in samples]
        seconds = units.between(samples[0].get("t"), samples[-1].get("t")) if len(samples) > 1 else None
        users = {*(server.get("services") or ()), *(server.get("unreached") or ())}
        for name in depths[-1] if depths else ():
            holders = sorted(label for label in users if name in consumes.get(label, ()))
            first = depths[0].get(name) if len(depths) > 1 else None
            down = tuple(label for label in holders if not workers[label].running)
            asked = server["key"] in {broker.get("key") for broker in brokers_asked(look)}
            silent = tuple(label for label in holders if asked and label not in (*answers, *down))
            heard = tuple(label for label in holders if label not in (*silent, *down))
            counted = (samples[-1].get("consumers") or {}).get(name)
            if counted and not holders:  # RabbitMQ counts them, whoever they are
                heard = (f"{counted} of no known container",)
            found.append(
                Queue(server["key"], name, first, depths[-1][name], seconds, heard, silent, down)
            )
    chosen = [one for one in found if not queue or one.name == queue]
    if found and not chosen:
        there = ", ".join(sorted({one.name for one in found}))
        raise CannotLook(f"There is no queue {queue!r} in this evidence; there are {there}.")
    return sorted(chosen, key=lambda one: (-(one.last or 0), one.server, one.name))


def plot(look: Look, queue: str = "") -> Shown:
    """How deep each queue is, in which direction it goes, and how long it takes to drain at that pace."""
    found = queues(look, queue)
    if not found:
        return sentence(_nothing(look, "No queue was found."), "" if servers(look) else "unknown")
    most = max([10, *(one.last or 0 for one in found), *(one.first or 0 for one in found)])
    drawing = Drawing(LABEL_W + BAR_W + END_W, 18 + ROW_H * len(found) + 28)
    said = [_row(drawing, one, most, 12 + ROW_H * n) for n, one in enumerate(found)]
    y = 18 + ROW_H * len(found) + 12
    for x, role, words in (
        (8, "calm", "consumed"),
        (110, "critical", "no consumer"),
        (230, "warning", "grows"),
    ):
        drawing.bar(x, y - 5, 14, 10, role, "grid")
        drawing.text(x + 20, y, words, "soft", 11)
    drawing.text(330, y, "│ depth a moment before", "soft", 11)
    return drawing.finish(
        "Queues. " + " ".join(said),
        "Tasks waiting in each queue, and what becomes of them at the present pace.",
    )


def _row(drawing: Drawing, queue: Queue, most: int, top: float) -> str:
    middle, depth = top + 13, queue.last or 0
    role = "critical" if depth and queue.alone else "warning" if (queue.rate or 0) > 0 else "calm"
    name = queue.name if len(queue.name) <= 32 else queue.name[:31] + "…"
    drawing.text(8, middle, name, size=12.5)
    drawing.bar(LABEL_W, top + 3, BAR_W, 20, "band", "grid")
    if depth:
        drawing.bar(LABEL_W, top + 3, max(2.0, BAR_W * depth / most), 20, role)
    if queue.first:
        x = LABEL_W + BAR_W * queue.first / most
        drawing.line([x, x], [top, top + 26], "ink", 1.6)
    alone = " · no consumer" if depth and queue.alone else ""
    drawing.text(LABEL_W + BAR_W + 10, middle, f"{depth} · {queue.outlook}{alone}", "soft", 11.5)
    return f"{queue.name}: {depth} waiting, {queue.outlook}{alone.replace(' · ', ', ')}."


def depths(look: Look, queue: str = "") -> Shown:
    """Each queue with its depth in both samples, its consumers, and the time to drain."""
    rows = [
        (
            Cell(one.name, code=True),
            Cell(one.server, code=True),
            one.first,
            one.last,
            None if one.rate is None else f"{one.rate:+.1f}".replace("+0.0", "0"),
            one.outlook,
            Cell(one.takers, tone=("critical" if one.last else "quiet") if one.alone else ""),
        )
        for one in queues(look, queue)
    ]
    return table(
        ("Queue", "Server", "Depth before", "Depth", "Change a second", "Outlook", "Consumed by"),
        rows,
        empty=_nothing(look, "No queue was found."),
        note="Two samples about a second apart: a pace for now, no trend.",
    )


def brokers(look: Look) -> Shown:
    """Each broker: alive, its version, memory against its limit, clients, and how long it has been up."""
    rows = []
    for server in servers(look):
        memory, info = server.get("memory") or {}, server.get("info") or {}
        alive = server.get("status") == "ok"
        up = info.get("uptime_in_seconds")
        rows.append(
            (
                Cell(server["key"], code=True),
                _answers(server),
                server.get("version"),
                server.get("role"),
                units.size(memory.get("used")),
                units.size(memory["max"]) if memory.get("max") else "no limit" if alive else None,
                "blocks senders" if server.get("family") == "amqp" else memory.get("policy"),
                server.get("clients"),
                units.duration(up) if up is not None else None,
            )
        )
    return table(
        ("Broker", "Answers", "Version", "Role", "Memory", "Limit", "When full", "Clients", "Up"),
        rows,
        empty=_nothing(look, "No service of this stack uses Redis or RabbitMQ as its broker."),
    )


def _answers(server: Mapping[str, Any]) -> Cell:
    if server.get("status") != "ok":
        return Cell(f"no: {server.get('why')}", tone="critical")
    alarms = [
        name
        for name, key in (("memory", "mem_alarm"), ("disk", "disk_free_alarm"))
        if any(host.get(key) for host in server.get("hosts") or ())
    ]
    if alarms:
        return Cell(f"yes, with an alarm: {', '.join(alarms)}", tone="critical")
    return Cell("yes", tone="ok")


def held(look: Look) -> Shown:
    """What workers have taken and not finished: running, waiting in their hands, put off; and what the broker
    counts as not acknowledged."""
    rows = []
    for label, reply in sorted(replies(look).items()):
        stats = reply.get("stats") or {}
        rows.append(
            (
                Cell(label, code=True),
                units.listed(reply.get("active_queues") or ()),
                reply.get("active_count"),
                (stats.get("pool") or {}).get("max-concurrency"),
                reply.get("reserved"),
                reply.get("scheduled"),
                stats.get("prefetch_count"),
            )
        )
    counted = [
        f"{server['key']}: {server['samples'][-1]['unacked']} taken and not acknowledged."
        for server in servers(look)
        if server.get("samples") and server["samples"][-1].get("unacked") is not None
    ]
    section = look.evidence.section("celery")
    return table(
        ("Worker", "Consumes", "Running", "At most", "Taken, waiting", "Put off", "Takes in advance"),
        rows,
        empty="No worker answered." if section.readable else f"No worker was asked: {section.why}.",
        note=" ".join(counted),
    )
