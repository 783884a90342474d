"""The page of all rules, so that a report explains itself without a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..model import Diagnosis
from .pages import Page, render
from .safe import markdown


def page(diagnosis: Diagnosis, navigation: Sequence[Page], report: dict[str, Any]) -> str:
    """``rules.html``: each rule's own page (its docstring) with what became of it in this report."""
    from ..checks import RULES

    outcomes = {outcome.code: outcome for outcome in diagnosis.outcomes}
    rules = []
    for code in sorted(RULES):
        rule = RULES[code]
        outcome = outcomes.get(code)
        said = (
            f"{outcome.outcome.replace('_', ' ')}{': ' + outcome.why if outcome.why else ''}"
            if outcome
            else ""
        )
        rules.append(
            {
                "code": code,
                "name": rule.name,
                "severity": rule.severity,
                "outcome": said,
                "html": markdown(rule.page),
            }
        )
    return render("rules.html", here="rules.html", pages=navigation, report=report, rules=rules)
