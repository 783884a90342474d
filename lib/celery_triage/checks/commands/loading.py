"""The application: there and readable, and loaded without an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.commands.shared import DEATHS, REFUSED, standing_in
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import BY_THE_LOG, healed, titled
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate
from celery_triage.signatures import Match
from celery_triage.stack import Service

_PLACE = re.compile(r'^\s*File "([^"]+)", line (\d+)')


def _app(look: Look, service: Service) -> Mapping[str, Any]:
    return look.files(service).get("app") or {}


@check(
    "CMD004",
    "app-does-not-load",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("events", "files/*", "compose"),
    step="app",
    predicts=(Prediction(DEATHS, exits=(1, REFUSED)),),
)
def app_does_not_load(look: Look) -> Iterator[Finding]:
    """The module that `-A` names is there, and Celery gets no application out of it.

    ## What
    Celery says in the log of the service that the module has no application, lacks the attribute behind the
    colon, or raised an error while it was imported: a syntax error, modules that import each other in a
    circle, anything else. For an attribute the module in the image is read, too: whether it mentions that
    name, and which names it gives to Celery applications.

    ## Why
    The process ends before it looks at its options (exit code 2; 1 for an error that is not caught).

    ## Looks like
    `Unable to load celery application. Module 'shared.infrastructure' has no attribute 'celery'`, or a usage
    error with a traceback of the application above it.

    ## Confirm
    `docker run --rm --entrypoint python IMAGE -c 'import MODULE'` with the environment of the service.

    ## Do
    Correct what the traceback names: its last line is the error, the last file of the application the place.

    ## False alarms
    Where only the log is judged the certainty is never more than reported. Once the service got past the
    import it is history.
    """
    for service in look.celery:
        told = look.course(service).told
        if told is not None and told.failed:
            look.section(f"logs/{service.label}")
    groups: dict[tuple[str, str, str, str], list[tuple[Service, Match]]] = {}
    for service in look.members:
        if look.course(service).past(look.rule.step):
            continue
        for said in look.seen(service).says()[-1:]:
            error, place = _error(look, service, said)
            groups.setdefault((said.object, said.says, error, place), []).append((service, said))
    for (thing, says, error, place), found in groups.items():
        services = [service for service, _ in found]
        if ":" in thing and (finding := _attribute(look, thing, services)):
            yield finding
            continue
        what = titled([one.label for one in services], says, thing)
        if error:
            what = f"{what} ({error}" + (f", in {place})" if place else ")")
        yield look.finding(
            what,
            services=tuple(one.label for one in services),
            object=thing,
            certainty="reported",
            proof=[look.course(service).proof(said) for service, said in found],
            remedy=Remedy(
                "manual",
                f"Correct {place}: {error}. Then build the image anew or start the service again."
                if place
                else BY_THE_LOG,
            ),
            verify=alive(services),
        )
    yield from healed(look)


def _error(look: Look, service: Service, said: Match) -> tuple[str, str]:
    """The exception that a life died of, and the last place of the application in its traceback."""
    course = look.course(service)
    life = next(
        (
            one
            for one in reversed(course.lives)
            if one.first_line and one.first_line <= said.lines[-1] <= (one.last_line or 0)
        ),
        None,
    )
    if life is None:
        return "", ""
    error = course.proof(said).text.strip()
    if not re.match(r"[A-Za-z_][\w.]*(?:Error|Exception|Warning|Exit)\b", error):
        return "", ""
    before = list(course.lines(life))[: said.lines[-1] - life.first_line]
    places = [found for line in before if (found := _PLACE.match(line[2]))]
    site = look.files(service).get("site_packages") or ()
    own = [
        found
        for found in places
        if not found[1].startswith(("<", *site, "/usr/lib/"))
        and "/site-packages/" not in found[1]
        and not found[1].endswith("/bin/celery")
    ]
    return error[:200], f"{own[-1][1]} line {own[-1][2]}" if own else ""


def _attribute(look: Look, thing: str, services: Sequence[Service]) -> Finding | None:
    """``-A module:attribute``, where the module itself shows that it does not have it."""
    module, _, attribute = thing.partition(":")
    if any(
        _app(look, one).get("named") is not False or not _app(look, one).get("present") for one in services
    ):
        return None
    names = listed([one.label for one in services])
    proof = []
    for service in services:
        proof.append(Proof(f"files/{service.label}", f"{_app(look, service)['path']}: no {attribute} in it"))
        proof += look.seen(service).proof(thing)
    return look.finding(
        f"{names} cannot start: the module {module} has no {attribute}",
        services=tuple(one.label for one in services),
        object=thing,
        certainty="confirmed",
        proof=proof,
        remedy=_named_otherwise(look, module, attribute, services),
        verify=alive(services),
    )


def _named_otherwise(look: Look, module: str, attribute: str, services: Sequence[Service]) -> Remedy:
    commands = recreate(look.stack, services)
    apps = sorted({name for one in services for name in _app(look, one).get("apps") or ()})
    if len(apps) == 1:
        old, new = f"{module}:{attribute}", f"{module}:{apps[0]}"
        changed = changes(look.data("compose"), [(one, standing_in(one, old), old, new) for one in services])
        summary = f"Write {new}: in that module the Celery application is called {apps[0]}."
        if changed.complete:
            return Remedy(
                "exact",
                summary,
                changed.edits,
                changed.commands + commands,
                risk=f"Makes the containers of {listed([one.label for one in services])} anew; they "
                f"do not run anyway.",
            )
        return Remedy("manual", summary, changed.edits + changed.texts, commands)
    return Remedy(
        "manual",
        f"Write the name that {module} gives to its Celery application behind the colon "
        f"instead of {attribute}, then make the containers anew.",
        commands=commands,
    )


@check(
    "CMD009",
    "app-not-readable",
    severity="critical",
    needs=("containers", "files/*"),
    uses=("logs/*", "events"),
    step="app",
    predicts=(Prediction((*DEATHS, "LOG001", "CMD003"), exits=(1, REFUSED)),),
)
def app_not_readable(look: Look) -> Iterator[Finding]:
    """The module that `-A` names is there, and the user of the service may not read it.

    ## What
    A folder on the way to the module, or its file, is not open to everybody; the service runs as a user who
    is not root, and it says that it finds no such module or may not read it.

    ## Why
    Python passes over a folder that it may not enter without a word, so Celery says that the module was not
    found (exit code 2), although everybody who looks as root sees it there.

    ## Looks like
    `The module celery_app was not found.` in the log, and `drwx------ root root` on the folder. It comes from
    code that was copied or mounted with the rights of somebody's own folder, together with `USER` or `user:`.

    ## Confirm
    `docker run --rm --entrypoint ls IMAGE -ld FOLDER`, with the same mounts and the same user.

    ## Do
    Open it to the service's user: `COPY --chown=USER`, `chmod -R a+rX` on the folder, or the user who owns it
    behind `user:`.

    ## False alarms
    The owner's name cannot be seen from outside: without the words in the log nothing is reported.
    """
    groups: dict[str, list[tuple[Service, Mapping[str, Any]]]] = {}
    for service in look.members:
        if service.launch is None or look.course(service).past("app"):
            continue
        app = _app(look, service)
        if not look.files(service):
            look.needs_file(service, "whether the module of -A may be read is not known")
        user = str(service.item.get("user") or "").partition(":")[0]
        if app.get("closed") and user not in ("", "0", "root") and _not_found(look, service, app):
            groups.setdefault(app["closed"]["path"], []).append((service, app))
    for path, found in groups.items():
        services = [service for service, _ in found]
        app, first = found[0][1], services[0]
        user = str(first.item.get("user") or "").partition(":")[0]
        proof = []
        for service, own in found:
            proof.append(Proof(f"files/{service.label}", f"{path}: mode {own['closed']['mode']:04o}"))
            proof += [look.course(service).proof(said) for said in _not_found(look, service, own)[-1:]]
        yield look.finding(
            f"{listed([one.label for one in services])} cannot load {app['module']}: the user {user} may not "
            f"read {path} (mode {app['closed']['mode']:04o})",
            services=tuple(one.label for one in services),
            object=path,
            certainty="confirmed",
            proof=proof,
            remedy=Remedy(
                "manual",
                f"Let the user {user} read {path}: `chmod -R a+rX` or `chown` where it comes from (the host "
                f"for a mounted folder, `COPY --chown` in the Dockerfile), then make the containers anew.",
                commands=recreate(look.stack, services),
            ),
            verify=alive(services),
        )


def _not_found(look: Look, service: Service, app: Mapping[str, Any]) -> tuple[Match, ...]:
    """What the service says of a module that it does not find or may not read."""
    course = look.course(service)
    said = course.says("CMD003", step="app") + course.says("CMD004", step="app")
    said = tuple(one for one in said if one.code == "CMD003" or "Permission" in one.text)
    return said + course.says("CPS060", step="app")
