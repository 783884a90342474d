"""The diagnosis as a page of text for a terminal: verdict, causes with proof and cure, what was not
checked."""

from __future__ import annotations

from ..model import Diagnosis, Evidence
from . import units
from .findings import finding_text, missing, named, services_with_state, undecided
from .output import MARKS
from .triage import verdict_line

COLOURS = {"critical": "red", "warning": "yellow", "unknown": "yellow", "ok": "green"}


def page(diagnosis: Diagnosis, evidence: Evidence, *, wide: int = 100) -> list[tuple[str, str]]:
    """Lines with a colour each (a name that click knows, or empty). A terminal without colours loses
    nothing."""
    live = evidence.origin == "live"
    source = "live" if live else "recorded evidence, not a live stack"
    lines = [
        (
            f"{MARKS[diagnosis.verdict]} {diagnosis.verdict.upper()}  {verdict_line(diagnosis)}",
            COLOURS[diagnosis.verdict],
        ),
        (f"  {source}, taken {units.moment(evidence.taken_at)}", ""),
    ]
    if diagnosis.settling:
        lines.append((f"  settling: {'; '.join(diagnosis.settling)}", "yellow"))
    causes = diagnosis.cause_findings
    if causes:
        lines += _head("Causes, in the order in which to cure them" if len(causes) > 1 else "Cause")
    for number, finding in enumerate(causes, 1):
        first, *rest = finding_text(finding, number=number, wide=wide).split("\n")
        lines.append(
            (first, "red" if finding.state == "active" and finding.severity == "critical" else "yellow")
        )
        lines += [(line, _tone(line)) for line in rest]
        following = diagnosis.consequences(finding.id)
        if following:
            lines.append((f"   explains {named(following)}", ""))
        lines.append(("", ""))
    shown = {f.id for f in causes} | {f.id for f in diagnosis.findings if f.explained_by}
    others = [f for f in diagnosis.findings if f.id not in shown]
    if others:
        lines += _head("Also seen")
        lines += [
            (
                f"{MARKS[f.state]} {f.state}  {f.title} ({f.code}, "
                f"{units.listed(services_with_state(f)) if f.services else 'the stack'})",
                "",
            )
            for f in others
        ]
    lines += _unknown(diagnosis, evidence)
    return lines


def _unknown(diagnosis: Diagnosis, evidence: Evidence) -> list[tuple[str, str]]:
    sections, outcomes = missing(evidence), undecided(diagnosis, evidence)
    if not sections and not outcomes:
        return []
    lines = _head("Not checked, and why")
    for section in sections:
        open_for = [
            f"{o.code} {o.name}"
            for o in diagnosis.outcomes
            if o.outcome == "unknown" and section.name in o.missing
        ]
        lines.append((f"? {section.name}: {section.status.replace('_', ' ')}, {section.why}", "yellow"))
        lines += [(f"    open for it: {units.listed(open_for)}", "")] if open_for else []
    for outcome in outcomes:
        broke = " broke, which is a fault of this tool" if outcome.outcome == "broken" else ""
        lines.append((f"? {outcome.code} {outcome.name}{broke}: {outcome.why}", "yellow"))
    return lines


def _head(text: str) -> list[tuple[str, str]]:
    return [("", ""), (text, "bold")]


def _tone(line: str) -> str:
    body = line.strip()
    return (
        "red"
        if line.startswith("     - ") and body.startswith("- ")
        else "green"
        if line.startswith("     + ")
        else ""
    )
