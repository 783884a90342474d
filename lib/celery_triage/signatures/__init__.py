"""Known messages in logs: what they mean, which rule they are a witness of, in which role they were said.
Pure.

The messages are data (``data/signatures.yml``); a log is first cut into blocks (a log record with what
belongs to it, a traceback, a usage error), so that a text which an application only quotes is told apart
from a process's own words."""

from __future__ import annotations

from celery_triage.signatures.blocks import blocks
from celery_triage.signatures.catalogue import Invalid, Signature, catalogue, in_order, load
from celery_triage.signatures.formats import Block, Exc
from celery_triage.signatures.matching import CONTEXTS, Match, match, match_blocks
from celery_triage.signatures.unknown import Shape, unknown_blocks, unrecognised

__all__ = [
    "CONTEXTS",
    "Block",
    "Exc",
    "Invalid",
    "Match",
    "Shape",
    "Signature",
    "blocks",
    "catalogue",
    "in_order",
    "load",
    "match",
    "match_blocks",
    "unknown_blocks",
    "unrecognised",
]
