"""The parts that a log is made of, and the heads by which the log formats of this world begin a record."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_CELERY = re.compile(
    r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}): (\w+)/([\w:.()-]+)\] ?"
    r"(?:\[\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?\] )?"
)
#: The same, its beginning lost where it was copied.
_CELERY_CUT = re.compile(
    r"(?:\[ {0,8}|[\d: ,-]{0,24}: )?(DEBUG|INFO|WARNING|ERROR|CRITICAL)/"
    r"(MainProcess|Beat|(?:Fork|Spawn)?PoolWorker-\d+(?::\d+)?|MainThread)\] ?"
)
_TORNADO = re.compile(r"\[([DIWEC]) (\d{6} \d\d:\d\d:\d\d) (\w+:\d+)\] ?")
_POSTGRES = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \w{1,5}(?: \[\d+\])?:? (?:\S{1,60}@\S{1,60} )?"
    r"(LOG|FATAL|ERROR|WARNING|PANIC|HINT|DETAIL|STATEMENT|NOTICE|CONTEXT):  ?"
)
_REDIS = re.compile(r"\d+:[MSCX] \d\d \w{3} (?:\d{4} )?\d\d:\d\d:\d\d\.\d{3} ([*#.-]) ")
_RABBIT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3,6}(?:[+-]\d\d:\d\d)? \[(\w+)\] <[\d.]+> ")
#: RabbitMQ up to 3.6: the record itself stands in the lines below.
_RABBIT_OLD = re.compile(r"\**=(ERROR|WARNING|INFO|CRASH|SUPERVISOR|PROGRESS) REPORT==== .{1,60} ===")
#: PostgreSQL's words without its time, as ``psql`` or a client shows them; ``ERROR:`` alone is anybody's.
_POSTGRES_BARE = re.compile(r" {0,4}(?:(LOG|FATAL|PANIC|DETAIL|HINT):  ?|(ERROR|WARNING):  )(?=[A-Za-z\"])")
#: MySQL and MariaDB: the number of a thread, or the image's entrypoint, tells them from an application.
_MYSQL = re.compile(
    r"(?:\d{4}-\d\d-\d\d[T ]|\d{6} ) ?\d{1,2}:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?"
    r"(?: (?:\d+|0x\w+) \[(Note|Warning|ERROR|System)\] | \[(Note|Warn|ERROR)\] \[Entrypoint\]: )"
    r"(?:\[MY-\d+\] \[\w+\] )?"
)
#: A logger of Celery's and no level, as some applications format records.
_LEVELLESS = re.compile(
    r"(?:celery\.(?:worker|beat|app|bootsteps|concurrency|backends|utils|pool|redirected|task)(?:\.[a-z_]+)*"
    r"|kombu\.(?:connection|common|pidbox|transport)(?:\.[a-z_]+)*|multiprocessing): (?=\S)"
)
_ANY_LEVEL = "DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL"
_OTHER = re.compile(
    r"(?:\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d[.,\d]*\S{0,6}\s"
    rf"(?:.{{0,60}}?\b(?P<a>{_ANY_LEVEL})\b|.{{0,160}}? - (?P<f>{_ANY_LEVEL})(?= - ))"
    r"|(?P<b>DEBUG|INFO|WARNING|ERROR|CRITICAL):[\w.-]+:"
    rf"|\[?(?P<d>{_ANY_LEVEL})\]?:? {{1,9}}\[?\d{{4}}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*\]?"
    rf"|\d\d:\d\d:\d\d(?:[.,]\d+)? (?:\[\w{{1,20}}\] )?[|\[]? ?(?P<e>{_ANY_LEVEL})\b"
    r"|\{\"[^{}]{0,400}\"level(?:name)?\": ?\"(?P<c>\w+)\")",
    re.I,
)
#: gunicorn's own words: the process's that they tell of follow on their own lines.
_GUNICORN = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[")
#: The logger of a record that Celery or its parts wrote, in whatever format the application chose.
_LOGGER = re.compile(
    r"(?:[\s\[\](){}:|/,-]|[\d:/.,]+|\b(?:AM|PM|[\w-]+\.py:\d+|DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL)\b)*"
    r"\b(?:celery\.(?:worker|beat|app|bootsteps|concurrency|backends|bin|utils|pool|platforms|events)"
    r"|kombu|billiard|amqp|flower|tornado)(?:\.\w+)*(?::\w+:\d+)?[\s:|\])-]+(?:\d+ +){0,2}"
)
#: Where loguru says that a record was made.
_PLACE = re.compile(r"^[\w.]+:[\w<>]+:\d+ - ")
#: So much of a line shows whether it begins a record (characters).
LONGEST_HEAD = 600
_LEVELS = {
    "D": "DEBUG",
    "I": "INFO",
    "W": "WARNING",
    "E": "ERROR",
    "C": "CRITICAL",
    "WARN": "WARNING",
    "#": "WARNING",
    "*": "INFO",
    ".": "DEBUG",
    "-": "DEBUG",
    "LOG": "INFO",
    "PANIC": "FATAL",
    "HINT": "INFO",
    "DETAIL": "INFO",
    "STATEMENT": "INFO",
    "NOTICE": "INFO",
    "NOTE": "INFO",
    "SYSTEM": "INFO",
    "CONTEXT": "INFO",
}
#: A class and its number, as beat shows what ended it: ``<class '_gdbm.error'>: error(13, 'Permission
#: denied')``.
_CLASS = re.compile(
    r"<class '(?P<type>[\w.]+)'>: \w+\((?P<errno>\d{1,3}), (?P<quote>[\"'])(?P<message>.*)(?P=quote),?\)$"
)
#: ``SomeError('its message')``, as Celery shows an exception in a record.
_REPR = re.compile(
    r"(?P<type>[A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit|NotFound|Refused|Denied|Lost|Mismatch"
    r"|Ready|Failed|Disallowed|Registered|Exceeded|Conflict|Closed|Forced|Configured))\("
    r"(?:(?P<errno>\d{1,4}), )?(?P<quote>[\"'])(?P<message>.*)(?P=quote),?\)(?: +[\[(][^\"']{1,200}[\])])?$",
    re.S,
)


#: What beat raised, its class named before it; what follows the message may be cut.
_CUT_REPR = re.compile(r"<class '[\w.]+'>: (?P<type>\w+)\([\"'](?P<message>.{8,})", re.S)


_FROM = re.compile(r"\s*from ([\w.]{1,80}) import ")
_NAME_ALONE = re.compile(r"cannot import name '?(\w+)'?(?=\n|$)")
_MODULE_ALONE = re.compile(r"No module named '?(\w+)'?(?=\n|$)")


@dataclass
class Exc:
    """One exception of a traceback: its type and message, the 0-based place of its line, the files of its
    frames and their functions (the last one raised it), the source line of the last one."""

    type: str
    message: str
    place: int
    files: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    source: str = ""

    @property
    def imported(self) -> str:
        """The file of the module whose import raised it; empty where none was being imported, or only the one
        that the interpreter was started with."""
        inside = (at for at in range(len(self.functions) - 1, 0, -1) if self.functions[at] == "<module>")
        return next((self.files[at] for at in inside if not self.files[at].startswith("<")), "")

    def importing(self, module: str) -> bool:
        """Whether a module of the application's is being imported further up: an import from it goes in a
        circle."""
        path = "/" + module.replace(".", "/")
        frames = zip(self.files, self.functions, strict=False)
        return any(
            function == "<module>"
            and file.endswith((f"{path}.py", f"{path}/__init__.py"))
            and "-packages/" not in file
            for file, function in frames
        )

    @property
    def text(self) -> str:
        """As Python prints it: ``type: message``. What an import that failed was asked for stands only in the
        source line before Python 3.7 (``cannot import name 'x'``), and in part in Python 2 (``No module named
        x`` for ``p.x``): it is put in."""
        message = self.message
        if message and "import" in self.source and (asked := _FROM.match(self.source)):
            if name := _NAME_ALONE.match(message):
                partly = "partially initialized module " if self.importing(asked[1]) else ""
                message = f"cannot import name '{name[1]}' from {partly}'{asked[1]}'{message[name.end() :]}"
            elif (part := _MODULE_ALONE.match(message)) and asked[1].endswith(f".{part[1]}"):
                return f"ModuleNotFoundError: No module named '{asked[1]}'"
        return f"{self.type}: {message}" if message else self.type


@dataclass
class Block:
    """Lines that belong together: ``begin`` to ``end`` (0-based, half open). ``kind``: record, traceback,
    usage or line. ``source``: celery, flower, postgres, mysql, redis, rabbitmq, app or empty. ``message``: a
    record's text without its head and traceback, a usage error's sentence, a line. ``cut``: where a traceback
    came from whose exception was cut off."""

    kind: str
    begin: int
    end: int
    message: str = ""
    source: str = ""
    level: str = ""
    process: str = ""
    place: int = 0
    exceptions: list[Exc] = field(default_factory=list)
    program: str = ""
    cut: Exc | None = None


def head(text: str) -> Block | None:
    """A record begun by a line with the head of a known log format, None for other lines."""
    first = text[:1]
    if first == "[":
        if found := _CELERY.match(text):
            process = found[3].partition("(")[0]  # Celery 3 adds the number of the process
            return Block("record", 0, 0, text[found.end() :], "celery", found[2], process)
        if found := _TORNADO.match(text):
            return Block("record", 0, 0, text[found.end() :], "flower", _LEVELS[found[1]])
        if found := _CELERY_CUT.match(text):
            return Block("record", 0, 0, text[found.end() :], "celery", found[1], found[2])
        if _GUNICORN.match(text):
            return None
    if first.isdigit():
        if found := _POSTGRES.match(text):
            return Block("record", 0, 0, text[found.end() :], "postgres", _LEVELS.get(found[1], found[1]))
        if found := _REDIS.match(text):
            return Block("record", 0, 0, text[found.end() :], "redis", _LEVELS[found[1]])
        if found := _RABBIT.match(text):
            return Block("record", 0, 0, text[found.end() :], "rabbitmq", found[1].upper())
        if found := _MYSQL.match(text):
            level = (found[1] or found[2]).upper()
            return Block("record", 0, 0, text[found.end() :], "mysql", _LEVELS.get(level, level))
    if first in ("=", "*") and (found := _RABBIT_OLD.match(text)):
        level = {"CRASH": "ERROR", "SUPERVISOR": "ERROR", "PROGRESS": "INFO"}.get(found[1], found[1])
        return Block("record", 0, 0, text[found.end() :], "rabbitmq", level)
    if first.isdigit() or first in "DIWEC:":
        if found := _CELERY_CUT.match(text):
            return Block("record", 0, 0, text[found.end() :], "celery", found[1], found[2])
    if first in ("c", "k", "m") and (found := _LEVELLESS.match(text)):
        return Block("record", 0, 0, text[found.end() :], "celery", "", "MainProcess")
    if (first.isdigit() or first in "[DIWEC{") and (found := _OTHER.match(text[:LONGEST_HEAD])):
        return _applications(text, found)
    return None


def bare(text: str) -> Block | None:
    """A record of PostgreSQL's without its head. In the middle of another record it begins nothing."""
    found = _POSTGRES_BARE.match(text)
    if found is None:
        return None
    level = found[1] or found[2]
    return Block("record", 0, 0, text[found.end() :], "postgres", _LEVELS.get(level, level))


def _applications(text: str, found: re.Match[str]) -> Block:
    """A record in a format of the application's; where its logger is one of Celery's, Celery speaks."""
    level = next(filter(None, (found[group] for group in "abdecf"))).upper()
    level, rest = _LEVELS.get(level, level), text[found.end() :]
    # The logger stands before the level or behind it.
    logger = _LOGGER.match(rest)
    own = logger or _LOGGER.match(re.sub(r"^\S+ \S+", "", text[: found.end()]))
    message = rest[logger.end() :] if logger else _PLACE.sub("", rest.lstrip(" :-]|"))
    if own is None:
        return Block("record", 0, 0, message, "app", level)
    process = re.search(r"\b(?:Fork|Spawn)?PoolWorker-\d+", text[: found.end() + 60])
    return Block("record", 0, 0, message, "celery", level, process[0] if process else "MainProcess")


def from_repr(text: str) -> tuple[str, str] | None:
    """Type and message of an exception that a record shows as ``SomeError('message')``."""
    found = _REPR.search(text) or _CLASS.search(text)
    if found is None and (cut := _CUT_REPR.search(text)):  # the line ends in the middle of it
        return cut["type"], cut["message"].replace("\\n", "\n")
    if found is None:
        return None
    message = found["message"].replace("\\n", "\n").replace("\\'", "'").replace('\\"', '"')
    if found["type"] == "KeyError":
        return found["type"], repr(message)  # as a traceback prints its key
    if found["errno"] and len(found["errno"]) == 4:  # a MySQL server's or client's
        return found["type"], f'({found["errno"]}, "{message}")'
    return found["type"], f"[Errno {found['errno']}] {message}" if found["errno"] else message
