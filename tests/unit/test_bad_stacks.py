"""What a live stack may put in the way: real containers, each bad in one way, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_servers import docker, image

COMMAND = [sys.executable, "-m", "celery_triage.cli"]
#: A container that is taken for a Celery worker by its command, and stays.
WORKER = "celery -A shop worker --queues mail; sleep 600"

pytestmark = pytest.mark.docker


class Project:
    """Containers with the labels of one Compose project, removed at the end."""

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = f"ctunit{uuid.uuid4().hex[:8]}", folder
        self.image, self.there = image("redis"), []

    def add(self, service: str, script: str, *options: str) -> str:
        name = f"{self.name}_{service}"
        labels = {"": self.name, ".config_files": self.folder / "docker-compose.yml"}
        labels[".working_dir"] = self.folder
        words = [word for key, value in labels.items() for word in _label(f"project{key}", value)]
        words += _label("service", service)
        self.there.append(name)
        docker("run", "-d", "--name", name, *words, *options, "--entrypoint", "sh", self.image, "-c", script)
        return name

    def remove(self) -> None:
        if self.there:
            subprocess.run(["docker", "rm", "-f", *self.there], capture_output=True, check=False)


def _label(name: str, value: object) -> list[str]:
    return ["--label", f"com.docker.compose.{name}={value}"]


@pytest.fixture
def project(tmp_path) -> Iterator[Project]:
    made = Project(tmp_path / "project")
    made.folder.mkdir()
    yield made
    made.remove()


def call(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=180, check=False
    )


def sections(folder: Path) -> dict[str, dict]:
    return {one["name"]: one for one in json.loads((folder / "manifest.json").read_text())["sections"]}


def collected(project: Project, into: Path) -> dict[str, dict]:
    done = call("collect", "-p", project.name, "-o", into)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{into}\n", "collecting evidence …\n")
    return sections(into)


def test_logs_and_files_that_cannot_be_read_are_said_and_the_rest_is_judged(project, tmp_path):
    """A log driver that keeps nothing, bytes that are no UTF-8, a Compose file that is no YAML: each has its
    sentence in the evidence and in the diagnosis, and no traceback."""
    (project.folder / "docker-compose.yml").write_text("services:\n  worker: [\n")
    project.add("silent", WORKER, "--log-driver", "none")
    project.add("worker", f"printf 'bad \\377 byte\\n'; {WORKER}", "--log-driver", "local")
    told = collected(project, tmp_path / "evidence")
    assert (told["logs/silent"]["status"], told["logs/silent"]["why"]) == (
        "denied",
        "log driver none keeps no logs",
    )
    assert told["compose"]["status"] == "denied" and "it is no valid YAML" in told["compose"]["why"]
    lines = (tmp_path / "evidence" / told["logs/worker"]["file"]).read_text("utf-8").splitlines()
    assert "bad \\xff byte" in [json.loads(line)[2] for line in lines]
    done = call("check", "-p", project.name)
    assert done.returncode in (2, 3) and done.stderr == "collecting evidence …\n"
    assert "? logs/silent: denied, log driver none keeps no logs" in done.stdout
    assert "? compose: denied" in done.stdout and "Traceback" not in done.stdout


def test_a_compose_file_that_lies_elsewhere_is_said(project, tmp_path):
    """The stack was started on another machine, or the folder was moved since."""
    project.add("worker", WORKER)
    told = collected(project, tmp_path / "evidence")
    assert told["compose"]["status"] == "denied" and "docker-compose.yml" in told["compose"]["why"]


@pytest.mark.parametrize("command", ["check", "run", "collect"])
def test_a_project_without_celery_is_refused_with_its_services(project, tmp_path, command):
    """ "ok" would be true of nothing; nothing is written."""
    project.add("shop", "sleep 600")
    out = {"check": [], "run": ["--reports", tmp_path / "out"], "collect": ["-o", tmp_path / "out"]}[command]
    done = call(command, "-p", project.name, *out)
    assert (done.returncode, done.stdout) == (64, "") and not (tmp_path / "out").exists()
    sentence = f"celery-triage: no service of {project.name} runs Celery; there are shop"
    assert done.stderr.splitlines() == ["collecting evidence …", sentence]


@pytest.mark.parametrize("command", ["check", "run", "collect"])
def test_a_project_that_is_not_there_is_refused(project, tmp_path, command):
    """64, and what there is instead."""
    project.add("shop", "exec tail -f /dev/null")
    out = {"check": [], "run": ["--reports", tmp_path / "out"], "collect": ["-o", tmp_path / "out"]}[command]
    done = call(command, "-p", "no_such_project_here", *out)
    assert (done.returncode, done.stdout) == (64, "") and not (tmp_path / "out").exists()
    assert "no container of a Compose project 'no_such_project_here'; projects here: " in done.stderr


def test_a_container_that_vanishes_while_it_is_looked_at(project, tmp_path):
    """Removed between the two samples: what was seen is kept, and it is said that it vanished."""
    project.add("worker", WORKER)
    gone = project.add("short", WORKER)
    process = subprocess.Popen(
        [*COMMAND, "collect", "-p", project.name, "-o", str(tmp_path / "evidence")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline() == "collecting evidence …\n"
    time.sleep(0.3)
    docker("rm", "-f", gone)
    _, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, "")
    told = sections(tmp_path / "evidence")
    items = json.loads((tmp_path / "evidence" / told["containers"]["file"]).read_text())["items"]
    labels = {item["label"] for item in items}
    assert "worker" in labels
    if "short" in labels:  # else it was gone before the list was read
        assert "vanished while being looked at: short" in told["containers"]["why"]
    done = call("check", "--bundle", tmp_path / "evidence")
    assert done.returncode in (2, 3) and done.stderr == ""


def test_two_live_runs_at_once_make_two_reports(project, tmp_path):
    """Both look at the same stack at the same time, and each has a folder of its own."""
    project.add("worker", WORKER)
    words = [*COMMAND, "run", "-p", project.name, "--reports", str(tmp_path / "reports"), "--only", "40"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "12"]
    pages = []
    for process in both:
        out, err = process.communicate(timeout=180)
        assert process.returncode in (2, 3), err
        pages.append(Path(out.strip()))
    names = {page.parent.name for page in pages}
    assert len(names) == 2 and all(page.is_file() for page in pages)
    moments = [name[:18] for name in names]
    assert os.readlink(tmp_path / "reports" / "latest")[:18] == max(moments)
    state = json.loads((tmp_path / "reports" / "latest.json").read_text())
    assert state["report"][:18] == max(moments)
