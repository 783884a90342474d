"""``celery-triage check``."""

from __future__ import annotations

from typing import Any

import click

from .ending import exit_code, give
from .evidence import obtain
from .options import looking
from .terminal import print_page


@click.command()
@looking
@click.option("--json", "as_json", is_flag=True, help="The diagnosis as JSON (schema 1).")
def check(as_json: bool, **asked: Any) -> int:
    """The same diagnosis in the terminal."""
    evidence, _ = obtain(**asked)
    from ..causes import diagnose

    diagnosis = diagnose(evidence)
    if as_json:
        from ..model import dumps
        from ..summary import summary

        give(dumps(summary(diagnosis, evidence)))
    else:
        print_page(diagnosis, evidence)
    return exit_code(diagnosis)
