"""Cut log lines into blocks: log records with what belongs to them, tracebacks, usage errors, single lines.

What a line belongs to is told by its form, by its stream and by its time: what a logger writes for one record
arrives within milliseconds, a dying process's traceback comes later or on its own. Lines without times (a
pasted log) are cut by form alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from celery_triage.signatures.formats import Block, Exc, bare
from celery_triage.signatures.formats import head as head_of
from celery_triage.signatures.printed import joined
from celery_triage.signatures.tracebacks import (
    CHAINED,
    EXCEPTION,
    FRAME,
    NAMED,
    TRACEBACK,
    path_of,
)

#: A logger writes one record at once: lines that come later than this after the line before are not of it. A
#: usage error and a dying interpreter write line by line, and a CPU limit may hold them up between two lines.
#: Seconds.
TOGETHER = 0.2
LINE_BY_LINE = 2.0
#: Of longer lines only so much is looked at (characters).
LONGEST = 4000

#: What Python says of an exception that ends nothing.
_IGNORED = re.compile(r"Exception ignored in: |Exception in thread ")
#: What Compose writes behind a process's last words.
_ENDED = re.compile(r" exited with code \d+\s*$")
#: An exception behind an indentation that is not its own.
_INDENTED = re.compile(r"\s+(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception): \S")
#: An exception that says nothing but its name, with its module.
_DOTTED = re.compile(r"(?:[a-z_]\w*\.){1,6}[A-Z]\w+")
#: What people write for lines that they left out.
_LEFT_OUT = re.compile(r"[\[(<]?\s*(?:\.{2,}|…|(?:snip|cut|truncated|omitted)\b).{0,20}$", re.I)
#: A source line that says all of the exception that it raises.
_RAISES = re.compile(r"\s*raise ((?:\w+\.)*[A-Z]\w*)\(([\"'])([^{}]{4,200})\2\)$")
#: What marks a place in the source line above.
_MARKERS = re.compile(r"[\s~^]+$")
#: The margin of an exception group.
_MARGIN = re.compile(r" *(?:\||\+-+[ +]?-*(?: \d+ -+)?| \+ )(?: |$)")
#: The outermost frame of a process: a module, or what runs one for ``python -m``.
_OUTERMOST = re.compile(r", in (?:<module>|_run_module_as_main)$")
#: Of a chain of tracebacks so many lines are looked at for its outermost frame.
LONGEST_CHAIN = 600
#: Records that come without a traceback: what follows is somebody else's (kombu 5.x,
#: ``transport/pyamqp.py``).
_ALONE = ("No hostname was supplied",)
#: A refused command line whose usage was cut off.
_REFUSED = re.compile(r"Error: *(?:Invalid value for .{0,3}-A\b|$)|Unable to load celery application\.")
_USAGE = re.compile(r"Usage: (\S+)")
#: The sentence of Celery 5 about the order of Celery 4.
MISPLACED = re.compile(r"You are using `(?:-A|--app)` as an option of the ")


def blocks(lines: Sequence[Sequence[str]]) -> list[Block]:
    """The blocks of ``[time, stream, text]`` lines, in order; each line is in exactly one."""
    return _Cutter(lines).cut()


class _Cutter:
    def __init__(self, lines: Sequence[Sequence[str]]) -> None:
        self.lines = lines
        self.texts = [line[2][:LONGEST] for line in lines]
        self.left = Exc("", "", 0)  # what the last traceback ended with

    def cut(self) -> list[Block]:
        found: list[Block] = []
        place = 0
        while place < len(self.texts):
            block = self.block(place)
            found.append(block)
            place = block.end
        return joined(found)

    def block(self, place: int) -> Block:
        text = self.texts[place]
        head = head_of(text) or bare(text)
        if head is not None:
            return self.record(place, head)
        ignored = (
            _IGNORED.match(text) and place + 1 < len(self.texts) and TRACEBACK.match(self.texts[place + 1])
        )
        cut = self.cut_traceback(place)
        if ignored or TRACEBACK.match(text) or cut >= 0:
            block = Block(
                "ignored" if ignored else "traceback", place, place + 1, text if ignored else "", place=place
            )
            into = block.exceptions
            before = place + 1 if ignored else place if TRACEBACK.match(text) else cut - 1
            block.end = self.traceback(before, into, len(self.texts))
            self.raised(into, block)
            return block
        if _USAGE.match(text) or MISPLACED.match(text) or self.refused(place):
            return self.usage(place)
        if place + 1 < len(self.texts) and NAMED.match(text) and FRAME.match(self.texts[place + 1]):
            return self.turned(place)
        if NAMED.match(text) and text.endswith(":") and place + 1 < len(self.texts):
            block = Block("traceback", place, place + 1, place=place)
            block.exceptions.append(Exc(text.rstrip(":"), "", place))
            block.end = self.rest_of_message(place + 1, len(self.texts), block.exceptions[0])
            return block
        return Block("line", place, place + 1, text, place=place)

    def refused(self, place: int) -> bool:
        """Whether a line begins what Celery says of an application that it cannot load."""
        text = self.texts[place]
        return bool(_REFUSED.match(text)) and (
            text.strip() != "Error:" or any("Unable to load" in line for line in self.texts[place + 1 :][:2])
        )

    def turned(self, place: int) -> Block:
        """A traceback with its exception first, as monitoring services write it."""
        name, _, message = self.texts[place].partition(": ")
        block = Block("traceback", place, place + 1, place=place)
        end, files = place + 1, []
        while end < len(self.texts) and (self.texts[end][:1] in (" ", "\t") or FRAME.match(self.texts[end])):
            if found := FRAME.match(self.texts[end]):
                # These services leave out where the packages lie.
                files.append("/" + path_of(found[1]).lstrip("/"))
            end += 1
        block.exceptions.append(Exc(name.rstrip(":"), message, place, files))
        block.end = end
        return block

    def without_margin(self, place: int) -> None:
        """Take the margin off an exception group, so that its parts read as tracebacks of their own."""
        while place < len(self.texts) and (found := _MARGIN.match(self.texts[place])):
            self.texts[place] = self.texts[place][found.end() :] if "|" in found[0] else ""
            while self.texts[place][:1] in ("|", " ") and (more := _MARGIN.match(self.texts[place])):
                self.texts[place] = self.texts[place][more.end() :] if "|" in more[0] else ""
            place += 1

    def cut_traceback(self, place: int) -> int:
        """Where the first whole frame of a traceback stands whose beginning was cut off, as at the front of a
        log's tail; -1 for any other line. What stands before it is of the frame that was cut."""
        first = self.texts[:3]
        if place or NAMED.match(first[0]):
            return -1
        begun = next((at for at, text in enumerate(first) if TRACEBACK.match(text)), len(first))
        return next((at for at, text in enumerate(first[:begun]) if FRAME.match(text)), -1)

    def record(self, place: int, head: Block) -> Block:
        """A record's own lines: up to the next head, a pause, another stream or a usage error."""
        end = place + 1
        while end < len(self.texts) and self.belongs(place, end, head):
            end += 1
        head.begin, head.end, head.place = place, end, place
        words = [head.message]
        at = place + 1
        while at < end:
            if TRACEBACK.match(self.texts[at]):
                at = self.traceback(at, head.exceptions, end)
                self.raised(head.exceptions, head)
            else:
                if head.source == "app" and not head.exceptions and _DOTTED.fullmatch(self.texts[at]):
                    head.exceptions.append(Exc(self.texts[at], "", at))
                elif len(words) < 40:
                    words.append(self.texts[at])
                at += 1
        if not head.message.strip() and head.source == "rabbitmq" and end > place + 1:
            head.place = place + 1  # its head says nothing but the time
        head.message = "\n".join(words)[:LONGEST]
        return head

    def belongs(self, first: int, place: int, head: Block) -> bool:
        text = self.texts[place]
        if head_of(text) is not None or self.lines[place][1] != self.lines[first][1]:
            return False
        if _IGNORED.match(text) and head.process == "MainProcess":
            return False
        pause = self.pause(place)
        if pause is None and (_USAGE.match(text) or MISPLACED.match(text) or self.refused(place)):
            return False
        if pause is not None and pause >= TOGETHER:
            return False
        if not TRACEBACK.match(text):
            return True
        # Only records of errors, and of tasks that are tried again, come with a traceback. One that nobody
        # caught is the process's end, whatever was logged before it.
        with_traceback = head.level not in ("INFO", "DEBUG") or head.message.startswith("Task ")
        return with_traceback and not head.message.startswith(_ALONE) and not self.uncaught(place)

    def uncaught(self, place: int) -> bool:
        """Whether a traceback goes up to the module that the interpreter was started with: a logger's begins
        where the exception was caught, a function in nearly all cases."""
        first, begun = "", False
        for text in self.texts[place : place + LONGEST_CHAIN]:
            if TRACEBACK.match(text):
                first, begun = "", True
            elif begun and FRAME.match(text):
                first, begun = text, False
            elif head_of(text) is not None:
                break
        return bool(_OUTERMOST.search(first))

    def pause(self, place: int) -> float | None:
        try:
            before, now = (datetime.fromisoformat(self.lines[p][0]) for p in (place - 1, place))
            return (now - before).total_seconds()
        except (ValueError, TypeError):
            return None

    def traceback(self, place: int, into: list[Exc], limit: int) -> int:
        """Read the exceptions of a traceback and of those chained to it; the place behind them."""
        while True:
            if place >= 0 and "Group" in self.texts[place][:40]:
                self.without_margin(place + 1)
            place += 1
            files: list[str] = []
            functions: list[str] = []
            source = ""
            while place < limit and self.frame(place, limit):
                text = self.texts[place]
                if found := FRAME.match(text):
                    files.append(path_of(found[1]))
                    functions.append(found[2] or "")
                    dedented = self.dedented(place, limit)
                    source = self.texts[place + dedented] if dedented else ""
                    place += dedented
                elif not text.strip() and not self.goes_on(place + 1, limit):
                    if place + 1 < limit and files and NAMED.match(self.texts[place + 1]):
                        place += 1  # some loggers put a blank line before the exception, too
                    break
                elif text.strip() and not _MARKERS.fullmatch(text):
                    source = text
                place += 1
            self.left = Exc("", "", place, files, functions, source)
            if place >= limit or head_of(self.texts[place]) is not None:
                return place  # cut off
            found = EXCEPTION.match(self.texts[place].lstrip() if files else self.texts[place])
            if found is None:
                return place
            exception = Exc(found["type"], found["message"] or "", place, files, functions, source)
            into.append(exception)
            place = self.rest_of_message(place + 1, limit, exception)
            after = self.chained(place, limit)
            if after is None:
                return place
            place = after

    def raised(self, into: list[Exc], block: Block) -> None:
        """Keep what a traceback shows that was cut before its exception: where it came from, and what its
        last line raises where that says so."""
        if into:
            return
        block.cut = self.left
        if found := _RAISES.match(self.left.source):
            left = self.left
            into.append(Exc(found[1], found[3], left.place - 1, left.files, left.functions, left.source))

    def frame(self, place: int, limit: int) -> bool:
        """Whether a line is of a traceback's frames."""
        text = self.texts[place]
        if text[:1] in (" ", "\t") and _INDENTED.match(text) and not self.goes_on(place + 1, limit):
            return False  # some viewer moved the exception in
        told = FRAME.match(text) or _MARKERS.match(text) or _LEFT_OUT.match(text)
        return text[:1] in (" ", "\t", "", "|") or bool(told)

    def dedented(self, place: int, limit: int) -> int:
        """How far behind a frame its source line stands without its indentation, which some viewer took away;
        0 where it stands as it should."""
        if self.texts[place][:1] in (" ", "\t") or place + 1 >= limit:
            return 0
        at = place + 1
        while at + 1 < limit and not self.texts[at].strip():
            at += 1
        text = self.texts[at]
        mine = text.strip() and text[:1] not in (" ", "\t") and head_of(text) is None
        told = FRAME.match(text) or NAMED.match(text) or TRACEBACK.match(text)
        return at - place if mine and not told else 0

    def goes_on(self, place: int, limit: int) -> bool:
        """Whether more of a traceback's frames follow a blank line."""
        return place < limit and bool(FRAME.match(self.texts[place]))

    def rest_of_message(self, place: int, limit: int, exception: Exc) -> int:
        """The further lines of an exception's message: up to a blank line, a head, another traceback."""
        more: list[str] = []
        while place < limit and len(more) < 30:
            text = self.texts[place]
            pause = self.pause(place)
            if not text.strip() or head_of(text) is not None or TRACEBACK.match(text) or _USAGE.match(text):
                break
            if _ENDED.search(text):
                break
            if pause is not None and pause >= LINE_BY_LINE:
                break
            more.append(text)
            place += 1
        exception.message = "\n".join([exception.message, *more])[:LONGEST]
        return place

    def chained(self, place: int, limit: int) -> int | None:
        """The place of the next traceback of a chain, None where the chain ends here."""
        at = place
        while at < limit and at - place < 4:
            text = self.texts[at].strip()
            if text in CHAINED:
                at += 1
                while at < limit and not self.texts[at].strip():
                    at += 1
                return at if at < limit and TRACEBACK.match(self.texts[at]) else None
            if text:
                return None
            at += 1
        return None

    def usage(self, place: int) -> Block:
        """A usage error of a command line: all up to its sentence behind ``Error:``, and what explains it."""
        block = Block("usage", place, place + 1, place=place)
        at, seen = place, -1
        while at < len(self.texts) and at - place < 400:
            text = self.texts[at]
            pause = self.pause(at) if at > place else None
            if at > place and (head_of(text) is not None or (pause is not None and pause >= LINE_BY_LINE)):
                break
            if found := _USAGE.match(text):
                if block.program:
                    break
                block.program = found[1]
            if seen < 0 and (text.startswith("Error:") or (at == place and self.refused(place))):
                seen = at
            if TRACEBACK.match(text):
                at = self.traceback(at, block.exceptions, len(self.texts))
                continue
            if seen < 0 and at - place > 12 and block.program:
                break  # a help text, no error
            at += 1
        block.end = max(at, place + 1)
        if seen < 0 and MISPLACED.match(self.texts[place]):
            seen = place
        if seen >= 0:
            block.place = seen
            words = [text.strip() for text in self.texts[seen : min(block.end, seen + 12)]]
            block.message = " ".join(word for word in words if word)[:LONGEST]
        return block
