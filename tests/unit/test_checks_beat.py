"""Rules about beat: due and not sent, sent and not done, sent twice; files that keep it from starting."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import pytest
from evidence import CELERY, TAKEN_S, TOKEN, Incident, hostname, iso, without_section

from celery_triage import causes
from celery_triage.checks import RULES, Look, judge
from celery_triage.checks.beat.schedule import period_of

LOGS = Path(__file__).parent / "data" / "logs"
SENDING = "[2026-11-23 14:14:{:02d},001: INFO/MainProcess] Scheduler: Sending due task heartbeat ({})"
TASK = "shared.tasks.heartbeat"
PIDFILE = [
    "celery beat v5.6.3 (recovery) is starting.",
    "ERROR: Pidfile (/var/run/beat.pid) already exists.",
    "Seems we're already running? (pid: 1)",
]
HEARTBEAT = {"task": TASK, "schedule": 5.0, "options": {"queue": "data_sync"}}


def recorded(name):
    """The lines of a recorded log, without times and streams."""
    lines = (LOGS / f"{name}.log").read_text(encoding="utf-8").splitlines()
    return [line.split(" ", 2)[2] for line in lines if not line.startswith("## ")]


class Scheduled(Incident):
    """The healthy stack with another schedule, other results, or workers that answer something else."""

    def __init__(self, schedule=None, done=2.0, **conf):
        """``schedule`` are the entries that workers tell, ``done`` the seconds since beat's task was last
        done (None: no result of it), ``conf`` further settings."""
        super().__init__()
        self.schedule, self.done, self.conf, self.answers = schedule, done, conf, {}

    def sends(self, *ages, lines=(), label="celery_beat"):
        """Beat's log holds the banner and a sending so many seconds before the evidence was taken."""
        self.logs[label] = self.logs[label][:5] if label == "celery_beat" else self.logs[label]
        for age in sorted(ages, reverse=True):
            self.say(label, SENDING.format(int(age) % 60, TASK), at=TAKEN_S - age)
        return self.say(label, *lines) if lines else self

    def evidence(self):
        evidence = super().evidence()
        for reply in evidence.section("celery").data["brokers"][0]["replies"].values():
            conf = reply["conf"] = copy.deepcopy(reply["conf"])
            conf.update(self.conf)
            if self.schedule is not None:
                conf["beat_schedule"] = self.schedule
            reply.update(self.answers.get(reply["label"], {}))
        server = evidence.section("results").data["servers"][0]
        if server.get("latest"):
            server["latest"] = copy.deepcopy(server["latest"])
            server["latest"]["by_task"] = {}
            if self.done is not None:
                told = {"done": 9, "failed": 0, "last": iso(TAKEN_S - self.done)}
                server["latest"]["by_task"][TASK] = told
        return evidence


def silent():
    return Scheduled(done=300).sends(301, 306)


def wrong_queue(depth=4, queue="nightly"):
    stack = Scheduled({"heartbeat": {**HEARTBEAT, "options": {"queue": queue}}}, done=None).sends(3)
    stack.redis["samples"] = [
        {"t": iso(TAKEN_S - 1 + n), "queues": {queue: depth, "data_sync": 0}, "unacked": 0} for n in range(2)
    ]
    return stack


def unregistered():
    return Scheduled({"heartbeat": {**HEARTBEAT, "task": "shared.tasks.hartbeat"}}, done=None).sends()


def twice():
    stack = Scheduled().sends(3)
    stack.replace_in_commands("worker --loglevel", "worker -B --loglevel", ("data_sync_worker",))
    return stack.sends(4, label="data_sync_worker")


def pid_file(option="--pidfile=/var/run/beat.pid"):
    stack = Incident().loop("celery_beat", 73, PIDFILE)
    return stack.command("celery_beat", f"{stack.commands['celery_beat']} {option}")


def denied(version="5.7"):
    stack = Incident(f"{version}.0").loop("celery_beat", 1, recorded(f"beat-schedule-denied_{version}"))
    return stack.item("celery_beat", user="celery")


FIRES = {
    "BEA001": pid_file,
    "BEA002": denied,
    "BEA003": silent,
    "BEA004": wrong_queue,
    "BEA005": twice,
    "BEA006": unregistered,
}


def judged(stack, code):
    evidence = stack.evidence() if isinstance(stack, Incident) else stack
    return judge(RULES[code], Look(evidence, RULES[code]))


def named(stack):
    """The names of the causes, and of what they explain."""
    found = causes.diagnose(stack.evidence())
    told = {finding.id: finding.name for finding in found.findings}
    explained = {one.name: told[one.explained_by] for one in found.findings if one.explained_by}
    return [cause.name for cause in found.cause_findings], explained


# --- Ticking ------------------------------------------------------------------------------------------------


def test_a_beat_whose_log_stops_is_silent_and_started_again():
    """The log told what it sent, every entry is late, and no result of it came: confirmed, and cured so."""
    (finding,), _ = judged(silent(), "BEA003")
    assert (finding.severity, finding.certainty) == ("critical", "confirmed")
    assert finding.title.endswith("heartbeat, due every 5 s, was last sent 5 min ago")
    assert finding.remedy.kind == "exact" and finding.remedy.commands[0].startswith("docker restart ")
    assert named(silent()) == (["beat-silent"], {})


def test_without_results_a_silent_log_is_only_inferred():
    """A log can be lost on its way; only results show that nothing came of it."""
    (finding,), _ = judged(without_section(silent().evidence(), "results"), "BEA003")
    assert finding.certainty == "inferred"


def test_what_was_done_a_moment_ago_was_sent():
    """The log stopped, and the task goes on being done: it is the log that fails, and nothing is said."""
    assert judged(Scheduled(done=3).sends(301), "BEA003")[1].outcome == "quiet"


def test_a_log_that_would_not_tell_is_no_silence():
    """At the level WARNING beat logs neither its start nor what it sends: without results nothing is known,
    and no finding comes of it."""
    stack = Scheduled(done=None)
    stack.logs["celery_beat"] = stack.logs["celery_beat"][:4]
    assert judged(stack, "BEA003")[0] == ()


def test_where_the_log_does_not_tell_the_results_do():
    """The task was done until five minutes ago, its queue is empty and has its worker: only beat is left."""
    stack = Scheduled(done=300)
    stack.logs["celery_beat"] = stack.logs["celery_beat"][:4]
    (finding,), _ = judged(stack, "BEA003")
    assert finding.certainty == "inferred" and "was last done 5 min ago" in finding.title


@pytest.mark.parametrize("why", ["queue full", "worker gone"])
def test_tasks_that_wait_or_have_no_worker_do_not_make_beat_silent(why):
    """Then the reason may be there, and this rule does not guess."""
    stack = Scheduled(done=300)
    stack.logs["celery_beat"] = stack.logs["celery_beat"][:4]
    if why == "queue full":
        stack.redis["samples"] = [{"t": iso(TAKEN_S - n), "queues": {"data_sync": 7}} for n in (1, 0)]
    else:
        stack.answers["data_sync_worker"] = {"active_queues": []}
    assert judged(stack, "BEA003")[0] == ()


def test_a_beat_that_has_just_started_is_not_silent():
    """Nothing was due for long enough."""
    stack = Scheduled(done=None)
    stack.lives["celery_beat"], stack.logs["celery_beat"] = [], []
    stack.life("celery_beat", TAKEN_S - 20, None, lines=recorded("healthy-beat_5.7")[:12])
    assert judged(stack, "BEA003")[1].outcome == "quiet"


@pytest.mark.parametrize(
    "schedule", ["<crontab: 0 4 * * * (m/h/dM/MY/d)>", "1 day, 0:00:00", "<solar: dawn_civil at latitude 1>"]
)
def test_long_intervals_are_not_late(schedule):
    """Once a day, or at an hour that this tool does not work out: silence for two hours means nothing."""
    stack = Scheduled({"nightly": {"task": "shared.tasks.quick", "schedule": schedule}}, done=None)
    stack.logs["celery_beat"] = stack.logs["celery_beat"][:5]
    assert judged(stack, "BEA003")[1].outcome == "quiet"


def test_one_entry_that_is_not_sent_beside_others_is_no_silence():
    """Beat ticks; an entry that somebody has taken out of its own schedule is left out by it."""
    stack = Scheduled({"heartbeat": HEARTBEAT, "off": {"task": "shared.tasks.quick", "schedule": 5.0}})
    assert judged(stack.sends(2), "BEA003")[1].outcome == "quiet"


@pytest.mark.parametrize(
    "scheduler", ["django_celery_beat.schedulers:DatabaseScheduler", "redbeat.RedBeatScheduler"]
)
def test_a_schedule_that_is_kept_elsewhere_is_unknown_and_not_silent(scheduler):
    """What stands in a database or in Redis is not in the settings, so nobody can say what is due."""
    stack = Scheduled(done=None).sends()
    stack.command("celery_beat", f"{stack.commands['celery_beat']} --scheduler {scheduler}")
    for code in ("BEA003", "BEA004", "BEA006"):
        findings, outcome = judged(stack, code)
        assert (findings, outcome.outcome) == ((), "unknown")
    assert "not in the settings" in outcome.why


def test_a_beat_that_sends_what_the_settings_do_not_hold_has_another_schedule():
    """The workers' settings are then not its own, and it is not judged by them."""
    stack = silent().say("celery_beat", SENDING.format(1, TASK).replace("heartbeat (", "other ("), at=7000)
    findings, outcome = judged(stack, "BEA003")
    assert (findings, outcome.outcome) == ((), "unknown") and "sends other" in outcome.why


def test_a_beat_that_says_that_it_cannot_send_is_not_called_silent():
    """Its broker is the matter; that is another rule's."""
    stack = Scheduled(done=300).sends(301)
    stack.say("celery_beat", "[2026-11-23 14:14:00,001: ERROR/MainProcess] beat: Connection error: Error 111")
    findings, outcome = judged(stack, "BEA003")
    assert (findings, outcome.outcome) == ((), "unknown") and "cannot send" in outcome.why


def test_a_beat_that_is_down_or_paused_is_not_silent():
    """It does not run: others say so."""
    stack = silent().item("celery_beat", sample={"status": "paused"})
    assert judged(stack, "BEA003")[1].outcome == "quiet"


@pytest.mark.parametrize("code", ["BEA002", "BEA003", "BEA004", "BEA005", "BEA006"])
def test_a_stack_without_beat_is_not_applicable(code):
    """Nothing is due there."""
    stack = Scheduled().command("celery_beat", "gunicorn app:app")
    stack.logs["celery_beat"] = []
    assert judged(stack, code)[1].outcome == "not_applicable"


def test_a_beat_inside_a_worker_is_judged_like_one():
    """With -B the worker itself sends; its log says so in the name of its process Beat."""
    stack = Scheduled(done=300).command("celery_beat", "gunicorn app:app")
    stack.logs["celery_beat"] = []
    stack.replace_in_commands("worker --loglevel", "worker -B --loglevel", ("data_sync_worker",))
    stack.sends(300, label="data_sync_worker")
    (finding,), _ = judged(stack, "BEA003")
    assert finding.services == ("data_sync_worker",)


@pytest.mark.parametrize(
    "told,seconds",
    [
        (5.0, 5),
        ("0:00:30", 30),
        ("2 days, 1:00:00", 176400),
        ("<freq: 10.00 seconds>", 10),
        ("<crontab: * * * * * (m/h/dM/MY/d)>", 60),
        ("<crontab: */15 * * * * (m/h/d/dM/MY)>", 900),
        ("<crontab: 7 * * * * (m/h/d/dM/MY)>", 3600),
        ("<crontab: * 4 * * * (m/h/dM/MY/d)>", None),
        ("<crontab: 0,30 * * * 1 (m/h/dM/MY/d)>", None),
        (None, None),
        (0, None),
    ],
)
def test_the_interval_of_a_schedule(told, seconds):
    """Numbers, time spans, Celery's own texts; what changes over the day has none."""
    assert period_of(told) == seconds


def test_a_beat_with_another_interval_than_the_worker_is_judged_by_its_own():
    """Its log shows that it sends each ten minutes, whatever the worker says: six minutes are not late."""
    stack = Scheduled(done=None).sends(400, 1000, 1600)
    assert judged(stack, "BEA003")[1].outcome == "quiet"
    assert judged(Scheduled(done=None).sends(1400, 2000), "BEA003")[1].outcome == "fired"


def test_a_beat_that_has_never_sent_is_a_warning_for_a_person():
    """Its environment may give it another schedule than the worker's."""
    (finding,), _ = judged(Scheduled(done=None).sends(), "BEA003")
    assert (finding.severity, finding.certainty, finding.remedy.kind) == ("warning", "inferred", "manual")
    assert "was not sent since it started" in finding.title


# --- Delivered ----------------------------------------------------------------------------------------------


def test_a_queue_that_nobody_reads_is_beats_fault_and_explains_the_waiting_tasks():
    """One cause: the tasks that wait there are its consequence."""
    assert named(wrong_queue()) == (["beat-wrong-queue"], {"queue-without-consumer": "beat-wrong-queue"})
    (finding,), _ = judged(wrong_queue(), "BEA004")
    assert (finding.severity, finding.object, finding.certainty) == ("critical", "nightly", "confirmed")
    consume = finding.remedy.options[0]
    assert [(edit.old, edit.new) for edit in consume.edits] == [
        ("data_sync --concurrency=4", "data_sync,nightly --concurrency=4")
    ]
    assert consume.commands[-1].endswith("up -d --no-deps data_sync_worker")


def test_a_misspelt_queue_is_still_one_cause():
    """A worker's queue is called almost like it; the tasks in it are put to the schedule all the same."""
    stack = wrong_queue(queue="data_sinc")
    assert named(stack) == (["beat-wrong-queue"], {"queue-without-consumer": "beat-wrong-queue"})


def test_a_route_names_the_queue_too():
    """An entry without a queue of its own goes where the route of its task leads."""
    stack = wrong_queue()
    stack.schedule["heartbeat"]["options"] = {}
    stack.conf["task_routes"] = {TASK: {"queue": "nightly"}}
    assert [finding.object for finding in judged(stack, "BEA004")[0]] == ["nightly"]


def test_an_entry_that_has_not_run_yet_is_a_warning():
    """Nothing waits there: it will go wrong, and has not."""
    stack = wrong_queue(0).sends()
    (finding,), _ = judged(stack, "BEA004")
    assert (finding.severity, finding.certainty) == ("warning", "inferred")


def test_what_was_sent_and_does_not_wait_was_taken():
    """Somebody reads that queue whom this tool does not see."""
    assert judged(wrong_queue(0), "BEA004")[1].outcome == "quiet"


def test_consumers_that_cannot_be_known_make_it_unknown():
    """Somebody takes tasks there who did not answer."""
    stack = wrong_queue()
    stack.redis["consumers"] = [{"address": "172.18.0.99", "label": None, "command": "brpop"}]
    evidence = stack.evidence()
    evidence.section("celery").data["brokers"][0]["asked"] = 4
    findings, outcome = judged(evidence, "BEA004")
    assert (findings, outcome.outcome) == ((), "unknown") and "172.18.0.99" in outcome.why


def test_a_task_that_no_worker_knows_is_named_with_what_was_meant():
    """A warning while no worker has said that it threw one away; then critical."""
    (finding,), _ = judged(unregistered(), "BEA006")
    assert (finding.severity, finding.object) == ("warning", "shared.tasks.hartbeat")
    assert "shared.tasks.heartbeat is known" in finding.title
    text = "[2026-11-23 14:00:00,001: ERROR/MainProcess] Received unregistered task of type '{}'."
    stack = unregistered().say("data_sync_worker", text.format("shared.tasks.hartbeat"))
    (finding,), _ = judged(stack, "BEA006")
    assert (finding.severity, finding.certainty) == ("critical", "confirmed")


def test_a_worker_that_did_not_answer_may_know_the_task():
    """Four listen and three have answered."""
    evidence = unregistered().evidence()
    evidence.section("celery").data["brokers"][0]["asked"] = 4
    assert judged(evidence, "BEA006")[1].outcome == "unknown"


def test_a_worker_that_is_down_may_know_a_task_without_a_queue():
    """Those that answer do not know it; the one that does cannot answer."""
    stack = unregistered()
    stack.schedule["heartbeat"]["options"] = {}
    assert judged(stack, "BEA006")[1].outcome == "fired"
    assert judged(stack.loop("email_worker", 1, ["it ends"]), "BEA006")[1].outcome == "unknown"


# --- Twice --------------------------------------------------------------------------------------------------


def test_a_worker_with_b_beside_a_beat_loses_its_b():
    """The edit takes the one word out, and the worker is made anew."""
    (finding,), _ = judged(twice(), "BEA005")
    assert finding.services == ("celery_beat", "data_sync_worker") and finding.certainty == "confirmed"
    assert [(edit.old, edit.new) for edit in finding.remedy.edits] == [("worker -B", "worker")]
    assert finding.remedy.kind == "exact" and named(twice()) == (["beat-twice"], {})


def two_beats():
    """Flower's container starts a beat instead, with the same application and Celery's own scheduler."""
    stack = Scheduled(beat_scheduler="celery.beat:PersistentScheduler").sends(3)
    return stack.command("flower", stack.commands["celery_beat"])


def test_two_beats_of_their_own_are_a_choice():
    """Somebody says which one stays."""
    (finding,), _ = judged(two_beats(), "BEA005")
    assert [option.name for option in finding.remedy.options] == ["keep celery_beat", "keep flower"]
    assert finding.remedy.options[0].commands[0].startswith("docker rm -f ")


def test_two_beats_whose_scheduler_and_logs_are_not_known_are_unknown():
    """The scheduler may hold a lock."""
    stack = two_beats()
    stack.logs["celery_beat"] = stack.logs["celery_beat"][:4]
    evidence = without_section(stack.evidence(), "celery")
    assert judged(evidence, "BEA005")[1].outcome == "unknown"
    (finding,), _ = judged(stack, "BEA005")
    assert finding.certainty == "inferred"


def test_beats_with_a_lock_other_applications_or_other_entries_are_not_twice():
    """Only one of several RedBeats sends; another module has another schedule; so has another log."""
    assert judged(twice().replace_in_commands("beat --", "beat -S redbeat.RedBeatScheduler --", CELERY[:1])
                  .replace_in_commands("celery_app worker", "other_app worker"), "BEA005")[0] == ()
    stack = two_beats()
    stack.logs["flower"] = []
    stack.say("flower", SENDING.format(1, TASK).replace("heartbeat (", "nightly ("))
    assert judged(stack, "BEA005")[1].outcome == "quiet"


# --- Files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--pidfile=/var/run/beat.pid", "--pidfile /var/run/beat.pid"])
def test_a_pid_file_in_the_way_is_left_out_of_the_command(option):
    """The command names it, the exit code is its own, the log says it: confirmed, and cured by an edit."""
    (cause,) = causes.diagnose(pid_file(option).evidence()).cause_findings
    assert (cause.name, cause.object, cause.certainty) == (
        "pid-file-exists",
        "/var/run/beat.pid",
        "confirmed",
    )
    assert [(edit.old, edit.new) for edit in cause.remedy.edits] == [(option, "--pidfile=")]


def test_without_a_log_the_exit_code_tells_of_the_pid_file():
    """Celery ends with 73 for nothing else."""
    (finding,), _ = judged(pid_file().without_logs(), "BEA001")
    assert (finding.certainty, finding.object) == ("inferred", "/var/run/beat.pid")


@pytest.mark.parametrize("version", ["5.4", "5.6", "5.7"])
def test_a_schedule_file_that_may_not_be_written_gets_another_place(version):
    """The log speaks of corruption; the command, the folder and the user show what is meant."""
    found = causes.diagnose(denied(version).evidence())
    assert [cause.name for cause in found.cause_findings] == ["schedule-file-unusable"]
    (cause,) = found.cause_findings
    assert (cause.object, cause.certainty) == ("/app/celerybeat-schedule", "confirmed")
    assert "user celery" in cause.title
    assert [(edit.old, edit.new) for edit in cause.remedy.edits] == [
        ("beat", "beat --schedule=/tmp/celerybeat-schedule")
    ]


def test_a_named_schedule_file_is_exchanged_for_one_that_can_be_written():
    """On a volume it is a choice: the times of the last runs may matter."""
    stack = Incident().loop("celery_beat", 1, recorded("beat-schedule-not-writable_5.7"))
    stack.command("celery_beat", f"{stack.commands['celery_beat']} -s /nowhere/schedule")
    (finding,), _ = judged(stack, "BEA002")
    assert finding.remedy.kind == "exact" and finding.object == "/nowhere/schedule"
    assert [edit.new for edit in finding.remedy.edits] == ["--schedule=/tmp/celerybeat-schedule"]
    stack.item("celery_beat", mounts=[{"type": "volume", "source": "v", "target": "/nowhere", "rw": True}])
    (finding,), _ = judged(stack, "BEA002")
    assert [option.name for option in finding.remedy.options] == ["a file in /tmp", "keep it on the volume"]


@pytest.mark.parametrize("version", ["5.4", "5.6", "5.7"])
def test_a_corrupt_schedule_file_that_beat_made_anew_is_no_finding(version):
    """It says so and goes on."""
    stack = Incident()
    stack.lives["celery_beat"], stack.logs["celery_beat"] = [], []
    stack.life("celery_beat", TAKEN_S - 900, None, lines=recorded(f"beat-schedule-corrupt_{version}"))
    assert judged(stack, "BEA002") == ((), judged(Incident(), "BEA002")[1])


def test_nothing_of_this_holds_a_secret():
    """The proofs quote commands and logs, which are masked."""
    for build in FIRES.values():
        for finding in causes.diagnose(build().evidence()).findings:
            assert TOKEN not in " ".join(proof.text for proof in finding.proof)


def test_the_node_names_of_the_stack_are_those_of_its_workers():
    """A reply of a node that is no container of this stack tells no schedule."""
    stack = partial(Scheduled, done=300)
    evidence = stack().sends(301).evidence()
    for name, reply in evidence.section("celery").data["brokers"][0]["replies"].items():
        assert name.endswith(hostname(reply["label"]))
        reply["label"] = None
    findings, outcome = judged(evidence, "BEA003")
    assert (findings, outcome.outcome) == ((), "unknown")


def test_a_read_only_container_is_told_as_that_and_not_sent_to_its_tmp():
    """There /tmp cannot be written either: a tmpfs on the folder, or a container that can be written to."""
    stack = FIRES["BEA002"]().item("celery_beat", read_only=True, tmpfs=[])
    (finding,) = judge(RULES["BEA002"], Look(stack.evidence(), RULES["BEA002"]))[0]
    assert "its container is read-only" in finding.title
    assert [option.name for option in finding.remedy.options] == ["tmpfs", "writable-root"]


def test_a_full_disk_is_told_as_that():
    """Another name of the file would not help where there is no room (Celery 5.7, a tmpfs of 4 KiB)."""
    stack = Incident().loop("celery_beat", 1, [
        "[2026-11-28 22:14:52,039: INFO/MainProcess] beat: Starting...",
        "[2026-11-28 22:14:52,194: ERROR/MainProcess] Removing corrupted schedule file "
        "'/var/beat/celerybeat-schedule': error(28, 'No space left on device')",
        "Traceback (most recent call last):",
        '  File "/usr/lib/python3.11/dbm/__init__.py", line 95, in open',
        "    return mod.open(file, flag, mode)",
        "_dbm.error: [Errno 28] No space left on device: '/var/beat/celerybeat-schedule'",
        "[2026-11-28 22:18:18,917: CRITICAL/MainProcess] beat raised exception <class '_dbm.error'>: "
        "error(17, 'File exists')",
        "Traceback (most recent call last):",
        '  File "/usr/lib/python3.11/dbm/__init__.py", line 95, in open',
        "    return mod.open(file, flag, mode)",
        "_dbm.error: [Errno 17] File exists: '/var/beat/celerybeat-schedule'",
    ])  # fmt: skip
    stack.item("celery_beat", tmpfs=["/var/beat"])
    (finding,) = judge(RULES["BEA002"], Look(stack.evidence(), RULES["BEA002"]))[0]
    assert finding.title.endswith("/var/beat/celerybeat-schedule (the disk there is full)")
    assert finding.remedy.kind == "manual" and "the tmpfs at /var/beat" in finding.remedy.summary
