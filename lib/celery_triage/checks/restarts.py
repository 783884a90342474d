"""Restarts: who restarts for ever, who was killed for memory, who does not run at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from celery_triage.checks.course import Course
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.words import lasted, times, verb
from celery_triage.lives import Life
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate, restart
from celery_triage.settling import needs
from celery_triage.stack import Service

#: What services say or do not get when the container that they talk to is not there.
_USERS = ("BRK001", "URL003", "DBS004", "CTR001", "CTR003", "LOG001", "LOG002")
_DOWN = (Prediction(_USERS, on="users"),)
KILLED = 137
#: Exit codes of a process that was told to end: nothing, SIGINT, SIGTERM, and SIGKILL after ``docker stop``.
_BY_HAND = (0, 130, 143)


def concerned(look: Look) -> list[Service]:
    """The members of the target, and the servers beside it that they talk to."""
    return [service for service in look.stack.services
            if service.member or service.role in ("postgres", "redis", "rabbitmq")]


def _weight(service: Service) -> str:
    return "critical" if service.is_celery or service.role in ("postgres", "redis", "rabbitmq") else "warning"


@check("CTR001", "restart-loop", severity="critical", needs=("containers",), uses=("events", "logs/*", "files/*"),
       predicts=_DOWN)
def restart_loop(look: Look) -> Iterator[Finding]:
    """A container dies and is started again and again.

    ## What
    The last life of the container ended with an error and its restart policy starts it anew: it waits for its next
    start now, or its present life is younger than the one before and has not got any further.

    ## Why
    The service works on nothing. This is nearly always the consequence of something else: the finding that explains it
    is the one to mend.

    ## Looks like
    `Restarting (2) 4 seconds ago` in `docker ps`; `Up 2 seconds` every time somebody looks.

    ## Confirm
    `docker inspect -f '{{.State.Status}} {{.RestartCount}}' CONTAINER`, twice within a minute.

    ## Do
    Mend what explains it. Where nothing does, the last words in its log are the next thing to read.

    ## False alarms
    A service that was mended a moment ago: once its present life got further than those that failed, this is history.
    """
    for service in concerned(look):
        course = look.course(service)
        failed = [life for life in course.lives if life.failed]
        if not failed or service.item.get("restart_policy", {}).get("name") in ("no", ""):
            continue
        if not looping(service, course, failed):
            if service.running:
                yield _over(look, service, failed)
            continue
        last = failed[-1]
        count = max(service.latest.get("restart_count") or 0, len(failed))
        seconds = [life.seconds for life in failed if life.seconds is not None]
        each = f", each life about {lasted(sorted(seconds)[len(seconds) // 2])}" if seconds else ""
        yield look.finding(
            f"{service.label} restarts for ever: {times(count)} so far{each}, {ended(last)}",
            severity=_weight(service), services=(service.label,), object=f"exit code {last.exit_code}",
            proof=[Proof("containers", f"{service.label}: {service.latest.get('status')}, restart count "
                                       f"{service.latest.get('restart_count')}", time=service.latest.get("t")),
                   *_deaths(failed)],
            verify=alive([service]),
            remedy=Remedy("manual", f"Find out why {service.label} ends, by its log and what else this diagnosis says."))


def looping(service: Service, course: Course, failed: Sequence[Life]) -> bool:
    """Whether it still restarts: it waits for a start, or its present life is not older than its failed ones were and
    has not got further than they did."""
    status = service.latest.get("status")
    if status == "restarting":
        return True
    now = course.lives[-1]
    if status != "running" or now is failed[-1] or course.lives[-2] is not failed[-1]:
        return False
    longest = max([life.seconds or 0 for life in failed] + [0.0])
    if (now.seconds or 0) > max(longest, 10.0):
        return False
    return not course.further(now, failed)


def _over(look: Look, service: Service, failed: Sequence[Life]) -> Finding:
    codes = Counter(life.exit_code for life in failed)
    told = ", ".join(f"exit code {code} {times(number)}" for code, number in sorted(codes.items()))
    return look.finding(
        f"{service.label} restarted earlier and runs now: {told}", severity="notice", state="history",
        services=(service.label,), object=f"exit code {failed[-1].exit_code}", proof=_deaths(failed))


def _deaths(lives: Sequence[Life]) -> list[Proof]:
    return [Proof("events" if life.told_by == "events" else "containers",
                  f"{life.label} ended: {ended(life)}" + (f", after {lasted(life.seconds)}" if life.seconds else ""),
                  time=life.end) for life in lives[-3:]]


def ended(life: Life) -> str:
    """How a life ended, in words."""
    if life.oom and life.exit_code == KILLED:
        return "killed for memory (exit code 137)"
    by = f" by {life.signal}" if life.signal and (life.exit_code or 0) > 128 else ""
    return f"exit code {life.exit_code}{by}"


@check("CTR002", "killed-for-memory", severity="critical", needs=("containers",), uses=("events", "logs/*", "compose"),
       step="container", predicts=(Prediction(("CTR001", "CTR003", "LOG001"), exits=(KILLED,)), *_DOWN))
def killed_for_memory(look: Look) -> Iterator[Finding]:
    """The kernel killed the main process of a container for memory.

    ## What
    The last life ended with exit code 137 and Docker says that memory ran out (`OOMKilled`, or an `oom` event).

    ## Why
    The container needs more than its limit, or the host has no more. Tasks that were in work are lost or run again.

    ## Looks like
    `Restarting (137)`; the log simply ends. `docker inspect` shows `"OOMKilled": true` until the next start.

    ## Confirm
    `docker stats --no-stream CONTAINER` against its limit, and `docker events --filter event=oom`.

    ## Do
    Lower the concurrency of the worker, or raise the limit of the container.

    ## False alarms
    An `oom` event alone can mean a child process: only the death of the main process counts here. Exit code 137
    without it is a `docker kill` or the end of a stop that took too long.
    """
    for service in concerned(look):
        course = look.course(service)
        last = course.told
        if last is None or last.running or last.exit_code != KILLED or not last.oom or last.asked:
            continue
        memory = (service.item.get("limits") or {}).get("memory") or 0
        limit = f"its limit of {memory / 2**20:.0f} MiB" if memory else "the memory of the machine"
        yield look.finding(
            f"{service.label} was killed for memory: it needed more than {limit}", severity=_weight(service),
            services=(service.label,), object="memory", proof=_deaths([life for life in course.lives if life.oom]),
            remedy=_memory_remedy(look, service, memory), verify=alive([service]))


def _memory_remedy(look: Look, service: Service, memory: int) -> Remedy:
    options = []
    given = service.launch.options.get("concurrency") if service.launch else None
    if service.role == "worker" and isinstance(given, int) and given > 1:
        written = [word for word in service.argv if word in (f"--concurrency={given}", f"-c{given}")]
        old = written[0] if written else str(given)
        changed = changes(look.data("compose"), [(service, "command", old, old.replace(str(given), str(given // 2)))])
        options.append(Option("lower-concurrency", f"Run {given // 2} pool processes instead of {given}.",
                              changed.edits + changed.texts, changed.commands + recreate(look.stack, [service])))
    if memory:
        more = f"{memory * 2 // 2**20}m"
        options.append(Option(
            "raise-limit", f"Allow {more} (write it into the Compose file, too).",
            commands=(f"docker update --memory {more} --memory-swap {more} {service.name}", *restart([service]))))
    if not options:
        return Remedy("manual", f"Find what in {service.label} needs so much memory, or give the machine more.")
    return Remedy("choice", f"Give {service.label} more memory, or let it need less.", options=tuple(options),
                  question="Does the machine have memory to spare for it?",
                  risk="A higher limit takes memory from the other containers of this machine.")


@check("CTR003", "not-running", severity="critical", needs=("containers",), uses=("events", "logs/*"),
       predicts=_DOWN, also=("paused",))
def not_running(look: Look) -> Iterator[Finding]:
    """A container of the stack does not run, and nothing will start it.

    ## What
    Its state is `exited`, `dead`, `created` or `paused`.

    ## Why
    The service works on nothing; services that talk to it cannot even find its name.

    ## Looks like
    It is missing in `docker ps` and shown by `docker ps -a`.

    ## Confirm
    `docker inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}' CONTAINER`.

    ## Do
    If somebody stopped it, start it. If it died, mend what killed it first.

    ## False alarms
    Jobs that do their work and end with exit code 0 (migrations) are not reported, unless they are Celery services or
    servers.
    """
    for service in concerned(look):
        status = service.latest.get("status")
        if status not in ("exited", "dead", "created", "paused", "removing") or service.item.get("vanished"):
            continue
        if status == "exited" and service.latest.get("exit_code") == 0 and _weight(service) != "critical":
            continue
        if status == "created" and _weight(service) != "critical":
            continue
        yield _stopped(look, service, status)


def _stopped(look: Look, service: Service, status: str) -> Finding:
    course, code = look.course(service), service.latest.get("exit_code")
    error = service.latest.get("error") or ""
    last = course.lives[-1] if course.lives else None
    by_hand = status == "exited" and (code in _BY_HAND or (last is not None and last.asked))
    what = {"paused": "is paused: it lives and does nothing", "created": "was made and never started"}.get(
        status, f"does not run: {'it was stopped' if by_hand else 'it ended'} with exit code {code}")
    title = f"{service.label} {what}" + (f" ({error})" if error else "")
    proof = [Proof("containers", f"{service.label}: {status}, exit code {code}" + (f", {error}" if error else ""),
                   time=service.latest.get("finished_at"))]
    if status == "paused":
        remedy = Remedy("exact", "Let it go on.", commands=(f"docker unpause {service.name}",))
    elif by_hand or (status == "created" and not error):
        remedy = Remedy("exact", f"Start {service.label}.", commands=(f"docker start {service.name}",),
                        risk="If somebody stopped it on purpose, ask first.")
    else:
        remedy = Remedy("manual", f"Find out why {service.label} ended, by its log, then start it.",
                        commands=(f"docker start {service.name}",))
    return look.finding(title, name="paused" if status == "paused" else "not-running", severity=_weight(service),
                        services=(service.label,), object=f"exit code {code}", proof=proof, remedy=remedy,
                        verify=alive([service]))


__all__ = ["concerned", "ended", "killed_for_memory", "looping", "needs", "not_running", "restart_loop", "verb"]
