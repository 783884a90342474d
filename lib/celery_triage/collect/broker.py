"""Redis, as broker and as result backend: alive, its memory, who is known, how deep the queues are, twice.

Only the commands of ``READS`` can be sent: the client refuses every other one. Connecting itself sends AUTH
and SELECT where the URL says so, and nothing else (no name, no library version, no HELLO). Socket time-outs
are short, for redis-py waits about a minute on a dead peer by default; nothing is retried.
"""

from __future__ import annotations

import inspect
import re
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from celery_triage.collect.probe import Emit, Source, now
from celery_triage.collect.servers import Server, servers, settled
from celery_triage.model import Section
from celery_triage.stack import Stack

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 2.0
SAMPLES_APART_S = 1.0
#: How long (seconds) a server that refuses everybody may take to say so, and how much of it is read (bytes).
SPOKEN_WITHIN_S = 1.0
MOST_SPOKEN = 2000
DEADLINE_S = 15.0

READS = frozenset({"PING", "INFO", "CONFIG GET", "LLEN", "HLEN", "SMEMBERS", "CLIENT LIST",
                   "SCAN"})
#: kombu's names (4.x to 5.7, ``kombu/transport/redis.py``): a queue's message priorities are lists of their
#: own, named with this separator and the step.
PRIORITY_SEPARATOR = "\x06\x16"
PRIORITY_STEPS = (3, 6, 9)
BINDINGS = "_kombu.binding."
PIDBOX = "celery.pidbox"
UNACKED = "unacked"
#: More of these are not asked for, or not kept.
MOST_QUEUES = 100
MOST_MEMBERS = 1000
#: Keys looked through in one step, and steps: 500 000 keys in all.
SCAN_STEP = 1000
MOST_SCANS = 500
#: Exchanges of Celery's own that lead to no task queue (control, replies, events).
_OWN_EXCHANGES = frozenset({PIDBOX, "reply." + PIDBOX, "celeryev"})


#: Parameters by which redis-py introduces itself to the server (CLIENT SETINFO, a write), by its version:
#: 8.1 has ``driver_info``, 5.2 the other two.
_INTRODUCTION = (("driver_info",) if "driver_info" in inspect.signature(redis.Redis).parameters
                 else ("lib_name", "lib_version"))


#: What a server without a password says to one (Redis 3.2 to 8).
NO_PASSWORD_SET = r"without any password configured|no password is set"


#: Refusals that only a server which speaks plain Redis can have sent.
_PLAIN_ANSWERS = (redis.exceptions.ResponseError, redis.exceptions.AuthenticationError,
                  redis.exceptions.BusyLoadingError)


class RefusedHere(Exception):
    """A command that is not on the list of reads: it never left this process."""


class ReadingRedis(redis.Redis):
    """A Redis client that can only send the commands of ``READS``."""

    allowed = READS

    def execute_command(self, *args: Any, **options: Any) -> Any:
        words = [str(word).upper() for word in (*str(args[0]).split(), *args[1:2])]
        if words[0] not in self.allowed and " ".join(words[:2]) not in self.allowed:
            raise RefusedHere(f"{args[0]} is not one of the commands that may be sent")
        return super().execute_command(*args, **options)

    def pipeline(self, *args: Any, **options: Any) -> Any:
        raise RefusedHere("pipelines are not used: they would pass by the list of commands")


def connect(
    server: Server, way: tuple[str, int, str], *, login: bool, client: type = ReadingRedis, tls: bool = True,
) -> Any:
    """A client for one way to a server; nothing is sent before its first command. Without ``login`` neither
    user nor password is sent. TLS is used where the URL says so (not for ``tls=False``), without verifying:
    the authorities' certificates lie in the container, not here."""
    address, port, _ = way
    options: dict[str, Any] = {name: None for name in _INTRODUCTION}
    if server.tls and tls:
        options |= {"ssl": True, "ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False}
    return client(
        host=address, port=port, db=int(server.database or 0) if (server.database or "0").isdigit() else 0,
        username=server.user if login else None, password=server.password if login else None,
        socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=READ_TIMEOUT_S, retry=Retry(NoBackoff(), 0),
        protocol=2, decode_responses=True, encoding_errors="backslashreplace", health_check_interval=0,
        max_connections=1, **options)


#: What is kept of INFO beside the fields above: what an engineer looks at when a broker misbehaves.
_KEPT = (
    "uptime_in_seconds", "loading", "blocked_clients", "maxclients", "rejected_connections", "evicted_keys",
    "expired_keys", "total_commands_processed", "instantaneous_ops_per_sec", "mem_fragmentation_ratio",
    "rdb_last_bgsave_status", "aof_last_write_status", "master_host", "master_link_status",
    "connected_slaves", "cluster_enabled", "tcp_port", "used_memory_peak", "total_system_memory",
)

#: What redis-py says where the server has closed the connection, or has spoken unasked (its pool refuses such
#: a connection as not ready).
_CLOSED = re.compile(r"Connection closed by server|Connection reset|Broken pipe|Connection not ready")

#: By text, for redis-py wraps several of them in a plain ConnectionError. Each was seen in a real run (see
#: the tests) but ``max number of clients`` and ``protected mode``, which are from the sources of Redis 7.0.
_KINDS = (
    (r"protected mode", "denied", "protected"),  # before the passwords: it says that none is set
    (r"NOAUTH|Authentication required", "denied", "noauth"),
    (r"WRONGPASS|invalid (?:username-)?password|called without any password|no password is set",
     "denied", "auth"),
    (r"LOADING|loading the dataset", "no_reply", "loading"),
    (r"max number of clients", "denied", "full"),
    (r"NOPERM|no permissions", "denied", "other"),
    (r"DB index is out of range", "denied", "database"),
    (r"Connection refused|No route to host|Network is unreachable|Error 11[13] ", "unreachable", "refused"),
    (r"Name or service not known|Temporary failure in name resolution|No address associated|Error -[235] ",
     "unreachable", "dns"),
    (r"timed out|Timeout", "timeout", "timeout"),
    (r"SSL|wrong version number|certificate", "denied", "tls"),
    (r"Protocol Error|Invalid response", "no_reply", "not_redis"),
    (_CLOSED.pattern, "no_reply", "not_redis"),
)


def source(stack: Stack, options: Mapping[str, Any], redactor: Any) -> Source:
    """The section ``redis``: every Redis that a broker or result backend URL of the target leads to."""
    asked = servers(stack, "redis", ("broker", "result"), options)

    def run(emit: Emit) -> None:
        entries = [_blank(server) for server in asked]
        probes = [_Probe(stack, server, entry, not options.get("no_login"), redactor)
                  for server, entry in zip(asked, entries, strict=True) if entry["status"] == "timeout"]
        open_ones = [probe for probe in probes if probe.look(emit)]
        if open_ones:
            emit.section(_section(entries, "the second sample is not taken yet"))
        for probe in open_ones:
            probe.look_again(emit)
        emit.section(_section(entries))

    return Source("broker", ("redis",), run, deadline_s=DEADLINE_S)


def _section(entries: list[dict[str, Any]], unfinished: str = "") -> Section:
    status, why = settled(entries)
    if unfinished and status == "ok":
        status, why = "partial", unfinished
    return Section("redis", status, {"servers": entries}, why=why, taken_at=now(),
                   how="read commands from the engine's machine")


def _blank(server: Server) -> dict[str, Any]:
    return {**server.entry(), "purposes": sorted(server.purposes), "error_kind": None, "version": None,
             "role": None, "saving": None, "no_password_set": False, "memory": None, "clients": None,
             "consumers": [], "databases": {}, "bindings": {}, "nodes": [], "queues": [],
             "all_queues": None, "samples": [], "info": {}, "not_allowed": []}


class _Probe:
    """One server being asked; what it says goes into ``entry``."""

    def __init__(
        self, stack: Stack, server: Server, entry: dict[str, Any], login: bool, redactor: Any,
    ) -> None:
        self.server, self.entry, self.login = server, entry, login
        self.stack, self.redactor = stack, redactor
        self.client: Any = None
        self.sampled = 0.0
        self.is_broker = "broker" in server.purposes
        self.named: list[str] = []  # the queues as they are called, which need not be as they are shown

    def look(self, emit: Emit) -> bool:
        """Everything but the second sample, by the first way that is not refused; whether it answered."""
        for way in self.server.ways:
            if emit.left() < 1:
                return False
            self.entry.update(address=f"{way[0]}:{way[1]}", via=way[2])
            self.client = connect(self.server, way, login=self.login)
            try:
                with emit.asking(f"redis PING {self.server.key} ({self.entry['address']})") as asked:
                    asked.outcome = self.greet(way)
                with emit.asking(f"redis {', '.join(sorted(READS - {'PING'}))} {self.server.key}"):
                    self.read()
                self.entry.update(status="ok", why="", error_kind=None)
                return True
            except Exception as error:  # whatever answers there may send anything
                self.client.close()
                self.fail(self.spoken(way, emit, error) or error)
                if self.server.tls and self.entry["error_kind"] in ("timeout", "tls", "not_redis"):
                    self.without_tls(way, emit)
            if self.entry["error_kind"] not in ("refused", "timeout"):
                return False
        return False

    def greet(self, way: tuple[str, int, str]) -> str:
        """What the server said to PING. One that cannot save refuses even that and still tells its figures;
        one without a password refuses the URL's, and is asked without it, as clients that speak RESP3 get
        in with any."""
        try:
            return self.ping()
        except redis.exceptions.AuthenticationError as error:
            if not re.search(NO_PASSWORD_SET, str(error)):
                raise
        self.client.close()
        self.client = connect(self.server, way, login=False)
        said = self.ping()
        self.entry["no_password_set"] = True
        return said

    def ping(self) -> str:
        try:
            self.client.ping()
        except redis.exceptions.ResponseError as error:
            if "MISCONF" not in str(error):
                raise
            return "MISCONF"
        return "PONG"

    def spoken(self, way: tuple[str, int, str], emit: Emit, error: Exception) -> Exception | None:
        """What a server says to whoever connects, before anything is sent; None where it says nothing. One in
        protected mode or without a free connection says why and closes at once: a client that has sent its
        first command by then is told of a reset connection, and reads no word of it (Redis 7.0)."""
        if self.server.tls or not _CLOSED.search(str(error)):
            return None
        with emit.asking(f"redis connect {self.server.key}, nothing sent ({self.entry['address']})") as asked:
            try:
                with socket.create_connection(way[:2], CONNECT_TIMEOUT_S) as peer:
                    peer.settimeout(SPOKEN_WITHIN_S)
                    words = peer.recv(MOST_SPOKEN)
            except OSError:
                return None
            asked.outcome = "refused in words" if words.startswith(b"-") else "no words"
        if not words.startswith(b"-"):
            return None
        return redis.exceptions.ResponseError(words[1:].decode("utf-8", "backslashreplace").strip())

    def without_tls(self, way: tuple[str, int, str], emit: Emit) -> None:
        """Whether the server that does not speak TLS answers without; nothing secret is sent."""
        client = connect(self.server, way, login=False, tls=False)
        try:
            with emit.asking(f"redis PING {self.server.key} without TLS ({self.entry['address']})") as asked:
                client.ping()
                asked.outcome = "PONG"
        except redis.exceptions.RedisError as error:
            if not isinstance(error, _PLAIN_ANSWERS):
                return  # nothing that speaks Redis
        finally:
            client.close()
        self.entry.update(status="denied", error_kind="plain",
                          why="the URL asks for TLS (rediss://), and the server answers only without")

    def look_again(self, emit: Emit) -> None:
        """The second sample, a second after the first."""
        time.sleep(min(max(0.0, self.sampled + SAMPLES_APART_S - time.monotonic()), emit.left()))
        try:
            with emit.asking(f"redis LLEN, HLEN {self.server.key} (second sample)"):
                self.entry["samples"].append(self.sample())
        except Exception as error:
            self.fail(error)
        self.client.close()

    def fail(self, error: Exception) -> None:
        self.entry.update(told(error, self.redactor))
        if self.server.password is not None and not self.login:
            self.entry["why"] += " (--no-login: no password was sent)"

    def read(self) -> None:
        """Server facts, bindings, consumers and the first sample."""
        entry, text = self.entry, self.redactor.text
        info = {str(name): text(value, 200) if isinstance(value, str) else value
                for name, value in (self.may("INFO", self.client.info) or {}).items()}
        limits = self.may("CONFIG GET", self.client.config_get, "maxmemory*") or {}
        entry["version"] = str(info.get("valkey_version") or info.get("redis_version") or "") or None
        entry["role"] = info.get("role")
        entry["saving"] = self.saving()
        policy = info.get("maxmemory_policy") or text(str(limits.get("maxmemory-policy") or ""), 200)
        entry["memory"] = {"used": info.get("used_memory"), "policy": policy or None,
                           "max": info.get("maxmemory", limits.get("maxmemory"))}
        entry["clients"] = info.get("connected_clients")
        entry["databases"] = {name: {"keys": value.get("keys")} for name, value in info.items()
                              if re.fullmatch(r"db\d+", name) and isinstance(value, dict)}
        entry["info"] = {name: info[name] for name in _KEPT if name in info}
        if self.is_broker:
            self.named = self.queues()
            self.read_bindings(self.exchanges())
            entry["queues"] = [text(name, 200) for name in self.named]
            clients = self.may("CLIENT LIST", self.client.client_list) or []
            entry["consumers"] = _consumers(clients, self.stack)
        entry["samples"] = [self.sample()]
        self.sampled = time.monotonic()

    def saving(self) -> dict[str, Any] | None:
        """What decides whether it refuses writes: snapshots, whether a failed one stops writes, whether a
        replica takes any. None for a user who may not ask."""
        told: dict[str, str] = {}
        for name in ("save", "stop-writes-on-bgsave-error", "replica-read-only"):
            answer = self.may("CONFIG GET", self.client.config_get, name)
            if answer is None:
                return None
            told.update(answer)
        return {"save": self.redactor.text(str(told.get("save") or ""), 200),
                "stops_writes": told.get("stop-writes-on-bgsave-error") == "yes",
                "replica_read_only": told.get("replica-read-only") != "no"}

    def exchanges(self) -> list[str]:
        """The exchanges of task queues that anybody has declared here, also a producer whose queue no worker
        knows: kombu keeps one set of bindings for each, and leaves it there."""
        found: set[str] = set()
        cursor = 0
        for _ in range(MOST_SCANS):
            told = self.may("SCAN", self.client.scan, cursor, BINDINGS + "*", SCAN_STEP)
            if told is None:
                break
            cursor, keys = told
            found |= {key.removeprefix(BINDINGS) for key in keys}
            if not cursor:
                break
        self.entry["all_queues"] = told is not None and not cursor and len(found) <= MOST_QUEUES
        return sorted(found - _OWN_EXCHANGES)[:MOST_QUEUES]

    def read_bindings(self, exchanges: list[str]) -> None:
        """Which queue is bound to which exchange, and so which other queues and which nodes there are (or
        were: a node that was killed before Celery 5.7 leaves its name behind)."""
        for exchange in dict.fromkeys((PIDBOX, *self.named, *exchanges)):
            members = self.may("SMEMBERS", self.client.smembers, BINDINGS + exchange) or ()
            rows = sorted(member.split(PRIORITY_SEPARATOR) for member in list(members)[:MOST_MEMBERS])
            if rows:
                self.entry["bindings"][self.redactor.text(exchange, 200)] = [
                    [self.redactor.text(part, 200) for part in (*row, "", "")[:3]] for row in rows]
            if exchange != PIDBOX:
                self.named += [row[2] for row in rows if len(row) > 2 and row[2] not in self.named]
        self.named = self.named[:MOST_QUEUES]
        known = self.entry["bindings"].get(PIDBOX, ())
        self.entry["nodes"] = [row[2].removesuffix("." + PIDBOX) for row in known]

    def queues(self) -> list[str]:
        """The queues of the workers that use this broker; ``celery`` too, where tasks without a route go."""
        labels = [label for label, url in self.server.urls if url.purpose == "broker"]
        found = [queue for label in labels for queue in self.stack.get(label).queues]
        return list(dict.fromkeys([*sorted(found), "celery"]))[:MOST_QUEUES]

    def sample(self) -> dict[str, Any]:
        """The depth of each queue over its priorities, and the messages taken but not acknowledged; None for
        what is no list (or hash) or may not be read."""
        depths: dict[str, int | None] = {}
        for queue in self.named if self.is_broker else ():
            parts = [self.may("LLEN", self.client.llen, name) for name in (
                queue, *(f"{queue}{PRIORITY_SEPARATOR}{step}" for step in PRIORITY_STEPS))]
            depths[self.redactor.text(queue, 200)] = None if None in parts else sum(parts)
        unacked = self.may("HLEN", self.client.hlen, UNACKED) if self.is_broker else None
        return {"t": now(), "queues": depths, "unacked": unacked}

    def may(self, command: str, call: Any, *args: Any) -> Any:
        """The answer, or None for a command that this user may not send (noted in ``not_allowed``)."""
        try:
            return call(*args)
        except redis.exceptions.ResponseError as error:
            if not re.search(r"NOPERM|no permissions|unknown command|WRONGTYPE", str(error)):
                raise
            if command not in self.entry["not_allowed"]:
                self.entry["not_allowed"].append(command)
            return None


def _consumers(clients: list[Mapping[str, str]], stack: Stack) -> list[dict[str, Any]]:
    """Who waits for messages (BRPOP, blocked) or listens to control messages (PSUBSCRIBE), by container."""
    by_ip = {member["ip"]: service.label for service in stack
             for member in (service.item.get("networks") or {}).values() if member and member.get("ip")}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for client in clients:
        address = str(client.get("addr", "")).rpartition(":")[0]
        what = str(client.get("cmd", "")).partition("|")[0].lower()
        if what not in ("brpop", "psubscribe", "subscribe"):
            continue
        entry = found.setdefault((address, what), {
            "address": address, "label": by_ip.get(address), "command": what, "connections": 0, "blocked": 0,
            "idle_s": None})
        entry["connections"] += 1
        entry["blocked"] += "b" in str(client.get("flags", ""))
        idle = int(client.get("idle", 0) or 0)
        entry["idle_s"] = idle if entry["idle_s"] is None else min(idle, entry["idle_s"])
    return [found[key] for key in sorted(found)][:MOST_MEMBERS]


def told(error: Exception, redactor: Any) -> dict[str, Any]:
    """Status, masked sentence and kind of a failure. Kinds: refused, dns, timeout, auth (wrong user or
    password), noauth (one is needed and none was sent), loading, protected, full, database (its number is
    too high), tls, not_redis, other."""
    text = " ".join(str(error).split())
    why = redactor.text(f"{type(error).__name__}: {text}", 500)
    for pattern, status, kind in _KINDS:
        if re.search(pattern, text, re.IGNORECASE):
            return {"status": status, "why": why, "error_kind": kind}
    if isinstance(error, redis.exceptions.AuthenticationError):
        return {"status": "denied", "why": why, "error_kind": "auth"}
    return {"status": "no_reply", "why": why, "error_kind": "other"}
