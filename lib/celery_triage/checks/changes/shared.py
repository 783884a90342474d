"""What the rules about changes share: the files of the project, and its containers."""

from __future__ import annotations

from celery_triage.checks.changes.written import Files
from celery_triage.checks.registry import Look, NotApplicable
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
