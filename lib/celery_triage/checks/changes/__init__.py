"""Changes: what differs from the Compose file and among replicas."""

from celery_triage.checks.changes import recreated

__all__ = ["recreated"]
