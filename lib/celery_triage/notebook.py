"""What the setup cell of a runbook calls: find the evidence, or collect just what this runbook reads.

``look_at("")`` means the live stack of this machine, a path means that bundle, and the environment
variable ``CELERY_TRIAGE_EVIDENCE`` serves where nothing can set the parameter (a test of all notebooks).
There is no silent fall-back: where no engine answers, one sentence says so and names the recorded
incident.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .model import Diagnosis, Evidence

if TYPE_CHECKING:
    from .checks.course import Courses
    from .lives import Life, Lives
    from .stack import Service

VARIABLE = "CELERY_TRIAGE_EVIDENCE"
RECORDED = "reports/sample/evidence"
#: What a notebook of a report is given. Relative: it runs again wherever the report's folder lies.
OF_REPORT = "../evidence"


class CannotLook(Exception):
    """There is nothing to look at; the message is the sentence for the reader. Shown without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@dataclass(frozen=True)
class Look:
    """What one runbook looks at: the evidence, and what follows from it, worked out when first asked for.

    ``reads`` are the sections (exact names or ``prefix/*``) that the runbook shows; none means all.
    """

    evidence: Evidence
    reads: tuple[str, ...] = ()
    given: Diagnosis | None = field(default=None, repr=False)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """The diagnosis of this evidence, by the same rules as everywhere."""
        if self.given is not None:
            return self.given
        from .causes import diagnose

        return diagnose(self.evidence)

    @cached_property
    def stack(self):
        """The services, their commands, URLs and who reaches whom."""
        from .stack import Stack

        return Stack.of(self.evidence)

    def services(self, service: str = "", *, members: bool = False, celery: bool = False) -> list[Service]:
        """The services to show: all or the named one; members of the target only; workers, beat and
        Flower only.

        Members stand before neighbours, each by name: the engine lists the youngest first, which helps
        nobody. CannotLook as `labels`.
        """
        labels = self.labels(service)
        found = self.stack.celery if celery else self.stack.members if members else self.stack.services
        chosen = [one for one in found if not service or one.label in labels]
        return sorted(chosen, key=lambda one: (not one.member, one.label))

    def labels(self, service: str) -> frozenset[str]:
        """The labels that a name given for a service means, all for none: its own, or that of the Compose
        service with all its replicas, or the name of its container. A service of the Compose file without a
        container stands for itself. CannotLook for any other name: an empty page would read as "nothing
        there"."""
        there = self.stack.services
        if not service or not there:
            return frozenset({service} - {""} or {one.label for one in there})
        exact = self.stack.get(service)
        same = [one for one in there if service in (one.item.get("service"), one.name)]
        if exact is not None:
            same = [exact, *(one for one in same if one.item.get("project") == exact.item.get("project"))]
        elif any(one.member for one in same):
            same = [one for one in same if one.member]
        if same:
            return frozenset(one.label for one in same)
        if service in ((self.evidence.data("compose") or {}).get("services") or {}):
            return frozenset({service})
        names = ", ".join(sorted(one.label for one in there))
        raise CannotLook(f"There is no service {service!r} in this evidence; there are {names}.")

    def none(self, service: str, whole: str, one: str) -> str:
        """The sentence for nothing to show: ``whole`` where all were looked at; where one service was asked
        for, what is so of that one (``has no health check``): of the others nothing is said."""
        self.labels(service)
        return f"{service} {one}." if service else whole

    @cached_property
    def lives(self) -> Lives:
        """The lives of all containers, as far as samples, events and logs tell them."""
        from .lives import Lives

        return Lives.of(self.evidence)

    def lives_of(self, label: str) -> tuple[Life, ...]:
        """The lives of a container that were seen, oldest first."""
        return self.lives.of_service(label)

    @cached_property
    def _courses(self) -> Courses:
        from .checks.course import Courses

        return Courses(self.evidence, self.stack)

    def passed(self, label: str) -> frozenset[str]:
        """The steps of its start that a service, as it is now, is proven to have passed."""
        from .checks.steps import STEPS

        course = self._courses.of(label)
        return frozenset(step for step in STEPS if course.past(step))

    def _repr_html_(self) -> str:
        from .show.triage import looked

        return looked(self, datetime.now(UTC)).with_style()

    def __repr__(self) -> str:
        from .show.triage import looked

        return repr(looked(self, datetime.now(UTC)))


def look_at(evidence: str = "", *, project: str = "", reads: str = "", since: str = "") -> Look:
    """The evidence that a runbook shows.

    ``evidence``: empty for the live stack, else the path of a bundle; ``project``: the Compose project,
    may be empty where only one runs Celery; ``reads``: names of sections, separated by blanks, all a live
    look collects; ``since``: how far back logs and events go, as ``30m`` or ``2h`` (live only). Raises
    CannotLook with one sentence, also where papermill was given a parameter that the notebook does not have.
    """
    refuse_unknown_parameters()
    sections = tuple(reads.split())
    path = evidence or os.environ.get(VARIABLE, "")
    if path:
        return Look(recorded(path), sections)
    return Look(live(project=project, only=sections, since=since), sections)


def refuse_unknown_parameters() -> None:
    """CannotLook where this notebook was executed with a parameter that it does not declare. Outside of a
    kernel there is nothing to refuse."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return
    from . import parameters

    try:
        parameters.refuse_injected(shell.user_ns.get("In") or (), shell.user_ns)
    except parameters.WrongParameter as error:
        raise CannotLook(f"This runbook was started with a parameter that it cannot take: {error}.") from None


def recorded(path: str) -> Evidence:
    """The evidence of a bundle; CannotLook where there is none."""
    from . import bundle

    try:
        return bundle.load(Path(path))
    except (OSError, ValueError) as error:
        raise CannotLook(f"No evidence can be read at {path!r}: {error}") from None


def live(*, project: str = "", only: Iterable[str] = (), since: str = "") -> Evidence:
    """The live stack of this machine's Docker Engine; CannotLook with the sentence why where that fails."""
    from .collect import CannotCollect, CollectOptions, collect

    sections = frozenset(only) or None
    try:
        return collect(CollectOptions(project=project or None, since=since or None, only=sections))
    except (CannotCollect, ValueError) as error:
        why = str(error).rstrip(".").replace("with -p", "by project = …")
        raise CannotLook(f"{why}. {hint()}") from None


def hint() -> str:
    """Where the recorded incident lies, as a sentence: its path from the folder in which the notebook runs,
    or the whole path where that is shorter."""
    recorded_incident = Path(__file__).resolve().parents[2] / RECORDED
    path = min(os.path.relpath(recorded_incident), str(recorded_incident), key=len)
    return f"To look at the recorded incident instead, set evidence = {path!r}."
