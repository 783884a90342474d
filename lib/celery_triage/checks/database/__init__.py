"""The PostgreSQL behind result backends and database URLs: databases, roles, room for connections."""

from celery_triage.checks.database import existence, server

__all__ = ["existence", "server"]
