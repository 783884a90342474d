"""Redis as it is asked: reads only, bounded, and every way in which it can refuse."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
import time

import pytest
import redis
from real_servers import PASSWORD, redis_cli, started, wait_until

from celery_triage.collect import broker
from celery_triage.collect.probe import run_sources
from celery_triage.collect.servers import servers
from celery_triage.redact import Redactor
from celery_triage.stack import Stack


def worker(label, env, network="back", queues="mail", **more):
    """A worker of the target on that network."""
    return {"label": label, "name": label, "id": "", "service": label, "project": "shop", "member": True,
            "image": "x", "entrypoint": [], "cmd": ["celery", "-A", "x", "worker", "-Q", queues], "env": env,
            "ports": [], "networks": {network: {"ip": None, "aliases": []}},
            "samples": [{"status": "running"}], **more}


def owner(ip="127.0.0.1", label="store", network="back", **more):
    """A container of this engine with that address."""
    return {**worker(label, {}, network), "member": False, "cmd": ["redis-server"],
            "networks": {network: {"ip": ip, "aliases": [label]}}, **more}


def ask(items, **options):
    """(section, calls, seconds) of one run of the source in its own child."""
    redactor = Redactor()
    for entry in items:
        redactor.learn_env(entry["env"])
    begin = time.monotonic()
    probed = run_sources([broker.source(Stack({"items": items}), options, redactor)], mask=redactor.text)
    return probed.sections["redis"], probed.calls, time.monotonic() - begin


def url(text):
    return {"CELERY_BROKER_URL": text}


@contextlib.contextmanager
def answering(*answers):
    """A server on this machine that gives each connection's commands these answers (bytes), then closes; its
    port. It stands for what no real server says on demand."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        for answer in answers:
                            peer.recv(65536)
                            peer.sendall(answer)

        # The fork of the probe happens while this thread waits in the kernel; the child never uses it.
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


# The list of commands

@pytest.mark.parametrize("call", [
    lambda client: client.set("a", 1), lambda client: client.delete("a"), lambda client: client.rpop("a"),
    lambda client: client.config_set("maxmemory", 1), lambda client: client.client_kill("x"),
    lambda client: client.flushall(), lambda client: client.eval("return 1", 0),
    lambda client: client.keys("*"),
    lambda client: client.client_setname("x"), lambda client: client.brpop("a", 1),
    lambda client: client.pipeline(), lambda client: client.execute_command("CONFIG", "REWRITE"),
    lambda client: client.execute_command("config rewrite"), lambda client: client.publish("a", "b"),
])
def test_no_other_command_leaves(call):
    """The client refuses every command that is not a listed read, before anything is sent."""
    items = [worker("w", url("redis://store:1/0")), owner()]
    server = servers(Stack({"items": items}), "redis", ("broker",), {})[0]
    with pytest.raises(broker.RefusedHere):
        call(broker.connect(server, server.ways[0], login=True))


# Without a server

def test_nobody_to_ask():
    """A stack whose broker is RabbitMQ gives an empty, healthy section."""
    section, calls, _ = ask([worker("w", url("amqp://mq//"))])
    assert (section.status, section.data, calls) == ("ok", {"servers": []}, [])


def test_outside_is_left_alone():
    """A broker that no container of this engine owns is not asked without ``reach_external``."""
    section, calls, _ = ask([worker("w", url("redis://cache.example.com/0"))])
    assert (section.status, calls) == ("withheld", [])
    assert "--reach-external" in section.why


def test_one_server_under_two_names():
    """Services that name the same container differently, or publish results there, share one look."""
    items = [worker("a", {"CELERY_BROKER_URL": "redis://store/0", "CELERY_RESULT_BACKEND": "redis://store/0"}),
             worker("b", url("redis://cache:6379/0")), worker("c", url("redis://store/1")),
             owner("172.20.0.2", networks={"back": {"ip": "172.20.0.2", "aliases": ["store", "cache"]}})]
    found = servers(Stack({"items": items}), "redis", ("broker", "result"), {})
    assert [(server.key, server.services, sorted(server.purposes)) for server in found] == [
        ("store:6379/0", ["a", "b"], ["broker", "result"]), ("store:6379/1", ["c"], ["broker"])]


def test_refused():
    """A port that nothing listens on is told at once, with its kind."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    section, _, seconds = ask([worker("w", url(f"redis://store:{port}/0")), owner()])
    entry = section.data["servers"][0]
    assert (section.status, entry["status"], entry["error_kind"]) == ("partial", "unreachable", "refused")
    assert seconds < 1


def test_a_peer_that_never_answers():
    """A peer that takes the connection and says nothing costs one short time-out: nothing is retried."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        items = [worker("w", url(f"redis://store:{silent.getsockname()[1]}/0")), owner()]
        section, _, seconds = ask(items)
    entry = section.data["servers"][0]
    assert (entry["status"], entry["error_kind"]) == ("timeout", "timeout")
    assert seconds < broker.READ_TIMEOUT_S + 1


@pytest.mark.parametrize(("answer", "status", "kind"), [
    (b"-LOADING Redis is loading the dataset in memory\r\n", "no_reply", "loading"),
    (b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n",
     "denied", "protected"),
    (b"-ERR max number of clients reached\r\n", "denied", "full"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no_reply", "not_redis"),
    (b"-MASTERDOWN Link with MASTER is down\r\n", "no_reply", "other"),
    (b"$-5\r\n", "no_reply", "not_redis"),
    (b"", "no_reply", "not_redis"),
])
def test_answers_that_are_no_pong(answer, status, kind):
    """What a server says instead of PONG is told by its kind, whatever speaks there."""
    with answering(answer) as port:
        entry = ask([worker("w", url(f"redis://store:{port}/0")), owner()])[0].data["servers"][0]
    assert (entry["status"], entry["error_kind"]) == (status, kind)


def test_hostile_answers_are_cleaned():
    """Control characters and secrets in what a server says do not get into the section."""
    lines = ("redis_version:7\x1b[31m", f"role:{PASSWORD}", "maxmemory_policy:" + "x" * 5000, "")
    info = "\r\n".join(lines).encode()
    bulk = b"$%d\r\n%s\r\n" % (len(info), info)
    with answering(b"+OK\r\n", b"+PONG\r\n", bulk, b"*0\r\n") as port:
        section, _, _ = ask([worker("w", url(f"redis://:{PASSWORD}@store:{port}/0")), owner()])
    told = repr(section)
    assert "\\x1b" not in told and PASSWORD not in told
    assert len(section.data["servers"][0]["memory"]["policy"]) < 300


# With a real server

@pytest.fixture(scope="module")
def server():
    """A Redis with a password, two users and some of kombu's keys, as a Celery would leave them."""
    command = ["redis-server", "--bind", "0.0.0.0", "--requirepass", PASSWORD, "--save", ""]
    with started("redis", *command) as running:
        def cli(*words):
            return redis_cli(running, "-a", PASSWORD, "--no-auth-warning", *words)

        wait_until(lambda: "PONG" in cli("PING"))
        cli("LPUSH", "mail", "a", "b", "c")
        cli("LPUSH", "mail\x06\x166", "d")
        cli("SET", "odd", "no list")
        cli("HSET", "unacked", "t1", "x", "t2", "y")
        cli("SADD", "_kombu.binding.celery.pidbox", "\x06\x16\x06\x16mail@0dfd1b61c619.celery.pidbox")
        cli("SADD", "_kombu.binding.mail", "mail\x06\x16\x06\x16mail")
        cli("ACL", "SETUSER", "narrow", "on", f">{PASSWORD}", "~*", "+ping")
        cli("ACL", "SETUSER", "off", "off", f">{PASSWORD}", "~*", "+@all")
        yield running


def entry_for(server, text, queues="mail,odd", **options):
    """The one entry for a worker with that URL (``{}`` stands for the password)."""
    asking = worker("w", url(text.format(PASSWORD)), network=server.network, queues=queues)
    section, calls, _ = ask([asking, server.item("store")], **options)
    assert PASSWORD not in repr(section) + repr(calls)
    return section, section.data["servers"][0]


@pytest.mark.docker
def test_a_healthy_server(server):
    """Version, memory, keys, nodes, bindings and depths over all priorities, twice; a key that is no list
    has no depth."""
    section, entry = entry_for(server, "redis://:{}@store:6379/0")
    assert (section.status, entry["key"], entry["container"]) == ("ok", "store:6379/0", "store")
    assert re.match(r"\d+\.\d+", entry["version"]) and entry["role"] == "master"
    assert entry["memory"]["policy"] == "noeviction" and entry["memory"]["used"] > 0
    assert entry["databases"]["db0"]["keys"] == 6
    assert entry["nodes"] == ["mail@0dfd1b61c619"]
    assert entry["bindings"]["mail"] == [["mail", "", "mail"]]
    assert [sample["queues"] for sample in entry["samples"]] == [{"mail": 4, "odd": None, "celery": 0}] * 2
    assert [sample["unacked"] for sample in entry["samples"]] == [2, 2]
    assert entry["not_allowed"] == ["LLEN"]


@pytest.mark.docker
@pytest.mark.parametrize(("text", "options", "status", "kind"), [
    ("redis://store:6379/0", {}, "denied", "noauth"),
    ("redis://:wrong-password@store:6379/0", {}, "denied", "auth"),
    ("redis://ghost:wrong-password@store:6379/0", {}, "denied", "auth"),
    ("redis://off:{}@store:6379/0", {}, "denied", "auth"),
    ("redis://:{}@store:6379/99", {}, "denied", "database"),
    ("redis://:{}@store:6379/0", {"no_login": True}, "denied", "noauth"),
    ("redis://:{}@store:6380/0", {}, "unreachable", "refused"),
])
def test_refusals(server, text, options, status, kind):
    """Each refusal of a real server is told by its kind."""
    section, entry = entry_for(server, text, **options)
    assert (section.status, entry["status"], entry["error_kind"]) == ("partial", status, kind)


@pytest.mark.docker
def test_no_password_is_sent(server):
    """With ``no_login`` no AUTH is sent, and it is said that this is why."""
    before = _commands(server).get("auth", 0)
    _, entry = entry_for(server, "redis://:{}@store:6379/0", no_login=True)
    assert "--no-login" in entry["why"]
    assert _commands(server)["auth"] == before + 1  # the one of this test's own two looks


@pytest.mark.docker
def test_a_user_who_may_not_do_much(server):
    """A user without INFO still shows that the broker lives; what could not be read is named."""
    section, entry = entry_for(server, "redis://narrow:{}@store:6379/0")
    assert (section.status, entry["status"], entry["version"]) == ("ok", "ok", None)
    assert set(entry["not_allowed"]) == {
        "INFO", "CONFIG GET", "SMEMBERS", "CLIENT LIST", "LLEN", "HLEN", "SCAN"}
    assert entry["samples"][0]["queues"] == {"mail": None, "odd": None, "celery": None}


@pytest.mark.docker
def test_a_queue_that_only_its_producer_names(server):
    """What a producer declared is found by the binding that kombu left, and its depth is told; Celery's own
    exchanges are no queues."""
    client = redis.Redis(server.ip, password=PASSWORD)
    keys = ["_kombu.binding.lost", "_kombu.binding.celeryev", "lost"]
    client.sadd(keys[0], "lost\x06\x16\x06\x16lost")
    client.sadd(keys[1], "worker.#\x06\x16\x06\x16celeryev.0dfd")
    client.lpush("lost", "a", "b")
    try:
        _, entry = entry_for(server, "redis://:{}@store:6379/0")
    finally:
        client.delete(*keys)
    assert entry["all_queues"] is True and entry["queues"] == ["mail", "odd", "celery", "lost"]
    assert [sample["queues"]["lost"] for sample in entry["samples"]] == [2, 2]
    assert entry_for(server, "redis://narrow:{}@store:6379/0")[1]["all_queues"] is False


@pytest.mark.docker
def test_who_waits_for_messages(server):
    """A connection that is blocked in BRPOP is told, with the container whose address it comes from."""
    client = redis.Redis(server.ip, password=PASSWORD)
    waiting = client.connection_pool.get_connection()
    waiting.send_command("BRPOP", "other", 10)
    gateway = server.ip.rpartition(".")[0] + ".1"
    items = [worker("w", url(f"redis://:{PASSWORD}@store/0"), network=server.network,
                    networks={server.network: {"ip": gateway, "aliases": []}}), server.item("store")]
    entry = ask(items)[0].data["servers"][0]
    waiting.disconnect()
    assert [(one["label"], one["command"], one["blocked"]) for one in entry["consumers"]] == [
        ("w", "brpop", 1)]


def _commands(server):
    """How often each command was called, by the server's own count."""
    told = redis_cli(server, "-a", PASSWORD, "--no-auth-warning", "INFO", "commandstats")
    return {name: int(calls) for name, calls in re.findall(r"cmdstat_([\w|]+):calls=(\d+)", told)}


@pytest.mark.docker
def test_reads_only_by_the_servers_own_count(server):
    """The server's own command statistics grow by the listed reads alone (and AUTH, SELECT of connecting)."""
    before = _commands(server)
    entry_for(server, "redis://:{}@store:6379/0")
    entry_for(server, "redis://:{}@store:6379/1")
    after = _commands(server)
    grown = {name.replace("|", " ").upper() for name in after if after[name] != before.get(name, 0)}
    assert grown - {"AUTH", "SELECT"} == set(broker.READS)


@pytest.mark.docker
def test_tls_against_a_plain_server(server):
    """A ``rediss://`` URL to a server without TLS ends in a short time-out, never in a hang; that the server
    answers without TLS is asked, and no password is sent for it."""
    begin, before = time.monotonic(), _commands(server).get("auth", 0)
    _, entry = entry_for(server, "rediss://:{}@store:6379/0")
    assert (entry["status"], entry["error_kind"]) == ("denied", "plain")
    assert time.monotonic() - begin < 9
    assert _commands(server)["auth"] == before + 1  # the one of this test's own second look


@pytest.mark.docker
def test_a_server_that_cannot_save_still_tells_its_figures():
    """It refuses even PING; a password that it never had is no obstacle."""
    with started("redis", "redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "1 1",
                 "--dir", "/srv") as running:
        wait_until(lambda: "PONG" in redis_cli(running, "PING"))
        redis_cli(running, "SET", "first", "1")
        wait_until(lambda: "rdb_last_bgsave_status:err" in redis_cli(running, "INFO", "persistence"))
        env = url("redis://:never-set@store/0")
        items = [worker("w", env, network=running.network), running.item("store")]
        section, _, _ = ask(items)
    entry = section.data["servers"][0]
    assert (section.status, entry["status"], entry["no_password_set"]) == ("ok", "ok", True)
    assert entry["info"]["rdb_last_bgsave_status"] == "err"
    assert entry["saving"] == {"save": "1 1", "stops_writes": True, "replica_read_only": True}


@pytest.mark.docker
@pytest.mark.parametrize(("options", "kind"), [
    (("--protected-mode", "yes"), "protected"), (("--protected-mode", "no", "--maxclients", "1"), "full"),
])
def test_a_server_that_closes_at_once_is_heard_all_the_same(options, kind):
    """It says why before anything was asked and closes: to redis-py such a connection is reset or "not ready"
    (seen in three of five looks), and every look must tell the reason."""
    with started("redis", "redis-server", "--bind", "0.0.0.0", "--save", "", *options) as running:
        wait_until(lambda: "PONG" in redis_cli(running, "PING"))
        held = socket.create_connection((running.ip, 6379), 5)
        try:
            time.sleep(0.2)
            items = [worker("w", url("redis://store/0"), network=running.network), running.item("store")]
            seen = [ask(items)[0].data["servers"][0] for _ in range(5)]
        finally:
            held.close()
    assert [(one["error_kind"], one["why"]) for one in seen if one["error_kind"] != kind] == []


def test_a_peer_that_closes_without_a_word_is_no_redis():
    """It was listened to once more, and said nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()

        threading.Thread(target=serve, daemon=True).start()
        entries = [worker("w", url(f"redis://store:{listener.getsockname()[1]}/0")), owner()]
        section, calls, _ = ask(entries)
    assert section.data["servers"][0]["error_kind"] == "not_redis"
    assert sum("nothing sent" in call for call in map(str, calls)) == 1


@pytest.mark.docker
def test_a_server_that_dies_between_the_samples():
    """The first sample is kept when the server is gone before the second; the section is partial."""
    with started("redis") as running:
        wait_until(lambda: "PONG" in redis_cli(running, "PING"))
        # It ends itself as soon as somebody has counted what is unacknowledged, however busy this machine is.
        asked = "until redis-cli INFO commandstats | grep -q cmdstat_hlen; do sleep 0.1; done"
        script = f"{asked}; redis-cli SHUTDOWN NOSAVE"
        subprocess.run(["docker", "exec", "--detach", running.name, "sh", "-c", script], check=True)
        items = [worker("w", url("redis://store/0"), network=running.network), running.item("store")]
        section, _, _ = ask(items)
    entry = section.data["servers"][0]
    assert section.status == "partial" and entry["status"] != "ok"
    assert len(entry["samples"]) == 1 and entry["version"]
