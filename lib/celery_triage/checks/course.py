"""What a rule sees of the lives of one service: how far they got, how they ended, what they said of
themselves.

A message counts only where it was said in the role that the rule asks for: as last words of a life that ended
with them, or by the running process itself. What a task raised, what a text quotes and what was said before
the last life that got past that step says nothing about now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import takewhile

from celery_triage.checks.steps import checks_backend_at_start, place
from celery_triage.core import answered
from celery_triage.lives import STEPS as REACHED_STEPS
from celery_triage.lives import UNBEGUN_S, Life, Lives, Reached, reached, told
from celery_triage.model import Evidence, Proof
from celery_triage.signatures import Match, match
from celery_triage.stack import Service, Stack

#: The steps before the first one that a life's words can prove: any word of Celery proves them all.
_BEFORE = ("container", "executable", "subcommand")
#: A start that fails at these steps ends sooner, where the result backend is opened at the start at all
#: (Celery 5.5 and later; seconds; measured: 1 s without a driver, 12 s without a database, 130 s for a server
#: that is silent).
_OUTLIVED = {"driver": 60.0, "database": 300.0}
#: Rules whose message does not tell the step at which it was said.
_LOOSE = ("LOG002",)


class Course:
    """The lives of one service, oldest first, read together with its log."""

    def __init__(
        self,
        label: str,
        lives: Sequence[Life],
        lines: Sequence[Sequence[str]] | None,
        *,
        service: Service | None = None,
        ping: str = "",
    ) -> None:
        self.label, self.lives, self._service = label, tuple(lives), service
        self.readable = lines is not None
        self._lines = lines or ()
        self._ping = ping
        self._reached: dict[int, Reached] = {}
        self._matches: dict[int, tuple[Match, ...]] = {}

    @cached_property
    def told(self) -> Life | None:
        """The life that says most about now; None where no life is known."""
        return told(self.lives)

    @property
    def last_exit(self) -> int | None:
        """The exit code of the last life that ended, or of the start that Docker itself could not make."""
        code = next(
            (
                life.exit_code
                for life in reversed(self.lives)
                if not life.running and (life.end or life.exit_code is not None)
            ),
            None,
        )
        if code is None and self._service is not None and self._service.latest.get("status") == "created":
            return self._service.latest.get("exit_code")
        return code

    def lines(self, life: Life) -> Sequence[Sequence[str]]:
        """The log lines of one life."""
        return life.of(self._lines)

    def reached(self, life: Life) -> Reached:
        """How far one life got."""
        key = self.lives.index(life)
        if key not in self._reached:
            self._reached[key] = reached(
                self.lines(life),
                self._service.role if self._service else "other",
                version=_version(self._service),
                ping=self._ping if life.running else "",
                seconds=life.seconds if life.running else None,
                longest_failure=self._longest_failure,
            )
        return self._reached[key]

    def got(self, life: Life, step: str) -> bool:
        """Whether one life is proven to have got past a step: by its words, by last words that belong to a
        later step, or by a life that goes on longer than a start that fails there."""
        seen = self.reached(life)
        if step in _BEFORE and seen.proven:
            return True
        if seen.has("consuming" if step == "results" else step):
            return True
        if self._service is None or not step:
            return False
        here = place(step, self._service)
        if any(place(said_at, self._service) > here for said_at in self._steps_of_deaths(life)):
            return True
        if not life.running or step not in _OUTLIVED or not checks_backend_at_start(self._service):
            return False
        # Short of processor time a start takes minutes: what it took to fail before counts, too, and who has
        # not yet said a word may not have begun.
        mute = UNBEGUN_S if self.readable and not self.lines(life) else 0.0
        return (life.seconds or 0) > max(_OUTLIVED[step], 2 * (self._longest_failure or 0.0), mute)

    @cached_property
    def _longest_failure(self) -> float | None:
        """How long the longest life that failed lasted, in seconds; None where none is known."""
        failed = [one.seconds for one in self.lives if one.failed and one.seconds is not None]
        return max(failed, default=None)

    def _steps_of_deaths(self, life: Life) -> list[str]:
        """The steps at which this life says that it ended."""
        from celery_triage.checks.registry import RULES  # the registry itself needs this module

        rules = [RULES[said.code] for said in self.deaths(life) if said.code in RULES]
        return [rule.step for rule in rules if rule.step and not rule.steps and rule.code not in _LOOSE]

    def past(self, step: str) -> bool:
        """Whether the service, as it is now, is proven to have got past a step."""
        return self.told is not None and (self.got(self.told, step) or self.got(self.lives[-1], step))

    def further(self, life: Life, others: Iterable[Life]) -> bool:
        """Whether one life got further than all of some others."""

        def place(one: Life) -> int:
            step = self.reached(one).step
            return -1 if step is None else REACHED_STEPS.index(step)

        return place(life) > max((place(other) for other in others), default=-1)

    def matches(self, life: Life) -> tuple[Match, ...]:
        """The known messages of one life."""
        key = self.lives.index(life)
        if key not in self._matches:
            self._matches[key] = (
                match(self.lines(life), running=life.running, first_line=life.first_line or 1)
                if self.readable
                else ()
            )
        return self._matches[key]

    def recent(self, step: str) -> tuple[Life, ...]:
        """The lives since the last one that got past a step."""
        good = max(
            (place for place, life in enumerate(self.lives) if step and self.got(life, step)), default=-1
        )
        return self.lives[good + 1 :]

    def says(self, code: str, thing: str | None = None, *, step: str = "") -> tuple[Match, ...]:
        """What the lives of now say of a rule (and of one object): last words, and words of the running
        process."""
        lives = [*self.recent(step)]
        if self.told is not None and not self.told.running and self.told not in lives:
            lives.append(self.told)  # it got far, and died of this all the same
        found = []
        for life in lives:
            for one in self.matches(life):
                fits = one.code == code and not one.harmless and thing in (None, "", one.object)
                if fits and (
                    one.context == "death" or (one.context == "running" and life in self.recent(step))
                ):
                    found.append(one)
        return tuple(found)

    def deaths(self, life: Life) -> tuple[Match, ...]:
        """The known last words of one life."""
        return tuple(one for one in self.matches(life) if one.context == "death" and not one.harmless)

    def formerly(self, code: str, step: str) -> tuple[Match, ...]:
        """The last words about a rule of lives that a later life has outdone: history."""
        gone = self.lives[: len(self.lives) - len(self.recent(step))]
        return tuple(one for life in gone for one in self.deaths(life) if one.code == code)

    def proof(self, match: Match) -> Proof:
        """A known message as a quotation: the last line that says it, with those below it where it says
        nothing but ``Error:`` (click, before an error of several lines)."""
        place = match.lines[-1]
        time, _, text = self._lines[place - 1][:3]
        if text.rstrip().endswith("Error:"):
            below = takewhile(str.strip, (line[2] for line in self._lines[place : place + 3]))
            text = " ".join([text.rstrip(), *(line.strip() for line in below)])
        return Proof(f"logs/{self.label}", text, place, time or None)


class Courses:
    """The courses of all services of an evidence."""

    def __init__(self, evidence: Evidence, stack: Stack | None = None) -> None:
        self._evidence = evidence
        self._stack = stack or Stack.of(evidence)
        self._lives = Lives.of(evidence)
        self._answered = answered(evidence)
        self._known: dict[str, Course] = {}

    def of(self, label: str) -> Course:
        """The course of one service; one without lives for a label that is not there."""
        if label not in self._known:
            service = self._stack.get(label)
            data = self._evidence.data(f"logs/{label}")
            self._known[label] = Course(
                label,
                self._lives.of_service(label),
                None if data is None else data.get("lines") or (),
                service=service,
                ping="it answered a ping" if label in self._answered else "",
            )
        return self._known[label]


def _version(service: Service | None) -> str | None:
    version = (service.packages.get("celery") or {}).get("version") if service else None
    return str(version) if version else None
