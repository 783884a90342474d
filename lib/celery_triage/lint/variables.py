"""Variables in Compose files, replaced as Compose replaces them.

``$NAME``, ``${NAME}``, ``${NAME:-default}``, ``${NAME-default}``, ``${NAME:?error}``, ``${NAME?error}``,
``${NAME:+other}``, ``${NAME+other}``, nested, and ``$$`` for one dollar sign (Compose specification,
"Interpolation").

A variable that nothing readable sets is *not known*: whoever starts the stack may have it in the
environment. It stays in the text as a marker, and what holds a marker is never judged by its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from celery_triage.collect.compose import Unreadable as _NoEnvFile
from celery_triage.collect.compose import assignments_of
from celery_triage.lint.reading import Unreadable, text_of

#: Stands around the name of a variable whose value is not known. Private-use characters: no file has them.
OPEN, CLOSE = "\ue000", "\ue001"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
_DEEPEST = 10
#: Largest env file, in bytes.
_ENV_SIZE = 2**20


@dataclass
class Variables:
    """What Compose puts in for variables. ``known``: the names that could be read; ``asked`` collects the
    names that stand in the files and are not known, ``required`` those without which Compose starts nothing;
    ``refused`` the errors (``${X:?…}``, bad syntax), each
    with the text that it stands in."""

    known: Mapping[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def put_in(self, text: str, depth: int = 0) -> str:
        """The text with its variables replaced. What is no valid reference stays, and is noted in
        ``refused``."""
        if "$" not in text:
            return text
        out: list[str] = []
        place = 0
        while place < len(text):
            if text[place] != "$":
                next_dollar = text.find("$", place)
                next_dollar = len(text) if next_dollar < 0 else next_dollar
                out.append(text[place:next_dollar])
                place = next_dollar
            elif text.startswith("$$", place):
                out.append("$")
                place += 2
            elif text.startswith("${", place):
                end = _closing(text, place + 1)
                if end < 0:
                    self.refused.append((text, "a ${ is never closed"))
                    return "".join(out) + text[place:]
                out.append(self._reference(text[place + 2 : end], text[place : end + 1], depth))
                place = end + 1
            elif found := _NAME.match(text, place + 1):
                out.append(self._value(found[0]))
                place = found.end()
            else:
                out.append("$")  # Compose 2.26 leaves it as it stands
                place += 1
        return "".join(out)

    def _value(self, name: str) -> str:
        if name in self.known:
            return self.known[name]
        self.asked.add(name)
        return f"{OPEN}{name}{CLOSE}"

    def _reference(self, body: str, whole: str, depth: int) -> str:
        found = _NAME.match(body)
        if not found or depth > _DEEPEST:
            self.refused.append((whole, f"{whole} is no reference that Compose knows"))
            return whole
        name, rest = found[0], body[found.end() :]
        if not rest:
            return self._value(name)
        operator = next((one for one in _OPERATORS if rest.startswith(one)), None)
        if operator is None:
            self.refused.append((whole, f"{whole} is no reference that Compose knows"))
            return whole
        word = self.put_in(rest[len(operator) :], depth + 1)
        given = self.known.get(name)
        filled = given is not None and (given != "" or not operator.startswith(":"))
        if operator.endswith("-"):
            # Without the variable the default is what Compose takes; the environment may still say otherwise.
            return given if filled and given is not None else word
        if operator.endswith("+"):
            if given is None:
                return f"{OPEN}{name}{CLOSE}"  # the environment may have it
            return word if filled else ""
        if not filled:
            self.asked.add(name)
            self.required.add(name)
            return f"{OPEN}{name}{CLOSE}"
        return given or ""


def _closing(text: str, opening: int) -> int:
    """The place of the brace that closes the one at ``opening``; -1 where there is none."""
    depth = 0
    for place in range(opening, len(text)):
        if text[place] == "{" and (place == opening or text[place - 1] == "$"):
            depth += 1
        elif text[place] == "}":
            depth -= 1
            if depth == 0:
                return place
    return -1


def unknown(text: str | None) -> bool:
    """Whether a text holds a variable whose value is not known."""
    return bool(text) and OPEN in text


def written(text: str) -> str:
    """The text for people: unknown variables as ``${NAME}``."""
    return text.replace(OPEN, "${").replace(CLOSE, "}")


def env_file(path: str) -> dict[str, str]:
    """The variables of an env file, in order, later ones winning. ``Missing``, ``Unreadable``."""
    text = text_of(path, _ENV_SIZE)
    try:
        read = assignments_of(text)
    except _NoEnvFile as error:
        raise Unreadable(str(error)) from None
    values: dict[str, str] = {}
    lines = text.split("\n")
    for one in read:
        value = one.value
        if "$" in value and not lines[one.line].rstrip().endswith("'"):
            value = Variables(values).put_in(value)
        values[one.name] = value
    return values
