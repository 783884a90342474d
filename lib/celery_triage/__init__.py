"""Diagnostic runbooks for Celery backends on Docker: look without touching, name the root cause, prove the cure."""

__version__ = "0.1.0"
