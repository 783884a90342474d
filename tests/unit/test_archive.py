"""The archive of dated reports."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hand_built import evidence
from test_report import HOSTILE, Outline

from celery_triage.report import archive


def test_a_live_report_is_dated_by_its_evidence_and_a_recorded_one_by_its_diagnosis():
    """Two diagnoses of the same recording do not pretend to be of the same moment."""
    made = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
    live = evidence()
    assert archive.folder_name(live, made) == "2026-11-23T141503Z_ai_backend"
    recorded = type(live)(**{**live.__dict__, "origin": "/somewhere", "target": "a/b ../c"})
    assert archive.folder_name(recorded, made) == "2027-01-02T030405Z_a-b-..-c"


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    """By one rename or not at all."""
    with pytest.raises(RuntimeError), archive.staged(tmp_path, "x") as making:
        (making / "index.html").write_text("half")
        raise RuntimeError("broken")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    """Two runs within one second keep both reports."""
    for _ in range(2):
        with archive.staged(tmp_path, "r") as making:
            archive.publish(making, tmp_path, "r")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "r-2"]


def finding(id: str, title: str, **facts) -> dict:
    return {
        "id": id,
        "code": "CMD001",
        "name": "unknown-option",
        "severity": "critical",
        "state": "active",
        "services": ["email_worker"],
        "object": "--queue",
        "title": title,
        **facts,
    }


def published(folder: Path, name: str, **facts) -> Path:
    path = folder / name
    path.mkdir(parents=True)
    summary = {
        "schema": 1,
        "verdict": "critical",
        "target": "ai_backend",
        "taken_at": "2026-11-23T14:15:03Z",
        "origin": "live",
        "causes": ["f1"],
        "findings": [finding("f1", HOSTILE)],
        **facts,
    }
    (path / "summary.json").write_text(json.dumps(summary))
    archive.refresh(folder, path, summary, summary["origin"] == "live")
    return path


def test_the_list_has_all_reports_newest_first_and_latest_points_to_the_newest(tmp_path):
    """Verdict, causes and target of each, hostile titles as text, links inside the folder only."""
    published(tmp_path, "2026-11-22T100000Z_a")
    published(tmp_path, "2026-11-23T100000Z_b", verdict="ok", causes=[])
    html = (tmp_path / "index.html").read_text()
    assert html.index("2026-11-23T100000Z_b/index.html") < html.index("2026-11-22T100000Z_a/index.html")
    assert Outline(html).offences == [] and "&lt;script&gt;" in html and "✓ ok" in html
    assert os.readlink(tmp_path / "latest") == "2026-11-23T100000Z_b"
    assert json.loads((tmp_path / "latest.json").read_text())["report"] == "2026-11-23T100000Z_b"


def test_a_folder_that_is_no_report_is_not_listed(tmp_path):
    """What is not ours, or is cut, is left alone and out."""
    (tmp_path / "notes").mkdir()
    broken = tmp_path / "2026-11-21T100000Z_c"
    broken.mkdir()
    (broken / "summary.json").write_text("[1")
    published(tmp_path, "2026-11-22T100000Z_a")
    html = (tmp_path / "index.html").read_text()
    assert "notes" not in html and "_c/" not in html and "_a/" in html


def test_recorded_evidence_never_replaces_the_last_known_state_of_a_live_stack(tmp_path):
    """`make demo` beside a scheduled check must not raise an alarm."""
    published(tmp_path, "2026-11-22T100000Z_a", verdict="ok")
    published(tmp_path, "2026-11-23T100000Z_demo", origin="evidence")
    assert json.loads((tmp_path / "latest.json").read_text())["report"] == "2026-11-22T100000Z_a"
    assert os.readlink(tmp_path / "latest") == "2026-11-23T100000Z_demo"


def test_a_new_report_is_listed_without_reading_the_old_ones(tmp_path):
    """The list grows by one line: the old summaries may even be gone by then."""
    for day in (20, 21, 22):
        published(tmp_path, f"2026-11-{day}T100000Z_a", taken_at=f"2026-11-{day}T10:00:00Z")
    for summary in tmp_path.glob("*_a/summary.json"):
        summary.write_text("not read")
    published(tmp_path, "2026-11-23T100000Z_a", taken_at="2026-11-23T10:00:00Z")
    lines = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert [line["name"][8:10] for line in lines] == ["20", "21", "22", "23"]
    html = (tmp_path / "index.html").read_text()
    assert all(f"2026-11-{day}T100000Z_a/index.html" in html for day in (20, 21, 22, 23))


def test_each_target_has_its_list_with_the_comparison_to_the_report_before(tmp_path):
    """One target's cure is no other target's."""
    published(tmp_path, "2026-11-20T100000Z_a", taken_at="2026-11-20T10:00:00Z")
    published(tmp_path, "2026-11-21T100000Z_b", taken_at="2026-11-21T10:00:00Z", target="other")
    well = {"findings": [], "causes": [], "verdict": "ok"}
    published(tmp_path, "2026-11-22T100000Z_a", taken_at="2026-11-22T10:00:00Z", **well)
    html = (tmp_path / "index.html").read_text()
    assert html.index(">ai_backend</h2>") < html.index(">other</h2>")
    first, second = html.split(">other</h2>")
    assert "1 resolved" in first and "not in the newest report" in first
    assert "the first report" in second and "open" in second


def test_the_same_recording_diagnosed_twice_is_no_second_first_report(tmp_path):
    """Nothing came before either of them, and only one of them was first; both say that they are recorded."""
    for name in ("2026-11-24T100000Z_a", "2026-11-24T110000Z_a"):
        published(tmp_path, name, origin="recorded")
    html = (tmp_path / "index.html").read_text()
    assert html.count("the first report") == 2 and html.count("of the same moment as the first report") == 1
    assert "ai_backend (recorded)" in html


def test_a_cause_shows_when_it_was_first_and_last_seen(tmp_path):
    """The same fingerprint over three reports is one row."""
    for day in (20, 21, 22):
        published(tmp_path, f"2026-11-{day}T100000Z_a", taken_at=f"2026-11-{day}T10:00:00Z")
    causes = (tmp_path / "index.html").read_text().split("Causes, first and last seen")[1]
    row = causes[causes.index("<tbody") :]
    assert row.count("<tr ") == 1
    assert row.index("2026-11-20 10:00:00 UTC") < row.index("2026-11-22 10:00:00 UTC") and ">3<" in row


def test_a_report_that_came_by_another_way_is_read_once_and_listed(tmp_path):
    """A folder copied from another machine, or made before there was a list."""
    published(tmp_path / "elsewhere", "2026-11-20T100000Z_a", taken_at="2026-11-20T10:00:00Z")
    (tmp_path / "elsewhere" / "2026-11-20T100000Z_a").rename(tmp_path / "2026-11-20T100000Z_a")
    published(tmp_path, "2026-11-22T100000Z_a", taken_at="2026-11-22T10:00:00Z")
    html = (tmp_path / "index.html").read_text()
    assert "2026-11-20T100000Z_a/index.html" in html and "1 still there" in html


def test_two_runs_that_end_together_lose_no_line(tmp_path):
    """Eight processes write at once; every one is in the list."""
    import multiprocessing

    names = [f"2026-11-2{number}T100000Z_a" for number in range(8)]
    with multiprocessing.get_context("fork").Pool(8) as pool:
        pool.starmap(published, [(tmp_path, name) for name in names])
    lines = (tmp_path / "index.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["name"] for line in lines) == names
    assert all(name in (tmp_path / "index.html").read_text() for name in names)


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OPEN = "CMD001|email_worker|--queue"


def week(folder: Path, **last) -> None:
    """Seven daily reports with the cause in the second and third, and files as a report has them."""
    for day in range(16, 23):
        name = f"2026-11-{day}T100000Z_a"
        ill = day in (17, 18)
        facts = {} if ill else {"findings": [], "causes": [], "verdict": "ok"}
        path = published(folder, name, taken_at=f"2026-11-{day}T10:00:00Z", **facts)
        (path / "notebooks").mkdir()
        (path / "notebooks" / "00_triage.ipynb").write_text("{}")
        (path / "index.html").write_text("page")


def left(folder: Path) -> list[int]:
    return sorted(int(path.name[8:10]) for path in folder.glob("2026-*") if path.is_dir())


def test_old_reports_go_by_age_and_by_count_but_never_the_newest(tmp_path):
    """Three days; then one report; the newest stays whatever its age."""
    week(tmp_path)
    gone = archive.prune(tmp_path, (), 3, 0, NOW)
    assert sorted(gone) == [f"2026-11-{day}T100000Z_a" for day in (16, 17, 18, 19, 20)]
    assert left(tmp_path) == [21, 22] and "2026-11-19" not in (tmp_path / "index.html").read_text()
    archive.prune(tmp_path, (), 0, 1, NOW)
    archive.prune(tmp_path, (), 0.001, 0, NOW)
    assert left(tmp_path) == [22] and os.path.exists(tmp_path / "latest" / "index.html")


def test_the_last_report_of_a_cause_still_open_is_kept(tmp_path):
    """It holds the proof of what is still wrong, however old."""
    week(tmp_path)
    archive.prune(tmp_path, [("ai_backend", OPEN)], 1, 1, NOW)
    assert left(tmp_path) == [18, 22]


def test_a_report_of_another_stack_or_of_a_recording_is_no_last_report_of_a_cause(tmp_path):
    """Two projects with the same names have the same fingerprints; each keeps its own proof."""
    week(tmp_path)
    published(tmp_path, "2026-11-23T100000Z_b", taken_at="2026-11-23T10:00:00Z", target="staging")
    published(tmp_path, "2026-11-24T100000Z_a", taken_at="2026-11-24T10:00:00Z", origin="recorded")
    archive.prune(tmp_path, [("ai_backend", OPEN)], 1, 1, NOW)
    assert left(tmp_path) == [18, 22, 23, 24]


def test_nothing_is_deleted_that_the_tool_did_not_make(tmp_path):
    """A note in a report keeps the report; other folders, links and the sample are never touched."""
    week(tmp_path)
    (tmp_path / "2026-11-16T100000Z_a" / "my notes.txt").write_text("keep")
    (tmp_path / "2026-11-17T100000Z_a" / "notebooks" / "mine").mkdir()
    (tmp_path / "2026-11-17T100000Z_a" / "notebooks" / "mine" / "x.ipynb").write_text("{}")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (tmp_path / "2026-11-18T100000Z_a" / "evidence").symlink_to(outside)
    (tmp_path / "2026-11-19T100000Z_a" / "evidence").mkdir()
    (tmp_path / "2026-11-19T100000Z_a" / "evidence" / "what-I-saw.md").write_text("keep")
    (tmp_path / "2026-01-01T000000Z_of_mine").mkdir()
    archive.prune(tmp_path, (), 1, 1, NOW)
    assert left(tmp_path) == [1, 16, 17, 18, 19, 22] and outside.is_dir()


def test_without_limits_nothing_is_deleted(tmp_path):
    """0 means for ever."""
    week(tmp_path)
    assert archive.prune(tmp_path, (), 0, 0, NOW) == () and left(tmp_path) == list(range(16, 23))
