"""The section `logs/<label>`: the last lines of one container's log, by time, masked.

Read raw in blocks: docker-py removes the timeout from streamed logs, takes a cut stream for a clean end,
splits lines at 16 KiB and needs twice the time (one log of 257 MB: 21 s against 10.5 s). The tail is kept.
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from urllib3.exceptions import HTTPError

from celery_triage.collect.docker import Engine, EngineError, NotFound
from celery_triage.collect.probe import Emit, Source, now
from celery_triage.model import Section
from celery_triage.redact import Redactor

#: At most so much of one log is kept, in lines and in bytes (the texts; time stamps not counted).
LINES = 20_000
BYTES = 4 * 2**20
#: One line longer than this is cut, after masking.
LINE = 16_384
#: A read block, and the second request's number of lines when the first did not come to its end in time.
BLOCK = 2**20
FEW_LINES = 500
#: Once so many bytes have come, bytes and not lines limit what is kept of this log. Then fewer lines are
#: asked for, SPARE times as many as fill what is kept, and the engine need not send the rest (measured by
#: tests/bench).
ENOUGH, SPARE = 4 * BYTES, 2
#: Parts of the time of a probe after which the first and the second request are given up; the rest is for
#: masking and sending.
FIRST_PART, SECOND_PART = 0.6, 0.8
#: The engine splits lines at so many bytes (`daemon/logger/copier.go`).
SPLIT = 16 * 2**10
_HEADER = 8
_STAMP = re.compile(rb"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:[0-9]{2})) ?")
_STREAMS = {1: "out", 2: "err"}


class Frames:
    """Splits a multiplexed stream into (stream, piece). Engine API: 8 bytes (stream, 0, 0, 0, length as
    four bytes, big end first), then the piece. With `tty` there are no frames and all is `out`.

    `torn` is true while what was fed ends inside a frame.
    """

    def __init__(self, tty: bool) -> None:
        self._tty = tty
        self._buffer = bytearray()

    @property
    def torn(self) -> bool:
        return bool(self._buffer) and not self._tty

    def rest(self) -> Iterator[tuple[str, bytes]]:
        """At the end of a terminal's stream: the line that has no end."""
        if self._tty and self._buffer:
            yield "out", bytes(self._buffer)
            self._buffer.clear()

    def feed(self, block: bytes) -> Iterator[tuple[str, bytes]]:
        """The whole pieces that this block completes. EngineError when it is no such stream."""
        self._buffer += block
        if self._tty:
            end = self._buffer.rfind(b"\n") + 1 or (len(self._buffer) if len(self._buffer) > BYTES else 0)
            if end:
                yield "out", bytes(self._buffer[:end])
                del self._buffer[:end]
            return
        at = 0
        while len(self._buffer) - at >= _HEADER:
            kind = self._buffer[at]
            if kind > 3 or self._buffer[at + 1:at + 4] != b"\0\0\0":
                raise EngineError("the log stream is not in frames")
            size = int.from_bytes(self._buffer[at + 4:at + _HEADER], "big")
            if len(self._buffer) - at - _HEADER < size:
                break
            at += _HEADER
            yield _STREAMS.get(kind, "err"), bytes(self._buffer[at:at + size])
            at += size
        del self._buffer[:at]


class Tail:
    """Puts pieces together to lines and keeps the last ones.

    The engine cuts lines at 16 KiB, also inside a character, and puts the same time stamp before each part
    (measured on 20.10, json-file; with a terminal, in the middle of the line). A last line without an end is
    the last word of one life: what the next life says first is not glued to it.
    """

    def __init__(self, lines: int = LINES, size: int = BYTES) -> None:
        self._limit, self._size_limit = lines, size
        self._open: dict[str, tuple[bytes, bytearray, int]] = {}
        self._lines: deque[tuple[bytes, str, bytes]] = deque()
        self._size = 0
        self.count = 0
        self.dropped = 0

    def feed(self, stream: str, piece: bytes) -> None:
        """Take one piece: of a frame, or of a terminal's stream, where it can be any part of the text."""
        for part in piece.splitlines(keepends=True) if b"\n" in piece[:-1] else (piece,):
            found = _STAMP.match(part)
            stamp, text = (found[1], part[found.end():]) if found else (b"", part)
            if stream in self._open:
                first, before, last = self._open[stream]
                if not stamp or stamp == first or last >= SPLIT:
                    stamp = first
                    if len(before) < self._size_limit:
                        text = before + text
                    else:
                        self.dropped += len(text)
                        text = before + (b"\n" if text.endswith(b"\n") else b"")
                else:
                    self._finish(stream, first, bytes(before))
                del self._open[stream]
            if text.endswith(b"\n"):
                self._finish(stream, stamp, bytes(text))
            elif text:
                self._open[stream] = (stamp, bytearray(text), len(part))

    def _finish(self, stream: str, stamp: bytes, text: bytes) -> None:
        text = text.rstrip(b"\r\n")
        if len(text) >= SPLIT and stamp:
            text = text.replace(stamp + b" ", b"")
        self.count += 1
        self._lines.append((stamp, stream, text))
        self._size += len(text)
        while len(self._lines) > self._limit or (self._size > self._size_limit and len(self._lines) > 1):
            gone = self._lines.popleft()[2]
            self._size -= len(gone)
            self.dropped += len(gone) + 1

    @property
    def kept(self) -> int:
        """How many whole lines are kept so far."""
        return len(self._lines)

    def lines(self) -> list[tuple[str, str, bytes]]:
        """(time, stream, text) of what is kept, oldest first, unfinished lines last."""
        for stream, (stamp, text, _) in self._open.items():
            self._finish(stream, stamp, bytes(text))
        self._open.clear()
        kept = [(stamp.decode("ascii"), stream, text) for stamp, stream, text in self._lines]
        # The two streams are read from two pipes: their order in the log can differ from that of the time
        # stamps.
        return sorted(kept, key=lambda line: line[0]) if all(line[0] for line in kept) else kept


def source(
    entry: Mapping[str, Any], options: Mapping[str, Any], redactor: Redactor,
    connect: Callable[[Emit], Engine], size: int = BYTES,
) -> Source:
    """The source of one container's log. `entry` is its unmasked item; `size` is how much is kept, in
    bytes."""
    name = f"logs/{entry['label']}"
    driver = entry["log_driver"]
    how = "Docker Engine API, the end of the log"

    def run(emit: Emit) -> None:
        if driver == "none":
            emit.section(Section(name, "denied", why="log driver none keeps no logs", how=how))
            return
        engine = connect(emit)
        asked = now()  # what was written before this moment is in what is read; what came later may not be
        try:
            tail, why = _read(engine, emit, entry, options.get("since"), size)
        except NotFound:
            why = "the container was gone before its log was read"
            emit.section(Section(name, "vanished", why=why, how=how))
            return
        except EngineError as error:
            status = "denied" if "does not support reading" in str(error) else "no_reply"
            emit.section(Section(name, status, why=redactor.text(str(error), 300), how=how))
            return
        lines = tail.lines()
        texts = redactor.lines([text for _, _, text in lines], LINE)
        shown = [[stamp, stream, text] for (stamp, stream, _), text in zip(lines, texts, strict=True)]
        data = {"driver": driver, "lines": shown, "cut": _cut(tail, why)}
        emit.section(Section(name, "partial" if why else "ok", data, why=why, how=how, taken_at=asked))

    return Source(name, (name,), run, deadline_s=20)


def _read(
    engine: Engine, emit: Emit, entry: Mapping[str, Any], since: str | None, size: int,
) -> tuple[Tail, str]:
    """The tail of the log, and a sentence where it is not whole."""
    began, whole = time.monotonic(), emit.left()
    tail, why = _stream(engine, entry, since, LINES, size, began + FIRST_PART * whole, ENOUGH)
    if why == _LONG:
        fitting = max(FEW_LINES, SPARE * tail.kept)
        tail, why = _stream(engine, entry, since, fitting, size, began + FIRST_PART * whole)
        if not why and not tail.dropped:  # the newest lines are shorter: more of them are to be kept
            tail, why = _stream(engine, entry, since, LINES, size, began + FIRST_PART * whole)
    if why != _LATE:
        return tail, why
    # What was read before time ran out are the oldest of the lines asked for; the newest matter more.
    fewer, again = _stream(engine, entry, since, FEW_LINES, size, began + SECOND_PART * whole)
    if again:
        return (fewer, again) if fewer.count else (tail, why)
    return fewer, f"the log was too long to be read in time: only its last {FEW_LINES} lines"


_LATE = "the log did not come to its end in time"
_LONG = "the log is longer than what is kept of it"


def _stream(
    engine: Engine, entry: Mapping[str, Any], since: str | None, lines: int, size: int, stop: float,
    enough: float = math.inf,
) -> tuple[Tail, str]:
    """The tail, and a sentence where the log did not come to its end: in time, in ``enough`` bytes, or at
    all."""
    frames, tail, received = Frames(bool(entry.get("tty"))), Tail(lines, size), 0
    path = f"/containers/{entry['id']}/logs"
    query = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": 0, "tail": lines, "since": _seconds(since)}
    try:
        with engine.opened("GET", path, **query) as response:
            while block := response.raw.read1(BLOCK):
                for stream, piece in frames.feed(block):
                    tail.feed(stream, piece)
                received += len(block)
                if time.monotonic() > stop:
                    return tail, _LATE
                if received > enough:
                    return tail, _LONG
    except HTTPError as error:
        kind = "the engine stopped sending" if "imed out" in str(error) else "the stream was cut off"
        return tail, f"{kind} before the end of the log"
    for stream, piece in frames.rest():
        tail.feed(stream, piece)
    return tail, "the stream ended inside a frame" if frames.torn else ""


def _cut(tail: Tail, why: str) -> dict[str, Any] | None:
    if tail.dropped:
        return {"bytes": tail.dropped, "why": f"only the last {LINES} lines or {BYTES // 2**20} MiB are kept"}
    if tail.count >= LINES:
        return {"bytes": 0, "why": f"only the last {LINES} lines were asked for; there may be older ones"}
    return {"bytes": 0, "why": why} if why else None


def _seconds(since: str | None) -> str | None:
    """ISO time as the engine takes it: seconds since 1970."""
    return None if not since else f"{datetime.fromisoformat(since.replace('Z', '+00:00')).timestamp():.9f}"
