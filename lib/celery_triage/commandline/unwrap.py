"""Find the Celery command behind whatever starts it: shells, ``exec``, ``env``, init programs, waiters,
runners.

Only what the words themselves say is used. A script is not read: the words behind it are taken as what it
runs in the end (``exec "$@"``, the custom of entrypoint scripts), and ``assumed`` says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from celery_triage.commandline import shells
from celery_triage.commandline.unwrapped import CELERY, Unwrapped, around, base, cannot
from celery_triage.commandline.wrappers import PREFIXES, PYTHON_VALUES, Prefix

#: Programs that read what to start from a file of their own.
_SUPERVISORS = {
    "supervisord": "its configuration file",
    "circusd": "its configuration file",
    "honcho": "its Procfile",
    "foreman": "its Procfile",
    "overmind": "its Procfile",
    "hivemind": "its Procfile",
    "runsvdir": "its folder",
    "s6-svscan": "its folder",
    "make": "its Makefile",
    "just": "its justfile",
    "invoke": "tasks.py",
    "fab": "fabfile.py",
    "npm": "package.json",
    "pm2": "its configuration file",
    "procfly": "its file",
}
_DEEPEST = 12
#: What images call their own scripts, and the folders that hold programs instead.
_OWN_SCRIPT = re.compile(r"(?:start|run|entrypoint)[-_.\w]*|(?:[a-z]+[-_])?(?:celery\w*|worker|beat|flower)$")
_HOST = re.compile(r"(?:tcp:)?/{0,2}[\w.${}-]+:[\w${}]+")
_PROGRAMS = ("/usr/bin/", "/bin/", "/sbin/", "/usr/sbin/")


def unwrap(argv: Sequence[str] | str) -> Unwrapped:
    """The command behind wrappers. A plain string is a shell script (a Compose ``command`` given as a
    string is not: split it first). Never raises."""
    if isinstance(argv, str):
        return shells.script(Unwrapped(None), argv, 0, _strip)
    words = tuple(str(word) for word in argv)
    told = _strip(Unwrapped(words), 0)
    if not (operator := shells.unread(words)):
        return told
    places = [place for place, word in enumerate(told.argv or ()) if word == operator]
    return replace(told, operator=operator, operator_at=places[0] if places else -1)


def _strip(so_far: Unwrapped, depth: int) -> Unwrapped:
    argv = so_far.argv or ()
    if not argv:
        return replace(cannot(so_far, "there is no command"), no_celery=True)
    if depth > _DEEPEST:
        return cannot(so_far, f"more than {_DEEPEST} wrappers around it")
    name = base(argv[0])
    for test, step in _STEPS:
        if test(name, argv):
            return step(so_far, name, depth)
    return so_far


def _assignments(so_far: Unwrapped, name: str, depth: int) -> Unwrapped:
    argv = list(so_far.argv or ())
    pairs = []
    while argv and shells.ASSIGNMENT.match(argv[0]):
        key, _, value = argv.pop(0).partition("=")
        pairs.append((key.rstrip("+"), value))
    return _strip(replace(so_far, argv=tuple(argv), env=(*so_far.env, *pairs)), depth + 1)


def _shell(so_far: Unwrapped, name: str, depth: int) -> Unwrapped:
    """``sh -c script``, ``bash -lc script``, ``bash -o pipefail -c script``, ``bash script words``."""
    words = list((so_far.argv or ())[1:])
    if name == "busybox":
        return _strip(around(so_far, name, words), depth + 1)
    shown, runs = name, False
    while words and words[0][:1] in "-+" and len(words[0]) > 1:
        word = words.pop(0)
        shown += " " + word
        if word == "--":
            break
        if word.startswith("--"):
            continue
        if "c" in word[1:]:
            runs = True
        if word[-1] in "oO" and words:
            shown += " " + words.pop(0)
    inner = around(so_far, shown, words)
    if runs:
        if not words:
            return cannot(inner, f"{shown} has no script behind it")
        filled = shells.positional(words[0], words[1:])
        if "$" not in words[0]:
            inner = replace(inner, lost=tuple(words[1:]))
        return shells.script(inner, filled, depth + 1, _strip)
    if not words:
        return replace(cannot(inner, f"{name} without a command reads from its input"), no_celery=True)
    return _behind_script(inner, words[0], words[1:], depth)


def _behind_script(so_far: Unwrapped, script: str, words: Sequence[str], depth: int) -> Unwrapped:
    """A script's own words cannot be read; a command behind it is what such scripts run in the end."""
    why = f"what the script {script} runs cannot be read from its name"
    if not words or words[0].startswith("-"):
        return cannot(so_far, why)
    below = _strip(replace(so_far, argv=tuple(words)), depth + 1)
    if below.argv is None:
        return cannot(so_far, why)
    return replace(below, assumed=f'{script} is assumed to end in exec "$@", as entrypoint scripts do')


def _python(so_far: Unwrapped, name: str, depth: int) -> Unwrapped:
    """``python [options] -m module words`` and ``python /path/to/celery words``."""
    words = list((so_far.argv or ())[1:])
    while words and words[0].startswith("-") and words[0] not in ("-m", "-c", "-"):
        word = words.pop(0)
        if word.startswith("-m"):
            words[:0] = ["-m", word[2:]]
        elif word in PYTHON_VALUES and words:
            words.pop(0)
    if not words or words[0] in ("-c", "-"):
        return cannot(so_far, f"{name} runs code given on its command line")
    if words[0] != "-m":
        if base(words[0]) in CELERY:
            return _strip(around(so_far, name, words), depth + 1)
        if base(words[0]) == "manage.py":
            return cannot(so_far, f"{' '.join([name, *words[:2]])}: the project's own command, not Celery's")
        return cannot(so_far, f"what the script {words[0]} runs cannot be read from its name")
    module, rest = (words[1] if len(words) > 1 else ""), words[2:]
    shown = f"{name} -m"
    if module in ("celery", "celery.__main__", "celery.bin", "celery.bin.celery"):
        return replace(around(so_far, shown, ["celery", *rest]))
    if module == "flower":
        return around(so_far, shown, ["flower", *rest])
    if module in ("coverage", "debugpy", "cProfile", "trace", "pdb", "memory_profiler", "scalene"):
        return _to_inner(around(so_far, f"{shown} {module}", rest), depth)
    if module in PREFIXES:  # python -m poetry run …, python -m dotenv run …
        return _strip(around(so_far, shown, [module, *rest]), depth + 1)
    return replace(so_far, argv=(*(so_far.argv or ()),))


def _to_inner(so_far: Unwrapped, depth: int) -> Unwrapped:
    """Skip to the first word that is Celery or ``-m celery``: for tools whose options are too many to
    list."""
    words = so_far.argv or ()
    for place, word in enumerate(words):
        if word == "-m" and words[place + 1 : place + 2] == ("celery",):
            return replace(so_far, argv=tuple(words[place + 1 :]))
        if base(word) in CELERY:
            return _strip(replace(so_far, argv=tuple(words[place:])), depth + 1)
    return cannot(so_far, f"no Celery command is seen behind {so_far.wrappers[-1]}")


def _prefix(so_far: Unwrapped, name: str, depth: int) -> Unwrapped:
    """A program that runs the command behind its own options, as ``wrappers.PREFIXES`` describes it."""
    described: Prefix = PREFIXES[name]
    words = list((so_far.argv or ())[1:])
    shown = name
    for sub in described.sub:
        options, words = _options(words, described)
        if not words or words[0] != sub:
            return (
                so_far
                if described.optional_sub
                else cannot(so_far, f"{' '.join([name, *words[:1]])}: not one of its ways to run a command")
            )
        shown += " " + words.pop(0)
    if described.inner:
        return _to_inner(around(so_far, shown, words), depth)
    script, words = _own_words(words, described)
    if script is not None:
        return shells.script(around(so_far, shown, words), script, depth + 1, _strip)
    if not words:
        return cannot(so_far, f"{shown} has no command behind it")
    inner = around(so_far, shown, words)
    if described.text and " " in words[0]:
        return shells.script(inner, words[0], depth + 1, _strip)
    return _strip(inner, depth + 1)


def _options(words: list[str], described: Prefix) -> tuple[list[str], list[str]]:
    """Take the wrapper's own options from the front; its options and the words behind them."""
    rest, taken = list(words), []
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        taken.append(rest.pop(0))
        if taken[-1] in described.values and rest:
            taken.append(rest.pop(0))
    return taken, rest


def _own_words(words: list[str], described: Prefix) -> tuple[str | None, list[str]]:
    """The script text among the wrapper's own words, if there is one, and the words behind its own."""
    for place, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in described.scripts:
            return value or "".join(words[place + 1 : place + 2]), []
    if described.separator == "required":
        return None, words[words.index("--") + 1 :] if "--" in words else []
    _, rest = _options(words, described)
    if described.operands and rest[:1] != ["--"]:
        _, rest = _options(rest[described.operands :], described)
        while described.separator and "--" in rest and _HOST.fullmatch(rest[0]):  # a second host to wait for
            _, rest = _options(rest[1:], described)
    if described.separator and rest and rest[0] != "--" and rest[0].startswith("-") and "--" in rest:
        rest = rest[rest.index("--") :]
    if rest[:1] == ["--"]:
        return None, rest[1:]
    if described.separator and rest[1:2] == ["--"]:  # watchmedo … celery -- worker
        return None, [rest[0], *rest[2:]]
    return None, rest


def _supervisor(so_far: Unwrapped, name: str, depth: int) -> Unwrapped:
    return cannot(so_far, f"what {name} starts stands in {_SUPERVISORS[name]}")


def _is_script(name: str, argv: tuple[str, ...]) -> bool:
    looks = name.endswith((".sh", ".bash")) or name in ("entrypoint", "docker-entrypoint", "init", "start")
    if looks or (name.endswith(".py") and argv[0].startswith(("/", "./"))):
        return True
    # /start-celeryworker, ./bin/worker: a name that an image gave to a script of its own.
    own = argv[0].startswith(("/", "./", "bin/")) and not argv[0].startswith(_PROGRAMS)
    return own and bool(_OWN_SCRIPT.match(name))


def _script_path(so_far: Unwrapped, name: str, depth: int) -> Unwrapped:
    argv = so_far.argv or ()
    if name == "manage.py":
        return cannot(so_far, f"{' '.join(argv[:2])}: the project's own command, not Celery's")
    return _behind_script(replace(so_far, wrappers=(*so_far.wrappers, argv[0])), argv[0], argv[1:], depth)


_Test = Callable[[str, tuple[str, ...]], bool]
_Step = Callable[[Unwrapped, str, int], Unwrapped]
_STEPS: tuple[tuple[_Test, _Step], ...] = (
    (lambda name, argv: name in CELERY, lambda so_far, name, depth: so_far),
    (lambda name, argv: bool(shells.ASSIGNMENT.match(argv[0])), _assignments),
    (lambda name, argv: name in shells.SHELLS, _shell),
    (lambda name, argv: bool(re.fullmatch(r"(python|pypy)\d?(\.\d+)?", name)), _python),
    (lambda name, argv: name in PREFIXES, _prefix),
    (lambda name, argv: name in _SUPERVISORS, _supervisor),
    (_is_script, _script_path),
)
