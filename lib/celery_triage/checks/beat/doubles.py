"""Two beats that send the same."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from celery_triage.checks.beat.schedule import IN_SETTINGS, Beat, module_of
from celery_triage.checks.beat.ticking import beats_of
from celery_triage.checks.registry import Look, check
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate

#: Schedulers that lock, so that of several beats only one sends; and those that do not.
LOCKS = "redbeat"
LOCKLESS = (*IN_SETTINGS, "django_celery_beat.schedulers.DatabaseScheduler")


@check(
    "BEA005",
    "beat-twice",
    severity="warning",
    needs=("containers",),
    uses=("celery", "results", "compose", "logs/*", "events", "files/*"),
    step="consuming",
)
def beat_twice(look: Look) -> Iterator[Finding]:
    """Two beats run for the same application on the same broker: what is scheduled is sent twice.

    ## What
    More than one container sends what is due (`celery beat`, or a worker with `-B`), with the same module
    behind `-A` and the same broker. Where their logs tell what they send, an entry has to be in both.

    ## Why
    Every scheduled task runs as often as there are beats: mails go out twice, sums are booked twice.

    ## Looks like
    Nothing fails. `Sending due task` for the same entry in two logs; twice as many results as there should
    be.

    ## Confirm
    `docker ps --no-trunc | grep -E 'beat|-B'`, and the logs of both.

    ## Do
    Keep one. `-B` in the command of a worker is for development only: it is one beat for each copy of that
    worker.

    ## False alarms
    RedBeat lets only one of several beats send, by a lock: it is not reported. Two beats with different
    schedules of one module are told apart only by logs at the level INFO.
    """
    groups: dict[tuple[str, str], list[Beat]] = {}
    for beat in beats_of(look):
        url = beat.service.url("broker")
        if beat.runs and url is not None and module_of(beat.service) and LOCKS not in beat.scheduler.lower():
            groups.setdefault((module_of(beat.service), str(url.parsed.server)), []).append(beat)
    for (module, server), group in groups.items():
        shared = _both_send(group) if len(group) > 1 else None
        foreign = [beat.label for beat in group if beat.scheduler not in LOCKLESS]
        if shared or (shared is not None and not foreign):
            yield _twice(look, module, server, group, shared)
        elif shared is not None:
            look.note("celery", f"whether two of {listed(foreign)} send is not known: a scheduler may lock")


def _both_send(group: Sequence[Beat]) -> list[str] | None:
    """The entries that two of them were seen to send; None where the logs show that they send different
    ones."""
    seen = [{name for _, name, _, _ in beat.sent} for beat in group]
    shared = sorted({name for own in seen for name in own if sum(name in other for other in seen) > 1})
    return shared if shared or not all(seen) else None


def _twice(
    look: Look, module: str, server: str, group: Sequence[Beat], shared: Sequence[str]
) -> Finding:
    names = [beat.label for beat in group]
    proof = [Proof("containers", f"{beat.label}: {shlex.join(beat.service.argv[:12])}") for beat in group]
    for beat in group:
        if last := next((one for one in reversed(beat.sent) if one[1] in shared), None):
            line = beat.course.lines(beat.life)[last[3] - (beat.life.first_line or 1)]
            proof.append(Proof(f"logs/{beat.label}", line[2], last[3], line[0] or None))
    what = f"each sends {listed(shared, 3)}" if shared else "each sends the same schedule"
    return look.finding(
        f"{listed(names)} are {len(group)} beats for {module} on {server}: {what}",
        services=tuple(names),
        object=module,
        certainty="confirmed" if shared else "inferred",
        proof=proof,
        remedy=_remedy(look, group),
        verify=alive([beat.service for beat in group]),
    )


def _remedy(look: Look, group: Sequence[Beat]) -> Remedy:
    """Take ``-B`` out of the workers where a beat of its own runs; else somebody chooses which one stays."""
    own = [beat for beat in group if not beat.embedded]
    workers = [beat.service for beat in group if beat.embedded]
    if len(own) == 1:
        places = []
        for worker in workers:
            flag = next((word for word in worker.argv if word in ("-B", "--beat")), "")
            # The word before it comes along, so that no second blank is left behind.
            before = worker.argv[worker.argv.index(flag) - 1] if flag else ""
            places.append((worker, "command", f"{before} {flag}", before))
        told = all(new for _, _, _, new in places)
        changed = changes(look.data("compose"), places, alone=True) if told else None
        commands = recreate(look.stack, workers)
        labels = listed([worker.label for worker in workers])
        summary = f"Take -B out of the command of {labels}: {own[0].label} is the beat."
        risk = f"Makes {labels} anew; what it runs now is ended, or run again with task_acks_late."
        if changed is not None and changed.complete:
            return Remedy("exact", summary, changed.edits, changed.commands + commands, risk=risk)
        texts = changed.edits + changed.texts if changed is not None else ()
        return Remedy("manual", summary, texts, commands, risk=risk)
    options = []
    for beat in group:
        others = [one.service for one in group if one is not beat]
        gone = listed([one.label for one in others])
        how = f"Take {gone} out of the Compose file (or -B out of the command, or scale to one)"
        beside = [one.name for one in others if one.role == "beat"]
        commands = (shlex.join(["docker", "rm", "-f", *beside]),) if len(beside) == len(others) else ()
        options.append(Option(f"keep {beat.label}", f"{how}, and remove what runs of it.", commands=commands))
    return Remedy(
        "choice",
        "Let one of them send what is due.",
        question="Which one shall stay?",
        options=tuple(options),
        risk="Each keeps the times of its last runs in a file of its own: after the change an entry may be "
        "sent once too early.",
    )
