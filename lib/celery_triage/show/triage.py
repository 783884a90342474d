"""The whole at a glance: what was looked at, the verdict, the causes, the services, where each start
stops."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from .. import runbooks
from ..model import Diagnosis, Finding
from . import findings as cards
from . import units
from .consequences import masking
from .output import MARKS, Cell, Shown, render, sentence, stacked, table

if TYPE_CHECKING:
    from ..notebook import Look


def looked(look: Look, now: datetime) -> Shown:
    """What this notebook looks at and how old that is: the first output of every runbook."""
    from ..notebook import OF_REPORT  # which itself shows by this package

    evidence = look.evidence
    taken = units.when(evidence.taken_at)
    age = units.duration((now - taken).total_seconds()) if taken else "an unknown time"
    live = evidence.origin == "live"
    of_report = evidence.origin == OF_REPORT  # which may be one of a live stack: its pages say so
    source = "live" if live else "the evidence of this report" if of_report else "recorded evidence, not live"
    head = f"{evidence.target}, {source}."
    rest = f"Taken {units.moment(evidence.taken_at)}, {age} before this cell ran."
    wanted = _wanted(look)
    read = [name for name in wanted if evidence.section(name).status == "ok"]
    rest += f" {len(read)} of {units.count(len(wanted), 'section')} that this page reads are whole."
    missing = [
        f"{name}: {evidence.section(name).status.replace('_', ' ')}, {evidence.section(name).why}"
        for name in wanted
        if evidence.section(name).status != "ok"
    ]
    html = render("looked.html", head=head, rest=rest, missing=missing)
    return Shown(html, "\n".join([f"{head} {rest}", *("? " + line for line in missing)]))


def _wanted(look: Look) -> list[str]:
    names: list[str] = []
    for name in look.reads or tuple(look.evidence.sections):
        if name.endswith("/*"):
            names += [f"{name[:-2]}/{label}" for label in look.evidence.under(name[:-2])] or [name[:-1] + "…"]
        else:
            names.append(name)
    return names


def verdict_line(diagnosis: Diagnosis) -> str:
    """The diagnosis in one sentence, counted from its causes; it adds no judgement of its own."""
    causes = diagnosis.cause_findings
    active = [f for f in causes if f.state == "active" and f.severity == "critical"]
    latent = [f for f in causes if f.state == "latent"]
    lesser = [f for f in causes if f.state == "active" and f.severity != "critical"]
    parts = []
    if active:
        stopped = {
            name for f in active for name in f.services if f.service_states.get(name, "active") == "active"
        }
        on = f" on {units.count(len(stopped), 'service')}" if stopped else ""
        parts.append(f"{diagnosis.target}: {units.count(len(active), 'active cause')}{on}")
    if latent:
        waits = "wait" if len(latent) > 1 else "waits"
        parts.append(
            f"{len(latent)} more {waits} behind" if active else f"{units.count(len(latent), 'latent cause')}"
        )
    if lesser:
        parts.append(units.count(len(lesser), "warning"))
    if not parts:
        parts.append(f"{diagnosis.target}: no cause found")
    open_checks = [o for o in diagnosis.outcomes if o.outcome in ("unknown", "broken")]
    if open_checks:
        parts.append(f"{units.count(len(open_checks), 'check')} could not judge")
    text = ", ".join(parts) + "."
    return text if text.startswith(diagnosis.target) else f"{diagnosis.target}: {text}"


def verdict_of(diagnosis: Diagnosis) -> Shown:
    """The verdict in one line."""
    line = verdict_line(diagnosis)
    text = f"{MARKS[diagnosis.verdict]} {diagnosis.verdict.upper()}  {line}"
    return Shown(render("verdict.html", verdict=diagnosis.verdict, line=line), text)


def verdict(look: Look) -> Shown:
    """The verdict in one line, and which services are still too young for a judgement."""
    parts = [verdict_of(look.diagnosis)]
    if look.diagnosis.settling:
        parts.append(sentence(f"Settling: {'; '.join(look.diagnosis.settling)}.", "warning"))
    return stacked(*parts)


def causes(look: Look) -> Shown:
    """The causes in the order in which to cure them, a line each."""
    return causes_of(look.diagnosis)


def causes_of(diagnosis: Diagnosis, *, anchors: bool = False) -> Shown:
    """The causes of a diagnosis; with ``anchors`` each line leads to its card on the same page."""
    found = diagnosis.cause_findings
    if not found:
        return sentence("No cause was found.", "ok" if diagnosis.verdict == "ok" else "")
    html = render("causes.html", findings=found, anchors=anchors)
    lines = [
        f"{n}. {MARKS[f.state]} {f.state}  {f.title}\n   {units.listed(cards.services_with_state(f))} · "
        f"{f.certainty} · {f.code}"
        for n, f in enumerate(found, 1)
    ]
    return Shown(html, "\n".join(lines))


def cause_cards(look: Look) -> Shown:
    """Each cause as a card: proof, remedy, verification."""
    found = look.diagnosis.cause_findings
    numbered = [cards.card(finding, number=n) for n, finding in enumerate(found, 1)]
    return stacked(*numbered) if numbered else sentence("No cause was found.", "ok")


def unknown(look: Look) -> Shown:
    """What was not checked and why."""
    return cards.unknown(look.diagnosis, look.evidence)


def explaining(diagnosis: Diagnosis, label: str) -> list[Finding]:
    """The causes that concern a service, in their order."""
    return [f for f in diagnosis.cause_findings if label in f.services]


def healed(look: Look) -> Shown:
    """What was wrong and is no longer so."""
    found = [f for f in look.diagnosis.findings if f.state == "history"]
    return table(
        ("What", "On", "Seen by"),
        [
            (f.title, units.listed(f.services) if f.services else None, Cell(f.certainty, tone="quiet"))
            for f in found
        ],
        empty="Nothing that was wrong before has healed since.",
    )


def next_steps(look: Look, here: str = "") -> Shown:
    """Where to go from here: for each cause the runbook that shows it, then what to do about it."""
    steps: dict[str, list[str]] = {}
    titles: dict[str, str] = {}
    for finding in look.diagnosis.cause_findings:
        runbook = runbooks.showing(finding.code)
        if runbook is not None and runbook.name != here:
            steps.setdefault(runbook.name, []).append(finding.title)
            titles[runbook.name] = f"{runbook.label}: {runbook.title}"
    shown = [
        {"link": f"{name}.ipynb", "name": titles[name],
         "why": "shows: " + "; ".join(one.rstrip(".") for one in why) + "."}
        for name, why in steps.items()
    ]
    if here and here != "00_triage":
        shown.append(
            {
                "link": "00_triage.ipynb",
                "name": "00 triage: back to the whole",
                "why": "the causes in their order, with each remedy.",
            }
        )
    remedies = [f for f in look.diagnosis.cause_findings if f.remedy]
    words = "Nothing leads further." if not shown else ""
    if remedies:
        first = remedies[0]
        words = f"Cure first: {first.title} ({first.remedy.summary})"
        words += " Then look again: what waits behind it becomes active." if _hides(look, first) else ""
        words += " Then look again." if len(remedies) > 1 and not _hides(look, first) else ""
    elif look.diagnosis.verdict == "unknown":
        words = "There is no verdict yet: see what was not checked and why, mend that, and look again."
    elif look.diagnosis.verdict == "ok":
        words = "No cause was found. If something is still wrong, look at what was not checked."
    html = render("next.html", steps=shown, words=words)
    return Shown(
        html, "\n".join([words, *(f"- {s['name']} ({s['link']}): {s['why']}" for s in shown)]).strip()
    )


def _hides(look: Look, cause: Finding) -> bool:
    """Whether another cause waits behind this one on some service."""
    return any(cause in masking(look.diagnosis, other) for other in look.diagnosis.cause_findings)


def picture(look: Look) -> Shown:
    """The causal picture: how far each start gets."""
    from .restarts import starts

    return starts(look)
