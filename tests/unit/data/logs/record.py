"""Record what real Celery processes print, in a network of their own with a real Redis and PostgreSQL.

    unshare --net --mount --uts --pid --fork --mount-proc python record.py --environments DIR --redis DIR \\
        --postgres DIR [--only NAME …] [--version 5.7 …]

DIR of ``--environments`` holds ``celery-X.Y.Z`` virtual environments (``extract.py`` makes them; redis and
SQLAlchemy added) and folders ``psycopg2``, ``psycopg3``, ``sqla21``, ``flower22`` of packages to add. Each
recording is ``NAME_VERSION.log``: a head of ``## key: value`` lines, then ``time stream text`` as ``docker
logs -t`` has it. Passwords are made up, paths of this machine replaced. """

from __future__ import annotations

import argparse
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import scenarios

HERE = Path(__file__).resolve().parent


class Stack:
    """Redis at 127.0.0.2 (``redis``), one with a password at 127.0.0.4 (``redis-auth``), PostgreSQL at
    127.0.0.3 (``postgres``) with database ``ai_backend`` and role ``app``, one that never ends starting at
    127.0.0.5 (``postgres-starting``)."""

    def __init__(self, folder: Path, redis: Path, postgres: Path) -> None:
        self.folder, self.redis, self.postgres, self.running = folder, redis, postgres, []

    def start(self) -> None:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        hosts = self.folder / "hosts"
        hosts.write_text(
            "127.0.0.1 localhost 0dfd1b61c619\n127.0.0.2 redis\n127.0.0.3 postgres\n"
            "127.0.0.4 redis-auth\n127.0.0.5 postgres-starting\n127.0.0.6 nothing-listens\n"
        )
        for source, target in (
            (hosts, "/etc/hosts"),
            (self.empty("resolv.conf"), "/etc/resolv.conf"),
            (self.empty("nsswitch.conf", "hosts: files\npasswd: files\n"), "/etc/nsswitch.conf"),
        ):
            subprocess.run(["mount", "--bind", str(source), target], check=True)
        subprocess.run(["hostname", "0dfd1b61c619"], check=True)
        environment = os.environ | {"LD_LIBRARY_PATH": str(self.redis / "usr/lib/x86_64-linux-gnu")}
        server = str(self.redis / "usr/bin/redis-server")
        for address, extra in (("127.0.0.2", []), ("127.0.0.4", ["--requirepass", "right-example"])):
            self.running.append(
                subprocess.Popen(
                    [server, "--bind", address, "--save", "", "--dir", str(self.folder), *extra],
                    env=environment,
                    stdout=subprocess.DEVNULL,
                )
            )
        self.cluster("data", "127.0.0.3", "max_connections = 12\n")
        for statement in (
            "create role app login password 'app-example'",
            "create database ai_backend owner app",
            "create role nologin_role password 'app-example'",
        ):
            self.sql(statement)

    def empty(self, name: str, text: str = "") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def cluster(self, name: str, address: str, settings: str) -> None:
        data = self.folder / name
        user = pwd.getpwnam("postgres")
        data.mkdir()
        os.chown(data, user.pw_uid, user.pw_gid)

        def run(*words: str) -> None:
            subprocess.run(
                words,
                check=True,
                user="postgres",
                group="postgres",
                cwd="/",
                stdout=subprocess.DEVNULL,
                extra_groups=[],
                stderr=subprocess.STDOUT,
            )

        run(str(self.postgres / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres")
        with (data / "pg_hba.conf").open("w") as file:
            file.write(
                "local all all trust\nhost all postgres all trust\n"
                "host ai_backend outsider all reject\nhost all all all scram-sha-256\n"
            )
        with (data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = '{address}'\nunix_socket_directories = '/tmp'\nfsync = off\n{settings}"
            )
        run(str(self.postgres / "pg_ctl"), "-D", str(data), "-w", "-l", str(data / "log"), "start")

    def sql(self, statement: str, database: str = "postgres") -> None:
        subprocess.run(
            [str(self.postgres / "psql"), "-h", "127.0.0.3", "-U", "postgres", "-qc", statement, database],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def starting(self) -> None:
        """A copy of the cluster that waits for its log for ever: every connection is told that it is
        starting."""
        copy, postgres = (
            self.folder / "starting",
            {"user": "postgres", "group": "postgres", "extra_groups": []},
        )
        copy.mkdir()
        user = pwd.getpwnam("postgres")
        os.chown(copy, user.pw_uid, user.pw_gid)
        copy.chmod(0o700)
        with (self.folder / "data" / "pg_hba.conf").open("a") as file:
            file.write("host replication postgres all trust\n")
        self.sql("select pg_reload_conf()")
        subprocess.run(
            [
                str(self.postgres / "pg_basebackup"),
                "-h",
                "127.0.0.3",
                "-U",
                "postgres",
                "-D",
                str(copy),
                "-X",
                "none",
            ],
            check=True,
            cwd="/",
            stderr=subprocess.DEVNULL,
            **postgres,
        )
        (copy / "recovery.signal").touch()
        with (copy / "postgresql.conf").open("a") as file:
            file.write(
                "listen_addresses = '127.0.0.5'\nunix_socket_directories = ''\n"
                "restore_command = 'sleep 1000'\n"
            )
        self.running.append(
            subprocess.Popen(
                [str(self.postgres / "postgres"), "-D", str(copy)],
                cwd="/",
                stdout=subprocess.DEVNULL,
                stderr=(self.folder / "starting.log").open("w"),
                **postgres,
            )
        )

    def server_logs(self) -> None:
        """What the servers themselves log of clients that are refused."""
        for user, password, host, database in (
            ("postgres", "", "127.0.0.3", "ai_backend_missing"),
            ("root", "", "127.0.0.3", "postgres"),
            ("app", "wrong-example", "127.0.0.3", "ai_backend"),
            ("nologin_role", "app-example", "127.0.0.3", "x"),
            ("outsider", "x", "127.0.0.3", "ai_backend"),
            ("root", "", "/tmp", "postgres"),
            ("postgres", "", "127.0.0.5", "postgres"),
        ):
            subprocess.run(
                [
                    str(self.postgres / "psql"),
                    "-h",
                    host,
                    "-U",
                    user,
                    "-c",
                    "select 1 from nowhere",
                    database,
                ],
                env={"PGPASSWORD": password},
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        held = [
            subprocess.Popen(
                [
                    str(self.postgres / "psql"),
                    "-h",
                    "127.0.0.3",
                    "-U",
                    "postgres",
                    "-c",
                    "select pg_sleep(2)",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(14)
        ]  # two more than the server takes
        for process in held:
            process.wait()
        self.sql("create table here (x int)")
        subprocess.run(
            [str(self.postgres / "psql"), "-h", "127.0.0.3", "-U", "postgres", "-c", "select 1 from nowhere"],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        version = "PostgreSQL 15"
        for name, path in (
            ("server-postgres", self.folder / "data" / "log"),
            ("server-postgres-starting", self.folder / "starting.log"),
        ):
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
            lines = path.read_text().splitlines()
            (HERE / f"{name}_15.log").write_text(
                f"## command: postgres\n## versions: {version}\n## exit: none\n## seconds: none\n"
                f"## what: the server's own log of clients that it refused\n"
                + "".join(
                    f"{stamp} err {line.replace(str(self.folder), '/var/lib/postgresql')}\n" for line in lines
                )
            )

    def stop(self) -> None:
        subprocess.run(
            [str(self.postgres / "pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "stop"],
            user="postgres",
            group="postgres",
            cwd="/",
            extra_groups=[],
            stdout=subprocess.DEVNULL,
        )
        for process in self.running:
            process.kill()


class Recorder:
    def __init__(self, environments: Path, stack: Stack, folder: Path) -> None:
        self.environments, self.stack, self.folder = environments, stack, folder

    def environment(self, version: str) -> Path:
        return sorted(self.environments.glob(f"env/celery-{version}.*"))[-1]

    def record(self, name: str, scenario: dict, version: str) -> None:
        base = self.environment(version)
        app = self.folder / f"{name}_{version}"
        shutil.copytree(HERE / "app", app)
        for path, text in scenario.get("files", {}).items():
            (app / path).parent.mkdir(parents=True, exist_ok=True)
            (app / path).write_text(text)
        folders = [app / "without"]  # hides packages that are installed
        folders += [self.environments / "drv" / item for item in scenario.get("packages", ("psycopg3",))]
        for item in scenario.get("without", ()):
            (app / "without" / item).mkdir(parents=True)
            (app / "without" / item / "__init__.py").write_text(
                f"raise ModuleNotFoundError(\"No module named '{item}'\", name='{item}')\n"
            )
        env = {
            "PATH": f"{base}/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "HOME": "/root",
            "PYTHONPATH": ":".join(map(str, folders)),
            "COLUMNS": "80",
            "PYTHONDONTWRITEBYTECODE": "1",
            "CELERY_BROKER_URL": "redis://redis:6379/0",
            "CELERY_RESULT_BACKEND": "db+postgresql+psycopg://app:app-example@postgres:5432/ai_backend",
            **scenario.get("env", {}),
        }
        for statement in scenario.get("sql", ()):
            self.stack.sql(statement)
        held = [
            subprocess.Popen(words, cwd=app, env=env | {"PGCONNECT_TIMEOUT": "3"}, stdin=subprocess.PIPE)
            for words in scenario.get("hold", ())
        ]
        time.sleep(2 if held else 0)
        lines, code, seconds = self.run(scenario, app, env)
        lines = without_hiding(lines)
        lines, left_out = (lines, 0) if scenario.get("whole") else shortened(lines)
        for process in held:
            process.kill()
            process.wait()
        for statement in scenario.get("sql_after", ()):
            self.stack.sql(statement)
        versions = subprocess.run(
            [
                f"{base}/bin/python",
                "-c",
                "from importlib.metadata import version as v; import importlib.util as u; "
                "print('; '.join(f'{n} {v(n)}' for n in ('celery','kombu','click','redis','SQLAlchemy',"
                "'psycopg','psycopg2-binary','flower') if u.find_spec(n.split('-')[0].lower())))",
            ],
            env=env,
            text=True,
            capture_output=True,
            check=True,
        ).stdout.strip()
        head = {
            "command": scenario["command"],
            "versions": versions,
            "exit": code,
            "seconds": f"{seconds:.1f}",
            "what": scenario["what"],
            **({"left out": f"{left_out} lines behind line {FIRST}"} if left_out else {}),
        }
        text = "".join(f"## {key}: {value}\n" for key, value in head.items())
        text += "".join(f"{stamp} {stream} {self.plain(line, app, base)}\n" for stamp, stream, line in lines)
        (HERE / f"{name}_{version}.log").write_text(text)
        print(f"{name}_{version}: exit {code} after {seconds:.1f} s, {len(lines)} lines", flush=True)
        shutil.rmtree(app, ignore_errors=True)
        subprocess.run(
            [str(self.stack.redis / "usr/bin/redis-cli"), "-h", "127.0.0.2", "flushall"],
            env={"LD_LIBRARY_PATH": str(self.stack.redis / "usr/lib/x86_64-linux-gnu")},
            stdout=subprocess.DEVNULL,
            check=False,
        )

    def run(self, scenario: dict, app: Path, env: dict) -> tuple[list[tuple[str, str, str]], str, float]:
        lines: list[tuple[str, str, str]] = []
        began = time.monotonic()
        process = subprocess.Popen(
            shlex.split(scenario["command"]),
            cwd=app,
            env=env,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

        def read(stream: str, pipe) -> None:
            for line in pipe:
                stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
                lines.append((stamp, stream, line.rstrip("\n")))

        readers = [
            threading.Thread(target=read, args=item)
            for item in (("out", process.stdout), ("err", process.stderr))
        ]
        for reader in readers:
            reader.start()
        for after, command in scenario.get("then", ()):
            time.sleep(max(0, began + after - time.monotonic()))
            subprocess.run(
                shlex.split(command),
                cwd=app,
                env=env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        try:
            process.wait(max(0.1, began + scenario.get("limit", 30) - time.monotonic()))
            code = str(process.returncode)
        except subprocess.TimeoutExpired:
            process.send_signal(getattr(signal, scenario.get("signal", "SIGTERM")))
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            code = f"{process.returncode} (stopped by the recording with {scenario.get('signal', 'SIGTERM')})"
        seconds = time.monotonic() - began
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for reader in readers:
            reader.join(10)
        return sorted(lines, key=lambda line: line[0]), code, seconds

    def plain(self, line: str, app: Path, base: Path) -> str:
        line = (
            line.replace(str(app), "/app")
            .replace(f"{base}/lib", "/usr/local/lib")
            .replace(str(base), "/usr/local")
        )
        line = re.sub(
            re.escape(str(self.environments)) + r"/drv/\w+", "/usr/local/lib/python3.11/site-packages", line
        )
        line = re.sub(r"/[^\s\"']*/lib/python3\.11/(?!site-packages)", "/usr/local/lib/python3.11/", line)
        line = re.sub(r"Linux-\d\S*-x86_64-with", "Linux-6.1.0-x86_64-with", line)
        return line.replace(str(self.folder), "/tmp")


def without_hiding(lines: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The lines without the frames of the modules that hide installed packages: a package that is really
    not there has none."""
    kept, skip = [], 0
    for line in lines:
        if "/without/" in line[2]:
            skip = 2
        if skip == 0 or not line[2].startswith(" "):
            kept.append(line)
        skip = max(0, skip - 1)
    return kept


FIRST, LAST = 500, 100


def shortened(lines: list[tuple[str, str, str]]) -> tuple[list[tuple[str, str, str]], int]:
    """A very long recording without its middle (beat prints a traceback as one record for each write), and
    how many lines that were."""
    if len(lines) <= FIRST + LAST:
        return lines, 0
    last = range(len(lines) - LAST, len(lines))
    again = next((place for place in last if lines[place][2].startswith("[20")), len(lines))
    return lines[:FIRST] + lines[again:], again - FIRST


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--redis", type=Path, required=True)
    parser.add_argument("--postgres", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--version", action="append", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        stack = Stack(Path(name), options.redis, options.postgres)
        try:
            stack.start()
            stack.starting()
            recorder = Recorder(options.environments, stack, Path(name))
            for scenario_name, scenario in scenarios.SCENARIOS.items():
                if options.only and not any(re.fullmatch(item, scenario_name) for item in options.only):
                    continue
                for version in scenario.get("on", ("5.4", "5.6", "5.7")):
                    if not options.version or version in options.version:
                        recorder.record(scenario_name, scenario, version)
            if not options.only or "server-logs" in options.only:
                stack.server_logs()
        finally:
            stack.stop()


if __name__ == "__main__":
    sys.exit(main())
