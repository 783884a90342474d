"""A command without what starts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

#: The executables of Celery and Flower, those of Celery 3 and 4 among them.
CELERY = frozenset(("celery", "flower", "celeryd", "celerybeat", "celeryev", "celery.exe"))


@dataclass(frozen=True)
class Unwrapped:
    """The command itself and what stood around it.

    ``argv`` begins with the executable as written (``celery`` for ``python -m celery``), None where it
    cannot be known: then ``unreadable`` is the sentence why. ``wrappers`` outermost first. ``assumed`` is a
    sentence where the answer rests on a custom. ``expands``: a shell replaces variables in these words.
    ``before``: commands that a shell runs earlier. ``others``: further Celery commands in the same shell
    line. ``env``: assignments before the command. ``backgrounded``: the shell does not wait for it.
    ``no_celery``: unreadable, yet all of it was read and none of it can be Celery (``sh -c "sleep 600"``).
    ``lost``: words behind the script of ``sh -c`` that the script does not use: they were meant as part of it
    (``sh -c celery -A app worker`` runs ``celery``). ``operator``: a word that only a shell would obey
    (``&&``), where no shell reads it, and ``operator_at`` its place in ``argv``, -1 where it is not there."""

    argv: tuple[str, ...] | None
    wrappers: tuple[str, ...] = ()
    unreadable: str | None = None
    assumed: str | None = None
    expands: bool = False
    before: tuple[str, ...] = ()
    others: tuple[tuple[str, ...], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    backgrounded: bool = False
    no_celery: bool = False
    lost: tuple[str, ...] = ()
    operator: str = ""
    operator_at: int = -1

    @property
    def is_celery(self) -> bool:
        return bool(self.argv) and base(self.argv[0]) in CELERY


def base(word: str) -> str:
    """The last part of a path."""
    return word.rsplit("/", 1)[-1]


def around(so_far: Unwrapped, wrapper: str, argv: Sequence[str]) -> Unwrapped:
    return replace(so_far, argv=tuple(argv), wrappers=(*so_far.wrappers, wrapper))


def cannot(so_far: Unwrapped, why: str) -> Unwrapped:
    return replace(so_far, argv=None, unreadable=why)
