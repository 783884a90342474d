"""Prometheus metrics of a worker.

Tasks run in forked pool processes, the endpoint in the worker's main process: the counters therefore live in
files (prometheus_client's multiprocess mode), and the endpoint adds them up at each request. The client
chooses that mode when it is first imported, which the Flower plug-in does before this module: so
PROMETHEUS_MULTIPROC_DIR has to come with the container's environment.
"""

import os
import time
from pathlib import Path

from celery import signals

PORT = int(os.environ.get("PROMETHEUS_PORT", "0"))


def install():
    """Counts tasks and serves the endpoint; does nothing where no port is set (beat, Flower)."""
    if not PORT:
        return
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Histogram,
        ProcessCollector,
        multiprocess,
        start_http_server,
    )

    finished = Counter("celery_tasks_total", "Tasks finished", ["task", "state"])
    seconds = Histogram("celery_task_seconds", "Run time of tasks in seconds", ["task"])
    started = {}

    def before(task_id=None, **_):
        started[task_id] = time.monotonic()

    def after(task_id=None, task=None, state=None, **_):
        finished.labels(task.name, state or "UNKNOWN").inc()
        if task_id in started:
            seconds.labels(task.name).observe(time.monotonic() - started.pop(task_id))

    def forget_last_life(**_):
        for path in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("*.db"):
            path.unlink(missing_ok=True)

    def serve(**_):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        ProcessCollector(registry=registry)
        start_http_server(PORT, registry=registry)

    signals.worker_init.connect(forget_last_life, weak=False)
    signals.task_prerun.connect(before, weak=False)
    signals.task_postrun.connect(after, weak=False)
    signals.worker_ready.connect(serve, weak=False)
