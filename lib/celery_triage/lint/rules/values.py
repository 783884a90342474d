"""Values that Compose or the Docker Engine cannot read, each measured with Compose 2.26.1."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from celery_triage.checks.words import shown
from celery_triage.lint import variables
from celery_triage.lint.merging import names
from celery_triage.lint.reading import Node
from celery_triage.lint.subject import Subject

#: What is told of one value: whose it is, the property, where it stands, why, the fix, the severity.
Told = Iterator[tuple[str, str, Node, str, str, str]]
_HEALTHCHECK = frozenset("test interval timeout retries start_period start_interval disable".split())
_CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?|true|false", re.I)
_PULL = ("always", "never", "if_not_present", "build", "missing", "daily", "weekly")
_SIZES = ("mem_limit", "mem_reservation", "memswap_limit", "shm_size")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
#: Compose takes any text, and the Docker Engine refuses the container.
_RESTART = re.compile(r"no|always|unless-stopped|on-failure(?::\d+)?")


def told_of(subject: Subject, name: str, node: Node) -> Told:
    """All of one service."""
    yield from _values(subject, name, node)
    yield from _ports(subject, name, node)
    yield from _depends(subject, name, node)
    yield from _check(subject, name, node)
    yield from _restart(subject, name, node)


def kind_of(node: Node) -> str:
    """``text``, ``number``, ``truth value``, ``list`` or ``mapping``; empty for what is empty."""
    if isinstance(node.value, dict):
        return "mapping"
    if isinstance(node.value, list):
        return "list"
    if node.value is None:
        return ""
    if not node.plain or not _NUMBER.fullmatch(node.value):
        return "text"
    return "number" if node.value[-1:].isdigit() else "truth value"


def unknown_key(name: str, key: str, value: Node, known: frozenset[str], below: str) -> Told:
    """A property that is not among the known ones: a misspelt one, or one that is new."""
    if key in known or key.startswith("x-") or variables.unknown(key) or "$" in key:
        return
    close = get_close_matches(key.lower().replace("-", "_"), sorted(known), 1, 0.8)
    why = f"there is no property {below}{shown(key, 40)}"
    if close:
        yield name, key, value, why, f"Write {close[0]}.", "critical"
    else:
        fix = "Take it out, or name it x-… for your own use."
        yield name, key, value, f"{why} in Compose 2.26", fix, "warning"


def _values(subject: Subject, name: str, node: Node) -> Told:
    """Values that Compose cannot read, each measured with Compose 2.26.1."""
    text = subject.project.text
    if not _NAME.fullmatch(name) and not variables.unknown(name):
        why = "a service's name has only letters, digits, dots, hyphens and underscores"
        yield name, "services", node, why, "Give it another name.", "critical"
    pull = text(node.get("pull_policy")) or ""
    if (
        pull
        and "$" not in pull
        and not variables.unknown(pull)
        and pull not in _PULL
        and "every_" not in pull
    ):
        fix = f"One of: {', '.join(_PULL[:5])}."
        yield name, "pull_policy", node.get("pull_policy") or node, f"there is no {pull}", fix, "critical"
    for key in _SIZES:
        told = text(node.get(key)) or ""
        if told and not variables.unknown(told) and not re.match(r"-?\d", told):
            why = f"{key} is no size ({shown(told, 30)})"
            yield name, key, node.get(key) or node, why, "Write a number with k, m or g.", "critical"
    retries = node.get("healthcheck", "retries")
    told = text(retries) or ""
    if retries is not None and told and not variables.unknown(told) and not told.isdigit():
        why = "healthcheck.retries is no number"
        yield name, "retries", retries, why, "Write a number.", "critical"


def _restart(subject: Subject, name: str, node: Node) -> Told:
    restart = subject.project.text(node.get("restart")) or ""
    judged = kind_of(node.get("restart") or Node(None, "", 0)) == "text" and not variables.unknown(restart)
    if judged and not _RESTART.fullmatch(restart):
        why = f"there is no restart policy {shown(restart, 30)}"
        fix = "One of: no, always, unless-stopped, on-failure."
        yield name, "restart", node.get("restart") or node, why, fix, "critical"


def _ports(subject: Subject, name: str, node: Node) -> Told:
    """Ports in the short syntax that are no numbers from 0 to 65535, or ranges that run backwards."""
    for item in (node.get("ports") or Node(None, "", 0)).items():
        text = subject.project.text(item) or ""
        if variables.unknown(text) or "$" in text:
            continue
        for part in text.partition("/")[0].split("]:")[-1].split(":")[-2:]:
            ends = part.split("-")
            numbers = [int(end) for end in ends if end.isdigit()]
            address = "." in part or not part
            if address or (
                len(numbers) == len(ends) <= 2 and numbers == sorted(numbers) and numbers[-1] < 65536
            ):
                continue
            yield name, "ports", item, f"{shown(part, 30)} is no port", "Write HOST:CONTAINER.", "critical"


def _depends(subject: Subject, name: str, node: Node) -> Told:
    depends = node.get("depends_on")
    for other, at in (depends.pairs() if depends is not None else {}).items():
        if at.value is not None and not isinstance(at.value, dict):
            fix = f"Write {other}: and below it condition: service_healthy."
            yield name, "depends_on", at, f"depends_on.{other} is no mapping", fix, "critical"
        condition = subject.project.text(at.get("condition"))
        if condition and not variables.unknown(condition) and condition not in _CONDITIONS:
            fix = f"One of: {', '.join(_CONDITIONS)}."
            yield name, "condition", at, f"there is no condition {shown(condition, 30)}", fix, "critical"


def _check(subject: Subject, name: str, node: Node) -> Told:
    check = node.get("healthcheck")
    for key, value in (check.pairs() if check is not None else {}).items():
        yield from unknown_key(name, key, value, _HEALTHCHECK, "healthcheck.")
        if key in ("interval", "timeout", "start_period", "start_interval") and kind_of(value) == "number":
            fix = f"Write {key}: {value.text}s."
            yield name, key, value, f"healthcheck.{key} is a number without a unit", fix, "critical"
    test = check.get("test") if check is not None else None
    if test is not None and isinstance(test.value, list) and test.value:
        first = subject.project.text(test.value[0]) or ""
        if first not in ("CMD", "CMD-SHELL", "NONE") and not variables.unknown(first):
            why = f"the list of healthcheck.test begins with {shown(first, 30)}"
            yield name, "test", test, why, "Begin the list with CMD or CMD-SHELL.", "critical"


def circle(subject: Subject) -> Told:
    """Services that wait for each other in a circle, each circle once."""
    waits = {name: names(node.get("depends_on")) for name, node in subject.project.services.items()}
    left = {name: [other for other in told if other in waits] for name, told in waits.items()}
    while found := _circle_in(left):
        first = min(found, key=list(waits).index)
        at = found.index(first)
        ring = [*found[at:], *found[:at], first]
        why = f"depends_on makes a circle ({' → '.join(ring)})"
        yield first, "depends_on", waits[ring[-2]][first], why, "Take one of them away.", "critical"
        left = {
            name: [other for other in told if other not in found]
            for name, told in left.items()
            if name not in found
        }


def _circle_in(waits: Mapping[str, Sequence[str]]) -> list[str]:
    """One circle, each member waiting for the next; empty where there is none."""
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        return error.args[1][:0:-1]  # it names what is waited for first, and the first member twice
    return []
