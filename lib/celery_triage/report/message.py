"""The diagnosis as Markdown for a chat or a ticket: verdict, causes with proof and cure, what is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from celery_triage.model import Diagnosis, Edit, Evidence, Finding, Remedy
from celery_triage.report.blocks import Block, Code, Heading, Points, Prose, markdown
from celery_triage.show import units
from celery_triage.show.findings import missing, named, services_with_state, undecided
from celery_triage.show.output import MARKS, one_each, quotations
from celery_triage.show.triage import verdict_line

#: Causes that are written out, and proofs of each; a message has no room for more.
CAUSES, PROOFS = 6, 2


def message(diagnosis: Diagnosis, evidence: Evidence, report: str = "") -> str:
    """The message, with a newline at its end. ``report`` is the path of the report's first page, empty where
    there is none."""
    return markdown(_blocks(diagnosis, evidence, report))


def _blocks(diagnosis: Diagnosis, evidence: Evidence, report: str) -> Iterator[Block]:
    word = diagnosis.verdict.upper()
    yield Prose(f"{word} {verdict_line(diagnosis)}", diagnosis.verdict)
    source = "Live" if evidence.origin == "live" else "Recorded evidence, not a live stack"
    where = f" Report: `{report}`" if report else ""
    yield Prose(f"{source}, taken {units.moment(evidence.taken_at)}.{where}")
    if diagnosis.settling:
        yield Prose(f"Settling: {'; '.join(diagnosis.settling)}.")
    causes = diagnosis.cause_findings
    for number, finding in enumerate(causes[:CAUSES], 1):
        yield Heading(f"{number}. {finding.title}", 3)
        yield from _cause(diagnosis, finding)
    if causes[CAUSES:]:
        yield Heading("More causes", 3)
        yield Points(tuple(("", f"{finding.title} ({_judged(finding)})") for finding in causes[CAUSES:]))
    unknown = tuple(_unknown(diagnosis, evidence))
    if unknown:
        yield Heading("Not known", 3)
        yield Points(unknown)


def _judged(finding: Finding) -> str:
    return f"{MARKS[finding.state]} {finding.state}, {finding.certainty}, {finding.code} {finding.name}"


def _cause(diagnosis: Diagnosis, finding: Finding) -> Iterator[Block]:
    on = f", on {units.listed(services_with_state(finding))}" if finding.services else ""
    yield Prose(f"{_judged(finding)}{on}")
    for quote in quotations(finding.proof)[:PROOFS]:
        yield Prose(f"Proof, {units.listed(quote.sources, 3)}:")
        yield Code(quote.text)
    if finding.remedy is not None:
        yield from _remedy(finding.remedy)
    if finding.verify:
        yield Prose("Verify:")
        yield Points(tuple(("", _step(step)) for step in finding.verify))
    following = diagnosis.consequences(finding.id)
    if following:
        yield Prose(f"It explains {named(following)}.")


def _remedy(remedy: Remedy) -> Iterator[Block]:
    yield Prose(f"Fix ({remedy.kind}): {remedy.summary}")
    yield from _cure(remedy.edits, remedy.commands)
    if remedy.question:
        yield Prose(remedy.question)
    for option in remedy.options:
        yield Prose(f"{option.name}: {option.summary}")
        yield from _cure(option.edits, option.commands)
    if remedy.risk:
        yield Prose(f"Risk: {remedy.risk}")


def _cure(edits: Iterable[Edit], commands: Iterable[str]) -> Iterator[Block]:
    for change in one_each(edits):
        yield Prose(f"`{change.file}`" + (f", {change.lines}:" if change.lines else ":"))
        yield Code("\n".join((f"- {change.old}", *(f"+ {line}" for line in change.new_lines))), "diff")
    if lines := "\n".join(commands):
        yield Code(lines, "sh")


def _step(step: str) -> str:
    command, mark, expected = step.partition("  # ")
    return f"`{command}` {expected}" if mark else step


def _unknown(diagnosis: Diagnosis, evidence: Evidence) -> Iterator[tuple[str, str]]:
    for section in missing(evidence):
        codes = [o.code for o in diagnosis.outcomes if o.outcome == "unknown" and section.name in o.missing]
        still = f" (open for it: {units.listed(codes)})" if codes else ""
        yield "unknown", f"{section.name}: {section.status.replace('_', ' ')}, {section.why}{still}"
    for outcome in undecided(diagnosis, evidence):
        broke = " broke, which is a fault of this tool" if outcome.outcome == "broken" else ""
        yield "unknown", f"{outcome.code} {outcome.name}{broke}: {outcome.why}"


__all__ = ["message"]
