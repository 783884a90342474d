"""What a command needs in the image: its program, and the module that ``-A`` names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from celery_triage.checks.commands.shared import DEATHS, REFUSED, standing_in
from celery_triage.checks.commands.starting import cannot_execute, started
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate
from celery_triage.stack import Service


@check(
    "CMD003",
    "app-module-missing",
    severity="critical",
    needs=("containers", "files/*"),
    uses=("logs/*", "events", "compose"),
    step="app",
    predicts=(Prediction((*DEATHS, "LOG001"), exits=(REFUSED,)),),
)
def app_module_missing(look: Look) -> Iterator[Finding]:
    """The module that `-A` names is not in the image.

    ## What
    Every place where Python would look for the module of `-A` (the working directory, `PYTHONPATH`, the
    package folders) was asked for by `HEAD …/archive`, and none has it.

    ## Why
    Celery ends with exit code 2, before it even looks at the options of its sub-command.

    ## Looks like
    `Unable to load celery application. The module shared.infra.celery_app was not found.` Exit code 2 is also
    what a wrong option gives: the log or the file decides.

    ## Confirm
    `docker run --rm --entrypoint python IMAGE -c 'import MODULE'` in the working directory of the service.

    ## Do
    Correct the name after `-A`, or the image or volume that should bring the module.

    ## False alarms
    Modules inside archives or found by import hooks cannot be seen from outside; a service that got past its
    import is never reported. A module that is there and fails to import is another fault: its own error is in
    the log.
    """
    found: dict[str, list[Service]] = {}
    for service in look.members:
        if service.launch is None or not service.app_module or look.course(service).past("app"):
            continue
        app = look.files(service).get("app") or {}
        if app.get("present") is None:
            look.needs_file(service, "whether the module of -A is in the image is not known")
        elif app["present"] is False:
            found.setdefault(app.get("module") or service.app_module.partition(":")[0], []).append(service)
    for module, services in found.items():
        yield _no_module(look, module, services)
    there = {one.label for one in look.members if (look.files(one).get("app") or {}).get("present")}
    yield from reported(look, there | {one.label for services in found.values() for one in services})
    yield from healed(look)


def _no_module(look: Look, module: str, services: Sequence[Service]) -> Finding:
    names = listed([service.label for service in services])
    proof = []
    for service in services:
        looked = (look.files(service).get("app") or {}).get("looked") or ()
        proof.append(Proof(f"files/{service.label}", f"not there: {listed(looked, 6)}"))
        proof += look.seen(service).proof(module)
    seen = all(look.seen(service).effect(module, (REFUSED,)) for service in services)
    return look.finding(
        f"{names} cannot start: the module {module} that -A names is not in the image",
        services=tuple(service.label for service in services),
        object=module,
        certainty="confirmed" if seen else "inferred",
        proof=proof,
        remedy=_module_remedy(look, module, services),
        verify=alive(services),
    )


def _module_remedy(look: Look, module: str, services: Sequence[Service]) -> Remedy:
    commands = recreate(look.stack, services)
    images = {service.item.get("image_id") for service in services}
    others = {}
    for other in look.members:
        app = look.files(other).get("app") or {}
        if app.get("present") and other.item.get("image_id") in images and app.get("module") != module:
            others.setdefault(app["module"], other.label)
    near = [name for name in others if difflib.SequenceMatcher(None, module, name).ratio() >= 0.75]
    if len(near) == 1:
        changed = changes(
            look.data("compose"),
            [(service, standing_in(service, module), module, near[0]) for service in services],
        )
        summary = (
            f"Write {near[0]}, the module that {others[near[0]]} uses in the same image, instead of {module}."
        )
        if changed.complete:
            return Remedy(
                "exact",
                summary,
                changed.edits,
                changed.commands + commands,
                risk="Makes the containers anew; they do not run anyway.",
            )
        return Remedy("manual", summary, changed.edits + changed.texts, commands)
    return Remedy(
        "manual",
        f"Write the module that holds the Celery application instead of {module}, or put {module} into "
        f"the image; then make the containers anew.",
        commands=commands,
    )


@check(
    "CMD005",
    "executable-missing",
    severity="critical",
    needs=("containers", "files/*"),
    uses=("logs/*", "events"),
    step="executable",
    predicts=(Prediction(("CTR001", "CTR003", "LOG001"), exits=(126, 127)),),
)
def executable_missing(look: Look) -> Iterator[Finding]:
    """The program that a service is started with is not in its image.

    ## What
    Every folder of the image's `PATH` was asked for the program, and for those around it (`poetry`, `tini`,
    an entrypoint), and none has it.

    ## Why
    Docker cannot start the container (exit code 127, or the state `created`), or the shell in it ends with
    127.

    ## Looks like
    `exec: "celery": executable file not found in $PATH` in `docker ps` or `docker inspect`.

    ## Confirm
    `docker run --rm --entrypoint sh IMAGE -c 'command -v celery'`.

    ## Do
    Install it in the image, or correct the command or the image's `PATH` (a virtual environment that is not
    on it).

    ## False alarms
    A program below a `tmpfs` or made by the entrypoint cannot be seen from outside; a service that runs is
    never reported.
    """
    found: dict[str, list[Service]] = {}
    looked: dict[str, list[str]] = {}
    found_there: set[str] = set()  # the same words, said of a file that is there: CMD052, CMD053
    for service in look.members:
        if service.launch is None or look.course(service).past("executable"):
            continue
        executable = look.files(service).get("executable")
        if executable is None:
            look.needs_file(service, "whether its program is in the image is not known")
            continue
        entries = started(look, service)
        absent = [one for one in entries if one["kind"] == "missing" and one["looked"]]
        missing = {one["word"]: one["looked"] for one in absent}
        if not missing and executable.get("path") is None and executable.get("looked"):
            missing[executable.get("name") or "celery"] = executable["looked"]
        for program, places in list(missing.items())[:1]:  # what stands behind it is not reached
            found.setdefault(program, []).append(service)
            looked[service.label] = places
        if not missing and any(cannot_execute(one) or not (one.get("mode") or 1) & 0o111 for one in entries):
            found_there.add(service.label)
    for program, services in found.items():
        names = listed([service.label for service in services])
        proof = []
        for service in services:
            proof.append(Proof(f"files/{service.label}", f"not there: {listed(looked[service.label], 8)}"))
            if service.latest.get("error"):
                proof.append(Proof("containers", f"{service.label}: {service.latest['error']}"))
            proof += look.seen(service).proof(program)
        seen = all(
            service.latest.get("error") or look.seen(service).effect(program, (126, 127))
            for service in services
        )
        yield look.finding(
            f"{names} cannot start: the program {program} is not in the image",
            object=program,
            services=tuple(service.label for service in services),
            certainty="confirmed" if seen else "inferred",
            proof=proof,
            verify=alive(services),
            remedy=Remedy(
                "manual",
                f"Install {program} in the image {services[0].item.get('image')}, or correct the "
                f"command or the PATH of the image, and make the containers anew.",
                commands=recreate(look.stack, services),
            ),
        )
    yield from reported(look, found_there | {one.label for services in found.values() for one in services})
    yield from healed(look)
