"""``celery-triage collect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import NOT_WRITTEN, OK, WRONG_USE, Ended, give, refuse_unwritable, told
from .evidence import obtain
from .options import LIVE, PROJECT


@click.command()
@PROJECT
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder to write; it must not exist yet.",
)
def collect(output: Path, **asked: Any) -> int:
    """Collect the evidence into a folder, secrets masked. Diagnose it anywhere with --bundle."""
    from .. import bundle

    if output.exists():
        raise Ended(WRONG_USE, f"{output} exists already; evidence is written to a new folder")
    refuse_unwritable(output)
    evidence, redactor = obtain(bundle=None, **asked)
    try:
        bundle.save(evidence, output)
    except OSError as error:
        raise Ended(NOT_WRITTEN, f"the evidence could not be written: {told(error)}") from None
    give(str(output))
    return OK


for _option in reversed(LIVE):
    collect = _option(collect)
