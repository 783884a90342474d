"""The broker: does it answer?"""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.connections.shared import asked, off_port, port_of
from celery_triage.checks.registry import Look, NotApplicable, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, restart
from celery_triage.stack import Service


@check(
    "BRK001",
    "broker-down",
    severity="critical",
    needs=("containers", "redis"),
    uses=("logs/*", "events"),
    step="broker",
    predicts=(Prediction(("CTR001", "CTR003"), exits=(1,)),),
    also=("broker-loading",),
)
def broker_down(look: Look) -> Iterator[Finding]:
    """The container is there that a broker URL leads to, but no Redis answers in it.

    ## What
    The host of the URL is a container of this engine; it does not run, nothing listens on the port, or it
    says that it is still loading its data.

    ## Why
    Celery tries to connect for ever: workers are up and work on nothing, beat sends nothing.

    ## Looks like
    `Cannot connect to redis://redis:6379/0: Error 111 connecting to redis:6379. Connection refused.`, or
    `Name or service not known` for a container that does not run: Docker then answers its name no more.

    ## Confirm
    `docker exec REDIS redis-cli ping`, and `docker logs --tail 50 REDIS`.

    ## Do
    Start it; its own log says why it ended.

    ## False alarms
    A broker that was only just started: look again some seconds later.
    """
    if (
        not any(_redis_broker(service) for service in look.members)
        and look.section("containers").status == "ok"
    ):
        raise NotApplicable("no service uses Redis as its broker")
    for server in (look.data("redis") or {}).get("servers") or ():
        if "broker" not in (server.get("purposes") or ["broker"]):
            continue
        kind, owner = server.get("error_kind"), look.stack.get(server.get("container") or "")
        stopped = owner is not None and not owner.running and server.get("status") == "unreachable"
        services = [
            service
            for service in look.members
            if service.label in (server.get("services") or ()) and _redis_broker(service)
        ]
        if (
            owner is None
            or not services
            or owner in services
            or not (stopped or kind in ("refused", "loading"))
            or (not stopped and kind == "refused" and off_port(owner, port_of(server)))
        ):
            if server.get("status") != "ok":
                look.note("redis", f"{server['key']}: {server.get('why')}")
            continue
        names = listed([service.label for service in services])
        proof = [Proof("redis", f"{server['key']}: {server.get('why')}")]
        for service in services:
            proof += look.seen(service).proof()
        loading = kind == "loading"
        yield look.finding(
            f"The broker {owner.label} is still loading its data; {names} wait for it"
            if loading
            else f"No broker answers in {owner.label}: {names} can neither get nor send tasks",
            name="broker-loading" if loading else "broker-down",
            severity="warning" if loading else "critical",
            services=tuple(service.label for service in services),
            object=server["key"],
            proof=proof,
            verify=alive([owner, *services]),
            remedy=Remedy(
                "manual",
                "Wait until it has loaded its data."
                if loading
                else f"See why {owner.label} does not answer (its last words in the log), then start it.",
                commands=() if loading else restart([owner]),
            ),
        )
    yield from reported(look, asked(look, "redis"))
    yield from healed(look)


def _redis_broker(service: Service) -> bool:
    """Whether a service uses a Redis over the network as its broker."""
    url = service.url("broker") if service.is_celery else None
    return url is not None and url.parsed.family == "redis" and url.parsed.networked
