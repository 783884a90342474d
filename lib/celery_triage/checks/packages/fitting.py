"""Packages that do not fit each other, or not the Python of the image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from packaging.utils import canonicalize_name

from celery_triage.checks.commands.shared import DEATHS, REFUSED
from celery_triage.checks.packages.known import Misfit, misfits, number, table, unknown_python
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, titled
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.signatures import Match
from celery_triage.stack import Service

_FRAME = re.compile(r'^\s*File "[^"]*/(?:site|dist)-packages/(\w+)')
#: So many lines of a traceback are looked at.
_FRAMES = 120
#: Python's own entry points have no ``get`` any more from that version on.
_ENTRY_POINTS = (3, 12)


def _said(look: Look, service: Service) -> Match | None:
    """The last words of the service that speak of packages or of Python; nothing where it works by now."""
    course = look.course(service)
    step = "broker" if service.role == "flower" else "consuming"
    if course.past(step):
        return None
    said = [
        one for code in ("PKG050", "PKG051") for one in course.says(code, step=step) if one.context == "death"
    ]
    return max(said, key=lambda one: one.lines[-1], default=None)


def _frames(look: Look, service: Service, said: Match) -> list[str]:
    """The packages through whose files the traceback of a last word leads, the one that raised it last."""
    course = look.course(service)
    life = next(
        (
            one
            for one in course.lives
            if one.first_line and one.first_line <= said.lines[-1] <= (one.last_line or 0)
        ),
        None,
    )
    lines = list(course.lines(life))[: said.lines[-1] - life.first_line] if life else []
    return [found[1] for line in lines[-_FRAMES:] if (found := _FRAME.match(line[2]))]


def _about(look: Look, service: Service, said: Match) -> set[str]:
    """The packages that a last word names, and those that its traceback leads through at its end."""
    words = {*re.findall(r"[A-Za-z][\w-]*", said.text), said.object, *_frames(look, service, said)[-3:]}
    return {canonicalize_name(word) for word in words if word}


def _of_python(look: Look, service: Service, said: Match) -> bool:
    """Whether the Python of the image is to blame: the message says so, or it is one of those that a new
    Python brings about as well, and Celery does not name this Python."""
    seen = look.files(service)
    if not unknown_python(seen):
        return False
    newer = number(seen["python"]) >= _ENTRY_POINTS
    return said.code == "PKG051" or (said.signature == "importlib-metadata-entry-points" and newer)


@check(
    "PKG050",
    "packages-do-not-fit",
    severity="critical",
    needs=("containers", "logs/*", "files/*"),
    uses=("events",),
    step="app",
    predicts=(Prediction((*DEATHS, "LOG001"), exits=(1, REFUSED)),),
)
def packages_do_not_fit(look: Look) -> Iterator[Finding]:
    """Two packages in the image are of versions that do not fit each other.

    ## What
    The last words of the service are those of such a pair, and the metadata of the packages themselves
    (`celery-….dist-info/METADATA` in the image) say which version one wants of the other. Where they forbid
    nothing, a table of known pairs says it.

    ## Why
    pip sees to it only within one call: a later `pip install --upgrade`, a second requirements file or
    `--no-deps` leaves what does not fit, with no more than a warning. The import fails, mostly before
    anything starts.

    ## Looks like
    `VersionMismatch: Redis transport requires redis-py versions 6.1.0 or later. You have 2.10.6`; `No module
    named 'vine.five'`; `'EntryPoints' object has no attribute 'get'`; `cannot import name … from 'click'`.

    ## Confirm
    `docker run --rm --entrypoint python IMAGE -m pip check`.

    ## Do
    Take the version that is wanted into the requirements, install all of them in one call, and keep a lock
    file.

    ## False alarms
    Packages that do not fit by their metadata and work all the same are not reported: without the words in
    the log nothing is.
    """
    groups: dict[tuple, list[tuple[Service, Match]]] = {}
    for service in look.celery:
        told = look.course(service).told
        if told is not None and told.failed:
            look.section(f"logs/{service.label}")
            if not look.files(service):
                look.needs_file(service, "which packages are in the image is not known")
        said = _said(look, service)
        if said is None or _of_python(look, service, said):
            continue
        about = _about(look, service, said)
        found = [one for one in misfits(look.files(service)) if one.name in about or one.owner == said.object]
        found.sort(key=lambda one: one.name != canonicalize_name(said.object or ""))
        if found or said.code == "PKG050":
            key = (found[0] if found else None, said.signature, said.object)
            groups.setdefault(key, []).append((service, said))
    for (misfit, signature, thing), pairs in groups.items():
        yield _do_not_fit(look, misfit, signature, thing, pairs)
    yield from healed(look)


def _do_not_fit(
    look: Look, misfit: Misfit | None, signature: str, thing: str, pairs: Sequence[tuple[Service, Match]]
) -> Finding:
    services = [service for service, _ in pairs]
    names = listed([one.label for one in services])
    proof = [look.course(service).proof(said) for service, said in pairs]
    if misfit is not None:
        what = (
            f"{misfit.name} {misfit.there} in the image does not fit {misfit.owner} {misfit.version}, which "
            f"wants {misfit.name}{misfit.wants}"
        )
        folder = f"{misfit.owner}-{misfit.version}.dist-info/METADATA"
        proof.insert(0, Proof(f"files/{services[0].label}", f"{folder}: {misfit.name}{misfit.wants}"))
        title, thing, certainty = f"{names} cannot start: {what}", misfit.name, "confirmed"
        do = f"Write {misfit.name}{misfit.wants} into the requirements of the image"
    else:
        known = table()["words"].get(signature)
        by = _frames(look, services[0], pairs[0][1])
        title, certainty = titled([one.label for one in services], pairs[0][1].says, thing), "reported"
        if by and canonicalize_name(by[-1]) != canonicalize_name(thing):
            title += f" (in the code of {by[-1]})"
        do = f"Pin versions of {thing or 'both packages'} and of what imports it that belong together"
        if known and thing in known.get("objects", (thing,)):
            do = f"Write {known['package']}{known['fits']} beside {known['beside']}"
    return look.finding(
        title,
        services=tuple(one.label for one in services),
        object=thing,
        certainty=certainty,
        proof=proof,
        remedy=Remedy(
            "manual",
            f"{do}, install all requirements in one call of pip, build the image anew and make the "
            f"containers anew.",
            commands=recreate(look.stack, services),
        ),
        verify=alive(services),
    )


@check(
    "PKG051",
    "python-does-not-fit",
    severity="critical",
    needs=("containers", "logs/*", "files/*"),
    uses=("events",),
    step="app",
    predicts=(Prediction((*DEATHS, "LOG001"), exits=(1, REFUSED)),),
)
def python_does_not_fit(look: Look) -> Iterator[Finding]:
    """A package is too old or too new for the Python of the image.

    ## What
    The last words of the service are of something that Python has dropped or does not have yet, and the
    classifiers of the Celery in the image do not name the Python that is there.

    ## Why
    The import fails before anything starts. It comes with a base image that moved on (`python:3-slim`) while
    the requirements did not, or the other way round.

    ## Looks like
    `cannot import name 'formatargspec' from 'inspect'` (Celery 4 with Python 3.11), `cannot import name
    'Callable' from 'collections'` (Celery 4.2 with Python 3.10), `'EntryPoints' object has no attribute
    'get'` (Celery 5.2 with Python 3.12), `SyntaxError: invalid syntax` in a file of Celery (`async` is a
    keyword from 3.7 on).

    ## Confirm
    `docker run --rm --entrypoint python IMAGE --version`.

    ## Do
    Take a Celery that names this Python, or a base image with a Python that this Celery names.

    ## False alarms
    A Celery that works with a Python that it does not name is not reported. The code of the application may
    itself need another Python: then Celery fits, and only the log is quoted.
    """
    groups: dict[tuple, list[tuple[Service, Match]]] = {}
    for service in look.celery:
        told = look.course(service).told
        if told is not None and told.failed:
            look.section(f"logs/{service.label}")
            if not look.files(service):
                look.needs_file(service, "which Python is in the image is not known")
        said = _said(look, service)
        if said is None:
            continue
        seen = look.files(service)
        if _of_python(look, service, said):
            celery = seen["requires"]["celery"]
            key = (celery["version"], seen["python"], tuple(celery["pythons"]))
            groups.setdefault(key, []).append((service, said))
        elif said.code == "PKG051" and not _explained(look, service, said):
            groups.setdefault(("", said.says, said.object), []).append((service, said))
    for key, pairs in groups.items():
        yield _not_this_python(look, key, pairs)
    yield from healed(look)


def _explained(look: Look, service: Service, said: Match) -> bool:
    """Whether a package of a wrong version brings these words about (vine 1.3 beside Celery 5): PKG050."""
    about = _about(look, service, said)
    return any(one.name in about for one in misfits(look.files(service)))


def _not_this_python(look: Look, key: tuple, pairs: Sequence[tuple[Service, Match]]) -> Finding:
    services = [service for service, _ in pairs]
    labels = [one.label for one in services]
    proof = [look.course(service).proof(said) for service, said in pairs]
    version, python, named = key
    if not version:
        title, thing, certainty = titled(labels, python, named), named, "reported"
        do = "Raise the package that the traceback names, or take the Python that it supports as base image"
    else:
        threes = [text for text in named if text.startswith("3.")]
        span = f"Python {threes[0]} to {threes[-1]}" if len(threes) > 1 else f"Python {threes[0]}"
        title = f"{listed(labels)} cannot start: Celery {version} is made for {span}, the image has {python}"
        thing, certainty = "celery", "confirmed"
        proof.insert(
            0,
            Proof(
                f"files/{services[0].label}",
                f"celery-{version}.dist-info/METADATA names {span}; Python {python} is there",
            ),
        )
        fits = [
            minor
            for minor, (first, last) in table()["pythons"].items()
            if number(first) <= number(python) <= number(last)
        ]
        celery = (
            f"Celery {fits[0]} to {fits[-1]} for Python {python}"
            if len(fits) > 1
            else (f"Celery {fits[0]} for Python {python}" if fits else "another Celery")
        )
        do = f"Take {celery}, or a base image with {span}"
    return look.finding(
        title,
        services=tuple(labels),
        object=thing,
        certainty=certainty,
        proof=proof,
        remedy=Remedy(
            "manual",
            f"{do}; build the image anew and make the containers anew.",
            commands=recreate(look.stack, services),
        ),
        verify=alive(services),
    )
