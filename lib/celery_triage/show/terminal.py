"""The diagnosis as a page of text for a terminal: verdict, causes with proof and cure, what was not
checked."""

from __future__ import annotations

from ..model import Diagnosis, Evidence
from . import units
from .findings import finding_text, named, services_with_state
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
    missing = [s for _, s in sorted(evidence.sections.items()) if s.status != "ok"]
    open_checks = [o for o in diagnosis.outcomes if o.outcome in ("unknown", "broken")]
    if not missing and not open_checks:
        return []
    lines = _head("Not checked, and why")
    lines += [(f"? {s.name}: {s.status.replace('_', ' ')}, {s.why}", "yellow") for s in missing]
    if open_checks:
        names = units.listed([f"{o.code} {o.name}" for o in open_checks if o.outcome == "unknown"])
        if names != "none":
            lines.append((f"  open for it: {names}", ""))
        lines += [
            (f"  {o.code} {o.name} broke, which is a fault of this tool: {o.why}", "yellow")
            for o in open_checks
            if o.outcome == "broken"
        ]
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
