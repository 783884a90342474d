"""The types that the data of each section has, so that nobody's bundle can surprise a check.

A shape is a type, a tuple of shapes (one of them), `[shape]` for a list, `{"key": shape}` for an object in
which whatever stands under these keys has these shapes (keys may be missing or more), `Whole` of that where
some may not be missing, `Each(shape)` for an object with any keys and values of one shape. Numbers are
`float`: whole ones pass, truth values do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Each:
    """An object with values of one shape."""

    shape: Any


@dataclass(frozen=True)
class Whole:
    """An object in which these keys may not be missing: without them nothing can be said of it."""

    shape: dict[str, Any]
    needed: tuple[str, ...]


_TEXT, _NUMBER, _TRUTH = (str, None), (float, None), (bool, None)
_TEXTS = ([str], None)
_HEALTH = ({"status": _TEXT, "failing_streak": _NUMBER,
            "log": [{"start": _TEXT, "end": _TEXT, "exit_code": _NUMBER, "output": _TEXT}]}, None)
_SAMPLE = {"t": str, "status": str, "exit_code": _NUMBER, "oom_killed": _TRUTH, "error": _TEXT,
           "pid": _NUMBER, "started_at": _TEXT, "finished_at": _TEXT, "restart_count": _NUMBER,
           "health": _HEALTH}
_ITEM = {
    "label": str, "name": str, "id": _TEXT, "service": _TEXT, "project": _TEXT, "number": _NUMBER,
    "member": bool, "image": _TEXT, "image_id": _TEXT, "created": _TEXT, "entrypoint": _TEXTS, "cmd": _TEXTS,
    "env": Each(_TEXT), "working_dir": _TEXT, "user": _TEXT, "hostname": _TEXT, "labels": Each(_TEXT),
    "restart_policy": {"name": _TEXT, "max": _NUMBER}, "log_driver": _TEXT,
    "limits": {"memory": _NUMBER, "cpus": _NUMBER}, "read_only": _TRUTH, "tmpfs": _TEXTS,
    "healthcheck": ({"test": [str], "interval_s": _NUMBER, "timeout_s": _NUMBER, "retries": _NUMBER,
                     "start_period_s": _NUMBER}, None),
    "ports": [{"container": float, "proto": _TEXT, "host": _TEXT}], "extra_hosts": _TEXTS,
    "networks": Each(({"ip": _TEXT, "aliases": _TEXTS}, None)),
    "mounts": [{"type": _TEXT, "source": _TEXT, "target": _TEXT, "rw": _TRUTH}],
    "samples": [_SAMPLE], "vanished": _TRUTH,
    "url_problems": (Each([{"kind": str, "text": str, "stops": _TRUTH, "hint": _TEXT}]), None),
}
_FILE = {"path": str, "readable": _TRUTH, "why": _TEXT, "lines": [str], "hashes": [_TEXT], "real": _TEXT,
         "crlf": _TRUTH, "newline": _TRUTH}
_NODES = [{"file": float, "line": float, "end_line": _NUMBER, "col": _NUMBER, "masked": _TRUTH}]
_VALUES = Each({"line": float, "value": _TEXT})
_SERVER = {"key": str, "services": [str], "unreached": Each(_TEXT), "container": _TEXT, "address": _TEXT,
           "via": _TEXT, "status": str, "why": _TEXT, "error_kind": _TEXT, "version": _TEXT}

SHAPES: dict[str, Any] = {
    "engine": {"version": _TEXT, "api_version": _TEXT, "os": _TEXT, "arch": _TEXT, "kernel": _TEXT,
               "cgroup_version": _TEXT, "time": _TEXT, "memory": _NUMBER, "cpus": _NUMBER,
               "containers_running": _NUMBER},
    "containers": {"project": _TEXT, "config_files": [str], "working_dir": _TEXT,
                   "items": [Whole(_ITEM, ("label",))]},
    "events": {"since": _TEXT, "until": _TEXT, "full": _TRUTH, "items": [
        {"t": str, "container": _TEXT, "label": _TEXT, "action": str, "exit_code": _NUMBER, "signal": _TEXT,
         "health": _TEXT}]},
    "networks": {"items": [{"name": str, "driver": _TEXT, "internal": _TRUTH, "members": Each(_TEXT)}]},
    "logs": {"driver": _TEXT, "lines": [[str]], "cut": ({"bytes": _NUMBER, "why": _TEXT}, None)},
    "files": {
        "python": _TEXT, "site_packages": [str],
        "packages": Each({"present": _TRUTH, "version": _TEXT, "path": _TEXT}),
        "executable": ({"name": _TEXT, "path": _TEXT, "looked": [str]}, None),
        "app": ({"module": _TEXT, "present": _TRUTH, "path": _TEXT, "looked": [str]}, None)},
    "compose": {
        "files": [_FILE], "env_files": [_FILE | {"values": _VALUES}],
        "services": Each({
            **{key: _NODES for key in ("command", "entrypoint", "image", "build", "env_file", "healthcheck",
                                       "networks", "restart")},
            "environment": Each(_NODES)}),
        "dotenv": (_FILE | {"values": _VALUES}, None)},
    "postgres": {"servers": [_SERVER | {
        "user": _TEXT, "sqlstate": _TEXT, "in_recovery": _TRUTH,
        "databases": (Each({"owner": _TEXT, "allow_connections": _TRUTH, "can_connect": _TRUTH}), None),
        "wanted": (Each({"exists": _TRUTH, "services": [str]}), None),
        "roles": (Each({"exists": _TRUTH, "can_login": _TRUTH, "superuser": _TRUTH, "createdb": _TRUTH}),
                  None),
        "connections": ({"max": _NUMBER, "reserved": _NUMBER, "used": _NUMBER,
                         "by_database": Each(_NUMBER)}, None),
    }]},
    "redis": {"servers": [_SERVER | {
        "role": _TEXT, "clients": _NUMBER, "nodes": _TEXTS,
        "memory": ({"used": _NUMBER, "max": _NUMBER, "policy": _TEXT}, None),
        "databases": (Each({"keys": _NUMBER}), None), "bindings": (Each([[str]]), None),
        "samples": [{"t": str, "queues": Each(_NUMBER), "unacked": _NUMBER}]}]},
    "rabbitmq": {"servers": [_SERVER | {
        "family": str, "user": _TEXT, "vhost": _TEXT, "vhosts": _TEXTS, "clients": _NUMBER, "nodes": _TEXTS,
        "management": {"status": str, "why": _TEXT, "address": _TEXT},
        "permissions": ([{"vhost": str, "configure": str, "write": str, "read": str}], None),
        "hosts": [{"name": _TEXT, "running": _TRUTH, "mem_alarm": _TRUTH, "disk_free_alarm": _TRUTH,
                   "mem_used": _NUMBER, "mem_limit": _NUMBER, "disk_free": _NUMBER,
                   "disk_free_limit": _NUMBER, "fd_used": _NUMBER, "fd_total": _NUMBER}],
        "memory": ({"used": _NUMBER, "max": _NUMBER, "policy": _TEXT}, None),
        "connections": [{"label": _TEXT, "state": _TEXT, "user": _TEXT, "vhost": _TEXT}],
        "consumers": [{"label": _TEXT, "queue": _TEXT, "address": _TEXT}], "bindings": [[str]],
        "queue_facts": Each({"type": _TEXT, "exclusive": _TRUTH, "arguments": ({}, None)}),
        "samples": [{"t": str, "queues": Each(_NUMBER), "consumers": Each(_NUMBER), "unacked": _NUMBER}]}]},
    "celery": {"brokers": [{"key": str, "status": str, "why": _TEXT, "asked": _NUMBER, "replies": (Each({
        "label": _TEXT, "ms": _NUMBER, "unanswered": _TEXTS, "stats": ({}, None),
        "active": ([{"id": _TEXT, "name": _TEXT, "time_start": _NUMBER, "worker_pid": _NUMBER}], None),
        "active_count": _NUMBER, "reserved": _NUMBER, "scheduled": _NUMBER, "active_queues": _TEXTS,
        "registered": _TEXTS,
        "conf": ({"task_default_queue": _TEXT, "timezone": _TEXT, "beat_schedule": (Each(
            {"task": _TEXT, "schedule": (float, str, None), "options": ({}, None)}), None)}, None),
    }), None)}]},
    "usage": {"running": _TRUTH, "t": _TEXT, "memory": _NUMBER, "cache": _NUMBER, "memory_limit": _NUMBER,
              "memory_percent": _NUMBER, "failed": _NUMBER, "cpu_percent": _NUMBER, "cpus_limit": _NUMBER,
              "pids": _NUMBER, "pids_limit": _NUMBER, "throttled": (Each(_NUMBER), None)},
    "results": {"servers": [{
        "key": str, "database": str, "services": [str], "purposes": _TEXTS, "exists": _TRUTH, "status": str,
        "why": _TEXT, "sqlstate": _TEXT, "tables": Each(_TRUTH), "schemas": Each([str]),
        "alembic": ({"version": [str]}, None),
        "relations": ({"visible": [str], "all": [str], "complete": _TRUTH}, None),
        "rows_estimate": _NUMBER, "time_zone": _TEXT,
        "latest": ({"done": _TEXT, "rows_last_hour": _NUMBER, "at_least": _TRUTH, "by_task": Each(
            {"done": _NUMBER, "failed": _NUMBER, "last": _TEXT}), "states": Each(_NUMBER), "clock": _TEXT,
            "sample": ({"rows": _NUMBER, "whole_table": _TRUTH, "oldest": _TEXT, "how": _TEXT}, None),
            "read_as": _TEXT, "sure": _TRUTH}, None)}]},
    "http": {"endpoints": [{
        "label": str, "owner": _TEXT, "purpose": str, "source": _TEXT, "declared": _TRUTH, "port": _NUMBER,
        "path": _TEXT, "url": _TEXT, "via": _TEXT, "unreached": _TEXT, "status": str, "why": _TEXT,
        "error_kind": _TEXT, "code": _NUMBER, "ms": _NUMBER, "content_type": _TEXT, "server": _TEXT,
        "location": _TEXT, "bytes": _NUMBER, "cut": _TRUTH, "families": _NUMBER, "names": _TEXTS}]},
}


def wrong(section: str, data: Any) -> str:
    """What is wrong with the data of a section, as a sentence; "" where nothing is, or nothing is known of
    it."""
    shape = SHAPES.get(section.partition("/")[0])
    if shape is None or data is None:
        return ""
    return _wrong(data, shape, "the data")


def _wrong(value: Any, shape: Any, where: str) -> str:
    if isinstance(shape, tuple):
        told = [_wrong(value, one, where) for one in shape]
        return "" if "" in told else told[0]
    if shape is None:
        return "" if value is None else f"{where} must be null"
    if isinstance(shape, Whole):
        missing = [key for key in shape.needed if isinstance(value, dict) and key not in value]
        return f"{where}.{missing[0]} is missing" if missing else _wrong(value, shape.shape, where)
    if isinstance(shape, (Each, dict)):
        if not isinstance(value, dict):
            return f"{where} must be an object"
        for key in value if isinstance(shape, Each) else shape.keys() & value.keys():
            inner = shape.shape if isinstance(shape, Each) else shape[key]
            if told := _wrong(value[key], inner, f"{where}.{key[:60]}"):
                return told
        return ""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} must be a list"
        for at, item in enumerate(value):
            if told := _wrong(item, shape[0], f"{where}[{at}]"):
                return told
        return ""
    if shape is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    else:
        fits = isinstance(value, shape)
    words = {str: "a text", float: "a number", bool: "true or false"}
    return "" if fits else f"{where} must be {words[shape]}"
