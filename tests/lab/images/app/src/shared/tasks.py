"""The backend's tasks: any of them may be sent to any queue."""

import time
from logging import getLevelName

from celery.utils.log import get_task_logger

from shared.infrastructure.celery_app import app

log = get_task_logger(__name__)


class PaymentRefused(Exception):
    """What the failing task raises."""


@app.task
def quick(a=1, b=1):
    """Returns at once."""
    return a + b


@app.task
def slow(seconds=30):
    """Keeps one pool process busy."""
    time.sleep(seconds)
    return seconds


@app.task
def failing(reason="card declined"):
    """Fails as a task fails, which is no fault of the worker."""
    raise PaymentRefused(reason)


@app.task
def heartbeat():
    """Sent by beat; returns the time, so that each run leaves a result of its own."""
    return time.time()


@app.task
def note(text, level="ERROR"):
    """Writes the given text to the worker's log as one record: its lines after the first stand there bare."""
    log.log(getLevelName(level), "%s", text)
    return len(text)
