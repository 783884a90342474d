"""Launch commands: does each one parse with the Celery that is in its image, is what it starts there at all?"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed, verb
from celery_triage.commandline import Problem, parse, versions
from celery_triage.model import Edit, Finding, Option, Proof, Remedy
from celery_triage.remedies import Changes, alive, changes, recreate
from celery_triage.stack import Service

#: What click ends with for a command line that it refuses, and Celery for an application it cannot load.
REFUSED = 2
#: Consequences of a process that ends at its start.
_DEATHS = ("CTR001", "CTR003")

_NAMES = {"unknown_option": "unknown-option", "misplaced_option": "misplaced-option",
          "missing_value": "bad-option-value", "bad_value": "bad-option-value",
          "unexpected_argument": "unexpected-argument"}


@check("CMD001", "unknown-option", severity="critical", needs=("containers", "files/*"),
       uses=("logs/*", "events", "compose"), step="options",
       predicts=(Prediction((*_DEATHS, "LOG001"), exits=(REFUSED,)),),
       also=("misplaced-option", "bad-option-value", "unexpected-argument"))
def unknown_option(look: Look) -> Iterator[Finding]:
    """A service is started with an option that the Celery in its image does not have.

    ## What
    The launch command is parsed with the option table of the Celery version that is in the image. An option that
    this version does not know, one on the wrong side of the sub-command (`celery worker -A app`, the order of
    Celery 4), a value that is missing or not allowed, and words that belong nowhere are found.

    ## Why
    Celery ends with exit code 2 before it looks at broker, driver or database, so it hides whatever is wrong with
    those. With a restart policy the container restarts for ever.

    ## Looks like
    `Error: No such option: --queue (Possible options: --exclude-queues, --queues)` (click up to 8.1) or
    `Error: No such option '--queue'. (Did you mean one of: '--exclude-queues', '--queues'?)` (click 8.5), and
    `Restarting (2)` in `docker ps`.

    ## Confirm
    Run the image's own parser: `docker run --rm --entrypoint celery IMAGE -A APP worker --help`, and look whether the
    option is listed.

    ## Do
    Correct the option in the Compose file and make the container anew. `--queues=a,b`, `--queues a,b` and `-Q a,b`
    are all valid.

    ## False alarms
    An application may add its own options to `celery worker` (`app.user_options`). A worker that got past its command
    line with this very option is taken as proof of that, and nothing is reported.
    """
    groups: dict[tuple[str, str, str], list[tuple[Service, Problem]]] = {}
    for service in look.stack.members:
        launch = service.launch
        if launch is None or look.course(service).past("options"):
            continue
        problems = [problem for problem in launch.problems if problem.kind in _NAMES]
        if not _version(service):
            problems = [problem for problem in problems if _wrong_for_all(service, problem)]
            look.needs_file(service, "the version of Celery in the image is not known")
        for problem in problems:
            key = (_NAMES[problem.kind], problem.option or problem.token, ",".join(problem.candidates))
            groups.setdefault(key, []).append((service, problem))
    for (name, option, _), found in groups.items():
        yield _refused_option(look, name, option, found)
    yield from reported(look, {service.label for found in groups.values() for service, _ in found})
    yield from healed(look)


def _version(service: Service) -> str:
    return str((service.packages.get("celery") or {}).get("version") or "")


def _wrong_for_all(service: Service, problem: Problem) -> bool:
    """Whether every known version refuses the same word."""
    return all(any(other.index == problem.index for other in parse(service.argv, version).problems)
               for version in versions())


def _refused_option(look: Look, name: str, option: str, found: Sequence[tuple[Service, Problem]]) -> Finding:
    services = [service for service, _ in found]
    problem = found[0][1]
    version = _version(services[0])
    celery = f"Celery {version}" if version else "Celery"
    names = listed([service.label for service in services])
    what = {
        "unknown-option": f"{celery} knows no option {option}",
        "misplaced-option": f"the option {option} stands on the wrong side of the sub-command",
        "bad-option-value": f"the value of {option} is missing or not allowed",
        "unexpected-argument": f"nothing knows what {option} means on the command line",
    }[name]
    title = f"{names} {verb(services, 'cannot', 'cannot')} start: {what}"
    proof, seen = [], []
    for service, own in found:
        proof.append(Proof("containers", f"{service.label}: {_around(service, own)}"))
        proof += look.seen(service).proof(option)
        seen.append(look.seen(service).effect(option, (REFUSED,)))
    proof.append(Proof("files/" + services[0].label, services[0].launch.how))
    return look.finding(
        title, name=name, services=tuple(service.label for service in services), object=option,
        certainty="confirmed" if all(seen) else "inferred", proof=proof,
        remedy=_option_remedy(look, name, option, found), verify=alive(services), detail=problem.message)


def _around(service: Service, problem: Problem) -> str:
    """The part of the command in which the refused word stands."""
    words, index = service.argv, problem.index
    if index is None or len(words) <= 12:
        return " ".join(words)
    return " ".join(("…", *words[max(0, index - 4):index + 3], "…"))


def _option_remedy(look: Look, name: str, option: str, found: Sequence[tuple[Service, Problem]]) -> Remedy:
    services = [service for service, _ in found]
    commands = recreate(look.stack, services)
    candidates = found[0][1].candidates
    risk = f"Makes the {verb(services, 'container', 'containers')} of {listed([s.label for s in services])} anew; " \
           f"they do not run anyway."
    if name == "unknown-option" and candidates:
        ways = []
        for candidate in candidates[:3]:
            changed = _option_changes(look, found, option, candidate)
            ways.append(Option(candidate.lstrip("-"), f"Write {candidate} instead of {option}.",
                               changed.edits + changed.texts, changed.commands + commands))
        sure = _surely(option, candidates)
        changed = _option_changes(look, found, option, candidates[0])
        if sure and changed.complete:
            return Remedy("exact", f"Write {candidates[0]} instead of {option}.", changed.edits,
                          changed.commands + commands, risk=risk)
        if sure:
            return Remedy("manual", f"Write {candidates[0]} instead of {option} {_where(changed)}, then make the "
                                    f"containers anew.", changed.edits + changed.texts, commands, risk=risk)
        return Remedy("choice", f"Write the option that was meant instead of {option}.",
                      question=f"Which option was meant by {option}?", options=tuple(ways), risk=risk)
    hint = {"misplaced-option": f"Move {option} to the other side of the sub-command (celery -A app worker …).",
            "bad-option-value": f"Give {option} a value that Celery takes: {found[0][1].message}",
            "unexpected-argument": f"Take {option} out of the command, or write the option that it belongs to."}
    return Remedy("manual", hint.get(name, f"Take {option} out of the command, or write the option that was meant."),
                  commands=commands, risk=risk)


def _where(changed: Changes) -> str:
    if changed.texts:
        return f"in {listed(sorted({edit.file for edit in changed.texts}))}"
    return f"where the command of {listed(changed.unplaced)} is set (it stands in no Compose file that could be read)"


def _option_changes(look: Look, found: Sequence[tuple[Service, Problem]], old: str, new: str) -> Changes:
    compose = look.data("compose")
    return changes(compose, [(service, where(service, problem), old, new) for service, problem in found])


def where(service: Service, problem: Problem) -> str:
    """Whether the refused word comes from the service's command or from its entrypoint."""
    words = service.item.get("cmd") or ()
    return "command" if any(problem.token in word for word in words) else "entrypoint"


def _surely(option: str, candidates: Sequence[str]) -> bool:
    """Whether the first candidate is so much nearer than the others that nothing else can have been meant."""
    ratios = [difflib.SequenceMatcher(None, option, candidate).ratio() for candidate in candidates]
    return ratios[0] >= 0.8 and all(ratios[0] - other >= 0.1 for other in ratios[1:])


@check("CMD002", "subcommand-not-available", severity="critical", needs=("containers", "files/*"),
       uses=("logs/*", "events", "compose"), step="subcommand",
       predicts=(Prediction((*_DEATHS, "LOG001"), exits=(REFUSED,)),), also=("flower-not-installed", "no-subcommand"))
def subcommand_not_available(look: Look) -> Iterator[Finding]:
    """A service calls a sub-command that the Celery in its image does not have; `flower` without Flower is one.

    ## What
    `celery flower` exists only where the package `flower` is installed beside Celery: it adds the sub-command. Other
    unknown words in the place of the sub-command are misspelt (`celery -A app wroker`) or come from a package that is
    not there. Without any sub-command Celery prints its help and ends.

    ## Why
    Celery ends with exit code 2 at once (0 without a sub-command), and a restart policy makes a loop of it.

    ## Looks like
    `Error: No such command 'flower'.` and `Restarting (2)` in `docker ps` (Celery 5.4 to 5.7).

    ## Confirm
    `docker run --rm --entrypoint celery IMAGE --help` lists the sub-commands of that image.

    ## Do
    Flower: add `flower` to the requirements of the image and build it anew. A misspelt word: correct it.

    ## False alarms
    A package may add sub-commands of its own (entry points `celery.commands`): a service that got past this step is
    never reported. `celery flower -A app`, with the option behind, is not a fault of this kind: Flower starts.
    """
    found: dict[tuple[str, str], list[tuple[Service, Problem]]] = {}
    for service in look.stack.members:
        launch = service.launch
        if launch is None or look.course(service).past("subcommand"):
            continue
        if launch.subcommand == "flower" and (service.packages.get("flower") or {}).get("present") is None:
            look.needs_file(service, "whether Flower is in the image is not known")
        for problem in launch.problems:
            if problem.kind == "unknown_command" and problem.before_app:
                name = "flower-not-installed" if problem.token == "flower" else "subcommand-not-available"
                found.setdefault((name, problem.token), []).append((service, problem))
            elif problem.kind == "no_command":
                found.setdefault(("no-subcommand", "celery"), []).append((service, problem))
    for (name, word), pairs in found.items():
        yield _no_subcommand(look, name, word, pairs)
    yield from reported(look, {service.label for pairs in found.values() for service, _ in pairs})
    yield from healed(look)


def _no_subcommand(look: Look, name: str, word: str, pairs: Sequence[tuple[Service, Problem]]) -> Finding:
    services = [service for service, _ in pairs]
    names = listed([service.label for service in services])
    title = {
        "flower-not-installed": f"{names} cannot start: Flower is not installed in the image, so Celery has no command "
                                f"flower",
        "no-subcommand": f"{names} {verb(services, 'ends', 'end')} at once: the command names no sub-command (worker, "
                         f"beat …)",
    }.get(name, f"{names} cannot start: Celery has no command {word}")
    exits = (0,) if name == "no-subcommand" else (REFUSED,)
    proof = [Proof("containers", f"{service.label}: {' '.join(service.argv[:12])}") for service in services]
    for service in services:
        if name == "flower-not-installed":
            where = listed((look.files(service).get("site_packages") or ()))
            proof.append(Proof(f"files/{service.label}", f"no package flower in {where or 'the image'}"))
        proof += look.seen(service).proof(word)
    seen = all(look.seen(service).effect(word, exits) for service in services)
    return look.finding(
        title, name=name, services=tuple(service.label for service in services), object=word,
        certainty="confirmed" if seen else "inferred", proof=proof, verify=alive(services),
        remedy=_flower_remedy(look, services) if name == "flower-not-installed" else _word_remedy(look, word, pairs))


def _flower_remedy(look: Look, services: Sequence[Service]) -> Remedy:
    version = _version(services[0])
    wanted = "flower (2.0 or later, made for Celery 5)" if not version or version >= "5" else "flower 1.0 or older"
    built = [service for service in services
             if ((look.data("compose") or {}).get("services") or {}).get(service.item.get("service") or "", {}).get("build")]
    return Remedy(
        "manual", f"Add {wanted} to the requirements of the image {services[0].item.get('image')} and build it anew; "
                  f"then make the container anew. If nobody needs Flower, take the service out of the Compose file.",
        commands=recreate(look.stack, services, build=bool(built)),
        risk="Other services of the same image get the new packages too when they are made anew.")


def _word_remedy(look: Look, word: str, pairs: Sequence[tuple[Service, Problem]]) -> Remedy:
    services = [service for service, _ in pairs]
    commands = recreate(look.stack, services)
    candidates = pairs[0][1].candidates
    if candidates and _surely(word, candidates):
        changed = _option_changes(look, pairs, word, candidates[0])
        if changed.complete:
            return Remedy("exact", f"Write {candidates[0]} instead of {word}.", changed.edits,
                          changed.commands + commands, risk="Makes the containers anew; they do not run anyway.")
    return Remedy("manual", f"Name a sub-command that this image has (worker, beat, flower with its package) instead of "
                            f"{word}.", commands=commands)


@check("CMD003", "app-module-missing", severity="critical", needs=("containers", "files/*"),
       uses=("logs/*", "events", "compose"), step="app",
       predicts=(Prediction((*_DEATHS, "LOG001"), exits=(REFUSED,)),))
def app_module_missing(look: Look) -> Iterator[Finding]:
    """The module that `-A` names is not in the image.

    ## What
    Every place where Python would look for the module of `-A` (the working directory, `PYTHONPATH`, the package
    folders) was asked for by `HEAD …/archive`, and none has it.

    ## Why
    Celery ends with exit code 2, before it even looks at the options of its sub-command.

    ## Looks like
    `Unable to load celery application. The module shared.infra.celery_app was not found.` Exit code 2 is also what a
    wrong option gives: the log or the file decides.

    ## Confirm
    `docker run --rm --entrypoint python IMAGE -c 'import MODULE'` in the working directory of the service.

    ## Do
    Correct the name after `-A`, or the image or volume that should bring the module.

    ## False alarms
    Modules inside archives or found by import hooks cannot be seen from outside; a service that got past its import is
    never reported. A module that is there and fails to import is another fault: its own error is in the log.
    """
    found: dict[str, list[Service]] = {}
    for service in look.stack.members:
        if service.launch is None or not service.app_module or look.course(service).past("app"):
            continue
        app = look.files(service).get("app") or {}
        if app.get("present") is None:
            look.needs_file(service, "whether the module of -A is in the image is not known")
        elif app["present"] is False:
            found.setdefault(app.get("module") or service.app_module.partition(":")[0], []).append(service)
    for module, services in found.items():
        yield _no_module(look, module, services)
    yield from reported(look, {service.label for services in found.values() for service in services})
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
        services=tuple(service.label for service in services), object=module,
        certainty="confirmed" if seen else "inferred", proof=proof, remedy=_module_remedy(look, module, services),
        verify=alive(services))


def _module_remedy(look: Look, module: str, services: Sequence[Service]) -> Remedy:
    commands = recreate(look.stack, services)
    images = {service.item.get("image_id") for service in services}
    others = {}
    for other in look.stack.members:
        app = look.files(other).get("app") or {}
        if app.get("present") and other.item.get("image_id") in images and app.get("module") != module:
            others.setdefault(app["module"], other.label)
    near = [name for name in others if difflib.SequenceMatcher(None, module, name).ratio() >= 0.75]
    if len(near) == 1:
        changed = changes(look.data("compose"), [
            (service, _holding(service, module), module, near[0]) for service in services])
        summary = f"Write {near[0]}, the module that {others[near[0]]} uses in the same image, instead of {module}."
        if changed.complete:
            return Remedy("exact", summary, changed.edits, changed.commands + commands,
                          risk="Makes the containers anew; they do not run anyway.")
        return Remedy("manual", summary, changed.edits + changed.texts, commands)
    return Remedy("manual", f"Write the module that holds the Celery application instead of {module}, or put {module} into "
                            f"the image; then make the containers anew.", commands=commands)


def _holding(service: Service, word: str) -> str:
    return "command" if any(word in part for part in service.item.get("cmd") or ()) else "entrypoint"


@check("CMD004", "executable-missing", severity="critical", needs=("containers", "files/*"), uses=("logs/*", "events"),
       step="executable", predicts=(Prediction(("CTR001", "CTR003", "LOG001"), exits=(126, 127)),))
def executable_missing(look: Look) -> Iterator[Finding]:
    """The program that a service is started with is not in its image.

    ## What
    Every folder of the image's `PATH` was asked for the program, and none has it.

    ## Why
    Docker cannot start the container (exit code 127, or the state `created`), or the shell in it ends with 127.

    ## Looks like
    `exec: "celery": executable file not found in $PATH` in `docker ps` or `docker inspect`.

    ## Confirm
    `docker run --rm --entrypoint sh IMAGE -c 'command -v celery'`.

    ## Do
    Install it in the image, or correct the command or the image's `PATH` (a virtual environment that is not on it).

    ## False alarms
    A program below a `tmpfs` or made by the entrypoint cannot be seen from outside; a service that runs is never
    reported.
    """
    found: dict[str, list[Service]] = {}
    for service in look.stack.members:
        if service.launch is None or look.course(service).past("executable"):
            continue
        executable = look.files(service).get("executable")
        if executable is None:
            look.needs_file(service, "whether its program is in the image is not known")
        elif executable.get("path") is None and executable.get("looked"):
            found.setdefault(executable.get("name") or "celery", []).append(service)
    for program, services in found.items():
        names = listed([service.label for service in services])
        proof = []
        for service in services:
            proof.append(Proof(f"files/{service.label}",
                               f"not there: {listed(look.files(service)['executable']['looked'], 8)}"))
            if service.latest.get("error"):
                proof.append(Proof("containers", f"{service.label}: {service.latest['error']}"))
            proof += look.seen(service).proof(program)
        seen = all(service.latest.get("error") or look.seen(service).effect(program, (126, 127))
                   for service in services)
        yield look.finding(
            f"{names} cannot start: the program {program} is not in the image", object=program,
            services=tuple(service.label for service in services), certainty="confirmed" if seen else "inferred",
            proof=proof, verify=alive(services),
            remedy=Remedy("manual", f"Install {program} in the image {services[0].item.get('image')}, or correct the "
                                    f"command or the PATH of the image, and make the containers anew.",
                          commands=recreate(look.stack, services)))
    yield from reported(look, {service.label for services in found.values() for service in services})
    yield from healed(look)
