"""Workers whose pool processes are all at work and finish nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.queues.shared import count, replies_of, same_broker, waiting_in
from celery_triage.checks.registry import Look, NotApplicable, Prediction, check
from celery_triage.checks.servers import asked_servers
from celery_triage.checks.words import lasted
from celery_triage.lives import seconds_of
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, restart
from celery_triage.stack import Service

#: The end of a task in a worker's log at level INFO (4.0 to 5.7), with how long it ran.
_DONE = re.compile(r"Task ([\w.-]+)\[[0-9a-f-]{36}\] succeeded in (\d+(?:\.\d+)?(?:e-\d+)?)s")
#: So many times longer than the longest that ever ended well is not a slow task any more, if it is as many
#: seconds as the second figure.
TIMES, LEAST_S = 10.0, 30.0
#: A pool of which nothing is known, and that has begun nothing for so long (seconds), is told.
NOTHING_S = 600.0


@check(
    "WRK008",
    "pool-stuck",
    severity="warning",
    heals=False,
    needs=("containers", "celery"),
    uses=("redis", "rabbitmq", "logs/*", "files/*"),
    predicts=(Prediction(("WRK007", "BRK005")),),
    also=("pool-full",),
)
def pool_stuck(look: Look) -> Iterator[Finding]:
    """Every pool process of a worker hangs in a task, while others wait.

    ## What
    By its own answer a worker has as many tasks at work as it has pool processes, and tasks wait behind them,
    in its hands or in a queue that nobody else takes. Each of them runs for at least ten times as long as the
    longest of that task that any log here shows to have ended well, and for 30 s or more. Where no log knows
    such a task, and none has begun for ten minutes, the finding is called pool-full: the tasks may be meant
    to last so long.

    ## Why
    The main process is well: it answers each ping, its health check is green, Docker restarts nothing. What
    hangs is a child: a call without a time-out, a lock that a fork took along, a process that was stopped.

    ## Looks like
    `Task … received` and no `succeeded` any more; `celery inspect active` shows the same ids again and again.

    ## Confirm
    `celery -A APP inspect active`, twice; `docker top CONTAINER -o pid,ppid,stat,wchan,time,cmd`: T is
    stopped, D waits for a device, S with a processor time that stands still waits for a server or a lock.

    ## Do
    See first what they wait for (`py-spy dump --pid PID` on the host), or it comes again. Restart the worker;
    give its tasks time-outs of their own and the worker a `--time-limit`, which ends whoever hangs.

    ## False alarms
    A task that takes much longer with larger arguments looks alike. A worker that has a process left, or
    behind which nothing waits, is not reported.
    """
    if not look.stack.workers and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no worker")
    if not look.section("celery").readable:
        return
    replies, known = replies_of(look), None
    for worker in look.members:
        reply = replies.get(worker.label)
        if reply is None or worker.role != "worker":
            continue
        active = _all_at_work(reply)
        now = seconds_of(worker.latest.get("t"))
        waits = _behind(look, worker, reply, replies) if active else 0
        if not active or now is None or not waits:
            continue
        # All logs are read for it, so only where it matters.
        known = _longest(look) if known is None else known
        elapsed = [(one, max(0.0, now - float(one["time_start"]))) for one in active]
        over = [spent / known[one["name"]][0] for one, spent in elapsed if one["name"] in known]
        youngest = min(spent for _, spent in elapsed)
        if len(over) == len(elapsed) and min(over) >= TIMES and youngest >= LEAST_S:
            yield _finding(look, worker, reply, elapsed, waits, known)
        elif len(over) < len(elapsed) and youngest >= NOTHING_S:
            yield _finding(look, worker, reply, elapsed, waits, {})


def _all_at_work(reply: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The tasks at work, where there are as many of them as pool processes and all say when they began."""
    pool = ((reply.get("stats") or {}).get("pool") or {}).get("max-concurrency")
    active = reply.get("active") or ()
    full = isinstance(pool, int) and 0 < pool <= len(active)
    return active if full and all(one.get("time_start") and one.get("name") for one in active) else ()


def _behind(
    look: Look, worker: Service, reply: Mapping[str, Any], replies: Mapping[str, Mapping[str, Any]]
) -> int:
    """How many tasks wait behind those at work: in its hands, and in the queues that it alone takes from."""
    mine = set(reply.get("active_queues") or ())
    for label, other in replies.items():
        if label != worker.label:
            mine -= set(other.get("active_queues") or ())
    depth = sum(
        waiting
        for server in asked_servers(look)
        if same_broker(worker, server)
        for queue, waiting in waiting_in(server).items()
        if queue in mine
    )
    return int(reply.get("reserved") or 0) + depth


def _longest(look: Look) -> dict[str, tuple[float, Proof]]:
    """Seconds of the longest run of each task that a log here shows to have ended well, and its line."""
    known: dict[str, tuple[float, Proof]] = {}
    for worker in look.members:
        if worker.role != "worker":
            continue
        section = f"logs/{worker.label}"
        for number, line in enumerate((look.data(section) or {}).get("lines") or (), 1):
            found = _DONE.search(line[2]) if "succeeded in" in line[2] else None
            if found and float(found[2]) > known.get(found[1], (0.0,))[0]:
                known[found[1]] = float(found[2]), Proof(section, line[2], number, line[0] or None)
    return known


def _finding(
    look: Look,
    worker: Service,
    reply: Mapping[str, Any],
    elapsed: Sequence[tuple[Mapping[str, Any], float]],
    waits: int,
    known: Mapping[str, tuple[float, Proof]],
) -> Finding:
    label, stuck, verb = worker.label, bool(known), "waits" if waits == 1 else "wait"
    oldest, longest = max(elapsed, key=lambda pair: pair[1])
    name = str(oldest["name"])
    proof = [
        Proof(
            "celery",
            f"{label}: {one['name']}[{one.get('id')}] at work for {spent:.0f} s"
            + (f" in process {one['worker_pid']}" if one.get("worker_pid") else ""),
        )
        for one, spent in elapsed[:4]
    ]
    told = f"{len(elapsed)} at work, {reply.get('reserved')} reserved; {count(waits)} in all behind them"
    proof.append(Proof("celery", f"{label}: {told}"))
    if stuck:
        seconds, witness = known[name]
        usual = f"{seconds:.3g} s"
        proof.append(witness)
        title = (
            f"All {len(elapsed)} pool processes of {label} hang: {name} has run for {lasted(longest)}, and "
            f"never took longer than {usual} before; {count(waits)} {verb} behind"
        )
    else:
        title = (
            f"{label} has begun no task for {lasted(min(spent for _, spent in elapsed))}: each of its "
            f"{len(elapsed)} pool processes is at work, the oldest with {name} for {lasted(longest)}; "
            f"{count(waits)} {verb} behind"
        )
    look_first = (
        f"See first what they wait for: docker top {worker.name} -o pid,ppid,stat,wchan,time,cmd (T is "
        "stopped, D waits for a device, S for a server or a lock), `py-spy dump --pid PID` on the host."
    )
    return look.finding(
        title,
        name="pool-stuck" if stuck else "pool-full",
        services=(label,),
        object=name,
        certainty="inferred",
        proof=proof,
        remedy=Remedy(
            "exact",
            f"{look_first} Then restart {label}; time-outs in the task and --time-limit keep it from coming "
            "again.",
            commands=restart([worker]),
            risk="The tasks that hang now are lost unless they are acknowledged late; those that wait in its "
            "hands go back to the queue.",
        )
        if stuck
        else Remedy(
            "manual",
            f"{look_first} If these tasks are meant to last so long, give {label} more processes, or long "
            "tasks a worker and a queue of their own.",
        ),
        verify=alive([worker]),
    )
