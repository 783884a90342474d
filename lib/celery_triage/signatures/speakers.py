"""Whose words a record's are: Celery's of itself, a task's, the application's. Pure."""

from __future__ import annotations

import re

from celery_triage.signatures.formats import Block

#: Records in which Celery itself says that it ends.
DEATHS = ("Unrecoverable error", "beat raised exception", "celerybeat raised exception", "Process Beat")
#: Beginnings of records in which Celery speaks of itself, with the traceback that follows. All else is the
#: application's. Sources: worker and beat of 5.4 to 5.7, recorded runs.
OWN = (
    *DEATHS,
    "consumer: ",
    "Consumer: ",
    "Failed operation",
    "Pool callback raised exception",
    "beat: ",
    "Control command error",
    "Timer callback",
    "Task handler raised error",
    "Received unregistered task",
    "Process '",
    "Error in timer: ",
    "Database error while sync: ",
    "Connection to broker",
    "Message Error",
    "Substantial drift",
    "Soft time limit",
    "Hard time limit",
    "Timed out waiting",
    "Error cleaning",
    "Restoring ",
    "Clean-up",
    "Cannot connect",
    "Received and deleted unknown message",
    "Can't decode message body",
    "Refusing to accept",
    "worker: ",
    "Retry in",
    "Backend",
    "Couldn't",
    "Received invalid task message",
    "removing corrupted schedule",
    "Inspect method",
    "Failed to capture events",
    "Broker",
    "mingle",
    "missed heartbeat",
    "No hostname was supplied",
    "Global QoS",
    "Removing corrupted",
    "Scheduler: ",
    "Task queue",
    "Heartbeat",
    "pidbox received method",
    "pidbox command error",
    "Connected to",
    "RuntimeWarning",
    "Unknown task",
)
#: What only Celery says, also where the head of its record was not copied.
OWN_BARE = (
    "consumer: Cannot connect to ",
    "consumer: Connection to broker lost",
    "beat: Connection error: ",
    "Unrecoverable error: ",
    "Can't decode message body: ",
    "Failed to capture events: ",
    "Error in timer: ",
    "Consumer: Connection to broker lost",
    "Control command error: ",
)
#: What Celery says of itself in a pool process; all else there is the application's, whatever it looks like.
OWN_IN_POOL = (
    "Failed operation",
    "Failed to execute task [Errno ",
    "Couldn't send result",
    "Process Worker-",
    "Process PoolWorker-",
    "Process ForkPoolWorker-",
    "child process exiting after exceeding memory limit",
    "worker unable to determine memory usage",
    "worker unable to determine worker memory usage",
)
OUTSIDE = re.compile(r"\S+celery/app/trace\.py:\d+: RuntimeWarning: Exception raised outside body: ")
_POOL = re.compile(r"(?:Fork|Spawn)?(?:Pool)?Worker-\d")
_TASK = re.compile(r"Task \S+\[[0-9a-f-]{8,40}\] ")


def of_main(block: Block) -> bool:
    """Whether the process itself speaks, not one of its pool's."""
    return block.source == "flower" or block.process in ("MainProcess", "MainThread", "Beat", "")


def in_pool(block: Block) -> bool:
    """Whether a process of the pool speaks: ``ForkPoolWorker-1``, in Celery 3 ``Worker-1``."""
    return block.source == "celery" and bool(_POOL.match(block.process))


def in_task(block: Block) -> bool:
    """Whether a traceback came out of a task: it runs through Celery's tracer into other code, and not into
    the storing of its result."""
    for exception in block.exceptions:
        places = [at for at, file in enumerate(exception.files) if file.endswith("/celery/app/trace.py")]
        after = exception.files[places[-1] + 1 :] if places else []
        if after and not any("/celery/backends/" in file for file in after):
            return True
    return False


def is_task(message: str) -> bool:
    """Whether a record's message is Celery's word about one task."""
    return bool(_TASK.match(message))
