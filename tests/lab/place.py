"""One lab: its names, folders and files, and the commands that everything else in the lab is done with."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.names import USUAL, Names

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COMPOSE = HERE / "compose"
DEFAULT_PREFIX = "ctlab_"
DATABASE = "ai_backend"
USER = "postgres"
#: Plainly no secret, and free of characters that a URL would escape.
PASSWORD = "lab-fake-passw0rd-not-a-secret"

#: What a broker's folder under ``compose`` holds instead of the usual infrastructure, and the URL to it.
BROKERS = {
    "redis": "redis://redis:6379/0",
    "rabbitmq": "amqp://${RABBITMQ_USER}:${RABBITMQ_PASSWORD}@rabbitmq:5672/jobs",
}
#: Who logs in to RabbitMQ, where a fault has it as its broker.
BROKER_LOGIN = {"RABBITMQ_USER": "backend", "RABBITMQ_PASSWORD": "lab-fake-br0ker-not-a-secret"}

INFRA_SERVICES = ("postgres", "redis", "rabbitmq")
BACKEND_SERVICES = ("celery_beat", "email_worker", "payment_worker", "data_sync_worker", "flower")


def own_prefix(prefix: str, root: Path = ROOT) -> str:
    """That prefix with a mark of this checkout in it, so that what another one has left on the engine (its
    tests were killed, say) stands in nobody's way: ``cttest_`` becomes ``cttest3fa1c2_``."""
    return f"{prefix.rstrip('_')}{hashlib.sha256(str(root).encode()).hexdigest()[:6]}_"


#: Variables of the caller that would change what Compose puts into a lab's files.
_HIDDEN = re.compile(r"(COMPOSE|POSTGRES|REDIS|RABBITMQ|BACKEND|CELERY|CONTAINER)_")


class Foreign(Exception):
    """A container, project or network that bears the lab's names and is not the lab's: left alone."""


class StepFailed(Exception):
    """A command or a step of a fault did not succeed; the message holds its output."""


@dataclass(frozen=True)
class Lab:
    """Where one lab is: all names and paths follow from the prefix and the folder.

    ``env`` is the environment for every command on this lab: that of the caller without anything that would
    change what Compose reads.
    """

    prefix: str
    folder: Path
    env: Mapping[str, str]
    names: Names = USUAL
    broker: str = "redis"

    @classmethod
    def at(
        cls, prefix: str = DEFAULT_PREFIX, root: Path | str | None = None, names: Names = USUAL,
        broker: str = "redis",
    ) -> Lab:
        """The lab with that prefix under `root` (default: the repository's ``.lab``), up or not."""
        if not re.fullmatch(r"[a-z][a-z0-9]*_", prefix):
            raise ValueError(f"a prefix is lower-case letters and digits and then an underscore: {prefix!r}")
        env = {name: value for name, value in os.environ.items() if not _HIDDEN.match(name)}
        return cls(prefix, Path(root or ROOT / ".lab").resolve() / prefix.rstrip("_"), env, names, broker)

    @property
    def broker_url(self) -> str:
        """The broker's URL as it should be, with user and password, for a client on the lab's network."""
        url = self.names.text(BROKERS[self.broker])
        for name, value in BROKER_LOGIN.items():
            url = url.replace("${" + name + "}", value)
        return url

    @property
    def infra_project(self) -> str:
        return self.prefix + self.names.text("ai_infra")

    @property
    def backend_project(self) -> str:
        return self.prefix + self.names.text("ai_backend")

    @property
    def infra_dir(self) -> Path:
        return self.folder / self.names.text("ai_infra")

    @property
    def backend_dir(self) -> Path:
        return self.folder / self.names.text("ai_backend")

    @property
    def files(self) -> dict[str, Path]:
        """The files that an edit may name, and the two overrides, which need not exist."""
        return {
            "backend": self.backend_dir / "docker-compose.yml",
            "infra": self.infra_dir / "docker-compose.yml",
            "env": self.backend_dir / ".env",
            "infra_env": self.infra_dir / ".env",
            "backend_override": self.backend_dir / "docker-compose.override.yml",
            "infra_override": self.infra_dir / "docker-compose.override.yml",
        }

    @property
    def containers(self) -> dict[str, str]:
        """The container of each service of both projects."""
        new = self.names.service
        found = {new(service): f"{self.infra_project}_{new(service)}" for service in INFRA_SERVICES}
        return found | {
            new(service): f"{self.backend_project}_{new(service)}" for service in BACKEND_SERVICES
        }

    def server(self, service: str) -> str:
        """The container of ``postgres``, ``redis`` or ``rabbitmq``, whatever they are called here."""
        return self.containers[self.names.service(service)]

    @property
    def projects(self) -> set[str]:
        """Both projects, and those that a fault with other names has left in this lab's folder."""
        left = {
            line.partition("=")[2] for dotenv in self.folder.glob("*/.env")
            for line in dotenv.read_text(encoding="utf-8").splitlines()
            if line.startswith("COMPOSE_PROJECT_NAME=")
        }
        return {self.infra_project, self.backend_project, *left}

    @property
    def networks(self) -> dict[str, str]:
        return {name: self.prefix + self.names.text(name) for name in ("database-net", "monitoring-net")}


def compose(lab: Lab, project: str, *arguments: str) -> str:
    """``docker compose`` on one of the lab's projects (``backend`` or ``infra``), in its folder."""
    folder = {"backend": lab.backend_dir, "infra": lab.infra_dir}[project]
    if not folder.is_dir():
        raise StepFailed(f"there is no {folder}: this lab is not up")
    return _run(["docker", "compose", "--ansi", "never", *arguments], lab, folder)


def docker(lab: Lab, *arguments: str, given: str | None = None) -> str:
    """The ``docker`` command, with ``given`` on its standard input; what it printed. Raises StepFailed."""
    return _run(["docker", *arguments], lab, None, given)


def _run(command: list[str], lab: Lab, folder: Path | None, given: str | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, env=lab.env, input=given, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        raise StepFailed(f"{' '.join(command[:5])} … ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def psql(lab: Lab, statement: str, database: str = "postgres") -> str:
    """Runs one statement as superuser inside PostgreSQL's container; the rows unaligned, without header."""
    return docker(
        lab, "exec", lab.server("postgres"), "psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1",
        "-U", USER, "-d", database, "-c", statement,
    )  # fmt: skip


def all_containers(lab: Lab) -> list[dict[str, Any]]:
    """Every container of the engine, as ``docker inspect`` tells it, also those that are not the lab's."""
    ids = docker(lab, "ps", "-aq").split()
    if not ids:
        return []
    # A container of somebody else may go between list and inspect: an exit status, and no failure of ours.
    command = ["docker", "inspect", "--type", "container", *ids]
    done = subprocess.run(command, env=lab.env, capture_output=True, text=True)
    return json.loads(done.stdout or "[]")


def states(lab: Lab) -> dict[str, dict[str, Any]]:
    """Each existing container of the lab by its service: the engine's ``State``, ``RestartCount`` added."""
    service_of = {name: service for service, name in lab.containers.items()}
    found = {}
    for item in all_containers(lab):
        service = service_of.get(item["Name"].lstrip("/"))
        if service:
            found[service] = {**item["State"], "RestartCount": item["RestartCount"]}
    return found
