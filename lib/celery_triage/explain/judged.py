"""What a judgement over pasted logs holds: plain data, made by ``judging``, shown by ``showing``."""

from __future__ import annotations

from dataclasses import dataclass, field

from celery_triage.model import Finding


@dataclass(frozen=True)
class Own:
    """An exception of the application's own code, in a task or logged by it: no cause of an outage."""

    subject: str
    text: str
    count: int
    lines: tuple[int, ...]


@dataclass(frozen=True)
class Harmless:
    """Something known that means no harm, and why."""

    subject: str
    signature: str
    says: str
    why: str
    count: int
    lines: tuple[int, ...]


@dataclass(frozen=True)
class Strange:
    """Errors of one shape that nothing recognises. ``ends``: they are the last words of the subject."""

    subject: str
    shape: str
    text: str
    level: str
    count: int
    lines: tuple[int, ...]
    ends: bool = False


@dataclass
class Judged:
    """All of it. ``findings`` hold the causes first, in order."""

    verdict: str
    findings: list[Finding] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    harmless: list[Harmless] = field(default_factory=list)
    own: list[Own] = field(default_factory=list)
    strange: list[Strange] = field(default_factory=list)
    quoted: int = 0
