"""Diagnose any pasted log, without Docker: who speaks, what each says, what it means. Contacts nothing.

``explain`` takes open inputs and gives an ``Explanation``; ``showing`` has its page and its JSON, in which
secrets are masked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import BinaryIO

from celery_triage.explain.judged import Judged
from celery_triage.explain.judging import judge
from celery_triage.explain.learned import LOOK, learn, window_of
from celery_triage.explain.prefixes import ENGINE, told
from celery_triage.explain.reading import Read, read, rest_of
from celery_triage.explain.records import unfolded
from celery_triage.explain.subjects import Subject, Subjects
from celery_triage.redact import clean
from celery_triage.signatures import Signature, catalogue, in_order
from celery_triage.signatures.formats import head

__all__ = ["Explanation", "Judged", "Read", "Subject", "explain"]
#: A message that a container runtime broke into parts is put together up to here (characters).
LONGEST_PART = 1 << 16
#: Of one line so much is looked at for a prefix to learn (bytes).
LONGEST_LOOKED = 400


@dataclass
class Explanation:
    """What the inputs say. ``read`` by name of the input."""

    judged: Judged
    subjects: list[Subject]
    read: dict[str, Read] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Of inputs in which nothing could be read nothing is known, nor where the rest of a line that was
        cut may tell of trouble and nothing else does."""
        told = self.judged.verdict if self.subjects else "unknown"
        return "unknown" if told == "ok" and any(one.unseen for one in self.read.values()) else told


def explain(
    inputs: Iterable[tuple[str, BinaryIO]], signatures: Sequence[Signature] | None = None
) -> Explanation:
    """Read inputs (name, open binary stream) to their end and judge them. ``signatures`` come before the
    tool's own. Raises OSError where an input cannot be read."""
    subjects = Subjects(in_order((*(signatures or ()), *catalogue())))
    all_read = {}
    for name, stream in inputs:
        one = all_read[name] = Read()
        _feed(subjects, name, stream, one)
    found = subjects.end()
    return Explanation(judge(found), found, all_read)


def _feed(subjects: Subjects, source: str, stream: BinaryIO, one: Read) -> None:
    name = replica = part = ""
    named = ("", "")
    begun = 0
    lines = read(stream, one)
    first = list(islice(lines, 1))
    if first and one.binary:
        for _ in rest_of(stream, one):  # to its end, so that whoever writes into a pipe sees no error
            pass
        return
    first += islice(lines, LOOK)
    learned = learn(told(clean(line.raw[:LONGEST_LOOKED])).text for line in first)
    window = window_of(clean(line.raw[:LONGEST_LOOKED]) for line in first)
    waiting: list | None = None  # the line before, which may go on in this one
    width = 0
    for line in chain(first, lines):
        if line.after_gap:
            subjects.put(source, name, replica, line.number - 1, "", "")
        cleaned = clean(line.raw)
        text = told(cleaned, learned)
        filled, width = window and width == window, len(cleaned)
        if text.names:
            name, replica, part = text.names.strip(), "", ""
            named = ("", "")
            continue
        if text.name:
            named = name_now, replica_now = text.name, text.replica
        elif ENGINE.match(text.text):
            name_now, replica_now = "", ""
        elif named[0] and text.text and not text.time and head(text.text) is None:
            name_now, replica_now = named  # a terminal broke the line before it
            if filled and waiting is not None:
                waiting[4] += text.text
                continue
        else:
            name_now, replica_now = name, replica
        if text.partial and len(part) < LONGEST_PART:
            part, begun = part + text.text, begun or line.number
            continue
        whole, number = part + text.text, begun or line.number
        part, begun = "", 0
        for piece in (part for one in (whole, *text.more) for part in unfolded(one)):
            if waiting is not None:
                subjects.put(*waiting)
            waiting = [source, name_now, replica_now, number, piece, text.time]
    if waiting is not None:
        subjects.put(*waiting)
    if part:
        subjects.put(source, name, replica, begun, part, "")
