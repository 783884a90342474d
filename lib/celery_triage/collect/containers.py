"""What `GET /containers/{id}/json` tells of one container, in the shape of the evidence, and its masking.

Shapes as Docker Engine 20.10 sends them (API 1.41); `DNSNames` came with 1.44.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from celery_triage.redact import Redactor
from celery_triage.stack import Stack, url_problems
from celery_triage.urls import parse

_COMPOSE = "com.docker.compose."
#: Variables whose values name something public: users, databases, hosts, queues.
PUBLIC_NAME = re.compile(
    r"(?:^|_)(?:USER|USERNAME|DB|DATABASE|DBNAME|HOST|HOSTNAME|SERVER|QUEUE|VHOST|APP)(?:_NAME)?$")
_DEFAULT_HEALTH = {"Interval": 30.0, "Timeout": 30.0, "StartPeriod": 0.0}  # Docker's own, in seconds


def item(inspected: Mapping[str, Any], *, label: str, member: bool) -> dict[str, Any]:
    """One container, unmasked. Values of unexpected types become empty ones; nothing raises."""
    config, host = _dict(inspected.get("Config")), _dict(inspected.get("HostConfig"))
    labels = {key: str(value) for key, value in _dict(config.get("Labels")).items()
              if key.startswith(_COMPOSE)}
    name = str(inspected.get("Name") or "").lstrip("/")
    identity = str(inspected.get("Id") or "")[:12]
    restart = _dict(host.get("RestartPolicy"))
    return {
        "label": label, "name": name, "id": identity,
        "service": labels.get(_COMPOSE + "service"), "project": labels.get(_COMPOSE + "project"),
        "number": _int(labels.get(_COMPOSE + "container-number")), "member": member,
        "image": str(config.get("Image") or ""), "image_id": str(inspected.get("Image") or ""),
        "created": str(inspected.get("Created") or ""),
        "entrypoint": _words(config.get("Entrypoint")), "cmd": _words(config.get("Cmd")),
        "env": _env(config.get("Env")),
        "working_dir": str(config.get("WorkingDir") or ""), "user": str(config.get("User") or ""),
        "hostname": str(config.get("Hostname") or ""), "tty": bool(config.get("Tty")),
        "labels": labels,
        "restart_policy": {"name": str(restart.get("Name") or "no"),
                           "max": _int(restart.get("MaximumRetryCount")) or 0},
        "log_driver": str(_dict(host.get("LogConfig")).get("Type") or ""),
        "limits": {"memory": _int(host.get("Memory")) or 0, "cpus": _cpus(host)},
        "read_only": bool(host.get("ReadonlyRootfs")), "tmpfs": sorted(_dict(host.get("Tmpfs"))),
        "healthcheck": _healthcheck(config.get("Healthcheck")),
        "ports": _ports(inspected, config, host),
        "network_mode": _network_mode(host), "extra_hosts": _words(host.get("ExtraHosts")),
        "networks": _networks(inspected, name, identity),
        "mounts": [
            {"type": str(mount.get("Type") or ""),
             "source": str(mount.get("Source") or mount.get("Name") or ""),
             "target": str(mount.get("Destination") or ""), "rw": bool(mount.get("RW"))}
            for mount in inspected.get("Mounts") or () if isinstance(mount, dict)
        ],
        "samples": [],
    }


def sample(inspected: Mapping[str, Any], time: str) -> dict[str, Any]:
    """The state of a container at one moment."""
    state = _dict(inspected.get("State"))
    health = _dict(state.get("Health"))
    return {
        "t": time, "status": str(state.get("Status") or ""), "exit_code": _int(state.get("ExitCode")),
        "oom_killed": bool(state.get("OOMKilled")), "error": str(state.get("Error") or ""),
        "pid": _int(state.get("Pid")) or 0,
        "started_at": str(state.get("StartedAt") or ""),
        "finished_at": str(state.get("FinishedAt") or ""),
        "restart_count": _int(inspected.get("RestartCount")) or 0,
        "health": None if not health or health.get("Status") == "none" else {
            "status": str(health.get("Status") or ""),
            "failing_streak": _int(health.get("FailingStreak")) or 0,
            "log": [
                {"start": str(probe.get("Start") or ""), "end": str(probe.get("End") or ""),
                 "exit_code": _int(probe.get("ExitCode")), "output": str(probe.get("Output") or "")}
                for probe in health.get("Log") or () if isinstance(probe, dict)
            ],
        },
    }


def vanished(listed: Mapping[str, Any], *, label: str, member: bool) -> dict[str, Any]:
    """A container that was gone between the list and the look at it: only what the list had said."""
    names = listed.get("Names") or [""]
    known = {"Id": listed.get("Id"), "Name": names[0], "Config": {
        "Image": listed.get("Image"), "Labels": listed.get("Labels"),
        "Cmd": [str(listed.get("Command") or "")]}}
    return {**item(known, label=label, member=member), "vanished": True}


def learn(redactor: Redactor, items: Iterable[Mapping[str, Any]]) -> None:
    """Teach the redactor the secrets of these unmasked containers, and their public words."""
    items = list(items)
    for entry in items:
        redactor.publish((entry["label"], entry["name"], entry["service"], entry["project"], entry["image"],
                          entry["working_dir"], entry["user"], entry["hostname"], *entry["networks"]))
        redactor.publish(value for name, value in entry["env"].items() if PUBLIC_NAME.search(name.upper()))
        redactor.learn_env(entry["env"])
        redactor.learn_argv([*entry["entrypoint"], *entry["cmd"]])
        if entry["healthcheck"]:
            redactor.learn_argv(entry["healthcheck"]["test"])
    for service in Stack({"items": items}):
        for url in service.urls:
            publish_url(redactor, url.text)
        redactor.publish(service.queues)
        redactor.publish((service.app_module,))


def publish_url(redactor: Redactor, text: str) -> None:
    """User, hosts and database of a URL are public, whatever its password is."""
    parsed = parse(text)
    redactor.publish((parsed.user, parsed.host, parsed.database, *(host for host, _ in parsed.hosts)))


def masked(entry: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """The container as it may leave: everything cleaned and masked, problems of its URLs told beforehand."""
    words = redactor.argv([*entry["entrypoint"], *entry["cmd"]])
    cut = len(entry["entrypoint"])
    rest = {key: value for key, value in entry.items()
            if key not in ("entrypoint", "cmd", "env", "healthcheck", "samples")}
    health = entry["healthcheck"]
    return {
        **redactor.data(rest),
        "entrypoint": words[:cut], "cmd": words[cut:], "env": redactor.env(entry["env"]),
        "healthcheck": health and {**health, "test": redactor.argv(health["test"])},
        "samples": [_masked_sample(one, redactor) for one in entry["samples"]],
        "url_problems": redactor.data(url_problems(entry)),
    }


def _masked_sample(one: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    health = one["health"]
    if health:
        log = [{**probe, "output": redactor.text(probe["output"], 2000)} for probe in health["log"]]
        health = {**health, "log": redactor.data(log)}
    return {**redactor.data({key: value for key, value in one.items() if key != "health"}), "health": health}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _int(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(word) for word in value] if isinstance(value, list) else []


def _env(value: Any) -> dict[str, str]:
    pairs = (word.partition("=") for word in _words(value))
    return {name: text for name, _, text in pairs if name}


def _cpus(host: Mapping[str, Any]) -> float:
    nano, quota, period = (_int(host.get(key)) or 0 for key in ("NanoCpus", "CpuQuota", "CpuPeriod"))
    if nano:
        return nano / 1e9
    return quota / (period or 100_000) if quota > 0 else 0.0  # Docker's default period is 100 ms


def _healthcheck(value: Any) -> dict[str, Any] | None:
    told = _dict(value)
    test = _words(told.get("Test"))
    if not test or test == ["NONE"]:
        return None
    seconds = {key: (_int(told.get(key)) or 0) / 1e9 or default for key, default in _DEFAULT_HEALTH.items()}
    return {"test": test, "interval_s": seconds["Interval"], "timeout_s": seconds["Timeout"],
            "retries": _int(told.get("Retries")) or 3, "start_period_s": seconds["StartPeriod"]}


def _ports(
    inspected: Mapping[str, Any], config: Mapping[str, Any], host: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Exposed and published ports. A container that does not run has only those that it is configured
    with."""
    live = _dict(_dict(inspected.get("NetworkSettings")).get("Ports"))
    merged = {**dict.fromkeys(_dict(config.get("ExposedPorts"))), **_dict(host.get("PortBindings")), **live}
    found = []
    for spec, bindings in sorted(merged.items()):
        number, _, proto = str(spec).partition("/")
        if _int(number) is None:
            continue
        places = [f"{bound.get('HostIp') or '0.0.0.0'}:{bound.get('HostPort')}"
                  for bound in bindings or () if isinstance(bound, dict) and bound.get("HostPort")]
        for place in places or [None]:
            found.append({"container": int(number), "proto": proto or "tcp", "host": place})
    return sorted(found, key=lambda port: (port["container"], port["proto"], port["host"] or ""))


def _network_mode(host: Mapping[str, Any]) -> str:
    mode = str(host.get("NetworkMode") or "")
    return "" if re.fullmatch(r"[0-9a-f]{64}", mode) else mode


def _networks(inspected: Mapping[str, Any], name: str, identity: str) -> dict[str, Any]:
    found = {}
    for network, told in _dict(_dict(inspected.get("NetworkSettings")).get("Networks")).items():
        told = _dict(told)
        names = [*_words(told.get("Aliases")), *_words(told.get("DNSNames")), name, identity]
        found[network] = {"ip": str(told.get("IPAddress") or told.get("GlobalIPv6Address") or "") or None,
                          "aliases": list(dict.fromkeys(alias for alias in names if alias))}
    return found
