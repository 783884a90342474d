"""Health checks: whom they ask, whether they can pass, whether they end in time."""

from __future__ import annotations

import pytest
from evidence import APP, TAKEN_S, Incident, hostname

from celery_triage.causes import diagnose
from celery_triage.checks import RULES, Look, judge
from celery_triage.checks.health.probes import ping_of
from celery_triage.stack import Service

PING = f"celery -A {APP} inspect ping"
NOBODY = (1, 3.1, "Error: No nodes replied within time constraint\n")
GIVEN_UP = (-1, 5.0, "Health check exceeded timeout (5s)")


def cannot_pass():
    return Incident().health("celery_beat", f"{PING} -d beat@$HOSTNAME || exit 1", "unhealthy", [NOBODY] * 3)


def wrong_node():
    return Incident().health("email_worker", f"{PING} -d worker_name@$HOSTNAME || exit 1", "unhealthy",
                             [NOBODY] * 3)


def too_slow():
    stack = Incident().health("email_worker", f"{PING} -d email_worker@$HOSTNAME || exit 1", "unhealthy",
                              [GIVEN_UP] * 3, timeout_s=5.0)
    used = {"throttled": {"periods": 1000, "throttled_periods": 950}}
    stack.section("usage/email_worker", "ok", "", used)
    return stack.item("email_worker", limits={"memory": 512 * 2**20, "cpus": 0.1})


def other_worker():
    return Incident().health("email_worker", f"{PING} || exit 1")


def green_and_silent():
    """The ping of email_worker is answered by the others; its own worker was stopped."""
    stack = other_worker()
    idle = {"label": "email_worker", "address": "172.18.0.11:5", "command": "brpop", "connections": 1,
            "blocked": False, "idle_s": 40}
    stack.redis = {"consumers": [idle]}
    replies = {f"{label}@{hostname(label)}": {"label": label, "ms": 4.0, "stats": {}}
               for label in ("payment_worker", "data_sync_worker")}
    broker = {"key": "redis:6379/0", "status": "ok", "why": "", "asked": 3, "replies": replies}
    return stack.section("celery", "ok", "", {"brokers": [broker]})


FIRES = {
    "HLT001": cannot_pass,
    "HLT002": wrong_node,
    "HLT003": too_slow,
    "HLT004": other_worker,
}


def of_rule(code, stack):
    return judge(RULES[code], Look(stack.evidence(), RULES[code]))


def test_a_ping_on_beat_is_taken_away_by_one_edit():
    """`disable: true` in place of the test, in the line where it stands; then beat is made anew."""
    (finding,), _ = of_rule("HLT001", cannot_pass())
    assert finding.certainty == "confirmed" and finding.remedy.kind == "exact"
    assert finding.title == (
        f"The health check of celery_beat can never pass: it pings beat@{hostname('celery_beat')}, and only "
        "workers answer a ping"
    )
    (edit,) = finding.remedy.edits
    assert edit.old == f'test: ["CMD-SHELL", "{PING} -d beat@$$HOSTNAME || exit 1"]'
    assert edit.new == "disable: true" and edit.sha256
    assert finding.remedy.commands[-1].endswith("up -d --no-deps celery_beat")


def test_beat_that_is_still_starting_is_told_before_docker_tells_it():
    """The incident was called resolved at this moment: nothing was proven yet, and nothing could be."""
    stack = Incident()
    stack.lives["celery_beat"] = []
    stack.life("celery_beat", TAKEN_S - 56, None)
    stack.health("celery_beat", f"{PING} -d beat@$HOSTNAME || exit 1", "starting", [])
    diagnosis = diagnose(stack.evidence())
    (cause,) = diagnosis.cause_findings
    assert (cause.name, cause.certainty) == ("health-check-cannot-pass", "inferred")
    assert "unhealthy after about 150 s" in cause.detail
    assert diagnosis.verdict == "warning"
    assert diagnosis.settling == (
        "celery_beat: 94 s left of 150 s (its health check has not judged yet)",
    )


def test_a_check_that_has_passed_is_not_called_impossible():
    """Whatever we think of its name, somebody answered."""
    stack = Incident().health("celery_beat", f"{PING} -d beat@$HOSTNAME", "healthy", [NOBODY, (0, 1, "pong")])
    findings, outcome = of_rule("HLT001", stack)
    assert (findings, outcome.outcome) == ((), "quiet")


def test_a_check_in_the_image_or_behind_an_anchor_is_left_to_a_person():
    """No line of its own holds it: the text says what to write."""
    stack = cannot_pass()
    del stack.checks["celery_beat"]
    (finding,), _ = of_rule("HLT001", stack)
    assert finding.remedy.kind == "manual" and "disable: true" in finding.remedy.summary


def test_an_override_that_sets_only_the_interval_does_not_hide_the_test():
    """Compose merges the block key by key: the line to change stands in the base file."""
    stack = wrong_node()
    evidence = stack.evidence()
    compose = evidence.data("compose")
    lines = ["services:", "  email_worker:", "    healthcheck:", "      interval: 5s"]
    path = "/srv/ai_backend/docker-compose.override.yml"
    compose["files"].append({"path": path, "readable": True, "why": "", "lines": lines, "hashes": ["a"] * 4})
    node = {"file": 1, "line": 4, "end_line": 4, "col": 7, "value": {"interval": "5s"}, "masked": False}
    compose["services"]["email_worker"]["healthcheck"].append(node)
    (finding,), _ = judge(RULES["HLT002"], Look(evidence, RULES["HLT002"]))
    (edit,) = finding.remedy.edits
    assert finding.remedy.kind == "exact" and edit.file == "/srv/ai_backend/docker-compose.yml"


def test_a_check_that_services_share_is_left_to_a_person():
    """An anchor: what is right for one is wrong for the other."""
    evidence = wrong_node().evidence()
    services = evidence.data("compose")["services"]
    services["payment_worker"]["healthcheck"] = services["email_worker"]["healthcheck"]
    (finding,), _ = judge(RULES["HLT002"], Look(evidence, RULES["HLT002"]))
    assert finding.remedy.kind == "manual" and "-d email_worker@$$HOSTNAME" in finding.remedy.summary


def test_the_right_name_is_written_into_the_check_of_a_worker():
    """Only the name is changed, with both dollar signs."""
    (finding,), _ = of_rule("HLT002", wrong_node())
    (edit,) = finding.remedy.edits
    assert (edit.old, edit.new) == ("worker_name@$$HOSTNAME", "email_worker@$$HOSTNAME")
    assert f"its own name is email_worker@{hostname('email_worker')}" in finding.title


def test_a_worker_without_a_name_of_its_own_is_called_celery():
    """The check expects `-n email_worker@%h`, and the command does not give it."""
    stack = Incident().replace_in_commands(" -n email_worker@%h", "", ("email_worker",))
    stack.health("email_worker", f"{PING} -d email_worker@$HOSTNAME || exit 1", "unhealthy", [NOBODY] * 3)
    servers = {"nodes": [f"celery@{hostname('email_worker')}"]}
    stack.redis = servers
    stack.section("celery", "no_reply")
    (finding,), _ = of_rule("HLT002", stack)
    assert finding.remedy.edits[0].new == "celery@$$HOSTNAME"


@pytest.mark.parametrize("text,nodes", [
    (f"{PING} -d email_worker@$HOSTNAME || exit 1", ("email_worker@",)),
    (f"{PING} --destination=email_worker@${{HOSTNAME}}", ("email_worker@",)),
    (f"{PING} -d a@x,b@y", ("a@x", "b@y")),
    (f"{PING} | grep -q OK", ()),
    (f"celery -A {APP} status || exit 1", ()),
])  # fmt: skip
def test_the_nodes_that_a_check_asks_are_read_as_a_shell_does(text, nodes):
    """Both forms of the option, several names, the host name in any spelling."""
    item = Incident().health("email_worker", text).evidence().data("containers")["items"]
    service = Service(next(one for one in item if one["label"] == "email_worker"))
    own = hostname("email_worker")
    assert ping_of(service).nodes == tuple(n + own if n.endswith("@") else n for n in nodes)


@pytest.mark.parametrize("text", ["curl -f http://localhost:9091/metrics", "pg_isready -q", "test -f /tmp/x"])
def test_other_checks_are_no_pings(text):
    """Nothing is said of them."""
    item = Incident().health("email_worker", text).evidence().data("containers")["items"]
    assert ping_of(Service(next(one for one in item if one["label"] == "email_worker"))) is None


def test_a_check_that_a_tight_cpu_limit_slows_down_leaves_a_choice():
    """More processor time, or more time for the check."""
    (finding,), _ = of_rule("HLT003", too_slow())
    assert finding.title == (
        "The health check of email_worker runs out of time: the last 3 times in a row it was given up after "
        "5 s (CPU limit 0.1)"
    )
    assert [option.name for option in finding.remedy.options] == ["raise-cpu-limit", "lengthen-timeout"]
    (edit,) = finding.remedy.options[1].edits
    assert (edit.old, edit.new) == ("timeout: 5s", "timeout: 15s")
    assert finding.remedy.options[0].commands[-1] == "docker update --cpus 0.5 ai_backend_email_worker"


def test_one_probe_that_took_too_long_is_not_told():
    """The machine was busy for a moment."""
    stack = Incident().health("email_worker", PING + " -d email_worker@$HOSTNAME", "healthy",
                              [(0, 1.1, "pong"), GIVEN_UP], timeout_s=5.0)
    assert of_rule("HLT003", stack)[0] == ()


def test_a_ping_that_waits_for_a_dead_broker_is_not_called_slow():
    """The broker's own rule speaks."""
    stack = too_slow()
    stack.redis = {"status": "unreachable", "why": "refused", "error_kind": "refused"}
    assert of_rule("HLT003", stack)[0] == ()


@pytest.mark.parametrize("throttled,severity", [(0.9, "warning"), (0.02, "notice")])
def test_the_cpu_limit_is_blamed_by_its_own_counters(throttled, severity):
    """A machine with too much to do slows every check down; no limit of this service would help."""
    data = {"throttled": {"periods": 1000, "throttled_periods": int(1000 * throttled)}}
    (finding,), _ = of_rule("HLT003", too_slow().section("usage/email_worker", "ok", "", data))
    assert finding.severity == severity
    assert finding.proof[-1].text.endswith(f"in {throttled:.0%} of all periods")


def test_an_unlimited_service_gets_more_time_only():
    """A time-out that no ping can keep is wrong on any machine."""
    stack = too_slow().item("email_worker", limits={"memory": 0, "cpus": 0})
    stack.items["email_worker"]["healthcheck"]["timeout_s"] = 1.0
    (finding,), _ = of_rule("HLT003", stack)
    assert "CPU" not in finding.title and finding.severity == "warning"
    assert [option.name for option in finding.remedy.options] == ["lengthen-timeout"]


def test_a_ping_that_anybody_answers_is_worth_a_notice():
    """Nothing is wrong yet; so it is no cause."""
    diagnosis = diagnose(other_worker().evidence())
    (finding,) = [one for one in diagnosis.findings if one.code == "HLT004"]
    assert finding.severity == "notice" and diagnosis.verdict == "ok"
    assert (finding.remedy.edits[0].old, finding.remedy.edits[0].new) == (
        "inspect ping", "inspect ping -d email_worker@$$HOSTNAME",
    )


def test_a_check_that_is_green_while_its_own_worker_is_silent_is_a_warning():
    """Docker says healthy, the worker answers nothing: the others answered for it."""
    findings, _ = of_rule("HLT004", green_and_silent())
    (finding,) = findings
    assert (finding.severity, finding.certainty) == ("warning", "confirmed")
    assert "green while its own worker is silent" in finding.title


def test_the_only_worker_of_a_stack_may_be_pinged_without_a_name():
    """Nobody else can answer for it."""
    stack = other_worker()
    evidence = stack.evidence()
    data = evidence.data("containers")
    gone = ("payment_worker", "data_sync_worker")
    data["items"] = [one for one in data["items"] if one["label"] not in gone]
    evidence.data("redis")["servers"][0]["nodes"] = [f"email_worker@{hostname('email_worker')}"]
    evidence.data("celery")["brokers"][0]["replies"] = {}
    findings, outcome = judge(RULES["HLT004"], Look(evidence, RULES["HLT004"]))
    assert (findings, outcome.outcome) == ((), "quiet")


def test_a_ping_that_nobody_answers_is_not_also_called_slow():
    """One cause: whom it asks. That it took too long follows."""
    stack = Incident().health("celery_beat", f"{PING} -d beat@$HOSTNAME", "unhealthy", [GIVEN_UP] * 3,
                              timeout_s=5.0)
    (cause,) = diagnose(stack.evidence()).cause_findings
    assert cause.name == "health-check-cannot-pass"


def test_a_node_that_lives_elsewhere_is_somebody():
    """The broker knows the name: the check passes when that one answers."""
    stack = wrong_node()
    stack.redis = {"nodes": [f"worker_name@{hostname('email_worker')}"]}
    assert of_rule("HLT002", stack)[0] == ()
    assert of_rule("HLT004", stack)[0][0].severity == "notice"


def test_times_of_a_former_life_do_not_count():
    """The container was made anew since these probes."""
    stack = too_slow()
    stack.lives["email_worker"] = []
    stack.life("email_worker", TAKEN_S - 5, None)
    assert of_rule("HLT003", stack)[0] == ()


# --- Limits against use -------------------------------------------------------------------------------------


def used(label, memory=200, limit=512, **facts):
    """A stack in which one service uses so much memory (MiB)."""
    data = {"running": True, "memory": memory * 2**20, "memory_limit": limit * 2**20, "cpus_limit": 0.5,
            "failed": 0, "throttled": {"periods": 5000, "throttled_periods": 50}, **facts}
    return Incident().section(f"usage/{label}", "ok", "", data)


def full():
    return used("email_worker", 470)


def killed_child():
    stack = Incident()
    stack.say("email_worker", "[2026-11-23 14:14:03,101: ERROR/MainProcess] Process 'ForkPoolWorker-3' "
              "pid:12 exited with 'signal 9 (SIGKILL)'")
    return stack.event("oom", "email_worker", TAKEN_S - 60)


FIRES |= {"HLT005": full, "HLT006": killed_child}


def test_little_room_is_told_before_the_kernel_makes_it():
    """How much, of what, with how many processes; fewer of them or more memory."""
    (cause,) = diagnose(full().evidence()).cause_findings
    assert cause.title == (
        "email_worker uses 470 of its 512 MiB with 4 pool processes: the next one that grows is killed"
    )
    assert [option.name for option in cause.remedy.options] == ["lower-concurrency", "raise-limit"]


@pytest.mark.parametrize("memory,outcome", [(250, "quiet"), (430, "quiet"), (440, "fired")])
def test_room_counts_from_the_limit(memory, outcome):
    """85 % of it."""
    assert of_rule("HLT005", used("email_worker", memory))[1].outcome == outcome


def test_processes_that_may_still_start_must_fit_too():
    """--autoscale=20,4: sixteen more of the size of the present ones."""
    stack = used("email_worker", 200)
    stack.replace_in_commands("--concurrency=4", "--autoscale=20,4", ("email_worker",))
    (finding,), _ = of_rule("HLT005", stack)
    assert finding.certainty == "inferred" and "may start 20 pool processes" in finding.title


def test_a_cpu_limit_that_starves_its_processes_is_told():
    """Half of the time that it had work it was held back."""
    stack = used("email_worker", throttled={"periods": 5000, "throttled_periods": 4000})
    (finding,), _ = of_rule("HLT005", stack)
    assert (finding.object, finding.severity) == ("processor", "warning") and "80%" in finding.title
    young = used("email_worker", throttled={"periods": 300, "throttled_periods": 290})
    assert of_rule("HLT005", young)[0] == ()


def test_a_child_that_was_killed_is_told_although_nothing_restarted():
    """The event, and what the worker says of it."""
    (cause,) = diagnose(killed_child().evidence()).cause_findings
    assert cause.name == "child-out-of-memory" and "last 60 s ago; the main process lives on" in cause.title
    assert [proof.section for proof in cause.proof] == ["events", "logs/email_worker"]


def test_a_main_process_that_was_killed_is_the_other_rule():
    """Exit code 137: not a child."""
    stack = Incident().loop("email_worker", 137, ["x"], lived=30, oom=True)
    assert of_rule("HLT006", stack)[0] == ()


def test_a_child_that_was_killed_hours_ago_is_worth_a_notice():
    """The worker has lived well since."""
    findings, _ = of_rule("HLT006", Incident().event("oom", "email_worker", TAKEN_S - 7200))
    assert findings[0].severity == "notice"


def test_events_that_the_engine_has_lost_leave_it_open():
    """Unless the kernel never saw the container at its limit."""
    for failed, outcome in ((0, "quiet"), (7, "unknown")):
        evidence = used("email_worker", failed=failed).evidence()
        events = evidence.data("events")
        events["full"], events["items"] = True, [one for one in events["items"] if one["label"] == "none"]
        events["items"] = [{"t": "2026-11-23T14:00:00Z", "action": "exec_start", "label": "redis"}]
        _, told = judge(RULES["HLT006"], Look(evidence, RULES["HLT006"]))
        assert told.outcome == outcome


# --- a program that is not in the image ------------------------------


def without_curl(output="/bin/sh: 1: curl: not found", code=1, label="email_worker", **check):
    test = "curl -fs http://localhost:9091/metrics || exit 1"
    return Incident().health(label, test, "unhealthy", [(code, 0.1, output)] * 3, **check)


FIRES["HLT007"] = without_curl


@pytest.mark.parametrize(
    "output",
    [
        "/bin/sh: 1: curl: not found\n",
        "/bin/sh: curl: not found",
        "bash: line 1: curl: command not found",
        'OCI runtime exec failed: exec failed: unable to start container process: exec: "curl": executable '
        "file not found in $PATH: unknown",
    ],
)
def test_a_check_whose_program_is_not_in_the_image_can_never_pass(output):
    """By the words of dash, busybox, bash and of the engine itself; a worker may be asked by a ping."""
    (finding,), _ = judge(RULES["HLT007"], Look(without_curl(output).evidence(), RULES["HLT007"]))
    assert (finding.object, finding.services) == ("curl", ("email_worker",))
    ping = next(option for option in finding.remedy.options if option.name == "ask-the-worker")
    assert ping.edits[0].new == (
        f'test: ["CMD-SHELL", "celery -A {APP} inspect ping -d email_worker@$$HOSTNAME || exit 1"]'
    )
    assert ping.commands[0].endswith("up -d --no-deps email_worker")


@pytest.mark.parametrize(
    "stack",
    [
        without_curl("curl: (7) Failed to connect to localhost port 9091", 7),
        without_curl("/bin/sh: 1: jq: not found"),
        Incident().health("email_worker", "curl -f http://localhost", "unhealthy",
                          [(0, 0.1, ""), (127, 0.1, "sh: 1: curl: not found")]),
        without_curl(retries=5),
    ],
)
def test_another_failure_of_a_check_is_not_a_missing_program(stack):
    """A refused connection, another program's words, a check that passed before, too few failures."""
    findings, outcome = judge(RULES["HLT007"], Look(stack.evidence(), RULES["HLT007"]))
    assert (findings, outcome.outcome) == ((), "quiet")


def test_beat_is_not_asked_by_a_ping():
    """It answers none: the check goes, or its program comes."""
    stack = without_curl(label="celery_beat")
    (finding,), _ = judge(RULES["HLT007"], Look(stack.evidence(), RULES["HLT007"]))
    assert [option.name for option in finding.remedy.options] == ["no-check", "install"]
