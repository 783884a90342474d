"""The sections that the engine itself answers: `engine`, `containers` (two samples), `networks`, `events`.

Three sources. `discover` finds the target and its neighbours and takes the first sample; everything else is
asked of what it found. `second_sample` looks again a second later: between two lives an engine resets exit
code and out-of-memory mark, so one look can miss both. `events` reads the ring of the last 256 events.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from celery_triage.collect import containers, images, target
from celery_triage.collect.docker import Engine, EngineError, Forbidden, NotFound
from celery_triage.collect.probe import Emit, Source, now
from celery_triage.model import Section
from celery_triage.redact import Redactor, clean
from celery_triage.stack import Stack

#: Seconds between the two samples.
BETWEEN_S = 1.2
#: The engine keeps so many events, of all kinds, and forgets older ones (20.10: `daemon/events/events.go`).
RING = 256
#: More containers than this are not looked at closely when neighbours are sought.
LOOKED_AT = 80
_ACTIONS = ("start", "die", "oom", "kill", "stop", "destroy", "create")
HOW = "Docker Engine API"

Connect = Callable[[Emit], Engine]


@dataclass(frozen=True)
class Found:
    """What `discover` found: the unmasked data of the section `containers`, when its sample was taken, how
    far the engine's clock is ahead of this one, and the version of the API to speak."""

    data: dict[str, Any]
    at: float
    skew_s: float = 0.0
    api: str = "1.41"


def discover(options: Mapping[str, Any], redactor: Redactor, connect: Connect = Engine) -> Source:
    """The source of `engine`, `networks` and the first `containers`. Its values: those of `Found`
    (unmasked); `no_target` with a sentence when it is not clear what is meant."""

    def run(emit: Emit) -> None:
        engine = connect(emit)
        version = engine.settle_version()
        info = engine.ask("/info")
        skew = _skew(info)
        emit.section(Section("engine", "ok", redactor.data(_engine(version, info, skew)), how=HOW))
        listed = [entry for entry in engine.ask("/containers/json", all=1) if isinstance(entry, dict)]
        wanted = (options.get("project"), options.get("containers") or (), options.get("networks") or ())
        try:
            project, members = _choose(engine, listed, wanted)
        except target.NoTarget as error:
            emit.value("no_target", clean(str(error)))
            return
        items, at = _look(engine, listed, members, skew)
        data = _about(project, items)
        containers.learn(redactor, items)
        emit.value("found", {"data": data, "at": at, "skew_s": skew, "api": engine.api})
        emit.section(_section(data, redactor, "the second sample is missing"))
        emit.section(_networks(engine, items, redactor))

    return Source("engine", ("engine", "containers", "networks"), run, deadline_s=15)


def second_sample(found: Found, redactor: Redactor, connect: Connect = Engine) -> Source:
    """The source of the whole section `containers`: the first sample as found, the second as it is then."""

    def run(emit: Emit) -> None:
        engine = connect(emit)
        time.sleep(max(0.0, found.at + BETWEEN_S - time.time()))
        gone, unseen = [], []
        items = [{**entry, "samples": list(entry["samples"])} for entry in found.data["items"]]
        for entry in items:
            if entry.get("vanished"):
                gone.append(entry["label"])
                continue
            try:
                inspected = engine.ask(f"/containers/{entry['id']}/json")
            except NotFound:
                entry["vanished"] = True
                gone.append(entry["label"])
                continue
            except EngineError as error:
                unseen.append(f"{entry['label']} ({error})")
                continue
            entry["samples"].append(containers.sample(inspected, _time(found.skew_s)))
            fresh = containers.item(inspected, label=entry["label"], member=entry["member"])["networks"]
            # A restarting container has an address only now and then.
            for network, told in entry["networks"].items():
                told["ip"] = told["ip"] or (fresh.get(network) or {}).get("ip")
        why = [f"vanished while being looked at: {', '.join(gone)}"] if gone else []
        why += [f"no second sample of {', '.join(unseen)}"] if unseen else []
        emit.section(_section({**found.data, "items": items}, redactor, "; ".join(why)))

    return Source("containers", ("containers",), run, deadline_s=12)


def events(found: Found, redactor: Redactor, since: str | None = None, connect: Connect = Engine) -> Source:
    """The source of `events`: those of the target and its neighbours, oldest first.

    Asked until one second from now, for `until=now` cuts off the last second; the engine answers when it is
    over.
    """
    by_id = {entry["id"]: entry for entry in found.data["items"]}

    def run(emit: Emit) -> None:
        engine = connect(emit)
        until = time.time() + found.skew_s + 1.0
        with engine.opened("GET", "/events", since="0", until=f"{until:.9f}") as response:
            raw = b"".join(response.iter_content(2**16))
        read = [event for event in map(_event, raw.splitlines()) if event]
        before = sum(1 for event in read if event["at"] <= until - 1.0)
        items = []
        for event in read:
            entry = by_id.get(event["id"][:12])
            if event["type"] == "container" and entry and (shown := _shown(event, entry)):
                items.append(shown)
        if since:
            items = [one for one in items if one["t"] >= since]
        items.sort(key=lambda one: one["t"])
        data = {"since": _iso(read[0]["at"]) if read else _iso(until), "until": _iso(until),
                "full": before >= RING, "items": redactor.data(items)}
        emit.section(Section("events", "ok", data, how=f"{HOW}, its ring of {RING} events"))

    return Source("events", ("events",), run, deadline_s=8)


def _choose(engine: Engine, listed: list[dict], wanted: tuple) -> tuple[str | None, list[dict]]:
    """The target; environments are read only when no command line speaks of Celery and nothing was named."""
    try:
        return target.choose(listed, *wanted)
    except target.NoTarget:
        if any(wanted):
            raise
        celery_env = _celery_env(engine, listed)
        if not celery_env:
            raise
        return target.choose(listed, *wanted, celery_env)


def _section(data: Mapping[str, Any], redactor: Redactor, why: str) -> Section:
    masked = {**redactor.data({key: value for key, value in data.items() if key != "items"}),
              "items": [containers.masked(entry, redactor) for entry in data["items"]]}
    return Section("containers", "partial" if why else "ok", masked, why=why, how=HOW)


def _engine(version: Mapping[str, Any], info: Mapping[str, Any], skew: float) -> dict[str, Any]:
    return {
        "version": version.get("Version"), "api_version": version.get("ApiVersion"), "os": info.get("OSType"),
        "arch": info.get("Architecture"), "kernel": info.get("KernelVersion"),
        "cgroup_version": info.get("CgroupVersion"), "time": info.get("SystemTime"),
        "memory": info.get("MemTotal"), "cpus": info.get("NCPU"),
        "containers_running": info.get("ContainersRunning"), "clock_skew_s": skew,
    }


def _look(engine: Engine, listed: list[dict], members: list[dict], skew: float) -> tuple[list[dict], float]:
    """The items of the members and of their neighbours, each with one sample, and when the first was
    taken."""
    at = time.time()
    labels = target.member_labels(members)
    items = [_item(engine, entry, labels[str(entry.get("Id"))], True, skew) for entry in members]
    others: dict[str, dict] = {}  # by id, which is their label as long as it is not clear who they are

    def look_at(entries: list[dict]) -> Stack:
        for entry in entries[:LOOKED_AT]:
            identity = str(entry.get("Id"))
            if identity not in labels and identity not in others:
                others[identity] = _item(engine, entry, identity, False, skew)
        return Stack({"items": [*items, *others.values()]})

    stack = look_at(target.candidates(listed, members))
    stack = look_at(target.by_name_or_port(listed, stack))
    chosen = target.neighbours(stack)
    taken = set(labels.values())
    for entry in listed:
        other = others.get(str(entry.get("Id")))
        if other and other["label"] in chosen:
            other["label"] = target.neighbour_label(entry, taken)
            taken.add(other["label"])
            items.append(other)
    images.tell(engine, items)
    return items, at


def _item(engine: Engine, listed: Mapping, label: str, member: bool, skew: float) -> dict[str, Any]:
    try:
        inspected = engine.ask(f"/containers/{str(listed.get('Id'))[:64]}/json")
    except NotFound:
        return containers.vanished(listed, label=label, member=member)
    entry = containers.item(inspected, label=label, member=member)
    entry["samples"].append(containers.sample(inspected, _time(skew)))
    return entry


def _about(project: str | None, items: list[dict]) -> dict[str, Any]:
    """Where the Compose project of the target lives, as its containers' labels say."""
    labels = next((entry["labels"] for entry in items if entry["member"] and entry["project"]), {})
    folder = labels.get("com.docker.compose.project.working_dir") or None
    written = [path for path in labels.get("com.docker.compose.project.config_files", "").split(",") if path]
    base = (folder or "").rstrip("/")
    files = [path if path.startswith("/") or not base else f"{base}/{path}" for path in written]
    return {"project": project, "config_files": files, "working_dir": folder, "items": items}


def _celery_env(engine: Engine, listed: list[dict]) -> list[str]:
    """Ids of containers whose environment speaks of Celery; asked only when no command line does."""
    found = []
    for entry in listed[:LOOKED_AT]:
        try:
            inspected = engine.ask(f"/containers/{str(entry.get('Id'))[:64]}/json")
        except (NotFound, EngineError):
            continue
        env = containers.item(inspected, label="", member=False)["env"]
        if any("CELERY" in name.upper() for name in env):
            found.append(str(entry.get("Id")))
    return found


def _networks(engine: Engine, items: list[dict], redactor: Redactor) -> Section:
    """The networks of the target and its neighbours, with the members that run now."""
    found, missing = [], []
    for name in sorted({name for entry in items for name in entry["networks"]}):
        try:
            told = engine.ask(f"/networks/{quote(name)}")
        except (NotFound, EngineError, Forbidden) as error:
            missing.append(f"{name} ({error})")
            continue
        members = {str(member.get("Name")): str(member.get("IPv4Address") or "").partition("/")[0]
                   for member in (told.get("Containers") or {}).values() if isinstance(member, dict)}
        found.append({"name": name, "driver": told.get("Driver"), "internal": bool(told.get("Internal")),
                      "members": members})
    why = f"not readable: {', '.join(missing)}" if missing else ""
    return Section("networks", "partial" if why else "ok", redactor.data({"items": found}), why=why, how=HOW)


def _event(line: bytes) -> dict[str, Any] | None:
    """One event: type, action, id, time in seconds, attributes; None when it is none."""
    try:
        told = json.loads(line)
        actor = told.get("Actor") or {}
        return {"type": told["Type"], "action": str(told["Action"]), "id": str(actor.get("ID") or ""),
                "at": told["timeNano"] / 1e9, "nano": int(told["timeNano"]),
                "attributes": actor.get("Attributes") or {}}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _shown(event: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any] | None:
    action, _, rest = event["action"].partition(":")
    if action not in (*_ACTIONS, "health_status"):
        return None
    attributes = event["attributes"]
    code, signal = attributes.get("exitCode"), attributes.get("signal")
    seconds, nano = divmod(event["nano"], 10**9)
    stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {
        "t": f"{stamp}.{nano:09d}Z", "container": entry["name"], "label": entry["label"], "action": action,
        "exit_code": int(code) if action == "die" and str(code).lstrip("-").isdigit() else None,
        "signal": str(signal) if action in ("kill", "die") and signal else None,
        "health": rest.strip() or None if action == "health_status" else None,
    }


def _skew(info: Mapping[str, Any]) -> float:
    """Seconds that the engine's clock is ahead of this one; 0 below two seconds, which is the call's own
    time."""
    try:
        theirs = datetime.fromisoformat(str(info.get("SystemTime"))[:26].rstrip("Z") + "+00:00")
    except ValueError:
        return 0.0
    skew = (theirs - datetime.now(UTC)).total_seconds()
    return round(skew, 1) if abs(skew) >= 2 else 0.0


def _time(skew: float) -> str:
    """Now, by the engine's clock, which all its other times are of."""
    if not skew:
        return now()
    moment = datetime.now(UTC) + timedelta(seconds=skew)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
