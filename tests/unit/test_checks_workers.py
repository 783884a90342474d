"""Rules about workers: alive is not yet at work."""

from __future__ import annotations

import pytest
from evidence import COMPOSE, TAKEN_S, WORKERS, Incident, hostname, iso, ready, without_section

from celery_triage import causes
from celery_triage.checks import RULES, Look, judge
from celery_triage.lives import seconds_of
from celery_triage.model import Section

SILENT = "payment_worker"


class Frozen(Incident):
    """One worker got the ping and did not answer; ``idle`` is how long ago it asked for a task (s)."""

    def __init__(self, idle=40, blocked=0, asked=3):
        super().__init__()
        self.asked = asked
        self.redis["consumers"] = [
            {
                "address": "172.18.0.1",
                "label": label,
                "command": "brpop",
                "connections": 1,
                "blocked": blocked if label == SILENT else 1,
                "idle_s": idle if label == SILENT else 0,
            }
            for label in WORKERS
        ]

    def evidence(self):
        evidence = super().evidence()
        broker = evidence.section("celery").data["brokers"][0]
        broker["replies"].pop(f"{SILENT}@{hostname(SILENT)}", None)
        broker.update(
            asked=self.asked,
            status="no_reply",
            why=f"no answer from {SILENT}",
            services=sorted(evidence.section("redis").data["servers"][0]["services"]),
        )
        told = evidence.section("celery")
        sections = {**evidence.sections, "celery": Section("celery", "partial", told.data, why="no answer")}
        return type(evidence)(evidence.target, evidence.taken_at, sections, options=evidence.options)


FIRES = {"WRK004": Frozen}


def of_rule(code, stack):
    """The findings of one rule that are no history, and its outcome."""
    findings, outcome = judge(RULES[code], Look(stack.evidence(), RULES[code]))
    return [finding for finding in findings if finding.state != "history"], outcome.outcome


def judged(stack):
    evidence = stack.evidence() if isinstance(stack, Incident) else stack
    return judge(RULES["WRK004"], Look(evidence, RULES["WRK004"]))


def test_a_worker_that_listens_and_does_not_answer_is_named():
    """With its silence on the broker as proof, and a restart as the cure."""
    (finding,), outcome = judged(Frozen())
    assert (finding.services, finding.certainty, finding.severity) == ((SILENT,), "confirmed", "critical")
    assert any("40 s ago" in proof.text for proof in finding.proof)
    assert finding.remedy.commands == (f"docker restart ai_backend_{SILENT}",)


def test_it_is_the_only_cause():
    """Nothing else is said of a stack in which one worker is frozen."""
    diagnosis = causes.diagnose(Frozen().evidence())
    assert [finding.name for finding in diagnosis.cause_findings] == ["worker-frozen"]
    assert (diagnosis.verdict, diagnosis.cause_findings[0].state) == ("critical", "active")


@pytest.mark.parametrize(
    ("stack", "why"),
    [
        (Frozen(idle=1), "still asks"),
        (Frozen(blocked=1), "still asks"),
        (Frozen(asked=2), "not known to listen"),
        (
            Frozen().command(SILENT, "celery -A x worker -Q payment_processing -P solo -n payment_worker@%h"),
            "solo",
        ),
    ],
)
def test_a_slow_worker_is_not_called_frozen(stack, why):
    """One that waits for tasks, that did not get the ping or that works in its main process: unknown."""
    findings, outcome = judged(stack)
    assert (findings, outcome.outcome) == ((), "unknown") and why in outcome.why


def test_a_worker_whose_log_spoke_just_now_is_not_called_frozen():
    """It kills and makes pool processes with half a processor, and gets to nothing else for seconds."""
    stack = Frozen()
    said = "[2026-06-24 10:00:00,000: ERROR/MainProcess] Hard time limit (3.0s) exceeded for a.b[467d544b]"
    stack.logs[SILENT].append([iso(TAKEN_S - 6), "err", said])
    findings, outcome = judged(stack)
    assert (findings, outcome.outcome) == ((), "unknown") and "its log spoke 6 s ago" in outcome.why
    stack.logs[SILENT][-1][0] = iso(TAKEN_S - 21)
    assert len(judged(stack)[0]) == 1


def test_a_worker_that_has_not_finished_its_start_is_not_frozen():
    """It cannot answer yet."""
    stack = Frozen()
    stack.lives[SILENT], stack.logs[SILENT] = [], []
    stack.life(SILENT, TAKEN_S - 2, None, lines=["celery worker v5.6.3"])
    findings, outcome = judged(stack)
    assert (findings, outcome.outcome) == ((), "unknown") and "its start" in outcome.why


def test_without_the_broker_it_is_only_inferred():
    """Silence alone could be slowness; the ping's own count still says that it listens."""
    (finding,), _ = judged(without_section(Frozen().evidence(), "redis"))
    assert finding.certainty == "inferred"


def test_a_worker_that_is_down_is_not_frozen():
    """Nobody expects an answer of it."""
    stack = Frozen(asked=2)
    stack.loop(SILENT, 1, ["it ends"])
    assert judged(stack)[0] == ()


def test_a_worker_that_shares_its_name_is_not_called_frozen():
    """One reply stands for both, so nobody knows whose it was."""
    stack = Frozen(asked=4)
    for label in (SILENT, "email_worker"):
        stack.command(label, "celery -A x worker -Q mail -n worker@backend")
    stack.redis["nodes"] = ["worker@backend"]
    findings, outcome = judged(stack)
    assert findings == () and "shares its node name" in outcome.why


# --- Messages that are thrown away ------------------------------


def record(text, level="ERROR", at=TAKEN_S - 30):
    return f"[{iso(at)[:10]} {iso(at)[11:19]},101: {level}/MainProcess] {text}"


UNKNOWN = [
    record("Received unregistered task of type 'shared.tasks.send_invoice'."),
    "The message has been ignored and discarded.",
    "",
    "Did you remember to import the module containing this task?",
]
UNTRUSTED = "Refusing to deserialize untrusted content of type pickle (application/x-python-serialize)"
REFUSED = [
    record(f"Received invalid task message: {UNTRUSTED}"),
    "The message has been ignored and discarded.",
    "",
    "Traceback (most recent call last):",
    '  File "/usr/local/lib/python3.11/dist-packages/kombu/serialization.py", line 255, in loads',
    "    raise self._for_untrusted_content(content_type, 'untrusted')",
    f"kombu.exceptions.ContentDisallowed: {UNTRUSTED}",
]
LIMIT = "Hard time limit (3s) exceeded for shared.tasks.slow[b8f84da2-67dc-44b2-b3c6-{:012}]"


def unregistered(at=TAKEN_S - 30):
    return Incident().say("email_worker", *UNKNOWN, at=at)


def refused():
    return Incident().say("email_worker", *REFUSED, at=TAKEN_S - 30)


def limited(count=4):
    stack = Incident()
    stack.replace_in_commands("--concurrency=4", "--concurrency=4 --time-limit=3", ("email_worker",))
    return stack.say("email_worker", *[record(LIMIT.format(n)) for n in range(count)], at=TAKEN_S - 30)


FIRES |= {"WRK003": unregistered, "WRK050": refused, "WRK002": limited}


def test_a_task_that_no_worker_knows_is_named_with_the_list_that_lacks_it():
    """The worker itself says which tasks are registered; its log says what it threw away."""
    (finding,), _ = of_rule("WRK003", unregistered())
    assert (finding.object, finding.services) == ("shared.tasks.send_invoice", ("email_worker",))
    assert (finding.certainty, finding.severity) == ("confirmed", "warning")
    assert finding.title == (
        "email_worker throws messages away: nothing is registered there as shared.tasks.send_invoice (once, "
        "the last time 30 s ago)"
    )


def test_a_task_that_another_worker_knows_was_sent_to_the_wrong_queue():
    """Then the sender's route is the thing to look at."""
    stack = unregistered()
    evidence = stack.evidence()
    replies = evidence.section("celery").data["brokers"][0]["replies"]
    replies[f"payment_worker@{hostname('payment_worker')}"]["registered"].append("shared.tasks.send_invoice")
    (finding,), _ = judge(RULES["WRK003"], Look(evidence, RULES["WRK003"]))
    assert "; payment_worker knows it" in finding.title
    assert "queue of payment_worker" in finding.remedy.summary


def test_without_an_answer_only_the_log_says_it():
    """The worker was not asked: reported."""
    evidence = without_section(unregistered().evidence(), "celery")
    (finding,), _ = judge(RULES["WRK003"], Look(evidence, RULES["WRK003"]))
    assert finding.certainty == "reported"


def test_what_was_thrown_away_long_ago_is_a_notice():
    """A deployment two hours ago."""
    (finding,), _ = of_rule("WRK003", unregistered(TAKEN_S - 7200))
    assert finding.severity == "notice"


def test_what_a_task_quotes_is_not_thrown_away():
    """A log of such a message inside a task's own record."""
    quoted = record("x").replace("MainProcess] x", "ForkPoolWorker-1] " + UNKNOWN[0])
    stack = Incident().say("email_worker", quoted)
    assert of_rule("WRK003", stack) == ([], "quiet")


def test_a_serializer_that_is_refused_is_named_with_what_is_accepted():
    """What the worker says it accepts stands beside it."""
    (finding,), _ = of_rule("WRK050", refused())
    assert (finding.object, finding.severity) == ("pickle", "warning")


def test_a_limit_that_ends_the_same_task_again_and_again_is_told():
    """Longer or shorter: the edit is of the option that stands in the command."""
    (finding,), _ = of_rule("WRK002", limited())
    assert finding.object == "shared.tasks.slow" and "4 times" in finding.title
    (edit,) = finding.remedy.options[0].edits
    assert (edit.file, edit.old, edit.new) == (COMPOSE, "--time-limit=3", "--time-limit=30")


def test_one_task_that_took_too_long_is_its_own_matter():
    """Twice is not again and again."""
    assert of_rule("WRK002", limited(2)) == ([], "quiet")


# --- Names ------------------------------


def same_names():
    stack = Incident()
    for label in ("email_worker", "payment_worker"):
        stack.command(label, f"celery -A x worker -Q {label} -n worker@backend")
    return stack


FIRES["WRK052"] = same_names


def test_two_workers_of_one_name_are_told_together():
    """Both are named; the others are not."""
    (finding,), _ = of_rule("WRK052", same_names())
    assert (finding.object, finding.services) == ("worker@backend", ("email_worker", "payment_worker"))


def test_names_with_the_host_in_them_are_their_own():
    """`-n worker@%h` on two containers is two names; on two brokers one name is no trouble."""
    stack = Incident()
    for label in WORKERS:
        stack.command(label, "celery -A x worker -Q mail -n worker@%h")
    assert of_rule("WRK052", stack) == ([], "quiet")
    stack = same_names().url("CELERY_BROKER_URL", "/0", "/1", ("email_worker",))
    assert of_rule("WRK052", stack) == ([], "quiet")


# --- Ready, and takes nothing ------------------------------


class Changed(Incident):
    """A worker answers what is given here."""

    def __init__(self, **replies):
        super().__init__()
        self.replies = replies

    def _reply(self, label, queues):
        return {**super()._reply(label, queues), **self.replies.get(label, {})}


def cancelled():
    stack = Changed(email_worker={"active_queues": []})
    stack.redis["samples"] = [
        {"t": iso(TAKEN_S - n), "queues": {"email_processing": 5}, "unacked": 0} for n in (1, 0)
    ]
    return stack


FIRES["WRK005"] = cancelled


def test_a_consumer_that_was_taken_away_is_given_back():
    """By the same remote control; the tasks that wait are its consequence."""
    diagnosis = causes.diagnose(cancelled().evidence())
    (cause,) = diagnosis.cause_findings
    assert (cause.name, cause.object) == ("consumer-cancelled", "email_processing")
    assert cause.severity == "critical"
    assert "add_consumer email_processing -d email_worker@" in cause.remedy.commands[0]
    assert [one.name for one in diagnosis.findings if one.explained_by] == ["queue-without-consumer"]


@pytest.mark.parametrize("queues", [["email_processing", "more"], ["other.email_processing"], None])
def test_other_names_of_queues_are_not_judged(queues):
    """More than its command names, a prefix, no answer."""
    found, _ = of_rule("WRK005", Changed(email_worker={"active_queues": queues}))
    assert found == []


# --- Tasks that wait behind others ------------------------------

SOLO = "celery -A x worker -Q payment_processing -P solo -n payment_worker@%h"
SLOW = "Task shared.tasks.slow[b8f84da2-67dc-44b2-b3c6-dac1fa4c18ec] "


def busy(*more, waiting=5):
    stack = Frozen().command(SILENT, SOLO)
    stack.say(SILENT, record(SLOW + "received", "INFO"), *more, at=TAKEN_S - 40)
    stack.redis["samples"] = [{"t": iso(TAKEN_S), "queues": {"payment_processing": waiting}, "unacked": 1}]
    return stack


FIRES["WRK006"] = busy


def test_a_solo_worker_is_called_busy_and_not_frozen():
    """With the task that it runs, since when, and what waits behind it."""
    (finding,), _ = of_rule("WRK006", busy())
    assert finding.object == "shared.tasks.slow" and finding.severity == "warning"
    assert "busy, not frozen" in finding.title and "for 40 s" in finding.title
    assert "5 tasks wait behind it" in finding.title
    assert of_rule("WRK004", busy())[0] == []


def test_a_solo_worker_behind_which_nothing_waits_is_only_worth_knowing():
    """It does what it was told to."""
    (finding,), _ = of_rule("WRK006", busy(waiting=0))
    assert finding.severity == "notice"


def test_a_solo_worker_whose_task_has_ended_is_not_called_busy():
    """Then something else keeps it from answering, and nobody knows what."""
    done = record(SLOW + "succeeded in 3.1s: 3", "INFO")
    assert of_rule("WRK006", busy(done))[0] == []


def hoarding(reserved=12, idle=0, began=60.0):
    at = seconds_of(iso(TAKEN_S - began))
    same = {"active_queues": ["email_processing"]}
    stack = Changed(
        email_worker={"stats": {"pool": {"max-concurrency": 1}}, "reserved": reserved, "active_count": 1,
                      "active": [{"id": "a", "name": "shared.tasks.slow", "time_start": at}], **same},
        payment_worker={"active_count": idle, **same},
    )
    return stack


FIRES["WRK007"] = hoarding


def test_tasks_in_the_hands_of_one_worker_while_another_is_idle_are_told():
    """The cure is one option more in the command."""
    (finding,), _ = of_rule("WRK007", hoarding())
    assert "12 tasks wait inside email_worker behind one that has run for 60 s" in finding.title
    assert "payment_worker of the same queue has nothing to do" in finding.title
    (edit,) = finding.remedy.edits
    assert edit.new.startswith("worker --prefetch-multiplier=1")


@pytest.mark.parametrize("stack", [hoarding(reserved=1), hoarding(idle=1), hoarding(began=3.0)])
def test_a_worker_that_holds_little_or_has_company_is_not_blamed(stack):
    """One task ahead, another one at work too, a task that has only begun."""
    assert of_rule("WRK007", stack)[0] == []


STUCK = "Task shared.tasks.slow[b8f84da2-67dc-44b2-b3c6-dac1fa4c18ec] succeeded in {}s: None"


def full(began=60.0, pool=2, reserved=8, took="1.02", depth=0, **more):
    """Both pool processes of a worker run the same task for so long, which once took so many seconds."""
    active = [
        {"id": f"{number}", "name": "shared.tasks.slow", "worker_pid": 16 + number,
         "time_start": seconds_of(iso(TAKEN_S - began - number))}
        for number in range(2)
    ]  # fmt: skip
    mine = {"stats": {"pool": {"max-concurrency": pool}}, "reserved": reserved, "active": active}
    mine["active_count"] = len(active)
    stack = Changed(email_worker={**mine, "active_queues": ["email_processing"], **more})
    if took:
        stack.say("email_worker", record(STUCK.format(took), "INFO"), at=TAKEN_S - 300)
    stack.redis["samples"] = [{"t": iso(TAKEN_S), "queues": {"email_processing": depth}, "unacked": 0}]
    return stack


FIRES["WRK008"] = full


def test_a_pool_whose_processes_all_hang_is_told():
    """Its main process answers, its health check is green, and nothing of its work is done any more."""
    diagnosis = causes.diagnose(full(depth=22).evidence())
    (cause,) = diagnosis.cause_findings
    assert (cause.name, cause.object, cause.severity) == ("pool-stuck", "shared.tasks.slow", "warning")
    assert "All 2 pool processes of email_worker hang" in cause.title
    assert "never took longer than 1.02 s before; 30 tasks wait behind" in cause.title
    assert "succeeded in 1.02s" in cause.proof[-1].text
    assert cause.remedy.commands == ("docker restart ai_backend_email_worker",)


@pytest.mark.parametrize(
    "stack",
    [full(began=25.0), full(took="9.9"), full(pool=3), full(reserved=0), full(took="")],
    ids=["young", "slow before", "a process left", "nothing waits", "never seen"],
)
def test_a_pool_that_may_just_be_busy_is_not_called_stuck(stack):
    """Only what lasts ten times as long as ever before hangs, and only where it keeps others from their
    turn."""
    assert of_rule("WRK008", stack) == ([], "quiet")


def test_a_queue_that_another_worker_takes_from_does_not_wait_behind_a_full_pool():
    """Nor do tasks with nobody before them; what the stuck one holds in its hands does wait."""
    stack = full(reserved=0, depth=22)
    assert [one.name for one in of_rule("WRK008", stack)[0]] == ["pool-stuck"]
    stack.replies["payment_worker"] = {"active_queues": ["payment_processing", "email_processing"]}
    assert of_rule("WRK008", stack)[0] == []


def test_a_pool_that_has_begun_nothing_for_ten_minutes_is_told_as_full():
    """No log knows how long the task takes: it may be meant so, and what is done about it is a person's
    choice."""
    (finding,), _ = of_rule("WRK008", full(began=620.0, took=""))
    assert (finding.name, finding.remedy.kind) == ("pool-full", "manual")
    assert "email_worker has begun no task for 10 min" in finding.title


def recycled(given="=200"):
    words = f"celery -A x worker -Q email_processing --max-memory-per-child{given} -n email_worker@%h"
    return Incident().command("email_worker", words)


FIRES["WRK009"] = recycled


@pytest.mark.parametrize("given", ["=200", " 200"])
def test_a_memory_limit_that_was_meant_in_megabytes_is_told(given):
    """The pool itself says nothing: each process does one task and is replaced."""
    (finding,), _ = of_rule("WRK009", recycled(given))
    assert (finding.object, finding.severity) == ("200", "warning")
    megabytes, none = finding.remedy.options
    assert "200 MiB" in megabytes.summary and f"--max-memory-per-child{given[0]}204800" in megabytes.summary
    assert none.name == "no-limit"


@pytest.mark.parametrize("given", ["=204800", "=0", "=${MEMORY}"])
def test_a_memory_limit_that_a_process_can_keep_is_not_blamed(given):
    """Enough, none, or not known from here."""
    assert of_rule("WRK009", recycled(given))[0] == []


def test_a_memory_limit_that_no_megabytes_explain_can_only_be_raised_or_taken_out():
    """3 MiB are no more than 3 KiB to a process that has 34."""
    (finding,), _ = of_rule("WRK009", recycled("=3"))
    assert [option.name for option in finding.remedy.options] == ["no-limit"]


def unbegun(lived=400, said=("waiting for postgres...",), known=()):
    """One worker's container runs, and what runs in it says this; the broker knows these nodes beside."""
    stack = Frozen(asked=2)
    stack.lives[SILENT], stack.logs[SILENT] = [], []
    stack.life(SILENT, TAKEN_S - lived, None, lines=list(said))
    mine = f"{SILENT}@{hostname(SILENT)}"
    stack.redis["nodes"] = [f"{label}@{hostname(label)}" for label in WORKERS if label != SILENT]
    stack.redis["nodes"] += [mine] if known else []
    return stack


def test_a_container_in_which_celery_never_starts_is_no_healthy_worker():
    """Its entrypoint waits for ever for a server: up, no restart, no error, and no work is done."""
    (finding,), _ = judged(unbegun())
    assert (finding.name, finding.services) == ("worker-not-started", (SILENT,))
    assert (finding.certainty, finding.severity, finding.remedy.kind) == ("inferred", "critical", "manual")
    assert "Celery has not started in it" in finding.title
    assert "waiting for postgres" in finding.proof[-1].text
    assert causes.diagnose(unbegun().evidence()).verdict == "critical"


def test_a_worker_that_has_not_begun_yet_is_settling_and_not_called_well():
    """Up for 200 s, without a word of Celery and without an answer: nothing is found, and that it is too
    early to call it well stands beside the verdict."""
    diagnosis = causes.diagnose(unbegun(lived=200).evidence())
    (line,) = diagnosis.settling
    assert line.startswith(f"{SILENT}: 100 s left of 300 s (it has not answered a ping")
    assert diagnosis.findings == ()


@pytest.mark.parametrize(
    "stack",
    [
        unbegun(lived=200),
        unbegun(said=ready(SILENT)[:8]),
        unbegun(known=(SILENT,)),
        unbegun().section(f"logs/{SILENT}", "denied", "log driver none keeps no logs"),
        unbegun().section(f"logs/{SILENT}", "partial", "cut", {"lines": [], "cut": {"lines": 9}}),
    ],
    ids=["young", "banner", "known to the broker", "no log", "the start of its log is not there"],
)
def test_a_worker_that_may_have_started_is_not_said_never_to_have(stack):
    """Whoever is young, has said a word of Celery, is known to the broker or cannot be read is unknown."""
    findings, _ = judged(stack)
    assert [finding.name for finding in findings if finding.name == "worker-not-started"] == []
