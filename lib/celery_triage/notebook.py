"""What the setup cell of a runbook calls: find the evidence, or collect just what this runbook reads.

``look_at("")`` means the live stack of this machine, a path means that bundle, and the environment
variable ``CELERY_TRIAGE_EVIDENCE`` serves where nothing can set the parameter (a test of all notebooks).
There is no silent fall-back: where no engine answers, one sentence says so and names the recorded
incident.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .model import Diagnosis, Evidence

if TYPE_CHECKING:
    from .lives import Life

VARIABLE = "CELERY_TRIAGE_EVIDENCE"
RECORDED = "reports/sample/evidence"
COLLECT_S = 75  # collecting bounds itself to less


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

    @cached_property
    def _lives(self) -> dict[str, list[Life]]:
        from .lives import lives

        events = (self.evidence.data("events") or {}).get("items") or ()
        logs = {one.label: self.evidence.data(f"logs/{one.label}") or {} for one in self.stack.services}
        return {
            one.label: lives(one.item, events, logs[one.label].get("lines") or ())
            for one in self.stack.services
        }

    def lives_of(self, label: str) -> list[Life]:
        """The lives of a container that were seen, oldest first."""
        return self._lives.get(label, [])

    def _repr_html_(self) -> str:
        from .show.triage import looked

        return looked(self, datetime.now(UTC))._repr_html_()

    def __repr__(self) -> str:
        from .show.triage import looked

        return repr(looked(self, datetime.now(UTC)))


def look_at(evidence: str = "", *, project: str = "", reads: str = "", since: str = "") -> Look:
    """The evidence that a runbook shows.

    ``evidence``: empty for the live stack, else the path of a bundle; ``project``: the Compose project,
    may be empty where only one runs Celery; ``reads``: names of sections, separated by blanks, all a live
    look collects; ``since``: how far back logs and events go, as ``30m`` or ``2h`` (live only). Raises
    CannotLook with one sentence.
    """
    sections = tuple(reads.split())
    path = evidence or os.environ.get(VARIABLE, "")
    if path:
        return Look(recorded(path), sections)
    return Look(live(project=project, only=sections, since=since), sections)


def recorded(path: str) -> Evidence:
    """The evidence of a bundle; CannotLook where there is none."""
    from . import bundle

    try:
        return bundle.load(Path(path))
    except (OSError, ValueError) as error:
        raise CannotLook(f"No evidence can be read at {path!r}: {error}") from None


def live(*, project: str = "", only: Iterable[str] = (), since: str = "") -> Evidence:
    """The live stack of this machine's Docker Engine; CannotLook with the sentence why where that fails.

    Collecting forks, and a kernel has threads; so a process of its own collects, by the command line.
    """
    from . import bundle

    with tempfile.TemporaryDirectory(prefix="triage-") as folder:
        target = Path(folder) / "evidence"
        command = [sys.executable, "-m", "celery_triage.cli", "collect", "-o", str(target)]
        command += ["--sections", " ".join(only)] if only else []
        command += ["-p", project] if project else []
        command += ["--since", since] if since else []
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=COLLECT_S, check=False)
        except subprocess.TimeoutExpired:
            raise CannotLook(f"The live stack gave no answer within {COLLECT_S} s.") from None
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["collecting failed without a word"])[-1]
            raise CannotLook(f"{why.removeprefix('celery-triage: ').rstrip('.')}. {hint()}")
        return replace(bundle.load(target), origin="live")


def hint() -> str:
    """Where the recorded incident lies, as a sentence, with its path as seen from the folder of the
    runbooks."""
    recorded_incident = Path(__file__).resolve().parents[2] / RECORDED
    return f"To look at the recorded incident instead, set evidence = {os.path.relpath(recorded_incident)!r}."
