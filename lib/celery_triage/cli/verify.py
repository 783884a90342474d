"""``celery-triage verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import NOT_WRITTEN, UNKNOWN, WRONG_USE, Ended, refuse_unwritable, say, told
from .evidence import looked
from .options import proving
from .terminal import show_comparison


@click.command()
@click.argument("report", metavar="REPORT", type=click.Path(path_type=Path))
@click.option("--wait", is_flag=True, help="Look again until resolved, or until the time is up.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, 86400),
    help="The longest wait; default is what the services need to settle, 15 minutes at most.",
)
@click.option(
    "--evidence",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Keep what was seen last as a bundle; it must not exist yet.",
)
@click.option("--no-broadcast", is_flag=True, help="Send no Celery ping; nothing at all is then written.")
@click.option("--no-login", is_flag=True, help="Send no password anywhere.")
@click.option(
    "--reach-external", is_flag=True, help="Also ask servers that are no containers of this engine."
)
@proving
def verify(
    report: Path,
    wait: bool,
    timeout: float | None,
    evidence: Path | None,
    as_json: bool,
    markdown: Path | None,
    html: Path | None,
    **asked: Any,
) -> int:
    """Look at the live stack of a REPORT (or bundle) again: is each cause gone, still there, settling, not
    proven? It only looks; verify steps stay text for a person.

    Exit codes: 0 resolved, 1 settling, not yet proven or only warnings left, 2 still there, 3 could not look
    (no engine, the project is gone) or the report cannot be read, 64 wrong use, 69 nothing could be written.
    """
    if evidence is not None and evidence.exists():
        raise Ended(WRONG_USE, f"{evidence} exists already; evidence is written to a new folder")
    refuse_unwritable(evidence, markdown, html)
    before = looked(report)
    from .. import bundle
    from .. import verify as verifying
    from ..collect import CannotCollect, collect
    from ..redact import Redactor
    from ..report.compare import Swapped

    redactor, options = Redactor(), verifying.options_for(before.evidence, asked)
    say("collecting evidence …")
    try:
        compared = verifying.watch(
            before,
            lambda: collect(options, redactor),
            wait=wait or timeout is not None,
            longest=timeout,
            progress=say,
        )
    except CannotCollect as error:
        raise Ended(UNKNOWN, str(error)) from None
    except Swapped as error:
        raise Ended(WRONG_USE, f"{error}: the report is newer than this machine's clock") from None
    if evidence is not None:
        try:
            bundle.save(compared.after.evidence, evidence)
        except OSError as error:
            raise Ended(NOT_WRITTEN, f"the evidence could not be written: {told(error)}") from None
    show_comparison(compared, redactor, as_json, markdown, html)
    return verifying.exit_code(compared)
