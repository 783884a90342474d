"""What the exit code of a Celery container means, and what decides where it can mean several things.

Sources: 64 to 73 are those of ``sysexits.h``, which Celery takes (``celery/platforms.py``: ``EX_USAGE``,
``EX_UNAVAILABLE``, ``EX_SOFTWARE``, ``EX_CANTCREAT``); 2 is click's and Python's; 125 to 127 Docker's and the
shell's; above 128 it is a signal (128 + number), as the shell and Docker tell it.
"""

from __future__ import annotations

import signal

#: (in a few words, what decides or what to look at next).
MEANINGS: dict[int, tuple[str, str]] = {
    0: (
        "ended without error",
        "A worker, beat or Flower should not end by itself: its command is one that does its work and "
        "ends, or it went into the background.",
    ),
    1: ("ended with an error", "An exception; the last traceback of that life in its log names it."),
    2: (
        "refused its command line",
        "An option that this version does not know, or an application (`-A`) that is not there or does "
        "not load; the `Error:` line at the end of its log tells which. Python itself ends so where a "
        "script is not there.",
    ),
    64: (
        "used in a wrong way",
        "Celery's own word for a wrong command line, mostly of version 4 or of `multi`.",
    ),
    69: (
        "found nobody to answer",
        "`celery inspect` and `control` end so when no worker answered: a health check, not a worker. "
        "Where a worker ends so, a service that it needs was not available.",
    ),
    70: ("failed inside", "An error inside Celery itself; the traceback stands in its log."),
    73: ("could not make a file", "Mostly its pid file, which is there already; its log names the path."),
    125: ("Docker could not start it", "Docker's own error: `docker inspect -f '{{.State.Error}}'`."),
    126: (
        "its command is not executable",
        "No right to execute it, a folder, or a file for another processor.",
    ),
    127: (
        "its command was not found",
        "The program is not in the image, or an entrypoint's shell could not find it.",
    ),
    130: ("interrupted (SIGINT)", "Somebody pressed Ctrl+C, or sent SIGINT."),
    131: ("ended by SIGQUIT", "Celery's cold shutdown: somebody sent SIGQUIT, tasks at work were cut off."),
    132: (
        "ended by SIGILL",
        "An instruction that this processor does not have: an image or a library for another one.",
    ),
    134: (
        "ended by SIGABRT",
        "A library gave up (an assertion, memory that is damaged); it says so in the log.",
    ),
    135: ("ended by SIGBUS", "Mostly no room in shared memory: `shm_size`."),
    137: (
        "killed (SIGKILL)",
        "For memory, if Docker says OOMKilled or an `oom` event is there; else by `docker kill`, or by "
        "the end of the grace period (10 s unless set) of a stop.",
    ),
    139: ("ended by SIGSEGV", "A C extension crashed: a library used across fork, or one that does not fit."),
    143: ("told to stop (SIGTERM)", "By `docker stop`, Compose or an orchestrator: no error."),
}


def meaning(code: int | None, oom: bool = False) -> tuple[str, str]:
    """(what it means in a few words, what decides or what to look at); empty words for a code that only the
    application knows."""
    if oom and code == 137:
        return "killed for memory", "The kernel killed it: limit of the container, or memory of the machine."
    if code is None:
        return "", ""
    if code in MEANINGS:
        return MEANINGS[code]
    if 128 < code < 160:
        try:
            return f"ended by {signal.Signals(code - 128).name}", "A signal ended it."
        except ValueError:
            return f"ended by signal {code - 128}", "A signal ended it."
    return "", "Only the application knows what it means by that; look at its log."
