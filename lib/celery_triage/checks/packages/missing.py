"""What the application imports and the image does not have."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.packages.known import table
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import by_the_log
from celery_triage.model import Finding


@check(
    "PKG001",
    "package-missing",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("events", "files/*"),
    step="app",
    predicts=(Prediction(("CTR001", "CTR003"), exits=(1, 2)),),
)
def package_missing(look: Look) -> Iterator[Finding]:
    """Something that is imported at the start is not installed in the image.

    ## What
    The last words of the service name a module that Python does not find, and it is not the module of `-A`.

    ## Why
    The process ends at its start, with exit code 1 or, while the application is loaded, 2.

    ## Looks like
    `ModuleNotFoundError: No module named 'requests'` at the end of a traceback.

    ## Confirm
    `docker run --rm --entrypoint python IMAGE -c 'import MODULE'`.

    ## Do
    Add the package that brings the module to the requirements of the image and build it anew (its name can be
    another: `yaml` is brought by PyYAML); for a module of the
    application itself, look at what the image copies and at its volumes.

    ## False alarms
    Only the log is judged, so the certainty is never more than reported.
    """
    yield from by_the_log(look, _remedy)


def _remedy(module: str) -> str:
    """Where the module should have come from: the package that brings it, where its name is another one."""
    package = brought_by(module)
    if package:
        return (
            f"Only the log says this. {{}} is brought by {package}: add {package} to the requirements of the "
            f"image, build it anew and make the container anew."
        )
    return (
        "Only the log says this. If {} is a package, add it to the requirements of the image, build it anew "
        "and make the container anew; if it is a module of the application, look at what the image copies "
        "and at its volumes."
    )


def brought_by(module: str) -> str:
    """The package on PyPI that brings a module of another name; empty where the table does not know it."""
    parts = module.split(".")
    names = [".".join(parts[:number]) for number in range(len(parts), 0, -1)]
    return next((table()["modules"][name] for name in names if name in table()["modules"]), "")
