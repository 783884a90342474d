"""What RabbitMQ closes a channel for: a queue declared otherwise, a QoS that it does not know, no
acknowledgement in time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.connections.shared import DEATHS
from celery_triage.checks.rabbitmq.shared import asked, ctl
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, restart
from celery_triage.signatures import Match
from celery_triage.stack import Service

#: A life that is younger than twice RabbitMQ's time-out and this (seconds; RabbitMQ looks once a minute) has
#: not outdone what the one before it died of: the next message may already be held too long.
YOUNG_S = 60.0
#: What RabbitMQ says of a queue that is there with other properties (3.10.8 and 4.0).
OTHERWISE = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?P<kind>queue|exchange) '(?P<thing>[^']+)' in vhost "
    r"'[^']*': received (?P<wants>none|'[^']*'|the value '[^']*'|\S+)(?: of type '\w+')? but current is "
    r"(?P<has>none|'[^']*'|the value '[^']*'|[^\s,]+)"
)


def _said(look: Look, services: list[Service]) -> dict[str, list[Service]]:
    """What the services say of the rule now, by its object."""
    found: dict[str, list[Service]] = {}
    for service in services:
        look.section(f"logs/{service.label}")
        for said in look.seen(service).says():
            told = found.setdefault(said.object, [])
            if service not in told:
                told.append(service)
    return found


@check(
    "BRK008",
    "queue-declared-otherwise",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("rabbitmq", "events", "files/*"),
    step="consuming",
    predicts=DEATHS,
)
def declared_otherwise(look: Look) -> Iterator[Finding]:
    """A queue or exchange exists in RabbitMQ with other properties than the service declares it with.

    ## What
    RabbitMQ refused a declaration, and the service says so in its log: the name, the argument, what it wanted
    and what is there. What RabbitMQ's API says of that queue now is held beside it.

    ## Why
    The properties of a queue never change. RabbitMQ closes the channel, and the worker cannot consume.

    ## Looks like
    `(406) PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue 'mail' in vhost '/': received
    none but current is the value '10' of type 'signedint'`.

    ## Confirm
    `docker exec RABBITMQ rabbitmqctl list_queues -p VHOST name durable auto_delete arguments`.

    ## Do
    Let all declare it alike (`task_queues`, `task_queue_max_priority`, `task_default_queue_type`), or delete
    the queue once it is empty and let it be declared anew.

    ## False alarms
    Somebody who has deleted the queue meanwhile: then the service's next try succeeds, and nothing is told.
    """
    for server, owner, services in asked(look):
        for thing, told in _said(look, services).items():
            yield _declared_otherwise(look, server, owner, thing, told)
    yield from healed(look)


def _declared_otherwise(
    look: Look, server: Mapping[str, Any], owner: Service | None, thing: str, services: list[Service]
) -> Finding:
    names = listed([one.label for one in services])
    proof = [one for service in services for one in look.seen(service).proof(thing)]
    said = next((found for one in proof if (found := OTHERWISE.search(one.text))), None)
    facts = (server.get("queue_facts") or {}).get(thing)
    kind = said["kind"] if said else "queue"
    how = f": {said['argument']} is {_plain(said['has'])}, and {names} {verb(services, 'wants', 'want')} " \
          f"{_plain(said['wants'])}" if said else ""
    if facts:
        arguments = ", ".join(f"{name} {value}" for name, value in (facts.get("arguments") or {}).items())
        flags = [name for name in ("durable", "auto_delete", "exclusive") if facts.get(name)]
        shown = "; ".join(filter(None, (facts.get("type"), ", ".join(flags), arguments)))
        proof.insert(0, Proof("rabbitmq", f"{server['key']}: the queue {thing} is there: {shown}"))
    vhost = str(server.get("vhost") or "/")
    delete: tuple[str, ...] = ()
    if owner is not None and kind == "queue":
        delete = (ctl(owner, "delete_queue", "-p", vhost, thing, "--if-empty"), *restart(services))
    depth = [depths[thing] for one in (server.get("samples") or ())[-1:]
             if thing in (depths := one.get("queues") or {})]
    full = f" {depth[0]} tasks wait in it: they have to be taken first." if depth and depth[0] else ""
    return look.finding(
        f"{names} cannot consume: the {kind} {thing} exists with other properties{how}",
        services=tuple(one.label for one in services),
        object=thing,
        certainty="confirmed" if facts else "reported",
        proof=proof,
        verify=alive(services),
        remedy=Remedy(
            "choice", f"All that use {thing} have to declare it alike.",
            question=f"Which declaration of {thing} is the right one?",
            options=(
                Option("delete it", f"That of {names}: delete the {kind} and let it be declared anew.{full}",
                       commands=delete),
                Option("declare it as it is", f"The one that is there: give {names} the same properties "
                       "(task_queues, task_queue_max_priority, task_default_queue_type), and build the image "
                       "anew."),
            ),
            risk=f"Whoever declares {thing} the other way fails next; a queue that is deleted is gone with "
                 "its messages (an occupied one is refused here)."))


def _plain(words: str) -> str:
    return words.removeprefix("the value ").strip("'")


@check(
    "BRK009",
    "quorum-global-qos",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("rabbitmq", "events", "files/*"),
    step="consuming",
    predicts=DEATHS,
)
def quorum_global_qos(look: Look) -> Iterator[Finding]:
    """A worker asks for a prefetch for the whole channel, and its queue is a quorum queue, which has none.

    ## What
    The service says in its log that RabbitMQ refused to let it consume. What RabbitMQ's API says of the type
    of that queue is held beside it.

    ## Why
    Celery before 5.5 sets its prefetch globally, always; later versions ask each queue for its type first
    (`worker_detect_quorum_queues`).

    ## Looks like
    `(540) NOT_IMPLEMENTED - queue 'mail' in vhost '/' does not support global qos`.

    ## Confirm
    `docker exec RABBITMQ rabbitmqctl list_queues -p VHOST name type`.

    ## Do
    Celery 5.5 or later with `worker_detect_quorum_queues` left on, or a classic queue.

    ## False alarms
    Only the worker's own words are taken, so none is known.
    """
    for server, _, services in asked(look):
        for thing, told in _said(look, services).items():
            facts = (server.get("queue_facts") or {}).get(thing) or {}
            proof = [one for service in told for one in look.seen(service).proof(thing)]
            if facts.get("type"):
                proof.insert(0, Proof("rabbitmq", f"{server['key']}: {thing} is a {facts['type']} queue"))
            names = listed([one.label for one in told])
            yield look.finding(
                f"{names} cannot consume {thing or 'its queue'}: a quorum queue has no global QoS",
                services=tuple(one.label for one in told),
                object=thing,
                certainty="confirmed" if facts.get("type") == "quorum" else "reported",
                proof=proof,
                verify=alive(told),
                remedy=Remedy(
                    "manual",
                    f"Give {names} Celery 5.5 or later with worker_detect_quorum_queues left on, or make the "
                    "queue anew as a classic one (it has to be empty)."))
    yield from healed(look)


@check(
    "BRK012",
    "acknowledgement-timeout",
    severity="critical",
    heals=False,
    needs=("containers", "logs/*"),
    uses=("rabbitmq", "events", "files/*"),
    step="consuming",
    predicts=(Prediction(("CTR001", "CTR003", "LOG001")),),
)
def acknowledgement_timeout(look: Look) -> Iterator[Finding]:
    """RabbitMQ closed a worker's channel, since a message was not acknowledged in time.

    ## What
    The present life of a worker says it in its log, or the one before it died of it (Celery 5.7 ends then),
    with the time-out that RabbitMQ used (`consumer_timeout`, 30 minutes unless set).

    ## Why
    With `task_acks_late` a message is acknowledged when its task has ended; a task that was fetched in
    advance, or has an ETA or a countdown, is held unacknowledged until its turn. RabbitMQ takes the message
    back and delivers it again: the task runs twice, or for ever.

    ## Looks like
    `(406) PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000
    ms.`, and the same task again later.

    ## Confirm
    `docker exec RABBITMQ rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'`, beside the
    longest task and ETA.

    ## Do
    Raise `consumer_timeout` above them (a file in RabbitMQ's `conf.d`, or from 3.12 on the queue's argument
    `x-consumer-timeout` or the policy `consumer-timeout`), make the tasks shorter, or acknowledge early.

    ## False alarms
    A single task that hung: it is told while that life of the worker goes on, and for twice the time-out
    of the next.
    """
    for _, owner, services in asked(look):
        for thing, told in _of_now(look, services).items():
            names = listed([one.label for one in told])
            config = f"in the configuration of {owner.label}" if owner else "of RabbitMQ"
            yield look.finding(
                f"{names}: RabbitMQ took a message back that was not acknowledged in time"
                + (f" ({thing})" if thing and thing != "consumer_timeout" else ""),
                services=tuple(one.label for one in told),
                object=thing,
                certainty="reported",
                proof=[look.course(one).proof(said) for one, said in told.items()],
                verify=alive(list(told)),
                remedy=Remedy(
                    "manual",
                    f"Raise consumer_timeout {config} above the longest task and the longest ETA, or make "
                    "the tasks shorter (task_time_limit), or acknowledge them early (task_acks_late off)."))


def _seconds(thing: str) -> float:
    """The time-out that a message names (``10000 ms``); RabbitMQ's own default where it names none."""
    number = thing.partition(" ")[0]
    return int(number) / 1000 if number.isdigit() else 1800.0


def _of_now(look: Look, services: list[Service]) -> dict[str, dict[Service, Match]]:
    """What each service said last of the rule, by its object: in its present life, for a worker that consumes
    again has not left this behind, or as the last words of the life before a present one that is young."""
    found: dict[str, dict[Service, Match]] = {}
    for service in services:
        look.section(f"logs/{service.label}")
        course = look.course(service)
        age = (course.lives[-1].seconds or 0.0) if course.lives else 0.0
        said = [one for life in course.lives[-2:-1] for one in course.matches(life)
                if one.context == "death" and age < 2 * _seconds(one.object) + YOUNG_S]
        said += course.matches(course.lives[-1]) if course.lives else ()
        for one in said:
            if one.code == look.rule.code and not one.harmless:
                found.setdefault(one.object, {})[service] = one
    return found
