"""What a person may get wrong, or find in the way, as they would: the command line in a process of its own.

Each case ends with one sentence on stderr, its exit code, nothing on stdout, no traceback, and nothing half
written. What a live stack may put in the way is in ``test_bad_stacks.py``; parameters of runbooks are in
``test_parameters.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hand_built import evidence

from celery_triage import bundle

COMMAND = [sys.executable, "-m", "celery_triage.cli"]
#: Another user, who may read every file (so that Python finds itself) and write none of root's.
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+dac_read_search"]
NOBODY += ["--ambient-caps=-all,+dac_read_search", "--bounding-set=-all,+dac_read_search"]
ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def recorded() -> Iterator[Path]:
    """The incident built by hand, as a bundle that every user may read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield bundle.save(evidence(), Path(folder) / "evidence")


def call(*words: object, user: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*user, *COMMAND, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **env},
    )


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one sentence; progress before it is left out."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("celery-triage: ")]
    others = set(done.stderr.splitlines()) - set(lines)
    assert done.returncode == code, done.stderr
    assert done.stdout == "" and len(lines) == 1
    assert not [line for line in others if not line.startswith(("collecting", "executing", "["))], done.stderr
    return lines[0].removeprefix("celery-triage: ")


@pytest.fixture
def nobody() -> tuple[str, ...]:
    """What to put before a command to run it as a user who may write nothing of ours."""
    if not ROOT:
        return ()
    words = [*NOBODY, "true"]
    if shutil.which("setpriv") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("setpriv cannot change the user here")
    return tuple(NOBODY)


LOOKING = ("check", "run", "collect", "verify")


def looking(command: str, tmp_path: Path, recorded: Path) -> list[object]:
    """One command that looks at a live stack, and writes to that folder if anything."""
    return {
        "check": ["check"],
        "run": ["run", "--reports", tmp_path / "out"],
        "collect": ["collect", "-o", tmp_path / "out"],
        "verify": ["verify", recorded, "--markdown", tmp_path / "out"],
    }[command]


@pytest.mark.parametrize("command", LOOKING)
@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("unix:///nowhere/docker.sock", "no Docker Engine answers at unix:///nowhere/docker.sock: No such"),
        ("tcp://127.0.0.1:9", "no Docker Engine answers at tcp://127.0.0.1:9: "),
        ("nonsense", "the address of the engine cannot be used"),
    ],
)
def test_without_an_engine_nothing_is_known(tmp_path, recorded, command, address, sentence):
    """3, and no folder: an empty one would look like a report that failed."""
    done = call(*looking(command, tmp_path, recorded), DOCKER_HOST=address)
    assert sentence in refused(done, 3) and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not ROOT, reason="needs root, to make a socket of another user")
@pytest.mark.parametrize("command", LOOKING)
def test_without_permission_on_the_socket_nothing_is_known(tmp_path, recorded, nobody, command):
    """The sentence names the group; a socket of root's with its usual rights is there."""
    import socket

    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o660)
        server.listen()
        out = tmp_path / "mine"
        out.mkdir()
        os.chown(out, 65534, 65534)
        done = call(*looking(command, out, recorded), user=nobody, DOCKER_HOST=f"unix://{path}", HOME="/tmp")
    assert "this user may not open the engine's socket" in refused(done, 3) and list(out.iterdir()) == []


def writing(command: str, place: Path, recorded: Path) -> list[object]:
    """One command that writes into that folder."""
    return {
        "run": ["run", "--bundle", recorded, "--reports", place, "--only", "40"],
        "run-new": ["run", "--bundle", recorded, "--reports", place / "new" / "reports", "--only", "40"],
        "collect": ["collect", "-o", place / "evidence"],
        "compare": ["compare", recorded, recorded, "--markdown", place / "summary.md"],
        "compare-html": ["compare", recorded, recorded, "--html", place / "summary.html"],
        "verify": ["verify", recorded, "--markdown", place / "summary.md"],
        "verify-evidence": ["verify", recorded, "--evidence", place / "evidence"],
    }[command]


WRITING = ("run", "run-new", "collect", "compare", "compare-html", "verify", "verify-evidence")


@pytest.mark.parametrize("command", WRITING)
def test_a_folder_that_may_not_be_written_is_said_before_anything_is_looked_at(
    tmp_path, recorded, nobody, command
):
    """69 within a second, not after a minute of collecting; the engine is not even looked for."""
    place = tmp_path / "reports"
    place.mkdir()
    place.chmod(0o555)
    done = call(*writing(command, place, recorded), user=nobody, DOCKER_HOST="unix:///nowhere", HOME="/tmp")
    sentence = refused(done, 69)
    assert "is not this user's to write in" in sentence and str(place) in sentence
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("command", WRITING)
def test_a_file_in_the_place_of_the_folder_is_said(tmp_path, recorded, command):
    """The same where a file stands in the way."""
    place = tmp_path / "reports"
    place.write_text("mine")
    done = call(*writing(command, place, recorded), DOCKER_HOST="unix:///nowhere")
    assert f"{place} is no folder" in refused(done, 69)
    assert place.read_text() == "mine"


def test_a_folder_of_reports_that_is_missing_is_made(tmp_path, recorded):
    """It is where reports go; whoever names it wants it."""
    place = tmp_path / "new" / "reports"
    done = call("run", "--bundle", recorded, "--reports", place, "--only", "40")
    assert done.returncode == 2 and Path(done.stdout.strip()).is_file()


@pytest.fixture
def mounted(tmp_path):
    """A function that mounts a tiny file system; skipped where only root might and this is not root."""
    places = []

    def mount(options: str) -> Path:
        place = tmp_path / f"mounted{len(places)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("mounting needs root")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("size", ["8k", "200k"])
def test_a_full_disk_leaves_nothing_behind(mounted, recorded, size):
    """Full at the first file, or among the pages: no folder, and the reason."""
    place = mounted(f"size={size}")
    done = call("run", "--bundle", recorded, "--reports", place, "--only", "40,50")
    assert refused(done, 69) == "the report could not be written: No space left on device"
    assert [path for path in place.rglob("*") if path.name != ".archive.lock"] == []


def test_a_full_disk_leaves_no_half_summary(mounted, recorded):
    """A summary is one file, whole or not there."""
    place = mounted("size=4k,nr_inodes=8")
    (place / "fill").write_bytes(b"x" * 4096)
    done = call("compare", recorded, recorded, "--markdown", place / "summary.md")
    assert "the summary could not be written: No space left on device" in refused(done, 69)
    assert [path.name for path in place.iterdir()] == ["fill"]


def test_a_report_stays_where_only_the_list_of_reports_cannot_be_written(tmp_path, recorded):
    """What was published is published, and is named; the exit code says that something is missing."""
    (tmp_path / "index.html").mkdir()
    done = call("run", "--bundle", recorded, "--reports", tmp_path, "--only", "40")
    sentence = refused(done, 69)
    [report] = [path for path in tmp_path.iterdir() if "_ai_backend" in path.name]
    assert f"the report is at {report}, the list of reports could not be written" in sentence
    assert (report / "index.html").is_file()


def test_a_file_system_that_is_read_only_is_said(mounted, recorded):
    """Root may write everywhere but there."""
    place = mounted("size=64k,ro")
    done = call("run", "--bundle", recorded, "--reports", place, "--only", "40")
    assert "is on a read-only file system" in refused(done, 69)


def spoil_manifest(**parts):
    def spoil(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **parts}))

    return spoil


def _section(folder: Path, text: str) -> None:
    (folder / "sections" / "containers.json").write_text(text)


def _without_label(folder: Path) -> None:
    path = folder / "sections" / "containers.json"
    told = json.loads(path.read_text())
    for item in told["items"]:
        item.pop("label")
    path.write_text(json.dumps(told))


def _pipe(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


def _link(folder: Path) -> None:
    (folder / "calls.txt").unlink()
    (folder / "calls.txt").symlink_to("/etc/passwd")


#: Ten and more ways to break a bundle, each with what the sentence must say.
BROKEN = {
    "empty": (lambda folder: shutil.rmtree(folder) or folder.mkdir(), "manifest.json is missing"),
    "no JSON": (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is no valid JSON"),
    "a list": (lambda folder: (folder / "manifest.json").write_text("[]"), "must be a JSON object"),
    "a newer schema": (spoil_manifest(schema=99), "the bundle has schema 99"),
    "no time": (spoil_manifest(taken_at="now"), "does not say in ISO 8601"),
    "no sections": (spoil_manifest(sections=None), "needs a list"),
    "half a section": (lambda folder: _section(folder, '{"items": ['), "is no valid JSON"),
    "a section of another shape": (lambda folder: _section(folder, '{"items": 7}'), "must be a list"),
    "a container without a label": (_without_label, "items[0].label is missing"),
    "a section's file is gone": (lambda folder: (folder / "sections/containers.json").unlink(), "is missing"),
    "no UTF-8": (lambda folder: (folder / "calls.txt").write_bytes(b"\xff"), "calls.txt is not UTF-8"),
    "nested without end": (lambda folder: _section(folder, "[" * 10**5), "nested too deeply"),
    "a pipe": (_pipe, "is no regular file"),
    "a link that leads out": (_link, "links are not followed"),
    "a number without end": (lambda folder: _section(folder, '{"items": 1' + "0" * 9999 + "}"), "valid JSON"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_bundle_is_unknown_with_the_reason(tmp_path, recorded, how, capsys):
    """In every command that reads one: 3, the reason, and no report. In this process, for there are many."""
    from celery_triage import cli

    spoil, sentence = BROKEN[how]
    folder = shutil.copytree(recorded, tmp_path / "bundle")
    spoil(folder)
    for words in (
        ["check", "--bundle", folder],
        ["check", "--bundle", folder, "--json"],
        ["run", "--bundle", folder, "--reports", tmp_path / "reports"],
        ["compare", folder, recorded],
        ["compare", recorded, folder],
        ["verify", folder],
    ):
        code = cli.status([str(word) for word in words])
        said = capsys.readouterr()
        assert (code, said.out) == (3, ""), said.err
        assert sentence in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["check", "--only", "30"], "there is no option --only of `celery-triage check`; run has it"),
        (["collect", "--bundle", "x"], "check and run have it"),
        (["run", "--onyl", "30"], "did you mean --only?"),
        (["check", "--bundel", "x"], "did you mean --bundle?"),
        (["check", "--nonsense"], "there is no option --nonsense of `celery-triage check` (see"),
        (["--queue"], "there is no option --queue of `celery-triage` (see"),
        (["run", "--only", "30,xx"], "there is no runbook xx; there are 00_triage"),
        (["run", "--only", ""], "--only names no runbook"),
        (["run", "--only", " , "], "--only names no runbook"),
        (["run", "--scheduled", "--only", ","], "--only names no runbook"),
        (["run", "--only", "launch"], "there is no runbook launch"),
    ],
)
def test_what_a_command_does_not_have_is_said_and_nothing_silly_is_proposed(words, sentence):
    """An option of another command names that command; what is not alike is not proposed."""
    assert sentence in refused(call(*words), 64)


def test_two_runs_at_once_make_two_reports(tmp_path, recorded):
    """Both end well, in folders of their own, and list and link know both."""
    words = [*COMMAND, "run", "--bundle", str(recorded), "--reports", str(tmp_path), "--only", "40"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "12"]
    pages = []
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 2, err
        pages.append(Path(out.strip()))
    assert len(set(pages)) == 2 and all(page.is_file() for page in pages)
    names = {page.parent.name for page in pages}
    listed = (tmp_path / "index.html").read_text()
    assert all(name in listed for name in names)
    assert os.readlink(tmp_path / "latest") in names
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".making", ".latest", ".index"))]
    assert stat.S_IMODE(pages[0].parent.stat().st_mode) == 0o755


@pytest.mark.parametrize("words", [["check", "--bundle"], ["run", "--bundle"], ["verify"], ["compare", "."]])
def test_a_file_in_place_of_a_folder_is_told_to_be_unpacked(tmp_path, words):
    """An archive of a bundle is there, and is no folder."""
    (tmp_path / "good.zip").write_bytes(b"PK")
    words = ["compare", tmp_path / "good.zip"] if words[0] == "compare" else words
    said = refused(call(*words, tmp_path / "good.zip"), 64)
    assert "good.zip is a file" in said and "is a folder; unpack an archive first" in said
