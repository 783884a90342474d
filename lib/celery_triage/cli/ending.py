"""How a command ends: exit codes, the one sentence on stderr, data on stdout."""

from __future__ import annotations

import os
import sys
from pathlib import Path
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


class Terminated(BaseException):
    """SIGTERM came. No ``Exception``: what goes on after a bug of its own must not go on after this."""


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


def told(error: OSError) -> str:
    """What kept something from being written, without numbers and without names of temporary files."""
    if error.filename is None or error.strerror is None:
        return error.strerror or str(error)
    path = Path(os.fsdecode(error.filename))
    while path.name.startswith(".") or path.parent.name.startswith("."):
        path = path.parent
    return f"{error.strerror} ({path})"


def refuse_unwritable(*places: Path | None) -> None:
    """End before anything is collected where a new file or folder cannot be made: what it is to lie in, or
    the nearest above that exists, is no folder or is not this user's to write in."""
    for place in places:
        if place is None:
            continue
        above = place.absolute().parent
        while not os.path.lexists(above):
            above = above.parent
        if not above.is_dir():
            raise Ended(NOT_WRITTEN, f"nothing can be written: {above} is no folder")
        effective = os.access in os.supports_effective_ids
        if not os.access(above, os.W_OK | os.X_OK, effective_ids=effective):
            read_only = os.statvfs(above).f_flag & os.ST_RDONLY
            why = "is on a read-only file system" if read_only else "is not this user's to write in"
            raise Ended(NOT_WRITTEN, f"nothing can be written: {above} {why}")


def exit_code(diagnosis: Diagnosis) -> int:
    """The verdict as an exit code."""
    from ..model import EXIT_CODES

    return EXIT_CODES[diagnosis.verdict]
