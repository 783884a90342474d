"""Where a command gets its evidence: the live stack, a bundle, or a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .ending import UNKNOWN, WRONG_USE, Ended, say

if TYPE_CHECKING:
    from ..model import Evidence
    from ..report.compare import Side


def obtain(bundle: Path | None, *, quietly: bool = False, **asked: Any) -> tuple[Evidence, Any]:
    """The evidence that was asked for, and the redactor that knows the live stack's secrets (None for a
    bundle)."""
    if bundle is not None:
        return recorded(bundle, asked), None
    from ..collect import CannotCollect, CollectOptions, NoTarget, collect
    from ..redact import Redactor

    redactor = Redactor()
    if not quietly:
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

    A script or wrapper that cannot be read, or a broker URL, leaves the doubt, and then the diagnosis goes
    on; a shell line that was read and starts no program of Celery's leaves none.
    """
    from ..stack import Stack

    members = Stack.of(evidence).members
    if members and not any(
        one.is_celery
        or (one.unwrapped.unreadable and not one.unwrapped.no_celery)
        or one.url("broker")
        or one.item.get("vanished")
        for one in members
    ):
        names = ", ".join(sorted(one.label for one in members)[:10])
        raise Ended(WRONG_USE, f"no service of {evidence.target} runs Celery; there are {names}")


def recorded(folder: Path, asked: dict[str, Any]) -> Evidence:
    """The evidence of a bundle; options that only a live stack has a use for are refused, not ignored."""
    from .. import bundle

    given = [name for name, value in asked.items() if value]
    if given:
        options = ", ".join("--" + name.replace("_", "-").removesuffix("s") for name in given)
        raise Ended(WRONG_USE, f"{options} has no meaning with --bundle, which is read as it was recorded")
    if not folder.is_dir():
        raise Ended(WRONG_USE, no_folder(folder, "a bundle"))
    try:
        return bundle.load(folder)
    except (OSError, ValueError) as error:
        raise Ended(UNKNOWN, f"no evidence can be read at {folder}: {error}") from None


def no_folder(path: Path, what: str) -> str:
    """Why a path is not the folder that was asked for."""
    if path.exists():
        return f"{path} is a file, and {what} is a folder; unpack an archive first and name the folder in it"
    return f"there is no folder {path}"


def _around(path: Path) -> Path | None:
    """The report that a file lies in, as its first page does that ``run`` names, else the bundle; None for
    neither."""
    above = path.parents
    reports = (one for one in above if (one / "summary.json").is_file() and (one / "evidence").is_dir())
    return next(reports, None) or next((one for one in above if (one / "manifest.json").is_file()), None)


def looked(path: Path) -> Side:
    """A report or a bundle, as one side of a comparison; a file in one of them means the whole."""
    if path.is_file():
        path = _around(path) or path
    if not path.is_dir():
        raise Ended(WRONG_USE, no_folder(path, "a report or a bundle"))
    from ..report.compare import NotReadable, read

    try:
        return read(path)
    except NotReadable as error:
        raise Ended(UNKNOWN, str(error)) from None
