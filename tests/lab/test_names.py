"""The same stack with all names changed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.lab import images, names
from tests.lab.fault import FOLDER, fault_names, load_fault
from tests.lab.original import Original
from tests.lab.place import BACKEND_SERVICES, COMPOSE, INFRA_SERVICES, Lab

NEW = names.renamed()
OLD = [*NEW.words, *(service for service in NEW.services if "_" in service)]


@pytest.mark.parametrize("project", ["backend", "infra"])
def test_no_old_name_is_left_in_a_compose_file(project):
    """Neither a word of its own nor a service's name as key, host or end of a container's name."""
    text = NEW.text((COMPOSE / project / "docker-compose.yml").read_text())
    assert not [old for old in OLD if old in text]
    left = r"(?m)^  (flower|postgres|redis):|[@/](postgres|redis):\d|_(flower|postgres|redis)\b"
    assert not re.search(left, text)
    assert "redis://mailbox:6379/0" in text or project == "infra"


def test_every_name_is_another():
    """All services have a new name, no two the same one, and no new name holds an old one."""
    assert set(NEW.services) == {*BACKEND_SERVICES, *INFRA_SERVICES}
    fresh = [*NEW.services.values(), *NEW.words.values()]
    assert len(set(fresh)) == len(fresh)
    old = [*OLD, "celery", "redis", "postgres", "beat"]
    assert not [new for new in fresh if any(word in new for word in old)]


def test_the_application_has_no_old_module():
    """The source under its new paths names no old module, task or queue, and still compiles."""
    top = images.SOURCES / "app" / "src"
    for source in top.rglob("*.py"):
        text = NEW.text(source.read_text())
        assert not [old for old in OLD if old in text]
        compile(text, str(NEW.path(source.relative_to(top))), "exec")
    assert NEW.path(Path("shared/infrastructure/celery_app.py")) == Path("depot/engine/conveyor.py")


def test_images_and_places_differ():
    """An image of other modules has another tag; containers, networks and projects have the new names."""
    assert images.app_tag("base", ("celery",), NEW) != images.app_tag("base", ("celery",))
    place = Lab.at("x_", "/nowhere", NEW)
    assert place.containers["postman"] == "x_atlas_postman"
    assert place.server("redis") == "x_harbor_mailbox"
    assert place.networks["database-net"] == "x_store-lane"
    assert place.projects == {"x_atlas", "x_harbor"}


def test_what_was_left_under_other_names_is_found(tmp_path):
    """A lab that is taken down by its prefix alone still knows the projects in its folder."""
    folder = tmp_path / "x" / "atlas"
    folder.mkdir(parents=True)
    (folder / ".env").write_text("A=b\nCOMPOSE_PROJECT_NAME=x_atlas\n")
    assert Lab.at("x_", tmp_path).projects == {"x_ai_backend", "x_ai_infra", "x_atlas"}


def test_a_fault_keeps_what_is_no_name():
    """Packages, schemes and findings stay; services, queues and the database change."""
    said = NEW.fault({
        "image": {"flower": None, "celery": "5.4.0"},
        "edits": [{"file": "backend", "old": "redis://redis:6379", "new": "redis://redis:6380"}],
        "expect": {"causes": [
            {"name": "flower-not-installed", "services": ["flower"], "object": "flower"},
            {"name": "database-missing", "services": ["celery_beat"], "object": "ai_backend"},
            {"name": "network-missing", "services": ["flower"], "object": "redis,postgres"},
        ]},
        "wait_for": {"log": {"flower": "data_sync"}, "ready": "all"},
    })
    assert said["image"] == {"flower": None, "celery": "5.4.0"}
    assert said["edits"][0] == {"file": "backend", "old": "redis://mailbox:6379", "new": "redis://mailbox:6380"}
    assert [cause["object"] for cause in said["expect"]["causes"]] == ["flower", "atlas", "mailbox,vault"]
    services = [cause["services"] for cause in said["expect"]["causes"]]
    assert services == [["lookout"], ["metronome"], ["lookout"]]
    assert said["expect"]["causes"][0]["name"] == "flower-not-installed"
    assert said["wait_for"] == {"log": {"lookout": "copies"}, "ready": "all"}


def test_the_oracle_asks_by_the_new_names():
    """What the stack should be is read with them: services, queues and who consumes them."""
    original = Original.read(COMPOSE / "backend" / "docker-compose.yml", names=NEW)
    assert original.services == tuple(map(NEW.service, BACKEND_SERVICES))
    assert original.queues == {"letters": ("postman",), "invoices": ("cashier",), "copies": ("mirror",)}


def test_usual_names_change_nothing():
    """Without `renamed` a fault is read as it is written."""
    for name in fault_names():
        if "renamed: true" not in (FOLDER / f"{name}.yml").read_text():
            assert load_fault(name).names == names.USUAL
    assert names.USUAL.text("redis://redis:6379 ai_backend") == "redis://redis:6379 ai_backend"
