"""Remedies: edits where the value really stands, commands that are safe to paste, a patch that applies."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess

import pytest
from evidence import COMPOSE, FOLDER, Incident, backend_reboot

from celery_triage.causes import diagnose
from celery_triage.model import Edit
from celery_triage.remedies import (
    alive,
    beside_secrets,
    changes,
    create_database,
    identifier,
    locate,
    patch,
    psql,
    recreate,
    restart,
    sed,
    set_password,
    unified,
)
from celery_triage.stack import Stack

TOKEN = "‹secret:1a2b›"


CMD = "celery worker --queue=mail"


def file(path, text, secret=TOKEN):
    """A file as the section ``compose`` shows it."""
    lines = text.split("\n")
    return {
        "path": path,
        "readable": True,
        "why": "",
        "lines": lines,
        "hashes": [None if secret in line else hashlib.sha256(line.encode()).hexdigest() for line in lines],
    }


def node(value, line, end_line=None, index=0):
    return {
        "file": index,
        "line": line,
        "end_line": end_line or line,
        "col": 1,
        "value": value,
        "masked": False,
    }


def compose(*files, command=None, environment=None, dotenv=None, **more):
    service = {"command": command or [], "entrypoint": [], "environment": environment or {}, **more}
    return {"files": list(files), "services": {"mail": service}, "dotenv": dotenv, "env_files": []}


# --- Where a fragment stands --------------------------------------------------------------------------------


def test_an_edit_names_file_line_fragment_and_the_hash_of_the_whole_line():
    """So that whoever applies it can tell whether the line is still the same."""
    base = file("/srv/a.yml", "services:\n  mail:\n    command: celery worker --queue=mail")
    found = locate(
        compose(base, command=[node("celery worker --queue=mail", 3)]),
        "mail",
        "command",
        "--queue",
        "--queues",
    )
    line = "    command: celery worker --queue=mail"
    assert found.edit == Edit(
        "/srv/a.yml", 3, "--queue", "--queues", hashlib.sha256(line.encode()).hexdigest()
    )


def test_a_fragment_is_a_word_of_its_own():
    """`--queue` also stands in `--queue-depth`, and is not meant there."""
    base = file("/srv/a.yml", "command: celery worker --queue-depth=3 --queue=mail")
    found = locate(compose(base, command=[node(CMD, 1)]), "mail", "command", "--queue", "--queues")
    assert (found.edit.old, found.edit.new) == ("--queue=mail", "--queues=mail")
    assert base["lines"][0].count(found.edit.old) == 1


def test_a_fragment_that_stands_twice_is_not_edited():
    """Nobody can say which is meant."""
    base = file("/srv/a.yml", "command: celery worker --queue=a --queue=b")
    assert locate(compose(base, command=[node(CMD, 1)]), "mail", "command", "--queue", "--queues") is None


def test_the_override_is_edited_where_it_sets_the_value():
    """The last file wins; the base stays as it is."""
    base = file("/srv/docker-compose.yml", "command: celery worker --queue=mail")
    over = file("/srv/docker-compose.override.yml", "\ncommand: celery worker --queue=mail")
    found = locate(
        compose(base, over, command=[node(CMD, 1), node(CMD, 2, index=1)]),
        "mail",
        "command",
        "--queue",
        "--queues",
    )
    assert (found.edit.file, found.edit.line) == ("/srv/docker-compose.override.yml", 2)


def test_a_command_written_as_a_list_is_edited_in_its_own_line():
    """The value spans lines; only the one with the fragment changes."""
    base = file("/srv/a.yml", "command:\n  - celery\n  - worker\n  - --queue=mail")
    found = locate(
        compose(base, command=[node(["celery", "worker", "--queue=mail"], 2, 4)]),
        "mail",
        "command",
        "--queue",
        "--queues",
    )
    assert (found.edit.line, found.edit.old) == (4, "--queue")


def test_a_variable_is_edited_in_dotenv():
    """Where Compose writes ${RESULTS}, the fragment stands in the .env file."""
    base = file("/srv/a.yml", "environment:\n  CELERY_RESULT_BACKEND: ${RESULTS}")
    env = {
        **file("/srv/.env", "# results\nRESULTS=db+postgresql://postgres/x"),
        "values": {"RESULTS": {"line": 2, "value": "db+postgresql://postgres/x"}},
    }
    found = locate(
        compose(base, environment={"CELERY_RESULT_BACKEND": [node("${RESULTS}", 2)]}, dotenv=env),
        "mail",
        "CELERY_RESULT_BACKEND",
        "db+postgresql://",
        "db+postgresql+psycopg://",
    )
    assert (found.edit.file, found.edit.line, found.edit.old) == ("/srv/.env", 2, "db+postgresql://")


def test_the_name_of_a_database_is_edited_in_dotenv_where_the_url_takes_it_from_a_variable():
    """The URL says /${NAME}, the variable holds the name alone; one that merely holds it is left."""
    base = file("/srv/a.yml", "environment:\n  RESULTS: db+postgresql://postgres/${NAME}")
    nodes = {"RESULTS": [node("db+postgresql://postgres/${NAME}", 2)]}

    def change(value):
        env = {
            **file("/srv/.env", f"NAME={value}"),
            "values": {"NAME": {"line": 1, "value": value}},
        }
        return locate(compose(base, environment=nodes, dotenv=env), "mail", "RESULTS", "/backnd", "/backend")

    assert (change("backnd").edit.file, change("backnd").edit.old) == ("/srv/.env", "backnd")
    assert change("backnd").edit.new == "backend"
    assert change("my_backnd") is None


def test_the_scheme_of_a_url_with_variables_is_edited_in_the_compose_file():
    """User and password come from variables; the fragment stands in the file itself."""
    line = "  CELERY_RESULT_BACKEND: db+postgresql://${USER}:${PASSWORD}@postgres:5432/${NAME}"
    base = file("/srv/a.yml", f"environment:\n{line}")
    found = locate(
        compose(base, environment={"CELERY_RESULT_BACKEND": [node(line.strip(), 2)]}),
        "mail",
        "CELERY_RESULT_BACKEND",
        "db+postgresql://",
        "db+postgresql+psycopg://",
    )
    assert found.edit.sha256 and found.edit.line == 2


def test_a_variable_of_an_env_file_is_edited_there():
    """The service names the file; the variable stands in it."""
    base = file("/srv/a.yml", "env_file: worker.env")
    env = {
        **file("/srv/worker.env", "CELERY_BROKER_URL=redis://redsi:6379/0"),
        "values": {"CELERY_BROKER_URL": {"line": 1, "value": "redis://redsi:6379/0"}},
    }
    told = {**compose(base, env_file=[node("worker.env", 1)]), "env_files": [env]}
    found = locate(told, "mail", "CELERY_BROKER_URL", "redsi:6379", "redis:6379")
    assert (found.edit.file, found.edit.line) == ("/srv/worker.env", 1)


def test_a_line_with_a_secret_is_changed_by_a_command_that_does_not_show_it():
    """The command holds the fragment and the number of the line, nothing else of it."""
    base = file("/srv/a.yml", f"environment:\n  BACKEND: db+postgresql://me:{TOKEN}@postgres/x")
    found = locate(
        compose(base, environment={"BACKEND": [node(f"db+postgresql://me:{TOKEN}@postgres/x", 2)]}),
        "mail",
        "BACKEND",
        "db+postgresql://",
        "db+postgresql+psycopg://",
    )
    assert found.edit is None and TOKEN not in found.command and "/srv/a.yml" in found.command


def test_a_file_that_cannot_be_read_gives_a_text_without_a_line():
    """It is shown, not applied."""
    told = compose(
        {"path": "/srv/a.yml", "readable": False, "why": "not permitted", "lines": [], "hashes": []},
        command=[node(CMD, 1)],
    )
    found = locate(told, "mail", "command", "--queue", "--queues")
    assert found.edit == Edit("/srv/a.yml", None, "--queue", "--queues", "")


def test_services_that_share_an_anchor_share_one_edit():
    """The text stands once, so it is changed once."""
    base = file("/srv/a.yml", "x-url: &url db+postgresql://postgres/x")
    services = {
        name: {"command": [], "environment": {"BACKEND": [node("db+postgresql://postgres/x", 1)]}}
        for name in ("mail", "pay")
    }
    stack = Stack(Incident().evidence().data("containers"))
    one, other = stack.members[:2]
    told = {
        "files": [base],
        "services": {one.item["service"]: services["mail"], other.item["service"]: services["pay"]},
        "dotenv": None,
    }
    found = changes(
        told, [(one, "BACKEND", "db+postgresql://", "x"), (other, "BACKEND", "db+postgresql://", "x")]
    )
    assert len(found.edits) == 1 and found.complete


def test_what_stands_in_no_file_is_said_to_be_unplaced():
    """The command comes from the image: no edit can change it."""
    stack = Stack(Incident().evidence().data("containers"))
    found = changes(compose(), [(stack.members[0], "command", "--queue", "--queues")])
    assert found.unplaced == (stack.members[0].label,) and not found.complete


# --- Commands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "old,new",
    [("db+postgresql://", "db+postgresql+psycopg://"), ("a.b*c[d]^$", "x&y\\z"), ("it's #1", "it's #2")],
)
def test_the_sed_command_changes_only_its_fragment_of_its_line(tmp_path, old, new):
    """Run by a real shell on a real file, with every sign that sed could misunderstand."""
    path = tmp_path / "my compose.yml"
    path.write_text(f"one {old} two\none {old} two\nthree\n", "utf-8")
    subprocess.run(["sh", "-c", sed(str(path), 2, old, new)], check=True)
    assert path.read_text("utf-8") == f"one {old} two\none {new} two\nthree\n"


def test_the_sed_command_leaves_a_line_alone_that_has_changed(tmp_path):
    """Its guard looks first."""
    path = tmp_path / "a.yml"
    path.write_text("something else\n", "utf-8")
    assert subprocess.run(["sh", "-c", sed(str(path), 1, "old", "new")]).returncode != 0
    assert path.read_text("utf-8") == "something else\n"


def test_containers_are_made_anew_with_the_very_files_of_their_labels():
    """Project, files, no dependencies, only these services; quoted for the shell."""
    evidence = Incident().evidence()
    data = {
        **evidence.data("containers"),
        "config_files": ["/srv/my app/a.yml", "/srv/my app/b.yml"],
        "working_dir": "/srv/my app",
    }
    stack = Stack(data)
    (command,) = recreate(stack, [stack.get("email_worker"), stack.get("flower")])
    assert command == (
        "docker compose -p ai_backend -f '/srv/my app/a.yml' -f '/srv/my app/b.yml' up -d --no-deps "
        "email_worker flower"
    )


def test_a_project_folder_that_is_not_that_of_the_file_is_named():
    """Compose would look for .env in the wrong place."""
    data = {
        **Incident().evidence().data("containers"),
        "config_files": ["/srv/deploy/a.yml"],
        "working_dir": "/srv",
    }
    stack = Stack(data)
    assert "--project-directory /srv -f /srv/deploy/a.yml" in recreate(stack, [stack.get("flower")])[0]


def test_an_env_file_of_the_command_line_is_kept():
    """It stands in a label of the containers (Compose 2)."""
    data = Incident().item("flower", labels={"com.docker.compose.project.environment_file": "/srv/prod.env"})
    stack = Stack(data.evidence().data("containers"))
    assert "--env-file /srv/prod.env" in recreate(stack, [stack.get("flower")])[0]


def test_containers_that_compose_did_not_make_cannot_be_made_anew():
    """There is no file to make them from."""
    stack = Stack(Incident().item("flower", service=None).evidence().data("containers"))
    assert recreate(stack, [stack.get("flower")]) == ()


def test_hostile_names_stay_one_word():
    """Names of containers and databases come from outside."""
    stack = Stack(Incident().item("postgres", name="x; rm -rf /").evidence().data("containers"))
    command = create_database(stack.get("postgres"), 'a"; DROP DATABASE x; --', "it's")
    words = shlex.split(command)
    assert words[2] == "x; rm -rf /"
    assert words[-1] == 'CREATE DATABASE "a""; DROP DATABASE x; --" OWNER "it\'s"'
    assert identifier('a"b') == '"a""b"'
    assert shlex.split(restart([stack.get("postgres")])[0]) == ["docker", "restart", "x; rm -rf /"]
    assert shlex.split(psql(stack.get("postgres"), "me", "SELECT 1"))[-1] == "SELECT 1"


def test_a_password_is_set_from_the_servers_own_environment(tmp_path):
    """Real shells, a docker and a psql that write down what they get: the password is on no command line."""
    for name, body in (
        ("docker", 'echo "$@" >> "$TOLD"; shift 3; exec "$@"'),
        ("psql", 'echo "$@" >> "$TOLD"; cat >> "$TOLD"'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n", "utf-8")
        (tmp_path / name).chmod(0o755)
    server = Stack(Incident().item("postgres", name="a b").evidence().data("containers")).get("postgres")
    path = f"{tmp_path}:{os.environ['PATH']}"
    env = {"PATH": path, "TOLD": str(tmp_path / "told"), "POSTGRES_PASSWORD": "hunter2"}
    subprocess.run(["sh", "-c", set_password(server, "o\"d'd")], env=env, check=True)
    assert (tmp_path / "told").read_text("utf-8").splitlines() == [
        "exec -i a b psql -q -v ON_ERROR_STOP=1 -U postgres -d postgres",
        "-q -v ON_ERROR_STOP=1 -U postgres -d postgres",
        '\\set password `printf %s "$POSTGRES_PASSWORD"`',
        'ALTER ROLE "o""d\'d" PASSWORD :\'password\'',
    ]


def test_life_is_verified_by_state_and_by_a_ping_of_each_worker():
    """A worker is asked by its own name, from inside its own container."""
    stack = Stack.of(Incident().evidence())
    inspect, ping = alive([stack.get("email_worker")])
    assert inspect.startswith(
        "docker inspect -f '{{.Name}} {{.State.Status}} {{.RestartCount}}' ai_backend_email_worker"
    )
    # The remedy makes the container anew, and with it the host name in the worker's name.
    assert ping == (
        "docker exec ai_backend_email_worker sh -c 'celery -A shared.infrastructure.celery_app inspect ping "
        '-d "email_worker@$HOSTNAME"\'  # pong'
    )


def test_no_command_of_the_incident_holds_a_secret():
    """Not even a masked one."""
    for finding in diagnose(backend_reboot().evidence()).findings:
        remedy = finding.remedy
        commands = [*remedy.commands, *(c for o in remedy.options for c in o.commands), *finding.verify]
        assert not any(TOKEN in command or "‹" in command for command in commands)


# --- The patch ----------------------------------------------------------------------------------------------


def applied(tmp_path, text, diff, *command):
    """The file after a patch was applied by a real program."""
    path = tmp_path / "docker-compose.yml"
    path.write_text(text, "utf-8")
    (tmp_path / "fix.patch").write_text(diff, "utf-8")
    subprocess.run([*command], cwd=tmp_path, check=True, capture_output=True)
    return path.read_text("utf-8")


@pytest.mark.parametrize(
    "command",
    [("git", "apply", "fix.patch"), ("patch", "-p1", "--fuzz=0", "-i", "fix.patch")],
    ids=["git", "patch"],
)
def test_the_patch_of_the_incident_applies_to_the_very_file(tmp_path, command):
    """Eight lines change, and nothing else."""
    stack = backend_reboot()
    evidence = stack.evidence()
    diff = patch(diagnose(evidence), evidence)
    text = stack.compose_text() + "\n"
    expected = text.replace("db+postgresql://", "db+postgresql+psycopg://").replace("--queue=", "--queues=")
    assert expected != text
    assert applied(tmp_path, text, diff, *command) == expected


def test_the_patch_names_files_from_the_projects_folder():
    """So that it applies where the Compose file lies."""
    evidence = backend_reboot().evidence()
    diff = patch(diagnose(evidence), evidence)
    assert diff.startswith("--- a/docker-compose.yml\n+++ b/docker-compose.yml\n")
    assert unified([Edit(COMPOSE, 7, "x", "y")], evidence.data("compose"), FOLDER) == ""


def edit_of(told, line, old, new):
    return Edit(told["path"], line, old, new, told["hashes"][line - 1])


@pytest.mark.parametrize(
    "command",
    [("git", "apply", "fix.patch"), ("patch", "-p1", "--fuzz=0", "-i", "fix.patch")],
    ids=["git", "patch"],
)
def test_a_secret_two_lines_away_shortens_the_context_and_is_not_shown(tmp_path, command):
    """The patch has as little context as it must, and still applies."""
    real = "a: 1\nb: 2\npassword: hunter2\nc: 3\ncommand: --queue=mail\nd: 4\npassword2: hunter3\ne: 5\n"
    shown = real.replace("hunter2", TOKEN).replace("hunter3", TOKEN)
    told = file("/srv/docker-compose.yml", shown.rstrip("\n"))
    diff = unified([edit_of(told, 5, "--queue", "--queues")], {"files": [told]}, "/srv")
    assert TOKEN not in diff and "password" not in diff
    assert applied(tmp_path, real, diff, *command) == real.replace("--queue=", "--queues=")


def test_a_secret_in_the_next_line_makes_a_command_of_the_edit(tmp_path):
    """No patch can hold it; the command changes the fragment alone."""
    told = file(str(tmp_path / "a.yml"), f"a: 1\nurl: redis://redsi/0\npassword: {TOKEN}\n")
    edits = [edit_of(told, 2, "redsi", "redis")]
    assert unified(edits, {"files": [told]}, str(tmp_path)) == ""
    (command,) = beside_secrets(edits, {"files": [told]})
    (tmp_path / "a.yml").write_text("a: 1\nurl: redis://redsi/0\npassword: hunter2\n", "utf-8")
    subprocess.run(["sh", "-c", command], check=True)
    assert (tmp_path / "a.yml").read_text("utf-8") == "a: 1\nurl: redis://redis/0\npassword: hunter2\n"


def test_two_edits_of_one_line_become_one_change():
    """Host and option of the same command."""
    told = file("/srv/a.yml", "a: 1\ncommand: --queue=mail --logleve=info\nb: 2")
    diff = unified(
        [edit_of(told, 2, "--queue", "--queues"), edit_of(told, 2, "--logleve", "--loglevel")],
        {"files": [told]},
        "/srv",
    )
    assert "+command: --queues=mail --loglevel=info\n" in diff and diff.count("\n-") == 1


def test_an_edit_of_a_line_that_is_another_one_now_is_left_out():
    """Its hash does not fit: nothing is guessed."""
    told = file("/srv/a.yml", "a: 1\ncommand: --queue=mail\nb: 2")
    assert unified([Edit("/srv/a.yml", 2, "--queue", "--queues", "00" * 32)], {"files": [told]}, "/srv") == ""


def test_edits_near_each_other_share_a_hunk_and_far_ones_do_not(tmp_path):
    """The patch is as a person would have made it."""
    lines = [f"line{n}: x" for n in range(40)]
    told = file("/srv/docker-compose.yml", "\n".join(lines))
    edits = [edit_of(told, n, "x", "y") for n in (2, 5, 30)]
    diff = unified(edits, {"files": [told]}, "/srv")
    assert diff.count("@@ -") == 2
    text = "\n".join(lines) + "\n"
    got = applied(tmp_path, text, diff, "git", "apply", "fix.patch").split("\n")
    assert [n + 1 for n, line in enumerate(got) if line.endswith("y")] == [2, 5, 30]


def test_replicas_keep_their_number():
    """A service scaled by hand would else go back to the number in its file."""
    stack = Incident().evidence().section("containers").data
    twin = {**next(item for item in stack["items"] if item["label"] == "email_worker")}
    twin.update(label="email_worker-2", name="ai_backend-email_worker-2", number=2)
    stack = Stack({**stack, "items": [*stack["items"], twin]})
    chosen = [one for one in stack.members if one.item["service"] in ("email_worker", "flower")]
    (command,) = recreate(stack, chosen)
    assert "up -d --no-deps --scale email_worker=2 email_worker flower" in command
