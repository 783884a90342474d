"""The lab's images: base, PostgreSQL, Redis, RabbitMQ, and application images by requirement set.

Each image is tagged with a hash of all that goes into it, so an image that exists is never built again and
no tag tells what was put into it or why. Wheels are fetched on the host by pip (containers may not know the
host's certificates) and installed without an index; where the host can fetch none, pip runs in the build.

Environment:

``LAB_BASE``            the Debian-like base (default ``ctlab-base:bookworm``, made with debootstrap)
``LAB_APT_MIRROR``      where debootstrap gets its packages (default: debootstrap's own)
``LAB_APP_BASE``        an image with Python and pip to use for the application, such as ``python:3.11-slim``
``LAB_POSTGRES_IMAGE``  a PostgreSQL image to use as it is, such as ``postgres:15``
``LAB_REDIS_IMAGE``     a Redis image to use as it is, such as ``redis:7``
``LAB_RABBITMQ_IMAGE``  a RabbitMQ image to use as it is, such as ``rabbitmq:3-management``

The last four are for those who can pull from a registry; that path is untested.

Command line: ``python -m tests.lab.images [FAULT…]`` builds what these faults need (default: every fault).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.lab.names import USUAL, Names

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".lab" / "wheels"
SOURCES = HERE / "images"

DEFAULT_BASE = "ctlab-base:bookworm"

#: What the application needs when all is well. A fault's set is laid over it; None takes a package out.
#: The extra of a name counts as part of it: `psycopg` in a fault means this `psycopg[binary]`.
DEFAULT_REQUIREMENTS: dict[str, str | None] = {
    "celery[redis]": "5.7.0",
    "click": "8.5.1",
    "flower": "2.2.0",
    "prometheus-client": "0.26.0",
    "psycopg[binary]": "3.3.9",
    "psycopg2-binary": None,
    "sqlalchemy": "2.1.9",
}

#: Conditional requirements that pip judges by the host's Python, not by the image's: fetched in any case,
#: installed only where something asks for them.
ALSO_FETCH = ("async-timeout", "typing-extensions", "importlib-metadata", "tzdata", "greenlet")


class BuildFailed(Exception):
    """An image could not be made; the message ends with what the failing command printed."""


def requirements(changes: Mapping[str, str | None] | None = None) -> tuple[str, ...]:
    """The default requirement set with `changes` laid over it, as sorted lines for pip."""
    chosen = dict(DEFAULT_REQUIREMENTS)
    by_name = {_plain(name): name for name in chosen}
    for name, version in (changes or {}).items():
        chosen.pop(by_name.get(_plain(name), name), None)
        written = name if "[" in name else by_name.get(_plain(name), name)
        chosen[written] = None if version is None else str(version)
    lines = []
    for name, version in chosen.items():
        if version is None:
            continue
        lines.append(name + (version if version[:1] in "<>=!~" else f"=={version}") if version else name)
    return tuple(sorted(lines))


def postgres_image() -> str:
    """The name of the PostgreSQL image; builds it where it is missing."""
    return os.environ.get("LAB_POSTGRES_IMAGE") or _build("postgres", _base())


def redis_image() -> str:
    """The name of the Redis image; builds it where it is missing."""
    return os.environ.get("LAB_REDIS_IMAGE") or _build("redis", _base())


def rabbitmq_image() -> str:
    """The name of the RabbitMQ image (with its management plug-in); builds it where it is missing."""
    return os.environ.get("LAB_RABBITMQ_IMAGE") or _build("rabbitmq", _base())


def python_image() -> str:
    """The name of the image under all application images; builds it where it is missing."""
    return os.environ.get("LAB_APP_BASE") or _build("python", _base())


def app_image(wanted: tuple[str, ...], names: Names = USUAL) -> str:
    """The name of the application image with these requirement lines; builds it where it is missing.

    ``names``: what the application's modules, tasks and queues are called."""
    base = python_image()
    tag = app_tag(base, wanted, names)
    with to_build(tag) as missing:
        if missing:
            _build_app(tag, base, wanted, names)
    return tag


def _build_app(tag: str, base: str, wanted: tuple[str, ...], names: Names) -> None:
    with tempfile.TemporaryDirectory(prefix="lab-image-") as folder:
        context = Path(folder) / "context"
        shutil.copytree(SOURCES / "app", context, ignore=shutil.ignore_patterns("__pycache__", "src"))
        for source in (SOURCES / "app" / "src").rglob("*.py"):
            path = context / "src" / names.path(source.relative_to(SOURCES / "app" / "src"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(names.text(source.read_text(encoding="utf-8")), encoding="utf-8")
        (context / "wheels").mkdir()
        (context / "requirements.txt").write_text("\n".join(wanted) + "\n")
        wheels = fetch_wheels(wanted, base)
        pip_args = ""
        if wheels is not None:
            for wheel in wheels.iterdir():
                shutil.copy2(wheel, context / "wheels")
            pip_args = "--no-index --find-links /wheels"
        docker_build(tag, context, BASE=base, PIP_ARGS=pip_args)


def app_tag(base: str, wanted: tuple[str, ...], names: Names = USUAL) -> str:
    """What the application image on this base with these requirement lines is called."""
    other = [repr(names)] if names.services else []
    return _tag("backend", base, "app", "\n".join([*wanted, *other]))


def _base() -> str:
    base = os.environ.get("LAB_BASE") or DEFAULT_BASE
    if _exists(base) or base != DEFAULT_BASE:
        return base
    with to_build(base) as missing:
        if missing:
            _make_base(base)
    return base


def _make_base(base: str) -> None:
    if shutil.which("debootstrap") is None:
        raise BuildFailed(f"there is no image {base} and no debootstrap to make it with; set LAB_BASE")
    _say(f"making {base} with debootstrap")
    mirror = os.environ.get("LAB_APT_MIRROR")
    with tempfile.TemporaryDirectory(prefix="lab-base-") as folder:
        _run(["debootstrap", "--variant=minbase", "bookworm", folder, *([mirror] if mirror else [])])
        shutil.rmtree(Path(folder, "var/cache/apt/archives"), ignore_errors=True)
        shutil.rmtree(Path(folder, "var/lib/apt/lists"), ignore_errors=True)
        if mirror:
            Path(folder, "etc/apt/sources.list").write_text(f"deb {mirror} bookworm main\n")
        # debootstrap copies the host's name and name servers into the tree; an image holds neither.
        for name in ("etc/hostname", "etc/resolv.conf"):
            Path(folder, name).unlink(missing_ok=True)
        tar = subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE)
        _run(["docker", "import", "-", base], stdin=tar.stdout)
        if tar.wait():
            raise BuildFailed("tar failed on the base image")


def _build(name: str, base: str) -> str:
    tag = _tag(name, base, name)
    with to_build(tag) as missing:
        if missing:
            docker_build(tag, SOURCES / name, BASE=base)
    return tag


def _tag(name: str, base: str, folder: str, extra: str = "") -> str:
    """`ctlab-<name>:<hash>`: the hash is over the base's name, the folder's files and `extra`."""
    digest = hashlib.sha256(f"{base}\n{extra}\n".encode())
    top = SOURCES / folder
    for path in sorted(top.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(top)}\n".encode() + path.read_bytes())
    return f"ctlab-{name}:{digest.hexdigest()[:12]}"


def fetch_wheels(wanted: tuple[str, ...], base: str, constraint: Path | None = None) -> Path | None:
    """A folder with the wheels of this requirement set, or None where the host's pip cannot get them.

    ``constraint`` is a file of versions for pip."""
    ask = "import platform; print(platform.python_version())"
    version = _run(["docker", "run", "--rm", "--entrypoint", "python3", base, "-c", ask]).strip()
    pins = constraint.read_text("utf-8") if constraint else ""
    key = hashlib.sha256("\n".join((version, *wanted, *([pins] if pins else []))).encode()).hexdigest()[:12]
    folder = CACHE / key
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{key}.{os.getpid()}")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--dest", str(partial), "--only-binary=:all:", "--implementation", "cp",
        "--python-version", ".".join(version.split(".")[:2]),
    ]  # fmt: skip
    for name in ("manylinux_2_28", "manylinux2014", "manylinux_2_17", "linux"):
        command += ["--platform", f"{name}_{platform.machine()}"]
    command += ["--constraint", str(constraint)] if constraint else []
    _say(f"fetching wheels: {', '.join(wanted)}")
    fetched = subprocess.run(command + [*wanted, *ALSO_FETCH], capture_output=True, text=True)
    if fetched.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        _say(f"pip could not fetch the wheels here, trying inside the build: {fetched.stderr[-400:]}")
        return None
    try:
        partial.rename(folder)  # by one rename, so that two labs may fetch at once
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def docker_build(tag: str, context: Path, **arguments: str) -> None:
    started = time.monotonic()
    command = ["docker", "build", "--quiet", "--force-rm", "--tag", tag]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    # The classic builder: present in every engine, and BuildKit's client plug-in is not.
    _run([*command, str(context)], env={**os.environ, "DOCKER_BUILDKIT": "0"})
    _say(f"built {tag} in {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def to_build(image: str) -> Iterator[bool]:
    """Whether the image is missing; while it is made, whoever else needs it waits here and then has it."""
    if _exists(image):
        yield False
        return
    lock = CACHE.with_name("images") / image.replace(":", "-").replace("/", "-")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield not _exists(image)


def _exists(image: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0


def _plain(name: str) -> str:
    return name.split("[")[0].lower().replace("_", "-")


def _run(command: list[str], **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        said = (done.stdout + done.stderr)[-2000:]
        raise BuildFailed(f"{' '.join(command[:4])} … ended with {done.returncode}:\n{said}")
    return done.stdout


def _say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


def main(names: list[str]) -> int:
    """Builds the images of the named faults, of all where none is named; prints each image with its fault."""
    from tests.lab import lab

    started = time.monotonic()
    for image in (postgres_image(), redis_image(), rabbitmq_image()):
        print(image)
    for name in names or lab.fault_names():
        fault = lab.load_fault(name)
        for image in sorted(lab.all_images(fault)):
            print(image, name)
    _say(f"all images there after {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
