"""What a container has against what its Compose file says: edited and not made anew."""

from __future__ import annotations

import copy

import pytest
from evidence import APP, OPTION, RESULT, WORKERS, Incident, digest, iso

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
            lines, at = data["files"][0]["lines"], node["line"] - 1
            lines[at] = lines[at].replace(old, new)
            data["files"][0]["hashes"][at] = digest(lines[at])
    return stack.section("compose", "ok", "", data)


def mended() -> Incident:
    """The option was mended in the file, the container was only started again."""
    stack = Incident().replace_in_commands("--queues email_processing", OLD, ("email_worker",))
    return says(stack.loop("email_worker", 2, OPTION), "email_worker", OLD, NEW)


def replicas(**second) -> Incident:
    """email_worker is two replicas of one service: the second one is payment_worker's container."""
    old = {"image": "mail:live", "image_id": "sha256:10f077a09cd4", "image_now": "sha256:079c2d3b0d3c"}
    new = {**old, "image_id": "sha256:079c2d3b0d3c", "image_created": "2026-11-23T11:00:00Z", **second}
    new |= {"service": "email_worker", "number": 2}
    stack = Incident().item("email_worker", **old, image_created="2026-11-22T11:00:00Z")
    return stack.item("payment_worker", **new)


def missing() -> Incident:
    """The file has one more worker, which has no container."""
    return in_file(Incident(), "report_worker", f"celery -A {APP} worker --queues reports")


def in_file(stack: Incident, name: str, command: str = "", **nodes) -> Incident:
    """The file has one more service."""
    data = compose_of(stack)
    told = {"environment": {}, "profiles": [], "scale": [], "deploy": [], "depends_on": [], "command": []}
    if command:
        nodes["command"] = command
    for key, value in nodes.items():
        told[key] = [{"file": 0, "line": 90, "end_line": 90, "col": 5, "value": value, "masked": False}]
    data["services"][name] = told
    return stack.section("compose", "ok", "", data)


def orphan() -> Incident:
    """Flower was taken out of the file and runs on."""
    stack = Incident()
    path = "/srv/ai_backend/docker-compose.yml"
    stack.item("flower", labels={"com.docker.compose.project.config_files": path})
    data = compose_of(stack)
    del data["services"]["flower"]
    return stack.section("compose", "ok", "", data)


FIRES = {"CHG001": mended, "CHG002": replicas, "CHG003": missing, "CHG004": orphan}


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
    (option,) = diagnosis.consequences(cause.id)
    assert option.name == "unknown-option" and option.remedy.edits == ()
    assert option.remedy.summary == "Make the containers anew: the Compose file already says --queues."


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


# --- Images of replicas -----------------------------------------------------------------------------------


def test_the_replica_with_the_older_image_is_named():
    """And it is made anew without taking the other one away."""
    (cause,) = diagnose(replicas().evidence()).cause_findings
    assert (cause.name, cause.services, cause.severity) == ("old-image", ("email_worker",), "warning")
    assert cause.remedy.kind == "exact"
    assert cause.remedy.commands[0].endswith("--force-recreate --scale email_worker=2 email_worker")


def test_where_the_name_means_neither_a_person_decides():
    """To make it anew would not give it the newer image."""
    stack = replicas(image_now="sha256:0000").item("email_worker", image_now="sha256:0000")
    (finding,), _ = judged(stack, "CHG002")
    assert finding.remedy.kind == "manual"


def test_what_is_not_in_the_old_image_is_explained_by_it():
    """Only the old replica lacks the driver; it dies of that."""
    from evidence import NO_DRIVER

    stack = replicas().url("CELERY_RESULT_BACKEND", "postgresql+psycopg:", "postgresql:")
    stack.package("psycopg2", True).package("psycopg2", False, labels=("email_worker",))
    stack.loop("email_worker", 1, NO_DRIVER)
    diagnosis = diagnose(stack.evidence())
    (cause,) = diagnosis.cause_findings
    assert (cause.name, cause.severity) == ("old-image", "critical")
    assert "driver-not-installed" in {one.name for one in diagnosis.consequences(cause.id)}


def test_a_name_that_means_another_image_by_now_is_only_worth_knowing():
    """It was built or pulled, and is not deployed yet."""
    stack = Incident().item("email_worker", image_now="sha256:cd", image="mail:live")
    (finding,), _ = judged(stack, "CHG002")
    assert finding.severity == "notice" and "means another one" in finding.title
    assert diagnose(stack.evidence()).verdict == "ok"


# --- Services without a container, containers without a service -------------------------------------------


def test_a_worker_without_container_is_told_with_what_is_not_known():
    """Nothing shows that it is meant to be there."""
    (finding,), _ = judged(missing(), "CHG003")
    assert (finding.severity, finding.certainty) == ("warning", "inferred")
    assert "not known" in finding.title and finding.remedy.commands[0].endswith("--no-deps report_worker")


def test_a_worker_whose_queue_nobody_else_takes_is_critical():
    """Tasks wait in it, and that is the worker's absence, no cause of its own."""
    stack = missing()
    samples = [{"t": iso(n), "queues": {"reports": 3, "data_sync": 0}, "unacked": 0} for n in (8100, 8103)]
    stack.redis["samples"] = samples
    diagnosis = diagnose(stack.evidence())
    (cause,) = diagnosis.cause_findings
    assert (cause.name, cause.severity) == ("service-missing", "critical")
    assert [one.name for one in diagnosis.consequences(cause.id)] == ["queue-without-consumer"]


def test_a_service_that_another_was_started_after_is_missing_for_sure():
    """Compose notes on each container what it depends on."""
    stack = in_file(Incident(), "cache", "redis-server")
    stack.item("email_worker", labels={"com.docker.compose.depends_on": "cache:service_started:false"})
    (finding,), _ = judged(stack, "CHG003")
    assert finding.severity == "critical" and "email_worker was started after it" in finding.title


@pytest.mark.parametrize(
    "nodes",
    [
        {"profiles": ["debug"]},
        {"scale": "0"},
        {"deploy": {"replicas": "0"}},
        {"deploy": {"replicas": "${NONE:-0}"}},
    ],
)
def test_a_service_that_is_not_wanted_is_not_missing(nodes):
    """By its profile or its number."""
    stack = in_file(Incident(), "report_worker", f"celery -A {APP} worker", **nodes)
    assert judged(stack, "CHG003")[1].outcome == "quiet"


def test_how_many_are_wanted_may_not_be_known():
    """The number stands in a variable of the shell: neither missing nor well."""
    stack = in_file(Incident(), "report_worker", f"celery -A {APP} worker", scale="${REPORTS}")
    findings, outcome = judged(stack, "CHG003")
    assert (findings, outcome.outcome) == ((), "unknown") and "report_worker" in outcome.why


def test_a_job_that_others_wait_for_may_be_gone():
    """It did its work; somebody cleaned up."""
    stack = in_file(Incident(), "migrate", "alembic upgrade head")
    data = stack.evidence().data("compose")
    node = {"file": 0, "line": 9, "value": {"migrate": {"condition": "service_completed_successfully"}}}
    data["services"]["email_worker"]["depends_on"] = [node]
    assert judged(stack.section("compose", "ok", "", data), "CHG003")[1].outcome == "quiet"


def test_a_service_that_is_neither_celery_nor_server_is_only_worth_knowing():
    """It may be a tool that is started when it is needed."""
    (finding,), _ = judged(in_file(Incident(), "shell", "sleep infinity"), "CHG003")
    assert finding.severity == "notice"


def test_where_only_a_part_was_started_nothing_is_a_cause():
    """More services are missing than there are: somebody named the ones to start."""
    stack = Incident()
    for n in range(9):
        in_file(stack, f"worker_{n}", f"celery -A {APP} worker --queues q{n}")
    assert len(judged(stack, "CHG003")[0]) == 9
    assert diagnose(stack.evidence()).causes == ()


def test_a_container_whose_service_was_taken_out_of_the_file():
    """A person decides whether it is still wanted."""
    (finding,), _ = judged(orphan(), "CHG004")
    assert (finding.severity, finding.remedy.kind, finding.services) == ("warning", "manual", ("flower",))


def test_containers_of_another_set_of_files_are_no_orphans():
    """Two sets of files under one project name know nothing of each other."""
    stack = orphan().item("flower", labels={"com.docker.compose.project.config_files": "/srv/monitoring.yml"})
    assert judged(stack, "CHG004")[1].outcome == "quiet"
