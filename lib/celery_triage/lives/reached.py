"""How far a Celery process got in its start: what its words, and what was seen of it, prove.

Measured on 5.4.0, 5.6.3 and 5.7.0 with recorded runs (Redis broker, PostgreSQL result backend):

* The worker prints its banner after the application, its task modules and the broker URL were read. From
5.5 on the result backend is opened for the banner's ``results:`` line, so a banner proves driver and
database there; up to 5.4 neither is touched before the first result. The broker is asked only after the
banner. * ``Connected to …`` proves the broker, ``… ready.`` that it consumes. Both are logged at level INFO
only. * Beat prints its banner and ``beat: Starting...`` before all else; ``Sending due task`` comes only
after a connection to the broker, and from 5.5 on after the result backend was opened. * Flower serves pages
without broker and database; ``Connected to …`` proves its broker. * A worker killed by force stays in
Redis's bindings: being named there proves no life in particular."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: What a start passes, in the order in which a worker of 5.5 or later passes it.
STEPS = ("app", "options", "url", "driver", "database", "broker", "consuming")
#: A life that lasts longer than this, and twice as long as the longest one that failed, has passed what
#: ends a start at once: the application, the options, the URL. Seconds; recorded failures took 0.3 to 12 s.
OUTLIVED = 60.0
#: How long a start may take until it says its first word (seconds): under a tight CPU limit, on a busy
#: machine, an import took two minutes.
UNBEGUN_S = 300.0

_HEAD = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: \w+/([\w:-]+)\] ")
_WORKER = re.compile(r"\s*-{14} \S+@\S+ v(\d+)\.(\d+)")
_BEAT = re.compile(r"celery beat v(\d+)\.(\d+)\S* .{0,40}is starting\.")
_RESULTS = re.compile(r"- \*\* -{10} \.> results:\s+(\S+)")
_CONNECTED = re.compile(
    r"Connected to (?:\w+\+)?(?:redis|rediss|sentinel|amqp|amqps|pyamqp|sqs|memory|filesystem)://"
)
_READY = re.compile(r"\S+@\S+ ready\.")
_SENDING = re.compile(r"Scheduler: Sending due task ")
_FLOWER = re.compile(r"Visit me at https?://")
_NO_SQL = (
    "redis",
    "rediss",
    "sentinel",
    "amqp",
    "rpc",
    "disabled",
    "cache",
    "memcached",
    "mongodb",
    "file",
    "s3",
    "elasticsearch",
    "cassandra",
    "dynamodb",
    "azureblockblob",
    "gs",
    "couchbase",
    "consul",
    "filesystem",
)


@dataclass(frozen=True)
class Reached:
    """``step``: the farthest step that is proven, None if none is. ``proven``: all steps that are (up to
    5.4 a worker consumes without having touched driver and database, so these can be missing in the
    middle). ``proofs``: for each proven step the place in the given lines (1-based, None without one) and
    the words. ``last`` is the same of the last line that proves a step, which says more about now than the
    first one. ``version``: the minor version that the process itself named."""

    step: str | None = None
    proven: frozenset[str] = frozenset()
    proofs: Mapping[str, tuple[int | None, str]] = field(default_factory=dict)
    version: str | None = None
    last: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def has(self, step: str) -> bool:
        """Whether this step is proven."""
        return step in self.proven


def reached(
    lines: Sequence[Sequence[str]],
    role: str,
    *,
    version: str | None = None,
    ping: str = "",
    seconds: float | None = None,
    longest_failure: float | None = None,
) -> Reached:
    """How far one life got.

    ``lines`` are the log lines of that life only; ``role`` is worker, beat or flower. ``version`` is
    Celery's in the image, where the process does not name it itself. ``ping``: the words of a reply to a
    ping by this node, empty without one. ``seconds``: how long it has lived and still does (None if it
    ended); ``longest_failure``: how long the longest life of this container lasted that failed."""
    walk = _Walk(role, version)
    for place, line in enumerate(lines, 1):
        walk.line(place, line[2])
    if ping and role == "worker":
        walk.prove(("app", "options", "url", "broker", "consuming"), None, ping)
        walk.backend(None, ping)
    if seconds is not None and seconds > max(OUTLIVED, 2 * (longest_failure or 0.0)):
        said = f"it has lived for {seconds:.0f} s"
        walk.prove(("app", "options", "url") if role == "worker" else ("app", "options"), None, said)
    step = next((name for name in reversed(STEPS) if name in walk.proofs), None)
    named = walk.version
    version = f"{named[0]}.{named[1]}" if named else None
    return Reached(step, frozenset(walk.proofs), walk.proofs, version, walk.last)


class _Walk:
    def __init__(self, role: str, version: str | None) -> None:
        self.role = role
        self.proofs: dict[str, tuple[int | None, str]] = {}
        self.last: dict[str, tuple[int, str]] = {}
        self.sql = True
        found = re.match(r"(\d+)\.(\d+)", version or "")
        self.version = (int(found[1]), int(found[2])) if found else None

    def prove(self, steps: Sequence[str], place: int | None, text: str) -> None:
        for step in steps:
            self.proofs.setdefault(step, (place, text))
            if place is not None:
                self.last[step] = (place, text)

    def backend(self, place: int | None, text: str) -> None:
        """The process has opened its result backend, if it is of a version that does so."""
        if not self.sql:
            self.prove(("driver",), place, text)
        elif self.version is not None and self.version >= (5, 5):
            self.prove(("driver", "database"), place, text)

    def line(self, place: int, text: str) -> None:
        text = text[:400]
        head = _HEAD.match(text)
        if head is not None and head[1] != "MainProcess":
            return  # a pool process speaks: an application's words
        words = text[head.end() :] if head else text
        # Behind Celery's own head the words must be the first ones; with another log format they may follow
        # anything.
        find = (lambda pattern: pattern.match(words)) if head else (lambda pattern: pattern.search(words))
        if self.role == "worker":
            self.worker(place, text, find)
        elif self.role == "beat":
            self.beat(place, text, find)
        elif self.role == "flower":
            if find(_FLOWER):
                self.prove(("app", "options"), place, text)
            if find(_CONNECTED):
                self.prove(("app", "options", "url", "broker"), place, text)

    def worker(self, place: int, text: str, find: Any) -> None:
        if banner := _WORKER.match(text):
            self.version = (int(banner[1]), int(banner[2]))
            self.prove(("app", "options", "url"), place, text)
        elif results := _RESULTS.match(text):
            scheme = re.split(r"[:+]", results[1], maxsplit=1)[0].lower()
            self.sql = scheme not in _NO_SQL
            self.backend(place, text)
        elif find(_CONNECTED):
            self.prove(("app", "options", "url", "broker"), place, text)
            self.backend(place, text)
        elif find(_READY):
            self.prove(("app", "options", "url", "broker", "consuming"), place, text)
            self.backend(place, text)

    def beat(self, place: int, text: str, find: Any) -> None:
        if banner := _BEAT.match(text):
            self.version = (int(banner[1]), int(banner[2]))
            self.prove(("app", "options"), place, text)
        elif find(_SENDING):
            self.prove(("app", "options", "url", "broker", "consuming"), place, text)
            self.backend(place, text)
