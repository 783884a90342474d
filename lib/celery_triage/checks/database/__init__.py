"""The PostgreSQL behind result backends and database URLs: databases, roles, room for connections,
tables."""

from celery_triage.checks.database import existence, locks, server, tables, tls

__all__ = ["existence", "locks", "server", "tables", "tls"]
