"""Pool processes that are replaced far too often."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate
from celery_triage.stack import Service

#: A process into which only Celery was imported has more memory (KiB): measured with Celery 5.7 on Python
#: 3.11, 34 372 of which 8 724 are Python's own; an application comes on top.
LEAST_KIB = 25_000
OPTION = "--max-memory-per-child"
#: What is likely to have been meant in MiB, from and to.
_LIKELY = range(64, 16_385)


@check(
    "WRK009",
    "memory-per-child",
    severity="warning",
    heals=False,
    needs=("containers",),
    uses=("compose", "files/*"),
)
def memory_per_child(look: Look) -> Iterator[Finding]:
    """The memory that a pool process may have is less than it has at its start.

    ## What
    The command of a worker sets `--max-memory-per-child` to fewer KiB than a process with Celery in it has
    before its first task (25 MB are counted, 34 MB were measured).

    ## Why
    The pool compares a process with the limit after each task, and replaces one that is above. Below what it
    has from the start each process does one task and ends; the main process is busy with making new ones, so
    that it answers late or not at all, and most of the time is lost. Its log says of that at most
    `child process exiting after exceeding memory limit` for each.

    ## Looks like
    A worker that does a task or two a second and uses all the processor time it gets; process ids that never
    stay; health checks that time out.

    ## Confirm
    `docker top CONTAINER -o pid,etime,rss,cmd`, twice: the children are always new.

    ## Do
    The option counts KiB: 200 MiB are `--max-memory-per-child=204800`. Choose it well above what a process
    has at rest (`rss` in `docker top`).

    ## False alarms
    A limit in the application's settings (`worker_max_memory_per_child`) is not judged.
    """
    if not look.stack.workers and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no worker")
    for worker in look.members:
        given = limit_kib(worker)
        if worker.role == "worker" and given is not None and given < LEAST_KIB:
            yield _finding(look, worker, given)


def limit_kib(worker: Service) -> int | None:
    """What its command gives each of its pool processes, in KiB; None where it gives nothing that is
    known."""
    given = worker.launch.options.get("max_memory_per_child") if worker.launch else None
    try:
        return int(str(given)) if given is not None and int(str(given)) > 0 else None
    except ValueError:
        return None


def meant_kib(given: int) -> int | None:
    """The KiB of as many MiB, where so many are likely to have been meant."""
    return given * 1024 if given in _LIKELY else None


def _finding(look: Look, worker: Service, given: int) -> Finding:
    word = next((one for one in worker.argv if one.startswith(f"{OPTION}=")), "") or f"{OPTION} {given}"
    blank = word[len(OPTION)]
    options = []
    for name, value, told in (
        ("megabytes", meant_kib(given), f"Give each process {given} MiB: {OPTION}{blank}{{}}."),
        ("no-limit", 0, f"Take {OPTION} out: no process is replaced for its memory."),
    ):
        if value is None:
            continue
        old, new = (word, f"{OPTION}{blank}{value}") if value else (f" {word}", "")
        changed = changes(look.data("compose"), [(worker, "command", old, new)], alone=True)
        again = recreate(look.stack, [worker]) if changed.complete else ()
        options.append(
            Option(name, told.format(value), (*changed.edits, *changed.texts), (*changed.commands, *again))
        )
    return look.finding(
        f"{worker.label} replaces each pool process after its first task: {OPTION} counts KiB, and {given} "
        f"KiB are "
        "less than any process with Celery in it has from its start",
        services=(worker.label,),
        object=str(given),
        certainty="confirmed",
        proof=[Proof("containers", f"{worker.label}: {listed([word])} in its command")],
        remedy=Remedy(
            "choice",
            f"Choose a limit well above what a process of {worker.label} has at rest, or none.",
            options=tuple(options),
            question=f"Were {given} megabytes meant?",
            risk=f"Makes the container of {worker.label} anew: what runs in it is cut off.",
        ),
        verify=alive([worker]),
    )
