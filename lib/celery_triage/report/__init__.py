"""A report: the diagnosis, the runbooks as executed, the evidence and the fix, as one dated folder.

The verdict is worked out here from the evidence; no notebook is asked for it. What a notebook shows is
its page, and one that dies costs that page only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..model import Diagnosis, Evidence, dumps
from ..notebook import OF_REPORT, Look
from ..runbooks import NoRunbooks, chosen
from ..show import units
from . import archive, execute, front, pages, rulebook

#: A masked secret, as ``redact`` writes it.
TOKEN = re.compile(r"\*\*\*[0-9a-f]{6}")


@dataclass(frozen=True)
class Report:
    """A published report: its folder, the diagnosis, and the runbooks that stopped with the sentence why."""

    path: Path
    diagnosis: Diagnosis
    stopped: tuple[str, ...] = ()


def run(
    evidence: Evidence,
    out: Path,
    only: Sequence[str] = (),
    progress: Callable[[str], None] = lambda line: None,
    *,
    redactor: Any = None,
    folder: Path | None = None,
    made: datetime | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    until: float | None = None,
) -> Report:
    """Diagnose, execute the runbooks, and publish a dated report in the folder ``out``.

    ``only`` limits the runbooks, never the diagnosis; ``redactor`` knows the secrets of a live stack, which
    must be in no file; ``progress`` gets a line for each step; ``parameters`` are further ones for the
    runbooks of these names; ``until`` is the moment (of ``time.monotonic``) after which no runbook runs on.
    Raises OSError where nothing can be written, ``archive.NotListed`` where the
    report is there and the list of reports could not be brought up to date, ``archive.Leak`` where a known
    secret would have been published, ``NoRunbooks`` for runbooks that are not there.
    """
    from .. import bundle
    from ..remedies import patch as patch_of
    from ..summary import summary as summary_of

    books = chosen(only, folder)
    live = evidence.origin == "live"
    if not live:  # where the bundle lay on this machine is nobody's business
        evidence = replace(evidence, origin="evidence")
    look = Look(evidence)
    diagnosis = look.diagnosis
    name = archive.folder_name(evidence, made or datetime.now(UTC))
    out = Path(out)
    with archive.staged(out, name) as making:
        bundle.save(evidence, making / "evidence")
        (making / "notebooks").mkdir()
        progress(f"executing {len(books)} runbooks")
        executed = execute.execute_all(
            [book.path for book in books],
            making / "notebooks",
            {"evidence": OF_REPORT},
            progress,
            own=parameters,
            until=until,
        )
        summary = summary_of(diagnosis, evidence)
        fix = patch_of(diagnosis, evidence)
        (making / "summary.json").write_text(dumps(summary) + "\n", "utf-8")
        (making / "calls.txt").write_text("".join(line + "\n" for line in evidence.calls), "utf-8")
        if fix:
            (making / "fix.patch").write_text(fix, "utf-8")
        write_pages(making, look, executed, bool(fix), archive.earlier(out, summary))
        _refuse_leaks(making, redactor)
        final = archive.publish(making, out, name)
    try:
        archive.refresh(out, final, summary, live)
    except OSError as error:
        raise archive.NotListed(final, error) from error
    return Report(final, diagnosis, tuple(f"{e.runbook}: {e.why}" for e in executed if e.why))


def write_pages(
    making: Path,
    look: Look,
    executed: Sequence[execute.Executed],
    patch: bool,
    before: archive.Earlier | None = None,
) -> None:
    """All pages of a report into its folder: the first one, one for each executed runbook, the rules.
    ``before`` is the report of the same target before this one."""
    there = {f"{one.runbook}.html" for one in executed}
    made = [pages.read(one, there) for one in executed]
    navigation = [pages.Page("index.html", "Report"), *made, pages.Page("rules.html", "rules")]
    report = front.about(look)
    for page in made:
        (making / page.file).write_text(
            pages.render(
                "runbook.html",
                here=page.file,
                pages=navigation,
                report=report,
                title=page.title,
                why=page.why,
                cells=page.cells,
            ),
            "utf-8",
        )
    (making / "rules.html").write_text(rulebook.page(look.diagnosis, navigation, report), "utf-8")
    (making / "index.html").write_text(
        front.first_page(
            look, navigation, made, patch=patch, redaction=redaction_note(look.evidence), earlier=before
        ),
        "utf-8",
    )


def redaction_note(evidence: Evidence) -> str:
    """What was done about secrets, counted."""
    found = TOKEN.findall(dumps(evidence.sections))
    if not found:
        return "No secret stood in what was read."
    secrets, places = units.count(len(set(found)), "secret"), units.count(len(found), "place")
    return (
        f"{secrets} masked in {places} before anything was kept; equal secrets have equal tokens. "
        "Before publishing, known secret values are searched for in every file."
    )


def _refuse_leaks(folder: Path, redactor: Any) -> None:
    found = redactor.find_leaks(folder) if redactor is not None else []
    if found:
        raise archive.Leak(f"nothing was published: {'; '.join(found)}")


__all__ = ["NoRunbooks", "Report", "run"]
