"""Brings the lab's stack up with a fault, and down again; touches nothing but the lab's own containers.

A lab is two Compose projects, infrastructure and backend, under one prefix, run from a neutral copy of their
Compose files in ``.lab/<prefix>/``: whoever looks at containers, labels, files and paths sees a backend,
never the name of a fault. Several labs run side by side under different prefixes; no host port is published.

    python -m tests.lab.lab up --fault NAME [--prefix P]
    python -m tests.lab.lab down [--prefix P]
    python -m tests.lab.lab logs [--prefix P] [SERVICE…]
    python -m tests.lab.lab ps [--prefix P]
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

if __package__ in (None, ""):  # run by its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.lab import images
from tests.lab.fault import FOLDER, BadFault, Fault, fault_names, load_fault
from tests.lab.files import (
    all_images,
    change_image,
    copy_original,
    images_for,
    write_backend,
    write_dotenv,
    write_override,
)
from tests.lab.place import (
    BACKEND_SERVICES,
    BROKER_LOGIN,
    COMPOSE,
    DATABASE,
    DEFAULT_PREFIX,
    PASSWORD,
    USER,
    Foreign,
    Lab,
    StepFailed,
    all_containers,
    compose,
    docker,
    psql,
    states,
)
from tests.lab.steps import apply_edits, execute
from tests.lab.waiting import NotReached, wait_for, wait_until

__all__ = [
    "BACKEND_SERVICES", "COMPOSE", "DATABASE", "BadFault", "Fault", "Foreign", "Lab", "NotReached",
    "StepFailed", "all_images", "apply_edits", "apply_manual", "compose", "docker", "down", "execute",
    "fault_names", "images_for",
    "load_fault", "psql", "refuse_foreign", "reset_infra", "states", "up", "wait_for",
    "write_backend",
]  # fmt: skip


def up(
    fault: Fault, prefix: str = DEFAULT_PREFIX, root: Path | str | None = None, *, wait: bool = True
) -> Lab:
    """Brings both projects up with this fault, waits for what the fault waits for, and says where it is.

    What ran under that prefix before is removed. Raises Foreign, NotReached, StepFailed, BuildFailed; then
    what has come up so far stays up, to be looked at.
    """
    lab = Lab.at(prefix, root, fault.names, fault.broker)
    refuse_foreign(lab)
    apps = images_for(fault)
    _remove_both(lab)
    reset_infra(lab, fault)
    for step in fault.steps_before:
        execute(lab, step)
    write_backend(lab, fault, apps)
    compose(lab, "backend", "up", "--detach", "--quiet-pull")
    for step in fault.steps_after:
        execute(lab, step)
    if wait and fault.wait_for:
        wait_for(lab, fault.wait_for)
    return lab


def down(lab: Lab) -> None:
    """Removes both projects, their networks and the lab's folder. Raises Foreign."""
    refuse_foreign(lab)
    _remove_both(lab)
    shutil.rmtree(lab.folder, ignore_errors=True)


def reset_infra(lab: Lab, fault: Fault) -> None:
    """PostgreSQL and the broker as on the first day: up, empty, with empty logs and the backend's database.

    They are made anew each time: with a cluster made at start-up without syncing this takes about 3 s, hardly
    more than dropping databases and flushing, and no log line of an earlier fault is left in their logs.
    """
    refuse_foreign(lab)
    _remove(lab, lab.infra_project, lab.infra_dir)
    lab.infra_dir.mkdir(parents=True)
    copy_original(lab, "infra")
    write_dotenv(
        lab.files["infra_env"],
        COMPOSE_PROJECT_NAME=lab.infra_project,
        CONTAINER_PREFIX=lab.prefix,
        POSTGRES_IMAGE=images.postgres_image(),
        **_broker(lab),
        POSTGRES_USER=USER,
        POSTGRES_PASSWORD=PASSWORD,
        POSTGRES_DB=lab.names.text("ai_infra"),
    )
    write_override(lab.files["infra_override"], fault.infra)
    apply_edits(lab, [edit for edit in fault.edits if edit["file"].startswith("infra")])
    compose(lab, "infra", "up", "--detach", "--quiet-pull")
    wait_until(lambda: _postgres_answers(lab), 240, lambda: f"{lab.server('postgres')} does not answer")
    if lab.broker == "rabbitmq":
        wait_until(lambda: rabbitmq_answers(lab), 240, lambda: f"{lab.server('rabbitmq')} does not answer")
    psql(lab, f'CREATE DATABASE "{lab.names.text(DATABASE)}"')


def apply_manual(lab: Lab, fault: Fault, finding: str) -> bool:
    """Does what a person does for a finding whose remedy is manual; False where the fault does not say.

    A new image is put into the lab's files, then come edits, then steps; at last the services are re-created
    by ``docker compose up --detach``, as after any change of a Compose file.
    """
    done = fault.manual.get(finding)
    if done is None:
        return False
    if done["image"]:
        change_image(lab, fault, done["image"])
    apply_edits(lab, done["edits"])
    for step in done["steps"]:
        execute(lab, step)
    if done["image"] or done["edits"]:
        compose(lab, "backend", "up", "--detach", "--quiet-pull")
    return True


def refuse_foreign(lab: Lab) -> None:
    """Raises Foreign where a container or network bears this lab's names and was not made from its folder.

    Judged by what Compose notes on each container, ``com.docker.compose.project.config_files``.
    """
    names, projects = set(lab.containers.values()), lab.projects
    for item in all_containers(lab):
        labels, name = item["Config"]["Labels"] or {}, item["Name"].lstrip("/")
        if labels.get("com.docker.compose.project") not in projects and name not in names:
            continue
        files = labels.get("com.docker.compose.project.config_files", "")
        if not all(_inside(Path(file), lab.folder) for file in files.split(",")):
            origin = files or "no Compose file"
            raise Foreign(f"container {name} is from {origin}, not from {lab.folder}: it is left alone")
    label = '{{index .Labels "com.docker.compose.project"}}'
    for network in lab.networks.values():
        command = ["docker", "network", "inspect", network, "--format", label]
        found = subprocess.run(command, capture_output=True, text=True, env=lab.env)
        if found.returncode == 0 and found.stdout.strip() != lab.infra_project:
            raise Foreign(f"network {network} is not the lab's: the lab leaves it alone")


def _inside(path: Path, folder: Path) -> bool:
    return path.is_absolute() and path.resolve().is_relative_to(folder)


def _remove(lab: Lab, project: str, folder: Path) -> None:
    """Removes what a project has on the engine, by label: its Compose file may be broken by now."""
    label = f"label=com.docker.compose.project={project}"
    if found := docker(lab, "ps", "-aq", "--filter", label).split():
        docker(lab, "rm", "--force", "--volumes", *found)
    for network in docker(lab, "network", "ls", "-q", "--filter", label).split():
        _remove_network(lab, network)
    if found := docker(lab, "volume", "ls", "-q", "--filter", label).split():
        docker(lab, "volume", "rm", *found)
    if folder.exists():
        shutil.rmtree(folder)


def _remove_network(lab: Lab, network: str) -> None:
    """Removes a network. The engine may go on counting an endpoint of a container that is gone (seen with
    20.10; https://github.com/moby/moby/issues/42119): such a network is empty, and Compose takes it again by
    its name and label, so it may stay. Raises StepFailed for one that is in use."""
    for turns_left in (3, 2, 1, 0):
        try:
            docker(lab, "network", "rm", network)
            return
        except StepFailed as error:
            if "has active endpoints" not in str(error):
                raise
            if not turns_left:
                inside = docker(lab, "network", "inspect", network, "--format", "{{len .Containers}}")
                if inside.strip() != "0":
                    raise
                print(f"lab: the engine does not let go of the empty network {network}", file=sys.stderr)
        time.sleep(1)


def _remove_both(lab: Lab) -> None:
    for project in sorted(lab.projects):
        _remove(lab, project, lab.folder / project.removeprefix(lab.prefix))


def _broker(lab: Lab) -> dict[str, str]:
    """What the infrastructure's Compose file wants to know of its broker."""
    if lab.broker == "rabbitmq":
        return {"RABBITMQ_IMAGE": images.rabbitmq_image(), **BROKER_LOGIN}
    return {"REDIS_IMAGE": images.redis_image()}


def rabbitmq_answers(lab: Lab) -> bool:
    """Whether RabbitMQ greets a client: its port is opened last, when users and virtual hosts are there."""
    address = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    found = docker(lab, "inspect", "--format", address, lab.server("rabbitmq")).split()
    try:
        with socket.create_connection((found[0], 5672), timeout=2) as client:
            client.sendall(b"AMQP\x00\x00\x09\x01")
            return client.recv(1) == b"\x01"
    except (OSError, IndexError):
        return False


def _postgres_answers(lab: Lab) -> bool:
    # Over TCP: the entry point's first start, in single-user mode, has no port and must not count.
    command = ["docker", "exec", lab.server("postgres"), "pg_isready", "-q", "-h", "127.0.0.1"]
    return subprocess.run(command, capture_output=True, env=lab.env).returncode == 0


# --- command line -----------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """The command line; 0 done, 1 refused or failed with a sentence on stderr."""
    parser = argparse.ArgumentParser(prog="lab", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "down", "logs", "ps"):
        command = commands.add_parser(name)
        command.add_argument("--prefix", default=DEFAULT_PREFIX, help="of all names (default %(default)s)")
        if name == "up":
            command.add_argument("--fault", required=True, help="its name, or the path of its file")
            command.add_argument("--faults-dir", default=str(FOLDER), help="where names are looked up")
        if name == "logs":
            command.add_argument("services", nargs="*")
    given = parser.parse_args(argv)
    started = time.monotonic()
    try:
        lab = Lab.at(given.prefix)
        if given.command == "up":
            up(load_fault(given.fault, given.faults_dir), given.prefix)
            seconds = time.monotonic() - started
            _say(f"up after {seconds:.0f} s: projects {lab.infra_project} and {lab.backend_project}")
        elif given.command == "down":
            down(lab)
            _say(f"down after {time.monotonic() - started:.0f} s")
        elif given.command == "logs":
            print(compose(lab, "backend", "logs", "--timestamps", *given.services), end="")
        if given.command in ("up", "ps"):
            table = "table {{.Names}}\t{{.Status}}"
            print(docker(lab, "ps", "-a", "--filter", f"name=^{lab.prefix}", "--format", table), end="")
    except (ValueError, OSError, Foreign, NotReached, StepFailed, images.BuildFailed) as problem:
        _say(str(problem))
        return 1
    return 0


def _say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
