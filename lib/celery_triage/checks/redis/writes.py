"""A Redis that answers and takes no writes: it cannot save, or it is a replica."""

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
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive


@check(
    "RDS051",
    "redis-cannot-save",
    severity="critical",
    heals=False,
    needs=("containers", "redis"),
    uses=("logs/*", "events"),
    step="broker",
    predicts=STOPS,
)
def redis_cannot_save(look: Look) -> Iterator[Finding]:
    """Redis cannot save to disk and refuses to write.

    ## What
    The server's own figures: its last snapshot failed (`rdb_last_bgsave_status:err`), snapshots are
    configured, and `stop-writes-on-bgsave-error` is on; or its last write to the AOF file failed.

    ## Why
    Redis then takes no write from anybody: no task can be sent, no result stored.

    ## Looks like
    `MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.`

    ## Confirm
    `docker exec REDIS redis-cli info persistence`, and the server's log: it says why (`Permission denied`,
    `No space left on device`, `Cannot allocate memory`).

    ## Do
    Mend what the log names, then `redis-cli bgsave`: after one good snapshot it takes writes again. A broker
    whose tasks may be lost in a crash needs no snapshots: `save ""`.

    ## False alarms
    None is known: the figures are the server's.
    """
    judged: set[str] = set()
    for server, services in servers(look):
        if unasked(look, server):
            continue
        info, saving = server.get("info") or {}, server.get("saving") or {}
        snapshot, file = info.get("rdb_last_bgsave_status"), info.get("aof_last_write_status")
        if snapshot is None:
            look.note("redis", f"{server['key']}: whether it can save is not known")
            continue
        refuses = saving.get("stops_writes") and saving.get("save")
        if snapshot != "ok" and file != "err" and not saving:
            look.note("redis", f"{server['key']}: whether it refuses writes for it is not known")
            continue
        judged |= concerned(server, services)
        if file == "err":
            thing = "AOF"
        elif snapshot == "err" and refuses:
            thing = "RDB snapshot"
        else:
            continue
        name, names = name_of(look, server), listed([one.label for one in services])
        figures = f"rdb_last_bgsave_status {snapshot}, aof_last_write_status {file}"
        if saving:
            stops = "yes" if saving.get("stops_writes") else "no"
            figures += f'; save "{saving.get("save") or ""}", stop-writes-on-bgsave-error {stops}'
        yield look.finding(
            f"{name} cannot save to its disk and so refuses every write: {names} can neither send tasks "
            f"nor store "
            "results",
            services=tuple(one.label for one in services),
            object=thing,
            certainty="confirmed" if said(look, services) else "inferred",
            proof=[Proof("redis", f"{server['key']}: {figures}"), *words_of(look, server, services)],
            remedy=_save_again(look, server, name, thing),
            verify=(
                f"{cli(look, server, 'info', 'persistence')}  # rdb_last_bgsave_status:ok, or no save points",
                *alive(services),
            ),
        )
    yield from reported(look, judged)


def _save_again(look: Look, server, name: str, thing: str) -> Remedy:
    mend = (
        f"Mend what the log of {name} names (room on the disk of its data folder, the folder's owner, memory "
        "for the fork)"
    )
    if thing == "AOF":
        return Remedy("manual", f"{mend}; Redis tries again by itself.")
    told = can_be_told(look, server)
    return Remedy(
        "choice",
        f"Let {name} save again, or let it not save at all.",
        question=f"Must what is in {name} outlive its own end?",
        options=(
            Option(
                "let-it-save",
                f"Yes: {mend[0].lower()}{mend[1:]}; then take a snapshot.",
                commands=(cli(look, server, "bgsave"),) if told else (),
            ),
            Option(
                "do-not-save",
                f'No: switch snapshots off; write `save ""` into the configuration or command of {name}, '
                f'too, or its '
                "next start forgets it.",
                commands=(cli(look, server, "config", "set", "save", ""),) if told else (),
            ),
        ),
        risk="Without snapshots all that waits in the queues is lost when Redis ends.",
    )


@check(
    "RDS053",
    "redis-read-only",
    severity="critical",
    heals=False,
    needs=("containers", "redis"),
    uses=("logs/*", "events"),
    step="broker",
    predicts=STOPS,
)
def redis_read_only(look: Look) -> Iterator[Finding]:
    """This Redis is a replica and takes no writes.

    ## What
    The server says of itself that its role is that of a replica, and a service uses it as broker or for its
    results.

    ## Why
    A replica takes writes from its primary only: no task can be sent, none taken, no result stored.

    ## Looks like
    `READONLY You can't write against a read only replica.`, mostly after a failover: the URL leads to what
    was the primary before.

    ## Confirm
    `docker exec REDIS redis-cli info replication`.

    ## Do
    Point the URL at the primary, or at Sentinel. If nobody of yours made it a replica, the server was open to
    the internet: close the port, set a password, `REPLICAOF NO ONE`, and treat its data as foreign.

    ## False alarms
    A replica with `replica-read-only no` takes writes, which its primary never sees; it is reported all the
    same only where a service says that it is refused.
    """
    judged: set[str] = set()
    for server, services in servers(look):
        if unasked(look, server):
            continue
        if not server.get("role"):
            look.note("redis", f"{server['key']}: its role is not known")
            continue
        judged |= concerned(server, services)
        writable = (server.get("saving") or {}).get("replica_read_only") is False
        if server["role"] != "slave" or (writable and not said(look, services)):
            continue
        info, name = server.get("info") or {}, name_of(look, server)
        primary = str(info.get("master_host") or "another server")
        link = info.get("master_link_status")
        owner = look.stack.get(server.get("container") or "")
        meaning = look.stack.resolve(owner.label, primary) if owner and info.get("master_host") else None
        known = look.stack.get(meaning.owner or "") if meaning else None
        names = listed([one.label for one in services])
        yield look.finding(
            f"{name} is a replica of {known.label if known else primary} and takes no writes: {names} can "
            f"neither "
            "send nor take tasks there",
            services=tuple(one.label for one in services),
            object="replica",
            certainty="confirmed" if said(look, services) else "inferred",
            proof=[
                Proof("redis", f"{server['key']}: role {server['role']}, primary {primary}, link {link}"),
                *words_of(look, server, services),
            ],
            remedy=Remedy(
                "choice",
                "The broker must be a primary.",
                question=f"Is {primary} a server of yours, and shall it stay the primary?",
                options=(
                    Option(
                        "use-the-primary",
                        f"Yes: write {known.label if known else primary} into the URLs of {names}, or a "
                        f"sentinel:// "
                        "URL that finds it, and make their containers anew.",
                    ),
                    Option(
                        "promote",
                        f"No: make {name} a primary. If nobody of yours made it a replica, its port was "
                        f"open to "
                        "strangers: close it, set a password, and trust nothing that is stored there.",
                        commands=(cli(look, server, "replicaof", "no", "one"),)
                        if can_be_told(look, server)
                        else (),
                    ),
                ),
                risk=f"With promote, {name} and {primary} go separate ways from then on.",
            ),
            verify=(f"{cli(look, server, 'info', 'replication')}  # role:master", *alive(services)),
        )
    yield from reported(look, judged)
