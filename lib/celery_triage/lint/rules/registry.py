"""What a static rule is, and how it comes into the list."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from celery_triage.lint.reading import Node
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding, Remedy
from celery_triage.stack import Service

#: An option in a sentence, and the blank behind it.
_OPTION = re.compile(r"(--?[\w-]+)( )")


@dataclass(frozen=True)
class Static:
    """A rule on Compose files. ``page`` is its docstring."""

    code: str
    name: str
    severity: str
    judge: Callable[[Subject], Iterator[Finding]] = field(repr=False)
    page: str = field(repr=False, default="")
    needs: tuple[str, ...] = ("compose",)


#: All static rules in the order in which they are judged.
STATIC: list[Static] = []
#: Those that only a file can show, by code.
PAGES: dict[str, Static] = {}


def static(code: str, name: str, severity: str = "warning"):
    """Enter a function into the list. ``severity`` is the worst that it reports."""

    def enter(function: Callable[[Subject], Iterator[Finding]]) -> Callable[[Subject], Iterator[Finding]]:
        rule = Static(code, name, severity, function, inspect.getdoc(function) or "")
        STATIC.append(rule)
        if code.startswith("CMP"):
            PAGES[code] = rule
        return function

    return enter


def found(
    subject: Subject,
    code: str,
    name: str,
    severity: str,
    title: str,
    nodes: Iterable[Node],
    *,
    services: Iterable[Service | str] = (),
    thing: str = "",
    fix: str = "",
    detail: str = "",
) -> Finding:
    """One finding of a static rule. Nothing of it was seen at work, so it is never confirmed."""

    def masked(text: str) -> str:
        # The values are known and masked by themselves; a word of ours behind `--auth` is no secret.
        return subject.redactor.text(_OPTION.sub("\\1\ue010\\2", text)).replace("\ue010", "")

    labels = tuple(one if isinstance(one, str) else one.label for one in services)
    return Finding(
        code,
        name,
        severity,
        masked(title),
        labels,
        masked(thing),
        certainty="inferred",
        proof=subject.quotes(nodes),
        remedy=Remedy("manual", masked(fix)) if fix else None,
        detail=masked(detail),
    )
