"""What to make of a refusal by click: which word it was about, what was meant, what is left without it."""

from __future__ import annotations

from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache
from typing import Any

import click

from celery_triage.commandline.problem import Problem


def given(context: click.Context, from_env: dict[str, str]) -> dict[str, Any]:
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


def left_over(context: click.Context) -> list[str]:
    """The words that a command did not take itself. click 8.2 renamed the attribute of groups."""
    protected = getattr(context, "_protected_args", None)
    if protected is None:
        protected = getattr(context, "protected_args", [])
    return [*protected, *context.args]


def places(left: list[str], words: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Left-over words with their places: they keep their order, so they are matched from the end."""
    placed: list[tuple[int, str]] = []
    remaining = list(words)
    for text in reversed(left):
        while remaining and remaining[-1][1] != text:
            remaining.pop()
        placed.append(remaining.pop() if remaining else (-1, text))
    return placed[::-1]


def refused(command: click.Command, texts: list[str], kind: type[Exception]) -> int:
    """The place of the word that click's parser refuses: the end of the shortest beginning that is
    refused."""
    for end in range(1, len(texts) + 1):
        parser = command.make_parser(click.Context(command))
        try:
            parser.parse_args(list(texts[:end]))
        except kind as error:
            if end < len(texts) and "requires" in str(error):
                continue  # its value may be the next word
            return end - 1
        except click.UsageError:
            continue
    return len(texts) - 1


def named(command: click.Command, option: str) -> click.Option | None:
    """The option of that name, ``--help`` left out."""
    for param in command.params:
        if (
            isinstance(param, click.Option)
            and option in (*param.opts, *param.secondary_opts)
            and param.name != "help"
        ):
            return param
    return None


def one_dash(command: click.Command, token: str) -> bool:
    """Whether a word with one dash is a long option that lacks the other (``-queues``)."""
    if token.startswith("--") or len(token) < 4:
        return False
    return named(command, "-" + token.split("=", 1)[0]) is not None


def meant(
    command: click.Command, other: click.Command | None, token: str, option: str
) -> tuple[str, tuple[str, ...], click.Option | None]:
    """The kind of problem that an unknown option is, what was probably meant, and the first of these.

    ``other`` is the command on the other side of the sub-command's name, where the option may belong.
    """
    if other is not None and not one_dash(command, token):
        there = named(other, option)
        if there is not None:
            return "misplaced_option", (option,), there
    here = candidates(command, token)
    sure = here and (_alike(here[0], token) >= 0.75 or _begins(here[0], token))
    if sure or other is None or not token.startswith("--"):
        return "unknown_option", here, named(command, here[0]) if here else None
    away = candidates(other, token)
    if away and _alike(away[0], token) > max((_alike(name, token) for name in here), default=0.6):
        return "misplaced_option", away, named(other, away[0])
    return "unknown_option", here, named(command, here[0]) if here else None


def _alike(name: str, token: str) -> float:
    return SequenceMatcher(None, _letters(name), _letters(token.split("=", 1)[0])).ratio()


def _begins(name: str, token: str) -> bool:
    """Whether a word is the beginning of a name (``--conc``)."""
    written = _letters(token.split("=", 1)[0])
    return len(written) > 2 and _letters(name).startswith(written)


def _letters(text: str) -> str:
    return text.lower().replace("-", "").replace("_", "")


#: Options of Celery 3 that nothing of a like name replaced, and what does their work now (what's new in 4.0).
GONE = {
    "--autoreload": "let `watchmedo auto-restart` or `watchfiles` start the worker",
    "--no-execv": "the pool never executes itself anew on Linux",
    "--force-execv": "the pool never executes itself anew on Linux",
}


def candidates(command: click.Command, token: str) -> tuple[str, ...]:
    """What was probably meant: the same letters first (``--log-level``, ``-queues``), then what begins so,
    then what looks alike. For a single letter the same letter in the other case. Nothing for an option that
    Celery once had: that one was meant."""
    if token in GONE:
        return ()
    longs = [
        name
        for param in command.params
        if isinstance(param, click.Option) and param.name != "help"
        for name in (*param.opts, *param.secondary_opts)
        if name.startswith("--")
    ]
    written = token.split("=", 1)[0]
    if len(written) == 2 and written[0] == "-" and written != "--":
        return (written.swapcase(),) if named(command, written.swapcase()) else ()
    return _like(written, tuple(longs))


@lru_cache(maxsize=4096)
def _like(written: str, longs: tuple[str, ...]) -> tuple[str, ...]:
    """The long options that a word is like; most versions have the same ones, and may be asked thousands of
    times."""
    letters = _letters(written)
    same = [name for name in longs if _letters(name) == letters]
    begins = [name for name in longs if _begins(name, written)]
    alike = get_close_matches(written if written.startswith("--") else "-" + written, longs)
    return tuple(dict.fromkeys([*same, *begins, *alike]))


def sentence(error: click.NoSuchOption, candidates: tuple[str, ...]) -> str:
    """Click's sentence, its wording kept to what all its versions share, with our candidates."""
    hint = (
        f" (probably meant: {', '.join(candidates)})"
        if candidates and candidates[0] != error.option_name
        else ""
    )
    return f"No such option: {error.option_name}{hint}"


#: What word processors and chat programs make of hyphens.
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"


def hyphened(word: str) -> tuple[str, ...]:
    """The option that was meant by a word that begins with a dash that is no hyphen (``—app``, ``–A``)."""
    bare = word.lstrip(_DASHES + "-")
    if not bare or word[0] not in _DASHES:
        return ()
    return ("-" if len(bare.partition("=")[0]) == 1 else "--") + bare,


def unknown_command(group: click.Group, name: str, index: int, *, before_app: bool) -> Problem:
    """A sub-command that is not there, with those that look alike."""
    alike = hyphened(name) or tuple(get_close_matches(name, sorted(group.commands), 3, 0.5))
    return Problem("unknown_command", name, f"No such command {name!r}.", alike, index, "", before_app)


#: What workers answer to (``celery inspect --list`` and ``celery control --list`` of 5.4 to 5.7). An
#: application may add its own, so only what is like one of these is refused.
REQUESTS = {
    "inspect": "active active_queues clock conf hello memdump memsample objgraph ping query_task registered "
    "report reserved revoked scheduled stats".split(),
    "control": "add_consumer autoscale cancel_consumer disable_events election enable_events heartbeat "
    "pool_grow pool_restart pool_shrink rate_limit revoke revoke_by_stamped_headers shutdown terminate "
    "time_limit".split(),
}


def unknown_request(
    name: str, options: dict[str, Any], rest: list[tuple[int, str]], words: list[tuple[int, str]]
) -> list[Problem]:
    """A misspelt request of ``inspect`` or ``control``: "Command actve not recognized" and exit code 2 from
    Celery 5.4 on; earlier versions have the requests as choices of their argument."""
    asked = str(options.get("command") or (rest[0][1] if rest else ""))
    index = next((place for place, word in words if word == asked), None)
    alike = get_close_matches(asked, REQUESTS[name], 1, 0.8) if asked else []
    if not alike or alike[0] == asked or index is None or "$" in asked:
        return []
    message = f"Command {asked} not recognized. Available {name} commands: …"
    return [Problem("unknown_command", asked, message, tuple(alike), index)]


def bad_usage(
    command: click.Command,
    error: click.BadOptionUsage,
    words: list[tuple[int, str]],
    problems: list[Problem],
    before_app: bool,
) -> list[tuple[int, str]]:
    """Record an option without its value, or a flag with one; the words without that."""
    place = refused(command, [word for _, word in words], click.BadOptionUsage)
    index, token = words[place]
    name, message = error.option_name, error.format_message()
    if "requires" in message:
        problems.append(Problem("missing_value", token, message, (), index, name, before_app))
        return words[:place] + words[place + 1 :]
    problems.append(Problem("bad_value", token, message, (name,), index, name, before_app))
    return [*words[:place], (index, name), *words[place + 1 :]]


def bad_value(
    command: click.Command, error: click.BadParameter, words: list[tuple[int, str]], before_app: bool
) -> Problem:
    """A value that its option refuses, or an argument that is missing. ``token`` is the option as written,
    or the variable that holds the value. A long option with one dash (``-loglevel=info``, which click reads
    as ``-l oglevel=info``) is an unknown option."""
    param = error.param
    names = [*param.opts, *param.secondary_opts] if isinstance(param, click.Option) else []
    index: int | None
    for place, word in reversed(words):
        bare = word.split("=", 1)[0]
        if bare in names or (
            not word.startswith("--") and any(word.startswith(n) for n in names if len(n) == 2)
        ):
            index, kind, token, option = place, "bad_value", word, bare if bare in names else word[:2]
            break
    else:
        index, option = None, names[-1] if names else ""
        kind = "missing_value" if isinstance(error, click.MissingParameter) else "bad_value"
        token = getattr(param, "taken_from", "") or (param.name if param is not None else "")
    if kind == "bad_value" and index is not None and one_dash(command, token):
        option = token.partition("=")[0]
        return Problem(
            "unknown_option", token, error.format_message(), (f"-{option}",), index, option, before_app
        )
    choices = tuple(getattr(getattr(param, "type", None), "choices", ()))
    return Problem(kind, token, error.format_message(), tuple(map(str, choices)), index, option, before_app)


def surplus(command: click.Command, words: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The words that a command takes neither as options nor as arguments."""
    parser = command.make_parser(click.Context(command))
    try:
        _, left, _ = parser.parse_args([word for _, word in words])
    except click.UsageError:
        return []
    return places(left, words)


def extra_configuration(words: list[tuple[int, str]]) -> list[Problem]:
    """``worker`` and ``beat`` read surplus words as settings, ``key=value``; others end them with exit code
    2. The word behind an option with a wrong dash is its value.

    Source: ``celery.loaders.base.BaseLoader.cmdline_config_parser``, 5.0 to 5.7.
    """
    problems: list[Problem] = []
    for index, text in words:
        if "=" in text and "_" in text.split("=", 1)[0].replace(".", "_") and not hyphened(text):
            continue
        before = problems[-1] if problems else None
        if before is not None and before.candidates and before.index == index - 1 and "=" not in before.token:
            continue
        problems.append(
            Problem(
                "unexpected_argument",
                text,
                "Unable to parse extra configuration from command line.",
                hyphened(text),
                index,
            )
        )
    return problems
