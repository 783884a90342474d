"""Changes: what differs from the Compose file and among replicas."""

from celery_triage.checks.changes import images, missing, orphans, recreated

__all__ = ["images", "missing", "orphans", "recreated"]
