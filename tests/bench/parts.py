"""The five measurements: executing runbooks, looking at a stack, memory, the first answer, a long log."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.measure import Command, NotMeasured, memory, seconds
from tests.bench.page import Figure
from tests.bench.sides import BUNDLE, one_by_one, program, quick_reference, tool
from tests.lab import images, lab, runner
from tests.lab.fault import load_fault

RUN, CHECK, MEMORY, HELP, LOG = "run", "check", "memory", "help", "log"
KERNEL = "ipykernel_launcher"
#: After its services are ready a stack still warms up (health checks begin, beat's first tasks): seconds.
SETTLED_S = 35
LOG_BYTES = 250 * 1000 * 1000
#: A line of a worker as it is, and one so long that the whole log is within the lines that the tool asks for.
SHORT, LONG = 100, 12_800
WRITE_LOG = """
import sys, time
size, length = map(int, sys.argv[1:])
start = "[2026-11-23 14:15:03,123: INFO/MainProcess] Task shared.tasks.quick[%012d] succeeded: "
block = "".join((start % n).ljust(length - 1, "x") + chr(10) for n in range(size // 25 // length))
for part in range(25):
    sys.stdout.write(block)
print("the end", flush=True)
time.sleep(3600)
"""


def measured(part: str, repetitions: int, prefix: str) -> Iterator[Figure]:
    """The figures of one part, as they come; one that could not be measured says why."""
    blank, measure = PARTS[part]
    try:
        yield from measure(repetitions, prefix)
    except (NotMeasured, *runner.LAB_ERRORS, lab.Foreign, OSError, subprocess.SubprocessError) as error:
        yield Figure(**{**blank, "why": str(error)})


RUN_BLANK = dict(part=RUN, what="all runbooks, executed and made pages, of the recorded incident", target=4.0)
CHECK_BLANK = dict(part=CHECK, what="a look at the lab's stack that works", target=1.0)
MEMORY_BLANK = dict(part=MEMORY, what="`celery-triage run`: all its processes but the kernels, PSS",
                    target=250.0, unit="MiB", compared=False)
HELP_BLANK = dict(part=HELP, what="`celery-triage --help`", target=0.4, compared=False)
LOG_BLANK = dict(part=LOG, what="one container's log of 250 MB", target=1.0)


def _run(repetitions: int, prefix: str) -> Iterator[Figure]:
    """(a) ``celery-triage run`` on the bundle against papermill and nbconvert, one notebook after another."""
    ours, theirs, env = [], [], dict(os.environ)
    with _folder() as folder:
        for number in range(repetitions):
            into = folder / str(number)
            into.mkdir()
            command = tool("run", "--bundle", str(BUNDLE), "--reports", str(into / "reports"))
            ours.append(seconds([command], env))
            other = one_by_one(into)
            theirs.append(seconds(other, env))
    yield Figure(**RUN_BLANK, ours=tuple(ours), against=tuple(theirs), notes=(
        f"The other side: {len(other)} commands, `papermill` and `jupyter nbconvert --to html` for each of "
        f"the {len(other) // 2} runbooks, on the same recorded evidence. Ours also diagnoses and publishes.",
    ))


def _check(repetitions: int, prefix: str) -> Iterator[Figure]:
    """(b) ``celery-triage check`` against the looks of the incident's quick reference."""
    ours, theirs = [], []
    with _stack(prefix) as place:
        other = quick_reference(place)
        for _ in range(repetitions):
            ours.append(seconds([tool("check", "-p", place.backend_project)], place.env))
            theirs.append(seconds(other, place.env))
        each = [(seconds([command], place.env), command) for command in other]
    slowest = sorted(each, key=lambda item: -item[0])[:3]
    yield Figure(**CHECK_BLANK, ours=tuple(ours), against=tuple(theirs), notes=(
        f"The other side: the {len(other)} looks of the incident's quick reference, one after another; "
        "nobody has read their output yet.",
        "Its slowest: " + "; ".join(f"{took:.2f} s `{command}`" for took, command in slowest) + ".",
    ))


def _memory(repetitions: int, prefix: str) -> Iterator[Figure]:
    """(c) The most memory that ``celery-triage run`` and its children hold at one moment."""
    peaks = []
    with _folder() as folder:
        for number in range(repetitions):
            command = tool("run", "--bundle", str(BUNDLE), "--reports", str(folder / str(number)))
            peaks.append(memory(command, dict(os.environ), KERNEL))
    yield Figure(**MEMORY_BLANK, ours=tuple(peak.pss for peak in peaks), notes=(
        "The proportional set sizes of the command and all its descendants, summed, looked at every 50 ms "
        f"({min(peak.looks for peak in peaks)} looks or more); a process with `{KERNEL}` in its command line "
        "is a kernel. Pages that forked children share with their parent are counted once in all.",
        f"At the peak {max(peak.processes for peak in peaks)} processes. The sum of resident set sizes, "
        f"in which shared pages count once for each process: {max(peak.rss for peak in peaks):.0f} MiB.",
    ))


def _help(repetitions: int, prefix: str) -> Iterator[Figure]:
    """(d) How soon the command line answers at all."""
    command, env = tool("--help"), dict(os.environ)
    yield Figure(**HELP_BLANK, ours=tuple(seconds([command], env) for _ in range(max(10, repetitions))))


def _log(repetitions: int, prefix: str) -> Iterator[Figure]:
    """(e) ``celery-triage collect`` of one container with a long log against ``docker logs | wc -c``."""
    name, env = f"{prefix}log", dict(os.environ)
    other = Command(("bash", "-o", "pipefail", "-c", f"docker logs {name} 2>&1 | wc -c"))
    for length, read in (
        (SHORT, "The engine is asked for the last 20,000 lines only, so most of this log is never read."),
        (LONG, "All of this log is within the last 20,000 lines, so all of it is read; 4 MiB are kept."),
    ):
        ours, theirs = [], []
        with _folder() as folder, _logged(name, length):
            for number in range(repetitions):
                into = folder / str(number)
                ours.append(seconds([tool("collect", "--container", name, "-o", str(into))], env))
                kept = _end_of_log(into)
                theirs.append(seconds([other], env))
        what = f"{LOG_BLANK['what']}, {LOG_BYTES // length} lines of {length} bytes"
        yield Figure(**{**LOG_BLANK, "what": what}, ours=tuple(ours), against=tuple(theirs), notes=(
            f"Lines of {length} bytes: ours is `celery-triage collect --container …`, all of it: engine, "
            f"container, files, and the log's end, {kept} lines, time-stamped, masked, saved. {read}",
        ))


def _end_of_log(bundle: Path) -> int:
    """How many lines of the log the bundle holds. Raises NotMeasured unless the log's very end is there."""
    for file in (bundle / "sections").rglob("*.json"):
        data = json.loads(file.read_text()).get("data")
        lines = data.get("lines") if isinstance(data, dict) else None
        if lines:
            return _ended([line[-1] for line in lines])
    for file in (bundle / "logs").rglob("*"):
        if file.is_file():
            return _ended(file.read_text().splitlines())
    raise NotMeasured("the bundle holds no log")


def _ended(lines: list[str]) -> int:
    if "the end" not in lines[-1]:
        raise NotMeasured("the bundle does not hold the end of the log")
    return len(lines)


@contextlib.contextmanager
def _stack(prefix: str) -> Iterator[lab.Lab]:
    try:
        place = lab.up(load_fault("healthy"), prefix)
        lab.wait_for(place, {"ready": "all", "seconds": SETTLED_S})
        yield place
    finally:
        runner.clean_up(prefix)


@contextlib.contextmanager
def _logged(name: str, length: int) -> Iterator[None]:
    """A container that has written 250 MB, lives on, and is removed at last."""
    image = images.app_image(images.requirements())
    remove = ["docker", "rm", "--force", "--volumes", name]
    run = ["docker", "run", "--detach", "--name", name, "--network", "none", "--log-driver", "json-file"]
    written = f"until docker logs --tail 1 {name} 2>&1 | grep -q '^the end'; do sleep 1; done"
    subprocess.run(remove, capture_output=True, check=False)
    try:
        for words in (
            [*run, image, "python3", "-c", WRITE_LOG, str(LOG_BYTES), str(length)],
            ["timeout", "300", "bash", "-c", written],
        ):
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise NotMeasured(f"the long log could not be written: {done.stderr.strip()[-300:]}")
        yield
    finally:
        subprocess.run(remove, capture_output=True, check=False)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


PARTS: dict[str, tuple[dict, Callable[[int, str], Iterator[Figure]]]] = {
    RUN: (RUN_BLANK, _run), CHECK: (CHECK_BLANK, _check), MEMORY: (MEMORY_BLANK, _memory),
    HELP: (HELP_BLANK, _help), LOG: (LOG_BLANK, _log),
}  # fmt: skip


def circumstances() -> list[str]:
    """When and on what it was measured, a sentence each."""
    told = {}
    for name, words in (
        ("papermill", [program("papermill"), "--version"]),
        ("nbconvert", [program("jupyter"), "nbconvert", "--version"]),
        ("Docker Engine", ["docker", "version", "--format", "{{.Server.Version}}"]),
        ("celery-triage", [program("celery-triage"), "--version"]),
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        words = [word for word in done.stdout.split() if word[:1].isdigit()]
        told[name] = words[0] if words and not done.returncode else "unknown"
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return [
        f"measured until {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {os.cpu_count()} cores, "
        f"{platform.machine()}, Python {platform.python_version()}; load averages at the end: {busy}",
        "versions: " + ", ".join(f"{name} {version}" for name, version in told.items()),
    ]
