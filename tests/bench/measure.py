"""Measures commands: wall time of each, several times over, both sides in turn; memory of a process tree."""

from __future__ import annotations

import shlex
import statistics
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: A command that takes longer (s) is no measurement.
PATIENCE_S = 600
#: Between two looks at the memory of a process tree (s): one look at ten processes takes about 10 ms.
EVERY_S = 0.05
MIB = 1024 * 1024


class NotMeasured(Exception):
    """A measurement that did not come about; the message says why."""


@dataclass(frozen=True)
class Command:
    """A command line as a person would type it, and the exit codes with which it has done its work."""

    words: tuple[str, ...]
    cwd: Path | None = None
    good: tuple[int, ...] = (0,)

    def __str__(self) -> str:
        """The command as a page may show it: files and programs by their names, without folders."""
        return shlex.join(Path(word).name if word.startswith("/") else word for word in self.words)


def seconds(commands: Iterable[Command], env: Mapping[str, str]) -> float:
    """Wall time of these commands one after another, output thrown away. Raises NotMeasured."""
    began = time.monotonic()
    for command in commands:
        try:
            done = subprocess.run(
                command.words, cwd=command.cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, timeout=PATIENCE_S, check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotMeasured(f"`{command}`: {error}") from None
        if done.returncode not in command.good:
            said = (done.stderr.decode("utf-8", "backslashreplace").strip().splitlines() or [""])[-1][-200:]
            raise NotMeasured(f"`{command}` gave exit code {done.returncode}: {said}")
    return time.monotonic() - began


@dataclass(frozen=True)
class Spread:
    """Least, middle and most of several values."""

    least: float
    middle: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), statistics.median(values), max(values))

    def told(self, digits: int) -> str:
        return " / ".join(f"{value:.{digits}f}" for value in (self.least, self.middle, self.most))


@dataclass(frozen=True)
class Memory:
    """The most that a process tree held at one moment, in MiB; a look is one moment."""

    pss: float  # shared pages are divided among all who share them: the tree's true share
    rss: float  # shared pages are counted once for each process: more than there is
    processes: int  # at the moment of the largest PSS
    looks: int


def memory(command: Command, env: Mapping[str, str], leave_out: str) -> Memory:
    """Runs a command and looks at it and all its descendants every 50 ms. Raises NotMeasured.

    A process whose command line holds ``leave_out`` is not counted, nor are its descendants. Read from
    ``/proc/PID/smaps_rollup`` (Linux 4.14 and later; proc(5)).
    """
    process = subprocess.Popen(command.words, cwd=command.cwd, env=env, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    best, most_rss, looks, deadline = (0.0, 0), 0.0, 0, time.monotonic() + PATIENCE_S
    try:
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise NotMeasured(f"`{command}` did not end within {PATIENCE_S} s")
            held = [_held(pid) for pid in tree(process.pid, leave_out)]
            looks += 1
            best = max(best, (sum(pss for pss, _ in held), len(held)))
            most_rss = max(most_rss, sum(rss for _, rss in held))
            time.sleep(EVERY_S)
    finally:
        process.kill()
        process.wait()
    if process.returncode not in command.good:
        raise NotMeasured(f"`{command}` gave exit code {process.returncode}")
    return Memory(best[0] / MIB, most_rss / MIB, best[1], looks)


def tree(root: int, leave_out: str) -> list[int]:
    """A process and its descendants, without those whose command line holds ``leave_out`` and theirs."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parent = _parent(entry)
            if parent is not None:
                children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue  # it has ended since
        if leave_out not in line:
            found.append(pid)
            waiting += children.get(pid, ())
    return found


def _parent(entry: Path) -> int | None:
    try:
        # Behind the name, which stands in brackets and may itself hold brackets: state, parent, …
        return int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _held(pid: int) -> tuple[int, int]:
    """PSS and RSS in bytes; 0 for a process that has ended."""
    values = {"Pss": 0, "Rss": 0}
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in values:
                values[name] = int(rest.split()[0]) * 1024
    except (OSError, ValueError):
        pass
    return values["Pss"], values["Rss"]
