"""What the Compose files say of a service, as far as they can be read from here. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.lives import seconds_of

Node = Mapping[str, Any]


class Files:
    """The data of the section ``compose`` and that of ``containers``, as one project."""

    def __init__(self, compose: Mapping[str, Any] | None, containers: Mapping[str, Any] | None) -> None:
        self._compose, self._containers = compose or {}, containers or {}
        self.files: Sequence[Mapping[str, Any]] = self._compose.get("files") or ()
        self.services: Mapping[str, Mapping[str, Any]] = self._compose.get("services") or {}

    @property
    def readable(self) -> bool:
        """Whether every file was read that may say something of a service."""
        return bool(self.files) and all(file.get("readable", True) for file in self.files)

    def values(self, item: Mapping[str, Any]) -> dict[str, str] | None:
        """The variables of ``.env``; None where Compose was told to take another file."""
        named = (item.get("labels") or {}).get("com.docker.compose.project.environment_file") or ""
        dotenv = self._compose.get("dotenv") or {}
        if named and (len(named.split(",")) > 1 or posixpath.normpath(named) != dotenv.get("path")):
            return None
        return {name: str(told.get("value") or "") for name, told in (dotenv.get("values") or {}).items()}

    @property
    def dotenv(self) -> Mapping[str, Any]:
        """The file ``.env``; empty where there is none."""
        return self._compose.get("dotenv") or {}

    def last(self, service: str, key: str) -> Node | None:
        """The node that counts: an override wins over the base file."""
        nodes = (self.services.get(service) or {}).get(key) or ()
        return nodes[-1] if nodes else None

    def layers(self, service: str, key: str) -> Sequence[Node]:
        return (self.services.get(service) or {}).get(key) or ()

    def variables(self, service: str) -> dict[str, Node]:
        """The variables that ``environment`` sets, each with the node that counts."""
        found = (self.services.get(service) or {}).get("environment") or {}
        return {name: nodes[-1] for name, nodes in found.items() if nodes}

    def file(self, node: Node) -> Mapping[str, Any]:
        index = node.get("file")
        return self.files[index] if isinstance(index, int) and 0 <= index < len(self.files) else {}

    def env_files(self, service: str) -> Iterator[Mapping[str, Any]]:
        """The env files of a service in the order in which later ones win; those that were read."""
        known = {file["path"]: file for file in self._compose.get("env_files") or ()}
        folder = self._containers.get("working_dir") or ""
        for node in self.layers(service, "env_file"):
            told = node.get("value")
            for one in told if isinstance(told, list) else [told]:
                path = one.get("path") if isinstance(one, Mapping) else one
                beside = posixpath.dirname(self.file(node).get("path") or "")
                for place in (folder, beside):
                    found = known.get(posixpath.normpath(posixpath.join(place, str(path))))
                    if found and found.get("readable"):
                        yield found
                        break

    def where(self, node: Node) -> str:
        """``docker-compose.yml, line 12``."""
        return f"{posixpath.basename(self.file(node).get('path') or 'the file')}, line {node.get('line')}"


def later(file: Mapping[str, Any], moment: str | None) -> bool:
    """Whether a file was changed after a moment. Files tell whole seconds."""
    changed, then = seconds_of(file.get("modified")), seconds_of(moment)
    return changed is not None and then is not None and changed > then


def seconds(text: Any) -> float | None:
    """A duration of a Compose file (``1m30s``, ``500ms``) in seconds; None for what is none."""
    parts = re.findall(r"([0-9.]+)(us|ms|s|m|h)", str(text))
    if not parts or "".join(number + unit for number, unit in parts) != str(text):
        return None
    return sum(float(n) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[unit] for n, unit in parts)
