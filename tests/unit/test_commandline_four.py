"""Celery 4: its own parser, judged by the tables of its own releases as it really judged."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from celery_triage.commandline import parse, tables, versions
from celery_triage.lint import lint

DATA = Path(__file__).parent / "data" / "commandline"
OUTCOMES = json.loads((DATA / "outcomes_four.json").read_text(encoding="utf-8"))
MINORS = sorted(OUTCOMES)
NO_APP = re.compile(r"(-A|--app) (missing\.module|broken|proj:nothing)\b")

#: Where the table cannot say what the process did: what ends it comes after the parse.
AFTER_THE_PARSE = {
    "celery -A proj worker -P foo": "the pool is looked up by name",
    "celery -A proj inspect nothing": "an application may add methods of its own",
    "celery -A proj call proj.add --args=nope": "JSON is read later",
    "celery -A proj list": "`list` names what it could list, exit code 64",
    "celery -A proj purge -f -Q mail": "the command does its work and ends",
    "celery -A proj report extra": "the command does its work and ends",
    "celery -A proj beat -l loud": "apps/beat.py looks the level up; the recording stands in for that class",
}
#: 4.0.2 does not find its own pool `solo` beside the packages that it was recorded with.
SOLO = ("4.0", "celery -A proj worker -l INFO -c 4 -P solo -E -n w@%h")


def read(line: str, version: str):
    words, env = shlex.split(line), {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    return parse(words, version, env=env, flower=False)


@pytest.mark.parametrize("minor", MINORS)
def test_ends_as_the_real_celery_ended(minor: str) -> None:
    """Every recorded command line gets the exit code that the real Celery of that version gave."""
    wrong = {}
    for line, seen in OUTCOMES[minor]["lines"].items():
        launch = read(line, minor)
        differs = launch.exit_code != seen["exit_code"]
        expected = line in AFTER_THE_PARSE or (minor, line) == SOLO
        if not NO_APP.search(line) and differs != expected:
            wrong[line] = (launch.exit_code, seen, launch.problems)
    assert wrong == {}


@pytest.mark.parametrize("minor", MINORS)
def test_the_first_problem_is_the_one_that_celery_named(minor: str) -> None:
    """What argparse printed is the sentence of the first problem, and names its option or word."""
    told = 0
    for line, seen in OUTCOMES[minor]["lines"].items():
        said = seen["error"].partition(": error: ")[2]
        if not said or NO_APP.search(line):
            continue
        first = read(line, minor).problems[0]
        assert first.message == said, line
        assert first.option in said or first.token in said, line
        told += 1
    assert told > 20


@pytest.mark.parametrize("minor", MINORS)
def test_what_stops_before_the_application_is_imported(minor: str) -> None:
    """With a module that cannot be imported only a mistake in the global options is named before it."""
    lines = [line for line in OUTCOMES[minor]["lines"] if NO_APP.search(line)]
    assert len(lines) >= 6
    for line in lines:
        named = ": error: " in OUTCOMES[minor]["lines"][line]["error"]
        first = next(iter(read(line, minor).problems), None)
        assert named == (first is not None and first.before_app), line


@pytest.mark.parametrize("minor", MINORS)
def test_tables_hold_the_options_that_help_prints(minor: str) -> None:
    """The option names in recorded ``--help`` output are exactly those of the table. 4.4.7 swallows
    ``--help`` behind a sub-command, so only its own help is a witness; the next test is about its worker."""
    looked = 0
    for path in sorted((DATA / "help").glob(f"{minor}-*.txt")):
        command = path.stem.partition("-")[2]
        text = path.read_text(encoding="utf-8")
        if command == "multi" or "optional arguments:" not in text:
            continue
        root = tables.table(minor)["root"]
        node = root["commands"]["help" if command == "celery" else command]
        declared = {name for param in node["params"] for name in param.get("opts", ())}
        printed: set[str] = set()
        for line in text.splitlines():
            if found := re.match(r"  (-.*?)(?:  |$)", line):
                printed |= set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", found[1]))
        assert printed - {"--help", "-h"} == declared, path.name
        looked += 1
    assert looked >= (1 if minor == "4.4" else 8)


def test_the_worker_of_4_4_has_the_options_of_4_3() -> None:
    """The worker's parser of 4.4.7 declares the same options as that of 4.3.1, whose help is recorded (both
    taken from the parser objects; the diff of ``celery/bin/worker.py`` shows no other)."""
    worker = {
        minor: {
            name
            for param in tables.table(minor)["root"]["commands"]["worker"]["params"]
            for name in param.get("opts", ())
        }
        for minor in ("4.3", "4.4")
    }
    assert worker["4.3"] == worker["4.4"] and "--queues" in worker["4.4"]


@pytest.mark.parametrize("minor", MINORS)
def test_long_options_may_be_shortened(minor: str) -> None:
    """argparse takes ``--queue`` for ``--queues``; the launch says that it was written in part."""
    launch = parse(["celery", "worker", "-A", "proj", "--queue=mail,bulk"], minor + ".0", flower=False)
    assert (launch.exit_code, launch.problems) == (None, ())
    assert (launch.app, launch.options["queues"]) == ("proj", ["mail", "bulk"])
    assert launch.abbreviated == {"--queue": "--queues"}


def test_a_word_that_a_shell_expands_is_not_judged() -> None:
    """``-c $N`` may be a number, ``-l $LEVEL`` a level."""
    argv = ["celery", "worker", "-A", "proj", "-c", "$N", "-l", "$LEVEL"]
    assert parse(argv, "4.4.7", expands=True).exit_code is None
    assert [one.option for one in parse(argv, "4.4.7").problems] == ["-c", "-l"]


def test_every_minor_version_has_a_table_and_says_so() -> None:
    """The sentence names the version that was judged by; before 4.0 nothing is judged."""
    assert versions()[:5] == ("4.0", "4.1", "4.2", "4.3", "4.4")
    launch = parse(["celery", "worker"], "4.2.1")
    assert (launch.how, launch.exact) == ("judged by the options of Celery 4.2 (4.2.1)", True)
    old = parse(["celery", "worker", "-A", "proj", "--foo"], "3.1.26")
    assert (old.problems, old.version_judged) == ((), "")
    assert old.how == "not judged: there is no table of Celery 3.1"


@pytest.mark.parametrize(
    "argv", [[], ["celery"], ["celery", "-"], ["celery", "--"], ["celery", "worker", "--", "x"], ["x"] * 50,
             ["celery", "worker", "-A"], ["celery", "worker", "--=x"], ["celery", "\x00", "worker", "-\x00"],
             ["celery", "worker", *(["--nope", "-Z", "--max"] * 30)], ["celery", "-A", "worker"]]
)
def test_odd_words_never_raise(argv: list[str]) -> None:
    """Whatever stands there, the line is read."""
    assert parse(argv, "4.4.7").version_judged == "4.4"


def linted(tmp_path: Path, image: str, command: str) -> list[tuple[str, str]]:
    """The severity and title of what lint says of CMD001 for one worker."""
    path = tmp_path / "docker-compose.yml"
    path.write_text(f"services:\n  worker:\n    image: {image}\n    command: {command}\n", encoding="utf-8")
    findings = lint([str(path)]).diagnosis.findings
    return [(one.severity, one.title) for one in findings if one.code == "CMD001"]


def test_lint_judges_celery_4_where_the_image_says_so(tmp_path: Path) -> None:
    """Shortened names and -A behind the sub-command are right for 4.4; a misspelt option is wrong for it."""
    assert linted(tmp_path, "celery:4.4", "celery worker -A shop --queue=mail -l warn") == []
    ((severity, title),) = linted(tmp_path, "celery:4.4", "celery worker -A shop --quues=mail")
    assert severity == "critical" and "wrong for Celery 4.4, the version here" in title


def test_lint_without_a_version_takes_a_command_of_celery_4_for_one(tmp_path: Path) -> None:
    """`--queue` is critical in a command of Celery 5, a warning in one that Celery 4 takes as a whole."""
    five = linted(tmp_path, "shop", "celery -A shop worker --queue=mail")
    assert [severity for severity, _ in five] == ["critical"] and "right for 4.0 to 4.4" in five[0][1]
    four = linted(tmp_path, "shop", "celery worker -A shop --queue=mail")
    assert {severity for severity, _ in four} == {"warning"} and len(four) == 2
