"""A PostgreSQL without TLS and a URL that demands it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.connections.shared import idle_states, no_place, url_changes
from celery_triage.checks.database.shared import (
    DEATHS,
    concerned,
    effect_on,
    postgres_url,
    servers,
    unseen,
)
from celery_triage.checks.registry import Look, check
from celery_triage.checks.reports import healed, reported
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service

#: Modes of libpq that make no connection without TLS.
DEMANDING = ("require", "verify-ca", "verify-full")


@check(
    "DBS052",
    "database-tls",
    severity="critical",
    needs=("containers", "postgres"),
    uses=("logs/*", "events", "compose"),
    step="database",
    predicts=DEATHS,
)
def database_tls(look: Look) -> Iterator[Finding]:
    """Client and database server do not agree on TLS.

    ## What
    The URL demands TLS (`sslmode=require` or more), and the server said to our own login, made with the same
    demand, that it speaks none.

    ## Why
    No connection is made: worker and beat end at their start (Celery 5.5 and later), or lose their results
    (up to 5.4). The URL of a managed database in front of a plain container is the usual reason.

    ## Looks like
    `server does not support SSL, but SSL was required`.

    ## Confirm
    `docker exec POSTGRES psql -U postgres -c 'SHOW ssl'` says off.

    ## Do
    `sslmode=prefer` (or none) inside a Compose network, or give the server a certificate and `ssl = on`.

    ## False alarms
    Certificates are not judged here, for the authorities lie in the container: what a service says of them is
    only reported.
    """
    judged: set[str] = set()
    for server in servers(look):
        refused = server.get("error_kind") == "tls" and "does not support" in (server.get("why") or "")
        if not refused:
            unseen(look, server)
            continue
        services = concerned(look, server.get("services") or ())
        judged.update(one.label for one in services)
        if services:
            yield _none(look, server, services)
    yield from reported(look, judged)
    yield from healed(look)


def _none(look: Look, server: Mapping[str, Any], services: Sequence[Service]) -> Finding:
    idle = idle_states(services, "result")
    struck, effect = effect_on(services, idle)
    name = server.get("container") or server["key"]
    pairs = [(one, url) for one in services if (url := postgres_url(one)) is not None]
    modes = [url.parsed.query.get("sslmode") for _, url in pairs]
    mode = next((one for one in modes if one in DEMANDING), DEMANDING[0])
    proof = [Proof("postgres", f"{server['key']}: {server.get('why')}")]
    for service in services:
        proof += look.seen(service).proof()
    seen = any(look.seen(one).effect(None, (1,)) for one in struck)
    changed = url_changes(look, pairs, f"sslmode={mode}", "sslmode=prefer")
    place = "" if changed.complete else f", {no_place(changed)}"
    again = recreate(look.stack, services)
    return look.finding(
        f"{name} speaks no TLS, and the URL demands it (sslmode={mode}): {effect}",
        services=tuple(one.label for one in services),
        object=server["key"],
        certainty="confirmed" if seen else "inferred",
        proof=proof,
        service_states=idle,
        remedy=Remedy(
            "choice",
            f"Let the URL do without TLS, or give {name} a certificate.",
            question=f"Does what goes to {name} stay on networks of this machine?",
            options=(
                Option(
                    "do-without",
                    f"Yes: write sslmode=prefer, which takes TLS where it is offered{place}.",
                    changed.edits + changed.texts,
                    (*changed.commands, *again) if changed.complete else (),
                ),
                Option("give-certificate", f"No: give {name} a certificate and key, and set ssl = on."),
            ),
            risk=f"With do-without passwords and results can be read by whoever is on the way to {name}; the "
            "containers of these services are made anew.",
        ),
        verify=alive(struck),
    )
