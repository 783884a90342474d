"""What workers are asked beside the ping, and what is kept: no argument of any task, one bound for all."""

from __future__ import annotations

import base64
import copy
import json
import os
import signal
import subprocess
import sys

import pytest
import redis
from celery.utils.nodenames import gethostname
from real_servers import PASSWORD, started, wait_until
from test_collect_celery import run, worker

from celery_triage import shapes
from celery_triage.collect import celery, control, redis_post
from celery_triage.collect.probe import Emit
from celery_triage.collect.servers import servers
from celery_triage.redact import Redactor
from celery_triage.stack import Stack

# What one Celery 5.7 worker said to each question while a task ran, one was held and one was to run later;
# of its queues only the first, of its 209 settings some that are kept and some that must not be.
_INFO = {"type": "shop.slow", "hostname": "mail@vm", "acknowledged": False,
         "delivery_info": {"exchange": "", "routing_key": "orders", "priority": 0, "redelivered": False}}
RECORDED = {
    "ping": {"ok": "pong"},
    "active": [{
        "id": "216049a2-0446-49bf-a99f-e9d1e85868ad", "name": "shop.slow", "args": "(20,)",
        "kwargs": f"{{'password': '{PASSWORD}'}}", "time_start": 1795474090.443172, "worker_pid": 14178,
        **_INFO}],
    "reserved": [{
        "id": "5ea30e81-777e-40cb-bb44-aff14993312b", "name": "shop.add", "args": [1, PASSWORD], "kwargs": {},
        "time_start": None, "worker_pid": None, **_INFO}],
    "scheduled": [{"eta": "2026-11-23T23:53:10.440851+01:00", "priority": 6, "request": {
        "id": "c7d91a53-85ca-46b6-83be-a65c6704a4b7", "name": "shop.add", "args": [1, 2], "kwargs": {},
        "time_start": None, "worker_pid": None, **_INFO}}],
    "active_queues": [{
        "name": "orders", "routing_key": "orders", "queue_arguments": None, "durable": True, "alias": None,
        "exchange": {"name": "orders", "type": "direct", "arguments": None, "durable": True}}],
    "registered": ["shop.add", "shop.slow [rate_limit=10/m]"],
    "conf": {
        "beat_schedule": {
            "nightly": {"task": "shop.add", "schedule": "<crontab: 30 3 * * * (m/h/dM/MY/d)>",
                        "args": [PASSWORD, 2], "options": {
                            "queue": "orders", "expires": 60, "headers": {"authorization": PASSWORD}}},
            "often": {"task": "shop.add", "schedule": 30.0},
            "each": {"task": "shop.add", "schedule": "0:01:30"}},
        "broker_url": "amqp://guest:********@localhost:5672//",
        "result_backend": "redis://:********@172.25.0.2:6379/1", "stripe_api_key": "********",
        "database_table_names": "********", "result_expires": "1 day, 0:00:00",
        "broker_transport_options": {"visibility_timeout": 7200, "sentinel_kwargs": {"password": "********"}},
        "task_default_queue": "orders", "task_routes": {"shop.mail": {"queue": "mail"}},
        "task_acks_late": True, "timezone": "Europe/Berlin", "worker_prefetch_multiplier": 4,
        "worker_log_format": "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"},
}


def test_what_is_kept_of_a_real_workers_answers():
    """Names, counts and settings of the recorded answers, each under the key that rules look for."""
    told = {key: value for question, answer in RECORDED.items()
            for key, value in control.kept(question, answer).items()}
    assert told["active"] == [{
        "id": "216049a2-0446-49bf-a99f-e9d1e85868ad", "name": "shop.slow", "time_start": 1795474090.443172,
        "worker_pid": 14178, "acknowledged": False}]
    assert (told["active_count"], told["reserved"], told["scheduled"]) == (1, 1, 1)
    assert (told["active_queues"], told["registered"]) == (["orders"], ["shop.add", "shop.slow"])
    assert told["conf"]["task_default_queue"] == "orders" and told["conf"]["task_acks_late"] is True
    assert told["conf"]["beat_schedule"]["nightly"] == {
        "task": "shop.add", "schedule": "<crontab: 30 3 * * * (m/h/dM/MY/d)>",
        "options": {"queue": "orders", "expires": 60}}
    assert told["conf"]["beat_schedule"]["each"]["schedule"] == "0:01:30"
    assert told["conf"]["broker_transport_options"] == {"visibility_timeout": 7200}


def test_no_argument_and_no_url_is_kept():
    """Arguments of tasks and of the schedule may be anything; the broker's URL in a worker's settings is not
    the one that it uses when that comes from its environment."""
    told = [control.kept(question, answer) for question, answer in RECORDED.items()]
    assert PASSWORD not in json.dumps(told)
    assert not {"broker_url", "result_backend", "stripe_api_key", "database_table_names",
                "worker_log_format"} & told[-1]["conf"].keys()


@pytest.mark.parametrize("question", control.QUESTIONS[1:])
@pytest.mark.parametrize("answer", [
    None, 5, "no", {"error": "UnregisteredTask"}, [None], [[]], [{"no": "name"}], {"pool": 3, "broker": []},
    {"beat_schedule": [1], "task_routes": [[[[[["deep"]]]]]], "timezone": {"a": 1}},
    [{"id": 5, "name": [], "time_start": "now", "worker_pid": {}}], True])
def test_answers_of_another_shape(question, answer):
    """Whatever a node answers instead, nothing is raised, and what is kept has the shape of a section."""
    told = control.kept(question, answer)
    assert set(told) <= set(control.BLANK[question])
    assert shapes.wrong("celery", {"brokers": [{"replies": {"a@b": told}}]}) == ""


@pytest.mark.parametrize("question", control.QUESTIONS[2:])
def test_an_error_is_no_answer(question):
    """A node that says ``{"error": …}`` (an unknown command) has not said that there is nothing."""
    assert set(control.kept(question, {"error": "no such command"}).values()) == {None}


def test_large_answers_are_cut():
    """Ten thousand tasks, names, entries or letters are not carried along; their number is."""
    many = copy.deepcopy(RECORDED["active"]) * 10_000
    assert len(control.kept("active", many)["active"]) == control.MOST_ACTIVE
    assert control.kept("active", many)["active_count"] == 10_000
    assert control.kept("reserved", many)["reserved"] == 10_000
    assert len(control.kept("registered", ["x" * 10_000] * 10_000)["registered"]) == control.MOST_NAMES
    conf = {"timezone": "x" * 10_000, "beat_schedule": {str(n): {"task": "t"} for n in range(10_000)}}
    kept = control.kept("conf", conf)["conf"]
    assert (len(kept["timezone"]), len(kept["beat_schedule"])) == (control.TEXT, control.MOST_ENTRIES)


def test_only_questions_that_change_nothing_are_asked():
    """The list of the design, and nothing of what else a worker would obey (``shutdown``, ``revoke`` …)."""
    assert control.QUESTIONS == ("ping", "stats", "active", "reserved", "scheduled", "active_queues",
                                 "registered", "conf")
    assert set(control.ARGUMENTS) <= set(control.QUESTIONS)


def test_a_reply_too_long_is_not_read():
    """A reply of many megabytes is passed over before it is taken apart."""
    text = json.dumps({"headers": {"ticket": "t"}, "body": "{}", "properties": {}})
    assert celery.read_reply(text, "t") == {}
    assert celery.read_reply(text + " " * celery.LONGEST_REPLY, "t") is None


class Broker:
    """Stands for Redis: whoever is asked answers as the script says."""

    def __init__(self, answers, listening=1):
        self.answers, self.listening = answers, listening
        self.replies, self.published, self.slept = [], [], 0

    reply_to, blocked = {"exchange": "reply.celery.pidbox", "routing_key": "me"}, ""

    def publish(self, text):
        body = json.loads(base64.b64decode(json.loads(text)["body"]))
        self.published.append(body)
        for node, answer in self.answers(body["method"]).items():
            reply = json.dumps({node: answer})
            self.replies.append(json.dumps({
                "headers": {"ticket": body["ticket"]}, "body": reply, "properties": {}}))
        return self.listening

    def take(self):
        self.slept += not self.replies
        return self.replies.pop(0) if self.replies else None

    def nothing(self, *_):
        pass

    open = close = nothing


def asked(answers, listening=1, monkeypatch=None):
    """The entry after a round with workers that answer so."""
    monkeypatch.setattr(celery, "REPLY_S", 0.02)
    monkeypatch.setattr(celery, "ROUND_S", 0.05)
    stack = Stack({"items": [worker("w", "redis://store:6379/0", hostname="h"),
                             {**worker("store", ""), "member": False}]})
    server = servers(stack, "redis", ("broker",), {})[0]
    entry, client = celery._blank(server, True), Broker(answers, listening)
    round_ = celery._Round(stack, server, entry, "me", Redactor())
    round_.broadcast(client, Emit([].append, float("inf")))
    round_.judge("")
    return entry, client


def test_every_question_goes_to_those_that_answered_the_ping(monkeypatch):
    """A node that is silent is not addressed again: it passes over the questions when it wakes."""
    def answers(question):
        return {"celery@h": RECORDED.get(question, {})}

    entry, client = asked(answers, listening=2, monkeypatch=monkeypatch)
    assert [body["method"] for body in client.published] == list(control.QUESTIONS)
    assert client.published[0]["destination"] is None
    assert all(body["destination"] == ["celery@h"] for body in client.published[1:])
    assert client.published[2]["arguments"] == {"safe": True}
    assert entry["replies"]["celery@h"]["unanswered"] == []
    assert entry["status"] == "no_reply" and "2 listen, 1 answered" in entry["why"]


def test_nobody_who_answers_the_ping_is_asked_more(monkeypatch):
    """Where every node is silent one message was published and no more."""
    entry, client = asked(lambda question: {}, monkeypatch=monkeypatch)
    assert [body["method"] for body in client.published] == ["ping"]
    assert (entry["status"], entry["replies"]) == ("no_reply", {})


def test_a_question_without_an_answer_is_told(monkeypatch):
    """A worker that answers the ping and not ``conf`` makes the evidence partial: what it did not say is
    None, and nothing is empty that was not said to be."""
    def answers(question):
        return {} if question in ("conf", "active") else {"celery@h": RECORDED.get(question, {})}

    entry, _ = asked(answers, monkeypatch=monkeypatch)
    reply = entry["replies"]["celery@h"]
    assert (reply["conf"], reply["active"], reply["reserved"]) == (None, None, 1)
    assert reply["unanswered"] == ["active", "conf"]
    assert entry["status"] == "partial" and "celery@h (active, conf)" in entry["why"]


# With a real server and real workers

@pytest.fixture(scope="module")
def server():
    """A Redis with a password."""
    command = ["redis-server", "--bind", "0.0.0.0", "--requirepass", PASSWORD, "--save", ""]
    with started("redis", *command) as one:
        wait_until(lambda: _answers(one))
        yield one


def _answers(server):
    try:
        return redis.Redis(server.ip, password=PASSWORD).ping()
    except redis.ConnectionError:
        return False


APP = f"""
import time
from celery import Celery
app = Celery("shop")
app.conf.update(task_default_queue="orders", stripe_api_key={PASSWORD!r}, beat_schedule={{
    "nightly": {{"task": "shop.slow", "schedule": 60.0, "args": [{PASSWORD!r}]}}}})
@app.task
def slow(seconds, **more): time.sleep(seconds)
"""


@pytest.fixture(scope="module")
def workers(server, tmp_path_factory):
    """Two real workers on this machine, the first of which is at work; their processes by name."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "shop.py").write_text(APP)
    env = {**os.environ, "CELERY_BROKER_URL": f"redis://:{PASSWORD}@{server.ip}:6379/0"}
    running = {}
    for name, queue in (("one", "orders"), ("two", "mail")):
        log = (folder / f"{name}.log").open("w")
        command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-l", "info", "-P", "threads",
                   "-c", "1", "-n", f"{name}@%h", "-Q", queue]
        running[name] = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True,
                                         env=env)
    try:
        wait_until(lambda: all(" ready." in (folder / f"{name}.log").read_text() for name in running), 60)
        send = f"import shop; shop.slow.delay(60, password={PASSWORD!r}); shop.slow.delay(0)"
        subprocess.run([sys.executable, "-c", send], cwd=folder, env=env, check=True, timeout=30)
        wait_until(lambda: "received" in (folder / "one.log").read_text())
        yield running
    finally:
        for process in running.values():
            process.kill()
            process.wait(30)


def of_both(server):
    url = f"redis://:{PASSWORD}@store:6379/0"
    return [worker(name, url, server.network, node=f"{name}@%h", hostname=gethostname())
            for name in ("one", "two")] + [server.item("store")]


@pytest.mark.docker
def test_two_real_workers_say_what_they_do(server, workers):
    """What runs, what is held, which queues: of real workers, in well under a second, and no secret of a task
    or a setting among it."""
    probed, seconds = run(of_both(server))
    section = probed.sections["celery"]
    replies = {reply["label"]: reply for reply in section.data["brokers"][0]["replies"].values()}
    assert section.status == "ok" and seconds < 2
    assert [task["name"] for task in replies["one"]["active"]] == ["shop.slow"]
    assert (replies["one"]["reserved"], replies["two"]["reserved"], replies["two"]["active"]) == (1, 0, [])
    assert (replies["one"]["active_queues"], replies["two"]["active_queues"]) == (["orders"], ["mail"])
    assert replies["two"]["registered"] == ["shop.slow"]
    assert replies["two"]["conf"]["beat_schedule"]["nightly"]["schedule"] == 60.0
    assert PASSWORD not in repr(section) + repr(probed.calls)
    assert shapes.wrong("celery", section.data) == ""


@pytest.mark.docker
def test_a_frozen_worker_costs_one_bound(server, workers):
    """A worker that is stopped in the middle (SIGSTOP) is the one that does not answer; the other one says
    all, and the whole ends within the bound. Nothing is left behind in the broker."""
    os.kill(workers["two"].pid, signal.SIGSTOP)
    try:
        probed, seconds = run(of_both(server))
    finally:
        os.kill(workers["two"].pid, signal.SIGCONT)
    entry = probed.sections["celery"].data["brokers"][0]
    assert entry["asked"] == 2 and entry["status"] == "no_reply" and "two@" in entry["why"]
    assert [reply["label"] for reply in entry["replies"].values()] == ["one"]
    assert next(iter(entry["replies"].values()))["unanswered"] == []
    assert seconds < celery.ROUND_S + 2
    client = redis.Redis(server.ip, password=PASSWORD, decode_responses=True)
    assert not client.smembers(redis_post.REPLY_BINDINGS) and not client.keys("*.reply.celery.pidbox")
