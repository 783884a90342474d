"""Waiting until the stack is in the state that a fault wants, by containers and logs, with a deadline."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.lab.place import BACKEND_SERVICES, Lab, states

#: What a service writes when it has come to its work (Celery 5.4 to 5.7, Flower 2.2).
READY = {
    "celery_beat": r"beat: Starting\.\.\.",
    "email_worker": r"email_worker@\S+ ready\.",
    "payment_worker": r"payment_worker@\S+ ready\.",
    "data_sync_worker": r"data_sync_worker@\S+ ready\.",
    "flower": r"Connected to \S+",
}
#: How many times slower than a quiet machine this one is: every deadline of the lab is so many times longer.
SLOWNESS = float(os.environ.get("CELERY_TRIAGE_LAB_SLOWNESS", "1"))
CONDITIONS = {
    "ready", "running", "healthy", "unhealthy", "exited", "restarting", "min_restarts", "log", "seconds",
    "timeout",
}  # fmt: skip


class NotReached(Exception):
    """What was waited for did not come in time; the message says what is missing and what was seen."""


def wait_for(lab: Lab, conditions: Mapping[str, Any]) -> float:
    """Waits until every condition holds at once; the seconds that it took. Raises NotReached.

    ``ready``, ``running``, ``healthy``, ``unhealthy``, ``exited``, ``restarting`` name services, or are
    ``all`` (of the backend); ``restarting`` means ``min_restarts`` (default 1) restarts by the engine so far;
    ``log`` maps a service to a regular expression that the log of its current life must hold; ``seconds`` are
    waited first; ``timeout`` is 90 s unless given.
    """
    started = time.monotonic()
    time.sleep(float(conditions.get("seconds", 0)))
    missing: list[str] = []

    def hold() -> bool:
        missing[:] = _missing(lab, conditions)
        return not missing

    wait_until(hold, float(conditions.get("timeout", 90)), lambda: "; ".join(missing))
    return time.monotonic() - started


def wait_until(hold: Callable[[], bool], timeout: float, why: Callable[[], str]) -> None:
    """Asks again and again; raises NotReached with the sentence of `why` after `timeout` seconds."""
    deadline = time.monotonic() + timeout * SLOWNESS
    while not hold():
        if time.monotonic() > deadline:
            raise NotReached(f"after {timeout:.0f} s: {why()}")
        time.sleep(0.3)


def _missing(lab: Lab, conditions: Mapping[str, Any]) -> list[str]:
    now = states(lab)
    missing = []

    def each(key: str) -> Iterator[tuple[str, dict[str, Any]]]:
        wanted = conditions.get(key) or ()
        for service in map(lab.names.service, BACKEND_SERVICES) if wanted == "all" else wanted:
            if service in now:
                yield service, now[service]
            else:
                missing.append(f"{service} has no container")

    ready = {lab.names.service(service): lab.names.text(pattern) for service, pattern in READY.items()}
    for service, state in each("ready"):
        if not state["Running"] or not re.search(ready[service], _log(lab, service, state["StartedAt"])):
            missing.append(f"{service} is not ready ({state['Status']})")
    for key, status in (("running", "running"), ("exited", "exited")):
        for service, state in each(key):
            if state["Status"] != status:
                missing.append(f"{service} is {state['Status']}, not {status}")
    for wanted in ("healthy", "unhealthy"):
        for service, state in each(wanted):
            health = (state.get("Health") or {}).get("Status")
            if health != wanted:
                missing.append(f"{service} has health {health}")
    least = int(conditions.get("min_restarts", 1))
    for service, state in each("restarting"):
        if state["RestartCount"] < least:
            missing.append(f"{service} has restarted {state['RestartCount']} times of {least}")
    for service, pattern in (conditions.get("log") or {}).items():
        if service not in now or not re.search(pattern, _log(lab, service, now[service]["StartedAt"])):
            missing.append(f"the log of {service} does not hold {pattern!r}")
    return missing


def _log(lab: Lab, service: str, since: str) -> str:
    command = ["docker", "logs", "--since", since, lab.containers[service]]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=lab.env)
    return done.stdout.decode(errors="replace")
