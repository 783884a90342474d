"""``celery-triage lint``: Compose files judged without anything running."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from jsonschema import validate

from celery_triage.cli import status
from celery_triage.lint import as_json, lint
from celery_triage.lint.variables import Variables, written


def judged(folder, text, *more):
    paths = []
    for number, one in enumerate((text, *more)):
        path = folder / ("docker-compose.yml" if not number else f"docker-compose.{number}.yml")
        path.write_text(one)
        paths.append(str(path))
    return lint(paths)


def codes(linted, severity=None):
    return [one.code for one in linted.diagnosis.findings if severity in (None, one.severity)]


HEALTHY = """
services:
  redis: {image: redis:7}
  worker:
    image: shop
    restart: always
    command: celery -A shop worker -l info --queues=celery,mail -c 4
    environment: {CELERY_BROKER_URL: redis://redis:6379/0}
"""


def test_a_sound_file_has_no_finding(tmp_path):
    """A worker whose options, URL and host are right is quiet, `--queues=` included."""
    told = judged(tmp_path, HEALTHY)
    assert told.verdict == "ok" and codes(told) == []


def test_the_incidents_option_is_critical_with_its_line(tmp_path):
    """`--queue` is refused by every version, and the finding names file, line and versions."""
    told = judged(tmp_path, HEALTHY.replace("--queues=celery,mail", "--queue=mail"))
    (first, *_) = told.diagnosis.findings
    assert (first.code, first.severity, first.proof[0].line) == ("CMD001", "critical", 7)
    assert "5.0 to 5.7" in first.title and "--queues" in first.remedy.summary


def test_the_order_of_celery_4_is_critical_only_where_5_is_pinned(tmp_path):
    """Without a version `celery worker -A` may be meant for Celery 4; requirements with 5.3 decide."""
    text = HEALTHY.replace("celery -A shop worker", "celery worker -A shop").replace(
        "image: shop", "build: ."
    )
    assert codes(judged(tmp_path, text), "critical") == []
    (tmp_path / "Dockerfile").write_text("FROM python:3.11\nCOPY . .\n")
    (tmp_path / "requirements.txt").write_text("celery[redis]==5.3.6\n")
    told = judged(tmp_path, text)
    assert codes(told, "critical") == ["CMD001"]
    assert "celery==5.3.6 in requirements.txt" in told.how[0]


def test_what_celery_4_took_is_no_critical_finding_without_a_version(tmp_path):
    """`celery -E -A app worker --loglevel=warn` started with Celery 4: warned of, not condemned."""
    text = HEALTHY.replace("celery -A shop worker -l info", "celery -E -A shop worker --loglevel=warn")
    assert codes(judged(tmp_path, text)) == ["CMD001", "CMD001"]
    assert codes(judged(tmp_path, text), "critical") == []


def test_a_later_file_replaces_the_command(tmp_path):
    """Several files are merged as by `docker compose -f A -f B`: the later command counts."""
    broken = HEALTHY.replace("--queues=celery,mail", "--queue=mail")
    mended = "services: {worker: {command: celery -A shop worker}}\n"
    assert codes(judged(tmp_path, broken, mended), "critical") == []


def test_a_host_that_no_service_bears_is_a_warning(tmp_path):
    """A misspelt broker host is found, and an external network makes it unknown."""
    text = HEALTHY.replace("redis://redis:", "redis://redsi:")
    assert codes(judged(tmp_path, text), "warning") == ["URL003"]
    outside = text + "networks: {default: {external: true}}\n"
    assert codes(judged(tmp_path, outside), "warning") == []


def test_airflows_celery_is_not_judged(tmp_path):
    """Airflow's image reads `celery worker` itself: it is said to be unknown."""
    text = HEALTHY.replace("image: shop", "image: apache/airflow:2.9").replace(
        "celery -A shop worker -l info --queues=celery,mail -c 4", "celery worker --queue x"
    )
    told = judged(tmp_path, text)
    assert codes(told) == [] and any("Airflow" in why for _, why, _ in told.notes)


@pytest.mark.parametrize(
    ("written_as", "becomes"),
    [
        ("${A}", "1"), ("$A", "1"), ("${B:-x}", "x"), ("${B-x}", "x"), ("${E:-x}", "x"), ("${E-x}", ""),
        ("${A:+y}", "y"), ("${E:+y}", ""), ("${E+y}", "y"), ("$$A", "$A"), ("${B:-${A}}", "1"),
        ("${B:?no}", "${B}"), ("${B}", "${B}"),
    ],
)
def test_variables_are_put_in_as_compose_does(written_as, becomes):
    """Each form gives what Compose gives; what nothing sets stays as it is written."""
    assert written(Variables({"A": "1", "E": ""}).put_in(written_as)) == becomes


@pytest.mark.parametrize(
    "content",
    [b"\0\1", b"a: [\n", b"services: " + b"[" * 5000, b"- a\n", b"services: {}\n#" + b"x" * (5 * 2**20)],
)
def test_what_cannot_be_read_is_unknown(tmp_path, content, capsys):
    """Binary, broken, deep, foreign and huge files end with a sentence and exit code 3."""
    path = tmp_path / "compose.yml"
    path.write_bytes(content)
    assert status(["lint", str(path)]) == 3
    assert f"? {path}: it is" in capsys.readouterr().out


def test_a_bomb_of_aliases_ends_at_once(tmp_path):
    """Aliases that stand for 10**12 values are never multiplied; Compose refuses such a file."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    told = judged(tmp_path, "\n".join(lines) + "\nservices: {w: {image: x, environment: *a11}}\n")
    assert told.services == () and told.verdict == "unknown"


def test_a_key_that_stands_twice_is_told_with_both_lines(tmp_path):
    """Compose v2 refuses a duplicate key: a warning that names the first line."""
    told = judged(tmp_path, "services:\n  w:\n    image: a\n    image: b\n")
    (finding,) = told.diagnosis.findings
    assert finding.code == "CMP007" and finding.proof[0].line == 4 and "line 3" in finding.title


def test_json_follows_the_published_schema(tmp_path):
    """`--json` has the schema of a diagnosis."""
    schema = json.loads(files("celery_triage").joinpath("data/summary.schema.json").read_text())
    told = as_json(judged(tmp_path, HEALTHY.replace("--queues", "--queue")))
    validate(json.loads(json.dumps(told)), schema)
    assert told["verdict"] == "critical"


def test_annotations_and_fail_on(tmp_path, capsys):
    """GitHub gets file and line; `--fail-on critical` lets a warning pass."""
    path = tmp_path / "docker-compose.yml"
    path.write_text(HEALTHY.replace("redis://redis:", "redis://redsi:"))
    assert status(["lint", "--github", str(path)]) == 1
    assert f"::warning file={path},line=8,title=URL003" in capsys.readouterr().out
    assert status(["lint", "--fail-on", "critical", str(path)]) == 0
    assert status(["lint"]) == 64


def test_one_port_of_the_host_for_two_workers_is_a_warning(tmp_path):
    """Metrics ports copied from worker to worker clash; another address or port does not."""
    both = """
services:
  a: {image: s, restart: always, command: celery -A s worker, ports: ["9091:9091"]}
  b: {image: s, restart: always, command: celery -A s worker, ports: ["9091:9092"]}
"""
    assert codes(judged(tmp_path, both)) == ["CMP002"]
    assert codes(judged(tmp_path, both.replace("9091:9092", "9092:9091"))) == []
