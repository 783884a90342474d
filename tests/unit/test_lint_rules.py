"""Every rule that ``lint`` reports by: one project where it fires, and the same project mended."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from linted import HEALTHY, found, judged

from celery_triage.commandline import alike
from celery_triage.lint.rules import STATIC

COMMAND = "celery -A shop worker -l info -c 4"
LOCKED = "redis:7, command: redis-server --requirepass geheim99"
REDIS_PING = "healthcheck: {test: 'redis-cli ping | grep PONG'}"
PING = "healthcheck: {test: [CMD-SHELL, 'celery -A shop inspect ping%s'], timeout: 20s}"
BEAT = "  beat: {image: shop, restart: always, command: celery -A shop beat, %s}\n"
SQL = """
services:
  redis: {image: redis:7}
  db: {image: postgres:16, environment: {POSTGRES_DB: shop, POSTGRES_PASSWORD: x}}
  worker:
    image: shop
    restart: always
    command: celery -A shop worker
    environment: {CELERY_RESULT_BACKEND: "db+postgresql://postgres:x@db:5432/%s"}
"""
APP_SQL = SQL.replace("CELERY_RESULT_BACKEND", "DATABASE_URL").replace("db+postgresql", "postgresql")
LIMIT = "image: shop\n    deploy: {resources: {limits: {memory: %s, cpus: '%s'}}}"
WITH_PASSWORD = HEALTHY.replace("redis://redis:6379/0", "'redis://:${PW}@redis:6379/0'")
WEB = HEALTHY + (
    "  web: {image: shop, restart: always, command: gunicorn shop.wsgi, "
    "environment: {CELERY_BROKER_URL: 'redis://redis:6379/%s'}}\n"
)
BUILT = HEALTHY.replace("image: shop", "build: .")


def worker(words: str) -> str:
    """The sound project with further keys at its worker."""
    return HEALTHY.replace("image: shop", "image: shop\n    " + words)


def requirements(text: str, compose: str = BUILT) -> dict[str, str]:
    return {"docker-compose.yml": compose, "Dockerfile": "FROM python:3.12\n", "requirements.txt": text}


RABBIT = """
services:
  mq: {image: rabbitmq:4, environment: {RABBITMQ_DEFAULT_USER: shop, RABBITMQ_DEFAULT_PASS: geheim99}}
  worker:
    image: shop
    restart: always
    command: celery -A shop worker
    environment: {CELERY_BROKER_URL: "amqp://shop:%s@mq:5672//"}
"""
FLOWER = BUILT + "  flower: {build: ., command: celery -A shop flower, restart: always}\n"
APP_BEHIND = FLOWER.replace("-A shop flower", "flower -A shop")
OTHER_PORT = (SQL % "shop").replace("{image: postgres:16,", "{image: postgres:16, command: -p 5433,")
OFFICIAL = HEALTHY + "  flower: {image: mher/flower, restart: always, command: %s}\n"
#: code, severity, a project where it fires, the same one mended
CASES = [
    ("CMD001", "critical", HEALTHY.replace("-c 4", "--concurency 4"), HEALTHY),
    (
        "CMD002",
        "notice",
        requirements("celery\nredis\n", FLOWER),
        requirements("celery\nredis\nflower\n", FLOWER),
    ),
    ("CMD002", "critical", HEALTHY.replace("shop worker", "shop wroker"), HEALTHY),
    ("CMD003", "critical", HEALTHY.replace("-A shop", "-A shop/tasks.py"), HEALTHY),
    ("CMD003", "warning", HEALTHY.replace("-A shop", "-A=shop"), HEALTHY),
    (
        "CMD003",
        "critical",
        requirements("celery==5.6.3\nredis\n", BUILT.replace("-A shop", "-A=shop")),
        requirements("celery==4.4.7\nredis\n", BUILT.replace("-A shop", "-A=shop")),
    ),
    ("CMD001", "warning", HEALTHY.replace("-c 4", "-Q=celery"), HEALTHY.replace("-c 4", "-Q celery")),
    ("CMD005", "critical", HEALTHY.replace("celery -A", "Celery -A"), HEALTHY),
    ("CMD005", "critical", HEALTHY.replace("celery -A", "exec celery -A"), HEALTHY),
    (
        "CMD005",
        "critical",
        HEALTHY.replace("celery -A", "C_FORCE_ROOT=1 celery -A"),
        HEALTHY.replace(COMMAND, "sh -c 'C_FORCE_ROOT=1 celery -A shop worker'"),
    ),
    (
        "CMD005",
        "critical",
        HEALTHY.replace(COMMAND, "['celery -A shop worker']"),
        HEALTHY,
    ),
    ("CMD005", "critical", HEALTHY.replace("celery -A shop worker", "celeryd -A shop"), HEALTHY),
    (
        "CMD003",
        "critical",
        HEALTHY.replace(COMMAND, "[celery, '-A shop', worker]"),
        HEALTHY.replace(COMMAND, "[celery, -Ashop, worker]"),
    ),
    (
        "CMD006",
        "warning",
        requirements("celery==5.6.3\nredis\nflower==2.0.1\n", APP_BEHIND),
        requirements("celery==4.4.7\nredis\nflower==0.9.7\n", APP_BEHIND),
    ),
    (
        "CMD010",
        "warning",
        worker("healthcheck: {test: [CMD-SHELL, celery, -A, shop, inspect, ping], timeout: 20s}"),
        worker("healthcheck: {test: [CMD, celery, -A, shop, inspect, ping], timeout: 20s}"),
    ),
    (
        "HLT001",
        "warning",
        worker("healthcheck: {test: [CMD, celery -A shop inspect ping], timeout: 20s}"),
        worker("healthcheck: {test: [CMD-SHELL, celery -A shop inspect ping], timeout: 20s}"),
    ),
    (
        "HLT001",
        "warning",
        HEALTHY.replace("redis:7}", f"{LOCKED}, {REDIS_PING}}}"),
        HEALTHY.replace("redis:7}", f"{LOCKED}, environment: {{REDISCLI_AUTH: geheim99}}, {REDIS_PING}}}"),
    ),
    (
        "CMP001",
        "critical",
        worker("secrets: [key]"),
        worker("secrets: [key]") + "secrets: {key: {file: k}}\n",
    ),
    ("CMP003", "critical", worker("container_name: a\n    scale: 2"), worker("container_name: a")),
    (
        "URL005",
        "warning",
        OTHER_PORT,
        (SQL % "shop")
        .replace("{image: postgres:16,", "{image: postgres:16, command: -p 5433,")
        .replace("5432", "5433"),
    ),
    ("CMD010", "critical", HEALTHY.replace("celery -A", "sh -c celery -A"), HEALTHY),
    (
        "CMD010",
        "critical",
        HEALTHY.replace(COMMAND, '[celery, -A, shop, worker, "&&", echo, a]'),
        HEALTHY.replace(COMMAND, "sh -c 'celery -A shop worker && echo ended'"),
    ),
    (
        "CMD010",
        "critical",
        HEALTHY.replace("celery -A", "python manage.py migrate; celery -A"),
        HEALTHY.replace(COMMAND, "sh -c 'python manage.py migrate; celery -A shop worker'"),
    ),
    (
        "CMD010",
        "notice",
        HEALTHY.replace(COMMAND, '[./run.sh, migrate, "&&", celery, worker]'),
        HEALTHY.replace(COMMAND, "[./run.sh, celery, -A, shop, worker]"),
    ),
    ("CMD010", "notice", HEALTHY.replace("-c 4", "-c 4 | tee /log"), HEALTHY),
    (
        "CMD010",
        "warning",
        HEALTHY.replace("-c 4", "-c 4 & celery -A shop beat"),
        HEALTHY.replace(COMMAND, "sh -c 'celery -A shop worker & celery -A shop beat'"),
    ),
    ("CMD005", "warning", OFFICIAL % "flower --port=5555", OFFICIAL % "celery flower --port=5555"),
    (
        "CMD005",
        "warning",
        OFFICIAL % "--port=5555",
        OFFICIAL.replace("flower,", "flower:0.9.7,") % "--port=5555",
    ),
    (
        "CMD006",
        "critical",
        OFFICIAL % "celery flower --port 5555",
        OFFICIAL % "celery flower --port=5555",
    ),
    (
        "CMD006",
        "critical",
        OFFICIAL.replace("flower,", "flower:2.2.0,") % "celery flower --broker_api=rabbit:15672",
        OFFICIAL.replace("flower,", "flower:2.1.0,") % "celery flower --broker_api=rabbit:15672",
    ),
    (
        "CMD006",
        "warning",
        OFFICIAL.replace("flower,", "flower:2.0,") % "celery flower --broker=redis://redis:6379/0",
        OFFICIAL.replace("flower,", "flower:2.0,") % "celery --broker=redis://redis:6379/0 flower",
    ),
    (
        "URL005",
        "warning",
        HEALTHY.replace("redis:7}", "redis:7, ports: ['6380:6379']}").replace("//redis:6379", "//redis:6380"),
        HEALTHY.replace("redis:7}", "redis:7, command: --port 6380}").replace("//redis:6379", "//redis:6380"),
    ),
    ("URL005", "warning", (SQL % "shop").replace("5432", "5433"), SQL % "shop"),
    ("URL004", "warning", (SQL % "shop").replace("postgres:x@", "postgres:other@"), SQL % "shop"),
    ("URL004", "warning", RABBIT % "other", RABBIT % "geheim99"),
    (
        "CMP012",
        "warning",
        worker("depends_on: {redis: {condition: service_healthy}}"),
        worker("depends_on: {redis: {condition: service_healthy}}").replace(
            "redis:7}", "redis:7, healthcheck: {test: redis-cli ping}}"
        ),
    ),
    (
        "CMP012",
        "warning",
        worker("depends_on: {redis: {condition: service_healthy}}").replace(
            "redis:7}", "own, healthcheck: {disable: true}}"
        ),
        worker("depends_on: {redis: {condition: service_healthy}}").replace("redis:7}", "own}"),
    ),
    ("URL001", "critical", HEALTHY.replace("redis://redis:6379", "redsi://redis:6379"), HEALTHY),
    (
        "PKG020",
        "notice",
        requirements("celery[redis]==5.6.2\n"),
        requirements("celery[redis]==5.6.3\n"),
    ),
    ("URL002", "notice", requirements("celery==5.4.0\n"), requirements("celery[redis]==5.4.0\n")),
    ("URL003", "warning", HEALTHY.replace("//redis:6379", "//localhost:6379"), HEALTHY),
    (
        "URL004",
        "warning",
        HEALTHY.replace("image: redis:7", "image: redis:7, command: redis-server --requirepass geheim99"),
        HEALTHY.replace(
            "image: redis:7", "image: redis:7, command: redis-server --requirepass geheim99"
        ).replace("//redis:6379", "//:geheim99@redis:6379"),
    ),
    ("DBS001", "warning", SQL % "results", SQL % "shop"),
    ("DBS001", "warning", APP_SQL % "results", APP_SQL % "shop"),
    ("DBS002", "warning", (SQL % "shop").replace("//postgres:", "//clerk:"), SQL % "shop"),
    ("DBS002", "warning", (APP_SQL % "shop").replace("//postgres:", "//clerk:"), APP_SQL % "shop"),
    ("BRK003", "notice", HEALTHY.replace("-c 4", "-Q mail"), HEALTHY.replace("-c 4", "-Q mail,celery")),
    ("BRK004", "warning", WEB % 1, WEB % 0),
    (
        "BEA005",
        "warning",
        HEALTHY.replace("-c 4", "-B") + BEAT % "environment: {CELERY_BROKER_URL: redis://redis:6379/0}",
        HEALTHY + BEAT % "environment: {CELERY_BROKER_URL: redis://redis:6379/0}",
    ),
    (
        "HLT001",
        "warning",
        HEALTHY + BEAT % (PING % " -d beat@x"),
        HEALTHY + BEAT % "healthcheck: {disable: true}",
    ),
    (
        "HLT001",
        "warning",
        worker("healthcheck: {test: 'celery inspect ping -A shop || exit 1', timeout: 20s}"),
        worker("healthcheck: {test: 'celery -A shop inspect ping || exit 1', timeout: 20s}"),
    ),
    (
        "HLT001",
        "warning",
        worker("healthcheck: {test: celery -A shop inspect pinng, timeout: 20s}"),
        worker("healthcheck: {test: celery -A shop inspect ping, timeout: 20s}"),
    ),
    (
        "HLT002",
        "warning",
        worker("healthcheck: {test: [CMD, celery, inspect, ping, -d, celery@$$HOSTNAME], timeout: 20s}"),
        worker("healthcheck: {test: [CMD-SHELL, 'celery inspect ping -d celery@$$HOSTNAME'], timeout: 20s}"),
    ),
    ("HLT002", "warning", worker(PING % " -d mail@x"), worker("hostname: w\n    " + PING % " -d celery@w")),
    (
        "HLT003",
        "warning",
        worker(PING % "").replace("20s", "1s"),
        worker(PING % ""),
    ),
    (
        "HLT004",
        "notice",
        worker(PING % "") + "  other: {image: shop, restart: always, command: celery -A shop worker}\n",
        worker("hostname: w\n    " + PING % " -d celery@w")
        + "  other: {image: shop, restart: always, command: celery -A shop worker}\n",
    ),
    (
        "HLT005",
        "warning",
        HEALTHY.replace("image: shop", LIMIT % ("64M", 1)).replace("-c 4", "-c 16"),
        HEALTHY.replace("image: shop", LIMIT % ("128M", 1)).replace("-c 4", "-c 16"),
    ),
    (
        "CMP001",
        "critical",
        worker("networks: [inner]"),
        worker("networks: [inner]") + "networks: {inner: {}}\n",
    ),
    (
        "CMP002",
        "warning",
        worker("ports: ['80:1']") + "  w: {image: i, ports: ['80:80']}\n",
        worker("ports: ['80:1']") + "  w: {image: i, ports: ['127.0.0.1:81:80']}\n",
    ),
    (
        "CMP003",
        "warning",
        worker("container_name: a") + "  w: {image: i, container_name: a}\n",
        worker("container_name: a") + "  w: {image: i, container_name: b}\n",
    ),
    ("CMP004", "warning", HEALTHY.replace("-A shop ", ""), HEALTHY),
    ("CMP005", "notice", HEALTHY.replace("restart: always", "labels: {}"), HEALTHY),
    (
        "CMP006",
        "notice",
        worker("depends_on: [redis]"),
        worker("depends_on: {redis: {condition: service_healthy}}"),
    ),
    ("CMP007", "critical", worker("image: other"), HEALTHY),
    (
        "CMP008",
        "critical",
        "worker: {image: shop, command: celery -A shop worker, restart: always}\n",
        HEALTHY,
    ),
    (
        "CMP009",
        "notice",
        {"docker-compose.yml": WITH_PASSWORD, ".env": "OTHER=1\n"},
        {"docker-compose.yml": WITH_PASSWORD, ".env": "PW=1\n"},
    ),
    ("CMP011", "warning", HEALTHY.replace("-c 4", "-c 4 --detach"), HEALTHY),
    (
        "CMP011",
        "warning",
        HEALTHY.replace(COMMAND, "sh -c 'celery -A shop worker &'"),
        HEALTHY.replace(COMMAND, "sh -c 'celery -A shop worker & wait'"),
    ),
    ("CMD001", "critical", HEALTHY.replace("-c 4", "--autoreload"), HEALTHY),
    (
        "WRK009",
        "warning",
        HEALTHY.replace("-c 4", "-c 4 --max-memory-per-child 200"),
        HEALTHY.replace("-c 4", "-c 4 --max-memory-per-child=200000"),
    ),
    (
        "CMP011",
        "warning",
        HEALTHY.replace(COMMAND, "celery multi start w1 -A shop"),
        HEALTHY.replace(COMMAND, "sh -c 'celery multi start w1 -A shop; sleep inf'"),
    ),
    ("CMP013", "critical", worker("enviroment: {A: b}"), worker("expose: ['80']")),
    ("CMP013", "warning", worker("newest_thing: 1"), worker("x-newest-thing: 1")),
    ("CMP010", "critical", worker("labels: {a: '${X'}").replace("-c 4", "-c ${X"), HEALTHY),
]


@pytest.mark.parametrize(("code", "severity", "broken", "mended"), CASES)
def test_a_rule_fires_on_its_fault_and_is_quiet_on_the_mended_file(tmp_path, code, severity, broken, mended):
    """Each with its severity, the line that proves it, and nothing of it once the file is mended."""
    told = judged(tmp_path / "broken", broken)
    assert found(told).get(code) == severity, found(told)
    assert all(one.proof and one.proof[0].line for one in told.diagnosis.findings if one.code == code)
    assert not any("***" in one.title for one in told.diagnosis.findings), "a word of ours taken for a secret"
    assert code not in found(judged(tmp_path / "mended", mended))


def test_every_rule_that_lint_has_is_among_the_cases():
    """A new rule needs a case that fires and one that does not."""
    assert {rule.code for rule in STATIC} | {"HLT002"} == {code for code, *_ in CASES}


def test_where_tasks_are_sent_is_code_and_said_to_be_unknown(tmp_path):
    """Routes and `beat_schedule` are in no Compose file: with named queues the rule is unknown, not quiet."""
    told = judged(tmp_path / "named", HEALTHY.replace("-c 4", "-Q mail,celery"))
    (note,) = [note for note in told.notes if "BRK003" in note[2]]
    assert note[0] == "worker" and "beat_schedule" in note[1]
    outcomes = {one.code: one.outcome for one in told.diagnosis.outcomes}
    assert outcomes["BRK003"] == "unknown" and told.verdict == "ok"
    default = judged(tmp_path / "default", HEALTHY)
    assert {one.code: one.outcome for one in default.diagnosis.outcomes}["BRK003"] == "quiet"


def test_a_project_of_ten_thousand_services_is_judged_whole(tmp_path):
    """All are judged, in bounded memory; names and queues that differ cost little (6 s of processor time)."""
    one = "  w{0}: {{image: shop, restart: always, command: celery -A shop worker -Q q{0} -n w{0}@%h, {1}}}\n"
    url = "environment: {CELERY_BROKER_URL: redis://redis:6379/0}"
    text = "services:\n  redis: {image: redis:7}\n" + "".join(one.format(n, url) for n in range(9999))
    told = judged(tmp_path, text + one.format(9999, url).replace("-Q", "--queue"))
    assert len(told.celery) == 10_000 and "w9999" in told.diagnosis.findings[0].services
    assert told.diagnosis.findings[0].code == "CMD001" and not told.unreadable


def differing(count: int) -> str:
    """So many workers, of which each has an option that no Celery knows."""
    one = "  w{0}: {{image: shop, restart: always, command: celery -A shop worker --option-{0} 1}}\n"
    return "services:\n" + "".join(one.format(number) for number in range(count))


def test_of_too_many_differing_commands_the_rest_is_said_to_be_unread(tmp_path, monkeypatch):
    """Each takes up to a tenth of a second, so their number is bounded; the verdict is open then."""
    monkeypatch.setattr(alike, "MOST_SHAPES", 3)
    told = judged(tmp_path, differing(5))
    assert len([one for one in told.diagnosis.findings if one.code == "CMD001"]) == 3
    assert "those from w3 on were not read" in told.unreadable[0][1] and told.verdict == "unknown"


def test_lint_ends_when_it_is_told_to(tmp_path):
    """SIGTERM ends it with 143 and a sentence, also within a rule."""
    file = tmp_path / "compose.yml"
    file.write_text(differing(3000))
    command = [sys.executable, "-m", "celery_triage.cli", "lint", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(4)
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert process.returncode == 143 and out == "" and "told to stop" in err
