"""Each part can be imported first: what two modules share lies in a third that imports neither."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "name",
    ["causes", "checks.health.capacity", "checks.memory", "lives", "report.lived", "settling", "stack"],
)
def test_a_module_can_be_the_first_that_is_imported(name):
    """A circle shows only in the order in which nobody happens to import."""
    code = f"import celery_triage.{name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_memory_needs_nothing_of_health():
    """Capacity takes the remedy of memory; the way back would be a circle."""
    from celery_triage.checks import memory

    taken = {getattr(value, "__module__", "") for value in vars(memory).values()}
    assert not {module for module in taken if module.startswith("celery_triage.checks.health")}
    assert "celery_triage.checks.values" in taken
