"""What celery and kombu in an image ask of other packages, and which Python they name: their own metadata.

The folder of the metadata bears the version in its name, and no folder can be listed from outside; so it is
read for packages whose version is known (``celery-5.7.0.dist-info/METADATA``).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from celery_triage.collect.image import PACKAGES, Image

OWNERS = ("celery", "kombu", "amqp")
#: What a stack with Redis and a database takes of the optional parts.
_EXTRAS = ("", "redis", "sqlalchemy")
_NAMES = {canonicalize_name(name) for name in PACKAGES}
_LINE = re.compile(r"^Requires-Dist: (.{1,400})$", re.MULTILINE)
_PYTHON = re.compile(r"^Classifier: Programming Language :: Python :: (\d\.\d{1,2})$", re.MULTILINE)


def requires(image: Image, packages: Mapping[str, Mapping[str, Any]], python: str | None) -> dict[str, Any]:
    """By package: ``version``, ``wants`` (specifiers by canonical name), ``pythons`` (as its classifiers name
    them); nothing for one whose metadata cannot be read."""
    found = {}
    for name in OWNERS:
        told = packages.get(name) or {}
        if not told.get("path") or not told.get("version"):
            continue
        folder = posixpath.join(posixpath.dirname(told["path"]), f"{name}-{told['version']}.dist-info")
        if text := image.text(f"{folder}/METADATA"):
            found[name] = {
                "version": told["version"],
                "wants": wanted(text, python),
                "pythons": _PYTHON.findall(text),
            }
    return found


def wanted(text: str, python: str | None) -> dict[str, str]:
    """The specifiers that metadata ask of the packages that are looked for, by canonical name."""
    found: dict[str, list[str]] = {}
    for line in _LINE.findall(text):
        try:
            asked = Requirement(line.replace("(>dev)", ""))
        except InvalidRequirement:
            continue
        name = canonicalize_name(asked.name)
        if name in _NAMES and str(asked.specifier) and _holds(asked, python):
            found.setdefault(name, []).append(str(asked.specifier))
    return {name: ",".join(dict.fromkeys(parts)) for name, parts in found.items()}


def _holds(asked: Requirement, python: str | None) -> bool:
    if asked.marker is None:
        return True
    where = {"python_version": python, "python_full_version": f"{python}.0"} if python else {}
    return any(asked.marker.evaluate({"extra": extra, "sys_platform": "linux", **where}) for extra in _EXTRAS)
