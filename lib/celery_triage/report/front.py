"""The first page of a report: everything an engineer needs at 3 am, from the diagnosis and the evidence
alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from markupsafe import Markup

from ..model import Diagnosis, Finding
from ..notebook import Look
from ..remedies import left_over
from ..runbooks import showing
from ..show import consequences, restarts, triage, units
from ..show import findings as cards
from ..show.output import Shown, table, ticks
from .archive import Earlier
from .pages import Page, render

#: Causes that stand on the first screen with their cure; causes, and what else was found, that have a card,
#: the others being rows of a table; calls that are listed here (``calls.txt`` has all).
FIRST, CARDS, OTHERS, CALLS = 4, 40, 15, 300
FILES = (
    ("summary.json", "summary.json"),
    ("evidence", "evidence/"),
    ("notebooks", "notebooks/"),
    ("calls.txt", "calls.txt"),
)


def about(look: Look) -> dict[str, str]:
    """The few words about the report that stand on every page."""
    evidence = look.evidence
    live = evidence.origin == "live"
    return {
        "target": evidence.target,
        "taken": units.moment(evidence.taken_at),
        "tool": str(evidence.tool.get("celery-triage", "")),
        "source": f"{'Live evidence' if live else 'Recorded evidence, not a live stack'}, "
        f"taken {units.moment(evidence.taken_at)}.",
    }


def first_page(
    look: Look,
    pages: Sequence[Page],
    runbooks: Sequence[Page],
    *,
    patch: bool,
    redaction: str,
    earlier: Earlier | None = None,
) -> str:
    """``index.html``. ``pages`` are those of the navigation, ``runbooks`` those that were executed;
    ``earlier`` is the report of the same target before this one, None where there is none."""
    diagnosis, evidence = look.diagnosis, look.evidence
    causes = diagnosis.cause_findings
    shown = {f.id for f in causes} | {f.id for f in diagnosis.findings if f.explained_by}
    others = [f for f in diagnosis.findings if f.id not in shown and f.state != "history"]
    healed = [f for f in diagnosis.findings if f.state == "history"]
    first, cards_of = causes[:FIRST], causes[:CARDS]
    return render(
        "index.html",
        here="index.html",
        pages=pages,
        report=about(look),
        diagnosis=diagnosis,
        verdict=triage.verdict_of(diagnosis).html,
        no_cause=triage.causes_of(diagnosis).html,
        causes_heading="Causes, in the order to cure them" if len(causes) > 1 else "Cause",
        first=[cards.first(finding, n).html for n, finding in enumerate(first, 1)],
        further=[(finding, ticks(finding.title)) for finding in causes[FIRST:CARDS]],
        further_start=FIRST + 1,
        many=len(causes) - CARDS,
        earlier=since_earlier(earlier, diagnosis),
        cards=[_part(look, finding, n, runbooks) for n, finding in enumerate(cards_of, 1)],
        rest=cards.brief(causes[CARDS:], "More causes").html if causes[CARDS:] else "",
        rest_follows=_follow(diagnosis, causes[CARDS:]),
        incomplete=incomplete(runbooks),
        services=restarts.services(look, anchors=set(diagnosis.causes[:CARDS])).html,
        leads_to=consequences.picture(diagnosis).html,
        picture=restarts.starts(look).html,
        lives=restarts.plot(look).html,
        others=[_card(finding, runbooks) for finding in others[:OTHERS]],
        others_line=f"Also found, and no cause: {units.count(len(others), 'finding')}" if others else "",
        other_rows={
            "line": f"{len(others) - OTHERS} more",
            "html": cards.brief(others[OTHERS:], "Also found, shortly").html if others[OTHERS:] else "",
        },
        healed=triage.healed(look).html if healed else "",
        unknown=triage.unknown(look).html,
        runbooks=[_entry(page) for page in runbooks],
        redaction=redaction,
        versions=versions(look).html,
        patch=patch,
        folder=(evidence.data("containers") or {}).get("working_dir") or "",
        by_command=left_over(diagnosis, evidence),
        files=FILES + ((("fix.patch", "fix.patch"),) if patch else ()),
        calls="\n".join(evidence.calls[:CALLS]) or "No call was recorded.",
        calls_left_out=max(0, len(evidence.calls) - CALLS),
        calls_line=f"{units.count(len(evidence.calls), 'call')} made",
    )


def incomplete(runbooks: Sequence[Page]) -> str:
    """How many pages are not whole, in words that fit a first screen; each says why in the list of pages."""
    broken = sum(1 for page in runbooks if page.why)
    if not broken:
        return ""
    verb = "is" if broken == 1 else "are"
    return f"{broken} of {units.count(len(runbooks), 'runbook page')} {verb} incomplete"


def since_earlier(earlier: Earlier | None, diagnosis: Diagnosis) -> dict[str, Any] | None:
    """What changed since the report before, for the page: a sentence, and a list for each kind of change.
    What is still on this page has a link to its card."""
    if earlier is None:
        return None
    shown = {finding.fingerprint: finding for finding in diagnosis.findings}
    carded = set(diagnosis.causes[:CARDS])
    kinds = [
        {
            "name": words,
            "count": len(found),
            "items": [
                {"title": shown[key].title if key in shown else title, "id": _anchor(shown.get(key), carded)}
                for key, title in list(found.items())[:CARDS]
            ],
            "more": max(0, len(found) - CARDS),
        }
        for words, found in (
            ("new", earlier.new),
            ("resolved", earlier.resolved),
            ("not seen, but not proven gone", earlier.unproven),
            ("still there", earlier.still),
        )
        if found
    ]
    told = ", ".join(f"{kind['count']} {kind['name']}" for kind in kinds) or "nothing was or is wrong"
    return {
        "sentence": told,
        "taken": units.moment(earlier.taken_at),
        "verdict": earlier.verdict,
        "link": f"../{earlier.name}/index.html" if earlier.there else "",
        "kinds": kinds,
    }


def _anchor(finding: Finding | None, carded: Collection[str]) -> str:
    return finding.id if finding is not None and finding.id in carded else ""


def _part(look: Look, finding: Finding, number: int, pages: Sequence[Page]) -> dict[str, Any]:
    following = look.diagnosis.consequences(finding.id)
    return {
        "card": _card(finding, pages, number),
        "consequences": cards.brief(following, f"Consequences of cause {number}").html if following else "",
        "consequences_line": f"{units.count(len(following), 'consequence')}: {cards.named(following)}",
    }


def _card(finding: Finding, pages: Sequence[Page], number: int = 0) -> Markup:
    """A finding with links to its rule's page and to the runbook that shows it in context."""
    return cards.card(
        finding,
        number=number,
        anchor=finding.id,
        rule_link=f"rules.html#{finding.code}",
        context=_context(finding, pages),
    ).html


def _follow(diagnosis: Diagnosis, causes: Sequence[Finding]) -> dict[str, Any]:
    """The consequences of causes that have no card, together."""
    found = [one for cause in causes for one in diagnosis.consequences(cause.id)]
    line = f"{units.count(len(found), 'consequence')} of these"
    return {"line": line, "html": cards.brief(found, "Consequences of more causes").html}


def _context(finding: Finding, pages: Sequence[Page]) -> tuple[str, str]:
    """The page of this report that shows the finding in context, and its label."""
    runbook = showing(finding.code)
    found = [page for page in pages if runbook is not None and page.file == f"{runbook.name}.html"]
    return (found[0].file, found[0].label) if found else ("", "")


def _entry(page: Page) -> dict[str, str]:
    note = f"incomplete: {page.why}" if page.why else f"executed in {units.duration(page.seconds)}"
    return {"file": page.file, "title": page.title or page.label, "note": f"{page.label}, {note}"}


def versions(look: Look) -> Shown:
    """The versions of the tool, of the engine, and of the packages found in the images."""
    evidence = look.evidence
    engine = evidence.data("engine") or {}
    rows: list[tuple[str, str]] = []
    if engine:
        rows.append(
            (
                "Docker Engine",
                f"{engine.get('version')}, API {engine.get('api_version')}, "
                f"{engine.get('os')} {engine.get('kernel')}, {engine.get('cpus')} CPUs, "
                f"{units.size(engine.get('memory'))}",
            )
        )
    for kind in ("postgres", "redis", "rabbitmq"):
        rows += [
            (f"{kind} {server['key']}", server["version"])
            for server in (evidence.data(kind) or {}).get("servers", ())
            if server.get("version")
        ]
    seen: dict[tuple[str, str], list[str]] = {}
    for label, section in evidence.under("files").items():
        packages = (section.data or {}).get("packages", {}) if section.readable else {}
        for name in ("celery", "kombu", "sqlalchemy"):
            if (packages.get(name) or {}).get("version"):
                seen.setdefault((name, packages[name]["version"]), []).append(label)
    rows += [(name, f"{version} in {units.listed(labels, 4)}") for (name, version), labels in seen.items()]
    own = [f"{name} {version}" for name, version in evidence.tool.items() if name != "celery-triage"]
    if evidence.tool:
        rows.append(
            ("this tool", ", ".join([f"celery-triage {evidence.tool.get('celery-triage', '?')}", *own]))
        )
    return table(("Part", "Version"), rows)
