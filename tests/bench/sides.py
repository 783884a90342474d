"""What stands on both sides: the tool's commands, and those that a person would use in their place."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.bench.measure import Command, NotMeasured
from tests.lab.place import ROOT, Lab, docker

BUNDLE = ROOT / "reports" / "sample" / "evidence"
#: Exit codes with which the tool has made a diagnosis: ok, warning, critical, unknown.
DIAGNOSED = (0, 1, 2, 3)
WORKERS = {"email_worker": 9091, "payment_worker": 9092, "data_sync_worker": 9093}
APP = "shared.infrastructure.celery_app"


def program(name: str) -> str:
    """A program beside this Python, else on the path. Raises NotMeasured."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise NotMeasured(f"there is no {name}")
    return found


def tool(*words: str, cwd: Path | None = None) -> Command:
    """The tool with these words; any diagnosis is a good end."""
    return Command((program("celery-triage"), *words), cwd, DIAGNOSED)


def one_by_one(into: Path) -> list[Command]:
    """Every runbook executed by the papermill command and made a page by the nbconvert command."""
    commands = []
    for runbook in sorted((ROOT / "runbooks").glob("*.ipynb")):
        done = into / runbook.name
        commands += [
            Command((program("papermill"), "--no-progress-bar", "-p", "evidence", str(BUNDLE), str(runbook),
                     str(done))),
            Command((program("jupyter"), "nbconvert", "--to", "html", str(done))),
        ]
    return commands


def quick_reference(lab: Lab) -> list[Command]:
    """The looks of the incident's quick reference, in its order, with the lab's names.

    Its two ``make`` targets for a look are what they stand for, ``docker compose ps`` and ``logs``. To
    restart the backend is no look. ``-it`` needs a terminal and is left out. The metrics are asked at the
    containers' own addresses, since the lab publishes no port.
    """
    tails = [("docker", "logs", lab.containers[name], "--tail", "50") for name in (*WORKERS, "celery_beat")]
    here, names = lab.backend_dir, lab.containers
    compose = ("docker", "compose", "--ansi", "never")
    inspect = ("docker", "exec", names["email_worker"], "celery", "-A", APP, "inspect")
    return [
        Command((*compose, "ps"), here),
        Command((*compose, "logs"), here),
        *(Command(words) for words in tails),
        Command(("docker", "exec", names["postgres"], "psql", "-U", "postgres", "-l")),
        Command((*inspect, "active")),
        Command((*inspect, "stats")),
        *(Command((program("curl"), "-sSf", f"http://{_address(lab, service)}:{port}/metrics"))
          for service, port in WORKERS.items()),
    ]  # fmt: skip


def _address(lab: Lab, service: str) -> str:
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    told = docker(lab, "inspect", "--format", form, lab.containers[service]).split()
    if not told:
        raise NotMeasured(f"{service} has no address")
    return told[0]
