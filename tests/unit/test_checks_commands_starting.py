"""Launch commands: files that cannot be executed, users, applications that are not named, readable or whole.

The words are those of Docker Engine 20.10, dash and Celery 5.7 in the lab (the faults of the same names)."""

from __future__ import annotations

import pytest
from evidence import APP, SITE, WORKERS, Incident, banner

from celery_triage.causes import diagnose

SCRIPT = {
    "word": "/scripts/entrypoint.sh", "path": "/scripts/entrypoint.sh", "main": True, "mode": 0o755,
    "kind": "script", "windows": False, "interpreter": "/bin/sh", "present": True, "passes": True,
}  # fmt: skip
MOUNT = [{"type": "bind", "source": "/srv/scripts", "target": "/scripts", "rw": False}]
LOADING = [
    "Usage: celery [OPTIONS] COMMAND [ARGS]...",
    "Try 'celery --help' for help.",
    "",
    "Error: Invalid value for '-A' / '--app': ",
    "Unable to load celery application.",
    f"While trying to load the module {APP} the following error occurred:",
    "Traceback (most recent call last):",
    f'  File "{SITE}/celery/app/utils.py", line 387, in find_app',
    "    sym = symbol_by_name(app, imp=imp)",
]
#: The begin of Celery's help (5.7).
HELP = [
    "Usage: celery [OPTIONS] COMMAND [ARGS]...",
    "",
    "  Celery command entrypoint.",
    "",
    "Options:",
    "  -A, --app APPLICATION",
]
NO_VARIABLE = [
    *LOADING,
    '  File "/app/shared/infrastructure/celery_app.py", line 12, in <module>',
    '    backend=os.environ["STRIPE_KEY"],',
    '  File "<frozen os>", line 679, in __getitem__',
    "KeyError: 'STRIPE_KEY'",
]
SYNTAX = [
    *LOADING,
    '  File "/app/shared/infrastructure/celery_app.py", line 4, in <module>',
    "    from shared import rates",
    '  File "/app/shared/rates.py", line 3',
    '    STANDARD = "19',
    "               ^",
    "SyntaxError: unterminated string literal (detected at line 3)",
]
NOT_FOUND = [
    *LOADING[:3],
    "Error: ",
    "Unable to load celery application.",
    f"The module {APP} was not found.",
]
AS_ROOT = [
    "Running a worker with superuser privileges when the",
    "worker accepts messages serialized with pickle is a very bad idea!",
]


def script(words, exit_code=1, mounted=True, **seen):
    stack = Incident()
    stack.item("email_worker", entrypoint=["/scripts/entrypoint.sh"], mounts=MOUNT if mounted else [])
    stack.in_image("email_worker", starts=[{**SCRIPT, **seen}])
    return stack.loop("email_worker", exit_code, words)


def no_interpreter_line(**how):
    return script(
        ["exec /scripts/entrypoint.sh: exec format error"], kind="text", interpreter=None, passes=None, **how
    )


def windows():
    return script(["exec /scripts/entrypoint.sh: no such file or directory"], windows=True)


def not_executable(**how):
    stack = script([], 126, mode=0o644, **how)
    error = 'exec: "/scripts/entrypoint.sh": permission denied: unknown'
    return stack.item("email_worker", sample={"status": "created", "exit_code": 126, "error": error})


def no_user():
    error = "unable to find user deploy: no matching entries in passwd file"
    return (
        Incident()
        .loop("email_worker", 128, [])
        .item("email_worker", sample={"status": "created", "exit_code": 128, "error": error})
    )


def swallowed():
    return script(["Preparing ..."], 0, passes=False)


def unquoted():
    stack = Incident().command("email_worker", f"sh -c celery -A {APP} worker --queues email_processing")
    return stack.loop("email_worker", 0, HELP)


def operator():
    stack = Incident().command("email_worker", f"celery -A {APP} worker -Q email_processing && echo ended")
    return stack.loop("email_worker", 2, ["Error: Unable to parse extra configuration from command line."])


def unnamed():
    stack = Incident().command("email_worker", "celery worker --loglevel=info --queues email_processing")
    lines = [
        line.replace("ai_backend:0x7f284cdec7d0", "default:0x7f01ecaaf690 (.default.Loader)")
        for line in banner("email_worker")
        if "shared.tasks" not in line
    ]
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    return stack.life(
        "email_worker",
        10.0,
        None,
        lines=[*lines, "[2026-11-23 12:00:03,624: INFO/MainProcess] email_worker@656d61696c5f ready."],
    )


def closed():
    stack = Incident().loop("email_worker", 2, NOT_FOUND).item("email_worker", user="celery")
    return stack.in_image("email_worker", app={"closed": {"path": "/app/shared", "mode": 0o700}})


def no_variable():
    return Incident().loop("email_worker", 2, NO_VARIABLE)


def pickle():
    return Incident().loop("email_worker", 1, AS_ROOT)


FIRES = {
    "CMD007": unnamed,
    "CMD008": swallowed,
    "CMD009": closed,
    "CMD010": unquoted,
    "CMD050": pickle,
    "CMD051": no_user,
    "CMD052": no_interpreter_line,
    "CMD053": not_executable,
    "CMD054": no_variable,
}


def only(stack):
    """The one cause of a stack."""
    (found,) = diagnose(stack.evidence()).cause_findings
    return found


@pytest.mark.parametrize(
    "stack,name,command",
    [
        (no_interpreter_line, "exec-format", "sed -i '1i #!/bin/sh' /srv/scripts/entrypoint.sh"),
        (windows, "windows-line-ends", "sed -i 's/\\r$//' /srv/scripts/entrypoint.sh"),
        (not_executable, "not-executable", "chmod +x /srv/scripts/entrypoint.sh"),
    ],
)
def test_a_script_that_cannot_be_executed_is_mended_where_it_is_mounted_from(stack, name, command):
    """The file itself was looked at, the words confirm it, and nothing says that it is missing."""
    found = only(stack())
    assert (found.name, found.object, found.certainty) == (name, "/scripts/entrypoint.sh", "confirmed")
    assert found.remedy.kind == "exact" and found.remedy.commands[0] == command


def for_arm(**item):
    words = ["exec /usr/local/bin/celery: exec format error"]
    facts = {"image_arch": "arm64", "image": "shop/backend:7", **item}
    return Incident().item("email_worker", **facts).loop("email_worker", 1, words)


def test_an_image_for_another_processor_is_named_with_both():
    """Built on a laptop of another kind; no file of it is at fault."""
    found = only(for_arm())
    assert (found.name, found.object, found.certainty) == ("architecture-mismatch", "arm64", "confirmed")
    assert "shop/backend:7 is an image for arm64, and this host has amd64" in found.title
    assert "exec format error" in found.proof[-1].text


def test_an_image_for_another_processor_that_an_emulator_runs_is_no_fault():
    """Slow, and well: nothing was refused. An image for this processor is not blamed for the same words."""
    well = Incident().item("email_worker", image_arch="arm64")
    assert diagnose(well.evidence()).cause_findings == ()
    assert only(for_arm(image_arch="amd64")).name == "exec-format"


def test_a_container_that_docker_could_not_start_has_no_second_cause():
    """It has no life and no log, only Docker's exit code: that it does not run follows from the file."""
    stack = not_executable()
    stack.lives["email_worker"], stack.logs["email_worker"] = [{**stack.lives["email_worker"][0]}], []
    evidence = stack.evidence()
    items = evidence.data("containers")["items"]
    item = next(one for one in items if one["label"] == "email_worker")
    for sample in item["samples"]:
        sample.update(started_at="0001-01-01T00:00:00Z", finished_at="0001-01-01T00:00:00Z", restart_count=0)
    events = evidence.data("events")["items"]
    events[:] = [event for event in events if event["label"] != "email_worker"]
    assert [one.name for one in diagnose(evidence).cause_findings] == ["not-executable"]


def test_a_script_of_the_image_is_mended_by_a_person():
    """Nobody can change a file of an image from outside."""
    assert only(no_interpreter_line(mounted=False)).remedy.kind == "manual"
    assert only(not_executable(mounted=False)).remedy.kind == "manual"


def test_a_script_whose_interpreter_is_not_in_the_image_is_not_called_missing():
    """The words are those of a missing file; the file is there."""
    found = only(
        script(
            ["exec /scripts/entrypoint.sh: no such file or directory"],
            127,
            interpreter="/bin/bash",
            present=False,
        )
    )
    assert (found.name, found.certainty) == ("interpreter-missing", "confirmed")
    assert "is to be run by /bin/bash, which is not in the image" in found.title


def test_a_script_without_a_first_line_that_a_shell_calls_is_no_fault():
    """A shell runs it; only the kernel refuses it."""
    stack = Incident().in_image("email_worker", starts=[{**SCRIPT, "kind": "text", "main": False}])
    assert (
        diagnose(stack.loop("email_worker", 1, ["Weird: 17"]).evidence()).cause_findings[0].code == "LOG001"
    )


def test_a_program_around_the_command_that_is_not_there_is_named():
    """`poetry run celery`: celery is in the image, poetry is not."""
    stack = Incident().command("email_worker", f"sh -c 'poetry run celery -A {APP} worker'")
    stack.in_image(
        "email_worker",
        starts=[
            {
                **SCRIPT,
                "word": "poetry",
                "path": None,
                "mode": None,
                "main": False,
                "kind": "missing",
                "looked": ["/usr/bin/poetry"],
            }
        ],
    )
    found = only(stack.loop("email_worker", 127, ["sh: 1: poetry: not found"]))
    assert (found.name, found.object, found.certainty) == ("executable-missing", "poetry", "confirmed")


def test_a_user_who_is_not_in_the_image_is_told_by_docker():
    """The container was made and never started."""
    found = only(no_user())
    assert (found.name, found.object, found.certainty) == ("user-unknown", "deploy", "confirmed")


def test_an_entrypoint_that_ends_well_and_runs_nothing_is_the_cause():
    """Exit code 0 for ever; one that hands words on, or a life that said a word of Celery, is not it."""
    assert only(swallowed()).name == "entrypoint-swallows-command"
    passes = script(["Preparing ..."], 0)
    assert "entrypoint-swallows-command" not in {one.name for one in diagnose(passes.evidence()).findings}
    stack = script(banner("email_worker"), 0, passes=False)
    assert "entrypoint-swallows-command" not in {one.name for one in diagnose(stack.evidence()).findings}


def test_a_shell_that_takes_only_the_first_word_is_left_out():
    """The rest of the line became parameters of the shell; no other finding says that no command is named."""
    found = only(unquoted())
    assert (found.name, found.object, found.certainty) == ("shell-line-broken", "-A", "confirmed")
    assert [(edit.old, edit.new) for edit in found.remedy.edits] == [("sh -c celery", "celery")]
    running = unquoted()
    running.logs["email_worker"], running.lives["email_worker"] = [], []
    lines = [*banner("email_worker"), "[2026-11-23 12:00:03,624: INFO/MainProcess] email_worker@x ready."]
    assert diagnose(running.life("email_worker", 10.0, None, lines=lines).evidence()).findings == ()


def test_what_compose_dropped_is_read_from_the_file():
    """The container only has the step before it, and ends well; its Compose file says what was meant."""
    text = f"python manage.py migrate && celery -A {APP} worker --queues email_processing"
    stack = Incident().command("email_worker", text).loop("email_worker", 0, ["No migrations to apply."])
    found = only(stack.item("email_worker", cmd=["python", "manage.py", "migrate"]))
    assert (found.name, found.object, found.certainty) == ("shell-line-broken", "&&", "confirmed")
    assert f"sh -c '{text}'" in found.remedy.summary
    assert any(proof.section == "compose" and text in proof.text for proof in found.proof)
    other = stack.item("email_worker", cmd=["python", "manage.py", "check"])
    assert "CMD010" not in {one.code for one in diagnose(other.evidence()).findings}


def test_a_shells_operator_without_a_shell_is_one_finding():
    """Not one for each word behind it; the line is written out as one word for a shell."""
    found = only(operator())
    assert (found.name, found.object, found.certainty) == ("shell-line-broken", "&&", "confirmed")
    assert found.remedy.kind == "manual" and "&& echo ended'" in found.remedy.summary


def test_a_worker_without_an_application_gets_the_one_of_its_siblings():
    """It is ready and answers; its banner says what it runs."""
    found = only(unnamed())
    assert (found.name, found.services, found.state) == ("app-not-named", ("email_worker",), "active")
    assert [(edit.old, edit.new) for edit in found.remedy.edits] == [
        ("celery worker", f"celery -A {APP} worker")
    ]


def test_a_default_application_with_tasks_of_its_own_is_no_fault():
    """A celeryconfig.py can name them."""
    stack = unnamed()
    lines = [line[2] for line in stack.logs["email_worker"]]
    stack.logs["email_worker"], stack.lives["email_worker"] = [], []
    stack.life("email_worker", 10.0, None, lines=[*lines[:-1], "  . shop.mail.send", lines[-1]])
    assert diagnose(stack.evidence()).findings == ()


def test_a_folder_that_the_user_may_not_enter_is_told_from_a_missing_module():
    """Celery says that the module was not found; whoever looks as root sees it."""
    found = only(closed())
    assert (found.name, found.object) == ("app-not-readable", "/app/shared")
    assert "the user celery may not read /app/shared (mode 0700)" in found.title


def test_a_closed_folder_says_nothing_of_root():
    """Root reads it: the words then mean something else, and what is there is not called missing."""
    stack = closed().item("email_worker", user="")
    assert {one.name for one in diagnose(stack.evidence()).cause_findings} == {"restart-loop"}


def test_a_variable_that_is_not_set_is_confirmed_by_the_container():
    """Told from the application's other errors, for the service that lacks it only."""
    found = only(no_variable())
    assert (found.name, found.object, found.certainty) == (
        "environment-variable-missing",
        "STRIPE_KEY",
        "confirmed",
    )


def test_a_variable_that_is_set_is_only_reported():
    """Something took it away before Celery looked."""
    stack = no_variable()
    stack.env["email_worker"]["STRIPE_KEY"] = "‹secret:1a2b›"
    assert only(stack).certainty == "reported"


def test_a_key_of_a_dictionary_is_no_variable():
    """The same exception, raised by the application's own code."""
    lines = [line for line in NO_VARIABLE if "frozen" not in line]
    assert only(Incident().loop("email_worker", 2, lines)).code == "CMD004"


def test_an_error_of_the_application_is_told_with_its_place():
    """Two services with two errors are two causes."""
    stack = Incident().loop("email_worker", 2, SYNTAX)
    found = only(stack)
    assert (
        "SyntaxError: unterminated string literal (detected at line 3), in /app/shared/rates.py line 3"
        in found.title
    )
    stack.loop(
        "payment_worker", 2, [*LOADING, '  File "/app/shared/x.py", line 1, in <module>', "ValueError: no"]
    )
    assert len(diagnose(stack.evidence()).causes) == 2


def test_an_attribute_that_the_module_does_not_have_is_corrected():
    """The module was read: it calls its application app."""
    stack = Incident()
    for label in WORKERS:
        stack.commands[label] = stack.commands[label].replace(APP, f"{APP}:celery")
        stack.in_image(label, app={"named": False, "apps": ["app"], "present": True})
        stack.loop(label, 2, [*NOT_FOUND[:-1], f"The module {APP}:celery was not found."])
    found = only(stack)
    assert (found.object, found.certainty, found.remedy.kind) == (f"{APP}:celery", "confirmed", "exact")
    assert {(edit.old, edit.new) for edit in found.remedy.edits} == {(f"{APP}:celery", f"{APP}:app")}


def test_pickle_as_root_names_the_user():
    """The container's user is root, or none is written."""
    found = only(pickle())
    assert (found.name, found.certainty) == ("root-with-pickle", "confirmed")
