"""The files of one lab and the images that they name: neutral Compose files, overrides, .env."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.lab import images
from tests.lab.fault import Fault
from tests.lab.names import Names
from tests.lab.place import (
    BACKEND_SERVICES,
    BROKER_LOGIN,
    BROKERS,
    COMPOSE,
    DATABASE,
    PASSWORD,
    USER,
    Lab,
)
from tests.lab.steps import apply_edits

IMAGE_LINE = re.compile(r"(?m)^BACKEND_IMAGE=.*$")


def copy_original(lab: Lab, which: str) -> None:
    """The Compose file of ``infra`` or ``backend`` as it should be, with this lab's names and its broker."""
    folder = lab.broker if which == "infra" and lab.broker != "redis" else which
    original = (COMPOSE / folder / "docker-compose.yml").read_text(encoding="utf-8")
    original = original.replace(BROKERS["redis"], BROKERS[lab.broker])
    lab.files[which].write_text(lab.names.text(original), encoding="utf-8")


def images_for(fault: Fault) -> dict[str, str]:
    """The application image of each backend service under this fault; builds what is missing."""
    return _images(fault.image, fault.names)


def all_images(fault: Fault) -> set[str]:
    """Every application image that this fault needs, also for a cure by hand; builds what is missing."""
    found = set(images_for(fault).values())
    for done in fault.manual.values():
        if done["image"]:
            found |= set(_images(_laid_over(fault, done["image"]), fault.names).values())
    return found


def _images(sets: Mapping[str | None, Mapping[str, str | None]], names: Names) -> dict[str, str]:
    common = sets.get(None, {})
    wanted = {
        service: images.requirements({**common, **sets.get(service, {})})
        for service in map(names.service, BACKEND_SERVICES)
    }
    built = {lines: images.app_image(lines, names) for lines in sorted(set(wanted.values()))}
    return {service: built[lines] for service, lines in wanted.items()}


def _laid_over(fault: Fault, changes: Mapping[str | None, Mapping[str, str | None]]):
    keys = {*fault.image, *changes}
    return {key: {**fault.image.get(key, {}), **changes.get(key, {})} for key in keys}


def _most_used(apps: Mapping[str, str]) -> str:
    return max(sorted(set(apps.values())), key=list(apps.values()).count)


def write_backend(lab: Lab, fault: Fault, apps: Mapping[str, str]) -> None:
    """Writes the backend's neutral copy: Compose file, override where there is one, .env, edits done."""
    lab.backend_dir.mkdir(parents=True)
    copy_original(lab, "backend")
    write_dotenv(
        lab.files["env"],
        COMPOSE_PROJECT_NAME=lab.backend_project,
        CONTAINER_PREFIX=lab.prefix,
        BACKEND_IMAGE=_most_used(apps),
        POSTGRES_USER=USER,
        POSTGRES_PASSWORD=PASSWORD,
        BACKEND_DB_NAME=lab.names.text(DATABASE),
        **(BROKER_LOGIN if lab.broker == "rabbitmq" else {}),
    )
    write_override(lab.files["backend_override"], _with_images(fault.backend, apps))
    apply_edits(lab, [edit for edit in fault.edits if not edit["file"].startswith("infra")])


def change_image(lab: Lab, fault: Fault, changes: Mapping[str | None, Mapping[str, str | None]]) -> None:
    """Lays `changes` over the fault's own requirement sets and points the lab's files to the new images."""
    apps = _images(_laid_over(fault, changes), fault.names)
    env, override = lab.files["env"], lab.files["backend_override"]
    env.write_text(IMAGE_LINE.sub(f"BACKEND_IMAGE={_most_used(apps)}", env.read_text()))
    before = yaml.safe_load(override.read_text()) if override.exists() else {}
    after = _with_images(before, apps)
    if after != before:
        write_override(override, after)


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


def write_override(path: Path, override: Mapping[str, Any]) -> None:
    """A Compose override beside its file; none where there is nothing to override."""
    if override:
        path.write_text(yaml.safe_dump(dict(override), sort_keys=False, width=200), encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def write_dotenv(path: Path, **values: str) -> None:
    """The variables that Compose reads beside a Compose file."""
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
