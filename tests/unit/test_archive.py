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
