"""The Celery application of the backend: broker and result backend come from the environment."""

import os

from celery import Celery

from shared.infrastructure import metrics

app = Celery(
    "ai_backend",
    broker=os.environ["CELERY_BROKER_URL"],
    backend=os.environ["CELERY_RESULT_BACKEND"],
    include=["shared.tasks"],
)
app.conf.update(
    broker_connection_retry_on_startup=True,
    result_extended=True,  # name, queue and worker stand beside each result
    task_default_queue="data_sync",
    task_track_started=True,
    worker_send_task_events=True,
    timezone="UTC",
    beat_schedule={
        "heartbeat": {
            "task": "shared.tasks.heartbeat",
            "schedule": float(os.environ.get("HEARTBEAT_SECONDS", "5")),
            "options": {"queue": "data_sync"},
        },
    },
)

metrics.install()
