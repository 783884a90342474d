"""What a server is set up with against what its users' URLs say: password, database."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator

from celery_triage.checks.words import listed
from celery_triage.lint.reading import Node
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding
from celery_triage.stack import Service, Url


def _pairs(
    subject: Subject, family: str, role: str, purposes: tuple[str, ...] = ("broker", "result")
) -> Iterator[tuple[Service, Service, Url]]:
    """(user, server, URL) for each URL in a Celery service that leads to a server of these files.
    ``database`` are those of the application, of which all count."""
    for service in subject.celery:
        for url in service.urls:
            parsed = url.parsed
            if parsed.family != family or url.guessed or not parsed.host or "$" in parsed.host:
                continue
            if url.purpose not in purposes or not (url.used or url.purpose == "database"):
                continue
            owner = subject.stack.resolve(service.label, parsed.host, parsed.port).owner
            server = subject.stack.get(owner) if owner else None
            if server is not None and server.role == role and server is not service:
                yield service, server, url


@static("URL004", "login-refused")
def password_differs(subject: Subject) -> Iterator[Finding]:
    """A Redis that is started with a password, and a URL with none or another."""
    for service, server, url in _pairs(subject, "redis", "redis"):
        if "$" in url.text or not subject.sure(service, url.var):
            continue
        required = required_password(server)
        if required is None or "$" in required or subject.project.fragment:
            continue
        given = url.parsed.password_token or ""
        if given == required or url.parsed.user:
            continue
        what = "names no password" if not given else "names another password"
        told = "asks for one" if required else "asks for none"
        if not required and given:
            continue  # a Redis without a password only warns of one that is given for the default user
        yield found(
            subject,
            "URL004",
            "login-refused",
            "warning",
            f"{service.label}: the {url.purpose} URL {what}, and {server.label} {told} (--requirepass)",
            [subject.url_node(service, url), subject.command_node(server, "--requirepass")],
            services=[service],
            thing=server.label,
            fix="Write the same password into the URL and into --requirepass, as one variable.",
        )


def required_password(server: Service) -> str | None:
    """The password that a Redis is started with; empty for none, None where that is not known."""
    words = [*server.item["entrypoint"], *server.item["cmd"]]
    if not words:
        return "" if not any(name.endswith("PASSWORD") for name in server.env) else None
    for at, word in enumerate(words):
        if word == "--requirepass" and at + 1 < len(words):
            return words[at + 1]
    return None


#: By family: the role of its server, and the port that its official image listens on.
_PORTS = {"redis": ("redis", 6379), "sql": ("postgres", 5432), "amqp": ("rabbitmq", 5672)}
#: Words of a command by which a server is told a port, or all of its settings.
_TOLD = re.compile(r"-{1,2}(?:tls-)?port\b|-p|.*port=|.*\.conf\b|.*config_file=")


@static("URL005", "nothing-listens")
def other_port(subject: Subject) -> Iterator[Finding]:
    """A URL with another port than the one that an official image listens on, where nothing tells the server
    to listen elsewhere: most often the port that is published on the host."""
    for family, (role, default) in _PORTS.items():
        for service, server, url in _pairs(subject, family, role, ("broker", "result", "database")):
            port = url.parsed.port
            usual = _port_told(server) or default
            if not port or port == usual or "$" in url.text.partition("://")[2].rpartition("@")[2]:
                continue
            other = family == "sql" and url.parsed.dialect not in ("postgresql", "postgres")
            if other or not _official(subject, server, role):
                continue
            if subject.project.fragment or not subject.sure(service, url.var):
                continue
            published = [one for one in server.item["ports"] if str(one["host"]).endswith(f":{port}")]
            why = f"{server.label} listens on {usual}" + (
                f"; {port} is its port on the host, which containers do not use" if published else ""
            )
            yield found(
                subject,
                "URL005",
                "nothing-listens",
                "warning",
                f"{service.label}: the {url.purpose} URL has port {port}, and {why}",
                [subject.url_node(service, url), subject.node(server, "ports")],
                services=[service],
                thing=f"{url.parsed.host}:{port}",
                fix=f"Write {url.parsed.host}:{usual}.",
            )


def _port_told(server: Service) -> int:
    """The port that a server's command names (``redis-server --port 6380``, ``postgres -p 5433``); else 0."""
    found_ = re.search(
        r"(?:^| )(?:--port|-p|-c port=|--port=|-cport=)\s*(\d{2,5})(?= |$)", " ".join(server.item["cmd"])
    )
    return int(found_[1]) if found_ else 0


def _official(subject: Subject, server: Service, role: str) -> bool:
    """Whether a server is an official image that is told no port and no settings of its own."""
    image = server.item["image"].partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
    node = subject.known[server.label].node
    mounts = [subject.project.written(item) for item in (node.get("volumes") or Node(None, "", 0)).items()]
    told = (
        any(node.get(name) is not None for name in ("configs", "build", "entrypoint"))
        or (not _port_told(server) and any(_TOLD.match(word) for word in server.item["cmd"]))
        or any(sign in name for name in server.env for sign in ("PORT", "CONF", "ARGS"))
        or any("conf" in mount for mount in mounts)
        or subject.known[server.label].env_missing
    )
    known = {role, "valkey"} if role == "redis" else {role}
    return image.partition(":")[0] in known and not told


@static("URL004", "login-refused")
def login_differs(subject: Subject) -> Iterator[Finding]:
    """A password in a URL that is not the one that the official PostgreSQL or RabbitMQ beside it is made
    with."""
    for family, role, prefix in (
        ("sql", "postgres", "POSTGRES_"),
        ("amqp", "rabbitmq", "RABBITMQ_DEFAULT_"),
    ):
        secret = prefix + ("PASSWORD" if family == "sql" else "PASS")
        for service, server, url in _pairs(subject, family, role, ("broker", "result", "database")):
            made = server.env.get(secret)
            user = server.env.get(prefix + "USER") or ("postgres" if family == "sql" else "guest")
            given = url.parsed.password_token
            if made is None or not given or url.parsed.user != user or given == made:
                continue
            if "$" in made or "$" in url.text or subject.project.fragment:
                continue
            if not _whole(subject, service, server, url, "URL004", "logins"):
                continue
            yield found(
                subject,
                "URL004",
                "login-refused",
                "warning",
                f"{service.label}: the {url.purpose} URL has another password for {user} than {server.label} "
                f"is made with ({secret})",
                [subject.url_node(service, url), subject.env_node(server, secret)],
                services=[service],
                thing=server.label,
                fix=f"Write the same password into the URL and into {secret}, as one variable (it works only "
                f"on a new volume).",
            )


@static("DBS001", "database-missing")
def database_differs(subject: Subject) -> Iterator[Finding]:
    """A URL of the results or of the application whose database the PostgreSQL beside it does not make."""
    for service, server, url in _pairs(subject, "sql", "postgres", ("result", "database")):
        made = server.env.get("POSTGRES_DB") or server.env.get("POSTGRES_USER")
        wanted = url.parsed.database
        if not made or not wanted or "$" in made or "$" in wanted or made == wanted or wanted == "postgres":
            continue
        if "$" in url.text.partition("@")[2]:
            continue
        if not _whole(subject, service, server, url, "DBS001", "databases"):
            continue
        yield found(
            subject,
            "DBS001",
            "database-missing",
            "warning",
            f"{service.label}: the {url.purpose} URL names the database {wanted}, and "
            f"{server.label} makes only "
            f"{made} when its volume is new",
            [subject.url_node(service, url), subject.env_node(server, "POSTGRES_DB")],
            services=[service],
            thing=wanted,
            fix=f"Write {made} in the URL, or POSTGRES_DB: {wanted} (this works only on a new volume).",
        )


def _whole(subject: Subject, service: Service, server: Service, url: Url, code: str, what: str) -> bool:
    """Whether all is known of a URL and of what its server makes; start-up scripts, or an image of one's own,
    may make more of it, which is noted."""
    if not subject.sure(service, url.var) or subject.known[server.label].env_missing:
        return False
    node = subject.known[server.label].node
    volumes = node.get("volumes")
    mounts = [subject.project.text(item) or "" for item in (volumes.items() if volumes else ())]
    names = " ".join([*mounts, *server.env])
    if "initdb" in names or "MULTIPLE" in names or node.get("build") is not None:
        subject.note(server.label, f"its start-up scripts may make further {what}", code)
        return False
    return True


@static("DBS002", "role-missing")
def role_differs(subject: Subject) -> Iterator[Finding]:
    """A URL whose user the PostgreSQL beside it does not make."""
    for service, server, url in _pairs(subject, "sql", "postgres", ("result", "database")):
        made, wanted = server.env.get("POSTGRES_USER") or "postgres", url.parsed.user
        if (
            not wanted
            or wanted == made
            or "$" in made
            or "$" in url.text.partition("://")[2].partition(":")[0]
        ):
            continue
        if "POSTGRES_PASSWORD" not in server.env:
            continue  # not the official image's way, or not known to be
        if not _whole(subject, service, server, url, "DBS002", "roles"):
            continue
        yield found(
            subject,
            "DBS002",
            "role-missing",
            "warning",
            f"{service.label}: the {url.purpose} URL names the user {wanted}, and {server.label} makes only "
            f"{made} when "
            "its volume is new",
            [subject.url_node(service, url), subject.env_node(server, "POSTGRES_USER")],
            services=[service],
            thing=wanted,
            fix=f"Write {made} in the URL, or POSTGRES_USER: {wanted} (this works only on a new volume).",
        )


@static("BRK003", "queue-without-consumer", "notice")
def default_queue(subject: Subject) -> Iterator[Finding]:
    """Workers of one application that all name queues, none of them the default one."""
    groups: dict[Hashable, list[Service]] = {}
    for service in subject.celery:
        if service.role == "worker":
            groups.setdefault(subject.application(service) or service.label, []).append(service)
    for group in groups.values():
        queues = [one.queues for one in group]
        if any(told != ["celery"] for told in queues):
            why = "to which queues its routes and beat_schedule send stands in the application"
            subject.note(listed([one.label for one in group], 4), why, "BRK003")
        if not all(queues) or any("celery" in told or any("$" in name for name in told) for told in queues):
            continue
        if any(subject.project.incomplete.get(one.label) for one in group) or subject.project.fragment:
            continue
        yield found(
            subject,
            "BRK003",
            "queue-without-consumer",
            "notice",
            f"{listed([one.label for one in group])}: no worker reads the queue celery, where "
            f"tasks without a "
            f"route go unless task_default_queue says otherwise",
            [subject.command_node(one, "-Q") for one in group],
            services=group,
            thing="celery",
            fix="Add celery to the queues of one worker, or make sure that each task has a route.",
            detail="Routes and task_default_queue stand in the application and are not known here.",
        )
