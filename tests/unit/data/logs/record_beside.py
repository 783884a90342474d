"""Record what beat and Flower say of what is beside them: another beat, a database, a worker that is busy.

    unshare --net --mount --fork python record_beside.py --packages DIR --redis PROGRAM [--only NAME …]

DIR holds folders made by ``pip install --target``: ``beat`` (celery, redis, and packaging and async-timeout,
which they need on that Python), ``django`` (the same and django-celery-beat) and ``flower`` (the same and
flower). They run on Debian's own Python with ``python3-gdbm``, which keeps shelves in dbm.gnu; Redis is at
127.0.0.1. The form of a recording is that of ``record.py``; paths of this machine are replaced by those of
the official Python images.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import tempfile
import time
from pathlib import Path

import record

HERE = Path(__file__).resolve().parent
PYTHON, SITE = "/usr/bin/python3", "/usr/local/lib/python3.11/site-packages"
APP = """import time

from celery import Celery

app = Celery("shop", broker="redis://127.0.0.1:6379/0")
app.conf.beat_schedule = {"nightly": {"task": "shop.report", "schedule": 600}}


@app.task
def report():
    time.sleep(60)
"""
PROJECT = """import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
"""
SETTINGS = """SECRET_KEY = "django-example"
INSTALLED_APPS = ["django_celery_beat"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
CELERY_BROKER_URL = "redis://127.0.0.1:6379/0"
USE_TZ = True
TIME_ZONE = "UTC"
"""
BEAT = "celery -A shop beat --loglevel=info --schedule=celerybeat-schedule --pidfile="
FLOWER = "celery -A shop flower --port=5555"
#: ``beside``: what runs meanwhile; ``send``: whether that has a task to do.
SCENARIOS: dict[str, dict] = {
    "beat-schedule-locked_5.7": {
        "what": "a beat whose schedule file another beat holds (dbm.gnu), then SIGTERM",
        "packages": "beat", "command": BEAT, "beside": BEAT, "limit": 8,
    },
    "beat-database-not-migrated_5.7": {
        "what": "beat with the database scheduler, whose tables were never made",
        "packages": "django", "files": {"shop.py": PROJECT, "settings.py": SETTINGS}, "limit": 20,
        "command": "celery -A shop beat --loglevel=info --pidfile= "
        "--scheduler django_celery_beat.schedulers:DatabaseScheduler",
    },
    "flower-no-worker_5.7": {
        "what": "Flower without any worker, then SIGTERM",
        "packages": "flower", "command": FLOWER, "limit": 9,
    },
    "flower-busy-worker_5.7": {
        "what": "Flower beside a worker of the solo pool that is busy, then SIGTERM",
        "packages": "flower", "command": FLOWER, "limit": 9, "send": True,
        "beside": "celery -A shop worker --loglevel=info --pool=solo",
    },
}  # fmt: skip
NAMED = ("celery", "kombu", "click", "redis", "django", "django-celery-beat", "flower", "tornado")


def keep(name: str, packages: Path, folder: Path) -> None:
    scenario = SCENARIOS[name]
    site = packages / scenario["packages"]
    for path, text in scenario.get("files", {"shop.py": APP}).items():
        (folder / path).write_text(text)
    env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "COLUMNS": "80", "TZ": "UTC"}
    env |= {"PYTHONPATH": str(site), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def program(words: str) -> str:
        return words.replace("celery", f"{PYTHON} {site}/bin/celery", 1)

    beside = None
    if "beside" in scenario:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        beside = subprocess.Popen(program(scenario["beside"]).split(), cwd=folder, env=env, **quiet)
        time.sleep(4)
    if scenario.get("send"):
        subprocess.run([PYTHON, "-c", "import shop; shop.report.delay()"], cwd=folder, env=env, check=True)
        time.sleep(1)
    command = {"command": program(scenario["command"]), "limit": scenario["limit"]}
    lines, code, seconds = record.Recorder.run(None, command, folder, env)
    if beside:
        beside.kill()
        beside.wait()
    lines, left_out = record.shortened(lines)
    found = {
        one.name.lower().replace("_", "-"): one.version
        for one in importlib.metadata.distributions(path=[str(site)])
    }
    versions = "; ".join(f"{one} {found[one]}" for one in NAMED if one in found)
    head = {"command": scenario["command"], "versions": versions, "exit": code, "seconds": f"{seconds:.1f}",
            "what": scenario["what"]}  # fmt: skip
    if left_out:
        head["left out"] = f"{left_out} lines behind line {record.FIRST}"
    text = "".join(f"## {key}: {value}\n" for key, value in head.items())
    for stamp, stream, line in lines:
        line = line.replace(f"{site}/bin/", "/usr/local/bin/").replace(str(site), SITE)
        line = line.replace("/usr/lib/python3.11", "/usr/local/lib/python3.11").replace(str(folder), "/app")
        text += f"{stamp} {stream} {line}\n"
    (HERE / f"{name}.log").write_text(text)
    print(f"{name}: exit {code} after {seconds:.1f} s, {len(lines)} lines", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--only", nargs="*", default=sorted(SCENARIOS))
    given = parser.parse_args()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name in given.only:
        with tempfile.TemporaryDirectory() as folder:
            redis = subprocess.Popen([given.redis, "--save", "", "--dir", folder], stdout=subprocess.DEVNULL)
            time.sleep(1)
            try:
                keep(name, given.packages, Path(folder))
            finally:
                redis.kill()
                redis.wait()


if __name__ == "__main__":
    main()
