"""The whole collection against a replayed engine: what the evidence holds, and that it ends in time.

No database and no broker is asked here: the recorded addresses belong to nobody.
"""

from __future__ import annotations

import copy
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from replayed_engine import EMAIL, FLOWER, PASSWORD, RECORDED, engine, requests_made

import celery_triage.collect as collecting
from celery_triage import bundle
from celery_triage.collect import CannotCollect, CollectOptions, NoEngine, NoTarget, NotPermitted, collect
from celery_triage.model import dumps
from celery_triage.redact import Redactor

SEEN = frozenset({"containers", "events", "networks", "logs", "files", "compose"})
OPTIONS = CollectOptions(only=SEEN)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Other tests of this process may have left threads; the way around them has a test of its own."""
    monkeypatch.setattr(collecting, "single_threaded", lambda: True)


@pytest.fixture
def replayed(tmp_path, monkeypatch):
    """A function that collects from an engine with these answers."""

    def run(answers=None, options=OPTIONS, redactor=None, **how):
        with engine(tmp_path, answers, **how) as address:
            monkeypatch.setenv("DOCKER_HOST", address)
            return collect(options, redactor)

    return run


def with_compose(folder) -> dict:
    """Answers in which the incident's containers come from a Compose file in that folder."""
    answers = {}
    for key in (
        "GET /containers/json?all=1",
        f"GET /containers/{EMAIL}/json",
        f"GET /containers/{FLOWER}/json",
    ):
        told = copy.deepcopy(RECORDED[key])
        for entry in told["json"] if isinstance(told["json"], list) else [told["json"]]:
            labels = entry.get("Labels") or entry["Config"]["Labels"]
            if labels["com.docker.compose.project"] == "ai_backend":
                labels["com.docker.compose.project.config_files"] = str(folder / "docker-compose.yml")
                labels["com.docker.compose.project.working_dir"] = str(folder)
        answers[key] = told
    return answers


def test_the_evidence_of_the_incident(replayed, tmp_path):
    """Every section that was asked for is there, and every request that was made is listed."""
    evidence = replayed()
    assert evidence.target == "ai_backend" and evidence.origin == "live"
    assert {name: section.status for name, section in evidence.sections.items()} == {
        "engine": "ok",
        "containers": "ok",
        "networks": "ok",
        "events": "ok",
        "compose": "denied",
        "logs/email_worker": "ok",
        "logs/flower": "ok",
        "logs/postgres": "ok",
        "logs/redis": "ok",
        "files/email_worker": "ok",
        "files/flower": "ok",
    }
    made = [line.partition("?")[0] for line in requests_made(tmp_path)]
    listed = [line.split(": ", 1)[1].split(" -> ")[0].partition("?")[0] for line in evidence.calls]
    listed = [call for call in listed if call.startswith(("GET", "HEAD"))]
    assert sorted(call.replace("0" * 52, "") for call in map(_short, listed)) == sorted(made)
    assert len(evidence.data("containers")["items"][0]["samples"]) == 2
    assert evidence.tool["docker"] and evidence.options["no_broadcast"] is False


def _short(call: str) -> str:
    import re

    return re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1", call)


def test_no_secret_leaves_and_the_caller_can_search_for_it(replayed, tmp_path):
    """The redactor that was handed in knows what to look for before anything is published."""
    redactor = Redactor()
    evidence = replayed(redactor=redactor)
    folder = bundle.save(evidence, tmp_path / "bundle")
    assert PASSWORD in redactor.known()
    assert redactor.find_leaks(folder) == []
    assert replace(bundle.load(folder), origin="live") == evidence
    (folder / "calls.txt").write_text(PASSWORD)
    assert len(redactor.find_leaks(folder)) == 1


def test_a_secret_that_only_a_file_holds_is_masked_everywhere(replayed, tmp_path):
    """What the Compose source learns while the logs are read is masked in them, too, at the end."""
    (tmp_path / "docker-compose.yml").write_text("services: {email_worker: {image: x}}\n")
    (tmp_path / ".env").write_text("PAYMENT_API_KEY=exclude-queues\n")  # words that stand in the recorded log
    evidence = replayed(with_compose(tmp_path))
    assert evidence.section("compose").status == "ok"
    assert "exclude-queues" not in dumps(evidence.sections)
    assert evidence.data("compose")["dotenv"]["values"]["PAYMENT_API_KEY"]["value"] in dumps(
        evidence.section("logs/email_worker")
    )


def test_a_runbook_collects_only_what_it_reads(replayed, tmp_path):
    """Without `logs` no log is asked for; the containers are always seen."""
    evidence = replayed(options=CollectOptions(only=frozenset({"logs/flower", "files/*"})))
    assert sorted(evidence.sections) == [
        "containers",
        "engine",
        "files/email_worker",
        "files/flower",
        "logs/flower",
        "networks",
    ]
    assert not [line for line in requests_made(tmp_path) if f"{EMAIL}/logs" in line or "events" in line]


def test_an_engine_that_hangs_on_everything_else_still_ends_in_time(replayed):
    """The deadline holds for the whole, and every section says what became of it."""
    start = time.monotonic()
    evidence = replayed(options=replace(OPTIONS, deadline_s=3), hang=r"archive|logs|events|/json$")
    assert time.monotonic() - start < 8
    assert evidence.section("engine").status == "ok"
    assert evidence.section("containers").status == "timeout"


def test_a_first_sample_stays_when_the_second_does_not_come(replayed, monkeypatch):
    """What was seen once is worth more than nothing."""
    monkeypatch.setattr(collecting.engine, "BETWEEN_S", 30)
    evidence = replayed(options=replace(OPTIONS, deadline_s=3))
    section = evidence.section("containers")
    assert section.status == "partial" and "second sample" in section.why
    assert len(section.data["items"]) == 4 and evidence.section("logs/flower").status == "ok"


def test_no_engine(monkeypatch):
    """One sentence, of its own type: the command line ends with 3."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(NoEngine, match="no Docker Engine answers"):
        collect(OPTIONS)


def test_an_engine_that_never_answers_is_no_engine(replayed):
    """A socket that accepts and says nothing."""
    start = time.monotonic()
    with pytest.raises(NoEngine, match="answer"):
        replayed(options=replace(OPTIONS, deadline_s=2), hang="version")
    assert time.monotonic() - start < 5


def test_not_permitted(replayed):
    """An engine that refuses this user."""
    with pytest.raises(NotPermitted, match="policy"):
        replayed({"GET /version": {"status": 403, "json": {"message": "policy"}}})


@pytest.mark.parametrize(
    "options, match",
    [
        (replace(OPTIONS, project="nope"), "'nope'.*ai_backend"),
        (replace(OPTIONS, containers=("nope",)), "no container"),
        (replace(OPTIONS, networks=("nope",)), "no container is on a network"),
    ],
)
def test_no_target(replayed, options, match):
    """What is not there is told with what is."""
    with pytest.raises(NoTarget, match=match):
        replayed(options=options)


def test_containers_without_a_project(replayed):
    """Named by hand they are the target; who they talk to is found all the same."""
    evidence = replayed(options=replace(OPTIONS, containers=("ai_backend_email_worker",)))
    data = evidence.data("containers")
    assert data["project"] is None and evidence.target == "ai_backend_email_worker"
    assert [item["label"] for item in data["items"] if item["member"]] == ["email_worker"]
    assert {item["label"] for item in data["items"] if not item["member"]} == {"postgres", "redis"}


def test_the_banner_is_read_first_where_the_broker_stands_in_code(replayed):
    """Without any URL in environment or command, the logs come before the questions to the broker."""
    bare = copy.deepcopy(RECORDED[f"GET /containers/{EMAIL}/json"])
    bare["json"]["Config"]["Env"] = []
    evidence = replayed(
        {f"GET /containers/{EMAIL}/json": bare}, options=replace(OPTIONS, containers=(EMAIL,))
    )
    kinds = [
        "log" if "/logs" in call else "rest"
        for call in evidence.calls
        if "containers:" in call or "/logs" in call
    ]
    assert kinds[0] == "log" and "rest" in kinds and "log" not in kinds[kinds.index("rest") :]


def test_masking_that_fails_withholds_the_section(replayed, monkeypatch):
    """A bug in the last look for secrets costs that section, and not a secret."""
    original = Redactor.data_known

    def broken(self, value):
        if isinstance(value, dict) and "lines" in value:
            raise KeyError("secret")
        return original(self, value)

    monkeypatch.setattr(Redactor, "data_known", broken)
    section = replayed().section("logs/flower")
    assert (section.status, section.data) == ("withheld", None)


@pytest.mark.parametrize("text, ago", [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400)])
def test_since_is_a_duration(text, ago):
    """As people write it."""
    moment = datetime.fromisoformat(collecting._since(text).replace("Z", "+00:00"))
    assert abs((datetime.now(UTC) - timedelta(seconds=ago) - moment).total_seconds()) < 5


def test_since_is_a_time_or_an_error():
    """ISO 8601 in any zone becomes UTC; everything else is refused with what would be right."""
    assert collecting._since("2026-11-23T15:15:03+01:00") == "2026-11-23T14:15:03Z"
    assert collecting._since("") is None
    with pytest.raises(ValueError, match="30m"):
        collect(CollectOptions(since="yesterday"))


def test_a_process_with_threads_lets_another_one_collect(tmp_path, monkeypatch):
    """A notebook's kernel has threads, and a fork would copy their locks: the evidence is the same."""
    monkeypatch.undo()
    release = threading.Event()
    with engine(tmp_path) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        thread = threading.Thread(target=release.wait, daemon=True)
        thread.start()
        try:
            assert collecting.single_threaded() is False
            redactor = Redactor()
            evidence = collect(OPTIONS, redactor)
            with pytest.raises(NoTarget, match="nope"):
                collect(replace(OPTIONS, project="nope"))
        finally:
            release.set()
            thread.join()
    assert len(evidence.sections) == 11 and isinstance(evidence.calls, tuple)
    assert PASSWORD in redactor.known() and PASSWORD not in dumps(evidence)
    assert redactor.token(PASSWORD) in dumps(evidence)
    assert issubclass(NoTarget, CannotCollect)
