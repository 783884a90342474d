"""Findings as cards and as text, and what could not be checked."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence, Set
from typing import TYPE_CHECKING

from markupsafe import Markup

from ..model import Diagnosis, Edit, Evidence, Finding, Outcome, Section
from . import units
from .output import MARKS, Cell, Shown, one_each, quotations, render, sentence, stacked, table

if TYPE_CHECKING:
    from ..notebook import Look


def card(
    finding: Finding,
    *,
    number: int = 0,
    level: int = 3,
    anchor: str = "",
    rule_link: str = "",
    context: tuple[str, str] = ("", ""),
) -> Shown:
    """One finding with its proof, remedy and verification.

    ``level`` is the heading level on the page, ``rule_link`` leads to the rule's page, ``context`` is the
    link to the runbook that shows the finding in context, and its label.
    """
    html = render(
        "finding.html",
        finding=finding,
        number=number,
        level=level,
        anchor=anchor,
        rule_link=rule_link,
        context=context if context[0] else None,
    )
    return Shown(html, finding_text(finding, number=number))


def first(finding: Finding, number: int, *, level: int = 3) -> Shown:
    """A cause for who has ten seconds: what, how sure, what to do and what that costs. The proof stands in
    its card, on the same page."""
    html = render("first.html", finding=finding, number=number, level=level)
    return Shown(html, finding_text(finding, number=number))


def cards(findings: Iterable[Finding], *, empty: str = "Nothing found.") -> Shown:
    """Findings below each other, in the order given."""
    shown = [card(finding) for finding in findings]
    return stacked(*shown) if shown else sentence(empty, "ok")


def brief(findings: Iterable[Finding], label: str = "") -> Shown:
    """Findings as rows: what, its rule, and where it is seen. For consequences, which need no cure of
    their own. ``label`` says which findings these are, for who hears the page; each rule's name leads to its
    page of the report."""
    rows = []
    for finding in findings:
        seen = [f"{quote.sources[0]}: {quote.text}" for quote in quotations(finding.proof)[:2]]
        rows.append(
            (finding.title, _to_rule(finding), Cell("\n".join(seen) or "–", code=True))
        )
    return table(("What", "Rule", "Seen in"), rows, label=label)


def _to_rule(finding: Finding) -> Cell:
    name = f"{finding.code} {finding.name}"
    return Cell(name, html=Markup('<a href="rules.html#{}">{}</a>').format(finding.code, name))


def finding_text(finding: Finding, *, number: int = 0, wide: int = 110) -> str:
    """A finding as plain text: the same words as the card."""
    head = f"{number}. " if number else ""
    lines = [
        *_wrap(head + finding.title, wide),
        f"   {MARKS[finding.state]} {finding.state} · {finding.severity} · {finding.certainty} · "
        f"{finding.code} {finding.name}",
    ]
    if finding.services:
        lines += _wrap("on " + units.listed(services_with_state(finding)), wide, "   ")
    lines += _wrap(finding.detail, wide, "   ") if finding.detail else []
    if finding.proof:
        lines += ["   proof"]
        for quote in quotations(finding.proof):
            lines += [f"     {place}" for place in quote.sources]
            lines += [f"       {part}" for part in quote.text.split("\n")]
    if finding.remedy is not None:
        remedy = finding.remedy
        lines += _wrap(f"remedy ({remedy.kind}): {remedy.summary}", wide, "   ")
        lines += edits_text(remedy.edits) + [f"     $ {command}" for command in remedy.commands]
        lines += _wrap(remedy.question, wide, "     ") if remedy.question else []
        for option in remedy.options:
            lines += _wrap(f"{option.name}: {option.summary}", wide, "     ")
            lines += edits_text(option.edits) + [f"     $ {command}" for command in option.commands]
        lines += _wrap(f"risk: {remedy.risk}", wide, "     ") if remedy.risk else []
    if finding.verify:
        lines += ["   verify"]
        for step in finding.verify:
            command, mark, expected = step.partition("  # ")
            # A command stays on one line, so that it can be copied.
            lines += (
                [f"     $ {command}", f"       {expected}"] if mark else _wrap("- " + step, wide, "     ")
            )
    return "\n".join(lines)


def edits_text(edits: Sequence[Edit]) -> list[str]:
    """Edits as the lines of a small diff."""
    lines = []
    for change in one_each(edits):
        lines += [
            f"     {change.file}" + (f", {change.lines}" if change.lines else ""),
            f"     - {change.old}",
            *(f"     + {line}" for line in change.new_lines),
        ]
    return lines


def named(findings: Iterable[Finding]) -> str:
    """Findings by name with their services: ``restart-loop (email_worker and flower)``."""
    held: dict[str, list[str]] = {}
    for finding in findings:
        services = held.setdefault(finding.name, [])
        services += [name for name in finding.services if name not in services]
    return "; ".join(
        f"{name} ({units.listed(services, 6)})" if services else name for name, services in held.items()
    )


def services_with_state(finding: Finding) -> list[str]:
    """The services of a finding, each with its state where that differs from the finding's own."""
    return [
        name
        if finding.service_states.get(name, finding.state) == finding.state
        else f"{name} ({finding.service_states[name]})"
        for name in finding.services
    ]


def of_subject(
    diagnosis: Diagnosis, prefixes: Sequence[str], services: Set[str] | None = None
) -> list[Finding]:
    """The findings whose code begins with one of the prefixes (all of them for none) and that are about one
    of the services (if given), causes first, in their order."""
    order = {id: n for n, id in enumerate(diagnosis.causes)}
    chosen = [
        finding
        for finding in diagnosis.findings
        if (not prefixes or finding.code.startswith(tuple(prefixes)))
        and (services is None or not services.isdisjoint(finding.services))
    ]
    return sorted(chosen, key=lambda f: (order.get(f.id, len(order)), f.state == "history"))


def found(look: Look, *prefixes: str, service: str = "") -> Shown:
    """All that the checks of these codes found, or that they found nothing, with what they could not
    judge."""
    diagnosis = look.diagnosis
    chosen = of_subject(diagnosis, prefixes, look.labels(service) if service else None)
    outcomes = [o for o in diagnosis.outcomes if not prefixes or o.code.startswith(tuple(prefixes))]
    quiet = [f"{o.code} {o.name}" for o in outcomes if o.outcome == "quiet"]
    parts = [card(finding) for finding in chosen]
    if not chosen:
        on = f" on {service}" if service else ""
        parts.append(sentence(f"Nothing found{on}.", "ok" if quiet else ""))
    if quiet:
        parts.append(sentence("Checked and quiet: " + units.listed(quiet) + "."))
    parts += [
        sentence(f"{o.code} {o.name} could not judge: {o.why}.".replace("..", "."), "unknown")
        for o in outcomes
        if o.outcome == "unknown"
    ]
    parts += [
        sentence(f"{o.code} {o.name} broke; this is a fault of the tool: {o.why}", "warning")
        for o in outcomes
        if o.outcome == "broken"
    ]
    return stacked(*parts)


def unknown(diagnosis: Diagnosis, evidence: Evidence) -> Shown:
    """What was not checked and why: each section that could not be had, with the checks that stay open for
    it, then the checks that could not judge although their sections were read."""
    rows = []
    for section in missing(evidence):
        open_checks = [o for o in diagnosis.outcomes if o.outcome == "unknown" and section.name in o.missing]
        codes = [f"{o.code} {o.name}" for o in open_checks]
        rows.append(
            (
                Cell(section.name, code=True),
                section.status.replace("_", " "),
                section.why,
                units.listed(codes) if codes else None,
            )
        )
    for outcome in undecided(diagnosis, evidence):
        where = Cell("\n".join(outcome.missing), code=True) if outcome.missing else None
        status = "not enough" if outcome.outcome == "unknown" else "broken"
        rows.append((where, status, outcome.why, f"{outcome.code} {outcome.name}"))
    return table(
        ("Section", "Status", "Why", "Checks left open"),
        rows,
        empty="Everything that the checks need could be read.",
    )


def missing(evidence: Evidence) -> list[Section]:
    """The sections that are not whole, by name."""
    return [section for _, section in sorted(evidence.sections.items()) if section.status != "ok"]


def undecided(diagnosis: Diagnosis, evidence: Evidence) -> list[Outcome]:
    """The checks that could not judge, or broke, for another reason than a section that is not whole."""
    names = {section.name for section in missing(evidence)}
    return [
        outcome
        for outcome in diagnosis.outcomes
        if outcome.outcome == "broken"
        or (outcome.outcome == "unknown" and not names.intersection(outcome.missing))
    ]


def _wrap(text: str, wide: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        wide,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    ) or [indent.rstrip()]
