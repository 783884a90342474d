"""Compose files as trees of places, read within bounds.

Text in, nodes out; each node knows the file and the line that it stands on. The tree is built from the events
of PyYAML's parser, so that an alias is a second way to the same node and never a copy: a bomb of aliases
stays as small as it is written. Files of others are read here: whatever they hold ends as ``Unreadable``
with a sentence.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml: the same, ten times slower
    from yaml import SafeLoader as _Loader

#: Largest Compose file (bytes), most nodes and deepest nesting of one. 10 000 services of ten lines each fit
#: and were read in 100 MB.
SIZE = 4 * 2**20
NODES = 600_000
DEPTH = 60
#: Pairs that merge keys may bring into one file: a thousand times what people write.
MERGED = 600_000
#: Values that a file may come to where each alias is a copy.
ALIASED = 4_000_000
_NULLS = ("", "~", "null", "Null", "NULL")


class Unreadable(Exception):
    """A file that cannot be judged; the text says why, as the end of a sentence."""


class Missing(Unreadable):
    """There is no such file."""


class Node:
    """A value and where it stands. ``value`` is text, None, a dict of names to nodes or a list of nodes;
    lines count from 1. ``tag`` is the file's own (``!reset``, ``!override``), else empty. ``plain``: a text
    without quotes, which YAML may take for a number or a truth value."""

    __slots__ = ("value", "file", "line", "end_line", "tag", "plain")

    def __init__(
        self, value, file: str, line: int, end_line: int = 0, tag: str = "", plain: bool = False
    ) -> None:
        self.value, self.file, self.line = value, file, line
        self.end_line, self.tag, self.plain = end_line or line, tag, plain

    def __repr__(self) -> str:
        return f"Node({self.value!r}, {self.file}:{self.line})"

    @property
    def text(self) -> str | None:
        """The value where it is text, else None."""
        return self.value if isinstance(self.value, str) else None

    def pairs(self) -> dict[str, Node]:
        """The pairs of a mapping; none of anything else."""
        return self.value if isinstance(self.value, dict) else {}

    def items(self) -> list[Node]:
        """The members of a list; one of a text; none of anything else."""
        if isinstance(self.value, list):
            return self.value
        return [self] if isinstance(self.value, str) else []

    def get(self, *names: str) -> Node | None:
        """What stands below these names, None where one of them does not stand."""
        node: Node | None = self
        for name in names:
            node = node.pairs().get(name) if node is not None else None
        return node


@dataclass(frozen=True)
class Duplicate:
    """A key that stands twice in one mapping; lines from 1."""

    key: str
    file: str
    line: int
    first: int


@dataclass(frozen=True)
class Read:
    """A file: its lines without their ends, its tree (None for an empty one), its duplicate keys."""

    path: str
    lines: list[str]
    root: Node | None
    duplicates: tuple[Duplicate, ...] = ()


def text_of(path: str, size: int = SIZE) -> str:
    """The text of a regular file of bounded size. Missing, Unreadable."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Missing("there is no such file") from None
    except NotADirectoryError:
        raise Missing("a part of its path is no folder") from None
    except PermissionError:
        raise Unreadable("this user may not read it") from None
    except (OSError, ValueError) as error:
        raise Unreadable(f"it cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    try:
        told = os.fstat(opened)
        if stat.S_ISDIR(told.st_mode):
            raise Unreadable("it is a folder; name the file in it")
        if not stat.S_ISREG(told.st_mode) and not stat.S_ISFIFO(told.st_mode):
            raise Unreadable("it is no regular file")
        if told.st_size > size:
            raise Unreadable(f"it is larger than {size // 2**20 or 1} MiB, which no Compose file is")
        raw = b""
        while len(raw) <= size and (piece := os.read(opened, size + 1 - len(raw))):
            raw += piece
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from None
    finally:
        os.close(opened)
    if len(raw) > size:
        raise Unreadable(f"it is larger than {size // 2**20 or 1} MiB, which no Compose file is")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # Windows' "Unicode"; Compose reads it
        try:
            return raw.decode("utf-16")
        except UnicodeDecodeError:
            raise Unreadable("it begins as UTF-16 text and is none") from None
    if b"\0" in raw:
        raise Unreadable("it is no text: it holds zero bytes, as UTF-16 without a mark at its begin does")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is no UTF-8 text (byte {error.start + 1})") from None


def read(path: str, shown: str) -> Read:
    """The Compose file at ``path``, called ``shown`` in what is said of it. Missing, Unreadable."""
    text = text_of(path)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    builder = _Builder(shown)
    try:
        root = builder.build(text)
    except yaml.MarkedYAMLError as error:
        where = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise Unreadable(f"it is no valid YAML: {error.problem or error.context}{where}") from None
    except yaml.YAMLError as error:
        said = re.sub(r"\s+", " ", str(error))[:120]
        raise Unreadable(f"it is no valid YAML: {said}") from None
    return Read(shown, lines, root, tuple(builder.duplicates))


class _Builder:
    """Makes nodes of events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.duplicates: list[Duplicate] = []
        self._anchors: dict[str, Node] = {}
        self._open: set[str] = set()
        #: How many values the file comes to where each alias is a copy, and each anchor's part of them.
        self._values, self._parts = 0, dict[str, int]()
        self._left, self._merged = NODES, MERGED

    def build(self, text: str) -> Node | None:
        events = yaml.parse(text, Loader=_Loader)
        root = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise Unreadable("it holds more than one YAML document, and Compose reads only one")
                root = self._node(next(events), events, 0)
        return root

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        self._left -= 1
        if self._left < 0:
            raise Unreadable(f"it holds more than {NODES} values")
        if depth > DEPTH:
            raise Unreadable("it is nested too deeply")
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line)
        before = self._values
        self._values += 1
        tag = event.tag if event.tag and event.tag.startswith("!") and event.tag != "!" else ""
        node = Node(None, self.file, line, tag=tag)
        if event.anchor:
            self._anchors[event.anchor] = node
            self._open.add(event.anchor)
        if isinstance(event, yaml.ScalarEvent):
            bare = not event.style and event.value in _NULLS  # libyaml says "" for plain, PyYAML None
            node.value = None if bare else event.value
            node.plain = not event.style
            block = event.style in ("|", ">")
            node.end_line = max(line, event.end_mark.line + (0 if block else 1))
        elif isinstance(event, yaml.SequenceStartEvent):
            node.value = []
            while not isinstance(inner := next(events), yaml.SequenceEndEvent):
                node.value.append(self._node(inner, events, depth + 1))
            node.end_line = max([line, *(one.end_line for one in node.value[-1:])])
        else:
            node.value = self._mapping(node, events, depth)
        if event.anchor:
            self._open.discard(event.anchor)
            self._parts[event.anchor] = self._values - before
        return node

    def _alias(self, anchor: str, line: int) -> Node:
        """The node that an alias stands for. Compose refuses circles and what multiplies (2.26: "cycle
        detected", "document contains excessive aliasing")."""
        known = self._anchors.get(anchor)
        if known is None:
            raise Unreadable(f"it is no valid YAML: the alias *{anchor} has no anchor (line {line})")
        if anchor in self._open:
            raise Unreadable(f"the alias *{anchor} stands within what it means, a circle (line {line})")
        self._values += self._parts[anchor]
        if self._values > ALIASED:
            raise Unreadable(f"its aliases come to more than {ALIASED} values (line {line})")
        return known

    def _mapping(self, node: Node, events: Iterator[yaml.Event], depth: int) -> dict[str, Node]:
        own: dict[str, Node] = {}
        at: dict[str, int] = {}
        merged: list[Node] = []
        while not isinstance(inner := next(events), yaml.MappingEndEvent):
            line = inner.start_mark.line + 1
            key = self._node(inner, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            plain = isinstance(inner, yaml.ScalarEvent) and not inner.style
            if plain and key.value == "<<":
                merged += value.items() if isinstance(value.value, list) else [value]
                continue
            name = key.value if isinstance(key.value, str) else "" if key.value is None else None
            if name is None:
                raise Unreadable(f"it is no Compose file: a key is a list or a mapping (line {line})")
            if name in own:
                self.duplicates.append(Duplicate(name, self.file, line, at[name]))
            own[name], at[name] = value, line
            node.end_line = max(node.end_line, value.end_line if value.file == self.file else 0)
        if not merged:
            return own
        result: dict[str, Node] = {}
        for part in merged:
            self._merged -= len(part.pairs())
            if self._merged < 0:
                raise Unreadable("its merge keys multiply into too much")
            for name, value in part.pairs().items():
                result.setdefault(name, value)
        result.update(own)
        return result
