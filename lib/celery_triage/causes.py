"""From findings to a diagnosis: which finding explains which, what stops a service now, and what it comes to.

Everything here follows from three declarations of a rule: the step of a service's start at which it strikes,
what it predicts (codes, on itself or on the users of its service, exit codes), and its severity. Nothing is
guessed: a finding that no rule predicted stays a cause of its own, and two causes that do not predict each
other never hide one another, they only stand one behind the other in the start of a service.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from celery_triage import checks, core, settling
from celery_triage.checks import RULES, Prediction, Rule
from celery_triage.checks.course import Courses
from celery_triage.checks.steps import met_at, place
from celery_triage.checks.words import listed
from celery_triage.model import Diagnosis, Evidence, Finding, Outcome, worst
from celery_triage.stack import Stack

#: Findings of these severities can be causes; a notice never is one.
CAUSES = ("critical", "warning")
#: The rule that knows nothing but the words of a log.
WORDS = "LOG002"


def diagnose(evidence: Evidence) -> Diagnosis:
    """The diagnosis of this evidence: always the same one, for nothing in it depends on now or on here."""
    findings, outcomes = checks.run(evidence)
    ranked = rank(findings, evidence)
    causes = tuple(finding.id for finding in ranked if is_cause(finding))
    return Diagnosis(
        evidence.target,
        evidence.taken_at,
        verdict(ranked, outcomes, evidence),
        ranked,
        causes,
        outcomes,
        settling=settling.settling(evidence, troubled(ranked)),
        origin=evidence.origin,
    )


def is_cause(finding: Finding) -> bool:
    """Whether a ranked finding is a cause: it is the case now, it matters, and nothing else explains it."""
    return finding.explained_by is None and finding.state != "history" and finding.severity in CAUSES


def troubled(findings: Iterable[Finding]) -> set[str]:
    """The services on which something is wrong now."""
    return {
        label
        for finding in findings
        if finding.state != "history" and finding.severity in CAUSES
        for label in finding.services
    }


def verdict(findings: Iterable[Finding], outcomes: Iterable[Outcome], evidence: Evidence) -> str:
    """The worst of what is the case; ``unknown`` when nothing critical was seen and core evidence is
    missing."""
    seen = [finding.severity for finding in findings if is_cause(finding)]
    if core.missing(evidence) or any(outcome.outcome == "broken" for outcome in outcomes):
        seen.append("unknown")
    return worst(seen)


def rank(findings: Iterable[Finding], evidence: Evidence) -> tuple[Finding, ...]:
    """All findings with their states, what explains them, and ids, in the order of the diagnosis.

    Causes come first (active before latent), then what they explain, then what is only worth knowing, then
    history.
    """
    stack = Stack.of(evidence)
    courses = Courses(evidence, stack)
    placed = with_states(without_echoes(tuple(findings)), stack)
    explained = explanations(placed, stack, courses)
    placed = tuple(map(sober, behind_the_unexplained(placed, explained)))
    keys = [
        order(finding, index in explained, stack, stopped_by(index, placed, explained))
        for index, finding in enumerate(placed)
    ]
    sequence = sorted(range(len(placed)), key=lambda index: (keys[index], index))
    ids = {index: f"f{number}" for number, index in enumerate(sequence, 1)}
    return with_company(
        tuple(
            replace(placed[index], id=ids[index], explained_by=ids.get(explained.get(index, -1)))
            for index in sequence
        ),
        stack,
    )


def with_company(ranked: tuple[Finding, ...], stack: Stack) -> tuple[Finding, ...]:
    """Each cause whose services another cause stops as well says so before its verification: that can succeed
    only when all of them are cured."""
    stopped = {finding.id: stops(finding, stack) for finding in ranked if is_cause(finding)}
    told = []
    for finding in ranked:
        own = stopped.get(finding.id) or set()
        # Only causes are in the map, and one that stops nothing shares nothing.
        others = [
            other.code for other in ranked if other.id != finding.id and own & stopped.get(other.id, set())
        ]
        if finding.verify and others:
            names = listed(list(dict.fromkeys(others)))
            step = f"Cure {names} too, and then look: the same services are stopped by that as well."
            finding = replace(finding, verify=(step, *finding.verify))
        told.append(finding)
    return tuple(told)


def stops(finding: Finding, stack: Stack) -> set[str]:
    """The services that a finding keeps from starting, now or once they get that far. What strikes only at
    the results of a service (its database, for Flower) does not."""
    rule = RULES.get(finding.code)
    step = rule.step_of(finding.name) if rule else ""
    if not step or finding.severity != "critical":
        return set()
    return {label for label in finding.services if met_at(step, stack.get(label)) != "results"}


# --- States: what stops a service now, and what waits behind it ---------------------------------------------


def with_states(findings: Sequence[Finding], stack: Stack) -> tuple[Finding, ...]:
    """Each finding with a state for each of its services: active where nothing strikes earlier in the start
    of that service, else latent. Active anywhere is active. What is history stays history."""
    earliest: dict[str, tuple[int, ...]] = {}
    positions: list[dict[str, tuple[int, ...]]] = []
    for index, finding in enumerate(findings):
        own = {}
        rule = RULES.get(finding.code)
        if rule and rule.step_of(finding.name) and finding.state != "history":
            for label in finding.services:
                own[label] = position(rule, findings, index, stack, label)
                if finding.severity == "critical":
                    earliest[label] = min(own[label], earliest.get(label, own[label]))
        positions.append(own)
    return tuple(_stated(finding, own, earliest) for finding, own in zip(findings, positions, strict=True))


def position(
    rule: Rule, findings: Sequence[Finding], index: int, stack: Stack, label: str
) -> tuple[int, ...]:
    """Where a finding strikes in the start of a service: the step, then, within one rule, the order of
    telling (the first of two wrong options ends the process before the second is looked at)."""
    before = [
        other
        for other in findings[:index]
        if other.code == rule.code and label in other.services and other.state != "history"
    ]
    return place(rule.step_of(findings[index].name), stack.get(label)), len(before)


def _stated(
    finding: Finding, own: Mapping[str, tuple[int, ...]], earliest: Mapping[str, tuple[int, ...]]
) -> Finding:
    if finding.state == "history":
        return replace(finding, service_states=dict.fromkeys(finding.services, "history"))
    states = {}
    for label in finding.services:
        mine, first = own.get(label), earliest.get(label)
        behind = (
            mine is not None
            and first is not None
            and (first[0] < mine[0] or (first[0] == mine[0] and first[1] < mine[1]))
        )
        states[label] = "latent" if behind else finding.service_states.get(label, "active")
    state = "active" if not states or "active" in states.values() else "latent"
    return replace(finding, state=state, service_states=states)


def behind_the_unexplained(findings: Sequence[Finding], explained: Mapping[int, int]) -> tuple[Finding, ...]:
    """A service that ends in a way that nothing explains is stopped by that. What was only inferred about it,
    without an effect that was seen, waits behind: latent there."""
    stopped = {
        label
        for index, finding in enumerate(findings)
        if _is_end(finding) and index not in explained and finding.state == "active"
        for label in finding.services
    }
    placed = []
    for finding in findings:
        states = dict(finding.service_states)
        if finding.certainty == "inferred" and not _is_end(finding) and finding.state != "history":
            states.update({label: "latent" for label in finding.services if label in stopped})
        state = (
            "active"
            if "active" in states.values()
            else "latent"
            if states and finding.state != "history"
            else (finding.state)
        )
        placed.append(replace(finding, state=state, service_states=states))
    return tuple(placed)


def sober(finding: Finding) -> Finding:
    """A finding that is latent everywhere cannot have been seen at work: at most inferred."""
    unseen = finding.state == "latent" and finding.certainty == "confirmed"
    return replace(finding, certainty="inferred") if unseen else finding


def _is_end(finding: Finding) -> bool:
    """Whether a finding tells that a service ended, and not what made it end."""
    rule = RULES.get(finding.code)
    return rule is not None and not rule.step and rule.severity == "critical"


# --- Explanations: what a rule predicts, matched against what is seen ---------------------------------------


def explanations(findings: Sequence[Finding], stack: Stack, courses: Courses) -> dict[int, int]:
    """For each explained finding the one that explains it, by their places in ``findings``.

    Where several do, the one that itself is explained by nothing and comes first in the order of causes is
    taken; a circle of predictions is cut where it would close.
    """
    candidates = {
        index: [
            other
            for other, cause in enumerate(findings)
            if other != index and explains(cause, finding, stack, courses)
        ]
        for index, finding in enumerate(findings)
        if finding.state != "history"
    }
    found: dict[int, int] = {}
    for index in sorted(candidates, key=lambda i: (order(findings[i], False, stack), i)):
        roots = sorted(
            candidates[index],
            key=lambda other: (bool(candidates[other]), order(findings[other], False, stack), other),
        )
        for root in roots:
            if not _leads_to(root, index, found):
                found[index] = root
                break
    return found


def _leads_to(start: int, goal: int, found: Mapping[int, int]) -> bool:
    """Whether following the explanations from ``start`` arrives at ``goal``."""
    while start in found:
        start = found[start]
        if start == goal:
            return True
    return start == goal


def explains(cause: Finding, finding: Finding, stack: Stack, courses: Courses) -> bool:
    """Whether the rule of ``cause`` predicts ``finding``, for every service that it is about."""
    rule = RULES.get(cause.code)
    if rule is None or cause.state == "history" or not finding.services:
        return False
    return any(
        all(_reaches(prediction, cause, finding, label, stack, courses) for label in finding.services)
        for prediction in rule.predicts
        if finding.code in prediction.codes
    )


def without_echoes(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings without those that only repeat the words of a log which another one, by a rule that looked
    at the thing itself, quotes as its own proof: one thing is told once."""
    return tuple(
        finding
        for finding in findings
        if finding.code != WORDS
        or not any(
            set(finding.services) <= set(other.services) and set() < _lines(finding) <= _lines(other)
            for other in findings
            if other.code != WORDS and other.state != "history" and RULES[other.code].step
        )
    )


def _lines(finding: Finding) -> set[tuple[str, str]]:
    """The lines of logs that a finding quotes: the log, and the line's text."""
    return {
        (proof.section, line.strip())
        for proof in finding.proof
        if proof.section.startswith("logs/")
        for line in proof.text.split("\n")[-1:]
    }


def _reaches(
    prediction: Prediction,
    cause: Finding,
    finding: Finding,
    label: str,
    stack: Stack,
    courses: Courses,
) -> bool:
    """Whether a prediction of ``cause`` is about this service, and its last life ended as predicted."""
    if prediction.on == "itself":
        if cause.service_states.get(label, cause.state) != "active" or label not in cause.services:
            return False
    elif prediction.on == "users" and not any(leads_to(stack, label, owner) for owner in cause.services):
        return False
    if prediction.when is not None and not prediction.when(cause, finding, stack, label):
        return False
    return not prediction.exits or courses.of(label).last_exit in prediction.exits


def leads_to(stack: Stack, label: str, owner: str) -> bool:
    """Whether a URL of one service leads to the container of another."""
    service = stack.get(label)
    if service is None or label == owner:
        return False
    return any(
        stack.resolve(label, host, port).owner == owner
        for url in service.urls
        if url.used or url.purpose == "database"
        for host, port in url.parsed.hosts
    )


# --- Order --------------------------------------------------------------------------------------------------


def stopped_by(index: int, findings: Sequence[Finding], explained: Mapping[int, int]) -> frozenset[str]:
    """The services that a finding stops now, by itself and by all that it explains."""
    found = {
        label
        for label in findings[index].services
        if findings[index].service_states.get(label, findings[index].state) == "active"
    }
    for other, cause in explained.items():
        if cause == index:
            found |= stopped_by(other, findings, explained)
    return frozenset(found)


def order(finding: Finding, explained: bool, stack: Stack, stopped: Collection[str] = ()) -> tuple:
    """The place of a finding in the diagnosis. Active causes: how many services each stops now, then how many
    it is about, then its place in the start; latent ones: their place in the start. Ties: code, object,
    services."""
    rule = RULES.get(finding.code)
    group = (
        3 if finding.state == "history" else 2 if finding.severity not in CAUSES else 1 if explained else 0
    )
    step = rule.step_of(finding.name) if rule else ""
    places = [place(step, stack.get(label)) for label in finding.services] if step else []
    first = min(places, default=99)
    tail = (finding.code, finding.object, finding.services)
    weight = ("critical", "warning", "notice").index(finding.severity)
    if finding.state == "active":
        return (group, 0, weight, -len(stopped), -len(finding.services), first, *tail)
    return (group, 1, weight, first, -len(finding.services), 0, *tail)
