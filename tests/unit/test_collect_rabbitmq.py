"""RabbitMQ as it is asked: nothing but looks, bounded, with every way in which it can refuse."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from celery.utils.nodenames import gethostname
from real_servers import PASSWORD, docker, server_log, started, wait_until
from test_collect_broker import owner, url, worker

from celery_triage.collect import amqp_client, celery, management, rabbitmq
from celery_triage.collect.amqp_client import RefusedHere, greet
from celery_triage.collect.amqp_post import REPLY_SUFFIX, AmqpPost, AskingAmqp
from celery_triage.collect.probe import run_sources
from celery_triage.collect.servers import servers
from celery_triage.redact import Redactor
from celery_triage.stack import Stack

USER = "shop"


def ask(items, source=rabbitmq.source, **options):
    """(section, calls, seconds) of one run of the source in its own child."""
    redactor = Redactor()
    for entry in items:
        redactor.learn_env(entry["env"])
    begin = time.monotonic()
    probed = run_sources([source(Stack({"items": items}), options, redactor)], mask=redactor.text)
    (section,) = probed.sections.values()
    return section, probed.calls, time.monotonic() - begin


def api(server, method, path, **body):
    """One question or order to the management API: ``rabbitmqctl`` starts an Erlang machine each time."""
    request = urllib.request.Request(f"http://{server.ip}:15672/api/{path}", method=method,
                                     data=json.dumps(body).encode() if body else None)
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    request.add_header("Authorization", f"Basic {pair}")
    request.add_header("Content-Type", "application/json")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def queues_of(server):
    """The names of all queues there are."""
    return {one["name"] for one in api(server, "GET", "queues/jobs?columns=name")}


def new_user(server, name, tags=""):
    api(server, "PUT", f"users/{name}", password=PASSWORD, tags=tags)


@pytest.fixture(scope="module")
def server():
    with started("rabbitmq", RABBITMQ_DEFAULT_USER=USER, RABBITMQ_DEFAULT_PASS=PASSWORD,
                 RABBITMQ_DEFAULT_VHOST="jobs") as found:
        def ready():
            try:
                return greet((found.ip, 5672, "")) == ""
            except OSError:
                return False

        wait_until(ready, 240)
        wait_until(lambda: api(found, "GET", "nodes")[0].get("mem_limit"), 60)
        yield found


def broker(server, vhost="jobs", user=USER, password=PASSWORD, queues="mail"):
    """A worker whose URL leads to the server, and the server."""
    entry = worker("w", url(f"pyamqp://{user}:{password}@store:5672/{vhost}"), "back", queues)
    return [entry, owner(server.ip, cmd=["rabbitmq-server"])]


def declared(server, *queues, **arguments):
    """Queues made by somebody else, with a message in the first one."""
    import amqp

    with amqp.Connection(f"{server.ip}:5672", USER, PASSWORD, virtual_host="jobs") as connection:
        channel = connection.channel()
        for queue in queues:
            channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments or None)
        channel.basic_publish(amqp.Message("x"), routing_key=queues[0])


@pytest.mark.docker
def test_what_a_real_server_tells(server):
    """Queues with their depth and consumers in two samples, virtual hosts, permissions, memory; and the login
    leaves neither a queue nor a secret behind."""
    declared(server, "mail", "other")
    section, calls, seconds = ask(broker(server))
    (entry,) = section.data["servers"]
    assert (section.status, entry["status"], entry["key"]) == ("ok", "ok", "store:5672/jobs")
    assert [sample["queues"] for sample in entry["samples"]] == [{"mail": 1, "other": 0}] * 2
    assert entry["samples"][0]["consumers"] == {"mail": 0, "other": 0}
    assert (entry["vhosts"], entry["all_queues"], entry["version"]) == (["jobs"], True, entry["version"])
    assert entry["permissions"] == [{"vhost": "jobs", "configure": ".*", "write": ".*", "read": ".*"}]
    assert entry["hosts"][0]["mem_alarm"] is False and entry["hosts"][0]["mem_limit"] > 0
    assert entry["queue_facts"]["mail"]["durable"] and entry["queue_facts"]["mail"]["type"] == "classic"
    assert PASSWORD not in json.dumps(entry) + "".join(calls)
    assert any("GET /api/queues/jobs" in call for call in calls)
    assert any("amqp queue.declare, passive" in call for call in calls)
    assert seconds < rabbitmq.DEADLINE_S
    assert queues_of(server) == {"mail", "other"}


@pytest.mark.docker
@pytest.mark.parametrize("changed,kind", [
    ({"password": "unit-fake-wrong"}, "auth"), ({"vhost": "nowhere"}, "vhost"), ({"user": "nobody"}, "auth"),
])
def test_every_refusal_has_its_kind(server, changed, kind):
    """A wrong password is told from a virtual host that is not there."""
    section, _, _ = ask(broker(server, **changed))
    (entry,) = section.data["servers"]
    assert (section.status, entry["status"], entry["error_kind"]) == ("partial", "denied", kind)
    assert "unit-fake-wrong" not in json.dumps(entry)


@pytest.mark.docker
def test_a_user_without_permission_is_let_in_nowhere(server):
    """The API refuses a user without a tag, and that is said; AMQP tells why it may not enter."""
    new_user(server, "plain")
    section, _, _ = ask(broker(server, user="plain"))
    (entry,) = section.data["servers"]
    assert (entry["error_kind"], entry["management"]["status"]) == ("permission", "denied")


@pytest.mark.docker
def test_without_the_api_queues_of_workers_are_counted_by_amqp(server):
    """A user whom the API refuses: what is not known is said, what AMQP tells is there."""
    declared(server, "mail")
    new_user(server, "sender")
    api(server, "PUT", "permissions/jobs/sender", configure=".*", write=".*", read=".*")
    section, _, _ = ask(broker(server, user="sender", queues="mail,missing"))
    (entry,) = section.data["servers"]
    assert (section.status, entry["status"], entry["all_queues"]) == ("partial", "ok", None)
    assert "management API was not to be had (401" in section.why
    assert entry["samples"][-1]["queues"]["mail"] >= 1 and "missing" not in entry["samples"][-1]["queues"]


@pytest.mark.docker
def test_no_login_sends_no_password(server):
    """It is seen that it is there; nobody logs in, and no API is asked."""
    before = server_log(server).count("authenticated")
    section, calls, _ = ask(broker(server), no_login=True)
    (entry,) = section.data["servers"]
    assert (section.status, entry["why"]) == ("withheld", "it is there, and was asked nothing: --no-login")
    assert not any("GET" in call for call in calls) and server_log(server).count("authenticated") == before
    section, calls, _ = ask(broker(server), celery.source, no_login=True)
    assert (section.status, calls) == ("withheld", [])


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown command\r\n"])
def test_what_is_no_amqp_is_said_to_be_none(greeting):
    """Something else listens on the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        import threading

        def serve():
            with contextlib.suppress(OSError):  # the listener is closed under it when the test is over
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        peer.recv(8)
                        peer.sendall(greeting)

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        assert "no AMQP" in greet(("127.0.0.1", port, ""))


def test_a_server_that_says_nothing_costs_one_time_out():
    """The deadline of the child is never needed."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        items = [worker("w", url(f"amqp://u:p@store:{silent.getsockname()[1]}/jobs")), owner()]
        section, _, seconds = ask(items)
    assert section.data["servers"][0]["status"] == "timeout"
    assert seconds < amqp_client.CONNECT_TIMEOUT_S + amqp_client.READ_TIMEOUT_S + 2


@pytest.mark.docker
@pytest.mark.parametrize("call", [
    lambda channel: channel.queue_declare("new"), lambda channel: channel.queue_delete("mail"),
    lambda channel: channel.queue_purge("mail"), lambda channel: channel.basic_get("mail"),
    lambda channel: channel.basic_consume("mail"), lambda channel: channel.exchange_declare("x", "direct"),
    lambda channel: channel.queue_bind("mail", "celery.pidbox"),
    lambda channel: channel.basic_qos(0, 1, True),
    lambda channel: channel.basic_publish(__import__("amqp").Message("x"), "celery"),
    lambda channel: channel.queue_declare("x" + REPLY_SUFFIX, exclusive=False),
])
@pytest.mark.parametrize("client", [amqp_client.ReadingAmqp, AskingAmqp])
def test_nothing_else_is_sent(server, client, call):
    """Neither client makes, empties, takes or binds anything but the reply queue of the one that asks."""
    found = servers(Stack({"items": broker(server)}), "amqp", ("broker",), {})[0]
    connection = amqp_client.connect(found, found.ways[0], client)
    with pytest.raises(RefusedHere):
        call(connection.channel())
    connection.shut()


@pytest.fixture(scope="module")
def node(server, tmp_path_factory):
    """A real worker on that server; its name."""
    folder = tmp_path_factory.mktemp("amqp")
    (folder / "shopapp.py").write_text("from celery import Celery\napp = Celery('shop')\n")
    name = f"rabbit@{gethostname()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "shopapp", "-b",
         f"amqp://{USER}:{PASSWORD}@{server.ip}:5672/jobs", "worker", "--pool=solo", "-Q", "mails", "-n",
         name, "--loglevel=info"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: f"{name}.celery.pidbox" in queues_of(server), 120)
        yield name
    finally:
        process.kill()
        process.wait()


@pytest.mark.docker
def test_a_worker_answers_over_amqp_and_nothing_is_left(server, node):
    """All questions are answered; the reply queue goes with the connection."""
    entry, store = broker(server)
    entry["cmd"] = ["celery", "-A", "x", "worker", "-Q", "mails", "-n", node]
    section, calls, _ = ask([entry, store], celery.source)
    (told,) = section.data["brokers"]
    assert (section.status, told["asked"], list(told["replies"])) == ("ok", 1, [node])
    reply = told["replies"][node]
    assert (reply["active_queues"], reply["unanswered"]) == (["mails"], [])
    assert any("celery ping (broadcast)" in call and "1 of 1" in call for call in calls)
    assert not any(queue.endswith(REPLY_SUFFIX) for queue in queues_of(server))


@pytest.mark.docker
def test_a_killed_probe_leaves_no_reply_queue(server, node):
    """The queue belongs to the connection, and that dies with the child."""
    found = servers(Stack({"items": broker(server)}), "amqp", ("broker",), {})[0]
    post = AmqpPost(found, found.ways[0], "unit-fake-id", [node, "nobody@nowhere"])
    post.open()
    assert post.listeners == (node,)

    def there():
        return "unit-fake-id" + REPLY_SUFFIX in queues_of(server)

    assert there()
    post._connection.transport.sock.close()
    wait_until(lambda: not there(), 30)


@pytest.mark.docker
def test_a_blocked_broker_silences_nobody(server, node):
    """With a memory alarm no question goes out: that is said, and nobody is called silent."""
    docker("exec", server.name, "rabbitmqctl", "set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        entry, store = broker(server)
        entry["cmd"] = ["celery", "-A", "x", "worker", "-n", node]
        wait_until(lambda: "alarm set" in server_log(server), 30)
        section, _, seconds = ask([entry, store], celery.source)
        (told,) = section.data["brokers"]
        assert (told["asked"], told["error_kind"], told["replies"]) == (None, "blocked", {})
        assert "blocks whoever sends" in section.why and seconds < celery.DEADLINE_S

        def shown():
            looked, _, _ = ask([entry, store])
            return looked.data["servers"][0]["hosts"][0]["mem_alarm"]

        # The API renews a node's figures every 5 s (collect_statistics_interval); the block is at once.
        wait_until(shown, 30)
    finally:
        docker("exec", server.name, "rabbitmqctl", "set_vm_memory_high_watermark", "0.4")


def test_the_api_is_asked_nothing_but_gets():
    """Every path is a fixed one, with the virtual host and the user quoted into it."""
    api = management.Management([], "a/b", "x", "/")
    assert all(path.startswith("/api/") for path in management.PATHS.values())
    assert api._names == {"user": "a%2Fb", "vhost": "%2F"}
