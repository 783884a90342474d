"""Statements that wait for a lock that another session holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.database.shared import concerned, servers, superuser, unseen
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import reported
from celery_triage.checks.words import lasted, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, psql
from celery_triage.stack import Service

#: Shorter waits for a lock (seconds) are the daily life of a database.
PATIENCE_S = 10.0


@check(
    "DBS054",
    "database-locks",
    severity="warning",
    heals=False,
    needs=("containers", "postgres"),
    uses=("logs/*", "events"),
    predicts=(Prediction(("BRK005", "BEA003", "BEA004", "WRK004")),),
)
def database_locks(look: Look) -> Iterator[Finding]:
    """Statements wait for locks of others, or were cancelled for them.

    ## What
    The server was asked who waits for a lock and who holds it (`pg_blocking_pids`). Reported is what has
    waited for ten seconds or more, with the session at the head of the line.

    ## Why
    Celery writes the state of every task into one table. A session that locks it, or a row in it, and does
    nothing more (`idle in transaction`) holds up every worker: the pool processes hang, and no error is
    written.

    ## Looks like
    Tasks that are received and never end; workers answer pings. Else `deadlock detected`, `canceling
    statement due to lock timeout`.

    ## Confirm
    `docker exec POSTGRES psql -U postgres -c 'SELECT pid, pg_blocking_pids(pid), state, query FROM
    pg_stat_activity WHERE wait_event_type = $$Lock$$'`.

    ## Do
    See what the session at the head does; let it finish, or end it (`pg_terminate_backend`). Then shorten
    transactions, set `idle_in_transaction_session_timeout` and `lock_timeout`, lock in the same order
    everywhere.

    ## False alarms
    A migration or a backup that locks a table for a while ends by itself: it is only a warning.
    """
    judged: set[str] = set()
    for server in servers(look):
        if unseen(look, server):
            continue
        if server.get("waiting") is None:
            look.note("postgres", f"{server['key']}: who waits for locks is not known")
            continue
        judged.update(server.get("services") or ())
        judged.add(server.get("container") or "")
        wanted = {name for name in server.get("wanted") or ()}
        waiting = [one for one in server["waiting"]
                   if one.get("database") in wanted and (one.get("seconds") or 0) >= PATIENCE_S]
        blocked = {one["pid"] for one in server["waiting"]}
        heads: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
        for one in waiting:
            if one["by"]["pid"] not in blocked:
                heads.setdefault((one["database"], one["by"]["pid"]), []).append(one)
        for (database, pid), held in heads.items():
            yield _held(look, server, database, pid, held, waiting)
    yield from reported(look, judged)


def _held(
    look: Look, server: Mapping[str, Any], database: str, pid: int, held: Sequence[Mapping[str, Any]],
    waiting: Sequence[Mapping[str, Any]],
) -> Finding:
    there = [one for one in waiting if one["database"] == database]
    by, name = held[0]["by"], server.get("container") or server["key"]
    state = str(by.get("state") or "in a state that this role may not see")
    since = f" for {lasted(by['seconds'])}" if by.get("seconds") is not None else ""
    whose = _whose(look, by)
    longest = lasted(max(one["seconds"] for one in there))
    pids = {one["pid"] for one in there}
    services = _services(look, server, there)
    idle = state.startswith("idle in transaction")
    proof = [
        Proof("postgres", f"{server['key']}: session {one['pid']} in {one['database']} waits for "
                          f"{lasted(one['seconds'])} for session {one['by']['pid']}")
        for one in there[:5]
    ]
    proof.append(Proof("postgres", f"{server['key']}: session {pid}{whose}: {state}{since}"))
    owner = look.stack.get(server.get("container") or "")
    ending = f"SELECT pg_terminate_backend({pid})"
    return look.finding(
        f"{len(pids)} {verb(sorted(pids), 'statement waits', 'statements wait')} in {database} on {name} "
        f"for a lock, "
        f"the longest for {longest}: session {pid}{whose} holds it, {state}{since}",
        severity="critical" if idle else "warning",
        services=tuple(one.label for one in services),
        object=database,
        certainty="confirmed",
        proof=proof,
        remedy=Remedy(
            "choice",
            f"Let session {pid} finish, or end it.",
            question=f"Is what session {pid}{whose} does still wanted?",
            options=(
                Option("let-it-finish", "Yes: let it commit; all that wait go on by themselves."),
                Option("end-session", "No: end it; its transaction is rolled back.",
                       commands=(psql(owner, superuser(owner), ending),) if owner is not None else ()),
            ),
            risk="What that session had not committed is lost; its program may do the same again.",
        ),
        verify=alive(services),
    )


def _whose(look: Look, by: Mapping[str, Any]) -> str:
    """Whose session it is: program, role, container."""
    label = _by_address(look).get(by.get("address") or "")
    parts = [str(by.get("application") or ""), f"role {by['user']}" if by.get("user") else "",
             f"from {label or by.get('address')}" if by.get("address") else "by the local socket"]
    return f" ({', '.join(part for part in parts if part)})"


def _by_address(look: Look) -> dict[str, str]:
    return {
        member["ip"]: one.label
        for one in look.stack.services
        for member in (one.item.get("networks") or {}).values()
        if member and member.get("ip")
    }


def _services(look: Look, server: Mapping[str, Any], there: Sequence[Mapping[str, Any]]) -> list[Service]:
    """The services whose statements wait; all that go by the server where no address tells."""
    labels = {_by_address(look).get(one.get("address") or "") for one in there}
    return concerned(look, labels - {None}) or concerned(look, server.get("services") or ())
