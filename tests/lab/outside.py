"""What the oracle sees from outside: the ``docker`` command's answers, containers in one of their lives."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from datetime import datetime


class Unanswered(Exception):
    """The engine or a container did not answer a question of the oracle."""


@dataclass(frozen=True)
class Life:
    """One container in one of its lives; ``same`` differs from life to life."""

    id: str
    started_at: str
    restarts: int
    status: str
    exit_code: int
    addresses: tuple[str, ...]
    image: str = ""  # the id of the image that it really runs

    @property
    def same(self) -> tuple[str, str, int]:
        return self.id, self.started_at, self.restarts


def docker(*words: str, seconds: float = 20.0, given: str | None = None) -> str:
    """What one ``docker`` command printed; raises Unanswered when it fails or does not end in time."""
    try:
        done = subprocess.run(
            ["docker", *words], input=given, capture_output=True, text=True, errors="backslashreplace",
            timeout=seconds, check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unanswered(f"docker {words[0]} did not end within {seconds:.0f} s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        telling = [line for line in lines if re.search(r"error|fatal", line, re.IGNORECASE)]
        raise Unanswered(f"docker {words[0]}: {(telling or lines)[-1].strip()[-400:]}")
    return done.stdout


def lives(project: str) -> dict[str, list[Life]]:
    """The containers of a Compose project by service name, in whatever state they are."""
    ids = docker(
        "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=com.docker.compose.project={project}",
        "--filter", "label=com.docker.compose.oneoff=False",
    ).split()
    found: dict[str, list[Life]] = {}
    for id in ids:
        try:
            item = json.loads(docker("inspect", "--type", "container", id))[0]
        except Unanswered:
            continue  # removed since it was listed: whoever needs it will miss it
        state, networks = item["State"], item["NetworkSettings"]["Networks"].values()
        service = item["Config"]["Labels"].get("com.docker.compose.service", "")
        found.setdefault(service, []).append(Life(
            id, state["StartedAt"], item["RestartCount"], state["Status"], state["ExitCode"],
            tuple(network["IPAddress"] for network in networks if network["IPAddress"]), item["Image"],
        ))
    return found


def clock() -> float:
    """The engine's time in seconds since 1970: its stamps are not held against this machine's clock."""
    return moment(docker("info", "--format", "{{.SystemTime}}").strip())


def moment(text: str) -> float:
    """Seconds since 1970 of the engine's time stamps, which have up to nine digits behind the point."""
    head, _, tail = text.partition(".")
    if not tail:
        return datetime.fromisoformat(text).timestamp()
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return datetime.fromisoformat(f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}").timestamp()
