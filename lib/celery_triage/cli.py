"""The command line: ``run``, ``check``, ``collect``, ``compare``, ``verify`` and ``rules``. Data goes to
stdout, progress and errors to stderr.

Everything but click is imported when a command needs it: ``--help`` answers in a tenth of a second. Exit
codes: ``run`` and ``check`` as monitoring plugins (0 ok, 1 warning, 2 critical, 3 unknown); 64 wrong use,
69 nothing could be written, 130 and 143 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .model import Diagnosis, Evidence
    from .report.compare import Comparison, Side

OK, UNKNOWN, WRONG_USE, NOT_WRITTEN, INTERRUPTED, TERMINATED = 0, 3, 64, 69, 130, 143


class Ended(Exception):
    """The command cannot go on: an exit code and the one sentence that says why."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def say(line: str) -> None:
    """A line of progress, on stderr."""
    click.echo(line, err=True)


def give(text: str) -> None:
    """Data, on stdout. A reader that went away (``| head``) changes nothing about the exit code."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would complain at its end


def looking(command):
    """The options of every command that looks at a stack or at a bundle."""
    for option in reversed(
        (
            click.option(
                "-p",
                "--project",
                metavar="NAME",
                help="Compose project; may be left out where only one here runs Celery.",
            ),
            click.option(
                "--bundle",
                metavar="DIR",
                type=click.Path(path_type=Path),
                help="Read this recorded evidence instead of a live stack.",
            ),
            *_LIVE,
        )
    ):
        command = option(command)
    return command


_LIVE = (
    click.option(
        "--container",
        "containers",
        metavar="NAME",
        multiple=True,
        help="A container of the stack, for stacks without Compose labels. Repeatable.",
    ),
    click.option(
        "--network",
        "networks",
        metavar="NAME",
        multiple=True,
        help="All containers on this Docker network. Repeatable.",
    ),
    click.option("--broker-url-env", metavar="VAR", help="Variable that holds the broker's URL."),
    click.option("--db-url-env", metavar="VAR", help="Variable that holds the database's URL."),
    click.option("--no-broadcast", is_flag=True, help="Send no Celery ping; nothing at all is then written."),
    click.option("--no-login", is_flag=True, help="Send no password anywhere."),
    click.option(
        "--reach-external", is_flag=True, help="Also ask servers that are no containers of this engine."
    ),
    click.option("--since", metavar="AGE", default="", help="How far back logs and events go: 30m, 2h, 1d."),
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `celery-triage check`. Nothing is changed on the stack.",
)
@click.version_option(package_name="celery-triage")
def cli() -> None:
    """Why do Celery workers, beat or Flower on Docker restart, hang or stay silent? Names the root cause
    with its proof and the fix."""


@cli.command()
@looking
@click.option(
    "--only", metavar="30,40", default="", help="Execute only these runbooks; the diagnosis stays whole."
)
@click.option(
    "--reports",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=None,
    help="Where reports go; default is reports/ of this repository.",
)
def run(only: str, reports: Path | None, **asked: Any) -> int:
    """Diagnose, execute the runbooks, and write a dated report. Prints the path of its first page."""
    from . import runbooks

    numbers = [part.strip() for part in only.split(",") if part.strip()]
    try:
        runbooks.chosen(numbers)
    except runbooks.NoRunbooks as error:
        raise Ended(WRONG_USE, str(error)) from None
    evidence, redactor = obtain(**asked)
    from . import report  # not before: it brings threads with it, and collecting forks
    from .report import archive

    out = reports or runbooks.folder().parent / "reports"
    try:
        made = report.run(evidence, out, numbers, say, redactor=redactor)
    except archive.Leak as error:
        raise Ended(NOT_WRITTEN, str(error)) from None
    except OSError as error:
        raise Ended(NOT_WRITTEN, f"the report could not be written: {error}") from None
    from .show.triage import causes_of, verdict_of

    say(verdict_of(made.diagnosis).text)
    if made.diagnosis.causes:
        say(causes_of(made.diagnosis).text)
    for line in made.stopped:
        say(f"a page is incomplete: {line}")
    give(str(made.path / "index.html"))
    return exit_code(made.diagnosis)


@cli.command()
@looking
@click.option("--json", "as_json", is_flag=True, help="The diagnosis as JSON (schema 1).")
def check(as_json: bool, **asked: Any) -> int:
    """The same diagnosis in the terminal."""
    evidence, _ = obtain(**asked)
    from .causes import diagnose

    diagnosis = diagnose(evidence)
    if as_json:
        from .model import dumps
        from .summary import summary

        give(dumps(summary(diagnosis, evidence)))
    else:
        print_page(diagnosis, evidence)
    return exit_code(diagnosis)


@cli.command()
@click.option(
    "-p",
    "--project",
    metavar="NAME",
    help="Compose project; may be left out where only one here runs Celery.",
)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder to write; it must not exist yet.",
)
def collect(output: Path, **asked: Any) -> int:
    """Collect the evidence into a folder, secrets masked. Diagnose it anywhere with --bundle."""
    from . import bundle

    if output.exists():
        raise Ended(WRONG_USE, f"{output} exists already; evidence is written to a new folder")
    evidence, redactor = obtain(bundle=None, **asked)
    try:
        bundle.save(evidence, output)
    except OSError as error:
        raise Ended(NOT_WRITTEN, f"the evidence could not be written: {error}") from None
    give(str(output))
    return OK


for _option in reversed(_LIVE):
    collect = _option(collect)


def proving(command):
    """The options of the two commands that prove a cure."""
    for option in reversed(
        (
            click.option("--json", "as_json", is_flag=True, help="The comparison as JSON (schema 1)."),
            click.option(
                "--markdown",
                metavar="FILE",
                type=click.Path(path_type=Path),
                help="Write the resolution summary there.",
            ),
            click.option(
                "--html",
                metavar="FILE",
                type=click.Path(path_type=Path),
                help="The same as a page that runs and loads nothing.",
            ),
        )
    ):
        command = option(command)
    return command


@cli.command()
@click.argument("before", metavar="BEFORE", type=click.Path(path_type=Path))
@click.argument("after", metavar="AFTER", type=click.Path(path_type=Path))
@proving
def compare(before: Path, after: Path, **wanted: Any) -> int:
    """What was resolved, what is left, what is new, what is not proven. BEFORE and AFTER are reports or
    bundles of evidence.

    Exit codes: 0 resolved, 1 not yet proven, 2 not resolved.
    """
    first, second = looked(before), looked(after)
    from .report import compare as comparing

    try:
        compared = comparing.compare(first, second)
    except comparing.Swapped as error:
        raise Ended(WRONG_USE, str(error)) from None
    show_comparison(compared, None, **wanted)
    return comparing.EXIT_CODES[compared.result]


@cli.command()
@click.argument("report", metavar="REPORT", type=click.Path(path_type=Path))
@click.option("--wait", is_flag=True, help="Look again until resolved, or until the time is up.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, 86400),
    help="The longest wait; default is what the services need to settle, 15 minutes at most.",
)
@click.option(
    "--evidence",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Keep what was seen last as a bundle; it must not exist yet.",
)
@click.option("--no-broadcast", is_flag=True, help="Send no Celery ping; nothing at all is then written.")
@click.option("--no-login", is_flag=True, help="Send no password anywhere.")
@click.option(
    "--reach-external", is_flag=True, help="Also ask servers that are no containers of this engine."
)
@proving
def verify(
    report: Path,
    wait: bool,
    timeout: float | None,
    evidence: Path | None,
    as_json: bool,
    markdown: Path | None,
    html: Path | None,
    **asked: Any,
) -> int:
    """Look at the live stack of a REPORT (or bundle) again: is each cause gone, still there, settling, not
    proven? It only looks; verify steps stay text for a person.

    Exit codes: 0 resolved, 1 settling or not yet proven, 2 still there, 3 unknown.
    """
    if evidence is not None and evidence.exists():
        raise Ended(WRONG_USE, f"{evidence} exists already; evidence is written to a new folder")
    before = looked(report)
    from . import bundle
    from . import verify as verifying
    from .collect import CannotCollect, collect
    from .redact import Redactor
    from .report.compare import Swapped

    redactor, options = Redactor(), verifying.options_for(before.evidence, asked)
    say("collecting evidence …")
    try:
        compared = verifying.watch(
            before,
            lambda: collect(options, redactor),
            wait=wait or timeout is not None,
            longest=timeout,
            progress=say,
        )
    except CannotCollect as error:
        raise Ended(UNKNOWN, str(error)) from None
    except Swapped as error:
        raise Ended(WRONG_USE, f"{error}: the report is newer than this machine's clock") from None
    if evidence is not None:
        try:
            bundle.save(compared.after.evidence, evidence)
        except OSError as error:
            raise Ended(NOT_WRITTEN, f"the evidence could not be written: {error}") from None
    show_comparison(compared, redactor, as_json, markdown, html)
    return verifying.exit_code(compared)


@cli.command()
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="The catalogue as JSON.")
def rules(code: str | None, as_json: bool) -> int:
    """The catalogue of rules, or the page of one CODE."""
    from .checks import RULES

    if code and code.upper() not in RULES:
        raise Ended(WRONG_USE, f"there is no rule {code}; `celery-triage rules` lists them")
    chosen = [RULES[code.upper()]] if code else [RULES[name] for name in sorted(RULES)]
    if as_json:
        import json

        give(json.dumps([_rule(rule) for rule in chosen], ensure_ascii=False, indent=2))
    elif code:
        rule = chosen[0]
        give(f"{rule.code} {rule.name} ({rule.severity})\n\n{rule.page}")
    else:
        for rule in chosen:
            first = rule.page.split("\n\n")[0].replace("\n", " ")
            give(f"{rule.code}  {rule.severity:<8}  {rule.name:<24}  {first}")
    return OK


def _rule(rule: Any) -> dict[str, Any]:
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity,
        "needs": list(rule.needs),
        "page": rule.page,
    }


def obtain(bundle: Path | None, **asked: Any) -> tuple[Evidence, Any]:
    """The evidence that was asked for, and the redactor that knows the live stack's secrets (None for a
    bundle)."""
    if bundle is not None:
        return recorded(bundle, asked), None
    from .collect import CannotCollect, CollectOptions, NoTarget, collect
    from .redact import Redactor

    redactor = Redactor()
    say("collecting evidence …")
    try:
        options = CollectOptions(**{name: None if value == "" else value for name, value in asked.items()})
        evidence = collect(options, redactor)
    except NoTarget as error:
        raise Ended(WRONG_USE, str(error)) from None
    except CannotCollect as error:
        raise Ended(UNKNOWN, str(error)) from None
    except ValueError as error:
        raise Ended(WRONG_USE, str(error)) from None
    refuse_without_celery(evidence)
    return evidence, redactor


def refuse_without_celery(evidence: Evidence) -> None:
    """End where nothing of the target can be Celery: "ok" would be true of nothing.

    A command that cannot be read, or a broker URL, leaves the doubt, and then the diagnosis goes on.
    """
    from .stack import Stack

    members = Stack.of(evidence).members
    if members and not any(
        one.is_celery or one.unwrapped.unreadable or one.url("broker") or one.item.get("vanished")
        for one in members
    ):
        names = ", ".join(sorted(one.label for one in members)[:10])
        raise Ended(WRONG_USE, f"no service of {evidence.target} runs Celery; there are {names}")


def recorded(folder: Path, asked: dict[str, Any]) -> Evidence:
    """The evidence of a bundle; options that only a live stack has a use for are refused, not ignored."""
    from . import bundle

    given = [name for name, value in asked.items() if value]
    if given:
        options = ", ".join("--" + name.replace("_", "-").removesuffix("s") for name in given)
        raise Ended(WRONG_USE, f"{options} has no meaning with --bundle, which is read as it was recorded")
    if not folder.is_dir():
        raise Ended(WRONG_USE, f"there is no folder {folder}")
    try:
        return bundle.load(folder)
    except (OSError, ValueError) as error:
        raise Ended(UNKNOWN, f"no evidence can be read at {folder}: {error}") from None


def print_page(diagnosis: Diagnosis, evidence: Evidence) -> None:
    """The diagnosis on stdout, coloured where stdout is a terminal that wants it."""
    import shutil

    from .show.terminal import page

    wide = max(60, min(110, shutil.get_terminal_size((100, 24)).columns))
    print_lines(page(diagnosis, evidence, wide=wide))


def print_lines(lines: Iterable[tuple[str, str]]) -> None:
    """Lines with a colour each, coloured where the user did not forbid it."""
    plain = bool(os.environ.get("NO_COLOR"))
    for line, colour in lines:
        bold = colour == "bold"
        styled = line if plain or not colour else click.style(line, fg=None if bold else colour, bold=bold)
        give(styled)


def looked(path: Path) -> Side:
    """A report or a bundle, as one side of a comparison."""
    if not path.is_dir():
        raise Ended(WRONG_USE, f"there is no folder {path}")
    from .report.compare import NotReadable, read

    try:
        return read(path)
    except NotReadable as error:
        raise Ended(UNKNOWN, str(error)) from None


def show_comparison(
    compared: Comparison, redactor: Any, as_json: bool, markdown: Path | None, html: Path | None
) -> None:
    """The comparison on stdout, and the summary in files."""
    import shutil

    from .model import dumps
    from .report import archive, compare, resolution

    try:
        for path, form in ((markdown, resolution.markdown), (html, resolution.html)):
            if path is not None:
                resolution.write(path, form(compared), redactor)
                say(f"written: {path}")
    except (OSError, archive.Leak) as error:
        raise Ended(NOT_WRITTEN, f"the summary could not be written: {error}") from None
    if as_json:
        give(dumps(compare.as_json(compared)))
        return
    wide = max(60, min(110, shutil.get_terminal_size((100, 24)).columns))
    print_lines(resolution.lines(compared, wide))


def exit_code(diagnosis: Diagnosis) -> int:
    """The verdict as an exit code."""
    from .model import EXIT_CODES

    return EXIT_CODES[diagnosis.verdict]


def main(arguments: list[str] | None = None) -> None:
    """The entry point: every way out has its exit code and at most one sentence on stderr."""
    sys.exit(status(arguments))


def status(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return cli.main(arguments, prog_name="celery-triage", standalone_mode=False) or OK
    except Ended as ended:
        say(f"celery-triage: {ended}")
        return ended.code
    except click.UsageError as error:
        context = error.ctx
        say(
            f"celery-triage: {error.format_message()}"
            + (f" (see `{context.command_path} --help`)" if context else "")
        )
        return WRONG_USE
    except click.ClickException as error:
        say(f"celery-triage: {error.format_message()}")
        return WRONG_USE
    except (click.Abort, KeyboardInterrupt):
        say("celery-triage: interrupted; nothing was left behind")
        return INTERRUPTED


def _terminated(*_: object) -> None:
    raise Ended(TERMINATED, "told to stop; nothing was left behind")


if __name__ == "__main__":
    main()
