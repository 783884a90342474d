"""Texts of Compose files with their variables: what they come to, and what they can come to at all.

Syntax as the Compose Specification gives it ("Interpolation"): ``$NAME``, ``${NAME}``, ``${NAME:-other}``,
``${NAME-other}``, ``${NAME:?message}``, ``${NAME:+other}``, ``$$``. A variable may come from the shell that
called Compose, which nobody can look up afterwards: so a text is held against a value in two ways, with the
values that are known, and with any values at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<braced>[A-Za-z_]\w*)(?P<rest>:?[-?+](?:[^{}]|\{[^{}]*\})*)?\}"
    r"|(?P<bare>[A-Za-z_]\w*))"
)
#: What stands for a secret in masked evidence (see ``redact``).
TOKEN = re.compile(r"\*\*\*[0-9a-f]{6}")


#: Stands for a variable in a text whose variables may hold anything.
HOLE = "\ue000"


def known(text: str, values: Mapping[str, str] | None) -> str | None:
    """The text with the values that are known; None where one is not. ``values`` are those of ``.env``; None
    where it is not known which file it was."""
    parts, end = [], 0
    for match in _VARIABLE.finditer(text):
        value = "$" if match["dollar"] else _value(match, values)
        if value is None:
            return None
        parts += [text[end : match.start()], value]
        end = match.end()
    return "".join((*parts, text[end:]))


def holed(text: str) -> str:
    """The text with a hole for each variable."""
    return _VARIABLE.sub(lambda match: "$" if match["dollar"] else HOLE, text)


def names(text: str) -> set[str]:
    """The variables of a text, without those in the defaults of others."""
    return {found for match in _VARIABLE.finditer(text) if (found := match["braced"] or match["bare"])}


def pattern(text: str) -> str:
    """A pattern for a text with holes; a masked secret is one, too."""
    return ".*".join(re.escape(part) for part in re.split(f"{HOLE}|{TOKEN.pattern}", text))


def fits(text: str, values: Mapping[str, str] | None, actual: str) -> str:
    """``same``, ``different`` (no value of any variable makes them equal) or ``unsure``."""
    if known(text, values) == actual:
        return "same"
    return "unsure" if re.fullmatch(pattern(holed(text)), actual, re.DOTALL) else "different"


def _value(match: re.Match, values: Mapping[str, str] | None) -> str | None:
    """What a variable comes to where the shell does not set it; None where that is not known."""
    if values is None:
        return None
    name, rest = match["braced"] or match["bare"], match["rest"] or ""
    held = values.get(name)
    colon, rest = rest.startswith(":"), rest.lstrip(":")
    there = bool(held) if colon else held is not None
    kind, other = rest[:1], rest[1:]
    if kind == "-" and not there:
        return known(other, values)
    if kind == "+":
        return known(other, values) if there else ""
    return held if held is not None else None if kind == "?" else ""
