"""The lines of Python's tracebacks."""

from __future__ import annotations

import re

TRACEBACK = re.compile(r"(?: *[|+] *)?(?:Exception Group )?Traceback \(most recent call last\):\s*$")
CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
EXCEPTION = re.compile(r"(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*)|:?$)")
#: An exception by its name alone, as nothing else is written.
NAMED = re.compile(
    r"(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Warning|NotFound|Refused|Denied|Lost"
    r"|Exceeded|Registered|Disallowed|Mismatch|Conflict)|(?<=\.)[A-Z]\w+)(?:: .*|:?$)|_?[gn]?dbm\.error: .+"
)
FRAME = re.compile(r'\s*File "([^"]*)", line \d+(?:, in (\S+))?')
_PACKAGES = re.compile(
    r"(?:celery|kombu|amqp|redis|billiard|vine|flower|django|sqlalchemy|psycopg2?|tornado)/"
)


def path_of(file: str) -> str:
    """A frame's file, with the same separators on every system. Who cut it off before a well-known package
    finds that below a folder all the same."""
    file = file.replace("\\", "/")
    return f"/{file}" if _PACKAGES.match(file) else file
