"""Workers that are ready and take nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.registry import Look, NotApplicable, Prediction, check
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, restart
from celery_triage.stack import Service, Stack


def _waits_there(cause: Finding, finding: Finding, stack: Stack, label: str) -> bool:
    """Whether a queue that nobody reads is one that was taken from the worker."""
    return finding.object in cause.object.split(", ")


@check(
    "WRK005",
    "consumer-cancelled",
    severity="critical",
    heals=False,
    needs=("containers", "celery"),
    uses=("redis", "files/*", "logs/*", "events"),
    predicts=(Prediction(("BRK003",), on="anyone", when=_waits_there),),
)
def consumer_cancelled(look: Look) -> Iterator[Finding]:
    """A worker is ready, answers, and does not take from a queue that its command names.

    ## What
    Its own answer (`active_queues`) lacks a queue that stands behind `--queues` of its command, although it
    has finished its start: the consumer was taken from it while it ran.

    ## Why
    Its process lives, its health check is green, it answers every ping; tasks of that queue wait for ever. A
    `cancel_consumer` by remote control (a script before a deployment, Flower's button) lasts until the worker
    starts anew.

    ## Looks like
    Nothing; perhaps `Canceling queue 'email_processing'` in its log.

    ## Confirm
    `celery -A APP inspect active_queues -d NODE`.

    ## Do
    Give it the consumer back (`celery control add_consumer QUEUE -d NODE`), or start it anew.

    ## False alarms
    Somebody may have done it on purpose, to drain a worker. A worker of Celery's own `--exclude-queues`, or
    with queues that only its application names, is not judged.
    """
    if not look.stack.workers and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no worker")
    section = look.section("celery")
    for broker in (section.data or {}).get("brokers") or () if section.readable else ():
        for node, reply in sorted((broker.get("replies") or {}).items()):
            worker = look.stack.get(str((reply or {}).get("label") or ""))
            if worker is None or not worker.member or worker.role != "worker" or not worker.running:
                continue
            named = _named(worker)
            taken = reply.get("active_queues")
            if taken is None or not named or not look.course(worker).past("consuming"):
                continue
            lost = [queue for queue in named if queue not in taken]
            # With another name for each of its queues something else is going on: a prefix, a custom router.
            if lost and all(queue in named for queue in taken):
                yield _finding(look, worker, node, reply, lost)


def _named(worker: Service) -> list[str]:
    """The queues that the command of a worker names itself."""
    options = worker.launch.options if worker.launch else {}
    if not options.get("queues") or options.get("exclude_queues"):
        return []
    return [queue for queue in worker.queues if "$" not in queue]


def _finding(look: Look, worker: Service, node: str, reply: Mapping[str, Any], lost: list[str]) -> Finding:
    taken = reply.get("active_queues") or []
    rest = f"only from {listed(taken)}" if taken else "from no queue at all"
    commands = (
        tuple(
            shlex.join(
                [
                    "docker",
                    "exec",
                    worker.name,
                    "celery",
                    "-A",
                    worker.app_module,
                    "control",
                    "add_consumer",
                    queue,
                    "-d",
                    node,
                ]
            )
            for queue in lost
        )
        if worker.app_module
        else restart([worker])
    )
    return look.finding(
        f"{worker.label} is ready and takes {rest}: {listed(lost)}, which its command names, was taken from "
        "it",
        services=(worker.label,),
        object=", ".join(lost),
        proof=[
            Proof("celery", f"{node}: active_queues {', '.join(taken) or 'none'}"),
            Proof("containers", f"{worker.label}: --queues {','.join(worker.queues)}"),
        ],
        remedy=Remedy(
            "exact",
            f"Give {worker.label} {'these queues' if len(lost) > 1 else 'this queue'} back; a new start does "
            "the same.",
            commands=commands,
            risk="What waits there is run at once. Where somebody drains this worker on purpose, leave it.",
        ),
        verify=alive([worker]),
    )
