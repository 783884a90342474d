"""What only logs say: of now, where a rule could not look itself, and of what was before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from celery_triage.checks.registry import Look
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Remedy
from celery_triage.remedies import alive
from celery_triage.stack import Service

#: What a person can do where nothing but a log tells.
BY_THE_LOG = "Only the log says this. Correct what it names, and start the service again."


def reported(
    look: Look, judged: Collection[str], do: str | Callable[[str], str] = BY_THE_LOG
) -> Iterator[Finding]:
    """One finding for each thing that the logs of services say which the rule could not judge, certainty
    reported. ``do`` is the remedy, or tells it for a thing; ``{}`` in it stands for the thing."""
    groups: dict[tuple[str, str], list[Service]] = {}
    for service in look.members:
        if service.label in judged or look.course(service).past(look.rule.step):
            continue
        for said in look.seen(service).says():
            services = groups.setdefault((said.object, said.says), [])
            if service not in services:
                services.append(service)
    for (thing, says), services in groups.items():
        names = tuple(service.label for service in services)
        yield look.finding(
            titled(names, says, thing),
            services=names,
            object=thing,
            certainty="reported",
            proof=[proof for service in services for proof in look.seen(service).proof(thing)],
            remedy=Remedy(
                "manual", (do if isinstance(do, str) else do(thing)).replace("{}", thing or "what it names")
            ),
            verify=alive(services),
        )


def titled(names: Collection[str], says: str, thing: str) -> str:
    """What a log says of services, with the thing where the sentence does not name it."""
    named = f"{says.rstrip('.')}: {thing}" if thing and thing not in says else says
    return f"{listed(list(names))}: {named}"


def by_the_log(look: Look, do: str | Callable[[str], str] = BY_THE_LOG) -> Iterator[Finding]:
    """All of a rule that nothing but logs can witness: unknown where a service that is down has no log to
    read."""
    for service in look.celery:
        told = look.course(service).told
        if told is not None and told.failed:
            look.section(f"logs/{service.label}")
    yield from reported(look, (), do)
    yield from healed(look)


def healed(look: Look) -> Iterator[Finding]:
    """One finding for each thing that lives died of before one got past it, state history."""
    groups: dict[tuple[str, str], list[Service]] = {}
    for service in look.members:
        for said in look.course(service).formerly(look.rule.code, look.rule.step):
            services = groups.setdefault((said.object, said.says), [])
            if service not in services:
                services.append(service)
    for (thing, says), services in groups.items():
        names = tuple(service.label for service in services)
        courses = [look.course(service) for service in services]
        proof = [
            course.proof(
                [said for said in course.formerly(look.rule.code, look.rule.step) if said.object == thing][-1]
            )
            for course in courses
        ]
        yield look.finding(
            f"Earlier, not any more: {says} ({listed(names)})",
            services=names,
            object=thing,
            severity="notice",
            state="history",
            certainty="reported",
            proof=proof,
        )
