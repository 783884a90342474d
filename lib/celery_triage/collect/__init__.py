"""Collecting: from a live stack to evidence, masked, within a bounded time.

`collect(options)` gives an `Evidence`, or raises `CannotCollect` with one sentence: `NoEngine`,
`NotPermitted`, `NoTarget`. Everything else that goes wrong is told in the status of the section that it
concerns.

The engine is asked first, for it says who there is to ask; then all others at the same time, each source in a
child of its own (`probe`).
"""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from celery_triage.collect import (
    broker,
    celery,
    compose,
    containers,
    docker,
    engine,
    files,
    http,
    logs,
    postgres,
    rabbitmq,
    usage,
)
from celery_triage.collect.probe import Emit, Probed, Source, now, run_sources, single_threaded
from celery_triage.model import Evidence, Section, plain
from celery_triage.redact import Redactor, clean
from celery_triage.stack import Stack

#: Seconds that the engine gets to say who there is, and seconds that are left for everything behind the
#: probes.
FIRST_S = 15.0
#: Bytes of all logs together.
LOGS = 32 * 2**20
_DURATION = re.compile(r"([0-9]{1,6})\s*([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class CannotCollect(Exception):
    """There is no evidence at all; the text is one sentence why."""


class NoEngine(CannotCollect):
    """No Docker Engine answers."""


class NotPermitted(CannotCollect):
    """There is an engine, and this user may not ask it."""


class NoTarget(CannotCollect):
    """It is not clear which containers are meant; the text lists what there is."""


@dataclass(frozen=True)
class CollectOptions:
    """What to look at and how. `since`: ISO time or ``90s``, ``30m``, ``2h``, ``1d`` ago; logs and events
    before that are left out. `broker_url_env` and `db_url_env` name a variable in the containers'
    environment. `only` are the names of sections, or what stands before the slash (``logs``); None: all.
    The engine and the containers are always looked at. `deadline_s` bounds the probes; the whole takes at
    most 15 s more."""

    project: str | None = None
    containers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    since: str | None = None
    broker_url_env: str | None = None
    db_url_env: str | None = None
    no_broadcast: bool = False
    no_login: bool = False
    reach_external: bool = False
    deadline_s: float = 38.0
    only: frozenset[str] | None = None

    def wants(self, section: str) -> bool:
        """Whether that section is to be collected."""
        if self.only is None:
            return True
        head = section.partition("/")[0]
        return bool({section, head, f"{head}/*"} & self.only)


def collect(options: CollectOptions | None = None, redactor: Redactor | None = None) -> Evidence:
    """The evidence of a live stack. `redactor` learns its secrets, for the search before publishing.

    Where this process has several threads (a notebook's kernel), a process of its own collects: probes fork.
    ValueError for options that cannot be meant.
    """
    options, redactor = options or CollectOptions(), redactor or Redactor()
    options = replace(options, since=_since(options.since))
    if not single_threaded():
        return _elsewhere(options, redactor)
    return _collect(options, redactor)


def _collect(options: CollectOptions, redactor: Redactor) -> Evidence:
    began, taken_at = time.monotonic(), now()
    asked = _asked(options)
    probed = run_sources([engine.discover(asked, redactor)], mask=redactor.text,
                         limit_s=min(FIRST_S, options.deadline_s))
    told = probed.values["engine"]
    if "no_target" in told:
        raise NoTarget(told["no_target"])
    if "found" not in told:
        _give_up(probed.sections["engine"], probed.sections["containers"])
        return _evidence(options, probed, redactor, taken_at, None)
    found = engine.Found(**told["found"])
    containers.learn(redactor, found.data["items"])
    first = probed.sections["containers"]

    def left() -> float:
        return max(1.0, options.deadline_s - (time.monotonic() - began))

    def connect(emit: Emit) -> docker.Engine:
        return docker.Engine(emit, api=found.api)

    stack = Stack(found.data, options=asked)
    # Where the broker stands in the code, only the banner in the log names it: then the logs come first.
    in_code = [service.label for service in stack.members
               if service.is_celery and service.url("broker") is None]
    asks_broker = any(options.wants(name) for name in ("redis", "rabbitmq", "celery"))
    log_sources = _log_sources(options, found, redactor, connect, in_code if asks_broker else ())
    if in_code and log_sources:
        probed.add(run_sources(log_sources.values(), mask=redactor.text, limit_s=left() / 2))
        lines = {label: probed.sections[f"logs/{label}"].data["lines"] for label in log_sources
                 if probed.sections[f"logs/{label}"].readable}
        stack, log_sources = Stack(found.data, options=asked, logs=lines), {}
    probed.add(run_sources(_sources(options, asked, found, stack, redactor, connect, log_sources),
                           mask=redactor.text, limit_s=left()))
    if not probed.sections["containers"].readable:
        missing = probed.sections["containers"]
        probed.sections["containers"] = replace(first, why=f"the second sample is missing: {missing.why}")
    learnt = probed.values.get("compose", {}).get("learnt")
    if learnt:
        redactor.adopt(learnt)
    return _evidence(options, probed, redactor, taken_at, found.data)


def _sources(
    options: CollectOptions, asked: Mapping[str, Any], found: engine.Found, stack: Stack, redactor: Redactor,
    connect: Callable[[Emit], docker.Engine], log_sources: Mapping[str, Source],
) -> list[Source]:
    """All sources of the second round, those first that have to wait for something."""
    sources = [engine.second_sample(found, redactor, connect)]
    if options.wants("celery"):
        sources.append(celery.source(stack, asked, redactor))
    if options.wants("redis"):
        sources.append(broker.source(stack, asked, redactor))
    if options.wants("rabbitmq"):
        sources.append(rabbitmq.source(stack, asked, redactor))
    if options.wants("events"):
        sources.append(engine.events(found, redactor, options.since, connect))
    if measured := [item for item in found.data["items"] if options.wants(f"usage/{item['label']}")]:
        sources.append(usage.source(measured, redactor, connect))
    if options.wants("postgres") or options.wants("results"):
        with_results = options.wants("results")
        sources.append(postgres.source(stack, asked, redactor, with_results=with_results))
    if options.wants("http"):
        sources.append(http.source(stack, asked, redactor))
    if options.wants("compose"):
        sources.append(compose.source(found.data, asked, redactor))
    looked_into = []
    for service in stack.members:
        if (service.is_celery or service.role == "app") and not service.item.get("vanished"):
            if options.wants(f"files/{service.label}"):
                looked_into.append(service)
    return sources + files.sources(looked_into, asked, redactor, connect) + list(log_sources.values())


def _log_sources(
    options: CollectOptions, found: engine.Found, redactor: Redactor,
    connect: Callable[[Emit], docker.Engine], needed: Collection[str],
) -> dict[str, Source]:
    items = [entry for entry in found.data["items"] if not entry.get("vanished")
             and (entry["label"] in needed or options.wants(f"logs/{entry['label']}"))]
    size = min(logs.BYTES, LOGS // max(1, len(items)))
    asked = _asked(options)
    return {entry["label"]: logs.source(entry, asked, redactor, connect, size) for entry in items}


def _give_up(asked: Section, members: Section) -> None:
    """Raise where the engine could not be asked at all; one that answers later questions too late is
    evidence."""
    if "denied" in (asked.status, members.status):
        raise NotPermitted(asked.why or members.why)
    if not asked.readable:
        raise NoEngine(asked.why)


def _evidence(
    options: CollectOptions, probed: Probed, redactor: Redactor, taken_at: str,
    data: Mapping[str, Any] | None,
) -> Evidence:
    """The evidence, after a last look for secrets that were learnt while other sections were on their way."""
    sections = {}
    for name, section in probed.sections.items():
        try:
            sections[name] = replace(section, data=redactor.data_known(section.data),
                                     why=redactor.replace_known(section.why))
        except Exception:
            sections[name] = Section(name, "withheld", why="masking failed", taken_at=section.taken_at)
    calls = tuple(redactor.replace_known(clean(line)) for line in probed.calls)
    return Evidence(
        target=_target(options, data), taken_at=taken_at, sections=dict(sorted(sections.items())),
        calls=calls, tool=_versions(), options=redactor.data(_asked(options)))


def _target(options: CollectOptions, data: Mapping[str, Any] | None) -> str:
    if data and data["project"]:
        return data["project"]
    return options.project or ", ".join((*options.containers, *options.networks)) or "unknown"


def _asked(options: CollectOptions) -> dict[str, Any]:
    """The options as plain data, as the sources and the evidence have them."""
    told = asdict(options)
    told.pop("only"), told.pop("deadline_s")
    return plain(told)


def _versions() -> dict[str, str]:
    """Versions of this tool and of what it asks with."""
    found = {"python": platform.python_version()}
    for name in ("celery-triage", "docker", "psycopg", "redis", "amqp", "celery", "kombu", "PyYAML"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _since(text: str | None) -> str | None:
    """ISO 8601 in UTC from an ISO time or a duration. ValueError."""
    if not text:
        return None
    moment = datetime.now(UTC)
    if found := _DURATION.fullmatch(text.strip()):
        moment -= timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    else:
        try:
            moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        except ValueError:
            raise ValueError(f"{text!r} is no time: write 30m, 2h, 1d or 2026-11-23T14:15:03Z") from None
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _elsewhere(options: CollectOptions, redactor: Redactor) -> Evidence:
    """The same in a fresh interpreter with one thread; secrets come back through a pipe, never by a file."""
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
    process = subprocess.Popen(
        [sys.executable, "-m", "celery_triage.collect"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path}, start_new_session=True)
    request = json.dumps({"options": plain(asdict(options)), "redactor": redactor.export()})
    try:
        answer, _ = process.communicate(request.encode(), timeout=options.deadline_s + 12)
    except subprocess.TimeoutExpired:
        raise CannotCollect("collecting did not come to its end") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    try:
        told = json.loads(answer)
    except ValueError:
        raise CannotCollect("the collecting process ended without an answer") from None
    if "error" in told:
        raise _ERRORS.get(told["error"], CannotCollect)(told["why"])
    redactor.adopt(told["redactor"])
    sections = {name: Section(**section) for name, section in told["evidence"].pop("sections").items()}
    return Evidence(**{**told["evidence"], "sections": sections, "calls": tuple(told["evidence"]["calls"])})


_ERRORS = {kind.__name__: kind for kind in (NoEngine, NotPermitted, NoTarget)}

__all__ = ["CannotCollect", "CollectOptions", "NoEngine", "NoTarget", "NotPermitted", "collect"]
