"""A diagnosis as the published JSON (``--json``, ``summary.json``): schema 1, see
``data/summary.schema.json``."""

from __future__ import annotations

from typing import Any

from celery_triage import core
from celery_triage.checks import RULES
from celery_triage.model import SCHEMA, Diagnosis, Evidence, Finding, Remedy, plain
from celery_triage.stack import Stack


def summary(diagnosis: Diagnosis, evidence: Evidence) -> dict[str, Any]:
    """The diagnosis as plain data. ``evidence`` gives the sections that could not be had and the versions of
    the tools that looked."""
    return {
        "schema": SCHEMA,
        "verdict": diagnosis.verdict,
        "target": diagnosis.target,
        "taken_at": diagnosis.taken_at,
        "origin": diagnosis.origin,
        "versions": dict(evidence.tool),
        "settling": list(diagnosis.settling),
        "services": [service.label for service in Stack.of(evidence).members],
        "causes": list(diagnosis.causes),
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "unknown": unknown(diagnosis, evidence),
        "core_missing": list(core.missing(evidence)),
        "checks": [
            {"code": outcome.code, "name": outcome.name, "outcome": outcome.outcome, "why": outcome.why}
            for outcome in diagnosis.outcomes
        ],
    }


def unknown(diagnosis: Diagnosis, evidence: Evidence) -> list[dict[str, Any]]:
    """Each section that could not be had, or only in part, with the rules that could not be quiet for it."""
    found = {}
    for outcome in diagnosis.outcomes:
        for name in outcome.missing:
            if outcome.outcome in ("unknown", "fired"):
                found.setdefault(name, []).append(outcome.code)
    names = {name for name, section in evidence.sections.items() if section.status != "ok"} | set(found)
    rows = []
    for name in sorted(names):
        section = evidence.section(name)
        why = section.why or next(
            (outcome.why for outcome in diagnosis.outcomes if name in outcome.missing), ""
        )
        rows.append(
            {"section": name, "status": section.status, "why": why, "checks": sorted(found.get(name, []))}
        )
    return rows


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity,
        "state": finding.state,
        "service_states": dict(finding.service_states),
        "certainty": finding.certainty,
        "services": list(finding.services),
        "object": finding.object,
        "title": finding.title,
        "detail": finding.detail,
        "step": RULES[finding.code].step if finding.code in RULES else "",
        "proof": [plain(proof) for proof in finding.proof],
        "explained_by": finding.explained_by,
        "remedy": None if finding.remedy is None else _remedy(finding.remedy),
        "verify": list(finding.verify),
    }


def _remedy(remedy: Remedy) -> dict[str, Any]:
    return plain(remedy)
