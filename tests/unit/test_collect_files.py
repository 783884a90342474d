"""What is installed in an image is told file by file, as Python and the shell would find it."""

from __future__ import annotations

import pytest
from replayed_engine import EMAIL, FLOWER, RECORDED, engine, requests_made

from celery_triage.collect import containers, files
from celery_triage.collect.docker import Engine, Stat
from celery_triage.collect.image import Image, Python, find_app, read_version
from celery_triage.collect.probe import run_sources
from celery_triage.redact import Redactor
from celery_triage.stack import Stack


def recorded_items(*ids: str, **changes) -> list:
    """Unmasked items of recorded containers; `changes` replace parts of them."""
    found = [
        containers.item(RECORDED[f"GET /containers/{id}/json"]["json"], label=id, member=True) for id in ids
    ]
    return [{**entry, **changes} for entry in found]


def sections(tmp_path, items: list, answers: dict | None = None, **how) -> dict:
    with engine(tmp_path, answers, **how) as address:
        found = files.sources(
            Stack({"items": items}).members,
            {},
            Redactor(),
            lambda emit: Engine(emit, api="1.41", environment={"DOCKER_HOST": address}),
        )
        return run_sources(found, mask=str).sections


class Tree:
    """An engine with one container: paths and their texts; a text that begins with ``->`` is a link."""

    def __init__(self, tree: dict[str, str]) -> None:
        self.tree = tree
        self.folders = {
            path[:at] for path in tree for at, letter in enumerate(path) if letter == "/" and at
        } | {"/"}

    def follow(self, container: str, path: str):
        text = self.tree.get(path)
        if text is not None and text.startswith("->"):
            return self.follow(container, text[2:])
        if text is not None:
            return path, Stat(len(text), 0o644, "")
        return (path, Stat(4096, 1 << 31 | 0o755, "")) if path in self.folders else None

    def read_found(self, container: str, path: str, stat: Stat):
        return self.tree[path].encode() if path in self.tree else None


def image(tree: dict[str, str], env: dict | None = None, **entry) -> Image:
    return Image(Tree(tree), {"id": "x", "working_dir": "/app", "user": "", "mounts": [], **entry}, env or {})


SITE = "/usr/local/lib/python3.12/site-packages"
OFFICIAL = {
    "/usr/local/bin/celery": "#!/usr/local/bin/python3.12\n",
    "/usr/local/bin/python3": "->/usr/local/bin/python3.12",
    "/usr/local/bin/python3.12": "\x7fELF",
    f"{SITE}/celery/__init__.py": "__version__ = '5.4.0'\n",
    "/usr/lib/python3/dist-packages/psycopg2/__init__.py": "",
    "/usr/bin/python3": "->/usr/bin/python3.11",
    "/usr/bin/python3.11": "\x7fELF",
}


def test_a_restarting_workers_image(tmp_path):
    """What a real engine answered for a container that lives half a second at a time: no driver."""
    told = sections(tmp_path, recorded_items(EMAIL))[f"files/{EMAIL}"]
    packages = told.data["packages"]
    assert told.status == "ok" and told.data["python"] == "3.11"
    assert told.data["site_packages"] == [
        "/usr/local/lib/python3.11/dist-packages",
        "/usr/lib/python3/dist-packages",
    ]
    assert {name: packages[name]["version"] for name in ("celery", "sqlalchemy", "redis")} == {
        "celery": "5.6.3",
        "sqlalchemy": "2.0.58",
        "redis": "8.1.0",
    }
    assert packages["psycopg"] == {
        "present": True,
        "version": None,
        "path": "/usr/local/lib/python3.11/dist-packages/psycopg",
    }
    assert [packages[name]["present"] for name in ("psycopg2", "flower", "asyncpg")] == [False] * 3
    assert told.data["executable"] == {
        "name": "celery",
        "path": "/usr/local/bin/celery",
        "looked": ["/usr/local/sbin/celery", "/usr/local/bin/celery"],
    }
    assert told.data["app"]["present"] is True
    assert told.data["app"]["path"] == "/app/shared/infrastructure/celery_app.py"


def test_services_of_one_image_are_read_once_and_seen_each(tmp_path):
    """Presence is asked of every container; the same file is read out of the first one only."""
    told = sections(tmp_path, recorded_items(EMAIL, FLOWER))
    assert told[f"files/{FLOWER}"].data["packages"] == told[f"files/{EMAIL}"].data["packages"]
    reads = [line for line in requests_made(tmp_path) if line.startswith("GET") and "archive" in line]
    assert reads and all(EMAIL in line for line in reads)
    assert any(line.startswith(f"HEAD /containers/{FLOWER}") for line in requests_made(tmp_path))


def test_a_container_that_vanished_has_no_packages_missing(tmp_path):
    """HEAD says 404 for a file and for a container alike: nothing may read as "not installed"."""
    gone = {key: None for key in RECORDED if f"HEAD /containers/{EMAIL}" in key}
    told = sections(tmp_path, recorded_items(EMAIL), gone)[f"files/{EMAIL}"]
    assert (told.status, told.data) == ("vanished", None)


def test_an_engine_error_is_not_an_absent_package(tmp_path):
    """What was seen before it is kept, and the section says that it is not whole."""
    bad = {
        f"HEAD /containers/{EMAIL}/archive?path=/usr/local/lib/python3.11/dist-packages/celery/__init__.py": {
            "status": 500,
            "json": None,
        }
    }
    told = sections(tmp_path, recorded_items(EMAIL), bad)[f"files/{EMAIL}"]
    assert told.status == "partial" and "status 500" in told.why
    assert told.data["executable"]["path"] == "/usr/local/bin/celery" and told.data["packages"] == {}


def test_an_engine_that_hangs_keeps_what_was_seen(tmp_path):
    """The parts that stop a start first are asked first and sent at once."""
    items = recorded_items(EMAIL)
    with engine(tmp_path, hang="sqlalchemy") as address:
        found = files.sources(
            Stack({"items": items}).members,
            {},
            Redactor(),
            lambda emit: Engine(emit, api="1.41", environment={"DOCKER_HOST": address}),
        )
        told = run_sources(found, mask=str, limit_s=2).sections[f"files/{EMAIL}"]
    assert told.status == "partial" and told.data["app"]["present"] is True


def test_the_official_image_does_not_see_debians_packages():
    """Python below /usr/local imports nothing from /usr/lib/python3/dist-packages."""
    there = image(OFFICIAL)
    python = Python(there, there.executable("celery")[0])
    assert (python.version, python.site) == ("3.12", [SITE])
    packages = python.packages()
    assert packages["celery"] == {"present": True, "version": "5.4.0", "path": f"{SITE}/celery"}
    assert packages["psycopg2"]["present"] is False


def test_debians_own_python_sees_both():
    """Local packages come before the distribution's, as on Debian's sys.path."""
    there = image(
        {
            "/usr/local/lib/python3.11/dist-packages/celery/__init__.py": "__version__ = '5.5.3'",
            "/usr/lib/python3/dist-packages/celery/__init__.py": "__version__ = '5.2.6'",
            "/usr/bin/celery": "#! /usr/bin/python3 -P\n",
            "/usr/bin/python3": "->/usr/bin/python3.11",
            "/usr/bin/python3.11": "",
        }
    )
    python = Python(there, "/usr/bin/celery")
    assert python.packages()["celery"]["version"] == "5.5.3"


@pytest.mark.parametrize("system", [False, True])
def test_a_virtual_environment_is_alone_unless_it_says_otherwise(system):
    """The shebang leads into it; what the system has counts only with include-system-site-packages."""
    there = image(
        {
            "/venv/bin/celery": "#!/venv/bin/python\n",
            "/venv/bin/python": "->/usr/bin/python3.11",
            "/usr/bin/python3.11": "",
            "/venv/pyvenv.cfg": f"home = /usr/bin\ninclude-system-site-packages = {system}\nversion = 3.11\n",
            "/venv/lib/python3.11/site-packages/celery/__init__.py": "__version__ = '5.6.2'",
            "/usr/lib/python3/dist-packages/psycopg2/__init__.py": "",
        },
        {"PATH": "/venv/bin:/usr/bin"},
    )
    packages = Python(there, there.executable("celery")[0]).packages()
    assert packages["celery"]["version"] == "5.6.2"
    assert packages["psycopg2"]["present"] is system


@pytest.mark.parametrize(
    "script",
    [
        "#!/usr/bin/env python3\n",
        "#!/usr/bin/env -S PYTHONUNBUFFERED=1 python3\n",
        "#!/bin/sh\n'''exec' /usr/local/bin/python3 \"$0\" \"$@\"\n",
        "#!/bin/sh\n'''exec' \"/usr/local/bin/python3\" \"$0\"\n",
        "\x7fELF binary",
        "",
    ],
)
def test_the_interpreter_is_found_behind_every_kind_of_script(script):
    """env, the way round a long path that pip writes, and PATH where the script says nothing."""
    python = Python(image({**OFFICIAL, "/usr/local/bin/celery": script}), "/usr/local/bin/celery")
    assert python.version == "3.12"


def test_without_any_interpreter_nothing_is_called_absent():
    """An image that is not known cannot be said to lack a driver."""
    packages = Python(image({"/bin/sh": ""}), None).packages()
    assert {told["present"] for told in packages.values()} == {None}


def test_packages_of_the_user_and_of_pythonpath_count():
    """They come first on sys.path."""
    home = "/home/celery/.local/lib/python3.12/site-packages"
    there = image(
        {
            **OFFICIAL,
            f"{home}/flower/__init__.py": "VERSION = (2, 0, 1)\n",
            "/libs/redis/__init__.py": '__version__ = "5.0.1"\n',
        },
        {"PYTHONPATH": "/libs:src"},
        user="celery",
    )
    packages = Python(there, "/usr/local/bin/celery").packages()
    assert (packages["flower"]["version"], packages["redis"]["version"]) == ("2.0.1", "5.0.1")


@pytest.mark.parametrize(
    "text, version",
    [
        ("__version__ = '5.7.0'", "5.7.0"),
        ('VERSION = (2, 2, 0)\n__version__ = ".".join(map(str, VERSION))', "2.2.0"),
        ('__version__: typing.Final = "0.30.0"', "0.30.0"),
        ('VERSION = (1, 1, 1, "final", 1)', "1.1.1"),
        (
            "try:\n    __version__ = metadata.version('psycopg')\nexcept X:\n    __version__ = \"0.0.0.0\"",
            None,
        ),
        ("version_info = (2, 2, 4, 'final', 0)\n__version__ = \"2.2.4\"", "2.2.4"),
        ("", None),
        ("__version__ = get()", None),
    ],
)
def test_versions_as_packages_state_them(text, version):
    """The ways of celery, flower, asyncpg, pymysql, psycopg (which computes it) and mysqlclient."""
    assert read_version(text) == version


APP = {
    "/app/shared/__init__.py": "",
    "/app/shared/infrastructure/__init__.py": "",
    "/app/shared/infrastructure/celery_app.py": "app = 1",
    "/app/proj/celery.py": "app = Celery()",
}


@pytest.mark.parametrize(
    "app, present, path",
    [
        ("shared.infrastructure.celery_app", True, "/app/shared/infrastructure/celery_app.py"),
        ("shared.infrastructure.celery_app:app", True, "/app/shared/infrastructure/celery_app.py"),
        ("shared.infrastructure.celery_ap", False, None),
        ("shared.infrastructure.celery_ap:app", False, None),
        ("shared.infrastructure.celery_app.app", None, "/app/shared/infrastructure/celery_app.py"),
        ("shared.infrastructure.celery_app.nope", False, None),
        ("shared", True, "/app/shared/__init__.py"),
        ("nowhere", False, None),
        ("proj.celery", True, "/app/proj/celery.py"),
        ("./app.py", None, None),
        ("proj.celery.app", None, "/app/proj/celery.py"),
        ("$APP", None, None),
    ],
)
def test_the_app_is_found_as_celery_imports_it(app, present, path):
    """A module, a module with an attribute behind a colon, or an attribute behind the last dot."""
    told = find_app(image(APP), app, ["/app"])
    assert (told["present"], told["path"]) == (present, path)


def test_below_a_tmpfs_nothing_is_called_absent():
    """The archive call cannot look into memory."""
    there = image({}, mounts=[{"type": "tmpfs", "target": "/app"}])
    assert find_app(there, "shared", ["/app"])["present"] is None


@pytest.mark.parametrize(
    "command, env, where",
    [
        (["celery", "--workdir", "src", "-A", "proj", "worker"], {}, "/app/src/proj.py"),
        (["sh", "-c", "cd /srv/code && exec celery -A proj worker"], {}, "/srv/code/proj.py"),
        (["celery", "-A", "proj", "worker"], {"PYTHONPATH": "/opt/libs:lib"}, "/app/lib/proj.py"),
        (["celery", "-A", "proj", "worker"], {}, "/app/proj.py"),
    ],
)
def test_every_way_of_saying_where_the_app_is_counts(tmp_path, command, env, where):
    """--workdir, a cd before it, PYTHONPATH, and the working directory of the container."""
    there = {
        f"HEAD /containers/{EMAIL}/archive?path={where}": {
            "status": 200,
            "stat": {"size": 9, "mode": 0o644, "linkTarget": ""},
        }
    }
    told = sections(tmp_path, recorded_items(EMAIL, cmd=command, env=env), there)[f"files/{EMAIL}"]
    assert (told.data["app"]["present"], told.data["app"]["path"]) == (True, where)


def test_an_executable_that_is_missing_says_where_it_was_looked_for(tmp_path):
    """The rule that judges it quotes the places."""
    told = sections(tmp_path, recorded_items(EMAIL, cmd=["/venv/bin/celery", "-A", "x", "worker"]))[
        f"files/{EMAIL}"
    ]
    assert told.data["executable"] == {
        "name": "/venv/bin/celery",
        "path": None,
        "looked": ["/venv/bin/celery"],
    }
    told = sections(
        tmp_path / "..",
        recorded_items(EMAIL, cmd=["poetry", "run", "celery", "-A", "x", "worker"], env={"PATH": "/bin"}),
    )[f"files/{EMAIL}"]
    assert told.data["executable"]["looked"] == ["/bin/celery", "/app/.venv/bin/celery"]


def test_python_m_celery_needs_python(tmp_path):
    """Then no script of that name has to be there."""
    told = sections(tmp_path, recorded_items(EMAIL, cmd=["python3", "-m", "celery", "-A", "x", "worker"]))[
        f"files/{EMAIL}"
    ]
    assert (
        told.data["executable"]["name"] == "python3" and told.data["executable"]["path"] == "/usr/bin/python3"
    )
