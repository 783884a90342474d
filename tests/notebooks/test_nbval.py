"""Every notebook is executed: the runbooks on the recorded incident, the archived ones against what they
show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "reports" / "sample"


def nbval(folder: Path, mode: str, **environment: str) -> tuple[int, int, str]:
    """Run nbval over the notebooks of a folder; (cells passed, cells not passed, what pytest said)."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            mode,
            "--nbval-current-env",
            "--nbval-cell-timeout=120",
            "-q",
            "-c",
            os.devnull,
            "--rootdir",
            str(folder),
            "-p",
            "no:cacheprovider",
            str(folder),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
    )
    counts = {
        word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error|skipped)", done.stdout)
    }
    return (
        counts.get("passed", 0),
        sum(counts.values()) - counts.get("passed", 0),
        done.stdout[-6000:] + done.stderr,
    )


def code_cells(folder: Path) -> int:
    """How many code cells the notebooks of a folder hold."""
    return sum(
        cell.cell_type == "code"
        for path in folder.glob("*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
    )


def test_every_runbook_runs_on_the_recorded_incident():
    """nbval-lax: no cell of any runbook raises, with the evidence given by the environment."""
    passed, others, said = nbval(
        ROOT / "runbooks", "--nbval-lax", CELERY_TRIAGE_EVIDENCE=str(SAMPLE / "evidence")
    )
    assert (passed, others) == (code_cells(ROOT / "runbooks"), 0), said


def test_an_archived_report_is_reproducible_from_its_own_evidence():
    """nbval in full: each archived notebook, run again where it lies, shows the very same tables and
    pictures."""
    passed, others, said = nbval(SAMPLE / "notebooks", "--nbval")
    assert (passed, others) == (code_cells(SAMPLE / "notebooks"), 0), said


def test_the_comparison_notices_a_change(tmp_path):
    """The test above can fail: one letter of one archived output changed, and nbval says so."""
    report = tmp_path / "report"
    for part in ("notebooks", "evidence"):
        (report / part).mkdir(parents=True)
        for path in (SAMPLE / part).rglob("*"):
            target = report / part / path.relative_to(SAMPLE / part)
            if path.is_file() and (part == "evidence" or path.stem == "40_database"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    path = report / "notebooks" / "40_database.ipynb"
    text = path.read_text("utf-8")
    assert "Wanted by" in text
    path.write_text(text.replace("Wanted by", "Wanted_by"), "utf-8")
    _, others, said = nbval(report / "notebooks", "--nbval")
    assert others == 1, said


def test_where_no_engine_answers_one_sentence_says_so_and_names_the_recorded_incident(tmp_path):
    """Never a silent fall-back: the setup cell stops, without a traceback of ours."""
    environment = {name: value for name, value in os.environ.items() if name != "CELERY_TRIAGE_EVIDENCE"}
    runbook = ROOT / "runbooks" / "40_database.ipynb"
    lines = [
        "from pathlib import Path",
        "from celery_triage.report.execute import execute_all",
        f"print(execute_all([Path({str(runbook)!r})], Path({str(tmp_path)!r}), {{}})[0].why)",
    ]
    environment["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False, env=environment
    )
    assert re.search(
        r"cell 2 failed: no Docker Engine answers.*set evidence = '.*reports/sample/evidence'", done.stdout
    ), done.stdout + done.stderr
    notebook = nbformat.read(tmp_path / "40_database.ipynb", as_version=4)
    setup = next(cell for cell in notebook.cells if cell.id == "setup")
    assert [output.output_type for output in setup.outputs] == ["error"]
    assert len("".join(setup.outputs[0].traceback).strip().splitlines()) == 1
