"""URLs that the library which gets them cannot read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from celery_triage.checks.connections.shared import idle_states, proven, url_changes, used
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service, Url
from celery_triage.urls import Problem


@check(
    "URL001",
    "url-does-not-parse",
    severity="critical",
    needs=("containers",),
    uses=("logs/*", "events", "compose"),
    step="url",
    predicts=(
        Prediction(("CTR001", "CTR003", "LOG001"), exits=(1,)),
        Prediction(("URL003", "URL005", "MON002")),
    ),
)
def url_does_not_parse(look: Look) -> Iterator[Finding]:
    """A broker or result backend URL cannot be read by the library that gets it.

    ## What
    Each URL is parsed as its reader parses it: kombu for brokers and Redis, SQLAlchemy for databases. Found
    are an unknown scheme, a variable that nothing replaced (`${…}` left as it stands), a port that is no
    number, characters in a password that end it too early, quotes that became part of the value.

    ## Why
    The process ends with exit code 1 when it reads such a URL, or silently talks to the wrong place (an empty
    host means the container itself).

    ## Looks like
    `KeyError: 'No such transport: …'`, `Port could not be cast to integer value`, `Could not parse SQLAlchemy
    URL`, `Can't load plugin: sqlalchemy.dialects:…`.

    ## Confirm
    `docker inspect -f '{{json .Config.Env}}' CONTAINER` shows the value as the process gets it (with its
    password).

    ## Do
    Correct the URL; write special characters of a password as `%40` and so on.

    ## False alarms
    Only what was measured to stop the program is reported. A service that got past reading its URLs is never
    reported, nor is a scheme that a package of its own could bring.
    """
    found: dict[tuple[str, str, str], list[tuple[Service, Url]]] = {}
    for service in look.members:
        for url in used(service):
            stopping = [problem for problem in url.problems if problem.stops and not _elsewhere(url, problem)]
            if stopping and not proven(look, url, _late(url, stopping[0])):
                found.setdefault((url.purpose, stopping[0].kind, stopping[0].text), []).append((service, url))
    for (purpose, _, text), pairs in found.items():
        yield _unreadable(look, purpose, text, pairs)
    yield from reported(look, {service.label for pairs in found.values() for service, _ in pairs})
    yield from healed(look)


def _late(url: Url, problem: Problem) -> str:
    """The step that nobody gets past with such a URL: what SQLAlchemy reads and understands otherwise shows
    only when it connects."""
    if url.parsed.family == "sql" and problem.kind in ("unescaped", "empty_host"):
        return "database" if url.purpose == "result" else "broker"
    return "driver" if url.purpose == "result" else "url"


def _elsewhere(url: Url, problem: Problem) -> bool:
    """Whether a problem is another rule's: a URL that is empty, or (but for SQLAlchemy's) names no host, can
    be read, and means something else."""
    return problem.kind == "empty" or (problem.kind == "empty_host" and url.parsed.family != "sql")


def _unreadable(look: Look, purpose: str, text: str, pairs: Sequence[tuple[Service, Url]]) -> Finding:
    services = [service for service, _ in pairs]
    url = pairs[0][1]
    what = "broker" if purpose == "broker" else "result backend"
    thing = url.var or url.source
    problem = next(one for one in url.problems if one.text == text)
    proof = [Proof("containers", f"{service.label}: {one.source}: {one.text}") for service, one in pairs]
    for service in services:
        proof += look.seen(service).proof()
    seen = all(look.seen(service).effect(None, (1,)) for service in services)
    commands = recreate(look.stack, services)
    remedy = Remedy("manual", f"Correct {thing}: {text}", commands=commands)
    scheme = f"{url.parsed.scheme}://"
    if problem.hint.endswith("://") and url.parsed.scheme and problem.hint != scheme:
        changed = url_changes(look, pairs, scheme, problem.hint)
        if changed.complete:
            remedy = Remedy(
                "exact",
                f"Write {problem.hint} instead of {scheme}.",
                changed.edits,
                changed.commands + commands,
                risk="Makes the containers of these services anew.",
            )
    return look.finding(
        f"The {what} URL of {listed([service.label for service in services])} cannot be used: {text}",
        services=tuple(service.label for service in services),
        object=thing,
        certainty="confirmed" if seen else "inferred",
        proof=proof,
        remedy=remedy,
        verify=alive(services),
        service_states=idle_states(services, purpose),
    )
