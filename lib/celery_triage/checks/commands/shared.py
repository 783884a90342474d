"""What the rules about launch commands have in common: versions, places in a command, what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from celery_triage.checks.registry import Look
from celery_triage.checks.words import listed
from celery_triage.commandline import Problem
from celery_triage.remedies import Changes, changes
from celery_triage.stack import Service

#: What click ends with for a command line that it refuses, and Celery for an application it cannot load.
REFUSED = 2
#: Consequences of a process that ends at its start.
DEATHS = ("CTR001", "CTR003")


def celery_version(service: Service) -> str:
    """The version of Celery in the image, empty where it is not known."""
    return str((service.packages.get("celery") or {}).get("version") or "")


def surely(word: str, candidates: Sequence[str]) -> bool:
    """Whether the first candidate is so much nearer than the others that nothing else can have been meant."""
    ratios = [difflib.SequenceMatcher(None, word, candidate).ratio() for candidate in candidates]
    return ratios[0] >= 0.8 and all(ratios[0] - other >= 0.1 for other in ratios[1:])


def standing_in(service: Service, word: str) -> str:
    """Whether a word comes from the service's command or from its entrypoint."""
    return "command" if any(word in part for part in service.item.get("cmd") or ()) else "entrypoint"


def option_changes(look: Look, found: Sequence[tuple[Service, Problem]], old: str, new: str) -> Changes:
    """The change of a refused word of each service, where its command is written."""
    places = [(service, standing_in(service, problem.token), old, new) for service, problem in found]
    return changes(look.data("compose"), places)


def not_placed(changed: Changes) -> str:
    """Where a change has to be made that cannot be given as an edit."""
    if changed.texts:
        return f"in {listed(sorted({edit.file for edit in changed.texts}))}"
    names = listed(changed.unplaced)
    where = "it stands in no Compose file that could be read" if changed.read else "no Compose file was read"
    return f"where the command of {names} is set ({where})"


def already_written(look: Look, found: Sequence[tuple[Service, Problem]], old: str, new: str) -> bool:
    """Whether the Compose files say ``new`` and no longer ``old`` for all these services: then only their
    containers are behind."""
    described = (look.data("compose") or {}).get("services") or {}
    for service, problem in found:
        nodes = (described.get(service.item.get("service")) or {}).get(standing_in(service, problem.token))
        value = nodes[-1].get("value") if nodes else None
        words = value if isinstance(value, list) else str(value or "").split()
        names = {str(word).partition("=")[0] for word in words}
        if new not in names or old in names:
            return False
    return True
