"""Handing a change over: JSON on the standard input of a command of the user's (``--on-change``)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import since
from ..model import SCHEMA

#: Characters of a command's last words that are kept.
SAID = 300


def payload(job: str, state: since.State, change: since.Change, report: Path | None) -> dict[str, Any]:
    """What is handed over (``data/change.schema.json``): the events, all that is open, and the report."""
    return {
        "schema": SCHEMA,
        "job": job,
        "target": state.target,
        "taken_at": state.taken_at,
        "verdict": {"before": change.before, "now": change.now},
        "events": [{"what": one.what, "why": one.why, **_finding(one.seen)} for one in change.events],
        "open": [{**_finding(one), "doubt": one.doubt} for one in state.open],
        "report": str(report.resolve()) if report is not None else None,
    }


def _finding(seen: since.Seen) -> dict[str, Any]:
    return {
        "fingerprint": seen.fingerprint,
        "code": seen.code,
        "name": seen.name,
        "severity": seen.severity,
        "title": seen.title,
        "services": list(seen.services),
        "object": seen.object,
        "cause": seen.cause,
        "first_seen": seen.first_seen,
        "last_seen": seen.last_seen,
    }


def hand_over(command: Sequence[str], value: dict[str, Any], limit_s: float) -> str:
    """Run the command with the change on its standard input, no shell between.

    Empty where it ended with 0 within ``limit_s`` seconds, else the sentence why not. It never raises: the
    command is the user's, the check is ours. What it starts is ended with it.
    """
    name = os.path.basename(command[0]) if command else "nothing"
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write((json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
        given.seek(0)  # a file, no pipe: a command that reads nothing cannot hold us up
        try:
            process = subprocess.Popen(
                list(command), stdin=given, stdout=said, stderr=said, start_new_session=True
            )
        except (OSError, ValueError, IndexError) as error:
            return f"--on-change: {name} could not be started: {error}"
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code == 0:
            return ""
        said.seek(0, os.SEEK_END)
        said.seek(max(0, said.tell() - SAID))
        words = " ".join(said.read().decode("utf-8", "replace").split())
    ended = f"did not end within {limit_s:g} s and was killed" if code is None else f"ended with {code}"
    return f"--on-change: {name} {ended}" + (f": {words}" if words else "") + "; it is told again next time"


__all__ = ["hand_over", "payload"]
