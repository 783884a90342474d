"""What the loading of an application raised, as sentences that signatures know (place ``usage``). Pure.

A sentence begins with ``-A MODULE``, ``inside MODULE``, ``package NAME`` or ``environment of MODULE``; what
was raised follows. Each comes with the 0-based place of the line that says it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from celery_triage.signatures.formats import Block, Exc

_LOADING = re.compile(r"While trying to load the module (\S+) the following error occurred")
_NOT_FOUND = re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '?([\w.-]+)'?$")
_MISSING = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")
#: Python's and kombu's own machinery of importing, and Python's of sockets: they raise for others.
_IMPORTING = re.compile(
    r"<frozen (?!os>)|/importlib/__init__\.py$|/kombu/utils/imports\.py$|/celery/utils/imports\.py$"
    r"|/(?:socket|ssl|selectors)\.py$"
)
#: The package that a file is of.
_PACKAGE = re.compile(r"/(?:site|dist)-packages/(\w+)")
#: Where the environment of the process is looked up: a KeyError from there names a variable.
_ENVIRONMENT = re.compile(r"/os\.py$|<frozen os>$")


def refused(block: Block) -> Iterator[tuple[str, int]]:
    """Of a refused command line: what the import of the application raised, the last exception first."""
    loading = _LOADING.search(block.message)
    for exception in reversed(block.exceptions) if loading else ():
        found = _MISSING.match(exception.text)
        itself = found is not None and f"{loading[1]}.".startswith(f"{found[1]}.")
        where = f"-A {loading[1]}" if itself else f"inside {loading[1]}"
        if _ENVIRONMENT.search(raised_in(exception)) and exception.text.startswith("KeyError: "):
            where = f"environment of {loading[1]}"
        yield f"{where}: {exception.text}", exception.place


def missing(block: Block) -> Iterator[tuple[str, int]]:
    """Of a traceback: older versions raise where newer ones say that the module of -A is not there."""
    last = block.exceptions[-1] if block.exceptions else None
    found = _NOT_FOUND.match(last.text) if last is not None else None
    if last is not None and found is not None and "find_app" in last.functions and not last.imported:
        yield f"Unable to load celery application. The module {found[1]} was not found.", last.place


def importing(block: Block) -> Iterator[tuple[str, int]]:
    """Of a traceback: what could not be imported, whatever was raised."""
    for exception in reversed(block.exceptions):
        if file := exception.imported:
            package = _PACKAGE.search(file)
            where = f"package {package[1]}" if package else f"inside {file}"
            yield f"{where}: {exception.text}", exception.place


def raised_in(exception: Exc) -> str:
    """The file whose frame raised it; the machinery of importing and of sockets, which raises for others, is
    left out. Empty without a traceback."""
    return next((file for file in reversed(exception.files) if not _IMPORTING.search(file)), "")
