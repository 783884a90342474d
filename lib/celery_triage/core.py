"""What must have been seen before a stack may be called well: its containers, their last words, the broker.

Everything else that is missing makes single checks unknown; only these make the verdict unknown.
"""

from __future__ import annotations

from celery_triage.model import Evidence
from celery_triage.stack import Service, Stack

#: The section that tells of a broker, by the family of its URL.
SECTIONS = {"redis": "redis", "amqp": "rabbitmq"}


def missing(evidence: Evidence) -> tuple[str, ...]:
    """The core evidence that is missing, one sentence each; none when a quiet diagnosis means health."""
    containers = evidence.section("containers")
    if containers.status != "ok":
        return (f"containers: {containers.why}",)
    stack = Stack.of(evidence)
    if not stack.members:
        return ("containers: the target has none",)
    return (*_logs(evidence, stack), *_brokers(evidence, stack))


def _logs(evidence: Evidence, stack: Stack) -> tuple[str, ...]:
    """Logs of members that could not be read, unless what was seen of that service makes up for it."""
    found = []
    for service in stack.members:
        section = evidence.section(f"logs/{service.label}")
        if not section.readable and not _compensated(evidence, service):
            found.append(f"logs/{service.label}: {section.why}")
    return tuple(found)


def _compensated(evidence: Evidence, service: Service) -> bool:
    """Without a log: a worker that answered a ping is well; of anything else its process alone can be seen,
    which is enough where the log driver keeps nothing for anybody."""
    if service.role == "worker":
        return service.label in answered(evidence)
    return service.running and service.item.get("log_driver") == "none"


def answered(evidence: Evidence) -> frozenset[str]:
    """The workers that answered a ping."""
    brokers = (evidence.data("celery") or {}).get("brokers") or ()
    return frozenset(
        reply["label"]
        for broker in brokers
        for reply in (broker.get("replies") or {}).values()
        if reply and reply.get("label")
    )


def _brokers(evidence: Evidence, stack: Stack) -> tuple[str, ...]:
    """Brokers in use that nobody could ask: neither the server itself nor, through it, a worker."""
    servers = [
        server
        for section in SECTIONS.values()
        for server in (evidence.data(section) or {}).get("servers") or ()
    ]
    known = {
        label: server
        for server in servers
        for label in (*server.get("services", ()), *server.get("unreached", ()))
        if "broker" in (server.get("purposes") or ["broker"])
    }
    heard = answered(evidence)
    found = []
    for service in stack.members:
        url = service.url("broker") if service.is_celery else None
        if url is None or not url.parsed.networked:
            continue
        server = known.get(service.label)
        if server is not None and server.get("status") == "ok":
            continue
        same = {
            other.label
            for other in stack.members
            if (used := other.url("broker")) is not None and used.parsed.server == url.parsed.server
        }
        if not heard & same:
            section = evidence.section(SECTIONS.get(url.parsed.family, "redis"))
            why = (server or {}).get("why") or section.why or "no section asks a broker of this kind"
            found.append(f"broker {url.parsed.server}: {why}")
    return tuple(dict.fromkeys(found))
