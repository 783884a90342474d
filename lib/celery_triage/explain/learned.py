"""Prefixes that no format is known for, learned from the paste itself.

In: the first lines of a log. Out: patterns of what stands before them. A prefix is learned where something
follows that only begins a line (a log head of Celery or of a server, a traceback, one of its frames, a usage
error) and where it is made of stamps, brackets and at most two names, without a level: a wrapper's, no talk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from celery_triage.signatures.formats import head

#: So many lines at the front are looked at, and so many prefixes are learned.
LOOK, MOST = 400, 8
_BEGINS = re.compile(
    r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: \w+/[\w:.-]+\] |Traceback \(most recent call last\):\s*$"
    r"|File \"[^\"]+\", line \d+|Usage: \w|-{14} \S+@\S+ v\d|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3,6}"
    r"(?: \w{3,5} \[\d+\] [A-Z]+: |(?:\+\d\d:\d\d)? \[\w+\] <[\d.]+> )|\d+:[MSCX] \d\d \w{3} \d{4} "
)
_STAMP = r"\[?\d[\dT:.,/+Z-]*\]?"
_PREFIX = re.compile(
    rf"\s*(?:(?:{_STAMP}|\[[\w./:@ -]{{1,60}}\]|[\w.@/-]{{1,60}}(?:\[[\w.-]{{1,40}}\])?:?|[|>]) *){{1,5}}$"
)
#: What begins a line however far it stands from the margin.
_MOVED = re.compile(rf"(?:{_BEGINS.pattern}|[\w.]+(?:Error|Exception): |[a-z][\w.-]* +\| )")
#: A paste between backticks.
_QUOTED = re.compile(r"`{1,3} ?(?=Traceback |[\w.]+(?:Error|Exception): )")
#: The pod before a line of stern or kubetail.
_POD = re.compile(r"\w-[a-z0-9]{8,10}-[a-z0-9]{5}[\w-]*$|\w-\d{1,3}$")
_LEVEL = re.compile(r"\b(?:DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL)\b")
_NAME = re.compile(r"(?<![\w:.\[-])[A-Za-z_][\w.@/-]*")
_CHANGING = re.compile(r"\d+")


def learn(lines: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """The patterns of the prefixes of these lines."""
    found: dict[str, None] = {}
    lines = list(lines)
    if margin := _margin(lines):
        found.setdefault(" " * margin)
    if any(_QUOTED.match(text) for text in lines):
        found.setdefault(_QUOTED.pattern)
    for text in lines:
        begins = _BEGINS.search(text, 1, 240)
        if begins is None or len(found) >= MOST:
            continue
        before = text[: begins.start()].rstrip()
        if before and _is_prefix(before, text) and not _own_head(text, before):
            found.setdefault(_shape(before))
    return tuple(re.compile(shape) for shape in found)


def window_of(lines: Iterable[str]) -> int:
    """The width at which a terminal broke lines: the longest, where several lines have exactly that; 0."""
    widths = [len(text) for text in lines]
    widest = max(widths, default=0)
    return widest if 60 <= widest <= 300 and 2 <= widths.count(widest) <= len(widths) * 2 // 3 else 0


def _margin(lines: list[str]) -> int:
    """The blanks before every line, where one of them begins something: a paste that was moved in."""
    told = [text for text in lines if text.strip()]
    least = min((len(text) - len(text.lstrip(" ")) for text in told), default=0)
    return least if least and any(_MOVED.match(text, least) for text in told) else 0


def _is_prefix(before: str, text: str) -> bool:
    if len(before) > 120 or _LEVEL.search(before) or not _PREFIX.match(before):
        return False
    names = _NAME.findall(re.sub(r"\[[^\]]*\]", "", before))
    ends = before[-1] in ":|>]Z" or before[-1].isdigit() or before.split()[-1] in ("OUT", "ERR")
    stamped = bool(re.match(r"\s*\[?\d", before))
    pod = bool(names and _POD.search(names[0]))
    return len(names) <= 2 and (ends or stamped or pod)


def _own_head(text: str, before: str) -> bool:
    """Whether what stands there is the head of the record itself (a server's stamp before its level)."""
    record = head(text)
    return record is not None and record.source != "app" and len(text) - len(record.message) > len(before)


def _shape(before: str) -> str:
    """The prefix as a pattern: numbers may be others, and one blank behind it is its own."""
    parts = _CHANGING.split(before)
    return r"\d+".join(re.escape(part) for part in parts) + r"(?: |(?=\[)|$)"
