"""Diagnostic runbooks for Celery backends on Docker: root cause, proof, fix, and the proof of the cure."""

__version__ = "0.1.0"
