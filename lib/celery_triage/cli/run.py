"""``celery-triage run``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from .ending import NOT_WRITTEN, WRONG_USE, Ended, exit_code, give, refuse_unwritable, say, told
from .evidence import obtain
from .options import looking
from .scheduled import ROUND_S, SCHEDULED, refuse_without_schedule, scheduled_round, scheduling

#: A run ends within this time whatever the stack does (s): the probes within 38, the runbooks in what they
#: leave. Writing the pages takes the last few.
RUN_S, WRITING_S = 60.0, 4.0


@click.command()
@looking
@click.option(
    "--only", metavar="30,40", default=None, help="Execute only these runbooks; the diagnosis stays whole."
)
@click.option(
    "--reports",
    metavar="DIR",
    type=click.Path(path_type=Path, readable=False),
    default=None,
    help="Where reports go; default is reports/ of this repository.",
)
@click.option(
    "--parameter",
    "parameters",
    metavar="[RUNBOOK:]NAME=VALUE",
    multiple=True,
    help="A parameter for the runbooks that have it, or for one: 60:queue=mail. Repeatable.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["path", "json", "markdown"]),
    default=None,
    help="What is printed: the path of the first page (default), or the diagnosis for a script or a chat.",
)
@scheduling
@click.pass_context
def run(
    context: click.Context,
    only: str | None,
    reports: Path | None,
    parameters: tuple[str, ...],
    form: str | None,
    scheduled: bool,
    deadline: float | None,
    **asked: Any,
) -> int:
    """Diagnose, execute the runbooks, and write a dated report. Prints the path of its first page."""
    from .. import parameters as of_runbooks
    from .. import runbooks

    began = time.monotonic()
    numbers = [part.strip() for part in (only or "").split(",") if part.strip()]
    if only is not None and not numbers:
        raise Ended(WRONG_USE, "--only names no runbook; write their numbers, as 30,40, or leave it out")
    try:
        values = of_runbooks.given(parameters, runbooks.chosen(numbers))
    except (runbooks.NoRunbooks, of_runbooks.WrongParameter) as error:
        raise Ended(WRONG_USE, str(error)) from None
    out = reports or runbooks.folder().parent / "reports"
    wanted = {"deadline": deadline or ROUND_S, **{option: asked.pop(option) for option in SCHEDULED}}
    if scheduled:
        if asked["bundle"] is not None:
            raise Ended(WRONG_USE, "--scheduled looks at a live stack; it has no meaning with --bundle")
        if values:
            raise Ended(WRONG_USE, "--parameter has no meaning with --scheduled: rounds are compared")
        if form:
            raise Ended(WRONG_USE, "--format has no meaning with --scheduled; see --on-change")
        quiet = {key: value for key, value in asked.items() if key != "bundle"}
        return scheduled_round(out, numbers, lambda: obtain(None, quietly=True, **quiet), asked, wanted)
    refuse_without_schedule(context, SCHEDULED)
    refuse_unwritable(out / "a report")
    evidence, redactor = obtain(**asked)
    from .. import report  # not before: it brings threads with it, and collecting forks
    from ..report import archive

    until = began + (deadline or RUN_S) - WRITING_S
    try:
        made = report.run(evidence, out, numbers, say, redactor=redactor, parameters=values, until=until)
    except archive.Leak as error:
        raise Ended(NOT_WRITTEN, str(error)) from None
    except archive.NotListed as error:
        sentence = f"the report is at {error.report}, the list of reports could not be written"
        raise Ended(NOT_WRITTEN, f"{sentence}: {error.strerror}") from None
    except OSError as error:
        raise Ended(NOT_WRITTEN, f"the report could not be written: {told(error)}") from None
    from ..show.triage import causes_of, verdict_of

    say(verdict_of(made.diagnosis).text)
    if made.diagnosis.causes:
        say(causes_of(made.diagnosis).text)
    for line in made.stopped:
        say(f"a page is incomplete: {line}")
    first_page = str(made.path / "index.html")
    if form == "markdown":
        from ..report.message import message

        give(message(made.diagnosis, evidence, first_page).rstrip("\n"))
    elif form == "json":
        give((made.path / "summary.json").read_text("utf-8").rstrip("\n"))
    else:
        give(first_page)
    return exit_code(made.diagnosis)
