"""Connection strings: does each URL parse, is its driver in the image, does its host mean a container that the service
can reach, is its login taken?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.steps import checks_backend_at_start
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import Changes, alive, changes, recreate
from celery_triage.stack import Service, Stack, Url
from celery_triage.urls import needed_driver

_DEATHS = (Prediction(("CTR001", "CTR003"), exits=(1,)),)
PURPOSES = ("broker", "result")


def used(service: Service, purposes: Iterable[str] = PURPOSES) -> list[Url]:
    """The URLs that a Celery service goes by."""
    return [url for url in service.urls if url.purpose in purposes and url.used] if service.is_celery else []


def idle_states(services: Iterable[Service], purpose: str) -> dict[str, str]:
    """The services that carry a result URL and are not stopped by what is wrong with it: Flower (2.2 starts without),
    and beat up to Celery 5.4. Measured with 5.4.0, 5.6.3 and 5.7.0."""
    if purpose != "result":
        return {}
    return {service.label: "latent" for service in services
            if service.role == "flower" or (service.role == "beat" and checks_backend_at_start(service) is False)}


def url_changes(look: Look, pairs: Sequence[tuple[Service, Url]], old: str, new: str) -> Changes:
    """The change of a fragment of the URL of each service, where that URL is written."""
    places = [(service, url.var or ("command" if url.source.startswith("option") else ""), old, new)
              for service, url in pairs]
    return changes(look.data("compose"), places)


def no_place(changed: Changes) -> str:
    """Why a change cannot be given as an edit."""
    if changed.texts:
        return f"in {listed(sorted({edit.file for edit in changed.texts}))}, which could not be read from here"
    return f"where the URL of {listed(changed.unplaced)} is set, which is in no Compose file that could be read"


@check("URL001", "url-does-not-parse", severity="critical", needs=("containers",), uses=("logs/*", "events", "compose"),
       step="url", predicts=(Prediction(("CTR001", "CTR003", "LOG001"), exits=(1,)),))
def url_does_not_parse(look: Look) -> Iterator[Finding]:
    """A broker or result backend URL cannot be read by the library that gets it.

    ## What
    Each URL is parsed as its reader parses it: kombu for brokers and Redis, SQLAlchemy for databases. Found are an
    unknown scheme, a variable that nothing replaced (`${…}` left as it stands), a port that is no number, characters in
    a password that end it too early, quotes that became part of the value.

    ## Why
    The process ends with exit code 1 when it reads such a URL, or silently talks to the wrong place (an empty host
    means the container itself).

    ## Looks like
    `KeyError: 'No such transport: …'`, `Port could not be cast to integer value`, `Could not parse SQLAlchemy URL`,
    `Can't load plugin: sqlalchemy.dialects:…`.

    ## Confirm
    `docker inspect -f '{{json .Config.Env}}' CONTAINER` shows the value as the process gets it (with its password).

    ## Do
    Correct the URL; write special characters of a password as `%40` and so on.

    ## False alarms
    Only what was measured to stop the program is reported. A service that got past reading its URLs is never
    reported, nor is a scheme that a package of its own could bring.
    """
    found: dict[tuple[str, str, str], list[tuple[Service, Url]]] = {}
    for service in look.stack.members:
        for url in used(service):
            stopping = [problem for problem in url.problems if problem.stops and problem.kind != "empty"]
            late = "driver" if url.purpose == "result" else "url"
            if stopping and not look.course(service).past(late):
                found.setdefault((url.purpose, stopping[0].kind, stopping[0].text), []).append((service, url))
    for (purpose, _, text), pairs in found.items():
        yield _unreadable(look, purpose, text, pairs)
    yield from reported(look, {service.label for pairs in found.values() for service, _ in pairs})
    yield from healed(look)


def _unreadable(look: Look, purpose: str, text: str, pairs: Sequence[tuple[Service, Url]]) -> Finding:
    services = [service for service, _ in pairs]
    url = pairs[0][1]
    what = "broker" if purpose == "broker" else "result backend"
    thing = url.var or url.source
    problem = next(one for one in url.problems if one.text == text)
    proof = [Proof("containers", f"{service.label}: {one.source}: {one.text}") for service, one in pairs]
    for service in services:
        proof += look.seen(service).proof()
    seen = all(look.seen(service).effect(None, (1,)) for service in services)
    commands = recreate(look.stack, services)
    remedy = Remedy("manual", f"Correct {thing}: {text}", commands=commands)
    scheme = f"{url.parsed.scheme}://"
    if problem.hint.endswith("://") and url.parsed.scheme and problem.hint != scheme:
        changed = url_changes(look, pairs, scheme, problem.hint)
        if changed.complete:
            remedy = Remedy("exact", f"Write {problem.hint} instead of {scheme}.", changed.edits,
                            changed.commands + commands, risk="Makes the containers of these services anew.")
    return look.finding(
        f"The {what} URL of {listed([service.label for service in services])} cannot be used: {text}",
        services=tuple(service.label for service in services), object=thing,
        certainty="confirmed" if seen else "inferred", proof=proof, remedy=remedy, verify=alive(services),
        service_states=idle_states(services, purpose))


@check("URL002", "driver-not-installed", severity="critical", needs=("containers", "files/*"),
       uses=("logs/*", "events", "compose"), step="driver", predicts=_DEATHS)
def driver_not_installed(look: Look) -> Iterator[Finding]:
    """A URL needs a Python module that is not in the image.

    ## What
    The module that a URL needs follows from its scheme and from the SQLAlchemy in the image: `postgresql://` means
    psycopg2 up to SQLAlchemy 2.0 and psycopg (version 3) from 2.1 on. Whether the module is there was asked of the
    image itself, by `HEAD …/archive` in every package folder.

    ## Why
    From Celery 5.5 on worker and beat open the result backend when they start, and end with exit code 1. Up to 5.4 they
    start as if all were well, with nothing in the log, and the first result fails.

    ## Looks like
    `Unrecoverable error: ModuleNotFoundError("No module named 'psycopg2'")`; beat writes the same broken into many
    short lines.

    ## Confirm
    `docker run --rm --entrypoint python IMAGE -c 'import psycopg2'`.

    ## Do
    Write the URL for the driver that is installed (`db+postgresql+psycopg://…`), or install the one that it names.

    ## False alarms
    A module outside the package folders (an own `sys.path` at run time) cannot be seen; a service that got past opening
    its result backend is never reported. Flower and, up to 5.4, beat start without the module: there it is latent.
    """
    found: dict[tuple[str, str, str], list[tuple[Service, Url]]] = {}
    needs = {}
    for service in look.stack.members:
        packages = look.files(service).get("packages") or {}
        for url in used(service):
            need = needed_driver(url.parsed, packages)
            if need is None or look.course(service).past("driver" if url.purpose == "result" else "broker"):
                continue
            if need.present is None:
                look.needs_file(service, f"whether {need.module} is in the image is not known")
            elif need.present is False:
                key = (need.module, url.purpose, need.fix_new)
                found.setdefault(key, []).append((service, url))
                needs[key] = need
    for key, pairs in found.items():
        if any(service.role != "flower" for service, _ in pairs) or key[1] == "broker":
            yield _no_driver(look, needs[key], pairs)
    yield from reported(look, {service.label for pairs in found.values() for service, _ in pairs})
    yield from healed(look)


def _no_driver(look: Look, need, pairs: Sequence[tuple[Service, Url]]) -> Finding:
    services = [service for service, _ in pairs]
    purpose = pairs[0][1].purpose
    idle = idle_states(services, purpose)
    struck = [service for service in services if service.label not in idle]
    what = "result backend" if purpose == "result" else "broker"
    image = services[0].item.get("image")
    early = any(checks_backend_at_start(service) is not False for service in struck) or purpose == "broker"
    effect = f"{listed([service.label for service in struck])} {'cannot start' if early else 'cannot store results'}"
    proof = []
    for service, url in pairs[:1]:
        proof.append(Proof("containers", f"{service.label}: {url.source}: {url.parsed.scheme}://… "
                                         f"({need.how})"))
    for service in services:
        where = listed(look.files(service).get("site_packages") or ())
        proof.append(Proof(f"files/{service.label}", f"no module {need.module} in {where or 'the image'}"))
        proof += look.seen(service).proof(need.module)
    seen = any(look.seen(service).effect(need.module, (1,)) for service in struck)
    detail = ""
    if idle:
        detail = f"{listed(sorted(idle))} {verb(sorted(idle), 'carries', 'carry')} the same URL and " \
                 f"{verb(sorted(idle), 'starts', 'start')} without it."
    return look.finding(
        f"{effect}: the {what} URL needs the Python module {need.module}, which is not in the image {image}",
        services=tuple(service.label for service in services), object=need.module,
        certainty="confirmed" if seen else "inferred", proof=proof, detail=detail,
        remedy=_driver_remedy(look, need, pairs), verify=alive(struck), service_states=idle)


def _driver_remedy(look: Look, need, pairs: Sequence[tuple[Service, Url]]) -> Remedy:
    services = [service for service, _ in pairs]
    commands = recreate(look.stack, services)
    risk = f"Makes the containers of {listed([service.label for service in services])} anew."
    install = f"Add {need.package} to the requirements of the image {services[0].item.get('image')} and build it anew"
    if need.fix_new:
        summary = f"Write {need.fix_new} instead of {need.fix_old}: that driver is in the image."
        changed = url_changes(look, pairs, need.fix_old, need.fix_new)
        if changed.complete:
            return Remedy("exact", summary, changed.edits, changed.commands + commands, risk=risk)
        return Remedy("manual", f"{summary[:-1]}, {no_place(changed)}; or: {install}.",
                      changed.edits + changed.texts, changed.commands + commands, risk=risk)
    return Remedy("manual", f"{install}; then make the containers anew.", commands=commands, risk=risk)


@check("URL003", "broker-host-unknown", severity="critical", needs=("containers",),
       uses=("logs/*", "events", "compose", "redis", "postgres"), step="broker", predicts=_DEATHS,
       also=("result-host-unknown", "network-missing"))
def host_unknown(look: Look) -> Iterator[Finding]:
    """The host in a broker or result backend URL means no container that the service can reach.

    ## What
    The host name is looked up as Docker's own name server does it: among the names and aliases of the containers that
    share a network with the service. Either nobody bears the name, or its bearer shares no network with the service
    (then the finding is called network-missing).

    ## Why
    Celery tries to connect to its broker for ever, so the worker is up and works on nothing. A result backend that is
    not found ends worker and beat from Celery 5.5 on.

    ## Looks like
    `Cannot connect to redis://…: Error -2 connecting to redsi:6379. Name or service not known.`,
    `failed to resolve host`, `could not translate host name`.

    ## Confirm
    `docker exec CONTAINER python -c 'import socket; print(socket.gethostbyname("HOST"))'`.

    ## Do
    Write the name of the service that is meant, start it, or put both on one network.

    ## False alarms
    A name with a dot, or one that the host's own name server knows, can be a machine outside: such a name is reported
    only where the service's own log says that it cannot be resolved. A service that is connected is never reported.
    """
    found: dict[tuple[str, str, str], list[tuple[Service, Url, str]]] = {}
    for service in look.stack.members:
        for url in used(service):
            late = "broker" if url.purpose == "broker" else "database"
            if not url.parsed.networked or look.course(service).past(late):
                continue
            for host, port in url.parsed.hosts:
                meaning = look.stack.resolve(service.label, host, port)
                if meaning.owner or meaning.literal_ip or "$" in host:
                    continue
                if meaning.elsewhere:
                    found.setdefault(("network-missing", url.purpose, host), []).append((service, url, meaning.how))
                elif _only_a_container(host) or look.seen(service).says(host):
                    name = "broker-host-unknown" if url.purpose == "broker" else "result-host-unknown"
                    found.setdefault((name, url.purpose, host), []).append((service, url, meaning.how))
    for (name, purpose, host), told in found.items():
        yield _unknown_host(look, name, purpose, host, told)
    yield from reported(look, {service.label for told in found.values() for service, _, _ in told})
    yield from healed(look)


def _only_a_container(host: str) -> bool:
    """Whether a name can hardly be a machine outside: it has no domain, and is none of Docker's own names."""
    return "." not in host and ":" not in host and not host.startswith(("host-", "gateway"))


def _unknown_host(
    look: Look, name: str, purpose: str, host: str, told: Sequence[tuple[Service, Url, str]],
) -> Finding:
    services = [service for service, _, _ in told]
    idle = idle_states(services, purpose)
    names = listed([service.label for service in services if service.label not in idle] or [
        service.label for service in services])
    what = "broker" if purpose == "broker" else "result backend"
    owner = look.stack.resolve(services[0].label, host).elsewhere
    title = (f"{names} cannot reach the {what}: {host} is the container {owner}, on a network that they are not on"
             if name == "network-missing" else
             f"{names} cannot reach the {what}: no container on their networks is called {host}")
    proof = [Proof("containers", f"{service.label}: {url.source}: host {host}; {how}") for service, url, how in told]
    for service in services:
        proof += look.seen(service).proof(host)
    seen = any(look.seen(service).effect(host, ()) for service in services)
    remedy = (_join_network(look, services, owner) if name == "network-missing"
              else _host_remedy(look, purpose, host, [(service, url) for service, url, _ in told]))
    return look.finding(
        title, name=name, services=tuple(service.label for service in services), object=host,
        certainty="confirmed" if seen else "inferred", proof=proof, remedy=remedy, verify=alive(services),
        service_states=idle)


def _join_network(look: Look, services: Sequence[Service], owner: str | None) -> Remedy:
    other = look.stack.get(owner or "")
    shared = sorted(other.networks - {"bridge", "host", "none"}) if other else []
    where = listed(shared) or "a network of its own"
    return Remedy(
        "manual", f"Put {listed([service.label for service in services])} on a network of {owner} ({where}) in the Compose "
                  f"file (networks: of the service, external: true at the end), then make the containers anew.",
        commands=recreate(look.stack, services))


def _host_remedy(look: Look, purpose: str, host: str, pairs: Sequence[tuple[Service, Url]]) -> Remedy:
    services = [service for service, _ in pairs]
    commands = recreate(look.stack, services)
    risk = f"Makes the containers of {listed([service.label for service in services])} anew."
    options = []
    for candidate in _fitting(look, pairs):
        name = _name_for(look.stack, candidate, services)
        port = pairs[0][1].parsed
        old, new = (f"{host}:{port.port}", f"{name}:{port.port}") if port.port_written else (host, name)
        changed = url_changes(look, pairs, old, new)
        extra = "" if changed.complete else f" ({no_place(changed)})"
        options.append(Option("use-existing", f"Write {name} instead of {host}: that container is there and "
                                              f"runs{extra}.", changed.edits + changed.texts, changed.commands + commands))
    defined = ((look.data("compose") or {}).get("services") or {}).get(host)
    if defined is not None and not any(service.item.get("service") == host for service in look.stack.services):
        starting = recreate(look.stack, services)[0].rsplit(" --no-deps ", 1)[0] + f" --no-deps {host}" if commands else ""
        options.append(Option("start-missing", f"Start the service {host}, which the Compose file defines and which has "
                                               f"no container.", commands=(starting,) if starting else ()))
    if not options:
        return Remedy("manual", f"Write the name of the {'broker' if purpose == 'broker' else 'database server'} that is "
                                f"meant instead of {host}, or start a container of that name on their network.",
                      commands=commands)
    return Remedy("choice", f"Let {host} lead to a server.", options=tuple(options), risk=risk,
                  question=f"Is {host} a slip for a server that is there, or is a container of that name missing?")


def _fitting(look: Look, pairs: Sequence[tuple[Service, Url]]) -> list[Service]:
    """The one running server of the right kind that all these services share a network with; none if there are
    several: then nobody can say which is meant."""
    family = pairs[0][1].parsed.family
    role = {"redis": "redis", "amqp": "rabbitmq", "sql": "postgres"}.get(family, "")
    if family == "sql" and not (pairs[0][1].parsed.dialect or "").startswith("postgres"):
        role = ""
    fitting = [other for other in look.stack.with_role(role) if other.running
               and all(other.networks & service.networks - {"bridge", "host", "none"} for service, _ in pairs)]
    return fitting if len(fitting) == 1 else []


def _name_for(stack: Stack, server: Service, services: Sequence[Service]) -> str:
    """The name by which all these services reach the server: its Compose service name where that leads to it."""
    names = [server.item.get("service") or "", server.label, server.name]
    return next((name for name in names if name and all(
        stack.resolve(service.label, name).owner == server.label for service in services)), server.name)


@check("URL004", "login-refused", severity="critical", needs=("containers", "redis", "postgres"),
       uses=("logs/*", "events"), step="database", predicts=_DEATHS)
def login_refused(look: Look) -> Iterator[Finding]:
    """A server refuses the user or the password of a URL.

    ## What
    The login of each URL was tried once, to the server's own container, with a maintenance database.

    ## Why
    A worker without its broker works on nothing; without its result backend it ends (Celery 5.5 and later) or loses
    every result (up to 5.4).

    ## Looks like
    `FATAL:  password authentication failed for user "backend"`, `WRONGPASS invalid username-password pair`,
    `NOAUTH Authentication required`.

    ## Confirm
    Compare the password that the service has with the one that the server was made with. A data folder that is older
    than the password keeps the old one: PostgreSQL reads `POSTGRES_PASSWORD` only when it makes its data folder.

    ## Do
    Write the right password where it is set (an env file, a secret), or set it anew on the server.

    ## False alarms
    The login was made from the engine's machine, so a rule for addresses (`pg_hba.conf`) may treat the service
    otherwise: a service that uses its server without an error is never reported.
    """
    if not any(used(service) for service in look.stack.members):
        raise_nothing_to_log_in(look)
    for section in ("postgres", "redis"):
        servers = (look.data(section) or {}).get("servers") or ()
        for server in servers:
            kind = server.get("error_kind")
            refused = (section == "postgres" and server.get("sqlstate") == "28P01") or kind in ("auth", "noauth")
            role = (server.get("roles") or {}).get(server.get("user") or "") or {}
            if refused and role.get("exists") is not False:
                yield from _refused_login(look, section, server)
    yield from reported(look, set())
    yield from healed(look)


def raise_nothing_to_log_in(look: Look) -> None:
    from celery_triage.checks.registry import NotApplicable

    look.section("containers")
    raise NotApplicable("no service has a broker or result backend URL")


def _refused_login(look: Look, section: str, server) -> Iterator[Finding]:
    purposes = ("broker", "result")
    services, broker = [], False
    for label in server.get("services") or ():
        service = look.stack.get(label)
        if service is None or not service.is_celery:
            continue
        urls = [url for url in used(service, purposes) if url.parsed.family == ("sql" if section == "postgres" else "redis")]
        late = "broker" if any(url.purpose == "broker" for url in urls) else "database"
        if not urls or (look.course(service).past(late) and not look.seen(service).says()):
            continue
        broker = broker or late == "broker"
        services.append(service)
    if not services:
        look.note(section, f"{server['key']}: {server.get('why')}")
        return
    idle = idle_states(services, "broker" if broker else "result")
    user = server.get("user") or "default"
    proof = [Proof(section, f"{server['key']}: {server.get('why')} ({server.get('via')})")]
    for service in services:
        proof += look.seen(service).proof()
    yield look.finding(
        f"{server['key']} refuses the login of {listed([service.label for service in services])} (user {user})",
        services=tuple(service.label for service in services), object=server["key"], proof=proof,
        certainty="confirmed" if any(look.seen(s).effect(None, ()) for s in services) else "inferred",
        remedy=Remedy("manual", f"Write the right password for {user} where the URL of these services is set, or set it "
                                f"anew on {server.get('container') or server['key']}; then make the containers anew.",
                      commands=recreate(look.stack, services)),
        verify=alive(services), service_states=idle)


def similar(name: str, others: Iterable[str]) -> list[str]:
    """The names that somebody may have meant by this one, nearest first."""
    def plain(text: str) -> str:
        return "".join(char for char in text.lower() if char.isalnum())

    ratios = {other: difflib.SequenceMatcher(None, plain(name), plain(other)).ratio() for other in others}
    return sorted((other for other, ratio in ratios.items() if ratio >= 0.8), key=lambda other: (-ratios[other], other))
