"""The queues: does anybody take what waits in them, and fast enough?"""

from celery_triage.checks.queues import backlog, consumers, redelivery

__all__ = ["backlog", "consumers", "redelivery"]
