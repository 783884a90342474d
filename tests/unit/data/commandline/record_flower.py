"""Record what the real Flower of one environment does with the command lines of ``lines_flower.txt``.

    python record_flower.py PYTHON     (an interpreter that imports the Flower and the Celery to ask)

Flower's server alone is stood in for: where the command line lets it start, it says so and ends. Writes
``outcomes_flower.json`` (exit code and the last line printed, by Flower's minor version) and what
``tornado.options`` prints of the options as ``help/flower-VERSION.txt``: ``celery flower --help`` itself
lists none from 1.0 on, and starts Flower with Celery 4.4."""

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
#: Read by every Python that starts with the folder in PYTHONPATH, so also where no -A names the application.
STAND_IN = """
import os

def _started(*args, **kwargs):
    print("FLOWER WOULD START", flush=True)
    os._exit(0)

try:
    import flower.app
    flower.app.Flower.start = _started
    if hasattr(flower.app.Flower, "start_http_server"):
        flower.app.Flower.start_http_server = lambda *args, **kwargs: 5555
except Exception:
    pass  # a Flower that does not load with this Celery: its own words are recorded
"""
APP = 'from celery import Celery\napp = Celery("proj", broker="memory://", backend="cache+memory://")\n'
ASK = """
try:
    from importlib.metadata import version
except ImportError:
    from importlib_metadata import version
print(version("flower"), version("celery"), version("tornado"))
"""
#: A default that is a tuple (1.1 to 2.0) breaks Tornado's page, so it is shown as a list.
HELP = """
import flower.options, tornado.options
for one in tornado.options.options._options.values():
    if isinstance(one.default, tuple):
        one.default = list(one.default)
tornado.options.options.print_help()
"""


def run(python: str, line: str, folder: str) -> tuple[int | None, str]:
    """The exit code (None: it would start; 127: there is no such executable) and the last line printed."""
    words = shlex.split(line)
    bin_folder = str(Path(python).parent)
    env = {"PATH": bin_folder + os.pathsep + os.environ["PATH"], "LANG": "C.UTF-8", "COLUMNS": "400"}
    env |= {"HOME": folder, "PYTHONPATH": folder}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    executable = Path(bin_folder, words[0])
    if not executable.exists():
        return 127, ""
    done = subprocess.run(
        [str(executable), *words[1:]],
        cwd=folder,
        env=env,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    if "FLOWER WOULD START" in done.stdout:
        return None, ""
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).replace(folder, "/app")
    printed = [one.strip() for one in text.splitlines() if one.strip()]
    return done.returncode, re.sub(r"^\[\w \d+ [\d:]+ \w+:\d+\] ", "", printed[-1]) if printed else ""


def main() -> None:
    python = os.path.abspath(sys.argv[1])
    asked = subprocess.run([python, "-c", ASK], check=True, text=True, capture_output=True).stdout.split()
    minor = ".".join(asked[0].split(".")[:2])
    path = HERE / "outcomes_flower.json"
    outcomes = json.loads(path.read_text()) if path.exists() else {}
    recorded = {"flower": asked[0], "celery": asked[1], "tornado": asked[2], "lines": {}}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "proj.py").write_text(APP)
        Path(folder, "sitecustomize.py").write_text(STAND_IN)
        for line in (HERE / "lines_flower.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                code, said = run(python, line, folder)
                recorded["lines"][line] = {"exit_code": code, "said": said}
    told = subprocess.run([python, "-c", HELP], check=True, text=True, capture_output=True)
    text = re.sub(r"(secure cookie secret \(default)[^)]*\)", r"\1 random)", told.stdout + told.stderr)
    lines = [re.sub(r"^/\S*/", "", one).rstrip() for one in text.splitlines()]
    (HERE / "help" / f"flower-{minor}.txt").write_text("\n".join(lines).strip() + "\n")
    outcomes[minor] = recorded
    path.write_text(json.dumps(outcomes, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
