"""What the soak calls an alarm, and when it may call itself passed. The soak itself is `make soak`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.lab.soak import Soak, alarms_in, page


def finding(severity: str, state: str = "active") -> dict:
    said = {"code": "BRK005", "name": "backlog-growing", "title": "It grows"}
    return {"severity": severity, "state": state, **said}


@pytest.mark.parametrize(
    ("findings", "verdict", "count"),
    [
        ([], "ok", 0),
        ([finding("notice")], "ok", 0),
        ([finding("warning", "history")], "ok", 0),
        ([finding("warning")], "warning", 1),
        ([finding("critical"), finding("warning", "latent")], "critical", 2),
        ([], "unknown", 1),
    ],
)
def test_all_above_a_notice_and_every_verdict_but_ok_is_an_alarm(findings, verdict, count):
    """What is healed or only worth knowing is none; a look that could not look is one."""
    assert len(alarms_in({"findings": findings, "verdict": verdict}, "after 20 s")) == count


@pytest.mark.parametrize(
    ("came", "ok"),
    [
        (Soak(looks=45, sent=2700, done=2700, beats=170), True),
        (Soak(looks=45, sent=2700, done=2700, beats=170, alarms=["after 20 s: …"]), False),
        (Soak(looks=0, sent=2700, done=2700, beats=170), False),
        (Soak(looks=45, sent=0, done=0, beats=170), False),
        (Soak(looks=45, sent=2700, done=1200, beats=170), False),
        (Soak(looks=45, sent=2700, done=2700, beats=0), False),
    ],
)
def test_a_soak_without_looks_or_without_work_proves_nothing(came, ok):
    """Passed means: looked at, nothing alleged, the tasks executed, beat at work."""
    assert came.ok is ok
    assert ("**not ok**" in page(came, 15, 20, "Celery 5.7.0")) is not ok
