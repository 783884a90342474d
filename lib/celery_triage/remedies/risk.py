"""What the commands of a remedy cost, in words, where its rule does not say it itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace

from celery_triage.model import Remedy


def with_risk(remedy: Remedy) -> Remedy:
    """The remedy with a sentence for each kind of command in it; its rule's own words stay as they are."""
    if remedy.risk:
        return remedy
    commands = [*remedy.commands, *(command for option in remedy.options for command in option.commands)]
    return replace(remedy, risk=risk_of(commands)) if commands else remedy


def risk_of(commands: Iterable[str]) -> str:
    """What these commands of ``remedies.commands`` cost."""
    restarted: dict[str, None] = {}
    anew: dict[str, None] = {}
    others: dict[str, None] = {}
    for command in commands:
        words = shlex.split(command)
        if words[:2] == ["docker", "restart"]:
            restarted |= dict.fromkeys(words[2:])
        elif words[:2] == ["docker", "compose"] and "up" in words:
            anew |= dict.fromkeys(word for word in words[words.index("up") + 1 :] if word[:1] != "-")
        else:
            others[_other(words)] = None
    told = []
    if restarted:
        told.append(f"Restarts {_listed(restarted)}: what runs there and every connection to it is cut off.")
    if anew:
        told.append(f"Makes the containers of {_listed(anew)} anew: what runs in them is cut off.")
    return " ".join([*told, *others])


def _other(words: Sequence[str]) -> str:
    if "psql" in words:
        return "Changes the PostgreSQL server at once; nothing takes it back by itself."
    if words[:1] == ["sed"]:
        return "Changes a file in place."
    return "Takes effect at once; read it before you paste it."


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
