"""The resolution summary: what was wrong, why, what was changed, what it is now, and what of that is proven.

Its parts are those of a summary that an engineer writes after an incident. Every sentence follows from the
two looks; what they do not show is said to be not proven. The same as Markdown, as a page, and in short as
text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery_triage.model import Finding
from celery_triage.report import archive, blocks, pages
from celery_triage.report.blocks import Block, Code, Grid, Heading, Points, Prose
from celery_triage.report.changes import Change
from celery_triage.report.compare import Comparison
from celery_triage.report.ps import status
from celery_triage.report.risks import risks, unseen
from celery_triage.report.side import Side
from celery_triage.report.timeline import events
from celery_triage.show import units
from celery_triage.show.triage import verdict_line
from celery_triage.stack import Service

TONES = {
    "gone": "ok",
    "proven": "ok",
    "as_before": "ok",
    "settling": "warning",
    "unproven": "unknown",
    "left": "critical",
    "removed": "critical",
    "down": "critical",
}
WORDS = {"left": "still there", "unproven": "not proven", "as_before": "as before", "down": "not running"}
RESULT_TONES = {"resolved": "ok", "settling": "warning", "not_proven": "unknown", "not_resolved": "critical"}
#: How the step begins that names the other causes of the same services (``causes.with_company``): once all
#: are gone it says nothing any more.
FIRST_CURE = "Cure "
#: Characters of one quotation, and quotations of one cause.
QUOTED, QUOTES = 400, 4


def document(comparison: Comparison) -> list[Block]:
    """The whole summary."""
    target = comparison.after.evidence.target
    return [
        Heading(f"{target}: resolution summary", 1),
        _status(comparison),
        *_problem(comparison.before),
        *_causes(comparison),
        *_changed(comparison),
        *_results(comparison),
        *_verification(comparison),
        *_open(comparison),
        Heading("Time line"),
        Points(tuple(("", f"{units.moment(at)}: {text}") for at, text in events(comparison))),
        Heading("Status"),
        _status(comparison),
        Points(tuple(_figures(comparison))),
    ]


def short(comparison: Comparison) -> list[Block]:
    """What a terminal shows: the result, the causes, the services, and what is not proven."""
    found: list[Block] = [_status(comparison)]
    if comparison.causes:
        found += [Heading("Causes of the first look"), Points(tuple(_fates(comparison)))]
    if comparison.new:
        told = tuple(
            ("critical", f"{one.finding.title} ({one.finding.code}; {one.why})") for one in comparison.new
        )
        found += [Heading("New"), Points(told)]
    rows = [
        (
            one.label,
            _ps(comparison.before, one.label),
            _ps(comparison.after, one.label),
            WORDS.get(one.became, one.became) + (f", at most {one.left} s left" if one.left else ""),
        )
        for one in comparison.services
    ]
    found += [Heading("Services"), Grid(("Service", "Before", "Now", "Proof of life"), tuple(rows))]
    told = [("unknown", text) for text in (*comparison.open, *unseen(comparison))]
    if told:
        found += [Heading("Not proven, and why"), Points(tuple(told))]
    changed: dict[str, list[str]] = {}
    for one in comparison.changes.found:
        changed.setdefault(one.what, []).extend(one.services)
    if changed:
        listed = tuple(
            (
                "",
                f"{what}: {units.listed(dict.fromkeys(names))}"
                if names and names != [what.partition(" ")[2]]
                else what,
            )
            for what, names in changed.items()
        )
        found += [Heading("What was changed (values: in the summary)"), Points(listed)]
    return found


def markdown(comparison: Comparison) -> str:
    """The summary as Markdown."""
    return blocks.markdown(document(comparison))


def html(comparison: Comparison) -> str:
    """The summary as a page that runs nothing and loads nothing."""
    side = comparison.after
    return pages.render(
        "resolution.html",
        title=f"{comparison.result.replace('_', ' ').upper()} {side.evidence.target}",
        target=side.evidence.target,
        taken=units.moment(side.evidence.taken_at),
        tool=str(side.evidence.tool.get("celery-triage", "")),
        body=blocks.html(document(comparison)),
    )


def lines(comparison: Comparison, wide: int = 100) -> list[tuple[str, str]]:
    """The short form for a terminal: lines with a colour each."""
    return blocks.text(short(comparison), wide)


def write(path: Path, text: str, redactor: Any = None) -> None:
    """Write a summary as a whole file or not at all. ``redactor`` knows the secrets of a live stack: with one
    of them in the text nothing is written, ``archive.Leak``. OSError."""
    if found := redactor.find_leaks(text) if redactor is not None else []:
        raise archive.Leak("; ".join(found))
    archive.write(path, text)


def _status(comparison: Comparison) -> Block:
    tone, words = _headline(comparison)
    return Prose(words, tone)


def _figures(comparison: Comparison) -> Iterator[tuple[str, str]]:
    first, second = (side.evidence.taken_at for side in (comparison.before, comparison.after))
    yield "", f"Between the two looks: {units.duration(units.between(first, second))}"
    named = dict.fromkeys(name for one in comparison.causes for name in one.finding.services)
    yield "", f"Services that the causes were about: {len(named)} ({units.listed(named)})"
    if comparison.left and comparison.result == "settling":
        yield "", settled(comparison.left)


def settled(left: int) -> str:
    """When the services have proven themselves. It is the latest moment, no earliest one: a health check that
    judges sooner ends the wait sooner; and no promise, for a service may die until then."""
    return (
        f"At the latest {left} s after the second look every service that is settling has lived long enough, "
        "if none of them dies or is started anew until then; a health check that passes may end it sooner"
    )


def _headline(comparison: Comparison) -> tuple[str, str]:
    word, _, rest = comparison.headline.partition(":")
    return RESULT_TONES[comparison.result], f"{word.upper()}:{rest}"


def _problem(before: Side) -> Iterator[Block]:
    yield Heading("Problem")
    taken, verdict = units.moment(before.evidence.taken_at), before.diagnosis.verdict
    yield Prose(f"At the first look, {taken}, the verdict was {verdict}. {verdict_line(before.diagnosis)}")
    troubled = {name for cause in before.diagnosis.cause_findings for name in cause.services}
    services = sorted(before.stack.services, key=lambda one: one.label)
    told = [("", f"`{one.label}`: {_state(one)}") for one in services if one.label in troubled]
    if told:
        yield Points(tuple(told))
    if before.remarks:
        yield Points(tuple(("unknown", text) for text in before.remarks))


def _state(service: Service) -> str:
    count = service.latest.get("restart_count") or 0
    return status(service.latest) + (f", {units.count(int(count), 'restart')}" if count else "")


def _causes(comparison: Comparison) -> Iterator[Block]:
    yield Heading("Root causes")
    before = comparison.before
    if not comparison.causes:
        yield Prose("The first look found no cause.")
    for number, one in enumerate(comparison.causes, 1):
        cause = one.finding
        yield Heading(f"{number}. {cause.title}", 3)
        on = f", on {units.listed(f'`{name}`' for name in cause.services)}" if cause.services else ""
        yield Prose(f"`{cause.code}` {cause.name}, {cause.state}, {cause.certainty}{on}.")
        if quotes := _quotes(cause):
            yield Code(quotes, "text")
        if following := before.diagnosis.consequences(cause.id):
            names = dict.fromkeys(name for f in following for name in f.services)
            kinds = units.listed(dict.fromkeys(f.name for f in following))
            yield Prose(f"It explains {kinds} of {units.listed(f'`{name}`' for name in names)}.")
        if cause.remedy is not None:
            yield Prose(f"Remedy that was given ({cause.remedy.kind}): {cause.remedy.summary}")
        yield Points(((TONES[one.became], f"Now: {WORDS.get(one.became, one.became)}. {one.why}."),))
    for one in comparison.new:
        yield Heading(f"New: {one.finding.title}", 3)
        yield Prose(f"`{one.finding.code}` {one.finding.name}, {one.finding.state}: {one.why}.")
        if quotes := _quotes(one.finding):
            yield Code(quotes, "text")


def _quotes(finding: Finding) -> str:
    """The proof of a finding: where each quotation stands, and the quotation, cut."""
    quotes = []
    for proof in finding.proof[:QUOTES]:
        text = proof.text if len(proof.text) <= QUOTED else proof.text[:QUOTED] + " …"
        place = f", line {proof.line}" if proof.line else ""
        where = f"{proof.section}{place}" + (f", {units.moment(proof.time)}" if proof.time else "")
        quotes.append(f"{where}\n" + "\n".join(f"  {line}" for line in text.split("\n")))
    return "\n".join(quotes)


def _fates(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for one in comparison.causes:
        word = WORDS.get(one.became, one.became)
        yield TONES[one.became], f"{word}: {one.finding.title} ({one.finding.code}). {one.why}"


def _changed(comparison: Comparison) -> Iterator[Block]:
    yield Heading("What was changed")
    changes = comparison.changes
    if not changes.found and not changes.diff:
        yield Prose("Nothing differs between the two looks in what describes the stack.")
    if changes.found:
        rows = [(one.what, ", ".join(one.services), *_values(one)) for one in changes.found]
        yield Grid(("What", "Services", "Before", "After"), tuple(rows))
    if changes.diff:
        yield Prose("In the Compose files:")
        yield Code("\n".join(changes.diff), "diff")
    yield Prose(
        "These are the differences of the two looks; who made them, and when, evidence does not tell."
        + (
            " Secrets are masked anew at each look, so a changed secret does not show."
            if changes.masked
            else ""
        )
    )


def _values(change: Change) -> tuple[str | Code, str | Code]:
    """Before and after: values as code, words as prose."""
    if change.told:
        return change.before, change.after
    return Code(change.before), Code(change.after)


def _results(comparison: Comparison) -> Iterator[Block]:
    yield Heading("Results")
    for title, side in (("Before", comparison.before), ("After", comparison.after)):
        yield Heading(f"{title}, {units.moment(side.evidence.taken_at)}", 3)
        became = {one.label: one for one in comparison.services}
        rows = []
        for service in sorted(side.stack.services, key=lambda one: (not one.member, one.label)):
            one = became.get(service.label) if side is comparison.after else None
            rows.append(
                (
                    Code(service.name),
                    _state(service),
                    f"{WORDS.get(one.became, one.became)}: {one.why}" if one else "",
                )
            )
        if side is comparison.after:
            rows += [
                (Code(_name(comparison.before, one.label)), "", "removed, not mended")
                for one in comparison.services
                if one.became == "removed"
            ]
            yield Grid(("Name", "Status", "Proof of life"), tuple(rows))
        else:
            yield Grid(("Name", "Status"), tuple(row[:2] for row in rows))


def _verification(comparison: Comparison) -> Iterator[Block]:
    yield Heading("Verification")
    told = [
        (
            TONES[one.became],
            f"{WORDS.get(one.became, one.became)}: {one.finding.title.rstrip('.')}. {one.why}",
        )
        for one in comparison.causes
    ]
    young = {one.label for one in comparison.services if one.became == "settling"}
    for one in comparison.points:
        tone = "warning" if one.service in young else "unknown"
        tone = "ok" if one.proven else "critical" if one.contrary else tone
        word = "" if one.proven else "no, " if one.contrary else "not proven, "
        told.append((tone, f"`{one.service}` {one.what}: {word}{one.why}"))
    told += [
        ("critical", f"`{one.label}`: {one.why}")
        for one in comparison.services
        if one.became in ("removed", "down")
    ]
    yield Points(tuple(told) or (("unknown", "There is nothing that could be verified."),))
    steps = dict.fromkeys(step for one in comparison.causes for step in one.finding.verify)
    if all(one.became == "gone" for one in comparison.causes):
        steps = {step: None for step in steps if not step.startswith(FIRST_CURE)}
    if steps:
        yield Prose(
            "Steps for a person. This tool ran none of them: it only looks, and what it saw is above."
        )
        if words := [step for step in steps if "  # " not in step]:
            yield Points(tuple(("", step) for step in words))
        if commands := [step for step in steps if "  # " in step]:
            yield Code("\n".join(commands), "sh")


def _clear(text: str) -> str:
    """Foreign words inside our own: back ticks in them mark no code."""
    return text.replace("`", "'")


def _open(comparison: Comparison) -> Iterator[Block]:
    yield Heading("Not proven, and open risks")
    needed = [("unknown", _clear(text)) for text in comparison.open]
    others = [
        ("warning", _clear(text)) for text in dict.fromkeys(risks(comparison)) if text not in comparison.open
    ]
    yield Points(tuple([*needed, *others]) or (("ok", "Nothing that this tool can see."),))


def _name(side: Side, label: str) -> str:
    service = side.stack.get(label)
    return service.name if service else label


def _ps(side: Side, label: str) -> str:
    service = side.stack.get(label)
    return status(service.latest) if service else "not there"


__all__ = ["document", "html", "lines", "markdown", "short", "write"]
