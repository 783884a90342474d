"""Writes ``RESULTS.md``: what each fault came to when it was last run, with the versions that it was run on.

A run of some faults replaces their rows and leaves the others, each with its own date. A row whose fault has
no file any more goes. The file is read and written under a lock, so that two runs at once lose nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.lab import images
from tests.lab.place import HERE, ROOT
from tests.lab.results import Result

FILE = HERE / "RESULTS.md"
LOCK = ROOT / ".lab" / "results.lock"
COLUMNS = (
    "Fault", "What is broken", "Causes expected", "found", "Verdict", "Diagnosed in (s)", "Remedy",
    "Oracle", "In all (s)", "Outcome", "Run at (UTC)",
)  # fmt: skip
VERSIONS = "Versions of "
PATIENCE_S = 60  # for one question about a version


@dataclass(frozen=True)
class Row:
    """One line of the table, its cells as plain text."""

    cells: tuple[str, ...]

    @property
    def fault(self) -> str:
        return self.cells[0]

    @property
    def ok(self) -> bool:
        return self.cells[9] == "ok"

    def number(self, column: str) -> float:
        """A cell as a number; 0 where the run did not come so far."""
        text = self.cells[COLUMNS.index(column)]
        return 0.0 if text == "-" else float(text)


def row(result: Result, when: datetime) -> Row:
    """What one run of a fault came to; whatever is not as it should be stands in its outcome."""
    found = result.comparison
    diagnosed = result.diagnosis is not None
    seconds = result.timings.get("check")
    wanted = len(found.right) + len(found.missed) if diagnosed else None
    seen = len(found.right) + len(found.wrong) + len(found.others) + len(found.false_alarms)
    failed = [told for told in result.details if not told.startswith("also: ")]
    return Row((
        result.fault,
        result.title or "-",
        "-" if wanted is None else str(wanted),
        str(seen) if diagnosed else "-",
        str((result.diagnosis or {}).get("verdict", "-")),
        "-" if seconds is None else f"{seconds:.1f}",
        "+".join(dict.fromkeys(result.kinds)) or ("none needed" if diagnosed else "-"),
        ("cured" if result.kinds else "well") if result.cured else "not cured",
        f"{result.seconds:.0f}",
        "ok" if result.ok else "FAILED: " + "; ".join(failed or ["the causes or the cure were not right"]),
        f"{when:%Y-%m-%d %H:%M}",
    ))


def read(text: str) -> list[Row]:
    """The rows of a table that was written before; lines of another shape are no rows."""
    rows = []
    for line in text.splitlines():
        cells = _cells(line)
        if len(cells) == len(COLUMNS) and cells[0] not in (COLUMNS[0], "---"):
            rows.append(Row(cells))
    return rows


def merged(before: Iterable[Row], fresh: Iterable[Row], names: Iterable[str]) -> list[Row]:
    """The newest row of each fault that there is, in the order of their names."""
    newest = {row.fault: row for row in before} | {row.fault: row for row in fresh}
    return [newest[name] for name in sorted(names) if name in newest]


def rendered(rows: list[Row], versions: str, names: Iterable[str]) -> str:
    """The whole page. ``versions`` is the sentence of the newest run."""
    bad = [row for row in rows if not row.ok]
    never = sorted(set(names) - {row.fault for row in rows})
    expected = sum(row.number("Causes expected") for row in rows)
    found = sum(row.number("found") for row in rows)
    seconds = sum(row.number("In all (s)") for row in rows)
    checks = [row.number("Diagnosed in (s)") for row in rows if row.cells[5] != "-"]
    lines = [
        "# What the faults came to", "",
        "Written by `make faults`; README.md beside this file says what a fault is. Each row is the newest "
        "run of that fault, on the real stack.", "",
        f"- {len(rows) - len(bad)} of {len(rows)} faults told right and cured"
        + (f"; **not so: {', '.join(row.fault for row in bad)}**" if bad else ""),
        f"- causes: {expected:.0f} expected, {found:.0f} found",
        f"- diagnosis: {min(checks, default=0):.1f} to {max(checks, default=0):.1f} s; "
        f"all faults one after another: {seconds / 60:.0f} min",
        *([f"- no result yet: {', '.join(never)}"] if never else []),
        f"- {versions}", "",
        _line(COLUMNS), _line(("---",) * len(COLUMNS)), *(_line(row.cells) for row in rows), "",
    ]  # fmt: skip
    return "\n".join(lines)


def note(result: Result, versions: str, names: Iterable[str], file: Path = FILE) -> None:
    """Puts one result into the file, by one rename. Raises OSError."""
    names = list(names)
    with _alone():
        before = read(file.read_text(encoding="utf-8")) if file.exists() else []
        rows = merged(before, [row(result, datetime.now(UTC))], names)
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        partial.write_text(rendered(rows, versions, names), encoding="utf-8")
        partial.replace(file)


def versions(tool: Iterable[str]) -> str:
    """The line of the page that says what the newest run was made with, and when it was."""
    return (
        f"{VERSIONS}the newest run, on {datetime.now(UTC):%Y-%m-%d}: {made_of(tool)}; "
        "faults that say so use others"
    )


def made_of(tool: Iterable[str]) -> str:
    """What the stack and the tool are made of, asked of each; what does not answer is said to be unknown."""
    app = images.app_image(images.requirements())
    asked = {
        "Docker Engine": ["docker", "version", "--format", "{{.Server.Version}}"],
        "Compose": ["docker", "compose", "version", "--short"],
        "Celery": _inside(app, "celery", "--version"),
        "PostgreSQL": _inside(images.postgres_image(), "postgres", "--version"),
        "Redis": _inside(images.redis_image(), "redis-server", "--version"),
        "celery-triage": [*tool, "--version"],
        "commit": ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
    }
    return ", ".join(f"{name} {_version(command)}" for name, command in asked.items())


def _inside(image: str, program: str, *words: str) -> list[str]:
    find = f'exec "$(command -v {program} || ls /usr/lib/postgresql/*/bin/{program})" "$@"'
    run = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", image]
    return [*run, "-c", find, "sh", *words]


def _version(command: list[str]) -> str:
    """The first word of the answer that holds a digit; a commit as it stands."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    words = [word.removeprefix("v=").strip("(),") for word in done.stdout.split()]
    if done.returncode or not words:
        return "unknown"
    return next((word for word in words if any(letter.isdigit() for letter in word)), words[0])


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _line(cells: Iterable[str]) -> str:
    plain = (" ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(plain)} |"


def _cells(line: str) -> tuple[str, ...]:
    """The cells of one line of a table, as they were before ``_line`` escaped them."""
    if not (line.startswith("| ") and line.endswith(" |")):
        return ()
    cells, cell, letters = [], "", iter(line[2:-1])
    for letter in letters:
        if letter == "\\":
            cell += next(letters, "")
        elif letter == "|":
            cells.append(cell.strip())
            cell = ""
        else:
            cell += letter
    return (*cells, cell.strip())
