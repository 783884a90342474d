"""Record what the real ``celery`` of one environment does with the command lines of ``lines.txt``.

    python record.py PYTHON     (an interpreter that imports the Celery to ask)

Celery 4 has its own lines beside them (``lines_four.txt``) and its own file, ``outcomes_four.json``.

The application stands in for the worker and beat themselves: where the command line lets them start, it
says so and ends. Everything before that is Celery's own. Writes ``outcomes.json`` (exit code and what was
printed, by Celery's minor version) and the ``--help`` output of the main commands as
``help/VERSION-COMMAND.txt``."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
APP = """
import sys
from celery import Celery

def _started(*args, **kwargs):
    print("THE PROCESS WOULD START", flush=True)
    sys.exit(0)

class App(Celery):
    Worker = Beat = property(lambda self: _started)

app = App("proj", broker="memory://", backend="cache+memory://")
"""
BROKEN = "import nothing_of_that_name\n"
#: Of Celery 4 ``__main__.py: error: …`` (argparse), ``Error: …`` and ``Unknown level …``.
ERROR = re.compile(r"Error:|\S+: error: |Unknown level ")
HELP = ("", "worker", "beat", "inspect", "control", "events", "purge", "shell", "call", "multi")


def run(python: str, line: str, folder: str) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line)
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLUMNS": "400", "HOME": folder}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    return subprocess.run(
        [python, "-m", *words],
        cwd=folder,
        env=env,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )


def plain(text: str, folder: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).replace(folder, "/app")
    return re.sub(r"/[^\s\"]*/(lib/python3)", r"/usr/local/\1", text)


def main() -> None:
    python = sys.argv[1]
    versions = subprocess.run(
        [
            python,
            "-c",
            "import celery\ntry:\n from importlib.metadata import version\n click = version('click')\n"
            "except ImportError:\n click = '-'\nprint(celery.__version__, click)",
        ],
        check=True,
        text=True,
        capture_output=True,
    ).stdout.split()
    minor = ".".join(versions[0].split(".")[:2])
    four = minor.startswith("4.")
    path = HERE / ("outcomes_four.json" if four else "outcomes.json")
    lines = (HERE / "lines.txt").read_text().splitlines()
    lines += (HERE / "lines_four.txt").read_text().splitlines() if four else []
    outcomes = json.loads(path.read_text()) if path.exists() else {}
    recorded = outcomes[minor] = {"celery": versions[0], "click": versions[1], "lines": {}}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "proj.py").write_text(APP)
        Path(folder, "broken.py").write_text(BROKEN)
        for line in lines:
            if line.startswith("#") or not line:
                continue
            done = run(python, line, folder)
            printed = [text.strip() for text in plain(done.stdout, folder).splitlines() if text.strip()]
            places = [place for place, text in enumerate(printed) if ERROR.match(text)]
            error = printed[places[0]] if places else ""
            if error == "Error:":  # the sentence stands on the lines behind it
                error = " ".join(printed[places[0] : places[0] + 3])
            started = "THE PROCESS WOULD START" in done.stdout
            recorded["lines"][line] = {"exit_code": None if started else done.returncode, "error": error}
        (HERE / "help").mkdir(exist_ok=True)
        for command in HELP:
            done = run(python, f"celery -A proj {command} --help", folder)
            (HERE / "help" / f"{minor}-{command or 'celery'}.txt").write_text(
                "\n".join(text.rstrip() for text in plain(done.stdout, folder).splitlines()).rstrip() + "\n"
            )
    path.write_text(json.dumps(outcomes, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
