"""The section `files/<label>`: what is installed in the image of one Celery service, and whether its app is
there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from celery_triage.collect.docker import Engine, EngineError
from celery_triage.collect.image import Image, Python, find_app, inside_app
from celery_triage.collect.probe import Emit, Source
from celery_triage.collect.requires import requires
from celery_triage.collect.starts import files_started
from celery_triage.model import Section
from celery_triage.redact import Redactor
from celery_triage.stack import Service

_HOW = "HEAD and GET of single files through the Docker Engine API"
_CHANGES_FOLDER = re.compile(r"(?:^|[\s;&])cd\s+([^\s;&|]+)")
_PYTHON = re.compile(r"(?:^|/)python[0-9.]*$")
#: Launchers that run a command out of a virtual environment beside the project.
_PROJECT_RUNNERS = ("uv run", "poetry run", "pdm run", "pipenv run")


def sources(
    services: Iterable[Service], options: Mapping[str, Any], redactor: Redactor,
    connect: Callable[[Emit], Engine],
) -> list[Source]:
    """One source for each image, for all the services (given with their unmasked items) that run it."""
    groups: dict[str, list[Service]] = {}
    for service in services:
        groups.setdefault(service.item["image_id"], []).append(service)
    return [_source(group, redactor, connect) for group in groups.values()]


def _source(group: Sequence[Service], redactor: Redactor, connect: Callable[[Emit], Engine]) -> Source:
    def run(emit: Emit) -> None:
        engine = connect(emit)
        texts: dict[tuple, str] = {}
        for service in group:
            _one(emit, engine, service, redactor, texts)

    names = tuple(f"files/{service.label}" for service in group)
    return Source(f"files of {', '.join(service.label for service in group)}", names, run, deadline_s=15)


def _one(
    emit: Emit, engine: Engine, service: Service, redactor: Redactor, texts: dict[tuple, str],
) -> None:
    name, entry = f"files/{service.label}", service.item
    why = "the container was gone before its files were looked at"
    gone = Section(name, "vanished", why=why, how=_HOW)
    data: dict[str, Any] = {
        "python": None, "site_packages": [], "packages": {}, "requires": {}, "executable": None, "starts": [],
        "app": None}
    empty = dict(data)
    try:
        if engine.stat(entry["id"], "/") is None:
            emit.section(gone)
            return
        image = Image(engine, entry, {**entry["env"], **dict(service.unwrapped.env)}, texts)
        for part in _look(image, service):
            data.update(part)
            emit.section(_section(name, data, "not all of it could be looked at in time", redactor))
        if engine.stat(entry["id"], "/") is None:  # HEAD says 404 for a file and for a container alike
            emit.section(gone)
            return
        emit.section(_section(name, data, "", redactor))
    except EngineError as error:
        why = redactor.text(f"the engine would not show a file: {error}", 300)
        nothing = Section(name, "no_reply", why=why, how=_HOW)
        emit.section(nothing if data == empty else _section(name, data, why, redactor))


def _look(image: Image, service: Service) -> Iterator[dict[str, Any]]:
    """The parts of the section, those that stop a start first."""
    launch = service.launch
    runner = next((word for word in service.unwrapped.wrappers if word in _PROJECT_RUNNERS), None)
    name = service.argv[0] if service.argv else "celery"
    if any(" -m" in word for word in service.unwrapped.wrappers):  # then Python is what must be there
        words = " ".join([*service.item["entrypoint"], *service.item["cmd"]]).split()
        name = next((word for word in words if _PYTHON.search(word)), "python")
        path, looked = image.executable(name)
        python = Python(image, None, name)
    else:
        path, looked = image.executable(name, [image.join(".venv/bin")] if runner else [])
        python = Python(image, path)
    yield {"executable": {"name": name, "path": path, "looked": looked}}
    yield {"python": python.version, "site_packages": python.site}
    found: dict[str, Any] = {}
    if launch is not None and launch.app:
        found = find_app(image, launch.app, [*_folders(image, service), *python.site])
        yield {"app": found}
    packages = python.packages()
    yield {"packages": packages}
    yield {"starts": files_started(image, service)}
    if found.get("present"):
        yield {"app": {**found, **inside_app(image, launch.app, found["path"])}}
    yield {"requires": requires(image, packages, python.version)}


def _folders(image: Image, service: Service) -> Iterator[str]:
    """Where Celery looks for the app: its ``--workdir``, a ``cd`` before it, the working directory,
    PYTHONPATH.

    Celery 5.7 puts the current directory first (`celery/utils/imports.py`, ``cwd_in_path``).
    """
    workdir = service.launch.global_options.get("workdir") if service.launch else None
    changes = [found for word in (*service.item["entrypoint"], *service.item["cmd"])
               for found in _CHANGES_FOLDER.findall(word) if "$" not in found]
    folder = image.join(*(change.strip("\"'") for change in changes)) if changes else image.join()
    yield image.join(folder, str(workdir)) if workdir else folder
    yield image.join()
    for part in image.env.get("PYTHONPATH", "").split(":"):
        if part:
            yield image.join(folder, part)


def _section(name: str, data: Mapping[str, Any], why: str, redactor: Redactor) -> Section:
    return Section(name, "partial" if why else "ok", redactor.data(data), why=why, how=_HOW)
