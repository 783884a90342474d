"""The application that the recordings run."""

import os

from celery import Celery

app = Celery(
    "shared",
    broker=os.environ.get("CELERY_BROKER_URL"),
    backend=os.environ.get("CELERY_RESULT_BACKEND"),
    include=["shared.tasks"],
)
app.conf.broker_connection_retry_on_startup = True
app.conf.beat_schedule = {"tick": {"task": "shared.tasks.quick", "schedule": 2.0, "args": (1, 2)}}
