"""Drivers that a URL needs and the image does not have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from celery_triage.checks.connections.shared import DEATHS, idle_states, no_place, proven, url_changes, used
from celery_triage.checks.registry import Look, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.steps import checks_backend_at_start
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service, Url
from celery_triage.urls import needed_driver


@check(
    "URL002",
    "driver-not-installed",
    severity="critical",
    needs=("containers", "files/*"),
    uses=("logs/*", "events", "compose"),
    step="driver",
    predicts=DEATHS,
)
def driver_not_installed(look: Look) -> Iterator[Finding]:
    """A URL needs a Python module that is not in the image.

    ## What
    The module that a URL needs follows from its scheme and from the SQLAlchemy in the image: `postgresql://`
    means psycopg2 up to SQLAlchemy 2.0 and psycopg (version 3) from 2.1 on. Whether the module is there was
    asked of the image itself, by `HEAD …/archive` in every package folder.

    ## Why
    From Celery 5.5 on worker and beat open the result backend when they start, and end with exit code 1. Up
    to 5.4 they start as if all were well, with nothing in the log, and the first result fails.

    ## Looks like
    `Unrecoverable error: ModuleNotFoundError("No module named 'psycopg2'")`; beat writes the same broken into
    many short lines.

    ## Confirm
    `docker run --rm --entrypoint python IMAGE -c 'import psycopg2'`.

    ## Do
    Write the URL for the driver that is installed (`db+postgresql+psycopg://…`), or install the one that it
    names.

    ## False alarms
    A module outside the package folders (an own `sys.path` at run time) cannot be seen; a service that got
    past opening its result backend is never reported. Flower and, up to 5.4, beat start without the module:
    there it is latent.
    """
    found: dict[tuple[str, str, str], list[tuple[Service, Url]]] = {}
    needs = {}
    for service in look.members:
        packages = look.files(service).get("packages") or {}
        for url in used(service):
            need = needed_driver(url.parsed, packages)
            late = "driver" if url.purpose == "result" else "broker"
            if need is None or proven(look, url, late, service.item.get("image_id")):
                continue
            if need.present is None:
                look.needs_file(service, f"whether {need.module} is in the image is not known")
            elif need.present is False:
                key = (need.module, url.purpose, need.fix_new)
                found.setdefault(key, []).append((service, url))
                needs[key] = need
    for key, pairs in found.items():
        if any(service.role != "flower" for service, _ in pairs) or key[1] == "broker":
            yield _no_driver(look, needs[key], pairs)
    yield from reported(look, {service.label for pairs in found.values() for service, _ in pairs})
    yield from healed(look)


def _no_driver(look: Look, need, pairs: Sequence[tuple[Service, Url]]) -> Finding:
    services = [service for service, _ in pairs]
    purpose = pairs[0][1].purpose
    idle = idle_states(services, purpose)
    struck = [service for service in services if service.label not in idle]
    what = "result backend" if purpose == "result" else "broker"
    image = services[0].item.get("image")
    early = any(checks_backend_at_start(service) is not False for service in struck) or purpose == "broker"
    names = listed([service.label for service in struck])
    effect = f"{names} {'cannot start' if early else 'cannot store results'}"
    proof = []
    for service, url in pairs[:1]:
        proof.append(
            Proof("containers", f"{service.label}: {url.source}: {url.parsed.scheme}://… ({need.how})")
        )
    for service in services:
        where = listed(look.files(service).get("site_packages") or ())
        proof.append(Proof(f"files/{service.label}", f"no module {need.module} in {where or 'the image'}"))
        proof += look.seen(service).proof(need.module)
    seen = any(look.seen(service).effect(need.module, (1,)) for service in struck)
    detail = ""
    if idle:
        detail = (
            f"{listed(sorted(idle))} {verb(sorted(idle), 'carries', 'carry')} the same URL and "
            f"{verb(sorted(idle), 'starts', 'start')} without it."
        )
    return look.finding(
        f"{effect}: the {what} URL needs the Python module {need.module}, which is not in the image {image}",
        services=tuple(service.label for service in services),
        object=need.module,
        certainty="confirmed" if seen else "inferred",
        proof=proof,
        detail=detail,
        remedy=_driver_remedy(look, need, pairs),
        verify=alive(struck),
        service_states=idle,
    )


def _driver_remedy(look: Look, need, pairs: Sequence[tuple[Service, Url]]) -> Remedy:
    services = [service for service, _ in pairs]
    commands = recreate(look.stack, services)
    risk = f"Makes the containers of {listed([service.label for service in services])} anew."
    image = services[0].item.get("image")
    install = f"Add {need.package} to the requirements of the image {image} and build it anew"
    if need.fix_new:
        summary = f"Write {need.fix_new} instead of {need.fix_old}: that driver is in the image."
        changed = url_changes(look, pairs, need.fix_old, need.fix_new)
        if changed.complete:
            return Remedy("exact", summary, changed.edits, changed.commands + commands, risk=risk)
        return Remedy(
            "manual",
            f"{summary[:-1]}, {no_place(changed)}; or: {install}.",
            changed.edits + changed.texts,
            changed.commands + commands,
            risk=risk,
        )
    return Remedy("manual", f"{install}; then make the containers anew.", commands=commands, risk=risk)
