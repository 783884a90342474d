"""A healthy project that uses every way of writing that Compose has stays quiet, and its changes do not.

``data/changes/shop.json`` holds the sections `containers` and `compose` of a real project (Compose 2.26.1,
Docker Engine 20.10; names and paths replaced): two files and `include`, `extends` from a third, anchors,
merge keys, `env_file`, `.env`, variables of the shell, profiles, scale, a one-off container, commands as
text, list and folded text, numbers and dates as YAML writes them. All files were changed (by `touch`) after
the containers had been made, so every difference would be an edit.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from celery_triage.checks import RULES, Look, judge
from celery_triage.checks.changes import differences
from celery_triage.checks.changes.written import Files
from celery_triage.model import Evidence, Section
from celery_triage.stack import Stack

RECORDED = (Path(__file__).parent / "data" / "changes" / "shop.json").read_text("utf-8")
FILES = "com.docker.compose.project.config_files"
CODES = ("CHG001", "CHG002", "CHG003", "CHG004")


@pytest.fixture
def shop() -> dict:
    return json.loads(RECORDED)


def evidence(data: dict) -> Evidence:
    sections = {name: Section(name, "ok", data[name]) for name in ("containers", "compose")}
    return Evidence("shop", "2026-11-24T00:41:00Z", sections)


def judged(data: dict, code: str):
    """(findings, outcome) of one rule."""
    look = Look(evidence(data), RULES[code])
    return judge(RULES[code], look)


@pytest.mark.parametrize("code", CODES)
def test_nothing_is_wrong_with_it(shop, code):
    """Quiet, not merely without a finding."""
    findings, outcome = judged(shop, code)
    assert (findings, outcome.outcome) == ((), "quiet")


def test_no_difference_is_seen_whatever_the_times_are(shop):
    """Not even one that would be put down to an older file."""
    files = Files(shop["compose"], shop["containers"])
    services = Stack(shop["containers"]).members
    assert len(services) == 8
    assert {one.label: differences.of(files, one) for one in services} == {one.label: [] for one in services}


@pytest.mark.parametrize("code", CODES)
def test_nor_with_the_labels_of_version_1(shop, code):
    """Relative paths, no image and no depends_on in the labels, underscores in names."""
    for item in shop["containers"]["items"]:
        labels = item["labels"]
        paths = labels[FILES].split(",")
        labels[FILES] = ",".join(path.rpartition("/")[2] for path in paths)
        for name in ("image", "depends_on"):
            labels.pop(f"com.docker.compose.{name}", None)
        item["name"] = item["name"].replace("-", "_")
    findings, outcome = judged(shop, code)
    assert (findings, outcome.outcome) == ((), "quiet")


def held(shop: dict, label: str) -> dict:
    return next(item for item in shop["containers"]["items"] if item["label"] == label)


CHANGED = {
    "command": ("mail-1", lambda item: item["cmd"].__setitem__(-1, "other@%h")),
    "entrypoint": ("shell", lambda item: item.update(entrypoint=["sh", "-c", "true"])),
    "healthcheck": ("mail-1", lambda item: item["healthcheck"].update(timeout_s=10.0)),
    "image": ("flower", lambda item: item.update(image="another:1")),
    "LOG_LEVEL": ("report", lambda item: item["env"].update(LOG_LEVEL="info")),
    "CELERY_BROKER_URL": ("sync", lambda item: item["env"].update(CELERY_BROKER_URL="redis://redis:6379/1")),
    "PLAIN": ("mail-2", lambda item: item["env"].update(PLAIN="other")),
    "NOTHING": ("mail-3", lambda item: item["env"].update(NOTHING="something")),
    "TZ": ("beat", lambda item: item["env"].pop("TZ")),
}


@pytest.mark.parametrize("what", CHANGED)
def test_each_thing_that_differs_is_seen(shop, what):
    """One container that has something else than all the files say."""
    label, change = CHANGED[what]
    change(held(shop, label))
    found = judged(shop, "CHG001")[0]
    named = [(one.object, one.services) for one in found]
    if what == "image":  # its name stands in a variable, which the shell may have set
        assert [one.severity for one in found] == ["notice"] and named == [("image", ("flower",))]
    else:
        assert [one.severity for one in found] == ["warning"] and named == [(what, (label,))]


def test_a_secret_is_compared_by_its_token_only(shop):
    """Another password of the broker in .env: told as a notice, for the shell may have set it."""
    shop["compose"]["dotenv"]["values"]["REDIS_PASSWORD"]["value"] = "***ffffff"
    (finding,) = judged(shop, "CHG001")[0]
    assert (finding.severity, finding.object) == ("notice", "CELERY_BROKER_URL")
    assert finding.services == ("mail-1", "mail-2", "mail-3", "report", "shell", "sync")


def test_a_variable_that_only_the_shell_had_is_never_judged(shop):
    """Nothing is known of what it should be."""
    held(shop, "mail-1")["env"]["FROM_SHELL"] = "something else"
    assert judged(shop, "CHG001")[1].outcome == "quiet"


def test_with_an_env_file_of_another_name_variables_are_unknown(shop):
    """`--env-file` was given: .env says nothing."""
    for item in shop["containers"]["items"]:
        item["labels"]["com.docker.compose.project.environment_file"] = "/srv/shop/prod.env"
    shop["compose"]["dotenv"]["values"]["SHOP_IMAGE"]["value"] = "another:1"
    assert judged(shop, "CHG001")[1].outcome == "quiet"
