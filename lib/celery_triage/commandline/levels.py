"""One level of a command line, the group's words or a sub-command's, read to its end in spite of mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from celery_triage.commandline import refusals
from celery_triage.commandline.problem import Problem

#: More problems than that on one level are not looked for.
MOST_PROBLEMS = 20

Words = list[tuple[int, str]]  # each word with its place in the whole command line


@dataclass
class Level:
    """What became of one level: click's context (None if it could not be had), the problems in order, the
    words that are left for the next level, whether help was asked for."""

    context: click.Context | None
    problems: list[Problem]
    rest: Words
    help_asked: bool = False


class Levels:
    """Reads levels of the commands under ``root``. ``misplaced_app``: what a misplaced ``-A`` names."""

    def __init__(self, root: click.Group) -> None:
        self.root = root
        self.misplaced_app = ""

    def level(
        self,
        command: click.Command,
        name: str,
        words: Words,
        parent: click.Context | None,
        *,
        before_app: bool,
    ) -> Level:
        """Parse until click is content, each time without what it refused, and keep what it said."""
        problems: list[Problem] = []
        words = list(words)
        extra: dict[str, Any] = {} if parent is not None else {"auto_envvar_prefix": "CELERY"}
        for _ in range(MOST_PROBLEMS):
            texts = [word for _, word in words]
            try:
                context = command.make_context(name, texts, parent=parent, **extra)
            except click.exceptions.Exit:
                return Level(None, problems, [], help_asked=True)
            except click.NoSuchOption as error:
                words = self.unknown(command, error, words, problems, before_app)
            except click.BadOptionUsage as error:
                words = refusals.bad_usage(command, error, words, problems, before_app)
            except click.BadParameter as error:  # also a missing argument
                problem = refusals.bad_value(command, error, words, before_app)
                problems.append(problem)
                if problem.kind == "unknown_option":  # with its value, as `unknown` does it
                    words = _without(words, problem)
                    continue
                if error.param is None:
                    break
                error.param.required = False
                error.param.type = click.UNPROCESSED
            except click.UsageError as error:
                left = refusals.surplus(command, words)
                index, token = left[0] if left else (None, "")
                problems.append(
                    Problem("unexpected_argument", token, error.format_message(), (), index, "", before_app)
                )
                if not left:
                    break
                words = [word for word in words if word not in left]
            else:
                return Level(context, problems, refusals.places(refusals.left_over(context), words))
        return Level(None, problems, [])

    def unknown(
        self,
        command: click.Command,
        error: click.NoSuchOption,
        words: Words,
        problems: list[Problem],
        before_app: bool,
    ) -> Words:
        """Record an option that is not there; the words without it and without what was meant as its
        value."""
        place = refusals.refused(command, [word for _, word in words], click.NoSuchOption)
        index, token = words[place]
        following = words[place + 1][1] if place + 1 < len(words) else ""
        option = token.split("=", 1)[0] if token.startswith("--") else error.option_name
        other = self.other_side(command, words[place + 1 :])
        kind, candidates, meant = refusals.meant(command, other, token, option)
        problems.append(
            Problem(kind, token, refusals.sentence(error, candidates), candidates, index, option, before_app)
        )
        attached = "=" in token or (
            token[:2] != "--" and len(token) > 2 and not refusals.one_dash(command, token)
        )
        takes_value = meant is None or not (meant.is_flag or meant.count)
        is_command = isinstance(command, click.Group) and following in command.commands
        if kind == "misplaced_option" and meant is not None and meant.name == "app":
            self.misplaced_app = token.partition("=")[2] or (token[2:] if attached else following)
        has_value = not attached and takes_value and following and following[0] != "-" and not is_command
        return words[:place] + words[place + (2 if has_value else 1) :]

    def other_side(self, command: click.Command, after: Words) -> click.Command | None:
        """The command on the other side of the sub-command's name: the group for a command and the
        reverse."""
        if command is not self.root:
            return self.root
        return next((self.root.commands[word] for _, word in after if word in self.root.commands), None)


def _without(words: Words, problem: Problem) -> Words:
    """The words without a long option that has one dash, and without its value."""
    place = next(place for place, (index, _) in enumerate(words) if index == problem.index)
    value = words[place + 1][1] if place + 1 < len(words) else ""
    has_value = "=" not in problem.token and value and not value.startswith("-")
    return words[:place] + words[place + (2 if has_value else 1) :]
