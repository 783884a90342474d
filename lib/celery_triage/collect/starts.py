"""The files that Docker or a script starts directly: may they be executed, and by what?

Linux looks at the first bytes of a file: a program, or ``#!`` and the interpreter. A script without that line
is refused by the kernel (``exec format error``; a shell that calls it runs it all the same), one whose line
ends like a line of Windows asks for an interpreter whose name ends in a carriage return, and one whose
interpreter is not in the image is told by the same words as one that is not there itself.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any

from celery_triage.collect.image import Image
from celery_triage.stack import Service

#: Of more files than this nobody is started with.
MOST = 6
_PERMISSIONS = 0o777
_SHELL = re.compile(r"(?:ba|da|a|k|z)?sh$")
_NOTHING: dict[str, Any] = {
    "kind": "unread",
    "windows": False,
    "interpreter": None,
    "present": None,
    "passes": None,
}
#: Words that a shell carries out itself.
_BUILT_IN = ("exec", "command", "time", "cd", "export", "set", "source", ".", "eval", "ulimit", "umask")
#: What a shell script hands its own words on by.
_WORDS = re.compile(r"""\$(?:\{[@*1]|[@*1]|\{[^}]*[@*])|\bset --""")


def files_started(image: Image, service: Service) -> list[dict[str, Any]]:
    """One entry for each file: ``word`` as the container names it, ``path``, ``mode`` (permission bits),
    ``main`` (Docker starts it itself), ``kind`` (``script``, ``program``, ``text``: no first line that names
    an interpreter, ``missing``: nowhere in ``looked``, ``unread``), ``windows``, ``interpreter`` and whether
    that is ``present``, ``passes`` (whether a shell script hands its words on; None where that cannot be
    told)."""
    found = []
    for number, word in enumerate(_words(service)):
        path, looked = image.executable(word)
        stands = image.find(path) if path else None
        entry = {"word": word, "path": path, "main": number == 0, "mode": None, **_NOTHING}
        if path and stands:
            entry.update(mode=stands[1].mode & _PERMISSIONS, **_first_line(image, path))
        elif not any(image.hidden(place) for place in looked):
            entry.update(kind="missing", looked=looked)
        found.append(entry)
    return found[:MOST]


def _words(service: Service) -> list[str]:
    """What Docker starts, the programs around the command, the command itself. ``python -m celery`` has no
    program of its own."""
    line = [*(service.item.get("entrypoint") or ()), *(service.item.get("cmd") or ())][:1]
    wrappers = service.unwrapped.wrappers
    inner = [word.split()[0] for word in wrappers if word and word.split()[0] not in _BUILT_IN]
    own = [] if any(" -m" in word or word.endswith(" run") for word in wrappers) else service.argv[:1]
    return list(dict.fromkeys(word for word in (*line, *inner, *own) if "$" not in word))


def _first_line(image: Image, path: str) -> dict[str, Any]:
    told, text = dict(_NOTHING), image.text(path)
    if not text:
        return told
    if text.startswith("\x7fELF"):
        return {**told, "kind": "program"}
    if not text.startswith("#!"):
        readable = "\0" not in text[:1000]
        return {**told, "kind": "text" if readable else "unread", "windows": "\r\n" in text[:1000]}
    first = text[2:].split("\n", 1)[0]
    words = first.rstrip("\r").split()
    told = {**told, "kind": "script", "windows": first.endswith("\r")}
    name, present = _interpreter(image, words)
    told.update(interpreter=name, present=present)
    if name and _SHELL.search(posixpath.basename(name)):
        told["passes"] = any(_WORDS.search(line) for line in _code(text))
    return told


def _interpreter(image: Image, words: list[str]) -> tuple[str | None, bool | None]:
    if words and posixpath.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if not words:
        return None, None
    name = words[0]
    if image.hidden(name):
        return name, None
    return name, image.executable(name)[0] is not None


def _code(text: str) -> Iterator[str]:
    """The lines of a script behind its first one that are no comment."""
    for line in text.splitlines()[1:]:
        if not line.lstrip().startswith("#"):
            yield line
