"""One forked child that works for its parent, bounded in time, memory and output.

In: a callable that gets `send` (one message, plain JSON data) and its deadline (of `time.monotonic`). Out,
for the parent: the messages, as they come, and how the child ended. What is asked is not known here.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import resource
import selectors
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterable
from math import ceil
from typing import Any

from celery_triage.model import STATUSES

Message = dict[str, Any]
Work = Callable[[Callable[[Message], None], float], None]

#: Largest single message and largest sum of all messages of one child, in bytes. A section that does not fit
#: is replaced by a `withheld` one; a child that sends more than the sum is ended.
MESSAGE_LIMIT = 24 * 2**20
TOTAL_LIMIT = 48 * 2**20
#: A child may take this much address space beyond what its parent had: hostile input (a YAML bomb) ends in a
#: MemoryError inside the child instead of in the machine's out-of-memory killer.
MEMORY_LIMIT = 2**30
#: Seconds that a killed child gets to disappear. One that hangs in the kernel (dead NFS) is left behind.
REAP_S = 0.5

_HEADER = struct.Struct(">I")


class Unavailable(Exception):
    """Raised by a source's `run`: every section that it still owes gets `status` and the sentence `why`."""

    def __init__(self, status: str, why: str) -> None:
        if status not in STATUSES or status == "ok":
            raise ValueError(f"{status!r} is no status of something unavailable")
        super().__init__(why)
        self.status, self.why = status, why


class Child:
    """A child as its parent sees it. `messages` holds what it has sent, in order.

    `done`: it came to its end by itself; `failed`: the status and the unmasked sentence of the exception that
    ended it; `late`: it was killed at its deadline; `flooded`: it sent too much; `signal`: what killed it
    otherwise, as a name.
    """

    def __init__(self, name: str, work: Work, deadline_s: float) -> None:
        self.name = name
        self.deadline_s = deadline_s
        self.deadline = time.monotonic() + deadline_s
        self.messages: list[Message] = []
        self.failed: Message | None = None
        self.done = self.at_end = self.flooded = self.late = False
        self.signal = ""
        self._buffer, self._total = bytearray(), 0
        self.fd, write_fd = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.fd)
            _be_child(work, write_fd, self.deadline)  # never returns
        os.close(write_fd)
        os.set_blocking(self.fd, False)
        with contextlib.suppress(OSError):  # the child does it too: whoever comes first
            os.setpgid(self.pid, self.pid)

    def read(self) -> None:
        """Take what is in the pipe now; whole messages are kept, a torn last one is not."""
        while not self.at_end:
            try:
                piece = os.read(self.fd, 2**20)
            except BlockingIOError:
                return
            if not piece:
                self.at_end = True
            self._total += len(piece)
            self._buffer += piece
            self._take_messages()
            if self._total > TOTAL_LIMIT:
                self.flooded = self.at_end = True

    def _take_messages(self) -> None:
        start = 0
        while len(self._buffer) - start >= _HEADER.size:
            (size,) = _HEADER.unpack_from(self._buffer, start)
            if size > MESSAGE_LIMIT:
                self.flooded = self.at_end = True
                return
            if len(self._buffer) - start - _HEADER.size < size:
                break
            start += _HEADER.size
            message = json.loads(bytes(self._buffer[start:start + size]))
            start += size
            if message["kind"] == "done":
                self.done = True
            elif message["kind"] == "failed":
                self.failed = message
            else:
                self.messages.append(message)
        del self._buffer[:start]

    def stop(self) -> None:
        """Kill the child with all that it started, take what is still in the pipe, and forget it."""
        self.read()
        self.late = not self.at_end
        for kill in (os.killpg, os.kill):  # the group outlives its leader: what the child had started, too
            if not self.done or kill is os.killpg:
                with contextlib.suppress(OSError):
                    kill(self.pid, signal.SIGKILL)
        self._reap()
        self.read()
        os.close(self.fd)

    def _reap(self) -> None:
        until = time.monotonic() + REAP_S
        while True:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                return
            if pid:
                if os.WIFSIGNALED(status) and not self.late:
                    self.signal = signal.Signals(os.WTERMSIG(status)).name
                return
            if time.monotonic() > until:
                return
            time.sleep(0.002)


def attend(
    children: Iterable[Child], next_child: Callable[[int], Child | None] = lambda running: None,
) -> None:
    """Read from all children at once until each has ended or was killed at its deadline.

    `next_child` is asked for one more whenever there may be room, with the number at work; None: not now.
    Whatever interrupts this, no child outlives it.
    """
    running = {child.fd: child for child in children}
    with selectors.DefaultSelector() as selector:
        try:
            for fd in running:
                selector.register(fd, selectors.EVENT_READ)
            while True:
                while (child := next_child(len(running))) is not None:
                    running[child.fd] = child
                    selector.register(child.fd, selectors.EVENT_READ)
                if not running:
                    return
                next_stop = min(child.deadline for child in running.values())
                for key, _ in selector.select(max(0.0, next_stop - time.monotonic())):
                    running[key.fd].read()
                clock = time.monotonic()
                for fd, child in list(running.items()):
                    if child.at_end or child.deadline <= clock:
                        selector.unregister(fd)
                        del running[fd]
                        child.stop()
        finally:
            for child in running.values():
                child.stop()


def _be_child(work: Work, write_fd: int, deadline: float) -> None:
    """The life of a child: quiet, bounded, deaf to the parent's handlers, and never back into its code."""
    code = 70
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        faulthandler.disable()
        # Should the parent be killed with SIGKILL, this ends the child all the same.
        signal.alarm(ceil(max(0.0, deadline - time.monotonic())) + 2)
        gc.freeze()

        def send(message: Message) -> None:
            payload = _encode(message)
            view = memoryview(_HEADER.pack(len(payload)) + payload)
            while view:
                view = view[os.write(write_fd, view):]

        try:
            _limit_memory()
            _silence()
            work(send, deadline)
            send({"kind": "done"})
            code = 0
        except BaseException as error:
            send({"kind": "failed", **_told(error)})
    except BaseException:
        code = 70  # the pipe is gone: the parent reads the end of the stream
    finally:
        os._exit(code)


def _told(error: BaseException) -> Message:
    """Status and sentence of an exception; the parent masks the sentence."""
    if getattr(error, "status", None) in STATUSES and isinstance(getattr(error, "why", None), str):
        return {"status": error.status, "why": error.why}  # Unavailable, or MaskingFailed of the redactor
    if isinstance(error, MemoryError):
        return {"status": "no_reply",
                "why": f"MemoryError: the probe needed more than {MEMORY_LIMIT // 2**20} MiB"}
    text = " ".join(str(error).split())[:2000]
    name = type(error).__name__
    return {"status": "no_reply", "why": f"{name}: {text}" if text else name}


def _encode(message: Message) -> bytes:
    """JSON in ASCII, so that a lone surrogate cannot break it; a section too large becomes `withheld`."""
    payload = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(payload) <= MESSAGE_LIMIT:
        return payload
    if message["kind"] == "section":
        message = {**message, "data": None, "status": "withheld",
                   "why": f"larger than {MESSAGE_LIMIT // 2**20} MiB"}
        return json.dumps(message, separators=(",", ":")).encode("ascii")
    raise ValueError(f"a {message['kind']} message is larger than {MESSAGE_LIMIT // 2**20} MiB")


def _limit_memory() -> None:
    """Address space: what the parent has now and MEMORY_LIMIT, where the kernel tells the former (Linux)."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold every secret in memory
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[0])
        limit = pages * resource.getpagesize() + MEMORY_LIMIT
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE: nor may another process of this user read it
    except (OSError, ValueError, AttributeError):
        pass


def _silence() -> None:
    """Standard input, output and error lead nowhere: a library's warning may quote a password."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", closefd=False)


