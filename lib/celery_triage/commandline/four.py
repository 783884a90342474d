"""Read a command line as Celery 4 does, with argparse itself as the parser.

The order of a starting ``celery`` of 4.0 to 4.4 (``celery/bin/base.py`` and ``celery.py`` of 4.0.2, 4.1.1,
4.2.2, 4.3.1 and 4.4.7; run under Python 3.6):

1. ``--version``, anywhere, prints and ends.
2. The global options (``-A``, ``--broker`` …) are taken out of the *whole* line by a parser of their own, so
   they may stand before or behind the sub-command. 4.4.7 then forgets these words and ``--help`` (so
   ``celery -A app worker --help`` starts the worker), earlier ones keep them.
3. ``-A`` is imported: a module that cannot be imported hides everything below.
4. Words behind ``--`` are settings. Options before the sub-command are put behind it; one with a single dash
   takes the word behind it along (``celery -E worker`` loses its sub-command).
5. An unknown sub-command, or none, prints the help and ends with exit code 64.
6. The sub-command's parser reads the rest. What it refuses ends with exit code 2. ``worker`` then ends with
   exit code 1 for a log level that logging does not know.

No call of argparse passes ``allow_abbrev``, so every long option may be shortened to what is unique:
``--queue`` is ``--queues``. ``Launch.abbreviated`` says where that was used."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from celery_triage.commandline import refusals
from celery_triage.commandline.problem import Problem
from celery_triage.commandline.rebuild import Builder

#: More problems than that in one command line are not looked for.
_MOST = 20
_TYPES: dict[str, Any] = {"IntParamType": int, "FloatParamType": float}
#: Read as text by argparse and split at commas later, by what uses them.
_LISTS = ("queues", "exclude_queues", "include", "destination")
#: ``celery.platforms``: EX_USAGE and EX_FAILURE.
USAGE, FAILURE, REFUSED = 64, 1, 2


class _Word(str):
    """A word that knows its place in the whole command line."""

    place: int

    def __new__(cls, text: str, place: int) -> _Word:
        word = super().__new__(cls, text)
        word.place = place
        return word


class _Refused(Exception):
    """What argparse would have printed before ending."""


class _Ends(Exception):
    """Help or version: printed, then exit code 0."""


class _Show(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> NoReturn:
        raise _Ends(self.dest)


class _Parser(argparse.ArgumentParser):
    """One parser of a table, without defaults and without printing. ``short`` collects the long options that
    were written in part: what was written, and the whole name."""

    def __init__(self, described: Mapping[str, Any], expands: bool) -> None:
        context = described["context"]
        super().__init__(prog="celery", add_help=False, allow_abbrev=context.get("allow_abbrev", True))
        self.expands = expands
        self.short: dict[str, str] = {}
        self.add_argument("-h", "--help", action=_Show, nargs=0, dest="help")
        for param in described["params"]:
            self._add(param)

    def _add(self, param: Mapping[str, Any]) -> None:
        if param["kind"] == "argument":
            self.add_argument(param["name"], nargs="*" if param.get("nargs") == -1 else None)
            return
        settings: dict[str, Any] = {"dest": param["name"], "default": argparse.SUPPRESS}
        if param.get("is_eager"):
            settings |= {"action": _Show, "nargs": 0}
        elif param.get("is_flag"):
            settings["action"] = "store_true"
        elif (read := _TYPES.get(param["type"]["name"])) is not None:
            settings["type"] = self._unless_expanded(read)
        self.add_argument(*param["opts"], **settings)

    def _unless_expanded(self, read: Any) -> Any:
        def value(text: str) -> Any:
            return text if self.expands and ("$" in text or "`" in text) else read(text)

        value.__name__ = read.__name__  # argparse names it: "invalid int value"
        return value

    def _get_option_tuples(self, option_string: str) -> list:
        found = super()._get_option_tuples(option_string)
        written = option_string.partition("=")[0]
        if len(found) == 1 and written.startswith("--"):
            self.short[str(written)] = found[0][1]
        return found

    def error(self, message: str) -> NoReturn:
        raise _Refused(message)


class Reading:
    """Reads one command line with the table of one version of Celery 4."""

    def __init__(
        self,
        argv: Sequence[str],
        table: Mapping[str, Any],
        env: Mapping[str, str],
        expands: bool,
        flower: bool,
    ) -> None:
        self.words = [_Word(word, place) for place, word in enumerate(argv)]
        self.table, self.env, self.expands, self.flower = table, env, expands, flower
        self.problems: list[Problem] = []
        self.exits: list[int] = []
        self.facts: dict[str, Any] = {"from_env": {}, "global_options": {}, "app": None, "abbreviated": {}}
        self.behind: list[tuple[int, str]] = []
        # The same options as click commands: only to find what was meant.
        self.click = Builder({}, expands).root({"root": table["root"]}, None)

    def read(self) -> dict[str, Any]:
        """What of Launch this command line decides."""
        ends = self._read()
        stops = [problem for problem in self.problems if problem.kind != "no_command"]
        exit_code = self.exits[0] if self.exits else 0 if ends else None
        return self.facts | {
            "problems": tuple(self.problems),
            "ends": "" if stops else ends,
            "exit_code": exit_code,
            "error": stops[0].message if stops else "",
        }

    def _read(self) -> str:
        if "--version" in self.words:
            return "version"
        words = [word for word in self.words[1:] if word not in ("-h", "--help")]
        try:
            parser = _Parser(self.table["root"], self.expands)
            given, left = self._parse(parser, self.click, words, before=True)
        except _Ends:
            return "help"
        self.facts["global_options"] = given
        self.facts["app"] = given.get("app") or self.env.get("CELERY_APP") or None
        if not given.get("app") and self.env.get("CELERY_APP"):
            self.facts["from_env"]["app"] = "CELERY_APP"
        if self.table["keeps_preload"]:
            left = self.words[1:]
        if "--" in left:
            left = left[: left.index("--")]
        return self._subcommand(_relocated(left))

    def _subcommand(self, words: list[_Word]) -> str:
        commands = self.table["root"]["commands"]
        if not words:
            sentence = "no sub-command: celery prints its help and ends with exit code 64"
            token = self.words[-1] if self.words else ""
            self._add(Problem("no_command", str(token), sentence), USAGE)
            return "no sub-command"
        name, rest = words[0], words[1:]
        self.facts["subcommand"] = str(name)
        self.facts["positional"] = tuple(str(word) for word in rest if not word.startswith("-"))
        self.behind = [(word.place, str(word)) for word in rest]
        if name == "flower" and self.flower:
            return ""
        if name not in commands:
            alike = refusals.hyphened(name) or tuple(get_close_matches(name, sorted(commands), 3, 0.5))
            sentence = f"No such command {str(name)!r}: celery prints its help and ends with exit code 64"
            self._add(Problem("unknown_command", str(name), sentence, alike, name.place), USAGE)
            return ""
        described = commands[name]
        if described["context"].get("allow_extra_args"):
            return ""
        if name == "worker":
            rest = [word for word in rest if word not in self.table["removed_flags"]]
        try:
            parser = _Parser(described, self.expands)
            given, _ = self._parse(parser, self.click.commands[name], rest, before=False)
        except _Ends as shown:
            return str(shown)
        arguments = given.pop("args", None) or []
        self.facts["positional"] = tuple(map(str, arguments))
        self.facts["options"] = {
            key: value.split(",") if key in _LISTS and isinstance(value, str) else value
            for key, value in given.items()
            if key not in self.facts["global_options"]
        }
        self._levels(described, given, rest)
        least = described["context"].get("least_args", 0)
        if len(arguments) < least:
            sentence = "Missing required argument"
            self._add(Problem("missing_value", str(name), sentence, index=name.place), USAGE)
        if name == "help":
            self._add(Problem("no_command", str(name), "prints the help", index=name.place), USAGE)
            return "help"
        return ""

    def _levels(self, described: Mapping[str, Any], given: Mapping[str, Any], rest: list[_Word]) -> None:
        """A log level that logging does not know ends worker and beat after the parse, with exit code 1."""
        level = given.get("loglevel")
        params = {param["name"]: param["type"] for param in described["params"]}
        choices = params.get("loglevel", {}).get("choices")
        if not choices or level is None or str(level).upper() in choices:
            return
        if self.expands and ("$" in level or "`" in level):
            return
        place = next((word for word in rest if word.startswith(("-l", "--log")) and "logf" not in word), None)
        sentence = f"Unknown level {str(level)!r}. Please use one of {'|'.join(choices)}."
        option = "-l" if place is None or not place.startswith("--") else place.partition("=")[0]
        index = place.place if place is not None else None
        token = str(place) if place is not None else str(level)
        written = "-" + token.partition("=")[0]
        if place is not None and any(written in param.get("opts", ()) for param in described["params"]):
            # -loglevel=info, which argparse reads as -l oglevel=info
            self._add(Problem("unknown_option", token, sentence, (written,), index, written[1:]), FAILURE)
            return
        self._add(Problem("bad_value", token, sentence, tuple(choices), index, option), FAILURE)

    def _add(self, problem: Problem, exit_code: int) -> None:
        self.problems.append(problem)
        self.exits.append(exit_code)

    def _parse(
        self, parser: _Parser, command: Any, words: list[_Word], *, before: bool
    ) -> tuple[dict[str, Any], list[_Word]]:
        """The options that are given and the words that are left, each time without what was refused.

        ``before``: the global options, where words that the parser does not know are no mistake."""
        for _ in range(_MOST):
            try:
                namespace, left = parser.parse_known_args(list(words))
            except _Refused as refused:
                place = _place(parser, words, str(refused))
                words = self._refusal(parser, str(refused), words, place, before)
                continue
            if not before:
                self._unknown(command, words, left)
            self.facts["abbreviated"] |= parser.short
            return vars(namespace), [word for word in left if isinstance(word, _Word)]
        return {}, []

    def _refusal(
        self, parser: _Parser, message: str, words: list[_Word], place: int, before: bool
    ) -> list[_Word]:
        """Record what argparse refused; the words without it."""
        word = words[place]
        valued = not word.startswith("-") and place > 0  # the value is refused, its option stands before it
        at = place - 1 if valued else place
        token = words[at]
        option = token.partition("=")[0] if token.startswith("--") else token[:2]
        names = message.partition("argument ")[2].partition(":")[0].split("/")
        option = option if option in names or names == [""] else names[0]  # in `-Ec` it is -c
        after = words[place + 1 :]
        if "ambiguous option" in message:
            could = message.partition("could match ")[2].split(", ")
            options = tuple(one for one in could if one.startswith("--"))
            self._add(Problem("unknown_option", str(token), message, options, token.place, option, before), 2)
            follows = "=" not in token and after[:1] and not after[0].startswith("-")
            return words[:place] + after[1 if follows else 0 :]
        if "expected one argument" in message:
            self._add(Problem("missing_value", str(token), message, (), token.place, option, before), 2)
            return words[:at] + words[place + (0 if valued else 1) :]
        if "ignored explicit argument" in message:
            self._add(Problem("bad_value", str(token), message, (option,), token.place, option, before), 2)
            return words[:at] + after
        self._add(Problem("bad_value", str(token), message, (), token.place, option, before), 2)
        return words[:at] + after

    def _unknown(self, command: Any, words: list[_Word], left: list[str]) -> None:
        """The words that no parser took: options with what was meant as their value, and stray words."""
        skip = False
        for at, word in enumerate(left):
            place = getattr(word, "place", None)
            if skip and not word.startswith("-"):
                skip = False
                continue
            skip = False
            if word.startswith("-") and len(word) > 1:
                option = word.partition("=")[0] if word.startswith("--") else word[:2]
                meant = tuple(refusals.candidates(command, str(word)))
                message = f"unrecognized arguments: {' '.join(left)}"
                self._add(Problem("unknown_option", str(word), message, meant, place, str(option)), REFUSED)
                following = getattr(left[at + 1], "place", None) if at + 1 < len(left) else None
                skip = "=" not in word and place is not None and following == place + 1
            else:
                message = f"unrecognized arguments: {' '.join(left)}"
                meant = refusals.hyphened(str(word))
                skip = bool(meant) and "=" not in word
                self._add(Problem("unexpected_argument", str(word), message, meant, place), REFUSED)


def _place(parser: _Parser, words: list[_Word], message: str) -> int:
    """The place of the word that is refused: the end of the shortest beginning that is refused like this,
    where more words do not mend it."""

    def said(end: int) -> str:
        try:
            parser.parse_known_args(list(words[:end]))
        except _Refused as refused:
            return str(refused)
        except _Ends:
            return ""
        return ""

    for end in range(1, len(words) + 1):
        if said(end) == message and (end == len(words) or said(end + 1) == message):
            return end - 1
    return len(words) - 1


def _relocated(words: list[_Word]) -> list[_Word]:
    """The options before the sub-command put behind it, as ``_relocate_args_from_start`` does it."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        alone = words[at].startswith("--") or words[at + 1 : at + 2] and words[at + 1].startswith("-")
        at += 1 if alone else 2
    return words[at:] + words[:at] if words[at:] else []
