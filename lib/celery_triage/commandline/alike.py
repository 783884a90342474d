"""Many commands of one shape read once: ``parse`` with names and queues left open.

A file of 10 000 workers differs in queues and node names, which take any text; reading one command by one
version takes 2 to 8 ms. So the words behind such options are left open, the shape is read once, and the words
are put back. A shape that has a problem is never put back: that command is read by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from celery_triage.commandline.parse import Launch, parse

#: Options that take any text, in all versions and sub-commands of the tables (where one does not, as
#: ``events -f``, which is a number, the open word is refused and the command is read by itself).
_OPEN = frozenset(
    (
        "-A",
        "--app",
        "-n",
        "--hostname",
        "-Q",
        "--queues",
        "-X",
        "--exclude-queues",
        "-f",
        "--logfile",
        "--pidfile",
        "-s",
        "--schedule",
    )
)
#: Around the number of an open word; no command line holds control characters that a person wrote.
_MARK = "\x01"
#: Variables that the option tables name, and the beginnings of all others that are read.
_VARIABLES = frozenset(
    ("NO_COLOR", "APP", "CONFIG_MODULE", "LOADER", "BROKER_URL", "RESULT_BACKEND", "SKIP_CHECKS")
)
_BEGINNINGS = ("CELERY_", "FLOWER_")
#: More shapes than that are not kept.
_MOST = 4096
#: So many shapes are read by all versions, each in 0.05 to 0.1 s where it has a problem; of the real files
#: that were seen (some thousand) the largest has about forty.
MOST_SHAPES = 500
#: So many are read by one version, each in 5 ms.
_MOST_ALONE = 2000


class Alike:
    """Reads commands as ``parse`` does, each shape once for a version."""

    def __init__(self) -> None:
        self._shapes: dict[tuple, Launch] = {}
        self._every: dict[tuple, dict[str, Launch]] = {}
        self._alone: set[int] = set()

    def parse(
        self,
        argv: Sequence[str],
        version: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        flower: str | bool | None = None,
        expands: bool = False,
    ) -> Launch:
        """What ``parse`` gives for the same words. A command beyond the 2000th shape is not judged."""
        shape, words = _shape(argv)
        read = _read(env)
        key = hash((shape, version, tuple(sorted(read.items())), flower, expands))
        if key not in self._alone and len(self._alone) >= _MOST_ALONE:
            return Launch(tuple(argv), how=f"not judged: more than {_MOST_ALONE} commands differ")
        self._alone.add(key)
        launch = self._of_shape(shape, version, read, flower, expands)
        if not words:
            return launch
        if launch.problems:
            return parse(argv, version, env=read, flower=flower, expands=expands)
        return _with(launch, argv, words)

    def every(
        self,
        argv: Sequence[str],
        versions: tuple[str, ...],
        *,
        env: Mapping[str, str] | None = None,
        expands: bool = False,
    ) -> dict[str, Launch]:
        """What each version makes of the words. Versions that read them alike share the launch of the first
        of them (its ``version_judged`` and ``how`` say that one). Empty for a shape beyond MOST_SHAPES."""
        shape, words = _shape(argv)
        read = _read(env)
        key = (shape, versions, tuple(sorted(read.items())), expands)
        if key not in self._every and len(self._every) >= MOST_SHAPES:
            return {}
        if key not in self._every:
            told: dict[str, Launch] = {}
            for version in versions:
                launch = self._of_shape(shape, version, read, None, expands)
                same = (one for one in told.values() if _same(one, launch))
                told[version] = next(same, launch)
            self._every[key] = told
        shared: dict[int, Launch] = {}
        result = {}
        for version, launch in self._every[key].items():
            if words and launch.problems:
                result[version] = parse(argv, version, env=read, expands=expands)
            elif words:
                if id(launch) not in shared:
                    shared[id(launch)] = _with(launch, argv, words)
                result[version] = shared[id(launch)]
            else:
                result[version] = launch
        return result

    def _of_shape(
        self,
        shape: tuple[str, ...],
        version: str | None,
        read: Mapping[str, str],
        flower: str | bool | None,
        expands: bool,
    ) -> Launch:
        key = (shape, version, tuple(sorted(read.items())), flower, expands)
        launch = self._shapes.get(key)
        if launch is None:
            launch = parse(shape, version, env=read, flower=flower, expands=expands)
            if len(self._shapes) >= _MOST:
                self._shapes.clear()
            self._shapes[key] = launch
        return launch


def _read(env: Mapping[str, str] | None) -> dict[str, str]:
    """The variables that Celery's and Flower's command lines read."""
    return {
        name: value
        for name, value in (env or {}).items()
        if name in _VARIABLES or name.startswith(_BEGINNINGS)
    }


def _same(one: Launch, other: Launch) -> bool:
    """Whether two versions read a command alike, but for the version."""
    return not (one.problems or other.problems) and all(
        getattr(one, name) == getattr(other, name)
        for name in ("subcommand", "app", "global_options", "options", "positional", "from_env", "ends")
    )


def _with(launch: Launch, argv: Sequence[str], words: Mapping[str, str]) -> Launch:
    """The launch of a shape with the words put back."""
    return replace(
        launch,
        argv=tuple(argv),
        app=_put_back(launch.app, words),
        global_options=_all(launch.global_options, words),
        options=_all(launch.options, words),
        positional=tuple(_put_back(word, words) for word in launch.positional),
    )


def _shape(argv: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The words with those behind open options left open, and these by their marks."""
    shape: list[str] = []
    words: dict[str, str] = {}
    for place, word in enumerate(argv):
        if word == "--" or _MARK in word:
            return (*shape, *argv[place:]), words
        name, equals, value = word.partition("=")
        if equals and value and name.startswith("--") and name in _OPEN:
            shape.append(f"{name}={_mark(value, words)}")
        elif place and argv[place - 1] in _OPEN and word and not word.startswith("-"):
            shape.append(_mark(word, words))
        else:
            shape.append(word)
    return tuple(shape), words


def _mark(word: str, words: dict[str, str]) -> str:
    mark = f"{_MARK}{len(words)}{_MARK}"
    words[mark] = word
    return mark


def _put_back(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        if _MARK in value:
            for mark, word in words.items():
                value = value.replace(mark, word)
        return value
    return [_put_back(one, words) for one in value] if isinstance(value, list) else value


def _all(options: Mapping[str, Any], words: Mapping[str, str]) -> Mapping[str, Any]:
    told = {name: _put_back(value, words) for name, value in options.items()}
    for name in ("queues", "exclude_queues"):
        if isinstance(value := told.get(name), list):
            told[name] = ",".join(value).split(",")
    return told
