"""Redis as it says of itself: does it take writes, does it let anybody in, does it keep what it was given?"""

from celery_triage.checks.redis import clients, memory, tls, writes

__all__ = ["clients", "memory", "tls", "writes"]
