"""The command line, a module for each command. Data goes to stdout, progress and errors to stderr.

Everything but click is imported when a command needs it: ``--help`` answers in a tenth of a second. Exit
codes: ``run`` and ``check`` as monitoring plugins (0 ok, 1 warning, 2 critical, 3 unknown), ``verify`` and
``compare`` likewise (0 resolved, 1 not yet proven, 2 not resolved, 3 could not look); 64 wrong use, 69
nothing could be written, 130 and 143 interrupted.
"""

from __future__ import annotations

import difflib
import signal
import sys

import click

from .check import check
from .collect import collect
from .compare import compare
from .ending import INTERRUPTED, OK, TERMINATED, WRONG_USE, Ended, Terminated, say
from .explain import explain
from .lint import lint
from .rules import rules
from .run import run
from .verify import verify


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `celery-triage check`. Nothing is changed on the stack.",
)
@click.version_option(package_name="celery-triage")
def cli() -> None:
    """Why do Celery workers, beat or Flower on Docker restart, hang or stay silent? Names the root cause
    with its proof and the fix."""


for _command in (check, collect, compare, explain, lint, rules, run, verify):
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """The entry point: every way out has its exit code and at most one sentence on stderr."""
    sys.exit(status(arguments))


def status(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return cli.main(arguments, prog_name="celery-triage", standalone_mode=False) or OK
    except Ended as ended:
        say(f"celery-triage: {ended}")
        return ended.code
    except click.NoSuchOption as error:
        say(f"celery-triage: {_unknown_option(error)}")
        return WRONG_USE
    except click.UsageError as error:
        context = error.ctx
        say(
            f"celery-triage: {error.format_message()}"
            + (f" (see `{context.command_path} --help`)" if context else "")
        )
        return WRONG_USE
    except click.ClickException as error:
        say(f"celery-triage: {error.format_message()}")
        return WRONG_USE
    except (click.Abort, KeyboardInterrupt):
        say("celery-triage: interrupted; nothing was left behind")
        return INTERRUPTED
    except Terminated:
        say("celery-triage: told to stop; nothing was left behind")
        return TERMINATED


def _unknown_option(error: click.NoSuchOption) -> str:
    """click (8.5) proposes what is hardly alike (``--json`` for ``--only``): only what is alike, else the
    command that has the option."""
    command, options = "celery-triage", cli.params
    if error.ctx is not None:
        command, options = error.ctx.command_path, error.ctx.command.params
    having = [
        name
        for name, one in sorted(cli.commands.items())
        if any(error.option_name in parameter.opts for parameter in one.params)
    ]
    known = [option for parameter in options for option in parameter.opts]
    alike = difflib.get_close_matches(error.option_name, known, n=1, cutoff=0.8)
    hint = ""
    if having and not command.endswith(tuple(having)):
        hint = f"; {' and '.join(having[:3])} {'has' if len(having) == 1 else 'have'} it"
    elif alike:
        hint = f"; did you mean {alike[0]}?"
    return f"there is no option {error.option_name} of `{command}`{hint} (see `{command} --help`)"


def _terminated(*_: object) -> None:
    raise Terminated
