"""Faults of the packages themselves that their makers know."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage import upstream
from celery_triage.checks.registry import Look, check
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive
from celery_triage.stack import Service


@check(
    "PKG020",
    "known-upstream-fault",
    severity="notice",
    needs=("containers", "files/*"),
    uses=("logs/*", "events"),
)
def known_upstream_fault(look: Look) -> Iterator[Finding]:
    """A package in the image is of a version with a fault that its makers know and have mended since.

    ## What
    The versions of celery, kombu, redis, SQLAlchemy, Flower and others in the image are held against a table
    of faults with the range of versions, the conditions (other packages, Python, kind of broker, options) and
    the thread in which each is told.

    ## Why
    Such faults look like faults of one's own set-up: a worker that is connected and takes no task after Redis
    was away (kombu before 5.4), memory that grows with each exception (Celery before 5.6), a beat that starts
    for hours. Knowing them saves the night.

    ## Looks like
    Mostly nothing in the log. Where a message is known, the lines that bear it are quoted.

    ## Confirm
    `docker run --rm --entrypoint pip IMAGE freeze`, and read the thread.

    ## Do
    Raise the package to the release named, build the image anew, and make the container anew.

    ## False alarms
    A version alone proves no outage: it is a notice and never a cause. Where a condition is not known
    (a package whose version cannot be read, a broker that only the application knows), nothing is said.
    """
    found: dict[str, list[tuple[Service, upstream.Fault, str]]] = {}
    servers = upstream.servers_of(look.members)
    for service in look.celery:
        versions = {name: str(told.get("version") or "") for name, told in service.packages.items()}
        if not versions.get("celery"):
            look.needs_file(service, "the version of Celery in the image is not known")
            continue
        python = str(look.files(service).get("python") or "")
        known = upstream.known_of(service, servers, versions, python)
        for fault in upstream.matching(known):
            found.setdefault(fault.name, []).append((service, fault, known.versions[fault.package]))
    for name, told in found.items():
        services, fault = [service for service, _, _ in told], told[0][1]
        said = [proof for service in services for proof in _said(look, service, fault)]
        versions = listed(sorted({version for _, _, version in told}))
        title = f"{listed([one.label for one in services])}: {fault.package} {versions} is known for a fault"
        effect = ", and the log bears its mark" if said else ""
        proof = [Proof(f"files/{one.label}", f"{fault.package} {version}") for one, _, version in told]
        yield look.finding(
            f"{title}: {fault.happens.rstrip('.')} ({fault.when}{effect})",
            services=tuple(one.label for one in services),
            object=name,
            certainty="reported" if said else "inferred",
            proof=[*proof, *said],
            remedy=Remedy("manual", f"Take {fault.fixed}, and build the image anew."),
            verify=alive(services),
            detail="Told in " + ", ".join(fault.threads),
        )


def _said(look: Look, service: Service, fault: upstream.Fault) -> list[Proof]:
    """The last line of the life that says most which bears the mark of a fault."""
    course = look.course(service)
    life = course.told
    if life is None or not fault.says:
        return []
    lines = list(course.lines(life))
    for number in range(len(lines) - 1, -1, -1):
        time, _, text = lines[number][:3]
        if any(mark in text for mark in fault.says):
            return [Proof(f"logs/{service.label}", text, (life.first_line or 1) + number, time or None)]
    return []
