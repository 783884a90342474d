"""What a container runs that can never do what it is for: an application that is no module, a process that
goes into the background, a health check whose command Celery refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from celery_triage.checks.commands.quoting import written
from celery_triage.checks.words import listed, shown
from celery_triage.checks.workers.recycling import LEAST_KIB, OPTION, limit_kib, meant_kib
from celery_triage.commandline import Launch, Unwrapped, unwrap
from celery_triage.commandline.unwrapped import CELERY, base
from celery_triage.lint.pins import FOUR
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject, spread
from celery_triage.model import Finding
from celery_triage.stack import Service


@static("CMD003", "app-module-missing", "critical")
def no_module(subject: Subject) -> Iterator[Finding]:
    """``-A tasks.py`` and ``-A app/tasks``: a file in place of a module (Celery 4.4.7, 5.2.7 and 5.7.0 end
    with exit code 2, "The module tasks.py was not found", whether the file is there or not). ``-A=app``:
    click, and so Celery 5, takes the equals sign into the name."""
    groups: dict[tuple[str, str], list[Service]] = {}
    for service in subject.celery:
        launch = next(reversed(subject.launches(service).values()), None)
        app = launch.app if launch is not None else None
        if not app or any(sign in app for sign in "$`%"):
            continue
        module, colon, attribute = app.partition(":")
        if app[:1] in "= ":
            groups.setdefault((app, app.lstrip("= ")), []).append(service)
            continue
        if not (module.endswith(".py") or "/" in module):
            continue
        meant = module.removesuffix(".py").lstrip("./").replace("/", ".") + colon + attribute
        groups.setdefault((app, meant), []).append(service)
    for (app, meant), services in groups.items():
        why, severity = f"-A {app} names a file; Celery wants the name of a module", "critical"
        if app.startswith(" "):
            why = f"-A and {app.strip()} are one word, so Celery takes the blank into the name of the module"
        if app.startswith("="):
            why = f"-A{app} makes Celery 5 look for a module called {app}"
            four = any(version.startswith("4") for one in services for version in subject.pin(one).minors)
            severity = "warning" if four else "critical"  # argparse takes the sign away
        yield found(
            subject,
            "CMD003",
            "app-module-missing",
            severity,
            f"{listed([one.label for one in services])}: {why} and ends with exit code 2",
            [subject.command_node(one, app) for one in services],
            services=services,
            thing=app,
            fix=f"Write -A {meant}.",
        )


@static("CMD001", "bad-option-value")
def equals_kept(subject: Subject) -> Iterator[Finding]:
    """``-Q=mail``: click, and so Celery 5, takes an equals sign behind a single dash into the value. Options
    whose value is a number or a level refuse that; names take it in silence."""
    for service in subject.celery:
        launch = next(reversed(subject.launches(service).values()), None)
        if launch is None or launch.version_judged.startswith("4."):
            continue
        refused = {problem.index for problem in launch.problems}
        for place, word in enumerate(service.argv):
            if not re.match(r"-[nQXfsbI]=.", word) or place in refused:
                continue
            yield found(
                subject,
                "CMD001",
                "bad-option-value",
                "warning",
                f"{service.label}: {word} gives {word[:2]} the value {word[2:]}, with the equals sign",
                [subject.command_node(service, word)],
                services=[service],
                thing=word[:2],
                fix=f"Write {word[:2]} {word[3:]}: behind a single dash stands no equals sign.",
            )


@static("CMP011", "command-detaches")
def detaches(subject: Subject) -> Iterator[Finding]:
    """The command of a container goes into the background.

    ## What
    A worker or beat with `--detach` (`-D`), or `celery multi start`, is the main command of a service.

    ## Why
    A container lives as long as its main process. That one starts another, and ends: Docker then stops
    the container, the worker in it included, and a restart policy makes a loop of it.

    ## Looks like
    `Exited (0)` in `docker ps -a`, or `Restarting (0)`, and nothing in the log.

    ## Confirm
    `docker compose up SERVICE` comes back at once.

    ## Do
    Take `--detach` out; in place of `celery multi` use one service for each worker.

    ## False alarms
    Where a shell or a script runs the command, something behind it may stay: nothing is reported there.
    """
    for service in subject.celery:
        launch = next(reversed(subject.launches(service).values()), None)
        if launch is None or launch.problems or service.unwrapped.assumed:
            continue
        line = "".join(written(service)[-1:]).rstrip()
        if service.unwrapped.backgrounded and line.endswith("&") and "wait" not in line:
            yield found(
                subject,
                "CMP011",
                "command-detaches",
                "warning",
                f"{service.label}: the & at the end sends the process into the background, so the container "
                f"ends at once",
                [subject.command_node(service, "&")],
                services=[service],
                thing="&",
                fix="Take the & out, and write exec before the command.",
            )
        if service.unwrapped.expands:
            continue
        multi = launch.subcommand == "multi" and set(launch.positional[:1]) & {"start", "restart"}
        if not (multi or launch.options.get("detach")):
            continue
        word = "multi" if multi else "--detach"
        yield found(
            subject,
            "CMP011",
            "command-detaches",
            "warning",
            f"{service.label}: {word} sends the process into the background, so the container ends at once",
            [subject.command_node(service, word)],
            services=[service],
            thing=word,
            fix="Use one service for each worker." if multi else "Take --detach (-D) out.",
        )


@static("WRK009", "memory-per-child")
def memory_per_child(subject: Subject) -> Iterator[Finding]:
    """``--max-memory-per-child`` of fewer KiB than a process with Celery in it has from its start."""
    for service in subject.celery:
        given = limit_kib(service)
        if given is None or given >= LEAST_KIB:
            continue
        meant = meant_kib(given)
        yield found(
            subject,
            "WRK009",
            "memory-per-child",
            "warning",
            f"{service.label}: {OPTION} counts KiB, and {given} KiB are less than any process with Celery "
            "in it has: each one is replaced after its first task",
            [subject.command_node(service, OPTION)],
            services=[service],
            thing=str(given),
            fix=f"Write {meant or 'a larger value'}{f' for {given} MiB' if meant else ''}, or take it out.",
        )


def _as_written(subject: Subject, service: Service, test: list[str], read: Unwrapped) -> Finding | None:
    """A check whose words never come together: the whole line as one word, or a shell that takes one of
    them."""
    first = test[1] if len(test) > 1 else ""
    if test[0] == "CMD" and " " in first and base(first.split()[0]) in CELERY:
        code, name, word = "HLT001", "health-check-cannot-pass", first.split()[0]
        why = f"can never pass, for the whole line {shown(first, 40)} is one word"
        fix = "Write CMD-SHELL, or each word as a member of the list of its own."
    elif test[0] == "CMD-SHELL" and read.lost and read.is_celery:
        code, name, word = "CMD010", "shell-line-broken", read.lost[0]
        why = (
            f"runs only {first} and drops {shown(' '.join(read.lost), 40)}, so it says nothing of the worker"
        )
        fix = "Write the line as one text behind CMD-SHELL."
    else:
        return None
    node = subject.node(service, "healthcheck", "test")
    title = f"{service.label}: its health check {why}"
    return found(subject, code, name, "warning", title, [node], services=[service], thing=word, fix=fix)


@static("HLT001", "health-check-cannot-pass")
def check_refused(subject: Subject) -> Iterator[Finding]:
    """A health check whose own Celery command the possible versions refuse (``inspect ping -A app``)."""
    seen: dict[tuple, Mapping[str, Launch]] = {}
    for service in subject.services:
        test = (service.item["healthcheck"] or {}).get("test") or ["NONE"]
        if test[0] not in ("CMD", "CMD-SHELL"):
            continue
        # The first word behind CMD-SHELL is the shell's script, the others are its parameters.
        read = unwrap(test[1:] if test[0] == "CMD" else ["sh", "-c", *test[1:]])
        if told := _as_written(subject, service, test, read):
            yield told
            continue
        if not read.is_celery or not read.argv or read.assumed:
            continue
        possible = tuple(one for one in subject.pin(service).minors if one != FOUR)
        # The node that is asked differs from service to service and decides nothing.
        words = tuple("worker@host" if "@" in word else word for word in read.argv)
        if not possible:
            continue
        if (words, possible) not in seen:
            seen[words, possible] = subject.stack.alike.every(words, possible, env={}, expands=True)
        launches = seen[words, possible]
        refused = [
            (version, launch.problems[0])
            for version, launch in launches.items()
            if launch.exit_code and launch.problems and "$" not in launch.problems[0].token
        ]
        newest = launches.get(possible[-1])
        if not refused or newest is None or not newest.problems:
            continue
        problem = refused[-1][1]
        versions = [version for version, _ in refused]
        right = [version for version in possible if version not in versions]
        known = f"wrong for Celery {spread(versions)}" + (f", right for {spread(right)}" if right else "")
        yield found(
            subject,
            "HLT001",
            "health-check-cannot-pass",
            "warning",
            f"{service.label}: its health check can never pass, for Celery refuses "
            f"{problem.option or problem.token} there ({known})",
            [subject.node(service, "healthcheck", "test")],
            services=[service],
            thing=problem.option or problem.token,
            fix=f"Write celery -A {newest.app or 'app'} inspect ping: options of Celery stand before inspect."
            if problem.kind == "misplaced_option"
            else "Correct the command of the check.",
        )
