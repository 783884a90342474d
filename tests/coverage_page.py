"""Write ``COVERAGE.md``: every item of ``coverage.yml`` with its proof, or *open*.

python -m tests.coverage_page
"""

from __future__ import annotations

from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
PAGE = HERE / "COVERAGE.md"
#: What proves an item: how the page calls it, and where its file lies under ``tests``.
KINDS = {
    "fault": ("live fault", "lab/faults/{}.yml"),
    "log": ("recorded log", "unit/data/logs/{}.log"),
    "message": ("recorded words", "unit/data/messages/{}.txt"),
}


def items() -> dict[str, dict[str, dict[str, str]]]:
    """By family, by item: the kind of each proof and its name, and the ``code`` that a recording must give;
    an open item has none."""
    data = yaml.safe_load((HERE / "coverage.yml").read_text(encoding="utf-8"))
    return {family: {item: proofs or {} for item, proofs in found.items()} for family, found in data.items()}


def proof(kind: str, name: str) -> Path:
    """The file of a proof."""
    return HERE / KINDS[kind][1].format(name)


def page() -> str:
    """The text of the page."""
    families = items()
    every = [proofs for found in families.values() for proofs in found.values()]
    proven = [proofs for proofs in every if proofs]
    live = sum("fault" in proofs for proofs in every)
    lines = [
        "# What is proven",
        "",
        "Written by `python -m tests.coverage_page` from coverage.yml beside it. A *live fault* breaks the",
        "real stack (whether its last run came out right stands in lab/RESULTS.md); a *recorded log* is the",
        "whole log of a real process; *recorded words* are what a real server or client said: the catalogue",
        "must hear the right code in both. Messages that were only written count as open.",
        "",
        f"**{len(proven)} of {len(every)} items proven ({100 * len(proven) // len(every)} %)**, {live} of "
        f"them by a live fault, {len(every) - len(proven)} open.",
        "",
        "| Family | Items | Proven | By a live fault |",
        "| --- | --- | --- | --- |",
    ]
    for family, found in families.items():
        faults = sum("fault" in proofs for proofs in found.values())
        lines.append(f"| {family} | {len(found)} | {sum(map(bool, found.values()))} | {faults} |")
    for family, found in families.items():
        lines += ["", f"## {family}", "", "| Item | Proof |", "| --- | --- |"]
        for item, proofs in found.items():
            told = "; ".join(
                f"{KINDS[kind][0]} [{name}]({KINDS[kind][1].format(name)})"
                for kind, name in proofs.items()
                if kind in KINDS
            )
            lines.append(f"| {item} | {told or '**open**'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
