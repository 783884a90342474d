"""Tables that a statement names and the database does not have."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.database.shared import DEATHS, servers, superuser
from celery_triage.checks.registry import Look, check
from celery_triage.checks.words import listed, times
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, psql, restart
from celery_triage.signatures import Match
from celery_triage.stack import Service

#: Tables that Celery makes itself (``collect.results`` looks for them by these names).
CELERYS = ("celery_taskmeta", "celery_tasksetmeta")


@check(
    "DBS005",
    "table-missing",
    severity="warning",
    needs=("containers", "results", "logs/*"),
    uses=("events", "postgres"),
    step="results",
    predicts=DEATHS,
    also=("result-table-missing",),
)
def table_missing(look: Look) -> Iterator[Finding]:
    """A task names a table that is in none of the databases that its service's URLs lead to.

    ## What
    A log of the current life says that a relation does not exist, and the list of tables, read now from each
    database of that service's URLs (read-only), does not hold it. `table-missing` is about a table of the
    application, `result-table-missing` about Celery's own.

    ## Why
    The tasks that need it fail; the worker lives and does all others. Celery makes its own tables once in
    the life of a process: where they go under a running worker (a database made anew, restored, cleaned),
    no result is stored any more until the worker is started again.

    ## Looks like
    `Task shop.tasks.bill[…] raised unexpected: ProgrammingError('(psycopg.errors.UndefinedTable) relation
    "invoices" does not exist …`

    ## Confirm
    `docker exec POSTGRES psql -U postgres -d DATABASE -c '\\dt *.*'` lists the tables; `SELECT * FROM
    alembic_version` says up to which revision Alembic's migrations were applied.

    ## Do
    Apply the application's migrations (`alembic upgrade head`, `manage.py migrate`) to that very database.
    Celery's own tables come back when the worker is started again.

    ## False alarms
    An application that reads a further database, whose URL is in no variable that was recognised: the table
    may be missing there, or there by now. So the finding is *inferred*. Which revision the scripts in the
    image would lead to cannot be seen from outside and is not judged.
    """
    servers(look)
    looked = _looked_into(look)
    groups: dict[str, list[tuple[Service, Match, bool | None]]] = {}
    for service in look.celery:
        log = look.section(f"logs/{service.label}")
        for said in _said(look, service) if log.readable else ():
            missing = _missing(said.object, looked.get(service.label, []))
            if missing is None:
                look.note("results", f"whether {said.object} is there now could not be seen")
            groups.setdefault(said.object, []).append((service, said, missing))
    for table, told in groups.items():
        now = [(service, said) for service, said, missing in told if missing]
        gone = [(service, said) for service, said, missing in told if missing is False]
        if now:
            yield _now(look, table, now, looked)
        elif gone:
            names = listed([service.label for service, _ in gone])
            yield look.finding(
                f"Earlier, not any more: {names} missed the table {table}, which is there now",
                services=tuple(service.label for service, _ in gone),
                object=table,
                name="result-table-missing" if table in CELERYS else "table-missing",
                severity="notice",
                state="history",
                certainty="reported",
                proof=[look.course(service).proof(said) for service, said in gone],
            )


def _looked_into(look: Look) -> dict[str, list[Mapping[str, Any]]]:
    """By service the entries of all databases that its URLs lead to."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in (look.data("results") or {}).get("servers") or ():
        for label in entry.get("services") or ():
            found.setdefault(label, []).append(entry)
    return found


def _said(look: Look, service: Service) -> list[Match]:
    """What the life of now says of missing tables, each table once: last words, the process's own words, and
    what its tasks raised."""
    course = look.course(service)
    lives = [*course.lives[-1:], *([course.told] if course.told else [])]
    said = {
        one.object: one
        for life in lives
        for one in course.matches(life)
        if one.code == look.rule.code and one.context != "quoted" and one.object
    }
    return list(said.values())


def _missing(table: str, entries: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether a table is in none of these databases; None where one of them could not tell."""
    told = [entry.get("relations") for entry in entries]
    if any(one and table in (*one["visible"], *(one["all"] if "." in table else ())) for one in told):
        return False
    return True if told and all(one and one.get("complete") for one in told) else None


def _now(
    look: Look,
    table: str,
    told: Sequence[tuple[Service, Match]],
    looked: Mapping[str, list[Mapping[str, Any]]],
) -> Finding:
    """The finding about a table that is missing now."""
    services = [service for service, _ in told]
    names = listed([service.label for service in services])
    entries = {entry["database"]: entry for service in services for entry in looked[service.label]}
    where = listed([f'"{name}"' for name in sorted(entries)])
    own = table in CELERYS
    there = _there(look, table, entries)
    dies = any(said.context == "death" for _, said in told)
    count = sum(said.count for _, said in told)
    effect = f"tasks of {names} fail for want of it (said {times(count)})"
    if own:
        effect = f"{names} cannot store a result"
    elif dies:
        effect = f"{names} ends for want of it" if len(services) == 1 else f"{names} end for want of it"
    proof = [
        Proof("results", f"{entry['key']}/{name}: {len(entry['relations']['all'])} tables, views and "
                         f"sequences, no {table}{_alembic(entry)}")
        for name, entry in sorted(entries.items())
    ]
    proof += [look.course(service).proof(said) for service, said in told]
    return look.finding(
        f'The table "{table}" is not in {where}: {effect}',
        name="result-table-missing" if own else "table-missing",
        severity="critical" if own or dies else "warning",
        services=tuple(service.label for service in services),
        object=table,
        certainty="confirmed" if own else "inferred",
        proof=proof,
        remedy=_again(services, table, there) if own else _migrate(table, where),
        verify=(*([f"{there}  # its name, not empty"] if there else []), *alive(services)),
    )


def _alembic(entry: Mapping[str, Any]) -> str:
    """What Alembic's table says, as the end of a sentence."""
    if "alembic_version" not in (entry.get("schemas") or {}):
        return "; no alembic_version"
    versions = (entry.get("alembic") or {}).get("version")
    if versions is None:
        return "; alembic_version could not be read"
    return f"; alembic_version: {', '.join(versions) or 'empty'}"


def _again(services: Sequence[Service], table: str, there: str) -> Remedy:
    """Start them again, and wait until the table is there: until then the others lose their results, too."""
    names = listed([service.label for service in services])
    wait = shlex.quote(f"until {there} | grep -q {table}; do sleep 1; done")
    return Remedy(
        "exact",
        f"Start {names} again: Celery then makes its tables.",
        commands=(*restart(services), *([f"timeout 60 sh -c {wait}"] if there else [])),
        risk=f"Tasks that run in {names} are cut off; results from before the tables went are lost already.",
    )


def _migrate(table: str, where: str) -> Remedy:
    return Remedy(
        "manual",
        f'Apply the migrations of the application to {where} (Alembic: `alembic upgrade head`, Django: '
        f'`manage.py migrate`), or correct the name "{table}" in the code. The worker need not be started '
        "again.",
        risk="A migration changes the schema of a database that is in use: make a copy of it before.",
    )


def _there(look: Look, table: str, entries: Mapping[str, Mapping[str, Any]]) -> str:
    """A command that shows the table where the server is a container; only where one database is meant."""
    keys = {entry["key"]: name for name, entry in entries.items()}
    if len(entries) != 1:
        return ""
    for server in (look.data("postgres") or {}).get("servers") or ():
        owner = look.stack.get(server.get("container") or "")
        if owner is not None and server["key"] in keys:
            quoted = table.replace("'", "''")
            return psql(owner, superuser(owner), f"SELECT to_regclass('{quoted}')", keys[server["key"]])
    return ""
