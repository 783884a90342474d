"""The subjects of a paste: each service's lines for themselves, read window by window in bounded memory.

A service is told by what stands before its lines; without that, servers (PostgreSQL, Redis, RabbitMQ) are
told from Celery's processes by the form of their records. Of a window the last block waits for the next
window, so that no traceback is cut in two.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from celery_triage.signatures import Match, Shape, Signature, blocks, match_blocks, unknown_blocks
from celery_triage.signatures.formats import LONGEST_HEAD, head
from celery_triage.signatures.speakers import DEATHS, of_main

#: Lines of one subject that are looked at together, and lines that may wait for the next window.
WINDOW, WAITING = 3000, 1500
#: Lines of all subjects that wait in memory.
WAITING_IN_ALL = 40000
#: Subjects that are told apart, and different messages or shapes that are kept.
MOST_SUBJECTS, MOST_KINDS = 200, 1000
#: So many of the last lines of a subject are its last words.
LAST_WORDS = 15
#: Line numbers that are kept of one message: the first and the last half.
MOST_PLACES = 200
SERVERS = ("postgres", "mysql", "redis", "rabbitmq")
_SERVER_NAMES = re.compile(r"(?i)postgres|pgsql|timescale|mysql|mariadb|redis|valkey|keydb|rabbit")
_ROLES = {
    "postgres": "postgres",
    "pgsql": "postgres",
    "timescale": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "rabbit": "rabbitmq",
}

_BEGINS = re.compile(r"Traceback |[Uu]sage: |\s*-{14} |celery beat v|[\w.]+(?:Error|Exception): ")
_CELERY = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: \w+/[\w:.-]+\] "
#: What shows that a process got so far: ``start`` of a life, ``connected`` to its broker, ``working``.
_MARKS = (
    ("start", re.compile(r"\s*-{14} \S+@\S+ v\d|celery beat v\S+ .{0,40}is starting\.$|[Uu]sage: ")),
    ("tests", re.compile(r"={3,} (?:.{0,80}, )?\d+ passed\b.{0,80} in [\d.]+s")),
    (
        "reached",
        re.compile(
            r"(?i).{0,60}?(?:(?:postgres\w*|mysql|mariadb|database|db|redis|rabbitmq|broker|\w+:\d{2,5})"
            r"(?: is| are)?(?: now)?(?: up| available| reachable| ready)\b(?! for| to)"
            r"|connection .{0,60}succeeded)"
        ),
    ),
    ("connected", re.compile(_CELERY + r"Connected to \w")),
    (
        "working",
        re.compile(
            r"(?:" + _CELERY + r")?(?:\S{1,200} ready\.$|Task \S+ (?:received$|succeeded in )"
            r"|Task \S+\[\S+\] (?:received|succeeded in )|Scheduler: Sending due task )"
            r"|.{0,80}(?:database system is ready to accept |[Rr]eady to accept connections"
            r"|Server startup complete; |mysqld: ready for connections|\+switch-master |-[os]down master "
            r"|MASTER <-> REPLICA sync: Finished|Application startup complete"
            r"|Successfully (?:installed|built|tagged) |- - \[\d\d/\w{3}/\d{4}.{0,30}\] \"[A-Z]{3,7} /)"
        ),
    ),
)


#: The broker that a process says it uses: its banner's, Flower's.
_BROKER = re.compile(
    r"(?:- [*-]+ -+ )?\.> transport: +\w[\w+]{0,30}://(?:[^@\s]{0,300}@)?(?P<a>[^/:\s;]{1,255})"
    r"|\[I .{0,60}Broker: \w[\w+]{0,30}://(?:[^@\s]{0,300}@)?(?P<b>[^/:\s;]{1,255})"
)


def _may_be_reached(begin: str) -> bool:
    """Whether a line has a word of the mark ``reached``, whose pattern takes five times as long on a line as
    those of all other marks together."""
    words = " up" in begin or " available" in begin or " reachable" in begin or " ready" in begin
    return words or ("connection " in begin and "succeeded" in begin)


#: The application on a command line.
_APP = re.compile(r"\bcelery\b[^|;&]{0,200}? (?:-A|--app)[ =]?([A-Za-z_][\w.]*)")


@dataclass
class Said:
    """One known message of one subject: all its repetitions over all windows."""

    match: Match
    count: int = 0
    lines: list[int] = field(default_factory=list)
    first: str | None = None
    last: str | None = None
    text: str = ""
    last_text: str = ""

    def more(self, match: Match, numbers: Sequence[int], last_text: str) -> None:
        self.count += match.count
        _add(self.lines, numbers)
        self.first = self.first or match.first
        self.last = match.last or self.last
        self.text = self.text or match.text
        self.last_text = last_text

    @property
    def end(self) -> int:
        return self.lines[-1]


@dataclass
class Unrecognised:
    """Lines of one shape that look like errors and that nothing recognises; ``end``: where the last ends."""

    shape: Shape
    end: int = 0
    count: int = 0
    lines: list[int] = field(default_factory=list)

    @property
    def logged(self) -> bool:
        """Whether an application's logger wrote them, which goes on."""
        return self.shape.source == "app"

    @property
    def deadly(self) -> bool:
        """Whether Celery says in them that it ends."""
        return self.shape.text.startswith(DEATHS)


@dataclass
class Subject:
    """One service of a paste. ``role``: one of SERVERS or empty; ``marks``: the last line that shows how far
    it got; ``app``: the module that ``-A`` names; ``ends``: the first and last line of each record in which
    Celery's main process says itself that it ends."""

    source: str
    name: str
    role: str = ""
    lines: int = 0
    words: int = 0
    marks: dict[str, int] = field(default_factory=dict)
    said: dict[tuple[str, str, str], Said] = field(default_factory=dict)
    unknown: dict[tuple[str, str], Unrecognised] = field(default_factory=dict)
    dropped: int = 0
    celery: bool = False
    broker: str = ""
    app: str = ""
    ends: list[tuple[int, int]] = field(default_factory=list)
    window: list[tuple[int, list[str]]] = field(default_factory=list, repr=False)
    tail: deque[int] = field(default_factory=lambda: deque(maxlen=LAST_WORDS), repr=False)

    @property
    def label(self) -> str:
        if self.name or self.role:
            return self.name or self.role
        name = self.source.rsplit("/", 1)[-1]
        return name.rsplit(".", 1)[0] or name

    def put(self, number: int, text: str, time: str, signatures: Iterable[Signature]) -> None:
        self.lines += 1
        if text.strip():
            self.words += 1
            self.tail.append(number)
        self.window.append((number, [time, "", text]))
        if len(self.window) >= WINDOW:
            self.look(signatures)

    def look(self, signatures: Iterable[Signature], *, end: bool = False) -> None:
        """Read the window; its last block stays for the next one unless this is the end."""
        lines = [line for _, line in self.window]
        numbers = [number for number, _ in self.window]
        if not lines:
            return
        cut = blocks(lines)
        upto = len(lines)
        if not end and len(cut) > 1 and upto - cut[-1].begin <= WAITING:
            upto = cut.pop().begin
        self.window = self.window[upto:]
        lines, numbers = lines[:upto], numbers[:upto]
        for (_, _, text), number in zip(lines, numbers, strict=True):
            if ("transport: " in text or "Broker: " in text) and (found := _BROKER.search(text[:600])):
                self.broker = found["a"] or found["b"]
            if "celery" in text and (found := _APP.search(text[:600])):
                self.app = self.app or found[1]
            begin = text[:400]
            for mark, pattern in _MARKS:
                if mark == "reached" and not _may_be_reached(begin.lower()):
                    continue
                if pattern.match(begin):
                    self.marks[mark] = number
                    break
        self.ends += [
            (numbers[block.begin], numbers[block.end - 1])
            for block in cut
            if block.source == "celery" and block.message.startswith(DEATHS) and of_main(block)
            if block.end <= upto
        ][: MOST_PLACES - len(self.ends)]
        self.celery = self.celery or any(block.source in ("celery", "flower") for block in cut)
        known: set[int] = set()
        for match in match_blocks(lines, cut, signatures=signatures, known=known):
            places = [numbers[line - 1] for line in match.lines]
            self.add(match, places, lines[match.lines[-1] - 1][2])
        for shape in unknown_blocks(lines, cut, known):
            self.group(shape, [numbers[line - 1] for line in shape.lines], numbers[shape.end - 1])

    def add(self, match: Match, places: list[int], last_text: str) -> None:
        # Whether a process ended with its words is only sure once the whole log was read: see ``judging``.
        own = "own" if match.context in ("death", "running") else match.context
        key = (match.signature, match.object, own)
        if key not in self.said and len(self.said) >= MOST_KINDS:
            self.dropped += match.count
            return
        self.said.setdefault(key, Said(match)).more(match, places, last_text)

    def group(self, shape: Shape, places: list[int], end: int) -> None:
        key = (shape.shape, shape.context)
        if key not in self.unknown and len(self.unknown) >= MOST_KINDS:
            self.dropped += shape.count
            return
        kept = self.unknown.setdefault(key, Unrecognised(shape))
        kept.count += shape.count
        kept.end = end
        _add(kept.lines, places)


class Subjects:
    """All subjects of all inputs, as their lines come."""

    def __init__(self, signatures: Sequence[Signature]) -> None:
        self.signatures = signatures
        self.found: dict[tuple[str, str, str], Subject] = {}
        self._now: dict[tuple[str, str, str], str] = {}
        self._waiting = 0

    def put(self, source: str, name: str, replica: str, number: int, text: str, time: str) -> None:
        """A line without what stood before it."""
        key = (source, name, replica)
        role = self._role(key, name, text)
        subject = self.found.get((*key, role)) or self._new(key, role)
        subject.put(number, text, time, self.signatures)
        self._waiting += 1
        if self._waiting >= WAITING_IN_ALL:
            for one in self.found.values():
                one.look(self.signatures)
            self._waiting = sum(len(one.window) for one in self.found.values())

    def end(self) -> list[Subject]:
        """All of them, read to their end; those that said nothing are left out."""
        for subject in self.found.values():
            subject.look(self.signatures, end=True)
        return [subject for subject in self.found.values() if subject.words]

    def _role(self, key: tuple[str, str, str], name: str, text: str) -> str:
        """A server's role where the line is of one; a line without a head belongs to what was before it,
        unless it cannot (servers only go on with lines that are indented)."""
        record = head(text[:LONGEST_HEAD])
        before = self._now.get(key, "")
        if record is not None:
            before = record.source if record.source in SERVERS else ""
        elif before == "rabbitmq" and not _BEGINS.match(text):
            pass  # its records go on in lines that are not indented
        elif before and not name and text[:1] not in ("\t", " ", ""):
            before = ""
        elif name and not before and key not in self._now and (found := _SERVER_NAMES.search(name)):
            before = _ROLES.get(found[0].lower(), "redis")
            if re.search(r"(?i)exporter|celery|worker|beat", name):
                before = ""
        self._now[key] = before
        return before

    def _new(self, key: tuple[str, str, str], role: str) -> Subject:
        if len(self.found) >= MOST_SUBJECTS:
            key, role = (key[0], "further services", ""), ""
        whole = (*key, role)
        if whole not in self.found:
            self.found[whole] = Subject(key[0], key[1], role)
        return self.found[whole]


def _add(lines: list[int], more: Sequence[int]) -> None:
    lines += more
    if len(lines) > MOST_PLACES:
        half = MOST_PLACES // 2
        lines[half:] = lines[-half:]
