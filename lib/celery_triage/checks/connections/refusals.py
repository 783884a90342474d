"""Why PostgreSQL refused a login, by its own log.

To the client it says the same for a wrong password, a role that is not there and a role without a password
(``password authentication failed``); the reason stands only in the ``DETAIL`` line below it in the server's
log (``src/backend/libpq/auth.c`` and ``crypt.c`` of PostgreSQL 10 to 18; 15 run here).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery_triage.checks.registry import Look
from celery_triage.model import Proof

_FATAL = re.compile(r'FATAL: {1,2}\w[\w ]{0,40} authentication failed for user "(?P<user>[^"]+)"')
_DETAIL = re.compile(r"DETAIL: {1,2}(?P<text>.+)")
_REASONS = (
    ("no_role", re.compile(r'Role "[^"]+" does not exist')),
    ("no_password", re.compile(r'User "[^"]+" has no password assigned')),
    ("expired", re.compile(r'User "[^"]+" has an expired password')),
    ("wrong", re.compile(r"Password does not match for user")),
)
#: Lines between a refusal and its detail: other sessions write there, too.
_NEAR = 6


@dataclass(frozen=True)
class Refusal:
    """One refused login: its ``reason`` (no_role, no_password, expired, wrong) and the line that says it."""

    reason: str
    proof: Proof


def last_refusal(look: Look, server: Mapping[str, Any], user: str | None) -> Refusal | None:
    """The reason that the log of a server's container gives for the newest refusal of a user; None where
    it gives none."""
    label = server.get("container") or ""
    owner = look.stack.get(label)
    if owner is None or not user:
        return None
    course = look.course(owner)
    if course.told is None:
        return None
    lines = course.lines(course.told)
    first = course.told.first_line or 1
    for place in range(len(lines) - 1, -1, -1):
        told = _FATAL.search(lines[place][2])
        if told and told["user"] == user:
            return _reason(label, lines, place, first, user)
    return None


def _reason(label: str, lines, place: int, first: int, user: str) -> Refusal | None:
    for number in range(place + 1, min(place + 1 + _NEAR, len(lines))):
        text = lines[number][2]
        detail = _DETAIL.search(text)
        if detail is None or (f'"{user}"' not in text):
            continue
        for reason, pattern in _REASONS:
            if pattern.search(detail["text"]):
                return Refusal(reason, Proof(f"logs/{label}", text, first + number, lines[number][0] or None))
    return None
