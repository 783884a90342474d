"""Restarts: loops, containers that do not run."""

from __future__ import annotations

import pytest
from evidence import NO_DATABASE, OPTION, WORKERS, Incident, iso, ready

from celery_triage.causes import diagnose
from celery_triage.checks import RULES, Look, judge


def looping():
    return Incident().loop("email_worker", 3, ["Weird: 17"], times=5)


def stopped(code=0, status="exited", **sample):
    stack = Incident()
    stack.lives["email_worker"] = [{"start": 10.0, "end": 8000.0, "exit": code, "oom": False}]
    return stack.item(
        "email_worker", sample={"status": status, "exit_code": code, "finished_at": iso(8000), **sample}
    )


FIRES = {"CTR001": looping, "CTR003": stopped}


def alone(code, stack):
    findings, _ = judge(RULES[code], Look(stack.evidence(), RULES[code]))
    return [finding for finding in findings if finding.state != "history"]


def test_a_loop_tells_how_often_how_long_and_how_it_ends():
    """Count, length of a life and exit code, in one sentence."""
    (finding,) = alone("CTR001", looping())
    assert finding.title == "email_worker restarts for ever: 5 times so far, each life about 2 s, exit code 3"


def test_a_death_between_the_last_sample_and_the_end_of_the_look_heals_nothing():
    """The sample still says that it runs, the engine's events tell its end: it restarts as before."""
    (finding,) = alone("CTR001", looping().item("email_worker", sample={"status": "running"}))
    assert finding.services == ("email_worker",) and finding.state != "history"


def test_a_service_without_restart_policy_does_not_loop():
    """It stays down: that is another rule's."""
    stack = looping().item("email_worker", restart_policy={"name": "no", "max": 0})
    assert alone("CTR001", stack) == []


def test_a_loop_that_nothing_explains_is_a_cause_with_its_last_words():
    """What the service said last is shown, and nothing is concluded from it."""
    diagnosis = diagnose(looping().evidence())
    assert [cause.name for cause in diagnosis.cause_findings] == ["unrecognised-death"]
    assert diagnosis.finding("f2").explained_by == "f1"


def test_a_service_that_runs_longer_than_it_ever_died_has_a_history_only():
    """Restarted twice an hour ago, well since."""
    stack = Incident()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    stack.life("email_worker", 100, 103, 1, ["Weird: 17"]).life("email_worker", 110, 113, 1, ["Weird: 17"])
    stack.life("email_worker", 120, None, lines=ready("email_worker"))
    diagnosis = diagnose(stack.evidence())
    assert diagnosis.verdict == "ok" and [f.state for f in diagnosis.findings] == ["history"]


def test_a_stop_by_hand_is_no_failure():
    """`docker restart` ends a worker with exit code 0, or 137 where it takes too long."""
    stack = Incident()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    stack.life("email_worker", 100, 8000, 0).life("email_worker", 8001, None, lines=ready("email_worker"))
    assert alone("CTR001", stack) == []


@pytest.mark.parametrize("code", [0, 143])
def test_a_service_that_somebody_stopped_is_started(code):
    """Exit codes of an orderly end: the remedy is to start it."""
    (finding,) = alone("CTR003", stopped(code))
    assert finding.remedy.kind == "exact" and finding.remedy.commands == (
        "docker start ai_backend_email_worker",
    )


def test_a_service_that_died_is_not_just_started():
    """First it has to be known why."""
    (finding,) = alone("CTR003", stopped(139))
    assert finding.remedy.kind == "manual" and "exit code 139" in finding.title


def test_a_paused_service_is_let_go_on():
    """It lives, and does nothing."""
    (finding,) = alone("CTR003", stopped(0, "paused"))
    assert (finding.name, finding.remedy.commands) == ("paused", ("docker unpause ai_backend_email_worker",))


def test_a_container_that_died_of_a_cause_without_restart_policy_is_explained_by_it():
    """It does not run, for its option is wrong."""
    stack = Incident().replace_in_commands("--queues ", "--queue=")
    for label in WORKERS:
        stack.loop(label, 2, OPTION, times=1)
        stack.item(label, restart_policy={"name": "no", "max": 0}, sample={"status": "exited"})
    diagnosis = diagnose(stack.evidence())
    assert [cause.name for cause in diagnosis.cause_findings] == ["unknown-option"]
    assert {f.name for f in diagnosis.findings if f.explained_by} == {"no-restart-policy"}


# --- nothing starts it again ------------------------------


def died(policy, code=1, count=0, lines=NO_DATABASE):
    """A worker that ended with an error and is not started again."""
    stack = Incident()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    stack.life("email_worker", 7000, 7012, code, lines)
    return stack.item(
        "email_worker", restart_policy=policy, sample={"status": "exited", "restart_count": count}
    )


@pytest.mark.parametrize(
    ("policy", "count", "name", "thing"),
    [
        ({"name": "no", "max": 0}, 0, "no-restart-policy", "no"),
        ({"name": "on-failure", "max": 3}, 3, "restarts-used-up", "on-failure:3"),
    ],
)
def test_a_service_that_ended_once_for_a_passing_reason_needs_a_restart_policy(policy, count, name, thing):
    """The database is there by now; nothing tries again. The line goes into the file, too."""
    diagnosis = diagnose(died(policy, count=count).evidence())
    (cause,) = diagnosis.cause_findings
    assert (cause.name, cause.object, cause.severity) == (name, thing, "critical")
    assert any("does not exist" in proof.text for proof in cause.proof)
    assert cause.remedy.commands == (
        "docker update --restart unless-stopped ai_backend_email_worker",
        "docker start ai_backend_email_worker",
    )


def test_a_kill_of_which_nobody_tells_may_have_been_a_person():
    """`docker stop` kills what does not end in time: without the event that says so, a container that was
    killed has not "ended", and its restart policy is not the cause; with the event of its end, it is."""
    stack = died({"name": "no", "max": 0}, 137)
    (seen,) = alone("CTR003", stack)
    assert seen.name == "no-restart-policy"
    gone = {"since": iso(8000), "until": iso(8060), "full": True, "items": []}
    (finding,) = alone("CTR003", stack.section("events", "ok", "", gone))
    assert (finding.name, finding.remedy.kind) == ("not-running", "manual")
    assert "whether somebody stopped it is not known" in finding.title


@pytest.mark.parametrize("readable", [True, False], ids=["unknown last words", "no log"])
def test_no_policy_cures_what_nobody_knows(readable):
    """A worker that ended for a reason that no log names may end for it again: to start it for ever is no
    remedy."""
    stack = died({"name": "no", "max": 0}, 2, lines=["it works"])
    if not readable:
        stack.section("logs/email_worker", "denied", "log driver none keeps no logs")
    (finding,) = alone("CTR003", stack)
    assert (finding.name, finding.remedy.kind) == ("not-running", "manual")


def test_a_restart_policy_is_written_where_none_stands():
    """Below a line that is the service's alone, with its indent."""
    stack = died({"name": "no", "max": 0}).evidence()
    nodes = stack.section("compose").data["services"]["email_worker"]
    nodes.pop("restart", None)
    look = Look(stack, RULES["CTR003"])
    (finding,) = judge(RULES["CTR003"], look)[0]
    (edit,) = finding.remedy.edits
    assert edit.new == f"{edit.old}\n    restart: unless-stopped"


def test_a_policy_that_still_tries_is_not_blamed():
    """Docker is only waiting for its next start, or somebody stopped it: no policy is missing."""
    for stack in (
        died({"name": "on-failure", "max": 5}, count=2),
        died({"name": "unless-stopped", "max": 0}),
        died({"name": "no", "max": 0}, code=143),
    ):
        (finding,) = alone("CTR003", stack)
        assert finding.name == "not-running"


# --- ends well, and should not end ------------------------------


def ends_well(lived=0.8, times=5, status="restarting"):
    stack = Incident().command("email_worker", "celery --version")
    return stack.loop("email_worker", 0, ["5.6.3 (recovery)"], lived, times).item(
        "email_worker", sample={"status": status}
    )


FIRES["CTR004"] = ends_well


def test_a_loop_of_good_ends_is_told_with_its_command():
    """Every exit code is 0, so nothing else says anything."""
    diagnosis = diagnose(ends_well().evidence())
    assert [cause.name for cause in diagnosis.cause_findings] == ["exits-with-zero"]
    assert diagnosis.cause_findings[0].object == "celery --version"
    assert "5 times so far, each life about 1 s, exit code 0 each time" in diagnosis.cause_findings[0].title


def test_a_worker_that_detaches_itself_is_told_to_stay():
    """Its parent ends well at once, and the container with it."""
    words = "celery -A shared.infrastructure.celery_app worker --detach -Q email_processing"
    diagnosis = diagnose(ends_well(lived=4).command("email_worker", words).evidence())
    (cause,) = diagnosis.cause_findings
    assert (cause.name, cause.object) == ("exits-with-zero", "--detach")
    assert "Take --detach out of the command of email_worker" in cause.remedy.summary
    assert not any(line.startswith("email_worker") for line in diagnosis.settling)


@pytest.mark.parametrize("name", ["no", "on-failure"])
def test_a_job_that_ends_well_is_no_loop(name):
    """It is not started again, or only after an error."""
    assert alone("CTR004", ends_well().item("email_worker", restart_policy={"name": name, "max": 0})) == []


def test_a_worker_that_was_stopped_and_started_by_hand_is_no_loop():
    """Three deployments end with exit code 0, too: the present life goes on."""
    stack = Incident()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    for start in (100, 2000, 5000):
        stack.life("email_worker", start, start + 900, 0, ready("email_worker"))
    stack.life("email_worker", 7000, None, lines=ready("email_worker"))
    assert alone("CTR004", stack) == []


# --- was never started ------------------------------

ALLOCATED = (
    "driver failed programming external connectivity on endpoint ai_backend_flower (0cc4): Bind for "
    "127.0.0.1:5555 failed: port is already allocated"
)
IN_USE = "driver failed programming external connectivity: Error starting userland proxy: listen tcp4 " + (
    "0.0.0.0:5555: bind: address already in use"
)


def never_started(error="", **item):
    stack = Incident()
    stack.lives["flower"] = [{"start": -1.0, "end": -1.0, "exit": 0, "oom": False}]
    stack.logs["flower"], stack.happened = [], []
    sample = {"status": "created", "error": error, "started_at": "0001-01-01T00:00:00Z", "exit_code": 128}
    return stack.item("flower", sample=sample, **item)


def port_taken(error=ALLOCATED):
    redis = [{"container": 6379, "proto": "tcp", "host": "127.0.0.1:5555"}]
    return never_started(error).item("redis", ports=redis)


def waiting(condition="service_healthy"):
    stack = never_started(labels={
        "com.docker.compose.service": "flower", "com.docker.compose.project": "ai_backend",
        "com.docker.compose.depends_on": f"email_worker:{condition}:false",
    })
    return stack.health("email_worker", "curl -f http://localhost", "unhealthy", [(7, 0.1, "refused")] * 3)


FIRES |= {"CTR005": port_taken, "CTR006": waiting}


@pytest.mark.parametrize("error", [ALLOCATED, IN_USE])
def test_a_port_that_is_taken_is_named_with_who_has_it(error):
    """By the engine's own words; another published port is the next one that no container has."""
    (finding,) = alone("CTR005", port_taken(error))
    assert (finding.object, finding.services) == ("5555", ("flower",))
    assert "redis publishes it" in finding.title
    assert "5556" in finding.remedy.options[0].summary


def test_a_container_that_waits_for_an_unhealthy_one_names_it():
    """Docker shows `Created` and no reason."""
    (finding,) = alone("CTR006", waiting())
    assert finding.object == "email_worker" and "which is unhealthy" in finding.title
    diagnosis = diagnose(waiting().evidence())
    told = {one.name: one.explained_by for one in diagnosis.findings}
    assert told["waits-for-dependency"] is None and told.get("not-running") is not None


@pytest.mark.parametrize("condition", ["service_started", "service_completed_successfully"])
def test_a_condition_that_holds_is_not_blamed(condition):
    """The other one runs, and no more was asked for."""
    assert alone("CTR006", waiting(condition)) == []


def test_a_container_that_was_just_made_is_being_started():
    """Compose makes all of them before it starts the first: that is settling, and no cause."""
    stack = waiting().item("flower", created=iso(8100))
    assert alone("CTR006", stack) == [] and alone("CTR003", stack) == []
    diagnosis = diagnose(stack.evidence())
    assert any(line.startswith("flower: not started yet (it was made ") for line in diagnosis.settling)


def test_a_container_whose_dependency_is_still_starting_is_settling():
    """Compose waits for minutes where a health check has a long start period, and starts it then."""
    stack = waiting().health("email_worker", "curl -f http://localhost", "starting", [])
    assert alone("CTR006", stack) == [] and alone("CTR003", stack) == []
    settling = diagnose(stack.evidence()).settling
    assert "flower: not started yet (it waits until email_worker is healthy)" in settling


def test_a_container_that_was_never_started_although_nothing_is_missing_is_not_running():
    """Whoever waited was interrupted, and its dependency got well later: nobody starts it any more."""
    stack = waiting().health("email_worker", "curl -f http://localhost", "healthy", [])
    assert alone("CTR006", stack) == []
    (finding,) = alone("CTR003", stack)
    assert finding.services == ("flower",) and "was made and never started" in finding.title


# --- may not write ------------------------------


def refused(words="OSError: [Errno 30] Read-only file system: '/var/lib/prometheus/counter_1.db'", **item):
    lines = ["Traceback (most recent call last):", '  File "/app/shared/metrics.py", line 3, in install',
             "    open(path)", words]
    facts = {"read_only": True, "user": "celery", "tmpfs": [], **item}
    return Incident().loop("email_worker", 1, lines).item("email_worker", **facts)


FIRES["CTR007"] = refused
DENIED = "PermissionError: [Errno 13] Permission denied: '/var/metrics/counter_1.db'"
VOLUME = {"type": "volume", "source": "metrics", "target": "/var/metrics", "rw": True}


def test_a_read_only_container_gets_a_tmpfs_or_is_opened():
    """The folder is named, not the file, whose name holds a process id."""
    diagnosis = diagnose(refused().evidence())
    (cause,) = diagnosis.cause_findings
    assert (cause.name, cause.object, cause.certainty) == ("not-writable", "/var/lib/prometheus", "confirmed")
    assert [option.name for option in cause.remedy.options] == ["tmpfs", "writable-root"]


def test_a_volume_of_root_is_given_to_the_user_of_the_image():
    """Once, as root, in a container of its own."""
    (finding,) = alone("CTR007", refused(DENIED, read_only=False, mounts=[VOLUME]))
    assert finding.object == "/var/metrics" and "the volume metrics" in finding.title
    assert "--entrypoint chown" in finding.remedy.commands[0] and finding.remedy.kind == "exact"


def test_a_folder_of_the_image_is_a_matter_of_its_dockerfile():
    """Nothing is mounted there."""
    (finding,) = alone("CTR007", refused(DENIED, read_only=False))
    assert finding.remedy.kind == "manual" and "runs as celery" in finding.title


def test_a_mount_that_is_read_only_is_told_as_that():
    """`:ro` behind the volume."""
    words = "OSError: [Errno 30] Read-only file system: '/var/metrics/a'"
    (finding,) = alone("CTR007", refused(words, read_only=False, mounts=[{**VOLUME, "rw": False}]))
    assert "mounted read-only" in finding.title and finding.certainty == "confirmed"


def test_a_job_that_works_for_an_hour_and_begins_again_is_no_loop():
    """A poor man's cron: a shell that works, sleeps and ends well, with `restart: always`."""
    stack = ends_well(lived=900, times=3).command("email_worker", "sh -c 'backup; sleep 800'")
    stack.env["email_worker"].clear()
    assert alone("CTR004", stack) == []
    assert len(alone("CTR004", ends_well(lived=900, times=3))) == 1


@pytest.mark.parametrize(
    "words",
    [
        "celery.platforms.LockFailed: [Errno 30] Read-only file system: '/tmp/email.pid'",
        "_dbm.error: [Errno 30] Read-only file system: '/tmp/email.state'",
    ],
)
def test_a_pid_or_state_file_of_a_worker_is_told_alike(words):
    """`--pidfile` and `--statedb` fail in words of their own (Celery 5.7); neither is beat's schedule."""
    frame = '  File "/usr/lib/python3.11/dbm/__init__.py", line 95, in open'
    lines = ["Traceback (most recent call last):", frame, "    return mod.open(file, flag, mode)", words]
    stack = Incident().loop("email_worker", 1, lines)
    diagnosis = diagnose(stack.item("email_worker", read_only=True, tmpfs=[]).evidence())
    assert [(one.name, one.object) for one in diagnosis.cause_findings] == [("not-writable", "/tmp")]


def test_a_command_that_ends_by_design_is_told_when_the_engine_has_forgotten_its_ends():
    """Health checks of others fill the 256 events; restart count, log and command are still there."""
    stack = Incident().command("email_worker", "celery --version")
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    stack.life("email_worker", 8040, None, lines=["5.6.3 (recovery)"])
    for at in (7800, 7860, 7920, 7980):
        stack.logs["email_worker"].insert(0, [iso(at), "out", "5.6.3 (recovery)"])
    stack.logs["email_worker"].sort()
    stack.item("email_worker", sample={"restart_count": 5, "finished_at": iso(8039)})
    evidence = stack.evidence()
    (finding,) = judge(RULES["CTR004"], Look(evidence, RULES["CTR004"]))[0]
    assert (finding.certainty, finding.object) == ("inferred", "celery --version")
    assert "forgotten" in finding.title
