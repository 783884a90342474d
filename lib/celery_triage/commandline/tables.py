"""The option tables: for each minor version of Celery and Flower the commands and options that it declares.

``tables.json`` is written by ``extract.py`` from the released packages; nothing in it is written by hand.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Choice:
    """The table to read a command line by. ``how`` is a sentence how it was chosen. ``exact``: it is the
    table of that very minor version. ``judges``: what it refuses is refused by that version too, as far as
    is known; the table of 5.0 says nothing about Celery 4, whose command line took other words in another
    order."""

    minor: str
    how: str
    exact: bool
    judges: bool = True


def choose(version: str | None, package: str = "celery") -> Choice:
    """The table of that minor version; for a later one the newest; for no version the newest; for an older
    one the oldest, by which nothing is judged."""
    known = versions(package)
    name = package.capitalize()
    wanted = minor(version) if version is not None else None
    if wanted is None:
        why = "the version in the image is not known" if version is None else f"{version!r} is no version"
        return Choice(known[-1], f"judged as {name} {known[-1]}, the newest known: {why}", False)
    if wanted in known:
        return Choice(wanted, f"judged by the options of {name} {wanted} ({version})", True)
    if _key(wanted) < _key(known[0]):
        return Choice(known[0], f"not judged: there is no table of {name} {wanted}", False, False)
    older = [candidate for candidate in known if _key(candidate) < _key(wanted)]
    return Choice(older[-1], f"judged as {name} {older[-1]}: there is no table of {name} {wanted}", False)


def table(minor_version: str, package: str = "celery") -> dict[str, Any]:
    """The table of a minor version that ``versions`` names. Raises KeyError for others."""
    return _all()[package][minor_version]
