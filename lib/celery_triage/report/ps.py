"""The state of a container in the words of ``docker ps``, from a sample; pure.

The words are those of Docker's client (``docker ps``, column STATUS), seen on Engine 20.10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery_triage.show import units

#: Up to so many of a unit are counted in it (unit, seconds of one, most).
_UNITS = (("days", 86400, 14), ("weeks", 604800, 8), ("months", 2592000, 24))


def ago(seconds: float) -> str:
    """A duration as ``docker ps`` writes it: ``55 seconds``, ``About a minute``, ``2 hours``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return {0: "Less than a second", 1: "1 second"}.get(whole, f"{whole} seconds")
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for name, one, most in _UNITS:
        if whole // one < most:
            return f"{whole // one} {name}"
    return f"{whole // 31536000} years"


def status(sample: Mapping[str, Any]) -> str:
    """``Up 55 seconds (healthy)``, ``Restarting (2) 4 seconds ago``, ``Exited (0) 3 hours ago`` …"""
    state = str(sample.get("status") or "unknown")
    if state in ("running", "paused"):
        age = units.between(sample.get("started_at"), sample.get("t"))
        health = (sample.get("health") or {}).get("status")
        words = {"starting": " (health: starting)"}.get(health, f" ({health})" if health else "")
        return f"Up {ago(age)}" + (" (Paused)" if state == "paused" else words) if age is not None else "Up"
    if state in ("restarting", "exited"):
        since = units.between(sample.get("finished_at"), sample.get("t"))
        tail = f" {ago(since)} ago" if since is not None else ""
        return f"{state.capitalize()} ({sample.get('exit_code')}){tail}"
    return {"removing": "Removal In Progress"}.get(state, state.capitalize())


__all__ = ["ago", "status"]
