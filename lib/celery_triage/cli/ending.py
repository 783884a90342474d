"""How a command ends: exit codes, the one sentence on stderr, data on stdout."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..model import Diagnosis

OK, UNKNOWN, WRONG_USE, NOT_WRITTEN, INTERRUPTED, TERMINATED = 0, 3, 64, 69, 130, 143


class Ended(Exception):
    """The command cannot go on: an exit code and the one sentence that says why."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def say(line: str) -> None:
    """A line of progress, on stderr."""
    click.echo(line, err=True)


def give(text: str) -> None:
    """Data, on stdout. A reader that went away (``| head``) changes nothing about the exit code."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would complain at its end


def exit_code(diagnosis: Diagnosis) -> int:
    """The verdict as an exit code."""
    from ..model import EXIT_CODES

    return EXIT_CODES[diagnosis.verdict]
