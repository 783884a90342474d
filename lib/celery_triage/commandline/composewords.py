"""Split a ``command`` or ``entrypoint`` that is one text as Compose v2 splits it.

Compose starts no shell, and its splitter knows quotes and backslashes, and stops at the first operator of a
shell outside of quotes: what stands behind it is dropped without a word (measured with ``docker compose
config`` 2.26.1: ``celery worker && echo a`` becomes ``["celery", "worker"]``). docker-compose v1 split by
Python's ``shlex`` and handed the operators on as words.
"""

from __future__ import annotations

_STOPS, _SPACES = ";&|<>", " \t\r\n"


class Refused(ValueError):
    """Compose refuses the text: "invalid command line string"."""


def split(text: str) -> tuple[list[str], str]:
    """The words, and the rest that Compose drops (empty where it drops nothing). Raises Refused for what is
    not closed: quotes, brackets, a backslash at the end; and for an opening bracket without ``$``."""
    words: list[str] = []
    word, begun, escaped = "", False, False
    open_: set[str] = set()  # of ' " ` and ( those that are open; several may be
    for place, char in enumerate(text):
        if escaped:
            word, begun, escaped = word + char, True, False
        elif char == "\\" and "'" not in open_:
            escaped = True
        elif char in _SPACES and not open_:
            if begun:
                words.append(word)
            word, begun = "", False
        elif char == "'" and not open_ & {'"', "("} or char == '"' and not open_ & {"'", "("}:
            open_ ^= {char}
            begun = True
        elif char in _STOPS and not open_:
            if char == ">" and word[:1].isdigit():
                begun = False  # the number of a stream
            return ([*words, word] if begun else words), text[place:]
        else:
            if char == "`" and not open_ & {"'", '"', "("}:
                open_ ^= {"`"}
            elif char == "(" and not open_ & {"'", '"', "`"}:
                if "(" in open_ or not word.endswith("$"):
                    raise Refused("a bracket is opened outside of quotes")
                open_.add("(")
            elif char == ")" and not open_ & {"'", '"', "`"}:
                open_ ^= {"("}
            word, begun = word + char, True
    if open_ or escaped:
        raise Refused("a quote, a bracket or a backslash at its end is left open")
    return ([*words, word] if begun else words), ""
