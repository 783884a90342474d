"""Memory: main processes that the kernel killed for it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.restarts import DOWN, KILLED, concerned, deaths, weight
from celery_triage.checks.values import split, value_in
from celery_triage.model import Finding, Option, Remedy
from celery_triage.remedies import Changes, alive, changes, recreate, restart
from celery_triage.stack import Service


@check(
    "CTR002",
    "killed-for-memory",
    severity="critical",
    needs=("containers",),
    uses=("events", "logs/*", "compose", "usage/*"),
    step="container",
    predicts=(Prediction(("CTR001", "CTR003", "LOG001"), exits=(KILLED,)), *DOWN),
)
def killed_for_memory(look: Look) -> Iterator[Finding]:
    """The kernel killed the main process of a container for memory.

    ## What
    The last life ended with exit code 137 and Docker says that memory ran out (`OOMKilled`, or an `oom`
    event).

    ## Why
    The container needs more than its limit, or the host has no more. Tasks that were in work are lost or run
    again.

    ## Looks like
    `Restarting (137)`; the log simply ends. `docker inspect` shows `"OOMKilled": true` until the next start.

    ## Confirm
    `docker stats --no-stream CONTAINER` against its limit, and `docker events --filter event=oom`.

    ## Do
    Lower the concurrency of the worker, or raise the limit of the container.

    ## False alarms
    An `oom` event alone can mean a child process: only the death of the main process counts here. Exit code
    137 without it is a `docker kill` or the end of a stop that took too long.
    """
    for service in concerned(look):
        course = look.course(service)
        last = course.told
        if last is None or last.running or last.exit_code != KILLED or not last.oom or last.asked:
            continue
        memory = (service.item.get("limits") or {}).get("memory") or 0
        limit = f"its limit of {memory / 2**20:.0f} MiB" if memory else "the memory of the machine"
        yield look.finding(
            f"{service.label} was killed for memory: it needed more than {limit}",
            severity=weight(service),
            services=(service.label,),
            object="memory",
            proof=deaths([life for life in course.lives if life.oom]),
            remedy=memory_remedy(look, service, memory),
            verify=alive([service]),
        )


def memory_remedy(look: Look, service: Service, memory: int) -> Remedy:
    """The remedy for a service that needs more than its limit (bytes, 0 for none): fewer pool processes, or
    more memory, a person decides."""
    options = []
    given = service.launch.options.get("concurrency") if service.launch else None
    if service.role == "worker" and isinstance(given, int) and given > 1:
        written = [word for word in service.argv if word in (f"--concurrency={given}", f"-c{given}")]
        old = written[0] if written else str(given)
        place = (service, "command", old, old.replace(str(given), str(given // 2)))
        changed = changes(look.data("compose"), [place], alone=True)
        options.append(
            Option(
                "lower-concurrency",
                f"Run {given // 2} pool processes instead of {given}.{own_command(service, changed)}",
                changed.edits + changed.texts,
                changed.commands + recreate(look.stack, [service]) if changed.complete else (),
            )
        )
    if memory:
        more = f"{enough(look, service, memory)}m"
        change = value_in(look, service, "deploy", "memory", more.upper())
        edits, instead = split([change])
        kept = "" if change else " (write it into the Compose file, too)"
        options.append(
            Option(
                "raise-limit",
                f"Allow {more}{kept}.",
                edits,
                commands=(
                    *instead,
                    f"docker update --memory {more} --memory-swap {more} {service.name}",
                    *restart([service]),
                ),
            )
        )
    if not options:
        return Remedy(
            "manual", f"Find what in {service.label} needs so much memory, or give the machine more."
        )
    return Remedy(
        "choice",
        f"Give {service.label} more memory, or let it need less.",
        options=tuple(options),
        question="Does the machine have memory to spare for it?",
        risk="A higher limit takes memory from the other containers of this machine.",
    )


def own_command(service: Service, changed: Changes) -> str:
    """What a person must do where the command of a service cannot be changed by an edit; empty where it
    can."""
    if changed.complete:
        return ""
    return (
        f" The command of {service.label} stands where other services share it, or in no Compose file that "
        "could be read: write it there by hand, for this service alone."
    )


def enough(look: Look, service: Service, memory: int) -> int:
    """A limit in MiB under which this service should live: twice the old one, half more than what another
    service with the same image and role uses now for as many pool processes, and never less than the lab's
    own workers needed (64 MiB and 48 MiB for each pool process: 4 processes used 190 to 250 MiB on Celery
    5.7)."""
    own = processes(service)
    needs = [2 * memory / 2**20, 64 + 48 * own]
    for other in look.stack.members:
        used = (look.data(f"usage/{other.label}") or {}).get("memory")
        alike = (other.item.get("image_id"), other.role) == (service.item.get("image_id"), service.role)
        if used and alike and other.label != service.label:
            needs.append(1.5 * used / 2**20 * max(1.0, own / max(processes(other), 1)))
    return math.ceil(max(needs) / 16) * 16


def processes(service: Service) -> int:
    """The pool processes that a service is started with; 1 for what is no worker or does not say."""
    given = service.launch.options.get("concurrency") if service.launch else None
    return given if service.role == "worker" and isinstance(given, int) and given > 0 else 1
