"""The faults of the lab on a real Docker Engine, from the broken stack to the judged cure.

All that are not ``long``; `make faults` runs those, too. CELERY_TRIAGE_LANES says how many run side by side
(2 unless given).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.lab import fault, lanes, runner
from tests.lab.place import own_prefix

pytestmark = pytest.mark.docker

REQUIRED = os.environ.get("CELERY_TRIAGE_REQUIRE_DOCKER") == "1"
LANES = int(os.environ.get("CELERY_TRIAGE_LANES") or 2)
PREFIX = own_prefix("cttest_")  # neither that of `make lab-up` nor that of `make faults`


def engine_missing() -> str:
    """Why the lab cannot run on this machine; empty where it can."""
    for words, told in (
        (["docker", "version", "--format", "{{.Server.Version}}"], "no Docker Engine answers"),
        (["docker", "compose", "version"], "`docker compose` is missing"),
    ):
        try:
            asked = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        except FileNotFoundError:
            return f"{told}: there is no command `docker`"
        except subprocess.TimeoutExpired:
            return f"{told} within 20 s"
        if asked.returncode:
            return f"{told}: {(asked.stderr or asked.stdout).strip().splitlines()[-1]}"
    return ""


@pytest.fixture(scope="module")
def engine():
    """A Docker Engine, cleared of the lab's stacks afterwards; without one a test is skipped or fails."""
    why = engine_missing()
    if why:
        (pytest.fail if REQUIRED else pytest.skip)(why)
    yield
    for prefix in lanes.prefixes(PREFIX, LANES):
        runner.clean_up(prefix)


@pytest.fixture(scope="module")
def running(engine, request):
    """The faults of the tests that were chosen, running in their lanes while the tests wait for each."""
    chosen = (getattr(item, "callspec", None) for item in request.session.items if item.path == request.path)
    names = [call.params["name"] for call in chosen if call and "name" in call.params]
    running = lanes.Lanes(names, PREFIX, LANES).start()
    yield running
    running.stop()


def _told(result):
    return "\n".join([result.line, *result.details])


def _short():
    return [name for name in fault.fault_names() if not fault.load_fault(name).long]


@pytest.mark.parametrize("name", _short())
def test_fault(running, name):
    """The causes are named, nothing else is alleged, and the remedy that was given cures the stack."""
    result = running.results[name].result()
    assert result.comparison.ok, _told(result)
    assert result.cured, _told(result)


@pytest.fixture(scope="module")
def curable():
    """Some fault that has causes: the first in the folder."""
    return next(name for name in _short() if fault.load_fault(name).expected)


@pytest.mark.parametrize("mode", ["no-op", "stop-service"])
def test_the_lab_is_not_fooled(engine, curable, mode):
    """Doing nothing, or stopping what is broken, is judged as not cured, and the line says so."""
    result = runner.run_fault(curable, options=runner.Options(PREFIX, mode=mode, patience=20.0))
    assert not result.error, _told(result)
    assert result.judgements
    assert not result.cured
    assert f"remedy {mode}; not cured" in result.line
