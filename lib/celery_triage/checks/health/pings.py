"""Pings as health checks: do they ask a node that can answer, and does the answer say anything of their own
container?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from celery_triage.checks.health.probes import (
    Ping,
    disabled,
    health_of,
    judged_after,
    named,
    own_node,
    ping_of,
    probes,
    proof_of,
    renamed,
    status_command,
)
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.servers import asked_servers
from celery_triage.checks.values import split
from celery_triage.checks.words import listed, verb
from celery_triage.checks.workers import ASKS_WITHIN_S
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import Change, recreate
from celery_triage.stack import Service

#: A ping that nobody answers waits for its own time-out: how long it takes then is no matter of its own.
_LATE = (Prediction(("HLT003",)),)
_SECTIONS = ("compose", "celery", "redis", "rabbitmq", "files/*", "logs/*")


@check(
    "HLT001",
    "health-check-cannot-pass",
    severity="warning",
    needs=("containers",),
    uses=_SECTIONS,
    predicts=_LATE,
)
def cannot_pass(look: Look) -> Iterator[Finding]:
    """The health check of beat or Flower pings a node that beat or Flower can never be.

    ## What
    The check is `celery inspect ping -d NAME` (or `--destination`), the service is no worker, and no worker
    bears that name.

    ## Why
    Only workers answer a ping. The check fails every time with exit code 69 ("No nodes replied within time
    constraint"), and after `retries` failures Docker calls a service unhealthy that works: whatever waits for
    `service_healthy` never starts, and a watchdog restarts it for ever. Until then it says `starting`, which
    is easily taken for well.

    ## Looks like
    `Up 56 seconds (health: starting)`, then `(unhealthy)`, while beat's own log shows nothing but tasks sent.

    ## Confirm
    `docker inspect -f '{{json .State.Health}}' CONTAINER` shows the exit codes and what the check printed.

    ## Do
    Take the check away. That beat's process lives is told by its container; that it works is told by what it
    delivers.

    ## False alarms
    A check that has succeeded in the present life is never reported.
    """
    yield from _misdirected(look, ("beat", "flower"), _cannot_pass)


@check(
    "HLT002",
    "health-check-wrong-node",
    severity="warning",
    needs=("containers",),
    uses=_SECTIONS,
    predicts=_LATE,
)
def wrong_node(look: Look) -> Iterator[Finding]:
    """The health check of a worker pings a name that no worker bears.

    ## What
    The check is `celery inspect ping -d NAME`; this worker has another name (`-n`, else `celery@` and the
    host name), and so has every other one.

    ## Why
    Nobody answers, so the check fails every time, and Docker calls a worker unhealthy that works. A name with
    `$HOSTNAME` needs a worker that is started with `-n name@%h`, and two dollar signs in a Compose file;
    only a shell puts it in, so the check is a text or begins with `CMD-SHELL`.

    ## Looks like
    `(unhealthy)` on a worker that takes its tasks; the check prints `No nodes replied within time
    constraint`.

    ## Confirm
    `celery -A APP inspect ping` without `-d` lists the names that answer.

    ## Do
    Write the worker's own name into the check.

    ## False alarms
    A check that has succeeded in the present life is never reported, nor is one whose name only the shell in
    the container knows.
    """
    yield from _misdirected(look, ("worker",), _wrong_node)


def _misdirected(
    look: Look, roles: Sequence[str], tell: Callable[[Look, str, list[tuple[Service, Ping]]], Finding]
) -> Iterator[Finding]:
    """One finding for each name that the checks of such services ask for and nobody bears."""
    borne, sure = nodes(look)
    found: dict[str, list[tuple[Service, Ping]]] = {}
    for service in look.members:
        ping = ping_of(service)
        if ping is None or not ping.nodes or service.role not in roles:
            continue
        if any(probe.exit_code == 0 for probe in probes(service)):
            continue
        if ping.unsure or not sure:
            look.note("containers", ping.unsure or "not every worker's name is known")
        elif not any(node in borne for node in ping.nodes):
            found.setdefault(",".join(ping.written), []).append((service, ping))
    for written, checks in found.items():
        yield tell(look, written, checks)


def nodes(look: Look) -> tuple[dict[str, str], bool]:
    """The names of all workers that are known, with the service of each ("" for one of another project), and
    whether every worker of this stack is among them."""
    borne, sure = {}, True
    for server in asked_servers(look):
        borne.update(dict.fromkeys(server.get("nodes") or (), ""))
    for service in look.stack.workers:
        name = service.nodename or ""
        if service.launch is None or not name or "%" in name or "$" in name:
            sure = False
        borne[name] = service.label
    for broker in (look.data("celery") or {}).get("brokers") or ():
        for name, reply in (broker.get("replies") or {}).items():
            borne[name] = (reply or {}).get("label") or borne.get(name, "")
    return borne, sure


def _facts(checks: Sequence[tuple[Service, Ping]]) -> dict:
    """What every finding of a check that asks nobody has in common."""
    services = [service for service, _ in checks]
    seen = any(probe.exit_code for service in services for probe in probes(service))
    idle = {service.label: "latent" for service in services if not service.running}
    return {
        "services": tuple(service.label for service in services),
        "certainty": "confirmed" if seen else "inferred",
        "service_states": idle,
        "detail": " ".join(filter(None, map(_standing, services))),
        "proof": [proof for service in services for proof in proof_of(service)],
    }


def _standing(service: Service) -> str:
    """What Docker says of it now, where that is not yet the last word."""
    if health_of(service).get("status") != "starting":
        return ""
    return (
        f"Docker still says starting of {service.label}; it says unhealthy after about "
        f"{judged_after(service):.0f} s of life."
    )


def _cannot_pass(look: Look, written: str, checks: list[tuple[Service, Ping]]) -> Finding:
    services = [service for service, _ in checks]
    names = [service.label for service in services]
    changes = [disabled(look, service) for service in services]
    return look.finding(
        f"The health check of {listed(names)} can never pass: it pings {checks[0][1].nodes[0]}, and only "
        f"workers answer a ping",
        object=written,
        remedy=_edited(
            look, services, changes, f"Take the ping off {listed(names)}: the container itself tells whether "
            f"the process lives.", "write disable: true in place of test: under healthcheck: of the service",
        ),
        verify=tuple(f"{status_command(service)}  # no health check" for service in services),
        **_facts(checks),
    )


def _wrong_node(look: Look, written: str, checks: list[tuple[Service, Ping]]) -> Finding:
    services = [service for service, _ in checks]
    names = [service.label for service in services]
    right = [own_node(service) if ping.shell else _literal(service) for service, ping in checks]
    changes = [
        renamed(look, service, node) if node else None for service, node in zip(services, right, strict=True)
    ]
    own = listed(sorted({str(service.nodename) for service in services}), 4)
    asked = listed(sorted({ping.nodes[0] for _, ping in checks}), 3)
    return look.finding(
        f"The health check of {listed(names)} pings {asked}, and no worker is called that: "
        f"{verb(names, 'its own name is', 'their own names are')} {own}",
        object=written,
        remedy=_edited(
            look, services, changes, f"Let the health check of {listed(names)} ask "
            f"{verb(names, 'its own worker', 'their own workers')}.",
            "write " + listed(sorted({f"-d {node.replace('$', '$$')}" for node in right if node}) or
                              ["the name that the worker's log shows"]) + " into its health check",
        ),
        verify=_healthy(services),
        **_facts(checks),
    )


def _literal(service: Service) -> str:
    """The worker's name where no shell puts in the host's: only a host name that was configured stays."""
    stays = service.hostname != str(service.item.get("id") or "")[:12]
    return service.nodename or "" if stays or "$" not in own_node(service) else ""


def _healthy(services: Sequence[Service]) -> tuple[str, ...]:
    return tuple(
        f"{status_command(service)}  # healthy, at the latest after {judged_after(service):.0f} s"
        for service in services
    )


def _edited(
    look: Look, services: Sequence[Service], changes: Sequence[Change | None], summary: str, by_hand: str
) -> Remedy:
    """The remedy made of these changes of the Compose file: exact where each could be placed."""
    commands = recreate(look.stack, services)
    risk = f"Makes the containers of {listed([service.label for service in services])} anew."
    edits, instead = split(changes)
    placed = all(change is not None and (change.command or change.edit.line) for change in changes)
    if placed and commands:
        return Remedy("exact", summary, edits, (*instead, *commands), risk=risk)
    text = f"{summary} In the Compose file, {by_hand}; then make the container anew."
    return Remedy("manual", text, commands=commands, risk=risk)


# --- A ping that anybody may answer -------------------------------------------------------------------------


@check("HLT004", "health-check-other-worker", severity="warning", needs=("containers",), uses=_SECTIONS)
def other_worker(look: Look) -> Iterator[Finding]:
    """A health check passes when any worker answers, and so says nothing of its own container.

    ## What
    The check is `celery inspect ping` without `-d` (or `celery status`), or with the name of another worker,
    and more than this service's own worker can answer it.

    ## Why
    It stays green while the worker in its own container hangs, and turns red only when all workers are gone.
    It is a warning where that is so now: Docker says healthy, and this worker answers nothing. Otherwise it
    is only worth knowing.

    ## Looks like
    `(healthy)` on a worker whose tasks wait. The check prints the names of other workers with `pong`.

    ## Confirm
    `docker inspect -f '{{json .State.Health}}' CONTAINER` shows who answered.

    ## Do
    Let the check name its own worker: `-d name@$$HOSTNAME` for a worker started with `-n name@%h`. Take it
    off beat.

    ## False alarms
    A stack with one worker is not reported: there only that worker can answer.
    """
    borne, _ = nodes(look)
    for service in look.members:
        ping = ping_of(service)
        if ping is None or ping.unsure:
            continue
        own = {node for node, label in borne.items() if label == service.label}
        others = sorted(set(borne) - own)
        asked = [node for node in ping.nodes if node in borne]
        if (ping.nodes and (not asked or set(asked) & own)) or not others:
            continue
        yield _other(look, service, ping, others)


def _other(look: Look, service: Service, ping: Ping, others: Sequence[str]) -> Finding:
    silent = _silent(look, service)
    green = health_of(service).get("status") == "healthy"
    lies = bool(silent) and green
    whom = f"{listed(ping.nodes)} is asked" if ping.nodes else "any worker's answer will do"
    what = "which says nothing of its own container"
    if lies:
        what = "and is green while its own worker is silent"
    if service.role == "worker":
        node = own_node(service) if ping.shell else _literal(service)
        change = None
        if node:
            change = renamed(look, service, node) if ping.nodes else named(look, service, node)
        told = node.replace("$", "$$") or "and the name that its log shows"
        remedy = _edited(
            look, [service], [change], f"Let the health check of {service.label} ask its own worker.",
            f"add -d {told} to inspect ping",
        )
    else:
        remedy = _edited(
            look, [service], [disabled(look, service)], f"Take the ping off {service.label}.",
            "write disable: true in place of test: under healthcheck: of the service",
        )
    return look.finding(
        f"The health check of {service.label} passes when another worker answers ({whom}), {what}",
        severity="warning" if lies else "notice",
        services=(service.label,),
        object=",".join(ping.written),
        certainty="confirmed" if lies else "inferred",
        proof=[*proof_of(service, 1), *silent],
        remedy=remedy,
        verify=_healthy([service]),
        service_states={} if service.running else {service.label: "latent"},
        detail=f"Also answering: {listed(others, 4)}.",
    )


def _silent(look: Look, service: Service) -> list[Proof]:
    """The proof that the worker of this service answers nothing and asks its broker for nothing; none where
    that is not certain."""
    for broker in (look.data("celery") or {}).get("brokers") or ():
        replies = broker.get("replies") or {}
        labels = {(reply or {}).get("label") for reply in replies.values()}
        if broker.get("asked") is None or service.label in labels or broker["asked"] <= len(replies):
            continue
        if broker.get("services") is not None and service.label not in broker["services"]:
            continue
        waits = [
            one
            for server in (look.data("redis") or {}).get("servers") or ()
            if server.get("key") == broker["key"]
            for one in server.get("consumers") or ()
            if one.get("label") == service.label and one.get("command") == "brpop"
        ]
        if waits and all(
            not one.get("blocked") and (one.get("idle_s") or 0) >= ASKS_WITHIN_S for one in waits
        ):
            told = f"{broker['key']}: {broker['asked']} nodes got the ping, {len(replies)} answered"
            return [Proof("celery", f"{told}; {service.nodename} did not")]
    return []
