"""One side speaks TLS, the other does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.connections.shared import no_place, url_changes, used
from celery_triage.checks.redis.shared import STOPS, concerned, name_of, said, servers, words_of
from celery_triage.checks.registry import Look, check
from celery_triage.checks.reports import reported
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service


@check(
    "RDS056",
    "broker-tls",
    severity="critical",
    needs=("containers", "redis"),
    uses=("logs/*", "events", "compose"),
    step="broker",
    predicts=STOPS,
)
def broker_tls(look: Look) -> Iterator[Finding]:
    """One side speaks TLS, the other does not, or the certificate is not accepted.

    ## What
    The URL says `rediss://`, the server did not take part in TLS, and it answered the same question without:
    asked just now, with nothing secret.

    ## Why
    No connection is made. A Redis without TLS waits for the end of what it takes for a command, and the
    client waits for the server: nobody says a word, and the worker hangs before it is ready.

    ## Looks like
    Mostly nothing: the log ends with the start banner. Else `[SSL: WRONG_VERSION_NUMBER]`, `certificate
    verify failed`.

    ## Confirm
    `docker exec REDIS redis-cli ping` answers without `--tls`; `redis-cli config get tls-port` is 0.

    ## Do
    `redis://` for a server without TLS, `rediss://` with the TLS port and `ssl_cert_reqs` for one with it;
    give the CA certificate where it is one of your own.

    ## False alarms
    A server that speaks both on one port is none. Certificates are not judged here, for the authorities lie
    in the container: what a service says of them is only reported.
    """
    judged: set[str] = set()
    for server, services in servers(look):
        if server.get("error_kind") == "plain":
            judged |= concerned(server, services)
            yield _plain(look, server, services)
        elif server.get("status") != "ok":
            look.note("redis", f"{server['key']}: {server.get('why')}")
    yield from reported(look, judged)


def _plain(look: Look, server: Mapping[str, Any], services: Sequence[Service]) -> Finding:
    name, names = name_of(look, server), listed([one.label for one in services])
    pairs = [(one, url) for one in services for url in used(one) if url.parsed.scheme == "rediss"]
    return look.finding(
        f"{name} speaks no TLS, and the URL of {names} asks for it (rediss://): "
        f"{verb(services, 'it', 'they')} "
        f"{verb(services, 'waits', 'wait')} for an answer that never comes",
        services=tuple(one.label for one in services),
        object=server["key"],
        certainty="confirmed" if said(look, services) else "inferred",
        proof=[Proof("redis", f"{server['key']}: {server.get('why')}"), *words_of(look, server, services)],
        remedy=_remedy(look, name, names, pairs),
        verify=alive(services),
    )


def _remedy(look: Look, name: str, names: str, pairs: Sequence[tuple[Service, Any]]) -> Remedy:
    again = recreate(look.stack, [one for one, _ in pairs])
    summary = f"Write redis:// instead of rediss://, as long as {name} has no certificate and no TLS port"
    risk = (f"What goes between {names} and {name} can be read by whoever is on that network. Makes "
            "their containers anew.")
    if any(option.startswith("ssl_") for _, url in pairs for option in url.parsed.query):
        summary += ", and take the ssl_ options out of the URL."
        return Remedy("manual", summary, commands=again, risk=risk)
    changed = url_changes(look, pairs, "rediss://", "redis://")
    if not changed.complete:
        return Remedy("manual", f"{summary}, {no_place(changed)}.", changed.edits + changed.texts,
                      changed.commands + again, risk=risk)
    return Remedy("exact", f"{summary}.", changed.edits, changed.commands + again, risk=risk)
