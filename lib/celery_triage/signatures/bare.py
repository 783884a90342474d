"""Exceptions in a line alone: the end of a traceback that was cut away, or what a command says. Pure."""

from __future__ import annotations

import re

from celery_triage.signatures.formats import from_repr

_BARE = re.compile(
    r"(?P<type>[A-Za-z_][\w.]{0,120}(?:Error|Exception|NotFound|Refused|Disallowed|Registered|Exceeded|Mismatch"
    r"|Conflict|Full|Login|Failed|Forbidden|Locked|gaierror)|(?:[a-z_]\w{0,60}\.){1,6}(?:[A-Z]\w{1,60}|error)"
    r"|_?[gn]?dbm\.error|psql: error|psql|pg_dump|createdb"
    r"|connection to server at \"[^\"]{1,255}\"(?: \([^)]{1,60}\))?, port \d+ failed)(?:: |(?<=Error) "
    r"(?=connection (?:failed|to server)))(?P<message>.+)"
)
#: An error reply of Redis alone, as its own command line shows it.
_REPLY = re.compile(
    r"(?:\(error\) )?(?=(?:MISCONF|OOM|READONLY|NOAUTH|WRONGPASS|LOADING|MASTERDOWN|DENIED|NOPERM|CROSSSLOT"
    r"|CLUSTERDOWN|ERR) [A-Za-z'])"
)
#: What redis-py says, without its exception's name.
_REDIS_SAYS = re.compile(r"(?:Error: )?(?=Error -?\d+ connecting to \S+:\d+\. )")
#: An exception that says nothing but its name.
_NAME_ALONE = re.compile(r"(?:[a-z_]\w{0,60}\.){1,6}[A-Z]\w{2,60}")
#: The stamp of gunicorn's records, which programs beside it take over.
_GUNICORN = re.compile(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[[A-Z]+\] ")
#: A line that is nothing but an exception as Python represents it.
_SHOWN = re.compile(r"\w{1,80}\([\"']")


def as_exception(text: str) -> tuple[str, str] | None:
    """Type and message of a line that is an exception, None for any other line."""
    text = _GUNICORN.sub("", text.strip()).lstrip("',\"[ ")
    if found := _REPLY.match(text):
        return "ResponseError", text[found.end() :]
    if found := _REDIS_SAYS.match(text):
        return "redis.exceptions.ConnectionError", text[found.end() :]
    if _NAME_ALONE.fullmatch(text):
        return text, ""
    if shown := from_repr(text) if _SHOWN.match(text) else None:
        return shown
    found = _BARE.match(text)
    return (found["type"], found["message"]) if found else None
