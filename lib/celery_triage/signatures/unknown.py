"""Errors in a log that no signature knows, grouped by their shape: nothing is dropped."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from celery_triage.signatures.blocks import blocks
from celery_triage.signatures.catalogue import Signature
from celery_triage.signatures.formats import Block
from celery_triage.signatures.matching import match_blocks
from celery_triage.signatures.speakers import DEATHS, in_pool, in_task, is_task, of_main
from celery_triage.signatures.tracebacks import CHAINED

_BAD = ("ERROR", "CRITICAL", "FATAL", "PANIC")
_LINE = re.compile(
    r"(?i)(?:^|[\s\[(:])(?:error|fatal|panic|critical|exception|traceback|cannot|can't|could not|failed"
    r"|failure|refused|denied|not found|no such|unable|killed|segmentation fault|out of memory"
    r"|timed out|timeout reached|timeout exceeded|gave up|giving up|aborting|crashed|crashing)\b"
    r"|^[A-Za-z_][\w.]*(?:Error|Exception)\b"
    r"|\b(?:level|lvl|severity)=\"?(?:error|fatal|panic|crit)"
    r"|(?-i:^(?:[a-z_]\w*\.)+[A-Z]\w+: |\b[A-Z]\w*(?:Error|Exception)\b)"
)
_VARIABLE = (
    (re.compile(r"0x[0-9a-fA-F]+"), "0x…"),
    (re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.,]*(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "<hex>"),
    (re.compile(r"'[^']{0,200}'"), "'…'"),
    (re.compile(r"\"[^\"]{0,200}\""), '"…"'),
    (re.compile(r"\d+"), "#"),
)


@dataclass(frozen=True)
class Shape:
    """Errors of one shape: how the first one reads, how often, the 1-based numbers of the lines (the first
    200), the times of the first and last. ``context``: ``task`` for what a task raised in a worker that
    goes on. ``source``: whose record it is, as a Block has it; ``end``: the 1-based number of the last line
    of the last one."""

    shape: str
    text: str
    level: str
    count: int
    lines: tuple[int, ...]
    first: str | None
    last: str | None
    context: str = "process"
    source: str = ""
    end: int = 0


def unrecognised(
    lines: Sequence[Sequence[str] | str],
    *,
    first_line: int = 1,
    signatures: Iterable[Signature] | None = None,
) -> tuple[Shape, ...]:
    """What looks like an error and no signature knows, most frequent first."""
    told = [["", "", line] if isinstance(line, str) else line for line in lines]
    cut = blocks(told)
    known: set[int] = set()
    match_blocks(told, cut, signatures=signatures, known=known)
    return unknown_blocks(told, cut, known, first_line=first_line)


def unknown_blocks(
    told: Sequence[Sequence[str]],
    cut: Sequence[Block],
    known: Collection[int],
    *,
    first_line: int = 1,
) -> tuple[Shape, ...]:
    """The same for lines that were cut into blocks and matched already; ``known``: the 0-based places of the
    lines that say something known."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    firsts: dict[tuple[str, str, str], tuple[str, str]] = {}
    ends: dict[tuple[str, str, str], int] = {}
    for block in cut:
        said = _error(block)
        if said is None or any(place in known for place in range(block.begin, block.end)):
            continue
        text, level = said
        key = (shape_of(text), level, "task" if _is_of_task(block) else "process")
        groups.setdefault(key, []).append(block.exceptions[-1].place if block.exceptions else block.place)
        # A record whose traceback was cut may well tell of its process's end.
        firsts.setdefault(key, (text, "" if block.cut and not block.exceptions else block.source))
        ends[key] = block.end - 1 + first_line
    shapes = [
        Shape(
            key[0],
            firsts[key][0][:500],
            key[1],
            len(places),
            tuple(place + first_line for place in places[:200]),
            told[places[0]][0] or None,
            told[places[-1]][0] or None,
            key[2],
            firsts[key][1],
            ends[key],
        )
        for key, places in groups.items()
    ]
    return tuple(sorted(shapes, key=lambda shape: (-shape.count, shape.lines)))


def _is_of_task(block: Block) -> bool:
    """Whether a task says it: all that a pool process logs beside Celery's own words is a task's."""
    return in_pool(block) or is_task(block.message) or in_task(block)


def shape_of(text: str) -> str:
    """A text without what changes from one time to the next: numbers, times, ids, quoted values."""
    text = text.split("\n", 1)[0][:500]
    for pattern, put in _VARIABLE:
        text = pattern.sub(put, text)
    return text


def _error(block: Block) -> tuple[str, str] | None:
    """The words and level of a block that speaks of an error, None for others."""
    if block.kind == "ignored":
        return block.message, "WARNING"
    if block.kind == "record" and block.message.startswith(DEATHS) and of_main(block):
        return block.message, block.level or "CRITICAL"  # it names what the process ended of
    if block.exceptions:
        last = block.exceptions[-1].text
        if block.kind == "record" and block.level and block.level not in (*_BAD, "WARNING"):
            return None
        return last, block.level or "ERROR"
    if block.kind == "record" and block.level:
        return (block.message, block.level) if block.level in _BAD else None
    if block.kind == "usage":
        return (block.message, "ERROR") if block.message else None
    if block.kind == "traceback":
        return "Traceback (cut off)", "ERROR"
    if block.message.strip() in CHAINED:
        return None
    return (block.message, "ERROR") if _LINE.search(block.message[:300]) else None
