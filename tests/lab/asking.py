"""Asks the tool for its diagnosis of a lab: as a process of its own, as a person or a monitor would."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.place import Lab

CHECK_SECONDS = 120.0  # when the tool is killed


def tool_command() -> tuple[str, ...]:
    """The tool as it is installed beside this Python, else on the path."""
    beside = Path(sys.executable).with_name("celery-triage")
    return (str(beside) if beside.exists() else shutil.which("celery-triage") or "celery-triage",)


class NotDiagnosed(Exception):
    """The tool gave no diagnosis: the message says what it gave instead."""


def diagnose(place: Lab, tool: tuple[str, ...]) -> tuple[dict[str, Any], int]:
    """What ``check --json`` says of the lab's backend, and its exit code. Raises NotDiagnosed."""
    command = [*tool, "check", "-p", place.backend_project, "--json"]
    try:
        done = subprocess.run(
            command, cwd=place.backend_dir, env=place.env, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=CHECK_SECONDS, check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotDiagnosed(f"`{shlex.join(command)}` did not end within {CHECK_SECONDS:.0f} s") from None
    except OSError as error:
        raise NotDiagnosed(f"`{shlex.join(command)}` cannot be run: {error}") from None
    try:
        diagnosis = json.loads(done.stdout)
        if not isinstance(diagnosis, dict) or not {"verdict", "causes", "findings"} <= diagnosis.keys():
            raise ValueError("it lacks verdict, causes or findings")
    except ValueError as error:
        said = done.stderr.decode("utf-8", "backslashreplace").strip()[-1500:]
        raise NotDiagnosed(
            f"`{shlex.join(command)}` gave exit code {done.returncode} and no diagnosis ({error}): {said}"
        ) from None
    return diagnosis, done.returncode
