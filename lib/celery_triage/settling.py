"""Which services are too young to be called well.

A service proves itself by living longer than Docker's back-off reset, than it ever lived before it died, and
than its health check needs to judge; a worker that got our ping also by an answer to it, or by words of its
own that it is ready. Ages are taken from the evidence, never from a clock here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from celery_triage.checks.course import Courses
from celery_triage.core import answered
from celery_triage.lives import UNBEGUN_S, age_of
from celery_triage.lives.unstarted import being_started
from celery_triage.model import Evidence
from celery_triage.stack import Service, Stack

#: Docker sets its restart back-off back to 100 ms after a life of this length (Engine 20.10 source, seconds).
BACK_OFF_RESET_S = 10.0


def settling(evidence: Evidence, troubled: Collection[str] = ()) -> tuple[str, ...]:
    """A sentence for each member of the target that has no cause of its own and is being started, or runs and
    is younger than its proof needs, with the seconds left. A service whose health check has not judged yet is
    among them although something is already known to be wrong with it: what Docker says of it now is not its
    last word."""
    stack, courses = Stack.of(evidence), Courses(evidence)
    asked = _asked(evidence, stack)
    found = []
    for service in stack.members:
        why = being_started(service, stack.by_compose_name, evidence.data("compose"))
        if why and service.label not in troubled:
            found.append(f"{service.label}: not started yet ({why})")
        if not service.running or (service.label in troubled and not _waits(service, courses)):
            continue
        age = age_of(service)
        needed, why = needs(service, courses)
        if service.label in asked and not courses.of(service.label).past("consuming") and needed < UNBEGUN_S:
            needed, why = UNBEGUN_S, "it has not answered a ping, nor said that it is ready"
        if age is not None and age < needed:
            found.append(f"{service.label}: {needed - age:.0f} s left of {needed:.0f} s ({why})")
    return tuple(found)


def _asked(evidence: Evidence, stack: Stack) -> frozenset[str]:
    """The workers whose broker got our ping and that did not answer it."""
    found: set[str] = set()
    for broker in (evidence.data("celery") or {}).get("brokers") or ():
        if broker.get("asked") is not None:
            found |= {worker.label for worker in stack.workers} & set(broker.get("services") or ())
    return frozenset(found - answered(evidence))


def _waits(service: Service, courses: Courses) -> bool:
    """Whether the first life of a service goes on and its health check has not judged it."""
    starting = (service.latest.get("health") or {}).get("status") == "starting"
    return starting and not any(
        life.failed or (life.exit_code == 0 and not life.asked) for life in courses.of(service.label).lives
    )


def needs(service: Service, courses: Courses) -> tuple[float, str]:
    """How many seconds of life prove that it stays, and why so many."""
    needed, why = BACK_OFF_RESET_S, "Docker's restart back-off starts anew after them"
    former = [
        life.seconds for life in courses.of(service.label).lives if life.failed and life.seconds is not None
    ]
    if former and max(former) >= needed:
        needed, why = max(former) + 1, f"a former life ended after {max(former):.0f} s"
    health = service.latest.get("health")
    check = service.item.get("healthcheck")
    if check and health and health.get("status") == "starting":
        judged = _judging(check)
        if judged > needed:
            needed, why = judged, "its health check has not judged yet"
    return needed, why


def _judging(check: Mapping[str, Any]) -> float:
    """Seconds after which a health check that never succeeds has said so."""
    grace, tries = check.get("start_period_s") or 0.0, check.get("retries") or 1
    return grace + tries * ((check.get("interval_s") or 0.0) + (check.get("timeout_s") or 0.0))
