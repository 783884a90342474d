"""``celery-triage run --scheduled``: its options, and a round of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from .ending import NOT_WRITTEN, UNKNOWN, WRONG_USE, Ended, give, say

#: The longest round of a scheduled check, unless said otherwise (s).
ROUND_S = 120.0
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Age(click.ParamType):
    """A length of time, ``90s``, ``30m``, ``2h``, ``1d`` or seconds, as seconds."""

    name = "AGE"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        found = re.fullmatch(r"([0-9]{1,9})\s*([smhd]?)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no length of time; write 90s, 30m, 2h or 1d", param, ctx)
        return float(found[1]) * _UNITS[found[2] or "s"]


#: The options that have a meaning with ``--scheduled`` only.
SCHEDULE = (
    click.option(
        "--archive-every",
        metavar="AGE",
        type=Age(),
        default="1d",
        show_default=True,
        help="Archive a report at least so often; 0 for never without a change.",
    ),
    click.option(
        "--archive-on-change/--no-archive-on-change",
        default=True,
        show_default=True,
        help="Archive a report when the diagnosis has changed.",
    ),
    click.option(
        "--keep-days",
        metavar="DAYS",
        type=click.FloatRange(0),
        default=90,
        show_default=True,
        help="Delete older reports; 0 for never.",
    ),
    click.option(
        "--keep-count",
        metavar="N",
        type=click.IntRange(0),
        default=500,
        show_default=True,
        help="Delete the oldest reports of a target that has more; 0 for never.",
    ),
    click.option(
        "--on-change",
        metavar="COMMAND",
        default="",
        help="Command (no shell) that is given each change as JSON on its standard input.",
    ),
    click.option(
        "--on-change-timeout",
        metavar="AGE",
        type=Age(),
        default="30s",
        show_default=True,
        help="Time after which that command is killed.",
    ),
)

#: Their names as parameters.
SCHEDULED = (
    "archive_every",
    "archive_on_change",
    "keep_days",
    "keep_count",
    "on_change",
    "on_change_timeout",
)


def scheduling(command: Any) -> Any:
    """The options of scheduled checks."""
    for option in reversed(
        (
            click.option(
                "--scheduled",
                is_flag=True,
                help="For cron and systemd: one at a time, bounded, quiet unless something has changed.",
            ),
            click.option(
                "--deadline",
                metavar="AGE",
                type=Age(),
                help="The longest run: pages that are not done then are missing. Default 60s, and 2m for a "
                "scheduled round.",
            ),
            *SCHEDULE,
        )
    ):
        command = option(command)
    return command


def refuse_without_schedule(context: click.Context, names: Sequence[str]) -> None:
    """An option of scheduled checks that was given without ``--scheduled`` is refused, not ignored."""
    given = [
        name for name in names if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        options = ", ".join("--" + name.replace("_", "-") for name in given)
        raise Ended(WRONG_USE, f"{options} has a meaning with --scheduled only")


def scheduled_round(
    out: Path, only: Sequence[str], obtain: Callable[[], Any], asked: dict[str, Any], wanted: dict[str, Any]
) -> int:
    """One round; the exit code is that of the verdict."""
    from .. import scheduled
    from ..model import EXIT_CODES
    from ..scheduled import states

    try:
        command = tuple(shlex.split(wanted["on_change"]))
    except ValueError as error:
        raise Ended(WRONG_USE, f"--on-change cannot be read as a command: {error}") from None
    job = asked.get("project") or "+".join((*asked.get("containers", ()), *asked.get("networks", ())))

    def look() -> Any:
        try:
            return obtain()
        except Ended as error:
            # A project that was there and is gone is no slip of the pen.
            if error.code == UNKNOWN or states.path(out, plan.job).exists():
                raise scheduled.CannotLook(str(error)) from None
            raise

    plan = scheduled.Plan(
        out=out,
        job=job or "default",
        only=tuple(only),
        deadline_s=wanted["deadline"],
        archive_on_change=wanted["archive_on_change"],
        archive_every_s=wanted["archive_every"],
        keep_days=wanted["keep_days"],
        keep_count=wanted["keep_count"],
        on_change=command,
        on_change_timeout_s=wanted["on_change_timeout"],
    )
    try:
        done = scheduled.run(plan, look, lambda line: None)
    except states.Busy as error:
        raise Ended(UNKNOWN, str(error)) from None
    except OSError as error:
        raise Ended(NOT_WRITTEN, f"the folder of reports cannot be used: {error}") from None
    for trouble in done.troubles:
        say(f"celery-triage: {trouble}")
    if done.line:
        give(done.line)
    return NOT_WRITTEN if done.unwritten else EXIT_CODES[done.verdict]
