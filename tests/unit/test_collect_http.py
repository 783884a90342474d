"""Metrics endpoints and Flower: found in the configuration, asked once each, whatever it is that answers."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager

import pytest
from real_servers import started, wait_until

from celery_triage import shapes
from celery_triage.collect import http
from celery_triage.collect.endpoints import Endpoint, endpoints
from celery_triage.collect.probe import run_sources
from celery_triage.redact import Redactor
from celery_triage.stack import Stack

# The answers of the lab's worker (prometheus-client 0.26, multiprocess mode; shortened) and its Flower 2.2.
METRICS = b"""\
# HELP celery_tasks_total Tasks finished
# TYPE celery_tasks_total counter
celery_tasks_total{state="SUCCESS",task="shared.tasks.heartbeat"} 1150.0
# HELP celery_task_seconds Run time of tasks in seconds
# TYPE celery_task_seconds histogram
celery_task_seconds_sum{task="shared.tasks.heartbeat"} 41.5
celery_task_seconds_bucket{le="0.005",task="shared.tasks.heartbeat"} 3.0
celery_task_seconds_count{task="shared.tasks.heartbeat"} 1150.0
"""
WORKER = (b"HTTP/1.0 200 OK\r\nDate: Mon, 23 Nov 2026 21:55:45 GMT\r\n"
          b"Server: WSGIServer/0.2 CPython/3.11.2\r\n"
          b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s")
FLOWER = (b"HTTP/1.1 200 OK\r\nServer: TornadoServer/6.6.1\r\nContent-Type: text/html; charset=UTF-8\r\n"
          b"Date: Mon, 23 Nov 2026 21:55:45 GMT\r\nX-Content-Type-Options: nosniff\r\n"
          b'Etag: "9ce3bd4224c8c1780db56b4125ecf3f24bf748b7"\r\nContent-Length: 2\r\n\r\nOK')


def service(label="w", command="celery -A x worker", env=None, ports=(), ip="127.0.0.1", **more):
    """A container of the target on one network, with this command, environment and exposed ports."""
    return {"label": label, "name": label, "id": "", "service": label, "project": "shop", "member": True,
            "image": "x", "entrypoint": [], "cmd": command.split(), "env": env or {}, "hostname": "",
            "ports": [{"container": port, "proto": "tcp", "host": None} for port in ports],
            "networks": {"back": {"ip": ip, "aliases": [label]}}, "samples": [{"status": "running"}], **more}


def found(*items):
    """What there is to ask, as (service, purpose, port, path, where it stands)."""
    return [(one.label, one.purpose, one.port, one.path, one.source)
            for one in endpoints(Stack({"items": list(items)}))]


# What there is to ask

@pytest.mark.parametrize(("env", "port"), [
    ({"PROMETHEUS_PORT": "9091"}, 9091), ({"METRICS_PORT": "8000"}, 8000),
    ({"CELERY_METRICS_PORT": ":9100"}, 9100), ({"PROMETHEUS_METRICS_LISTEN": "0.0.0.0:9200"}, 9200),
    ({"OTEL_EXPORTER_PROMETHEUS_PORT": "9464"}, 9464), ({"METRICS_BIND_ADDRESS": "[::]:9091"}, 9091),
])
def test_ports_of_metrics(env, port):
    """A variable whose name speaks of metrics and of a port, as people write it."""
    assert found(service(env=env)) == [("w", "metrics", port, "/metrics", f"env {next(iter(env))}")]


@pytest.mark.parametrize("env", [
    {"PROMETHEUS_PORT": "0"}, {"PROMETHEUS_PORT": ""}, {"PROMETHEUS_PORT": "${PORT}"},
    {"PROMETHEUS_PORT": "99999"}, {"PORT": "8000"}, {"REDIS_PORT": "6379"},
    {"PROMETHEUS_MULTIPROC_DIR": "/var/lib/prometheus"}, {"METRICS_ENABLED": "1"},
    {"PROMETHEUS_PUSHGATEWAY_PORT": "9091"}, {"OTEL_EXPORTER_JAEGER_AGENT_PORT": "6831"},
    {"PROMETHEUS_HOST": "prometheus", "PROMETHEUS_PORT": "9090"}, {"PROMETHEUS_ADDR": "prometheus:9090"},
    {"STATSD_METRICS_PORT": "8125"}, {"PROMETHEUS_PUSHGATEWAY_URL": "http://push:9091"},
])
def test_what_is_no_endpoint(env):
    """Switched off, not replaced, no port, or a server elsewhere that this service sends to."""
    assert found(service(env=env)) == []


def test_a_port_that_is_exposed_is_a_guess():
    """A worker that exposes a port has few other reasons to; an application that does may have any. What is
    declared comes once."""
    stack = (service(env={"PROMETHEUS_PORT": "9091"}, ports=(9091, 9191)),
             service("web", "gunicorn x", {"CELERY_BROKER_URL": "redis://r"}, ports=(8000,)))
    assert found(*stack) == [("w", "metrics", 9091, "/metrics", "env PROMETHEUS_PORT"),
                             ("w", "metrics", 9191, "/metrics", "exposed port 9191")]
    assert [one.declared for one in endpoints(Stack({"items": list(stack)}))] == [True, False]


@pytest.mark.parametrize(("url", "port", "path"), [
    ("http://w:9091/metrics", 9091, "/metrics"), ("http://w:9091", 9091, "/metrics"),
    ("http://w", 80, "/metrics"), ("http://user:pa@ss@w:9091/m?token=geheim#x", 9091, "/m"),
    ("http://w:9091/a b\r\nHost: x", 9091, "/abHost:x"),
])
def test_urls_of_metrics(url, port, path):
    """User, password, query and whatever could end the request line stay behind."""
    assert found(service(env={"METRICS_URL": url}))[0][2:4] == (port, path)


def test_the_path_of_metrics():
    """A variable may name it."""
    env = {"PROMETHEUS_PORT": "9091", "METRICS_PATH": "/internal/metrics"}
    assert found(service(env=env))[0][3] == "/internal/metrics"


@pytest.mark.parametrize(("command", "env", "port", "path", "where"), [
    ("celery -A x flower", {}, 5555, "/healthcheck", "default"),
    ("celery -A x flower --port=8888", {}, 8888, "/healthcheck", "option --port"),
    ("celery -A x flower --port 8888 --url-prefix=/tools/flower/", {}, 8888, "/tools/flower/healthcheck",
     "option --port"),
    ("celery -A x flower", {"FLOWER_PORT": "7777", "FLOWER_URL_PREFIX": "f"}, 7777, "/f/healthcheck",
     "env FLOWER_PORT"),
    ("celery -A x flower --port=8888 --url_prefix=g", {"FLOWER_PORT": "7777"}, 8888, "/g/healthcheck",
     "option --port"),
    ("sh -c celery", {}, 0, "", ""),
])
def test_where_flower_is(command, env, port, path, where):
    """Its option goes before its variable, and before its default; its own metrics are asked for, too."""
    asked = found(service("f", command, env))
    if not port:
        assert asked == []
        return
    assert asked[0] == ("f", "flower", port, path, where)
    assert asked[1] == ("f", "metrics", port, path.removesuffix("/healthcheck") + "/metrics", where)


def test_flowers_own_port_is_no_second_endpoint():
    """The port that Flower listens on is exposed as well: it is asked once for each purpose."""
    assert len(found(service("f", "celery -A x flower", ports=(5555,)))) == 2


# What answers

@contextmanager
def serving(answer):
    """A port of this machine on which each connection is given to ``answer`` in a process of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
                while True:
                    connection, _ = listener.accept()
                    if os.fork() == 0:
                        with connection:
                            answer(connection)
                        os._exit(0)
                    connection.close()
            finally:
                os._exit(0)
        try:
            yield listener.getsockname()[1]
        finally:
            for kill, who in ((os.killpg, pid), (os.kill, pid)):
                try:
                    kill(who, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            os.waitpid(pid, 0)


def saying(*pieces):
    """An answer: bytes are sent, numbers are waited for; then the connection ends."""
    def answer(connection):
        connection.recv(65536)
        for piece in pieces:
            if isinstance(piece, bytes):
                connection.sendall(piece)
            else:
                time.sleep(piece)

    return answer


def ask(*items, **options):
    """(section, calls, seconds) of one run in its own child."""
    source = http.source(Stack({"items": list(items)}), options, Redactor())
    begin = time.monotonic()
    probed = run_sources([source], mask=Redactor().text)
    seconds = time.monotonic() - begin
    section = probed.sections["http"]
    assert shapes.wrong("http", section.data) == ""
    return section, probed.calls, seconds


def one(answer):
    """(entry, section, seconds) of one worker whose metrics port answers so."""
    with serving(answer) as port:
        section, calls, seconds = ask(service(env={"PROMETHEUS_PORT": str(port)}))
    assert len(calls) == 1 and f":{port}/metrics (w)" in calls[0]
    return section.data["endpoints"][0], section, seconds


def test_metrics_of_a_real_worker():
    """What came, and how many kinds of metrics; a histogram is one."""
    entry, section, seconds = one(saying(WORKER % (len(METRICS), METRICS)))
    assert (section.status, entry["status"], entry["code"], entry["bytes"]) == ("ok", "ok", 200, len(METRICS))
    assert (entry["families"], entry["names"]) == (2, ["celery_task_seconds", "celery_tasks_total"])
    assert entry["content_type"].startswith("text/plain; version=0.0.4") and entry["ms"] < 1000
    assert entry["server"] == "WSGIServer/0.2 CPython/3.11.2" and seconds < 1


def test_an_endpoint_without_a_metric():
    """A worker that has not done anything yet has an empty page: that is nought, not unknown."""
    entry, section, _ = one(saying(WORKER % (0, b"")))
    assert (section.status, entry["families"], entry["bytes"]) == ("ok", 0, 0)


def test_flower_that_is_well():
    """Its check of its life answers; of its metrics this one knows nothing."""
    with serving(saying(FLOWER)) as port:
        section, _, _ = ask(service("f", f"celery -A x flower --port={port}"))
    flower, metrics = section.data["endpoints"]
    assert (flower["purpose"], flower["code"], flower["families"]) == ("flower", 200, None)
    assert (metrics["purpose"], metrics["code"], metrics["families"]) == ("metrics", 200, None)


@pytest.mark.parametrize(("head", "code"), [
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404),
    (b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", 401),
    (b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n", 503),
])
def test_other_codes_are_answers(head, code):
    """Whoever says no has answered."""
    entry, section, _ = one(saying(head))
    assert (section.status, entry["status"], entry["code"], entry["families"]) == ("ok", "ok", code, None)


def test_a_redirect_is_not_followed():
    """Where it leads is told without its query, and nobody is asked there."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        target = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/login?next=1&token=geheim"
        entry, section, _ = one(saying(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\n\r\n".encode()))
        elsewhere.settimeout(0.2)
        with pytest.raises(TimeoutError):
            elsewhere.accept()
    assert (entry["code"], section.status) == (302, "ok")
    assert entry["location"] == target.partition("?")[0]


def test_nothing_listens():
    """A refused connection is an answer about this endpoint: nothing is left open."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    section, _, seconds = ask(service(env={"PROMETHEUS_PORT": str(port)}))
    entry = section.data["endpoints"][0]
    assert (section.status, entry["status"], entry["error_kind"]) == ("ok", "unreachable", "refused")
    assert (entry["code"], entry["families"]) == (None, None) and seconds < 1


def test_an_endpoint_that_hangs_at_byte_100():
    """What had come is told; it costs the time of one endpoint."""
    entry, section, seconds = one(saying(WORKER % (5000, METRICS[:100]), 60))
    assert (entry["status"], entry["error_kind"], entry["code"], entry["bytes"]) == (
        "timeout", "timeout", 200, 100)
    assert "after 100 bytes" in entry["why"] and section.status == "partial" and entry["families"] is None
    assert seconds < http.ENDPOINT_S + 1


def test_an_endpoint_that_never_answers():
    """It takes the connection and says nothing."""
    entry, section, seconds = one(saying(60))
    assert (entry["status"], entry["error_kind"], entry["code"]) == ("timeout", "timeout", None)
    assert section.status == "partial" and seconds < http.ENDPOINT_S + 1


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_endpoint_that_drips(begin):
    """A byte each tenth of a second, in the head or in the body, does not renew the time."""
    drops = [part for _ in range(300) for part in (b"a", 0.1)]
    entry, _, seconds = one(saying(begin, *drops))
    assert entry["status"] == "timeout" and seconds < http.ENDPOINT_S + 1


def test_a_body_of_a_gigabyte():
    """A mebibyte of it is read, and the rest is said to be cut."""
    def answer(connection):
        connection.recv(65536)
        connection.sendall(WORKER % (2**30, METRICS))
        block = b"x_total 1\n" * 6554
        try:
            for _ in range(2**30 // len(block)):
                connection.sendall(block)
        except OSError:
            pass

    entry, section, seconds = one(answer)
    assert (entry["bytes"], entry["cut"], section.status) == (http.BODY, True, "ok")
    assert entry["families"] == 2 and seconds < 3


def test_a_body_of_exactly_the_most():
    """Nothing is cut where nothing is left."""
    body = b"# " + b"x" * (http.BODY - 3) + b"\n"
    entry, _, _ = one(saying(WORKER % (len(body), body)))
    assert (entry["bytes"], entry["cut"]) == (http.BODY, False)


@pytest.mark.parametrize("body", [
    b"<!doctype html>\n<html><body>It works!</body></html>\n", b'{"status": "ok"}\n',
    b"\x00\xff\x1b[2J\n" * 9, b"OK", b"", b"x" * 100_000])
def test_content_that_is_no_metrics(body):
    """A page with code 200 that holds something else has no number of metrics."""
    head = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n"
    entry, section, _ = one(saying(head + body))
    assert (section.status, entry["code"], entry["families"], entry["names"]) == ("ok", 200, None, [])


@pytest.mark.parametrize(("pieces", "kind"), [
    ((b"-ERR unknown command 'GET'\r\n",), "not_http"), ((b"\x15\x03\x01\x00\x02\x02\x46",), "not_http"),
    ((b"HTTP/1.1 OK\r\n\r\n",), "not_http"),
    ((b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",), "not_http"),
    ((b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,), "not_http"), ((), "closed"),
])
def test_what_is_no_http(pieces, kind):
    """Redis, TLS, half a head and a closed door are told as such, in words that hold no control character."""
    entry, section, seconds = one(saying(*pieces))
    assert (entry["status"], entry["error_kind"], section.status) == ("no_reply", kind, "ok")
    assert entry["why"] and entry["why"].isprintable() and len(entry["why"]) < 300 and seconds < 2


def test_a_body_shorter_than_announced():
    """An answer that breaks off is not a whole one."""
    entry, _, _ = one(saying(WORKER % (5000, METRICS)))
    assert (entry["status"], entry["error_kind"], entry["code"]) == ("no_reply", "closed", 200)
    assert f"after {len(METRICS)} bytes" in entry["why"] and entry["families"] is None


def test_a_body_in_chunks():
    """A body without a length comes in chunks."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"
    entry, _, _ = one(saying(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(METRICS), METRICS)))
    assert (entry["status"], entry["bytes"], entry["families"]) == ("ok", len(METRICS), 2)


def test_secrets_in_an_answer_are_masked():
    """Headers may hold anything."""
    head = b"HTTP/1.1 302 Found\r\nServer: x\r\nLocation: http://admin:hunter2hunter2@w/\r\n\r\n"
    entry, section, _ = one(saying(head))
    assert "hunter2hunter2" not in repr(section) and "admin" in entry["location"]


def test_nothing_is_sent_but_the_request(tmp_path):
    """No user, password, cookie or query goes along, and a proxy of this machine is not used."""
    seen = tmp_path / "seen"

    def answer(connection):
        seen.write_bytes(connection.recv(65536))
        connection.sendall(WORKER % (0, b""))

    os.environ["http_proxy"] = "http://127.0.0.1:1"
    try:
        with serving(answer) as port:
            env = {"METRICS_URL": f"http://admin:hunter2hunter2@w:{port}/m?token=geheim",
                   "CELERY_BROKER_URL": "redis://w:1"}
            section, calls, _ = ask(service(env=env))
    finally:
        del os.environ["http_proxy"]
    request = seen.read_bytes().decode()
    assert request.startswith(f"GET /m HTTP/1.1\r\nHost: w:{port}\r\n") and request.endswith("\r\n\r\n")
    assert {line.partition(":")[0] for line in request.splitlines()[1:] if line} == {
        "Host", "User-Agent", "Accept", "Connection"}
    assert section.data["endpoints"][0]["code"] == 200
    assert "hunter2hunter2" not in repr(section) + repr(calls)


def test_flower_behind_tls(tmp_path):
    """A Flower with a certificate is asked by TLS; whose certificate it is, is not judged."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
                    certificate, "-subj", "/CN=flower", "-days", "1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def answer(connection):
        with context.wrap_socket(connection, server_side=True) as encrypted:
            saying(FLOWER)(encrypted)

    with serving(answer) as port:
        section, calls, _ = ask(service("f", f"celery -A x flower --port={port} --certfile=/c.pem"))
    assert section.data["endpoints"][0]["code"] == 200 and "https://" in calls[0]


# Whom it asks

def test_a_container_that_does_not_run():
    """It is not asked; its endpoint is open, so the section is partial."""
    section, calls, _ = ask(service(env={"PROMETHEUS_PORT": "9091"}, samples=[{"status": "restarting"}]))
    entry = section.data["endpoints"][0]
    assert (section.status, entry["error_kind"], calls) == ("partial", "not_running", [])
    assert "restarting" in entry["why"]


def test_a_host_that_is_no_container():
    """A URL that leads out of this engine is not asked, and its name is not looked up."""
    section, calls, _ = ask(service(env={"METRICS_URL": "http://metrics.example.com:9091/metrics"}),
                            reach_external=True)
    entry = section.data["endpoints"][0]
    assert (entry["status"], entry["error_kind"], calls) == ("withheld", "dns", [])
    assert "metrics.example.com" in entry["why"]


def test_a_host_on_another_network():
    """A name that only another network knows is asked there, and it is told that this service cannot."""
    with serving(saying(WORKER % (0, b""))) as port:
        front = {"front": {"ip": "127.0.0.1", "aliases": ["exporter"]}}
        other = service("exporter", "exporter", networks=front)
        section, _, _ = ask(service(env={"METRICS_URL": f"http://exporter:{port}/"}), other)
    entry = section.data["endpoints"][0]
    assert (entry["owner"], entry["code"]) == ("exporter", 200) and "shares no network" in entry["unreached"]


def test_the_published_port_is_the_second_way():
    """Where the container's own address leads nowhere, the port that it publishes is asked."""
    with serving(saying(WORKER % (0, b""))) as port:
        ports = [{"container": 9, "proto": "tcp", "host": f"0.0.0.0:{port}"}]
        section, calls, _ = ask(service(env={"PROMETHEUS_PORT": "9"}, ports=()) | {"ports": ports})
    entry = section.data["endpoints"][0]
    assert entry["code"] == 200 and "published port" in entry["via"] and len(calls) == 2


def test_a_container_on_the_hosts_network():
    """Its port is one of the machine itself."""
    with serving(saying(WORKER % (0, b""))) as port:
        section, _, _ = ask(service(env={"PROMETHEUS_PORT": str(port)},
                                    networks={"host": {"ip": None, "aliases": []}}))
    assert section.data["endpoints"][0]["code"] == 200


def test_twenty_that_hang_and_one_that_does_not():
    """Many hanging endpoints end in time, together, and do not keep the good one from being seen."""
    with serving(saying(60)) as hangs, serving(saying(WORKER % (0, b""))) as well:
        stack = [service(f"w{number:02}", env={"PROMETHEUS_PORT": str(hangs)}) for number in range(20)]
        section, _, seconds = ask(service("a", env={"PROMETHEUS_PORT": str(well)}), *stack)
    told = {entry["label"]: entry["status"] for entry in section.data["endpoints"]}
    assert told.pop("a") == "ok" and set(told.values()) == {"timeout"}
    assert section.status == "partial" and seconds < http.DEADLINE_S + 1


def test_more_endpoints_than_are_asked():
    """Those beyond the most are named, not asked, and not called silent."""
    env = {f"METRICS_PORT_{port}": str(port) for port in range(1, 51)}
    section, calls, _ = ask(service(env=env))
    told = [entry["status"] for entry in section.data["endpoints"]]
    assert (len(told), told.count("withheld"), len(calls)) == (50, 10, http.MOST_ENDPOINTS)
    assert section.status == "partial"


def test_nothing_to_ask():
    """A stack without any endpoint has an empty, healthy section."""
    section, calls, _ = ask(service())
    assert (section.status, section.data, calls) == ("ok", {"endpoints": []}, [])


@pytest.mark.parametrize(("body", "kind", "count"), [
    (METRICS, "text/plain", 2), (b"up 1\nup 2 1395066363000\ndown{a=\"}\"} NaN\n", "text/plain", 2),
    (b"# TYPE a counter\na_total 1.0 # {trace_id=\"x\"} 1\n# EOF\n", "application/openmetrics-text", 1),
    (b"", "application/openmetrics-text; version=1.0.0", 0), (b"", "text/plain", None),
    (b"a 1\nhello, world!\n", "text/plain", None), (b"a 1\nb", "text/plain", 1),
    (b"# TYPE a counter\n" + b"b{x=\"" + b"}" * 900_000 + b"\n", "text/plain", 1),
])
def test_how_metrics_are_counted(body, kind, count):
    """By their types, else by their names; a text that has a line of another form is none; in no time."""
    begin = time.monotonic()
    assert http.families(body, kind)[0] == count
    assert time.monotonic() - begin < 1


# With a real container

@pytest.mark.docker
def test_an_address_of_a_real_container():
    """At the address that the engine gave it: a Redis is no HTTP, and a port without a listener refuses."""
    with started("redis", "redis-server", "--bind", "0.0.0.0", "--protected-mode", "no") as real:
        networks = {real.network: {"ip": real.ip, "aliases": []}}
        items = [service(env={"PROMETHEUS_PORT": "6379"}, networks=networks),
                 service("v", env={"PROMETHEUS_PORT": "9091"}, networks=networks)]
        wait_until(lambda: ask(*items)[0].data["endpoints"][0]["error_kind"] != "refused")
        section, _, seconds = ask(*items)
    kinds = [entry["error_kind"] for entry in section.data["endpoints"]]
    assert kinds[0] in ("closed", "not_http") and kinds[1] == "refused"
    assert section.status == "ok" and seconds < 2


def test_the_endpoints_are_plain_data():
    """Nothing of an endpoint can hold a secret by mistake: its parts are these."""
    assert [name for name in Endpoint.__dataclass_fields__] == [
        "label", "purpose", "port", "path", "source", "declared", "tls", "host"]
