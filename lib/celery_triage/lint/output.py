"""What ``lint`` prints: a page for people, annotations for GitHub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from celery_triage.lint import Linted
from celery_triage.model import EXIT_CODES, SEVERITIES, Finding

_COLOURS = {"critical": "red", "warning": "yellow", "notice": ""}
_LEVELS = {"critical": "error", "warning": "warning", "notice": "notice"}
_VERDICT = {"critical": "red", "warning": "yellow", "unknown": "yellow", "ok": "green"}
#: What GitHub shows of annotations in one step; more are only counted in the log.
MOST = 200


def lines(linted: Linted) -> Iterator[tuple[str, str]]:
    """Lines with a colour each: what is wrong, where, how to mend it; then what is not known."""
    for finding in linted.diagnosis.findings:
        yield from _finding(finding)
    if linted.notes or linted.unreadable:
        yield "Not judged, and why", "bold"
        for path, why in linted.unreadable:
            yield f"? {path}: {why}", "yellow"
        for about, why, codes in linted.notes[:40]:
            yield f"? {about}: {why} ({', '.join(codes)})", ""
        if len(linted.notes) > 40:
            yield f"? and {len(linted.notes) - 40} more", ""
        yield "", ""
    for how in linted.how:
        yield f"Version of Celery: {how}", ""
    counts = [sum(one.severity == severity for one in linted.diagnosis.findings) for severity in SEVERITIES]
    told = ", ".join(f"{count} {name}" for count, name in zip(counts, SEVERITIES, strict=True) if count)
    nothing = "nothing found" if linted.services else "nothing judged"
    seen = f"{len(linted.services)} services, {len(linted.celery)} of Celery"
    yield (
        f"{linted.diagnosis.target}: {linted.verdict.upper()} ({told or nothing}; {seen})",
        _VERDICT[linted.verdict],
    )


def _finding(finding: Finding) -> Iterator[tuple[str, str]]:
    where = ""
    if finding.proof:
        where = f"{finding.proof[0].section}:{finding.proof[0].line}: "
    yield f"{where}{finding.severity}: {finding.title} [{finding.code}]", _COLOURS[finding.severity]
    for proof in finding.proof:
        yield f"    {proof.line:>5} | {proof.text}", ""
    if finding.remedy is not None:
        yield f"    fix: {finding.remedy.summary}", "green"
    if finding.detail:
        yield f"    {finding.detail}", ""
    yield "", ""


def annotations(linted: Linted) -> Iterator[str]:
    """Workflow commands of GitHub Actions (``::error file=…,line=…,title=…::text``)."""
    for finding in linted.diagnosis.findings[:MOST]:
        place = ""
        if finding.proof:
            place = f"file={_property(finding.proof[0].section)},line={finding.proof[0].line},"
        text = finding.title + (f"\nfix: {finding.remedy.summary}" if finding.remedy else "")
        yield (
            f"::{_LEVELS[finding.severity]} {place}title={_property(f'{finding.code} {finding.name}')}::"
            f"{_data(text)}"
        )
    for path, why in linted.unreadable:
        yield f"::warning file={_property(path)}::{_data(f'celery-triage could not read it: {why}')}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def exit_code(several: Sequence[Linted], fail_on: str | None) -> int:
    """The worst verdict as an exit code. With ``fail_on`` findings below it do not count, and a notice
    counts where it says so; what could not be read is always 3 (unless something critical was found)."""
    codes = []
    for linted in several:
        if fail_on is None:
            codes.append(linted.verdict)
            continue
        allowed = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
        told = [one.severity for one in linted.diagnosis.findings if one.severity in allowed]
        codes += ["warning" if severity == "notice" else severity for severity in told]
        if linted.verdict == "unknown" or any(one.outcome == "broken" for one in linted.diagnosis.outcomes):
            codes.append("unknown")
    order = ("critical", "unknown", "warning", "ok")
    return EXIT_CODES[min(codes, key=order.index, default="ok")]
