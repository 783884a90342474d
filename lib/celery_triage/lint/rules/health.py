"""Health checks and limits, as far as a file can show what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from celery_triage.checks.health.pings import nodes
from celery_triage.checks.health.probes import own_node, ping_of
from celery_triage.checks.health.timing import SHORT_S, SMALL_CPUS
from celery_triage.checks.registry import RULES, Look
from celery_triage.checks.words import listed
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.rules.servers import required_password
from celery_triage.lint.subject import Subject
from celery_triage.model import Evidence, Finding, Section
from celery_triage.stack import Service

#: What an idle worker without any application needs at least (MiB): the main process, and each prefork child
#: beside what it shares. Measured as `rss` of its container's cgroup, Celery 5.6.3, Python 3.11, a container
#: with 1, 4 and 8 children: 51, 65 and 90 MiB. (What `checks.memory.enough` recommends is what a real
#: application needed; here only what surely cannot work is told.)
_CHILD_MIB, _MAIN_MIB = 5, 44


def _look(subject: Subject, code: str) -> Look:
    evidence = Evidence("", "", {"containers": Section("containers", "ok", subject.data)})
    return Look(evidence, RULES[code], stack=subject.stack)


@static("HLT001", "health-check-cannot-pass")
def cannot_pass(subject: Subject) -> Iterator[Finding]:
    """A ping of beat or Flower, or of a name that no worker here bears."""
    borne, sure = nodes(_look(subject, "HLT001"))
    if (
        not sure
        or subject.project.fragment
        or any(one.unwrapped.unreadable and "celery" in one.label for one in subject.services)
    ):
        sure = False
    for service in subject.celery:
        ping = ping_of(service)
        if ping is None or not ping.nodes or service.role not in ("worker", "beat", "flower"):
            continue
        literal = not ping.shell and any(re.search(r"\$[A-Za-z_]", name) for name in ping.nodes)
        if any("$" in name or "%" in name for name in ping.nodes) and not literal or ping.unsure:
            continue
        own = service.role != "worker" and any(name.startswith(("beat@", "flower@")) for name in ping.nodes)
        if any(node in borne for node in ping.nodes) or not (sure or own):
            continue
        node = subject.node(service, "healthcheck", "test")
        asked = listed(ping.written, 3)
        if service.role == "worker":
            right = own_node(service).replace("$", "$$") if ping.shell else ""
            yield found(
                subject,
                "HLT002",
                "health-check-wrong-node",
                "warning",
                f"{service.label}: its health check pings {asked}, and no worker here is called that",
                [node],
                services=[service],
                thing=",".join(ping.written),
                fix=f"Write -d {right}." if right else "Write the worker's own name (-n NAME@%h) into it.",
            )
        else:
            yield found(
                subject,
                "HLT001",
                "health-check-cannot-pass",
                "warning",
                f"{service.label}: its health check pings {asked} and can never pass, for only workers "
                f"answer a ping",
                [node],
                services=[service],
                thing=",".join(ping.written),
                fix="Take the check away (healthcheck: disable: true): the container tells that it lives.",
            )


@static("HLT001", "health-check-cannot-pass")
def without_password(subject: Subject) -> Iterator[Finding]:
    """``redis-cli ping | grep PONG`` of a Redis that asks for a password: the answer is NOAUTH. (Without grep
    ``redis-cli`` ends with 0 all the same.)"""
    for service in subject.services:
        test = " ".join((service.item["healthcheck"] or {}).get("test") or ())
        if service.role != "redis" or "redis-cli" not in test or "grep" not in test:
            continue
        password = required_password(service)
        signs = (" -a", "--pass", "--askpass", "REDISCLI_AUTH", "--user", " -u ", "AUTH")
        if not password or any(sign in test for sign in signs) or "REDISCLI_AUTH" in service.env:
            continue
        yield found(
            subject,
            "HLT001",
            "health-check-cannot-pass",
            "warning",
            f"{service.label}: its health check does not log in and can never pass, for this Redis asks for "
            f"a password",
            [subject.node(service, "healthcheck", "test"), subject.command_node(service, "--requirepass")],
            services=[service],
            thing="redis-cli",
            fix="Set REDISCLI_AUTH to the password in its environment.",
        )


@static("HLT004", "health-check-other-worker", "notice")
def other_worker(subject: Subject) -> Iterator[Finding]:
    """A ping without `-d` where more than one worker can answer."""
    workers = [one for one in subject.celery if one.role == "worker"]
    for service in subject.celery:
        ping = ping_of(service)
        if ping is None or ping.nodes or "$" in ping.text.replace("$HOSTNAME", ""):
            continue
        others = [one.label for one in workers[:6] if one is not service]  # no more are named
        others += [service.label] * (service.role == "worker" and subject.known[service.label].count > 1)
        if not others:
            continue
        fix = own_node(service).replace("$", "$$") if service.role == "worker" and ping.shell else ""
        yield found(
            subject,
            "HLT004",
            "health-check-other-worker",
            "notice",
            f"{service.label}: its health check passes when any worker answers "
            f"({listed(others, 4)}), so it says "
            f"nothing of its own container",
            [subject.node(service, "healthcheck", "test")],
            services=[service],
            thing="ping",
            fix=f"Add -d {fix} to inspect ping."
            if fix
            else "Take the ping away."
            if service.role != "worker"
            else "Add -d and the worker's own name to inspect ping.",
        )


@static("HLT003", "health-check-too-slow")
def too_slow(subject: Subject) -> Iterator[Finding]:
    """A ping with less time, or less processor, than starting Celery's command line takes."""
    for service in subject.celery:
        check = service.item["healthcheck"]
        if ping_of(service) is None or not check:
            continue
        cpus, timeout = float(service.item["limits"]["cpus"]), float(check["timeout_s"])
        tight = 0 < cpus <= SMALL_CPUS and timeout <= 2.0 / cpus
        if not tight and timeout > SHORT_S:
            continue
        why = f" with {cpus:g} processors" if tight else ""
        yield found(
            subject,
            "HLT003",
            "health-check-too-slow",
            "warning",
            f"{service.label}: its health check has {timeout:g} s{why}; a ping takes 1 to 2 s "
            f"of processor time",
            [
                subject.node(service, "healthcheck", "timeout"),
                *([subject.node(service, "deploy", "resources", "limits", "cpus")] if tight else []),
            ],
            services=[service],
            thing="timeout",
            fix=f"Give it {max(10.0, 4.0 / cpus if tight else 10.0):g} s, or more of a processor.",
        )


@static("HLT005", "capacity")
def capacity(subject: Subject) -> Iterator[Finding]:
    """More pool processes than the memory limit has room for, even with an empty application."""
    for service in subject.celery:
        memory = int(service.item["limits"]["memory"])
        processes = _processes(subject, service)
        if not memory or not processes:
            continue
        least = _MAIN_MIB + processes * _CHILD_MIB
        if memory >= least * 2**20:
            continue
        yield found(
            subject,
            "HLT005",
            "capacity",
            "warning",
            f"{service.label}: {processes} pool processes in {memory // 2**20} MiB; Celery alone needs about "
            f"{least} MiB for them",
            [
                subject.command_node(service, "--concurrency"),
                subject.node(service, "deploy", "resources", "limits", "memory"),
            ],
            services=[service],
            thing="memory",
            fix="Raise the limit, or start fewer processes (--concurrency).",
        )


def _processes(subject: Subject, service: Service) -> int:
    """The most pool processes that the command allows; 0 where it does not say, or starts threads."""
    for launch in reversed(list(subject.launches(service).values())):
        options = launch.options
        if launch.subcommand != "worker" or str(options.get("pool") or "prefork") != "prefork":
            return 0
        if "concurrency" in launch.from_env or "pool" in launch.from_env:
            return 0
        scale = options.get("autoscale")
        told = scale[0] if isinstance(scale, list) and scale else options.get("concurrency")
        return int(told) if isinstance(told, int) or str(told).isdigit() else 0
    return 0
