"""The one declared write: questions to the workers, bounded, and nothing left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time

import pytest
import redis
from celery.utils.nodenames import gethostname
from real_servers import PASSWORD, started, wait_until

from celery_triage.collect import broker, celery, redis_post
from celery_triage.collect.probe import run_sources
from celery_triage.collect.servers import servers
from celery_triage.redact import Redactor
from celery_triage.stack import Stack


def worker(label, broker_url, network="back", node="", hostname="", **more):
    """A worker of the target on that network, with that node name and host name."""
    command = ["celery", "-A", "x", "worker", *(["-n", node] if node else [])]
    return {"label": label, "name": label, "id": "", "service": label, "project": "shop", "member": True,
            "image": "x", "entrypoint": [], "cmd": command, "env": {"CELERY_BROKER_URL": broker_url},
            "hostname": hostname, "ports": [], "networks": {network: {"ip": None, "aliases": []}},
            "samples": [{"status": "running"}], **more}


def owner(ip="127.0.0.1", label="store", network="back"):
    """A container of this engine with that address."""
    return {**worker(label, "", network), "member": False, "cmd": ["redis-server"],
            "networks": {network: {"ip": ip, "aliases": [label]}}}


def run(items, deadline_s=None, **options):
    """(Probed, seconds) of one run of the source in its own child."""
    redactor = Redactor()
    for entry in items:
        redactor.learn_env(entry["env"])
    source = celery.source(Stack({"items": items}), options, redactor)
    if deadline_s:
        source = dataclasses.replace(source, deadline_s=deadline_s)
    begin = time.monotonic()
    probed = run_sources([source], mask=redactor.text)
    return probed, time.monotonic() - begin


# Without a server

def test_no_broadcast():
    """With ``no_broadcast`` nothing is connected to, and the section says why it is withheld."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        probed, _ = run([worker("w", f"redis://store:{port}/0"), owner()], no_broadcast=True)
        listener.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listener.accept()
    section = probed.sections["celery"]
    assert (section.status, section.why, probed.calls) == ("withheld", "not asked: --no-broadcast", [])


def test_outside_is_left_alone():
    """A broker that no container of this engine owns is not written to."""
    probed, _ = run([worker("w", "redis://queue.example.com/0")])
    assert (probed.sections["celery"].status, probed.calls) == ("withheld", [])


@pytest.mark.parametrize("text", ["sentinel://store:26379"])
def test_brokers_that_this_version_does_not_ask(text):
    """Workers behind a Sentinel are not asked, and it is said so: no answer is not silence."""
    probed, _ = run([worker("w", text), owner()])
    assert (probed.sections["celery"].status, probed.calls) == ("withheld", [])
    assert "this version" in probed.sections["celery"].why


def test_a_dead_broker_is_not_retried():
    """A broker that refuses is told at once: kombu would try again for ever."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    probed, seconds = run([worker("w", f"redis://store:{port}/0"), owner()])
    entry = probed.sections["celery"].data["brokers"][0]
    assert (entry["status"], entry["error_kind"]) == ("unreachable", "refused")
    assert seconds < 1


def test_a_broker_that_never_answers():
    """A broker that takes the connection and says nothing costs one short time-out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        probed, seconds = run([worker("w", f"redis://store:{port}/0"), owner()])
    assert probed.sections["celery"].data["brokers"][0]["status"] == "timeout"
    assert seconds < broker.READ_TIMEOUT_S + 1


@pytest.mark.parametrize("call", [
    lambda client: client.set("a", 1), lambda client: client.delete("celery"),
    lambda client: client.delete("1.reply.celery.pidbox", "celery"),
    lambda client: client.sadd("celery", "x"),
    lambda client: client.srem("_kombu.binding.celery", "x"), lambda client: client.brpop("celery", 1),
    lambda client: client.publish("news", "x"), lambda client: client.lpush("celery", "x"),
    lambda client: client.pipeline(), lambda client: client.flushdb(), lambda client: client.info(),
    lambda client: client.eval("return 1", 0),
])
def test_nothing_else_is_written(call):
    """The client that asks can write its own reply queue and its binding, and nothing else."""
    stack = Stack({"items": [worker("w", "redis://store:1/0"), owner()]})
    server = servers(stack, "redis", ("broker",), {})[0]
    with pytest.raises(broker.RefusedHere):
        call(broker.connect(server, server.ways[0], login=True, client=redis_post.AskingRedis))


@pytest.mark.parametrize("text", [
    "", "[]", "null", "{}", '{"headers": 1}', '{"headers": {"ticket": "t"}, "body": 5, "properties": {}}',
    '{"headers": {"ticket": "t"}, "body": "W10=", "properties": {"body_encoding": "base64"}}',
    '{"headers": {"ticket": "other"}, "body": "e30=", "properties": {"body_encoding": "base64"}}',
    '{"headers": {"ticket": "t"}, "body": "//8=", "properties": {"body_encoding": "base64"}}', "[" * 100_000,
])
def test_replies_that_are_none(text):
    """Whatever else comes to the reply queue is passed over."""
    assert celery.read_reply(text, "t") is None


# With a real server

@pytest.fixture(scope="module")
def server():
    """A Redis with a password."""
    command = ["redis-server", "--bind", "0.0.0.0", "--requirepass", PASSWORD, "--save", ""]
    with started("redis", *command) as running:
        wait_until(lambda: _answers(running))
        yield running


@pytest.fixture(scope="module")
def real_worker(server, tmp_path_factory):
    """A real Celery worker on this machine, on that Redis; its node name."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "shop.py").write_text(
        "from celery import Celery\napp = Celery('shop')\n@app.task\ndef add(a, b): return a + b\n")
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "shop", "worker", "-l", "info", "-c", "2", "-n", "mail@%h"],
        cwd=folder, stdout=log, stderr=log, start_new_session=True,
        env={**os.environ, "CELERY_BROKER_URL": f"redis://:{PASSWORD}@{server.ip}:6379/0"})
    try:
        wait_until(lambda: " ready." in (folder / "log").read_text(), 60)
        yield f"mail@{gethostname()}"
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _answers(server):
    try:
        return client(server).ping()
    except redis.ConnectionError:
        return False


def client(server):
    return redis.Redis(server.ip, password=PASSWORD, decode_responses=True)


def items(server, count=1, **more):
    url = f"redis://:{PASSWORD}@store:6379/0"
    workers = [worker(f"w{index}", url, server.network, **more) for index in range(count)]
    return [*workers, server.item("store")]


def left_behind(server):
    """Everything in the broker that has to do with replies."""
    bound = client(server).smembers("_kombu.binding.reply.celery.pidbox")
    return sorted(bound) + sorted(client(server).keys("*.reply.celery.pidbox"))


@pytest.mark.docker
def test_a_real_worker_answers(server, real_worker):
    """A real worker answers ping and the other questions, is matched to its container, in well under a
    second, and nothing is left in the broker."""
    probed, seconds = run(items(server, node="mail@%h", hostname=gethostname()))
    section = probed.sections["celery"]
    entry = section.data["brokers"][0]
    assert (section.status, entry["asked"], entry["expected"]) == ("ok", 1, [real_worker])
    reply = entry["replies"][real_worker]
    assert reply["label"] == "w0" and reply["ms"] < 1000
    assert reply["stats"]["pool"]["max-concurrency"] == 2 and len(reply["stats"]["pool"]["processes"]) == 2
    assert reply["stats"]["pid"] > 1 and reply["stats"]["broker"]["port"] == 6379
    assert seconds < 1.5
    assert left_behind(server) == []
    assert PASSWORD not in repr(section) + repr(probed.calls)
    asked = [call.split(" (broadcast)")[0].rpartition(" celery ")[2] for call in probed.calls]
    assert asked == list(celery.QUESTIONS)


@pytest.mark.docker
def test_a_worker_that_does_not_listen(server, real_worker):
    """A running worker that is not among those that answer is named, without waiting for it."""
    stack = items(server, node="mail@%h", hostname=gethostname())
    stack.insert(0, worker("deaf", f"redis://:{PASSWORD}@store:6379/0", server.network, hostname="d1"))
    probed, seconds = run(stack)
    entry = probed.sections["celery"].data["brokers"][0]
    assert (probed.sections["celery"].status, entry["status"]) == ("partial", "no_reply")
    assert "celery@d1" in entry["why"] and seconds < 1.5


@pytest.mark.docker
def test_a_name_that_fits_no_container(server, real_worker):
    """Where a node's name fits no container, a missing worker may be that one: this is said, not judged."""
    entry = run(items(server, hostname="d1"))[0].sections["celery"].data["brokers"][0]
    assert entry["status"] == "partial" and real_worker in entry["why"]
    assert entry["replies"][real_worker]["label"] is None


@pytest.mark.docker
def test_nobody_listens(server):
    """Without any worker on the broker's other database the answer comes at once: PUBLISH told that nobody
    listens."""
    stack = items(server)
    stack[0]["env"] = {"CELERY_BROKER_URL": f"redis://:{PASSWORD}@store:6379/5"}
    probed, seconds = run(stack)
    entry = probed.sections["celery"].data["brokers"][0]
    assert (entry["asked"], entry["replies"], entry["status"]) == (0, {}, "no_reply")
    assert seconds < 1


@pytest.mark.docker
def test_no_worker_runs_and_none_listens(server):
    """When no container with a worker runs, an empty answer is the right one."""
    stack = items(server, samples=[{"status": "restarting"}])
    stack[0]["env"] = {"CELERY_BROKER_URL": f"redis://:{PASSWORD}@store:6379/5"}
    section = run(stack)[0].sections["celery"]
    assert (section.status, section.data["brokers"][0]["expected"]) == ("ok", [])


@pytest.fixture
def deaf_listener(server):
    """Somebody who listens to database 3's control channel and never answers."""
    listener = redis.Redis(server.ip, password=PASSWORD).pubsub()
    listener.psubscribe("/3.celery.pidbox")
    assert listener.get_message(timeout=5)["type"] == "psubscribe"
    yield listener
    listener.close()


def in_database_3(server):
    stack = items(server)
    stack[0]["env"] = {"CELERY_BROKER_URL": f"redis://:{PASSWORD}@store:6379/3"}
    return stack


def left_in_3(server):
    third = redis.Redis(server.ip, password=PASSWORD, db=3, decode_responses=True)
    return sorted(third.keys("*"))


@pytest.mark.docker
def test_somebody_who_listens_and_is_silent(server, deaf_listener):
    """A node that listens and does not answer costs the time of one round and no more; it is asked nothing
    but the ping."""
    probed, seconds = run(in_database_3(server))
    entry = probed.sections["celery"].data["brokers"][0]
    assert (entry["asked"], entry["status"]) == (1, "no_reply")
    assert seconds < celery.ROUND_S + 3
    assert [call for call in probed.calls if "stats" in call] == []
    assert left_in_3(server) == []


@pytest.mark.docker
def test_killed_in_the_middle(server, deaf_listener):
    """A probe that is killed while it waits for replies leaves nothing: the parent removes its reply
    queue."""
    probed, _ = run(in_database_3(server), deadline_s=1.6)
    assert probed.sections["celery"].status == "timeout"
    assert left_in_3(server) == []
    assert any("SREM" in call for call in probed.calls)


@pytest.mark.docker
def test_killed_without_the_clean_up(server, deaf_listener):
    """The same without the parent's clean-up does leave a member for ever: the test above can fail."""
    stack = Stack({"items": in_database_3(server)})
    source = celery.source(stack, {}, Redactor())
    run_sources([dataclasses.replace(source, deadline_s=1.6, finalise=None)], mask=str)
    assert left_in_3(server) == ["_kombu.binding.reply.celery.pidbox"]
    redis.Redis(server.ip, password=PASSWORD, db=3).flushdb()


@pytest.mark.docker
def test_answers_that_are_not_asked_for(server, deaf_listener):
    """Replies with another ticket do not end the wait early, nor do they keep it going."""
    third = redis.Redis(server.ip, password=PASSWORD, db=3, decode_responses=True)
    stack = Stack({"items": in_database_3(server)})
    found = servers(stack, "redis", ("broker",), {})[0]
    post = redis_post.RedisPost(found, found.ways[0], "me", True)
    properties = {"body_encoding": "base64"}
    wrong = json.dumps({"headers": {"ticket": "x"}, "body": "e30=", "properties": properties})
    third.lpush(redis_post.reply_queue("me"), *[wrong] * 2000)
    begin = time.monotonic()
    heard = celery.hear(post, "ping", 1.0)
    assert (heard.listening, heard.replies) == (1, {})
    assert time.monotonic() - begin < 3.5
    third.flushdb()
