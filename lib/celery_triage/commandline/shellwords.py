"""Split a shell script of a few words into its simple commands, as far as that can be known without running
it.

``shlex`` alone loses which operators were quoted and breaks ``$(nproc --all)`` in two; here a substitution
stays inside its word, unread."""

from __future__ import annotations

_OPERATORS = ("&&", "||", ";;", "|&", ";", "|", "&", "\n")
_REDIRECTIONS = ("&>>", "&>", "<<<", "<<", ">>", ">&", "<&", ">|", ">", "<")


class Unreadable(ValueError):
    """The text is no shell script that can be split: an open quote, an open substitution."""


def commands(script: str) -> list[tuple[list[str], str]]:
    """The simple commands of a script, each as its words and the operator behind it (``""`` at the end).

    Quotes and backslashes are resolved, redirections and comments left out, variables and substitutions
    kept as written. Raises Unreadable."""
    result: list[tuple[list[str], str]] = []
    words: list[str] = []
    place = 0
    while place < len(script):
        char = script[place]
        operator = next((op for op in _OPERATORS if script.startswith(op, place)), None)
        redirection = next((op for op in _REDIRECTIONS if script.startswith(op, place)), None)
        if redirection is not None and not (operator == "&" and redirection is None):
            place = _skip_redirection(script, place + len(redirection))
        elif operator is not None:
            result.append((words, operator))
            words = []
            place += len(operator)
        elif char in " \t\r":
            place += 1
        elif script.startswith("\\\n", place):
            place += 2
        elif char == "#":
            end = script.find("\n", place)
            place = len(script) if end < 0 else end
        elif char in "()":
            place += 1  # a sub-shell: its commands count like the others
        else:
            word, place = _word(script, place)
            if word.isdigit() and script[place : place + 1] in ("<", ">"):
                continue  # the number of a redirected stream
            words.append(word)
    result.append((words, ""))
    return [(words, operator) for words, operator in result if words]


def _skip_redirection(script: str, place: int) -> int:
    while place < len(script) and script[place] in " \t":
        place += 1
    if place < len(script) and script[place] == "&":
        place += 1
    return _word(script, place)[1] if place < len(script) else place


def _word(script: str, place: int) -> tuple[str, int]:
    out: list[str] = []
    while place < len(script):
        char = script[place]
        if char in " \t\r\n;|&<>()":
            break
        if char == "\\":
            if script[place + 1 : place + 2] != "\n":
                out.append(script[place + 1 : place + 2])
            place += 2
        elif char == "'":
            end = script.find("'", place + 1)
            if end < 0:
                raise Unreadable("an opening ' has no closing one")
            out.append(script[place + 1 : end])
            place = end + 1
        elif char == '"':
            place = _double_quoted(script, place + 1, out)
        elif char in "$`":
            place = _substitution(script, place, out)
        else:
            out.append(char)
            place += 1
    return "".join(out), place


def _double_quoted(script: str, place: int, out: list[str]) -> int:
    while place < len(script):
        char = script[place]
        if char == '"':
            return place + 1
        if char == "\\" and script[place + 1 : place + 2] in ('"', "\\", "$", "`", "\n"):
            if script[place + 1] != "\n":
                out.append(script[place + 1])
            place += 2
        elif char in "$`":
            place = _substitution(script, place, out)
        else:
            out.append(char)
            place += 1
    raise Unreadable('an opening " has no closing one')


def _substitution(script: str, place: int, out: list[str]) -> int:
    """``$NAME``, ``${…}``, ``$(…)`` and back quotes, copied as they stand."""
    start = place
    if script[place] == "`":
        end = script.find("`", place + 1)
        if end < 0:
            raise Unreadable("an opening ` has no closing one")
        place = end + 1
    elif script[place + 1 : place + 2] in ("(", "{"):
        opening = script[place + 1]
        closing = ")" if opening == "(" else "}"
        depth = 0
        place += 1
        while place < len(script):
            if script[place] == "\\":
                place += 1
            elif script[place] == opening:
                depth += 1
            elif script[place] == closing:
                depth -= 1
                if depth == 0:
                    break
            place += 1
        if depth or place >= len(script):
            raise Unreadable(f"an opening ${opening} has no closing {closing}")
        place += 1
    else:
        place += 1
    out.append(script[start:place])
    return place
