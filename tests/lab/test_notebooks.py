"""Every runbook in a real JupyterLab, live on a really broken stack."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
from chromium import browser
from jupyter_page import RUNBOOKS, opened, server
from tests.lab import lab as labs
from tests.lab import test_faults
from tests.lab.place import own_prefix

pytestmark = pytest.mark.docker
PREFIX = own_prefix("ctbooks_")


@pytest.fixture(scope="module")
def stack():
    """The incident's stack, broken as it was, removed afterwards."""
    if why := test_faults.engine_missing():
        (pytest.fail if test_faults.REQUIRED else pytest.skip)(why)
    if not test_faults.REQUIRED:
        pytest.importorskip("jupyterlab")
    try:
        yield labs.up(labs.load_fault("backend-reboot"), PREFIX)
    finally:  # also what never came up
        labs.down(labs.Lab.at(PREFIX))


def test_every_runbook_runs_live_from_its_menu(stack, tmp_path):
    """The project is written into the parameters as a person would; each notebook says that it looked at the
    live stack, each cell behind the set-up shows something, none an error, and the browser has nothing to
    say. The triage names the cause that was planted and leads to the runbook that shows it."""
    said = {}
    with browser() as chromium, server(tmp_path / "lab", stack.backend_project) as at:
        for path in RUNBOOKS:
            with opened(chromium, at, path.name, wide=1024) as held:
                held.run_all()
                shown = held.outputs()
                assert (path.name, held.errors(), held.said) == (path.name, [], [])
                assert f"{stack.backend_project}, live." in shown[1], path.name
                assert all(text.strip() or n == 0 for n, text in enumerate(shown)), path.name
                assert held.page.locator(".jp-OutputArea script").count() == 0
                said[path.stem] = shown
    assert any("knows no option --queue" in text for text in said["00_triage"])
    assert "30 launch commands" in said["00_triage"][-1]
    assert all("00 triage: back to the whole" in said[path.stem][-1] for path in RUNBOOKS[1:])
