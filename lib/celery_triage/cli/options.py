"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

PROJECT = click.option(
    "-p",
    "--project",
    metavar="NAME",
    help="Compose project; may be left out where only one here runs Celery.",
)

LIVE = (
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


def looking(command):
    """The options of every command that looks at a stack or at a bundle."""
    for option in reversed(
        (
            PROJECT,
            click.option(
                "--bundle",
                metavar="DIR",
                type=click.Path(path_type=Path),
                help="Read this recorded evidence instead of a live stack.",
            ),
            *LIVE,
        )
    ):
        command = option(command)
    return command


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
