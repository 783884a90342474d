"""Metrics ports: does somebody answer on the port that the stack declares?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from celery_triage.checks.commands.shared import standing_in
from celery_triage.checks.monitoring.shared import Entry, answers, declared_ports, entries, grown
from celery_triage.checks.registry import Look, check
from celery_triage.checks.words import listed
from celery_triage.model import Edit, Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate
from celery_triage.stack import Service

_OURS = ("env ", "option ")


@check(
    "MON001",
    "metrics-port-wrong",
    severity="warning",
    needs=("containers", "http"),
    uses=("compose", "logs/*", "events", "files/*", "celery"),
    also=("metrics-not-served",),
)
def metrics_port_wrong(look: Look) -> Iterator[Finding]:
    """A service answers on another port than the one that the stack declares for it, or on none.

    ## What
    The port of its metrics (a variable such as `PROMETHEUS_PORT`) or of Flower (`--port`) answers; but the
    stack publishes or exposes another port for that container, and there the connection is refused. Or the
    variable and the stack name the same port, the worker has finished its start, and nothing listens there
    (`metrics-not-served`).

    ## Why
    The worker works and Docker says healthy, so nobody looks; Prometheus has a target that is down, graphs
    end and alerts that need a value stay silent.

    ## Looks like
    `connect: connection refused` for the target in Prometheus; `curl: (7) Failed to connect`.

    ## Confirm
    `docker exec CONTAINER python3 -c "import urllib.request as u;
    print(u.urlopen('http://127.0.0.1:PORT/metrics').status)"` for both ports.

    ## Do
    Decide which of the two the scraper asks for, and write it in both places. For metrics that are not
    served: look in the log of the start for what kept the endpoint from opening its port.

    ## False alarms
    A port that only the image exposes is not taken for a declaration. A scraper on the same network needs no
    `expose`, so a port that is merely exposed and lacks the company of a service where both agree is a
    notice. A service younger than 20 s, or a worker that has not finished its start, is not judged; beat and
    Flower often carry the workers' variables and are not expected to serve metrics on them.
    """
    found = []
    for service in look.members:
        own = entries(look, service)
        if service.running and any(not answers(entry) for entry in own) and not _ready(look, service):
            look.note("http", f"{service.label} has not finished its start, as far as can be seen")
            continue
        if service.running:
            found.append((service, own, declared_ports(look, service)))
    agree = any(_served(own).keys() & declared.keys() for _, own, declared in found)
    for service, own, declared in found:
        yield from _wrong(look, service, own, declared, agree)
        yield from _silent(look, service, own, declared)


def _ready(look: Look, service: Service) -> bool:
    """Whether a service is old enough, and a worker proven to have finished its start."""
    if not grown(service):
        return False
    return service.role != "worker" or look.course(service).past("consuming")


def _served(own: Sequence[Entry]) -> dict[int, Entry]:
    """The ports on which a service says that it serves metrics or Flower, and does."""
    return {
        entry["port"]: entry
        for entry in own
        if answers(entry) and (entry["declared"] and entry["source"].startswith(_OURS))
    }


def _refused(own: Sequence[Entry]) -> dict[int, Entry]:
    return {entry["port"]: entry for entry in own if entry.get("error_kind") == "refused"}


def _wrong(
    look: Look, service: Service, own: Sequence[Entry], declared: Mapping[int, str], agree: bool
) -> Iterator[Finding]:
    """The stack declares one port, where nobody listens, and the service answers on one that the stack does
    not declare."""
    served = {port: entry for port, entry in _served(own).items() if port not in declared}
    closed = [port for port in _refused(own) if port in declared]
    if len(served) != 1 or len(closed) != 1:
        return
    (port, entry), wanted = next(iter(served.items())), closed[0]
    published = any(one.get("host") and one["container"] == wanted for one in service.item.get("ports") or ())
    shut = _refused(own)[wanted]
    what = "Flower" if entry["purpose"] == "flower" else "its metrics"
    yield look.finding(
        f"{service.label} serves {what} on port {port} ({_source(entry)}), and the stack declares port "
        f"{wanted}, where nothing listens",
        severity="warning" if published or agree else "notice",
        services=(service.label,),
        object=str(wanted),
        certainty="confirmed" if published or agree else "inferred",
        proof=[
            Proof("http", f"{service.label}: GET {entry['url']}: {entry['code']}"),
            Proof("http", f"{service.label}: GET {shut['url']}: {shut['why']}"),
            Proof("containers", f"{service.label}: {declared[wanted]}"),
        ],
        remedy=_remedy(look, service, entry, port, wanted),
        verify=_verify(service, wanted, entry["path"]),
    )


def _source(entry: Entry) -> str:
    return entry["source"].removeprefix("env ").removeprefix("option ")


def _remedy(look: Look, service: Service, entry: Entry, port: int, wanted: int) -> Remedy:
    again = recreate(look.stack, [service])
    name = _source(entry)
    if entry["source"].startswith("env "):
        places = [(service, name, str(port), str(wanted))]
    else:
        words = [word for word in service.argv if word.startswith("--port")]
        place = standing_in(service, words[0]) if words else "command"
        places = [(service, place, f"{name}={port}", f"{name}={wanted}")]
    changed = changes(look.data("compose"), places)
    serve = Option(
        "serve-declared",
        f"Serve on {wanted}: set {name} to {wanted}.",
        changed.edits + changed.texts,
        changed.commands + again,
    )
    files = (look.data("compose") or {}).get("files") or ()
    texts = tuple(Edit(file["path"], None, str(wanted), str(port)) for file in files[-1:])
    declare = Option(
        "declare-served",
        f"Declare {port}: write {port} instead of {wanted} under ports or expose of {service.label}, and in "
        f"the scraper's targets.",
        texts,
        again,
    )
    return Remedy(
        "choice",
        f"Write the same port where {service.label} serves and where the stack declares it.",
        options=(serve, declare),
        question=f"Which port do Prometheus and its like ask for: {wanted} or {port}?",
        risk=f"Makes the container of {service.label} anew: what it runs now ends.",
    )


def _silent(
    look: Look, service: Service, own: Sequence[Entry], declared: Mapping[int, str]
) -> Iterator[Finding]:
    """A variable of a worker names a port of which nothing is served."""
    if service.role != "worker":
        return
    named = {
        port: entry
        for port, entry in _refused(own).items()
        if entry["declared"] and entry["purpose"] == "metrics" and entry["source"].startswith("env ")
    }
    for port, entry in named.items():
        twice = port in declared
        others = [str(number) for number in _served(own)]
        instead = f"; it answers on {listed(others)}" if others else ""
        proof = [Proof("http", f"{service.label}: GET {entry['url']}: {entry['why']}")]
        if twice:
            proof.append(Proof("containers", f"{service.label}: {declared[port]}"))
        yield look.finding(
            f"{service.label} serves no metrics: nothing listens on port {port}, which {_source(entry)} "
            f"{'and the stack name' if twice else 'names'}{instead}",
            name="metrics-not-served",
            severity="warning" if twice else "notice",
            services=(service.label,),
            object=str(port),
            certainty="confirmed" if twice else "inferred",
            proof=proof,
            remedy=Remedy(
                "manual",
                f"Look in the log of the start of {service.label} for what kept its metrics from opening "
                f"port {port}: an exporter that is not installed or not started in this process, an address "
                f"in use. If it is not meant to serve any, take {_source(entry)} and the port away.",
            ),
            verify=_verify(service, port, entry["path"]),
        )


def _verify(service: Service, port: int, path: str) -> tuple[str, ...]:
    """Commands with which a person sees that somebody answers there: asked inside the container, so that no
    published port is needed."""
    script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}{path}').status)"
    return (f'docker exec {service.name} python3 -c "{script}"  # 200', *alive([service]))
