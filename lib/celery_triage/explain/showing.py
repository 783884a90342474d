"""An explanation as a page of text for a terminal, and as JSON (schema 1). Every text is masked here."""

from __future__ import annotations

import textwrap
from typing import Any

from ..model import SCHEMA, plain
from ..redact import Redactor
from ..show.findings import finding_text
from ..show.output import MARKS
from ..show.terminal import COLOURS
from . import Explanation
from .reading import Read

#: Entries of one list on the page; JSON has them all.
MOST_SHOWN = 20


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain data: the findings as ``check --json`` has them, and what else was said."""
    judged = explanation.judged
    findings = []
    for finding in judged.findings:
        entry = plain(finding)
        entry.pop("service_states")
        findings.append(entry)
    data = {
        "schema": SCHEMA,
        "verdict": explanation.verdict,
        "origin": "log",
        "causes": judged.causes,
        "findings": findings,
        "harmless": plain(judged.harmless),
        "application": plain(judged.own),
        "unrecognised": plain(judged.strange),
        "quoted": judged.quoted,
        "services": [
            {"source": one.source, "service": one.label, "role": one.role, "lines": one.lines}
            for one in explanation.subjects
        ],
        "read": [
            {
                "source": name,
                "bytes": one.size,
                "lines": one.lines,
                "cut_lines": one.cut,
                "left_out": one.left_out,
                "binary": one.binary,
            }
            for name, one in explanation.read.items()
        ],
        "dropped": sum(one.dropped for one in explanation.subjects),
    }
    return Redactor().data(data)


def page(explanation: Explanation, *, wide: int = 100) -> list[tuple[str, str]]:
    """Lines with a colour each (a name that click knows, or empty)."""
    judged, verdict = explanation.judged, explanation.verdict
    lines = [(f"{MARKS[verdict]} {verdict.upper()}  {_sentence(explanation)}", COLOURS[verdict])]
    lines += [(f"  {text}", "") for text in _read(explanation)]
    causes = [one for one in judged.findings if one.id in judged.causes]
    others = [one for one in judged.findings if one.id not in judged.causes]
    if causes:
        lines += _head("Causes, in the order in which to cure them" if len(causes) > 1 else "Cause")
    for number, finding in enumerate(causes, 1):
        first, *rest = finding_text(finding, number=number, wide=wide).split("\n")
        lines.append((first, "red" if finding.severity == "critical" else "yellow"))
        lines += [(line, "") for line in rest]
        for effect in others:
            if effect.explained_by == finding.id:
                lines.append((f"   explains {effect.title} ({effect.code} {effect.name})", ""))
        lines.append(("", ""))
    rest = [one for one in others if one.explained_by is None]
    if rest:
        lines += _head("Also seen")
        for finding in rest:
            at = _lines([proof.line for proof in finding.proof if proof.line])
            what = f"{finding.title} ({finding.code} {finding.name}, {at})"
            lines.append((f"{MARKS[finding.state]} {finding.state}  {what}", ""))
    if judged.own:
        lines += _head("The application's own exceptions, in a process that goes on: no cause of an outage")
        for own in judged.own[:MOST_SHOWN]:
            lines += _entry(
                f"· {own.subject}, {own.count} times, {_lines(own.lines)}: {_first(own.text)}", wide
            )
        lines += _more(len(judged.own))
    if judged.harmless:
        lines += _head("Harmless")
        for calm in judged.harmless[:MOST_SHOWN]:
            lines += _entry(
                f"· {calm.subject}, {calm.count} times, {_lines(calm.lines)}: {calm.says} {calm.why}", wide
            )
        lines += _more(len(judged.harmless))
    if judged.quoted:
        lines += _head("Only quoted")
        told = f"{judged.quoted} known message{'s' if judged.quoted != 1 else ''}"
        lines += _entry(
            f"· {told} in what tasks or the application log: they tell of it, nobody says it of itself.", wide
        )
    if judged.strange:
        lines += _head("What nothing recognises")
        for strange in sorted(judged.strange, key=lambda one: (not one.ends, -one.count))[:MOST_SHOWN]:
            last = ", its last words" if strange.ends else ""
            where = f"{strange.subject}, {strange.count} times, {_lines(strange.lines)}{last}"
            lines += _entry(f"? {where}: {_first(strange.text)}", wide)
        lines += _more(len(judged.strange))
    mask = Redactor()
    return [(mask.text(line), colour) for line, colour in lines]


def _sentence(explanation: Explanation) -> str:
    judged = explanation.judged
    if not explanation.subjects:
        return "there is nothing to read in this log"
    if judged.causes:
        first = next(one for one in judged.findings if one.id == judged.causes[0])
        more = len(judged.causes) - 1
        return first.title + (f" (and {more} more cause{'s' if more > 1 else ''})" if more else "")
    if explanation.verdict == "unknown":
        return "it ends with words that nothing recognises"
    return "nothing in this log stops anything"


def _read(explanation: Explanation) -> list[str]:
    named = ", ".join(
        f"{one.label} ({one.lines} line{'s' if one.lines != 1 else ''})" for one in explanation.subjects[:8]
    )
    if len(explanation.subjects) > 8:
        named += f" and {len(explanation.subjects) - 8} more"
    said = [f"a log alone, so never more than reported; who speaks in it: {named or 'nobody'}"]
    return said + [sentence for name, one in explanation.read.items() for sentence in limits(name, one)]


def limits(name: str, one: Read) -> list[str]:
    """What could not be read of one input, a sentence each."""
    if not one.size:
        return [f"{name} is empty"]
    if one.binary:
        packed = " (compressed with gzip: unpack it first, `zcat FILE | celery-triage explain`)"
        return [f"{name} is no text{packed if one.first[:2] == bytes((31, 139)) else ''}"]
    said = []
    if one.cut:
        long = "1 line is" if one.cut == 1 else f"{one.cut} lines are"
        trouble = ", and may tell of trouble" if one.unseen else ""
        said.append(f"{name}: {long} longer than 64 KiB; what stands behind that was not looked at{trouble}")
    if one.left_out:
        said.append(
            f"{name}: of {one.lines} lines {one.left_out} were only counted, since nothing in them tells of "
            "trouble or the same was read often before"
        )
    return said


def _entry(text: str, wide: int) -> list[tuple[str, str]]:
    return [(line, "") for line in textwrap.wrap(text, wide, subsequent_indent="    ") or [""]]


def _more(count: int) -> list[tuple[str, str]]:
    return [(f"  and {count - MOST_SHOWN} more; --json has them all", "")] if count > MOST_SHOWN else []


def _head(text: str) -> list[tuple[str, str]]:
    return [("", ""), (text, "bold")]


def _lines(numbers: Any) -> str:
    numbers = list(dict.fromkeys(numbers))
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    shown = ", ".join(map(str, numbers[:5]))
    return f"lines {shown}" + (f" … {numbers[-1]}" if len(numbers) > 5 else "")


def _first(text: str) -> str:
    line = " ".join(text.split("\n", 1)[0].split())
    return line if len(line) <= 240 else line[:239] + "…"
