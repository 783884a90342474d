"""What beat sends, and nobody does: to a queue without a worker, or a task that no worker knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.beat.schedule import Beat, Entry
from celery_triage.checks.beat.ticking import beats_of
from celery_triage.checks.connections.shared import similar
from celery_triage.checks.queues.consumers import let_consume
from celery_triage.checks.queues.shared import (
    consumed_by,
    count,
    depth_command,
    replies_of,
    steady,
    taken_on,
    waiting_in,
)
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.servers import brokers, labels_of, section_of
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive
from celery_triage.stack import Service

#: So many task names of one worker are kept at most (``collect/control``): then there may be more.
MOST_NAMES = 1000


@check(
    "BEA004",
    "beat-wrong-queue",
    severity="critical",
    needs=("containers", "celery", "redis"),
    uses=("rabbitmq", "results", "compose", "logs/*", "events", "files/*"),
    step="consuming",
    predicts=(Prediction(("BRK003",)),),
)
def beat_wrong_queue(look: Look) -> Iterator[Finding]:
    """Beat sends to a queue that nobody reads.

    ## What
    An entry of the schedule names a queue, by its options or by a route for its task, and no worker on that
    broker takes from it, by its own answer or by its command. Where tasks wait in it, that is what happened;
    where none does, it is what will.

    ## Why
    Beat ticks, the broker takes everything, the workers are healthy and idle; what is scheduled is never
    done, and the queue only grows.

    ## Looks like
    `Scheduler: Sending due task …` in the log of beat, and nothing in that of any worker.

    ## Confirm
    `docker exec REDIS redis-cli llen QUEUE` grows; `celery -A APP inspect active_queues` does not show it.

    ## Do
    If the queue is meant, let a worker consume it (`--queues`); if not, correct the schedule or the route.
    Tasks that have waited may be out of date: look before they are all run at once.

    ## False alarms
    A worker that is started only at times: an entry whose queue is empty is only a warning. A worker of
    another machine that does not answer leaves it unknown.
    """
    found = beats_of(look)
    for server in brokers(look):
        taken, why = taken_on(look, server)
        depths = waiting_in(server)
        wrong: dict[str, list[tuple[Beat, Entry]]] = {}
        for beat in found:
            if beat.label not in labels_of(server):
                continue
            if server.get("status") != "ok":
                look.note(section_of(server), f"{server['key']}: {server.get('why')}")
            elif beat.entries is None:
                look.note("celery", beat.unknown)
            for entry in beat.entries or () if server.get("status") == "ok" else ():
                # What was sent and waits no more has found somebody.
                gone = beat.sent_at(entry) is not None and not depths.get(entry.queue)
                if entry.queue and entry.queue not in taken and not gone:
                    wrong.setdefault(entry.queue, []).append((beat, entry))
        for queue, pairs in sorted(wrong.items()):
            if why:
                look.note(section_of(server), f"{server['key']}: the schedule names {queue}, and {why}")
            else:
                yield _wrong_queue(look, server, queue, pairs, depths.get(queue) or 0)


def _wrong_queue(
    look: Look, server: Mapping[str, Any], queue: str, pairs: Sequence[tuple[Beat, Entry]], depth: int
) -> Finding:
    labels = list(dict.fromkeys(beat.label for beat, _ in pairs))
    names = list(dict.fromkeys(entry.name for _, entry in pairs))
    beat = pairs[0][0]
    proof = [
        Proof("celery", f"{beat.teller} knows the schedule: {entry.name} sends {entry.task} to {queue}")
        for _, entry in pairs[:3]
    ]
    if beat.sent and (last := next((one for one in reversed(beat.sent) if one[1] in names), None)):
        line = beat.course.lines(beat.life)[last[3] - (beat.life.first_line or 1)]
        proof.append(Proof(f"logs/{beat.label}", line[2], last[3], line[0] or None))
    if depth:
        told = f"{server['key']}: {count(depth)} in {queue}"
        told += ", in each of two samples" if steady(server, queue) else ""
        proof.append(Proof(section_of(server), told))
    users = _users(look, server)
    for worker, queues in users.items():
        proof.append(Proof("celery", f"{worker} consumes {', '.join(queues)}"))
    waits = f"; {count(depth)} {'waits' if depth == 1 else 'wait'} there" if depth else ""
    return look.finding(
        f"{listed(labels)} {verb(labels, 'sends', 'send')} {listed(names, 3)} to the queue {queue}, which no "
        f"worker consumes{waits}",
        services=tuple(labels),
        severity="critical" if depth else "warning",
        object=queue,
        certainty="confirmed" if depth else "inferred",
        proof=proof,
        remedy=_remedy(look, beat, queue, pairs[0][1], users),
        verify=(depth_command(look, server, queue), *alive([pair[0].service for pair in pairs])),
    )


def _users(look: Look, server: Mapping[str, Any]) -> dict[str, list[str]]:
    """The workers of a broker, each with the queues that it takes from."""
    replies = replies_of(look)
    workers = [one for one in look.members if one.role == "worker" and one.label in labels_of(server)]
    return {one.label: consumed_by(one, replies.get(one.label)) or [] for one in workers}


def _meant(look: Look, beat: Beat, queue: str, task: str, users: Mapping[str, list[str]]) -> Service | None:
    """The worker that may be meant: the one whose queue is called almost like it, the only one that knows the
    task, the one that takes from the default queue."""
    near = {name: worker for worker, queues in users.items() for name in queues}
    replies = replies_of(look)
    knows = [one for one in users if task in ((replies.get(one) or {}).get("registered") or ())]
    default = [one for one in knows if beat.conf.get("task_default_queue") in users[one]]
    names = similar(queue, near)
    chosen = [near[names[0]]] if names else knows if len(knows) == 1 else default
    return look.stack.get(chosen[0]) if len(chosen) == 1 else None


def _remedy(
    look: Look, beat: Beat, queue: str, entry: Entry, users: Mapping[str, list[str]]
) -> Remedy:
    meant = _meant(look, beat, queue, entry.task, users)
    last = users[meant.label][-1:] if meant is not None else []
    return Remedy(
        "choice",
        f"A worker has to consume {queue}, or the schedule has to send elsewhere.",
        question=f"Is {queue} the queue where {entry.task} belongs?",
        options=(
            let_consume(look, queue, entry.task, meant, last),
            Option(
                "correct the schedule",
                f"Name another queue in the entry {entry.name} of beat_schedule (or in task_routes), build "
                f"the image anew and start beat and workers with it. What waits in {queue} stays there "
                f"until somebody consumes or deletes it.",
            ),
        ),
        risk="All that waits is run at once, also what is out of date by now.",
    )


@check(
    "BEA006",
    "scheduled-task-unregistered",
    severity="critical",
    needs=("containers", "celery"),
    uses=("results", "redis", "logs/*", "events", "files/*"),
    step="consuming",
)
def scheduled_task_unregistered(look: Look) -> Iterator[Finding]:
    """The schedule names a task that no worker knows which takes from its queue.

    ## What
    Every worker that takes from the queue of an entry (from any queue, where that of the entry is not known)
    has told which tasks it has registered, and the name is not among them.

    ## Why
    Such a worker throws the message away with an error in its log. What is scheduled is never done.

    ## Looks like
    `Received unregistered task of type 'app.tasks.nightly'.` in the log of a worker.

    ## Confirm
    `celery -A APP inspect registered`.

    ## Do
    Correct the name in the schedule, or let the worker import the module that holds the task (`include`,
    `imports`, `autodiscover_tasks`), and start beat and workers with it.

    ## False alarms
    Tasks of Celery itself are in no such list and are not judged. A worker that has not answered leaves it
    unknown.
    """
    replies = replies_of(look)
    for beat in beats_of(look):
        if beat.entries is None:
            look.note("celery", beat.unknown)
            continue
        for entry in beat.entries:
            takers = _takers(look, beat, entry)
            if takers is None:
                look.note("celery", f"not all who may take {entry.name} of {beat.label} have answered")
            elif takers and not entry.task.startswith("celery."):
                known = {name for label in takers for name in replies[label]["registered"]}
                if entry.task not in known:
                    yield _unregistered(look, beat, entry, takers, sorted(known))


def _takers(look: Look, beat: Beat, entry: Entry) -> list[str] | None:
    """The workers that take an entry, all of whose tasks are known; None where one has not told them all."""
    replies, found = replies_of(look), []
    for server in (look.data("celery") or {}).get("brokers") or ():
        told = [one for one in (server.get("replies") or {}).values() if one]
        if (replies.get(beat.teller) or {}) not in told:
            continue
        silent = {one.label for one in look.stack.workers} - {one.get("label") for one in told}
        # One that is down may be the one that knows it, where its queue is not known.
        if (silent and not entry.queue) or len(told) < (server.get("asked") or 0):
            return None
        for reply in told:
            if entry.queue and entry.queue not in (reply.get("active_queues") or [entry.queue]):
                continue
            names = reply.get("registered")
            if names is None or len(names) >= MOST_NAMES or not reply.get("label"):
                return None
            found.append(reply["label"])
    return sorted(found)


def _unregistered(
    look: Look, beat: Beat, entry: Entry, takers: Sequence[str], known: Sequence[str]
) -> Finding:
    said = [
        Proof(f"logs/{label}", line[2], place, line[0] or None)
        for label in takers
        if (worker := look.stack.get(label)) is not None
        and (course := look.course(worker)).lives
        for place, line in enumerate(course.lines(course.lives[-1]), course.lives[-1].first_line or 1)
        if f"Received unregistered task of type '{entry.task}'" in line[2]
    ]
    proof = [
        Proof("celery", f"{beat.teller} knows the schedule: {entry.name} sends {entry.task}"),
        Proof("celery", f"not registered in {listed(list(takers))}"),
    ]
    near = similar(entry.task, known)
    hint = f"; {near[0]} is known" if near else ""
    return look.finding(
        f"{beat.label} sends {entry.name}, and no worker that takes it knows the task {entry.task}{hint}",
        services=(beat.label,),
        severity="critical" if said else "warning",
        object=entry.task,
        certainty="confirmed" if said else "inferred",
        proof=[*proof, *said[-1:]],
        remedy=Remedy(
            "manual",
            f"Correct the name in the schedule ({f'is {near[0]} meant?' if near else entry.name}), or let "
            f"{listed(list(takers))} import the module that holds {entry.task}; then start beat and workers "
            "with it.",
        ),
        verify=alive([one for label in takers if (one := look.stack.get(label))]),
    )
