"""Rules about queues: what waits where nobody looks."""

from __future__ import annotations

from evidence import TAKEN_S, WORKERS, Incident, hostname, iso, without_section

from celery_triage import causes
from celery_triage.checks import RULES, Look, judge


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
