"""Pinned versions with faults that are known upstream."""

from __future__ import annotations

import re
from collections.abc import Iterator

from celery_triage import upstream
from celery_triage.checks.words import listed
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding
from celery_triage.stack import Service

_PYTHON = re.compile(r"(?im)^FROM\s+(?:--\S+\s+)?(?:\S+/)?python:(\d+\.\d+)")


@static("PKG020", "known-upstream-fault")
def known_fault(subject: Subject) -> Iterator[Finding]:
    """Versions that the requirements pin and that have a fault which is known upstream."""
    told: dict[str, list[tuple[Service, upstream.Fault, str]]] = {}
    servers = upstream.servers_of(subject.services)
    for service in subject.celery:
        exact = dict(subject.pin(service).exact)
        flower, how = subject.flower(service)
        if flower and "flower" not in exact:
            exact["flower"] = (flower, how)
        if not exact:
            continue
        versions = {name: version for name, (version, _) in exact.items()}
        docker = subject.known[service.label].docker
        pythons = set(_PYTHON.findall(docker.text)) if docker is not None else set()
        python = next(iter(pythons)) if len(pythons) == 1 else ""
        for fault in upstream.matching(upstream.known_of(service, servers, versions, python)):
            told.setdefault(fault.name, []).append((service, fault, exact[fault.package][1]))
    for name, pairs in told.items():
        services, fault = [service for service, _, _ in pairs], pairs[0][1]
        version = upstream_version(subject, services[0], fault.package)
        yield found(
            subject,
            "PKG020",
            "known-upstream-fault",
            fault.severity,
            f"{listed([one.label for one in services])}: {fault.package} {version} is known for a fault: "
            f"{fault.happens.rstrip('.')} ({fault.when})",
            [subject.node(services[0], "build")],
            services=services,
            thing=name,
            fix=f"Take {fault.fixed}.",
            detail=f"Pinned in {pairs[0][2]}; told in {', '.join(fault.threads)}",
        )


def upstream_version(subject: Subject, service: Service, package: str) -> str:
    """The version that is pinned."""
    return subject.pin(service).exact.get(package, subject.flower(service))[0]
