"""Tracebacks that were printed in a Celery process, which makes a record of every write."""

from __future__ import annotations

import re
from collections.abc import Sequence

from celery_triage.signatures.formats import Block, Exc
from celery_triage.signatures.tracebacks import CHAINED, EXCEPTION, FRAME, NAMED, path_of

_PIECES = re.compile(r"((?:_?\w+\.)+(?:error|[A-Z]\w+)): ?(.+)")


def joined(found: list[Block]) -> list[Block]:
    """Celery's beat and worker turn what is printed into records, one for each ``write``: a traceback that
    is printed so becomes hundreds of them. They are put together again; where the block before shows its
    exception already, they belong to that."""
    kept: list[Block] = []
    run: list[Block] = []
    for number, block in enumerate(found):
        printed = _is_printed(block)
        begins = printed and (
            block.message.startswith("Traceback (most recent call last):")
            or FRAME.match(block.message) is not None
            or _names(block.message, found[number + 1 : number + 2])
            or _spells(found[number : number + 4])
        )
        if begins or (run and printed):
            run.append(block)
            continue
        _put(kept, run)
        run = []
        kept.append(block)
    _put(kept, run)
    return kept


def _is_printed(block: Block) -> bool:
    return block.kind == "record" and block.source == "celery" and block.level == "WARNING"


def _names(message: str, after: Sequence[Block]) -> bool:
    """Whether a printed record is the last line of a traceback whose rest was cut away: what is printed
    behind it shows that more of it was printed."""
    following = after[0].message.strip() if after and _is_printed(after[0]) else ""
    if not NAMED.match(message.split("\n", 1)[0]):
        return False
    return following == ":" or following in CHAINED or "dbm.error: " in message


def _spells(blocks: Sequence[Block]) -> bool:
    """Whether printed records are the module, the dot, the name and the colon of an exception."""
    words = [block.message.strip() for block in blocks if _is_printed(block)]
    return len(words) == 4 and words[1] == "." and words[3] == ":" and words[0].isidentifier()


def _put(kept: list[Block], run: list[Block]) -> None:
    """Add a traceback that was printed as records: its last exception is type, colon and message, one write
    each."""
    if not run:
        return
    if kept and kept[-1].exceptions:
        kept[-1].end = run[-1].end
        return
    whole = Block("traceback", run[0].begin, run[-1].end, source="celery", place=run[0].begin)
    files = [path_of(found[1]) for found in (FRAME.match(block.message) for block in run) if found]
    if (end := _in_pieces(run)) is not None:
        whole.exceptions.append(Exc(*end, files))
        run = run[:0]
    for place, block in enumerate(run):
        after = [one.message for one in run[place + 1 : place + 3]]
        if len(after) == 2 and after[0].strip() == ":" and EXCEPTION.fullmatch(block.message.strip()):
            whole.exceptions.append(Exc(block.message.strip(), after[1], block.begin, files))
        elif NAMED.match(block.message.split("\n", 1)[0]):  # one write for each line
            name, _, message = block.message.partition(": ")
            whole.exceptions.append(Exc(name.rstrip(":\n"), message, block.begin, files))
    kept.append(whole)


def _in_pieces(run: Sequence[Block]) -> tuple[str, str, int] | None:
    """Type, message and place of an exception of which each piece was a write of its own (Python 2 writes its
    module, a dot and its name)."""
    for begin in range(max(0, len(run) - 8), len(run) - 2):
        whole = "".join(block.message for block in run[begin:]).strip()
        if found := _PIECES.fullmatch(whole):
            return found[1], found[2], run[begin].begin
    return None
