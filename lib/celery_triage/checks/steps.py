"""Where in the start of a service something strikes: the order in which a Celery process meets its own
faults.

Measured with Celery 5.4.0, 5.6.3 and 5.7.0 (worker and beat, Redis broker, PostgreSQL result backend), two
faults at a time: an option that does not exist is told only after the app module was imported; a broker URL
that kombu cannot read comes before the missing driver of the result backend, that before the missing
database, and all of them before the first connection to the broker (worker and beat of 5.6 and 5.7 die of the
database although the broker does not exist either).

Two things depend on the version. Up to 5.4 the module of ``-A`` is imported before the sub-command is looked
up, from 5.5 on after it. And up to 5.4 neither driver nor database is touched before the first result: such a
fault strikes at ``results``. Flower (2.2, with Celery 5.4 and 5.6) starts without broker, driver and
database.
"""

from __future__ import annotations

from celery_triage.stack import Service

#: From the container that cannot start to the first result that cannot be stored.
STEPS = (
    "container",
    "executable",
    "subcommand",
    "app",
    "options",
    "url",
    "driver",
    "database",
    "broker",
    "consuming",
    "results",
)
_BACKEND = ("driver", "database")
#: Positions with room between them, for what moves to another step.
_ROOM = 10
_AT = {step: _ROOM * number for number, step in enumerate(STEPS)}


def version_of(service: Service) -> tuple[int, int] | None:
    """(major, minor) of the Celery in the image of a service, None where it is not known."""
    text = str((service.packages.get("celery") or {}).get("version") or "")
    parts = text.split(".")
    return (
        (int(parts[0]), int(parts[1]))
        if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit()
        else None
    )


def checks_backend_at_start(service: Service) -> bool | None:
    """Whether this service opens its result backend when it starts; None where the version is not known."""
    if service.role not in ("worker", "beat"):
        return False
    version = version_of(service)
    return None if version is None else version >= (5, 5)


def place(step: str, service: Service | None) -> int:
    """The position of a rule's step in the start of this service; ``results`` is the last."""
    behind = 0
    if service is not None:
        if step in _BACKEND and checks_backend_at_start(service) is False:
            step, behind = "results", 1 + _BACKEND.index(step)
        elif step == "broker" and service.role == "flower":
            step = "consuming"
        elif step == "subcommand" and (version_of(service) or (9, 9)) < (5, 5):
            return _AT["app"] + 1
    return _AT[step] + behind


def met_at(step: str, service: Service | None) -> str:
    """The step at which this service meets what strikes at a rule's ``step``: its place, by name."""
    return STEPS[place(step, service) // _ROOM]
