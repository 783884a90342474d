"""The report: pages that run nothing and load nothing, one folder or none, a dead notebook costs its page
only."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from evidence import backend_reboot
from hand_built import HOSTILE, evidence
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from celery_triage import bundle, report
from celery_triage.causes import diagnose
from celery_triage.model import Section
from celery_triage.notebook import Look
from celery_triage.redact import Redactor
from celery_triage.remedies import patch
from celery_triage.report import archive, execute, front, pages, safe
from celery_triage.show import units

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Outline(HTMLParser):
    """The tags and attributes of a page, and what must not be in one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    @property
    def offences(self) -> list[str]:
        """Scripts, handlers, frames, and everything that would be fetched from anywhere."""
        found = [
            tag for tag in self.tags if tag in ("script", "iframe", "object", "embed", "link", "base", "form")
        ]
        for tag, name, value in self.attributes:
            inside = (
                value.startswith("data:image/svg+xml;base64,")
                if tag == "img"
                else not re.match(r"\s*(?:[a-z][a-z+.-]*:|//)", value, re.I)
            )
            if name.startswith("on") or (
                name in ("src", "href", "srcset", "action", "background") and not inside
            ):
                found.append(f"{tag} {name}={value[:60]}")
        return found


def write_runbook(folder: Path, name: str, *sources: str, tags: dict[int, list[str]] | None = None) -> Path:
    """A small runbook whose code cells have these sources."""
    parameters = new_code_cell('evidence: str = ""  # path')
    parameters.metadata["tags"] = ["parameters"]
    notebook = new_notebook(
        cells=[new_markdown_cell(f"# What of {name}?"), parameters, *map(new_code_cell, sources)],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "celery_triage": {"prefixes": []},
        },
    )
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<img src='http://evil.example/p.png'>",
        "<a href='javascript:alert(1)'>x</a>",
        "<a href='https://evil.example/'>x</a>",
        "<a href='//evil.example'>x</a>",
        "<iframe src='http://evil.example'></iframe>",
        "<svg onload=alert(1)><script>alert(1)</script></svg>",
        "<style>@import 'http://evil.example/x.css'</style>",
        '<div style="background:url(http://evil.example)">x</div>',
        "<img src='data:text/html;base64,PHNjcmlwdD4='>",
        "<a href='data:text/html,x'>x</a>",
        "<base href='http://e.e/'>",
        "<form action='http://evil.example'><button>x</button></form>",
        "<math><mi xlink:href='javascript:x'>",
        HOSTILE,
        "<a href='..//evil.example'>x</a>",
        "<a href='\\\\evil.example'>x</a>",
        "<details ontoggle=alert(1) open>x",
    ],
)
def test_nothing_hostile_passes_the_sanitiser(hostile):
    """Whatever a notebook's output holds, no script, handler, frame, style or foreign address is left of
    it."""
    cleaned = safe.clean(f"<p>before {hostile} after</p>")
    assert Outline(cleaned).offences == []
    assert "evil.example" not in re.sub(r">[^<]*<", "><", cleaned)


def test_the_sanitiser_keeps_tables_folds_pictures_and_inner_links():
    """What the project itself shows comes through whole."""
    html = (
        '<details><summary>s</summary><table class="ct-table"><thead><tr><th scope="col">A</th></tr></thead>'
        '<tbody><tr><td class="ct-code">x</td></tr></tbody></table></details>'
        '<img src="data:image/svg+xml;base64,AAAA" alt="a" width="1" height="2">'
    )
    assert Outline(safe.clean(html)).tags == Outline(html).tags
    assert 'href="30_launch_commands.html#f1"' in safe.clean('<a href="30_launch_commands.ipynb#f1">x</a>')


def test_markdown_with_html_in_it_is_shown_as_text():
    """Prose is CommonMark; HTML inside it is not executed."""
    assert "&lt;script&gt;" in safe.markdown("# T\n\n<script>alert(1)</script>")
    assert "<table>" in safe.markdown("| a |\n|---|\n| b |")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Five runbooks of five fates, executed once: done, failed, dead, too slow, and hung for good."""
    base = tmp_path_factory.mktemp("executed")
    books = base / "books"
    (base / "out").mkdir()
    paths = [
        write_runbook(books, "00_fine", "evidence", "print('said')"),
        write_runbook(
            books,
            "10_fails",
            "'before'",
            "import os; raise ValueError(os.getcwd() + ' is not for the archive')",
            "1",
        ),
        write_runbook(books, "20_dies", "'before'", "import os; os._exit(9)", "'after'"),
        write_runbook(books, "30_slow", "import time; time.sleep(60)", "'after'"),
        write_runbook(books, "40_html", "from IPython.display import HTML; HTML(" + repr(HOSTILE) + ")"),
    ]
    lines: list[str] = []
    done = execute.execute_all(
        paths, base / "out", {"evidence": "../evidence"}, lines.append, cell_s=3, notebook_s=60
    )
    return {one.runbook: one for one in done}, lines, base


def test_every_runbook_has_a_result_in_order_and_a_line_of_progress(executed):
    """Whatever became of a notebook, it is told."""
    results, lines, _ = executed
    assert list(results) == ["00_fine", "10_fails", "20_dies", "30_slow", "40_html"]
    assert len(lines) == 5 and lines[-1].startswith("[5/5] ")


def test_a_notebook_that_ran_is_saved_with_its_outputs_and_relative_parameters(executed):
    """The archive holds no path of this machine and no time of the run."""
    results, _, base = executed
    assert results["00_fine"].why == ""
    text = results["00_fine"].path.read_text()
    assert '"../evidence"' in text.replace("\\", "") and "said" in text
    assert str(base) not in text and not re.search(r'"(?:start_time|end_time|input_path)"', text)


def test_a_cell_that_fails_stops_its_notebook_with_one_sentence(executed):
    """The sentence names cell and error; no path of this machine is in the file."""
    results, _, base = executed
    assert re.fullmatch(r"cell 4 failed: ValueError: …/.* is not for the archive", results["10_fails"].why)
    assert str(base) not in results["10_fails"].path.read_text() + results["10_fails"].why


def test_a_kernel_that_dies_is_told_although_papermill_saves_its_cells_as_completed(executed):
    """The word comes from the process, not from the file."""
    results, _, _ = executed
    assert results["20_dies"].why == "its kernel died"
    page = pages.read(results["20_dies"])
    assert page.why == "its kernel died" and page.title == "What of 20_dies?"


def test_a_cell_that_does_not_end_is_stopped_at_its_deadline(executed):
    """A hanging cell costs its own time limit, not the report."""
    results, _, _ = executed
    assert results["30_slow"].why == "a cell did not end in its time" and results["30_slow"].seconds < 15


def test_no_kernel_and_no_socket_is_left_behind(executed):
    """After the run no child lives, and nothing lies in the folder but the notebooks."""
    _, _, base = executed
    assert sorted(path.name for path in (base / "out").iterdir()) == [
        "00_fine.ipynb",
        "10_fails.ipynb",
        "20_dies.ipynb",
        "30_slow.ipynb",
        "40_html.ipynb",
    ]
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    commands = [
        Path(f"/proc/{pid}/cmdline").read_text()
        for pid in children.read_text().split()
        if Path(f"/proc/{pid}/cmdline").exists()
    ]
    assert not [command for command in commands if "ipykernel" in command]


def test_a_notebook_process_that_hangs_is_killed_at_its_deadline(tmp_path):
    """Even a child that is stopped in its tracks ends, and the report is told."""
    book = write_runbook(
        tmp_path / "books",
        "00_hangs",
        "import os, signal; os.kill(os.getppid(), signal.SIGSTOP)",
        "import time; time.sleep(600)",
    )
    (tmp_path / "out").mkdir()
    [result] = execute.execute_all([book], tmp_path / "out", {}, cell_s=100, notebook_s=6)
    assert result.why == "not done after 6 s" and result.seconds < 20


def test_html_of_an_output_is_cleaned_on_its_page_and_text_is_escaped(executed):
    """The page of a notebook whose output is hostile holds none of it."""
    results, _, _ = executed
    page = pages.read(results["40_html"])
    html = "".join(map(str, page.cells[-1]["outputs"]))
    assert Outline(html).offences == [] and "evil.example" not in html
    text = "".join(map(str, pages.read(results["00_fine"]).cells[-1]["outputs"]))
    assert text == "<pre>said\n</pre>"


def test_a_notebook_that_cannot_be_read_gives_a_page_that_says_so(tmp_path):
    """A file that was cut costs its page, not the report."""
    (tmp_path / "00_cut.ipynb").write_text('{"cells": [')
    page = pages.read(execute.Executed("00_cut", tmp_path / "00_cut.ipynb", 0.1))
    assert page.why.startswith("the notebook cannot be read") and page.cells == []


def test_every_page_has_the_policy_and_a_viewport_and_no_script():
    """The frame of all pages: nothing may run, nothing may be loaded, a phone shows it at its own width."""
    html = pages.render("archive.html", targets=[])
    policies = [value for tag, name, value in Outline(html).attributes if tag == "meta" and name == "content"]
    assert (
        any(value.startswith(POLICY) for value in policies)
        and "width=device-width, initial-scale=1" in policies
    )
    assert Outline(html).offences == []


def test_the_age_of_recorded_evidence_is_no_part_of_what_is_compared():
    """A duration depends on now; the setup cell that shows it is left out of the comparison by its tag."""
    for path in (Path(__file__).resolve().parents[2] / "runbooks").glob("*.ipynb"):
        cells = {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}
        assert cells["setup"].metadata["tags"] == ["nbval-ignore-output"]
    assert units.duration(0) == "0 s"


def test_runbooks_that_are_not_done_in_time_are_pages_that_say_so(tmp_path):
    """The time of a run is a bound for all of them together: one is ended, the next is not begun."""
    books = tmp_path / "books"
    paths = [write_runbook(books, f"{n}_slow", "import time; time.sleep(60)") for n in (10, 20, 30)]
    into = tmp_path / "out"
    into.mkdir()
    began = time.monotonic()
    done = execute.execute_all(paths, into, {}, until=began + 4)
    assert time.monotonic() - began < 20
    assert [one.runbook for one in done] == ["10_slow", "20_slow", "30_slow"]
    assert done[2].why == "not begun: the time was up" and all("not done" in one.why for one in done[:2])
    page = pages.read(done[2])
    assert page.why == done[2].why and page.cells == []


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report on the incident built by hand, with two of the real runbooks, and a second on one that
    dies."""
    base = tmp_path_factory.mktemp("made")
    lines: list[str] = []
    real = report.run(evidence(), base / "reports", ["20", "40"], lines.append)
    books = base / "books"
    write_runbook(books, "00_dies", "import os; os._exit(1)")
    write_runbook(books, "10_fine", "1 + 1")
    broken = report.run(evidence(), base / "reports", (), folder=books)
    return real, broken, lines, base


def files_of(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "evidence" not in path.parts
    )


def test_a_report_folder_holds_what_the_design_says(made):
    """First page, a page for each runbook, notebooks as executed, summary, evidence, calls, rules, patch
    or none."""
    real, _, lines, _ = made
    assert real.stopped == () and lines[0] == "executing 2 runbooks" and len(lines) == 3
    assert set(files_of(real.path)) - {"fix.patch"} == {
        "20_logs.html",
        "40_database.html",
        "calls.txt",
        "index.html",
        "notebooks/20_logs.ipynb",
        "notebooks/40_database.ipynb",
        "rules.html",
        "summary.json",
    }
    assert (real.path / "calls.txt").read_text().splitlines() == list(evidence().calls)
    again = bundle.load(real.path / "evidence")
    assert {name: section.data for name, section in again.sections.items()} == {
        name: section.data for name, section in evidence().sections.items()
    }


def test_the_first_page_tells_the_whole_diagnosis(made):
    """Verdict, each cause with state, certainty, quoted proof and its place, cure, services, unknown,
    versions."""
    real, _, _, _ = made
    html = (real.path / "index.html").read_text()
    summary = json.loads((real.path / "summary.json").read_text())
    assert summary["verdict"] == "critical" and "CRITICAL" in html
    findings = {finding["id"]: finding for finding in summary["findings"]}
    assert len(summary["causes"]) >= 3
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    for id in summary["causes"]:
        assert f'id="{id}"' in html and f"rules.html#{findings[id]['code']}" in html
    for part in (
        "● active",
        "◐ latent",
        "confirmed",
        "logs/email_worker, line 30, 2026-11-23 14:13:54 UTC",
        "--queues",
        "CREATE DATABASE",
        "Risk",
        "Verify that it worked",
        "Services",
        "email_worker",
        "Where each start stops",
        "Not checked, and why",
        "log driver none keeps no logs",
        "2 calls made",
        "Docker Engine",
        "Celery",
    ):
        assert part in text or part.lower() in text, part


def test_an_edit_beside_a_secret_stands_on_the_first_page_as_a_command():
    """The patch cannot hold it, and it is not lost: the command shows the fragment and no secret."""
    stack = backend_reboot()
    evidence = stack.evidence()
    (file,) = evidence.data("compose")["files"]
    at = next(n for n, line in enumerate(file["lines"]) if "--queue=email" in line)
    for near in (at - 1, at + 1):
        file["lines"][near], file["hashes"][near] = "      API_KEY: ‹secret:1a2b›", None
    html = front.first_page(Look(evidence), [], [], patch=True, redaction="")
    (line,) = [line for line in html.splitlines() if "sed -n" in line]
    assert f"sed -n {at + 1}p" in line and "‹secret" not in line
    assert "API_KEY" not in patch(diagnose(evidence), evidence)
    assert "patch -p1 -i fix.patch" in html and "<code>/srv/ai_backend</code>" in html


def test_no_page_of_a_report_runs_or_loads_anything_although_its_logs_try(made):
    """The hostile lines of the log are on the pages, as text; every page carries the policy."""
    real, broken, _, base = made
    pages_ = [*real.path.glob("*.html"), *broken.path.glob("*.html"), base / "reports" / "index.html"]
    assert len(pages_) == 4 + 4 + 1
    for page in pages_:
        text = page.read_text()
        assert Outline(text).offences == [], page.name
        assert POLICY in text.replace("&#39;", "'"), page.name
    assert "&lt;script&gt;alert(" in (real.path / "20_logs.html").read_text()


def test_every_link_of_a_report_leads_to_something_in_it(made):
    """Offline, and wherever the folder was copied."""
    real, _, _, _ = made
    for page in real.path.glob("*.html"):
        for tag, name, value in Outline(page.read_text()).attributes:
            if tag == "a" and name == "href":
                file, _, place = value.partition("#")
                target = real.path / file if file else page
                assert target.exists(), f"{page.name}: {value}"
                assert not place or f'id="{place}"' in target.read_text(), f"{page.name}: {value}"


def test_nothing_in_a_report_names_this_machine(made):
    """No path of the interpreter, the repository, the home or the folder of reports."""
    real, _, _, base = made
    root = Path(__file__).resolve().parents[2]
    for path in real.path.rglob("*"):
        if path.is_file():
            text = path.read_text()
            for trace in (str(base), str(root), sys.prefix, f"{Path.home()}/"):
                assert trace not in text, f"{path.name} names {trace}"


def test_a_notebook_that_dies_costs_its_page_and_the_first_page_says_so(made):
    """The verdict is the same, the other page is whole, the reader is told."""
    real, broken, _, _ = made
    html = (broken.path / "index.html").read_text()
    assert broken.stopped == ("00_dies: its kernel died",)
    assert broken.diagnosis == real.diagnosis
    assert "1 of 2 runbook pages is incomplete" in html and "00 dies, incomplete: its kernel died" in html
    assert "This page is incomplete." in (broken.path / "00_dies.html").read_text()
    assert "This page is incomplete." not in (broken.path / "10_fine.html").read_text()


def test_a_report_that_would_hold_a_known_secret_is_not_published(tmp_path):
    """The files are named, the secret is not, and nothing is left."""
    redactor = Redactor()
    secret = "tr0ub4dor-and-three"
    redactor.learn(secret)
    lines = [["2026-11-23T14:00:00Z", "err", f"the password is {secret}"]]
    leaking = evidence(
        logs__flower=Section("logs/flower", "ok", {"driver": "json-file", "lines": lines, "cut": None})
    )
    book = write_runbook(tmp_path / "books", "00_fine", "1")
    with pytest.raises(archive.Leak) as error:
        report.run(leaking, tmp_path / "reports", (), folder=book.parent, redactor=redactor)
    assert "evidence/logs/flower" in str(error.value) and secret not in str(error.value)
    assert list((tmp_path / "reports").iterdir()) == []


def test_a_runbook_that_is_not_there_is_named_with_those_that_are(tmp_path):
    """`--only 99` says what there is."""
    with pytest.raises(report.NoRunbooks, match="no runbook 99; there are 00_triage, 05_changes"):
        report.run(evidence(), tmp_path, ["99"])
