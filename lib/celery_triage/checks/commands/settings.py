"""Variables and settings that the application needs to be loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from celery_triage.checks.commands.shared import DEATHS, REFUSED
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service


@check(
    "CMD054",
    "settings-not-configured",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("events", "files/*", "compose"),
    step="app",
    predicts=(Prediction((*DEATHS, "LOG001"), exits=(1, REFUSED)),),
    also=("environment-variable-missing",),
)
def settings_not_configured(look: Look) -> Iterator[Finding]:
    """A setting or variable that the application needs to be loaded is not there.

    ## What
    The last words of the service name a variable of the environment that is looked up and not set
    (`environment-variable-missing`; the container's own environment is looked at, too), Django without
    settings, or a settings class that lacks a value (`settings-not-configured`).

    ## Why
    The application cannot be imported, and the process ends at once.

    ## Looks like
    `KeyError: 'STRIPE_KEY'` below a frame of `os.py`; `Requested setting INSTALLED_APPS, but settings are not
    configured`; `ValidationError: 2 validation errors for Settings`.

    ## Confirm
    `docker exec CONTAINER env`, or `docker inspect -f '{{.Config.Env}}' CONTAINER` for one that does not run.

    ## Do
    Set the variable for this service too (`environment:` or `env_file:`); for Django set
    `DJANGO_SETTINGS_MODULE`, or call `os.environ.setdefault` before the Celery application is made.

    ## False alarms
    A variable that is set in the container and was taken away by its own entrypoint is only reported.
    """
    for service in look.celery:
        told = look.course(service).told
        if told is not None and told.failed:
            look.section(f"logs/{service.label}")
    groups: dict[str, list[Service]] = {}
    for service in look.members:
        if look.course(service).past(look.rule.step):
            continue
        for said in look.seen(service).says()[-1:]:
            if said.signature.startswith("environment-variable") and said.object not in service.env:
                groups.setdefault(said.object, []).append(service)
    for name, services in groups.items():
        yield _variable(look, name, services)
    yield from reported(
        look,
        {one.label for services in groups.values() for one in services},
        "Only the log says this. Set {} for this service, and start it again.",
    )
    yield from healed(look)


def _variable(look: Look, name: str, services: Sequence[Service]) -> Finding:
    names = listed([one.label for one in services])
    others = [one.label for one in look.members if name in one.env]
    proof = []
    for service in services:
        proof += [
            Proof("containers", f"{service.label}: no {name} in its environment"),
            *look.seen(service).proof(name),
        ]
    hint = f", as {listed(others, 3)} have it" if others else ""
    return look.finding(
        f"{names} cannot start: the application needs the variable {name}, which is not set there",
        name="environment-variable-missing",
        services=tuple(one.label for one in services),
        object=name,
        certainty="confirmed",
        proof=proof,
        remedy=Remedy(
            "manual",
            f"Set {name} for {names} (`environment:` or `env_file:`){hint}, and make the containers anew.",
            commands=recreate(look.stack, services),
        ),
        verify=alive(services),
    )
