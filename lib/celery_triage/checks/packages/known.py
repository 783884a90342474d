"""What fits what: by the metadata of the packages in an image, and by ``data/fits.yml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version


@dataclass(frozen=True)
class Misfit:
    """``owner`` in its version wants ``name`` as ``wants`` says, and the image has ``there``."""

    owner: str
    version: str
    name: str
    wants: str
    there: str


@cache
def table() -> Mapping[str, Any]:
    """``data/fits.yml``."""
    return yaml.safe_load(files("celery_triage").joinpath("data", "fits.yml").read_text(encoding="utf-8"))


def misfits(seen: Mapping[str, Any]) -> list[Misfit]:
    """What the metadata of the packages in an image forbid of the other packages there."""
    there = {
        canonicalize_name(name): told.get("version") for name, told in (seen.get("packages") or {}).items()
    }
    found = []
    for owner, told in (seen.get("requires") or {}).items():
        for name, wants in told["wants"].items():
            try:
                if there.get(name) and not SpecifierSet(wants).contains(
                    Version(there[name]), prereleases=True
                ):
                    found.append(Misfit(owner, told["version"], name, wants, there[name]))
            except (InvalidSpecifier, InvalidVersion):
                continue
    return found


def unknown_python(seen: Mapping[str, Any]) -> bool:
    """Whether the Python of an image is newer than all that the Celery in it names, or older."""
    named = ((seen.get("requires") or {}).get("celery") or {}).get("pythons") or ()
    known = [number(text) for text in named if text.startswith("3.")]
    return bool(known and seen.get("python")) and not min(known) <= number(seen["python"]) <= max(known)


def number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
