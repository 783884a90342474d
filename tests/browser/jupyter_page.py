"""JupyterLab for real: a server of its own on copies of the runbooks, and a page that opens one and runs it.

    python tests/browser/jupyter_page.py

makes ``tests/notebooks/pictures/jupyterlab.png`` anew: a runbook on the recorded incident. With
``--all FOLDER`` it leaves pictures of every runbook there, light and 1440 px wide, dark and 1024 px wide;
with ``--live PROJECT`` they look at that Compose project on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chromium import browser

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = sorted((ROOT / "runbooks").glob("*.ipynb"))
EVIDENCE = ROOT / "reports" / "sample" / "evidence"
PICTURE = ROOT / "tests" / "notebooks" / "pictures" / "jupyterlab.png"
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"
#: So that nothing asks the reader, and every cell is in the page, not only those in sight.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}
#: Far more than they take, also where others use the same processors.
START_SECONDS, RUN_SECONDS = 120, 300


@dataclass(frozen=True)
class Server:
    """A running server: its address with the token, and the folders of its settings and notebooks."""

    address: str
    token: str
    settings: Path
    notebooks: Path

    def theme(self, name: str) -> None:
        """The theme of pages that are opened from now on."""
        _write(self.settings, "@jupyterlab/apputils-extension/themes", {"theme": name})


@dataclass
class Opened:
    """A notebook in its page, and what the browser said of it."""

    page: Any
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def run_all(self) -> None:
        """*Run*, *Run All Cells*, by the menu; back when every cell has run or one has stopped the rest."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(DONE, timeout=RUN_SECONDS * 1000, polling=200)
        # Pictures are drawn after their cell is done.
        self.page.wait_for_function(
            "[...document.querySelectorAll('.jp-OutputArea img')].every(one => one.complete)"
        )

    def outputs(self) -> list[str]:
        """The text of each code cell's output as it is seen."""
        return self.page.eval_on_selector_all(
            ".jp-CodeCell", "all => all.map(c => c.querySelector('.jp-OutputArea')?.innerText ?? '')"
        )

    def errors(self) -> list[str]:
        """What stands in outputs as an error."""
        return self.page.eval_on_selector_all(f".jp-OutputArea {STDERR}", "all => all.map(o => o.innerText)")


#: How JupyterLab 4 marks what it shows of an exception, and of the standard error stream.
STDERR = '[data-mime-type="application/vnd.jupyter.stderr"]'
#: Every code cell has a number, or one ended in an error; none waits.
DONE = """() => {
  const cells = [...document.querySelectorAll('.jp-CodeCell')];
  const prompts = cells.map(c => c.querySelector('.jp-InputPrompt')?.innerText ?? '');
  if (!cells.length || prompts.some(p => p.includes('*'))) return false;
  return prompts.every(p => /\\[\\d+\\]/.test(p))
      || !!document.querySelector('STDERR');
}""".replace("STDERR", STDERR)


@contextmanager
def server(folder: Path, project: str = "", **environment: str) -> Iterator[Server]:
    """JupyterLab on copies of the runbooks in that folder (a page saves what it ran), with a token, on a
    free port of 127.0.0.1; its kernels have this environment too. ``project`` is written into the parameters,
    as a person would. RuntimeError when it does not answer in time.
    """
    notebooks, settings = folder / "runbooks", folder / "settings"
    notebooks.mkdir(parents=True)
    for path in RUNBOOKS:
        text = path.read_text("utf-8")
        # As it stands in JSON.
        given = text.replace('project: str = \\"\\"', f'project: str = \\"{project}\\"')
        (notebooks / path.name).write_text(given, "utf-8")
    for name, values in SETTINGS.items():
        _write(settings, name, values)
    token, port = secrets.token_hex(16), _free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={notebooks}"]
    command += [f"--IdentityProvider.token={token}", f"--LabApp.user_settings_dir={settings}"]
    command += [f"--LabApp.workspaces_dir={folder / 'workspaces'}", "--LabApp.extension_manager=readonly"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    own = {name: str(folder / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    kept = {name: value for name, value in os.environ.items() if name != "CELERY_TRIAGE_EVIDENCE"}
    with (folder / "jupyterlab.log").open("wb") as log:
        running = subprocess.Popen(
            command, env={**kept, **own, **environment}, stdout=log, stderr=log, cwd=notebooks
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(running, f"{address}/api/status?token={token}", folder / "jupyterlab.log")
        yield Server(address, token, settings, notebooks)
    finally:
        # The server ends its kernels on this signal, and they end what they collect with.
        running.terminate()
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def opened(
    chromium: Any, at: Server, name: str, wide: int = 1440, high: int = 900, dark: bool = False
) -> Iterator[Opened]:
    """A notebook in a page of its own, ready to be run; its kernel is ended behind it."""
    at.theme(DARK if dark else LIGHT)
    context = chromium.new_context(
        viewport={"width": wide, "height": high}, permissions=["local-network-access"]
    )
    # Each restart of a container adds and removes a network device, upon which Chromium drops what it is
    # loading (ERR_NETWORK_CHANGED); fetched outside of it, a page opens beside a restart loop too.
    context.route("**/*", lambda route: route.fulfill(response=route.fetch(timeout=START_SECONDS * 1000)))
    page = context.new_page()
    held = Opened(page)
    page.on("console", lambda word: held.said.append(word.text) if word.type == "error" else None)
    page.on("pageerror", lambda error: held.said.append(str(error)))
    page.on("request", lambda request: held.requests.append(request.url))
    try:
        page.goto(f"{at.address}/lab/workspaces/{secrets.token_hex(4)}/tree/{name}?token={at.token}")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=START_SECONDS * 1000)
        wait_for_kernel(at, page, name)
        yield held
    finally:
        context.unroute_all(behavior="ignoreErrors")
        context.close()
        end_kernels(at)


def wait_for_kernel(at: Server, page: Any, name: str) -> None:
    """The page shows idle also before it has a kernel, so the server is asked. TimeoutError if none came."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        sessions = json.loads(_ask(at, "GET", "/api/sessions"))
        if any(one["path"] == name and one["kernel"]["execution_state"] == "idle" for one in sessions):
            return
        # Not time.sleep: the page's requests are answered by this thread.
        page.wait_for_timeout(100)
    raise TimeoutError("the notebook got no kernel")


def end_kernels(at: Server) -> None:
    """End the kernels that pages have left; each holds memory until then."""
    for one in json.loads(_ask(at, "GET", "/api/sessions")):
        _ask(at, "DELETE", f"/api/sessions/{one['id']}")


def _ask(at: Server, method: str, path: str) -> bytes:
    request = urllib.request.Request(
        at.address + path, method=method, headers={"Authorization": f"token {at.token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def _write(settings: Path, name: str, values: Mapping[str, Any]) -> None:
    path = settings / f"{name}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _wait(running: subprocess.Popen, address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and running.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start: {log.read_text('utf-8', 'replace')[-2000:]}")


def show_whole(held: Opened) -> None:
    """Make the page as high as the notebook, at most 9000 px, and go to its top."""
    high = held.page.eval_on_selector_all(
        ".jp-NotebookPanel *", "all => Math.max(...all.map(one => one.scrollHeight))"
    )
    wide = held.page.viewport_size["width"]
    held.page.set_viewport_size({"width": wide, "height": min(high + 120, 9000)})
    held.page.locator(".jp-Notebook h1").scroll_into_view_if_needed()


def _pieces(held: Opened, path: Path) -> None:
    """The whole notebook as pictures of 1600 px each, so that their text can be read."""
    show_whole(held)
    size = held.page.viewport_size
    for n, top in enumerate(range(0, size["height"], 1600)):
        high = min(1600, size["height"] - top)
        clip = {"x": 0, "y": top, "width": size["width"], "height": high}
        held.page.screenshot(path=path.with_name(f"{path.name}-{n}.png"), clip=clip)


def pictures(folder: Path, *, live: str | None, names: list[str]) -> None:
    """Every runbook, light and dark, 1440 and 1024 px wide, the top and the whole."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {} if live is not None else {"CELERY_TRIAGE_EVIDENCE": str(EVIDENCE)}
    chosen = [path.name for path in RUNBOOKS if not names or path.stem[:2] in names]
    with tempfile.TemporaryDirectory() as scratch:
        with server(Path(scratch) / "lab", live or "", **environment) as at, browser() as chromium:
            for name in chosen:
                with opened(chromium, at, name) as held:
                    start = time.monotonic()
                    held.run_all()
                    print(f"{name}: {time.monotonic() - start:.1f} s", *held.errors(), *held.said, sep="\n  ")
                    _pieces(held, folder / f"{name[:2]}-1440-light")
                with opened(chromium, at, name, wide=1024, dark=True) as held:
                    held.run_all()
                    _pieces(held, folder / f"{name[:2]}-1024-dark")


def picture(path: Path = PICTURE) -> None:
    """One runbook on the recorded incident, for the README."""
    with tempfile.TemporaryDirectory() as scratch:
        with server(Path(scratch) / "lab", CELERY_TRIAGE_EVIDENCE=str(EVIDENCE)) as at, browser() as chromium:
            with opened(chromium, at, "30_launch_commands.ipynb", wide=1280, high=860) as held:
                held.run_all()
                held.page.get_by_role("heading", name="What each start needs").evaluate(
                    "one => one.scrollIntoView({block: 'start'})"
                )
                held.page.screenshot(path=path)
    print(path)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    asked.add_argument("--all", type=Path, metavar="FOLDER", help="pictures of every runbook, here")
    asked.add_argument("--live", metavar="PROJECT", help="look at this Compose project of this machine")
    asked.add_argument("runbooks", nargs="*", help="numbers of runbooks (30); all for none")
    given = asked.parse_args()
    pictures(given.all, live=given.live, names=given.runbooks) if given.all else picture()


if __name__ == "__main__":
    main()
