"""One of two looks that are compared: its evidence, and what the rules of now say of it.

The evidence of a report is diagnosed afresh, so that both looks are measured with the same rules. What the
report itself told stays: its ids, and causes that these rules do not find in its evidence any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from celery_triage import bundle
from celery_triage.causes import diagnose
from celery_triage.checks.course import Courses
from celery_triage.model import Diagnosis, Evidence, Finding, Outcome
from celery_triage.redact import clean
from celery_triage.report import archive
from celery_triage.stack import Stack


class NotReadable(ValueError):
    """A folder is no report and no bundle, or holds what cannot be read; the text is one sentence."""


@dataclass(frozen=True)
class Side:
    """One look: evidence, its diagnosis by the rules of now, and remarks on how they were read."""

    evidence: Evidence
    diagnosis: Diagnosis
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, evidence: Evidence) -> Side:
        return cls(evidence, diagnose(evidence))

    @cached_property
    def stack(self) -> Stack:
        return Stack.of(self.evidence)

    @cached_property
    def courses(self) -> Courses:
        return Courses(self.evidence, self.stack)

    def outcome(self, code: str) -> Outcome | None:
        """What became of a rule; None for one that does not exist (any more)."""
        return next((one for one in self.diagnosis.outcomes if one.code == code), None)

    def critical(self, label: str) -> Finding | None:
        """Something critical that is found on a service now."""
        found = (one for one in self.diagnosis.findings if label in one.services and one.state != "history")
        return next((one for one in found if one.severity == "critical"), None)

    def named(self, finding: Finding) -> set[str]:
        """The services of a finding by the names that stay: the Compose service, else the label."""
        found = ((label, self.stack.get(label)) for label in finding.services)
        return {str(service.item.get("service") or label) if service else label for label, service in found}


def read(path: str | Path) -> Side:
    """A report (a folder with ``summary.json`` and ``evidence/``) or a bundle of evidence. NotReadable."""
    folder = Path(path)
    if not folder.is_dir():
        raise NotReadable(f"there is no folder {folder}")
    inside = folder / "evidence"
    is_report = not (folder / "manifest.json").exists() and inside.is_dir()
    try:
        evidence = bundle.load(inside if is_report else folder)
    except (OSError, ValueError) as error:
        what = "the report's evidence" if is_report else f"{folder}, as a report or as a bundle of evidence,"
        raise NotReadable(f"{what} cannot be read: {error}") from None
    side = Side.of(evidence)
    if not is_report:
        return side
    summary = archive.read_summary(folder / "summary.json")
    if summary is None:
        remark = "its summary.json cannot be read: its causes are those of its evidence"
        return replace(side, remarks=(remark,))
    return with_told(side, summary)


def with_told(side: Side, summary: Mapping[str, Any]) -> Side:
    """A look with the ids of its report, and with the causes that only the report told. NotReadable."""
    told = [_told(entry) for entry in _list(summary, "findings")]
    causes = [id for id in _list(summary, "causes") if isinstance(id, str)]
    ids: dict[str, str] = {}
    only = []
    for finding in told:
        match = next(
            (
                own
                for own in side.diagnosis.findings
                if own.id not in ids and own.fingerprint == finding.fingerprint
            ),
            None,
        )
        if match is not None:
            ids[match.id] = finding.id
        elif finding.id in causes:
            only.append(finding)
    remarks = tuple(
        f"the rules of now do not find what the report told: {one.title} ({one.code})" for one in only
    )
    ids.update({own.id: f"+{own.id}" for own in side.diagnosis.findings if own.id not in ids})
    findings = [
        replace(own, id=ids[own.id], explained_by=ids.get(own.explained_by or ""))
        for own in side.diagnosis.findings
    ]
    known = {finding.id for finding in (*findings, *only)}
    order = [*(id for id in causes if id in known), *(ids[id] for id in side.diagnosis.causes)]
    diagnosis = replace(side.diagnosis, findings=(*findings, *only), causes=tuple(dict.fromkeys(order)))
    return replace(side, diagnosis=diagnosis, remarks=(*side.remarks, *remarks))


def _list(summary: Mapping[str, Any], key: str) -> list[Any]:
    value = summary.get(key)
    if not isinstance(value, list):
        raise NotReadable(f"summary.json is not as it should be: {key} must be a list")
    return value


def _told(entry: Any) -> Finding:
    """A finding as a report told it: what it was about, not its proof and remedy."""
    try:
        keys = ("id", "code", "name", "severity", "title", "object", "state")
        texts = {key: clean(entry[key]) for key in keys}
        services = tuple(clean(name) for name in entry["services"])
        steps = tuple(clean(step) for step in entry.get("verify") or ())
        return Finding(**texts, services=services, verify=steps)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotReadable(f"summary.json has a finding that is not as it should be: {error}") from None


__all__ = ["NotReadable", "Side", "read", "with_told"]
