"""Two Compose mappings made into one, as Compose merges ``-f`` files, ``extends`` and ``include``.

Mappings are merged key by key, lists are joined, single values and commands are replaced; ``!reset`` takes
a value away and ``!override`` replaces what would be joined (Compose specification, "Merge").
"""

from __future__ import annotations

from collections.abc import Mapping

from celery_triage.lint.reading import Node

#: Lists that stand for one value: the later one replaces the earlier.
_REPLACED = frozenset({"command", "entrypoint", "test"})
#: Written as a list (``NAME=value``) or as a mapping; merged by name.
_NAMED = frozenset({"environment", "labels", "args", "extra_hosts", "sysctls"})
#: Lists or mappings whose members are names.
_NAMES = frozenset({"depends_on", "networks"})


def named(node: Node | None) -> dict[str, Node]:
    """``environment`` and its like by name, of both forms; a name without a value has a node with None."""
    if node is None:
        return {}
    if isinstance(node.value, dict):
        return dict(node.value)
    found = {}
    for item in node.items():
        if item.text is not None:
            name, equals, value = item.text.partition("=")
            found[name.strip()] = Node(value if equals else None, item.file, item.line, item.end_line)
    return found


def names(node: Node | None) -> dict[str, Node]:
    """``depends_on`` and ``networks`` by name, of both forms."""
    if node is None:
        return {}
    if isinstance(node.value, dict):
        return dict(node.value)
    return {item.text: item for item in node.items() if item.text}


def merge(base: Node | None, over: Node | None, key: str = "") -> Node | None:
    """``over`` merged into ``base``; neither is changed."""
    if over is None:
        return base
    if over.tag == "!reset":
        return None
    if base is None or over.tag == "!override" or key in _REPLACED:
        return over
    if over.value is None:
        return base if isinstance(base.value, (dict, list)) else over
    if key in _NAMED:
        return _with(over, {**named(base), **named(over)})
    if key in _NAMES and (isinstance(base.value, dict) or isinstance(over.value, dict)):
        return _with(over, _mappings(names(base), names(over)))
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        return _with(over, _mappings(base.value, over.value))
    if key in ("env_file", "dns", "dns_search", "tmpfs") or isinstance(base.value, list):
        return _with(over, _joined(base.items(), over.items()))
    return over


def _mappings(base: Mapping[str, Node], over: Mapping[str, Node]) -> dict[str, Node]:
    result = dict(base)
    for name, node in over.items():
        merged = merge(base.get(name), node, name)
        if merged is None:
            result.pop(name, None)
        else:
            result[name] = merged
    return result


def _joined(base: list[Node], over: list[Node]) -> list[Node]:
    """Both lists, what stands in both once."""
    seen = {item.text for item in base if item.text is not None}
    return [*base, *(item for item in over if item.text is None or item.text not in seen)]


def _with(place: Node, value: dict | list) -> Node:
    return Node(value, place.file, place.line, place.end_line)
