"""Prometheus metrics of a worker.

Tasks run in forked pool processes, the endpoint in the worker's main process: the counters therefore live in
files (prometheus_client's multiprocess mode), and the endpoint adds them up at each request.
"""

import os
import tempfile

from celery import signals

PORT = int(os.environ.get("PROMETHEUS_PORT", "0"))


def install():
    """Counts tasks and serves the endpoint; does nothing where no port is set (beat, Flower)."""
    if not PORT:
        return
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="metrics-"))
    # Imported only now: the client chooses its mode by that variable at import.
    from prometheus_client import CollectorRegistry, Counter, Histogram, multiprocess, start_http_server

    finished = Counter("celery_tasks_total", "Tasks finished", ["task", "state"])
    seconds = Histogram("celery_task_seconds", "Run time of tasks in seconds", ["task"])
    started = {}

    def before(task_id=None, **_):
        from time import monotonic

        started[task_id] = monotonic()

    def after(task_id=None, task=None, state=None, **_):
        from time import monotonic

        finished.labels(task.name, state or "UNKNOWN").inc()
        if task_id in started:
            seconds.labels(task.name).observe(monotonic() - started.pop(task_id))

    def serve(**_):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        start_http_server(PORT, registry=registry)

    signals.task_prerun.connect(before, weak=False)
    signals.task_postrun.connect(after, weak=False)
    signals.worker_ready.connect(serve, weak=False)
