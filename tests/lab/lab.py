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
import copy
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

if __package__ in (None, ""):  # run by its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.lab import images
from tests.lab.fault import FOLDER, BadFault, Fault, fault_names, load_fault
from tests.lab.place import (
    BACKEND_SERVICES,
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
]  # fmt: skip

IMAGE_LINE = re.compile(r"(?m)^BACKEND_IMAGE=.*$")


def up(
    fault: Fault, prefix: str = DEFAULT_PREFIX, root: Path | str | None = None, *, wait: bool = True
) -> Lab:
    """Brings both projects up with this fault, waits for what the fault waits for, and says where it is.

    What ran under that prefix before is removed. Raises Foreign, NotReached, StepFailed, BuildFailed; then
    what has come up so far stays up, to be looked at.
    """
    lab = Lab.at(prefix, root)
    refuse_foreign(lab)
    apps = images_for(fault)
    _remove(lab, lab.backend_project, lab.backend_dir)
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
    _remove(lab, lab.backend_project, lab.backend_dir)
    _remove(lab, lab.infra_project, lab.infra_dir)
    shutil.rmtree(lab.folder, ignore_errors=True)


def reset_infra(lab: Lab, fault: Fault) -> None:
    """PostgreSQL and Redis as on the first day: up, empty, with empty logs and the backend's database.

    They are made anew each time: with a cluster made at start-up without syncing this takes about 3 s, hardly
    more than dropping databases and flushing, and no log line of an earlier fault is left in their logs.
    """
    refuse_foreign(lab)
    _remove(lab, lab.infra_project, lab.infra_dir)
    lab.infra_dir.mkdir(parents=True)
    shutil.copy(COMPOSE / "infra" / "docker-compose.yml", lab.files["infra"])
    _write_dotenv(
        lab.files["infra_env"],
        COMPOSE_PROJECT_NAME=lab.infra_project,
        CONTAINER_PREFIX=lab.prefix,
        POSTGRES_IMAGE=images.postgres_image(),
        REDIS_IMAGE=images.redis_image(),
        POSTGRES_USER=USER,
        POSTGRES_PASSWORD=PASSWORD,
        POSTGRES_DB="ai_infra",
    )
    _write_override(lab.files["infra_override"], fault.infra)
    apply_edits(lab, [edit for edit in fault.edits if edit["file"].startswith("infra")])
    compose(lab, "infra", "up", "--detach", "--quiet-pull")
    wait_until(lambda: _postgres_answers(lab), 60, lambda: f"{lab.containers['postgres']} does not answer")
    psql(lab, f'CREATE DATABASE "{DATABASE}"')


def refuse_foreign(lab: Lab) -> None:
    """Raises Foreign where a container or network bears this lab's names and was not made from its folder.

    Judged by what Compose notes on each container, ``com.docker.compose.project.config_files``.
    """
    names, projects = set(lab.containers.values()), (lab.infra_project, lab.backend_project)
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
    for listing, removal in (
        (("ps", "-aq"), ("rm", "--force", "--volumes")),
        (("network", "ls", "-q"), ("network", "rm")),
        (("volume", "ls", "-q"), ("volume", "rm")),
    ):
        found = docker(lab, *listing, "--filter", label).split()
        if found:
            docker(lab, *removal, *found)
    if folder.exists():
        shutil.rmtree(folder)


def _postgres_answers(lab: Lab) -> bool:
    # Over TCP: the entry point's first start, in single-user mode, has no port and must not count.
    command = ["docker", "exec", lab.containers["postgres"], "pg_isready", "-q", "-h", "127.0.0.1"]
    return subprocess.run(command, capture_output=True, env=lab.env).returncode == 0


# --- images and files of the backend ----------------------------------------------------------------------


def images_for(fault: Fault) -> dict[str, str]:
    """The application image of each backend service under this fault; builds what is missing."""
    return _images(fault.image)


def all_images(fault: Fault) -> set[str]:
    """Every application image that this fault needs, also for a cure by hand; builds what is missing."""
    found = set(images_for(fault).values())
    for done in fault.manual.values():
        if done["image"]:
            found |= set(_images(_laid_over(fault, done["image"])).values())
    return found


def apply_manual(lab: Lab, fault: Fault, finding: str) -> bool:
    """Does what a person does for a finding whose remedy is manual; False where the fault does not say.

    A new image is put into the lab's files, then come edits, then steps; at last the services are re-created
    by ``docker compose up --detach``, as after any change of a Compose file.
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


def _images(sets: Mapping[str | None, Mapping[str, str | None]]) -> dict[str, str]:
    common = sets.get(None, {})
    wanted = {
        service: images.requirements({**common, **sets.get(service, {})}) for service in BACKEND_SERVICES
    }
    built = {lines: images.app_image(lines) for lines in sorted(set(wanted.values()))}
    return {service: built[lines] for service, lines in wanted.items()}


def _laid_over(fault: Fault, changes: Mapping[str | None, Mapping[str, str | None]]):
    keys = {*fault.image, *changes}
    return {key: {**fault.image.get(key, {}), **changes.get(key, {})} for key in keys}


def _most_used(apps: Mapping[str, str]) -> str:
    return max(sorted(set(apps.values())), key=list(apps.values()).count)


def write_backend(lab: Lab, fault: Fault, apps: Mapping[str, str]) -> None:
    """Writes the backend's neutral copy: Compose file, override where there is one, .env, edits done."""
    lab.backend_dir.mkdir(parents=True)
    shutil.copy(COMPOSE / "backend" / "docker-compose.yml", lab.files["backend"])
    _write_dotenv(
        lab.files["env"],
        COMPOSE_PROJECT_NAME=lab.backend_project,
        CONTAINER_PREFIX=lab.prefix,
        BACKEND_IMAGE=_most_used(apps),
        POSTGRES_USER=USER,
        POSTGRES_PASSWORD=PASSWORD,
        BACKEND_DB_NAME=DATABASE,
    )
    _write_override(lab.files["backend_override"], _with_images(fault.backend, apps))
    apply_edits(lab, [edit for edit in fault.edits if not edit["file"].startswith("infra")])


def _change_image(lab: Lab, fault: Fault, changes: Mapping[str | None, Mapping[str, str | None]]) -> None:
    """Lays `changes` over the fault's own requirement sets and points the lab's files to the new images."""
    apps = _images(_laid_over(fault, changes))
    env, override = lab.files["env"], lab.files["backend_override"]
    env.write_text(IMAGE_LINE.sub(f"BACKEND_IMAGE={_most_used(apps)}", env.read_text()))
    before = yaml.safe_load(override.read_text()) if override.exists() else {}
    after = _with_images(before, apps)
    if after != before:
        _write_override(override, after)


def _with_images(override: Mapping[str, Any], apps: Mapping[str, str]) -> dict[str, Any]:
    """The override with an image for each service that does not run the one of most services."""
    result = copy.deepcopy(dict(override))
    services = result.setdefault("services", {})
    for service, image in apps.items():
        if image != _most_used(apps):
            services.setdefault(service, {})["image"] = image
        elif service in services:
            services[service].pop("image", None)
            if not services[service]:
                del services[service]
    if not services:
        del result["services"]
    return result


def _write_override(path: Path, override: Mapping[str, Any]) -> None:
    if override:
        path.write_text(yaml.safe_dump(dict(override), sort_keys=False, width=200), encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def _write_dotenv(path: Path, **values: str) -> None:
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))


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
