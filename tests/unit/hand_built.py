"""An incident built by hand, for the tests of what is shown: small, complete in its kinds of sections,
and hostile.

It follows the recorded incident (workers refused ``--queue``, Flower missing, no driver, no database),
with texts in the log that try to break out of a page. Nothing here is judged: the diagnosis is given, not
computed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from celery_triage.model import Diagnosis, Edit, Evidence, Finding, Option, Outcome, Proof, Remedy, Section

START = datetime(2026, 11, 23, 14, 0, 0, tzinfo=UTC)
TAKEN = "2026-11-23T14:15:03Z"
HOSTILE = '</pre><script>alert("x")</script><img src=http://evil.example/x onerror=alert(1)>'
WORKERS = {
    "email_worker": "email_processing",
    "payment_worker": "payment_processing",
    "data_sync_worker": "data_sync",
}
URL = "db+postgresql://backend:‹secret 1a2b›@postgres:5432/ai_backend"
APP = "shared.infrastructure.celery_app"


def iso(seconds: float) -> str:
    """A moment that many seconds after the start of the incident."""
    return (START + timedelta(seconds=seconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def item(
    label: str, command: list[str], *, member: bool = True, exit_code: int | None = None, **more
) -> dict:
    """One container; with an exit code it restarts for ever, else it is up."""
    looping = exit_code is not None
    sample = {
        "t": iso(900),
        "status": "restarting" if looping else "running",
        "exit_code": exit_code or 0,
        "oom_killed": False,
        "error": "",
        "pid": 0 if looping else 4711,
        "started_at": iso(895 if looping else -86400),
        "finished_at": iso(897) if looping else "0001-01-01T00:00:00Z",
        "restart_count": 17 if looping else 0,
        "health": None,
    }
    return {
        "label": label,
        "name": f"ai_backend_{label}" if member else f"ai_infra_{label}",
        "id": (label.encode().hex() + "0" * 12)[:12],
        "service": label,
        "project": "ai_backend" if member else "ai_infra",
        "number": 1,
        "member": member,
        "image": "ai_backend:latest" if member else f"{label}:7",
        "image_id": "sha256:ab",
        "created": iso(0),
        "entrypoint": [],
        "cmd": command,
        "working_dir": "/app",
        "user": "",
        "env": {"CELERY_BROKER_URL": "redis://redis:6379/0", "CELERY_RESULT_BACKEND": URL} if member else {},
        "labels": {"com.docker.compose.service": label},
        "restart_policy": {"name": "unless-stopped", "max": 0},
        "log_driver": "json-file",
        "limits": {"memory": 512 * 2**20 if member else 0, "cpus": 0.5 if member else 0.0},
        "healthcheck": None,
        "ports": [],
        "mounts": [],
        "networks": {"database-net": {"ip": "172.18.0.5", "aliases": [label]}},
        "samples": [sample, {**sample, "t": iso(903)}],
        **more,
    }


def evidence(**replaced: Section) -> Evidence:
    """The evidence; any section can be replaced by name (``logs__email_worker`` for
    ``logs/email_worker``)."""
    items = [
        item(label, ["celery", "-A", APP, "worker", "--loglevel=info", f"--queue={queue}"], exit_code=2)
        for label, queue in WORKERS.items()
    ]
    items.append(item("celery_beat", ["celery", "-A", APP, "beat", "--loglevel=info"], exit_code=1))
    items.append(item("flower", ["celery", "-A", APP, "flower"], exit_code=2))
    items += [item("postgres", ["postgres"], member=False), item("redis", ["redis-server"], member=False)]
    sections: dict[str, Section] = {}

    def put(name: str, data, status: str = "ok", why: str = "") -> None:
        sections[name] = Section(name, status, data, why=why, how="Docker API, from the host", taken_at=TAKEN)

    put(
        "engine",
        {
            "version": "20.10.24",
            "api_version": "1.41",
            "os": "linux",
            "arch": "amd64",
            "kernel": "6.1",
            "cgroup_version": "2",
            "time": TAKEN,
            "memory": 16 * 2**30,
            "cpus": 8,
            "containers_running": 2,
        },
    )
    put(
        "containers",
        {
            "project": "ai_backend",
            "config_files": ["/srv/ai_backend/docker-compose.yml"],
            "working_dir": "/srv/ai_backend",
            "items": items,
        },
    )
    events = []
    for offset, label in enumerate((*WORKERS, "celery_beat", "flower")):
        for n in range(15):
            at = 20 + offset * 1.5 + n * 58
            lived = 12.4 if label == "celery_beat" else 2.1
            code = 1 if label == "celery_beat" else 2
            events.append(
                {
                    "t": iso(at),
                    "container": f"ai_backend_{label}",
                    "label": label,
                    "action": "start",
                    "exit_code": None,
                    "signal": None,
                    "health": None,
                }
            )
            events.append(
                {
                    "t": iso(at + lived),
                    "container": f"ai_backend_{label}",
                    "label": label,
                    "action": "die",
                    "exit_code": code,
                    "signal": None,
                    "health": None,
                }
            )
    put(
        "events",
        {"since": iso(0), "until": iso(903), "full": False, "items": sorted(events, key=lambda e: e["t"])},
    )
    put(
        "networks",
        {
            "items": [
                {
                    "name": "database-net",
                    "driver": "bridge",
                    "internal": False,
                    "members": {entry["name"]: "172.18.0.5" for entry in items},
                }
            ]
        },
    )
    for label in WORKERS:
        lines = []
        for n in range(15):
            at = 20 + n * 58
            lines += [
                [iso(at + 1.8), "err", f"Usage: celery -A {APP} worker [OPTIONS]"],
                [
                    iso(at + 2.0),
                    "err",
                    "Error: No such option: --queue (Possible options: --exclude-queues, --queues)",
                ],
            ]
        lines.append([iso(901), "err", HOSTILE])
        put(f"logs/{label}", {"driver": "json-file", "lines": lines, "cut": None})
    put(
        "logs/celery_beat",
        {
            "driver": "json-file",
            "cut": None,
            "lines": [
                [iso(32 + n * 58), "err", "ModuleNotFoundError: No module named 'psycopg2'"]
                for n in range(15)
            ],
        },
    )
    put("logs/flower", None, "denied", "log driver none keeps no logs")
    packages = {
        "celery": ("5.6.2", True),
        "kombu": ("5.6.2", True),
        "redis": ("5.2.1", True),
        "sqlalchemy": ("2.0.44", True),
        "psycopg": (None, True),
        "psycopg2": (None, False),
        "flower": (None, False),
    }
    for entry in items[:5]:
        put(
            f"files/{entry['label']}",
            {
                "python": "3.11",
                "site_packages": ["/usr/local/lib/python3.11/site-packages"],
                "packages": {
                    name: {"present": present, "version": version, "path": None}
                    for name, (version, present) in packages.items()
                },
                "executable": {
                    "name": "celery",
                    "path": "/usr/local/bin/celery",
                    "looked": ["/usr/local/bin/celery"],
                },
                "app": {
                    "module": APP,
                    "present": True,
                    "path": "/app/shared/infrastructure/celery_app.py",
                    "looked": [],
                },
            },
        )
    put(
        "postgres",
        {
            "servers": [
                {
                    "key": "postgres:5432",
                    "services": [*WORKERS, "celery_beat"],
                    "container": "postgres",
                    "address": "172.18.0.2:5432",
                    "via": "the container's own address, from the host",
                    "status": "ok",
                    "why": "",
                    "sqlstate": None,
                    "user": "backend",
                    "version": "15.14",
                    "in_recovery": False,
                    "databases": {
                        "postgres": {"owner": "postgres", "allow_connections": True, "can_connect": True}
                    },
                    "wanted": {"ai_backend": {"exists": False, "services": [*WORKERS, "celery_beat"]}},
                    "roles": {
                        "backend": {"exists": True, "can_login": True, "superuser": False, "createdb": True}
                    },
                    "connections": {"max": 100, "reserved": 3, "used": 7, "by_database": {"postgres": 7}},
                }
            ]
        },
    )
    put(
        "redis",
        {
            "servers": [
                {
                    "key": "redis:6379/0",
                    "services": list(WORKERS),
                    "container": "redis",
                    "address": "172.18.0.3:6379",
                    "via": "the container's own address, from the host",
                    "status": "ok",
                    "why": "",
                    "error_kind": None,
                    "version": "7.4.1",
                    "role": "master",
                    "memory": {"used": 2 * 2**20, "max": 0, "policy": "noeviction"},
                    "clients": 1,
                    "databases": {"db0": {"keys": 3}},
                    "bindings": {},
                    "nodes": [],
                    "samples": [
                        {"t": iso(899), "queues": {"email_processing": 40}, "unacked": 0},
                        {"t": iso(902), "queues": {"email_processing": 41}, "unacked": 0},
                    ],
                }
            ]
        },
    )
    put("celery", None, "no_reply", "no worker answered within 2 s; the broker knows no node")
    for name, section in replaced.items():
        sections[name.replace("__", "/")] = section
    return Evidence(
        "ai_backend",
        TAKEN,
        sections,
        calls=("GET /v1.41/containers/json", "GET /v1.41/events"),
        origin="live",
        tool={"celery-triage": "0.1.0", "python": "3.11"},
        options={"project": "ai_backend"},
    )


def diagnosis() -> Diagnosis:
    """Four causes (two active, two latent), a consequence, a healed one, and a check that could not look."""
    compose = "/srv/ai_backend/docker-compose.yml"
    workers = tuple(WORKERS)
    findings = (
        Finding(
            "CMD001",
            "unknown-option",
            "critical",
            "Celery 5.6 knows no option --queue; the workers stop at once",
            services=workers,
            object="--queue",
            id="f1",
            detail="The option is called --queues (or -Q). Each worker ends 2 s after its start.",
            proof=(
                Proof("containers", f"celery -A {APP} worker --loglevel=info --queue=email_processing"),
                Proof(
                    "logs/email_worker",
                    "Error: No such option: --queue (Possible options: --exclude-queues, --queues)",
                    30,
                    iso(834),
                ),
                Proof("logs/email_worker", HOSTILE, 31, iso(901)),
            ),
            remedy=Remedy(
                "exact",
                "Write --queues.",
                edits=tuple(
                    Edit(compose, 20 + n, f"--queue={queue}", f"--queues={queue}", "00" * 32)
                    for n, queue in enumerate(WORKERS.values())
                ),
                commands=("docker compose up -d email_worker payment_worker data_sync_worker",),
                risk="Creates the three containers anew; they are down anyway.",
            ),
            verify=("docker ps shows the three workers Up for more than a minute.",),
        ),
        Finding(
            "CMD002",
            "unknown-command",
            "critical",
            "The image holds no Flower, so `celery flower` is no command",
            services=("flower",),
            object="flower",
            id="f2",
            proof=(Proof("files/flower", "flower: not in /usr/local/lib/python3.11/site-packages"),),
            remedy=Remedy(
                "choice",
                "Flower is not installed.",
                question="Is Flower wanted?",
                options=(
                    Option(
                        "yes",
                        "Add flower to the image and build it anew.",
                        commands=("docker compose build flower",),
                    ),
                    Option(
                        "no",
                        "Take the service out of the Compose file.",
                        commands=("docker compose rm -sf flower",),
                    ),
                ),
            ),
        ),
        Finding(
            "PKG001",
            "driver-missing",
            "critical",
            "postgresql:// needs psycopg2; the image holds psycopg 3 only",
            services=(*workers, "celery_beat"),
            object="psycopg2",
            id="f3",
            state="active",
            service_states={**dict.fromkeys(workers, "latent"), "celery_beat": "active"},
            proof=(
                Proof("logs/celery_beat", "ModuleNotFoundError: No module named 'psycopg2'", 15, iso(844)),
            ),
            remedy=Remedy(
                "exact",
                "Name the driver in the URL.",
                edits=(Edit(compose, 12, "db+postgresql://", "db+postgresql+psycopg://"),),
            ),
        ),
        Finding(
            "DBS001",
            "database-missing",
            "critical",
            "PostgreSQL has no database ai_backend",
            state="latent",
            certainty="inferred",
            services=(*workers, "celery_beat"),
            object="postgres:5432/ai_backend",
            id="f4",
            proof=(Proof("postgres", "pg_database: postgres, template0, template1; no ai_backend"),),
            remedy=Remedy(
                "exact",
                "Create the database.",
                commands=(
                    "docker exec ai_infra_postgres psql -U postgres "
                    '-c \'CREATE DATABASE "ai_backend" OWNER "backend"\'',
                ),
                risk="Adds an empty database; nothing is changed or lost.",
            ),
        ),
        Finding(
            "CTR001",
            "restart-loop",
            "critical",
            "email_worker restarts for ever: 15 lives in 15 min, each exit 2",
            services=("email_worker",),
            object="restarts",
            id="f5",
            explained_by="f1",
        ),
        Finding(
            "LOG003",
            "broker-was-away",
            "notice",
            "The broker was away for 3 s an hour ago",
            state="history",
            certainty="reported",
            services=("celery_beat",),
            object="redis",
            id="f6",
        ),
    )
    outcomes = (
        Outcome("CMD001", "unknown-option", "fired"),
        Outcome("CMD002", "unknown-command", "fired"),
        Outcome("PKG001", "driver-missing", "fired"),
        Outcome("DBS001", "database-missing", "fired"),
        Outcome("CTR001", "restart-loop", "fired"),
        Outcome("CTR002", "out-of-memory", "quiet"),
        Outcome("WRK001", "node-silent", "unknown", "no worker answered within 2 s", ("celery",)),
    )
    return Diagnosis("ai_backend", TAKEN, "critical", findings, ("f1", "f2", "f3", "f4"), outcomes)
