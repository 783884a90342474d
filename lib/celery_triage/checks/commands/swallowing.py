"""An entrypoint that runs something else than the command that it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.restarts import ended
from celery_triage.checks.words import listed, times
from celery_triage.lives import Life
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service

#: So many lives must have ended without a word of Celery.
SEVERAL = 2


@check(
    "CMD008",
    "entrypoint-swallows-command",
    severity="critical",
    needs=("containers", "files/*"),
    uses=("logs/*", "events", "compose"),
    predicts=(Prediction(("CTR001", "CTR003", "CTR004")),),
)
def entrypoint_swallows_command(look: Look) -> Iterator[Finding]:
    """The entrypoint never runs the Celery command that it is given.

    ## What
    The entrypoint is a shell script in which nothing hands its words on (`"$@"`, `$*`, `$1`), and the
    container ends with exit code 0 again and again, or has ended with it, without a word of Celery.

    ## Why
    With an entrypoint Docker gives the command to it as words; what becomes of them is the script's affair.
    This one does its own work (waits, migrates, says hello) and ends. A restart policy starts it again for
    ever; exit code 0 looks like success everywhere.

    ## Looks like
    `Restarting (0)` in `docker ps`, and a log that repeats the script's own words and nothing of Celery.

    ## Confirm
    `docker run --rm --entrypoint cat IMAGE /entrypoint.sh`: its last line should be `exec "$@"`.

    ## Do
    End the script with `exec "$@"`, and build the image anew; or leave the entrypoint out for this service.

    ## False alarms
    A script that chooses by a variable what to run, without its words, is not reported as long as it goes on
    running or says anything of Celery's.
    """
    groups: dict[str, list[tuple[Service, Mapping[str, Any], list[Life]]]] = {}
    for service in look.members:
        if service.launch is None:
            continue
        if not look.files(service):
            look.needs_file(service, "what its entrypoint does is not known")
        entries = look.files(service).get("starts") or ()
        entry = next((one for one in entries if one.get("main")), None)
        done = _ended_well(look, service)
        if entry is not None and entry.get("passes") is False and done:
            groups.setdefault(str(entry["path"]), []).append((service, entry, done))
    for path, found in groups.items():
        services = [service for service, _, _ in found]
        names = listed([one.label for one in services])
        proof = []
        for service, _, done in found:
            proof.append(Proof(f"files/{service.label}", f'{path}: no line of it hands its words on ("$@")'))
            proof.append(
                Proof(
                    "containers",
                    f"{service.label} ended {times(len(done))}: {ended(done[-1])}",
                    time=done[-1].end,
                )
            )
        yield look.finding(
            f"{names}: the entrypoint {path} does not run the command that it is given, and ends with exit "
            f"code 0",
            services=tuple(one.label for one in services),
            object=path,
            certainty="confirmed",
            proof=proof,
            remedy=Remedy(
                "manual",
                f'Write exec "$@" as the last line of {path}, where it comes from (the image, or the host '
                f"for a mounted file), or leave the entrypoint out; then make the containers anew.",
                commands=recreate(look.stack, services),
            ),
            verify=alive(services),
        )


def _ended_well(look: Look, service: Service) -> list[Life]:
    """The lives that ended by themselves with exit code 0, where there are several or nothing starts it
    again, and none of them got anywhere."""
    course = look.course(service)
    over = [one for one in course.lives if not one.running and one.exit_code == 0 and not one.asked]
    if not over or any(course.reached(one).proven for one in course.lives):
        return []
    status = service.latest.get("status")
    again = status == "restarting" or (status == "running" and len(over) >= SEVERAL)
    return over if (again and len(over) >= SEVERAL) or status == "exited" else []
