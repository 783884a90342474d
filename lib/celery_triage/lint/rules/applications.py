"""What ``-A`` names, as far as its words alone show that it can be no module."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.words import listed
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding
from celery_triage.stack import Service


@static("CMD003", "app-module-missing")
def no_module(subject: Subject) -> Iterator[Finding]:
    """``-A tasks.py`` and ``-A app/tasks``: a file in place of a module (Celery 4.4.7, 5.2.7 and 5.7.0 end
    with exit code 2, "The module tasks.py was not found", whether the file is there or not)."""
    groups: dict[tuple[str, str], list[Service]] = {}
    for service in subject.celery:
        launch = next(reversed(subject.launches(service).values()), None)
        app = launch.app if launch is not None else None
        if not app or any(sign in app for sign in "$`%"):
            continue
        module, colon, attribute = app.partition(":")
        if not (module.endswith(".py") or "/" in module):
            continue
        meant = module.removesuffix(".py").lstrip("./").replace("/", ".") + colon + attribute
        groups.setdefault((app, meant), []).append(service)
    for (app, meant), services in groups.items():
        yield found(
            subject,
            "CMD003",
            "app-module-missing",
            "warning",
            f"{listed([one.label for one in services])}: -A {app} names a file; Celery wants the name of a "
            f"module and ends with exit code 2",
            [subject.command_node(one, app) for one in services],
            services=services,
            thing=app,
            fix=f"Write -A {meant}.",
        )
