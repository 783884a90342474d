"""One thing that Celery refuses on its command line."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = (
    "unknown_option",
    "missing_value",
    "bad_value",
    "unknown_command",
    "no_command",
    "misplaced_option",
    "unexpected_argument",
    "flower_value",
)


@dataclass(frozen=True)
class Problem:
    """One thing that Celery refuses. ``token`` is the word as written, ``index`` its place in ``argv``;
    ``option`` the bare option; ``candidates`` what was probably meant, best first; ``message`` the sentence
    that click ends with (for ``flower_value`` Tornado, see ``flower``); ``before_app`` whether it stops
    Celery before the application module is imported."""

    kind: str
    token: str
    message: str
    candidates: tuple[str, ...] = ()
    index: int | None = None
    option: str = ""
    before_app: bool = False
