"""The option tables: for each minor version of Celery and Flower the commands and options that it declares.

``tables.json`` is written by ``extract.py`` from the released packages; nothing in it is written by hand.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def _all() -> dict[str, Any]:
    return json.loads(files(__package__).joinpath("tables.json").read_text(encoding="utf-8"))


def _key(minor_version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in minor_version.split("."))


def versions(package: str = "celery") -> tuple[str, ...]:
    """The minor versions (``"5.7"``) that there are tables for, oldest first."""
    return tuple(sorted(_all()[package], key=_key))


def minor(version: str) -> str | None:
    """``"5.7"`` for ``"5.7.0rc1"``; None where the text does not begin with two numbers."""
    found = re.match(r"\s*v?(\d{1,4})\.(\d{1,4})", version)
    return f"{int(found[1])}.{int(found[2])}" if found else None


def choose(version: str | None, package: str = "celery") -> tuple[str, str]:
    """The table to judge by and a sentence how it was chosen.

    The table of that minor version; for a version that has none the nearest older one (the nearest newer one
    below the oldest); for no version the newest.
    """
    known = versions(package)
    name = package.capitalize()
    if version is None:
        return known[
            -1
        ], f"judged as {name} {known[-1]}, the newest known: the version in the image is not known"
    wanted = minor(version)
    if wanted is None:
        return known[-1], f"judged as {name} {known[-1]}, the newest known: {version!r} is no version"
    if wanted in known:
        return wanted, f"judged by the options of {name} {wanted} ({version})"
    older = [candidate for candidate in known if _key(candidate) < _key(wanted)]
    chosen = older[-1] if older else known[0]
    return chosen, f"judged as {name} {chosen}: there is no table of {name} {wanted}"


def table(minor_version: str, package: str = "celery") -> dict[str, Any]:
    """The table of a minor version that ``versions`` names. Raises KeyError for others."""
    return _all()[package][minor_version]
