"""``celery-triage lint``."""

from __future__ import annotations

import click

from .ending import give
from .terminal import print_lines


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="COMPOSE_FILE...")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON (schema 1, as of `check`).")
@click.option("--github", is_flag=True, help="Annotations for GitHub Actions.")
@click.option(
    "--fail-on",
    type=click.Choice(["critical", "warning", "notice"]),
    help="End with 0 unless something at least that severe is found.",
)
@click.option("--separately", is_flag=True, help="Judge each file by itself instead of merging them.")
@click.option(
    "--env-file",
    "env_files",
    multiple=True,
    metavar="FILE",
    help="Variables instead of the .env beside the first file. Repeatable.",
)
def lint(
    files: tuple[str, ...],
    as_json: bool,
    github: bool,
    fail_on: str | None,
    separately: bool,
    env_files: tuple[str, ...],
) -> int:
    """The same rules on Compose files, before deploying.

    Several files are merged in the order given, as by `docker compose -f A -f B`.
    """
    from ..lint import as_json as told_of
    from ..lint import lint as judge
    from ..lint import output

    if as_json and github:
        raise click.UsageError("--json and --github exclude each other")
    if as_json and separately and len(files) > 1:
        raise click.UsageError("--json describes one project; leave --separately out or give one file")
    groups = [(path,) for path in files] if separately else [files]
    several = []
    for group in groups:
        linted = judge(group, env_files)
        several.append(linted)
        if as_json:
            from ..model import dumps

            give(dumps(told_of(linted)))
        elif github:
            for line in output.annotations(linted):
                give(line)
        else:
            print_lines(output.lines(linted))
    return output.exit_code(several, fail_on)
