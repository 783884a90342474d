"""What a rule is, what it may read, and how it comes into the registry.

A rule is one function, decorated with ``@check``; its docstring is its page. It reads the evidence through a
``Look``, which hands out only the sections that the rule declared and keeps a note of each one that could not
be had: so "could not look" can never turn into "nothing there".
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from celery_triage.checks.course import Course, Courses
from celery_triage.checks.steps import STEPS
from celery_triage.model import SEVERITIES, Evidence, Finding, Outcome, Proof, Remedy, Section
from celery_triage.remedies import with_risk
from celery_triage.signatures import Match
from celery_triage.stack import Service, Stack

#: The headings that every page has, in this order; the text before the first one is the page's first
#: sentence.
HEADINGS = ("What", "Why", "Looks like", "Confirm", "Do", "False alarms")


class NotApplicable(Exception):
    """Raised by a rule without a subject here; the message is the sentence why ("no service uses Redis")."""


class Undeclared(Exception):
    """A rule asked for a section that it does not declare: a bug of the rule."""


@dataclass(frozen=True)
class Prediction:
    """What a rule, where it is right, makes visible elsewhere.

    ``codes`` are the findings that it explains, ``on`` whose they are: ``itself`` (the same service) or
    ``users`` (services whose URL leads to the finding's service) or ``anyone``. ``exits`` are the exit codes
    with which the last life of that service must have ended; none means that any will do. ``when`` decides
    further, for each service, by the two findings (the one that explains first).
    """

    codes: tuple[str, ...]
    on: str = "itself"
    exits: tuple[int, ...] = ()
    when: Callable[[Finding, Finding, Stack, str], bool] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.on not in ("itself", "users", "anyone"):
            raise ValueError(f"a prediction is about itself, users or anyone, not {self.on!r}")


@dataclass(frozen=True)
class Rule:
    """One entry of the catalogue. ``also`` are further names under which the same code reports (the code
    stays the same for ever); ``step`` is where in the start of a service it strikes, empty for what is no
    cause of a start that fails; ``page`` is the docstring. ``heals``: whether a process that works afterwards
    has left it behind, where only its log tells of it."""

    code: str
    name: str
    severity: str
    needs: tuple[str, ...]
    check: Callable[[Look], Iterator[Finding]] = field(repr=False)
    page: str = field(repr=False, default="")
    step: str = ""
    uses: tuple[str, ...] = ()
    predicts: tuple[Prediction, ...] = ()
    also: tuple[str, ...] = ()
    steps: Mapping[str, str] = field(default_factory=dict)
    heals: bool = True

    def step_of(self, name: str) -> str:
        """The step at which a finding of that name strikes."""
        return self.steps.get(name, self.step)

    @property
    def doc(self) -> str:
        """The page, as the catalogue shows it."""
        return self.page

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.also)

    @property
    def subject(self) -> str:
        """The module that holds it: ``commands``, ``database`` …"""
        return self.check.__module__.removeprefix("celery_triage.checks.").partition(".")[0]

    def finding(self, title: str, **facts: Any) -> Finding:
        """A finding of this rule, with its code, name and severity unless ``facts`` say otherwise."""
        given: dict[str, Any] = {
            "code": self.code,
            "name": self.name,
            "severity": self.severity,
            "title": title,
        }
        return Finding(**{**given, **facts})


#: All rules by code, in the order of their codes (see ``checks/__init__``).
RULES: dict[str, Rule] = {}


def check(
    code: str,
    name: str,
    *,
    severity: str,
    needs: Iterable[str],
    uses: Iterable[str] = (),
    step: str = "",
    predicts: Iterable[Prediction] = (),
    also: Iterable[str] = (),
    steps: Mapping[str, str] | None = None,
    heals: bool = True,
) -> Callable[[Callable[[Look], Iterator[Finding]]], Callable[[Look], Iterator[Finding]]]:
    """Enter a function into the registry.

    ``needs`` are the sections without which the rule cannot be quiet (``containers``, ``files/*`` for the one
    of each service that it asks about); ``uses`` those that only sharpen what it says. Raises ValueError for
    a code that is taken, an unknown severity or step.
    """

    def enter(function: Callable[[Look], Iterator[Finding]]) -> Callable[[Look], Iterator[Finding]]:
        if code in RULES:
            raise ValueError(f"{code} is taken by {RULES[code].name}")
        if severity not in SEVERITIES or any(
            one and one not in STEPS for one in (step, *(steps or {}).values())
        ):
            raise ValueError(f"{code}: severity {severity!r} or step {step!r} is unknown")
        RULES[code] = Rule(
            code,
            name,
            severity,
            tuple(needs),
            function,
            inspect.getdoc(function) or "",
            step,
            tuple(uses),
            tuple(predicts),
            tuple(also),
            dict(steps or {}),
            heals,
        )
        return function

    return enter


class Look:
    """What one rule may see of one evidence."""

    def __init__(
        self,
        evidence: Evidence,
        rule: Rule,
        *,
        stack: Stack | None = None,
        courses: Courses | None = None,
    ) -> None:
        self.rule = rule
        self._evidence = evidence
        self._given = (stack, courses)
        self.missing: dict[str, str] = {}

    def _declared(self, name: str, *lists: Iterable[str]) -> bool:
        return any(
            name == entry or (entry.endswith("/*") and name.startswith(entry[:-1]))
            for entries in lists
            for entry in entries
        )

    def section(self, name: str) -> Section:
        """A declared section. One that the rule needs and that is not ``ok`` is noted as missing."""
        if not self._declared(name, self.rule.needs, self.rule.uses):
            raise Undeclared(f"{self.rule.code} reads {name} without declaring it")
        section = self._evidence.section(name)
        if section.status != "ok" and self._declared(name, self.rule.needs):
            self.note(name, section.why)
        return section

    def data(self, name: str, default: Any = None) -> Any:
        """The data of a declared section that can be read (also in part), else ``default``."""
        section = self.section(name)
        return section.data if section.readable and section.data is not None else default

    def note(self, section: str, why: str) -> None:
        """This section could not tell what the rule needs: without a finding the rule is then unknown."""
        self.missing.setdefault(section, why or "could not be read")

    @cached_property
    def stack(self) -> Stack:
        """The stack (needs ``containers``); it has no services where containers could not be read."""
        self.section("containers")
        return self._given[0] or Stack.of(self._evidence)

    @property
    def members(self) -> list[Service]:
        """The services of the target by name, so that a finding reads the same every time."""
        return sorted(self.stack.members, key=lambda service: service.label)

    @property
    def celery(self) -> list[Service]:
        """Workers, beat and Flower of the target, by name."""
        return [service for service in self.members if service.is_celery]

    @cached_property
    def _courses(self) -> Courses:
        return self._given[1] or Courses(self._evidence, self.stack)

    def course(self, service: Service) -> Course:
        """The lives of a service and what their last words say, as far as samples, events and logs tell."""
        return self._courses.of(service.label)

    def seen(self, service: Service) -> Witness:
        """What the log and the end of this service say of the rule."""
        return Witness(self.course(service), self.rule)

    def files(self, service: Service) -> Mapping[str, Any]:
        """What was seen in the image of a service; empty where nobody could look (see ``needs_file``)."""
        name = f"files/{service.label}"
        if not self._declared(name, self.rule.needs, self.rule.uses):
            raise Undeclared(f"{self.rule.code} reads {name} without declaring it")
        return self._evidence.data(name) or {}

    def needs_file(self, service: Service, why: str) -> None:
        """What the rule needs to know of the image of this service is not known."""
        section = self._evidence.section(f"files/{service.label}")
        self.note(section.name, section.why or why)

    @property
    def options(self) -> Mapping[str, Any]:
        """What the user asked for (``no_login`` …)."""
        return self._evidence.options

    def finding(
        self, title: str, *, remedy: Remedy | None = None, proof: Iterable[Proof] = (), **facts: Any
    ) -> Finding:
        """A finding of the rule that looks."""
        return self.rule.finding(title, remedy=remedy, proof=tuple(proof), **facts)


@dataclass(frozen=True)
class Witness:
    """The log and the end of one service as a witness of one rule."""

    course: Course
    rule: Rule

    def says(self, thing: str | None = None) -> tuple[Match, ...]:
        """What the service says now of the rule (and of one object)."""
        return self.course.says(self.rule.code, thing, step=self.rule.step)

    def proof(self, thing: str | None = None) -> list[Proof]:
        """The last thing that it says of the rule, as a quotation; nothing where it says nothing."""
        return [self.course.proof(said) for said in self.says(thing)[-1:]]

    def effect(self, thing: str | None = None, exits: Iterable[int] = ()) -> bool:
        """Whether the effect of the rule is seen now: by its words, or, where no log can be read, by an exit
        code with which it ends a start."""
        if self.says(thing):
            return True
        told = self.course.told
        return (
            not self.course.readable and told is not None and told.failed and told.exit_code in tuple(exits)
        )


def judge(rule: Rule, look: Look) -> tuple[tuple[Finding, ...], Outcome]:
    """Run one rule: its findings and what became of it. Never raises: what a rule raises is its outcome."""

    def became(outcome: str, why: str = "") -> Outcome:
        return Outcome(rule.code, rule.name, outcome, why, tuple(sorted(look.missing)))

    try:
        found = tuple(_checked(rule, finding) for finding in rule.check(look))
    except NotApplicable as error:
        return (
            ((), became("unknown", _why(look.missing)))
            if look.missing
            else ((), became("not_applicable", str(error)))
        )
    except Exception as error:  # a bug of ours: it is said, and the other rules go on
        return (), became("broken", f"{type(error).__name__}: {error}")
    now = {(finding.name, finding.object) for finding in found if finding.state != "history"}
    found = tuple(one for one in found if one.state != "history" or (one.name, one.object) not in now)
    if now:
        return found, became("fired", _why(look.missing))
    if look.missing:
        return found, became("unknown", _why(look.missing))
    return found, became("quiet")


def _checked(rule: Rule, finding: Finding) -> Finding:
    if finding.code != rule.code or finding.name not in rule.names:
        raise ValueError(f"a finding {finding.code} {finding.name} from the rule {rule.code}")
    remedy = with_risk(finding.remedy) if finding.remedy else None
    return replace(finding, services=tuple(finding.services), remedy=remedy)


def _why(missing: Mapping[str, str]) -> str:
    """One sentence of all that is missing, sections with the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, why in sorted(missing.items()):
        by_reason.setdefault(why.rstrip("."), []).append(name)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in by_reason.items())
