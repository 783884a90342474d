"""JSON lines as the lines that they stand for: Docker's json-file, container collectors, the journal, and
structured logs of applications and servers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery_triage.signatures.formats import from_repr
from celery_triage.signatures.tracebacks import CHAINED

_MESSAGE = ("message", "msg", "event", "MESSAGE", "log", "text", "textPayload")
_LEVEL = ("level", "levelname", "severity", "log.level", "error_severity", "lvl", "loglevel", "PRIORITY")
_TIME = ("time", "timestamp", "@timestamp", "asctime", "ts", "created_at", "__REALTIME_TIMESTAMP")
_TRACE = (
    "exc_info",
    "exception",
    "traceback",
    "stack_trace",
    "stack",
    "error.stack_trace",
    "exc_text",
    "exc",
    "error",
    "errors",
)
_LOGGER = ("logger", "name", "logger_name", "log.logger")
_NAME = ("container_name", "CONTAINER_NAME", "service", "container", "_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER")
_SYSLOG = {"0": "CRITICAL", "1": "CRITICAL", "2": "CRITICAL", "3": "ERROR", "4": "WARNING"}
_LEVELS = {"FATAL": "CRITICAL", "PANIC": "CRITICAL", "ERR": "ERROR", "WARN": "WARNING", "CRIT": "CRITICAL"}
#: The time of a line that is made of JSON: readers of lines want one.
STAND_IN = "2000-01-01 00:00:00,000"
#: Loggers whose records are a Celery process's own words.
_OWN = ("celery", "kombu", "billiard", "amqp", "flower", "tornado")


@dataclass(frozen=True)
class Record:
    """What a JSON line stands for: its text (several lines where a traceback is in it), whose it is, when."""

    text: str
    name: str = ""
    time: str = ""
    partial: bool = False


def from_json(text: str) -> Record | None:
    """The record of one line, None where the line is no JSON object that holds a message."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        cut = _CUT.match(text)
        return Record(cut[1].replace("\\n", "\n").replace('\\"', '"').rstrip()) if cut else None
    if not isinstance(data, dict):
        return None
    for inner in ("record", "jsonPayload"):  # loguru's serialised form; Google Cloud Logging
        if isinstance(data.get(inner), Mapping):
            data = {**data, **data[inner]}
    message = _first(data, _MESSAGE)
    if message is None:
        return None
    time = _first(data, _TIME) or ""
    if isinstance(data.get("log"), str) and not _first(data, _LEVEL):
        kubernetes = data.get("kubernetes")
        name = _first(data, _NAME) or _first(kubernetes, ("container_name",)) or ""
        whole = data["log"].endswith("\n") or "stream" not in data
        return Record(data["log"].rstrip("\r\n"), name.lstrip("/"), time, not whole)
    name = (_first(data, _NAME) or "").lstrip("/").removesuffix(".service")
    level = _first(data, _LEVEL)
    trace = _first(data, _TRACE) or ""
    if shown := from_repr(trace) if trace.endswith(")") and "\n" not in trace else None:
        trace = f"{_BEGIN}\n{shown[0]}: {shown[1]}"
    if level is None or "MESSAGE" in data:
        return Record(message, name, time)
    if "error_severity" in data:  # PostgreSQL's jsonlog
        return Record(f"2000-01-01 00:00:00 UTC [1] {level}:  {message}", name, time)
    return Record("\n".join(filter(None, (_head(data, level, message), trace.rstrip()))), name, time)


def _head(data: Mapping[str, Any], level: str, message: str) -> str:
    """The record's first line, as Celery or an application would have written it without JSON."""
    word = _LEVELS.get(level.upper(), level.upper())
    logger = _first(data, _LOGGER) or ""
    process = _first(data, ("processName", "process_name", "process")) or "MainProcess"
    if logger.split(".")[0] in _OWN:
        return f"[{STAND_IN}: {word}/{process}] {message}"
    return f"{STAND_IN} {word} {logger}: {message}" if logger else f"{STAND_IN} {word} {message}"


def shown(text: str) -> str:
    """A record as people are to see it: without the time that stands in for the one that JSON keeps apart."""
    return text.replace(f"[{STAND_IN}: ", "[", 1).removeprefix(f"{STAND_IN} ")


def _first(data: Any, keys: tuple[str, ...]) -> str | None:
    """The first of some keys that holds a text or a number, as text; lists of texts are joined."""
    if not isinstance(data, Mapping):
        return None
    for key in keys:
        value = data.get(key)
        if value is None and "." in key:
            outer, inner = key.split(".", 1)
            value = data[outer].get(inner) if isinstance(data.get(outer), Mapping) else None
        if isinstance(value, Mapping):
            value = value.get("name") or value.get("message") or value.get("repr")
        if isinstance(value, list):
            told = [item.get("message") if isinstance(item, Mapping) else item for item in value[:20]]
            value = "\n".join(item for item in told if isinstance(item, str))
        if isinstance(value, str) and value:
            return _SYSLOG.get(value, value) if key == "PRIORITY" else value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
    return None


#: A line of Docker's json-file whose end was cut off.
_CUT = re.compile(r'\{"log": ?"((?:[^"\\]|\\.){10,})\Z')
_BEGIN = "Traceback (most recent call last):"
#: A traceback whose ends of line were written out, its beginning cut off.
_WRITTEN_OUT = re.compile(r"\)\\n(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception): .{8,300}?\\n")
_FRAME = re.compile(r'\s*(?=File "[^"]{1,400}", line \d+, in )')
#: A frame and its source behind it.
_SOURCE = re.compile(r'^(File "[^"]{1,400}", line \d+, in \S+) ?')
#: The exception behind the last frame and its source.
_RAISED = re.compile(
    r"\s(?=(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|NotFound|Refused|Denied|Lost|Exceeded"
    r"|Registered|Disallowed|Mismatch|Conflict|Failed|Forbidden)(?::\s|$))"
)
_CHAINED = re.compile(rf"\s*({'|'.join(map(re.escape, CHAINED))})\s*")


def unfolded(text: str) -> list[str]:
    """The lines of a traceback that a collector joined to one line, or whose ends of line it wrote as
    ``\\n``; any other line as it is."""
    if text.count("\\n") > 1 and _WRITTEN_OUT.search(text):
        return text.replace("\\r", "").replace("\\n", "\n").split("\n")
    before, begin, behind = text.partition(_BEGIN)
    if begin and not behind.strip() and before[-1:] in (")", "'", '"'):
        return [before, begin]  # the end of a line was lost
    if not begin or not behind.strip():
        return [text]
    if "\\n" in behind[:20]:
        whole = (begin + behind).replace("\\r", "").replace("\\n", "\n").replace('\\"', '"')
        return [*filter(str.strip, [before.replace("\\n", " ").rstrip()]), *whole.split("\n")]
    if _FRAME.match(behind) is None:
        return [text]
    lines = [before.rstrip()] if before.strip() else []
    for number, part in enumerate(_CHAINED.split(begin + behind)):
        if number % 2:
            lines += ["", part, ""]
            continue
        frames = _FRAME.split(part.replace(_BEGIN, "", 1).strip())
        *whole, last = [frame for frame in frames if frame]
        raised = _RAISED.split(last, 1)
        shown = (_SOURCE.sub(r"  \1\n    ", frame).split("\n") for frame in (*whole, raised[0]))
        lines += [_BEGIN, *(line for frame in shown for line in frame), *raised[1:]]
    return lines
