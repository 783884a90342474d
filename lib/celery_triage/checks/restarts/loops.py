"""Who restarts for ever, who does not run at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from celery_triage.checks.course import Course
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.values import split, value_of
from celery_triage.checks.words import lasted, times
from celery_triage.lives import Life
from celery_triage.lives.unstarted import being_started
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive
from celery_triage.stack import Service

#: What services say or do not get when the container that they talk to is not there.
_USERS = ("BRK001", "URL003", "DBS004", "CTR001", "CTR003", "LOG001", "LOG002")
DOWN = (Prediction(_USERS, on="users"),)
KILLED = 137
#: Exit codes of a process that was told to end: nothing, SIGINT, SIGTERM, and SIGKILL after ``docker stop``.
_BY_HAND = (0, 130, 143)


def concerned(look: Look) -> list[Service]:
    """The members of the target, and the servers beside it that they talk to."""
    return [
        service
        for service in look.stack.services
        if service.member or service.role in ("postgres", "redis", "rabbitmq")
    ]


def weight(service: Service) -> str:
    """How bad it is when this service is down: Celery itself and the servers that it needs weigh most."""
    return "critical" if service.is_celery or service.role in ("postgres", "redis", "rabbitmq") else "warning"


@check(
    "CTR001",
    "restart-loop",
    severity="critical",
    needs=("containers",),
    uses=("events", "logs/*", "files/*"),
    predicts=DOWN,
)
def restart_loop(look: Look) -> Iterator[Finding]:
    """A container dies and is started again and again.

    ## What
    The last life of the container ended with an error and its restart policy starts it anew: it waits for its
    next start now, or its present life is younger than the one before and has not got any further.

    ## Why
    The service works on nothing. This is nearly always the consequence of something else: the finding that
    explains it is the one to mend.

    ## Looks like
    `Restarting (2) 4 seconds ago` in `docker ps`; `Up 2 seconds` every time somebody looks.

    ## Confirm
    `docker inspect -f '{{.State.Status}} {{.RestartCount}}' CONTAINER`, twice within a minute.

    ## Do
    Mend what explains it. Where nothing does, the last words in its log are the next thing to read.

    ## False alarms
    A service that was mended a moment ago: once its present life got further than those that failed, this is
    history.
    """
    for service in concerned(look):
        course = look.course(service)
        failed = [life for life in course.lives if life.failed]
        if not failed or (service.item.get("restart_policy") or {}).get("name") in ("no", "", None):
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
            severity=weight(service),
            services=(service.label,),
            object=f"exit code {last.exit_code}",
            proof=[
                Proof(
                    "containers",
                    f"{service.label}: {service.latest.get('status')}, restart count "
                    f"{service.latest.get('restart_count')}",
                    time=service.latest.get("t"),
                ),
                *deaths(failed),
            ],
            verify=alive([service]),
            remedy=Remedy(
                "manual", f"Find out why {service.label} ends, by its log and what else this diagnosis says."
            ),
        )


def looping(service: Service, course: Course, failed: Sequence[Life]) -> bool:
    """Whether it still restarts: it waits for a start (also where its death came between the last sample and
    the end of the look), or its present life is not older than its failed ones were and has not got further
    than they did."""
    status = service.latest.get("status")
    if status == "restarting":
        return True
    now = course.lives[-1]
    if status == "running" and now is failed[-1]:
        return True
    if status != "running" or course.lives[-2] is not failed[-1]:
        return False
    longest = max([life.seconds or 0 for life in failed] + [0.0])
    if (now.seconds or 0) > max(longest, 10.0):
        return False
    return not course.further(now, failed)


def _over(look: Look, service: Service, failed: Sequence[Life]) -> Finding:
    codes = Counter(life.exit_code for life in failed)
    told = ", ".join(f"exit code {code} {times(number)}" for code, number in sorted(codes.items()))
    return look.finding(
        f"{service.label} restarted earlier and runs now: {told}",
        severity="notice",
        state="history",
        services=(service.label,),
        object=f"exit code {failed[-1].exit_code}",
        proof=deaths(failed),
    )


def deaths(lives: Sequence[Life]) -> list[Proof]:
    """The last ends of some lives as quotations."""
    return [
        Proof(
            "events" if life.told_by == "events" else "containers",
            f"{life.label} ended: {ended(life)}"
            + (f", after {lasted(life.seconds)}" if life.seconds else ""),
            time=life.end,
        )
        for life in lives[-3:]
    ]


def ended(life: Life) -> str:
    """How a life ended, in words."""
    if life.oom and life.exit_code == KILLED:
        return "killed for memory (exit code 137)"
    by = f" by {life.signal}" if life.signal and (life.exit_code or 0) > 128 else ""
    return f"exit code {life.exit_code}{by}"


@check(
    "CTR003",
    "not-running",
    severity="critical",
    needs=("containers",),
    uses=("events", "logs/*", "compose", "files/*"),
    predicts=DOWN,
    also=("paused", "no-restart-policy", "restarts-used-up"),
)
def not_running(look: Look) -> Iterator[Finding]:
    """A container of the stack does not run, and nothing will start it.

    ## What
    Its state is `exited`, `dead`, `created` or `paused`. Where it ended by itself for a reason that its log
    names, and its restart policy does not start it again, the finding is called `no-restart-policy` (there
    is none) or `restarts-used-up` (`on-failure:N`, and N are gone).

    ## Why
    The service works on nothing; services that talk to it cannot even find its name.

    ## Looks like
    It is missing in `docker ps` and shown by `docker ps -a`.

    ## Confirm
    `docker inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}' CONTAINER`.

    ## Do
    If somebody stopped it, start it. If it died, mend what killed it first; give it `restart:
    unless-stopped`, so that what is over by itself (a database that was not there yet) needs nobody.

    ## False alarms
    Jobs that do their work and end with exit code 0 (migrations) are not reported, unless they are Celery
    services or servers. A container that Compose has made and not yet started, or that waits for a dependency
    which is still starting, is *settling*.
    """
    for service in concerned(look):
        status = service.latest.get("status")
        if status not in ("exited", "dead", "created", "paused", "removing") or service.item.get("vanished"):
            continue
        if status == "exited" and service.latest.get("exit_code") == 0 and weight(service) != "critical":
            continue
        if status == "created" and weight(service) != "critical":
            continue
        if being_started(service, look.stack.by_compose_name, look.data("compose")):
            continue
        yield _stopped(look, service, status)


def _stopped(look: Look, service: Service, status: str) -> Finding:
    course, code = look.course(service), service.latest.get("exit_code")
    error = service.latest.get("error") or ""
    last = course.lives[-1] if course.lives else None
    by_hand = status == "exited" and (code in _BY_HAND or (last is not None and last.asked))
    what = {"paused": "is paused: it lives and does nothing", "created": "was made and never started"}.get(
        status, f"does not run: {'it was stopped' if by_hand else 'it ended'} with exit code {code}"
    )
    whose = not by_hand and _by_whom_unknown(service, last)
    # Only a reason that is known can be known to be over, and is for the rule that knows it while it is not.
    said = course.deaths(last) if last else ()
    known = not (by_hand or whose or error) and status in ("exited", "dead") and said
    policy = given_up(service) if known else ""
    what += " (SIGKILL), and whether somebody stopped it is not known any more" if whose else ""
    title = f"{service.label} {what}" + (f" ({error})" if error else "")
    proof = [
        Proof(
            "containers",
            f"{service.label}: {status}, exit code {code}" + (f", {error}" if error else ""),
            time=service.latest.get("finished_at"),
        )
    ]
    if policy:
        name = "no-restart-policy" if policy == "no" else "restarts-used-up"
        title += f", and nothing starts it again: {_POLICIES[name].format(policy)}"
        proof.append(Proof("containers", f"{service.label}: restart policy {policy}, restart count "
                           f"{service.latest.get('restart_count') or 0}"))
        proof += [course.proof(one) for one in said[-1:]]
        remedy = restarted(look, service)
    elif status == "paused":
        name = "paused"
        remedy = Remedy("exact", "Let it go on.", commands=(f"docker unpause {service.name}",))
    elif by_hand or (status == "created" and not error):
        name = "not-running"
        remedy = Remedy(
            "exact",
            f"Start {service.label}.",
            commands=(f"docker start {service.name}",),
            risk="If somebody stopped it on purpose, ask first.",
        )
    else:
        name = "not-running"
        remedy = Remedy(
            "manual",
            f"{'If somebody stopped it, start it. Else find' if whose else 'Find'} out why {service.label} "
            "ended, by its log, then start it.",
            commands=(f"docker start {service.name}",),
        )
    return look.finding(
        title,
        name=name,
        severity=weight(service),
        services=(service.label,),
        object=policy or f"exit code {code}",
        proof=proof,
        remedy=remedy,
        verify=alive([service]),
    )


def _by_whom_unknown(service: Service, last: Life | None) -> bool:
    """Whether its end may have been a `docker stop` of which nobody tells: one that does not end in time is
    killed, and the events that say so are gone (the engine keeps 256 in all)."""
    killed = service.latest.get("exit_code") == KILLED and not service.latest.get("oom_killed")
    return killed and (last is None or last.told_by != "events")


_POLICIES = {
    "no-restart-policy": "it has no restart policy",
    "restarts-used-up": "its restart policy {} is used up",
}


def given_up(service: Service) -> str:
    """The restart policy that does not start this service again after an error, as Compose writes it; empty
    where its policy does."""
    policy = service.item.get("restart_policy") or {}
    name, most = policy.get("name") or "no", int(policy.get("max") or 0)
    if name == "no":
        return "no"
    used = name == "on-failure" and most and (service.latest.get("restart_count") or 0) >= most
    return f"on-failure:{most}" if used else ""


def restarted(look: Look, service: Service) -> Remedy:
    """A policy that starts the service again, in the file and on the container that is there."""
    edits, instead = split([value_of(look, service, "restart", "unless-stopped")])
    kept = "" if edits or instead else (
        " Write `restart: unless-stopped` into its part of the Compose file, too: the next container that is "
        "made has the policy of the file."
    )
    return Remedy(
        "exact",
        f"Give {service.label} a restart policy and start it.{kept}",
        edits,
        (*instead, f"docker update --restart unless-stopped {service.name}", f"docker start {service.name}"),
        risk="Where what ended it is still there, it now restarts for ever, with longer and longer pauses.",
    )
