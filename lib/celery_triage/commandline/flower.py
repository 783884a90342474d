"""What Flower makes of its own options, which it reads by Tornado's parser and not by click's.

click hands every word behind ``flower`` on. Flower drops the words that name none of its options, in silence
(``-A``, a value that stands alone), and gives the rest to Tornado. There a value belongs to its option by
``=`` and by nothing else: of ``--port 5555`` only ``--port`` is left, and Flower ends with exit code 1 and
``tornado.options.Error: Option 'port' requires a value``. ``FLOWER_…`` variables are read before.

Sources: ``flower/command.py`` of 0.9.7, 1.0.0, 1.2.0, 2.0.1 and 2.2.0 (the same in all),
``tornado/options.py`` of 6.6.1; run with Flower 2.2.0 and Celery 5.7.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from celery_triage.commandline.problem import Problem

_ENV = "FLOWER_"
#: What ``strtobool`` of Flower takes in a variable; on the command line Tornado takes any word.
_TRUTHS = {"y", "yes", "t", "true", "on", "1", "n", "no", "f", "false", "off", "0"}
_READ: dict[str, Callable[[str], Any]] = {"int": int, "float": float}

Words = Sequence[tuple[int, str]]


def problems(
    words: Words, tables: Sequence[Mapping[str, Any]], env: Mapping[str, str], expands: bool
) -> list[Problem]:
    """What stops Flower in the words behind its sub-command and in its variables, in its own order.

    ``tables`` are those of the versions that the image may have: what one of them takes is no problem.
    ``expands``: a shell replaces ``$NAME`` first, so such a value is not judged."""
    found = [list(_problems(words, table["options"], env, expands)) for table in tables]
    told = [{(problem.index, problem.option) for problem in one} for one in found]
    first = found[0] if found else []
    return [one for one in first if all((one.index, one.option) in others for others in told)]


def _problems(
    words: Words, options: Mapping[str, Mapping[str, Any]], env: Mapping[str, str], expands: bool
) -> Iterator[Problem]:
    known = {name.replace("_", "-"): option for name, option in options.items()}
    for variable, value in sorted(env.items()):
        option = known.get(variable.removeprefix(_ENV).lower().replace("_", "-"))
        if variable.startswith(_ENV) and option is not None:
            if why := _refused(value, option, variable=True):
                yield Problem("flower_value", variable, why, option=variable)
    for place, (index, word) in enumerate(words):
        name, equals, value = word.lstrip("-").partition("=")
        option = known.get(name.replace("_", "-"))
        if option is None:
            continue  # Flower drops it
        if not word.startswith("-"):
            return  # Tornado stops at a bare word
        bare = word.partition("=")[0]
        if not equals and option["type"] != "bool":
            following = words[place + 1][1] if place + 1 < len(words) else ""
            meant = (f"{word}={following}",) if following and not following.startswith("-") else ()
            said = f"Option {name.replace('_', '-')!r} requires a value"
            yield Problem("flower_value", word, said, meant, index, bare)
        elif equals and not (expands and "$" in value) and (why := _refused(value, option)):
            yield Problem("flower_value", word, why, index=index, option=bare)


def _refused(value: str, option: Mapping[str, Any], *, variable: bool = False) -> str:
    """The sentence with which Flower refuses a value; empty where it takes it."""
    kind = option["type"]
    if kind == "bool" and variable and value.lower() not in _TRUTHS:
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
