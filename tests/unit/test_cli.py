"""The command line: exit codes, what goes where, and errors of one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hand_built import evidence

from celery_triage import bundle, cli
from celery_triage.cli.ending import Ended
from celery_triage.cli.evidence import refuse_without_celery
from celery_triage.model import EXIT_CODES

COMMAND = [sys.executable, "-m", "celery_triage.cli"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """The incident built by hand, as a bundle."""
    return bundle.save(evidence(), tmp_path_factory.mktemp("bundle") / "evidence")


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command, in this process."""
    code = cli.status([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_help_is_fast_and_advertises_what_is_there():
    """Nothing heavy is imported for help, and no command is promised that does not work."""
    start = time.monotonic()
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    listed = [
        line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line.startswith("  ")
    ]
    assert done.returncode == 0 and set(listed) >= {"check", "collect", "rules", "run"}
    assert set(listed) == set(cli.cli.commands) | {"Start"}
    assert seconds < 2  # 0.07 s here; the limit is for a loaded machine


def test_help_imports_no_library_but_click():
    """What makes help fast: measured by what is loaded, not by a clock."""
    code = (
        "import sys\nfrom celery_triage import cli\nassert cli.status(['--help']) == 0\n"
        "print([m for m in ('docker', 'matplotlib', 'celery', 'psycopg', 'papermill', 'jinja2', 'yaml') "
        "if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["check", "--nonsense"],
        ["nonsense"],
        ["check", "surplus"],
        ["collect"],
        ["check", "--since"],
        ["run", "--only", "99"],
        ["rules", "XYZ999"],
        ["check", "--bundle", "/nowhere/at/all"],
        ["check", "--since", "yesterday"],
    ],
)
def test_wrong_use_ends_with_64_and_one_sentence(capsys, arguments):
    """Never click's 2, which means critical here."""
    code, out, err = call(capsys, *arguments)
    sentences = [line for line in err.splitlines() if not line.startswith("collecting")]
    assert code == 64 and out == ""
    assert len(sentences) == 1 and sentences[0].startswith("celery-triage: ")


def test_no_engine_is_unknown_and_says_so(capsys, monkeypatch):
    """A monitoring system must see 3, not critical and not ok."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    code, out, err = call(capsys, "check")
    assert code == 3 and out == "" and "no Docker Engine answers" in err


def test_live_options_with_a_bundle_are_refused_not_ignored(capsys, recorded):
    """`-p` beside `--bundle` would look as if it chose something."""
    code, _, err = call(capsys, "check", "--bundle", recorded, "-p", "other", "--no-login")
    assert code == 64 and "--project, --no-login has no meaning with --bundle" in err


def test_a_folder_that_is_no_bundle_is_unknown_with_the_reason(capsys, tmp_path):
    """It was looked at and could not be read: nothing is known."""
    code, out, err = call(capsys, "check", "--bundle", tmp_path)
    assert code == 3 and out == "" and err.startswith("celery-triage: no evidence can be read")


def test_check_shows_causes_on_stdout_and_ends_with_the_verdict(capsys, recorded):
    """The diagnosis of a bundle in the terminal: causes with proof and cure, what was not checked."""
    code, out, err = call(capsys, "check", "--bundle", recorded)
    assert code == 2 and err == ""
    for part in (
        "CRITICAL",
        "recorded evidence, not a live stack",
        "--queue",
        "--queues",
        "proof",
        "remedy (exact)",
        "verify",
        "Not checked, and why",
        "logs/flower",
    ):
        assert part in out, part


def test_check_gives_json_on_stdout_with_the_same_verdict(capsys, recorded):
    """For a script: the schema's fields, causes that are findings, the exit code of the verdict."""
    code, out, err = call(capsys, "check", "--bundle", recorded, "--json")
    told = json.loads(out)
    assert err == "" and told["schema"] == 1 and told["target"] == "ai_backend"
    assert code == EXIT_CODES[told["verdict"]]
    assert set(told["causes"]) <= {finding["id"] for finding in told["findings"]} and told["causes"]
    assert {"CMD001", "DBS001"} <= {finding["code"] for finding in told["findings"]}


def test_the_same_bundle_gives_the_same_answer_every_time(capsys, recorded):
    """Nothing of now or here is in a diagnosis."""
    first = call(capsys, "check", "--bundle", recorded, "--json")
    assert call(capsys, "check", "--bundle", recorded, "--json") == first


def test_rules_lists_the_catalogue_and_shows_a_page(capsys):
    """Each rule is one line; a code gives its page; JSON gives both."""
    code, out, _ = call(capsys, "rules")
    assert code == 0 and [line for line in out.splitlines() if line.startswith("CMD001")]
    code, page, _ = call(capsys, "rules", "cmd001")
    assert code == 0 and page.startswith("CMD001 unknown-option") and "False alarms" in page
    code, text, _ = call(capsys, "rules", "CMD001", "--json")
    assert code == 0 and json.loads(text)[0]["page"] in page


def test_collect_writes_no_folder_over_another(capsys, tmp_path):
    """Evidence is never mixed with older evidence."""
    code, _, err = call(capsys, "collect", "-o", tmp_path)
    assert code == 64 and "exists already" in err


def test_a_report_that_cannot_be_written_ends_with_69(capsys, tmp_path, recorded):
    """The folder of reports is a file here."""
    (tmp_path / "reports").write_text("no folder")
    code, out, err = call(
        capsys, "run", "--bundle", recorded, "--reports", tmp_path / "reports", "--only", "40"
    )
    assert code == 69 and out == "" and "nothing can be written" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing_behind(tmp_path, recorded, number, code):
    """No half report, no kernel, and the exit code that a shell expects."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [*COMMAND, "run", "--bundle", str(recorded), "--reports", str(tmp_path / "reports")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    for line in process.stderr:
        if line.startswith("executing"):
            break
    time.sleep(1)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == code and out == ""
    assert [path.name for path in (tmp_path / "reports").iterdir()] == []
    deadline = time.monotonic() + 10
    while left := kernels(tmp_path):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def kernels(folder: Path) -> list[str]:
    """The kernels whose sockets lie in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_text().replace("\0", " ")
        except OSError:
            continue
        if "ipykernel_launcher" in text and str(folder) in text:
            found.append(text)
    return found


def test_a_project_without_celery_is_refused_with_its_services():
    """ "ok" would be true of nothing; a worker in the target lets it through."""
    containers = evidence().section("containers")
    servers = [item for item in containers.data["items"] if not item["member"]]
    data = {**containers.data, "items": [{**item, "member": True} for item in servers]}
    with pytest.raises(
        Ended, match="no service of ai_backend runs Celery; there are postgres, redis"
    ) as error:
        refuse_without_celery(evidence(containers=replace(containers, data=data)))
    assert error.value.code == 64
    refuse_without_celery(evidence())


def test_a_reader_that_goes_away_does_not_change_the_verdict(recorded):
    """`check | head -1` still ends with 2."""
    process = subprocess.Popen(
        [*COMMAND, "check", "--bundle", str(recorded)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    assert (process.wait(timeout=60), process.stderr.read()) == (2, "")
