"""Containers of the project whose service the Compose file no longer has."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from celery_triage.checks.changes import shared
from celery_triage.checks.changes.written import Files, later
from celery_triage.checks.registry import Look, check
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.stack import Service


@check(
    "CHG004",
    "service-not-in-file",
    severity="warning",
    needs=("containers", "compose"),
)
def service_not_in_file(look: Look) -> Iterator[Finding]:
    """A container of the project belongs to a service that the Compose file no longer has.

    ## What
    Every container that these Compose files made is looked for among their services. A Celery service that
    still runs is a warning, anything else a notice.

    ## Why
    `docker compose up` leaves it alone. An old worker goes on taking tasks from its queue, with old code;
    a second beat sends everything twice.

    ## Looks like
    `Found orphan containers ([…]) for this project` when `docker compose up` is called.

    ## Confirm
    `docker compose config --services` against `docker compose ps --all --services`.

    ## Do
    If it is no longer wanted, remove the container. If it is, put it back into the file.

    ## False alarms
    Several sets of files under one project name: containers whose own label names other files are left out,
    and so is everything where a file could not be read or was not changed since the container was made.
    """
    files = shared.project(look)
    if not files.readable or not files.services:
        return
    names = _names(look.stack.data.get("config_files") or ())
    changed = [file for file in files.files if not file.get("extended")]
    for service in shared.made_by_compose(look):
        named = (service.item.get("labels") or {}).get("com.docker.compose.project.config_files")
        if service.item["service"] in files.services or named is None:
            continue
        made = service.item.get("created")
        if _names(named.split(",")) == names and any(later(file, made) for file in changed):
            yield _orphan(look, files, service)


def _names(paths: Iterable[str]) -> list[str]:
    """Version 1 of Compose wrote relative paths: the names must do."""
    return [path.rpartition("/")[2] for path in paths]


def _orphan(look: Look, files: Files, service: Service) -> Finding:
    name = str(service.item["service"])
    running = service.is_celery and service.running
    does = "still runs" if running else "is still there"
    there = listed(sorted(files.services), 20)
    return look.finding(
        f"{service.label} {does}, and the Compose file no longer has it",
        severity="warning" if running else "notice",
        services=(service.label,),
        object=name,
        proof=[
            Proof("containers", f"{service.name} is of the service {name}", time=service.item.get("created")),
            Proof("compose", f"services of the file: {there}"),
        ],
        remedy=Remedy(
            "manual",
            f"Ask whether {name} is still wanted: put it back into the Compose file, or stop and remove its "
            "container.",
            commands=tuple(shlex.join(["docker", do, service.name]) for do in ("stop", "rm")),
            risk="Tasks that it runs are ended, after the ten seconds that Docker gives.",
        ),
        verify=(shlex.join(["docker", "ps", "--filter", f"name={service.name}"]) + "  # no line",),
    )
