"""Monitoring: metrics endpoints and Flower, by what answered on their ports."""

from celery_triage.checks.monitoring import flower, ports, taken

__all__ = ["flower", "ports", "taken"]
