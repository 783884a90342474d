"""What is shipped for cron and systemd says what the command line understands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from celery_triage import cli
from celery_triage.cli import scheduled

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = ("celery-triage.service", "celery-triage.timer")


def commands() -> list[list[str]]:
    """Every command line of the tool in the shipped files and in the README."""
    files = [DEPLOY / "crontab", DEPLOY / "celery-triage.service", ROOT / "README.md"]
    text = "\n".join(path.read_text("utf-8") for path in files).replace("\\\n", " ")
    found = re.findall(r"celery-triage run (--scheduled[^\n`]*)", text)
    return [shlex.split(line, comments=True) for line in found]


def test_every_shipped_command_line_is_understood():
    """Options that do not exist would be found at 3 am."""
    assert len(commands()) >= 3
    for words in commands():
        context = cli.cli.commands["run"].make_context("run", list(words))
        assert context.params["scheduled"] is True


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    """As installed, but for the path of the program, which is not there yet."""
    for name in UNITS:
        text = (DEPLOY / name).read_text("utf-8")
        (tmp_path / name).write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_the_service_lets_a_round_end_by_itself_and_takes_a_verdict_for_no_failure():
    """Its time limit is beyond the deadlines of a round and of the command that is told."""
    text = (DEPLOY / "celery-triage.service").read_text("utf-8")
    options = {
        one.name: one.default for one in cli.cli.commands["run"].params if isinstance(one, click.Option)
    }
    seconds = scheduled.ROUND_S + int(options["on_change_timeout"].rstrip("s"))
    limit = int(re.search(r"(?m)^TimeoutStartSec=(\d+)$", text)[1])
    assert limit > seconds + 30
    assert re.search(r"(?m)^SuccessExitStatus=1 2 3$", text)
    assert {"NoNewPrivileges=yes", "ProtectSystem=strict"} <= set(text.splitlines())
