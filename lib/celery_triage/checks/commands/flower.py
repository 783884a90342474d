"""Options that Flower refuses: it reads them by a parser of its own."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.commands.shared import DEATHS, not_placed, standing_in
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.commandline import Problem
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import Changes, alive, changes, recreate
from celery_triage.stack import Service

#: What Python ends with for the exception that Flower lets go through.
RAISED = 1


@check(
    "CMD006",
    "flower-wrong-command",
    severity="critical",
    needs=("containers", "files/*"),
    uses=("logs/*", "events", "compose"),
    step="options",
    predicts=(Prediction((*DEATHS, "LOG001"), exits=(RAISED,)),),
)
def flower_wrong_command(look: Look) -> Iterator[Finding]:
    """Flower is started with an option whose value it cannot read.

    ## What
    Flower reads the words behind `flower` by Tornado's parser. There a value belongs to its option by `=`
    only: `--port 5555`, which a worker would take, leaves `--port` without a value. A number that is none
    (`--port=http`), a variable `FLOWER_…` that Flower reads as an option and that holds something else, a
    pattern of `--auth` that Flower 1.2 and later refuse, and a `--broker_api` that is no HTTP address (2.2
    and later) are found too. Options are judged by the table of the Flower in the image; where that is not
    known, only what all versions from 0.9 to 2.2 refuse is found.

    ## Why
    Flower ends with exit code 1 and a traceback before it opens its port, and a restart policy makes a loop
    of it. The workers go on. Whoever corrects `--queues=mail` to `--queues mail` for the workers, which
    changes nothing there, and does the same for Flower, breaks it.

    ## Looks like
    `tornado.options.Error: Option 'port' requires a value` (Flower 2.2.0 with Tornado 6.6.1), `ValueError:
    invalid literal for int() with base 10: 'tcp://10.0.0.1:5555'` (a variable `FLOWER_PORT` that a link or
    an orchestrator has set), `Invalid '--broker-api' option: invalid scheme 'amqp', expected 'http' or
    'https'`, and `Restarting (1)` in `docker ps`.

    ## Confirm
    The last line of `docker logs FLOWER`; `docker inspect -f '{{.Config.Cmd}}' FLOWER` shows the words.

    ## Do
    Write `--port=5555`, and make the container anew.

    ## False alarms
    `celery flower -A app` and options that Flower does not know are not found here: every version starts
    with them and drops them, a misspelt `--prot=5566` in silence (so Flower listens on 5555). A Flower that
    got past its options is taken as proof that they are right.
    """
    for service in look.members:
        launch = service.launch
        if launch is None or launch.subcommand != "flower" or look.course(service).past("options"):
            continue
        if (service.packages.get("flower") or {}).get("present") is None:
            look.needs_file(service, "whether Flower is in the image is not known")
        for problem in launch.problems:
            if problem.kind == "flower_value":
                yield _refused(look, service, problem)


def _refused(look: Look, service: Service, problem: Problem) -> Finding:
    where = "containers", f"{service.label}: {' '.join(service.argv[:16])}"
    if problem.index is None:
        where = "containers", f"{service.label}: the variable {problem.option} is set"
    said = _last_words(look, service, problem)
    what = f"reads no value for {problem.option} ({problem.message})"
    if problem.message.startswith(("Invalid '--", "Both 'certfile'")):
        what = f"refuses the value of {problem.option} ({problem.message})"
    if problem.candidates:
        what = f"takes the value of {problem.option} only behind an equals sign"
    return look.finding(
        f"{service.label} cannot start: Flower {what}",
        services=(service.label,),
        object=problem.option,
        certainty="confirmed" if said else "inferred",
        proof=[Proof(*where), *said, Proof(f"files/{service.label}", service.launch.flower_how)],
        remedy=_remedy(look, service, problem),
        verify=alive([service]),
        detail=problem.message,
    )


def _last_words(look: Look, service: Service, problem: Problem) -> list[Proof]:
    """The newest sentence with which a life of this service ended, where it is this one: the current life may
    be about to say it, and no life has got past its options (the rule looks at no other service)."""
    course = look.course(service)
    for life in reversed(course.recent("options")):
        lines = list(course.lines(life))
        for number in range(len(lines) - 1, -1, -1):
            time, _, text = lines[number][:3]
            if text.rstrip().endswith(problem.message):
                return [Proof(f"logs/{service.label}", text, (life.first_line or 1) + number, time or None)]
    return []


def _remedy(look: Look, service: Service, problem: Problem) -> Remedy:
    commands = recreate(look.stack, [service])
    risk = f"Makes the container of {service.label} anew, which does not stay up anyway."
    if problem.candidates:
        changed, old = _joined(look, service, problem)
        summary = f"Write {problem.candidates[0]} instead of {old}"
        if changed.complete:
            return Remedy("exact", f"{summary}.", changed.edits, changed.commands + commands, risk=risk)
        return Remedy("manual", f"{summary} {not_placed(changed)}.", changed.texts, commands, risk=risk)
    if problem.index is None:
        summary = (
            f"Give the variable {problem.option} a value that Flower can read, or take it away: Flower reads "
            f"FLOWER_… as its options."
        )
        return Remedy("manual", summary, commands=commands, risk=risk)
    summary = f"Give {problem.option} a value that Flower can read, behind an equals sign."
    return Remedy("manual", summary, commands=commands, risk=risk)


def _joined(look: Look, service: Service, problem: Problem) -> tuple[Changes, str]:
    """The change that joins an option and its value, in the form in which the file has them: a line of a
    shell, or two items of a list."""
    place, new = standing_in(service, problem.token), problem.candidates[0]
    option, value = problem.token, new.partition("=")[2]
    forms = {f"{option} {value}": new}
    for quote in "\"'":
        forms[f"{quote}{option}{quote}, {quote}{value}{quote}"] = f"{quote}{new}{quote}"
    for old, wanted in forms.items():
        changed = changes(look.data("compose"), [(service, place, old, wanted)])
        if not changed.unplaced:
            break
    return changed, f"{option} {value}"
