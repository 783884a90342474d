"""One figure against its target, and the page that holds all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.bench.measure import Spread


@dataclass(frozen=True)
class Figure:
    """What was measured of one part. ``why`` says why nothing could be, else it is empty.

    With ``against`` the target is a ratio: the other side's time by ours, repetition by repetition, at least
    ``target``. Without, it is a limit: ours at most ``target``, in ``unit``. The middle value is judged.
    """

    part: str
    what: str
    target: float
    unit: str = "s"
    ours: tuple[float, ...] = ()
    against: tuple[float, ...] = ()
    notes: tuple[str, ...] = field(default=())
    why: str = ""
    compared: bool = True

    @property
    def ratio(self) -> Spread:
        return Spread.of([other / own for own, other in zip(self.ours, self.against, strict=True)])

    @property
    def reached(self) -> bool:
        if self.why or not self.ours:
            return False
        return self.ratio.middle >= self.target if self.compared else self.middle <= self.target

    @property
    def middle(self) -> float:
        return Spread.of(self.ours).middle

    @property
    def wanted(self) -> str:
        if self.compared:
            return f"at least {self.target:g} times as fast"
        return f"at most {self.target:g} {self.unit}"

    @property
    def cells(self) -> tuple[str, ...]:
        """Part, what, ours, the other side, ratio, target, outcome."""
        if self.why:
            return self.part, self.what, "-", "-", "-", self.wanted, f"**MISSED**: not measured, {self.why}"
        digits = 0 if self.unit == "MiB" else 2
        return (
            self.part, self.what, f"{Spread.of(self.ours).told(digits)} {self.unit}",
            f"{Spread.of(self.against).told(2)} s" if self.compared else "-",
            self.ratio.told(2) if self.compared else "-",
            self.wanted, "reached" if self.reached else "**MISSED**",
        )  # fmt: skip

    @property
    def line(self) -> str:
        part, what, ours, other, ratio, wanted, outcome = self.cells
        told = f"{part} {what}: {ours}"
        if self.compared:
            told += f", against {other}, ratio {ratio}"
        return f"{told}; {wanted}: {outcome.replace('*', '')}"


def rendered(figures: Sequence[Figure], circumstances: Iterable[str]) -> str:
    """The page: a row for each figure, its notes below, and on what all of it was measured."""
    missed = [figure.part for figure in figures if not figure.reached]
    head = ("Part", "What", "celery-triage", "The other side", "Ratio", "Target", "Outcome")
    lines = [
        "# celery-triage against the commands that it replaces", "",
        "Written by `make bench`. Both sides run in turn, repetition by repetition, on one machine; each "
        "cell holds the least, the middle and the most. A ratio is the other side's time by ours in the same "
        "repetition. The middle value is held against the target.", "",
        f"- {len(figures) - len(missed)} of {len(figures)} targets reached"
        + (f"; **missed: {', '.join(missed)}**" if missed else ""),
        *(f"- {told}" for told in circumstances), "",
        _row(head), _row(("---",) * len(head)), *(_row(figure.cells) for figure in figures), "",
    ]  # fmt: skip
    for figure in figures:
        if figure.notes:
            lines += [f"## {figure.part}", "", *(f"- {note}" for note in figure.notes), ""]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
