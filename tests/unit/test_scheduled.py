"""Scheduled checks: one at a time, bounded, reports archived and changes handed over where there are any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from evidence import Incident, backend_reboot

from celery_triage import cli, scheduled
from celery_triage.model import Evidence
from celery_triage.report import archive
from celery_triage.scheduled import handing, states

SCHEMA = json.loads(resources.files("celery_triage").joinpath("data/change.schema.json").read_text("utf-8"))


def live(incident: Incident, minute: int) -> Evidence:
    """The evidence of that incident, as taken live so many minutes after 14:15."""
    return replace(incident.evidence(), origin="live", taken_at=f"2026-11-23T14:{15 + minute}:03Z")


@pytest.fixture
def told(tmp_path) -> Path:
    """Where the command that is told of changes writes, a line for each."""
    return tmp_path / "told.jsonl"


@pytest.fixture
def plan(tmp_path, told) -> scheduled.Plan:
    return scheduled.Plan(
        out=tmp_path / "reports",
        job="ai_backend",
        only=("00",),
        on_change=("sh", "-c", f'cat >> "{told}"'),
    )


@pytest.fixture
def silent(plan) -> scheduled.Plan:
    """A plan that archives nothing, for what is not about reports."""
    return replace(plan, archive_on_change=False, archive_every_s=0)


def round_of(plan: scheduled.Plan, evidence: Evidence | Exception) -> scheduled.Round:
    def collect():
        if isinstance(evidence, Exception):
            raise evidence
        return evidence, None

    return scheduled.run(plan, collect, lambda line: None)


def reports(plan: scheduled.Plan) -> list[str]:
    return sorted(path.name for path in plan.out.glob("2026-*"))


def changes(told: Path) -> list[dict]:
    return [json.loads(line) for line in told.read_text("utf-8").splitlines()] if told.exists() else []


def test_healthy_broken_broken_cured_hands_over_two_changes_and_archives_three_reports(plan, told):
    """Each as its schema says; a round in which nothing changed archives nothing and says nothing."""
    looks = [Incident(), backend_reboot(), backend_reboot(), Incident()]
    rounds = [round_of(plan, live(one, minute)) for minute, one in enumerate(looks)]
    assert [one.verdict for one in rounds] == ["ok", "critical", "critical", "ok"]
    assert [bool(one.report) for one in rounds] == [True, True, False, True]
    assert len(reports(plan)) == 3 and rounds[2].line == ""
    handed = changes(told)
    assert [one["verdict"] for one in handed] == [
        {"before": "ok", "now": "critical"},
        {"before": "critical", "now": "ok"},
    ]
    for one in handed:
        jsonschema.validate(one, SCHEMA, jsonschema.Draft202012Validator)
    assert {one["what"] for one in handed[0]["events"]} == {"new"} and handed[0]["open"]
    assert {one["what"] for one in handed[1]["events"]} == {"resolved"} and not handed[1]["open"]
    assert Path(handed[1]["report"]).name == reports(plan)[2]
    state = json.loads((plan.out / "latest.json").read_text("utf-8"))
    assert (state["verdict"], state["report"]) == ("ok", reports(plan)[2])


def test_the_last_state_is_written_also_where_nothing_is_archived(plan):
    """``latest.json`` is of this round, and names the report that shows the same diagnosis."""
    for minute in (0, 1):
        round_of(plan, live(backend_reboot(), minute))
    state = json.loads((plan.out / "latest.json").read_text("utf-8"))
    assert state["taken_at"] == "2026-11-23T14:16:03Z"
    assert [state["report"]] == reports(plan)


def test_a_day_after_the_last_report_the_same_diagnosis_is_archived_again(plan):
    """And never where that is switched off; nor on a change where that is."""
    never = replace(plan, archive_every_s=0)
    later = replace(live(Incident(), 0), taken_at="2026-11-24T14:15:04Z")
    assert round_of(plan, live(Incident(), 0)).report
    assert not round_of(never, later).report
    assert round_of(plan, later).report
    off = replace(never, archive_on_change=False)
    broken = replace(live(backend_reboot(), 0), taken_at="2026-11-24T14:20:04Z")
    assert not round_of(off, broken).report and len(reports(plan)) == 2


def test_no_engine_is_a_verdict_with_its_sentence(silent, told):
    """The last state says unknown and why; what was open stays open, in doubt; the second round tells it."""
    plan = silent
    round_of(plan, live(backend_reboot(), 0))
    blind = [round_of(plan, scheduled.CannotLook("no Docker Engine answers")) for _ in range(2)]
    state = json.loads((plan.out / "latest.json").read_text("utf-8"))
    assert state["verdict"] == "unknown" and state["unknown"][0]["why"] == "no Docker Engine answers"
    assert state["target"] == "ai_backend" and not any(one.report for one in blind)
    kept, _ = states.load(plan.out, plan.job)
    assert kept.state.open and all(one.doubt for one in kept.state.open)
    assert {one.verdict for one in blind} == {"unknown"}
    first, second = changes(told)
    assert second["verdict"] == {"before": "critical", "now": "unknown"} and not second["events"]
    assert first["verdict"] == {"before": None, "now": "critical"}
    assert len(second["open"]) == len(first["open"])


def test_two_blind_rounds_after_a_healthy_one_are_handed_over(silent, told):
    """A check that cannot look any more is an alarm of its own; one round that could not is none."""
    round_of(silent, live(Incident(), 0))
    for _ in range(3):
        round_of(silent, scheduled.CannotLook("no Docker Engine answers"))
    assert [one["verdict"] for one in changes(told)] == [{"before": "ok", "now": "unknown"}]


def test_a_round_that_takes_too_long_is_unknown_and_ends(plan):
    """The deadline holds while the evidence is collected, whatever it waits for."""

    def endless():
        try:
            time.sleep(60)
        except Exception:  # what mends exceptions must not mend this one
            time.sleep(60)

    began = time.monotonic()
    done = scheduled.run(replace(plan, deadline_s=0.5), endless, lambda line: None)
    assert time.monotonic() - began < 20
    assert done.verdict == "unknown" and reports(plan) == []
    assert "0.5 s" in (plan.out / "latest.json").read_text("utf-8")


def test_a_second_round_of_the_same_job_leaves_at_once_and_says_so(silent):
    """The lock is the kernel's; another job is not held up."""
    plan = silent
    plan.out.mkdir()
    with states.held(plan.out, plan.job):
        with pytest.raises(states.Busy, match=f"process {os.getpid()}"):
            round_of(plan, live(Incident(), 0))
        assert round_of(replace(plan, job="other"), live(Incident(), 0)).verdict == "ok"
    assert round_of(plan, live(Incident(), 1)).verdict == "ok"


def test_a_lock_ends_with_its_process_however_that_ends(plan):
    """A killed round never blocks the next one."""
    plan.out.mkdir()
    code = (
        "import sys, time, pathlib; from celery_triage.scheduled import states\n"
        "with states.held(pathlib.Path(sys.argv[1]), 'ai_backend'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(plan.out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(states.Busy), states.held(plan.out, plan.job):
        pass
    process.kill()
    process.wait()
    with states.held(plan.out, plan.job):
        assert states.path(plan.out, plan.job).parent.is_dir()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("sh", "-c", "echo no route >&2; exit 7"), "ended with 7: no route"),
        (("sh", "-c", "sleep 60"), "did not end within 0.5 s and was killed"),
        (("/nowhere/notify",), "could not be started"),
    ],
)
def test_a_command_that_fails_never_fails_the_check_and_is_told_again(silent, told, command, said):
    """The sentence stands among the troubles; the next round hands the same change over."""
    failing = replace(silent, on_change=command, on_change_timeout_s=0.5)
    first = round_of(failing, live(backend_reboot(), 0))
    assert first.verdict == "critical" and not first.unwritten and said in first.troubles[0]
    round_of(silent, live(backend_reboot(), 1))
    assert [{one["what"] for one in change["events"]} for change in changes(told)] == [{"new"}]


def test_a_command_that_reads_nothing_and_leaves_children_holds_nothing_up():
    """What it started is killed with it; a change larger than a pipe's buffer does not matter."""
    value = {"events": ["x" * 300_000]}
    began = time.monotonic()
    assert handing.hand_over(("sh", "-c", "sleep 61 & exit 0"), value, 10) == ""
    assert time.monotonic() - began < 8
    left = subprocess.run(["pgrep", "-f", "^sleep 61$"], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_a_state_that_cannot_be_read_begins_anew_and_is_said(silent):
    """A disk that was full, an older version, a hand that slipped."""
    plan = silent
    round_of(plan, live(backend_reboot(), 0))
    for spoilt in ("", "[]", '{"state": 3}', "\0\0"):
        states.path(plan.out, plan.job).write_text(spoilt)
        again = round_of(plan, live(backend_reboot(), 1))
        assert again.verdict == "critical" and "cannot be read" in again.troubles[0] and again.change


def test_a_full_archive_does_not_silence_the_alarm(plan, told, monkeypatch):
    """The report could not be written: the change is handed over all the same, and the exit code says 69."""

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "publish", full)
    done = round_of(plan, live(backend_reboot(), 0))
    assert done.unwritten and "No space left" in done.troubles[0]
    assert changes(told)[0]["report"] is None and changes(told)[0]["verdict"]["now"] == "critical"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--keep-days", "3"],
        ["--on-change", "true"],
        ["--scheduled", "--bundle", "reports/sample/evidence"],
        ["--scheduled", "--deadline", "soon"],
        ["--scheduled", "--on-change", "notify 'x"],
    ],
)
def test_wrong_use_is_refused(arguments, capsys, tmp_path):
    """64, one sentence, and nothing is written."""
    assert cli.status(["run", *arguments, "--reports", str(tmp_path / "r")]) == 64
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "r").exists()


def test_a_scheduled_run_without_an_engine_ends_with_3_and_leaves_its_state(tmp_path):
    """As cron starts it: no terminal, an almost empty environment, nothing on standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "celery_triage.cli", "run", "--scheduled", "--reports", str(tmp_path / "r")],
        env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "PATH": os.environ["PATH"], "HOME": "/"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert json.loads((tmp_path / "r" / "latest.json").read_text("utf-8"))["verdict"] == "unknown"
