"""How services start and come back: restart policies, and what they wait for."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.words import listed
from celery_triage.lint.merging import names
from celery_triage.lint.reading import Node
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding


@static("CMP005", "no-restart-policy", "notice")
def no_restart(subject: Subject) -> Iterator[Finding]:
    """Workers or beat without a restart policy.

    ## What
    Neither `restart` nor `deploy.restart_policy` is set, so a process that ends stays ended.

    ## Why
    A worker that the kernel killed for memory, or that lost its broker for good, is missed only when somebody
    looks at the queue.

    ## Looks like
    `Exited (137)` in `docker ps -a`.

    ## Confirm
    `docker inspect -f '{{.HostConfig.RestartPolicy.Name}}' CONTAINER` says `no`.

    ## Do
    Write `restart: unless-stopped`.

    ## False alarms
    On a developer's machine it may be meant so: it is only worth knowing.
    """
    without = [
        one
        for one in subject.celery
        if one.role in ("worker", "beat")
        and one.item["restart_policy"]["name"] == "no"
        and subject.known[one.label].node.get("restart") is None
    ]
    if without and not subject.project.fragment:
        yield found(
            subject,
            "CMP005",
            "no-restart-policy",
            "notice",
            f"{listed([one.label for one in without])}: no restart policy, so what ends stays ended",
            [subject.known[one.label].node for one in without],
            services=without,
            thing="restart",
            fix="Write restart: unless-stopped.",
        )


@static("CMP006", "starts-before-its-server", "notice")
def unconditional(subject: Subject) -> Iterator[Finding]:
    """A service waits only until its server's container was started.

    ## What
    `depends_on` without `condition: service_healthy` for a broker or database.

    ## Why
    The container of the server exists a while before it answers. A worker waits for its broker, but Celery
    5.5 and later end without their result database, and migrations fail.

    ## Looks like
    One or two early restarts, `Connection refused` in the first lines of the log.

    ## Confirm
    `docker compose up` on a machine that has no images cached.

    ## Do
    Give the server a `healthcheck` and write `condition: service_healthy`.

    ## False alarms
    A restart policy heals it after some seconds: it is only worth knowing.
    """
    pairs = []
    for service in subject.celery:
        for other, at in names(subject.known[service.label].node.get("depends_on")).items():
            server = subject.stack.get(other)
            condition = subject.project.text(at.get("condition")) if isinstance(at.value, dict) else None
            if (
                server is not None
                and server.role in ("postgres", "redis", "rabbitmq")
                and condition in (None, "service_started")
            ):
                pairs.append((service, other, at))
    if pairs:
        services = list(dict.fromkeys(service.label for service, _, _ in pairs))
        servers = list(dict.fromkeys(other for _, other, _ in pairs))
        yield found(
            subject,
            "CMP006",
            "starts-before-its-server",
            "notice",
            f"{listed(services)}: depends_on {listed(servers)} waits for the container, not for its answer",
            [at for _, _, at in pairs],
            services=services,
            thing="depends_on",
            fix="Give the server a healthcheck and write condition: service_healthy.",
        )


@static("CMP012", "waits-for-no-health-check")
def no_health_check(subject: Subject) -> Iterator[Finding]:
    """A service waits for another one to be healthy, and that one has no health check.

    ## What
    `depends_on` with `condition: service_healthy` for a service whose `healthcheck` is disabled, or that has
    none in the files and an official image that brings none (`postgres`, `redis`, `valkey`, `rabbitmq`,
    `mysql`, `mongo`, `memcached`).

    ## Why
    A container without a health check is never healthy, so Compose gives up and does not start what waits.

    ## Looks like
    `dependency failed to start: container proj-redis-1 has no healthcheck configured`

    ## Confirm
    `docker inspect -f '{{json .Config.Healthcheck}}' CONTAINER` says `null`.

    ## Do
    Give that service a `healthcheck`, or wait with `service_started`.

    ## False alarms
    An image of one's own may hold a HEALTHCHECK; services with `build`, or with another image, are not
    reported.
    """
    groups: dict[str, list[tuple[str, Node]]] = {}
    if subject.project.fragment:
        return
    for service in subject.services:
        depends = subject.known[service.label].node.get("depends_on")
        for other, at in (depends.pairs() if depends is not None else {}).items():
            if subject.project.text(at.get("condition")) != "service_healthy":
                continue
            if subject.project.text(at.get("required")) == "false":
                continue
            if other in subject.project.services and _never_healthy(subject, other):
                groups.setdefault(other, []).append((service.label, at))
    for other, pairs in groups.items():
        waiting = [name for name, _ in pairs]
        yield found(
            subject,
            "CMP012",
            "waits-for-no-health-check",
            "warning",
            f"{listed(waiting)}: depends_on waits until {other} is healthy, and {other} has no health check: "
            f"Compose gives up",
            [at for _, at in pairs],
            services=waiting,
            thing=other,
            fix=f"Give {other} a healthcheck, or write condition: service_started.",
        )


#: Official images of which no version has a HEALTHCHECK (their Dockerfiles; the maintainers' FAQ says why).
_WITHOUT = frozenset("postgres redis valkey rabbitmq mysql mongo memcached".split())


def _never_healthy(subject: Subject, name: str) -> bool:
    node = subject.known[name].node
    check = node.get("healthcheck")
    if check is not None:
        disabled = (subject.project.text(check.get("disable")) or "").lower() == "true"
        test = check.get("test")
        first = subject.project.text(test.items()[0]) if test is not None and test.items() else ""
        return disabled or first == "NONE"
    image = subject.project.written(node.get("image")).partition("@")[0].removeprefix("docker.io/")
    bare = image.removeprefix("library/").partition(":")[0]
    return node.get("build") is None and name not in subject.project.incomplete and bare in _WITHOUT
