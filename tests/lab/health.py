"""Whether a service's health check tells the truth, found out by trying it: green while the service works,
red while its own main process is frozen. Asked of the ``docker`` command only.
"""

from __future__ import annotations

import json
from typing import Any

from tests.lab.outside import Unanswered, docker, lives

NONE_S = 30.0  # Docker's own time-out where a check names none


def told_true(project: str, service: str, expected: bool) -> tuple[bool, str]:
    """Does Docker say healthy, and does the check fail when it should? ``expected``: the service must have a
    check; otherwise none at all is as true as a good one.

    Freezes the main process for as long as one run of the check takes, and lets it go on whatever happens.
    """
    found = lives(project).get(service, [])
    if not found:
        return False, f"{service} has no container"
    for life in found:
        item = json.loads(docker("inspect", "--type", "container", life.id))[0]
        test = list((item["Config"].get("Healthcheck") or {}).get("Test") or ())
        if not test or test == ["NONE"]:
            if expected:
                return False, f"{service} has lost its health check"
            continue
        status = ((item["State"] or {}).get("Health") or {}).get("Status")
        if status != "healthy":
            return False, f"Docker says {status} of {service}"
        ok, why = _red_when_frozen(life.id, service, item, test)
        if not ok:
            return False, why
    return True, f"the health of {service} is told as it is"


def _red_when_frozen(id: str, service: str, item: dict[str, Any], test: list[str]) -> tuple[bool, str]:
    words = ["/bin/sh", "-c", test[1]] if test[0] == "CMD-SHELL" else test[1:]
    seconds = (item["Config"]["Healthcheck"].get("Timeout") or 0) / 1e9 or NONE_S
    docker("kill", "--signal", "STOP", id)
    try:
        docker("exec", id, *words, seconds=seconds)
    except Unanswered as error:
        return True, str(error)
    finally:
        docker("kill", "--signal", "CONT", id)
    return False, f"the health check of {service} passes while its main process is frozen"
