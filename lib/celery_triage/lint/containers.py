"""Compose services in the shape of the section ``containers``: what ``docker inspect`` would say of them.

So the same ``Stack`` (roles, URLs, who reaches whom) judges a file and a running stack. A variable whose
value is not known stands in these texts as ``${NAME}``; ``Known`` says which values are certain.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from celery_triage.commandline import composewords
from celery_triage.lint import variables
from celery_triage.lint.dockerfile import Dockerfile, dockerfile_of
from celery_triage.lint.merging import named, names
from celery_triage.lint.ports import ports
from celery_triage.lint.project import Project
from celery_triage.lint.reading import Missing, Node, Unreadable

_SIZE = re.compile(r"([\d.]+)\s*([kmgt]?)i?b?", re.I)
_DURATION = re.compile(r"([\d.]+)(h|ms|us|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass
class Known:
    """What is known of one service beside its container. ``env_at``: where each variable stands (env files:
    their own name); ``env_sure``: variables whose value no environment can change; ``env_missing``: why
    further variables may be set; ``node``: the merged service; ``count``: how many containers of it run;
    ``dropped``: what Compose leaves out of a command that is one text; ``unsplit``: the key whose text it
    refuses, with the reason."""

    node: Node
    env_at: dict[str, Node] = field(default_factory=dict)
    env_sure: set[str] = field(default_factory=set)
    env_missing: str = ""
    docker: Dockerfile | None = None
    profiles: frozenset[str] = frozenset()
    count: int = 1
    dropped: str = ""
    unsplit: tuple[str, str] = ("", "")


def containers(project: Project) -> tuple[dict[str, Any], dict[str, Known]]:
    """(the data of a ``containers`` section, what is known of each service by label)."""
    told: dict[str, Known] = {}
    links: dict[str, set[str]] = {}
    for node in project.services.values():
        for link in (node.get("links") or Node(None, "", 0)).items():
            other, _, alias = (link.text or "").partition(":")
            links.setdefault(other, set()).add(alias or other)
    items = []
    for name, node in project.services.items():
        known = told[name] = Known(node)
        items.append(_item(project, name, node, known, links.get(name, set())))
    data = {
        "project": project.name or None,
        "working_dir": project.folder,
        "config_files": [],
        "items": items,
    }
    return data, told


def _item(project: Project, name: str, node: Node, known: Known, aliases: set[str]) -> dict[str, Any]:
    known.docker = dockerfile_of(project, node)
    known.profiles = frozenset(filter(None, map(project.text, (node.get("profiles") or _none()).items())))
    known.count = _count(project, node)
    identity = hashlib.sha256(name.encode()).hexdigest()[:12]
    entrypoint, cmd = (_words(project, node, known, key) for key in ("entrypoint", "command"))
    if known.docker is not None:
        cmd = known.docker.cmd if cmd is None and entrypoint is None else cmd
        entrypoint = known.docker.entrypoint if entrypoint is None else entrypoint
    mode = project.written(node.get("network_mode"))
    return {
        "label": name,
        "name": project.written(node.get("container_name")) or f"{project.name or 'project'}-{name}-1",
        "id": identity,
        "service": name,
        "project": project.name or None,
        "number": 1,
        "member": True,
        "image": project.written(node.get("image")),
        "image_id": "",
        "entrypoint": entrypoint or [],
        "cmd": cmd or [],
        "env": _environment(project, node, known),
        "working_dir": project.written(node.get("working_dir")),
        "user": project.written(node.get("user")),
        "hostname": project.written(node.get("hostname")) or identity,
        "labels": {},
        "restart_policy": {"name": _restart(project, node), "max": 0},
        "limits": _limits(project, node),
        "healthcheck": _healthcheck(project, node.get("healthcheck")),
        "ports": ports(project, node),
        "network_mode": f"container:{mode[8:]}" if mode.startswith("service:") else mode,
        "extra_hosts": [f"{host}:{project.written(at)}" for host, at in _hosts(node).items()],
        "networks": _networks(project, name, node, mode, aliases),
        "mounts": [],
        "samples": [{"status": "running"}],
    }


def _none() -> Node:
    return Node(None, "", 0)


def _words(project: Project, service: Node, known: Known, key: str) -> list[str] | None:
    """A command: a list as it stands, a text split as Compose splits it (no shell). None where it is not
    set."""
    node = service.get(key)
    if node is None or node.value is None:
        return None
    if isinstance(node.value, list):
        return [project.written(item) for item in node.value]
    text = project.written(node)
    try:
        words, rest = composewords.split(text)
    except composewords.Refused as error:
        known.unsplit = (key, str(error))
        return None
    known.dropped = known.dropped or rest
    return words


def _hosts(node: Node) -> dict[str, Node]:
    told = node.get("extra_hosts")
    if told is None or isinstance(told.value, dict):
        return named(told)
    found = {}
    for item in told.items():
        host, _, address = re.sub(r"=", ":", item.text or "", count=1).partition(":")
        found[host.strip()] = Node(address, item.file, item.line)
    return found


def _environment(project: Project, node: Node, known: Known) -> dict[str, str]:
    env: dict[str, str] = dict(known.docker.env) if known.docker else {}
    for item in (node.get("env_file") or _none()).items():
        at = (item.get("path") or _none()) if isinstance(item.value, dict) else item
        path = project.text(at)
        if not path:
            continue
        if variables.unknown(path):
            known.env_missing = f"the env file {variables.written(path)} is not known"
            continue
        folder = project.folder if at.file in project.paths else os.path.dirname(at.file)
        try:
            values = variables.env_file(os.path.normpath(os.path.join(folder or ".", path)))
        except Missing:
            known.env_missing = f"the env file {path} is not here"
            continue
        except Unreadable as error:
            known.env_missing = f"the env file {path} could not be read: {error}"
            continue
        for name, value in values.items():
            env[name] = variables.written(value)
            known.env_at[name] = at
            (known.env_sure.discard if variables.unknown(value) else known.env_sure.add)(name)
    for name, at in named(node.get("environment")).items():
        name = variables.written(project.variables.put_in(name))
        known.env_at[name] = at
        known.env_sure.discard(name)
        if at.text is None and at.value is None:
            if name in project.variables.known:
                env[name] = project.variables.known[name]
            else:
                env.setdefault(name, f"${{{name}}}")
            continue
        env[name] = project.written(at)
        if "$" not in (at.text or "").replace("$$", ""):
            known.env_sure.add(name)
    return env


def _count(project: Project, node: Node) -> int:
    for at in (node.get("deploy", "replicas"), node.get("scale")):
        text = project.written(at)
        if text.isdigit():
            return min(int(text), 10_000)
    return 1


def _restart(project: Project, node: Node) -> str:
    if node.get("deploy", "restart_policy") is not None:
        return project.written(node.get("deploy", "restart_policy", "condition")) or "any"
    return project.written(node.get("restart")).partition(":")[0] or "no"


def size(text: str) -> int:
    """``512M`` in bytes; 0 where it is no size."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        return 0
    try:
        return int(float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " "))
    except ValueError:
        return 0


def seconds(text: str) -> float | None:
    """``1m30s`` in seconds; None where it is no length of time."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    try:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    except ValueError:
        return None


def _limits(project: Project, node: Node) -> dict[str, Any]:
    memory = project.written(node.get("deploy", "resources", "limits", "memory") or node.get("mem_limit"))
    cpus = project.written(node.get("deploy", "resources", "limits", "cpus") or node.get("cpus"))
    try:
        processors = float(cpus)
    except ValueError:
        processors = 0.0
    return {"memory": size(memory), "cpus": processors}


def _healthcheck(project: Project, node: Node | None) -> dict[str, Any] | None:
    if node is None or project.written(node.get("disable")).lower() == "true":
        return None
    test = node.get("test")
    if test is None:
        return None
    words = [project.written(item) for item in test.items()]
    if isinstance(test.value, str):
        words = ["CMD-SHELL", *words]
    if not words or words[0] == "NONE":
        return None
    retries = project.written(node.get("retries"))
    return {
        "test": words,
        "interval_s": seconds(project.written(node.get("interval"))) or 30.0,
        "timeout_s": seconds(project.written(node.get("timeout"))) or 30.0,
        "start_period_s": seconds(project.written(node.get("start_period"))) or 0.0,
        "retries": int(retries) if retries.isdigit() else 3,
    }


def _networks(
    project: Project, name: str, node: Node, mode: str, links: set[str]
) -> Mapping[str, dict[str, Any]]:
    if mode in ("host", "none", "bridge"):
        return {mode: {"aliases": [], "ip": None}}
    if mode:
        return {}
    told = names(node.get("networks")) or {"default": _none()}
    result = {}
    for network, at in told.items():
        network = variables.written(project.variables.put_in(network))
        given = [project.written(alias) for alias in (at.get("aliases") or _none()).items()]
        address = project.written(at.get("ipv4_address")) or None
        result[network] = {"aliases": [name, *given, *sorted(links)], "ip": address}
    return result
