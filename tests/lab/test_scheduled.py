"""Scheduled checks as users run them: the tool's own image on the networks of a real stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.lab import lab as labs
from tests.lab import test_faults, tool
from tests.lab.place import own_prefix
from tests.lab.waiting import wait_for, wait_until

pytestmark = pytest.mark.docker
PREFIX = own_prefix("ctsched_")
SOCKET = "/var/run/docker.sock"
SCHEMA = Path(__file__).resolve().parents[2] / "lib/celery_triage/data/change.schema.json"


@pytest.fixture
def stack():
    """A healthy stack, removed afterwards."""
    if why := test_faults.engine_missing():
        (pytest.fail if test_faults.REQUIRED else pytest.skip)(why)
    try:
        yield labs.up(labs.load_fault("healthy"), PREFIX)
    finally:  # also what never came up
        labs.down(labs.Lab.at(PREFIX))


@pytest.fixture
def reports(tmp_path) -> Path:
    """A folder that the user inside the image may write to."""
    folder = tmp_path / "reports"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def one_round(lab: labs.Lab, reports: Path) -> subprocess.CompletedProcess[str]:
    """One round in a container of its own, as the README says it."""
    words = ["docker", "run", "--rm", "--init", "--name", f"{PREFIX}tool"]
    words += ["--network", lab.networks["database-net"]]
    words += ["--group-add", str(os.stat(SOCKET).st_gid), "--volume", f"{SOCKET}:{SOCKET}"]
    words += ["--volume", f"{lab.backend_dir}:{lab.backend_dir}:ro", "--volume", f"{reports}:/reports"]
    words += [tool.image(), "run", "--scheduled", "--reports", "/reports", "-p", lab.backend_project]
    words += ["--on-change", "tee -a /reports/told.jsonl"]
    return subprocess.run(words, env=lab.env, capture_output=True, text=True, timeout=240, check=False)


def told(reports: Path) -> list[dict]:
    file = reports / "told.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def test_three_rounds_healthy_broken_cured_hand_over_two_changes(stack, reports):
    """From a container on the stack's networks: nothing, then what is wrong, then that it is resolved."""
    backend = stack.files["backend"]
    healthy = backend.read_text("utf-8")

    def settled() -> bool:
        """The tool itself says when nothing is too young any more; it looks from the host here."""
        words = [sys.executable, "-m", "celery_triage.cli", "check", "-p", stack.backend_project, "--json"]
        done = subprocess.run(words, env=stack.env, capture_output=True, text=True, check=False)
        return bool(done.stdout) and not json.loads(done.stdout)["settling"]

    wait_until(settled, 120, lambda: "the stack is still settling")
    first = one_round(stack, reports)
    assert (first.returncode, told(reports)) == (0, []), first.stderr

    backend.write_text(healthy.replace("--queues email_processing", "--queue=email_processing"), "utf-8")
    labs.compose(stack, "backend", "up", "--detach")
    wait_for(stack, {"restarting": ["email_worker"], "min_restarts": 2})
    second = one_round(stack, reports)
    assert second.returncode == 2, second.stderr
    (change,) = told(reports)
    assert change["verdict"] == {"before": "ok", "now": "critical"}
    assert [(one["code"], one["services"], one["object"]) for one in change["events"] if one["cause"]] == [
        ("CMD001", ["email_worker"], "--queue")
    ]

    backend.write_text(healthy, "utf-8")
    labs.compose(stack, "backend", "up", "--detach")
    wait_for(stack, {"ready": "all"})
    wait_until(settled, 120, lambda: "the stack is still settling")
    third = one_round(stack, reports)
    assert third.returncode == 0, third.stderr
    changes = told(reports)
    assert [one["verdict"]["now"] for one in changes] == ["critical", "ok"]
    assert {one["what"] for one in changes[1]["events"]} == {"resolved"}
    for one in changes:
        jsonschema.validate(one, json.loads(SCHEMA.read_text("utf-8")), jsonschema.Draft202012Validator)
    assert len([path for path in reports.glob("2*Z_*") if path.is_dir()]) == 3
    assert (reports / "index.html").read_text("utf-8").count("/index.html") >= 3
    patch = next(reports.glob("*/fix.patch")).read_text("utf-8")
    assert "+" in patch and "--queues" in patch  # the Compose file was read from inside, at its own path
