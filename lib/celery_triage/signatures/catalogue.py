"""The catalogue of signatures: ``data/signatures.yml`` and the families in ``data/signatures/``, checked when
they are read. Their patterns run in RE2, whose time is linear in the text whatever the pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import re2
import yaml

#: Where a pattern is looked for: the sentence of a usage error; ``type: message`` of an exception; a record
#: or line of the process itself (from its first word on); anywhere in what Celery says of itself; a server's
#: log record.
PLACES = ("usage", "exception", "message", "line", "own", "postgres", "redis", "rabbitmq")
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
    "do",
    "general",
    "special",
}
_REQUIRED = {"id", "code", "in", "pattern", "needs", "says", "sources"}
#: Of a file of signatures that somebody hands in (characters, entries, characters of one pattern).
LONGEST, MOST, LONGEST_PATTERN = 1 << 20, 2000, 2000


class Invalid(ValueError):
    """A catalogue that is not one: the sentence names the entry and the line."""


@dataclass(frozen=True)
class Signature:
    """One known message. ``code`` is the rule's whose witness it is; ``places`` where it is looked for;
    ``needs`` a text that every match contains (looked for first, for speed); ``files``: the last frame of
    the traceback must be in such a file (empty where the traceback is cut off); ``says``: what it means,
    one sentence; ``harmless``: why it is harmless, empty where it is not; ``seen``: the versions on which
    it was recorded; ``sources`` for the rest. ``object``: a fixed object where the pattern has no group of
    that name. ``do``: what to do about it, where the rule's page does not say it closely enough. ``general``:
    it catches what no other one knows, so it comes last; ``special``: it knows better than another, so it
    comes first."""

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
    do: str = ""
    general: bool = False
    special: bool = False


@cache
def catalogue() -> tuple[Signature, ...]:
    """The signatures that come with the tool, in order: the first that matches counts."""
    data = files("celery_triage").joinpath("data")
    families = sorted(data.joinpath("signatures").iterdir(), key=lambda file: file.name)
    texts = [data.joinpath("signatures.yml").read_text(encoding="utf-8")]
    texts += [file.read_text(encoding="utf-8") for file in families if file.name.endswith(".yml")]
    return in_order(one for text in texts for one in load(text))


def in_order(signatures: Iterable[Signature]) -> tuple[Signature, ...]:
    """The same signatures, the special ones first, the general ones last."""
    return tuple(sorted(signatures, key=lambda signature: signature.general - signature.special))


def load(text: str) -> tuple[Signature, ...]:
    """The signatures of a catalogue's text. Raises Invalid."""
    if len(text) > LONGEST:
        raise Invalid(f"longer than {LONGEST} characters")
    try:
        root = yaml.compose(
            text, Loader=yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader
        )
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark else ""
        raise Invalid(f"{place}no YAML: {' '.join(str(error.problem or error.context).split())}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Invalid(f"no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, list) or root is None:
        raise Invalid("a catalogue is a list of signatures")
    if len(data) > MOST:
        raise Invalid(f"more than {MOST} signatures")
    found = []
    for node, entry in zip(root.value, data, strict=True):
        found.append(_signature(entry, node.start_mark.line + 1))
    lines: dict[str, int] = {}
    for signature, node in zip(found, root.value, strict=True):
        line = node.start_mark.line + 1
        if signature.id in lines:
            raise Invalid(
                f"line {line}: two signatures are called {signature.id}, the first in line "
                f"{lines[signature.id]}"
            )
        lines[signature.id] = line
    return tuple(found)


def _signature(entry: Any, line: int) -> Signature:
    if not isinstance(entry, Mapping):
        raise Invalid(f"line {line}: a signature is a mapping")
    name = f"line {line}, signature {entry.get('id', '(without id)')}"
    if missing := _REQUIRED - set(entry):
        raise Invalid(f"{name}: {', '.join(sorted(missing))} missing")
    if unknown := set(entry) - _KEYS:
        raise Invalid(f"{name}: {', '.join(sorted(map(str, unknown)))} unknown")
    for key, value in entry.items():
        wanted = (
            bool
            if key in ("general", "special")
            else (str, list)
            if key in ("in", "sources", "seen")
            else str
        )
        if not isinstance(value, wanted) or (
            isinstance(value, list) and not all(isinstance(item, str) for item in value)
        ):
            raise Invalid(f"{name}: {key} is no {'truth value' if wanted is bool else 'text'}")
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
        _texts(entry["sources"]),
        _pattern(name, str(entry["files"])) if "files" in entry else None,
        " ".join(str(entry.get("harmless", "")).split()),
        _texts(entry.get("seen", [])),
        str(entry.get("object", "")),
        " ".join(str(entry.get("do", "")).split()),
        entry.get("general", False),
        entry.get("special", False),
    )


def _texts(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _pattern(name: str, text: str) -> re.Pattern[str]:
    if len(text) > LONGEST_PATTERN:
        raise Invalid(f"{name}: a pattern of more than {LONGEST_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        told = error.args[0] if error.args else error
        why = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        raise Invalid(f"{name}: {why} in {text}") from None
