"""What a project was meant to be, read from its original Compose file: the measure of the oracle."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tests.lab.names import USUAL, Names


@dataclass(frozen=True)
class Original:
    """What the project was meant to be: services, their ports and paths over HTTP, consumers by queue."""

    services: tuple[str, ...]
    ports: Mapping[str, tuple[tuple[int, str], ...]]
    queues: Mapping[str, tuple[str, ...]]
    scheduler: bool
    stopped: tuple[str, ...] = ()  # services that must be there and need not run
    health: Mapping[str, bool] = field(default_factory=dict)  # whose health must be told true: has a check?

    @classmethod
    def read(
        cls, compose_file: Path, stopped: tuple[str, ...] = (), gone: tuple[str, ...] = (),
        health: tuple[str, ...] = (), names: Names = USUAL,
    ) -> Original:
        """Reads the project's original Compose file; the labels of what runs are never asked.

        Of the services in ``stopped`` nothing is expected but that their containers are there; of those in
        ``gone`` nothing at all. The health checks of those in ``health`` must tell the truth.
        ``names`` are those of the running lab.
        """
        original = names.text(compose_file.read_text(encoding="utf-8"))
        services: dict[str, Any] = yaml.safe_load(original)["services"]
        ports: dict[str, tuple[tuple[int, str], ...]] = {}
        queues: dict[str, tuple[str, ...]] = {}
        scheduler = False
        for name, service in services.items():
            if name in stopped or name in gone:
                continue
            path = "/metrics" if "PROMETHEUS_PORT" in (service.get("environment") or {}) else "/"
            if service.get("expose"):
                ports[name] = tuple((int(port), path) for port in service["expose"])
            command = service.get("command") or []
            words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
            for queue in _queues(words):
                queues[queue] = (*queues.get(queue, ()), name)
            scheduler = scheduler or "beat" in words
        run = tuple(name for name in services if name not in stopped and name not in gone)
        checked = {name: "healthcheck" in services[name] for name in health}
        return cls(run, ports, queues, scheduler, tuple(stopped), checked)


def _queues(words: list[str]) -> list[str]:
    for index, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in ("--queues", "-Q"):
            return (value if equals else "".join(words[index + 1:index + 2])).split(",")
    return []
