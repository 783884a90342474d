"""Find known messages in a log, and say in which role each was said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from celery_triage.signatures.bare import as_exception
from celery_triage.signatures.blocks import MISPLACED, blocks
from celery_triage.signatures.catalogue import Signature, catalogue
from celery_triage.signatures.formats import Block, Exc, from_repr
from celery_triage.signatures.loading import importing, missing, raised_in, refused
from celery_triage.signatures.prefixed import (
    FAR,
    LONG_ENOUGH,
    SOON,
    behind_label,
    complaint,
    is_prefix,
    own_words,
    without_key,
)
from celery_triage.signatures.sieve import Sieve
from celery_triage.signatures.speakers import (
    DEATHS,
    OUTSIDE,
    OWN,
    OWN_BARE,
    OWN_IN_POOL,
    in_pool,
    in_task,
    is_task,
    of_main,
)

#: ``death``: the process's own last words, it ends with them; ``running``: its own words, it goes on;
#: ``task``: what a task raised, in a process that goes on; ``logged``: what an application logged with a
#: traceback; ``quoted``: a text inside a message of the application, which says nothing about this process.
CONTEXTS = ("death", "running", "task", "logged", "quoted")
#: Of more places than that only the first and the last ones are kept.
MOST_PLACES = 200

#: Whose usage errors are Celery's: another program's unknown command says nothing of Celery.
_CELERYS = re.compile(r"celery|flower|__main__|python|manage\.py|airflow|django-admin")
#: Celery's records of what a task was given and gave.
_DATA = re.compile(r"Task \S+\[\S+\] (?:received|succeeded|sent|accepted)\b")
#: Records of PostgreSQL that show a client's statement.
_STATEMENTS = ("duration: ", "statement: ", "execute ", "parse ", "bind ")
#: A program's name before what it says of a server's data.
_PROGRAM = re.compile(r"^(?:initdb|postgres|pg_ctl|psql): (?:error: |fatal: )?")
_SIGNS_OF_LIFE = re.compile(r"\s*-{14} \S+@\S+ v\d|celery beat v")


@dataclass(frozen=True)
class Match:
    """One known message as a log has it, all its repetitions together.

    ``context`` is one of CONTEXTS; ``object`` what it is about (option, module, database, host …), may be
    empty; ``lines`` are the 1-based numbers of the lines that say it (at most MOST_PLACES), ``count`` how
    often it was said; ``first`` and ``last`` the times of these, None without; ``text`` the first line that
    says it."""

    code: str
    signature: str
    object: str
    context: str
    lines: tuple[int, ...]
    count: int
    first: str | None
    last: str | None
    text: str
    says: str = ""
    harmless: str = ""

    @property
    def line(self) -> int:
        """The line to quote."""
        return self.lines[0]


@dataclass
class _Seen:
    signature: Signature
    object: str
    context: str
    lines: list[int] = field(default_factory=list)
    count: int = 0


def match(
    lines: Sequence[Sequence[str] | str],
    *,
    running: bool | None = None,
    first_line: int = 1,
    signatures: Iterable[Signature] | None = None,
) -> tuple[Match, ...]:
    """The known messages of one life's log, in the order of their first line.

    ``lines`` are ``[time, stream, text]`` or plain texts. ``running``: whether the process still lives
    (True: its tracebacks did not end it), None if that is not known. ``first_line`` is the number of the
    first of these lines in the whole log. ``signatures``: others than the tool's own."""
    told = [["", "", line] if isinstance(line, str) else line for line in lines]
    return match_blocks(told, blocks(told), running=running, first_line=first_line, signatures=signatures)


def match_blocks(
    lines: Sequence[Sequence[str]],
    cut: Sequence[Block],
    *,
    running: bool | None = None,
    first_line: int = 1,
    signatures: Iterable[Signature] | None = None,
    known: set[int] | None = None,
) -> tuple[Match, ...]:
    """The same for lines that were cut into blocks already. ``known`` takes the 0-based places of all lines
    that say something known."""
    finder = _Finder(lines, cut, tuple(signatures) if signatures is not None else catalogue(), running)
    if known is not None:
        finder.known = known
    return tuple(_as_match(seen, lines, first_line) for seen in finder.find())


@lru_cache(maxsize=8)
def _sieves(known: tuple[Signature, ...]) -> dict[str, Sieve]:
    """A sieve for each place."""
    places = {place for signature in known for place in signature.places}
    return {place: Sieve([one for one in known if place in one.places]) for place in places}


class _Finder:
    def __init__(
        self,
        lines: Sequence[Sequence[str]],
        cut: Sequence[Block],
        known: tuple[Signature, ...],
        running: bool | None,
    ) -> None:
        self.lines, self.running = lines, running
        self.sieves = _sieves(known)
        self.blocks = cut
        self.alive_until = max((n for n, block in enumerate(self.blocks) if _shows_life(block)), default=-1)
        self.seen: dict[tuple[str, str, str], _Seen] = {}
        self.known: set[int] = set()

    def find(self) -> list[_Seen]:
        for number, block in enumerate(self.blocks):
            self.block(number, block)
        return sorted(self.seen.values(), key=lambda seen: seen.lines[0])

    def through(self, place: str, text: str) -> list[Signature]:
        """The signatures of that place whose pattern may match."""
        return self.sieves[place].through(text) if place in self.sieves else []

    def hits(self, place: str, text: str) -> Iterator[tuple[Signature, re.Match[str]]]:
        """The signatures of that place whose pattern matches somewhere in a text, and where."""
        for signature in self.through(place, text):
            if signature.needs in text and (found := signature.pattern.search(text)):
                yield signature, found

    def add(self, signature: Signature, found: re.Match[str], context: str, place: int) -> None:
        if signature.harmless and context == "death":
            context = "running"
        things = (value for name, value in sorted(found.groupdict().items()) if name.startswith("object"))
        object_ = _unquoted((next(filter(None, things), None) or signature.object).strip())
        seen = self.seen.setdefault((signature.id, object_, context), _Seen(signature, object_, context))
        seen.count += 1
        self.known.add(place)
        if len(seen.lines) < MOST_PLACES:
            seen.lines.append(place)
        else:
            seen.lines[MOST_PLACES // 2 :] = [*seen.lines[MOST_PLACES // 2 + 1 :], place]

    def ends(self, number: int) -> str:
        """The context of a block that would end its process: nothing of the process may come after it."""
        return "running" if self.running or number < self.alive_until else "death"

    def block(self, number: int, block: Block) -> None:
        if block.kind == "usage":
            self.usage(block, self.ends(number) == "death")
        elif block.kind == "ignored":
            self.text("line", block.message, "running", block.place)
        elif block.kind == "traceback":
            context = "task" if in_task(block) else self.ends(number)
            if (
                not self.any_of(missing(block), context)
                and not self.exceptions(block, context)
                and context != "task"
            ):
                self.any_of(importing(block), context)
        elif block.kind == "line":
            context = "task" if self.of_next_task(number) else self.ends(number)
            block.message = without_key(block.message)
            if own := own_words(block.message):
                block.kind, block.source, block.message = "record", "celery", own
                self.record(number, block)
            elif (
                not self.text("line", block.message.lstrip(" "), context, block.place)
                and not self.bare(block, context)
                and not self.text(
                    "postgres", _PROGRAM.sub("", block.message), context, block.place, start=True
                )
            ):
                self.prefixed(block, context)
        elif block.source == "mysql":
            self.text("line", block.message, "running", block.place, anywhere=True)
        elif block.source == "postgres" and block.message.startswith(_STATEMENTS):
            pass
        elif block.source in ("postgres", "redis", "rabbitmq"):
            self.text(block.source, block.message, "running", block.place)
        else:
            if block.source == "app" and (own := own_words(block.message, logged=True)):
                block.source, block.message = "celery", own
            if block.source == "app" and block.message.startswith("kernel: "):
                self.text("line", block.message, "running", block.place)
            else:
                self.record(number, block)

    def prefixed(self, block: Block, context: str) -> None:
        """What a line says behind a prefix that no format has."""
        for where in ("message", "line", "redis", "rabbitmq", "postgres"):
            for signature, found in self.hits(where, block.message):
                if (
                    found.start() <= FAR
                    and not signature.pattern.pattern.startswith(("[\\s", "."))
                    and signature.files is None
                    and is_prefix(block.message[: found.start()])
                ):
                    self.add(signature, found, context, block.place)
                    return
        if not self.labelled(block, context):
            self.quoted(block)

    def labelled(self, block: Block, context: str) -> bool:
        """An exception's message without its name, or behind a label (``Error running query: …``)."""
        if (begin := behind_label(block.message)) < 0:
            return False
        text = block.message[begin:]
        for signature, found in self.hits("exception", text):
            close = found.start() <= SOON and found.end() - found.start() >= LONG_ENOUGH
            if close and signature.files is None and not signature.general:
                self.add(signature, found, context, block.place)
                return True
        return False

    def of_next_task(self, number: int) -> bool:
        """Whether a line is the end of a cut traceback that the record below it tells as a task's."""
        below = self.blocks[number + 1] if number + 1 < len(self.blocks) else None
        name = self.blocks[number].message.partition(": ")[0].rpartition(".")[2]
        told = below is not None and below.kind == "record" and is_task(below.message)
        return bool(told and name and f"{name}(" in below.message)

    def usage(self, block: Block, dies: bool) -> None:
        """A refused command line: what the import of the application raised, else the sentence itself.
        Where the process goes on, its application only quotes such a text."""
        context = "death" if dies else "quoted"
        first = self.lines[block.begin][2]
        if block.place != block.begin and MISPLACED.match(first):
            # This is closer than that the option is unknown there.
            self.text("usage", first, context, block.begin)
        if self.any_of(refused(block), context):
            return
        if block.message and (not block.program or _CELERYS.search(block.program)):
            self.text("usage", block.message, context, block.place)

    def record(self, number: int, block: Block) -> None:
        message = block.message
        opening = message[:160].replace("\n", "")  # a narrow window may have broken it
        if opening.startswith(DEATHS) and not in_pool(block):
            context = self.ends(number)
            if not self.exceptions(block, context) and not self.shown(block, context):
                self.text("own", message, context, block.place, anywhere=True)
        elif _DATA.match(message):
            pass  # arguments and results are data
        elif is_task(message):
            self.text("message", message, "running", block.place, anchored=True)
            # The record shows the exception whole where its traceback was cut.
            if (
                not self.exceptions(block, "task", general=False)
                and not self.shown(block, "task")
                and not self.exceptions(block, "task")
                and not self.text("exception", message, "task", block.place, anywhere=True)
            ):
                self.text("message", message, "task", block.place)
        elif OUTSIDE.match(message) or opening.startswith(OWN if of_main(block) else OWN_IN_POOL):
            # What it says of itself is closer than an exception's general sense, and the reason that a record
            # gives is closer than what it complains of.
            if (
                not self.exceptions(block, "running", general=False)
                and not self.text("message", message, "running", block.place, general=False)
                and not self.exceptions(block, "running")
                and not self.text("own", message, "running", block.place, anywhere=True)
            ):
                self.text("message", message, "running", block.place)
        elif block.source == "app" and message.startswith(OWN_BARE):
            # Nobody but Celery says so, whatever the application's format is.
            if not self.exceptions(block, "running", general=False):
                self.text("message", message, "running", block.place)
        elif block.source == "app" and block.exceptions:
            self.exceptions(block, "logged")
        elif of_main(block) and self.text(
            "message", message, "running", block.place, anchored=block.source == "app"
        ):
            pass
        elif not self.exceptions(block, "task" if in_pool(block) else "logged"):
            self.quoted(block)  # no ``log.exception`` of the application's, but words

    def bare(self, block: Block, context: str) -> bool:
        """The last line of a traceback whose rest was cut away, or what a command says of its failure."""
        told = as_exception(block.message)
        return told is not None and self.exception(Exc(*told, block.place), context)

    def shown(self, block: Block, context: str) -> bool:
        """An exception that only the record's own line shows (its traceback is cut or was not printed)."""
        told = from_repr(block.message.split("\n", 1)[0].rstrip())
        if told is None:
            return False
        left = block.cut or Exc("", "", 0)
        return self.exception(Exc(*told, block.place, left.files, left.functions, left.source), context)

    def exceptions(self, block: Block, context: str, *, general: bool = True) -> bool:
        """The last exception of a chain that is known counts: it is what ended it, or what that came from.
        One with a general sense only yields to the special one that it came from."""
        chain = list(reversed(block.exceptions))
        return any(self.exception(exception, context, general=False) for exception in chain) or (
            general and any(self.exception(exception, context) for exception in chain)
        )

    def any_of(self, told: Iterable[tuple[str, int]], context: str) -> bool:
        """The first known one of some sentences about the loading of the application."""
        return any(self.text("usage", text, context, place) for text, place in told)

    def exception(self, exception: Exc, context: str, *, general: bool = True) -> bool:
        for text in _readings(exception.text):
            for signature, found in self.hits("exception", text):
                if signature.general and not general:
                    continue
                if signature.files is None or signature.files.search(raised_in(exception)):
                    self.add(signature, found, context, exception.place)
                    return True
        return False

    def text(
        self,
        where: str,
        text: str,
        context: str,
        place: int,
        *,
        anywhere: bool = False,
        start: bool = False,
        general: bool = True,
        anchored: bool = False,
    ) -> bool:
        for reading in _readings(text):
            for signature in self.through(where, reading):
                if signature.general and not general:
                    continue
                if anchored and signature.pattern.pattern.startswith((".", "(?:.", "[\\s")):
                    continue  # it would match behind any words
                if signature.needs in reading and not (anywhere and signature.files):
                    # One's own words are the first ones; what a command or a server says may follow others.
                    first = start or (where in ("message", "line") and not anywhere)
                    search = signature.pattern.match if first else signature.pattern.search
                    if found := search(reading):
                        self.add(signature, found, context, place)
                        return True
        return False

    def quoted(self, block: Block) -> None:
        """What an application's message holds of known texts, each once: quoted, or a complaint of its own
        where the text is what the message tells (the first one counts then)."""
        message, place = block.message, block.place
        told = complaint(block)
        if block.kind == "line" and told is None:
            return
        said: set[tuple[str, str]] = set()
        for where in ("usage", "exception", "message", "line", "postgres", "redis"):
            for signature, found in self.hits(where, message):
                if signature.files is not None or (signature.id, str(found.groupdict())) in said:
                    continue
                if told is not None and found.start() <= told[1] and found.end() > told[0]:
                    self.add(signature, found, "logged", place)
                    return
                said.add((signature.id, str(found.groupdict())))
                self.add(signature, found, "quoted", place)


def _readings(text: str) -> tuple[str, ...]:
    """A text, and how it reads where a narrow window or a log driver broke it over several lines."""
    if "\n" not in text:
        return (text,)
    return (text, " ".join(map(str.strip, text.split("\n"))), text.replace("\n", ""))


def _unquoted(thing: str) -> str:
    """A name without the marks of a text in Python 2 (``u'name'``)."""
    return thing[2:-1] if thing.startswith(("u'", 'u"')) and thing[-1] == thing[1] else thing


def _shows_life(block: Block) -> bool:
    """Whether a block is the word of a Celery process that goes on: a banner or a record that is no death."""
    if block.kind == "line":
        return bool(_SIGNS_OF_LIFE.match(block.message))
    return (
        block.kind == "record"
        and block.source in ("celery", "flower")
        and not block.message.startswith(DEATHS)
    )


def _as_match(seen: _Seen, lines: Sequence[Sequence[str]], first_line: int) -> Match:
    signature, places = seen.signature, seen.lines
    return Match(
        signature.code,
        signature.id,
        seen.object,
        seen.context,
        tuple(place + first_line for place in places),
        seen.count,
        lines[places[0]][0] or None,
        lines[places[-1]][0] or None,
        lines[places[0]][2],
        signature.says,
        signature.harmless,
    )
