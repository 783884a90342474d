"""Flower: does it answer on its port?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from celery_triage.checks.monitoring.shared import Entry, answers, declared_ports, entries, grown
from celery_triage.checks.registry import Look, check
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, restart
from celery_triage.stack import Service

#: Flower 2.2 says this once it has opened its port (``command.py``, ``print_banner``).
_VISIT = re.compile(r"Visit me at https?://[^/\s]*?(?::([0-9]{1,5}))?(?:/|$)")
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


@check(
    "MON002",
    "flower-down",
    severity="warning",
    needs=("containers", "http"),
    uses=("compose", "logs/*", "events", "files/*"),
    also=("flower-unreachable", "flower-failing"),
)
def flower_down(look: Look) -> Iterator[Finding]:
    """Flower's container runs, and Flower does not answer on its port.

    ## What
    The connection to Flower's port is refused although the process has run for a while (`flower-down`); or it
    was told to listen inside its own container only while the stack publishes or exposes its port
    (`flower-unreachable`); or its own check of its life answers with an error of the server
    (`flower-failing`).

    ## Why
    Nobody sees the workers any more; the workers themselves go on.

    ## Looks like
    `Up 5 minutes` in `docker ps`, and a browser that cannot connect.

    ## Confirm
    `docker logs FLOWER` names the port after `Visit me at`; `docker exec FLOWER python3 -c "import
    urllib.request as u; print(u.urlopen('http://127.0.0.1:5555/healthcheck').status)"`.

    ## Do
    Down: read its log, restart it. Unreachable: take `--address=127.0.0.1` (`FLOWER_ADDRESS`) away; who may
    reach it is decided by the published port (`127.0.0.1:5555:5555`) and by `--basic-auth`.

    ## False alarms
    Any answer counts as life, also 401, 403 and a redirect to a login. Flower on a Unix socket has no port. A
    Flower younger than 20 s is not judged; one that takes the connection and is silent makes the rule
    unknown, for a busy processor does the same. Its messages `Inspect method … failed` say only that no
    worker answered in time.
    """
    for service in look.members:
        if service.role != "flower" or not service.running:
            continue
        for entry in entries(look, service):
            if entry["purpose"] == "flower" and not _no_port(service):
                yield from _judge(look, service, entry)


def _judge(look: Look, service: Service, entry: Entry) -> Iterator[Finding]:
    port = entry["port"]
    if answers(entry):
        if entry["code"] >= 500:
            yield _finding(look, service, entry, "flower-failing", f"answers {entry['code']} on port {port}")
        return
    if entry.get("error_kind") != "refused":
        return  # the section itself is partial then, or somebody else's protocol answers
    if not grown(service):
        look.note("http", f"{service.label} has only just started")
        return
    said = _banner(look, service)
    if said not in (None, port):
        look.note("http", f"{service.label} says that it listens on {said}, and was asked on {port}")
    elif _address(service) in _LOOPBACK:
        if port in declared_ports(look, service):
            words = f"listens on {_address(service)} only, inside its own container"
            yield _finding(look, service, entry, "flower-unreachable", words)
    else:
        yield _finding(look, service, entry, "flower-down", f"runs, and nothing listens on its port {port}")


def _finding(look: Look, service: Service, entry: Entry, name: str, words: str) -> Finding:
    proof = [Proof("http", f"{service.label}: GET {entry['url']}: {entry['code'] or entry['why']}")]
    course = look.course(service)
    lines = course.lines(course.told) if course.told else ()
    if lines:
        proof.append(Proof(f"logs/{service.label}", lines[-1][2], None, lines[-1][0] or None))
    port, path = entry["port"], entry["path"]
    script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}{path}').status)"
    verify = (f'docker exec {service.name} python3 -c "{script}"  # 200', *alive([service]))
    remedy = Remedy(
        "exact",
        f"Read its log for the reason (docker logs --tail 50 {service.name}), then restart it.",
        commands=restart([service]),
        risk="What Flower remembers of past tasks is lost, unless it is started with --persistent.",
    )
    if name == "flower-unreachable":
        remedy = Remedy(
            "manual",
            "Take the address away (option --address or variable FLOWER_ADDRESS), or write 0.0.0.0; then "
            "make the container anew.",
        )
    return look.finding(
        f"{service.label} {words}",
        name=name,
        services=(service.label,),
        object=str(port),
        certainty="inferred" if name == "flower-down" and _banner(look, service) is None else "confirmed",
        proof=proof,
        remedy=remedy,
        verify=verify,
    )


def _banner(look: Look, service: Service) -> int | None:
    """The port that Flower itself named in its present life."""
    course = look.course(service)
    found = None
    for line in course.lines(course.told) if course.told else ():
        if match := _VISIT.search(line[2]):
            found = int(match[1]) if match[1] else None
    return found


def _given(service: Service, name: str) -> str:
    """An option of Flower: its command line, else its variable."""
    for word in service.argv:
        option, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and equals and option.replace("-", "_") == name:
            return value
    return str(service.env.get(f"FLOWER_{name.upper()}") or "")


def _no_port(service: Service) -> bool:
    return bool(_given(service, "unix_socket"))


def _address(service: Service) -> str:
    return _given(service, "address")
