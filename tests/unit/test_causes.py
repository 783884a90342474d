"""The ranking: what explains what, what stops a service now, in which order, and what it comes to."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from evidence import (
    CELERY,
    NO_DATABASE,
    NO_DATABASE_BEAT,
    NO_DRIVER,
    NO_DRIVER_BEAT,
    NO_FLOWER,
    OPTION,
    QUEUES,
    WORKERS,
    Incident,
    backend_reboot,
    iso,
    ready,
)

from celery_triage import causes
from celery_triage.causes import diagnose, is_cause, rank
from celery_triage.checks import RULES, run
from celery_triage.checks.steps import STEPS
from celery_triage.explain.codes import log_codes
from celery_triage.model import Finding, Section, dumps


def told(diagnosis):
    """The causes as (name, state, object)."""
    return [(cause.name, cause.state, cause.object) for cause in diagnosis.cause_findings]


def by_name(diagnosis, name):
    return next(finding for finding in diagnosis.findings if finding.name == name)


def faulty(option=False, driver=False, database=False, flower=False, celery="5.6.3", logs=True):
    """The incident's stack with any of its four faults, each service dying of the first that it meets."""
    stack = Incident(celery)
    if flower:
        stack.package("flower", False).loop("flower", 2, NO_FLOWER)
    if driver:
        stack.url("CELERY_RESULT_BACKEND", "postgresql+psycopg", "postgresql")
    if database:
        del stack.databases["ai_backend"]
    early = tuple(map(int, celery.split(".")[:2])) >= (5, 5)
    for label in WORKERS:
        if option:
            stack.replace_in_commands(f"--queues {QUEUES[label]}", f"--queue={QUEUES[label]}", (label,))
            stack.loop(label, 2, OPTION)
        elif driver and early:
            stack.loop(label, 1, NO_DRIVER)
        elif database and early:
            stack.loop(label, 1, NO_DATABASE, lived=4)
    if driver and early:
        stack.loop("celery_beat", 1, NO_DRIVER_BEAT)
    elif database and early:
        stack.loop("celery_beat", 1, NO_DATABASE_BEAT, lived=4)
    return stack if logs else stack.without_logs()


# --- The incident ------------------------------------------------------------------------------------------


def test_the_incident_has_four_causes_in_order_of_what_they_stop_and_one_is_latent():
    """Workers die of the option, beat of the driver, Flower of its absence; the database waits behind."""
    diagnosis = diagnose(backend_reboot().evidence())
    assert told(diagnosis) == [
        ("unknown-option", "active", "--queue"),
        ("driver-not-installed", "active", "psycopg2"),
        ("flower-not-installed", "active", "flower"),
        ("database-missing", "latent", "ai_backend"),
    ]
    assert diagnosis.verdict == "critical"


def test_a_cause_is_active_where_it_stops_a_service_and_latent_where_another_stops_it_first():
    """The missing driver stops beat; on the workers the option comes before it, on Flower the command."""
    driver = by_name(diagnose(backend_reboot().evidence()), "driver-not-installed")
    assert driver.service_states == {
        "celery_beat": "active",
        "data_sync_worker": "latent",
        "email_worker": "latent",
        "flower": "latent",
        "payment_worker": "latent",
    }


def test_without_any_log_the_incident_has_the_same_causes():
    """Command, image and server tell the same as the logs did; only the certainty may be less."""
    with_logs, without = (
        diagnose(stack.evidence()) for stack in (backend_reboot(), backend_reboot().without_logs())
    )
    assert told(without) == told(with_logs)
    assert [c.services for c in without.cause_findings] == [c.services for c in with_logs.cause_findings]


def test_each_restart_loop_of_the_incident_is_explained_by_what_stops_that_service():
    """A loop is the consequence of the one active cause of its service."""
    diagnosis = diagnose(backend_reboot().evidence())
    explained = {
        finding.services[0]: diagnosis.finding(finding.explained_by).name
        for finding in diagnosis.findings
        if finding.name == "restart-loop"
    }
    assert explained == {
        "celery_beat": "driver-not-installed",
        "flower": "flower-not-installed",
        **dict.fromkeys(WORKERS, "unknown-option"),
    }


@pytest.mark.parametrize("logs", [True, False], ids=["logs", "no-logs"])
@pytest.mark.parametrize("celery", ["5.4.0", "5.6.3", "5.7.0"])
@pytest.mark.parametrize("option,driver,database,flower", list(itertools.product([False, True], repeat=4)))
def test_every_combination_of_the_four_faults_is_told_apart(option, driver, database, flower, celery, logs):
    """All faults are found, none is invented, and each is active exactly where nothing strikes earlier."""
    diagnosis = diagnose(faulty(option, driver, database, flower, celery, logs).evidence())
    early = celery != "5.4.0"
    expected = set()
    if option:
        expected.add(("unknown-option", "active"))
    if flower:
        expected.add(("flower-not-installed", "active"))
    if driver:
        expected.add(("driver-not-installed", "latent" if option and not early else "active"))
    if database:
        hidden = driver or (option and not early)
        expected.add(("database-missing", "latent" if hidden else "active"))
    found = {(cause.name, cause.state) for cause in diagnosis.cause_findings}
    assert found == expected
    assert diagnosis.verdict == ("critical" if expected else "ok")


def test_up_to_celery_5_4_a_missing_database_is_active_though_every_service_runs():
    """Nothing dies and no log speaks, yet no result can be stored: the server was asked."""
    diagnosis = diagnose(faulty(database=True, celery="5.4.0").evidence())
    (cause,) = diagnosis.cause_findings
    assert (cause.name, cause.state, cause.certainty) == ("database-missing", "active", "inferred")
    assert cause.service_states["email_worker"] == "active"
    assert cause.service_states["celery_beat"] == cause.service_states["flower"] == "latent"
    assert "no result can be stored" in cause.title


def test_a_latent_cause_is_never_called_confirmed():
    """What has not come to work cannot have been seen at work."""
    for logs in (True, False):
        diagnosis = diagnose(faulty(True, True, True, True, logs=logs).evidence())
        latent = [cause for cause in diagnosis.cause_findings if cause.state == "latent"]
        assert latent and all(cause.certainty == "inferred" for cause in latent)


# --- What is no cause ---------------------------------------------------------------------------------------


def test_a_healthy_stack_has_no_finding_at_all():
    """Nothing found, nothing settling, and every rule could look, but those about a RabbitMQ that is not
    there."""
    diagnosis = diagnose(Incident().evidence())
    assert (diagnosis.verdict, diagnosis.findings, diagnosis.settling) == ("ok", (), ())
    elsewhere = [outcome for outcome in diagnosis.outcomes if outcome.outcome == "not_applicable"]
    assert {outcome.why for outcome in elsewhere} == {"no service uses RabbitMQ as its broker"}
    assert {outcome.outcome for outcome in diagnosis.outcomes if outcome not in elsewhere} == {"quiet"}


def test_queues_with_an_equals_sign_are_valid():
    """`--queues=name` was called the cause of the incident; it is none."""
    stack = Incident()
    for label, queue in QUEUES.items():
        stack.replace_in_commands(f"--queues {queue}", f"--queues={queue}", (label,))
    assert diagnose(stack.evidence()).findings == ()


def test_an_error_that_was_mended_since_is_history_and_nothing_else():
    """The log is full of the missing database; it was made, and the services got past it."""
    stack = Incident()
    for label in ("celery_beat", *WORKERS):
        stack.lives[label], stack.logs[label] = [], []
        said = NO_DATABASE_BEAT if label == "celery_beat" else NO_DATABASE
        for number in range(3):
            stack.life(label, 100 + 20 * number, 104 + 20 * number, 1, said)
        stack.life(label, 200, None, lines=ready(label))
    diagnosis = diagnose(stack.evidence())
    assert (diagnosis.verdict, diagnosis.causes) == ("ok", ())
    assert {finding.state for finding in diagnosis.findings} == {"history"}
    healed = by_name(diagnosis, "database-missing")
    assert healed.object == "ai_backend" and set(healed.services) == {"celery_beat", *WORKERS}


def test_a_task_that_quotes_the_incident_is_no_finding():
    """The texts of all four errors stand in the log of a worker that works on."""
    stack = Incident().say(
        "email_worker",
        "[2026-11-23 14:13:02,000: INFO/ForkPoolWorker-1] shared.tasks.note[0f5c1c1e-9f8a-4b1e-9f57-"
        "0d1c2b3a4d5e]: Mail to operations: this is what the containers say:",
        *OPTION,
        *NO_DATABASE[1:],
        *NO_FLOWER,
    )
    assert diagnose(stack.evidence()).findings == ()


def test_an_option_that_the_application_added_is_legal_for_a_worker_that_lives_with_it():
    """No table knows it, but the worker got past its command line with it."""
    stack = Incident()
    for label in WORKERS:
        stack.commands[label] += " --tenant=acme"
    assert diagnose(stack.evidence()).findings == ()


# --- What explains what -------------------------------------------------------------------------------------


def test_a_stopped_broker_explains_what_its_users_suffer():
    """One cause, the container that does not run; that nobody reaches the broker is its consequence."""
    stack = Incident()
    stack.lives["redis"] = [{"start": 10.0, "end": 8000.0, "exit": 0, "oom": False}]
    stack.item("redis", sample={"status": "exited", "exit_code": 0, "finished_at": iso(8000)})
    stack.redis = {"status": "unreachable", "why": "the container redis is not running (exited)"}
    stack.section("celery", "no_reply", "nobody answered")
    for label in WORKERS:
        stack.say(
            label,
            "[2026-11-23 14:13:02,886: ERROR/MainProcess] consumer: Cannot connect to redis://redis:6379/0: "
            "Error -2 connecting to redis:6379. Name or service not known..",
        )
    diagnosis = diagnose(stack.evidence())
    assert told(diagnosis) == [("not-running", "active", "exit code 0")]
    (consequence,) = diagnosis.consequences(diagnosis.causes[0])
    assert consequence.name == "broker-down" and set(consequence.services) == set(CELERY)


def test_a_cause_with_many_victims_comes_before_one_that_stops_fewer_services():
    """The stopped broker itself is one container, but what it explains stops four services; the option stops
    one."""
    stack = Incident().replace_in_commands("--queues", "--queue", ("email_worker",))
    stack.loop("email_worker", 2, OPTION)
    stack.lives["redis"] = [{"start": 10.0, "end": 8000.0, "exit": 0, "oom": False}]
    stack.item("redis", sample={"status": "exited", "exit_code": 0})
    stack.redis = {"status": "unreachable", "why": "the container redis is not running (exited)"}
    assert [name for name, _, _ in told(diagnose(stack.evidence()))] == ["not-running", "unknown-option"]


def test_a_restart_loop_with_another_exit_code_is_not_explained_by_an_option():
    """An unknown option ends with exit code 2; a worker that dies of 139 has another cause as well."""
    stack = faulty(option=True)
    stack.loop("email_worker", 139, ["[tasks]"])
    diagnosis = diagnose(stack.evidence())
    loop = next(f for f in diagnosis.findings if f.code == "CTR001" and f.services == ("email_worker",))
    explaining = diagnosis.finding(loop.explained_by) if loop.explained_by else None
    assert explaining is None or explaining.name == "unrecognised-death"


def test_what_was_only_inferred_waits_behind_last_words_that_nobody_knows():
    """Workers die of something unknown; that the database is missing, too, is true and does not stop them
    now."""
    stack = faulty(database=True, celery="5.4.0")
    for label in WORKERS:
        stack.loop(
            label, 1, ["Traceback (most recent call last):", '  File "/app/x.py", line 1', "Weird: 17"]
        )
    diagnosis = diagnose(stack.evidence())
    states = {cause.name: cause.state for cause in diagnosis.cause_findings}
    assert states == {"unrecognised-death": "active", "database-missing": "latent"}


def finding(code, *services, object="x", **facts):
    rule = RULES[code]
    given = {"severity": rule.severity, "title": f"{code} {object}", "services": services, "object": object}
    return Finding(code, rule.name, **{**given, **facts})


def test_two_causes_of_one_service_never_explain_each_other():
    """Whatever two rules with a step say of the same service, both stay causes."""
    evidence = backend_reboot().evidence()
    codes = [code for code, rule in RULES.items() if rule.step and rule.severity == "critical"]
    for one, other in itertools.permutations(codes, 2):
        if any(other in p.codes for p in RULES[one].predicts) or any(
            one in p.codes for p in RULES[other].predicts
        ):
            continue  # declared: a wrong host explains that the broker does not answer
        ranked = rank([finding(one, "email_worker"), finding(other, "email_worker")], evidence)
        assert [f.explained_by for f in ranked] == [None, None], (one, other)


def test_the_first_of_two_wrong_options_is_active_and_the_second_is_latent():
    """click stops at the first word that it does not know."""
    stack = (
        Incident()
        .replace_in_commands("--concurrency=4", "--queue=x --logleve=info")
        .loop("email_worker", 2, OPTION)
    )
    for label in WORKERS:
        stack.loop(label, 2, OPTION)
    assert told(diagnose(stack.evidence())) == [
        ("unknown-option", "active", "--queue"),
        ("unknown-option", "latent", "--logleve"),
    ]


def test_a_circle_of_predictions_is_cut():
    """Two findings that could explain each other: one is the cause, the other its consequence, none gets
    lost."""
    evidence = Incident().evidence()
    ranked = rank(
        [finding("CTR001", "redis"), finding("CTR003", "email_worker"), finding("CTR001", "email_worker")],
        evidence,
    )
    assert len(ranked) == 3
    for one in ranked:
        seen = {one.id}
        while one.explained_by:
            one = next(f for f in ranked if f.id == one.explained_by)
            assert one.id not in seen
            seen.add(one.id)


def test_history_neither_explains_nor_is_explained():
    """What is healed takes part in nothing."""
    evidence = backend_reboot().evidence()
    old = finding("CMD001", "email_worker", state="history")
    ranked = rank([old, finding("CTR001", "email_worker")], evidence)
    assert [f.explained_by for f in ranked] == [None, None]
    assert [f.state for f in ranked] == ["active", "history"]


# --- Order, ids, sameness -----------------------------------------------------------------------------------


def test_ids_count_from_one_in_the_order_of_the_diagnosis():
    """Causes first, then consequences, then history."""
    diagnosis = diagnose(backend_reboot().evidence())
    assert [f.id for f in diagnosis.findings] == [f"f{n}" for n in range(1, len(diagnosis.findings) + 1)]
    kinds = [0 if is_cause(f) else 1 if f.state != "history" else 2 for f in diagnosis.findings]
    assert kinds == sorted(kinds)
    assert diagnosis.causes == tuple(f.id for f in diagnosis.findings if is_cause(f))


def test_latent_causes_stand_in_the_order_of_a_start():
    """Behind an option the driver comes before the database."""
    stack = faulty(option=True, driver=True, database=True)
    stack.lives["celery_beat"], stack.logs["celery_beat"] = [], []
    stack.loop("celery_beat", 2, OPTION).command(
        "celery_beat", "celery -A shared.infrastructure.celery_app beat --queue=x"
    )
    diagnosis = diagnose(stack.evidence())
    latent = [name for name, state, _ in told(diagnosis) if state == "latent"]
    assert latent == ["driver-not-installed", "database-missing"]


def test_the_same_evidence_gives_the_same_diagnosis_in_whatever_order_it_was_collected():
    """No order of containers, sections or dictionaries, and no clock, has a say."""
    evidence = backend_reboot().evidence()
    expected = dumps(diagnose(evidence))
    shuffled = random.Random(7)
    for _ in range(5):
        sections = list(evidence.sections.items())
        shuffled.shuffle(sections)
        sections = dict(sections)
        data = dict(sections["containers"].data)
        data["items"] = shuffled.sample(data["items"], len(data["items"]))
        sections["containers"] = replace(sections["containers"], data=data)
        assert dumps(diagnose(replace(evidence, sections=sections))) == expected


def test_ranking_does_not_depend_on_the_order_of_findings_of_different_rules():
    """Each rule's own findings keep their order; the rules may come in any."""
    evidence = backend_reboot().evidence()
    findings, _ = run(evidence)
    expected = [(f.id, f.code, f.object, f.state, f.explained_by) for f in rank(findings, evidence)]
    codes = sorted({f.code for f in findings})
    for order in itertools.permutations(codes):
        mixed = [f for code in order for f in findings if f.code == code]
        assert [(f.id, f.code, f.object, f.state, f.explained_by) for f in rank(mixed, evidence)] == expected


def test_every_rule_strikes_at_a_step_that_exists():
    """A misspelt step would silently rank a rule wrongly."""
    for rule in RULES.values():
        assert all(step in STEPS for step in (*rule.steps.values(), *([rule.step] if rule.step else [])))


def test_every_prediction_is_about_a_code_that_exists():
    """A prediction of a code that nobody reports, no rule and no log, explains nothing."""
    for rule in RULES.values():
        for prediction in rule.predicts:
            assert set(prediction.codes) <= {*RULES, *log_codes()}, rule.code


# --- Verdict ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "severity,verdict", [("critical", "critical"), ("warning", "warning"), ("notice", "ok")]
)
def test_the_verdict_is_the_worst_cause(severity, verdict):
    """A notice is none."""
    evidence = Incident().evidence()
    ranked = rank([finding("CTR001", "email_worker", severity=severity)], evidence)
    assert causes.verdict(ranked, (), evidence) == verdict


@pytest.mark.parametrize("name", ["containers", "logs/email_worker", "redis"])
def test_missing_core_evidence_makes_the_verdict_unknown(name):
    """Without containers, the log of a service that did not answer, or the broker, nothing is called well."""
    stack = (
        Incident()
        .section(name, "timeout", "the deadline passed")
        .section("celery", "timeout", "the deadline passed")
    )
    diagnosis = diagnose(stack.evidence())
    assert diagnosis.verdict == "unknown"


def test_missing_core_evidence_does_not_hide_a_critical_cause():
    """Critical is worse than unknown."""
    stack = backend_reboot().section("redis", "timeout", "the deadline passed")
    assert diagnose(stack.evidence()).verdict == "critical"


@pytest.mark.parametrize("name", ["compose", "events", "networks", "engine"])
def test_other_missing_evidence_leaves_the_verdict_alone(name):
    """A healthy stack whose Compose file cannot be read is still healthy."""
    assert diagnose(Incident().section(name, "denied", "not permitted").evidence()).verdict == "ok"


def test_no_logs_by_their_driver_are_made_up_for_by_workers_that_answer():
    """A log driver that keeps nothing is no reason to doubt a worker that answered a ping."""
    assert diagnose(Incident().without_logs().evidence()).verdict == "ok"


def test_a_rule_that_broke_makes_the_verdict_unknown(monkeypatch):
    """An exception in a check never reads as health."""

    def broken(look):
        raise RuntimeError("a bug of ours")
        yield

    monkeypatch.setitem(RULES, "BRK001", replace(RULES["BRK001"], check=broken))
    diagnosis = diagnose(Incident().evidence())
    assert diagnosis.verdict == "unknown"
    outcome = next(o for o in diagnosis.outcomes if o.code == "BRK001")
    assert (outcome.outcome, outcome.why) == ("broken", "RuntimeError: a bug of ours")


def test_evidence_of_nothing_is_unknown():
    """An empty bundle is no healthy stack."""
    evidence = Incident().evidence()
    assert diagnose(replace(evidence, sections={})).verdict == "unknown"
    bare = {
        "containers": Section(
            "containers", "ok", {"project": None, "config_files": [], "working_dir": None, "items": []}
        )
    }
    assert diagnose(replace(evidence, sections=bare)).verdict == "unknown"


# --- Settling -----------------------------------------------------------------------------------------------


def test_a_service_younger_than_the_back_off_reset_is_settling():
    """Seven of ten seconds are left for a worker that has lived for three."""
    stack = Incident()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    stack.life("email_worker", 8100, None, lines=ready("email_worker"))
    diagnosis = diagnose(stack.evidence())
    assert diagnosis.verdict == "ok"
    assert [line.split(" s left")[0] for line in diagnosis.settling] == ["email_worker: 7"]


def test_a_service_younger_than_its_longest_failed_life_is_settling():
    """It died after 40 s before; 30 s prove nothing yet."""
    stack = Incident()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    stack.life("email_worker", 7900, 7940, 1, NO_DATABASE, spread=30)
    stack.life("email_worker", 8073, None, lines=ready("email_worker"))
    (line,) = diagnose(stack.evidence()).settling
    assert line.startswith("email_worker: 11 s left of 41 s")


def test_a_service_whose_health_check_is_starting_is_settling():
    """Start period and all tries have to pass before the check has judged."""
    check = {
        "test": ["CMD", "true"],
        "interval_s": 3000.0,
        "timeout_s": 10.0,
        "retries": 3,
        "start_period_s": 30.0,
    }
    stack = Incident().item(
        "email_worker", healthcheck=check, sample={"health": {"status": "starting", "log": []}}
    )
    (line,) = diagnose(stack.evidence()).settling
    assert line.startswith("email_worker: ") and "health check has not judged yet" in line


def test_a_service_with_a_cause_of_its_own_is_not_settling():
    """It is broken, not young."""
    assert diagnose(backend_reboot().evidence()).settling == ()


def test_a_young_worker_that_got_further_than_those_that_died_is_no_restart_loop():
    """The option was mended five seconds ago: the worker is ready, and settling."""
    stack = Incident()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    for start in (8000, 8030, 8060):
        stack.life("email_worker", start, start + 20, 1, NO_DATABASE)
    stack.life("email_worker", 8098, None, lines=ready("email_worker"))
    diagnosis = diagnose(stack.evidence())
    assert diagnosis.verdict == "ok" and len(diagnosis.settling) == 1


def test_a_young_life_that_got_no_further_is_still_the_restart_loop():
    """At the moment of the look the container happens to be up, as it is every time for a second."""
    stack = Incident()
    stack.loop("email_worker", 2, OPTION)
    stack.replace_in_commands("--queues email_processing", "--queue=email_processing", ("email_worker",))
    stack.life("email_worker", 8102.5, None)
    diagnosis = diagnose(stack.evidence())
    assert told(diagnosis) == [("unknown-option", "active", "--queue")]
    assert [f.name for f in diagnosis.findings] == ["unknown-option", "restart-loop"]


def test_a_cause_in_company_says_that_its_verification_needs_the_others_cured():
    """Three causes stop the same workers one behind the other: a ping succeeds only after all three."""
    found = {finding.code: finding for finding in diagnose(backend_reboot().evidence()).cause_findings}
    assert found["CMD001"].verify[0].startswith("Cure URL002 and DBS001 too")
    assert found["DBS001"].verify[0].startswith("Cure CMD001 and URL002 too")
    assert not found["CMD002"].verify[0].startswith("Cure"), "Flower starts without driver and database"
    stack = Incident()
    del stack.databases["ai_backend"]
    for label in WORKERS:
        stack.loop(label, 1, NO_DATABASE, lived=4)
    alone = diagnose(stack.evidence()).cause_findings
    assert [finding.code for finding in alone] == ["DBS001"]
    assert not alone[0].verify[0].startswith("Cure")
