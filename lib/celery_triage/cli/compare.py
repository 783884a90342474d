"""``celery-triage compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import WRONG_USE, Ended, refuse_unwritable
from .evidence import looked
from .options import proving
from .terminal import show_comparison


@click.command()
@click.argument("before", metavar="BEFORE", type=click.Path(path_type=Path))
@click.argument("after", metavar="AFTER", type=click.Path(path_type=Path))
@proving
def compare(before: Path, after: Path, **wanted: Any) -> int:
    """What was resolved, what is left, what is new, what is not proven. BEFORE and AFTER are reports or
    bundles of evidence.

    Exit codes: 0 resolved, 1 settling or not yet proven, 2 not resolved, 3 one of them cannot be read, 64
    wrong use (as BEFORE and AFTER swapped), 69 nothing could be written.
    """
    refuse_unwritable(wanted["markdown"], wanted["html"])
    first, second = looked(before), looked(after)
    from ..report import compare as comparing

    try:
        compared = comparing.compare(first, second)
    except comparing.Swapped as error:
        raise Ended(WRONG_USE, str(error)) from None
    show_comparison(compared, None, **wanted)
    return comparing.EXIT_CODES[compared.result]
