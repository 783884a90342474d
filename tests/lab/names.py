"""What things are called in a lab: as in its Compose files, or all otherwise, by ``compose/renamed.yml``.

A fault with ``renamed: true`` is written with the usual names; they are replaced in what it says, in the
Compose files, in the application's source and in what the oracle asks. So the same fault can be had twice,
once on a stack of which no name can be known beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).resolve().parent / "compose" / "renamed.yml"

#: Services whose names are also those of programs, packages or schemes: replaced only where they are a key of
#: a Compose file, a host in a URL, or the end of a container's name.
_HOST = r"(?<=[@/]){}(?=:\d)|(?<=ai_infra_){}\b|(?<=ai_backend_){}\b|(?m:(?<=^  ){}(?=:\s*$))"
#: Keys of a fault under which a service's name stands for something else: packages, what a finding is about.
_NO_SERVICE = {"object", "title", "image"}


@dataclass(frozen=True)
class Names:
    """New names by old ones; without any, everything is called as it always was."""

    services: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def service(self, name: str) -> str:
        return self.services.get(name, name)

    def text(self, text: str) -> str:
        """A text of the lab, such as a Compose file or a command, with the new names."""
        if not self.services:
            return text
        for old, new in self.services.items():
            pattern = _HOST.replace("{}", re.escape(old)) if "_" not in old else re.escape(old)
            text = re.sub(pattern, new, text)
        for old in sorted(self.words, key=len, reverse=True):
            text = text.replace(old, self.words[old])
        return text

    def path(self, path: Path) -> Path:
        """A path of the application's source."""
        return Path(*(self.files.get(part, part) for part in path.parts))

    def fault(self, said: Any, key: str = "") -> Any:
        """What a fault says, with the new names: services where they stand for themselves, words anywhere."""
        if not self.services:
            return said
        if isinstance(said, Mapping):
            return {
                self._key(name, key): self.fault(value, name if key != "image" else "package")
                for name, value in said.items()
            }
        if isinstance(said, list):
            return [self.fault(item, key) for item in said]
        if not isinstance(said, str) or key in ("title", "package"):
            return said
        if key == "object" and set(said.split(",")) <= {"redis", "postgres"}:
            return ",".join(map(self.service, said.split(",")))
        return self.service(said) if said in self.services and key not in _NO_SERVICE else self.text(said)

    def _key(self, name: str, inside: str) -> str:
        if inside == "package" or (inside == "image" and "_" not in name):
            return name
        return self.service(name) if name in self.services else self.text(name)


USUAL = Names()


def renamed() -> Names:
    """All names of ``compose/renamed.yml``."""
    return Names(**yaml.safe_load(FILE.read_text(encoding="utf-8")))
