"""Launch commands: options, sub-commands, modules and programs that are not in the image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from evidence import APP, CELERY, COMPOSE, NO_FLOWER, NO_MODULE, OPTION, QUEUES, TAKEN_S, WORKERS, Incident

from celery_triage.causes import diagnose

ATTRIBUTE = [
    "Usage: celery [OPTIONS] COMMAND [ARGS]...",
    "Try 'celery --help' for help.",
    "",
    "Error: ",
    "Unable to load celery application.",
    "Module 'shared.infrastructure' has no attribute 'celery'",
]


def unknown_option(old="--queues ", new="--queue="):
    stack = Incident().replace_in_commands(old, new)
    for label in WORKERS:
        stack.loop(label, 2, OPTION)
    return stack


def no_flower():
    return Incident().package("flower", False).loop("flower", 2, NO_FLOWER)


def no_module(labels=WORKERS, module="shared.infra.celery_app"):
    stack = Incident()
    for label in labels:
        stack.commands[label] = stack.commands[label].replace(APP, module)
        stack.modules[label] = (module, False)
        stack.loop(label, 2, NO_MODULE)
    return stack


def no_application():
    return Incident().loop("email_worker", 2, ATTRIBUTE)


def no_program():
    stack = Incident()
    for label in WORKERS:
        stack.executables[label] = None
        stack.loop(label, 127, [])
        stack.item(
            label,
            sample={
                "status": "created",
                "exit_code": 127,
                "error": 'exec: "celery": executable file not found in $PATH',
            },
        )
    return stack


def words_of_flower(name):
    """The lines of a recorded log of Flower 2.2.0 (Celery 5.7.0, Tornado 6.6.1), without their times."""
    text = (Path(__file__).parent / "data" / "monitoring" / f"{name}_2.2.log").read_text("utf-8")
    return [line.split(" ", 1)[1] for line in text.splitlines()]


def flower_blank():
    """As the lab shows it: the workers' --queues mail, done to Flower."""
    stack = Incident().command("flower", f"celery -A {APP} flower --port 5555")
    return stack.loop("flower", 1, words_of_flower("flower-option-behind-a-blank"))


FIRES = {
    "CMD001": unknown_option,
    "CMD002": no_flower,
    "CMD003": no_module,
    "CMD004": no_application,
    "CMD005": no_program,
    "CMD006": flower_blank,
}


def cause(stack, name):
    return next(c for c in diagnose(stack.evidence()).cause_findings if c.name == name)


def test_an_unknown_option_is_one_cause_for_all_services_with_the_option_as_its_object():
    """Three workers, one finding, judged by the version that is in the image."""
    found = cause(unknown_option(), "unknown-option")
    assert (found.object, set(found.services), found.certainty) == ("--queue", set(WORKERS), "confirmed")
    assert found.title.endswith("cannot start: Celery 5.6.3 knows no option --queue")


def test_the_remedy_changes_the_option_alone_where_it_stands():
    """One edit for each command, of the option and nothing else."""
    stack = unknown_option()
    remedy = cause(stack, "unknown-option").remedy
    lines = stack.compose_text().split("\n")
    assert remedy.kind == "exact" and len(remedy.edits) == 3
    for edit in remedy.edits:
        assert (edit.file, edit.old, edit.new) == (COMPOSE, "--queue", "--queues")
        assert "--queue=" in lines[edit.line - 1]
    assert remedy.commands == (
        "docker compose -p ai_backend -f /srv/ai_backend/docker-compose.yml up -d --no-deps "
        "data_sync_worker email_worker payment_worker",
    )


def test_celery_4_is_judged_by_its_own_parser():
    """The image has 4.4.7: what argparse refuses is found by that version's table, confirmed by its words."""
    stack = Incident().package("celery", True, "4.4.7").replace_in_commands("--queues ", "--nope ")
    for label in WORKERS:
        stack.loop(label, 2, ["celery: error: unrecognized arguments: --nope mail"])
    found = cause(stack, "unknown-option")
    assert (found.object, set(found.services)) == ("--nope", set(WORKERS))
    assert found.title.endswith("cannot start: Celery 4.4.7 knows no option --nope")
    assert any("judged by the options of Celery 4.4 (4.4.7)" in proof.text for proof in found.proof)


def test_what_celery_4_takes_is_no_finding_there():
    """`celery worker -A app --queue=mail -l warn` starts with Celery 4.4.7; the worker dies otherwise."""
    stack = Incident().package("celery", True, "4.4.7").replace_in_commands("--queues ", "--queue=")
    for label in WORKERS:
        stack.loop(label, 1, ["Traceback (most recent call last):", "RuntimeError: no"])
    assert "CMD001" not in {found.code for found in diagnose(stack.evidence()).findings}


def test_an_option_with_its_value_behind_a_blank_is_the_same_option():
    """`--queue mail` fails as `--queue=mail` does."""
    found = cause(unknown_option("--queues ", "--queue "), "unknown-option")
    assert found.object == "--queue" and found.remedy.kind == "exact"


@pytest.mark.parametrize(
    "wording",
    [
        "Error: No such option: --queue (Possible options: --exclude-queues, --queues)",
        "Error: No such option '--queue'. (Did you mean one of: '--exclude-queues', '--queues'?)",
        "Error: no such option: --queue  Did you mean --queues?",
    ],
)
def test_the_wordings_of_click_7_to_8_5_confirm_it(wording):
    """The sentence changed with click; the witness is the same."""
    stack = Incident().replace_in_commands("--queues ", "--queue=")
    for label in WORKERS:
        stack.loop(label, 2, [*OPTION[:3], wording])
    assert cause(stack, "unknown-option").certainty == "confirmed"


def test_without_the_version_an_option_that_no_version_knows_is_still_found():
    """Judged against all versions; where they disagree the rule says that it does not know."""
    stack = unknown_option()
    for label in WORKERS:
        stack.section(f"files/{label}", "timeout", "the deadline passed")
    found = cause(stack, "unknown-option")
    assert found.object == "--queue" and "knows no option" in found.title


def test_without_the_version_a_valid_command_of_a_service_that_does_not_run_is_unknown():
    """It may be invalid for the version that is there."""
    stack = Incident().loop("email_worker", 1, ["Weird: 17"])
    stack.section("files/email_worker", "timeout", "the deadline passed")
    outcome = next(o for o in diagnose(stack.evidence()).outcomes if o.code == "CMD001")
    assert outcome.outcome == "unknown" and outcome.missing == ("files/email_worker",)


def test_an_option_of_the_applications_own_is_legal_where_the_worker_lives():
    """Three workers with `--tenant`, all ready: nothing; one that dies of it: that one."""
    stack = Incident()
    for label in WORKERS:
        stack.commands[label] += " --tenant=acme"
    assert diagnose(stack.evidence()).findings == ()
    stack.loop("email_worker", 2, [*OPTION[:3], "Error: No such option: --tenant"])
    assert cause(stack, "unknown-option").services == ("email_worker",)


def test_an_option_that_could_be_two_is_a_choice():
    """Nobody can say which was meant, so the question is put."""
    stack = Incident().replace_in_commands("--loglevel=info", "--log=info")
    for label in WORKERS:
        stack.loop(label, 2, [*OPTION[:3], "Error: No such option: --log"])
    remedy = cause(stack, "unknown-option").remedy
    assert remedy.kind in ("choice", "manual")
    if remedy.kind == "choice":
        assert remedy.question and len(remedy.options) > 1


def test_the_order_of_celery_4_is_a_misplaced_option():
    """`celery worker -A app` is refused since Celery 5."""
    stack = Incident()
    for label, queue in QUEUES.items():
        stack.commands[label] = f"celery worker -A {APP} --loglevel=info --queues {queue}"
        stack.loop(label, 2, ["You are using `-A` as an option of the worker sub-command:"])
    found = cause(stack, "misplaced-option")
    assert found.object == "-A" and found.remedy.kind == "exact"
    assert [(edit.old, edit.new) for edit in found.remedy.edits] == [
        (f"worker -A {APP}", f"-A {APP} worker")
    ] * len(QUEUES)


def misplaced(command, label="celery_beat"):
    """The remedy for a service whose option stands behind the sub-command."""
    stack = Incident().command(label, command)
    stack.loop(label, 2, ["You are using `-A` as an option of the beat sub-command:"])
    return cause(stack, "misplaced-option").remedy


def test_a_misplaced_app_of_beat_is_moved_before_beat():
    """The sentence speaks of beat, and the words between come along."""
    remedy = misplaced(f"celery beat --loglevel=info --app={APP} --max-interval 60")
    assert "celery --app … beat …" in remedy.summary and remedy.kind == "exact"
    assert [(edit.old, edit.new) for edit in remedy.edits] == [
        (f"beat --loglevel=info --app={APP}", f"--app={APP} beat --loglevel=info")
    ]


@pytest.mark.parametrize(
    "command", [f"celery beat -b redis://redis:6379/0 -A {APP}", f"sh -c 'celery  beat   -A {APP}'"]
)
def test_what_cannot_be_moved_as_it_is_written_is_left_to_a_person(command):
    """Two misplaced options, or words that the file spaces otherwise, are no edit."""
    stack = Incident().command("celery_beat", command)
    stack.loop("celery_beat", 2, ["You are using `-A` as an option of the beat sub-command:"])
    found = [one for one in diagnose(stack.evidence()).findings if one.name == "misplaced-option"]
    assert found and all(one.remedy.kind == "manual" and not one.remedy.edits for one in found)


def test_last_words_about_an_option_of_a_command_that_cannot_be_read_are_reported():
    """A script hides the command; its log says what Celery refused."""
    stack = unknown_option()
    for label in WORKERS:
        stack.commands[label] = f"celery -A {APP} worker --loglevel=info --queues mail"
    found = cause(stack, "unknown-option")
    assert (found.certainty, found.object) == ("reported", "--queue")


def test_flower_without_its_package_is_named_as_such():
    """The object is flower, the remedy is the image."""
    found = cause(no_flower(), "flower-not-installed")
    assert (found.code, found.object, found.services) == ("CMD002", "flower", ("flower",))
    assert found.certainty == "confirmed" and found.remedy.kind == "manual"
    assert "requirements of the image ai_backend:1" in found.remedy.summary


def test_flower_with_the_app_option_behind_is_no_fault():
    """`celery flower -A app` starts (Flower 2.2 ignores the option)."""
    stack = Incident().command("flower", f"celery flower -A {APP} --port=5555")
    assert diagnose(stack.evidence()).findings == ()


def test_a_misspelt_sub_command_is_corrected_where_it_stands():
    """`wroker` can only have been worker."""
    stack = Incident().replace_in_commands(" worker ", " wroker ", ("email_worker",))
    stack.loop(
        "email_worker",
        2,
        ["Usage: celery [OPTIONS] COMMAND [ARGS]...", "", "Error: No such command 'wroker'."],
    )
    found = cause(stack, "subcommand-not-available")
    assert (found.object, found.remedy.kind) == ("wroker", "exact")
    assert [(edit.old, edit.new) for edit in found.remedy.edits] == [("wroker", "worker")]


def test_a_module_that_is_nowhere_is_judged_by_the_image():
    """Every place was looked at, and the log says the same."""
    found = cause(no_module(), "app-module-missing")
    assert (found.object, found.certainty) == ("shared.infra.celery_app", "confirmed")
    assert "/app/shared/infra/celery_app.py" in found.proof[0].text


def test_what_is_wrong_with_the_app_is_quoted_whole_and_asked_with_no_wrong_app():
    """Click writes it below its ``Error:``; and a ping with the old -A would fail after the cure."""
    found = cause(no_module(), "app-module-missing")
    said = [proof.text for proof in found.proof if proof.section.startswith("logs/")]
    assert said[0] == ("Error: Unable to load celery application. The module shared.infra.celery_app was not "
                       "found.")  # fmt: skip
    assert len(found.verify) == 1 and found.verify[0].startswith("docker inspect -f ")


def test_a_sibling_with_the_right_module_gives_the_exact_remedy():
    """Beat and Flower of the same image use the module that was meant."""
    remedy = cause(no_module(), "app-module-missing").remedy
    assert remedy.kind == "exact"
    assert {(edit.old, edit.new) for edit in remedy.edits} == {("shared.infra.celery_app", APP)}


def test_without_a_sibling_a_person_has_to_name_the_module():
    """All services name the same missing module: nobody here knows the right one."""
    assert cause(no_module(CELERY), "app-module-missing").remedy.kind == "manual"


def test_a_module_that_cannot_be_looked_for_is_unknown_not_missing():
    """A tmpfs hides it: present is null."""
    stack = Incident().loop("email_worker", 2, ["Weird: 17"])
    stack.modules["email_worker"] = (APP, None)
    outcome = next(o for o in diagnose(stack.evidence()).outcomes if o.code == "CMD003")
    assert outcome.outcome == "unknown"


def test_exit_code_2_alone_does_not_tell_a_module_from_an_option():
    """Both faults at once: the module comes first, the option waits behind it."""
    stack = no_module(WORKERS).replace_in_commands("--queues ", "--queue=")
    found = {c.name: c.state for c in diagnose(stack.evidence()).cause_findings}
    assert found == {"app-module-missing": "active", "unknown-option": "latent"}


def test_an_application_without_the_attribute_is_reported_from_its_log():
    """Nothing but the log can say it."""
    found = cause(no_application(), "app-does-not-load")
    assert (found.certainty, found.object) == ("reported", "shared.infrastructure")


def test_a_program_that_is_not_in_the_image_is_confirmed_by_the_engine():
    """Docker says why it could not start the container."""
    found = cause(no_program(), "executable-missing")
    assert (found.object, found.certainty) == ("celery", "confirmed")
    assert [c.name for c in diagnose(no_program().evidence()).cause_findings] == ["executable-missing"]


# --- CMD006: what Flower itself refuses ---------------------------------------------------------------------


def test_a_value_behind_a_blank_is_joined_to_its_option_of_flower():
    """One edit; the loop and the traceback are its consequences, and the workers are not touched."""
    diagnosis = diagnose(flower_blank().evidence())
    (finding,) = diagnosis.cause_findings
    assert (finding.name, finding.services, finding.object) == ("flower-wrong-command", ("flower",), "--port")
    assert (finding.certainty, finding.state, finding.remedy.kind) == ("confirmed", "active", "exact")
    assert [(edit.old, edit.new) for edit in finding.remedy.edits] == [("--port 5555", "--port=5555")]
    said, judged_by = finding.proof[-2:]
    assert said.text == "tornado.options.Error: Option 'port' requires a value"
    assert "judged by the options of Flower" in judged_by.text
    assert {one.code for one in diagnosis.consequences(finding.id)} >= {"CTR001"}


def test_a_life_of_flower_about_to_end_like_those_before_it_hides_nothing():
    """Looked at in its third second, when those before had ended after one and a half, as seen in the lab."""
    stack = flower_blank().life("flower", TAKEN_S - 3, None, lines=["/usr/bin/celery: starting"])
    (finding,) = diagnose(stack.evidence()).cause_findings
    assert (finding.name, finding.certainty, finding.state) == ("flower-wrong-command", "confirmed", "active")


@pytest.mark.parametrize(
    "log,command,variable,thing",
    [
        ("flower-port-no-number", "flower --port=abc", "", "--port"),
        ("flower-timeout-no-number", "flower --inspect_timeout=1s", "", "--inspect_timeout"),
        ("flower-port-of-a-link", "flower", "tcp://10.0.0.1:5555", "FLOWER_PORT"),
    ],
)
def test_a_number_that_is_none_is_named_with_the_words_of_the_log(log, command, variable, thing):
    """On the line, or in a variable that a link between containers has set."""
    stack = Incident().command("flower", f"celery -A {APP} {command}")
    if variable:
        stack.env["flower"]["FLOWER_PORT"] = variable
    (finding,) = diagnose(stack.loop("flower", 1, words_of_flower(log)).evidence()).cause_findings
    assert (finding.code, finding.object, finding.certainty) == ("CMD006", thing, "confirmed")
    assert finding.remedy.kind == "manual" and thing in finding.remedy.summary


def test_a_flower_that_got_past_its_options_refutes_it():
    """Whatever the table says, it runs."""
    stack = Incident().command("flower", f"celery -A {APP} flower --port 5555")
    assert not diagnose(stack.evidence()).cause_findings


@pytest.mark.parametrize(
    "command",
    [
        f"celery flower -A {APP}",
        f"celery -A {APP} flower --port=5555 -l info --loglevel=info --concurrency=2 --bogus 3",
        f"celery -A {APP} flower --url-prefix=flower --basic_auth=a:b --debug",
    ],
)
def test_commands_with_which_flower_starts_are_no_findings(command):
    """Each was run: words that Flower does not know are dropped by it."""
    stack = Incident().command("flower", command).loop("flower", 1, ["something else"])
    assert "flower-wrong-command" not in [one.name for one in diagnose(stack.evidence()).findings]


def test_a_compose_file_that_nobody_read_is_not_said_to_lack_the_command():
    """A runbook that reads no Compose files says just that."""
    stack = Incident().replace_in_commands("--queues ", "--queue=")
    for label in WORKERS:
        stack.loop(label, 2, OPTION)
    evidence = stack.evidence()
    without = replace(evidence, sections={k: v for k, v in evidence.sections.items() if k != "compose"})
    (cause,) = diagnose(without).cause_findings
    assert "(no Compose file was read)" in cause.remedy.summary
