"""What the rules about changes share: the project's files, its containers, how they are made anew."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable

from celery_triage.checks.changes.written import Files
from celery_triage.checks.registry import Look, NotApplicable
from celery_triage.remedies import recreate
from celery_triage.stack import Service


def project(look: Look) -> Files:
    """The Compose files of the target. NotApplicable where no Compose project made it."""
    if look.stack.members and look.stack.project is None:
        raise NotApplicable("the containers were not made by Compose")
    return Files(look.data("compose"), look.stack.data)


def made_by_compose(look: Look) -> list[Service]:
    """The members that Compose made as services of the target's project, and that are still there."""
    return [
        service
        for service in look.members
        if service.item.get("service")
        and service.item.get("project") == look.stack.project
        and not service.item.get("vanished")
    ]


def anew(look: Look, services: Iterable[Service]) -> tuple[str, ...]:
    """The command that makes these containers anew also where Compose sees no reason to, each service with as
    many replicas as it has now: without their number Compose goes back to that of the file."""
    services = list(services)
    found = recreate(look.stack, services)
    if not found:
        return ()
    number = Counter(one.item.get("service") for one in look.members)
    chosen = dict.fromkeys(one.item.get("service") for one in services)
    words, names = shlex.split(found[0]), len([name for name in chosen if name])
    scale = [part for name in chosen if number[name] > 1 for part in ("--scale", f"{name}={number[name]}")]
    return (shlex.join([*words[:-names], "--force-recreate", *scale, *words[-names:]]),)
