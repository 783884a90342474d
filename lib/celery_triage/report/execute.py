"""Executes runbooks by papermill, each in a forked child with a deadline, two at a time.

In: the runbook, where to put the executed notebook, its parameters. Out: one ``Executed`` for each
runbook, also for one whose kernel died, hung or was killed. Papermill alone saves the cells after a dead
kernel as completed (2.7), so what became of a notebook is told by the child's own word, never read from
the file.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..show import units

AT_ONCE = 2
CELL_S = 30  # the slowest cell of a runbook took 0.4 s on the recorded incident
NOTEBOOK_S = 90
GRACE_S = 3
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
SOCKET_PATH_MAX = 80  # a Unix socket's path ends at 107 bytes; the kernel's file name takes the rest


@dataclass(frozen=True)
class Executed:
    """What became of one runbook: ``why`` is empty when every cell ran; ``seconds`` of wall time."""

    runbook: str
    path: Path
    seconds: float
    why: str = ""


def execute_all(
    runbooks: Iterable[Path],
    into: Path,
    parameters: Mapping[str, Any],
    progress: Callable[[str], None] = lambda line: None,
    *,
    own: Mapping[str, Mapping[str, Any]] | None = None,
    cell_s: float = CELL_S,
    notebook_s: float = NOTEBOOK_S,
    until: float | None = None,
) -> list[Executed]:
    """Execute the runbooks into a folder, in parallel, and return what became of each, in their order.

    ``parameters`` go to every notebook, ``own`` to the runbook of that name alone. A notebook runs with
    ``into`` as its working directory. Beyond the moment ``until`` (of ``time.monotonic``) none is begun and
    those that run are ended: each of them is a page that says so.
    """
    waiting = list(runbooks)
    total, done, running = len(waiting), {}, []
    context = multiprocessing.get_context("fork")
    warm_up()
    scratch = Path(tempfile.mkdtemp(prefix="triage-"))
    try:
        order = [path.stem for path in waiting]
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                book = waiting.pop(0)
                left = notebook_s if until is None else min(notebook_s, until - time.monotonic())
                if left <= 0:
                    done[book.stem] = Executed(book.stem, into / book.name, 0.0, "not begun: the time was up")
                    progress(f"[{len(done)}/{total}] {book.stem} {done[book.stem].why}")
                    continue
                values = {**parameters, **(own or {}).get(book.stem, {})}
                with _undisturbed():
                    running.append(_Child(context, book, into, values, scratch, cell_s, left))
            if running:
                multiprocessing.connection.wait([child.end for child in running], timeout=0.2)
            for child in [child for child in running if child.over()]:
                running.remove(child)
                executed = child.result()
                done[executed.runbook] = executed
                word = f"stopped: {executed.why}" if executed.why else "done"
                progress(f"[{len(done)}/{total}] {executed.runbook} {executed.seconds:.1f} s, {word}")
        return [done[name] for name in order]
    finally:
        for child in running:
            child.kill()
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """No signal is taken here: a child that was started and is not yet known would never be ended."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def warm_up() -> None:
    """Import what each child needs before the first fork: 1.4 s once, cold, instead of once for each
    child."""
    import papermill  # noqa: F401
    from ipykernel import kernelspec  # noqa: F401


class _Child:
    """One notebook under way in a child process of its own."""

    def __init__(
        self,
        context,
        runbook: Path,
        into: Path,
        parameters: dict,
        scratch: Path,
        cell_s: float,
        notebook_s: float,
    ) -> None:
        self.runbook, self.path, self.started = runbook, into / runbook.name, time.monotonic()
        self.deadline = self.started + notebook_s
        self.notebook_s = notebook_s
        self.end, childs_end = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_execute, args=(childs_end, runbook, self.path, parameters, scratch, cell_s), daemon=False
        )
        self.process.start()
        childs_end.close()

    def over(self) -> bool:
        return self.end.poll() or not self.process.is_alive() or time.monotonic() > self.deadline

    def result(self) -> Executed:
        """What the child said; for one that said nothing, what became of it. The child is gone afterwards."""
        why = None
        with contextlib.suppress(EOFError, OSError):
            if self.end.poll():
                why = self.end.recv()
        if why is None:
            late = self.process.is_alive()
            why = "its process ended without a word"
            if late:
                why = f"not done after {units.duration(self.notebook_s)}"
        self.kill()
        return Executed(self.runbook.stem, self.path, round(time.monotonic() - self.started, 2), why)

    def kill(self) -> None:
        self.process.join(GRACE_S if self.end.closed else 0.5)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(GRACE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.end.close()


def _execute(end, runbook: Path, path: Path, parameters: dict, scratch: Path, cell_s: float) -> None:
    """In the child: execute one notebook, tidy what was saved, and say in one sentence what became of it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and ends the child
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    quiet = os.open(
        os.devnull, os.O_RDWR
    )  # what kernels and libraries say to a terminal belongs to no report
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    private = Path(tempfile.mkdtemp(dir=scratch))
    os.environ.update(
        IPYTHONDIR=str(private / "ipython"),
        JUPYTER_RUNTIME_DIR=str(private),
        PYTHONWARNINGS="ignore",
        JPY_SESSION_NAME=runbook.stem,
    )
    why = ""
    try:
        why = _run(runbook, path, parameters, private, cell_s)
    except SystemExit:
        why = "it was told to stop"
    except BaseException as error:  # whatever it was, the page is lost and the report must know
        why = neutral(explain(error))
    try:
        tidy(path)
    except Exception as error:
        path.unlink(missing_ok=True)
        why = why or f"the executed notebook could not be read back: {type(error).__name__}"
    end.send(why)
    end.close()


def _run(runbook: Path, path: Path, parameters: dict, private: Path, cell_s: float) -> str:
    import logging

    import papermill
    from traitlets.config import Config

    logging.getLogger("papermill").setLevel(logging.ERROR)
    settings = Config()
    if len(str(private)) < SOCKET_PATH_MAX:
        settings.KernelManager.transport = "ipc"
        # The default is a relative name, the same for all kernels of one working directory: they would mix.
        settings.KernelManager.ip = str(private / "kernel")
    papermill.execute_notebook(
        str(runbook),
        str(path),
        parameters=parameters,
        cwd=str(path.parent),
        progress_bar=False,
        kernel_name="python3",
        start_timeout=60,
        execution_timeout=cell_s,
        kernel_manager_class=_kernel_class(),
        config=settings,
        store_widget_state=False,
    )
    return ""


def _kernel_class():
    """Kernels of this very interpreter, whatever kernel specifications are installed for the user."""
    from jupyter_client.manager import AsyncKernelManager

    class OwnKernel(AsyncKernelManager):
        def format_kernel_cmd(self, extra_arguments=None):
            return [
                sys.executable,
                "-m",
                "ipykernel_launcher",
                "-f",
                self.connection_file,
                *(extra_arguments or []),
            ]

    return OwnKernel


def explain(error: BaseException) -> str:
    """One sentence for what ended a notebook."""
    name = type(error).__name__
    if name == "PapermillExecutionError":
        said = f"{error.ename}: {error.evalue}" if error.ename != "CannotLook" else error.evalue
        return f"cell {error.exec_count} failed: {said}".strip()
    if name == "DeadKernelError":
        return "its kernel died"
    if name == "CellTimeoutError":
        return "a cell did not end in its time"
    return f"{name}: {error}".strip(": ")


def tidy(path: Path) -> None:
    """Take out of an executed notebook what belongs to this run or this machine: paths, times, error
    banners."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [
        c for c in notebook.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])
    ]
    kept = notebook.metadata.pop("papermill", {})
    notebook.metadata["papermill"] = {
        "parameters": kept.get("parameters", {}),
        "version": kept.get("version", ""),
    }
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                output.traceback = [neutral(line) for line in output.traceback]
                output.evalue = neutral(output.evalue)
            elif output.output_type == "stream":
                output.text = neutral(output.text)
    nbformat.write(notebook, path)


def neutral(text: str) -> str:
    """A text without the paths of this machine's interpreter, packages, home and working directory."""
    for root in (
        Path(__file__).resolve().parents[1],
        Path(sys.prefix),
        Path(sys.base_prefix),
        Path.home(),
        Path.cwd(),
        Path(tempfile.gettempdir()),
    ):
        if len(root.parts) > 1:
            text = re.sub(re.escape(str(root)) + r"(?![\w.-])", "…", text)
    return re.sub(r"(?<![\w./…])/(?:[\w.+-]+/)+(?=[\w.+-]+\.(?:py|ipynb)\b)", "…/", text)
