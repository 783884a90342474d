"""What runbook 05 shows: differences from the Compose file, images of replicas, missing services."""

from __future__ import annotations

import json
from pathlib import Path

from evidence import Incident, without_section
from test_checks_changes import mended, missing, replicas
from test_checks_changes import orphan as taken_out

from celery_triage.model import Evidence, Section
from celery_triage.notebook import Look
from celery_triage.show import changes

SHOP = json.loads((Path(__file__).parent / "data" / "changes" / "shop.json").read_text("utf-8"))


def shop() -> Look:
    """A healthy project with replicas, a profile and scale 0, recorded."""
    sections = {name: Section(name, "ok", SHOP[name]) for name in ("containers", "compose")}
    return Look(Evidence("shop", "2026-11-24T00:41:00Z", sections))


def test_an_edit_is_told_with_both_texts_and_its_place():
    """What the container has beside what the file says, and the line."""
    said = repr(changes.against_file(Look(mended().evidence())))
    assert "--queue=email_processing" in said and "--queues=email_processing" in said
    assert "docker-compose.yml, line" in said and "surely" in said


def test_a_project_without_differences_says_so_in_a_sentence():
    """No empty table; also those of older files are none."""
    assert repr(changes.against_file(shop(), "", True)) == "8 containers have what the Compose files say."


def test_files_images_and_containers_are_told_with_their_ages():
    """In words too, for each row; the bar of what was made before the edit stands out."""
    said = repr(changes.plot(Look(mended().evidence())))
    assert "docker-compose.yml: changed 15 min 3 s ago." in said
    assert "email_worker: made 2 h 15 min ago." in said
    assert "mail-3: made " in repr(changes.plot(shop())) and ".env: changed " in repr(changes.plot(shop()))


def test_the_time_line_can_be_cut():
    """What is older than the hours asked for stays in words."""
    look = Look(mended().evidence())
    long, short = changes.plot(look), changes.plot(look, "", 0.5)
    assert long.html != short.html and "email_worker: made 2 h 15 min ago." in repr(short)


def test_replicas_with_different_images_are_told_apart():
    """With what the name of the image means by now."""
    said = repr(changes.replicas(Look(replicas().evidence()), "email_worker"))
    assert "10f077a09cd4" in said and "another: 079c2d3b0d3c" in said and "this image" in said
    assert "celery_beat" not in said


def test_each_service_of_the_file_is_held_against_its_containers():
    """Missing, not asked for, taken out of the file, or there."""
    said = repr(changes.services(Look(missing().evidence()))).splitlines()[-1]
    assert said.split() == ["report_worker", "yes", "none", "missing"]
    assert "no service of these files" in repr(changes.services(Look(taken_out().evidence())))
    said = repr(changes.services(shop()))
    assert "need not be there: it belongs to the profile debug" in said
    assert "the file wants none of it (scale 0)" in said and "3, 0 running" in said


def test_where_the_files_could_not_be_read_that_is_said():
    """With the reason."""
    blind = Look(without_section(Incident().evidence(), "compose", "denied"))
    for shown in (changes.against_file(blind), changes.services(blind)):
        assert repr(shown) == "? The Compose files could not be read: the deadline passed."
