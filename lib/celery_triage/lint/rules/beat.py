"""More than one beat for one application."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.words import listed
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding
from celery_triage.stack import Service

#: Schedulers that hold a lock, so that only one of several sends (celery-redbeat 2).
_LOCKING = ("redbeat",)


@static("BEA005", "beat-twice")
def beat_twice(subject: Subject) -> Iterator[Finding]:
    """Two services that send the same schedule, or one that is started several times."""
    beats = []
    for service in subject.celery:
        scheduler = " ".join(service.argv).lower()
        if service.has_beat and not any(name in scheduler for name in _LOCKING) and "$" not in scheduler:
            beats.append(service)
    for service in beats:
        count = subject.known[service.label].count
        if count > 1:
            yield found(
                subject,
                "BEA005",
                "beat-twice",
                "warning",
                f"{service.label}: {count} containers of it each send the whole schedule",
                [
                    subject.node(service, "deploy", "replicas")
                    if subject.known[service.label].node.get("deploy")
                    else subject.node(service, "scale"),
                    subject.command_node(service, "beat"),
                ],
                services=[service],
                thing="beat",
                fix="Run beat once, in a service of its own.",
            )
    groups: dict[tuple, list[Service]] = {}
    for service in beats:
        url = service.url("broker")
        key = (subject.application(service), subject.profiles(service), service.app_module, url and url.text)
        groups.setdefault(key, []).append(service)
    for group in groups.values():
        first = group[0]
        if len(group) > 1 and subject.application(first) and first.app_module and not subject.profiles(first):
            yield found(
                subject,
                "BEA005",
                "beat-twice",
                "warning",
                f"{listed([one.label for one in group])}: {len(group)} services send the schedule of "
                f"{first.app_module}, so each task is sent {len(group)} times",
                [subject.command_node(one, "beat" if one.role == "beat" else "-B") for one in group],
                services=group,
                thing="beat",
                fix="Let one of them be beat (a worker without -B).",
            )
