"""A beat that runs and sends nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from celery_triage.checks.beat.schedule import Beat, Entry, beats
from celery_triage.checks.beat.verdicts import LOOP_S, done_ago, late, overdue, unfinished
from celery_triage.checks.queues.shared import consumed_by, replies_of, waiting_in
from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.servers import brokers, labels_of
from celery_triage.checks.words import lasted, listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, restart


def beats_of(look: Look) -> list[Beat]:
    """The beats that a rule sees. Raises NotApplicable where this stack has none."""
    found = beats(look.stack, look.course, look.data("celery"), look.data("results"))
    if not found and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no beat")
    return found


@check(
    "BEA003",
    "beat-silent",
    severity="critical",
    needs=("containers", "celery", "logs/*"),
    uses=("results", "redis", "rabbitmq", "events", "files/*"),
    step="consuming",
)
def beat_silent(look: Look) -> Iterator[Finding]:
    """Beat runs, and nothing that is due is sent.

    ## What
    The schedule is known from a worker of the same application. Beat's log tells what it sends (it has said
    `beat: Starting...` or `Sending due task`, which both need the level INFO), and every entry that has an
    interval is late by twice that interval and half a minute. Where the log tells nothing, the result table
    does: all scheduled tasks that were done in time before are not done any more, and their queues are empty
    and have their workers.

    ## Why
    Docker sees a process that lives and restarts nothing. Everything that depends on the schedule stands
    still, and no task fails.

    ## Looks like
    Nothing: its log just stops. A process that was stopped (SIGSTOP, a debugger, the freezer of its cgroup),
    that hangs in a call, or whose schedule file remembers runs in the future, because a clock was wrong.

    ## Confirm
    `docker logs --since 10m BEAT | grep 'Sending due task'` is empty; `docker top BEAT -o pid,stat,wchan,cmd`
    shows its state: T is stopped.

    ## Do
    Look at the state of its process, so that the reason is not lost, then restart it. If it stays silent,
    move its schedule file away: it holds the time of each last run.

    ## False alarms
    Entries that are due only at certain hours are never judged. A schedule that is kept in a database or in
    Redis (django-celery-beat, RedBeat) is not known here: it stays unknown. A beat whose broker is down says
    so itself and is not reported. A beat that has never sent, and whose environment may give it another
    schedule than the worker's, is only a warning.
    """
    for beat in beats_of(look):
        if not beat.runs:
            continue  # that is another rule's
        look.section(f"logs/{beat.label}")
        if beat.entries is None:
            # One that sent something a moment ago ticks, whatever its schedule is.
            if not beat.sent or beat.now - beat.sent[-1][0] > LOOP_S:
                look.note("celery", beat.unknown)
            continue
        found = late(beat)
        if found and beat.failing:
            look.note("celery", f"{beat.label} says itself that it cannot send")
        elif found:
            yield _silent(look, beat, found)
        elif found is None and not beat.tells:
            found = [entry for entry in unfinished(beat) if _awaited(look, beat, entry)]
            if found:
                yield _silent(look, beat, found)


def _awaited(look: Look, beat: Beat, entry: Entry) -> bool:
    """Whether nothing but beat can be the reason that an entry is not done: its queue is empty, and a worker
    that answers takes from it."""
    queue = entry.queue or str(beat.conf.get("task_default_queue") or "")
    taken = any(
        queue in (consumed_by(worker, reply) or ())
        for label, reply in replies_of(look).items()
        if (worker := look.stack.get(label)) is not None
    )
    depths = [waiting_in(one).get(queue) for one in brokers(look) if beat.label in labels_of(one)]
    return taken and depths == [0]


def _silent(look: Look, beat: Beat, found: list[Entry]) -> Finding:
    first = min(found, key=lambda entry: entry.period or 0.0)
    names = listed([entry.name for entry in found], 3)
    proof = [Proof("celery", f"{beat.teller} knows the schedule: {one.name} {one.text}") for one in found[:3]]
    log = f"logs/{beat.label}"
    if beat.tells and beat.sent:
        at, _, _, place = beat.sent[-1]
        proof.append(Proof(log, _line(beat, place), place, _time(beat, place)))
    stale = [entry for entry in found if beat.done_lately(entry) is False]
    for entry in stale[:3]:
        ago = lasted(done_ago(beat, entry))
        proof.append(Proof("results", f"{entry.task} last came to its end {ago} ago"))
    if beat.tells:
        what = overdue(beat, first)
    else:
        what = f"{first.name}, due {first.text}, was last done {lasted(done_ago(beat, first))} ago"
    since = f"{max(60, int(beat.late_s(first)))}s"
    told = f"docker logs --since {since} {shlex.quote(beat.service.name)} 2>&1 | grep 'Sending due task'"
    title = f"{beat.label} runs and sends nothing that is due: {what}"
    return look.finding(
        title,
        services=(beat.label,),
        # Where it has never sent, and nothing was done before, its own schedule may be another one.
        severity="critical" if stale or beat.sent else "warning",
        object=beat.label,
        certainty="confirmed" if beat.tells and stale else "inferred",
        proof=proof or [Proof("containers", f"{beat.label} runs for {lasted(beat.age)}")],
        remedy=_remedy(beat),
        verify=(
            *([f"{told}  # {first.name}, {first.text}"] if beat.tells else ()),
            *alive([beat.service]),
        ),
        detail=f"Late: {names}.",
    )


def _remedy(beat: Beat) -> Remedy:
    look = f"Look at its process (docker top {beat.service.name} -o pid,stat,wchan,cmd: T is stopped)"
    risk = "What is late is sent once, not as often as it was missed."
    if beat.sent or not beat.tells:
        return Remedy("exact", f"{look}, then restart it.", commands=restart([beat.service]), risk=risk)
    return Remedy(
        "manual",
        f"{look}, then restart it. If it stays silent, its schedule file may remember runs in the future, "
        "because a clock was wrong: move that file away and restart it again.",
        commands=restart([beat.service]),
        risk=risk,
    )


def _line(beat: Beat, place: int) -> str:
    return beat.course.lines(beat.life)[place - (beat.life.first_line or 1)][2]


def _time(beat: Beat, place: int) -> str | None:
    return beat.course.lines(beat.life)[place - (beat.life.first_line or 1)][0] or None
