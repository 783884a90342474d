"""What a container has against what its Compose file says: edited and not made anew."""

from __future__ import annotations

import copy

import pytest
from evidence import APP, OPTION, RESULT, WORKERS, Incident, iso

from celery_triage.causes import diagnose
from celery_triage.checks import RULES, Look, judge

MADE, EDITED = iso(0), iso(7200)
OLD, NEW = "--queue=email_processing", "--queues=email_processing"


def compose_of(stack: Incident, modified: str = EDITED) -> dict:
    """The Compose file of this stack, changed at that time, its .env beside it."""
    data = copy.deepcopy(stack.evidence().data("compose"))
    for file in data["files"]:
        file.update(modified=modified, extended=False)
    data["env_files"] = []
    return data


def says(stack: Incident, label: str, old: str, new: str, modified: str = EDITED) -> Incident:
    """The file says ``new`` where the container of that service has ``old``."""
    data = compose_of(stack, modified)
    told = data["services"][label]
    for nodes in (told["command"], told["image"], *told["environment"].values()):
        for node in nodes:
            node["value"] = node["value"].replace(old, new)
    return stack.section("compose", "ok", "", data)


def mended() -> Incident:
    """The option was mended in the file, the container was only started again."""
    stack = Incident().replace_in_commands("--queues email_processing", OLD, ("email_worker",))
    return says(stack.loop("email_worker", 2, OPTION), "email_worker", OLD, NEW)


FIRES = {"CHG001": mended}


def judged(stack: Incident, code: str = "CHG001"):
    """(findings, outcome) of one rule."""
    return judge(RULES[code], Look(stack.evidence(), RULES[code]))


def test_the_file_was_mended_and_the_container_still_has_the_old_command():
    """One cause, the file is left as it is, and the option in the container is a consequence."""
    diagnosis = diagnose(mended().evidence())
    (cause,) = diagnosis.cause_findings
    assert (cause.name, cause.services, cause.state) == ("edited-not-recreated", ("email_worker",), "active")
    assert "fails over --queue, which the Compose file no longer says" in cause.title
    assert (cause.remedy.kind, cause.remedy.edits) == ("exact", ())
    assert cause.remedy.commands[0].endswith("up -d --no-deps --force-recreate email_worker")
    assert [one.name for one in diagnosis.consequences(cause.id)] == ["unknown-option"]


def test_an_edit_that_does_not_mend_it_is_no_cause_of_it():
    """The option stands in the file as before: making the container anew would change nothing."""
    stack = Incident().replace_in_commands("--queues email_processing", OLD, ("email_worker",))
    stack.loop("email_worker", 2, OPTION)
    says(stack, "email_worker", "--concurrency=4", "--concurrency=2")
    causes = {one.name: one.severity for one in diagnose(stack.evidence()).cause_findings}
    assert causes == {"unknown-option": "critical", "edited-not-recreated": "warning"}


def test_a_host_that_only_the_container_still_has():
    """The broker's name was mended in the file: that explains why it cannot be found."""
    from evidence import NO_BROKER

    stack = Incident().url("CELERY_BROKER_URL", "redis:6379", "redsi:6379", ("email_worker",))
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    stack.life("email_worker", 10, None, lines=NO_BROKER)
    says(stack, "email_worker", "redsi", "redis")
    diagnosis = diagnose(stack.evidence())
    (cause,) = diagnosis.cause_findings
    assert (cause.name, cause.object) == ("edited-not-recreated", "CELERY_BROKER_URL")
    assert "broker-host-unknown" in {one.name for one in diagnosis.consequences(cause.id)}


def test_a_driver_that_only_the_container_still_asks_for():
    """No word of the URL names the driver: its scheme does."""
    from evidence import NO_DRIVER

    stack = Incident().url("CELERY_RESULT_BACKEND", "postgresql+psycopg:", "postgresql:", ("email_worker",))
    stack.loop("email_worker", 1, NO_DRIVER)
    says(stack, "email_worker", "postgresql:", "postgresql+psycopg:")
    assert [one.name for one in diagnose(stack.evidence()).cause_findings] == ["edited-not-recreated"]


def test_a_service_that_works_with_its_old_command_is_a_warning():
    """Nothing is stopped; the next deployment will change it."""
    (finding,), _ = judged(says(Incident(), "email_worker", "--concurrency=4", "--concurrency=8"))
    assert finding.severity == "warning" and "has another command than the Compose file says" in finding.title


def test_a_file_that_is_older_than_the_container_is_no_edit():
    """It may be one of several files that were in use."""
    stack = says(Incident(), "email_worker", "--concurrency=4", "--concurrency=8", modified=MADE)
    assert judged(stack)[1].outcome == "quiet"


def test_where_the_time_of_the_change_is_not_known_nothing_is_judged():
    """A difference without a time is neither an edit nor none."""
    stack = says(Incident(), "email_worker", "--concurrency=4", "--concurrency=8", modified=None)
    findings, outcome = judged(stack)
    assert (findings, outcome.outcome) == ((), "unknown") and "not known" in outcome.why


def with_dotenv(stack: Incident, modified: str = EDITED, **values: str) -> Incident:
    """A .env with these values beside the file."""
    data = compose_of(stack, MADE)
    told = {name: {"line": n, "value": value} for n, (name, value) in enumerate(values.items(), 1)}
    data["dotenv"] = {"path": "/srv/ai_backend/.env", "modified": modified, "readable": True, "lines": [],
                      "hashes": [], "values": told}
    return stack.section("compose", "ok", "", data)


def secret(text: str) -> str:
    """A URL with a token as masking writes it."""
    return RESULT.replace("‹secret:1a2b›", text)


def test_what_the_shell_may_have_set_is_only_worth_knowing():
    """The name of the database in .env is another one now; Compose may have had it from the shell."""
    stack = Incident()
    for label in stack.env:
        stack.env[label]["CELERY_RESULT_BACKEND"] = secret("***0a1b2c")
    known = {"POSTGRES_USER": "backend", "POSTGRES_PASSWORD": "***0a1b2c", "BACKEND_DB_NAME": "ai_backend"}
    assert judged(with_dotenv(stack, **known))[1].outcome == "quiet"
    (finding,), _ = judged(with_dotenv(stack, **{**known, "BACKEND_DB_NAME": "other"}))
    assert (finding.severity, finding.certainty) == ("notice", "inferred")
    assert "than .env says" in finding.title and "shell" in finding.detail
    assert judged(with_dotenv(stack, MADE, **{**known, "BACKEND_DB_NAME": "other"}))[1].outcome == "quiet"


def test_a_password_is_compared_by_its_token():
    """Another password in .env is another value, and no password is shown."""
    stack = Incident()
    for label in stack.env:
        stack.env[label]["CELERY_RESULT_BACKEND"] = secret("***0a1b2c")
    values = {"POSTGRES_USER": "backend", "POSTGRES_PASSWORD": "***ffffff", "BACKEND_DB_NAME": "ai_backend"}
    (finding,), _ = judged(with_dotenv(stack, **values))
    assert finding.severity == "notice" and finding.object == "CELERY_RESULT_BACKEND"


@pytest.mark.parametrize("label", WORKERS)
def test_a_command_that_is_written_in_another_way_is_the_same(label):
    """As a list, over several lines, with quotes that a shell takes away."""
    stack = Incident()
    data = compose_of(stack)
    node = data["services"][label]["command"][0]
    words = node["value"].split()
    for value in (words, "\n  ".join(words), node["value"].replace(APP, f'"{APP}"')):
        node["value"] = value
        assert judged(stack.section("compose", "ok", "", data))[1].outcome == "quiet"
