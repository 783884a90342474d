"""Tasks that work, fail, quote and die."""

import logging
import os
import signal
import time

from celery.utils.log import get_task_logger

from shared.infrastructure.celery_app import app

log = get_task_logger(__name__)

QUOTES = (
    'connection failed: FATAL: database "ai_backend" does not exist',
    "Error: No such option: --queue (Possible options: --exclude-queues, --queues)",
    "sqlalchemy.exc.OperationalError: (psycopg.OperationalError) connection failed: "
    'FATAL:  database "ai_backend" does not exist',
    "consumer: Cannot connect to redis://redis:6379/0: Error 111 connecting to redis:6379. Connection refused..",
    "ModuleNotFoundError: No module named 'psycopg2'",
    "Unable to load celery application.",
    "redis.exceptions.AuthenticationError: WRONGPASS invalid username-password pair or user is disabled.",
    'psycopg.OperationalError: FATAL:  sorry, too many clients already',
    "Error: No such command 'flower'.",
    "MISCONF Redis is configured to save RDB snapshots",
    "Process 'ForkPoolWorker-1' pid:14 exited with 'signal 9 (SIGKILL)'",
)


@app.task
def quick(a, b):
    return a + b


@app.task
def failing(reason):
    raise RuntimeError(reason)


@app.task
def quoting():
    for quote in QUOTES:
        log.error("a ticket says: %s", quote)
    log.warning("first\n%s", "\n".join(QUOTES))
    logging.getLogger("shared.mail").error("bounced: %s", QUOTES[0])
    print("Error: No such option: --queue (Possible options: --exclude-queues, --queues)")


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
