"""The table of all faults, written from results of real runs; and lanes, whose results come as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.lab import lanes, table
from tests.lab.results import Result

HERE = Path(__file__).resolve().parent
#: Two faults as `make faults JOBS=2 FAULTS_JSON=…` wrote them; of the diagnosis only what is counted is kept.
RECORDED = json.loads((HERE / "recorded_results.json").read_text())["faults"]
EARLIER, LATER = datetime(2026, 11, 1, 9, 30, tzinfo=UTC), datetime(2026, 11, 24, 0, 26, tzinfo=UTC)
NAMES = ["equals-sign", "unknown-option"]


@pytest.fixture
def results():
    return {item["fault"]: lanes.from_json(item) for item in RECORDED}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "LOCK", tmp_path / "lock")
    return tmp_path / "RESULTS.md"


def test_a_result_comes_back_from_json_as_it_was(results):
    """What a lane's process wrote is the result that an only process would have had, line and all."""
    for item in RECORDED:
        assert json.loads(json.dumps(results[item["fault"]].as_json())) == item
    assert results["unknown-option"].line.startswith("ok   unknown-option")


def test_a_row_says_what_a_run_came_to(results):
    """Causes, verdict, the seconds to a diagnosis, the remedy's kind, the oracle's word and the time."""
    cells = dict(zip(table.COLUMNS, table.row(results["unknown-option"], LATER).cells, strict=True))
    recorded = next(item for item in RECORDED if item["fault"] == "unknown-option")
    assert cells["Causes expected"] == cells["found"] == "1"
    assert (cells["Verdict"], cells["Remedy"], cells["Oracle"]) == ("critical", "exact", "cured")
    assert cells["Diagnosed in (s)"] == f"{recorded['timings']['check']:.1f}"
    assert (cells["Outcome"], cells["Run at (UTC)"]) == ("ok", "2026-11-24 00:26")


def test_healthy_stacks_are_well_without_a_remedy(results):
    """Where nothing was to be cured the table does not say that something was."""
    assert table.row(results["equals-sign"], LATER).cells[6:8] == ("none needed", "well")


def test_a_failure_is_shown_with_its_reason(results):
    """A cause that was missed makes the row a failed one, and the totals count one expected, none found."""
    result = results["unknown-option"]
    result.comparison.missed = [result.comparison.right.pop()]
    row = table.row(result, LATER)
    assert not row.ok
    assert row.cells[2:4] == ("1", "0")
    assert row.cells[9].startswith("FAILED: missed: unknown-option --queue")
    text = table.rendered([row], "", NAMES)
    assert "0 of 1 faults told right and cured; **not so: unknown-option**" in text
    assert "no result yet: equals-sign" in text


def test_a_run_that_could_not_end_is_a_row_too():
    """Without a diagnosis there are no figures, and the reason stands where the outcome does."""
    row = table.row(Result("x", "A title", error="NotReached: after 90 s"), LATER)
    assert row.cells[2:6] == ("-", "-", "-", "-")
    assert row.cells[9] == "FAILED: error: NotReached: after 90 s"
    assert table.rendered([row], "", ["x"]).count("0 of 1") == 1


def test_a_row_reads_back_as_it_was(results):
    """Bars, backslashes and line ends in a sentence do not break the table."""
    result = results["unknown-option"]
    result.title, result.error = "a | b \\ c\\|d", "two\nlines | and a bar"
    row = table.row(result, LATER)
    [back] = table.read(table.rendered([row], "", NAMES))
    assert back.cells[1] == result.title
    assert back.cells[9] == " ".join(row.cells[9].split())


def test_a_run_of_some_faults_keeps_the_others(results, file):
    """Only the rows of the faults that ran are new; each says when it was run."""
    old = [table.row(results[name], EARLIER) for name in NAMES]
    file.write_text(table.rendered(old, "old", NAMES))
    table.note(results["unknown-option"], "new versions", NAMES, file)
    kept, fresh = table.read(file.read_text())
    assert kept == old[0]
    assert kept.cells[10] == "2026-11-01 09:30"
    assert fresh.cells[10].startswith(f"{datetime.now(UTC):%Y-%m-%d}")
    assert "new versions" in file.read_text()


def test_rows_of_faults_that_are_gone_vanish(results, file):
    """A fault that has no file any more has no row after the next run, and is not in the totals."""
    file.write_text(table.rendered([table.row(results[name], EARLIER) for name in NAMES], "", NAMES))
    table.note(results["unknown-option"], "", ["unknown-option"], file)
    assert [row.fault for row in table.read(file.read_text())] == ["unknown-option"]
    assert "1 of 1 faults" in file.read_text()


def test_each_lane_has_a_prefix_of_its_own():
    """The first is the prefix as given, so that one lane is what it always was."""
    assert lanes.prefixes("cttest_", 3) == ["cttest_", "cttest2_", "cttest3_"]


def test_faults_that_want_to_be_alone_come_last(tmp_path):
    """They run when no other is under way; a broken file runs beside others and tells its own mistake."""
    for name, block in (("a", "title: A, alone: true"), ("b", "title: B"), ("c", "titel: C")):
        (tmp_path / f"{name}.yml").write_text(f"x-fault: {{{block}, expect: {{verdict: ok}}}}\n")
    assert lanes.in_turn(["a", "b", "c"], tmp_path) == (["b", "c"], ["a"])


def test_a_lane_gives_the_result_of_a_process_of_its_own(tmp_path):
    """The runner's own word about a broken fault file comes back as a result; no stack is begun for it."""
    (tmp_path / "c.yml").write_text("x-fault: {titel: C}\n")
    told = []
    running = lanes.Lanes(["c"], "ctlanes_", 2, folder=tmp_path, told=told.append).start()
    result = running.results["c"].result(timeout=60)
    assert "x-fault has no titel" in result.error
    assert told == [result]
    running.stop()


def test_what_goes_wrong_in_a_lane_reaches_who_waits(tmp_path):
    """A result that cannot be noted is an error for whoever waits for it, not a wait without end."""
    (tmp_path / "c.yml").write_text("x-fault: {titel: C}\n")

    def told(result):
        raise OSError("no space left")

    running = lanes.Lanes(["c"], "ctlanes_", 1, folder=tmp_path, told=told).start()
    with pytest.raises(OSError, match="no space left"):
        running.results["c"].result(timeout=60)
    running.stop()


def test_a_runner_ends_with_whoever_started_it():
    """Its standard input ends when its parent does; then it ends as by SIGTERM, having cleared its stack."""
    hold, give = os.pipe()
    code = ("import threading, time\nfrom tests.lab import runner\n"
            "import signal\nsignal.signal(signal.SIGTERM, runner._terminated)\n"
            "threading.Thread(target=runner._end_with_stdin, daemon=True).start()\n"
            "try:\n    print('begun', flush=True)\n    time.sleep(60)\n"
            "finally:\n    print('cleared', flush=True)\n")
    process = subprocess.Popen([sys.executable, "-c", code], stdin=hold, stdout=subprocess.PIPE,
                               cwd=HERE.parents[1])
    os.close(hold)
    assert process.stdout.readline() == b"begun\n"
    os.close(give)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out.strip()) == (143, b"cleared")
