"""Limits against use: pool processes that the kernel kills, and limits that leave them no room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.health.timing import TIGHT, throttled
from celery_triage.checks.memory import memory_remedy, own_command, processes
from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.values import split, value_in
from celery_triage.checks.words import lasted, times
from celery_triage.lives import Life, seconds_of
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate
from celery_triage.stack import Service

#: The share of a memory limit from which too little is left. The lab's idle workers use 0.3 to 0.5 of theirs;
#: a ping as health check takes 0.08 more (40 of 512 MiB) for as long as it runs.
FULL = 0.85
#: Periods (of 0.1 s, in which the container had something to do) before the processor's share means anything:
#: a start alone fills some hundred.
ENOUGH_PERIODS = 1000
STARVED = 2 * TIGHT
#: A process that was killed longer ago (s) is worth knowing, no more.
RECENT_S = 3600.0
_KILLED = "signal 9 (SIGKILL)"


@check(
    "HLT005",
    "capacity",
    severity="warning",
    needs=("containers", "usage/*"),
    uses=("celery", "compose", "files/*", "logs/*"),
)
def capacity(look: Look) -> Iterator[Finding]:
    """A worker's limits leave no room for the pool processes that it has, or may start.

    ## What
    Memory: the container uses 85 % of its limit or more with several pool processes; or, with `--autoscale`,
    the processes that it may still start would not fit, each taken as large as the present ones are on
    average. Processor: the CPU limit held the container back in half of all the time that it had work, and it
    has more pool processes than processors.

    ## Why
    The kernel kills the largest process when the limit is reached: a task is lost, or the whole worker. Each
    pool process grows with the tasks that it runs, so little room does not last. Processes that wait for a
    processor make every task slower, and the answer to a ping too.

    ## Looks like
    Nothing yet; later `exited with 'signal 9 (SIGKILL)'`, `WorkerLostError`, exit code 137.

    ## Confirm
    `docker stats --no-stream CONTAINER`; `nr_throttled` in the container's `cpu.stat`.

    ## Do
    Fewer pool processes, or a higher limit.

    ## False alarms
    File cache does not count as used. A worker without a limit is not judged.
    """
    if not look.stack.workers and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no worker")
    for worker in look.members:
        if worker.role != "worker" or not worker.running:
            continue
        used = look.data(f"usage/{worker.label}") or {}
        memory, limit = used.get("memory"), used.get("memory_limit") or 0
        if memory and limit:
            yield from _memory(look, worker, memory, limit)
        if used.get("cpus_limit"):
            yield from _processor(look, worker, used)


def _memory(look: Look, worker: Service, memory: int, limit: int) -> Iterator[Finding]:
    now, most = _pool(look, worker)
    each = memory / (now + 1)
    full = memory >= FULL * limit and now > 1
    needed = memory + max(most - now, 0) * each
    if not full and needed <= limit:
        return
    has = f"{_mib(memory)} of its {_mib(limit)} MiB with {now} pool processes"
    title = (
        f"{worker.label} uses {has}: the next one that grows is killed"
        if full
        else f"{worker.label} may start {most} pool processes, which need about {_mib(needed)} MiB of its "
        f"{_mib(limit)}"
    )
    yield look.finding(
        title,
        services=(worker.label,),
        object="memory",
        certainty="confirmed" if full else "inferred",
        proof=[Proof(f"usage/{worker.label}", f"{worker.label}: {has}, about {_mib(each)} MiB a process")],
        remedy=memory_remedy(look, worker, limit),
        verify=(f"docker stats --no-stream {worker.name}  # MEM % under {FULL:.0%}", *alive([worker])),
    )


def _mib(count: float) -> str:
    return f"{count / 2**20:.0f}"


def _pool(look: Look, worker: Service) -> tuple[int, int]:
    """How many pool processes a worker has, and may have: by its own answer, else by its command."""
    now = most = processes(worker)
    given = (worker.launch.options.get("autoscale") if worker.launch else None) or ()
    numbers = [int(part) for part in str(given).strip("()[]").replace(" ", "").split(",") if part.isdigit()]
    if numbers:
        now, most = min(numbers), max(numbers)
    for broker in (look.data("celery") or {}).get("brokers") or ():
        for reply in (broker.get("replies") or {}).values():
            pool = ((reply or {}).get("stats") or {}).get("pool") or {}
            if (reply or {}).get("label") == worker.label and pool.get("processes"):
                now = len(pool["processes"])
                most = max(most, now)
    return now, most


def _processor(look: Look, worker: Service, used: Mapping[str, Any]) -> Iterator[Finding]:
    now, cpus, share = _pool(look, worker)[0], float(used["cpus_limit"]), throttled(look, worker)
    periods = (used.get("throttled") or {}).get("periods") or 0
    if share is None or share < STARVED or periods < ENOUGH_PERIODS or now <= cpus:
        return
    more = 2 * cpus
    edits, instead = split([value_in(look, worker, "deploy", "cpus", f"{more:g}")])
    raised = (*instead, f"docker update --cpus {more:g} {worker.name}")
    options = [Option("raise-cpu-limit", f"Allow {more:g} processors.", edits, raised)]
    if now > 1 and processes(worker) == now:
        word = next((one for one in worker.argv if one in (f"--concurrency={now}", f"-c{now}")), str(now))
        place = (worker, "command", word, word.replace(str(now), str(now // 2)))
        changed = changes(look.data("compose"), [place], alone=True)
        commands = changed.commands + recreate(look.stack, [worker]) if changed.complete else ()
        fewer = f"Run {now // 2} pool processes instead of {now}.{own_command(worker, changed)}"
        options.append(Option("lower-concurrency", fewer, changed.edits + changed.texts, commands))
    held = f"held back in {share:.0%} of {periods} periods"
    yield look.finding(
        f"{worker.label} shares {cpus:g} processors among {now} pool processes: its CPU limit held it back "
        f"in {share:.0%} of the time that it had work",
        services=(worker.label,),
        object="processor",
        proof=[Proof(f"usage/{worker.label}", f"{worker.label}: {held}")],
        remedy=Remedy(
            "choice",
            f"Give {worker.label} more processor time, or fewer processes to share it.",
            options=tuple(options),
            question="Does the machine have processor time to spare for it?",
        ),
        verify=alive([worker]),
    )


@check(
    "HLT006",
    "child-out-of-memory",
    severity="warning",
    needs=("containers", "events"),
    uses=("logs/*", "compose", "usage/*", "files/*"),
)
def child_out_of_memory(look: Look) -> Iterator[Finding]:
    """The kernel killed a process inside a container for memory, and the main process lives on.

    ## What
    The engine told an `oom` event of a container in its present life. The main process did not end, so it was
    another one: mostly a pool process of a worker, with the task that it ran.

    ## Why
    The container looks well: it did not restart, and `OOMKilled` stays false. But the task is lost
    (`WorkerLostError`), or, with `task_acks_late` and `task_reject_on_worker_lost`, runs again and kills the
    next process.

    ## Looks like
    `Process 'ForkPoolWorker-3' pid:12 exited with 'signal 9 (SIGKILL)'`.

    ## Confirm
    `docker events --since 1h --until 0s --filter event=oom`; the kernel's own log names the process.

    ## Do
    Lower the concurrency of the worker, or raise the limit of the container; then find the task that needs so
    much.

    ## False alarms
    A probe of a health check or a shell that was started by hand can be the one that was killed. Older than
    an hour, it is a notice. The engine keeps 256 events: where older ones of this life are lost, and the
    limit was reached at some time, the rule is unknown.
    """
    events = look.data("events") or {}
    for service in look.members:
        course = look.course(service)
        now = course.lives[-1] if course.lives else None
        if now is None or not now.running or not service.running:
            continue
        if now.oom:
            yield _child(look, service, now, events)
        elif events.get("full") and _lost(service, now, events) and _reached(look, service):
            look.note("events", f"older events of {service.label} are lost, and it has reached its limit")


def _lost(service: Service, now: Life, events: Mapping[str, Any]) -> bool:
    """Whether the engine has forgotten events of the present life."""
    first = min((seconds_of(one.get("t")) or 0.0 for one in events.get("items") or ()), default=0.0)
    return first > (seconds_of(now.start) or 0.0)


def _reached(look: Look, service: Service) -> bool:
    """Whether the container has ever reached its memory limit, as far as the kernel counts that."""
    used = look.data(f"usage/{service.label}") or {}
    return bool(used.get("memory_limit") and used.get("failed"))


def _child(look: Look, service: Service, now: Life, events: Mapping[str, Any]) -> Finding:
    began, taken = seconds_of(now.start) or 0.0, seconds_of(service.latest.get("t")) or 0.0
    told = [
        one
        for one in events.get("items") or ()
        if one.get("action") == "oom"
        and service.label == one.get("label")
        and (seconds_of(one.get("t")) or 0.0) >= began
    ]
    last = max((seconds_of(one.get("t")) or 0.0 for one in told), default=began)
    ago = max(0.0, taken - last)
    proof = [
        Proof("events", f"{service.label}: oom, and its main process lives on", time=one.get("t"))
        for one in told[-3:]
    ]
    section = look.section(f"logs/{service.label}")
    lines = (section.data or {}).get("lines") or () if section.readable else ()
    first = now.first_line or 1
    said = [(number, line) for number, line in enumerate(now.of(lines), first) if _KILLED in line[2]]
    proof += [Proof(section.name, line[2], number, line[0]) for number, line in said[-2:]]
    memory = (service.item.get("limits") or {}).get("memory") or 0
    return look.finding(
        f"The kernel killed a process in {service.label} for memory, {times(max(len(told), 1))}, last "
        f"{lasted(ago)} ago; the main process lives on",
        severity="warning" if ago <= RECENT_S else "notice",
        services=(service.label,),
        object="memory",
        proof=proof,
        remedy=memory_remedy(look, service, memory),
        verify=alive([service]),
    )
