"""The incident's stack with RabbitMQ as its broker, healthy, and one thing changed: evidence built by hand.

What RabbitMQ's entry says is in the form that ``collect/rabbitmq`` gave on a real 3.10.8.
"""

from __future__ import annotations

import json
from dataclasses import replace

from evidence import CELERY, QUEUES, TAKEN_S, TOKEN, WORKERS, Incident, hostname, iso

from celery_triage.model import Evidence, Section, plain

URL = f"amqp://backend:{TOKEN}@rabbitmq:5672/jobs"
WRITTEN = "amqp://${RABBITMQ_USER}:${RABBITMQ_PASSWORD}@rabbitmq:5672/jobs"
_SAID = "amqp://backend:**@rabbitmq:5672/jobs"
KEY = "rabbitmq:5672/jobs"
HOST = {
    "name": "rabbit@3d1f6c0f7a52", "running": True, "mem_alarm": False, "disk_free_alarm": False,
    "mem_used": 134_045_696, "mem_limit": 10_110_605_721, "disk_free": 74_655_715_328,
    "disk_free_limit": 50_000_000, "fd_used": 48, "fd_total": 20_000, "sockets_used": 12,
    "sockets_total": 17_910, "uptime": 459_564,
}  # fmt: skip


def queue(**facts) -> dict:
    """What the management API says of one classic queue as Celery declares it."""
    return {"type": "classic", "state": "running", "durable": True, "auto_delete": False, "exclusive": False,
            "policy": None, "unacked": 0, "arguments": {}, **facts}


class OnRabbitMQ(Incident):
    """``rabbit`` holds what is different in RabbitMQ's entry."""

    def __init__(self, celery: str = "5.6.3") -> None:
        super().__init__(celery)
        self.rabbit: dict = {}
        for label in CELERY:
            self.env[label]["CELERY_BROKER_URL"] = URL
            self.written[label]["CELERY_BROKER_URL"] = WRITTEN

    def evidence(self) -> Evidence:
        before = super().evidence()
        sections = {}
        for name, section in before.sections.items():
            if name.startswith(("files/", "compose")):
                sections[name] = section
                continue
            text = json.dumps(plain(section.data))
            for old, new in (('"redis"', '"rabbitmq"'), ("ai_infra_redis", "ai_infra_rabbitmq"),
                             ('"redis-server"', '"rabbitmq-server"'), ("redis://redis:6379/0", _SAID),
                             ('"redis:6379/0"', f'"{KEY}"'), ("6379", "5672"),
                             ('"redis:15"', '"rabbitmq:3"')):
                text = text.replace(old, new)
            name = name.replace("/redis", "/rabbitmq")
            sections[name] = replace(section, name=name, data=json.loads(text))
        sections["redis"] = Section("redis", "ok", {"servers": []}, taken_at=iso(TAKEN_S))
        server = self._rabbitmq()
        why = "" if server["status"] == "ok" else f"{KEY}: {server['why']}"
        sections["rabbitmq"] = Section("rabbitmq", "partial" if why else "ok", {"servers": [server]}, why=why,
                                       taken_at=iso(TAKEN_S))
        for name, section in self.sections.items():
            sections[name] = section
        return Evidence(before.target, before.taken_at, sections, options=before.options)

    def _rabbitmq(self) -> dict:
        depths, consumers = dict.fromkeys(QUEUES.values(), 0), dict.fromkeys(QUEUES.values(), 1)
        sample = {"queues": depths, "consumers": consumers, "unacked": 0}
        return {
            "key": KEY, "services": sorted(CELERY), "unreached": {}, "container": "rabbitmq",
            "address": "172.18.0.16:5672", "via": "the address of rabbitmq on database-net", "status": "ok",
            "why": "", "family": "amqp", "purposes": ["broker"], "error_kind": None, "version": "3.10.8",
            "product": "RabbitMQ", "user": "backend", "vhost": "jobs", "vhosts": ["jobs"],
            "permissions": [{"vhost": "jobs", "configure": ".*", "write": ".*", "read": ".*"}],
            "management": {"status": "ok", "why": "", "address": "172.18.0.16:15672"}, "hosts": [dict(HOST)],
            "memory": {"used": HOST["mem_used"], "max": HOST["mem_limit"], "policy": None}, "clients": 12,
            "connections": [], "consumers": [], "nodes": [f"{label}@{hostname(label)}" for label in WORKERS],
            "queues": sorted(QUEUES.values()), "all_queues": True,
            "queue_facts": {name: queue() for name in QUEUES.values()}, "bindings": [],
            "samples": [{"t": iso(TAKEN_S - 1), **sample}, {"t": iso(TAKEN_S), **sample}],
            "info": {"cluster": HOST["name"], "uptime_in_seconds": 459, "unacked": 0}, "not_allowed": [],
            **self.rabbit,
        }  # fmt: skip

    def depths(self, queues: dict[str, int], consumers: dict[str, int]) -> OnRabbitMQ:
        """The same depths and consumers in both samples."""
        self.rabbit["samples"] = [
            {"t": iso(at), "queues": queues, "consumers": consumers, "unacked": 0}
            for at in (TAKEN_S - 1, TAKEN_S)]
        return self
