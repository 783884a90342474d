"""Workers and beats that are started without an application."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from celery_triage.checks.commands.shared import standing_in
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate
from celery_triage.stack import Service

#: What a worker without an application calls itself and how beat loads one (Celery 4.4 to 5.7).
_DEFAULT_APP = re.compile(r"\.> app:\s+default:0x")
_DEFAULT_LOADER = re.compile(r"\. loader -> celery\.loaders\.default\.Loader")
_TASK = re.compile(r"\s+\. ([\w.]+)$")


@check(
    "CMD007",
    "app-not-named",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("events", "files/*", "compose", "celery"),
    predicts=(Prediction(("BRK001", "BRK003", "URL003", "URL005", "WRK003", "BEA003", "BEA006")),),
)
def app_not_named(look: Look) -> Iterator[Finding]:
    """A worker or beat is started without an application.

    ## What
    The command has no `-A` (and the environment no `CELERY_APP`), and the process says itself that it runs
    Celery's own default application: `app: default` in a worker's banner with no task beneath, the default
    loader in beat's.

    ## Why
    It starts, is `ready` and answers a ping, but knows none of your tasks: a worker throws their messages
    away (`Received unregistered task`), beat has no schedule. Without `CELERY_BROKER_URL` it looks for
    RabbitMQ on its own `localhost`.

    ## Looks like
    `.> app:         default:0x7f2b…` and an empty `[tasks]` in the banner; `consumer: Cannot connect to
    amqp://guest:**@127.0.0.1:5672//`.

    ## Confirm
    `docker exec CONTAINER celery inspect registered`.

    ## Do
    Write `-A MODULE` between `celery` and the sub-command, as the other services have it.

    ## False alarms
    A `celeryconfig.py` in the working directory can give the default application tasks of its own; a banner
    with tasks is never reported. Flower needs no application.
    """
    groups: dict[tuple[str, ...], list[tuple[Service, Proof]]] = {}
    for service in look.celery:
        launch = service.launch
        if service.role not in ("worker", "beat") or launch is None or launch.app or launch.problems:
            continue
        look.section(f"logs/{service.label}")
        if "CELERY_CONFIG_MODULE" in service.env:
            continue
        if shown := _runs_default(look, service):
            groups.setdefault((service.role,), []).append((service, shown))
    for found in groups.values():
        services = [service for service, _ in found]
        names = listed([one.label for one in services])
        proof = []
        for service, shown in found:
            proof += [Proof("containers", f"{service.label}: {' '.join(service.argv[:12])}"), shown]
        yield look.finding(
            f"{names}: the command names no application (no -A), so Celery runs an empty one of its own",
            services=tuple(one.label for one in services),
            object="-A",
            certainty="confirmed",
            proof=proof,
            remedy=_name_it(look, services),
            verify=alive(services),
        )


def _runs_default(look: Look, service: Service) -> Proof | None:
    """The line of the present life in which it shows that it runs the default application, without tasks."""
    course = look.course(service)
    life = course.told
    lines = list(course.lines(life)) if life is not None and course.readable else []
    shown = None
    for number, line in enumerate(lines, (life.first_line or 1) if life else 1):
        if _DEFAULT_APP.search(line[2]) or _DEFAULT_LOADER.search(line[2]):
            shown = Proof(f"logs/{service.label}", line[2], number, line[0] or None)
        elif shown and (task := _TASK.match(line[2])) and not task[1].startswith("celery."):
            return None
    return shown


def _name_it(look: Look, services: Sequence[Service]) -> Remedy:
    commands = recreate(look.stack, services)
    images = {one.item.get("image_id") for one in services}
    apps = {one.app_module for one in look.members if one.app_module and one.item.get("image_id") in images}
    if len(apps) == 1:
        app = apps.pop()
        places = [
            (
                one,
                standing_in(one, "celery"),
                f"celery {one.launch.subcommand}",
                f"celery -A {app} {one.launch.subcommand}",
            )
            for one in services
        ]
        changed = changes(look.data("compose"), places)
        summary = f"Write -A {app} behind celery, as the other services of this image have it."
        if changed.complete:
            return Remedy(
                "exact",
                summary,
                changed.edits,
                changed.commands + commands,
                risk=f"Makes the containers of {listed([one.label for one in services])} anew; tasks "
                f"that they took and do not know are lost already.",
            )
        return Remedy("manual", summary, changed.edits + changed.texts, commands)
    near = difflib.get_close_matches(services[0].label, sorted(app for app in apps if app), 1, 0.0)
    example = f" ({near[0]} is one that other services have)" if near else ""
    return Remedy(
        "manual",
        f"Write -A and the module of your Celery application{example} behind celery, then "
        f"make the containers anew.",
        commands=commands,
    )
