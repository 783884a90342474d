"""Services of the Compose file that have no container."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.changes import interpolation, shared
from celery_triage.checks.changes.written import Files
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.servers import brokers
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import recreate
from celery_triage.stack import Service, Stack

#: What a service that is not there can be the cause of: nobody consumes, nobody sends, its name is unknown.
_ABSENT = ("BRK001", "BRK003", "URL003", "URL005", "DBS004", "LOG001", "LOG002")
_SERVERS = ("postgres", "redis", "rabbitmq")


def absent(cause: Finding, finding: Finding, stack: Stack, label: str) -> bool:
    """Whether another finding is about the service that is missing, as a host, or about one of its queues."""
    queues = cause.detail.partition(": ")[2].split(", ")
    return bool(finding.object) and finding.object in (cause.object, *queues)


def expected(files: Files, name: str) -> str:
    """Why a service of the file need not have a container: empty where it should have one, else the reason,
    ``?`` before it where it cannot be known."""
    told = files.services[name]
    if "profiles" not in told:
        return "? its profiles were not collected"
    profiles = files.last(name, "profiles")
    if profiles is not None and profiles.get("value"):
        return f"it belongs to the profile {_joined(profiles['value'])}, which has to be asked for"
    deploy = files.last(name, "deploy")
    held = deploy["value"] if deploy is not None and isinstance(deploy.get("value"), Mapping) else {}
    scale = files.last(name, "scale")
    for number in (held.get("replicas"), scale and scale.get("value")):
        known = None if number is None else interpolation.known(str(number), {})
        if known == "0":
            return "the file wants none of it (scale 0)"
        if number is not None and "$" in str(number):
            return f"? how many of it are wanted stands in a variable ({number})"
    if _finished(files, name):
        return "others only wait for it to end"
    return ""


def _joined(value: Any) -> str:
    return listed([str(one) for one in value]) if isinstance(value, list) else str(value)


def _finished(files: Files, name: str) -> bool:
    """Whether another service waits for this one to end well: then it is a job, and may be gone."""
    for other in files.services:
        for node in files.layers(other, "depends_on"):
            told = node.get("value")
            how = told.get(name) if isinstance(told, Mapping) else None
            if isinstance(how, Mapping) and how.get("condition") == "service_completed_successfully":
                return True
    return False


def dependents(look: Look, name: str) -> list[str]:
    """The containers of the target that Compose started after this service, by their own label."""
    found = []
    for service in look.members:
        label = str((service.item.get("labels") or {}).get("com.docker.compose.depends_on") or "")
        if name in (one.partition(":")[0] for one in label.split(",")):
            found.append(service.label)
    return found


def as_written(files: Files, name: str, values: Mapping[str, str] | None) -> Service:
    """The service as its container would be, as far as the file says it."""
    words = {}
    for key in ("entrypoint", "command"):
        node = files.last(name, key)
        value = node.get("value") if node is not None else None
        words[key] = _words(value, values)
    image, env = files.last(name, "image"), files.variables(name)
    return Service(
        {
            "label": name,
            "service": name,
            "entrypoint": words["entrypoint"],
            "cmd": words["command"],
            "image": _known(image.get("value"), values) if image is not None else "",
            "env": {key: _known(node.get("value"), values) for key, node in env.items()},
        }
    )


def _known(value: Any, values: Mapping[str, str] | None) -> str:
    return interpolation.known(str(value or ""), values) or ""


def _words(value: Any, values: Mapping[str, str] | None) -> list[str]:
    if isinstance(value, list):
        return [_known(word, values) for word in value]
    try:
        return shlex.split(_known(value, values))
    except ValueError:
        return []


@check(
    "CHG003",
    "service-missing",
    severity="critical",
    needs=("containers", "compose"),
    uses=("redis", "rabbitmq"),
    predicts=(Prediction(_ABSENT, on="anyone", when=absent),),
)
def service_missing(look: Look) -> Iterator[Finding]:
    """A service of the Compose file has no container.

    ## What
    Every service of the project's Compose files is looked for among the containers, stopped ones too. Left
    out are services of a profile, with scale or replicas 0, and jobs for whose end others wait. It is
    critical where something shows that the service is meant to be there: a worker's queue is known to the
    broker and no other worker takes from it, or a container of the stack was started after it. Otherwise a
    Celery service or a server is a warning, anything else a notice; so is all where more services are
    missing than there are, for then somebody started only a part.

    ## Why
    What has no container has no log, no restarts and no health: it is in no list that anybody looks at.

    ## Looks like
    Nothing. Tasks of its queue wait; others cannot find its name.

    ## Confirm
    `docker compose config --services` against `docker compose ps --all --services`.

    ## Do
    `docker compose up -d SERVICE`. If it is left out on purpose, give it a profile or `scale: 0`.

    ## False alarms
    `docker compose up SERVICE…` starts only the named services, and nothing keeps what was named. A container
    that somebody removed after its work was done.
    """
    files = shared.project(look)
    present = {one.item.get("service") for one in look.stack.services}
    missing = [name for name in files.services if name not in present]
    wanted = []
    for name in missing:
        why = expected(files, name)
        if why.startswith("? "):
            look.note("compose", f"whether {name} should run is not known: {why[2:]}")
        elif not why:
            wanted.append(name)
    partly = len(wanted) > len(files.services) - len(missing)
    for name in sorted(wanted):
        yield _missing(look, files, name, partly)


def _missing(look: Look, files: Files, name: str, partly: bool) -> Finding:
    own = shared.made_by_compose(look)
    service = as_written(files, name, files.values(own[0].item if own else {}))
    waiting = dependents(look, name)
    queues = [] if service.role != "worker" else _only_its_own(look, service)
    matters = service.is_celery or service.role in _SERVERS
    witness = []
    if waiting:
        witness.append(f"{listed(waiting)} {verb(waiting, 'was', 'were')} started after it")
    if queues:
        witness.append(f"no other worker takes tasks from {listed(queues)}")
    severity = "critical" if witness and matters else "warning" if matters or waiting else "notice"
    if partly and not waiting:
        severity = "notice"
    proof = [Proof("compose", f"{name} stands in {_place(files, name)}", _line(files, name))]
    there = sorted({str(one.item.get("service")) for one in own})
    proof.append(Proof("containers", f"containers of the project, stopped ones too: {listed(there, 20)}"))
    why = f": {'; '.join(witness)}" if witness else "; whether it was left out on purpose is not known"
    return look.finding(
        f"{name} has no container, and the Compose file has it{why}",
        severity=severity,
        services=(name,),
        object=name,
        certainty="confirmed" if witness else "inferred",
        detail=f"Its queues: {', '.join(queues)}" if queues else "",
        proof=proof,
        remedy=_start(look, own, name, service),
        verify=(
            shlex.join(
                [
                    *("docker", "ps", "--filter", f"label=com.docker.compose.project={look.stack.project}"),
                    *("--filter", f"label=com.docker.compose.service={name}"),
                ]
            )
            + "  # one line, Up",
        ),
    )


def _start(look: Look, own: Sequence[Service], name: str, service: Service) -> Remedy:
    like = Service({**service.item, "labels": own[0].item.get("labels") if own else {}})
    return Remedy(
        "exact",
        f"Let Compose make and start {name}.",
        commands=recreate(look.stack, [like]),
        risk=f"Starts {name}. If somebody took it away on purpose, ask first.",
    )


def _only_its_own(look: Look, worker: Service) -> list[str]:
    """Its queues that the broker knows and that no worker of the stack takes from."""
    taken = {queue for other in look.stack.workers for queue in other.queues}
    known: set[str] = set()
    for server in brokers(look):
        for sample in server.get("samples") or ():
            known |= set(sample.get("queues") or {})
    return [queue for queue in worker.queues if queue in known and queue not in taken]


def _nodes(files: Files, name: str) -> list[Mapping[str, Any]]:
    told = files.services[name]
    lists = [nodes for key, nodes in told.items() if key != "environment"]
    lists += list((told.get("environment") or {}).values())
    return sorted((node for nodes in lists for node in nodes), key=lambda one: (one["file"], one["line"]))


def _line(files: Files, name: str) -> int | None:
    nodes = _nodes(files, name)
    return nodes[0]["line"] if nodes else None


def _place(files: Files, name: str) -> str:
    nodes = _nodes(files, name)
    return files.where(nodes[0]) if nodes else "the Compose file"
