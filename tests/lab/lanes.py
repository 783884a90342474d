"""Several faults at once: each lane has a prefix of its own and runs one fault after another.

Most of a fault's time is waiting (for restarts, health checks, the oracle's quiet), so two lanes take little
more than half the time of one. Each fault is a process of its own, which removes its stack whatever happens,
also when the process that started it is killed: its standard input ends then.
Faults that say ``alone`` are sensitive to load: they run when all others are through, one by one.
"""

from __future__ import annotations

import errno
import json
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import fields
from pathlib import Path

from tests.lab.fault import FOLDER, BadFault, load_fault
from tests.lab.place import ROOT
from tests.lab.results import Comparison, Judgement, Result

END_S = 60  # how long a lane that was told to stop may take to remove its stack


def prefixes(prefix: str, lanes: int) -> list[str]:
    """The prefix of each lane: the given one for the first, then with a number before the underscore."""
    return [prefix, *(f"{prefix.rstrip('_')}{number}_" for number in range(2, lanes + 1))]


def in_turn(names: Iterable[str], folder: Path | str = FOLDER) -> tuple[list[str], list[str]]:
    """The faults that may run side by side, and those that want the machine for themselves."""
    side, single = [], []
    for name in names:
        try:
            alone = load_fault(name, folder).alone
        except BadFault:
            alone = False  # its run says what is wrong with the file
        (single if alone else side).append(name)
    return side, single


class Lanes:
    """Runs faults in the background; ``results`` has a Future of its Result for each, in the order given.

    ``arguments`` are passed on to the runner of each fault (folder, mode, tool). ``told`` is called with each
    result as it comes, by one lane at a time.
    """

    def __init__(
        self, names: Iterable[str], prefix: str, lanes: int, arguments: Iterable[str] = (),
        folder: Path | str = FOLDER, told: Callable[[Result], None] = lambda result: None,
    ) -> None:
        self.results: dict[str, Future[Result]] = {name: Future() for name in names}
        self._side, self._single = in_turn(self.results, folder)
        self._prefixes = prefixes(prefix, max(1, lanes))
        self._arguments = [*arguments, "--faults-dir", str(folder)]
        self._told = told
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Lanes:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends what runs, waits until its stacks are gone, cancels the rest. Harmless when all is done."""
        self._stopped.set()
        with self._lock:
            running = list(self._running)
        for process in running:
            process.terminate()
        self._thread.join(END_S)
        for future in self.results.values():
            future.cancel()

    def _run(self) -> None:
        lanes = [threading.Thread(target=self._lane, args=(prefix, self._side)) for prefix in self._prefixes]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        self._lane(self._prefixes[0], self._single)

    def _lane(self, prefix: str, names: list[str]) -> None:
        while not self._stopped.is_set():
            with self._lock:
                if not names:
                    return
                name = names.pop(0)
            try:
                result = self._one(name, prefix)
                if self._stopped.is_set():
                    return  # cut off: what came of it says nothing of the fault
                with self._lock:
                    self._told(result)
            except Exception as error:
                self.results[name].set_exception(error)  # raised again by whoever waits for this result
            else:
                self.results[name].set_result(result)

    def _one(self, name: str, prefix: str) -> Result:
        with tempfile.TemporaryDirectory(prefix="lab-lane-") as folder:
            kept = Path(folder) / "result.json"
            command = [sys.executable, "-m", "tests.lab.runner", name, "--prefix", prefix,
                       "--json", str(kept), "--while-stdin", *self._arguments]
            with self._lock:
                if self._stopped.is_set():
                    return Result(Path(name).stem, error="stopped before it began")
                process = _started(command)
                self._running.add(process)
            code = process.wait()
            if process.stdin:
                process.stdin.close()
            with self._lock:
                self._running.discard(process)
            try:
                return from_json(json.loads(kept.read_text(encoding="utf-8"))["faults"][0])
            except (OSError, ValueError, LookupError, TypeError):
                error = f"`{shlex.join(command)}` ended with {code} and left no result"
                return Result(Path(name).stem, error=error)


def _started(command: list[str]) -> subprocess.Popen:
    """The process of a command, in a session of its own.

    A virtual machine inside another was once seen to answer execve with EFAULT for a program that the same
    machine had run a hundred times before (CPython 3.11.7, Linux 6.18). The program has not begun then, so
    the same start may be tried again; it is, twice. Raises OSError for any other refusal, and for a third of
    these.
    """
    for turns_left in (2, 1, 0):
        try:
            return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                    start_new_session=True)
        except OSError as error:
            if error.errno != errno.EFAULT or not turns_left:
                raise
    raise AssertionError("the last turn returns or raises")


def from_json(item: dict) -> Result:
    """A Result from what its ``as_json`` gave. Raises TypeError for something else."""
    known = {field.name for field in fields(Result)}
    given = {key: value for key, value in item.items() if key in known}
    given["comparison"] = Comparison(**given["comparison"])
    given["judgements"] = [Judgement(**judged) for judged in given["judgements"]]
    given["kinds"] = tuple(given["kinds"])
    return Result(**given)

