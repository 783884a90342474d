"""The rules: pure functions from evidence to findings, one module for each subject.

``RULES`` holds them by code; ``run`` judges an evidence with all of them. A new module in this package is
found by itself.
"""

from __future__ import annotations

import importlib
import pkgutil

from celery_triage.checks.course import Courses
from celery_triage.checks.registry import HEADINGS, RULES, Look, NotApplicable, Prediction, Rule, check, judge
from celery_triage.checks.steps import STEPS
from celery_triage.model import Evidence, Finding, Outcome
from celery_triage.stack import Stack

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")


def run(evidence: Evidence) -> tuple[tuple[Finding, ...], tuple[Outcome, ...]]:
    """All findings and the outcome of every rule, in the order of the codes. Never raises for a broken rule:
    that is its outcome."""
    stack = Stack.of(evidence)
    courses = Courses(evidence, stack)
    findings: list[Finding] = []
    outcomes: list[Outcome] = []
    for code in sorted(RULES):
        found, outcome = judge(RULES[code], Look(evidence, RULES[code], stack=stack, courses=courses))
        findings += found
        outcomes.append(outcome)
    return tuple(findings), tuple(outcomes)


__all__ = [
    "HEADINGS",
    "RULES",
    "STEPS",
    "Look",
    "NotApplicable",
    "Prediction",
    "Rule",
    "check",
    "judge",
    "run",
]
