"""Parameters of runbooks: what is unknown or of another type is refused, never passed on with a warning."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hand_built import TAKEN, evidence, item

from celery_triage import bundle, cli, runbooks, show
from celery_triage.model import Evidence, Section
from celery_triage.notebook import CannotLook, Look
from celery_triage.parameters import WrongParameter, declared, given, refuse_injected
from celery_triage.show import queues

CELL = 'service: str = ""  # one service\nlives: int = 12\nslow_ms: float = 1000.0\nall: bool = False\n'
SAMPLE = Path(__file__).resolve().parents[2] / "reports" / "sample" / "evidence"
VALUES = {"service": "", "lives": 12, "slow_ms": 1000.0, "all": False}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    return bundle.save(evidence(), tmp_path_factory.mktemp("bundle") / "evidence")


def test_a_parameters_cell_declares_names_and_types():
    """What the cell assigns with a type, and nothing else."""
    assert {name: one.kind for name, one in declared(CELL + "x = 1\nprint(2)\n").items()} == {
        "service": "str",
        "lives": "int",
        "slow_ms": "float",
        "all": "bool",
    }
    assert declared("%magic\n") == {}


def test_a_value_is_read_as_its_type_says():
    """Without a runbook it goes to all that have it, with one to that alone."""
    books = runbooks.chosen(["10", "20", "70"])
    assert given(["10:lives=3", "service=web", "slow_ms=250"], books) == {
        "10_restarts": {"lives": 3, "service": "web"},
        "20_logs": {"service": "web"},
        "70_workers": {"service": "web", "slow_ms": 250.0},
    }
    assert given(["10_restarts:service=a=b:c"], books) == {"10_restarts": {"service": "a=b:c"}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("live=3", "no parameter live in any runbook that is executed (did you mean lives?)"),
        ("10:queue=mail", "no parameter queue in 10_restarts; known: lives, service"),
        ("99:lives=3", "no runbook 99 is executed; there are 10_restarts, 20_logs"),
        ("lives=many", "lives must be a whole number, not 'many'"),
        ("lives=1.5", "lives must be a whole number"),
        ("lives", "write NAME=VALUE or RUNBOOK:NAME=VALUE"),
        ("=3", "write NAME=VALUE"),
        ("10:=3", "write NAME=VALUE"),
        ("evidence=/tmp", "give it by --bundle"),
        ("project=x", "give it by --project"),
    ],
)
def test_run_refuses_what_no_runbook_can_take_before_anything_is_looked_at(
    capsys, recorded, tmp_path, text, sentence
):
    """One sentence, 64, and no folder."""
    out = tmp_path / "reports"
    arguments = ["run", "--bundle", recorded, "--reports", out, "--only", "10,20", "--parameter", text]
    assert cli.status([str(one) for one in arguments]) == 64
    said = capsys.readouterr()
    assert said.out == "" and sentence in said.err and said.err.count("\n") == 1
    assert not out.exists()


def test_run_hands_a_parameter_to_its_runbook_alone(capsys, recorded, tmp_path):
    """The executed notebooks hold what they were given; a service that is not there costs the page, with the
    names that there are, and never the verdict."""
    words = ["run", "--bundle", recorded, "--reports", tmp_path, "--only", "10,20"]
    words += ["--parameter", "10:lives=3", "--parameter", "20:service=emial_worker"]
    assert cli.status([str(one) for one in words]) == 2
    said = capsys.readouterr()
    folder = Path(said.out.strip()).parent
    kept = {
        path.stem: json.loads(path.read_text())["metadata"]["papermill"]["parameters"]
        for path in (folder / "notebooks").glob("*.ipynb")
    }
    assert kept["10_restarts"] == {"evidence": "../evidence", "lives": 3}
    assert kept["20_logs"] == {"evidence": "../evidence", "service": "emial_worker"}
    assert "20_logs: cell" in said.err and "There is no service 'emial_worker'" in said.err


@pytest.mark.parametrize(
    ("injected", "sentence"),
    [
        ("live = 3", "no parameter live in this runbook (did you mean lives?); known: all, lives"),
        ('lives = "3"', "lives must be a whole number, not '3'"),
        ("lives = True", "lives must be a whole number"),
        ("all = 1", "all must be true or false"),
        ("service = 7", "service must be a text"),
        ("slow_ms = None", "slow_ms must be a number"),
    ],
)
def test_what_papermill_put_in_is_held_against_the_parameters_cell(injected, sentence):
    """An unknown name and a value of another type are refused."""
    values = dict(VALUES)
    exec(injected, values)
    with pytest.raises(WrongParameter) as error:
        refuse_injected(["", CELL, f"# Parameters\n{injected}\n"], values)
    assert sentence in str(error.value)


def test_what_fits_passes_and_cells_of_a_person_are_not_judged():
    """A whole number is a number; names of one's own in an interactive session are one's own."""
    cells = ["", CELL, "# Parameters\nslow_ms = 5\nlives = 1\n", "mine = 3"]
    refuse_injected(cells, {**VALUES, "slow_ms": 5, "lives": 1})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-p", "quue", "mail"], "no parameter quue in this runbook (did you mean queue?)"),
        (["-p", "queue", "12"], "queue must be a text, not 12"),
        (["-p", "queue", "mial"], "There is no queue 'mial' in this evidence; there are"),
    ],
)
def test_a_notebook_executed_by_hand_refuses_a_parameter_that_it_cannot_take(tmp_path, words, sentence):
    """papermill itself only warns; the notebook stops, and says why in one sentence."""
    notebook = runbooks.chosen(["60"])[0].path
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(notebook), str(tmp_path / "out.ipynb")]
        + ["-p", "evidence", str(SAMPLE), "--no-progress-bar", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1 and sentence in done.stderr


def test_a_service_or_queue_that_is_not_there_is_said_never_shown_as_an_empty_page():
    """ "Nothing" would read as "nothing there"."""
    look = Look(evidence())
    with pytest.raises(CannotLook, match="There is no service 'web' in this evidence; there are celery_beat"):
        look.services("web")
    assert [one.label for one in look.services("flower")] == ["flower"]
    assert queues.queues(look) == queues.queues(look, "")


@pytest.mark.parametrize("service", ["web", "redis", "celery_beat", "email_worker"])
def test_a_runbook_for_one_service_says_nothing_of_the_others(service):
    """A service that is no beat says nothing of the stack's beat: no cell of any runbook, asked for one
    service, says "no service here", and a name that nobody has is refused by each."""
    look = Look(bundle.load(SAMPLE))
    said = 0
    for book in runbooks.everything():
        names = {"show": show, "look": look}
        exec(runbooks.source_of(book, "parameters"), names)
        if "service" not in names:
            continue
        for cell in nbformat.read(book.path, 4).cells:
            if not re.match(r"show\..*\bservice\b(?!\()", cell.source):
                continue
            said += 1
            names["service"] = service
            if service == "web":
                with pytest.raises(CannotLook, match="There is no service 'web'"):
                    eval(cell.source, names)
                continue
            text = eval(cell.source, names).text
            assert not re.search("No (service|container|worker|URL)|There is no worker", text), cell.source
    assert said > 30


def test_a_service_is_known_by_its_container_and_by_the_name_of_all_its_replicas():
    """``email_worker`` means both replicas, ``stack-email_worker-2`` one of them; a service of the Compose
    file without a container stands for itself."""
    twins = [
        item(one, ["celery", "worker"], service="email_worker", name=f"stack-{one}")
        for one in ("email_worker-1", "email_worker-2")
    ]
    files = {"services": {"flower": {}}, "files": [{"path": "/srv/docker-compose.yml"}]}
    seen = {"project": "ai_backend", "items": twins}
    told = {"containers": seen, "compose": files}
    look = Look(Evidence("stack", TAKEN, {name: Section(name, "ok", data) for name, data in told.items()}))
    assert look.labels("email_worker") == {"email_worker-1", "email_worker-2"}
    assert look.labels("stack-email_worker-2") == {"email_worker-2"}
    assert look.labels("flower") == {"flower"}
    assert "flower has no container" in show.changes.replicas(look, "flower").text


@pytest.mark.parametrize("text", ["nan", "inf", "-1"])
def test_a_number_that_asks_nothing_is_refused(text):
    """Less than nothing, and what is no number at all, would draw an empty page."""
    with pytest.raises(WrongParameter, match="slow_ms must be a number from 0 on, not"):
        given([f"70:slow_ms={text}"], runbooks.chosen(["70"]))


def test_nothing_counts_as_slow_from_0_ms_on():
    """Where nobody answered either, the scale still has a length."""
    assert "email_worker: not running." in show.workers.plot(Look(bundle.load(SAMPLE)), slow_ms=0.0).text
