"""The probe harness: each source is asked in one forked child with a deadline, and streams back what it saw.

In: `Source` objects. Out: a `Probed` with one `Section` for every name that a source had declared, whatever
became of its child, the list of the calls made, and the values meant for the parent alone. A source reads::

    def source(stack, options, redactor) -> Source | None:
        def run(emit: Emit) -> None:
            with emit.asking("redis PING redis:6379 (172.18.0.3:6379 from the host)") as asked:
                client.ping()
                asked.outcome = "PONG"
            emit.section(Section("redis", "ok", data=..., how="...", taken_at=now()))
        return Source("broker", ("redis",), run, deadline_s=15)

* A source declares the sections that it will give. Each ends with exactly one status: what the source sent;
  `timeout` when the deadline came first; the status of an `Unavailable` that `run` raised; `no_reply` with
  the class and masked text of any other exception, or with the signal that ended the child.
* `emit.section` sends at once: what was sent before a deadline or a crash is kept. Send early, send often; a
  section may be sent again, the last one stands (first a `partial`, then the `ok`).
* Sections must be masked by the source already; texts of exceptions, calls and outcomes are masked here.
* `finalise(emit, values)` runs in a second bounded child when the first did not end by itself (killed,
  crashed, interrupted); `values` is what the first had sent by `emit.value`.

Nothing but this bounds a Docker stream, a broker's endless retries, a name look-up or a hung network file
system. The caller must be a process with one thread (`single_threaded`): a fork copies the locks that other
threads hold.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from celery_triage.collect.child import TOTAL_LIMIT, Child, Message, Unavailable, attend
from celery_triage.model import Section

#: Children at work at the same time. More wait for their turn; their deadline counts from their own start.
AT_ONCE = 12


def now() -> str:
    """The time as every section and call has it: ISO 8601, UTC, milliseconds, `Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Asked:
    """One call under way; set `outcome` to a few words (``200``, ``14 rows``) before the block ends."""

    text: str
    outcome: str = ""


class Emit:
    """What a source talks to its parent with. `send` takes one message (plain JSON data).

    In a test, `Emit(messages.append)` runs a source's function in the test's own process. A child may use one
    Emit from several threads: messages are sent whole, one after the other.
    """

    def __init__(self, send: Callable[[Message], None], deadline: float = float("inf"),
                 sections: Iterable[str] | None = None) -> None:
        self._send_one, self._sending = send, threading.Lock()
        self._deadline = deadline
        self._sections = None if sections is None else frozenset(sections)
        self._numbers = itertools.count(1)

    def _send(self, message: Message) -> None:
        with self._sending:
            self._send_one(message)

    def left(self) -> float:
        """Seconds until this child is killed (never below 0): no time-out is worth more."""
        return max(0.0, self._deadline - time.monotonic())

    def section(self, section: Section) -> None:
        """Hand over one finished, masked section. ValueError for one that the source did not declare."""
        if self._sections is not None and section.name not in self._sections:
            raise ValueError(f"section {section.name} was not declared")
        self._send({"kind": "section", "name": section.name, "status": section.status, "data": section.data,
                    "why": section.why, "how": section.how, "taken_at": section.taken_at or now()})

    def call(self, text: str, outcome: str = "") -> None:
        """Record one call to the stack that is over."""
        with self.asking(text) as asked:
            asked.outcome = outcome

    @contextlib.contextmanager
    def asking(self, text: str) -> Iterator[Asked]:
        """Record one call to the stack around the block that makes it: it is listed even if it never returns.

        The outcome is what the block set, else ``ok``; the class of the exception when one leaves the block.
        """
        number, asked, start = next(self._numbers), Asked(text), time.monotonic()
        self._send({"kind": "asking", "n": number, "t": now(), "text": text})
        try:
            yield asked
        except BaseException as error:
            asked.outcome = asked.outcome or type(error).__name__
            raise
        finally:
            self._send({"kind": "asked", "n": number, "outcome": asked.outcome or "ok",
                        "ms": round(1000 * (time.monotonic() - start))})

    def value(self, name: str, value: Any) -> None:
        """Hand the parent a plain JSON value that is no evidence (it may be unmasked, and is never saved)."""
        self._send({"kind": "value", "name": name, "value": value})


@dataclass(frozen=True)
class Source:
    """One thing to ask. `sections` are the names it owes, `deadline_s` counts from the start of its child."""

    name: str
    sections: tuple[str, ...]
    run: Callable[[Emit], None]
    deadline_s: float = 15.0
    finalise: Callable[[Emit, Mapping[str, Any]], None] | None = None
    finalise_s: float = 3.0


@dataclass
class Probed:
    """What all sources gave: sections by name, calls in order of their start, values by source and name."""

    sections: dict[str, Section] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, other: Probed) -> None:
        """Take over what a later round gave; a section of the later round replaces the earlier one."""
        self.sections.update(other.sections)
        self.calls.extend(other.calls)
        for source, values in other.values.items():
            self.values.setdefault(source, {}).update(values)


def single_threaded() -> bool:
    """True where a fork is safe: no second thread, of Python's or of a C library's (OpenBLAS, ZeroMQ)."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return threading.active_count() == 1


def run_sources(
    sources: Iterable[Source],
    *,
    mask: Callable[[str], str] | None = None,
    limit_s: float = 45.0,
    at_once: int = AT_ONCE,
) -> Probed:
    """Ask all sources at the same time, each in its own child; return within `limit_s` and some reaping.

    `mask` masks the texts of exceptions and calls; without it they are withheld. Sources that never got their
    turn before `limit_s` are `timeout`. ValueError when two sources declare the same section.
    """
    sources = list(sources)
    names = [name for source in sources for name in source.sections]
    if len(set(names)) != len(names):
        raise ValueError("two sources declare the same section: " + ", ".join(sorted(names)))
    end = time.monotonic() + limit_s
    waiting = list(reversed(sources))
    started: list[tuple[Source, Child]] = []
    cleaners: list[Child] = []

    def next_child(running: int) -> Child | None:
        left = end - time.monotonic()
        if not waiting or running >= at_once or left <= 0:
            return None
        source = waiting.pop()
        started.append((source, _start(source, min(source.deadline_s, left))))
        return started[-1][1]

    try:
        attend((), next_child)
    finally:
        for source, child in started:
            if source.finalise is not None and not child.done:
                cleaners.append(_clean_up(source, _values(child)))
        attend(cleaners)
    masked = _careful(mask)
    probed = Probed()
    for source, child in started:
        probed.sections.update(_settled(source, child, masked))
        probed.values[source.name] = _values(child)
    for source in waiting:
        for name in source.sections:
            why = "the whole run had used up its time before this was asked"
            probed.sections[name] = Section(name, "timeout", why=why, taken_at=now())
    lines = [line for child in [child for _, child in started] + cleaners for line in _calls(child, masked)]
    probed.calls = [line for _, line in sorted(lines, key=lambda pair: pair[0])]
    return probed


def _start(source: Source, deadline_s: float) -> Child:
    def work(send: Callable[[Message], None], deadline: float) -> None:
        source.run(Emit(send, deadline, source.sections))

    return Child(source.name, work, deadline_s)


def _clean_up(source: Source, values: Mapping[str, Any]) -> Child:
    def work(send: Callable[[Message], None], deadline: float) -> None:
        source.finalise(Emit(send, deadline, ()), values)

    return Child(f"{source.name} clean-up", work, source.finalise_s)


def _values(child: Child) -> dict[str, Any]:
    return {message["name"]: message["value"] for message in child.messages if message["kind"] == "value"}


def _careful(mask: Callable[[str], str] | None) -> Callable[[str], str]:
    """The mask, except that nothing passes unmasked when there is none or when it fails."""

    def masked(text: str) -> str:
        if mask is None:
            return "(withheld: no redactor was given)"
        try:
            return mask(text)
        except Exception:
            return "(withheld: masking failed)"

    return masked


def _settled(source: Source, child: Child, mask: Callable[[str], str]) -> dict[str, Section]:
    """A section for every declared name: what was sent, else what kept it from being sent."""
    sent = {}
    for message in child.messages:
        if message["kind"] == "section":
            parts = {key: value for key, value in message.items() if key != "kind"}
            sent[message["name"]] = Section(**parts)
    status, why = "no_reply", "the probe ended without giving this section"
    if child.failed is not None:
        status, why = child.failed["status"], mask(child.failed["why"])
    elif child.flooded:
        status, why = "withheld", f"the probe sent more than {TOTAL_LIMIT // 2**20} MiB"
    elif child.late:
        status, why = "timeout", f"no answer within {child.deadline_s:.3g} s"
        open_calls = [call for call in _paired(child) if "outcome" not in call]
        if open_calls:
            why += f"; the last call that did not return: {mask(open_calls[-1]['text'])}"
    elif child.signal:
        why = f"the probe was ended by {child.signal}"
    return {
        name: sent.get(name) or Section(name, status, why=why, taken_at=now()) for name in source.sections
    }


def _paired(child: Child) -> list[Message]:
    """The calls of a child, each with its outcome if there was one."""
    calls: dict[int, Message] = {}
    for message in child.messages:
        if message["kind"] == "asking":
            calls[message["n"]] = dict(message)
        elif message["kind"] == "asked":
            calls[message["n"]].update(outcome=message["outcome"], ms=message["ms"])
    return list(calls.values())


def _calls(child: Child, mask: Callable[[str], str]) -> list[tuple[str, str]]:
    """(time, line) of every call: time, source, what was asked, outcome, duration."""
    lines = []
    for call in _paired(child):
        outcome = "no answer, given up"
        if "outcome" in call:
            outcome = f"{mask(call['outcome'])} ({call['ms']} ms)"
        lines.append((call["t"], f"{call['t']} {child.name}: {mask(call['text'])} -> {outcome}"))
    return lines


__all__ = ["Asked", "Emit", "Probed", "Source", "Unavailable", "now", "run_sources", "single_threaded"]
