"""What services say of each other and of the machine: names and ports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from celery_triage.checks.words import listed, verb
from celery_triage.lint import variables
from celery_triage.lint.merging import names
from celery_triage.lint.ports import published_ports
from celery_triage.lint.reading import Node
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding
from celery_triage.stack import Service

#: Addresses of the host that stand for all of them.
_EVERYWHERE = ("", "0.0.0.0")
_BUILT_IN = ("default", "host", "none", "bridge")


@static("CMP001", "name-undefined", "critical")
def undefined(subject: Subject) -> Iterator[Finding]:
    """A service names a network, volume or service that the files do not define.

    ## What
    `networks`, named `volumes`, `secrets`, `configs`, `depends_on`, `links` or `network_mode: service:` of a
    service name something that stands nowhere in the files given.

    ## Why
    Compose refuses all of the files then, so no service starts.

    ## Looks like
    `service "worker" refers to undefined network backend: invalid compose project`

    ## Confirm
    `docker compose -f FILE config -q`

    ## Do
    Correct the name, or define it at the top level.

    ## False alarms
    A file that is meant to be used with others (`-f base -f this`) may name what they define: give all of
    them. A file of another name than Compose's own that was given alone is therefore only warned of, and
    nothing is reported where a file could not be read or a service is only a part of one.
    """
    project = subject.project
    if project.fragment or project.legacy:
        subject.note(project.paths[0], project.fragment or "it is of Compose's first format", "CMP001")
        return
    groups: dict[tuple[str, str], list[tuple[str, Node]]] = {}
    for name, node in project.services.items():
        if name in project.incomplete:
            continue
        for kind, wanted, at in _wanted(subject, node):
            if wanted and not variables.unknown(wanted) and not _defined(subject, kind, wanted):
                groups.setdefault((kind, wanted), []).append((name, at))
    for (kind, wanted), pairs in groups.items():
        services = [name for name, _ in pairs]
        alone = project.alone
        yield found(
            subject,
            "CMP001",
            "name-undefined",
            "warning" if alone else "critical",
            f"{listed(services)} {verb(services, 'names', 'name')} the {kind} {wanted}, which "
            f"is defined nowhere "
            f"in {verb(project.paths, 'this file', 'these files')}: Compose refuses to start anything",
            [at for _, at in pairs],
            services=services,
            thing=wanted,
            fix=f"Define {wanted} under {kind}s: at the top level, or correct the name.",
            detail="If the file is meant to be used with others, give them all." if alone else "",
        )


def _wanted(subject: Subject, node: Node) -> Iterator[tuple[str, str, Node]]:
    text = subject.project.text
    for network, at in names(node.get("networks")).items():
        yield "network", subject.project.variables.put_in(network), at
    for other, at in names(node.get("depends_on")).items():
        required = text(at.get("required")) if isinstance(at.value, dict) else None
        if required != "false":
            yield "service", subject.project.variables.put_in(other), at
    for link in (node.get("links") or Node(None, "", 0)).items():
        yield "service", (text(link) or "").partition(":")[0], link
    for item in (node.get("volumes_from") or Node(None, "", 0)).items():
        other = text(item) or ""
        if not other.startswith("container:"):
            yield "service", other.partition(":")[0], item
    mode = text(node.get("network_mode")) or ""
    if mode.startswith("service:"):
        yield "service", mode[8:], node.get("network_mode") or node
    for kind in ("secret", "config"):
        for item in (node.get(f"{kind}s") or Node(None, "", 0)).items():
            yield kind, text(item.get("source") if isinstance(item.value, dict) else item) or "", item
    for volume in (node.get("volumes") or Node(None, "", 0)).items():
        if isinstance(volume.value, dict):
            if text(volume.get("type")) == "volume" and volume.get("source") is not None:
                yield "volume", text(volume.get("source")) or "", volume
            continue
        source, colon, _ = (text(volume) or "").partition(":")
        if colon and source and not source.startswith((".", "/", "~", "$", "\\")) and "/" not in source:
            if not (len(source) == 1 and (text(volume) or "")[2:3] in ("\\", "/")):  # C:\folder
                yield "volume", source, volume


def _defined(subject: Subject, kind: str, wanted: str) -> bool:
    if kind == "service":
        return wanted in subject.project.services
    if kind == "network" and wanted in _BUILT_IN[:1]:
        return True
    defined = subject.project.top.get(f"{kind}s")
    keys = defined.pairs() if defined is not None else {}
    return wanted in keys or wanted in {subject.project.variables.put_in(key) for key in keys}


@static("CMP002", "port-taken-twice")
def ports_twice(subject: Subject) -> Iterator[Finding]:
    """Two services publish the same port of the host.

    ## What
    Two services that run at the same time publish the same port on the same address; or one that publishes a
    fixed port is started several times. Metrics endpoints that were copied from worker to worker are the
    usual case.

    ## Why
    The first one gets the port, and Docker does not start the other.

    ## Looks like
    `Bind for 0.0.0.0:9091 failed: port is already allocated`

    ## Confirm
    `docker compose config | grep published`

    ## Do
    Give each its own port on the host; inside the containers the same one is fine.

    ## False alarms
    Services that only different profiles start are not compared.
    """
    taken: dict[tuple[int, str], list[tuple[str, Service, Node]]] = {}
    for service in subject.services:
        known = subject.known[service.label]
        seen: set[tuple[int, str]] = set()
        for item in (known.node.get("ports") or Node(None, "", 0)).items():
            for host, outer, _, protocol in published_ports(subject.project, item):
                if outer and (outer, protocol) not in seen:
                    taken.setdefault((outer, protocol), []).append((host, service, item))
                    seen.add((outer, protocol))
                    if known.count > 1 and service.is_celery:
                        yield found(
                            subject,
                            "CMP002",
                            "port-taken-twice",
                            "warning",
                            f"{service.label}: {known.count} containers of it all want port "
                            f"{outer} of the host",
                            [item],
                            services=[service],
                            thing=str(outer),
                            fix="Publish no fixed port there, or start it once.",
                        )
    for (port, _), users in taken.items():
        # Services that only a profile starts are not compared, nor addresses that are not known.
        sure = [user for user in users if not subject.profiles(user[1]) and "$" not in user[0]]
        everywhere = sum(host in _EVERYWHERE for host, _, _ in sure)
        on = Counter(host for host, _, _ in sure)
        clash = [
            (service, item)
            for host, service, item in sure
            if (len(sure) if host in _EVERYWHERE else on[host] + everywhere) > 1
        ]
        if len(clash) > 1:
            services = [service for service, _ in clash]
            yield found(
                subject,
                "CMP002",
                "port-taken-twice",
                "warning",
                f"{listed([one.label for one in services])} publish the same port {port} of the "
                f"host: Docker starts "
                f"only the first",
                [item for _, item in clash],
                services=services,
                thing=str(port),
                fix="Give each its own port on the host.",
            )


@static("CMP003", "container-name-twice", "critical")
def container_names(subject: Subject) -> Iterator[Finding]:
    """Two containers are to bear the same name.

    ## What
    The same `container_name` stands at two services, or at one that is started several times.

    ## Why
    A name belongs to one container: Docker refuses the second, and Compose ends with an error.

    ## Looks like
    `The container name "/worker" is already in use by container …`

    ## Confirm
    `docker compose config | grep container_name`

    ## Do
    Take `container_name` out: Compose gives each container a name of its own.

    ## False alarms
    Services that only different profiles start are not compared.
    """
    borne: dict[str, list[Service]] = {}
    for service in subject.services:
        node = subject.known[service.label].node.get("container_name")
        name = subject.project.text(node)
        if not name or variables.unknown(name):
            continue
        borne.setdefault(name, []).append(service)
        count = subject.known[service.label].count
        if count > 1:
            yield found(
                subject,
                "CMP003",
                "container-name-twice",
                "critical",
                f"{service.label}: {count} containers of it cannot all be called {name}",
                [node],
                services=[service],
                thing=name,
                fix="Take container_name out.",
            )
    for name, services in borne.items():
        kinds = Counter(map(subject.profiles, services))
        clash = [one for one in services if kinds[subject.profiles(one)] > 1]
        if len(clash) > 1:
            yield found(
                subject,
                "CMP003",
                "container-name-twice",
                "warning",
                f"{listed([one.label for one in clash])} are all to be called {name}: Docker "
                f"makes only the first",
                [subject.node(one, "container_name") for one in clash],
                services=clash,
                thing=name,
                fix="Give each its own container_name, or none.",
            )
