"""What the tests of ``lint`` share: files of a project written down and judged."""

from __future__ import annotations

from pathlib import Path

from celery_triage.lint import Linted, lint

#: A sound project: tests change one thing in it.
HEALTHY = """
services:
  redis: {image: redis:7}
  worker:
    image: shop
    restart: always
    command: celery -A shop worker -l info -c 4
    environment: {CELERY_BROKER_URL: redis://redis:6379/0}
"""


def judged(folder: Path, files: str | dict[str, str], *given: str) -> Linted:
    """The files (by name; a text is the Compose file) written into ``folder``; ``given`` or the first are
    judged."""
    files = {"docker-compose.yml": files} if isinstance(files, str) else files
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return lint([str(folder / name) for name in given or list(files)[:1]])


def found(linted: Linted) -> dict[str, str]:
    """The worst severity of each code that was found; a rule that broke is no answer."""
    broken = [one for one in linted.diagnosis.outcomes if one.outcome == "broken"]
    assert not broken, broken
    told: dict[str, str] = {}
    for one in linted.diagnosis.findings:  # the worst stand first
        told.setdefault(one.code, one.severity)
    return told
