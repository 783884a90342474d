"""Bytes of a pasted log as lines, whatever they are: bounded in memory, each with its number.

In: an open binary stream. Out: ``Line`` after ``Line``. A line is cut at LONGEST bytes, the rest of it is
read and thrown away. UTF-16 with its mark (what a redirection in PowerShell writes) is understood;
everything else is taken for UTF-8. Beyond FULLY bytes only lines that speak of something are handed on (see
``_Skim``); all are counted.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import re2

CHUNK = 1 << 20
#: Bytes of one line that are looked at: a JSON line may hold a whole traceback.
LONGEST = 1 << 16
#: So much of one input is read line by line (bytes).
FULLY = 24 << 20
#: What may matter in a line of a very long log; it only chooses lines, it judges none.
TELLING = re2.compile(
    rb"(?i)error|fatal|panic|critical|exception|traceback|warning|refused|denied|cannot|can't|could not"
    rb"|failed|unable|not found|no such|killed|signal|exit|abort|timed? ?out|lost|usage:|invalid|missing"
    rb"|not allowed|not permitted|does not exist|disk|memory|unregistered|discarded|corrupt|blocked"
    rb"|unhealthy"
    rb"| ready|connected to|succeeded in|sending due task|accept connections|startup complete|-{14}"
    rb"|is starting"
)
#: What the rest of a line that was cut would have to say to leave the verdict open.
TROUBLE = re2.compile(rb"(?i)error|fatal|critical|exception|traceback|refused|denied|killed")
#: Lines that differ only in numbers are handed on so often, and once more at the end.
ALIKE = 30
#: Different lines that are told apart.
MOST_SHAPES = 20000
#: Lines before a telling one that are handed on with it, and behind it.
BEFORE, AFTER = 40, 60
#: What changes from one line to the next of its kind: numbers, also hexadecimal ones.
_CHANGING = b"0123456789abcdef-"


@dataclass(frozen=True)
class Line:
    """One line: its 1-based number, its bytes without the line end, whether it was cut, whether lines between
    the one before and it were left out."""

    number: int
    raw: bytes
    cut: bool = False
    after_gap: bool = False


@dataclass
class Read:
    """What was read of one input, in the end. ``cut``: lines longer than LONGEST; ``unseen``: those of them
    whose rest may tell of trouble."""

    size: int = 0
    lines: int = 0
    cut: int = 0
    unseen: int = 0
    left_out: int = 0
    first: bytes = field(default=b"", repr=False)

    @property
    def binary(self) -> bool:
        """Whether the beginning is no text: more than a thirtieth of it are zero bytes or other controls."""
        if _utf16(self.first):
            return False
        controls = sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in self.first)
        return bool(self.first) and controls * 30 > len(self.first)


def read(stream: BinaryIO, told: Read) -> Iterator[Line]:
    """The lines of a stream; ``told`` is filled while they come."""
    skim = _Skim(told)
    for begin, pieces, cuts in _batches(_decoded(_chunks(stream, told)), told):
        if told.size <= FULLY:
            for number, raw in enumerate(pieces, begin):
                yield Line(number, raw.removesuffix(b"\r"), number in cuts)
        else:
            yield from skim.batch(begin, pieces, cuts)
    yield from skim.last()


def rest_of(stream: BinaryIO, told: Read) -> Iterator[bytes]:
    """What is left of a stream, in chunks; only its size is kept."""
    return _chunks(stream, told)


def _chunks(stream: BinaryIO, told: Read) -> Iterator[bytes]:
    take = getattr(stream, "read1", stream.read)
    while chunk := take(CHUNK):
        if not told.size:
            told.first = chunk[:4096]
        told.size += len(chunk)
        yield chunk


def _decoded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """UTF-16 as UTF-8; everything else as it is, without a byte order mark."""
    first = next(chunks, b"")
    if kind := _utf16(first):
        decode = codecs.getincrementaldecoder(kind)("replace").decode
        yield decode(first).encode("utf-8", "replace")
        for chunk in chunks:
            yield decode(chunk).encode("utf-8", "replace")
        return
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from chunks


def _utf16(first: bytes) -> str:
    """The codec of UTF-16 text, with its mark at the begin or told by every other byte being zero; empty for
    everything else."""
    if first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    even, odd = first[:400:2], first[1:400:2]
    if len(odd) >= 20:
        if odd.count(0) >= 0.9 * len(odd) and not even.count(0):
            return "utf-16-le"
        if even.count(0) >= 0.9 * len(even) and not odd.count(0):
            return "utf-16-be"
    return ""


def _batches(chunks: Iterator[bytes], told: Read) -> Iterator[tuple[int, list[bytes], set[int]]]:
    """The lines of one chunk each: the number of the first, the lines, the numbers of those that were cut."""
    rest, long, unseen = b"", False, False
    for chunk in chunks:
        if b"\n" not in chunk:
            if long:
                unseen = unseen or bool(TROUBLE.search(chunk))
            else:
                rest += chunk
            if len(rest) > LONGEST:
                unseen = bool(TROUBLE.search(rest, LONGEST))
                rest, long = rest[:LONGEST], True
            continue
        pieces = chunk.split(b"\n")
        if not long:
            pieces[0] = rest + pieces[0]
        begin, cuts = told.lines + 1, set()
        if long:
            told.unseen += unseen or bool(TROUBLE.search(pieces[0]))
            pieces[0] = rest
            cuts.add(begin)
        rest = pieces.pop()
        if max(map(len, pieces)) > LONGEST:
            cuts.update(begin + at for at, piece in enumerate(pieces) if len(piece) > LONGEST)
            told.unseen += sum(bool(TROUBLE.search(piece, LONGEST)) for piece in pieces)
            pieces = [piece[:LONGEST] for piece in pieces]
        told.lines += len(pieces)
        told.cut += len(cuts)
        yield begin, pieces, cuts
        long = len(rest) > LONGEST
        unseen = long and bool(TROUBLE.search(rest, LONGEST))
        rest = rest[:LONGEST]
    if rest:
        told.lines += 1
        told.cut += long
        told.unseen += unseen
        yield told.lines, [rest], {told.lines} if long else set()


class _Skim:
    """Of a very long log: telling lines with what stands around them, of lines that are alike the first ones
    and the very last."""

    def __init__(self, told: Read) -> None:
        self.told = told
        self.before: deque[tuple[int, bytes, bool]] = deque(maxlen=BEFORE)
        self.seen: dict[bytes, int] = {}
        self.dull: set[bytes] = set()
        self.latest: dict[bytes, tuple[int, bytes, bool]] = {}
        self.on, self.given = 0, 0

    def batch(self, begin: int, pieces: list[bytes], cuts: set[int]) -> Iterator[Line]:
        """The lines of one chunk. A chunk that says nothing new is only counted."""
        keys = b"\n".join(piece[:300] for piece in pieces).translate(None, _CHANGING).split(b"\n")
        places = dict(zip(keys, range(len(keys)), strict=True))  # of each kind the last line
        if self.on <= 0 and all(key in self.dull or self.seen.get(key, 0) >= ALIKE for key in places):
            for key, at in places.items():
                if key not in self.dull:
                    self.keep(key, begin + at, pieces[at], begin + at in cuts)
            self.told.left_out += len(pieces) - min(len(pieces), BEFORE)
            for at in range(max(0, len(pieces) - BEFORE), len(pieces)):
                self.wait(begin + at, pieces[at], begin + at in cuts)
            return
        for at, (key, raw) in enumerate(zip(keys, pieces, strict=True)):
            yield from self.line(key, begin + at, raw.removesuffix(b"\r"), begin + at in cuts)

    def line(self, key: bytes, number: int, raw: bytes, cut: bool) -> Iterator[Line]:
        fresh = False
        if key not in self.dull:
            count = self.seen.get(key, 0)
            if count or TELLING.search(raw[:2000]):
                if count or len(self.seen) < MOST_SHAPES:
                    self.seen[key] = count + 1
                    fresh = count < ALIKE
                if not fresh:
                    self.keep(key, number, raw, cut)
            elif len(self.dull) < MOST_SHAPES:
                self.dull.add(key)
        if fresh:
            for earlier in self.before:
                yield self.give(*earlier)
            self.before.clear()
            self.on = AFTER
        if self.on > 0:
            self.on -= 1
            yield self.give(number, raw, cut)
        else:
            self.wait(number, raw, cut)

    def keep(self, key: bytes, number: int, raw: bytes, cut: bool) -> None:
        """Remember the last line of its kind."""
        self.latest.pop(key, None)
        self.latest[key] = (number, raw, cut)
        if len(self.latest) > 2000:
            del self.latest[next(iter(self.latest))]

    def wait(self, number: int, raw: bytes, cut: bool) -> None:
        """Remember a line until it is known whether what follows tells something."""
        if len(self.before) == BEFORE:
            self.told.left_out += 1
        self.before.append((number, raw[:2000], cut))

    def give(self, number: int, raw: bytes, cut: bool) -> Line:
        gap = bool(self.given) and number != self.given + 1
        self.given = number
        return Line(number, raw, cut, gap)

    def last(self) -> Iterator[Line]:
        """The last one of each kind, and the end of the log."""
        rest = dict((number, (raw, cut)) for number, raw, cut in self.latest.values())
        rest.update((number, (raw, cut)) for number, raw, cut in self.before)
        for number in sorted(rest):
            if number > self.given:
                yield self.give(number, *rest[number])
