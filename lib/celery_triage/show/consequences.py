"""The causal picture: each cause with what follows from it, drawn, and the same in words.

It draws what the diagnosis says and adds nothing: which finding explains which, and behind which causes a
latent one waits (those that are active on a service where it is latent).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..model import Diagnosis, Finding
from . import units
from .drawing import Drawing, wrapped
from .output import MARKS, Shown, render, sentence, stacked

CAUSE_X, CAUSE_W, FOLLOW_X, FOLLOW_W = 4, 452, 540, 436
LINE_H, PAD, GAP = 16, 9, 12
#: Causes, and for each cause kinds of consequences, that are drawn; the rest is counted.
CAUSES, KINDS = 12, 5
ROLES = {"active": "critical", "latent": "warning"}


def picture(diagnosis: Diagnosis) -> Shown:
    """The picture with its text; a sentence where there is no cause."""
    causes = diagnosis.cause_findings
    if not causes:
        return sentence("No cause was found, so nothing follows from one.")
    drawn = causes[:CAUSES]
    rows = [(_cause(diagnosis, f, n), _following(diagnosis, f)) for n, f in enumerate(drawn, 1)]
    heights = [max(_high(left), sum(map(_high, right)) + GAP * (len(right) - 1)) for left, right in rows]
    drawing = Drawing(FOLLOW_X + FOLLOW_W + 4, sum(heights) + GAP * 2 * len(rows) + 4)
    top = float(GAP)
    for finding, (left, right), high in zip(drawn, rows, heights, strict=True):
        _row(drawing, finding, left, right, top, high)
        top += high + 2 * GAP
    said = [_said(diagnosis, finding, n) for n, finding in enumerate(causes, 1)]
    alt = "From cause to consequence. " + " ".join(said[:CAUSES])
    more = len(causes) - len(drawn)
    caption = "Left each cause, right what follows from it."
    caption += f" {units.count(more, 'more cause')} not drawn." if more else ""
    words = render("fold.html", summary="The same in words", text="\n".join(said), open=False)
    return stacked(drawing.finish(alt, caption), Shown(words, ""))


def _cause(diagnosis: Diagnosis, finding: Finding, number: int) -> list[str]:
    """The lines of a cause's box: its number and state in words, its title, and behind what it waits."""
    state = f"{MARKS[finding.state]} {finding.state}, {finding.certainty}"
    lines = [f"{number}.  {state}  {finding.code} {finding.name}"]
    lines += _cut(wrapped(finding.title, 62), 3)
    hidden_by = masking(diagnosis, finding)
    if hidden_by:
        lines.append(_waits(finding, hidden_by))
    return lines


def _waits(finding: Finding, hidden_by: Sequence[Finding]) -> str:
    where = "" if finding.state == "latent" else "on other services it "
    codes = dict.fromkeys(one.code for one in hidden_by)
    return f"{where}waits behind {units.listed(codes, 4)}"


def masking(diagnosis: Diagnosis, finding: Finding) -> list[Finding]:
    """The causes that are active on a service where this one is latent, in their order."""

    def state(of: Finding, label: str) -> str:
        return of.service_states.get(label, of.state)

    waits = {label for label in finding.services if state(finding, label) == "latent"}
    return [
        other
        for other in diagnosis.cause_findings
        if other.id != finding.id
        and any(label in waits and state(other, label) == "active" for label in other.services)
    ]


def _following(diagnosis: Diagnosis, finding: Finding) -> list[list[str]]:
    """A box for each kind of consequence, with its services."""
    kinds = _kinds(diagnosis.consequences(finding.id))
    boxes = [[name, *(_cut(wrapped(f"on {on}", 62), 2) if on else ())] for name, on in kinds[:KINDS]]
    if len(kinds) > KINDS:
        boxes.append([f"and {units.count(len(kinds) - KINDS, 'more kind')} of consequences"])
    return boxes


def _kinds(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Consequences of one rule together: its code and name, and where they are seen."""
    held: dict[str, dict[str, None]] = {}
    for finding in findings:
        held.setdefault(f"{finding.code} {finding.name}", {}).update(dict.fromkeys(finding.services))
    return [(name, units.listed(services, 4) if services else "") for name, services in held.items()]


def _row(
    drawing: Drawing,
    finding: Finding,
    left: Sequence[str],
    right: Sequence[list[str]],
    top: float,
    high: float,
) -> None:
    role = ROLES.get(finding.state, "soft")
    middle = top + high / 2
    own = _high(left)
    drawing.box(CAUSE_X, middle - own / 2, CAUSE_W, own, "band", role)
    _lines(drawing, CAUSE_X + 12, middle - own / 2, left, role)
    if not right:
        nothing = "nothing yet, it is masked" if finding.state == "latent" else "nothing else was found"
        drawing.text(FOLLOW_X, middle, nothing, "soft", 11.5)
        return
    at = middle - (sum(map(_high, right)) + GAP * (len(right) - 1)) / 2
    start, bend = CAUSE_X + CAUSE_W, (CAUSE_X + CAUSE_W + FOLLOW_X) / 2
    for box in right:
        tall = _high(box)
        y = at + tall / 2
        drawing.line([start, bend, bend, FOLLOW_X], [middle, middle, y, y], role, 1.6)
        drawing.line([FOLLOW_X - 7, FOLLOW_X, FOLLOW_X - 7], [y - 4, y, y + 4], role, 1.6)
        drawing.box(FOLLOW_X, at, FOLLOW_W, tall, "band", "soft")
        _lines(drawing, FOLLOW_X + 12, at, box, "ink")
        at += tall + GAP


def _lines(drawing: Drawing, x: float, top: float, lines: Sequence[str], first: str) -> None:
    for n, line in enumerate(lines):
        drawing.text(x, top + PAD + LINE_H * (n + 0.5), line, "ink" if n else first, 12, bold=n == 0)


def _high(lines: Sequence[str]) -> float:
    return LINE_H * len(lines) + 2 * PAD


def _cut(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1][:58] + "…"]


def _said(diagnosis: Diagnosis, finding: Finding, number: int) -> str:
    """One cause with what follows from it, as sentences."""
    hidden_by = masking(diagnosis, finding)
    waits = f", {_waits(finding, hidden_by)}" if hidden_by else ""
    kinds = [f"{name} ({on})" if on else name for name, on in _kinds(diagnosis.consequences(finding.id))]
    follows = f"; from it follows {units.listed(kinds)}" if kinds else ""
    return f"{number}. {finding.code}, {finding.state}{waits}: {finding.title}{follows}."
