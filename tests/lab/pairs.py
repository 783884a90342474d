"""Two faults at once, made of the files of both: ``pair: [a, b]``, and what the pair itself says on top.

Edits, steps and causes follow each other, overrides and images are laid together, a list of both holds all
that either holds. What only the pair can know it says itself: the verdict, what to wait for, and under
``expect.states`` which state a cause has now that something else stands before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Two faults cannot both have their way with these: the pair says them, or takes the larger number.
_OWN = {"title", "wait_for", "expect"}
_LARGER = {"quiet_seconds"}


def together(parts: Iterable[Mapping[str, Any]], own: Mapping[str, Any], bad) -> dict[str, Any]:
    """The ``x-fault`` block of a pair from those of its faults. Raises what ``bad`` makes of a sentence."""
    whole: dict[str, Any] = {}
    expect: dict[str, Any] = {"causes": [], "not": []}
    for part in parts:
        part = dict(part)
        theirs = part.pop("expect", None) or {}
        expect["causes"] += theirs.get("causes") or ()
        expect["not"] += theirs.get("not") or ()
        whole = laid_over(whole, {key: value for key, value in part.items() if key not in _OWN})
    if not own.get("wait_for"):
        raise bad("a pair says itself what to wait for")
    said = dict(own.get("expect") or {})
    expect["causes"] = _with_states(expect["causes"], said.pop("states", None) or {}, bad)
    names = {cause["name"] for cause in expect["causes"]}
    expect["not"] = [name for name in dict.fromkeys(expect["not"]) if name not in names]
    if "causes" in said:
        expect["causes"] = []
    return laid_over(whole, {**own, "expect": laid_over(expect, said)})


def laid_over(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings in one: lists follow each other, mappings are laid together, else the second counts."""
    whole = dict(first)
    for key, value in second.items():
        before = whole.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            whole[key] = laid_over(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            whole[key] = [*before, *(item for item in value if item not in before)]
        elif key in _LARGER and before is not None:
            whole[key] = max(before, value)
        else:
            whole[key] = value
    return whole


def _with_states(causes: list[Mapping[str, Any]], states: Mapping[str, Any], bad) -> list[dict[str, Any]]:
    unknown = set(states) - {cause["name"] for cause in causes}
    if unknown:
        raise bad(f"expect.states names no cause of the two: {', '.join(sorted(unknown))}")
    return [{**cause, "state": states.get(cause["name"], cause["state"])} for cause in causes]
