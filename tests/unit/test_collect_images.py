"""How old the image of a container is, and what its name means by now."""

from __future__ import annotations

from replayed_engine import EMAIL, RECORDED, engine, requests_made

from celery_triage.collect import CollectOptions, collect
from celery_triage.collect.images import tell

# Answers of a Docker Engine 20.10 to GET /images/…/json after a second build of one name, cut to two keys.
BEFORE = {"Id": "sha256:10f077a09cd42a189b293a7c10302b5b073ac597cf132b6e6942b7a1ee8b4205",
          "Created": "2026-11-23T21:24:59.590172063Z"}
NOW = {"Id": "sha256:079c2d3b0d3c87371aa6ad7b8bcb7500a8f618b0a0b72aa2e72d0a27bcdbc34f",
       "Created": "2026-11-24T00:29:23.409101453Z"}


class Asked:
    """An engine that knows these two images, and counts."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def ask(self, path: str):
        self.paths.append(path)
        return {f"/images/{BEFORE['Id']}/json": BEFORE, "/images/mail:live/json": NOW}[path]


def test_an_image_whose_name_means_another_one_by_now():
    """Both are told, and each is asked once, however many containers have it."""
    items = [{"image": "mail:live", "image_id": BEFORE["Id"]} for _ in range(2)]
    asked = Asked()
    tell(asked, items)
    assert [(one["image_created"], one["image_now"]) for one in items] == [(BEFORE["Created"], NOW["Id"])] * 2
    assert len(asked.paths) == 2


def test_an_engine_that_does_not_know_the_image_leaves_it_unsaid(tmp_path, monkeypatch):
    """An image that was removed while its container lives is no error."""
    with engine(tmp_path) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        evidence = collect(CollectOptions(only=frozenset({"containers"})))
    items = evidence.data("containers")["items"]
    assert items and all((one["image_created"], one["image_now"]) == ("", "") for one in items)
    assert any(path.startswith("GET /images/") for path in requests_made(tmp_path))
    assert RECORDED[f"GET /containers/{EMAIL}/json"]["json"]["Image"].startswith("sha256:")
