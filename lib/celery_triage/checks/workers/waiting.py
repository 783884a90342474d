"""Tasks that wait behind others: in a pool that is one process, and in the hands of one worker while another
is idle."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.words import lasted, listed
from celery_triage.lives import seconds_of
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate
from celery_triage.stack import Service

_RECEIVED = re.compile(r"Task ([\w.-]+)\[([0-9a-f-]{36})\] received")
_OVER = re.compile(
    r"Task [\w.-]+\[([0-9a-f-]{36})\] (?:succeeded|raised|retry|ignored|rejected)|"
    r"(?:rejected|discarded|Discarding) .{0,80}\[([0-9a-f-]{36})\]"
)
#: A task that runs for less (seconds) is not what keeps the others waiting.
LONG_S = 10.0


@check(
    "WRK006",
    "solo-busy",
    severity="warning",
    heals=False,
    needs=("containers", "celery", "logs/*"),
    uses=("redis", "compose", "events", "files/*"),
)
def solo_busy(look: Look) -> Iterator[Finding]:
    """A worker with the pool solo runs a long task and can do nothing else meanwhile.

    ## What
    The worker runs with `--pool=solo`, did not answer the ping, and its log shows a task that it received and
    has not ended.

    ## Why
    With this pool the main process itself runs the task. Until its end the worker takes no other task,
    answers no ping, sends no heartbeat; a ping as health check fails and Docker calls it unhealthy; on
    `docker stop` it is killed in the middle. It is busy, not frozen.

    ## Looks like
    `Task shop.tasks.report[…] received` as the last line of its log; `(unhealthy)` now and then.

    ## Confirm
    `docker top CONTAINER -o pid,stat,time,cmd`: its processor time grows, or it waits for a call of the task.

    ## Do
    Another pool (`--pool=prefork --concurrency=1` behaves alike and answers), or short tasks and a health
    check that is no ping.

    ## False alarms
    Where nothing waits and no health check fails it is only worth knowing. Without a log at level INFO
    nothing tells which task it is: then nothing is said.
    """
    if not look.stack.workers and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no worker")
    section = look.section("celery")
    for broker in (section.data or {}).get("brokers") or () if section.readable else ():
        answered = {reply.get("label") for reply in (broker.get("replies") or {}).values()}
        for worker in look.members:
            url = worker.url("broker")
            mine = url is not None and url.parsed.server == broker.get("key")
            if worker.role == "worker" and worker.running and mine and worker.label not in answered:
                if broker.get("asked") is not None and pool_of(worker) == "solo":
                    look.section(f"logs/{worker.label}")
                    yield from _busy(look, worker, broker)


def pool_of(worker: Service) -> str:
    return str((worker.launch.options.get("pool") if worker.launch else None) or "prefork")


def running_in(lines: Sequence[Sequence[str]]) -> tuple[str, int, Sequence[str]] | None:
    """(task, place, line) of the last task that was received and whose end is not told, at level INFO. Solo
    takes them in order, so the oldest one that is open runs."""
    open_: dict[str, tuple[str, int, Sequence[str]]] = {}
    for place, line in enumerate(lines):
        if found := _RECEIVED.search(line[2]):
            open_[found[2]] = (found[1], place, line)
        elif found := _OVER.search(line[2]):
            open_.pop(found[1] or found[2], None)
    return next(iter(open_.values()), None)


def _busy(look: Look, worker: Service, broker: Mapping[str, Any]) -> Iterator[Finding]:
    course = look.course(worker)
    life = course.lives[-1] if course.lives else None
    found = running_in(course.lines(life)) if life is not None and life.running else None
    if found is None:
        return
    task, place, line = found
    now, began = seconds_of(worker.latest.get("t")), seconds_of(line[0])
    since = max(0.0, now - began) if now is not None and began is not None else None
    server = next(
        (
            one
            for one in (look.data("redis") or {}).get("servers") or ()
            if one.get("key") == broker.get("key")
        ),
        {},
    )
    depths = ((server.get("samples") or ({},))[-1] or {}).get("queues") or {}
    waiting = sum(int(depths.get(queue) or 0) for queue in worker.queues)
    sick = (worker.latest.get("health") or {}).get("status") == "unhealthy"
    also = [f"{waiting} {'task waits' if waiting == 1 else 'tasks wait'} behind it"] if waiting else []
    also += ["its health check fails"] if sick else []
    words = f" for {lasted(since)}" if since is not None else ""
    yield look.finding(
        f"{worker.label} is busy, not frozen: with the pool solo its main process has run {task}{words} and "
        f"answers nothing meanwhile{'; ' + ' and '.join(also) if also else ''}",
        severity="warning" if also else "notice",
        services=(worker.label,),
        object=task,
        certainty="inferred",
        proof=[
            Proof(f"logs/{worker.label}", line[2], (life.first_line or 1) + place, line[0] or None),
            Proof(
                "celery",
                f"{broker['key']}: {broker['asked']} nodes got the ping, "
                f"{len(broker.get('replies') or {})} answered; {worker.nodename} did not",
            ),
        ],
        remedy=_another_pool(look, worker),
        verify=alive([worker]),
    )


def _another_pool(look: Look, worker: Service) -> Remedy:
    word = next((one for one in worker.argv if one in ("--pool=solo", "-Psolo")), "")
    if not word:
        pair = [one for one, after in zip(worker.argv, worker.argv[1:], strict=False) if after == "solo"]
        word = f"{pair[0]} solo" if pair else "solo"
    place = (worker, "command", word, word.replace("solo", "prefork"))
    changed = changes(look.data("compose"), [place], alone=True)
    commands = (*changed.commands, *recreate(look.stack, [worker])) if changed.complete else ()
    return Remedy(
        "choice",
        f"Let {worker.label} run tasks beside its main process, or live with what solo means.",
        options=(
            Option(
                "prefork",
                f"Start {worker.label} with --pool=prefork (with --concurrency=1 it still runs one "
                "task at a time).",
                (*changed.edits, *changed.texts),
                commands,
            ),
            Option(
                "stay-solo",
                "Keep solo: only short tasks, no ping as health check, and a stop_grace_period "
                "longer than the longest task.",
            ),
        ),
        question="Must its tasks run in the main process (threads, a GPU, a library that cannot fork)?",
        risk=f"Makes the container of {worker.label} anew: the task that it runs now is lost, unless it is "
        "acknowledged late.",
    )


@check(
    "WRK007",
    "prefetch-holds-tasks",
    severity="warning",
    heals=False,
    needs=("containers", "celery"),
    uses=("compose", "files/*"),
)
def prefetch_holds_tasks(look: Look) -> Iterator[Finding]:
    """One worker has taken tasks that wait behind long ones, while another of the same queue is idle.

    ## What
    By their own answers: one worker has as many tasks at work as it has pool processes, the oldest for ten
    seconds or more, and more tasks reserved than it has processes; another one takes from the same queue,
    runs nothing and has reserved nothing.

    ## Why
    Each worker takes `worker_prefetch_multiplier` (4 unless set) tasks for each pool process ahead. With long
    tasks the first one that came has them all: they wait there, invisible in the queue, and a second worker
    changes nothing.

    ## Looks like
    An empty queue, tasks that take hours to begin, workers without work.

    ## Confirm
    `celery -A APP inspect reserved`, `celery -A APP inspect active`.

    ## Do
    `--prefetch-multiplier=1`, so that one task waits for each process; for long tasks `task_acks_late` too,
    so that none does.

    ## False alarms
    Tasks with an ETA are held by whoever took them and are not counted. Where every worker has something to
    do it is not reported.
    """
    if not look.stack.workers and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no worker")
    section = look.section("celery")
    for broker in (section.data or {}).get("brokers") or () if section.readable else ():
        replies = [
            (look.stack.get(str((reply or {}).get("label") or "")), reply)
            for _, reply in sorted((broker.get("replies") or {}).items())
        ]
        known = [(worker, reply) for worker, reply in replies if worker is not None and worker.member]
        for worker, reply in known:
            idle = [
                other
                for other, theirs in known
                if other.label != worker.label
                and _idle(theirs)
                and set(theirs.get("active_queues") or ()) & set(reply.get("active_queues") or ())
            ]
            if idle and (found := _hoards(worker, reply)):
                yield _hoarding(look, worker, reply, idle, *found)


def _idle(reply: Mapping[str, Any]) -> bool:
    return reply.get("active_count") == 0 and reply.get("reserved") == 0


def _hoards(worker: Service, reply: Mapping[str, Any]) -> tuple[int, float] | None:
    """(tasks that wait there, seconds that its oldest one at work has run) where it holds too many."""
    pool = ((reply.get("stats") or {}).get("pool") or {}).get("max-concurrency")
    reserved, active = reply.get("reserved"), reply.get("active") or ()
    now = seconds_of(worker.latest.get("t"))
    began = [one.get("time_start") for one in active if one.get("time_start")]
    if not isinstance(pool, int) or reserved is None or now is None or not began or len(active) < pool:
        return None
    longest = now - min(began)
    return (reserved, longest) if reserved > pool and longest >= LONG_S else None


def _hoarding(
    look: Look,
    worker: Service,
    reply: Mapping[str, Any],
    idle: Sequence[Service],
    reserved: int,
    longest: float,
) -> Finding:
    names = [one.label for one in idle]
    times_ = (reply.get("conf") or {}).get("worker_prefetch_multiplier")
    given = next((one for one in worker.argv if one.startswith("--prefetch-multiplier=")), "")
    old = given or "worker"
    new = "--prefetch-multiplier=1" if given else "worker --prefetch-multiplier=1"
    changed = changes(look.data("compose"), [(worker, "command", old, new)], alone=True)
    commands = (*changed.commands, *recreate(look.stack, [worker])) if changed.complete else ()
    return look.finding(
        f"{reserved} tasks wait inside {worker.label} behind one that has run for {lasted(longest)}, while "
        f"{listed(names)} of the same queue {'has' if len(names) == 1 else 'have'} nothing to do",
        services=(worker.label,),
        object="prefetch",
        proof=[
            Proof(
                "celery",
                f"{worker.label}: {reply.get('active_count')} at work, {reserved} reserved, "
                f"worker_prefetch_multiplier {times_}",
            ),
            *[Proof("celery", f"{name}: 0 at work, 0 reserved") for name in names],
        ],
        remedy=Remedy(
            "exact" if changed.complete else "manual",
            f"Let {worker.label} take only one task ahead for each pool process (--prefetch-multiplier=1, or "
            "`worker_prefetch_multiplier = 1`). Its waiting tasks go back to the queue when it ends.",
            (*changed.edits, *changed.texts),
            commands,
            risk=f"Makes the container of {worker.label} anew: tasks at work end or, after the grace period, "
            "are killed.",
        ),
        verify=alive([worker]),
    )
