"""Compose files judged before they are deployed: the same codes as the live rules, as far as files can show.

``lint`` reads the files as Compose would and gives a ``Linted``; nothing is started and nobody is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celery_triage.lint.project import load
from celery_triage.model import SEVERITIES, Diagnosis, Evidence, Finding, Outcome, Section, worst

if TYPE_CHECKING:
    from celery_triage.lint.subject import Subject

__all__ = ["Linted", "lint"]


@dataclass(frozen=True)
class Linted:
    """What came of one project. ``unreadable``: files that could not be read, with the sentence why;
    ``notes``: what no static reading can know, as (about, why, codes)."""

    diagnosis: Diagnosis
    services: tuple[str, ...]
    celery: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    notes: tuple[tuple[str, str, tuple[str, ...]], ...]
    how: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        return self.diagnosis.verdict


def lint(paths: Sequence[str], env_files: Sequence[str] = ()) -> Linted:
    """Judge these files as one project, merged in this order as Compose merges ``-f`` files."""
    from celery_triage.lint.rules import STATIC
    from celery_triage.lint.subject import Subject

    project = load(paths, env_files)
    subject = Subject(project)
    findings: list[Finding] = []
    outcomes: dict[str, Outcome] = {}
    for rule in STATIC:
        try:
            told = list(rule.judge(subject))
        except Exception as error:  # a bug of ours: it is said, and the other rules go on
            outcomes[rule.code] = Outcome(rule.code, rule.name, "broken", f"{type(error).__name__}: {error}")
            continue
        findings += told
        if rule.code not in outcomes or told:
            outcomes[rule.code] = Outcome(rule.code, rule.name, "fired" if told else "quiet")
    _open(subject.notes, outcomes)
    ranked = _ranked(findings)
    unreadable = [(doubt.path, doubt.why) for doubt in project.doubts]
    if subject.beyond:
        unreadable.append((project.paths[0], subject.beyond))
    pins = {subject.pin(service).how: service.label for service in subject.celery}
    return Linted(
        Diagnosis(
            ", ".join(paths),
            datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            _verdict(ranked, subject, outcomes),
            ranked,
            tuple(one.id for one in ranked if one.severity != "notice"),
            tuple(outcomes[code] for code in sorted(outcomes)),
            origin="files",
        ),
        tuple(service.label for service in subject.services),
        tuple(service.label for service in subject.celery),
        tuple(unreadable),
        tuple((about, why, tuple(sorted(codes))) for (about, why), codes in subject.notes.items()),
        tuple(how for how in pins if how),
    )


def _open(notes: dict[tuple[str, str], set[str]], outcomes: dict[str, Outcome]) -> None:
    """A rule that a note leaves open is unknown, not quiet."""
    for (about, why), codes in notes.items():
        for code in codes:
            told = outcomes.get(code)
            if told is not None and told.outcome == "quiet":
                outcomes[code] = replace(told, outcome="unknown", why=f"{about}: {why}", missing=("compose",))


def _ranked(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Worst first, then in the order of the files; with ids."""

    def key(finding: Finding) -> tuple:
        first = finding.proof[0] if finding.proof else None
        where = (first.section, first.line or 0) if first else ("", 0)
        return (SEVERITIES.index(finding.severity), where, finding.code)

    return tuple(replace(one, id=f"f{number}") for number, one in enumerate(sorted(findings, key=key), 1))


def _verdict(findings: Sequence[Finding], subject: Subject, outcomes: dict[str, Outcome]) -> str:
    told = [one.severity for one in findings if one.severity != "notice"]
    unread = subject.beyond or any(not doubt.missing or doubt.given for doubt in subject.project.doubts)
    if unread or any(one.outcome == "broken" for one in outcomes.values()):
        told.append("unknown")
    return worst(told)


def as_json(linted: Linted) -> dict[str, Any]:
    """The same keys as a diagnosis of a running stack (schema 1)."""
    from celery_triage.summary import summary

    why = "; ".join(f"{path}: {text}" for path, text in linted.unreadable)
    evidence = Evidence(
        linted.diagnosis.target,
        linted.diagnosis.taken_at,
        {"compose": Section("compose", "partial" if why else "ok", {}, why=why)},
        origin="files",
    )
    told = summary(linted.diagnosis, evidence)
    told["services"] = list(linted.services)
    told["core_missing"] = [f"{path}: {text}" for path, text in linted.unreadable]
    told["unknown"] = [
        {"section": about, "status": "partial", "why": text, "checks": list(codes)}
        for about, text, codes in linted.notes
    ] + [
        {"section": path, "status": "unreachable", "why": text, "checks": []}
        for path, text in linted.unreadable
    ]
    return told
