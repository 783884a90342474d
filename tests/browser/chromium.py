"""One Chromium for all tests of pages; none of them reaches a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

REQUIRED = os.environ.get("CELERY_TRIAGE_REQUIRE_DOCKER") == "1"
NAMES = ("chromium", "chromium-browser", "google-chrome")
#: As root in a container Chromium has no sandbox to use, and /dev/shm is small; the rest keeps it silent.
FLAGS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium from PATH, headless. Without it (or without playwright) the test is skipped; where continuous
    integration requires everything, it fails."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        _missing("no chromium in PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=found, args=list(FLAGS))
        try:
            yield running
        finally:
            running.close()


def _missing(why: str) -> None:
    (pytest.fail if REQUIRED else pytest.skip)(why)
