"""Rules about RabbitMQ: who is let in and where, its alarms, what it closes channels for."""

from __future__ import annotations

import pytest
from evidence import CELERY, QUEUES, TAKEN_S, WORKERS, Incident, banner, ready
from rabbit_evidence import HOST, KEY, URL, OnRabbitMQ, queue

from celery_triage.causes import diagnose
from celery_triage.checks import RULES, Look, judge
from celery_triage.model import Section

AT = "[2026-11-23 12:00:02,886: ERROR/MainProcess] "
LOOSE = AT + "consumer: Cannot connect to amqp://backend:**@rabbitmq:5672/jobs: "


def refused(words: str, **entry) -> OnRabbitMQ:
    """Every service is refused at the door with these words: workers and beat end, Flower goes on."""
    kind, _, told = words.partition(": ")
    name = kind.rpartition(".")[2]
    stack = OnRabbitMQ()
    for label in WORKERS:
        end = f"{AT}Unrecoverable error: {name}({told!r})".replace("ERROR", "CRITICAL")
        stack.loop(label, 1, [*banner(label), end, "Traceback (most recent call last):", words])
    raised = f"{AT}beat raised exception <class '{kind}'>: {name}({told!r})".replace("ERROR", "CRITICAL")
    beat = [*ready("celery_beat")[:5], raised, "Traceback (most recent call last):", words]
    stack.loop("celery_beat", 1, beat)
    stack.lives["flower"], stack.logs["flower"] = [], []
    stack.life("flower", 10, None, lines=ready("flower")[:2])
    stack.rabbit = {"status": "denied", "why": words, "samples": [], "queue_facts": {}, **entry}
    return stack.section("celery", "no_reply", "nobody answered")


def no_vhost(**entry):
    return refused("amqp.exceptions.NotAllowed: Connection.open: (530) NOT_ALLOWED - vhost jobs not found",
                   error_kind="vhost", **{"vhosts": ["shop"], **entry})


def no_permission():
    return refused("amqp.exceptions.NotAllowed: Connection.open: (530) NOT_ALLOWED - access to vhost 'jobs' "
                   "refused for user 'backend'", error_kind="permission", permissions=[])


def guest():
    return refused("amqp.exceptions.AccessRefused: (0, 0): (403) ACCESS_REFUSED - Login was refused using "
                   "authentication mechanism AMQPLAIN. For details see the broker logfile.",
                   error_kind="auth", user="guest", hosts=[],
                   management={"status": "denied", "why": "401 User can only log in via localhost",
                               "address": "172.18.0.16:15672"})


def alarm(kind: str = "mem_alarm", **host):
    stack = OnRabbitMQ()
    blocked = {"address": "172.18.0.10", "label": "celery_beat", "state": "blocked", "user": "backend",
               "vhost": "jobs", "channels": 1, "product": "py-amqp"}
    stack.rabbit = {"hosts": [{**HOST, kind: True, **host}], "connections": [blocked]}
    return stack


def says(words: str, label: str = "email_worker", **entry):
    """A worker that ends with these words of RabbitMQ."""
    stack = OnRabbitMQ()
    stack.loop(label, 1, [*banner(label), f"{AT}Unrecoverable error: PreconditionFailed(406, \"{words}\")",
                          "Traceback (most recent call last):",
                          f"amqp.exceptions.PreconditionFailed: {words}"])
    stack.rabbit.update(entry)
    return stack


OTHERWISE = ("Queue.declare: (406) PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue "
             "'email_processing' in vhost 'jobs': received none but current is the value '10' of type 'byte'")


def otherwise():
    facts = {name: queue() for name in QUEUES.values()}
    facts["email_processing"] = queue(arguments={"x-max-priority": 10})
    return says(OTHERWISE, queue_facts=facts)


def global_qos():
    facts = {"email_processing": queue(type="quorum", arguments={"x-queue-type": "quorum"})}
    return says("Basic.consume: (540) NOT_IMPLEMENTED - queue 'email_processing' in vhost 'jobs' does not "
                "support global qos", queue_facts=facts)


def late():
    stack = OnRabbitMQ()
    return stack.say("email_worker", f"{AT}consumer: Connection to broker lost. Trying to re-establish the "
                     "connection...", "Traceback (most recent call last):",
                     "amqp.exceptions.PreconditionFailed: Channel.close: (406) PRECONDITION_FAILED - "
                     "delivery acknowledgement on channel 1 timed out. Timeout value used: 10000 ms. This "
                     "timeout value can be configured, see consumers doc guide to learn more")


FIRES = {
    "BRK006": no_vhost, "BRK007": alarm, "BRK008": otherwise, "BRK009": global_qos, "BRK010": no_permission,
    "BRK011": guest, "BRK012": late,
}  # fmt: skip
#: A stack on which nothing of this is wrong, and all of it could be.
HEALTHY = dict.fromkeys(FIRES, OnRabbitMQ)


def judged(code, stack):
    return judge(RULES[code], Look(stack.evidence(), RULES[code]))


@pytest.mark.parametrize("code", sorted(FIRES))
def test_without_rabbitmq_it_does_not_apply(code):
    """A stack on Redis is not told that RabbitMQ could not be looked at."""
    assert judged(code, Incident())[1].outcome == "not_applicable"


def test_a_healthy_stack_on_rabbitmq_is_ok():
    """No finding, and nothing that matters is unknown."""
    diagnosis = diagnose(OnRabbitMQ().evidence())
    assert (diagnosis.verdict, diagnosis.cause_findings) == ("ok", ())


@pytest.mark.parametrize("code,name,thing", [
    ("BRK006", "broker-vhost-missing", "jobs"), ("BRK010", "broker-no-permission", "jobs"),
    ("BRK011", "broker-guest-remote", "guest"),
])
def test_a_refusal_at_the_door_is_the_one_cause(code, name, thing):
    """It explains why all services restart; nothing else is alleged."""
    (cause,) = diagnose(FIRES[code]().evidence()).cause_findings
    assert (cause.code, cause.name, cause.object) == (code, name, thing)
    assert set(cause.services) == set(CELERY) and cause.state == "active"


def test_the_only_other_virtual_host_is_offered_as_an_edit():
    """The fragment that changes holds no secret."""
    (cause,) = diagnose(no_vhost().evidence()).cause_findings
    correct, make = cause.remedy.options
    assert {(edit.old, edit.new) for edit in correct.edits} == {("rabbitmq:5672/jobs", "rabbitmq:5672/shop")}
    assert len(correct.edits) == 5
    assert make.commands[:2] == (
        "docker exec ai_infra_rabbitmq rabbitmqctl add_vhost jobs",
        "docker exec ai_infra_rabbitmq rabbitmqctl set_permissions -p jobs backend '.*' '.*' '.*'")


def test_without_the_api_nothing_is_offered_in_its_place():
    """Which virtual hosts there are is then not known."""
    (cause,) = diagnose(no_vhost(vhosts=None).evidence()).cause_findings
    assert not cause.remedy.options[0].edits and "there is" not in cause.title


def test_a_permission_that_lacks_for_one_queue_names_it():
    """RabbitMQ lets the user in; the log says what is refused, the API what is granted."""
    stack = says("Queue.declare: (403) ACCESS_REFUSED - access to queue 'email_processing' in vhost 'jobs' "
                 "refused for user 'backend'",
                 permissions=[{"vhost": "jobs", "configure": "", "write": ".*", "read": ".*"}])
    (finding,), _ = judged("BRK010", stack)
    assert (finding.object, finding.services) == ("email_processing", ("email_worker",))
    assert "configure (nothing)" in finding.proof[0].text


@pytest.mark.parametrize("kind,thing,words", [
    ("mem_alarm", "memory", "134 MB of memory in use, its mark is 30 MB"),
    ("disk_free_alarm", "disk", "74656 MB of disk free, its limit is 90000 MB"),
])
def test_an_alarm_is_told_with_its_measure(kind, thing, words):
    """What is used, the mark, and whom it blocks."""
    stack = alarm(kind, mem_limit=30_000_000, disk_free_limit=90_000_000_000)
    (cause,) = diagnose(stack.evidence()).cause_findings
    assert (cause.name, cause.object, cause.certainty) == ("broker-alarm", thing, "confirmed")
    assert words in cause.title and "celery_beat" in cause.proof[1].text


@pytest.mark.parametrize("lines,outcome", [
    (["memory resource limit alarm set on node 'rabbit@x'."], "fired"),
    (["memory resource limit alarm set on node 'rabbit@x'.",
      "memory resource limit alarm cleared on node 'rabbit@x'"], "unknown"),
])
def test_without_the_api_the_servers_log_tells_of_alarms(lines, outcome):
    """Its last word counts; without one it stays unknown."""
    stack = OnRabbitMQ()
    stack.say("redis", *[f"2026-11-23 14:13:01.1+00:00 [warning] <0.4.0> {line}" for line in lines])
    stack.rabbit = {"hosts": [], "management": {"status": "unreachable", "why": "nothing listens",
                                                "address": None}}
    found, told = judged("BRK007", stack)
    assert told.outcome == outcome
    assert [finding.certainty for finding in found] == ["reported"] * (outcome == "fired")


def test_a_queue_declared_otherwise_names_what_differs():
    """The argument, what is there, what is wanted; the queue is deleted only when it is empty."""
    (cause,) = diagnose(otherwise().evidence()).cause_findings
    assert (cause.name, cause.object, cause.services) == (
        "queue-declared-otherwise", "email_processing", ("email_worker",))
    assert "x-max-priority is 10, and email_worker wants none" in cause.title
    assert cause.certainty == "confirmed" and "x-max-priority 10" in cause.proof[0].text
    assert cause.remedy.options[0].commands == (
        "docker exec ai_infra_rabbitmq rabbitmqctl delete_queue -p jobs email_processing --if-empty",
        "docker restart ai_backend_email_worker")


def test_a_worker_that_died_of_a_late_acknowledgement_is_told_in_its_next_life():
    """It ends with exit code 0 and is started again (5.7, recorded): the next life has not outdone it,
    unless it has lived for twice the time-out; one that was stopped by hand in between has."""
    words = ("PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: "
             "10000 ms. This timeout value can be configured, see consumers doc guide to learn more")
    end = f"{AT}Unrecoverable error: PreconditionFailed(406, '{words}', (0, 0), '')"
    last = [end.replace("ERROR", "CRITICAL"), "Traceback (most recent call last):",
            f"amqp.exceptions.PreconditionFailed: (0, 0): (406) {words}"]

    def died(age: float) -> OnRabbitMQ:
        stack = OnRabbitMQ()
        stack.lives["data_sync_worker"], stack.logs["data_sync_worker"] = [], []
        stack.life("data_sync_worker", 10, TAKEN_S - age - 1, lines=[*ready("data_sync_worker"), *last])
        return stack.life("data_sync_worker", TAKEN_S - age, None, lines=ready("data_sync_worker"))

    (cause,) = diagnose(died(50).evidence()).cause_findings
    assert (cause.name, cause.services, cause.object) == (
        "acknowledgement-timeout", ("data_sync_worker",), "10000 ms")
    assert judged("BRK012", died(200))[1].outcome == "quiet"
    stopped = died(50)
    stopped.lives["data_sync_worker"][-1]["end"] = TAKEN_S - 31
    stopped.life("data_sync_worker", TAKEN_S - 30, None, lines=ready("data_sync_worker"))
    assert judged("BRK012", stopped)[1].outcome == "quiet"


def test_a_wrong_password_is_still_a_wrong_password():
    """Only where the server says that guest comes from the wrong place is it that."""
    stack = guest()
    stack.rabbit["management"] = {"status": "denied", "why": "401 Login failed", "address": None}
    (cause,) = diagnose(stack.evidence()).cause_findings
    assert (cause.name, cause.object) == ("broker-login-refused", KEY)


def test_a_broker_that_is_down():
    """The same rule as for Redis."""
    stack = OnRabbitMQ().section("celery", "no_reply", "nobody answered")
    for label in CELERY:
        stack.lives[label], stack.logs[label] = [], []
        lines = [*banner(label), f"{LOOSE}[Errno 111] Connection refused."] if label in WORKERS else []
        stack.life(label, 10, None, lines=lines or ready(label)[:2])
    stack.rabbit = {"status": "unreachable", "error_kind": "refused", "why": "[Errno 111] Connection refused",
                    "samples": [], "hosts": [], "queue_facts": {}}
    (cause,) = diagnose(stack.evidence()).cause_findings
    assert (cause.name, cause.object) == ("broker-down", KEY)


def test_rabbitmq_counts_the_consumers_itself():
    """A queue in which tasks wait without a consumer is one, whoever else there is; dead letters and delays
    are meant to wait."""
    stack = OnRabbitMQ()
    depths = {**dict.fromkeys(QUEUES.values(), 0), "mails": 7, "letters": 3, "delay": 2}
    stack.depths(depths, {**dict.fromkeys(depths, 0), **dict.fromkeys(QUEUES.values(), 1)})
    stack.rabbit["queue_facts"] = {
        "email_processing": queue(arguments={"x-dead-letter-exchange": "dead"}),
        "delay": queue(arguments={"x-message-ttl": 60_000, "x-dead-letter-exchange": ""}),
        "mails": queue(), "letters": queue(),
    }
    stack.rabbit["bindings"] = [["dead", "", "letters", "queue"], ["mails", "mails", "mails", "queue"]]
    found, _ = judged("BRK003", stack)
    assert [finding.object for finding in found] == ["mails"]
    assert "rabbitmqctl -q list_queues -p jobs" in found[0].verify[0]


def test_an_older_bundle_without_rabbitmq_is_unknown():
    """What was never looked at is not called well."""
    stack = OnRabbitMQ().section("rabbitmq", "withheld", "not in this bundle")
    stack.section("celery", "withheld", "not in this bundle")
    assert diagnose(stack.evidence()).verdict == "unknown"
    assert judged("BRK003", stack)[1].outcome == "unknown"


def test_no_login_leaves_the_broker_unknown():
    """It is there, and nobody was let in."""
    stack = OnRabbitMQ()
    stack.rabbit = {"status": "withheld", "why": "it is there, and was asked nothing: --no-login",
                    "samples": [], "hosts": [], "queue_facts": {}}
    stack.sections["celery"] = Section("celery", "withheld", None, why="--no-login")
    assert diagnose(stack.evidence()).verdict == "unknown"
    assert URL in {value for label in CELERY for value in stack.env[label].values()}
