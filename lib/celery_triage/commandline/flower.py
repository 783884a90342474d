"""What Flower makes of its own options, which it reads by Tornado's parser and not by click's.

click hands every word behind ``flower`` on. Flower drops the words that name none of its options, in silence
(``-A``, a value that stands alone, a misspelt ``--prot``), and gives the rest to Tornado. There a value
belongs to its option by ``=`` and by nothing else: of ``--port 5555`` only ``--port`` is left, and Flower
ends with exit code 1 and ``tornado.options.Error: Option 'port' requires a value``. ``FLOWER_…`` variables
are read before. What a version looks at itself stands in its table under ``refuses`` (``describe.py``).

Recorded under 0.9.7, 1.0.0, 1.1.0, 1.2.0, 2.0.1, 2.1.0 and 2.2.0 (``tests/unit/data/commandline``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from celery_triage.commandline.problem import Problem

_ENV = "FLOWER_"
#: What ``strtobool`` of Flower 2 takes in a variable (1.2 and older take any word there); on the command line
#: Tornado takes any word.
_TRUTHS = {"y", "yes", "t", "true", "on", "1", "n", "no", "f", "false", "off", "0"}
_READ: dict[str, Callable[[str], Any]] = {"int": int, "float": float}

Words = Sequence[tuple[int, str]]


def problems(
    words: Words, tables: Sequence[Mapping[str, Any]], env: Mapping[str, str], expands: bool
) -> list[Problem]:
    """What stops Flower in the words behind its sub-command and in its variables, in its own order.

    ``tables`` are those of the versions that the image may have: what one of them takes is no problem.
    ``expands``: a shell replaces ``$NAME`` first, so such a value is not judged."""
    found = [list(_problems(words, table, env, expands)) for table in tables]
    told = [{(problem.index, problem.option) for problem in one} for one in found]
    first = found[0] if found else []
    return [one for one in first if all((one.index, one.option) in others for others in told)]


def _problems(
    words: Words, table: Mapping[str, Any], env: Mapping[str, str], expands: bool
) -> Iterator[Problem]:
    known, refuses = table["options"], table["refuses"]
    last: dict[str, Problem] = {}  # what is refused only when all words and variables have been read
    for variable, value in sorted(env.items()):
        name = variable.removeprefix(_ENV).lower().replace("_", "-")
        option = known.get(name)
        if variable.startswith(_ENV) and option is not None:
            if why := _refused(value, option, truth="truth" in refuses):
                yield Problem("flower_value", variable, why, option=variable)
            elif why := _meaningless(name, value, refuses):
                last[name] = Problem("flower_value", variable, why, option=variable)
    for place, (index, word) in enumerate(words):
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("_", "-")
        option = known.get(name)
        if option is None:
            continue  # Flower drops it
        if not word.startswith("-"):
            break  # Tornado stops at a bare word
        bare = word.partition("=")[0]
        if not equals and option["type"] != "bool":
            following = words[place + 1][1] if place + 1 < len(words) else ""
            meant = (f"{word}={following}",) if following and not following.startswith("-") else ()
            said = f"Option {name!r} requires a value"
            yield Problem("flower_value", word, said, meant, index, bare)
        elif equals and not (expands and "$" in value):
            last.pop(name, None)  # the line overrules the variable
            if why := _refused(value, option):
                yield Problem("flower_value", word, why, index=index, option=bare)
            elif why := _meaningless(name, value, refuses):
                last[name] = Problem("flower_value", word, why, index=index, option=bare)
    yield from last.values()


def _meaningless(name: str, value: str, refuses: Sequence[str]) -> str:
    """The sentence with which Flower itself refuses a value that Tornado took."""
    if name not in refuses or not value:
        return ""
    said = f"Invalid '--{name}' option: "
    if name == "auth":
        stars = value.count("*") > 1 or ("*" in value and "|" in value) or "*" in value.rsplit("@", 1)[-1]
        return said + value if stars else ""
    if name == "broker-api":
        try:
            url = urlsplit(value)
        except ValueError as error:
            return f"{said}{error}"
        if url.scheme not in ("http", "https"):
            return f"{said}invalid scheme {url.scheme!r}, expected 'http' or 'https'"
        return "" if url.netloc else f"{said}no host in url"
    return ""


def _refused(value: str, option: Mapping[str, Any], *, truth: bool = False) -> str:
    """The sentence with which Flower refuses a value; empty where it takes it. ``truth``: the value must be a
    truth value for a bool."""
    kind = option["type"]
    if kind == "bool" and truth and value.lower() not in _TRUTHS:
        return f"invalid truth value {value!r}"
    read = _READ.get(kind)
    if read is None:
        return ""
    for part in value.split(",") if option.get("multiple") else [value]:
        try:
            read(part)
        except ValueError as error:
            return str(error)
    return ""
