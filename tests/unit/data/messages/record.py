"""Record what real clients and servers say, for the signatures that no whole log of a process shows.

    unshare --net --mount --fork python record.py --packages DIR --redis PATH --postgres DIR

DIR of ``--packages`` holds one folder ``NAME-VERSION`` for each client (``pip install --no-deps --target``),
``--redis`` is the server's program, ``--postgres`` the folder of PostgreSQL's programs. Each recording is a
file ``SIGNATURE.txt``, or ``SIGNATURE.CASE.txt`` where several have other words: ``## by:`` names the
software, then the words as they came. A traceback keeps its first line and its last frames. Passwords are
made up, paths of this machine replaced. Where an older client says the same as the newest, it is not kept.
"""

from __future__ import annotations

import argparse
import os
import pwd
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import scenarios

HERE = Path(__file__).resolve().parent
#: Lines of a traceback that are kept: two frames, and the exception.
FRAMES = 4


class Bench:
    """Servers that live for one recording, and the clients that they refuse."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.redis_version = self.version([options.redis, "--version"], r"v=(\S+)")
        self.postgres_version = self.version([f"{options.postgres}/postgres", "--version"], r"(\d[\d.]+)")
        self.logs: dict[str, Path] = {}

    @staticmethod
    def version(words: list[str], pattern: str) -> str:
        return re.search(pattern, subprocess.run(words, text=True, capture_output=True).stdout)[1]

    def redis(self, *words: str, folder: Path | None = None) -> tuple[subprocess.Popen, Path]:
        """A Redis at port 6379 with these options, and where it logs."""
        home = folder or Path(tempfile.mkdtemp(dir=self.folder))
        log = Path(tempfile.mkdtemp(dir=self.folder)) / "log"
        process = subprocess.Popen(
            [self.options.redis, "--save", "", "--dir", str(home), *words], stdout=log.open("w"), stderr=-2
        )
        for _ in range(100):
            if (
                "Ready to accept" in log.read_text()
                or "oading" in log.read_text()
                or process.poll() is not None
            ):
                break
            time.sleep(0.1)
        return process, log

    def cluster(self, name: str, settings: str = "", parent: Path | None = None) -> Path:
        """The data folder of a new PostgreSQL at 127.0.0.1, not started."""
        data = (parent or self.folder) / name
        user = pwd.getpwnam("postgres")
        data.mkdir()
        os.chown(data, user.pw_uid, user.pw_gid)
        self.as_postgres("initdb", "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync", check=True)
        with (data / "postgresql.conf").open("a") as file:
            file.write(
                "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"
                f"log_line_prefix = '%m [%p] '\n{settings}\n"
            )
        return data

    def as_postgres(self, program: str, *words: str, check: bool = False) -> str:
        done = subprocess.run(
            [f"{self.options.postgres}/{program}", *words],
            user="postgres", group="postgres", extra_groups=[], cwd="/", text=True, check=check,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.stdout

    def postgres(self, data: Path) -> tuple[subprocess.Popen, Path]:
        log = Path(tempfile.mkdtemp(dir=self.folder)) / "log"
        process = subprocess.Popen(
            [f"{self.options.postgres}/postgres", "-D", str(data)],
            user="postgres", group="postgres", extra_groups=[], cwd="/", stdout=log.open("w"), stderr=-2,
        )  # fmt: skip
        for _ in range(150):
            if "is ready to accept" in log.read_text() or process.poll() is not None:
                break
            time.sleep(0.1)
        return process, log

    def client(self, packages: tuple[str, ...], code: str) -> str:
        """What a Python process with these packages writes before it ends."""
        folders = [str(self.options.packages / one) for one in packages]
        done = subprocess.run(
            [sys.executable, "-S", "-c", code], text=True, capture_output=True, timeout=60, cwd="/",
            env={"PYTHONPATH": ":".join(folders), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/"},
        )  # fmt: skip
        return self.plain(done.stderr)

    def plain(self, text: str) -> str:
        text = re.sub(
            re.escape(str(self.options.packages)) + r"/[\w.-]+",
            "/usr/local/lib/python3.11/site-packages",
            text,
        )
        text = re.sub(r"/[^\s\"']*/lib/python3\.11/(?!site-packages)", "/usr/local/lib/python3.11/", text)
        return text.replace(str(self.folder), "/data")

    def keep(self, name: str, by: str, text: str) -> None:
        (HERE / f"{name}.txt").write_text(f"## by: {by}\n{shortened(text)}\n")
        print(f"{name}: {shortened(text).splitlines()[-1][:120]}", flush=True)


def shortened(text: str) -> str:
    """The last traceback with its last frames and its exception; anything else as it is."""
    lines = text.rstrip("\n").split("\n")
    begins = [place for place, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    if not begins:
        return "\n".join(lines)
    last = lines[begins[-1] :]
    ends = next((place for place, line in enumerate(last[1:], 1) if not line.startswith(" ")), len(last))
    frames = [line for line in last[1:ends] if not re.fullmatch(r"\s*[\^~]+\s*", line)]
    return "\n".join([last[0], *frames[-FRAMES:], *last[ends:]])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--postgres", required=True)
    parser.add_argument("--only", action="append", default=[])
    options = parser.parse_args()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "addr", "add", "10.0.0.2/32", "dev", "lo"], check=True)
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        bench = Bench(Path(name), options)
        for scenario in scenarios.ALL:
            if options.only and scenario.__name__ not in options.only:
                continue
            try:
                scenario(bench)
            except Exception as error:
                print(f"{scenario.__name__}: not recorded: {error!r}", flush=True)


if __name__ == "__main__":
    main()
