"""RabbitMQ as broker: does it let the service in, its alarms, how deep the queues are, twice, who consumes.

Asked by AMQP with the login of the broker URL (``amqp_client``: nothing but passive declarations), and by the
management API where it answers in the stack (``management``: GETs). The depth of a queue is AMQP's: the API's
own figures are up to five seconds old (3.10.8, measured).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from amqp import exceptions

from celery_triage.collect import management
from celery_triage.collect.amqp_client import connect, greet, told
from celery_triage.collect.management import Management, Refused, number, rows
from celery_triage.collect.probe import Emit, Source, now
from celery_triage.collect.servers import Server, servers, settled
from celery_triage.model import Section
from celery_triage.stack import Stack

SAMPLES_APART_S = 1.0
DEADLINE_S = 15.0
MOST_QUEUES = 100
MOST_ROWS = 1000
#: The queues by which nodes get their control messages are called NODE and this.
PIDBOX = ".celery.pidbox"
#: Queues of Celery's own that hold no tasks: control, replies, events; and those that RabbitMQ named itself.
_OWN = (PIDBOX, ".reply.celery.pidbox")
_OWN_BEGIN = ("celeryev.", "amq.gen-")


def source(stack: Stack, options: Mapping[str, Any], redactor: Any) -> Source:
    """The section ``rabbitmq``: every AMQP broker that a URL of the target leads to."""
    asked = servers(stack, "amqp", ("broker",), options)

    def run(emit: Emit) -> None:
        entries = [_blank(server, redactor) for server in asked]
        probes = [_Probe(stack, server, entry, options, redactor)
                  for server, entry in zip(asked, entries, strict=True) if entry["status"] == "timeout"]
        def so_far() -> None:
            emit.section(_section(entries, "not all was asked yet"))

        open_ones = [probe for probe in probes if probe.look(emit, so_far)]
        if open_ones:
            emit.section(_section(entries, "the second sample is not taken yet"))
        for probe in open_ones:
            probe.look_again(emit)
        emit.section(_section(entries))

    return Source("rabbitmq", ("rabbitmq",), run, deadline_s=DEADLINE_S)


def _section(entries: list[dict[str, Any]], unfinished: str = "") -> Section:
    status, why = settled(entries)
    if status == "ok":
        why = unfinished or "; ".join(
            f"{entry['key']}: the management API was not to be had ({entry['management']['why']}), so alarms "
            "and queues that no worker names are not known"
            for entry in entries if entry["management"]["status"] != "ok")
        status = "partial" if why else "ok"
    return Section("rabbitmq", status, {"servers": entries}, why=why, taken_at=now(),
                   how="passive declarations by AMQP, GETs of the management API, from the engine's machine")


def _blank(server: Server, redactor: Any) -> dict[str, Any]:
    return {**server.entry(), "family": "amqp", "purposes": sorted(server.purposes), "error_kind": None,
            "version": None, "product": None, "user": redactor.text(server.user or "guest", 200),
            "vhost": redactor.text(server.database or "/", 200), "vhosts": None, "permissions": None,
            "management": {"status": "timeout", "why": "it was not asked", "address": None},
            "hosts": [], "memory": None, "clients": None, "connections": [], "consumers": [], "nodes": [],
            "queues": [], "all_queues": None, "queue_facts": {}, "bindings": [], "samples": [], "info": {},
            "not_allowed": []}


class _Probe:
    """One server being asked; what it says goes into ``entry``."""

    def __init__(
        self, stack: Stack, server: Server, entry: dict[str, Any], options: Mapping[str, Any], redactor: Any,
    ) -> None:
        self.stack, self.server, self.entry, self.redactor = stack, server, entry, redactor
        self.login = not options.get("no_login")
        self.connection: Any = None
        self.channel: Any = None
        self.sampled = 0.0
        self.named: list[str] = []  # the queues as they are called, which need not be as they are shown
        self.api = Management(self._management_ways(options), server.user or "guest",
                              (server.password or "") if server.user else "guest", server.database or "/")

    def look(self, emit: Emit, so_far: Callable[[], None]) -> bool:
        """Everything but the second sample, by the first way that is not refused; whether it let us in.
        ``so_far`` hands over what is known before the queues are asked, one by one."""
        for way in self.server.ways:
            if emit.left() < 1:
                return False
            self.entry.update(address=f"{way[0]}:{way[1]}", via=way[2])
            try:
                if not self.login:
                    self._greet(emit, way)
                    return False
                self._open(emit, way)
            except Exception as error:  # whatever answers there may send anything
                self.entry.update(told(error, self.redactor))
            if self.entry["error_kind"] not in ("refused", "timeout"):
                break
        if self.login and (self.connection or self.entry["error_kind"] in ("vhost", "permission", "auth")):
            self._manage(emit)
        if self.connection is None:
            return False
        self.entry["why"] = "it let us in, and its queues were not asked before the time was up"
        so_far()
        try:
            with emit.asking(f"amqp queue.declare, passive, {self.server.key}") as asked:
                self.named = self.named or self._queues_of_workers()
                self.entry["samples"] = [self._sample()]
                asked.outcome = f"{len(self.named)} queues"
            self.sampled = time.monotonic()
            self.entry["queues"] = [self.redactor.text(name, 200) for name in self.named]
            self.entry.update(status="ok", why="")
            return True
        except Exception as error:
            self.entry.update(told(error, self.redactor))
            self.connection.shut()
            return False

    def look_again(self, emit: Emit) -> None:
        """The second sample."""
        time.sleep(max(0.0, min(SAMPLES_APART_S - (time.monotonic() - self.sampled), emit.left() - 1)))
        try:
            with emit.asking(f"amqp queue.declare, passive, {self.server.key} (second sample)"):
                self.entry["samples"].append(self._sample())
        except Exception as error:
            self.entry.update(told(error, self.redactor))
        with emit.asking(f"amqp connection.close {self.server.key}"):
            self.connection.shut()

    def _greet(self, emit: Emit, way: tuple[str, int, str]) -> None:
        with emit.asking(f"amqp greeting {self.server.key} ({self.entry['address']})") as asked:
            other = greet(way)
            asked.outcome = other or "it is there"
        why = other or "it is there, and was asked nothing: --no-login"
        self.entry.update(status="no_reply" if other else "withheld", why=why,
                          error_kind="not_amqp" if other else None)
        self.entry["management"].update(status="withheld", why="not asked: --no-login")

    def _open(self, emit: Emit, way: tuple[str, int, str]) -> None:
        with emit.asking(f"amqp connection.open {self.server.key} ({self.entry['address']})"):
            self.connection = connect(self.server, way)
        facts = self.connection.server_properties or {}
        self.entry.update(version=self._text(facts.get("version")), product=self._text(facts.get("product")))
        self.entry["error_kind"] = None
        self.channel = self.connection.channel()

    def _text(self, value: Any) -> str | None:
        value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        return self.redactor.text(str(value), 200) if value else None

    def _queues_of_workers(self) -> list[str]:
        """Where no API lists them: the queues of the workers that use this broker; ``celery`` too, where
        tasks without a route go."""
        labels = [label for label, url in self.server.urls if url.purpose == "broker"]
        found = [queue for label in labels for queue in self.stack.get(label).queues]
        return list(dict.fromkeys([*sorted(found), "celery"]))[:MOST_QUEUES]

    def _sample(self) -> dict[str, Any]:
        """The depth and the consumers of each queue; None for one that may not be read. A queue that is not
        there is left out."""
        depths: dict[str, int | None] = {}
        consumers: dict[str, int | None] = {}
        for queue in self.named:
            shown = self.redactor.text(queue, 200)
            try:
                answer = self.channel.queue_declare(queue=queue, passive=True)
                depths[shown], consumers[shown] = answer.message_count, answer.consumer_count
            except exceptions.NotFound:
                self.channel = self.connection.channel()
            except (exceptions.ResourceLocked, exceptions.AccessRefused):
                depths[shown] = consumers[shown] = None
                self.channel = self.connection.channel()
        return {"t": now(), "queues": depths, "consumers": consumers,
                "unacked": self.entry["info"].get("unacked")}

    # the management API

    def _management_ways(self, options: Mapping[str, Any]) -> list[tuple[str, int, str]]:
        owner = self.stack.get(self.server.container or "")
        if owner is not None:
            label = (self.server.services or sorted(self.server.unreached))[0]
            return owner.ways(self.stack.resolve(label, self.server.host, management.PORT), management.PORT)
        if options.get("reach_external"):
            return [(self.server.host, management.PORT, "by its name, from the engine's machine")]
        return []

    def _manage(self, emit: Emit) -> None:
        """All questions that the API answers to this user; a question that it refuses is noted."""
        state = self.entry["management"]
        for what in management.PATHS:
            if emit.left() < 4:
                state.update(status="partial", why="the time was up before all was asked")
                return
            try:
                self._keep(what, self.api.get(emit, what))
                state.update(status="ok", why="")
            except Refused as refused:
                if refused.code == 401 and what == "overview":
                    # The whole user is refused: no tag for the API, a wrong password, or guest from outside.
                    state.update(status="denied", why=self.redactor.text(str(refused), 200))
                    break
                if refused.code != 404:
                    self.entry["not_allowed"].append(f"{what}: {refused.code}")
            except (OSError, ValueError, TypeError, AttributeError) as error:
                state.update(status="unreachable" if isinstance(error, OSError) else "no_reply",
                             why=self._unreached(error))
                break
        if self.api.way:
            state["address"] = f"{self.api.way[0]}:{self.api.way[1]}"

    def _unreached(self, error: Exception) -> str:
        if isinstance(error, ConnectionRefusedError):
            return f"nothing listens on its port {management.PORT}: the management plug-in is not enabled"
        return self.redactor.text(" ".join(str(error).split()) or type(error).__name__, 200)

    def _keep(self, what: str, answer: Any) -> None:
        text, entry = self.redactor.text, self.entry
        if what == "overview":
            version = answer.get("product_version") or answer.get("rabbitmq_version")
            entry["version"] = entry["version"] or self._text(version)
            entry["info"]["cluster"] = self._text(answer.get("cluster_name"))
        elif what == "nodes":
            entry["hosts"] = rows(answer, self._host, 50)
            here = next(iter(entry["hosts"]), {})
            entry["memory"] = {"used": here.get("mem_used"), "max": here.get("mem_limit"), "policy": None}
            if here.get("uptime") is not None:
                entry["info"]["uptime_in_seconds"] = here["uptime"] // 1000
        elif what == "vhosts":
            entry["vhosts"] = rows(answer, lambda one: text(str(one.get("name")), 200), 200)
        elif what == "permissions":
            entry["permissions"] = rows(answer, lambda one: {
                name: text(str(one.get(name) or ""), 200) for name in ("vhost", "configure", "write", "read")
            }, 200)
        elif what == "queues":
            self._keep_queues(answer)
        elif what == "bindings":
            entry["bindings"] = rows(answer, lambda one: [
                text(str(one.get(name) or ""), 200)
                for name in ("source", "routing_key", "destination", "destination_type")], MOST_ROWS)
        elif what == "consumers":
            entry["consumers"] = rows(answer, self._consumer, MOST_ROWS)
        elif what == "connections":
            entry["connections"] = rows(answer, self._connection, MOST_ROWS)
            entry["clients"] = len(answer)

    def _host(self, one: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: number(one.get(name)) for name in (
            "mem_used", "mem_limit", "disk_free", "disk_free_limit", "fd_used", "fd_total", "sockets_used",
            "sockets_total", "uptime")}
        alarms = {name: one.get(name) is True for name in ("running", "mem_alarm", "disk_free_alarm")}
        return {"name": self._text(one.get("name")), **alarms, **kept}

    def _keep_queues(self, answer: Any) -> None:
        names = [str(one["name"]) for one in answer if isinstance(one, dict) and one.get("name")]
        tasks = [name for name in names if not name.endswith(_OWN) and not name.startswith(_OWN_BEGIN)]
        self.named = sorted(tasks)[:MOST_QUEUES]
        self.entry["all_queues"] = len(tasks) <= MOST_QUEUES
        self.entry["nodes"] = [self.redactor.text(name.removesuffix(PIDBOX), 200) for name in names
                               if name.endswith(PIDBOX) and not name.endswith(_OWN[1])][:MOST_ROWS]
        kept = set(self.named)
        self.entry["queue_facts"] = {
            self.redactor.text(one["name"], 200): self._queue(one)
            for one in answer if isinstance(one, dict) and one.get("name") in kept}
        counted = [number(one.get("messages_unacknowledged")) for one in answer if isinstance(one, dict)]
        self.entry["info"]["unacked"] = sum(filter(None, counted)) if counted else 0

    def _queue(self, one: Mapping[str, Any]) -> dict[str, Any]:
        arguments = one.get("arguments") if isinstance(one.get("arguments"), dict) else {}
        facts = {name: one.get(name) is True for name in ("durable", "auto_delete", "exclusive")}
        return {"type": self._text(one.get("type")), "state": self._text(one.get("state")), **facts,
                "policy": self._text(one.get("policy")),
                "unacked": number(one.get("messages_unacknowledged")),
                "arguments": {self.redactor.text(str(name), 100): value if number(value) is not None
                              or isinstance(value, bool) else self.redactor.text(str(value), 200)
                              for name, value in list(arguments.items())[:30]}}

    def _label(self, address: Any) -> str | None:
        return next((service.label for service in self.stack
                     for member in (service.item.get("networks") or {}).values()
                     if member and address and member.get("ip") == address), None)

    def _consumer(self, one: Mapping[str, Any]) -> dict[str, Any]:
        address = (one.get("channel_details") or {}).get("peer_host")
        return {"address": self._text(address), "label": self._label(address), "command": "consume",
                "queue": self._text((one.get("queue") or {}).get("name")),
                "prefetch": number(one.get("prefetch_count"))}

    def _connection(self, one: Mapping[str, Any]) -> dict[str, Any]:
        return {"address": self._text(one.get("peer_host")), "label": self._label(one.get("peer_host")),
                "user": self._text(one.get("user")), "vhost": self._text(one.get("vhost")),
                "state": self._text(one.get("state")), "channels": number(one.get("channels")),
                "product": self._text((one.get("client_properties") or {}).get("product"))}
