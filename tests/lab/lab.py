"""Brings the lab's stack up with a fault, and down again; touches nothing but the lab's own containers.

A lab is two Compose projects, infrastructure and backend, under one prefix, run from a neutral copy of their
Compose files in ``.lab/<prefix>/``: whoever looks at containers, labels, files and paths sees a backend, never
the name of a fault. Several labs run side by side under different prefixes; no host port is published.

    python -m tests.lab.lab up [--fault NAME] [--prefix P]
    python -m tests.lab.lab down [--prefix P]
    python -m tests.lab.lab logs [--prefix P] [SERVICE…]
    python -m tests.lab.lab ps [--prefix P]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

if __package__ in (None, ""):  # run by its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.lab import images  # noqa: E402
from tests.lab.fault import FOLDER, BadFault, Fault, fault_names, load_fault  # noqa: E402

__all__ = [
    "BadFault", "Fault", "Foreign", "Lab", "NotReached", "apply_edits", "apply_manual", "compose", "down", "execute",
    "fault_names", "images_for", "load_fault", "psql", "refuse_foreign", "reset_infra", "states", "up", "wait_for",
]  # fmt: skip

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COMPOSE = HERE / "compose"
DEFAULT_PREFIX = "ctlab_"
DATABASE = "ai_backend"
USER = "postgres"
#: Plainly no secret, and free of characters that a URL would escape.
PASSWORD = "lab-fake-passw0rd-not-a-secret"

INFRA_SERVICES = ("postgres", "redis")
BACKEND_SERVICES = ("celery_beat", "email_worker", "payment_worker", "data_sync_worker", "flower")
#: What a service writes when it has come to its work, since it last started.
READY = {
    "celery_beat": r"beat: Starting\.\.\.",
    "email_worker": r"email_worker@\S+ ready\.",
    "payment_worker": r"payment_worker@\S+ ready\.",
    "data_sync_worker": r"data_sync_worker@\S+ ready\.",
    "flower": r"Connected to \S+",
}


class Foreign(Exception):
    """A container, project or network that bears the lab's names and is not the lab's: left alone."""


class NotReached(Exception):
    """What was waited for did not come in time; the message says what is missing and what was seen."""


class StepFailed(Exception):
    """A step of a fault did not succeed; the message holds its output."""


@dataclass(frozen=True)
class Lab:
    """Where one lab is: all names and paths follow from the prefix and the folder.

    ``containers`` maps each service of both projects to its container; ``env`` is the environment for every
    command on this lab: that of the caller without anything that would change what Compose reads.
    """

    prefix: str
    folder: Path
    env: Mapping[str, str]

    @classmethod
    def at(cls, prefix: str = DEFAULT_PREFIX, root: Path | str | None = None) -> Lab:
        """The lab with that prefix under `root` (default ``.lab`` in the repository), whether it is up or not."""
        if not re.fullmatch(r"[a-z][a-z0-9]*_", prefix):
            raise ValueError(f"a prefix is lower-case letters and digits and an underscore at the end: {prefix!r}")
        hidden = re.compile(r"(COMPOSE|POSTGRES|REDIS|BACKEND|CELERY|CONTAINER)_")
        env = {name: value for name, value in os.environ.items() if not hidden.match(name)}
        return cls(prefix, Path(root or ROOT / ".lab").resolve() / prefix.rstrip("_"), env)

    @property
    def infra_project(self) -> str:
        return f"{self.prefix}ai_infra"

    @property
    def backend_project(self) -> str:
        return f"{self.prefix}ai_backend"

    @property
    def infra_dir(self) -> Path:
        return self.folder / "ai_infra"

    @property
    def backend_dir(self) -> Path:
        return self.folder / "ai_backend"

    @property
    def files(self) -> dict[str, Path]:
        """The files that an edit may name; ``backend_override`` and ``infra_override`` need not exist."""
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
        found = {service: f"{self.infra_project}_{service}" for service in INFRA_SERVICES}
        return found | {service: f"{self.backend_project}_{service}" for service in BACKEND_SERVICES}

    @property
    def networks(self) -> dict[str, str]:
        return {name: f"{self.prefix}{name}" for name in ("database-net", "monitoring-net")}


# --- images --------------------------------------------------------------------------------------------------


def images_for(fault: Fault) -> dict[str, str]:
    """The application image of each backend service under this fault; builds what is missing."""
    return _images(fault.image)


def _images(sets: Mapping[str | None, Mapping[str, str | None]]) -> dict[str, str]:
    common = sets.get(None, {})
    wanted = {
        service: images.requirements({**common, **sets.get(service, {})}) for service in BACKEND_SERVICES
    }
    built = {lines: images.app_image(lines) for lines in sorted(set(wanted.values()))}
    return {service: built[lines] for service, lines in wanted.items()}


# --- up and down ---------------------------------------------------------------------------------------------


def up(
    fault: Fault,
    prefix: str = DEFAULT_PREFIX,
    root: Path | str | None = None,
    *,
    wait: bool = True,
) -> Lab:
    """Brings both projects up with this fault and waits for what the fault waits for.

    An infrastructure that is up already is kept and emptied. Raises Foreign, NotReached, StepFailed.
    """
    lab = Lab.at(prefix, root)
    refuse_foreign(lab)
    apps = images_for(fault)
    _remove_backend(lab)
    reset_infra(lab, fault)
    for step in fault.steps_before:
        execute(lab, step)
    _write_backend(lab, fault, apps)
    compose(lab, "backend", "up", "--detach", "--quiet-pull")
    for step in fault.steps_after:
        execute(lab, step)
    if wait and fault.wait_for:
        wait_for(lab, fault.wait_for)
    return lab


def reset_infra(lab: Lab, fault: Fault) -> None:
    """PostgreSQL and Redis as on the first day: up, empty, with the backend's database.

    The containers are made anew: that takes about as long as emptying them, and their logs are empty too.
    """
    refuse_foreign(lab)
    if _project_containers(lab, lab.infra_project):
        _force_remove(lab, lab.infra_project)
    lab.infra_dir.mkdir(parents=True, exist_ok=True)
    lab.files["infra"].write_text((COMPOSE / "infra" / "docker-compose.yml").read_text())
    lab.files["infra_env"].write_text(
        _dotenv(
            COMPOSE_PROJECT_NAME=lab.infra_project,
            CONTAINER_PREFIX=lab.prefix,
            POSTGRES_IMAGE=images.postgres_image(),
            REDIS_IMAGE=images.redis_image(),
            POSTGRES_USER=USER,
            POSTGRES_PASSWORD=PASSWORD,
            POSTGRES_DB="ai_infra",
        )
    )
    _write_override(lab.files["infra_override"], fault.infra)
    apply_edits(lab, [edit for edit in fault.edits if edit["file"].startswith("infra")])
    compose(lab, "infra", "up", "--detach", "--quiet-pull")
    _wait_until(lambda: _postgres_answers(lab), 60, lambda: f"{lab.containers['postgres']} does not answer")
    if not fault.infra.get("services", {}).get("postgres", {}).get("environment"):
        psql(lab, f'CREATE DATABASE "{DATABASE}"')


def down(lab: Lab, infra: bool = True) -> None:
    """Removes the backend and, by default, the infrastructure with its networks and the lab's folder."""
    refuse_foreign(lab)
    _remove_backend(lab)
    if not infra:
        return
    if lab.files["infra"].exists():
        compose(lab, "infra", "down", "--volumes", "--remove-orphans", "--timeout", "1")
    if lab.folder.exists():
        shutil.rmtree(lab.folder)


def refuse_foreign(lab: Lab) -> None:
    """Raises Foreign where a container or network bears this lab's names and was not made from its folder.

    Judged by what Compose notes on each container, ``com.docker.compose.project.config_files``.
    """
    wanted = set(lab.containers.values())
    for item in _all_containers(lab):
        labels = item["Config"]["Labels"] or {}
        name = item["Name"].lstrip("/")
        if labels.get("com.docker.compose.project") not in (lab.infra_project, lab.backend_project) and name not in wanted:
            continue
        files = [path for path in labels.get("com.docker.compose.project.config_files", "").split(",") if path]
        inside = files and all(Path(path).is_absolute() and Path(path).resolve().is_relative_to(lab.folder) for path in files)
        if not inside:
            origin = ", ".join(files) or "no Compose file"
            raise Foreign(f"container {name} was made from {origin}, not from {lab.folder}: the lab leaves it alone")
    for network in lab.networks.values():
        found = subprocess.run(
            ["docker", "network", "inspect", network, "--format", '{{index .Labels "com.docker.compose.project"}}'],
            capture_output=True, text=True, env=lab.env,
        )  # fmt: skip
        if found.returncode == 0 and found.stdout.strip() != lab.infra_project:
            raise Foreign(f"network {network} is not the lab's: the lab leaves it alone")


def _remove_backend(lab: Lab) -> None:
    """Removes every container of the backend, also those whose Compose file is broken by now."""
    _force_remove(lab, lab.backend_project)
    shutil.rmtree(lab.backend_dir, ignore_errors=True)


def _force_remove(lab: Lab, project: str) -> None:
    found = _project_containers(lab, project)
    if found:
        _docker(lab, "rm", "--force", "--volumes", *found)


def _write_backend(lab: Lab, fault: Fault, apps: Mapping[str, str]) -> None:
    lab.backend_dir.mkdir(parents=True, exist_ok=True)
    lab.files["backend"].write_text((COMPOSE / "backend" / "docker-compose.yml").read_text())
    common = _most_used(apps)
    lab.files["env"].write_text(
        _dotenv(
            COMPOSE_PROJECT_NAME=lab.backend_project,
            CONTAINER_PREFIX=lab.prefix,
            BACKEND_IMAGE=common,
            POSTGRES_USER=USER,
            POSTGRES_PASSWORD=PASSWORD,
            BACKEND_DB_NAME=DATABASE,
        )
    )
    override = json.loads(json.dumps(fault.backend))  # a deep copy
    for service, image in apps.items():
        if image != common:
            override.setdefault("services", {}).setdefault(service, {})["image"] = image
    _write_override(lab.files["backend_override"], override)
    apply_edits(lab, [edit for edit in fault.edits if not edit["file"].startswith("infra")])


def _most_used(apps: Mapping[str, str]) -> str:
    return max(sorted(set(apps.values())), key=list(apps.values()).count)


def _write_override(path: Path, override: Mapping[str, Any]) -> None:
    if override:
        path.write_text(yaml.safe_dump(dict(override), sort_keys=False, width=200))
    else:
        path.unlink(missing_ok=True)


def _dotenv(**values: str) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


# --- changes and steps ---------------------------------------------------------------------------------------


def apply_edits(lab: Lab, edits: Iterable[Mapping[str, Any]]) -> None:
    """Replaces text in the lab's files: every occurrence, which must be `count` of them where that is given."""
    for edit in edits:
        path = lab.files[edit["file"]]
        text = path.read_text()
        found = text.count(edit["old"])
        if found != edit.get("count", found) or not found:
            raise StepFailed(f"{path.name} holds {edit['old']!r} {found} times, not {edit.get('count', 'at least once')}")
        path.write_text(text.replace(edit["old"], edit["new"]))


def apply_manual(lab: Lab, fault: Fault, finding: str) -> bool:
    """Does what a person does for a finding whose remedy is manual, as the fault says; False where it says nothing.

    A new image is put into the lab's files; then edits, then steps. The services are re-created, as after any
    edit, by ``docker compose up --detach``.
    """
    done = fault.manual.get(finding)
    if done is None:
        return False
    if done["image"]:
        _change_image(lab, fault, done["image"])
    apply_edits(lab, done["edits"])
    for step in done["steps"]:
        execute(lab, step)
    if done["image"] or done["edits"]:
        compose(lab, "backend", "up", "--detach", "--quiet-pull")
    return True


def _change_image(lab: Lab, fault: Fault, changes: Mapping[str | None, Mapping[str, str | None]]) -> None:
    """Lays `changes` over the fault's own requirement sets and points the lab's files to the new images."""
    sets = {
        service: {**fault.image.get(service, {}), **changes.get(service, {})}
        for service in {*fault.image, *changes}
    }
    apps = _images(sets)
    common = _most_used(apps)
    text = lab.files["env"].read_text()
    lab.files["env"].write_text(re.sub(r"(?m)^BACKEND_IMAGE=.*$", f"BACKEND_IMAGE={common}", text))
    path = lab.files["backend_override"]
    override = (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
    for service, image in apps.items():
        settings = override.setdefault("services", {}).setdefault(service, {})
        settings.pop("image", None)
        if image != common:
            settings["image"] = image
        if not settings:
            del override["services"][service]
    if not override.get("services", True):
        del override["services"]
    _write_override(path, override)


def execute(lab: Lab, step: Mapping[str, Any]) -> None:
    """Carries out one step of a fault. Raises StepFailed, NotReached."""
    if "sql" in step:
        psql(lab, step["sql"], step.get("database", USER))
    elif "task" in step:
        send_task(lab, step["task"], step.get("args", ()), step.get("queue", "data_sync"), step.get("count", 1))
    elif "run" in step:
        done = subprocess.run(
            ["sh", "-euc", step["run"]], cwd=lab.backend_dir if lab.backend_dir.exists() else lab.folder,
            env={**lab.env, "LAB_PREFIX": lab.prefix}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if done.returncode:
            raise StepFailed(f"{step['run']!r} ended with {done.returncode}: {(done.stdout + done.stderr)[-1000:]}")
    elif "compose" in step:
        compose(lab, step.get("project", "backend"), *step["compose"].split())
    elif isinstance(step["wait"], Mapping):
        wait_for(lab, step["wait"])
    else:
        time.sleep(float(step["wait"]))


def psql(lab: Lab, statement: str, database: str = "postgres") -> str:
    """Runs one statement as superuser inside the PostgreSQL container; the rows unaligned, without header."""
    return _docker(
        lab, "exec", lab.containers["postgres"],
        "psql", "--no-psqlrc", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database, "-c", statement,
    )  # fmt: skip


def send_task(lab: Lab, name: str, args: Iterable[Any], queue: str, count: int = 1) -> None:
    """Puts tasks into a queue of the lab's own Redis, whatever the backend's URLs say.

    Done from a container of its own with the default application image, which the engine removes afterwards.
    """
    code = (
        "import json, sys; from celery import Celery; name, args, queue, count = json.loads(sys.argv[1]); "
        "app = Celery(broker='redis://redis:6379/0'); "
        "[app.send_task(name, args=args, queue=queue, ignore_result=False) for _ in range(count)]"
    )
    _docker(
        lab, "run", "--rm", "--network", lab.networks["database-net"],
        images.app_image(images.requirements()), "python3", "-c", code, json.dumps([name, list(args), queue, count]),
    )  # fmt: skip


# --- waiting -------------------------------------------------------------------------------------------------


def states(lab: Lab) -> dict[str, dict[str, Any]]:
    """Each existing container of the lab by its service: the engine's ``State`` with ``RestartCount`` added."""
    service_of = {name: service for service, name in lab.containers.items()}
    found = {}
    for item in _all_containers(lab):
        service = service_of.get(item["Name"].lstrip("/"))
        if service:
            found[service] = {**item["State"], "RestartCount": item["RestartCount"]}
    return found


def wait_for(lab: Lab, conditions: Mapping[str, Any]) -> float:
    """Waits until every condition holds at once; the seconds that it took. Raises NotReached.

    Conditions: ``ready``, ``restarting`` (with ``min_restarts``, default 1), ``running``, ``healthy``, ``exited``
    (each a list of services, or ``all``), ``log`` ({service: regular expression}, in the current life),
    ``seconds`` (waited first), ``timeout`` (default 90 s).
    """
    started = time.monotonic()
    time.sleep(float(conditions.get("seconds", 0)))
    missing: list[str] = []

    def hold() -> bool:
        missing[:] = _missing(lab, conditions)
        return not missing

    _wait_until(hold, float(conditions.get("timeout", 90)), lambda: "; ".join(missing))
    return time.monotonic() - started


def _missing(lab: Lab, conditions: Mapping[str, Any]) -> list[str]:
    now = states(lab)
    missing = []

    def each(key: str) -> Iterable[tuple[str, dict[str, Any]]]:
        wanted = conditions.get(key) or ()
        for service in BACKEND_SERVICES if wanted == "all" else wanted:
            if service in now:
                yield service, now[service]
            else:
                missing.append(f"{service} has no container")

    for service, state in each("ready"):
        if not state["Running"] or not re.search(READY[service], _log(lab, service, state["StartedAt"])):
            missing.append(f"{service} is not ready ({state['Status']})")
    for service, state in each("running"):
        if state["Status"] != "running":
            missing.append(f"{service} is {state['Status']}")
    for service, state in each("exited"):
        if state["Status"] != "exited":
            missing.append(f"{service} is {state['Status']}, not exited")
    for service, state in each("healthy"):
        health = (state.get("Health") or {}).get("Status")
        if health != "healthy":
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
    done = subprocess.run(
        ["docker", "logs", "--since", since, lab.containers[service]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=lab.env,
    )  # fmt: skip
    return done.stdout.decode(errors="replace")


def _wait_until(hold, timeout: float, why) -> None:
    deadline = time.monotonic() + timeout
    while not hold():
        if time.monotonic() > deadline:
            raise NotReached(f"after {timeout:.0f} s: {why()}")
        time.sleep(0.3)


def _postgres_answers(lab: Lab) -> bool:
    """Over TCP: the entry point's first, single-user start must not count."""
    return not subprocess.run(
        ["docker", "exec", lab.containers["postgres"], "pg_isready", "-q", "-h", "127.0.0.1"],
        capture_output=True, env=lab.env,
    ).returncode  # fmt: skip


# --- docker --------------------------------------------------------------------------------------------------


def compose(lab: Lab, project: str, *arguments: str) -> str:
    """``docker compose`` on one of the lab's projects (``backend`` or ``infra``), in its folder."""
    folder = {"backend": lab.backend_dir, "infra": lab.infra_dir}[project]
    done = subprocess.run(["docker", "compose", *arguments], cwd=folder, env=lab.env, capture_output=True, text=True)
    if done.returncode:
        raise StepFailed(f"docker compose {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _docker(lab: Lab, *arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], env=lab.env, capture_output=True, text=True)
    if done.returncode:
        raise StepFailed(f"docker {' '.join(arguments[:3])} … ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _project_containers(lab: Lab, project: str) -> list[str]:
    return _docker(lab, "ps", "-aq", "--filter", f"label=com.docker.compose.project={project}").split()


def _all_containers(lab: Lab) -> list[dict[str, Any]]:
    ids = _docker(lab, "ps", "-aq").split()
    if not ids:
        return []
    # A container of somebody else may go between list and inspect: that is an exit status, not a failure.
    done = subprocess.run(["docker", "inspect", "--type", "container", *ids], env=lab.env, capture_output=True, text=True)
    return json.loads(done.stdout or "[]")


# --- command line --------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="lab", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "down", "logs", "ps"):
        command = commands.add_parser(name)
        command.add_argument("--prefix", default=DEFAULT_PREFIX, help="of all names (default %(default)s)")
        if name == "up":
            command.add_argument("--fault", default="healthy", help="a name in the folder, or a path (default %(default)s)")
            command.add_argument("--faults-dir", default=str(FOLDER))
        if name == "logs":
            command.add_argument("services", nargs="*")
    given = parser.parse_args(argv)
    lab = Lab.at(given.prefix)
    started = time.monotonic()
    try:
        if given.command == "up":
            up(load_fault(given.fault, given.faults_dir), given.prefix)
            _say(f"up after {time.monotonic() - started:.0f} s: projects {lab.infra_project} and {lab.backend_project}")
        elif given.command == "down":
            down(lab)
            _say(f"down after {time.monotonic() - started:.0f} s")
        elif given.command == "logs":
            print(compose(lab, "backend", "logs", "--timestamps", *given.services), end="")
        if given.command in ("up", "ps"):
            print(_docker(lab, "ps", "-a", "--filter", f"name=^{lab.prefix}", "--format", "table {{.Names}}\t{{.Status}}"), end="")
    except (BadFault, Foreign, NotReached, StepFailed, images.BuildFailed) as problem:
        _say(str(problem))
        return 1
    return 0


def _say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
