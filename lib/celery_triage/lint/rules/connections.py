"""Broker and result URLs: do they parse, and does their host mean anything where they are used?"""

from __future__ import annotations

import os
from collections.abc import Iterator

from celery_triage.checks.connections.shared import similar
from celery_triage.checks.words import listed, verb
from celery_triage.lint.project import BASE_NAMES
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding
from celery_triage.stack import Service, Url

_PURPOSES = ("broker", "result")
#: Variables that Celery itself reads before the application's settings (5.4 to 5.7).
_OWN = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")
#: What no version reads: kombu has no such transport, SQLAlchemy no such dialect (measured, see ``urls``).
_NEVER = ("unknown_scheme", "dialect")
_KINDS = (*_NEVER, "unescaped", "no_scheme", "quoted", "space", "async_driver", "redis_database", "port")


def used(subject: Subject, service: Service) -> list[Url]:
    """The URLs that a Celery service goes by, as far as they are known; what holds an unknown variable where
    it would decide is left out."""
    found_ = []
    for url in service.urls:
        if url.used and url.purpose in _PURPOSES and not url.guessed and url.text.strip():
            found_.append(url)
    return found_


@static("URL001", "url-does-not-parse", "critical")
def does_not_parse(subject: Subject) -> Iterator[Finding]:
    """URLs that the program which gets them cannot read."""
    groups: dict[tuple, list[tuple[Service, Url]]] = {}
    for service in subject.celery:
        for url in used(subject, service):
            if "$" in url.text.partition("://")[0]:
                subject.note(
                    service.label, f"{url.source} comes from a variable that is not set here", "URL001"
                )
                continue
            for problem in url.problems:
                if not problem.stops or problem.kind not in _KINDS:
                    continue
                if problem.kind == "dialect" and any(one.kind == "unknown_scheme" for one in url.problems):
                    continue  # postgres:// for db+postgresql://: one fix says both
                if "${" in url.text and problem.kind not in (*_NEVER, "async_driver"):
                    continue
                key = (url.purpose, url.source, problem.kind, problem.text, problem.hint)
                groups.setdefault(key, []).append((service, url))
    for (purpose, source, kind, text, hint), pairs in groups.items():
        services = [service for service, _ in pairs]
        certain = all(subject.sure(service, url.var) for service, url in pairs)
        read = all(url.var in _OWN or url.var is None for _, url in pairs)
        starts = purpose == "result" or kind not in _NEVER
        severity = "critical" if certain and read and not starts else "warning" if certain else "notice"
        nodes = [subject.url_node(service, url) for service, url in pairs]
        what = {"broker": "broker URL", "result": "result backend"}[purpose]
        yield found(
            subject,
            "URL001",
            "url-does-not-parse",
            severity,
            f"{listed([one.label for one in services])}: the {what} ({source}) cannot be read. {text}",
            nodes,
            services=services,
            thing=source.removeprefix("env "),
            fix=f"Write {hint}" + (" there." if kind != "unescaped" else " for that character.")
            if hint
            else "",
        )


@static("URL003", "broker-host-unknown")
def host_unknown(subject: Subject) -> Iterator[Finding]:
    """Hosts that no service here answers to, that no shared network leads to, or that mean the container
    itself."""
    unknown: dict[tuple, list[tuple[Service, Url]]] = {}
    for service in subject.celery:
        for url in used(subject, service):
            parsed = url.parsed
            host = parsed.host or ""
            if not parsed.networked or not host or "$" in host or "$" in url.text.partition("://")[0]:
                if "$" in (host or url.text.partition("://")[0]):
                    subject.note(service.label, f"the host of {url.source} is not set here", "URL003")
                continue
            if service.item["network_mode"]:
                subject.note(
                    service.label,
                    f"network_mode {service.item['network_mode']} decides what {host} means",
                    "URL003",
                )
                continue
            meant = subject.stack.resolve(service.label, host, parsed.port)
            if meant.itself and meant.owner == service.label:
                kind = "itself"
            elif meant.elsewhere:
                kind = "apart"
            elif meant.external and not meant.literal_ip and "." not in host and not _through_host(meant.how):
                kind = "unknown"
            else:
                continue
            unknown.setdefault((kind, url.purpose, host, meant.elsewhere or ""), []).append((service, url))
    for (kind, purpose, host, other), pairs in unknown.items():
        told = _unreached(subject, kind, purpose, host, other, pairs)
        if told is not None:
            yield told


def _through_host(how: str) -> bool:
    return "is the machine" in how or "extra_hosts" in how


def _unreached(
    subject: Subject, kind: str, purpose: str, host: str, other: str, pairs: list[tuple[Service, Url]]
) -> Finding | None:
    services = [service for service, _ in pairs]
    names = listed([service.label for service in services])
    what = {"broker": "broker", "result": "result backend"}[purpose]
    name = {"broker": "broker-host-unknown", "result": "result-host-unknown"}[purpose]
    certain = all(subject.sure(service, url.var) for service, url in pairs)
    severity = "warning" if certain else "notice"
    nodes = [subject.url_node(service, url) for service, url in pairs]
    doubt = _outside(subject, services, pairs[0][1].parsed.family)
    if kind == "itself":
        if subject.project.fragment:
            subject.note(names, f"{host}: {subject.project.fragment}", "URL003")
            return None
        servers = [one.label for one in subject.services if one.role == pairs[0][1].parsed.family]
        title = (
            f"{names}: the {what} is at {host}, which inside a container is that container itself; no "
            f"{what} runs in it"
        )
        fix = f"Write {servers[0]} instead of {host}." if len(servers) == 1 else ""
    elif doubt:
        subject.note(names, f"{host}: {doubt}", "URL003")
        return None
    elif kind == "apart":
        title = (
            f"{names}: the {what} is at {host}, with which {verb(services, 'it shares', 'they share')} no "
            f"network ({other} is on {listed(sorted(subject.stack.get(other).networks))})"
        )
        name, fix = "network-missing", f"Put {names} and {other} on one network."
    else:
        close = similar(host, [one.label for one in subject.services if not one.is_celery])
        title = f"{names}: the {what} is at {host}, and no service here bears that name"
        fix = f"Write {close[0]} instead of {host}." if len(close) == 1 else ""
    return found(subject, "URL003", name, severity, title, nodes, services=services, thing=host, fix=fix)


def _beside(subject: Subject) -> str:
    """The override file that Compose itself would have read, where it lies there and was not given."""
    if len(subject.project.paths) != 1:
        return ""
    path = subject.project.paths[0]
    stem, suffix = os.path.splitext(path)
    other = f"{stem}.override{suffix}"
    return os.path.basename(other) if os.path.basename(path) in BASE_NAMES and os.path.exists(other) else ""


def _outside(subject: Subject, services: list[Service], family: str) -> str:
    """Why a name may mean something outside these files; empty where it cannot."""
    if subject.project.fragment:
        return subject.project.fragment
    if other := _beside(subject):
        return f"{other} beside it was not given, and may define it"
    roles = {"redis": "redis", "sentinel": "redis", "amqp": "rabbitmq", "sql": "postgres"}
    if family in roles and not any(one.role == roles[family] for one in subject.services):
        return "no service here is such a server, so another file or machine has it"
    networks = subject.project.top.get("networks")
    for service in services:
        for network in service.networks:
            node = networks.get(network) if networks is not None else None
            if node is not None and (node.get("external") is not None):
                return f"the network {network} is made elsewhere, and others may be on it"
            if node is not None and subject.project.text(node.get("name")):
                return f"the network {network} has a name of its own, under which others may join it"
        if subject.known[service.label].node.get("external_links") is not None:
            return "external_links name containers from elsewhere"
    return ""


@static("URL002", "driver-not-installed")
def driver_not_listed(subject: Subject) -> Iterator[Finding]:
    """A broker or result backend whose Python package the requirements beside the Dockerfile do not name."""
    modules = {"redis": ("redis", {"redis", "sentinel"}), "sql": ("sqlalchemy", {"sqlalchemy"})}
    brings = {
        "redis": {
            "redis",
            "django-redis",
            "channels-redis",
            "rq",
            "celery-redbeat",
            "redis-om",
            "arq",
            "fakeredis",
            "huey",
            "dramatiq",
            "flask-caching",
            "limits",
        },
        "sqlalchemy": {
            "sqlalchemy",
            "flask-sqlalchemy",
            "sqlmodel",
            "alembic",
            "flask-migrate",
            "databases",
            "apache-airflow",
            "apache-superset",
        },
    }
    for service in subject.celery:
        pin = subject.pin(service)
        if pin.packages is None or "celery" not in pin.packages or not subject.celery:
            continue
        launches = list(subject.launches(service).values())
        if launches and launches[-1].subcommand not in ("worker", "beat"):
            continue
        for url in used(subject, service):
            package, extras = modules.get(url.parsed.family, ("", set()))
            if not package or "$" in url.text.partition("://")[0] or extras & pin.extras:
                continue
            if pin.packages & brings[package]:
                continue
            yield found(
                subject,
                "URL002",
                "driver-not-installed",
                "warning" if pin.complete else "notice",
                f"{service.label}: {url.parsed.scheme}:// needs the package {package}, and the requirements "
                f"beside the Dockerfile do not name it",
                [subject.url_node(service, url)],
                services=[service],
                thing=package,
                fix=f"Add {package} (or celery[{package}]) to the requirements.",
            )


def _server_of(subject: Subject, service: Service, url: Url) -> tuple:
    """Services that share this put tasks into, and take them from, one server for one application."""
    parsed = url.parsed
    return (parsed.host, parsed.port, subject.application(service), subject.profiles(service))


@static("BRK004", "broker-wrong-database")
def other_database(subject: Subject) -> Iterator[Finding]:
    """Producer and worker of one application on different databases of one Redis."""
    brokers: list[tuple[Service, Url]] = []
    for service in subject.services:
        url = service.url("broker")
        if url is None or url.guessed or "$" in url.text or url.parsed.family != "redis":
            continue
        if subject.sure(service, url.var) and (service.is_celery or service.role == "app"):
            brokers.append((service, url))
    workers: dict[tuple, list[tuple[Service, Url]]] = {}
    for one, url in brokers:
        if one.role == "worker" and one.unwrapped.is_celery:
            workers.setdefault(_server_of(subject, one, url), []).append((one, url))
    for service, url in brokers:
        if service.role == "worker" or service.role == "flower":
            continue
        read = workers.get(_server_of(subject, service, url), [])
        database = url.parsed.database or "0"
        if any((other.parsed.database or "0") == database for _, other in read):
            continue
        mine = read if subject.application(service) else []
        if mine:
            names = listed([one.label for one, _ in mine])
            yield found(
                subject,
                "BRK004",
                "broker-wrong-database",
                "warning",
                f"{service.label} puts its tasks into database {url.parsed.database or '0'} of "
                f"{url.parsed.host}, and {names} {verb(mine, 'reads', 'read')} database "
                f"{listed(sorted({other.parsed.database or '0' for _, other in mine}))}",
                [subject.url_node(service, url), *(subject.url_node(one, other) for one, other in mine)],
                services=[service, *(one for one, _ in mine)],
                thing=url.parsed.server,
                fix="Give them the same broker URL.",
            )
