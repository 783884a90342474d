"""Real PostgreSQL, Redis and RabbitMQ servers for the tests, in containers of the lab's images."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.lab import images

REQUIRED = os.environ.get("CELERY_TRIAGE_REQUIRE_DOCKER") == "1"
PREFIX = "ctunit"
PASSWORD = "unit-fake-passw0rd-not-a-secret"


@dataclass(frozen=True)
class Running:
    """A container: its name, its network and its address there."""

    name: str
    network: str
    ip: str

    def item(self, label: str = "server", **more) -> dict:
        """It as the ``containers`` section has it."""
        return {
            "label": label, "name": self.name, "id": "", "service": label, "project": "shop", "member": False,
            "image": "x", "entrypoint": [], "cmd": [], "env": {}, "ports": [],
            "networks": {self.network: {"ip": self.ip, "aliases": [label]}},
            "samples": [{"status": "running"}], **more}


def docker(*words: str) -> str:
    """What one ``docker`` command printed; the test fails when it fails."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def image(kind: str) -> str:
    """The lab's image of that kind. Without an engine the test is skipped, or fails where one is required."""
    try:
        asked = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True,
                               timeout=20, check=False)
        answers = asked.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        answers = False
    if not answers:
        (pytest.fail if REQUIRED else pytest.skip)("no Docker Engine answers")
    kinds = {
        "redis": images.redis_image,
        "postgres": images.postgres_image,
        "rabbitmq": images.rabbitmq_image,
    }
    return kinds[kind]()


@contextlib.contextmanager
def started(
    kind: str, *command: str, network: str = "", alias: str = "server", **env: str,
) -> Iterator[Running]:
    """A container of that kind that runs ``command`` (default: the image's), removed afterwards with its
    network. ``network``: an existing one."""
    name = f"{PREFIX}-{uuid.uuid4().hex[:8]}"
    built = image(kind)
    own = network or name
    if not network:
        docker("network", "create", own)
    try:
        pairs = [word for pair in env.items() for word in ("-e", "=".join(pair))]
        docker("run", "-d", "--name", name, "--network", own, "--network-alias", alias, *pairs, built,
               *command)
        networks = json.loads(docker("inspect", name))[0]["NetworkSettings"]["Networks"]
        yield Running(name, own, networks[own]["IPAddress"])
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], capture_output=True, timeout=60, check=False)
        if not network:
            subprocess.run(["docker", "network", "rm", own], capture_output=True, timeout=60, check=False)


def wait_until(ready, seconds: float = 30.0) -> None:
    """Return when ``ready()`` is true; the test fails when it never is."""
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "it never got ready"
        time.sleep(0.1)


def redis_cli(server: Running, *words: str) -> str:
    """What the server's own ``redis-cli`` prints."""
    return docker("exec", server.name, "redis-cli", *words)


def psql(server: Running, *statements: str) -> None:
    """Run statements as the superuser, inside the container."""
    words = [word for statement in statements for word in ("-c", statement)]
    docker("exec", server.name, "psql", "-v", "ON_ERROR_STOP=1", "-U", "postgres", *words)


def server_log(server: Running) -> str:
    """The server's log so far."""
    words = ["docker", "logs", server.name]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout + done.stderr
