"""Memory of a Redis: full, or kept free by throwing tasks away."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.redis.shared import (
    STOPS,
    can_be_told,
    cli,
    concerned,
    name_of,
    said,
    servers,
    unasked,
    words_of,
)
from celery_triage.checks.registry import Look, check
from celery_triage.checks.reports import reported
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive

MIB = 2**20
#: A policy that may throw away any key, so also the list that is a queue (it has no expiry).
EVICTS_ALL = "allkeys-"


@check(
    "RDS050",
    "redis-out-of-memory",
    severity="critical",
    heals=False,
    needs=("containers", "redis"),
    uses=("logs/*", "events"),
    step="broker",
    predicts=STOPS,
)
def redis_out_of_memory(look: Look) -> Iterator[Finding]:
    """Redis has reached its maxmemory and refuses to write.

    ## What
    The server's own figures: it uses as much as `maxmemory` allows, and its policy lets it throw nothing away
    (`noeviction`).

    ## Why
    No task can be sent and no result stored; a worker that starts cannot declare its queues.

    ## Looks like
    `OOM command not allowed when used memory > 'maxmemory'.` The container has memory enough: the limit is
    Redis' own.

    ## Confirm
    `docker exec REDIS redis-cli info memory` (`used_memory`, `maxmemory`), `redis-cli --bigkeys`.

    ## Do
    See what fills it: deep queues without a consumer, results without `result_expires`, foreign data. Raise
    `maxmemory` while the machine has room; keep `noeviction` for a broker.

    ## False alarms
    None is known: the figures are the server's. A server right at its mark may take one write and refuse the
    next.
    """
    judged: set[str] = set()
    for server, services in servers(look):
        if unasked(look, server):
            continue
        memory = server.get("memory") or {}
        most, used, policy = memory.get("max"), memory.get("used"), memory.get("policy")
        if most is None or used is None:
            look.note("redis", f"{server['key']}: its memory is not known")
            continue
        judged |= concerned(server, services)
        spoken = said(look, services)
        if (
            not most
            or str(policy).startswith(EVICTS_ALL)
            or not (used >= most or (spoken and used > 0.97 * most))
        ):
            continue
        name, names = name_of(look, server), listed([one.label for one in services])
        more = max(64, -(-2 * most // MIB))
        now = cli(look, server, "config", "set", "maxmemory", f"{more}mb")
        deep = {
            queue: depth
            for queue, depth in ((server.get("samples") or [{}])[-1].get("queues") or {}).items()
            if depth
        }
        held = f"; tasks wait there: {listed([f'{q} {n}' for q, n in sorted(deep.items())])}" if deep else ""
        figures = f"{used / MIB:.1f} MiB of {most / MIB:.1f} MiB are used, policy {policy}"
        yield look.finding(
            f"{name} has used up its maxmemory ({most / MIB:.1f} MiB) and refuses every write: {names} can "
            f"neither "
            "send tasks nor store results",
            services=tuple(one.label for one in services),
            object="maxmemory",
            certainty="confirmed" if spoken else "inferred",
            proof=[Proof("redis", f"{server['key']}: {figures}{held}"), *words_of(look, server, services)],
            remedy=Remedy(
                "choice",
                f"Give {name} more memory, or take out what fills it.",
                question=f"Is what fills {name} needed?",
                options=(
                    Option(
                        "raise-maxmemory",
                        f"Yes: allow {more} MiB now; write it into the configuration or command of {name}, "
                        f"too, "
                        "or its next start forgets it.",
                        commands=(now,) if can_be_told(look, server) else (),
                    ),
                    Option(
                        "take-out",
                        "No: find the big keys (redis-cli --bigkeys), let a worker empty the deep queues, "
                        "set "
                        "result_expires, and delete what nobody needs.",
                    ),
                ),
                risk=f"The machine must have {more} MiB to spare, and the container's limit allow it.",
            ),
            verify=(
                f"{cli(look, server, 'info', 'memory')}  # used_memory below maxmemory",
                *alive(services),
            ),
        )
    yield from reported(look, judged)


@check(
    "RDS059",
    "redis-eviction",
    severity="warning",
    heals=False,
    needs=("containers", "redis"),
    uses=("logs/*", "events"),
)
def redis_eviction(look: Look) -> Iterator[Finding]:
    """The eviction policy of Redis may throw away tasks.

    ## What
    The broker has a `maxmemory`, and its policy is one of `allkeys-…`: when it is full it deletes any key. A
    queue is one key, a list without expiry; `volatile-…` policies never touch it.

    ## Why
    A whole queue with all its tasks, the bindings of all queues or the messages in work vanish, and nobody
    is told.

    ## Looks like
    Tasks that were sent and never done; `evicted_keys` of INFO only grows. No error anywhere.

    ## Confirm
    `docker exec REDIS redis-cli config get maxmemory-policy`, `redis-cli info stats` (`evicted_keys`).

    ## Do
    `maxmemory-policy noeviction` for a broker; what is only a cache belongs into another Redis.

    ## False alarms
    A Redis that is the result backend alone: results may be thrown away there, so nothing is said of it.
    """
    for server, services in servers(look):
        if unasked(look, server):
            continue
        memory, evicted = server.get("memory") or {}, (server.get("info") or {}).get("evicted_keys") or 0
        if memory.get("max") is None or memory.get("policy") is None:
            look.note("redis", f"{server['key']}: its memory and policy are not known")
            continue
        policy = str(memory["policy"])
        broker = "broker" in (server.get("purposes") or ["broker"])
        if not memory["max"] or not policy.startswith(EVICTS_ALL) or not broker:
            continue
        name = name_of(look, server)
        gone = f"it has thrown away {evicted} {verb([''] * min(evicted, 2), 'key', 'keys')} since its start"
        yield look.finding(
            f"{name} throws away any key when its {memory['max'] / MIB:.1f} MiB are full ({policy}), "
            f"queues with "
            f"their tasks too{f': {gone}' if evicted else ''}",
            services=tuple(one.label for one in services),
            object=policy,
            certainty="confirmed" if evicted else "inferred",
            proof=[
                Proof(
                    "redis",
                    f"{server['key']}: maxmemory-policy {policy}, evicted_keys {evicted}, "
                    f"{(memory.get('used') or 0) / MIB:.1f} MiB of {memory['max'] / MIB:.1f} MiB used",
                )
            ],
            remedy=_keep(look, server, name),
            verify=(
                f"{cli(look, server, 'config', 'get', 'maxmemory-policy')}  # noeviction",
                *alive(services),
            ),
        )


def _keep(look: Look, server, name: str) -> Remedy:
    memory = server.get("memory") or {}
    full = (memory.get("used") or 0) > 0.9 * memory["max"]
    summary = (
        f"Set noeviction on {name}; write it into its configuration or command, too, or its next start "
        "forgets it."
    )
    risk = f"Once it is full, {name} refuses writes instead: sending then fails, and is seen."
    if full or not can_be_told(look, server):
        before = " It is nearly full: raise maxmemory first." if full else ""
        return Remedy("manual", summary + before, risk=risk)
    return Remedy(
        "exact",
        summary,
        commands=(cli(look, server, "config", "set", "maxmemory-policy", "noeviction"),),
        risk=risk,
    )
