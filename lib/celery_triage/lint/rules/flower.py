"""Flower: options that its own parser refuses, and the executable that it no longer has."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.words import listed
from celery_triage.commandline import minor
from celery_triage.commandline.unwrapped import base
from celery_triage.lint.pins import FOUR
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding
from celery_triage.stack import Service


@static("CMD006", "flower-wrong-command", "critical")
def wrong_value(subject: Subject) -> Iterator[Finding]:
    """Options of Flower whose value it cannot read, by the versions that are possible."""
    for service in subject.celery:
        launch = next(reversed(subject.launches(service).values()), None)
        if launch is None or launch.subcommand != "flower":
            continue
        version, how = subject.flower(service)
        env = {name: value for name, value in service._environment.items() if "$" not in value}
        known = [one for one in subject.pin(service).minors if one != FOUR]
        launch = subject.stack.alike.parse(
            service.argv, known[-1], env=env, flower=version or None, expands=True
        )
        for problem in launch.problems:
            if problem.kind != "flower_value" or "$" in problem.token:
                continue
            meant = problem.candidates[:1]
            told = (
                f"takes the value of {problem.option} only behind an equals sign"
                if meant
                else f"refuses {problem.option}: {problem.message}"
            )
            written = subject.env_node if problem.index is None else subject.command_node
            yield found(
                subject,
                "CMD006",
                "flower-wrong-command",
                "critical" if problem.index is not None else "warning",
                f"{service.label}: Flower {told}",
                [written(service, problem.token)],
                services=[service],
                thing=problem.option,
                fix=f"Write {meant[0]}." if meant else "Give it a value that Flower can read.",
                detail=f"Judged as Flower {version}: {how}."
                if version
                else "All versions that are known (0.9 to 2.2) refuse it.",
            )


@static("CMD006", "flower-wrong-command")
def behind_flower(subject: Subject) -> Iterator[Finding]:
    """``celery flower --broker=…`` and ``celery flower -A app``: since Flower 1.0 these are options of
    Celery, and behind ``flower`` they are only warned of (2.0.1: "Please specify them after celery command",
    then ``Broker: amqp://guest:**@localhost:5672//``)."""
    for service in subject.celery:
        launch = next(reversed(subject.launches(service).values()), None)
        if launch is None or launch.subcommand != "flower" or base(service.argv[0]) == "flower":
            continue
        version, how = subject.flower(service)
        behind = service.argv[service.argv.index("flower") + 1 :] if "flower" in service.argv else []
        words = [one for one in behind if one.partition("=")[0] in ("--broker", "-b", "--app", "-A")]
        old = all(one == FOUR or one.startswith("4.") for one in subject.pin(service).minors)
        if not words or old or (minor(version) or "2.0").startswith("0."):
            continue
        given = launch.global_options.get("app") or "broker" in launch.global_options
        elsewhere = "CELERY_BROKER_URL" in service.env or "BROKER_URL" in service.env
        if given or elsewhere or subject.known[service.label].env_missing:
            continue
        names = listed(list(dict.fromkeys(word.partition("=")[0] for word in words)))
        yield found(
            subject,
            "CMD006",
            "flower-wrong-command",
            "warning",
            f"{service.label}: Flower 1.0 and later drops {names} behind flower, and looks for RabbitMQ at "
            f"its own localhost",
            [subject.command_node(service, word) for word in words],
            services=[service],
            thing=words[0].partition("=")[0],
            fix=f"Write {names} before the sub-command: celery -A app --broker=… flower.",
            detail=f"Judged as Flower {version}: {how}." if version else "",
        )


@static("CMD005", "executable-missing")
def own_executable(subject: Subject) -> Iterator[Finding]:
    """``flower …``, or options alone, in an image whose Flower is 1.0 or later."""
    for service in subject.services:
        first = service.argv[0] if service.argv else ""
        options_alone = _official(service) and first.startswith("-")
        if not (first == "flower" or options_alone):
            continue
        version, how = subject.flower(service)
        if not version and not _official(service):
            why = "whether its Flower still has an executable of its own (before 1.0) is not known"
            subject.note(service.label, why, "CMD005")
            continue
        if (minor(version) or "2.0").startswith("0."):
            continue
        known = how or "the image mher/flower without a version, which is the newest"
        program = "flower" if first == "flower" else first.partition("=")[0]
        yield found(
            subject,
            "CMD005",
            "executable-missing",
            "warning",
            f"{service.label}: there is no program {program} in the image: since Flower 1.0 it is started as "
            f"celery flower",
            [subject.command_node(service, first)],
            services=[service],
            thing=program,
            fix="Write celery [options of Celery, such as --broker=…] flower [options of Flower].",
            detail=f"Known by {known}.",
        )


def _official(service: Service) -> bool:
    return service.item["image"].partition("@")[0].partition(":")[0] in (
        "mher/flower",
        "docker.io/mher/flower",
    )
