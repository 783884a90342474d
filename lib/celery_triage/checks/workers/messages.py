"""Messages that a worker throws away, and tasks that its time limit ends: what it says of itself while it
works on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.words import lasted, listed, times, verb
from celery_triage.lives import seconds_of
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import Changes, alive, changes, recreate
from celery_triage.signatures import Match
from celery_triage.stack import Service

#: What was said longer ago (seconds) is worth knowing, no more.
RECENT_S = 3600.0
#: A time limit that ended fewer tasks of one name is a matter of that task.
LIMITED = 3


def _workers(look: Look) -> list[Service]:
    if not look.stack.workers and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no worker")
    found = [one for one in look.members if one.role == "worker" and one.running]
    for worker in found:
        look.section(f"logs/{worker.label}")
    return found


def said_of(look: Look, worker: Service) -> list[Match]:
    """What the present life of a worker says of the rule, while it works on."""
    course = look.course(worker)
    life = course.lives[-1] if course.lives else None
    if life is None or not life.running:
        return []
    return [one for one in course.matches(life) if one.code == look.rule.code and one.context == "running"]


def _age(look: Look, worker: Service, said: Sequence[Match]) -> float | None:
    """Seconds since the last of these messages, None where no time is known."""
    now = seconds_of(worker.latest.get("t"))
    last = max((at for one in said if (at := seconds_of(one.last)) is not None), default=None)
    return None if now is None or last is None else max(0.0, now - last)


def _severity(ages: Sequence[float | None]) -> str:
    return "warning" if any(age is None or age < RECENT_S for age in ages) else "notice"


def _ago(ages: Sequence[float | None]) -> str:
    known = [age for age in ages if age is not None]
    return f", the last time {lasted(min(known))} ago" if known else ""


def _replies(look: Look) -> dict[str, Mapping[str, Any]]:
    """The answers of the workers by label; an answer that two share says nothing of either."""
    found: dict[str, Mapping[str, Any]] = {}
    for broker in (look.data("celery") or {}).get("brokers") or ():
        for reply in (broker.get("replies") or {}).values():
            if reply and reply.get("label"):
                found[reply["label"]] = reply
    return found


@check(
    "WRK003",
    "unregistered-task",
    severity="warning",
    heals=False,
    needs=("containers", "logs/*"),
    uses=("celery", "events", "files/*"),
)
def unregistered_task(look: Look) -> Iterator[Finding]:
    """Messages come for a task that the worker does not know.

    ## What
    A worker says in its present life that it received an unregistered task, and, where it answers, its list
    of registered tasks does not hold that name.

    ## Why
    It throws the message away and goes on: the task never runs, and who sent it is told nothing (a result
    stays PENDING for ever). The worker is healthy.

    ## Looks like
    `Received unregistered task of type 'shop.tasks.send_invoice'.` and `The message has been ignored and
    discarded.` (Celery 4.4 to 5.7).

    ## Confirm
    `celery -A APP inspect registered`.

    ## Do
    Import the module of the task in the worker (`imports`, `include`, `autodiscover_tasks`), use one name on
    both sides, build worker and sender from the same code, or send it to a queue whose worker knows it.

    ## False alarms
    Messages of a deployment that is over: older than an hour they are only a notice.
    """
    replies = _replies(look)
    groups: dict[str, list[tuple[Service, Match]]] = {}
    for worker in _workers(look):
        known = (replies.get(worker.label) or {}).get("registered")
        for one in said_of(look, worker):
            if one.object and one.object not in (known or ()):
                groups.setdefault(one.object, []).append((worker, one))
    for task, pairs in sorted(groups.items()):
        workers = list({worker.label: worker for worker, _ in pairs}.values())
        names = [worker.label for worker in workers]
        elsewhere = sorted(
            label for label, reply in replies.items() if task in (reply.get("registered") or ())
        )
        asked = all((replies.get(name) or {}).get("registered") is not None for name in names)
        ages = [_age(look, worker, [one]) for worker, one in pairs]
        count = sum(one.count for _, one in pairs)
        where = f"; {listed(elsewhere)} {verb(elsewhere, 'knows', 'know')} it" if elsewhere else ""
        proof = [look.course(worker).proof(one) for worker, one in pairs]
        proof += [
            Proof(
                "celery",
                f"{name}: {len(replies[name]['registered'])} tasks are registered, {task} is none of them",
            )
            for name in names
            if asked
        ]
        if elsewhere:
            do = (
                f"Send {task} to a queue of {listed(elsewhere)} (task_routes, or the queue of the call), or "
                f"import its module in {listed(names)}, too."
            )
        else:
            do = (
                f"Import the module of {task} in {listed(names)} (`imports`, `include`, "
                "`autodiscover_tasks`): build its image from the code that the sender has, or correct the "
                "name where it is sent. What was thrown away has to be sent again."
            )
        yield look.finding(
            f"{listed(names)} {verb(names, 'throws', 'throw')} messages away: nothing is registered there as "
            f"{task} ({times(count)}{_ago(ages)}){where}",
            severity=_severity(ages),
            services=tuple(names),
            object=task,
            certainty="confirmed" if asked else "reported",
            proof=proof,
            remedy=Remedy("manual", do),
            verify=(*_still(workers, "Received unregistered task"), *alive(workers)),
        )


def _still(workers: Sequence[Service], words: str) -> list[str]:
    return [f"docker logs --since 1m {one.name} 2>&1 | grep -c '{words}'  # 0" for one in workers]


@check(
    "WRK050",
    "content-refused",
    severity="critical",
    heals=False,
    needs=("containers", "logs/*"),
    uses=("celery", "events", "files/*"),
)
def content_refused(look: Look) -> Iterator[Finding]:
    """The worker refuses the content type of the messages.

    ## What
    A worker says in its present life that it refused to decode a message: its content type is none of those
    that `accept_content` allows (JSON only, unless set otherwise, from Celery 4 on), or it is no message of
    Celery at all.

    ## Why
    The message is acknowledged and thrown away. Nobody gets an error; the worker is healthy.

    ## Looks like
    `Received invalid task message: Refusing to deserialize untrusted content of type pickle
    (application/x-python-serialize)`, then `The message has been ignored and discarded.` (Celery 5.7).

    ## Confirm
    `celery -A APP inspect conf` shows `accept_content`; the sender's `task_serializer` and `serializer=`.

    ## Do
    Use the same serializer on both sides (JSON); list another one in `accept_content` only where whoever can
    write to the broker is trusted: pickle runs any code.

    ## False alarms
    A single message that something foreign wrote to the queue. Older than an hour it is only a notice.
    """
    replies = _replies(look)
    groups: dict[str, list[tuple[Service, Match]]] = {}
    for worker in _workers(look):
        for one in said_of(look, worker):
            groups.setdefault(one.object, []).append((worker, one))
    for kind, pairs in sorted(groups.items()):
        workers = list({worker.label: worker for worker, _ in pairs}.values())
        names = [worker.label for worker in workers]
        ages = [_age(look, worker, [one]) for worker, one in pairs]
        proof = [look.course(worker).proof(one) for worker, one in pairs]
        for name in names:
            accepted = ((replies.get(name) or {}).get("conf") or {}).get("accept_content")
            if isinstance(accepted, list):
                proof.append(Proof("celery", f"{name}: accept_content {', '.join(map(str, accepted))}"))
        yield look.finding(
            f"{listed(names)} {verb(names, 'throws', 'throw')} messages away that "
            f"{verb(names, 'it', 'they')} cannot read: {kind or 'of another form'} "
            f"({times(sum(one.count for _, one in pairs))}{_ago(ages)})",
            severity=_severity(ages),
            services=tuple(names),
            object=kind,
            certainty="reported",
            proof=proof,
            remedy=Remedy(
                "manual",
                "Let whoever sends these messages use JSON (`task_serializer`, `serializer=` of the call), "
                f"or list {kind or 'the other form'} in `accept_content` of {listed(names)}, where whoever "
                "writes to the broker is trusted. What was thrown away has to be sent again.",
            ),
            verify=(*_still(workers, "Refusing to deserialize"), *alive(workers)),
        )


@check(
    "WRK002",
    "time-limit",
    severity="warning",
    heals=False,
    needs=("containers", "logs/*"),
    uses=("celery", "compose", "events", "files/*"),
)
def time_limit(look: Look) -> Iterator[Finding]:
    """A time limit ends tasks of one name again and again.

    ## What
    A worker says in its present life at least three times that a task of one name ran longer than its time
    limit. The hard limit kills the pool process, the soft one raises `SoftTimeLimitExceeded` in the task.

    ## Why
    The tasks never come to their end, each costs its whole limit, and a killed process has to be made anew.
    Where tasks are acknowledged late they come back and are killed again.

    ## Looks like
    `Hard time limit (300s) exceeded for shop.tasks.report[…]`, then `TimeLimitExceeded(300,)`.

    ## Confirm
    `docker logs CONTAINER 2>&1 | grep 'time limit'`; `celery -A APP inspect conf` shows `task_time_limit`.

    ## Do
    Find what the task waits for (a call without a time-out of its own), make it shorter, or raise the limit
    where the time is needed (`time_limit` of the task, `--time-limit` of the worker).

    ## False alarms
    One or two tasks that took too long. Older than an hour it is only a notice.
    """
    for worker in _workers(look):
        tasks: dict[str, list[Match]] = {}
        for one in said_of(look, worker):
            if one.signature == "time-limit" and one.object:
                tasks.setdefault(one.object, []).append(one)
        for task, said in sorted(tasks.items()):
            count = sum(one.count for one in said)
            if count >= LIMITED:
                yield _limited(look, worker, task, said, count)


def _limited(look: Look, worker: Service, task: str, said: list[Match], count: int) -> Finding:
    ages = [_age(look, worker, said)]
    given = (worker.launch.options.get("time_limit") if worker.launch else None) or ""
    word = _as_written(worker, "--time-limit")
    options, changed = [], Changes()
    if word and given:
        longer = f"{10 * float(given):g}"
        place = (worker, "command", word, f"--time-limit{word[12:13] or '='}{longer}")
        changed = changes(look.data("compose"), [place], alone=True)
        commands = (*changed.commands, *recreate(look.stack, [worker])) if changed.complete else ()
        options.append(
            Option(
                "raise-limit",
                f"Give tasks {longer} s instead of {float(given):g} s on {worker.label}.",
                (*changed.edits, *changed.texts),
                commands,
            )
        )
    else:
        options.append(
            Option(
                "raise-limit",
                f"Raise the limit of {task} where it is set (`time_limit` of the "
                "task, `task_time_limit`), build the image and make the container anew.",
            )
        )
    options.append(
        Option(
            "shorten-task",
            f"Find what {task} waits for, and give its calls time-outs of their "
            "own that are shorter than the limit.",
        )
    )
    return look.finding(
        f"{worker.label}: a time limit ended {task} {times(count)} in its present life{_ago(ages)}",
        severity=_severity(ages),
        services=(worker.label,),
        object=task,
        certainty="reported",
        proof=[look.course(worker).proof(one) for one in said[-2:]],
        remedy=Remedy(
            "choice",
            f"Tasks and time limit of {task} have to fit each other.",
            options=tuple(options),
            question=f"Does {task} need that long when all is well?",
        ),
        verify=(*_still([worker], "time limit"), *alive([worker])),
    )


def _as_written(worker: Service, option: str) -> str:
    """An option with its value, as the command has it in one text; empty where it has none."""
    for index, word in enumerate(worker.argv):
        if word.startswith(f"{option}="):
            return word
        if word == option and index + 1 < len(worker.argv):
            return f"{word} {worker.argv[index + 1]}"
    return ""
