"""Record what packages that do not fit each other, or not their Python, print when a worker starts.

    python record_packages.py --pythons DIR --environments DIR [--only NAME …]

DIR of ``--pythons`` holds interpreters as ``3.7*/bin/python`` (pyenv's folder of versions). Each scenario
gets a virtual environment of its own; ``later`` is installed afterwards with ``--no-deps``, as a later ``pip
install`` in a Dockerfile would. No server is needed: all of it fails before a connection is made. The form of
a recording is that of ``record.py``; paths of this machine are replaced by those of the official Python
images.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMAND = "celery -A shop worker --loglevel=info --pool solo"
APP = 'from celery import Celery\n\napp = Celery("shop", broker="redis://127.0.0.1:1/0")\n'
KEY = APP + "\nKEYS = {}\nKEYS['STRIPE_KEY']\n"
RESULTS = APP.replace('")\n', '", backend="redis://127.0.0.1:1/1")\napp.backend\n')
DJANGO = APP + 'app.config_from_object("django.conf:settings", namespace="CELERY")\n'
MODULE = 'import os\n\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")\n' + DJANGO
UNION = APP + "\n\n@app.task\ndef charge(amount: int | None = None):\n    return amount\n"
SQLA = 'from celery import Celery\n\napp = Celery("shop", broker="sqla+sqlite:////tmp/shop-example.db")\n'
#: name: (Python, installed together, installed later, application, what)
SCENARIOS: dict[str, tuple[str, str, str, str, str]] = {
    "app-raises-key_5.7": (
        "3.11", "celery[redis]==5.7.0", "", KEY, "the application looks up a key that its dictionary lacks"),
    "importlib-metadata-5_5.2": (
        "3.7", "celery[redis]==5.2.3 importlib-metadata==5.0.0", "", APP,
        "importlib-metadata 5 beside kombu 5.2 on Python 3.7"),
    "importlib-metadata-5_4.4": (
        "3.7", "celery[redis]==4.4.7 importlib-metadata==5.0.0", "", APP,
        "importlib-metadata 5 beside kombu 4.6 on Python 3.7"),
    "vine-5_4.4": ("3.8", "celery[redis]==4.4.7", "vine==5.0.0", APP, "vine 5 beside Celery 4"),
    "vine-1_5.4": ("3.11", "celery[redis]==5.4.0", "vine==1.3.0", APP, "vine 1 beside Celery 5"),
    "click-8_5.0": (
        "3.8", "celery[redis]==5.0.5 click-repl==0.1.6", "click==8.1.7", APP, "click 8 beside Celery 5.0"),
    "redis-2_5.6": ("3.11", "celery[redis]==5.6.2", "redis==2.10.6", APP, "a redis-py of before Celery 5"),
    "python-3.11_4.4": ("3.11", "celery[redis]==4.4.7", "", APP, "Celery 4.4 on Python 3.11"),
    "python-3.12_5.2": ("3.12", "celery[redis]==5.2.7", "", APP, "Celery 5.2 on Python 3.12"),
    "python-3.10_4.2": ("3.10", "celery[redis]==4.2.2", "", APP, "Celery 4.2 on Python 3.10"),
    "python-3.7_4.1": (
        "3.7", "celery[redis]==4.1.1 importlib-metadata<5", "", RESULTS, "Celery 4.1 on Python 3.7"),
    "python-3.9-union_5.5": (
        "3.9", "celery[redis]==5.5.3", "", UNION, "an application written for Python 3.10 on Python 3.9"),
    "django-not-configured_5.7": (
        "3.11", "celery[redis]==5.7.0 django==5.1.4", "", DJANGO, "DJANGO_SETTINGS_MODULE is not set"),
    "django-settings-module-missing_5.7": (
        "3.11", "celery[redis]==5.7.0 django==5.1.4", "", MODULE, "DJANGO_SETTINGS_MODULE names no module"),
    "pkg-resources-missing_5.7": (
        "3.12", "celery[redis]==5.7.0 apscheduler==3.9.1", "", "import apscheduler\n" + APP,
        "a package that imports pkg_resources, and no setuptools"),
    "sqlalchemy-2_5.2": (
        "3.8", "celery==5.2.7 kombu==5.2.4 sqlalchemy==2.0.30", "", SQLA, "SQLAlchemy 2 below kombu 5.2"),
}  # fmt: skip
NAMED = ("celery", "kombu", "vine", "redis", "click", "importlib-metadata", "SQLAlchemy", "setuptools")
SECONDS = 25


def environment(name: str, pythons: Path, environments: Path) -> Path:
    python, together, later, _, _ = SCENARIOS[name]
    folder = environments / name
    if not folder.exists():
        version = python if python.count(".") == 1 else python.rpartition(".")[0]
        interpreter = sorted(pythons.glob(f"{version}.*/bin/python"))[-1]
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
        pip = [folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *together.split()], check=True)
        if later:
            subprocess.run([*pip, "--no-deps", "--upgrade", *later.split()], check=True)
    return folder


def versions(folder: Path) -> str:
    listed = subprocess.run([folder / "bin/pip", "list", "--format=freeze", "--disable-pip-version-check"],
                            capture_output=True, text=True, check=True).stdout  # fmt: skip
    known = dict(line.split("==", 1) for line in listed.splitlines() if "==" in line)
    python = subprocess.run([folder / "bin/python", "--version"], capture_output=True, text=True, check=True)
    found = [f"{name} {known[name]}" for name in NAMED if name in known]
    return "; ".join([python.stdout.strip(), *found])


def record(name: str, folder: Path, work: Path, pythons: Path) -> None:
    python, _, _, app, what = SCENARIOS[name]
    short = ".".join(python.split(".")[:2])
    (work / "shop.py").write_text(app)
    began = time.monotonic()
    process = subprocess.Popen(
        [folder / "bin/celery", *COMMAND.split()[1:]], cwd=work, text=True, stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"], "HOME": "/tmp", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=SECONDS)
        ended = str(process.returncode)
    except subprocess.TimeoutExpired:
        process.terminate()
        said, _ = process.communicate()
        ended = "stopped by the recording"
    seconds = time.monotonic() - began
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    text = said.replace(f"{folder}/bin/", "/usr/local/bin/").replace(str(work), "/app")
    text = re.sub(re.escape(str(folder)) + r"/lib(?:64)?/", "/usr/local/lib/", text)
    text = re.sub(re.escape(str(pythons)) + r"/[\d.]+/lib/", "/usr/local/lib/", text)
    head = {"command": COMMAND, "versions": versions(folder), "exit": ended, "seconds": f"{seconds:.1f}",
            "what": f"{what} (Python {short})"}  # fmt: skip
    lines = [f"## {key}: {value}" for key, value in head.items()]
    lines += [f"{moment}.{number:06d}000Z err {line}" for number, line in enumerate(text.splitlines())]
    (HERE / f"{name}.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(name, ended, f"{seconds:.1f} s", text.strip().splitlines()[-1][:120], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pythons", type=Path, required=True)
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=sorted(SCENARIOS))
    given = parser.parse_args()
    work = given.environments / "app"
    work.mkdir(parents=True, exist_ok=True)
    for name in given.only:
        try:
            record(name, environment(name, given.pythons, given.environments), work, given.pythons)
        except (subprocess.CalledProcessError, IndexError) as error:
            print(name, "not recorded:", error, flush=True)


if __name__ == "__main__":
    main()
