"""Measures the tool against the commands that it replaces, both sides in one run: ``make bench``.

    python -m tests.bench [PART…] [--table FILE] [--repetitions N] [--prefix P]

Prints each figure as it comes. With all parts (the default) and ``--table`` the page is written. Exit code 0
only if every target was reached, 1 if one was missed or could not be measured, 64 for wrong use.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):  # run by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import page, parts


def main(argv: list[str] | None = None) -> int:
    """The command line. What was started for a measurement is removed whatever happens."""
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts.PARTS)} (default: all)")
    parser.add_argument("--table", metavar="FILE", help="write the page there, if all parts were measured")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="(default %(default)s)")
    parser.add_argument("--prefix", default="ctbench_", help="of names on the engine (default %(default)s)")
    given = parser.parse_args(argv)
    unknown = sorted(set(given.parts) - set(parts.PARTS))
    if unknown or given.repetitions < 1:
        why = f"there is no part {', '.join(unknown)}" if unknown else "one repetition is the least"
        print(f"bench: {why}", file=sys.stderr)
        return 64
    figures: list[page.Figure] = []
    for name in given.parts or parts.PARTS:
        for figure in parts.measured(name, given.repetitions, given.prefix):
            figures.append(figure)
            print(figure.line, flush=True)
    if given.table and not given.parts:
        Path(given.table).write_text(page.rendered(figures, parts.circumstances()), encoding="utf-8")
    return 0 if figures and all(figure.reached for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
