"""Every shape of Compose file that people write: an edit becomes a patch that applies to the very file, and
the YAML differs in the intended value only. The files are collected, masked and edited by the real parts, and
patched by the real ``git`` and ``patch``."""

from __future__ import annotations

import copy
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from evidence import Incident
from test_collect_compose import section

from celery_triage.model import Edit
from celery_triage.remedies import beside_secrets, changes, locate, sed, unified
from celery_triage.stack import Stack

PROGRAMS = {"git": ["git", "apply"], "patch": ["patch", "-p1", "--fuzz=0", "-f", "-s", "-i"]}


@dataclass(frozen=True)
class Case:
    """One file, one edit, and where the new value must be seen: the path to it, old and new value."""

    text: str
    where: str
    old: str
    new: str
    seen: tuple
    was: object
    becomes: object
    service: str = "mail"


HEAD = """\
# The backend of the shop
services:
  redis:
    image: redis:7
  mail:
    image: shop/backend:3.1
"""
TAIL = """\
    restart: unless-stopped
    networks: [backend, front]
  beat:
    image: shop/backend:3.1
networks:
  backend: {}
  front: {}
"""
C = "celery -A shop.app worker --queue=mail -c 4"
D = "celery -A shop.app worker --queues=mail -c 4"
WORDS, RIGHT = C.split(), D.split()
AT = ("services", "mail", "command")
OPTION = {"where": "command", "old": "--queue", "new": "--queues", "seen": AT}
URL = "db+postgresql://shop:${PW}@postgres/shop"
DRIVER = {"where": "RESULTS", "old": "db+postgresql://", "new": "db+postgresql+psycopg://"}
NEW_URL = URL.replace("db+postgresql", "db+postgresql+psycopg")


def option(middle: str, was: object = C, becomes: object = D, text: str = "") -> Case:
    return Case(text or HEAD + middle + TAIL, **OPTION, was=was, becomes=becomes)


def url(middle: str, seen: tuple, was: object = URL, becomes: object = NEW_URL, text: str = "") -> Case:
    return Case(text or HEAD + middle + TAIL, **DRIVER, seen=seen, was=was, becomes=becomes)


ENV = ("services", "mail", "environment")
CASES = {
    "plain": option(f"    command: {C}\n"),
    "comment behind": option(f"    command: {C}  # the mail queue, see docs\n"),
    "comments around": option(f"    # Sends mail\n\n    command: {C}\n    # end of mail\n"),
    "single quotes": option(f"    command: '{C}'\n"),
    "double quotes": option(f'    command: "{C}"\n'),
    "double quotes with escapes": option(
        '    command: "celery -A shop.app worker --queue=mail -n \\"m@%h\\"\\t-c 4"\n',
        'celery -A shop.app worker --queue=mail -n "m@%h"\t-c 4',
        'celery -A shop.app worker --queues=mail -n "m@%h"\t-c 4',
    ),
    "folded": option(
        "    command: >\n      celery -A shop.app worker\n      --queue=mail\n      -c 4\n",
        C + "\n",
        D + "\n",
    ),
    "folded and stripped": option(
        "    command: >-\n      celery -A shop.app worker\n      --queue=mail -c 4\n"
    ),
    "literal with continuation": option(
        "    command: |\n      celery -A shop.app worker \\\n        --queue=mail \\\n        -c 4\n",
        "celery -A shop.app worker \\\n  --queue=mail \\\n  -c 4\n",
        "celery -A shop.app worker \\\n  --queues=mail \\\n  -c 4\n",
    ),
    "plain over two lines": option("    command: celery -A shop.app worker\n      --queue=mail -c 4\n"),
    "shell": option(
        f'    command: sh -c "sleep $$DELAY && exec {C}"\n',
        f'sh -c "sleep $$DELAY && exec {C}"'.replace('sh -c "', 'sh -c "'),
        f'sh -c "sleep $$DELAY && exec {D}"',
    ),
    "block list": option(
        "    command:\n" + "".join(f"      - {word}\n" for word in WORDS), [*WORDS[:-1], 4], [*RIGHT[:-1], 4]
    ),
    "block list, quoted": option(
        "    command:\n" + "".join(f'    - "{word}"\n' for word in WORDS), WORDS, RIGHT
    ),
    "block list with comments": option(
        "    command:\n      - celery\n      - -A\n      - shop.app\n      # the role\n      - worker\n"
        '      - --queue=mail  # one queue\n      - -c\n      - "4"\n',
        WORDS,
        RIGHT,
    ),
    "flow list": option(f"    command: {WORDS!r}\n".replace("'", '"'), WORDS, RIGHT),
    "flow list over lines": option(
        '    command: ["celery", "-A", "shop.app",\n              "worker", "--queue=mail",\n'
        '              "-c", "4"]\n',
        WORDS,
        RIGHT,
    ),
    "service in flow style": option(
        "", text="services:\n  mail: {image: x, command: celery -A shop.app worker --queue=mail -c 4}\n"
    ),
    "tabs": option(f"    command:\t{C} #\twith\ttabs\n"),
    "anchor on the command": option(f"    command: &mail {C}\n"),
    "anchor and alias": option(
        "", text=f"x-cmd: &cmd {C}\nservices:\n  mail:\n    image: x\n    command: *cmd\n"
    ),
    "merge key": option(
        "",
        text=f"x-worker: &worker\n  image: x\n  command: {C}\nservices:\n  mail:\n    <<: *worker\n"
        "    restart: always\n",
    ),
    "merge keys in a list": option(
        "", text=f"x-a: &a {{image: x}}\nx-b: &b\n  command: {C}\nservices:\n  mail:\n    <<: [*a, *b]\n"
    ),
    "the word in a comment before": option(f"    # not --queue=x\n    command: {C}\n"),
    "four spaces": option(
        "", text=f"services:\n    mail:\n        image: x\n        command: {C}\n        restart: always\n"
    ),
    "file of one line per side": option("", text=f"services:\n  mail:\n    command: {C}\n    image: x\n"),
    "key in quotes": option(f'    "command": {C}\n'),
    "document marker": option("", text=f"---\n{HEAD}    command: {C}\n{TAIL}...\n"),
    "accents and emoji": option(f"    # Grüße – schöne 🐇 Post\n    command: {C}\n    # für später\n"),
    "mapping": url(f"    environment:\n      RESULTS: {URL}\n      MORE: x\n", (*ENV, "RESULTS")),
    "mapping, quoted": url(f'    environment:\n      RESULTS: "{URL}"\n', (*ENV, "RESULTS")),
    "list of assignments": url(
        f"    environment:\n      - TZ=UTC\n      - RESULTS={URL}\n      - MORE=x\n",
        (*ENV, 1),
        f"RESULTS={URL}",
        f"RESULTS={NEW_URL}",
    ),
    "list of quoted assignments": url(
        f'    environment:\n      - "RESULTS={URL}"\n      - DEBUG\n',
        (*ENV, 0),
        f"RESULTS={URL}",
        f"RESULTS={NEW_URL}",
    ),
    "flow mapping": url(f'    environment: {{TZ: UTC, RESULTS: "{URL}"}}\n', (*ENV, "RESULTS")),
    "merged environment": url(
        "",
        ("x-env", "RESULTS"),
        text=f"x-env: &env\n  RESULTS: {URL}\nservices:\n  mail:\n    environment:\n      <<: *env\n"
        "      MORE: x\n    image: x\n",
    ),
    "default of a variable": url(
        "    environment:\n      RESULTS: ${RESULTS:-db+postgresql://shop@postgres/shop}\n",
        (*ENV, "RESULTS"),
        "${RESULTS:-db+postgresql://shop@postgres/shop}",
        "${RESULTS:-db+postgresql+psycopg://shop@postgres/shop}",
    ),
    "folded value": url(
        f"    environment:\n      RESULTS: >-\n        {URL}\n      MORE: x\n", (*ENV, "RESULTS")
    ),
    "two of them in one line": url(
        f'    environment: ["RESULTS={URL}", "OTHER=redis://db"]\n',
        (*ENV, 0),
        f"RESULTS={URL}",
        f"RESULTS={NEW_URL}",
    ),
}
ENDS = {
    "": lambda text: text.encode(),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "no newline at the end": lambda text: text.removesuffix("\n").encode(),
    "crlf, no newline at the end": lambda text: text.removesuffix("\n").replace("\n", "\r\n").encode(),
    "byte order mark": lambda text: b"\xef\xbb\xbf# Made by an editor\n#\n#\n" + text.encode(),
    "many blank lines behind": lambda text: (text + "\n\n\n").encode(),
}


def found(path: Path, case: Case, redactor=None):
    """(section's data, change) as a diagnosis would have them."""
    told = section([str(path)], path.parent, redactor)
    assert told.status == "ok", told.why
    return told.data, locate(told.data, case.service, case.where, case.old, case.new)


def patched(program: str, diff: str, folder: Path) -> None:
    """Applied where the Compose file lies, as a person would."""
    (folder / "fix.patch").write_bytes(diff.encode("utf-8", "surrogateescape"))
    done = subprocess.run(
        [*PROGRAMS[program], "fix.patch"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{diff}"
    assert not [*folder.rglob("*.orig"), *folder.rglob("*.rej")]


def run(command: str) -> None:
    """A command of a remedy, pasted into a shell."""
    subprocess.run(["sh", "-c", command], check=True)


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def set_at(tree, path, value):
    tree = copy.deepcopy(tree)
    at(tree, path[:-1])[path[-1]] = value
    return tree


def plain(raw: bytes):
    return yaml.load(raw.decode("utf-8-sig"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def same_elsewhere(before: bytes, after: bytes, line: int) -> None:
    """Byte by byte, but for the one line."""
    old, new = before.split(b"\n"), after.split(b"\n")
    assert len(old) == len(new)
    assert [n for n, (a, b) in enumerate(zip(old, new, strict=True), 1) if a != b] == [line]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("name", CASES)
def test_the_patch_applies_and_changes_the_intended_value_only(tmp_path, name, ends, program):
    """One fragment of one line; every other byte is as it was, and the YAML means the rest as before."""
    case = CASES[name]
    path = tmp_path / "docker-compose.yml"
    before = ENDS[ends](case.text)
    path.write_bytes(before)
    told, change = found(path, case)
    assert change is not None and change.edit is not None, "no edit was found"
    diff = unified([change.edit], told, str(tmp_path))
    assert diff, "no patch can hold it"
    patched(program, diff, tmp_path)
    after = path.read_bytes()
    same_elsewhere(before, after, change.edit.line)
    tree = plain(before)
    if "<<" not in case.text and "*cmd" not in case.text:
        assert at(tree, case.seen) == case.was
        assert plain(after) == set_at(tree, case.seen, case.becomes)
    else:
        assert at(plain(after), case.seen) == case.becomes


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("name", CASES)
def test_the_command_changes_the_same_and_nothing_else(tmp_path, name, ends):
    """Where no patch can be made, the command does what the patch would have done."""
    case = CASES[name]
    path = tmp_path / "docker compose's $file.yml"
    before = ENDS[ends](case.text)
    path.write_bytes(before)
    _, change = found(path, case)
    edit = change.edit
    run(sed(edit.file, edit.line, edit.old, edit.new))
    same_elsewhere(before, path.read_bytes(), edit.line)
    assert at(plain(path.read_bytes()), case.seen) == case.becomes


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "folder",
    ["", "deploy", "deploy/my stack", "dépôt/ß", "a'b$HOME"],
    ids=["top", "sub", "blank", "accents", "signs"],
)
def test_in_a_subfolder_of_a_repository(tmp_path, folder, program):
    """The Compose file lies anywhere in a repository, the patch is applied where it lies."""
    case = CASES["plain"]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    below = tmp_path / folder
    (below / "stack").mkdir(parents=True)
    path = below / "stack" / "docker compose.yml"
    path.write_text(case.text, "utf-8")
    told, change = found(path, case)
    diff = unified([change.edit], told, str(below))
    patched(program, diff, below)
    assert at(plain(path.read_bytes()), case.seen) == case.becomes


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_file_behind_a_link_is_changed_itself(tmp_path, program):
    """``git`` and ``patch`` refuse links, ``sed -i`` would replace the link by a file."""
    case = CASES["plain"]
    real, link = tmp_path / "docker-compose.prod.yml", tmp_path / "docker-compose.yml"
    real.write_text(case.text, "utf-8")
    link.symlink_to(real.name)
    told, change = found(link, case)
    assert change.edit.file == str(real)
    patched(program, unified([change.edit], told, str(tmp_path)), tmp_path)
    assert link.is_symlink() and at(plain(link.read_bytes()), case.seen) == case.becomes


def test_a_file_outside_the_projects_folder_is_changed_by_a_command(tmp_path):
    """A patch is applied in one folder; what lies elsewhere it cannot reach."""
    case = CASES["plain"]
    (tmp_path / "app").mkdir()
    real, link = tmp_path / "shared.yml", tmp_path / "app" / "docker-compose.yml"
    real.write_text(case.text, "utf-8")
    link.symlink_to(real)
    told, change = found(link, case)
    assert unified([change.edit], told, str(tmp_path / "app")) == ""
    (command,) = beside_secrets([change.edit], told, str(tmp_path / "app"))
    run(command)
    assert link.is_symlink() and at(plain(real.read_bytes()), case.seen) == case.becomes


@pytest.mark.parametrize("name", ["plain", "block list, quoted", "mapping"])
def test_what_cannot_be_quoted_is_never_in_a_patch(tmp_path, name):
    """Mixed line ends: either the patch applies, or a command changes the fragment."""
    case = CASES[name]
    path = tmp_path / "docker-compose.yml"
    before = case.text.encode().replace(b"\n", b"\r\n", 2)
    path.write_bytes(before)
    told, change = found(path, case)
    diff = unified([change.edit], told, str(tmp_path))
    if diff:
        patched("patch", diff, tmp_path)
    else:
        (command,) = beside_secrets([change.edit], told, str(tmp_path))
        run(command)
    same_elsewhere(before, path.read_bytes(), change.edit.line)


def test_secrets_in_both_neighbour_lines_leave_a_command(tmp_path):
    """The patch would show them; the command shows the fragment alone."""
    text = (
        "services:\n  mail:\n    environment:\n      DB_PASSWORD: hunter2hunter2\n"
        "      RESULTS: db+postgresql://shop@postgres/shop\n      API_TOKEN: 9f8e7d6c5b4a3f2e\n"
    )
    path = tmp_path / "docker-compose.yml"
    path.write_text(text, "utf-8")
    told, change = found(path, Case(text, **DRIVER, seen=(), was=None, becomes=None))
    assert unified([change.edit], told, str(tmp_path)) == ""
    (command,) = beside_secrets([change.edit], told, str(tmp_path))
    assert "hunter2" not in command and "9f8e" not in command
    run(command)
    assert path.read_text("utf-8") == text.replace("db+postgresql:", "db+postgresql+psycopg:")


def test_a_secret_in_the_line_itself_leaves_a_command(tmp_path):
    """The password stands in the URL."""
    text = "services:\n  mail:\n    environment:\n      RESULTS: db+postgresql://shop:hunter2hunter2@postgres/shop\n"
    path = tmp_path / "docker-compose.yml"
    path.write_text(text, "utf-8")
    _, change = found(path, Case(text, **DRIVER, seen=(), was=None, becomes=None))
    assert change.edit is None and "hunter2" not in change.command
    run(change.command)
    assert path.read_text("utf-8") == text.replace("db+postgresql:", "db+postgresql+psycopg:")


def test_a_default_counts_only_where_dotenv_does_not_set_the_variable(tmp_path):
    """Compose takes the default for what is not set."""
    case = CASES["default of a variable"]
    path = tmp_path / "docker-compose.yml"
    path.write_text(case.text, "utf-8")
    (tmp_path / ".env").write_text("RESULTS=db+postgresql://shop@postgres/shop\n", "utf-8")
    _, change = found(path, case)
    assert (change.edit.file, change.edit.line) == (str(tmp_path / ".env"), 1)


def test_a_comment_is_not_taken_for_the_value(tmp_path):
    """The option comes from .env; the line of the Compose file only speaks of it."""
    text = HEAD + "    command: celery -A shop.app worker ${OPTIONS} # was --queue\n" + TAIL
    path = tmp_path / "docker-compose.yml"
    path.write_text(text, "utf-8")
    (tmp_path / ".env").write_text("OPTIONS=--queue=mail -c 4\n", "utf-8")
    _, change = found(path, Case(text, **OPTION, was=None, becomes=None))
    assert (change.edit.file, change.edit.old) == (str(tmp_path / ".env"), "--queue")


@pytest.mark.parametrize("program", PROGRAMS)
def test_base_override_include_extends_and_env_files_in_one_patch(tmp_path, program):
    """Each edit in the file that sets the value, all in one patch; what is not meant stays byte for byte."""
    texts = {
        "docker-compose.yml": "include:\n  - more/other.yml\nservices:\n  mail:\n    image: x\n"
        f"    command: {C}\n  pay:\n    extends:\n      file: common.yml\n      service: worker\n"
        "  sync:\n    image: x\n    env_file: sync.env\n",
        "docker-compose.override.yml": f"services:\r\n  mail:\r\n    command: {C}\r\n",
        "common.yml": f"services:\n  worker:\n    image: x\n    command: {C}",
        "more/other.yml": f"services:\n  bulk:\n    image: x\n    command: ['sh', '-c', '{C}']\n",
        "sync.env": "# results\nexport RESULTS='db+postgresql://shop@postgres/shop'\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    files = [str(tmp_path / name) for name in ("docker-compose.yml", "docker-compose.override.yml")]
    told = section(files, tmp_path).data
    edits = [locate(told, name, "command", "--queue", "--queues").edit for name in ("mail", "pay", "bulk")]
    edits.append(locate(told, "sync", DRIVER["where"], DRIVER["old"], DRIVER["new"]).edit)
    patched(program, unified(edits, told, str(tmp_path)), tmp_path)
    after = {name: (tmp_path / name).read_bytes().decode() for name in texts}
    assert after["docker-compose.yml"] == texts["docker-compose.yml"]
    for name in ("docker-compose.override.yml", "common.yml", "more/other.yml"):
        assert after[name] == texts[name].replace("--queue=", "--queues=")
    assert after["sync.env"] == texts["sync.env"].replace("db+postgresql:", "db+postgresql+psycopg:")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("ends", ENDS)
def test_several_edits_of_one_file_and_of_one_line(tmp_path, ends, program):
    """Near each other and far, two in one line, the first line and the last."""
    lines = [f"# {n}" for n in range(30)]
    lines[0] = "services: {a: {command: x --queue=a --logleve=info}}"
    lines[6], lines[12], lines[29] = (f"x-{n}: {{command: x --queue=b}}" for n in (6, 12, 29))
    before = ENDS[ends]("\n".join(lines) + "\n")
    path = tmp_path / "docker-compose.yml"
    path.write_bytes(before)
    told = section([str(path)], tmp_path).data
    (file,) = told["files"]
    edits = [
        Edit(str(path), n, old, new, file["hashes"][n - 1])
        for n, line in enumerate(file["lines"], 1)
        for old, new in (("--queue", "--queues"), ("--logleve", "--loglevel"))
        if f"{old}=" in line
    ]
    assert len(edits) == 5
    patched(program, unified(edits, told, str(tmp_path)), tmp_path)
    expected = before.replace(b"--queue=", b"--queues=").replace(b"--logleve=", b"--loglevel=")
    assert path.read_bytes() == expected


@pytest.mark.parametrize(
    "text,shared",
    [
        ("x-w: &w {command: CMD}\nservices: {email_worker: {<<: *w}, payment_worker: {<<: *w}}\n", True),
        ("services:\n  email_worker: {command: &c CMD}\n  payment_worker: {command: *c}\n", True),
        ("services:\n  email_worker: {extends: payment_worker}\n  payment_worker: {command: CMD}\n", True),
        ("services:\n  email_worker: {command: CMD}\n  payment_worker: {command: CMD}\n", False),
    ],
    ids=["merge key", "alias", "extends", "own"],
)
def test_what_is_right_for_one_service_is_not_written_where_others_share_it(tmp_path, text, shared):
    """Half the pool processes for one worker are not half for all that merge the same command."""
    path = tmp_path / "docker-compose.yml"
    path.write_text(text.replace("CMD", "celery -A shop.app worker --concurrency=4"), "utf-8")
    told = section([str(path)], tmp_path).data
    stack = Stack(Incident().evidence().data("containers"))
    edit = ("command", "--concurrency=4", "--concurrency=2")
    mail, pay = ((stack.get(name), *edit) for name in ("email_worker", "payment_worker"))
    assert changes(told, [mail], alone=True).complete is not shared
    assert changes(told, [mail]).complete
    both = changes(told, [mail, pay], alone=True)
    assert both.complete and len(both.edits) == (1 if shared else 2)


def test_each_service_has_its_own_env_files(tmp_path):
    """Of several files the last that sets the variable counts, and never one of another service."""
    texts = {
        "docker-compose.yml": "services:\n  a: {image: x, env_file: a.env}\n"
        "  b: {image: x, env_file: [all.env, {path: b.env, required: false}]}\n"
        "  c: {image: x, env_file: [a.env, all.env]}\n",
        "a.env": "RESULTS=db+postgresql://a\n",
        "b.env": "# b\nRESULTS=db+postgresql://b\n",
        "all.env": "RESULTS=redis://r\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, "utf-8")
    told = section([str(tmp_path / "docker-compose.yml")], tmp_path).data
    found = [locate(told, one, DRIVER["where"], DRIVER["old"], DRIVER["new"]) for one in "abc"]
    assert [(change.edit.file, change.edit.line) for change in found[:2]] == [
        (str(tmp_path / "a.env"), 1),
        (str(tmp_path / "b.env"), 2),
    ]
    assert found[2] is None, "all.env comes last and says redis"


def test_a_variable_that_is_only_named_comes_from_dotenv(tmp_path):
    """`environment: [RESULTS]` hands on what `.env` says."""
    path = tmp_path / "docker-compose.yml"
    path.write_text("services:\n  mail:\n    environment:\n      - RESULTS\n", "utf-8")
    (tmp_path / ".env").write_text("RESULTS=db+postgresql://shop@postgres/shop\n", "utf-8")
    told = section([str(path)], tmp_path).data
    change = locate(told, "mail", DRIVER["where"], DRIVER["old"], DRIVER["new"])
    assert change.edit.file == str(tmp_path / ".env")


def test_the_file_of_the_option_env_file_takes_the_place_of_dotenv(tmp_path):
    """A label of the containers names it; an edit of `.env` would change nothing."""
    path, other = tmp_path / "docker-compose.yml", tmp_path / "prod.env"
    path.write_text("services:\n  mail:\n    environment:\n      RESULTS: ${RESULTS}\n", "utf-8")
    for file in (other, tmp_path / ".env"):
        file.write_text("RESULTS=db+postgresql://shop@postgres/shop\n", "utf-8")
    label = {"com.docker.compose.project.environment_file": str(other)}
    told = section([str(path)], tmp_path, items=[{"member": True, "labels": label}]).data
    change = locate(told, "mail", DRIVER["where"], DRIVER["old"], DRIVER["new"])
    assert change.edit.file == str(other)
