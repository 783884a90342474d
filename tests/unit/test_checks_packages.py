"""Packages that the application imports and the image does not have, or has in versions that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from evidence import SITE, Incident

from celery_triage.causes import diagnose
from celery_triage.collect.requires import wanted

LOGS = Path(__file__).parent / "data" / "logs"

MISSING = [
    "[2026-11-23 12:00:01,717: CRITICAL/MainProcess] Unrecoverable error: "
    "ModuleNotFoundError(\"No module named 'requests'\")",
    "Traceback (most recent call last):",
    f'  File "{SITE}/celery/worker/worker.py", line 203, in start',
    "    self.blueprint.start(self)",
    '  File "/app/shared/tasks.py", line 3, in <module>',
    "    import requests",
    "ModuleNotFoundError: No module named 'requests'",
]


def missing():
    return Incident().loop("email_worker", 1, MISSING)


def failover():
    return Incident(celery="5.6.2")


def recorded(name):
    """The lines of a recorded log, without their times."""
    text = (LOGS / f"{name}.log").read_text("utf-8")
    return [line.split(" ", 2)[2] for line in text.splitlines() if not line.startswith("## ")]


def image(log, exit_code=1, python="3.11", packages=(), **requires):
    """One worker whose image holds these packages, and which ends with a recorded log."""
    stack = Incident().loop("email_worker", exit_code, recorded(log))
    for name, version in dict(packages).items():
        stack.package(name, True, version, ("email_worker",))
    return stack.in_image("email_worker", python=python, requires=requires)


def wants(version, pythons=(), **of):
    names = {name.replace("_", "-"): spec for name, spec in of.items()}
    return {"version": version, "wants": names, "pythons": list(pythons)}


def old_redis():
    return image("redis-2_5.6", packages={"kombu": "5.7.0", "redis": "2.10.6"},
                 kombu=wants("5.7.0", redis="<9.0.0,>=6.4.0"))  # fmt: skip


def new_python():
    return image("python-3.11_4.4", packages={"celery": "4.4.7", "vine": "1.3.0"},
                 celery=wants("4.4.7", ["2.7", "3.5", "3.6", "3.7", "3.8"], vine="==1.3.0"))  # fmt: skip


FIRES = {"PKG001": missing, "PKG020": failover, "PKG050": old_redis, "PKG051": new_python}


def only(stack):
    (found,) = diagnose(stack.evidence()).cause_findings
    return found


@pytest.mark.parametrize(
    "log,packages,requires,thing,title",
    [
        ("redis-2_5.6", {"kombu": "5.7.0", "redis": "2.10.6"},
         {"kombu": wants("5.7.0", redis="<9.0.0,>=6.4.0")}, "redis",
         "redis 2.10.6 in the image does not fit kombu 5.7.0, which wants redis<9.0.0,>=6.4.0"),
        ("vine-5_4.4", {"celery": "4.4.7", "vine": "5.0.0"}, {"celery": wants("4.4.7", vine="==1.3.0")},
         "vine",
         "vine 5.0.0 in the image does not fit celery 4.4.7, which wants vine==1.3.0"),
        ("click-8_5.0", {"celery": "5.0.5", "click": "8.1.7"}, {"celery": wants("5.0.5", click="<8.0,>=7.0")},
         "click", "click 8.1.7 in the image does not fit celery 5.0.5, which wants click<8.0,>=7.0"),
        ("vine-1_5.4", {"celery": "5.4.0", "vine": "1.3.0"},
         {"celery": wants("5.4.0", ["3.8", "3.11", "3.12"], vine="<6.0,>=5.1.0")}, "vine",
         "vine 1.3.0 in the image does not fit celery 5.4.0, which wants vine<6.0,>=5.1.0"),
    ],
)  # fmt: skip
def test_a_pair_that_does_not_fit_is_named_by_the_metadata_of_the_packages(
    log, packages, requires, thing, title
):
    """The culprit, its version and the version that fits; the words of the log confirm it."""
    found = only(image(log, packages=packages, **requires))
    assert (found.name, found.object, found.certainty) == ("packages-do-not-fit", thing, "confirmed")
    assert found.title == f"email_worker cannot start: {title}"


def test_where_the_metadata_forbid_nothing_the_table_says_what_fits():
    """kombu 5.2 names no upper bound for importlib-metadata."""
    found = only(image("importlib-metadata-5_5.2", python="3.7",
                       celery=wants("5.2.3", ["3.7", "3.8"]), kombu=wants("5.2.4")))  # fmt: skip
    assert (found.object, found.certainty) == ("importlib-metadata", "reported")
    assert "importlib-metadata<5" in found.remedy.summary


@pytest.mark.parametrize(
    "log,python,celery,named,fits",
    [
        ("python-3.11_4.4", "3.11", "4.4.7", ["2.7", "3.5", "3.6", "3.7", "3.8"], "Celery 5.3 to 5.7"),
        ("python-3.12_5.2", "3.12", "5.2.7", ["3.7", "3.8", "3.9", "3.10"], "Celery 5.3 to 5.7"),
        ("python-3.10_4.2", "3.10", "4.2.2", ["2.7", "3.4", "3.5", "3.6"], "Celery 5.2 to 5.7"),
        ("python-3.7_4.1", "3.7", "4.1.1", ["2.7", "3.4", "3.5", "3.6"], "Celery 4.3 to 5.2"),
    ],
)
def test_a_celery_that_is_too_old_for_its_python_names_those_that_fit(log, python, celery, named, fits):
    """By the classifiers of the Celery in the image; the same words can mean a package beside it."""
    found = only(image(log, python=python, packages={"celery": celery}, celery=wants(celery, named)))
    assert (found.name, found.object, found.certainty) == ("python-does-not-fit", "celery", "confirmed")
    assert f"{fits} for Python {python}" in found.remedy.summary


def test_an_application_written_for_a_newer_python_is_reported():
    """Celery fits; the application's own code does not."""
    found = only(image("python-3.9-union_5.5", 2, python="3.9", packages={"celery": "5.5.3"},
                       celery=wants("5.5.3", ["3.8", "3.9", "3.13"])))  # fmt: skip
    assert (found.name, found.object, found.certainty) == ("python-does-not-fit", "python", "reported")


def test_what_does_not_fit_and_works_is_no_fault():
    """pip would complain; the worker is ready."""
    stack = Incident().package("redis", True, "2.10.6")
    stack.in_image("email_worker", requires={"kombu": wants("5.6.2", redis=">=6.4.0")})
    assert not {one.code for one in diagnose(stack.evidence()).findings} & {"PKG050", "PKG051"}


def test_a_module_of_another_name_than_its_package_is_told_with_the_package():
    """yaml is brought by PyYAML; a name that the table does not know is left as it is."""
    lines = [line.replace("requests", "yaml") for line in MISSING]
    remedy = only(Incident().loop("email_worker", 1, lines)).remedy
    assert "yaml is brought by PyYAML" in remedy.summary
    assert "If requests is a package" in only(missing()).remedy.summary


def test_requirements_are_read_as_pip_reads_them():
    """Markers are judged for the image's Python; extras of Redis and SQLAlchemy count, others do not."""
    text = "\n".join(f"Requires-Dist: {line}" for line in (
        "vine (==1.3.0)", "pytz (>dev)", "importlib-metadata>=3.6; python_version < '3.8'",
        "redis<6,>=4.5; extra == 'redis'", "sqlalchemy>=1.4; extra == 'nothing'"))  # fmt: skip
    assert wanted(text, "3.7") == {"vine": "==1.3.0", "importlib-metadata": ">=3.6", "redis": "<6,>=4.5"}
    assert wanted(text, "3.11") == {"vine": "==1.3.0", "redis": "<6,>=4.5"}


def test_a_package_that_is_not_there_is_reported_with_its_name():
    """The last words name it; nothing else can."""
    (cause,) = diagnose(missing().evidence()).cause_findings
    assert (cause.name, cause.object, cause.certainty) == ("package-missing", "requests", "reported")


def test_a_task_that_lacks_a_package_is_no_cause():
    """The worker goes on; one task failed."""
    stack = Incident().say(
        "email_worker",
        "[2026-11-23 14:13:02,000: ERROR/ForkPoolWorker-1] Task shared.tasks.quick[0f5c1c1e-9f8a-4b1e-9f57-"
        "0d1c2b3a4d5e] raised unexpected: ModuleNotFoundError(\"No module named 'requests'\")",
        *MISSING[1:],
    )
    assert diagnose(stack.evidence()).causes == ()


def test_a_version_with_a_known_fault_is_a_notice_with_its_thread_and_never_a_cause():
    """The version and the broker are known; whether the fault has struck is not."""
    told = diagnose(failover().evidence())
    (one,) = [finding for finding in told.findings if finding.code == "PKG020"]
    assert (one.severity, one.certainty, one.object) == ("notice", "inferred", "celery-5-6-redis-failover")
    assert "celery 5.6.2" in one.title and "celery/celery/pull/10151" in one.detail
    assert "5.6.3" in one.remedy.summary and told.causes == ()


def test_the_mark_of_a_known_fault_in_the_log_is_quoted():
    """A message that only this fault has is shown beside the version; without it the version alone is."""
    words = "_pickle.UnpicklingError: invalid load key, 'x'."
    stack = Incident(celery="5.5.3").say("celery_beat", words)
    told = [one for one in diagnose(stack.evidence()).findings if one.object == "beat-unpickling"]
    assert [one.certainty for one in told] == ["reported"]
    assert any(words in proof.text for proof in told[0].proof)
    quiet = diagnose(Incident(celery="5.5.3").evidence()).findings
    assert [one.certainty for one in quiet if one.object == "beat-unpickling"] == ["inferred"]
