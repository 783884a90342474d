"""Tasks that work, fail, quote and die."""

import logging
import os
import signal
import time
from pathlib import Path

from celery.utils.log import get_task_logger

from shared.infrastructure.celery_app import app

log = get_task_logger(__name__)

QUOTES = Path("quotes.txt").read_text().splitlines()
USAGE = "Usage: celery worker [OPTIONS]\nTry 'celery worker --help' for help.\n\n"
TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/usr/local/lib/python3.11/site-packages/sqlalchemy/engine/create.py", line 617, in x\n'
)


@app.task
def quick(a, b):
    return a + b


@app.task
def failing(reason):
    raise RuntimeError(reason)


@app.task
def quoting():
    """Log what other processes said, in all the ways in which an application may."""
    for quote in QUOTES:
        log.error("a ticket says: %s", quote)
        log.error("a ticket says:\n%s%s\n%s", USAGE, quote, TRACEBACK + quote)
        logging.getLogger("shared.mail").error("%s", quote)
        print(quote)


@app.task
def querying():
    """The application's own database is not there: an error of a task, no outage of the worker."""
    import psycopg

    psycopg.connect("postgresql://app:app-example@postgres:5432/reports")


@app.task
def importing():
    import stripe  # noqa: F401


@app.task
def dying():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(time_limit=2, soft_time_limit=1)
def slow():
    try:
        time.sleep(30)
    except Exception:
        time.sleep(30)
