"""Programs that are in no image: the first word of a command is none, or Celery has it no more."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.commands.quoting import written
from celery_triage.checks.words import shown
from celery_triage.commandline.shells import ASSIGNMENT
from celery_triage.commandline.unwrapped import CELERY, base
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding
from celery_triage.stack import Service

#: What does the work of the programs of Celery 3 ("What's new in Celery 4.0").
_SINCE_4 = {"celeryd": "worker", "celerybeat": "beat", "celeryev": "events"}
#: Words that only a shell knows, or only a shell can start with an effect.
_OF_A_SHELL = ("exec", "source", ".", "cd", "eval")


@static("CMD005", "executable-missing", "critical")
def no_program(subject: Subject) -> Iterator[Finding]:
    """``exec celery …`` and ``C_FORCE_ROOT=1 celery …`` where no shell reads the command (Compose starts the
    first word as it stands); a whole line as one word; ``Celery``; programs of Celery 3."""
    for service in subject.services:
        told = _of_a_shell(service) or _other(service)
        if told is None:
            continue
        word, why, fix = told
        yield found(
            subject,
            "CMD005",
            "executable-missing",
            "critical",
            f"{service.label}: {why}",
            [subject.command_node(service, word)],
            services=[service],
            thing=shown(word, 40),
            fix=fix,
        )


def _of_a_shell(service: Service) -> tuple[str, str, str] | None:
    words = written(service)
    first = words[0] if words else ""
    assigned = bool(ASSIGNMENT.match(first))
    if (
        not (assigned or first in _OF_A_SHELL)
        or "$" in first
        or not any(base(word) in CELERY for word in words)
    ):
        return None
    name = first.partition("=")[0]
    fix = "Leave it out." if first == "exec" else "Write the line as one word for a shell: sh -c '…'."
    why = f"no shell reads the command, and {name} is no program"
    return name, why, f"Write {name} below environment." if assigned else fix


def _other(service: Service) -> tuple[str, str, str] | None:
    first = (service.argv or [""])[0]
    name = base(first)
    if " " in first and base(first.split()[0]) in CELERY:
        why = f"the whole line {shown(first, 40)} is one word, and no program is called so"
        return first, why, "Write it as a text, or each word as a member of the list of its own."
    if name in _SINCE_4:
        return name, f"there is no program {name} since Celery 4", f"Write celery -A app {_SINCE_4[name]}."
    if name not in CELERY and name.lower() in CELERY:
        why = f"there is no program {name}; Linux tells capital letters from small ones"
        return name, why, f"Write {name.lower()}."
    return None
