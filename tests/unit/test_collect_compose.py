"""Compose files are shown masked, with the place of everything that can be edited, and nothing else."""

from __future__ import annotations

import hashlib
import os
import re
import time

import pytest

from celery_triage.collect import compose, document
from celery_triage.collect.probe import Emit, run_sources
from celery_triage.model import dumps
from celery_triage.redact import Redactor

# The incident's own Compose file, as the laboratory writes it, shortened to one worker.
INCIDENT = """\
# AI backend: Celery workers, scheduler and monitoring.
services:
  # Sends mail. Metrics on 9091.
  email_worker:
    image: ${BACKEND_IMAGE}
    command: celery -A shared.infrastructure.celery_app worker --loglevel=info --queue=email_processing
    restart: unless-stopped
    environment:
      CELERY_BROKER_URL: redis://redis:6379/0
      CELERY_RESULT_BACKEND: db+postgresql://${POSTGRES_USER}:${POSTGRES_PASSWORD}@postgres:5432/${DB_NAME}
      PROMETHEUS_PORT: "9091"
    networks:
      - database-net
"""
ENV = "POSTGRES_USER=postgres\nPOSTGRES_PASSWORD=n0t-a-real-passw0rd\nDB_NAME=ai_backend\n"


def write(folder, **files: str) -> list[str]:
    """Files of these texts; a name's double underscore is a dot. Their paths, in order."""
    paths = []
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        paths.append(str(path))
    return paths


def section(paths: list[str], folder="", redactor=None, items=()):
    """The section that a label with these paths leads to."""
    data = {"config_files": paths, "working_dir": str(folder) or None, "items": list(items)}
    probed = run_sources([compose.source(data, {}, redactor or Redactor())], mask=str)
    return probed.sections["compose"]


def values(told, service: str, key: str) -> list:
    return [node["value"] for node in told.data["services"][service][key]]


def test_the_incidents_own_file(tmp_path):
    """Every value with its line and column; lines that hold no secret with the hash that a patch needs."""
    paths = write(tmp_path, docker_compose__yml=INCIDENT)
    told = section(paths)
    assert (told.status, told.why) == ("ok", "")
    file, lines = told.data["files"][0], INCIDENT.splitlines()
    assert file["lines"] == lines
    assert file["hashes"] == [hashlib.sha256(line.encode()).hexdigest() for line in lines]
    command = told.data["services"]["email_worker"]["command"][0]
    assert (command["file"], command["line"], command["end_line"], command["col"]) == (0, 6, 6, 14)
    assert lines[5][command["col"] - 1 :] == command["value"] and not command["masked"]
    environment = told.data["services"]["email_worker"]["environment"]
    assert environment["CELERY_RESULT_BACKEND"][0]["line"] == 10
    assert environment["CELERY_RESULT_BACKEND"][0]["value"].startswith(
        "db+postgresql://${POSTGRES_USER}:${POSTGRES_P"
    )
    assert told.data["dotenv"] is None and re.fullmatch(r"2\d{3}-[0-9T:-]+Z", file["modified"])


def test_the_env_file_beside_it(tmp_path):
    """Its secrets are masked, its other lines can be patched, and what it sets is told by line."""
    redactor = Redactor()
    told = section(write(tmp_path, docker_compose__yml=INCIDENT, __env=ENV)[:1], tmp_path, redactor)
    dotenv = told.data["dotenv"]
    token = redactor.token("n0t-a-real-passw0rd")
    assert dotenv["lines"] == [
        "POSTGRES_USER=postgres",
        f"POSTGRES_PASSWORD={token}",
        "DB_NAME=ai_backend",
    ]
    assert [bool(hash) for hash in dotenv["hashes"]] == [True, False, True]
    assert dotenv["values"]["POSTGRES_PASSWORD"] == {"line": 2, "value": token}
    assert "n0t-a-real" not in dumps(told.data)


def test_an_override_wins_and_both_places_are_told(tmp_path):
    """The line to patch may be in the override: the last node of a key is the one that counts."""
    override = """\
x-owner: nobody
services:
  email_worker:
    command: ["celery", "-A", "app", "worker", "--queue", "mail"]
    environment:
      - CELERY_BROKER_URL=redis://other:6379/1
      - EXTRA
"""
    told = section(write(tmp_path, base__yml=INCIDENT, override__yml=override))
    command = told.data["services"]["email_worker"]["command"]
    assert [(node["file"], node["line"]) for node in command] == [(0, 6), (1, 4)]
    assert command[1]["value"] == ["celery", "-A", "app", "worker", "--queue", "mail"]
    broker = told.data["services"]["email_worker"]["environment"]["CELERY_BROKER_URL"]
    assert [(node["file"], node["line"], node["value"]) for node in broker] == [
        (0, 9, "redis://redis:6379/0"),
        (1, 6, "redis://other:6379/1"),
    ]
    assert values(told, "email_worker", "image") == ["${BACKEND_IMAGE}"]
    assert told.data["services"]["email_worker"]["environment"]["EXTRA"][0]["value"] is None


def test_anchors_and_merge_keys_lead_to_where_the_text_stands(tmp_path):
    """What several services share is written once, and edited there."""
    text = """\
x-common: &common
  image: backend
  environment: &env
    A: one
    B: two
services:
  first:
    <<: *common
    command: celery beat
  second:
    <<: [{image: other}, *common]
    environment:
      <<: *env
      B: mine
  third: *common
"""
    told = section(write(tmp_path, compose__yaml=text)).data["services"]
    assert (told["first"]["image"][0]["value"], told["first"]["image"][0]["line"]) == ("backend", 2)
    assert told["second"]["image"][0]["value"] == "other"
    assert [
        (told["second"]["environment"][name][0]["value"], told["second"]["environment"][name][0]["line"])
        for name in "AB"
    ] == [("one", 4), ("mine", 14)]
    assert told["third"]["environment"]["A"][0]["line"] == 4


def test_block_and_folded_texts_have_their_lines(tmp_path):
    """A command over several lines is told with its first and last line."""
    text = """\
services:
  a:
    command: >-
      celery
      -A app worker
    entrypoint:
      - sh
      - -c
    networks: [one,
      two]
    image: x
"""
    told = section(write(tmp_path, compose__yaml=text)).data["services"]["a"]
    assert told["command"][0]["value"] == "celery -A app worker"
    assert [
        (told[key][0]["line"], told[key][0]["end_line"]) for key in ("command", "entrypoint", "networks")
    ] == [(3, 5), (7, 8), (9, 10)]


def test_what_a_service_extends_stands_before_it(tmp_path):
    """In the same file and in another one, which is then shown, too."""
    paths = write(
        tmp_path,
        compose__yaml="""\
services:
  base: {image: one, command: a}
  first: {extends: base, command: b}
  second: {extends: {file: common/base.yml, service: worker}}
""",
    )
    write(tmp_path / "common", base__yml="services:\n  worker:\n    command: shared\n")
    told = section(paths)
    assert values(told, "first", "command") == ["a", "b"] and values(told, "first", "image") == ["one"]
    assert values(told, "second", "command") == ["shared"]
    assert [file["path"] for file in told.data["files"]] == [paths[0], str(tmp_path / "common" / "base.yml")]


def test_included_files_are_read(tmp_path):
    """Their services are part of the project."""
    paths = write(
        tmp_path,
        compose__yaml="include: [inc.yml]\nservices: {a: {image: x}}\n",
        inc__yml="services: {b: {image: y}}\n",
    )
    assert set(section(paths[:1]).data["services"]) == {"a", "b"}


def test_paths_of_the_first_compose_are_relative_to_its_folder(tmp_path):
    """Version 1 writes relative paths into its label; `containers` joins them with the working directory."""
    from celery_triage.collect.engine import _about

    labels = {
        "com.docker.compose.project.working_dir": str(tmp_path),
        "com.docker.compose.project.config_files": "docker-compose.yml,docker-compose.prod.yml",
    }
    data = _about("p", [{"member": True, "project": "p", "labels": labels}])
    assert data["config_files"] == [f"{tmp_path}/docker-compose.yml", f"{tmp_path}/docker-compose.prod.yml"]


SECRETS = {
    "plain": "POSTGRES_PASSWORD: {}",
    "quoted": "POSTGRES_PASSWORD: '{}'",
    "list": "- POSTGRES_PASSWORD={}",
    "quoted list": '- "POSTGRES_PASSWORD={}"',
    "url": "DATABASE_URL: postgresql://u:{}@h/d",
    "default": "POSTGRES_PASSWORD: ${{POSTGRES_PASSWORD:-{}}}",
    "block": "PRIVATE_KEY: |\n        {}\n        second line",
    "folded": "API_TOKEN: >-\n        {}",
    "next line": "API_TOKEN:\n        {}",
    "comment": "A: b  # password={}",
    "double": 'POSTGRES_PASSWORD: "{}"',
    "flow": "X: {{POSTGRES_PASSWORD: {}, B: c}}",
    "colon": "SECRET_KEY: {}:more",
    "url default": "BROKER: ${{BROKER:-redis://:{}@redis:6379/0}}",
}


@pytest.mark.parametrize("way", SECRETS)
@pytest.mark.parametrize("secret", ["s3cr3t-v4lue", "x7#y", "pw1"])
def test_secrets_are_masked_wherever_a_file_holds_them(tmp_path, way, secret):
    """In values of every YAML style, in URLs, defaults and comments; short ones, too, in their position."""
    redactor = Redactor()
    text = f"services:\n  a:\n    environment:\n      {SECRETS[way].format(secret)}\n    image: keep\n"
    told = section(write(tmp_path, compose__yaml=text), redactor=redactor)
    assert told.status == "ok", told.why
    assert secret not in dumps(told.data)
    assert told.data["files"][0]["lines"][-1] == "    image: keep"
    masked = [hash is None for hash in told.data["files"][0]["hashes"]]
    assert masked[-1] is False and True in masked
    assert "***" in dumps(told.data["files"])


def test_secrets_of_commands_and_health_checks_are_masked(tmp_path):
    """An option and its value may be two words."""
    text = """\
services:
  redis:
    command: ["redis-server", "--requirepass", "s3cr3t-v4lue"]
    healthcheck:
      test: ["CMD", "redis-cli", "-a", "s3cr3t-v4lue", "ping"]
  other:
    command: mytool s3cr3t-v4lue
"""
    told = section(write(tmp_path, compose__yaml=text))
    assert "s3cr3t" not in dumps(told.data)
    assert told.data["services"]["redis"]["command"][0]["masked"] is True


def test_what_was_learnt_goes_back_to_the_parent(tmp_path):
    """A password that stands only in a file is then masked in the logs as well."""
    data = {
        "config_files": write(tmp_path, compose__yaml=INCIDENT, __env=ENV)[:1],
        "working_dir": str(tmp_path),
    }
    probed = run_sources([compose.source(data, {}, Redactor())], mask=str)
    parent = Redactor()
    parent.adopt(probed.values["compose"]["learnt"])
    assert parent.text("saw n0t-a-real-passw0rd there").startswith("saw ***")


def test_env_files_of_services(tmp_path):
    """All forms that Compose reads: comments, export, quotes over several lines, a name that comes twice."""
    env = """\
# comment with password=n0t-shown-here
export CELERY_BROKER_URL=redis://:abc@redis:6379/0
EMPTY=
COLON: value
QUOTED="two words" # why
PRIVATE_KEY="-----BEGIN PRIVATE KEY-----
MIIEowIBAAKCAQEA
-----END PRIVATE KEY-----"
EMPTY=again
LAST
"""
    paths = write(
        tmp_path,
        compose__yaml="services: {a: {env_file: [{path: worker.env}, missing.env]}}\n",
        worker__env=env,
    )
    redactor = Redactor()
    told = section(paths[:1], redactor=redactor)
    file, missing = told.data["env_files"]
    assert told.status == "partial" and "no such file" in missing["why"]
    assert {name: entry["line"] for name, entry in file["values"].items()} == {
        "CELERY_BROKER_URL": 2,
        "EMPTY": 9,
        "COLON": 4,
        "QUOTED": 5,
        "PRIVATE_KEY": 6,
    }
    assert file["values"]["QUOTED"]["value"] == "two words"
    assert file["values"]["CELERY_BROKER_URL"]["value"] == f"redis://:{redactor.token('abc')}@redis:6379/0"
    text = "\n".join(file["lines"])
    assert "MIIE" not in text and "n0t-shown" not in text and ":abc@" not in text and len(file["lines"]) == 10


@pytest.mark.parametrize(
    "content",
    [
        "root:x:0:0:root:/root:/bin/bash\n",
        "-----BEGIN PRIVATE KEY-----\nMIIE\n",
        "a: [1",
        "just words\n",
        "\x7fELF\x00\x01",
        "- a\n- b\n",
        "services: {}\n",
        "",
        "name: x\n",
        "services: text\n",
        "[" * 100_000,
        "- " * 50_000 + "a",
        "{" * 70 + "}" * 70,
        "services: {a: {image: x}}\n---\nservices: {b: {}}\n",
        "services: {a: *nowhere}\n",
    ],
)
def test_what_is_no_compose_file_is_not_shown(tmp_path, content):
    """A label can name any file of this machine; only what is a Compose file enters the evidence."""
    told = section(write(tmp_path, compose__yaml=content))
    file = told.data["files"][0]
    assert (told.status, file["readable"], file["lines"], file["hashes"]) == ("denied", False, [], [])
    assert file["why"] and told.data["services"] == {}


@pytest.mark.parametrize(
    "content", ["root:x:0:0:root:/root:/bin/bash\n", "words that are none\n", 'A="open\n', "\x7fELF\n"]
)
def test_what_is_no_env_file_is_not_shown(tmp_path, content):
    """A Compose file can name any path as its env file."""
    paths = write(tmp_path, compose__yaml="services: {a: {env_file: other}}\n", other=content)
    told = section(paths[:1])
    assert told.data["env_files"][0]["readable"] is False and told.data["env_files"][0]["lines"] == []
    assert content.split("\n")[0] not in dumps(told.data)


def test_files_that_cannot_be_read_are_told_with_the_reason(tmp_path):
    """Another machine's path, a folder, a pipe, a file too large: each a sentence, never an exception."""
    os.mkfifo(tmp_path / "pipe.yml")
    large = write(tmp_path, large__yml="#" * (compose.SIZE + 1))[0]
    good = write(tmp_path, good__yml=INCIDENT)[0]
    paths = ["/elsewhere/docker-compose.yml", str(tmp_path), str(tmp_path / "pipe.yml"), large, "-", good]
    start = time.monotonic()
    told = section(paths)
    assert time.monotonic() - start < 3
    assert told.status == "partial"
    assert [file["why"] for file in told.data["files"]] == [
        "there is no such file on this machine",
        "it is no regular file",
        "it is no regular file",
        "it is larger than 512 KiB",
        "its path is not absolute, so it is not known which file is meant",
        "",
    ]
    assert "email_worker" in told.data["services"]


def test_a_file_that_may_not_be_read_is_denied(tmp_path, monkeypatch):
    """The reason tells whom to ask."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, compose__yaml=INCIDENT)
    monkeypatch.setattr(compose.os, "open", refuse)
    entry = compose.Project(Redactor(), Emit([].append)).env_file(path[0])
    assert entry["why"] == "this user may not read it"


def test_containers_without_compose_have_no_files():
    """That is no error of anybody, and still nothing was seen."""
    told = section([])
    assert (told.status, told.data) == ("unreachable", None)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "m0: &m0 {A: b}\n" + "".join(
    f"m{n}: &m{n} {{<<: [{','.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB + "services: {w: {command: *i}}\n",
        MERGES + "services: {w: *m8}\n",
        MERGES + "services: {w: {environment: *m8}}\n",
        "services: {w: &w {deploy: *w}}\n",
        "services: {w: &w {<<: *w, image: x}}\n",
    ],
)
def test_bombs_and_circles_are_bounded(tmp_path, text):
    """Aliases that multiply or lead to themselves cost no more than a second, and never the whole run."""
    start = time.monotonic()
    told = section(write(tmp_path, compose__yaml=text))
    assert time.monotonic() - start < 6
    assert told.status in ("denied", "partial", "no_reply")
    assert told.why


def test_a_file_of_the_largest_size_is_read_in_time(tmp_path):
    """Half a megabyte of services."""
    text = "services:\n" + "".join(
        f"  s{n}:\n    image: i\n    environment:\n      A: b\n" for n in range(9000)
    )
    start = time.monotonic()
    told = section(write(tmp_path, compose__yaml=text[: compose.SIZE - 2000]))
    assert told.status == "ok" and time.monotonic() - start < 8


def test_line_ends_of_windows_are_no_part_of_a_line(tmp_path):
    """The hash is of the line without its end."""
    path = tmp_path / "compose.yaml"
    path.write_bytes(b"services:\r\n  a:\r\n    command: celery worker\r\n")
    told = section([str(path)])
    assert told.data["files"][0]["hashes"][2] == hashlib.sha256(b"    command: celery worker").hexdigest()
    assert values(told, "a", "command") == ["celery worker"]


def test_a_file_that_is_no_utf8_is_denied_as_compose_refuses_it(tmp_path):
    """One letter of Latin-1 in a comment: nothing of the file is judged, and the byte is named."""
    path = tmp_path / "compose.yaml"
    path.write_bytes(b"services:\n  a:\n    command: celery worker  # caf\xe9\n")
    told = section([str(path)])
    assert told.status == "denied" and "it is no UTF-8 text (byte 49)" in told.why
    assert told.data["services"] == {} and told.data["files"][0]["lines"] == []


def test_places_point_at_the_text():
    """Line and column of every plain value lead to its first letter."""
    parsed = document.parse(INCIDENT)
    for name, place in parsed.service("email_worker").environment():
        line = INCIDENT.splitlines()[place.line - 1]
        assert line[place.col - 1 :].strip('"') == place.value, name


def test_the_services_of_a_file_that_is_only_extended_are_none_of_the_project(tmp_path):
    """What they say counts where a service extends them; profiles and scale are told as written."""
    base, common = write(
        tmp_path,
        docker_compose__yml="services:\n  mail:\n    extends: {file: common.yml, service: worker}\n"
                            "    profiles: [mail]\n    scale: 2\n",
        common__yml="services:\n  worker:\n    image: app:1\n  unused:\n    image: app:1\n",
    )
    told = section([base], tmp_path)
    assert list(told.data["services"]) == ["mail"]
    assert values(told, "mail", "image") == ["app:1"]
    assert values(told, "mail", "profiles") == [["mail"]] and values(told, "mail", "scale") == ["2"]
    assert {file["path"]: file["extended"] for file in told.data["files"]} == {base: False, common: True}


def test_a_plain_null_is_no_value_and_a_quoted_one_is_text():
    """libyaml calls the style of a plain scalar empty, PyYAML's own parser None: `null` is none in both."""
    text = "services: {w: {environment: {A: null, B: ~, C: , D: 'null', E: \"~\"}}}"
    told = document.parse(text).service("w").place("environment").value
    assert told == {"A": None, "B": None, "C": None, "D": "null", "E": "~"}
