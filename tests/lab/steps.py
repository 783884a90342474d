"""What a fault does to the stack: edits of its files, statements, tasks, commands, waits."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tests.lab import images
from tests.lab.place import Lab, StepFailed, compose, docker, psql
from tests.lab.waiting import wait_for

#: A shell step that takes longer (seconds) is a mistake in the fault.
RUN_SECONDS = 120

SEND = """
import json, sys
from celery import Celery
broker, name, args, queue, count = json.load(sys.stdin)
app = Celery(broker=broker)
for _ in range(count):
    app.send_task(name, args=args, queue=queue)
"""


def apply_edits(lab: Lab, edits: Iterable[Mapping[str, Any]]) -> None:
    """Replaces text in the lab's files: every occurrence, which must be `count` many where that is given."""
    for edit in edits:
        path = lab.files[edit["file"]]
        text = path.read_text(encoding="utf-8")
        found = text.count(edit["old"])
        if not found or found != edit.get("count", found):
            wanted = edit.get("count", "at least once")
            raise StepFailed(f"{path.name} holds {edit['old']!r} {found} times, not {wanted}")
        path.write_text(text.replace(edit["old"], edit["new"]), encoding="utf-8")


def execute(lab: Lab, step: Mapping[str, Any]) -> None:
    """Carries out one step of a fault. Raises StepFailed, NotReached."""
    if "sql" in step:
        psql(lab, step["sql"], step.get("database", "postgres"))
    elif "task" in step:
        queue, count = step.get("queue", lab.names.text("data_sync")), step.get("count", 1)
        send_task(lab, step["task"], step.get("args", ()), queue, count)
    elif "run" in step:
        _shell(lab, step["run"])
    elif "compose" in step:
        compose(lab, step.get("project", "backend"), *step["compose"].split())
    elif isinstance(step["wait"], Mapping):
        wait_for(lab, step["wait"])
    else:
        time.sleep(float(step["wait"]))


def send_task(lab: Lab, name: str, args: Iterable[Any], queue: str, count: int = 1) -> None:
    """Puts tasks into a queue of the lab's own broker, whatever the backend's URLs say.

    Done from a container of its own with the default application image, which the engine removes afterwards.
    """
    image = images.app_image(images.requirements())
    given = json.dumps([lab.broker_url, name, list(args), queue, count])
    command = ("run", "--rm", "--interactive", "--network", lab.networks["database-net"], image)
    docker(lab, *command, "python3", "-c", SEND, given=given)


def _shell(lab: Lab, script: str) -> None:
    folder = lab.backend_dir if lab.backend_dir.exists() else lab.infra_dir
    env = {**lab.env, "LAB_PREFIX": lab.prefix}
    try:
        done = subprocess.run(
            ["sh", "-euc", script], cwd=folder, env=env, capture_output=True, text=True, timeout=RUN_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise StepFailed(f"{script!r} took longer than {RUN_SECONDS} s") from None
    if done.returncode:
        raise StepFailed(f"{script!r} ended with {done.returncode}: {(done.stdout + done.stderr)[-1000:]}")
