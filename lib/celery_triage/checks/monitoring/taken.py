"""Metrics ports that several processes of one container want."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.words import times
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive
from celery_triage.stack import Service

#: How Celery logs an exception of a signal's receiver (5.7.0, ``utils/dispatch/signal.py``).
_RAISED = re.compile(
    r"\[[^\]]{1,60}: ERROR/([\w-]{1,40})\] Signal handler .{1,200} raised: "
    r"OSError\(\d+, 'Address already in use'\)"
)
_SERVER = re.compile(r"""["/](?:prometheus_client|opentelemetry)/""")
#: Lines of a traceback that are looked through for what wanted the port. prometheus_client 0.26 needs 20.
_TRACEBACK = 60


@check(
    "MON003",
    "metrics-port-taken",
    severity="warning",
    needs=("containers", "logs/*"),
    uses=("http", "events", "files/*", "celery"),
)
def metrics_port_taken(look: Look) -> Iterator[Finding]:
    """Several processes of one worker want the same metrics port; only the first one has it.

    ## What
    The worker's present life logged `Address already in use` from a receiver of a signal, and the traceback
    leads through `prometheus_client` (or OpenTelemetry): the endpoint is started in each pool process
    (`worker_process_init`), or twice.

    ## Why
    The worker runs on, and the port answers: but with the numbers of one process. Each scrape misses what the
    others did, and when that process is replaced (`--max-tasks-per-child`) the counters begin anew.

    ## Looks like
    `ERROR/ForkPoolWorker-2] Signal handler <function serve …> raised: OSError(98, 'Address already in use')`
    (Celery 5.7.0 with prometheus_client 0.26.0).

    ## Confirm
    `docker logs CONTAINER 2>&1 | grep 'Address already in use'`.

    ## Do
    Start the endpoint once, in the main process (`worker_init` or `worker_ready`), and let the pool processes
    share their numbers by `PROMETHEUS_MULTIPROC_DIR` and `MultiProcessCollector`.

    ## False alarms
    Only the worker's own record counts, not a text that a task logs; only the present life, while it runs.
    """
    if not look.stack.workers and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no worker")
    for service in look.members:
        if service.role != "worker" or not service.running:
            continue
        look.section(f"logs/{service.label}")
        course = look.course(service)
        life = course.told
        if life is not None and life.running:
            found = list(_refusals(course.lines(life), life.first_line or 1))
            if found:
                yield _taken(look, service, found)


def _refusals(lines: Sequence[Sequence[str]], first: int) -> Iterator[tuple[str, int, Sequence[str]]]:
    """(process, line number, line) of each process that did not get its port for metrics."""
    seen = set()
    for number, line in enumerate(lines):
        match = _RAISED.match(line[2]) if "Address already in use" in line[2] else None
        if match is None or match[1] in seen:
            continue
        if any(_SERVER.search(below[2]) for below in lines[number + 1 : number + _TRACEBACK]):
            seen.add(match[1])
            yield match[1], first + number, line


def _taken(look: Look, service: Service, found: Sequence[tuple[str, int, Sequence[str]]]) -> Finding:
    own = (look.data("http") or {}).get("endpoints") or ()
    ports = {
        str(entry["port"])
        for entry in own
        if entry["label"] == service.label and entry["purpose"] == "metrics" and entry["families"] is not None
    }
    port = ports.pop() if len(ports) == 1 else ""
    names = {name for name, _, _ in found}
    who = f"{len(names)} of its processes want" if len(names) > 1 else f"{next(iter(names))} wants"
    proof = [
        Proof(f"logs/{service.label}", line[2], number, line[0] or None) for _, number, line in found[:3]
    ]
    return look.finding(
        f"{service.label} serves the metrics of one process only: {who} the metrics port "
        f"{port + ' ' if port else ''}that another has already (refused {times(len(found))})",
        services=(service.label,),
        object=port or "metrics",
        proof=proof,
        remedy=Remedy(
            "manual",
            "Start the metrics endpoint once, in the worker's main process (signal worker_init or "
            "worker_ready instead of worker_process_init), with PROMETHEUS_MULTIPROC_DIR and "
            "MultiProcessCollector, and "
            "build the image anew.",
        ),
        verify=(
            f"docker logs {service.name} 2>&1 | grep -c 'Address already in use'  # 0 after its new start",
            *alive([service]),
        ),
    )
