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
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "markdown"]),
    default=None,
    help="How the diagnosis is written; markdown is for a chat or a ticket.",
)
def check(as_json: bool, form: str | None, **asked: Any) -> int:
    """The same diagnosis in the terminal."""
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} exclude each other")
    evidence, _ = obtain(**asked)
    from ..causes import diagnose

    diagnosis = diagnose(evidence)
    if as_json or form == "json":
        from ..model import dumps
        from ..summary import summary

        give(dumps(summary(diagnosis, evidence)))
    elif form == "markdown":
        from ..report.message import message

        give(message(diagnosis, evidence).rstrip("\n"))
    else:
        print_page(diagnosis, evidence)
    return exit_code(diagnosis)
