"""Judge a Celery command line by the options of one released version, with click itself as the parser
(Celery 4: argparse, see ``four``).

The commands are rebuilt from the option tables, so that ``--queues=x``, ``--queues x``, ``-Qx`` and ``-c4``
mean what they mean in the image. What an application adds to ``celery worker`` itself
(``app.user_options``) is in no table: such an option reads as unknown here, and a process that lived with
it refutes that.

The true order of a starting ``celery`` (source of click's ``Group.invoke`` and runs of 5.4, 5.6 and 5.7):
global options are parsed, the sub-command is looked up, ``-A`` is imported, and only then the sub-command's
own options are parsed. So a module that cannot be imported hides an unknown option of ``worker``:
``Problem.before_app`` says on which side a problem stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from celery_triage.commandline import flower as tornado
from celery_triage.commandline import four, refusals, tables
from celery_triage.commandline.levels import Level, Levels
from celery_triage.commandline.problem import Problem
from celery_triage.commandline.rebuild import Builder

#: Longer command lines are not judged: no person wrote them.
MOST_WORDS = 2000


@dataclass(frozen=True)
class Launch:
    """A command line as that version reads it.

    ``options`` and ``global_options`` hold, by click's parameter name (``queues``, ``schedule_filename``),
    only what is given on the line or by the environment (``from_env`` names the variable). ``exit_code`` is
    2 with a problem (1 with one that only Flower's own parser refuses; Celery 4 has 1 and 64 too), 0 where
    Celery only prints something (help, version, no sub-command) and ends, None where it goes on. ``error``
    is the first problem's sentence. ``app`` is what ``-A`` says, also where it stands in the wrong place.
    ``problems`` stand in the order in which they would stop it.

    ``version_judged`` is the minor version whose options were taken, empty where nothing was judged (before
    Celery 4.0); ``exact``: it is the version in the image, so that what is refused here is refused there.
    ``abbreviated``: long options that are written in part and the whole name that Celery 4 takes them for.
    ``flower_how``: by which Flower the words behind ``flower`` were judged, empty for other sub-commands.
    """

    argv: tuple[str, ...]
    subcommand: str | None = None
    app: str | None = None
    global_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    positional: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    version_judged: str = ""
    how: str = ""
    exit_code: int | None = None
    error: str = ""
    ends: str = ""
    from_env: Mapping[str, str] = field(default_factory=dict)
    exact: bool = False
    abbreviated: Mapping[str, str] = field(default_factory=dict)
    flower_how: str = ""


def parse(
    argv: Sequence[str],
    version: str | None = None,
    *,
    env: Mapping[str, str] | None = None,
    flower: str | bool | None = None,
    expands: bool = False,
) -> Launch:
    """What Celery of that version makes of ``argv`` (the executable first, wrappers already taken off).

    ``env`` is the container's environment: Celery's command line reads options from it (``CELERY_APP`` and
    ``APP`` for ``-A``, ``CELERY_WORKER_CONCURRENCY`` …). ``flower`` is the version of Flower in the image,
    False if it is not there, None if that is not known. ``expands``: a shell replaces ``$NAME`` in the
    words before Celery sees them, so such values are not judged. Never raises for a bad command line."""
    words = [str(word) for word in argv]
    if words and words[0].rsplit("/", 1)[-1] == "flower":  # Flower's own executable, gone since 1.0
        words = [words[0], "flower", *words[1:]]
    chosen = tables.choose(version)
    if len(words) > MOST_WORDS:
        return Launch(tuple(words), how=f"not judged: {len(words)} words")
    table = tables.table(chosen.minor)
    flower_table, judges_flower, flower_how = None, (), ""
    if flower is not False:
        with_flower = tables.choose(flower if isinstance(flower, str) else None, "flower")
        flower_table = tables.table(with_flower.minor, "flower")
        minors = (with_flower.minor,) if with_flower.exact else tables.versions("flower")
        judges_flower = tuple(tables.table(minor, "flower") for minor in minors)
        flower_how = with_flower.how if with_flower.exact else _of_every_flower(with_flower)
    reading: _Reading | four.Reading
    if table["parser"] == "argparse":
        reading, has_flower = four.Reading(words, table, env or {}, expands, flower is not False), True
    else:
        root = Builder(env or {}, expands).root(table, flower_table)
        app_first = any(param["type"]["name"] == "App" for param in table["root"]["params"])
        reading, has_flower = _Reading(tuple(words), root, app_first), "flower" in root.commands
    read = reading.read()
    if read.get("subcommand") == "flower" and has_flower and not read["problems"]:
        behind = [(index, word) for index, word in reading.behind if word != "--help"]
        refused = tornado.problems(behind, judges_flower, env or {}, expands)
        if refused and not read["ends"]:
            read |= {"problems": tuple(refused), "exit_code": 1, "error": refused[0].message}
    if not chosen.judges:
        read |= {"problems": (), "exit_code": None, "error": "", "ends": ""}
    judged = chosen.minor if chosen.judges else ""
    if read.get("subcommand") != "flower":
        flower_how = ""
    return Launch(
        tuple(words),
        version_judged=judged,
        how=chosen.how,
        exact=chosen.exact,
        flower_how=flower_how,
        **read,
    )


def _of_every_flower(chosen: tables.Choice) -> str:
    known = tables.versions("flower")
    why = chosen.how.partition(": ")[2]
    return f"judged by what Flower {known[0]} to {known[-1]} all refuse: {why}"


class _Reading:
    """Reads one command line with the commands of one version."""

    def __init__(self, argv: tuple[str, ...], root: click.Group, app_first: bool) -> None:
        self.argv, self.root, self.app_first = argv, root, app_first
        self.levels = Levels(root)
        self.problems: list[Problem] = []
        self.facts: dict[str, Any] = {"from_env": {}}
        self.behind: list[tuple[int, str]] = []

    def read(self) -> dict[str, Any]:
        """What of Launch this command line decides."""
        top = self.levels.level(self.root, "celery", list(enumerate(self.argv))[1:], None, before_app=True)
        self.problems += top.problems
        given = self.given(top, "global_options")
        self.facts["app"] = given.get("app") or None
        if top.help_asked:
            ends = "help"
        elif top.rest:
            ends = "version" if given.get("version") else ""
            ends = self.subcommand(top) or ends
        elif given.get("version"):
            ends = "version"
        else:
            ends = "no sub-command"
            sentence = "no sub-command: celery prints its help and ends with exit code 0"
            self.problems.append(
                Problem("no_command", self.argv[-1] if self.argv else "", sentence, before_app=True)
            )
        self.facts["app"] = self.facts["app"] or self.levels.misplaced_app or None
        stops = [problem for problem in self.problems if problem.kind != "no_command"]
        if ends == "version":  # printed before the sub-command reads its options
            stops = [problem for problem in stops if problem.before_app]
        return self.facts | {
            "problems": tuple(self.problems),
            "ends": "" if stops else ends,
            "exit_code": 2 if stops else 0 if ends else None,
            "error": stops[0].message if stops else "",
        }

    def given(self, level: Level, name: str) -> dict[str, Any]:
        self.facts[name] = (
            {} if level.context is None else refusals.given(level.context, self.facts["from_env"])
        )
        return self.facts[name]

    def subcommand(self, top: Level) -> str:
        """Reads the words from the sub-command on; ``"help"`` where they ask for help."""
        index, name = top.rest[0]
        self.facts["subcommand"] = name
        self.facts["positional"] = tuple(word for _, word in top.rest[1:])
        self.behind = list(top.rest[1:])
        command = self.root.commands.get(name)
        if command is None:
            self.problems.append(
                refusals.unknown_command(self.root, name, index, before_app=not self.app_first)
            )
            return ""
        level = self.levels.level(command, name, top.rest[1:], top.context, before_app=False)
        self.problems += level.problems
        self.given(level, "options")
        while isinstance(command, click.Group) and level.rest:  # upgrade settings, amqp queue.purge
            index, name = level.rest[0]
            below = command.commands.get(name)
            if below is None:
                self.problems.append(refusals.unknown_command(command, name, index, before_app=False))
                return ""
            command = below
            level = self.levels.level(command, name, level.rest[1:], level.context, before_app=False)
            self.problems += level.problems
            self.facts["options"] = {**self.facts["options"], **self.given(level, "options")}
        if getattr(command, "prints_help", False) and not level.rest and not level.problems:
            return "help"  # a group without a sub-command of its own
        self.facts["positional"] = tuple(word for _, word in level.rest)
        if name in ("inspect", "control") and not level.problems:
            self.problems += refusals.unknown_request(name, self.facts["options"], level.rest, top.rest)
        if name in ("worker", "beat"):
            self.problems += refusals.extra_configuration(level.rest)
        return "help" if level.help_asked else ""
