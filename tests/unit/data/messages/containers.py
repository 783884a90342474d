"""Record what Celery says in a container, and the engine of one that it cannot start.

    python containers.py IMAGE [NAME …]

IMAGE holds a Celery application ``shared.infrastructure.celery_app`` and runs as a user that is not root
(``tests.lab.images`` makes one). Nothing is sent anywhere: the broker is in the memory of the process.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKER = "celery -A shared.infrastructure.celery_app worker --loglevel=info --concurrency=1"
ENV = {"CELERY_BROKER_URL": "memory://", "CELERY_RESULT_BACKEND": "disabled://", "PYTHONUNBUFFERED": "1"}
APP = "from celery import Celery\napp = Celery('shop', broker='memory://', set_as_current=True)\n"
DRIFT = APP + (
    "app.log.setup('INFO')\nimport time\nfrom celery.events.state import State\n"
    "State().event({{'type': 'worker-heartbeat', 'hostname': 'email_worker@a', 'timestamp': time.time() - "
    "{}, "
    "'local_received': time.time(), 'utcoffset': 0, 'pid': 1, 'clock': 1, 'freq': 2}})"
)
VERSIONS = "import celery, kombu, sys; print(celery.__version__, kombu.__version__, sys.version.split()[0])"
PORT = "46559"
#: The signature (and the case): options of ``docker run``, and what runs there.
CASES: dict[str, tuple[list[str], list[str]]] = {
    "permission-denied-file": (
        ["--mount", "type=volume,target=/var/log/celery"],
        ["sh", "-c", f"{WORKER} --logfile=/var/log/celery/email.log"],
    ),
    "permission-denied-file.pidfile": (["--read-only"], ["sh", "-c", f"{WORKER} --pidfile=/tmp/email.pid"]),
    "content-refused": (
        [],
        ["python3", "-c", "from kombu.serialization import loads\n"
         "loads(b'x', 'application/x-python-serialize', 'binary', accept=['json'])"],
    ),
    "not-serialisable": ([], ["python3", "-c", APP + "app.send_task('shop.tasks.send', args=[object()])"]),
    "timezone-unknown": ([], ["python3", "-c", APP + "app.conf.timezone = 'Europe/Nowhere'\napp.now()"]),
    "disk-full-python": (
        ["--tmpfs", "/small:size=4k,mode=1777"],
        ["python3", "-c", "file = open('/small/report.csv', 'wb', 0)\nwhile True: file.write(b'x' * 4096)"],
    ),
    "duplicate-node-name": (
        [],
        ["python3", "-c", "from celery.app.control import flatten_reply\n"
         "flatten_reply([{'worker@backend': {'ok': 'pong'}}, {'worker@backend': {'ok': 'pong'}}])"],
    ),
    "clock-drift": ([], ["python3", "-c", DRIFT.format(41)]),
    "clock-drift-zone": ([], ["python3", "-c", DRIFT.format(3600)]),
    "command-not-allowed-probe": ([], ["sh", "-c", "curl -fs http://localhost:9091/metrics"]),
    "compose-port-taken": (["--publish", f"127.0.0.1:{PORT}:80"], ["true"]),
}  # fmt: skip


def run(image: str, options: list[str], words: list[str]) -> str:
    """What a container that is removed afterwards writes, standard output and errors together."""
    env = [part for name, value in ENV.items() for part in ("--env", f"{name}={value}")]
    command = ["docker", "run", "--rm", *env, *options, image, *words]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
    return done.stdout


def main() -> None:
    from record import shortened

    image, *names = sys.argv[1:]
    celery, kombu, python = run(image, [], ["python3", "-c", VERSIONS]).split()
    engine = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"], text=True, capture_output=True, check=True
    ).stdout.strip()
    for name, (options, words) in CASES.items():
        if names and name not in names:
            continue
        by = f"celery {celery}, kombu {kombu}, Python {python}"
        if name == "compose-port-taken":
            by = f"Docker Engine {engine}"
            holder = f"port-{uuid.uuid4().hex[:8]}"
            hold = ["docker", "run", "--rm", "--detach", "--name", holder, *options, image, "sleep", "60"]
            subprocess.run(hold, check=True, stdout=subprocess.DEVNULL)
            text = run(image, options, words).split("\n")[0].removeprefix("docker: ")
            subprocess.run(["docker", "kill", holder], check=True, stdout=subprocess.DEVNULL)
        else:
            text = run(image, options, words)
        if name == "command-not-allowed-probe":
            by = "dash of Debian 12"
        (HERE / f"{name}.txt").write_text(f"## by: {by}\n{shortened(text)}\n")
        print(f"{name}: {text.splitlines()[-1][:120]}", flush=True)


if __name__ == "__main__":
    main()
