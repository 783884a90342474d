"""Several questions at once inside one child: a few threads, and none of them is waited for too long.

A child is forked from a process with one thread and ends by ``os._exit``, so it may have threads of its own,
and one that hangs for ever goes with it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

#: Threads of one child. Each takes up to 64 MiB of address space (glibc's arenas), which is limited there.
AT_ONCE = 8


def together(jobs: Sequence[Callable[[], Any]], limit_s: float, at_once: int = AT_ONCE,
             ) -> Iterator[tuple[int, Any]]:
    """Run the jobs and give (number of the job, its result or the exception that ended it), in the order in
    which they end. A job that has not ended ``limit_s`` seconds from the first one's start is not given: it
    hangs, or its turn never came."""
    end = time.monotonic() + limit_s
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    for number in range(len(jobs)):
        waiting.put(number)

    def work() -> None:
        while time.monotonic() < end:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                result = jobs[number]()
            except Exception as error:
                result = error
            done.put((number, result))

    for _ in range(min(at_once, len(jobs))):
        threading.Thread(target=work, daemon=True).start()
    for _ in jobs:
        try:
            yield done.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            return
