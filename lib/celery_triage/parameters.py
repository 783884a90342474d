"""The parameters of a runbook: what its parameters cell declares, and whether what was given fits.

papermill (2.7) puts whatever it is given into a cell of its own behind the parameters cell and only warns of
a name that the notebook does not know: the notebook would then answer another question than the one that was
asked. So an unknown name and a value of another type are refused, by ``run --parameter`` before anything is
looked at, and by the setup cell of a notebook that was executed by hand.
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .runbooks import Runbook, source_of

#: What the runner sets itself, and the option that it has for it.
OWN = {"evidence": "--bundle", "project": "--project", "since": "--since"}
#: The first line of the cell that papermill puts in (``papermill/parameterize.py``, 2.7).
INJECTED = "# Parameters"
_WORDS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}
_TRUTHS = {"true": True, "false": False}


class WrongParameter(ValueError):
    """A parameter that a runbook does not have, or a value that it cannot take; the text is one sentence."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name and the name of its type (``str``, ``int``, ``float`` or ``bool``)."""

    name: str
    kind: str

    def read(self, text: str) -> Any:
        """The value that a text of the command line means. WrongParameter."""
        try:
            if self.kind == "bool":
                return _TRUTHS[text.strip().lower()]
            value = {"int": int, "float": float}.get(self.kind, str)(text)
        except (ValueError, KeyError):
            raise WrongParameter(f"{self.name} must be {_WORDS[self.kind]}, not {text!r}") from None
        self.refuse(value)
        return value

    def refuse(self, value: Any) -> None:
        """WrongParameter for a value of another type (a whole number is a number), or a number below 0."""
        fits = {"str": str, "int": int, "float": (int, float), "bool": bool}.get(self.kind, object)
        if not isinstance(value, fits) or (isinstance(value, bool) and self.kind != "bool"):
            raise WrongParameter(f"{self.name} must be {_WORDS[self.kind]}, not {value!r}")
        # No question can be asked with less than nothing, or with what is no number at all (nan, inf).
        if self.kind in ("int", "float") and not 0 <= value < math.inf:
            raise WrongParameter(f"{self.name} must be {_WORDS[self.kind]} from 0 on, not {value!r}")


def declared(source: str) -> dict[str, Parameter]:
    """The parameters of a parameters cell, by name: one annotated assignment each."""
    found = {}
    for node in _statements(source):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = Parameter(node.target.id, ast.unparse(node.annotation))
    return found


def given(wanted: Iterable[str], books: Sequence[Runbook]) -> dict[str, dict[str, Any]]:
    """What ``[RUNBOOK:]NAME=VALUE`` means for each of these runbooks, by runbook name. Without a runbook a
    parameter goes to all that have it. WrongParameter."""
    known = {book.name: declared(source_of(book, "parameters")) for book in books}
    values: dict[str, dict[str, Any]] = {}
    for text in wanted:
        place, equals, value = text.partition("=")
        number, colon, name = place.strip().rpartition(":")
        if not equals or not name:
            raise WrongParameter(f"{text!r} is no parameter: write NAME=VALUE or RUNBOOK:NAME=VALUE")
        if name in OWN:
            raise WrongParameter(f"{name} is the same for all runbooks: give it by {OWN[name]}")
        meant = [book for book in known if not colon or number in (book, book[:2])]
        if not meant:
            raise WrongParameter(f"no runbook {number} is executed; there are {', '.join(known)}")
        having = [book for book in meant if name in known[book]]
        if not having:
            where = meant[0] if colon else "any runbook that is executed"
            names = sorted({one for book in meant for one in known[book]} - OWN.keys())
            raise WrongParameter(_unknown(name, where, names))
        for book in having:
            values.setdefault(book, {})[name] = known[book][name].read(value)
    return values


def refuse_injected(cells: Sequence[str], values: Mapping[str, Any]) -> None:
    """WrongParameter where papermill has put in what the notebook does not declare, or of another type.
    ``cells`` are the sources that were executed so far, ``values`` the names as they now are."""
    known: dict[str, Parameter] = {}
    for source in cells:
        if not source.startswith(INJECTED):
            known.update(declared(source))
            continue
        for name in _assigned(source):
            if name not in known:
                raise WrongParameter(_unknown(name, "this runbook", sorted(known)))
            known[name].refuse(values.get(name))


def _unknown(name: str, where: str, names: Sequence[str]) -> str:
    alike = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    meant = f" (did you mean {alike[0]}?)" if alike else ""
    has = f"known: {', '.join(names)}" if names else "it has none of its own"
    return f"there is no parameter {name} in {where}{meant}; {has}"


def _assigned(source: str) -> list[str]:
    return [
        target.id
        for node in _statements(source)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]


def _statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError:  # a cell with a magic, or half written: it declares nothing
        return []
