"""Connection strings: does each URL parse, is its driver in the image, does its host mean a container that
the service can reach, is its login taken?"""

from celery_triage.checks.connections import drivers, hosts, localhost, logins, parsing, ports

__all__ = ["drivers", "hosts", "localhost", "logins", "parsing", "ports"]
