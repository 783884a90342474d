"""Sub-commands that the Celery in the image does not have; ``flower`` is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from celery_triage.checks.commands.quoting import broken
from celery_triage.checks.commands.shared import DEATHS, REFUSED, celery_version, option_changes, surely
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed, verb
from celery_triage.commandline import Problem
from celery_triage.commandline.four import USAGE
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service


@check(
    "CMD002",
    "subcommand-not-available",
    severity="critical",
    needs=("containers", "files/*"),
    uses=("logs/*", "events", "compose"),
    step="subcommand",
    predicts=(Prediction((*DEATHS, "LOG001"), exits=(REFUSED, USAGE)),),
    also=("flower-not-installed", "no-subcommand"),
)
def subcommand_not_available(look: Look) -> Iterator[Finding]:
    """A service calls a sub-command that the Celery in its image does not have; `flower` without Flower is
    one.

    ## What
    `celery flower` exists only where the package `flower` is installed beside Celery: it adds the
    sub-command. Other unknown words in the place of the sub-command are misspelt (`celery -A app wroker`) or
    come from a package that is not there. Without any sub-command Celery prints its help and ends.

    ## Why
    Celery ends with exit code 2 at once (0 without a sub-command; Celery 4 with 64 in both cases), and a
    restart policy makes a loop of it.

    ## Looks like
    `Error: No such command 'flower'.` and `Restarting (2)` in `docker ps` (Celery 5.4 to 5.7).

    ## Confirm
    `docker run --rm --entrypoint celery IMAGE --help` lists the sub-commands of that image.

    ## Do
    Flower: add `flower` to the requirements of the image and build it anew. A misspelt word: correct it.

    ## False alarms
    A package may add sub-commands of its own (entry points `celery.commands`): a service that got past this
    step is never reported. `celery flower -A app`, with the option behind, is not a fault of this kind:
    Flower starts.
    """
    found: dict[tuple[str, str], list[tuple[Service, Problem]]] = {}
    for service in look.members:
        launch = service.launch
        if launch is None or look.course(service).past("subcommand"):
            continue
        if launch.subcommand == "flower" and (service.packages.get("flower") or {}).get("present") is None:
            look.needs_file(service, "whether Flower is in the image is not known")
        for problem in launch.problems:
            if problem.kind == "unknown_command" and problem.token == launch.subcommand:
                name = "flower-not-installed" if problem.token == "flower" else "subcommand-not-available"
                found.setdefault((name, problem.token), []).append((service, problem))
            elif problem.kind == "no_command" and not broken(service):
                found.setdefault(("no-subcommand", "celery"), []).append((service, problem))
    for (name, word), pairs in found.items():
        yield _no_subcommand(look, name, word, pairs)
    yield from reported(look, {service.label for pairs in found.values() for service, _ in pairs})
    yield from healed(look)


def _no_subcommand(look: Look, name: str, word: str, pairs: Sequence[tuple[Service, Problem]]) -> Finding:
    services = [service for service, _ in pairs]
    names = listed([service.label for service in services])
    title = {
        "flower-not-installed": f"{names} cannot start: Flower is not installed in the image",
        "no-subcommand": f"{names} {verb(services, 'ends', 'end')} at once: the command names no sub-command",
    }.get(name, f"{names} cannot start: Celery has no command {word}")
    usual = 0 if name == "no-subcommand" else REFUSED
    exits = {launch.exit_code for service in services if (launch := service.launch)} | {usual}
    proof = [Proof("containers", f"{service.label}: {' '.join(service.argv[:12])}") for service in services]
    for service in services:
        if name == "flower-not-installed":
            where = listed(look.files(service).get("site_packages") or ())
            proof.append(Proof(f"files/{service.label}", f"no package flower in {where or 'the image'}"))
        proof += look.seen(service).proof(word)
    seen = all(look.seen(service).effect(word, exits - {None}) for service in services)
    return look.finding(
        title,
        name=name,
        services=tuple(service.label for service in services),
        object=word,
        certainty="confirmed" if seen else "inferred",
        proof=proof,
        verify=alive(services),
        remedy=_flower_remedy(look, services)
        if name == "flower-not-installed"
        else _word_remedy(look, word, pairs),
    )


def _flower_remedy(look: Look, services: Sequence[Service]) -> Remedy:
    version = celery_version(services[0])
    wanted = (
        "flower (2.0 or later, made for Celery 5)" if not version or version >= "5" else "flower 1.0 or older"
    )
    built = [
        service
        for service in services
        if ((look.data("compose") or {}).get("services") or {})
        .get(service.item.get("service") or "", {})
        .get("build")
    ]
    return Remedy(
        "manual",
        f"Add {wanted} to the requirements of the image {services[0].item.get('image')} and build it anew; "
        f"then make the container anew. If nobody needs Flower, take the service out of the Compose file.",
        commands=recreate(look.stack, services, build=bool(built)),
        risk="Other services of the same image get the new packages too when they are made anew.",
    )


def _word_remedy(look: Look, word: str, pairs: Sequence[tuple[Service, Problem]]) -> Remedy:
    services = [service for service, _ in pairs]
    commands = recreate(look.stack, services)
    candidates = pairs[0][1].candidates
    if candidates and surely(word, candidates):
        changed = option_changes(look, pairs, word, candidates[0])
        if changed.complete:
            return Remedy(
                "exact",
                f"Write {candidates[0]} instead of {word}.",
                changed.edits,
                changed.commands + commands,
                risk="Makes the containers anew; they do not run anyway.",
            )
    return Remedy(
        "manual",
        f"Name a sub-command that this image has (worker, beat, flower with its package) instead of {word}.",
        commands=commands,
    )
