"""Records the committed sample report anew: a broken stack comes up, the tool looks, the report is kept.

    python -m tests.lab.record_sample --fault NAME [--seconds N]      (or: make sample)

The stack stands in a neutral folder, so that the Compose files' paths, which are part of the evidence, say
nothing of the machine; a report that still holds a path of this repository, of the home folder or the host's
name is not kept.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if __package__ in (None, ""):  # run by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.lab import lab
from tests.lab.fault import load_fault
from tests.lab.runner import tool_command

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "reports" / "sample"
PLACE = Path("/srv")
PREFIX = "demo_"
LIMIT = 3 * 1024 * 1024  # bytes of the whole report


def record(fault: str, seconds: float) -> Path:
    """Bring the fault up, let it run for some seconds, write the report and put it into its place.

    Raises what the lab raises, CalledProcessError when the tool gives no report, and ValueError for a report
    that must not be kept.
    """
    place = lab.up(load_fault(fault), PREFIX, PLACE)
    try:
        time.sleep(seconds)
        with tempfile.TemporaryDirectory() as folder:
            command = [*tool_command(), "run", "-p", place.backend_project, "--reports", folder]
            code = subprocess.run(command, cwd="/", env=place.env, check=False).returncode
            if code not in (0, 1, 2, 3):
                raise subprocess.CalledProcessError(code, command)
            report = (Path(folder) / "latest").resolve()
            refuse(report)
            shutil.rmtree(SAMPLE, ignore_errors=True)
            shutil.copytree(report, SAMPLE)
    finally:
        lab.down(place)
    return SAMPLE


def refuse(report: Path) -> None:
    """ValueError when a report is too large or holds something of this machine."""
    files = [path for path in report.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if size > LIMIT:
        raise ValueError(f"the report has {size} bytes, more than {LIMIT}")
    for needle in {str(ROOT), str(Path.home()), sys.prefix, socket.gethostname(), lab.PASSWORD}:
        for path in files:
            if len(needle) > 3 and needle.encode() in path.read_bytes():
                raise ValueError(f"{path.relative_to(report)} holds {needle!r} of this machine")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fault", required=True)
    parser.add_argument("--seconds", type=float, default=75, help="let it run first (default %(default)s)")
    given = parser.parse_args()
    print(record(given.fault, given.seconds))


if __name__ == "__main__":
    main()
