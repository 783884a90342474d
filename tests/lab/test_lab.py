"""The lab's own promises, without an engine: neutral copies, strict edits, hands off what is not its own."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.lab import images, lab, steps
from tests.lab.fault import FOLDER, BadFault, fault_names, load_fault
from tests.lab.place import INFRA_SERVICES

FAULTS = fault_names()
APPS = dict.fromkeys(lab.BACKEND_SERVICES, "ctlab-backend:0123456789ab")
IMAGES = {"BACKEND_IMAGE": APPS["flower"]}


def written(tmp_path: Path, name: str, apps=APPS) -> lab.Lab:
    fault = load_fault(name)
    place = lab.Lab.at("x_", tmp_path, fault.names, fault.broker)
    lab.write_backend(place, fault, {fault.names.service(service): app for service, app in apps.items()})
    return place


def fault_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "one.yml"
    path.write_text(text)
    return path


class TestFaults:
    def test_there_are_faults(self):
        """The folder is found, so that the tests below are about something."""
        assert len(FAULTS) >= 12

    @pytest.mark.parametrize("name", FAULTS)
    def test_expectation_is_possible(self, name):
        """A fault with causes is not ok, one without is; causes are about services that there are."""
        fault = load_fault(name)
        assert (fault.verdict == "ok") == (not fault.expected)
        known = set(map(fault.names.service, (*lab.BACKEND_SERVICES, *INFRA_SERVICES)))
        known |= set(fault.backend.get("services") or ())  # a fault may bring one of its own
        for cause in fault.expected:
            # A replica bears its service's name and a number.
            assert {re.sub(r"-[0-9]+$", "", service) for service in cause.services} <= known
            one = dict.fromkeys(cause.services, cause.state)
            states = cause.state if isinstance(cause.state, dict) else one
            assert states.keys() <= cause.services
            assert set(states.values()) <= {"active", "latent"}
        assert not {cause.name for cause in fault.expected} & set(fault.unexpected)

    @pytest.mark.parametrize("name", FAULTS)
    def test_copy_is_neutral(self, name, tmp_path):
        """Nothing that the lab writes, neither text nor path, holds the fault's name or its x-fault block."""
        place = written(tmp_path, name)
        files = [path for path in place.folder.rglob("*") if path.is_file()]
        assert len(files) >= 2
        for path in files:
            seen = f"{path.relative_to(tmp_path)}\n{path.read_text()}"
            assert name not in seen
            assert "fault" not in seen

    @pytest.mark.parametrize("name", FAULTS)
    def test_copy_is_the_whole_stack(self, name, tmp_path):
        """Edits leave a Compose file with all services but those that the fault takes out, each still run by
        Celery."""
        fault = load_fault(name)
        services = yaml.safe_load(written(tmp_path, name).files["backend"].read_text())["services"]
        assert tuple(services) == tuple(
            one for one in map(fault.names.service, lab.BACKEND_SERVICES) if one not in fault.gone_ok
        )
        commands = [service["command"] for service in services.values()]
        words = [one if isinstance(one, list) else one.split() for one in commands]
        assert all("celery" in one for one in words)

    @pytest.mark.parametrize("name", [name for name in FAULTS if load_fault(name).expected])
    def test_fault_changes_something(self, name):
        """A fault with causes differs from the stack as it should be."""
        fault = load_fault(name)
        steps = (*fault.steps_before, *fault.steps_after)
        assert any((fault.edits, fault.backend, fault.infra, fault.image, steps))

    def test_like_takes_what_is_not_said(self, tmp_path):
        """A fault that is like another has all of it but what it says itself."""
        (tmp_path / "other.yml").write_text(
            "x-fault: {title: Other, quiet_seconds: 7, expect: {verdict: ok}}\n"
            "services: {flower: {user: nobody}}\n"
        )
        path = fault_file(tmp_path, "x-fault: {title: One, like: other}\n")
        fault = load_fault(path)
        assert (fault.title, fault.quiet_seconds) == ("One", 7)
        assert fault.backend == {"services": {"flower": {"user": "nobody"}}}

    @pytest.mark.parametrize(("text", "told"), [
        ("services: {}", "x-fault block"),
        ("x-fault: {expect: {verdict: ok}}", "title"),
        ("x-fault: {title: T}", "verdict"),
        ("x-fault: {title: T, expect: {verdict: ok}, wait: {}}", "has no wait"),
        ("x-fault: {title: T, expect: {verdict: ok}, wait_for: {reddy: all}}", "has no reddy"),
        ("x-fault: {title: T, expect: {verdict: ok, causes: [{name: a, state: active}]}}", "services"),
        ("x-fault: {title: T, expect: {verdict: ok}, edits: [{file: no, old: a, new: b}]}", "edit needs"),
        ("x-fault: {title: T, expect: {verdict: ok}, steps: {before: [{sql: a, run: b}]}}", "exactly one"),
        ("x-fault: {title: T, expect: {verdict: ok}, like: one}", "no other fault"),
    ])  # fmt: skip
    def test_mistakes_are_told(self, text, told, tmp_path):
        """A fault file that cannot be meant is refused with its name and the place."""
        with pytest.raises(BadFault, match=told) as refused:
            load_fault(fault_file(tmp_path, text))
        assert "one.yml" in str(refused.value)

    def test_unknown_fault_lists_the_known(self):
        """Whoever mistypes a name reads which names there are."""
        with pytest.raises(BadFault, match=FAULTS[0]):
            load_fault("nothing-of-that-name", FOLDER)


class TestImages:
    def test_extra_belongs_to_the_name(self):
        """A fault may name a package without the extra that the lab installs it with."""
        lines = images.requirements({"celery": "5.4.0", "psycopg": None})
        assert "celery[redis]==5.4.0" in lines
        assert not any(line.startswith("psycopg") for line in lines)

    def test_packages_of_the_fault_are_added(self):
        """A package that is in no default set is installed with the version or the condition given."""
        lines = images.requirements({"kombu": "5.4.2", "amqp": "<6"})
        assert {"kombu==5.4.2", "amqp<6"} <= set(lines)

    def test_tag_tells_nothing(self):
        """A tag is a hash: the same for the same set, another for another, without a version in it."""
        sets = [images.requirements(), images.requirements({"flower": None})]
        tags = [images.app_tag("base:1", lines) for lines in (*sets, sets[0])]
        assert tags[0] == tags[2] != tags[1]
        assert tags[0].partition(":")[0] == "ctlab-backend"

    def test_services_of_another_image_get_an_override(self, tmp_path):
        """What most services run stands in .env; a service with another image is told so in the override."""
        place = written(tmp_path, "healthy", {**APPS, "flower": "ctlab-backend:other"})
        assert IMAGES["BACKEND_IMAGE"] in place.files["env"].read_text()
        assert yaml.safe_load(place.files["backend_override"].read_text()) == {
            "services": {"flower": {"image": "ctlab-backend:other"}}
        }


class TestEdits:
    def test_all_occurrences(self, tmp_path):
        """An edit replaces the text everywhere in its file."""
        place = written(tmp_path, "healthy")
        edit = {"file": "backend", "old": "--loglevel=info", "new": "-l info", "count": 4}
        steps.apply_edits(place, [edit])
        assert place.files["backend"].read_text().count("-l info") == 4

    @pytest.mark.parametrize("edit", [
        {"file": "backend", "old": "nowhere to be found", "new": ""},
        {"file": "backend", "old": "--loglevel=info", "new": "", "count": 1},
    ])  # fmt: skip
    def test_an_edit_that_misses_fails(self, edit, tmp_path):
        """Text that is not there, or not as often as said, is an error and not a fault without effect."""
        place = written(tmp_path, "healthy")
        before = place.files["backend"].read_text()
        with pytest.raises(lab.StepFailed, match="times"):
            steps.apply_edits(place, [edit])
        assert place.files["backend"].read_text() == before


class TestForeign:
    """What bears the lab's names but was not made from its folder stays untouched."""

    @pytest.fixture
    def engine(self, tmp_path, monkeypatch):
        """A `docker` command that knows one container and one network and notes what it is asked."""
        calls = tmp_path / "calls"
        (tmp_path / "bin").mkdir()

        def holds(name="x_ai_backend_flower", project="x_ai_backend", files="/srv/real/a.yml", owner=""):
            labels = {"com.docker.compose.project": project, "com.docker.compose.project.config_files": files}
            labels = {key: value for key, value in labels.items() if value}
            container = {"Name": f"/{name}", "Config": {"Labels": labels}, "State": {}, "RestartCount": 0}
            (tmp_path / "containers").write_text(json.dumps([container] if name else []))
            (tmp_path / "owner").write_text(owner)
            script = tmp_path / "bin" / "docker"
            script.write_text(
                f"#!/bin/sh\necho \"$*\" >> {calls}\ncase \"$1 $2\" in\n"
                f"  'ps -aq') echo 0123456789ab ;;\n  'inspect --type') cat {tmp_path}/containers ;;\n"
                f"  'network inspect') [ -s {tmp_path}/owner ] && cat {tmp_path}/owner ;;\n"
                "  *) exit 1 ;;\nesac\n"
            )
            script.chmod(script.stat().st_mode | stat.S_IXUSR)
            monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
            return lab.Lab.at("x_", tmp_path)

        holds.asked = lambda: calls.read_text() if calls.exists() else ""
        return holds

    @pytest.mark.parametrize("held", [
        {},                                                     # the same project, from another folder
        {"files": ""},                                          # the same project, from nowhere
        {"files": "docker-compose.yml"},                        # Compose v1 writes relative paths
        {"project": "", "files": ""},                           # only the container's name is the same
        {"name": "x_ai_infra_postgres", "project": "x_ai_infra"},
        {"name": "other", "project": "x_ai_backend"},           # a service that the lab does not know
        {"name": "", "owner": "somebody"},                      # only the network is there
    ])  # fmt: skip
    def test_up_and_down_refuse(self, engine, held, tmp_path):
        """Neither up nor down removes, creates or stops anything."""
        place = engine(**held)
        place.folder.mkdir()
        with pytest.raises(lab.Foreign, match="left alone|leaves it alone"):
            lab.down(place)
        with pytest.raises(lab.Foreign, match="left alone|leaves it alone"):
            lab.up(load_fault("healthy"), "x_", tmp_path)
        asked = {tuple(call.split()[:2]) for call in engine.asked().splitlines()}
        assert asked <= {("ps", "-aq"), ("inspect", "--type"), ("network", "inspect")}
        assert place.folder.exists()

    def test_a_path_that_only_begins_alike_is_foreign(self, engine, tmp_path):
        """The folder of another lab whose name begins with this one's is not this lab's folder."""
        place = engine(files=f"{tmp_path}/xy/ai_backend/docker-compose.yml")
        with pytest.raises(lab.Foreign):
            lab.refuse_foreign(place)

    @pytest.mark.parametrize("held", [
        {"files": "{root}/x/ai_backend/docker-compose.yml,{root}/x/ai_backend/docker-compose.override.yml"},
        {"name": "ai_backend_flower", "project": "ai_backend"},
        {"name": "", "owner": "x_ai_infra"},
    ])  # fmt: skip
    def test_own_and_unrelated_are_no_reason(self, engine, held, tmp_path):
        """The lab's own containers, and those of a real backend beside it, do not stop the lab."""
        place = engine(**{key: value.replace("{root}", str(tmp_path)) for key, value in held.items()})
        lab.refuse_foreign(place)
        assert engine.asked()


def test_the_caller_cannot_change_the_files(monkeypatch):
    """Variables of the shell that Compose would prefer to the lab's .env do not reach it."""
    monkeypatch.setenv("POSTGRES_PASSWORD", "of somebody else")
    monkeypatch.setenv("COMPOSE_FILE", "/srv/real/compose.yml")
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    env = lab.Lab.at("x_").env
    assert not {"POSTGRES_PASSWORD", "COMPOSE_FILE"} & set(env)
    assert env["DOCKER_HOST"] == "unix:///elsewhere.sock"


@pytest.mark.parametrize("prefix", ["", "ai", "ctlab", "../x_", "X_", "-x_"])
def test_a_prefix_keeps_the_lab_apart(prefix):
    """Without a proper prefix there is no lab: its names could be those of a real stack."""
    with pytest.raises(ValueError, match="prefix"):
        lab.Lab.at(prefix)


def test_no_fault_is_known_to_the_code():
    """The lab's code holds no fault's name (`healthy` is also a word of the engine's health checks)."""
    files = [path for path in Path(lab.__file__).parent.glob("*.py") if not path.name.startswith("test_")]
    code = "\n".join(path.read_text() for path in files)
    assert len(files) >= 6
    assert [name for name in FAULTS if name in code and name != "healthy"] == []
