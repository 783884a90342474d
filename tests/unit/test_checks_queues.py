"""Rules about queues: what waits where nobody looks."""

from __future__ import annotations

from evidence import TAKEN_S, WORKERS, Incident, hostname, iso, without_section

from celery_triage import causes
from celery_triage.checks import RULES, Look, judge
from celery_triage.lives import seconds_of


def samples(*depths):
    """Samples of the depths of all queues, a second apart."""
    first = TAKEN_S - len(depths) + 1
    return [{"t": iso(first + n), "queues": dict(queues), "unacked": 0} for n, queues in enumerate(depths)]


def misspelt():
    """The mail worker consumes a queue of another name; seven mails wait in the right one."""
    stack = Incident().replace_in_commands("email_processing", "email_procesing", ("email_worker",))
    stack.redis["samples"] = samples(*[{"email_procesing": 0, "email_processing": 7, "data_sync": 0}] * 2)
    for line in stack.logs["email_worker"]:
        line[2] = line[2].replace("email_processing", "email_procesing")

    def evidence(make=stack.evidence):
        told = {"active_queues": [stack.commands["email_worker"].split("--queues ")[1].split()[0]]}
        return replies(make(), email_worker=told)

    stack.evidence = evidence
    return stack


def piled(queue):
    """Tasks wait in a queue that nothing here is called like."""
    stack = Incident()
    stack.redis["samples"] = samples({queue: 3}, {queue: 4})
    return stack


FIRES = {"BRK003": misspelt}


def judged(stack, code="BRK003"):
    evidence = stack if hasattr(stack, "sections") and not isinstance(stack, Incident) else stack.evidence()
    return judge(RULES[code], Look(evidence, RULES[code]))


def replies(evidence, **answers):
    """The broadcast's answers, each with what ``answers`` says of that service."""
    data = evidence.section("celery").data["brokers"][0]["replies"]
    for reply in data.values():
        reply.update(answers.get(reply["label"], {}))
    return evidence


def test_a_queue_named_almost_like_a_workers_is_put_to_that_worker():
    """The finding names both spellings, and the worker gets the queue beside its own."""
    (finding,), _ = judged(misspelt())
    assert (finding.severity, finding.services, finding.object) == (
        "critical",
        ("email_worker",),
        "email_processing",
    )
    assert "7 tasks" in finding.title and "email_procesing" in finding.title
    consume = finding.remedy.options[0]
    assert [(edit.old, edit.new) for edit in consume.edits] == [
        ("email_procesing", "email_procesing,email_processing")
    ]
    assert consume.commands[-1].endswith("up -d --no-deps email_worker")


def test_it_is_the_only_cause_of_a_stack_that_is_well_otherwise():
    """Nothing else is said of it, and nothing explains it away."""
    diagnosis = causes.diagnose(misspelt().evidence())
    assert [finding.name for finding in diagnosis.cause_findings] == ["queue-without-consumer"]
    assert (diagnosis.verdict, diagnosis.cause_findings[0].state) == ("critical", "active")


def test_a_queue_that_nothing_here_names_is_a_warning():
    """It may be somebody else's on the same Redis."""
    (finding,), _ = judged(piled("invoices"))
    assert finding.severity == "warning" and set(finding.services) == set(WORKERS)
    assert finding.title.startswith("3 tasks wait") and not finding.remedy.options[0].edits


def test_a_queue_that_the_schedule_names_is_critical_and_beats():
    """What a worker's own settings send there is of this stack."""
    conf = {"beat_schedule": {"nightly": {"task": "t", "schedule": 5.0, "options": {"queue": "invoices"}}}}
    evidence = replies(piled("invoices").evidence(), email_worker={"conf": conf})
    (finding,), _ = judged(evidence)
    assert (finding.severity, finding.services) == ("critical", ("celery_beat",))
    assert "the schedule's entry nightly" in finding.title


def test_a_worker_that_says_it_consumes_the_queue_is_believed():
    """What a running worker answers counts more than its command: a queue may be added to it."""
    evidence = replies(
        piled("invoices").evidence(), email_worker={"active_queues": ["email_processing", "invoices"]}
    )
    assert judged(evidence)[1].outcome == "quiet"


def test_a_node_of_no_known_container_may_consume_it():
    """A worker of another project on the same Redis that answers is believed, too."""
    evidence = piled("invoices").evidence()
    broker = evidence.section("celery").data["brokers"][0]
    broker["asked"] = 4
    broker["replies"]["bills@elsewhere"] = {"label": None, "ms": 4.0, "active_queues": ["invoices"]}
    assert judged(evidence)[1].outcome == "quiet"


def test_a_consumer_that_cannot_be_known_makes_it_unknown():
    """Somebody takes tasks there who did not answer: nobody can say that nobody consumes the queue."""
    stack = piled("invoices")
    stack.redis["consumers"] = [
        {
            "address": "172.18.0.99",
            "label": None,
            "command": "brpop",
            "blocked": 1,
            "connections": 1,
            "idle_s": 0,
        }
    ]
    findings, outcome = judged(without_section(stack.evidence(), "celery", "withheld"))
    assert (findings, outcome.outcome) == ((), "unknown") and "172.18.0.99" in outcome.why


def test_a_worker_that_is_down_still_is_the_consumer_of_its_queue():
    """Its queue fills because it is down, and that is what has to be said."""
    stack = misspelt().replace_in_commands("email_procesing", "email_processing", ("email_worker",))
    stack.loop("email_worker", 1, ["it ends"])
    assert judged(stack)[0] == ()


def test_a_queue_that_was_emptied_between_the_samples_is_none():
    """Somebody took what was there."""
    stack = Incident()
    stack.redis["samples"] = samples({"invoices": 3}, {"invoices": 0})
    assert judged(stack)[1].outcome == "quiet"


def test_without_a_whole_list_of_queues_nothing_is_quiet():
    """A queue that was not listed may hold anything."""
    stack = Incident()
    stack.redis["all_queues"] = False
    assert judged(stack)[1].outcome == "unknown"


def test_a_worker_whose_queues_are_only_assumed_makes_it_unknown():
    """Without --queues and without its banner a worker takes what its application says, which nobody saw."""
    stack = piled("invoices").replace_in_commands("--queues email_processing ", "", ("email_worker",))
    stack.logs["email_worker"] = [[iso(11), "err", f"email_worker@{hostname('email_worker')} ready."]]
    findings, outcome = judged(without_section(stack.evidence(), "celery", "withheld"))
    assert (findings, outcome.outcome) == ((), "unknown") and "email_worker" in outcome.why


def growing(first=400, last=420):
    """More is sent to the mail worker than its four busy processes do."""
    stack = Incident()
    stack.redis["samples"] = samples({"email_processing": first}, {"email_processing": last})
    return stack


def other_number(*labels):
    """Some services use database 1 of the Redis, in which their tasks wait."""
    stack = Incident().url("CELERY_BROKER_URL", "redis:6379/0", "redis:6379/1", labels)
    build = stack._redis

    def servers(evidence):
        data = evidence.section("redis").data
        home = data["servers"][0]
        home["services"] = sorted(set(home["services"]) - set(labels))
        data["servers"].append({**build(), "key": "redis:6379/1", "services": sorted(labels), "nodes": [],
                                "samples": samples(*[{"data_sync": 5}] * 2)})
        return evidence

    stack.evidence = lambda make=stack.evidence: servers(make())
    return stack


class Running:
    """Workers run one unacknowledged task each: ``ids`` by worker, ``seconds`` it runs already."""

    def __init__(self, seconds=4000.0, acknowledged=False, conf=None, **ids):
        self.seconds, self.acknowledged, self.conf, self.ids = seconds, acknowledged, conf or {}, ids

    def evidence(self):
        evidence = Incident().evidence()
        start = seconds_of(evidence.section("celery").taken_at) - self.seconds
        task = {"name": "shop.tasks.export", "time_start": start, "acknowledged": self.acknowledged}
        return replies(evidence, **{
            label: {"active": [{**task, "id": id}], "active_count": 1, "conf": self.conf}
            for label, id in self.ids.items()})


FIRES |= {"BRK013": lambda: Running(email_worker="4f1c", data_sync_worker="4f1c")}
FIRES |= {"BRK004": lambda: other_number("celery_beat"), "BRK005": growing}


def test_a_queue_that_grows_under_busy_workers_is_a_warning():
    """With its pace, and what the workers are busy with."""
    active = [{"id": str(n), "name": "tasks.slow", "time_start": None} for n in range(4)]
    evidence = replies(growing().evidence(), email_worker={
        "active": active, "active_count": 4, "stats": {"pool": {"max-concurrency": 4}}})
    (finding,), _ = judged(evidence, "BRK005")
    assert (finding.severity, finding.services, finding.object) == (
        "warning", ("email_worker",), "email_processing")
    assert "grows by 20 a second" in finding.title
    assert any("runs 4 of 4" in proof.text and "tasks.slow" in proof.text for proof in finding.proof)


def test_a_deep_queue_that_empties_and_a_small_one_that_grows_are_no_backlog():
    """Work in progress and a burst."""
    for stack in (growing(400, 380), growing(400, 400), growing(40, 60)):
        assert judged(stack, "BRK005")[1].outcome == "quiet"


def test_a_queue_that_grows_because_its_worker_is_down_is_no_backlog():
    """What has to be said is that the worker is down."""
    assert judged(growing().loop("email_worker", 1, ["it ends"]), "BRK005")[0] == ()


def test_one_sample_shows_no_growth():
    """Then nobody can say whether it grows."""
    stack = growing()
    stack.redis["samples"] = stack.redis["samples"][:1]
    findings, outcome = judged(stack, "BRK005")
    assert (findings, outcome.outcome) == ((), "unknown")


def test_beat_on_another_database_is_critical_with_both_urls_as_proof():
    """The edit changes only the number, in the line of beat's own URL."""
    (finding,), _ = judged(other_number("celery_beat"), "BRK004")
    assert (finding.severity, finding.services, finding.object, finding.certainty) == (
        "critical", ("celery_beat",), "redis:6379/1", "confirmed")
    told = " ".join(proof.text for proof in finding.proof)
    assert "redis://redis:6379/1" in told and "redis://redis:6379/0" in told
    (edit,) = finding.remedy.options[0].edits
    assert (edit.old, edit.new) == ("redis:6379/1", "redis:6379/0")


def test_it_is_the_only_cause_of_two_databases():
    """The tasks that wait in the other database are its consequence, and are not told apart from it."""
    diagnosis = causes.diagnose(other_number("celery_beat").evidence())
    assert [finding.name for finding in diagnosis.cause_findings] == ["broker-wrong-database"]


def test_flower_on_another_database_is_a_warning():
    """It shows nothing; no work is lost."""
    (finding,), _ = judged(other_number("flower"), "BRK004")
    assert (finding.severity, finding.services) == ("warning", ("flower",))


def test_a_worker_on_another_database_than_beat_is_critical():
    """What beat sends is never seen there."""
    (finding,), _ = judged(other_number("data_sync_worker"), "BRK004")
    assert (finding.severity, finding.services) == ("critical", ("data_sync_worker",))


def test_two_servers_are_not_two_databases():
    """Another Redis is another broker; nothing is said of its numbers."""
    stack = Incident().url("CELERY_BROKER_URL", "redis:6379/0", "cache:6379/1", ("flower",))
    stack.redis["services"] = ["celery_beat", *WORKERS]
    assert judged(stack, "BRK004")[1].outcome == "quiet"


def test_a_task_that_outlives_the_visibility_timeout_is_given_out_again():
    """An hour by default; that it runs twice proves it."""
    (finding,), _ = judged(Running(email_worker="4f1c").evidence(), "BRK013")
    assert (finding.object, finding.certainty, finding.services) == (
        "shop.tasks.export", "inferred", ("email_worker",))
    twice = Running(seconds=20, email_worker="4f1c", data_sync_worker="4f1c")
    (finding,), _ = judged(twice.evidence(), "BRK013")
    assert finding.certainty == "confirmed" and "twice at this moment" in finding.title


def test_the_timeout_of_the_worker_itself_counts():
    """Longer or shorter than the default."""
    longer = {"broker_transport_options": {"visibility_timeout": 43200}}
    shorter = {"broker_transport_options": {"visibility_timeout": 60}}
    assert judged(Running(conf=longer, email_worker="4f1c").evidence(), "BRK013")[0] == ()
    (finding,), _ = judged(Running(seconds=90, conf=shorter, email_worker="4f1c").evidence(), "BRK013")
    assert "60 s" in finding.remedy.summary


def test_an_acknowledged_task_may_run_as_long_as_it_likes():
    """Nothing of it is in the broker any more."""
    assert judged(Running(acknowledged=True, email_worker="4f1c").evidence(), "BRK013")[0] == ()


def test_the_bindings_of_a_real_redis_are_no_hindrance():
    """By exchange, as Redis has them (Celery 5.7): they are not those of RabbitMQ."""
    stack = misspelt()
    stack.redis["bindings"] = {
        "celery.pidbox": [["", "", "email_worker@8a8b1a60ecf0.celery.pidbox"]],
        "data_sync": [["data_sync", "", "data_sync"]],
        "email_processing": [["email_processing", "", "email_processing"]],
        "payment_processing": [["payment_processing", "", "payment_processing"]],
    }
    findings, outcome = judged(stack)
    assert outcome.outcome == "fired" and findings
