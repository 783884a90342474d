"""One Compose file as a tree of places: what stands where, with anchors and merge keys followed.

Pure: text in, places out. PyYAML composes the tree without building any object, so aliases cost nothing until
they are followed; following is bounded. The files of others are read here: a bomb ends as `TooComplex`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from celery_triage.redact import is_no_secret, is_secret_name

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml: the same, ten times slower
    from yaml import SafeLoader as _Loader

#: Nodes that one question may visit, and levels of nesting.
NODES = 20_000
DEPTH = 60
_MERGE = "tag:yaml.org,2002:merge"
_NULLS = ("", "~", "null", "Null", "NULL")
_DEEP = re.compile(r"(?:[-?][ \t]+){60}")
_PAIR = re.compile(r"([A-Za-z_][\w.\-]*)=(.*)", re.DOTALL)


class NotYaml(ValueError):
    """The text is no YAML."""


class TooComplex(ValueError):
    """The file is nested too deeply, or its aliases multiply into too much."""


@dataclass(frozen=True)
class Place:
    """A value and where it stands: lines and column from 1. `value` is plain data: text, list, dict or
    None."""

    value: Any
    line: int
    col: int
    end_line: int


@dataclass(frozen=True)
class Span:
    """Where the text of a secret stands: lines and columns from 0, the end excluded; `name` is what it is
    called."""

    line: int
    col: int
    end_line: int
    end_col: int
    name: str
    value: str = field(repr=False)
    quote: str = ""


def parse(text: str) -> Document:
    """NotYaml, TooComplex."""
    depth = deepest = 0
    for mark in re.finditer(r"[\[{\]}]", text):
        depth = max(0, depth + (1 if mark[0] in "[{" else -1))
        deepest = max(deepest, depth)
    if deepest > DEPTH or _DEEP.search(text):
        raise TooComplex("it is nested too deeply")
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise NotYaml(f"{error.problem or error.context}{where}") from None
    except yaml.YAMLError as error:
        raise NotYaml(type(error).__name__) from None
    except RecursionError:
        raise TooComplex("it is nested too deeply") from None
    return Document(root)


class Document:
    """The tree of one file."""

    def __init__(self, root: yaml.Node | None) -> None:
        self._root = root
        top = _pairs(root)
        self._services = _pairs(top["services"]) if "services" in top else {}
        self._include = top.get("include")
        self.is_compose = bool(self._services) or self._include is not None

    @property
    def service_names(self) -> list[str]:
        return list(self._services)

    def service(self, name: str) -> Service | None:
        node = self._services.get(name)
        return Service(node) if node is not None else None

    def services(self) -> Iterator[Service]:
        return map(Service, self._services.values())

    def includes(self) -> list[str]:
        """Paths of `include`, short and long form."""
        told = plain(self._include) if self._include is not None else []
        found = []
        for item in told if isinstance(told, list) else [told]:
            path = item.get("path") if isinstance(item, dict) else item
            found += path if isinstance(path, list) else [path]
        return [path for path in found if isinstance(path, str) and "$" not in path]

    def extended_files(self) -> list[str]:
        bases = [service.extends() for service in self.services()]
        return list(dict.fromkeys(base[0] for base in bases if base and base[0]))

    def env_files(self) -> list[str]:
        return [path for service in self.services() for path in service.env_files()]

    def assignments(self) -> Iterator[tuple[str, str]]:
        """Every name with a scalar value in the whole file, in mappings and as ``NAME=value``."""
        for name, node in self._named():
            yield name, node.value
        for node in self._scalars_in_lists():
            if found := _PAIR.fullmatch(node.value):
                yield found[1], found[2]

    def argvs(self) -> Iterator[list[str]]:
        """Every list of words in the file: one may be a command line."""
        for node in _walk(self._root):
            if isinstance(node, yaml.SequenceNode):
                yield [item.value for item in node.value if isinstance(item, yaml.ScalarNode)]

    def secret_spans(self) -> list[Span]:
        """Where values of secret names stand, in the order of the file. References to variables are none."""
        spans = []
        for name, node in self._named():
            if is_secret_name(name) and not is_no_secret(node.value):
                spans.append(_span(node, name, node.value, 0))
        for node in self._scalars_in_lists():
            found = _PAIR.fullmatch(node.value)
            if found and is_secret_name(found[1]) and not is_no_secret(found[2]):
                spans.append(_span(node, found[1], found[2], found.start(2)))
        return sorted(spans, key=lambda span: (span.line, span.col))

    def _named(self) -> Iterator[tuple[str, yaml.ScalarNode]]:
        for node in _walk(self._root):
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if not isinstance(key, yaml.ScalarNode):
                        continue
                    if isinstance(value, yaml.ScalarNode):
                        yield key.value, value
                    elif isinstance(value, yaml.SequenceNode) and key.value != "secrets":
                        for item in value.value:
                            if isinstance(item, yaml.ScalarNode):
                                yield key.value, item

    def _scalars_in_lists(self) -> Iterator[yaml.ScalarNode]:
        for node in _walk(self._root):
            if isinstance(node, yaml.SequenceNode):
                yield from (item for item in node.value if isinstance(item, yaml.ScalarNode))


class Service:
    """One service's part of the tree."""

    def __init__(self, node: yaml.Node) -> None:
        self._pairs = _pairs(node)

    def place(self, key: str) -> Place | None:
        """The value of one key; None where the key does not stand."""
        node = self._pairs.get(key)
        return None if node is None else _place(node, plain(node))

    def environment(self) -> list[tuple[str, Place]]:
        """(name, place of the value), of both forms; a name without a value has None."""
        node = self._pairs.get("environment")
        if isinstance(node, yaml.SequenceNode):
            found = []
            for item in node.value:
                if isinstance(item, yaml.ScalarNode):
                    name, equals, value = item.value.partition("=")
                    found.append((name, _place(item, value if equals else None)))
            return found
        return [(name, _place(value, plain(value))) for name, value in _pairs(node).items()]

    def extends(self) -> tuple[str, str] | None:
        """(file or "", service) that it extends."""
        node = self._pairs.get("extends")
        told = plain(node) if node is not None else None
        if isinstance(told, str):
            return "", told
        if isinstance(told, dict) and isinstance(told.get("service"), str):
            return str(told.get("file") or ""), told["service"]
        return None

    def env_files(self) -> list[str]:
        node = self._pairs.get("env_file")
        told = plain(node) if node is not None else []
        items = told if isinstance(told, list) else [told]
        paths = [item.get("path") if isinstance(item, dict) else item for item in items]
        return [path for path in paths if isinstance(path, str)]


def _pairs(node: yaml.Node | None, budget: list[int] | None = None) -> dict[str, yaml.Node]:
    """The pairs of a mapping, merge keys followed: what stands in the mapping itself wins, then the first
    merged."""
    budget = budget or [NODES]
    if not isinstance(node, yaml.MappingNode):
        return {}
    own: dict[str, yaml.Node] = {}
    merged: dict[str, yaml.Node] = {}
    for key, value in node.value:
        budget[0] -= 1
        if budget[0] < 0:
            raise TooComplex("its merge keys multiply into too much")
        if key.tag == _MERGE:
            parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for part in parts:
                for name, inner in _pairs(part, budget).items():
                    merged.setdefault(name, inner)
        elif isinstance(key, yaml.ScalarNode):
            own[key.value] = value
    return {**merged, **own}


def plain(node: yaml.Node, budget: list[int] | None = None, depth: int = 0) -> Any:
    """A node as plain data. Scalars stay the text that is written; only nothing and null become None."""
    budget = budget or [NODES]
    budget[0] -= 1
    if budget[0] < 0 or depth > DEPTH:
        raise TooComplex("its aliases multiply into too much")
    if isinstance(node, yaml.SequenceNode):
        return [plain(item, budget, depth + 1) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {name: plain(value, budget, depth + 1) for name, value in _pairs(node, budget).items()}
    bare = not node.style and node.value in _NULLS  # libyaml says "" for plain, PyYAML None
    return None if bare else node.value


def _walk(root: yaml.Node | None) -> Iterator[yaml.Node]:
    """Every node once, however many aliases lead to it."""
    seen: set[int] = set()
    queue = [root] if root is not None else []
    while queue:
        node = queue.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                queue += (key, value)
        elif isinstance(node, yaml.SequenceNode):
            queue += node.value


def _place(node: yaml.Node, value: Any) -> Place:
    return Place(value, node.start_mark.line + 1, node.start_mark.column + 1, _end_line(node) + 1)


def _end_line(node: yaml.Node) -> int:
    """The last line (from 0) with text of the node: a block's end mark is where the next thing begins."""
    start, last = node.start_mark.line, node.start_mark.line
    for _ in range(DEPTH):
        if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
            block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
            return max(start, last, node.end_mark.line - (1 if block else 0))
        end = node.value[-1]
        if isinstance(node, yaml.MappingNode):
            last, end = max(last, end[0].end_mark.line), end[1]
        if end.start_mark.line < last:  # an alias: its text stands elsewhere
            return last
        last, node = max(last, end.start_mark.line), end
    return last


def _span(node: yaml.ScalarNode, name: str, value: str, offset: int) -> Span:
    quote = node.style if node.style in ("'", '"') else ""
    start, end = node.start_mark, node.end_mark
    return Span(start.line, start.column + offset + (len(quote) if offset else 0), _end_line(node),
                end.column, name, value, "" if offset else quote)
