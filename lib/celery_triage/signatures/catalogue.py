"""The catalogue of signatures: ``data/signatures.yml``, checked when it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

#: Where a pattern is looked for: the sentence of a usage error; ``type: message`` of an exception; a record
#: or line of the process itself (from its first word on); a server's log record.
PLACES = ("usage", "exception", "message", "line", "postgres", "redis", "rabbitmq")
_KEYS = {
    "id",
    "code",
    "in",
    "pattern",
    "needs",
    "files",
    "says",
    "harmless",
    "seen",
    "sources",
    "object",
}
_REQUIRED = {"id", "code", "in", "pattern", "needs", "says", "sources"}
#: A group that may repeat itself and is itself repeated takes exponential time; so does ``(.*)*``.
_NESTED = re.compile(r"\([^()]*[+*][^()]*\)[+*{]")


class Invalid(ValueError):
    """A catalogue that is not one: the sentence names the entry and the line."""


@dataclass(frozen=True)
class Signature:
    """One known message. ``code`` is the rule's whose witness it is; ``places`` where it is looked for;
    ``needs`` a text that every match contains (looked for first, for speed); ``files``: the last frame of
    the traceback must be in such a file (empty where the traceback is cut off); ``says``: what it means,
    one sentence; ``harmless``: why it is harmless, empty where it is not; ``seen``: the versions on which
    it was recorded; ``sources`` for the rest. ``object``: a fixed object where the pattern has no group of
    that name."""

    id: str
    code: str
    places: tuple[str, ...]
    pattern: re.Pattern[str]
    needs: str
    says: str
    sources: tuple[str, ...]
    files: re.Pattern[str] | None = None
    harmless: str = ""
    seen: tuple[str, ...] = ()
    object: str = ""


@cache
def catalogue() -> tuple[Signature, ...]:
    """The signatures that come with the tool, in the order of the file: the first that matches counts."""
    return load(files("celery_triage").joinpath("data", "signatures.yml").read_text(encoding="utf-8"))


def load(text: str) -> tuple[Signature, ...]:
    """The signatures of a catalogue's text. Raises Invalid."""
    try:
        root = yaml.compose(
            text, Loader=yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader
        )
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid(f"no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, list) or root is None:
        raise Invalid("a catalogue is a list of signatures")
    found = []
    for node, entry in zip(root.value, data, strict=True):
        found.append(_signature(entry, node.start_mark.line + 1))
    names = [signature.id for signature in found]
    for name in names:
        if names.count(name) > 1:
            raise Invalid(f"two signatures are called {name}")
    return tuple(found)


def _signature(entry: Any, line: int) -> Signature:
    if not isinstance(entry, Mapping):
        raise Invalid(f"line {line}: a signature is a mapping")
    name = f"line {line}, signature {entry.get('id', '(without id)')}"
    if missing := _REQUIRED - set(entry):
        raise Invalid(f"{name}: {', '.join(sorted(missing))} missing")
    if unknown := set(entry) - _KEYS:
        raise Invalid(f"{name}: {', '.join(sorted(map(str, unknown)))} unknown")
    places = tuple([entry["in"]] if isinstance(entry["in"], str) else entry["in"])
    if not places or any(place not in PLACES for place in places):
        raise Invalid(f"{name}: in is {', '.join(map(str, places))}, not of {', '.join(PLACES)}")
    if not re.fullmatch(r"[A-Z]{3}\d{3}", str(entry["code"])):
        raise Invalid(f"{name}: code {entry['code']!r}")
    return Signature(
        str(entry["id"]),
        str(entry["code"]),
        places,
        _pattern(name, str(entry["pattern"])),
        str(entry["needs"]),
        " ".join(str(entry["says"]).split()),
        tuple(map(str, entry["sources"])),
        _pattern(name, str(entry["files"])) if "files" in entry else None,
        " ".join(str(entry.get("harmless", "")).split()),
        tuple(map(str, entry.get("seen", ()))),
        str(entry.get("object", "")),
    )


def _pattern(name: str, text: str) -> re.Pattern[str]:
    if _NESTED.search(text):
        raise Invalid(f"{name}: a repeated group that repeats itself can take for ever: {text}")
    try:
        return re.compile(text)
    except re.error as error:
        raise Invalid(f"{name}: {error} in {text}") from None
