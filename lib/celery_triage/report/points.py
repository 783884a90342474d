"""The verification list: what each service is seen to do after the cure, each point proven or not, and how.

A point that the evidence does not show is "not proven", never left out: an old log line is no proof where the
worker was asked a moment ago and did not answer. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from celery_triage.checks.course import Course, Courses
from celery_triage.core import answered
from celery_triage.lives import Life, seconds_of
from celery_triage.model import Evidence
from celery_triage.report.lived import Lived
from celery_triage.show import units
from celery_triage.stack import Service, Stack

_SENDING = re.compile(r"Scheduler: Sending due task \S+ \(([\w.\-]{1,200})\)")
#: A worker's connection that waits for work asks anew at least once a second (kombu's ``brpop_timeout``).
IDLE_S = 5
#: Characters of a quotation.
QUOTED = 160


@dataclass(frozen=True)
class Point:
    """One point of the list; ``what`` follows "it". ``needed``: without it nothing may be called resolved;
    ``life``: it says the same as the service's proof of life. What ``why`` quotes stands in back ticks."""

    service: str
    what: str
    proven: bool
    why: str
    needed: bool = False
    life: bool = False


def points(evidence: Evidence, stack: Stack, courses: Courses, stands: Iterable[Lived]) -> tuple[Point, ...]:
    """The points of every service of the target, in the order of its services."""
    by_label = {lived.label: lived for lived in stands}
    found: list[Point] = []
    for service in stack.members:
        lived = by_label.get(service.label)
        if lived is not None and lived.became != "as_before":
            found += _of_service(evidence, stack, courses, service, lived)
    return tuple(found)


def _of_service(
    evidence: Evidence, stack: Stack, courses: Courses, service: Service, lived: Lived
) -> Iterator[Point]:
    label, course = service.label, courses.of(service.label)
    yield Point(label, "runs, and has outlived what ended it", lived.became == "proven", lived.why, life=True)
    check, health = service.item.get("healthcheck"), service.latest.get("health") or {}
    if check:
        status = health.get("status") or "not known"
        yield Point(
            label, "passes its health check", status == "healthy", f"Docker says: {status}", life=True
        )
    life = course.lives[-1] if course.lives else None
    if life is None or not life.running or not service.is_celery:
        return
    if (broker := service.url("broker")) is not None and broker.parsed.networked and service.role != "flower":
        yield _step(course, life, "broker", f"reaches its broker {broker.parsed.server}")
    result = service.url("result")
    if result is not None and result.parsed.family == "sql" and service.role != "flower":
        where = f"{result.parsed.server}/{result.parsed.database or ''}"
        yield _step(course, life, "database", f"reaches its result database {where}")
    if service.role == "worker":
        proven, why = takes_work(evidence, service, course, life)
        yield Point(label, f"takes work from {units.listed(service.queues)}", proven, why, needed=True)
    elif service.role == "beat":
        yield _step(course, life, "consuming", "sends what is due")
        yield _delivered(evidence, stack, courses, service, life)
    elif service.role == "flower":
        yield _serves(evidence, course, life)


def _step(course: Course, life: Life, step: str, what: str) -> Point:
    """Whether the present life is proven to have got past a step of its start."""
    if not course.got(life, step):
        return Point(course.label, what, False, "neither its log nor an answer of it shows that")
    outlived = "it has lived longer than a start that fails"
    place, words = course.reached(life).proofs.get(step, (None, outlived))
    return Point(course.label, what, True, _quoted(course, life, place, words))


def _quoted(course: Course, life: Life, place: int | None, words: str) -> str:
    if place is None or life.first_line is None:
        return words
    return quotation(course.label, life.first_line + place - 1, words)


def quotation(label: str, line: int, words: str) -> str:
    """A line of a log as the reason of a point."""
    words = words.strip().replace("`", "'")
    return f"logs/{label}, line {line}: `{words if len(words) <= QUOTED else words[:QUOTED] + ' …'}`"


def takes_work(evidence: Evidence, service: Service, course: Course, life: Life) -> tuple[bool, str]:
    """Whether a worker is seen to take work now, and the sentence how that is known."""
    label = service.label
    asked = [
        (broker, reply)
        for broker in (evidence.data("celery") or {}).get("brokers") or ()
        if label in (broker.get("services") or ()) and broker.get("asked") is not None
        for reply in _replies(broker, label)
    ]
    heard = [reply for _, reply in asked if reply]
    if heard:
        consumed = heard[0].get("active_queues")
        known = consumed if isinstance(consumed, list) else service.queues
        lacking = [name for name in service.queues if name not in known]
        if lacking:
            return False, f"it answered a ping, and does not consume {units.listed(lacking)}"
        return True, f"it answered a ping in {_number(heard[0].get('ms'), 0):.0f} ms"
    if label in answered(evidence):
        return True, "it answered a ping"
    if asked:
        return False, f"it did not answer a ping ({asked[0][0].get('why') or 'no reply came'})"
    for server in (evidence.data("redis") or {}).get("servers") or ():
        for client in _objects(server.get("consumers")):
            waits = client.get("label") == label and client.get("command") in ("brpop", "blpop")
            if waits and _number(client.get("idle_s"), IDLE_S + 1) <= IDLE_S:
                return True, f"a connection of it waits for work at {server.get('key')}"
    if course.reached(life).has("consuming"):
        place, words = course.reached(life).proofs["consuming"]
        return True, f"{_quoted(course, life, place, words)} (it was not asked now)"
    return False, "it was not asked, and its log does not show that it is ready"


def _replies(broker: Mapping[str, Any], label: str) -> list[Mapping[str, Any] | None]:
    replies = (broker.get("replies") or {}).values()
    return [reply for reply in replies if reply and reply.get("label") == label] or [None]


def _delivered(evidence: Evidence, stack: Stack, courses: Courses, beat: Service, life: Life) -> Point:
    """Whether a worker was seen to take a task of a name that beat's present life sent, after it was sent."""
    what = "has its tasks taken by a worker"
    sent: dict[str, float] = {}
    for line in courses.of(beat.label).lines(life):
        if (found := _SENDING.search(line[2][:600])) and (at := seconds_of(line[0])) is not None:
            sent.setdefault(found[1], at)
    if not sent:
        return Point(beat.label, what, False, "its log does not show that it sent a task")
    for worker in stack.workers:
        lines = (evidence.data(f"logs/{worker.label}") or {}).get("lines") or ()
        for number, line in reversed(list(enumerate(lines, 1))):
            name = next((name for name in sent if f"Task {name}[" in line[2][:600]), None)
            if name is not None and (seconds_of(line[0]) or 0.0) >= sent[name] - 1:
                return Point(beat.label, what, True, quotation(worker.label, number, line[2]))
    names = units.listed(sorted(sent), 3)
    return Point(beat.label, what, False, f"no worker's log shows that it took {names}")


def _serves(evidence: Evidence, course: Course, life: Life) -> Point:
    http = evidence.data("http")
    for endpoint in _objects(http.get("endpoints") if isinstance(http, dict) else None):
        if endpoint.get("label") == course.label and endpoint.get("purpose") == "flower":
            code = _number(endpoint.get("code"), 0)
            told = f"it answered with {code:g}" if code else str(endpoint.get("why") or "it did not answer")
            return Point(course.label, "answers over HTTP", 200 <= code < 400 or code == 401, told)
    return _step(course, life, "app", "has started its server")


def _objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list of somebody's bundle."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _number(value: Any, otherwise: float) -> float:
    return value if isinstance(value, (int, float)) else otherwise


__all__ = ["Point", "points", "takes_work"]
