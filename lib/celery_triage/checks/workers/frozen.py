"""Workers that run and answer nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.servers import asked_servers
from celery_triage.checks.words import lasted
from celery_triage.checks.workers.names import shared
from celery_triage.checks.workers.waiting import pool_of
from celery_triage.lives import UNBEGUN_S, age_of, reached, seconds_of
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, restart
from celery_triage.stack import Service

#: A worker's own wait for a task lasts a second (kombu 5.x ``BRPOP`` with time-out 1) and is then repeated:
#: one whose connection has said nothing for longer than this (seconds) does nothing, or has its hands full.
ASKS_WITHIN_S = 5
#: One whose log spoke within so many seconds is at work, if slowly: a worker of the lab with half a processor
#: that killed and made four pool processes at once after a hard time limit gave no answer for more than 4 s,
#: asked for nothing for more than 5 s, and was well.
SPOKE_WITHIN_S = 20.0
#: A worker without a log counts as started after this long (seconds).
STARTED_S = 120.0


@check(
    "WRK004",
    "worker-frozen",
    severity="critical",
    heals=False,
    needs=("containers", "celery"),
    uses=("redis", "rabbitmq", "logs/*", "events", "files/*"),
    step="consuming",
    also=("worker-not-started",),
)
def worker_frozen(look: Look) -> Iterator[Finding]:
    """A worker runs, is connected to the broker, and answers nothing.

    ## What
    Its container runs and its start was completed; its node is known to the broker; of the nodes that got our
    ping one more listens than has answered, and this worker is it. Its connection to the broker has not asked
    for a task for seconds either, which a worker with a free hand does every second. Where the container
    runs for minutes, the broker knows no such node and Celery has not said a word yet, the finding is called
    worker-not-started.

    ## Why
    Docker sees a process that lives and restarts nothing. Its tasks wait; those that it had taken are lost to
    everybody until it ends.

    ## Looks like
    Nothing: its log just stops. A main process that was stopped (SIGSTOP, a debugger, the freezer of its
    cgroup), that is deadlocked, or that waits for a disk or a lock for ever. One that never started says what
    its entrypoint waits for, or nothing at all.

    ## Confirm
    `celery -A APP inspect ping -d NODE` stays without a reply; `docker top CONTAINER -o pid,stat,wchan,cmd`
    shows the state: T is stopped, D waits for a device.

    ## Do
    Look at the state of its main process, so that the reason is not lost, then restart the container.

    ## False alarms
    A worker with `--pool=solo` runs tasks in its main process and cannot answer meanwhile: it is never
    reported (see WRK006), nor is one that shares its node name with another (WRK052), one that has begun its
    start and not yet finished it, nor one whose log spoke within the last 20 s: it may just be slow.
    """
    if not look.stack.workers and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no worker")
    section = look.section("celery")
    for broker in (section.data or {}).get("brokers") or () if section.readable else ():
        replies = broker.get("replies") or {}
        known = {reply.get("label") for reply in replies.values()}
        if broker.get("asked") is None:
            continue  # nobody could be asked; the section's own status says so
        for worker in look.members:
            if _asked(worker, broker) and worker.label not in known:
                yield from _judge(look, broker, worker, len(replies))


def _asked(worker: Service, broker: Mapping[str, Any]) -> bool:
    """Whether a worker that runs should have got the ping of this broker."""
    if worker.role != "worker" or not worker.running:
        return False
    if broker.get("services") is not None:
        return worker.label in broker["services"]
    url = worker.url("broker")
    return url is not None and url.parsed.server == broker.get("key")


def _judge(look: Look, broker: Mapping[str, Any], worker: Service, answered: int) -> Iterator[Finding]:
    label, course = worker.label, look.course(worker)
    server = _server(look, broker)
    if not (course.past("consuming") or (not course.readable and (age_of(worker) or 0) > STARTED_S)):
        if (lived := _unbegun(look, worker, server)) is not None:
            yield _not_started(look, broker, worker, lived)
        _unsure(look, f"{label} did not answer, and is not known to have finished its start")
        return
    if broker["asked"] <= answered or worker.nodename not in (server.get("nodes") or [worker.nodename]):
        _unsure(look, f"{label} did not answer, and is not known to listen")
        return
    if any(worker in workers for workers in shared(look).values()):
        _unsure(look, f"{label} shares its node name with another one, and so one reply stands for both")
        return
    if pool_of(worker) == "solo":
        _unsure(look, f"{label} did not answer: with the pool solo it cannot while a task runs")
        return
    waits = [
        one
        for one in server.get("consumers") or ()
        if one.get("label") == label and one.get("command") == "brpop" and one.get("idle_s") is not None
    ]
    if any(one.get("blocked") or one["idle_s"] < ASKS_WITHIN_S for one in waits):
        _unsure(look, f"{label} did not answer in time, and still asks the broker for tasks")
        return
    lines = course.lines(course.told) if course.told else ()
    spoke, now = seconds_of(lines[-1][0]) if lines else None, seconds_of(worker.latest.get("t"))
    if spoke is not None and now is not None and now - spoke < SPOKE_WITHIN_S:
        _unsure(look, f"{label} did not answer in time, and its log spoke {max(0.0, now - spoke):.0f} s ago")
        return
    proof = [
        Proof(
            "celery",
            f"{broker['key']}: {broker['asked']} nodes got the ping, {answered} answered; "
            f"{worker.nodename} did not",
        )
    ]
    for one in waits:
        proof.append(
            Proof(
                "redis", f"{label} ({one['address']}): its last question for a task was {one['idle_s']} s ago"
            )
        )
    if lines:
        proof.append(Proof(f"logs/{label}", lines[-1][2], None, lines[-1][0]))
    yield look.finding(
        f"{label} is alive and silent: it runs, listens to the broker, and answers no ping",
        services=(label,),
        object=label,
        certainty="confirmed" if waits else "inferred",
        proof=proof,
        remedy=Remedy(
            "exact",
            f"Look at its main process (docker top {worker.name} -o pid,stat,wchan,cmd: T is stopped, "
            "D waits for a device), then restart it.",
            commands=restart([worker]),
            risk="What it runs now ends after ten seconds; tasks that it had taken are only run again with "
            "task_acks_late.",
        ),
        verify=alive([worker]),
    )


def _unbegun(look: Look, worker: Service, server: Mapping[str, Any]) -> float | None:
    """How long (seconds) a worker's container runs without a sign of Celery in it; None where there is one,
    or where none could be seen: it is young, it is told to be quiet, the start of its log was not read."""
    course, lived = look.course(worker), age_of(worker) or 0.0
    nodes, log = server.get("nodes"), look.data(f"logs/{worker.label}") or {}
    quiet = worker.launch is not None and worker.launch.options.get("quiet")
    if not course.readable or log.get("cut") or quiet or nodes is None or worker.nodename in nodes:
        return None
    life = course.lives[-1] if course.lives else None
    if lived < UNBEGUN_S or life is None or not life.running:
        return None
    return None if reached(course.lines(life), "worker").proven else lived


def _not_started(look: Look, broker: Mapping[str, Any], worker: Service, lived: float) -> Finding:
    course = look.course(worker)
    proof = [Proof("celery", f"{broker['key']}: {worker.nodename} did not answer, and is no node that the "
                   "broker knows")]  # fmt: skip
    lines = course.lines(course.lives[-1])
    if lines:
        proof.append(Proof(f"logs/{worker.label}", lines[-1][2], None, lines[-1][0]))
    return look.finding(
        f"{worker.label} runs for {lasted(lived)}, and Celery has not started in it",
        name="worker-not-started",
        services=(worker.label,),
        object=worker.label,
        certainty="inferred",
        proof=proof,
        remedy=Remedy(
            "manual",
            f"See what it waits for: the end of its log, and what runs in it (docker top {worker.name}): a "
            "script that waits for a server, or an import that does not return.",
        ),
        verify=alive([worker]),
    )


def _unsure(look: Look, why: str) -> None:
    """Why it stays unknown: more exact than the section's own sentence, which names who did not answer."""
    look.missing["celery"] = why


def _server(look: Look, broker: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((server for server in asked_servers(look) if server.get("key") == broker.get("key")), {})

