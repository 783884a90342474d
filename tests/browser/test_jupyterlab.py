"""JupyterLab for real: every runbook opened in Chromium and run by its menu, on the recorded incident, and
one without an engine. Live, on a broken stack: ``tests/lab/test_notebooks.py``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chromium import REQUIRED, browser
from jupyter_page import EVIDENCE, RUNBOOKS, Server, opened, server, wait_for_kernel

BOOKS = [path.name for path in RUNBOOKS]


def _jupyterlab() -> None:
    """Skipped where JupyterLab is not installed; where everything is required, the server's start fails."""
    if not REQUIRED:
        pytest.importorskip("jupyterlab")


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def recorded(chromium, tmp_path_factory) -> Iterator[Server]:
    """JupyterLab whose kernels are given the recorded incident."""
    _jupyterlab()
    with server(tmp_path_factory.mktemp("jupyter") / "lab", CELERY_TRIAGE_EVIDENCE=str(EVIDENCE)) as running:
        yield running


def elsewhere(requests: list[str], at: Server) -> list[str]:
    """What was asked of anybody but the server itself."""
    own = (at.address, "data:", "blob:")
    return [url for url in requests if not url.startswith(own)]


def colours(page: Any) -> dict[str, Any]:
    """How bright (0 to 255) the notebook's paper and its outputs' text are, and the scheme of the plots (None
    where there is nothing to plot)."""
    return page.evaluate(
        """() => {
          const bright = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number); return (r+g+b)/3; };
          const of = name => document.querySelector(name);
          return {
            paper: bright(getComputedStyle(of('.jp-Notebook')).backgroundColor),
            text: bright(getComputedStyle(of('.jp-OutputArea .ct')).color),
            plot: of('.ct-plot img') && getComputedStyle(of('.ct-plot img')).colorScheme,
          };
        }"""
    )


@pytest.mark.parametrize("name", BOOKS)
def test_a_runbook_runs_from_its_menu_without_an_error_and_fits(name, recorded, chromium):
    """*Run All Cells*: each cell shows something, none an error, no script came with an output, nobody was
    asked but the server, the browser has nothing to say, and no output is wider than the page."""
    with opened(chromium, recorded, name, wide=1024) as held:
        held.run_all()
        assert held.errors() == []
        assert all(text.strip() or n == 0 for n, text in enumerate(held.outputs()))
        assert "recorded evidence, not live" in held.outputs()[1]
        seen = colours(held.page)
        assert seen["paper"] > 240 and seen["text"] < 80, seen
        # A beat that never came up has nothing that could be drawn.
        assert seen["plot"] == "light" or (name, seen["plot"]) == ("75_beat.ipynb", None), seen
        assert held.page.locator(".jp-OutputArea script").count() == 0
        assert (held.said, elsewhere(held.requests, recorded)) == ([], [])
        over = "all => all.map(o => o.scrollWidth - o.clientWidth).filter(one => one > 1)"
        assert held.page.eval_on_selector_all(".jp-OutputArea .ct", over) == []


def test_the_last_cell_of_a_runbook_opens_the_next_one(recorded, chromium):
    """What was found decides where it leads; the link opens that notebook in JupyterLab."""
    with opened(chromium, recorded, "00_triage.ipynb") as held:
        held.run_all()
        last = held.page.locator(".jp-CodeCell").last
        assert last.locator(".ct-next a").count() >= 3
        last.locator(".ct-next a").first.click()
        held.page.wait_for_selector('.lm-TabBar-tabLabel:text-is("30_launch_commands.ipynb")')
        wait_for_kernel(recorded, held.page, "30_launch_commands.ipynb")


def test_cards_and_plots_follow_the_dark_theme(recorded, chromium):
    """JupyterLab's own theme decides, not the system's, which is light here: light text on dark paper, and
    plots drawn for that."""
    with opened(chromium, recorded, "30_launch_commands.ipynb", dark=True) as held:
        held.run_all()
        seen = colours(held.page)
        assert held.page.locator(".ct-card").count() >= 2
    assert seen["paper"] < 80 and seen["text"] > 170 and seen["plot"] == "dark", seen


def test_without_an_engine_one_sentence_says_so_and_nothing_else_is_shown(chromium, tmp_path):
    """Never a silent fall-back to the recorded incident: its path is named, the cells behind stay empty."""
    _jupyterlab()
    with server(tmp_path / "lab", DOCKER_HOST="unix:///nowhere/docker.sock") as at:
        with opened(chromium, at, "40_database.ipynb") as held:
            held.run_all()
            (said,) = held.errors()
            assert len(said.strip().splitlines()) == 1
            assert "no Docker Engine answers" in said and f"set evidence = '{EVIDENCE}'" in said
            assert [text for text in held.outputs() if text.strip()] == [said]
