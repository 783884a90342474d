"""What a health check asks, and what came of its last probes."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery_triage.checks.registry import Look
from celery_triage.checks.values import lines_of
from celery_triage.commandline import parse, unwrap
from celery_triage.lives import seconds_of
from celery_triage.model import Proof
from celery_triage.remedies import Change, locate
from celery_triage.stack import Service

_HOSTNAME = re.compile(r"\$\{HOSTNAME\}|\$HOSTNAME\b|\$\(hostname\)|`hostname`")
_NAMED = re.compile(r"\$\{(\w+)\}|\$(\w+)")
#: ``-d name`` or ``--destination=name`` as it is written; the name ends at a blank, quote or bracket.
_DESTINATION = re.compile(r"(?:\s-d[ =]?|--destination[ =])([^\s\"'|;&\],-][^\s\"'|;&\],]*)")
#: What Docker writes when it gave up on a probe (Engine 20.10, ``daemon/health.go``), with exit code -1.
TIMED_OUT = "exceeded timeout"


@dataclass(frozen=True)
class Ping:
    """A health check that sends a Celery ping. ``nodes`` are the names that it asks, as the shell of the
    container makes them (empty: it asks everybody), ``written`` the same as they stand in the check;
    ``unsure`` says why the names are not known. ``shell`` is true where a shell reads it."""

    text: str
    nodes: tuple[str, ...]
    written: tuple[str, ...]
    shell: bool
    unsure: str = ""


def ping_of(service: Service) -> Ping | None:
    """The ping of a service's health check, None where it has no check or one of another kind."""
    test = list((service.item.get("healthcheck") or {}).get("test") or ())
    shell = test[:1] == ["CMD-SHELL"]
    words = ["sh", "-c", *test[1:2]] if shell else test[1:] if test[:1] == ["CMD"] else test
    if not words:
        return None
    found = unwrap(words)
    if not found.is_celery:
        return None
    version = (service.packages.get("celery") or {}).get("version")
    launch = parse(list(found.argv or ()), version, expands=found.expands)
    ping = launch.subcommand == "inspect" and launch.options.get("command") == "ping"
    if not ping and launch.subcommand != "status":
        return None
    given = launch.options.get("destination") or ()  # a list or text, as the version's own option makes it
    written = tuple(given.split(",") if isinstance(given, str) else given)
    named = [_expanded(name, service) if shell else (name, "") for name in written]
    unsure = next((why for _, why in named if why), "")
    return Ping(" ".join(test[1:]), tuple(name for name, _ in named), written, shell, unsure)


def _expanded(name: str, service: Service) -> tuple[str, str]:
    """A name as the shell in the container makes it, and why that is not known."""
    name = _HOSTNAME.sub(service.hostname, name.strip("\"'").replace("$$", "‹pid›"))
    name = _NAMED.sub(lambda match: service.env.get(match[1] or match[2], ""), name)
    return name, f"what the shell makes of {name} is not known" if "$" in name or "`" in name else ""


def own_node(service: Service) -> str:
    """How a shell in the container of a worker writes the worker's own name, and how an exec form does;
    empty where only the running worker knows it."""
    given = str((service.launch.options.get("hostname") if service.launch else None) or "")
    given = re.sub(r"\$\{HOSTNAME\}|\$HOSTNAME\b|\$\(hostname\)|`hostname`", "%h", given)
    first, _, host = given.partition("@") if "@" in given else ("celery", "", given)
    node = f"{first or 'celery'}@{host or '%h'}".replace("%h", "$HOSTNAME").replace("%%", "%")
    rest = node.replace("$HOSTNAME", "")
    return "" if "%" in rest or "$" in rest or not service.launch else node


# --- What came of it ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probe:
    """One run of a health check: when, how long (s), how it ended."""

    start: str
    seconds: float | None
    exit_code: int | None
    output: str

    @property
    def timed_out(self) -> bool:
        return self.exit_code not in (0, 1) and TIMED_OUT in self.output


def health_of(service: Service) -> Mapping[str, Any]:
    """What Docker says of the health of a service that runs; empty without a health check."""
    return (service.latest.get("health") or {}) if service.running else {}


def probes(service: Service) -> list[Probe]:
    """The last probes of the present life (Docker keeps five), oldest first."""
    began = seconds_of(service.latest.get("started_at")) or 0.0
    found = []
    for one in health_of(service).get("log") or ():
        start, end = seconds_of(one.get("start")), seconds_of(one.get("end"))
        if start is None or start < began:
            continue
        took = None if end is None else max(0.0, end - start)
        found.append(Probe(one["start"], took, one.get("exit_code"), str(one.get("output") or "")))
    return found


def proof_of(service: Service, most: int = 3) -> list[Proof]:
    """The check and its last probes as quotations."""
    check = service.item.get("healthcheck") or {}
    found = [Proof("containers", f"{service.label}: health check: {' '.join((check.get('test') or [])[1:])}")]
    for probe in probes(service)[-most:]:
        took = "" if probe.seconds is None else f" after {probe.seconds:.1f} s"
        said = " ".join(probe.output.split())[:160]
        ended = f"{service.label}: exit code {probe.exit_code}{took}" + (f": {said}" if said else "")
        found.append(Proof("containers", ended, time=probe.start))
    return found


def status_command(service: Service) -> str:
    """The command that shows what Docker thinks of the health of a service."""
    form = "{{if .State.Health}}{{.State.Health.Status}}{{else}}no health check{{end}}"
    return shlex.join(["docker", "inspect", "-f", form, service.name])


def judged_after(service: Service) -> float:
    """Seconds of life after which a check that never passes has made the service unhealthy."""
    check = service.item.get("healthcheck") or {}
    tries = check.get("retries") or 1
    each = (check.get("interval_s") or 0.0) + (check.get("timeout_s") or 0.0)
    return math.ceil((check.get("start_period_s") or 0.0) + tries * each)


# --- How it is written --------------------------------------------------------------------------------------


def disabled(look: Look, service: Service) -> Change | None:
    """The change that takes the check of one service away, None where no single line holds it: ``test`` gives
    way to ``disable: true``, which also holds against a check of the image or of another file."""
    return tested(look, service, "disable: true")


def tested(look: Look, service: Service, new: str) -> Change | None:
    """The change that puts another line in the place of ``test``, None where no single line holds it."""
    for line in lines_of(look, service, "healthcheck", "test"):
        found = re.match(r"\s*(test:\s*(?:\[.*\]|[^\s\[{&*|>#'\"][^#]*?))\s*$", line)
        if found:
            return locate(look.data("compose"), service.item.get("service") or "", "healthcheck",
                          found[1], new)
    return None


def renamed(look: Look, service: Service, node: str) -> Change | None:
    """The change that lets the check of one service ask this node, None where it is not written in one
    place of its own."""
    lines = lines_of(look, service, "healthcheck", "test")
    hits = [match[1] for line in lines for match in _DESTINATION.finditer(line)]
    if len(hits) != 1:
        return None
    new = node.replace("$", "$$")
    return locate(look.data("compose"), service.item.get("service") or "", "healthcheck", hits[0], new)


def named(look: Look, service: Service, node: str) -> Change | None:
    """The change that adds a node to a check that asks everybody."""
    if not lines_of(look, service, "healthcheck", "test"):
        return None
    old, new = "inspect ping", f"inspect ping -d {node.replace('$', '$$')}"
    return locate(look.data("compose"), service.item.get("service") or "", "healthcheck", old, new)
