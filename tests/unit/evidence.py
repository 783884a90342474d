"""Evidence built by hand for the tests of the diagnosis: the incident's stack, healthy, and one thing
changed.

``Incident()`` is a stack in which nothing is wrong; its methods change one thing each and return it, and
``.evidence()`` makes the evidence that ``collect`` would bring: containers in two samples, lives as events
and log lines, the Compose file with its nodes, the files in the image, the servers' answers. The texts of the
logs were written by Celery 5.6.3, click 8.1.8 and SQLAlchemy 2.0.58 (recorded runs).
"""

from __future__ import annotations

import copy
import hashlib
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from celery_triage.model import Evidence, Section
from celery_triage.stack import Stack

START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
TAKEN_S = 8103.0  # seconds after START at which the evidence is taken
APP = "shared.infrastructure.celery_app"
QUEUES = {
    "email_worker": "email_processing",
    "payment_worker": "payment_processing",
    "data_sync_worker": "data_sync",
}
WORKERS = tuple(QUEUES)
CELERY = ("celery_beat", *WORKERS, "flower")
FOLDER = "/srv/ai_backend"
COMPOSE = f"{FOLDER}/docker-compose.yml"
TOKEN = "‹secret:1a2b›"
RESULT = "db+postgresql+psycopg://backend:" + TOKEN + "@postgres:5432/ai_backend"
WRITTEN = "db+postgresql+psycopg://${POSTGRES_USER}:${POSTGRES_PASSWORD}@postgres:5432/${BACKEND_DB_NAME}"
NETWORKS = ("database-net", "monitoring-net")

OPTION = [
    "Usage: celery worker [OPTIONS]",
    "Try 'celery worker --help' for help.",
    "",
    "Error: No such option: --queue (Possible options: --exclude-queues, --queues)",
]
NO_FLOWER = [
    "Usage: celery [OPTIONS] COMMAND [ARGS]...",
    "Try 'celery --help' for help.",
    "",
    "Error: No such command 'flower'.",
    "",
    "Did you mean one of these?",
    "    worker",
]
NO_MODULE = [
    "Usage: celery [OPTIONS] COMMAND [ARGS]...",
    "Try 'celery --help' for help.",
    "",
    "Error: ",
    "Unable to load celery application.",
    "The module shared.infra.celery_app was not found.",
]
SITE = "/usr/local/lib/python3.11/dist-packages"
NO_DRIVER = [
    "[2026-11-23 12:00:01,717: CRITICAL/MainProcess] Unrecoverable error: "
    "ModuleNotFoundError(\"No module named 'psycopg2'\")",
    "Traceback (most recent call last):",
    f'  File "{SITE}/celery/worker/worker.py", line 203, in start',
    "    self.blueprint.start(self)",
    f'  File "{SITE}/sqlalchemy/dialects/postgresql/psycopg2.py", line 697, in import_dbapi',
    "    import psycopg2",
    "ModuleNotFoundError: No module named 'psycopg2'",
]
NO_DRIVER_BEAT = [
    "celery beat v5.6.3 (recovery) is starting.",
    "[2026-11-23 12:00:01,155: INFO/MainProcess] beat: Starting...",
    "[2026-11-23 12:00:01,375: CRITICAL/MainProcess] beat raised exception <class 'ModuleNotFoundError'>: "
    "ModuleNotFoundError(\"No module named 'psycopg2'\")",
    "Traceback (most recent call last):",
    *NO_DRIVER[-3:],
    *[
        f"[2026-11-23 12:00:01,394: WARNING/MainProcess] {text}"
        for text in (
            "Traceback (most recent call last):",
            f'  File "{SITE}/sqlalchemy/dialects/postgresql/psycopg2.py", line 697, in import_dbapi',
            "    ",
            "import psycopg2",
            "ModuleNotFoundError",
            ": ",
            "No module named 'psycopg2'",
        )
    ],
]
_REFUSED = (
    '(psycopg.OperationalError) connection failed: connection to server at "172.18.0.2", port 5432 failed: '
    'FATAL:  database "ai_backend" does not exist'
)
NO_DATABASE = [
    f"[2026-11-23 12:00:04,101: CRITICAL/MainProcess] Unrecoverable error: OperationalError('{_REFUSED}')",
    "Traceback (most recent call last):",
    f'  File "{SITE}/psycopg/connection.py", line 126, in connect',
    "    raise last_ex.with_traceback(None)",
    f"sqlalchemy.exc.OperationalError: {_REFUSED}",
    "(Background on this error at: https://sqlalche.me/e/20/e3q8)",
]
NO_DATABASE_BEAT = [
    "celery beat v5.6.3 (recovery) is starting.",
    "[2026-11-23 12:00:01,155: INFO/MainProcess] beat: Starting...",
    "[2026-11-23 12:00:04,375: CRITICAL/MainProcess] beat raised exception <class "
    f"'sqlalchemy.exc.OperationalError'>: OperationalError('{_REFUSED}')",
    *NO_DATABASE[1:],
]
NO_BROKER = [
    "[2026-11-23 12:00:02,886: ERROR/MainProcess] consumer: Cannot connect to redis://:**@redsi:6379/0: "
    "Error -2 connecting to redsi:6379. Name or service not known..",
    "Trying again in 2.00 seconds... (1/100)",
]


def banner(label: str, version: str = "5.6.3") -> list[str]:
    """What a worker says until it is ready."""
    return [
        f" -------------- {label}@{hostname(label)} v{version} (recovery)",
        "- ** ---------- [config]",
        "- ** ---------- .> app:         ai_backend:0x7f284cdec7d0",
        "- ** ---------- .> transport:   redis://redis:6379/0",
        "- ** ---------- .> results:     postgresql+psycopg://backend:**@postgres:5432/ai_backend",
        "- *** --- * --- .> concurrency: 4 (prefork)",
        " -------------- [queues]",
        f"                .> {QUEUES[label]}           exchange={QUEUES[label]}(direct) key={QUEUES[label]}",
        "[tasks]",
        "  . shared.tasks.quick",
        "",
    ]


def ready(label: str, version: str = "5.6.3") -> list[str]:
    """The whole start of a healthy worker, beat or Flower."""
    if label == "celery_beat":
        return [
            f"celery beat v{version} (recovery) is starting.",
            "LocalTime -> 2026-11-23 12:00:00",
            "Configuration ->",
            "    . broker -> redis://redis:6379/0",
            "[2026-11-23 12:00:01,001: INFO/MainProcess] beat: Starting...",
            "[2026-11-23 12:00:06,001: INFO/MainProcess] Scheduler: Sending due task heartbeat "
            "(shared.tasks.heartbeat)",
        ]
    if label == "flower":
        return [
            "[I 261123 12:00:01 command:177] Visit me at http://127.0.0.1:5555",
            "[I 261123 12:00:01 command:186] Broker: redis://redis:6379/0",
            "[I 261123 12:00:01 mixins:228] Connected to redis://redis:6379/0",
        ]
    if label not in QUEUES:
        return [f"{label} is ready to accept connections"]
    return [
        *banner(label, version),
        "[2026-11-23 12:00:02,554: INFO/MainProcess] Connected to redis://redis:6379/0",
        "[2026-11-23 12:00:02,556: INFO/MainProcess] mingle: searching for neighbors",
        "[2026-11-23 12:00:03,618: INFO/MainProcess] mingle: all alone",
        f"[2026-11-23 12:00:03,624: INFO/MainProcess] {label}@{hostname(label)} ready.",
    ]


def hostname(label: str) -> str:
    return (label.encode().hex() * 2)[:12]


def iso(seconds: float) -> str:
    """A moment that many seconds after START."""
    return (START + timedelta(seconds=seconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


class Incident:
    """The stack of the incident. Every method that changes something returns the stack."""

    def __init__(self, celery: str = "5.6.3") -> None:
        self.commands = {
            label: f"celery -A {APP} worker --loglevel=info --queues {queue} --concurrency=4 -n {label}@%h"
            for label, queue in QUEUES.items()
        }
        self.commands["celery_beat"] = f"celery -A {APP} beat --loglevel=info"
        self.commands["flower"] = f"celery -A {APP} flower --port=5555"
        env = {"CELERY_BROKER_URL": "redis://redis:6379/0", "CELERY_RESULT_BACKEND": RESULT}
        written = {"CELERY_BROKER_URL": "redis://redis:6379/0", "CELERY_RESULT_BACKEND": WRITTEN}
        self.env = {label: dict(env) for label in CELERY}
        self.written = {label: dict(written) for label in CELERY}
        self.packages = {
            label: {
                "celery": (True, celery),
                "kombu": (True, "5.6.2"),
                "redis": (True, "7.1.0"),
                "sqlalchemy": (True, "2.0.58"),
                "flower": (True, "2.2.0"),
                "psycopg": (True, None),
                "psycopg2": (False, None),
                "asyncpg": (False, None),
            }
            for label in CELERY
        }
        self.modules = {label: (APP, True) for label in CELERY}
        self.executables: dict[str, str | None] = dict.fromkeys(CELERY, "/usr/local/bin/celery")
        self.seen: dict[str, dict] = {}
        self.databases = {"postgres": "postgres", "ai_backend": "backend"}
        self.roles = {"backend": (True, False), "postgres": (True, True)}
        self.lives: dict[str, list[dict]] = {}
        self.logs: dict[str, list[list]] = {}
        self.items: dict[str, dict] = {}
        self.sections: dict[str, Section | None] = {}
        self.checks: dict[str, list[str]] = {}
        self.happened: list[tuple[float, str, str]] = []
        self.postgres: dict = {}
        self.redis: dict = {}
        self.started = 10.0
        for label in (*CELERY, "postgres", "redis"):
            self.life(label, self.started, None, lines=ready(label, celery))
        # Beat goes on sending: a log of it that stops would be a fault.
        self.say("celery_beat", ready("celery_beat", celery)[-1], at=TAKEN_S - 3)

    # --- what can be changed ------------------------------------------------------------------------------

    def command(self, label: str, text: str) -> Incident:
        """A service is started with this command instead."""
        self.commands[label] = text
        return self

    def replace_in_commands(self, old: str, new: str, labels: tuple[str, ...] = WORKERS) -> Incident:
        for label in labels:
            self.commands[label] = self.commands[label].replace(old, new)
        return self

    def url(self, variable: str, old: str, new: str, labels: tuple[str, ...] = CELERY) -> Incident:
        """Exchanges a part of a URL, in the containers and in the Compose file."""
        for label in labels:
            self.env[label][variable] = self.env[label][variable].replace(old, new)
            self.written[label][variable] = self.written[label][variable].replace(old, new)
        return self

    def package(
        self, name: str, present: bool | None, version: str | None = None, labels: tuple[str, ...] = CELERY
    ) -> Incident:
        for label in labels:
            self.packages[label][name] = (present, version)
        return self

    def in_image(self, label: str, **parts) -> Incident:
        """What else was seen in the image of a service: ``starts``, more of its ``app``."""
        self.seen.setdefault(label, {}).update(parts)
        return self

    def life(
        self,
        label: str,
        start: float,
        end: float | None,
        exit_code: int = 0,
        lines: list[str] | None = None,
        oom: bool = False,
        spread: float = 0.1,
    ) -> Incident:
        """One more life: from ``start`` to ``end`` (None: still running), saying ``lines``."""
        self.lives.setdefault(label, []).append(
            {
                "start": start,
                "end": end,
                "exit": exit_code,
                "oom": oom,
                "ready": any("ready." in text for text in lines or ()),
            }
        )
        for number, text in enumerate(lines or ()):
            at = start + 0.3 + number * spread / max(len(lines), 1)
            self.logs.setdefault(label, []).append([iso(at), "err", text])
        return self

    def loop(
        self,
        label: str,
        exit_code: int,
        lines: list[str],
        lived: float = 1.5,
        times: int = 6,
        oom: bool = False,
    ) -> Incident:
        """The service has only ever died like this, and now waits for its next start."""
        self.lives[label], self.logs[label] = [], []
        at = TAKEN_S - times * 60
        for _ in range(times):
            self.life(label, at, at + lived, exit_code, lines, oom)
            at += 58
        return self

    def say(self, label: str, *lines: str, at: float = TAKEN_S - 60) -> Incident:
        """Lines that the running life of a service logged."""
        self.logs[label] += [[iso(at + number / 1000), "err", text] for number, text in enumerate(lines)]
        self.logs[label].sort()
        return self

    def item(self, label: str, **facts) -> Incident:
        self.items.setdefault(label, {}).update(facts)
        return self

    def health(
        self, label: str, test: str, status: str = "healthy", probes=((0, 1.2, "pong"),), **check
    ) -> Incident:
        """A health check, written in the Compose file as ``CMD-SHELL``, with its last probes as (exit code,
        seconds, output), one each 30 s; the failing streak is that of its end."""
        facts = {"interval_s": 30.0, "timeout_s": 10.0, "retries": 3, "start_period_s": 30.0, **check}
        log = [
            {
                "start": iso(TAKEN_S - 30 * (len(probes) - n)),
                "end": iso(TAKEN_S - 30 * (len(probes) - n) + seconds),
                "exit_code": code,
                "output": output,
            }
            for n, (code, seconds, output) in enumerate(probes)
        ]
        good = max((n for n, probe in enumerate(probes, 1) if probe[0] == 0), default=0)
        state = {"status": status, "failing_streak": len(probes) - good, "log": log}
        quoted = test.replace("$", "$$")
        self.checks[label] = [
            f'test: ["CMD-SHELL", "{quoted}"]',
            *[f"{key[:-2]}: {facts[key]:g}s" for key in ("interval_s", "timeout_s")],
        ]
        sample = {**self.items.get(label, {}).get("sample", {}), "health": state}
        return self.item(label, healthcheck={"test": ["CMD-SHELL", test], **facts}, sample=sample)

    def event(self, action: str, label: str, at: float) -> Incident:
        """One more event of a container's present life."""
        self.happened.append((at, action, label))
        return self

    def section(self, name: str, status: str, why: str = "it could not be read", data=None) -> Incident:
        """A section that could not be had."""
        self.sections[name] = Section(name, status, data, why=why)
        return self

    def without_logs(self) -> Incident:
        """The log driver ``none`` for all Celery services."""
        for label in CELERY:
            self.item(label, log_driver="none")
            self.section(f"logs/{label}", "denied", "log driver none keeps no logs")
        return self

    # --- what collect would bring -------------------------------------------------------------------------

    def evidence(self) -> Evidence:
        sections: dict[str, Section] = {}

        def put(name: str, data) -> None:
            sections[name] = Section(name, "ok", data, how="by hand", taken_at=iso(TAKEN_S))

        put(
            "engine",
            {
                "version": "20.10.24",
                "api_version": "1.41",
                "os": "linux",
                "arch": "amd64",
                "kernel": "6.1",
                "cgroup_version": "2",
                "time": iso(TAKEN_S),
                "memory": 16 * 2**30,
                "cpus": 8,
                "containers_running": 7,
            },
        )
        items = [self._item(label, number) for number, label in enumerate((*CELERY, "postgres", "redis"))]
        put(
            "containers",
            {"project": "ai_backend", "config_files": [COMPOSE], "working_dir": FOLDER, "items": items},
        )
        put("events", {"since": iso(0), "until": iso(TAKEN_S), "full": False, "items": self._events(items)})
        put(
            "networks",
            {
                "items": [
                    {
                        "name": name,
                        "driver": "bridge",
                        "internal": False,
                        "members": {
                            item["name"]: item["networks"][name]["ip"]
                            for item in items
                            if name in item["networks"]
                        },
                    }
                    for name in NETWORKS
                ]
            },
        )
        for item in items:
            label = item["label"]
            put(f"logs/{label}", {"driver": "json-file", "lines": self.logs.get(label, []), "cut": None})
        for label in CELERY:
            put(f"files/{label}", self._files(label))
        put("compose", self._compose())
        put("postgres", {"servers": [self._postgres()]})
        put("redis", {"servers": [self._redis()]})
        stack = Stack({"items": items})
        put(
            "celery",
            {
                "brokers": [
                    {
                        "key": "redis:6379/0",
                        "status": "ok",
                        "why": "",
                        "asked": 3,
                        "replies": {
                            f"{label}@{hostname(label)}": self._reply(label, stack.get(label).queues)
                            for label in WORKERS
                            if self.lives[label][-1].get("ready")
                        },
                    }
                ]
            },
        )
        for item in items:
            running = self.lives[item["label"]][-1]["end"] is None
            put(f"usage/{item['label']}", usage(running, item["limits"]))
        put("results", {"servers": [self._results()]})
        if "ai_backend" not in self.databases:
            none = {**self._results(), "exists": False, "status": "no_reply", "latest": None, "schemas": {}}
            none.update(why="there is no such database", tables=dict.fromkeys(none["tables"]))
            why = "postgres:5432/ai_backend: there is no such database"
            sections["results"] = Section("results", "partial", {"servers": [none]}, why=why)
        put("http", {"endpoints": self._endpoints()})
        if self.lives["flower"][-1]["end"] is not None:
            sections["http"] = replace(sections["http"], status="partial", why="flower is not running")
        for name, section in self.sections.items():
            sections[name] = section
        return Evidence("ai_backend", iso(TAKEN_S), sections, options={"project": "ai_backend"})

    def _item(self, label: str, number: int) -> dict:
        member = label in CELERY
        lives = self.lives[label]
        last = lives[-1]
        running = last["end"] is None
        project = "ai_backend" if member else "ai_infra"
        sample = {
            "t": iso(TAKEN_S - 2),
            "status": "running" if running else "restarting",
            "exit_code": last["exit"],
            "oom_killed": last["oom"],
            "error": "",
            "pid": 100 + number if running else 0,
            "started_at": iso(last["start"]),
            "finished_at": "0001-01-01T00:00:00Z"
            if len(lives) == 1 and running
            else iso(last["end"] if not running else lives[-2]["end"]),
            "restart_count": len(lives) - 1 + (not running),
            "health": None,
        }
        networks = {
            name: {
                "ip": f"172.{18 + n}.0.{10 + number}" if running else "",
                "aliases": [label, f"{project}_{label}", hostname(label)],
            }
            for n, name in enumerate(NETWORKS)
            if member or name == "database-net"
        }
        words = {"postgres": ["postgres"], "redis": ["redis-server"]}.get(label) or shlex.split(
            self.commands[label]
        )
        entry = {
            "label": label,
            "name": f"{project}_{label}",
            "id": hostname(label),
            "service": label,
            "project": project,
            "number": 1,
            "member": member,
            "image": "ai_backend:1" if member else f"{label}:15",
            "image_id": "sha256:ab" if member else f"sha256:{label}",
            "created": iso(0),
            "entrypoint": [],
            "cmd": words,
            "env": dict(self.env[label])
            if member
            else {"POSTGRES_USER": "postgres"}
            if label == "postgres"
            else {},
            "working_dir": "/app" if member else "",
            "user": "",
            "hostname": hostname(label),
            "labels": {
                "com.docker.compose.service": label,
                "com.docker.compose.project": project,
                "com.docker.compose.project.working_dir": FOLDER,
            },
            "restart_policy": {"name": "unless-stopped", "max": 0},
            "log_driver": "json-file",
            "limits": {"memory": 512 * 2**20 if member else 0, "cpus": 0.5 if member else 0.0},
            "healthcheck": None,
            "ports": [{"container": {"postgres": 5432, "redis": 6379}[label], "proto": "tcp", "host": None}]
            if not member
            else [],
            "networks": networks,
            "mounts": [],
            "samples": [sample, {**sample, "t": iso(TAKEN_S)}],
        }
        changed = copy.deepcopy(self.items.get(label, {}))
        samples = changed.pop("sample", {})
        entry.update(changed)
        entry["samples"] = [{**one, **samples} for one in entry["samples"]]
        return entry

    def _events(self, items: list[dict]) -> list[dict]:
        found = []
        for item in items:
            for life in self.lives[item["label"]]:
                common = {"container": item["name"], "label": item["label"], "signal": None, "health": None}
                found.append({**common, "t": iso(life["start"]), "action": "start", "exit_code": None})
                if life["end"] is not None:
                    if life["oom"]:
                        found.append(
                            {**common, "t": iso(life["end"] - 0.01), "action": "oom", "exit_code": None}
                        )
                    found.append(
                        {**common, "t": iso(life["end"]), "action": "die", "exit_code": life["exit"]}
                    )
        names = {item["label"]: item["name"] for item in items}
        for at, action, label in self.happened:
            common = {"container": names[label], "label": label, "signal": None, "health": None}
            found.append({**common, "t": iso(at), "action": action, "exit_code": None})
        return sorted(found, key=lambda event: event["t"])

    def _files(self, label: str) -> dict:
        module, there = self.modules[label]
        root = "/usr/local/lib/python3.11/dist-packages"
        path = f"/app/{module.replace('.', '/')}.py"
        executable = self.executables[label]
        told = {
            "python": "3.11",
            "site_packages": [root],
            "packages": {
                name: {"present": present, "version": version, "path": f"{root}/{name}" if present else None}
                for name, (present, version) in self.packages[label].items()
            },
            "executable": {
                "name": "celery",
                "path": executable,
                "looked": ["/usr/local/bin/celery", "/usr/bin/celery"],
            },
            "app": {"module": module, "present": there, "path": path if there else None, "looked": [path]},
        }
        for part, value in self.seen.get(label, {}).items():
            told[part] = {**told[part], **value} if isinstance(told.get(part), dict) else value
        return told

    def compose_text(self) -> str:
        """The Compose file as it stands on the disk."""
        lines = ["# The backend", "services:"]
        for label in CELERY:
            lines += [
                f"  {label}:",
                "    image: ai_backend:1",
                f"    command: {self.commands[label]}",
                "    restart: unless-stopped",
                "    environment:",
            ]
            lines += [f"      {name}: {value}" for name, value in self.written[label].items()]
            if label in self.checks:
                lines += ["    healthcheck:", *[f"      {text}" for text in self.checks[label]]]
            lines += ["    networks:", "      - database-net", "      - monitoring-net", ""]
        return "\n".join(lines)

    def _compose(self) -> dict:
        lines = self.compose_text().split("\n")
        services: dict[str, dict] = {}
        label = block = ""
        for number, line in enumerate(lines, 1):
            if line.startswith("    ") and line[4] != " " and line.endswith(":"):
                block = line.strip(" :")
            if line.startswith("  ") and line[2] != " " and line.endswith(":"):
                label = line.strip(" :")
                services[label] = {"environment": {}}
            key, _, value = line.strip().partition(": ")
            node = {
                "file": 0,
                "line": number,
                "end_line": number,
                "col": len(line) - len(value) + 1,
                "value": value,
                "masked": TOKEN in value,
            }
            if key in ("command", "image"):
                services[label][key] = [node]
            elif line.startswith("      ") and value and block == "healthcheck":
                held = services[label].setdefault("healthcheck", [{**node, "value": {}}])[0]
                held["end_line"] = number
            elif line.startswith("      ") and value:
                services[label]["environment"][key] = [node]
        return {
            "files": [
                {
                    "path": COMPOSE,
                    "readable": True,
                    "why": "",
                    "lines": lines,
                    "hashes": [None if TOKEN in line else digest(line) for line in lines],
                }
            ],
            "services": services,
            "dotenv": None,
        }

    def _postgres(self) -> dict:
        users = sorted(
            label for label in CELERY if "@postgres:5432/" in self.env[label].get("CELERY_RESULT_BACKEND", "")
        )
        names = {self.env[label]["CELERY_RESULT_BACKEND"].rpartition("/")[2] for label in users}
        return {
            "key": "postgres:5432",
            "services": users,
            "unreached": {},
            "container": "postgres",
            "address": "172.18.0.15:5432",
            "via": "the address of postgres on database-net",
            "status": "ok",
            "why": "",
            "sqlstate": None,
            "error_kind": None,
            "user": "backend",
            "version": "15.14",
            "in_recovery": False,
            "databases": {
                name: {"owner": owner, "allow_connections": True, "can_connect": True}
                for name, owner in self.databases.items()
            },
            "wanted": {name: {"exists": name in self.databases, "services": users} for name in sorted(names)},
            "roles": {
                name: {"exists": True, "can_login": login, "superuser": root, "createdb": root}
                for name, (login, root) in self.roles.items()
            },
            "connections": {"max": 100, "reserved": 3, "used": 7, "by_database": {"ai_backend": 6}},
            "waiting": [],
            **self.postgres,
        }

    def _reply(self, label: str, queues: list[str]) -> dict:
        """What a worker that has nothing to do answers."""
        return {
            "label": label,
            "ms": 4.0,
            "unanswered": [],
            "stats": {},
            "active": [],
            "active_count": 0,
            "reserved": 0,
            "scheduled": 0,
            "active_queues": queues,
            "registered": ["shared.tasks.heartbeat", "shared.tasks.quick"],
            "conf": {
                "task_default_queue": "data_sync",
                "timezone": "UTC",
                "worker_prefetch_multiplier": 4,
                "task_acks_late": False,
                "result_extended": True,
                "beat_schedule": {
                    "heartbeat": {
                        "task": "shared.tasks.heartbeat",
                        "schedule": 5.0,
                        "options": {"queue": "data_sync"},
                    }
                },
            },
        }

    def _results(self) -> dict:
        """The result database: beat's task has come to its end every five seconds."""
        last = iso(TAKEN_S - 2)
        return {
            "key": "postgres:5432",
            "database": "ai_backend",
            "services": sorted(CELERY),
            "purposes": ["result"],
            "exists": True,
            "status": "ok",
            "why": "",
            "sqlstate": None,
            "tables": {"celery_taskmeta": True, "celery_tasksetmeta": True},
            "schemas": {"celery_taskmeta": ["public"], "celery_tasksetmeta": ["public"]},
            "alembic": None,
            "relations": {
                "visible": ["celery_taskmeta", "celery_tasksetmeta"],
                "all": ["public.celery_taskmeta", "public.celery_tasksetmeta"],
                "complete": True,
            },
            "rows_estimate": 1600,
            "time_zone": "Etc/UTC",
            "latest": {
                "done": last,
                "rows_last_hour": 720,
                "at_least": False,
                "by_task": {"shared.tasks.heartbeat": {"done": 720, "failed": 0, "last": last}},
                "states": {"SUCCESS": 1618},
                "sample": {"rows": 1618, "whole_table": True, "oldest": iso(13), "how": "by hand"},
                "read_as": "UTC",
                "sure": True,
                "clock": iso(TAKEN_S),
            },
        }

    def _endpoints(self) -> list[dict]:
        """Flower's own two; the workers of this stack serve no metrics."""
        if self.lives["flower"][-1]["end"] is not None:
            return [
                endpoint("flower", "flower", 5555, "/healthcheck", None, error_kind="not_running"),
                endpoint("flower", "metrics", 5555, "/metrics", None, error_kind="not_running"),
            ]
        return [
            endpoint("flower", "flower", 5555, "/healthcheck"),
            endpoint("flower", "metrics", 5555, "/metrics", families=18),
        ]

    def _redis(self) -> dict:
        return {
            "key": "redis:6379/0",
            "services": sorted(CELERY),
            "unreached": {},
            "container": "redis",
            "purposes": ["broker"],
            "address": "172.18.0.16:6379",
            "via": "the address of redis on database-net",
            "status": "ok",
            "why": "",
            "error_kind": None,
            "version": "7.0.15",
            "role": "master",
            "memory": {"used": 2**20, "max": 0, "policy": "noeviction"},
            "saving": {"save": "", "stops_writes": True, "replica_read_only": True},
            "info": {"rdb_last_bgsave_status": "ok", "aof_last_write_status": "ok", "maxclients": 10000,
                     "evicted_keys": 0},
            "clients": 12,
            "databases": {"db0": {"keys": 9}},
            "bindings": {},
            "all_queues": True,
            "nodes": [f"{label}@{hostname(label)}" for label in WORKERS],
            "samples": [
                {"t": iso(TAKEN_S - 1), "queues": dict.fromkeys(QUEUES.values(), 0), "unacked": 0},
                {"t": iso(TAKEN_S), "queues": dict.fromkeys(QUEUES.values(), 0), "unacked": 0},
            ],
            **self.redis,
        }


def usage(running: bool = True, limits: dict | None = None, **changed) -> dict:
    """What ``usage/<label>`` says of a container that has little to do."""
    memory, cpus = (limits or {}).get("memory") or 0, (limits or {}).get("cpus") or 0
    data = {
        "running": running,
        "t": iso(TAKEN_S) if running else None,
        "memory": 180 * 2**20 if running else None,
        "cache": 2**20 if running else None,
        "memory_limit": memory,
        "memory_percent": round(100 * 180 * 2**20 / memory, 1) if running and memory else None,
        "failed": 0 if running else None,
        "cpu_percent": 1.5 if running else None,
        "cpus_limit": cpus,
        "pids": 8 if running else None,
        "pids_limit": None,
        "throttled": {
            "periods": 0,
            "throttled_periods": 0,
            "time_s": 0.0,
            "recent_periods": 0,
            "recent_throttled_periods": 0,
        }
        if running
        else None,
    }
    return {**data, **changed}


def endpoint(label: str, purpose: str, port: int, path: str, code: int | None = 200, **changed) -> dict:
    """An entry of ``http`` that answered, or with ``code`` None and an ``error_kind`` one that did not."""
    kind = changed.get("error_kind")
    known = {"refused": "unreachable", "not_running": "unreachable", "timeout": "timeout"}
    return {
        "label": label,
        "owner": label,
        "purpose": purpose,
        "source": "default" if purpose == "flower" else "env PROMETHEUS_PORT",
        "declared": True,
        "port": port,
        "path": path,
        "url": f"http://172.18.0.14:{port}{path}",
        "via": f"the address of {label} on monitoring-net",
        "unreached": "",
        "status": "ok" if code else known.get(kind, "no_reply"),
        "why": "" if code else f"by hand: {kind}",
        "error_kind": None,
        "code": code,
        "ms": 4.0 if code else None,
        "content_type": "text/plain; version=0.0.4" if code else None,
        "server": "TornadoServer/6.6.1" if code else None,
        "location": None,
        "bytes": 2 if code else None,
        "cut": False,
        "families": None,
        "names": [],
        **changed,
    }


def backend_reboot() -> Incident:
    """The incident as it happened: four causes, two of them behind the others."""
    stack = (
        Incident().package("flower", False).url("CELERY_RESULT_BACKEND", "postgresql+psycopg", "postgresql")
    )
    for label, queue in QUEUES.items():
        stack.replace_in_commands(f"--queues {queue}", f"--queue={queue}", (label,)).loop(label, 2, OPTION)
    stack.loop("celery_beat", 1, NO_DRIVER_BEAT).loop("flower", 2, NO_FLOWER)
    del stack.databases["ai_backend"]
    return stack


def without_section(evidence: Evidence, name: str, status: str = "timeout") -> Evidence:
    """The same evidence with a section (or all ``prefix/*``) that could not be read."""
    sections = dict(evidence.sections)
    names = [one for one in sections if one == name or name.endswith("/*") and one.startswith(name[:-1])]
    for one in names or [name]:
        sections[one] = Section(one, status, why="the deadline passed")
    return replace(evidence, sections=sections)
