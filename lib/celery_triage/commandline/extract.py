"""Write ``tables.json``: the options of released Celery and Flower versions, each asked in its own
environment.

    python -m celery_triage.commandline.extract --work DIR [--only celery==5.7.0 …] [--python
    3.9=/path/python3.9 …]

Each release is installed from PyPI into a virtual environment of its own (with an interpreter that it
imports on), ``describe.py`` is run there, and its answer replaces that version's table. Tables of versions
that are not asked stay. One release stands for its minor version: between the patch releases of one minor
the options are the same, save in 5.3 (5.3.0 lacks ``--optimization`` as the long name of ``-O`` and refuses
surplus words of ``inspect`` and ``control``); compared in the sources of the first and last release of each
minor.

Celery 4 has argparse parsers (``"parser": "argparse"``), described in the same shape. Its releases run under
Python 3.6: ``celery.backends.async`` of 4.0 to 4.2 is a syntax error from 3.7 on. One release stands for its
minor version there too; ``keeps_preload`` and the log levels of the last patch release are taken."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Release:
    """A release to ask: the package, its version, the Python that imports it, what else must be installed."""

    package: str
    version: str
    python: str
    also: tuple[str, ...] = ()

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


#: What Python 3.6 runs of the packages that Celery 4 needs; a pip of that age does not choose by itself.
_OF_36 = (
    "importlib-metadata==4.8.3",
    "typing-extensions==4.1.1",
    "zipp==3.6.0",
    "vine==1.3.0",
    "pytz==2022.1",
    "amqp==2.6.1",
    "kombu==4.6.11",
    "future==0.18.3",
)
#: ``setuptools<81``: Celery 5.0 and 5.1 find plug-ins by ``pkg_resources``, which later ones left out.
RELEASES = (
    Release("celery", "4.0.2", "3.6", ("billiard==3.5.0.5", *_OF_36)),
    Release("celery", "4.1.1", "3.6", ("billiard==3.5.0.5", *_OF_36)),
    Release("celery", "4.2.2", "3.6", ("billiard==3.5.0.5", *_OF_36)),
    Release("celery", "4.3.1", "3.6", ("billiard==3.6.4.0", *_OF_36)),
    Release("celery", "4.4.7", "3.6", ("billiard==3.6.4.0", *_OF_36)),
    Release("celery", "5.0.5", "3.9", ("setuptools<81",)),
    Release("celery", "5.1.2", "3.9", ("setuptools<81",)),
    Release("celery", "5.2.7", "3.9", ("setuptools<81",)),
    Release("celery", "5.3.6", "3.11"),
    Release("celery", "5.4.0", "3.11"),
    Release("celery", "5.5.3", "3.11"),
    Release("celery", "5.6.3", "3.11"),
    Release("celery", "5.7.0", "3.11"),
    Release("flower", "0.9.7", "3.7", ("setuptools<68", "celery==4.4.7", "importlib-metadata<5")),
    Release("flower", "1.0.0", "3.9", ("setuptools<81", "celery==5.2.7")),
    Release("flower", "1.1.0", "3.9", ("setuptools<81", "celery==5.2.7")),
    Release("flower", "1.2.0", "3.9", ("setuptools<81", "celery==5.2.7")),
    Release("flower", "2.0.1", "3.11", ("celery==5.4.0",)),
    Release("flower", "2.1.0", "3.11", ("celery==5.6.3",)),
    Release("flower", "2.2.0", "3.11", ("celery==5.7.0",)),
)


def ask(release: Release, python: str, work: Path) -> dict:
    """Install a release under ``work`` and describe it. Raises CalledProcessError with what pip or Python
    said."""
    environment = work / f"{release.package}-{release.version}"
    executable = environment / "bin" / "python"
    if not (environment / ".complete").exists():
        shutil.rmtree(environment, ignore_errors=True)
        _run([python, "-m", "venv", str(environment)])
        _run(
            [
                str(executable),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                f"{release.package}=={release.version}",
                *release.also,
            ]
        )
        (environment / ".complete").touch()
    described = json.loads(_run([str(executable), str(HERE / "describe.py"), release.package]))
    if described[release.package] != release.version:
        raise RuntimeError(f"asked for {release.package} {release.version}, got {described[release.package]}")
    return described


def _run(command: Sequence[str]) -> str:
    # The pools and levels that Celery lists depend on its own variables, so none may leak in.
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CELERY", "FLOWER", "PYTHONPATH"))
    }
    return subprocess.run(command, check=True, capture_output=True, text=True, env=clean).stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if every release asked for was described, 1 if one was not."""
    parser = argparse.ArgumentParser(
        description="Write the option tables of released Celery and Flower versions."
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for the virtual environments")
    parser.add_argument("--only", action="append", default=[], metavar="PACKAGE==VERSION")
    parser.add_argument(
        "--python", action="append", default=[], metavar="X.Y=PATH", help="an interpreter to use"
    )
    parser.add_argument("--out", type=Path, default=HERE / "tables.json")
    options = parser.parse_args(arguments)
    given = dict(item.split("=", 1) for item in options.python)
    tables = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    failed = 0
    for release in RELEASES:
        name = f"{release.package}=={release.version}"
        if options.only and name not in options.only:
            continue
        python = given.get(release.python) or shutil.which(f"python{release.python}")
        try:
            if python is None:
                raise RuntimeError(
                    f"no Python {release.python} here: give one by --python {release.python}=PATH"
                )
            tables.setdefault(release.package, {})[release.minor] = ask(release, python, options.work)
            print(f"{name}: described", file=sys.stderr)
        except (RuntimeError, OSError, ValueError, subprocess.CalledProcessError) as error:
            failed += 1
            detail = getattr(error, "stderr", "") or ""
            print(f"{name}: {error}\n{detail}", file=sys.stderr)
    options.out.write_text(dump(tables), encoding="utf-8")
    return 1 if failed else 0


def dump(tables: dict) -> str:
    """One parameter a line, so that a change of one option is one line of a diff."""

    def lines(value: object, indent: int) -> str:
        pad = " " * indent
        if isinstance(value, dict) and not _flat(value):
            inner = ",\n".join(
                f"{pad} {json.dumps(key)}: {lines(value[key], indent + 1)}" for key in sorted(value)
            )
            return "{\n" + inner + "\n" + pad + "}"
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return (
                "[\n"
                + ",\n".join(f"{pad} {json.dumps(item, sort_keys=True)}" for item in value)
                + "\n"
                + pad
                + "]"
            )
        return json.dumps(value, sort_keys=True)

    return lines(tables, 0) + "\n"


def _flat(value: dict) -> bool:
    return not any(isinstance(item, (dict, list)) for item in value.values())


if __name__ == "__main__":
    sys.exit(main())
