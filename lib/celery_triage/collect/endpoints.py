"""Which HTTP endpoints the target's own configuration names: metrics and Flower. Pure: nothing is contacted.

A metrics endpoint is a variable such as ``PROMETHEUS_PORT``, a URL such as ``METRICS_URL``, or, as a guess, a
port that a Celery service exposes: a worker has few other reasons to listen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from celery_triage.stack import Service, Stack

FLOWER_PORT = 5555
METRICS_PATH = "/metrics"
#: Flower's own check of its life: it asks no worker and needs no login (Flower 2.2 run here).
FLOWER_PATH = "/healthcheck"

#: Words of a variable's name, joined in any way.
_METRICS_WORDS = {"METRICS", "METRIC", "PROMETHEUS", "PROM", "EXPORTER"}
_PORT_WORDS = {"PORT", "ADDR", "ADDRESS", "LISTEN", "BIND"}
_PATH_WORDS = {"PATH", "ENDPOINT", "ROUTE"}
#: Places where others take metrics from this service: no endpoint of its own.
_ELSEWHERE = {"PUSHGATEWAY", "PUSH", "GATEWAY", "PUSHGW", "STATSD", "OTLP", "JAEGER", "ZIPKIN", "DATADOG"}
_OWN = r"0\.0\.0\.0|\[?::1?\]?|\*|localhost|127\.0\.0\.1"
_PORT = re.compile(rf"(?:(?:{_OWN})?:)?([0-9]{{1,5}})")
_URL = re.compile(
    r"(https?)://(?:[^/?#]*@)?(\[[0-9a-fA-F:.]+\]|[\w.\-]+)(?::([0-9]{1,5}))?(/[^?#]*)?(?:[?#].*)?",
    re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Endpoint:
    """One thing to GET: of the service `label`, at its own port, or at `host` where a URL of it names one.

    `source` says where it stands (``env PROMETHEUS_PORT``, ``exposed port 9091``, ``option --port``,
    ``default``); `declared` is false for a guess: an exposed port may be anything.
    """

    label: str
    purpose: str
    port: int
    path: str
    source: str
    declared: bool = True
    tls: bool = False
    host: str | None = None


def endpoints(stack: Stack) -> Iterator[Endpoint]:
    """Each endpoint of the target once; where two have the same port, the one that is declared."""
    seen: set[tuple] = set()
    for service in stack.members:
        for endpoint in () if service.item.get("vanished") else _of(service):
            owner = endpoint.label
            if endpoint.host is not None:
                owner = stack.resolve(endpoint.label, endpoint.host, endpoint.port).owner or endpoint.host
            key = (owner, endpoint.purpose, endpoint.port)
            if key not in seen:
                seen.add(key)
                yield endpoint


def _of(service: Service) -> Iterator[Endpoint]:
    env = {**service.env, **dict(service.unwrapped.env)}
    taken: set[int] = set()
    if service.role == "flower":
        flower = _flower(service, env)
        taken.add(flower.port)
        yield flower
        path = flower.path.removesuffix(FLOWER_PATH) + METRICS_PATH
        yield replace(flower, purpose="metrics", path=path, declared=False)
    if not (service.is_celery or service.role == "app"):
        return
    path = _metrics_path(env)
    for name, value in sorted(env.items()):
        if _means_metrics(name, _PORT_WORDS) and not _of_a_server(name, env) and (port := _port(value)):
            taken.add(port)
            yield Endpoint(service.label, "metrics", port, path, f"env {name}")
    for name, value in sorted(env.items()):
        if _means_metrics(name) and (found := _url(value)):
            tls, host, port, url_path = found
            yield Endpoint(service.label, "metrics", port, url_path, f"env {name}", tls=tls, host=host)
    for port in service.item.get("ports") or () if service.is_celery else ():
        if port.get("proto") == "tcp" and port["container"] not in taken:
            taken.add(port["container"])
            yield Endpoint(service.label, "metrics", port["container"], path,
                           f"exposed port {port['container']}", declared=False)


def _flower(service: Service, env: Mapping[str, str]) -> Endpoint:
    """Flower reads ``FLOWER_…`` variables first, then its options (Flower 2.2, ``command.py``), with dashes
    or underscores."""
    options = {name: _expanded(value, env) for name, value in _options(service.argv)}
    port, said = FLOWER_PORT, "default"
    for text, where in ((options.get("port"), "option --port"), (env.get("FLOWER_PORT"), "env FLOWER_PORT")):
        if text and (number := _port(text)):
            port, said = number, where
            break
    prefix = (options.get("url_prefix") or env.get("FLOWER_URL_PREFIX") or "").strip("/")
    path = _clean(f"/{prefix}{FLOWER_PATH}" if prefix else FLOWER_PATH)
    tls = bool(options.get("certfile") or env.get("FLOWER_CERTFILE"))
    return Endpoint(service.label, "flower", port, path, said, tls=tls)


def _options(argv: Iterable[str]) -> Iterator[tuple[str, str]]:
    """``--name=value`` and ``--name value`` of a command line, dashes as underscores."""
    words = list(argv)
    for at, word in enumerate(words):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            yield name.replace("-", "_"), value if equals else "".join(words[at + 1:at + 2])


def _expanded(text: str, env: Mapping[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda match: env.get(match[1], match[0]), text)


def _words(name: str) -> set[str]:
    return set(re.split(r"[^A-Z0-9]+", name.upper()))


def _means_metrics(name: str, also: Iterable[str] | None = None) -> bool:
    words = _words(name)
    foreign = words & _ELSEWHERE or ("OTEL" in words and "PROMETHEUS" not in words)
    return bool(words & _METRICS_WORDS and not foreign and (also is None or words & set(also)))


def _of_a_server(name: str, env: Mapping[str, str]) -> bool:
    """Whether a port belongs to a server elsewhere: ``PROMETHEUS_HOST=prometheus`` stands beside it."""
    host = env.get(re.sub(r"PORT$", "HOST", name, flags=re.IGNORECASE)) if name.upper() != "PORT" else None
    return bool(host) and host != env.get(name) and not re.fullmatch(_OWN, host.strip())


def _port(value: str) -> int | None:
    """The port of ``9091``, ``:9091`` or ``0.0.0.0:9091``; None for 0 (switched off) and everything else."""
    found = _PORT.fullmatch(value.strip())
    number = int(found[1]) if found else 0
    return number if 0 < number < 65536 else None


def _metrics_path(env: Mapping[str, str]) -> str:
    given = (value for name, value in sorted(env.items())
             if value.startswith("/") and _means_metrics(name, _PATH_WORDS))
    return _clean(next(given, METRICS_PATH))


def _url(text: str) -> tuple[bool, str, int, str] | None:
    """(TLS, host, port, path) of an http URL; user, password, query and fragment are left behind."""
    found = _URL.fullmatch(text.strip())
    if not found:
        return None
    tls = found[1].lower() == "https"
    port = int(found[3] or (443 if tls else 80))
    path = found[4] if found[4] not in (None, "/") else METRICS_PATH
    return (tls, found[2].strip("[]"), port, _clean(path)) if 0 < port < 65536 else None


def _clean(path: str) -> str:
    """A path that can stand in a request line: everything that could end it is gone."""
    return re.sub(r"[^\w./~%:@!$&'()*+,;=\-]", "", path, flags=re.ASCII)[:500] or "/"
