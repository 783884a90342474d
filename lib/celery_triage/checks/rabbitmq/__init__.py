"""RabbitMQ as the broker: who is let in and where, what its alarms stop, what it closes channels for."""

from celery_triage.checks.rabbitmq import alarms, channels, doors

__all__ = ["alarms", "channels", "doors"]
