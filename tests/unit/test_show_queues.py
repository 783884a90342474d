"""What the runbooks of queues and workers show: figures as they were seen, and silence as silence."""

from __future__ import annotations

from evidence import WORKERS, Incident, without_section
from rabbit_evidence import HOST, OnRabbitMQ
from test_checks_queues import misspelt, samples
from test_checks_workers import SILENT, Frozen

from celery_triage import show
from celery_triage.notebook import Look


def looked(stack, *missing):
    evidence = stack.evidence()
    for name in missing:
        evidence = without_section(evidence, name)
    return Look(evidence)


def two(first, last):
    """A stack whose mail queue held so many tasks, then so many a second later."""
    stack = Incident()
    stack.redis["samples"] = samples({"email_processing": first}, {"email_processing": last})
    return show.queues.queues(looked(stack), "email_processing")[0]


def test_the_time_to_drain_follows_from_two_samples():
    """Twenty tasks fewer in a second: the rest of a hundred is gone in five."""
    queue = two(120, 100)
    assert (queue.rate, queue.drains_s, queue.outlook) == (-20.0, 5.0, "empty in 5 s")


def test_a_queue_that_does_not_empty_has_no_time_to_drain():
    """Growing and standing still are told apart, and neither is given a time."""
    assert (two(100, 130).drains_s, two(100, 130).outlook) == (None, "grows by 30.0 a second")
    assert (two(100, 100).drains_s, two(100, 100).outlook) == (None, "does not move")
    assert (two(0, 0).outlook, two(3, 0).outlook) == ("empty", "just emptied")


def test_a_queue_without_consumer_is_shown_as_such():
    """Nobody stands where a worker should, in the table and in the picture's description."""
    look = looked(misspelt())
    lines = show.queues.depths(look).text.splitlines()
    row = next(line for line in lines if line.startswith("email_processing"))
    assert "7" in row and "nobody" in row
    assert "email_processing: 7 waiting, does not move, no consumer." in show.queues.plot(look).text


def test_only_who_runs_takes_from_a_queue():
    """A worker that restarts for ever would take from its queue and does not; one that was asked and is
    silent is said to be so; where nobody was asked, nothing is said of an answer."""
    row = "{} (does not run)".format
    assert taker(Incident().loop("email_worker", 2, ["it ends"])) == row("email_worker")
    assert taker(Frozen(), "payment_processing") == f"{SILENT} (did not answer)"
    assert taker(Frozen(), "payment_processing", "celery") == SILENT
    assert taker(Incident()) == "email_worker"
    deep = Incident().loop("email_worker", 2, ["it ends"])
    deep.redis["samples"] = samples({"email_processing": 7}, {"email_processing": 7})
    assert "email_processing: 7 waiting, does not move, no consumer." in show.queues.plot(looked(deep)).text


def taker(stack, queue="email_processing", *missing):
    """Who takes from a queue, as the table says it."""
    frame = show.queues.depths(looked(stack, *missing), queue).frame()
    return frame.iloc[0]["Consumed by"]


def test_redis_that_was_not_asked_is_no_empty_queue():
    """Each table and the picture say why there is nothing."""
    look = looked(Incident(), "redis")
    for shown in (show.queues.plot(look), show.queues.depths(look), show.queues.brokers(look)):
        assert "could not be asked: the deadline passed" in shown.text


def test_a_silent_worker_is_marked_among_those_that_answer():
    """Its row says no answer, the others their milliseconds."""
    look = looked(Frozen())
    said = show.workers.plot(look).text
    assert f"{SILENT}: no answer." in said and "email_worker: 4 ms." in said
    assert "3 nodes listened, 2 answered" in show.workers.who(look).text
    row = next(line for line in show.workers.names(look).text.splitlines() if SILENT in line)
    assert row.rstrip().endswith("silent")


def test_workers_that_were_not_asked_are_not_called_silent():
    """With --no-broadcast nobody answers, and nobody is blamed."""
    look = looked(Incident(), "celery")
    for shown in (show.workers.plot(look), show.workers.who(look), show.workers.tasks(look)):
        assert "No worker was asked: the deadline passed" in shown.text
    assert "no answer" not in show.workers.who(look).text and "silent" not in show.workers.names(look).text


def test_a_name_that_is_borne_twice_is_marked():
    """Two workers under one name answer for each other."""
    stack = Incident()
    for label in WORKERS[:2]:
        stack.command(label, "celery -A a worker -Q email_processing -n mail@same")
    row = next(line for line in show.workers.names(looked(stack)).text.splitlines() if "mail@same" in line)
    assert "borne twice" in row and "email_worker and payment_worker" in row


def test_a_task_that_one_worker_does_not_know_is_marked():
    """By whom it can be run, and by whom not."""
    stack = Incident()
    look = looked(stack)
    for reply in look.evidence.section("celery").data["brokers"][0]["replies"].values():
        reply["registered"] = ["tasks.mail", "tasks.pay"][: 1 if reply["label"] == SILENT else 2]
    text = show.workers.tasks(look).text
    assert "all that answered" in next(line for line in text.splitlines() if "tasks.mail" in line)
    assert next(line for line in text.splitlines() if "tasks.pay" in line).split()[-2] == SILENT


def test_rabbitmq_stands_among_the_brokers_with_its_alarm():
    """Its queues and who takes them are shown as those of Redis; an alarm is told beside its name."""
    stack = OnRabbitMQ()
    stack.depths({"email_processing": 4, "invoices": 2}, {"email_processing": 1, "invoices": 3})
    stack.rabbit["hosts"] = [{**HOST, "mem_alarm": True}]
    look = looked(stack)
    told = show.queues.brokers(look)._repr_html_()
    assert "rabbitmq:5672/jobs" in told and "yes, with an alarm: memory" in told and "blocks senders" in told
    rows = {one.name: one.consumers for one in show.queues.queues(look)}
    assert rows == {"email_processing": ("email_worker",), "invoices": ("3 of no known container",)}
