"""Commands to paste: quoted for a POSIX shell, without a secret."""

from __future__ import annotations

import posixpath
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from celery_triage.stack import Service, Stack


def recreate(
    stack: Stack, services: Iterable[Service], *, build: bool = False, force: bool = False
) -> tuple[str, ...]:
    """The command that makes the containers of these services anew from the Compose files, and touches no
    other; none for containers that no Compose project made. ``force``: also where Compose sees no reason to.

    A service with several replicas keeps their number: without it Compose goes back to that of the file."""
    chosen = [service for service in services if service.item.get("service") and stack.project]
    names = list(dict.fromkeys(service.item["service"] for service in chosen))
    if not names:
        return ()
    words = ["docker", "compose", "-p", stack.project]
    labels = chosen[0].item.get("labels") or {}
    folder = stack.data.get("working_dir") or labels.get("com.docker.compose.project.working_dir")
    files = list(stack.data.get("config_files") or ())
    if folder and (not files or posixpath.dirname(files[0]) != folder):
        words += ["--project-directory", folder]
    for name in (labels.get("com.docker.compose.project.environment_file") or "").split(","):
        words += ["--env-file", name] if name else []
    for path in files:
        words += ["-f", path]
    number = Counter(one.item.get("service") for one in stack.members)
    scale = [part for name in names if number[name] > 1 for part in ("--scale", f"{name}={number[name]}")]
    words += ["up", "-d", "--no-deps", *(["--build"] if build else [])]
    words += [*(["--force-recreate"] if force else []), *scale, *names]
    return (shlex.join(words),)


def restart(services: Iterable[Service]) -> tuple[str, ...]:
    """The command that starts these containers again as they are: it ends the waiting between two tries."""
    names = list(dict.fromkeys(service.name for service in services))
    return (shlex.join(["docker", "restart", *names]),) if names else ()


def create_database(server: Service, database: str, owner: str | None) -> str:
    """The command that makes a database inside the container of its server, as that server's superuser."""
    superuser = server.env.get("POSTGRES_USER") or server.env.get("POSTGRESQL_USERNAME") or "postgres"
    owned = f" OWNER {identifier(owner)}" if owner else ""
    return psql(server, superuser, f"CREATE DATABASE {identifier(database)}{owned}")


def psql(server: Service, superuser: str, statement: str, database: str = "postgres") -> str:
    """One SQL statement inside the server's own container, by its local socket (no password on the line)."""
    return shlex.join(
        [
            "docker",
            "exec",
            server.name,
            "psql",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            superuser,
            "-d",
            database,
            "-c",
            statement,
        ]
    )


def set_password(server: Service, role: str) -> str:
    """The command that gives a role the password that its server's container has in ``POSTGRES_PASSWORD``.

    The password is on no command line: psql takes it from the environment inside the container (a backquoted
    command of ``\\set``, in psql of every version that is still supported)."""
    superuser = server.env.get("POSTGRES_USER") or server.env.get("POSTGRESQL_USERNAME") or "postgres"
    set_ = '\\set password `printf %s "$POSTGRES_PASSWORD"`'
    alter = f"ALTER ROLE {identifier(role)} PASSWORD :'password'"
    told = shlex.join(["printf", "%s\\n", set_, alter])
    asked = ["docker", "exec", "-i", server.name, "psql", "-q", "-v", "ON_ERROR_STOP=1", "-U", superuser]
    return f"{told} | {shlex.join([*asked, '-d', 'postgres'])}"


def identifier(name: str) -> str:
    """A name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def alive(services: Sequence[Service]) -> tuple[str, ...]:
    """Commands with which a person sees that these services live: state and restarts of all, then each
    worker's answer to a ping."""
    names = list(dict.fromkeys(service.name for service in services))
    found = []
    if names:
        line = shlex.join(
            ["docker", "inspect", "-f", "{{.Name}} {{.State.Status}} {{.RestartCount}}", *names]
        )
        found.append(f"{line}  # running, and after a minute the same count")
    for service in services:
        if ping := _ping(service):
            found.append(f"{ping}  # pong")
    return tuple(found)


def _ping(service: Service) -> str:
    """A ping to a worker by its own name; empty where that name is not known, or its ``-A`` is wrong: after
    the cure no command with that one works. A container made anew has a new host name, so that part of the
    name is asked of the container when the command runs."""
    name, misread = service.nodename or "", service.launch.problems if service.launch else ()
    unsure = service.app_absent or any(problem.kind == "unknown_command" for problem in misread)
    if service.role != "worker" or not service.app_module or unsure or not name or set("%$`\"") & set(name):
        return ""
    ping = ["celery", "-A", service.app_module, "inspect", "ping", "-d"]
    given_by_docker = service.hostname == str(service.item.get("id") or "")[:12]
    if given_by_docker and name.endswith("@" + service.hostname):
        first = name.removesuffix(service.hostname)
        script = f'{shlex.join(ping)} "{first}$HOSTNAME"'
        return shlex.join(["docker", "exec", service.name, "sh", "-c", script])
    return shlex.join(["docker", "exec", service.name, *ping, name])
