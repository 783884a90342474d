"""Shell lines: which of their simple commands is the one that stays."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from celery_triage.commandline import shellwords
from celery_triage.commandline.unwrapped import Unwrapped, cannot

SHELLS = frozenset(("sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"))
_KEYWORDS = frozenset(
    ("if", "then", "else", "elif", "while", "until", "do", "{", "}", "!", "fi", "done", "time")
)
_NO_COMMANDS = frozenset(
    (
        "fi",
        "done",
        "esac",
        "cd",
        "export",
        "set",
        "echo",
        "sleep",
        "source",
        ".",
        "umask",
        "trap",
        "true",
        "false",
        "exit",
        "wait",
        "printf",
        "test",
        "[",
        "[[",
        "ulimit",
        "mkdir",
        "chmod",
        "chown",
        "rm",
        "for",
        "case",
        "unset",
        "shopt",
        "nc",
        "pg_isready",
        "curl",
        ":",
        "read",
        "local",
        "return",
        "alias",
        "break",
        "continue",
        "cat",
        "ls",
    )
)
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
#: What a shell obeys and every other program takes as a word.
_OPERATORS = frozenset(("&&", "||", "|", "|&", ";", "&", ">", ">>", "<", "2>", "2>&1", "1>&2", "&>", ">&2"))
#: What a shell would put in: `$(nproc)`, back quotes, `$NAME` (with braces it may be Compose's).
_EXPANDED = re.compile(r"(?:^|[=@])(?:\$\(|`|\$[A-Za-z_])")
#: Programs that read such words themselves, as a shell does.
_READ_THEM = frozenset((*SHELLS, "eval", "find", "xargs", "env", "parallel", "su", "runuser", "flock"))
#: Takes the next wrapper off; the number is how many are off already.
Strip = Callable[[Unwrapped, int], Unwrapped]


def positional(script: str, words: list[str]) -> str:
    """``sh -c 'exec "$@"' -- celery worker``: the script's own words put in, where it says nothing else."""
    if re.fullmatch(r"""\s*(exec\s+)?"?\$@"?\s*""", script) and len(words) > 1:
        return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words[1:])
    return script


def unread(words: Sequence[str]) -> str:
    """The first word of a command without a shell that only a shell would obey; empty where there is none."""
    for word in words:
        if word.rsplit("/", 1)[-1] in _READ_THEM:
            return ""
        if word in _OPERATORS or (word.endswith(";") and len(word) > 1) or _EXPANDED.search(word):
            return word
    return ""


def script(so_far: Unwrapped, text: str, depth: int, strip: Strip) -> Unwrapped:
    """The part of a shell script that is Celery; where none is, the last program that it runs."""
    try:
        parts = shellwords.commands(text)
    except shellwords.Unreadable as error:
        return cannot(so_far, f"the shell script cannot be split: {error}")
    read: list[tuple[Unwrapped, list[str], str]] = []
    for words, operator in parts:
        while words and (words[0] in _KEYWORDS):
            words = words[1:]
        bare = [word for word in words if not ASSIGNMENT.match(word)] if words else []
        if not bare or bare[0] in _NO_COMMANDS:
            continue
        read.append((strip(replace(so_far, argv=tuple(words), expands=True), depth + 1), words, operator))
    celery = [item for item in read if item[0].is_celery]
    if celery:
        chosen = _main(celery)
        return replace(
            chosen[0],
            before=tuple(" ".join(words) for _, words, _ in read[: read.index(chosen)]),
            others=tuple(item[0].argv or () for item in celery if item is not chosen),
            backgrounded=chosen[2] == "&",
        )
    if not read:
        sourced = any(words[0] in (".", "source", "eval") for words, _ in parts)
        if sourced or "celery" in text:
            return cannot(so_far, "what the shell script starts cannot be read")
        why = "the shell script starts no program that could be Celery"
        return replace(cannot(so_far, why), no_celery=True)
    return replace(
        read[-1][0],
        before=tuple(" ".join(words) for _, words, _ in read[:-1]),
        backgrounded=read[-1][2] == "&",
    )


def _main(celery: list[tuple[Unwrapped, list[str], str]]) -> tuple[Unwrapped, list[str], str]:
    """Of several Celery commands the last that stays (worker, beat, flower), waited for rather than not."""

    def stays(item: tuple[Unwrapped, list[str], str]) -> bool:
        return any(word in ("worker", "beat", "flower", "events") for word in item[0].argv or ())

    waited = [item for item in celery if stays(item) and item[2] != "&"]
    return (waited or [item for item in celery if stays(item)] or celery)[-1]
