"""Each start command as Celery of its image reads it, and what is in the image to run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from . import matrix
from .output import Cell, Shown, grouped, table, unbroken

if TYPE_CHECKING:
    from ..notebook import Look
    from ..stack import Service

PACKAGES = ("celery", "kombu", "redis", "sqlalchemy", "psycopg", "psycopg2", "flower")
STEPS = ("readable", "executable", "app module", "sub-command", "options")


def commands(look: Look, service: str = "") -> Shown:
    """The command of each Celery service, the words that Celery refuses marked, and what it says of them."""
    rows = []
    for one in _services(look, service):
        launch = one.launch
        unwrapped = one.unwrapped
        if launch is None:
            said = unwrapped.unreadable or "this is no Celery command"
            rows.append((Cell(one.label, code=True), Cell(" ".join(one.argv) or "–", code=True), said, None))
            continue
        refused = {problem.index for problem in launch.problems if problem.index is not None}
        words = " ".join(launch.argv)
        html = Markup(" ").join(
            Markup("<mark>{}</mark>").format(unbroken(word)) if n in refused else unbroken(word)
            for n, word in enumerate(launch.argv)
        )
        said = "\n".join(problem.message for problem in launch.problems)
        behind = f"behind {', '.join(unwrapped.wrappers)}" if unwrapped.wrappers else ""
        version = launch.version_judged
        judged = f"Celery {version}" if version else "no version that is known here"
        judged += f", {behind}" if behind else ""
        rows.append(
            (
                Cell(one.label, code=True),
                Cell(words, code=True, html=html),
                Cell(said, tone="critical") if said else Cell("accepted", tone="ok"),
                judged,
            )
        )
    return table(
        ("Service", "Command", "What Celery makes of it", "Judged as"),
        rows,
        empty=look.none(service, "No service of this stack runs Celery.", "runs no Celery"),
    )


def plot(look: Look, service: str = "") -> Shown:
    """For each service: can the command be read, is everything there, does Celery accept it."""
    rows = []
    for one in _services(look, service):
        files = look.evidence.data(f"files/{one.label}") or {}
        executable = files.get("executable") or {}
        app = files.get("app") or {}
        launch = one.launch
        kinds = {problem.kind for problem in launch.problems} if launch else set()
        rows.append(
            (
                one.label,
                (
                    ("no", "cannot be read") if one.unwrapped.argv is None else ("yes", ""),
                    _known(
                        bool(executable.get("path")) if files else None, str(executable.get("name") or "")
                    ),
                    _known(app.get("present") if app else None, ""),
                    _known(
                        None if launch is None else not kinds & {"unknown_command", "no_command"},
                        str(launch.subcommand or "") if launch else "",
                    ),
                    _known(
                        None if launch is None else not kinds - {"unknown_command", "no_command"},
                        _first_token(launch),
                    ),
                ),
            )
        )
    return matrix.matrix(
        rows,
        STEPS,
        "Launch commands",
        "What each start needs before Celery runs: "
        "a cross is missing or refused, a question mark could not be looked at.",
    )


def _first_token(launch) -> str:
    tokens = (
        [p.token for p in launch.problems if p.kind not in ("unknown_command", "no_command")]
        if launch
        else []
    )
    return tokens[0] if tokens else ""


def _known(value: bool | None, words: str) -> tuple[str, str]:
    return ("unknown", "") if value is None else ("yes", "") if value else ("no", words)


def packages(look: Look, service: str = "") -> Shown:
    """The versions in each image: what is there, what is not, what could not be looked at."""
    rows = []
    for one in _services(look, service):
        section = look.evidence.section(f"files/{one.label}")
        if not section.readable:
            rows.append((Cell(one.label, code=True), *[Cell("?", tone="unknown")] * (len(PACKAGES) + 1)))
            continue
        found = section.data.get("packages", {})
        rows.append(
            (
                Cell(one.label, code=True),
                section.data.get("python"),
                *[_package(found.get(name)) for name in PACKAGES],
            )
        )
    empty = look.none(service, "No service of this stack runs Celery.", "runs no Celery")
    return table(("Services", "Python", *PACKAGES), grouped(rows), empty=empty)


def _package(found: dict | None) -> Cell:
    if not found or found.get("present") is None:
        return Cell("?", tone="unknown")
    if not found["present"]:
        return Cell("absent", tone="quiet")
    return Cell(str(found.get("version") or "present"))


def _services(look: Look, service: str) -> list[Service]:
    """Those that run Celery; where none does, all members, so that a wrong command can still be seen."""
    return look.services(service, celery=True) or look.services(service, members=True)
