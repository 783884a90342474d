"""``celery-triage explain``."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from .ending import UNKNOWN, WRONG_USE, Ended, give
from .terminal import print_lines


@click.command()
@click.argument("files", metavar="[FILE…|-]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="The explanation as JSON (schema 1).")
@click.option(
    "--signatures", metavar="FILE", type=click.Path(path_type=Path), help="Own signatures, looked for first."
)
def explain(files: tuple[str, ...], as_json: bool, signatures: Path | None) -> int:
    """Diagnose any pasted log, no Docker: `docker logs x 2>&1 | celery-triage explain`."""
    names = files or ("-",)
    if not files and sys.stdin.isatty():
        raise Ended(WRONG_USE, "explain needs a FILE, or a log through a pipe")
    if names.count("-") > 1:
        raise Ended(WRONG_USE, "- can be read only once")
    own = _own(signatures) if signatures else ()
    from ..explain import explain as read_and_judge
    from ..model import EXIT_CODES, dumps

    with ExitStack() as opened:
        inputs = [_open(name, opened) for name in names]
        try:
            explanation = read_and_judge(inputs, own)
        except OSError as error:
            raise Ended(UNKNOWN, f"the log could not be read to its end: {error.strerror or error}") from None
    from ..explain import showing

    if as_json:
        give(dumps(showing.as_json(explanation)))
    else:
        import shutil

        wide = max(60, min(110, shutil.get_terminal_size((100, 24)).columns))
        print_lines(showing.page(explanation, wide=wide))
    return EXIT_CODES[explanation.verdict]


def _open(name: str, opened: ExitStack):
    """The input of that name; raises Ended with the sentence why it cannot be had."""
    if name == "-":
        return "stdin", sys.stdin.buffer
    path = Path(name)
    if path.is_dir():
        raise Ended(WRONG_USE, f"{name} is a folder; explain reads files, for example {name}/*.log")
    try:
        return name, opened.enter_context(path.open("rb"))
    except FileNotFoundError:
        raise Ended(WRONG_USE, f"there is no file {name}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise Ended(UNKNOWN, f"{name} cannot be read: {why}") from None


def _own(path: Path):
    """The signatures of somebody's own file; raises Ended with the line that is wrong."""
    from ..signatures import Invalid, load
    from ..signatures.catalogue import LONGEST

    try:
        with path.open("rb") as file:
            text = file.read(4 * LONGEST).decode("utf-8")
        return load(text)
    except Invalid as error:
        raise Ended(WRONG_USE, f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise Ended(WRONG_USE, f"{path}: no UTF-8 text") from None
    except OSError as error:
        raise Ended(WRONG_USE, f"{path} cannot be read: {error.strerror}") from None
