"""Judge a Celery command line by the options of one released version, with click itself as the parser.

The commands are rebuilt from the option tables, so that ``--queues=x``, ``--queues x``, ``-Qx`` and ``-c4``
mean what they mean in the image. What an application adds to ``celery worker`` itself
(``app.user_options``) is in no table: such an option reads as unknown here, and a process that lived with
it refutes that.

The true order of a starting ``celery`` (source of click's ``Group.invoke`` and runs of 5.4, 5.6 and 5.7):
global options are parsed, the sub-command is looked up, ``-A`` is imported, and only then the sub-command's
own options are parsed. So a module that cannot be imported hides an unknown option of ``worker``:
``Problem.before_app`` says on which side a problem stands. """

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import click

from celery_triage.commandline import tables
from celery_triage.commandline.rebuild import Builder

KINDS = ("unknown_option", "missing_value", "bad_value", "unknown_command", "no_command", "misplaced_option",
         "unexpected_argument")

#: More problems than that on one command line are not looked for.
MOST_PROBLEMS = 20
#: Longer command lines are not judged: no person wrote them.
MOST_WORDS = 2000


@dataclass(frozen=True)
class Problem:
    """One thing that Celery refuses. ``token`` is the word as written, ``index`` its place in ``argv``;
    ``option`` the bare option; ``candidates`` what was probably meant, best first; ``message`` the sentence
    that click ends with; ``before_app`` whether it stops Celery before the application module is
    imported."""

    kind: str
    token: str
    message: str
    candidates: tuple[str, ...] = ()
    index: int | None = None
    option: str = ""
    before_app: bool = False


@dataclass(frozen=True)
class Launch:
    """A command line as that version reads it.

    ``options`` and ``global_options`` hold, by click's parameter name (``queues``, ``schedule_filename``),
    only what is given on the line or by the environment (``from_env`` names the variable). ``exit_code`` is
    2 with a problem, 0 where Celery only prints something (help, version, no sub-command) and ends, None
    where it goes on. ``error`` is the first problem's sentence. ``app`` is what ``-A`` says, also where it
    stands in the wrong place. ``problems`` stand in the order in which they would stop it. """

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
    words before Celery sees them, so such values are not judged. Never raises for a bad command line. """
    words = [str(word) for word in argv]
    if words and words[0].rsplit("/", 1)[-1] == "flower":  # Flower's own executable, gone since 1.0
        words = [words[0], "flower", *words[1:]]
    judged, how = tables.choose(version)
    if len(words) > MOST_WORDS:
        return Launch(tuple(words), version_judged=judged, how=f"not judged: {len(words)} words")
    table = tables.table(judged)
    flower_table = None
    if flower is not False:
        flower_judged, _ = tables.choose(flower if isinstance(flower, str) else None, "flower")
        flower_table = tables.table(flower_judged, "flower")
    root = Builder(env or {}, expands).root(table, flower_table)
    return _Reading(tuple(words), root, judged, how).read()


@dataclass
class _Level:
    """The outcome of one group's or command's own words."""

    context: click.Context | None
    problems: list[Problem]
    rest: list[tuple[int, str]]
    help_asked: bool = False


class _Reading:
    def __init__(self, argv: tuple[str, ...], root: click.Group, judged: str, how: str) -> None:
        self.argv, self.root, self.judged, self.how = argv, root, judged, how
        self.misplaced_app = ""

    def read(self) -> Launch:
        words = list(enumerate(self.argv))[1:]
        top = self.level(self.root, "celery", words, None, before_app=True)
        facts: dict[str, Any] = {"version_judged": self.judged, "how": self.how, "from_env": {}}
        problems = list(top.problems)
        if top.context is not None:
            facts["global_options"] = _given(top.context, facts["from_env"])
            facts["app"] = facts["global_options"].get("app")
        name, ends = None, ""
        if top.help_asked:
            ends = "help"
        elif not top.rest:
            ends = "version" if facts.get("global_options", {}).get("version") else "no sub-command"
            if ends == "no sub-command":
                problems.append(Problem("no_command", self.argv[-1] if self.argv else "",
                                        "no sub-command: celery prints its help and ends with exit code 0",
                                        before_app=True))
        else:
            index, name = top.rest[0]
            command = self.root.commands.get(name)
            if command is None:
                known = sorted(self.root.commands)
                problems.append(Problem(
                    "unknown_command", name, f"No such command {name!r}.",
                    tuple(get_close_matches(name, known, 3, 0.5)), index, before_app=True))
                facts["positional"] = tuple(word for _, word in top.rest[1:])
            else:
                ends = "version" if facts.get("global_options", {}).get("version") else ""
                below = self.below(command, name, top, facts)
                problems += below.problems
                ends = ends or ("help" if below.help_asked else "")
        if self.misplaced_app and not facts.get("app"):
            facts["app"] = self.misplaced_app
        stops = [problem for problem in problems if problem.kind != "no_command"]
        exit_code = 2 if stops and not (ends in ("help", "version") and not stops[0].before_app) else None
        if exit_code is None and ends:
            exit_code = 0
        return Launch(self.argv, name, problems=tuple(problems), exit_code=exit_code, ends=ends,
                      error=stops[0].message if stops else "", **facts)

    def below(self, command: click.Command, name: str, parent: _Level, facts: dict[str, Any]) -> _Level:
        """The words of the sub-command, and of the commands below it where it is a group (``upgrade
        settings``)."""
        words = parent.rest[1:]
        level = self.level(command, name, words, parent.context, before_app=False)
        if level.context is not None:
            facts["options"] = _given(level.context, facts["from_env"])
        if isinstance(command, click.Group) and level.rest:
            index, sub = level.rest[0]
            if sub not in command.commands:
                level.problems.append(Problem("unknown_command", sub, f"No such command {sub!r}.",
                                              tuple(get_close_matches(sub, sorted(command.commands))), index))
                return level
            deeper = self.below(command.commands[sub], sub, level, facts)
            return _Level(deeper.context, level.problems + deeper.problems, deeper.rest, deeper.help_asked)
        facts["positional"] = tuple(word for _, word in level.rest)
        if name in ("worker", "beat") and parent.context is not None and parent.context.parent is None:
            level.problems += [problem for problem in map(_extra_configuration, level.rest) if problem]
        return level

    def level(self, command: click.Command, name: str, words: list[tuple[int, str]],
              parent: click.Context | None, *, before_app: bool) -> _Level:
        """Parse until click is content, each time without the word that it refused, and keep what it said."""
        problems: list[Problem] = []
        words = list(words)
        extra: dict[str, Any] = {} if parent is not None else {"auto_envvar_prefix": "CELERY"}
        for _ in range(MOST_PROBLEMS):
            texts = [word for _, word in words]
            try:
                context = command.make_context(name, list(texts), parent=parent, **extra)
            except click.exceptions.Exit:
                return _Level(None, problems, [], help_asked=True)
            except click.NoSuchOption as error:
                words = self.unknown(command, error, words, problems, before_app)
            except click.BadOptionUsage as error:
                place = _refused(command, texts, click.BadOptionUsage, whole=True)
                kind = "missing_value" if "requires" in error.format_message() else "bad_value"
                index, token = words.pop(place)
                problems.append(Problem(kind, token, error.format_message(), (error.option_name,), index,
                                        error.option_name, before_app))
                if kind == "bad_value":
                    words.insert(place, (index, error.option_name))
            except click.BadParameter as error:  # also a missing argument
                problems.append(_bad_value(error, words, before_app))
                if error.param is None:
                    break
                error.param.required = False
                error.param.type = click.UNPROCESSED
                error.param.callback = None
            except click.UsageError as error:
                surplus = _surplus(command, words)
                problems.append(Problem("unexpected_argument", surplus[0][1] if surplus else "",
                                        error.format_message(), (), surplus[0][0] if surplus else None,
                                        before_app=before_app))
                if not surplus:
                    break
                gone = {index for index, _ in surplus}
                words = [word for word in words if word[0] not in gone]
            else:
                left = _left_over(context)
                return _Level(context, problems, _places(left, words))
        return _Level(None, problems, [])

    def unknown(self, command: click.Command, error: click.NoSuchOption, words: list[tuple[int, str]],
                problems: list[Problem], before_app: bool) -> list[tuple[int, str]]:
        """Record an option that is not there; the words without it and without what was meant as its
        value."""
        texts = [word for _, word in words]
        place = _refused(command, texts, click.NoSuchOption)
        index, token = words[place]
        option = token.split("=", 1)[0] if token.startswith("--") else error.option_name
        following = words[place + 1][1] if place + 1 < len(words) else ""
        elsewhere = None if _one_dash(command, token) else self.elsewhere(command, option, words[place + 1:])
        if elsewhere is not None:
            kind, candidates, taken = "misplaced_option", (option,), elsewhere
        else:
            kind, candidates = "unknown_option", _candidates(command, token, option)
            taken = _named(command, candidates[0]) if candidates else None
        problems.append(Problem(kind, token, _sentence(error, candidates if kind == "unknown_option" else ()),
                                candidates, index, option, before_app))
        attached = "=" in token or (not token.startswith("--") and len(token) > 2 and not _one_dash(command, token))
        has_value = taken is None or not (taken.is_flag or taken.count)
        is_command = isinstance(command, click.Group) and following in command.commands
        if elsewhere is not None and elsewhere.name == "app":
            self.misplaced_app = token.split("=", 1)[1] if "=" in token else token[2:] if attached else following
        drop_value = not attached and has_value and following and not following.startswith("-") and not is_command
        return words[:place] + words[place + (2 if drop_value else 1):]

    def elsewhere(self, command: click.Command, option: str,
                  after: list[tuple[int, str]]) -> click.Option | None:
        """The option of that name on the other side of the sub-command, None if there is none."""
        if command is not self.root:
            return _named(self.root, option)
        sub = next((self.root.commands[word] for _, word in after if word in self.root.commands), None)
        return _named(sub, option) if sub is not None else None


def _given(context: click.Context, from_env: dict[str, str]) -> dict[str, Any]:
    """The parameters that the line or the environment gives a value."""
    given = {}
    for param in context.command.params:
        source = context.get_parameter_source(param.name)
        if source is None or source.name not in ("COMMANDLINE", "ENVIRONMENT") or param.name == "help":
            continue
        value = context.params.get(param.name)
        if value is None or value == ():
            continue
        given[param.name] = list(value) if isinstance(value, tuple) else value
        if source.name == "ENVIRONMENT":
            from_env[param.name] = getattr(param, "taken_from", "")
    return given


def _left_over(context: click.Context) -> list[str]:
    """The words that a command did not take itself. click 8.2 renamed the attribute of groups."""
    protected = getattr(context, "_protected_args", None)
    if protected is None:
        protected = getattr(context, "protected_args", [])
    return [*protected, *context.args]


def _places(left: list[str], words: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Left-over words with their places: they keep their order, so they are matched from the end."""
    placed: list[tuple[int, str]] = []
    remaining = list(words)
    for text in reversed(left):
        while remaining and remaining[-1][1] != text:
            remaining.pop()
        placed.append(remaining.pop() if remaining else (-1, text))
    return placed[::-1]


def _refused(command: click.Command, texts: list[str], kind: type[Exception], whole: bool = False) -> int:
    """The place of the word that click's parser refuses: the end of the shortest refused beginning.

    ``whole``: only the full line is refused in that way (a value that is missing at its end), or a flag
    with a value before it. """
    for end in range(1, len(texts) + 1):
        parser = command.make_parser(click.Context(command, resilient_parsing=False))
        try:
            parser.parse_args(list(texts[:end]))
        except kind as error:
            if whole and end < len(texts) and "requires" in str(error):
                continue  # its value may be the next word
            return end - 1
        except click.UsageError:
            continue
    return len(texts) - 1


def _named(command: click.Command, option: str) -> click.Option | None:
    for param in command.params:
        if isinstance(param, click.Option) and option in (*param.opts, *param.secondary_opts) \
                and param.name != "help":
            return param
    return None


def _one_dash(command: click.Command, token: str) -> bool:
    """Whether a word with one dash is a long option that lacks the other (``-queues``)."""
    if token.startswith("--") or len(token) < 4:
        return False
    return _named(command, "-" + token.split("=", 1)[0]) is not None


def _candidates(command: click.Command, token: str, option: str) -> tuple[str, ...]:
    """What was probably meant: the same letters first (``--log-level``, ``-queues``), then what looks
    alike."""
    longs = [name for param in command.params if isinstance(param, click.Option)
             for name in (*param.opts, *param.secondary_opts) if name.startswith("--") and param.name != "help"]
    written = token.split("=", 1)[0]

    def letters(text: str) -> str:
        return text.lower().replace("-", "").replace("_", "")

    same = [name for name in longs if letters(name) == letters(written)]
    begins = [name for name in longs if letters(name).startswith(letters(written)) and len(letters(written)) > 2]
    alike = get_close_matches(written if written.startswith("--") else "-" + written, longs)
    if not written.startswith("--") and len(written) == 2:
        alike = []
        other = written.swapcase()
        same = [other] if _named(command, other) else []
    return tuple(dict.fromkeys([*same, *begins, *alike]))


def _sentence(error: click.NoSuchOption, candidates: tuple[str, ...]) -> str:
    if candidates or not error.possibilities:
        hint = f" (probably meant: {', '.join(candidates)})" if candidates else ""
        return f"No such option: {error.option_name}{hint}"
    return f"No such option: {error.option_name}"


def _bad_value(error: click.BadParameter, words: list[tuple[int, str]], before_app: bool) -> Problem:
    param = error.param
    names = [*param.opts, *param.secondary_opts] if isinstance(param, click.Option) else []
    for index, word in reversed(words):
        bare = word.split("=", 1)[0]
        if bare in names or (not word.startswith("--") and any(word.startswith(n) for n in names if len(n) == 2)):
            kind, token, option = "bad_value", word, bare if bare in names else word[:2]
            break
    else:
        index, option = None, names[-1] if names else ""
        kind = "missing_value" if isinstance(error, click.MissingParameter) else "bad_value"
        token = getattr(param, "taken_from", "") or (param.name if param is not None else "")
    choices = tuple(getattr(getattr(param, "type", None), "choices", ()))
    return Problem(kind, token, error.format_message(), tuple(map(str, choices)), index, option, before_app)


def _surplus(command: click.Command, words: list[tuple[int, str]]) -> list[tuple[int, str]]:
    parser = command.make_parser(click.Context(command))
    try:
        _, left, _ = parser.parse_args([word for _, word in words])
    except click.UsageError:
        return []
    return _places(left, words)


def _extra_configuration(word: tuple[int, str]) -> Problem | None:
    """``worker`` and ``beat`` read surplus words as settings, ``key=value``; others end them with exit code
    2.

    Source: ``celery.loaders.base.BaseLoader.cmdline_config_parser``, 5.0 to 5.7.
    """
    index, text = word
    if "=" in text and "_" in text.split("=", 1)[0].replace(".", "_"):
        return None
    return Problem("unexpected_argument", text,
                   "Unable to parse extra configuration from command line.", (), index)
