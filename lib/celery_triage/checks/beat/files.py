"""Files that keep a beat (or a worker) from starting: a pid file that is there, a schedule file that is not
to be had."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Sequence

from celery_triage.checks.registry import Look, NotApplicable, Prediction, check
from celery_triage.checks.reports import healed
from celery_triage.checks.restarts.writing import mounted, open_root
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import Changes, alive, changes, recreate
from celery_triage.signatures import Match
from celery_triage.stack import Service

#: What Celery ends with where its pid file is there (``EX_CANTCREAT``; recorded with 5.7).
PIDFILE_EXIT = 73
#: Where a schedule file can be written in any image, and beat's own default (in its working directory).
ROOM, DEFAULT = "/tmp/celerybeat-schedule", "celerybeat-schedule"
#: What the dbm modules of Python put behind the name that they were given.
_SUFFIXES = (".db", ".dat", ".dir", ".bak")
_ENDS = ("CTR001", "CTR003", "LOG001")
#: What every error 28 says.
_FULL = "No space left on device"


def _given(service: Service, name: str) -> str:
    return str((service.launch.options.get(name) if service.launch else None) or "")


def _as_written(service: Service, words: Sequence[str]) -> str:
    """An option with its value as one text, as the command has it; empty where it has none."""
    for index, word in enumerate(service.argv):
        if word in words and index + 1 < len(service.argv):
            return f"{word} {service.argv[index + 1]}"
        if word.startswith("--") and word.partition("=")[0] in words and "=" in word:
            return word
        if word[:2] in words and not word.startswith("--") and len(word) > 2:
            return word
    return ""


def _deaths(look: Look, service: Service) -> list[Match]:
    return [said for said in look.seen(service).says() if said.context == "death"]


@check(
    "BEA001",
    "pid-file-exists",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("events", "compose", "files/*"),
    step="url",
    predicts=(Prediction(_ENDS, exits=(PIDFILE_EXIT,)),),
)
def pid_file_exists(look: Look) -> Iterator[Finding]:
    """A beat or worker does not start, because a pid file of an earlier life is there.

    ## What
    `--pidfile` names a file that is there when the process starts, and the process id in it is alive. In a
    container that says nothing: each container numbers its processes from 1, so the id of an earlier life
    belongs to something else now (to an init process or a shell), mostly 1.

    ## Why
    Celery ends with exit code 73 at once, and a restart policy makes a loop of it. The file is left behind by
    a life that was killed, on a volume or in the container itself, and stays there.

    ## Looks like
    `ERROR: Pidfile (celerybeat.pid) already exists.` and `Seems we're already running? (pid: 1)`;
    `Restarting (73)` in `docker ps` (Celery 5.7).

    ## Confirm
    `docker inspect -f '{{.State.ExitCode}}' CONTAINER` says 73; `docker logs --tail 3 CONTAINER`.

    ## Do
    Start it without a pid file (`--pidfile=`): Docker itself knows whether the process lives. If the folder
    is shared with another beat, one of the two has to go.

    ## False alarms
    A beat of another container that really runs on the same volume: its number means nothing here either.
    """
    groups: dict[str, list[tuple[Service, Sequence[Match]]]] = {}
    for service in look.celery:
        told = look.course(service).told
        if told is None or not told.failed:
            continue
        section = look.section(f"logs/{service.label}")
        said = _deaths(look, service)
        if said:
            groups.setdefault(said[-1].object, []).append((service, said))
        elif not section.readable and told.exit_code == PIDFILE_EXIT and _given(service, "pidfile"):
            groups.setdefault(_given(service, "pidfile"), []).append((service, ()))
    for path, pairs in groups.items():
        yield _pid_file(look, path, pairs)
    yield from healed(look)


def _pid_file(look: Look, path: str, pairs: Sequence[tuple[Service, Sequence[Match]]]) -> Finding:
    services = [service for service, _ in pairs]
    names = listed([service.label for service in services])
    proof, seen = [], []
    for service, said in pairs:
        if written := _as_written(service, ("--pidfile",)):
            proof.append(Proof("containers", f"{service.label}: {written}"))
        proof += [look.course(service).proof(one) for one in said[-1:]]
        told = look.course(service).told
        proof.append(Proof("containers", f"{service.label} ended with exit code {told.exit_code}"))
        seen.append(bool(said) and bool(written))
    logged = all(said for _, said in pairs)
    places = [
        (one, "command", written, "--pidfile=")
        for one in services
        if (written := _as_written(one, ("--pidfile",)))
    ]
    changed = changes(look.data("compose"), places) if len(places) == len(services) else Changes()
    commands = recreate(look.stack, services)
    whole = len(places) == len(services) and changed.complete
    how = "Start without a pid file: --pidfile= in place of what names it. Docker knows whether it lives."
    if not places:  # Celery 4 names one by itself
        how = "Add --pidfile= to the command: without a name Celery writes no pid file."
    return look.finding(
        f"{names} {verb(services, 'does', 'do')} not start: the pid file {path} of an earlier life is there",
        services=tuple(service.label for service in services),
        object=path,
        certainty="confirmed" if all(seen) else "reported" if logged else "inferred",
        proof=proof,
        remedy=Remedy(
            "exact" if whole else "manual",
            how,
            (*changed.edits, *changed.texts),
            (*changed.commands, *commands) if whole else commands,
            risk=f"Makes {names} anew, which {verb(services, 'does', 'do')} not stay up anyway. If the file "
            "is of another beat that really runs, there are two then: see BEA005.",
        ),
        verify=alive(services),
    )


@check(
    "BEA002",
    "schedule-file-unusable",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("events", "compose", "files/*"),
    step="url",
    predicts=(Prediction(_ENDS, exits=(1,)),),
)
def schedule_file_unusable(look: Look) -> Iterator[Finding]:
    """Beat does not start, because it cannot open the file that holds its schedule.

    ## What
    Celery's own scheduler keeps the time of each last run in a file (`celerybeat-schedule` in the working
    directory, unless `--schedule` names another). It may not be written there: the folder belongs to root and
    the process is of another user, the file system is read-only or full, or the folder does not exist. A file
    that another process has locked keeps beat from starting with some of Python's databases only: with GNU's
    (recorded with Celery 5.7) it is called corrupted, removed and made anew, and two beats send (BEA005).

    ## Why
    Beat ends with exit code 1 at each start; nothing that is scheduled is sent.

    ## Looks like
    `Removing corrupted schedule file 'celerybeat-schedule': error(13, 'Permission denied')`, although nothing
    is corrupt, and then `beat raised exception <class '_dbm.error'>` (Celery 5.7). A file that really is
    corrupt is removed and made anew, and beat goes on.

    ## Confirm
    `docker inspect -f '{{.Config.User}} {{.Config.WorkingDir}} {{.Config.Cmd}}' CONTAINER`, and whether that
    user may write there.

    ## Do
    Name a file in a folder that the user may write: `--schedule=/tmp/celerybeat-schedule`. The times of the
    last runs are then lost when the container is made anew, which matters for entries with long intervals;
    else give the user a volume that belongs to it. A read-only container needs a `tmpfs` or a volume there.

    ## False alarms
    A beat that says `Removing corrupted schedule file` and goes on is not reported.
    """
    beats = [service for service in look.celery if service.has_beat]
    if not beats and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no beat")
    for service in beats:
        told = look.course(service).told
        if told is None or not told.failed:
            continue
        look.section(f"logs/{service.label}")
        if said := _deaths(look, service):
            yield _schedule_file(look, service, said[-1])
    yield from healed(look)


def _plain(path: str) -> str:
    """A path without what dbm puts behind it."""
    return next((path.removesuffix(one) for one in _SUFFIXES if path.endswith(one)), path)


def _schedule_file(look: Look, service: Service, said: Match) -> Finding:
    written = _as_written(service, ("--schedule", "--schedule-filename", "-s"))
    given = _given(service, "schedule") or DEFAULT
    folder = str(service.item.get("working_dir") or "/")
    # A lock that is held is told without the file.
    named = _plain(said.object) if "/" in said.object or " " not in said.object else ""
    path = posixpath.join(folder, named or _plain(given))
    same = posixpath.join(folder, _plain(given)) == path
    user = str(service.item.get("user") or "") or "root"
    facts = f"user {user}, working directory {folder}, {written or 'no --schedule'}"
    closed = bool(service.item.get("read_only")) and not mounted(service.item, path)
    facts += ", read_only" if closed else ""
    told = look.course(service).told
    lines = look.course(service).lines(told) if told else ()
    full = next((line for line in lines if _FULL in line[2]), None)
    why = "the disk there is full" if full else "its container is read-only" if closed else f"user {user}"
    proof = [Proof("containers", f"{service.label}: {facts}"), look.course(service).proof(said)]
    if full:
        proof.append(Proof(f"logs/{service.label}", full[2], None, full[0] or None))
    return look.finding(
        f"{service.label} does not start: it cannot write its schedule file {path} "
        f"({why})",
        services=(service.label,),
        object=path,
        certainty="confirmed" if same else "reported",
        proof=proof,
        remedy=_room(service, path) if full else _schedule_remedy(look, service, path, written),
        verify=alive([service]),
    )


def _room(service: Service, path: str) -> Remedy:
    """A disk that is full is nothing that another name of a file mends."""
    held = mounted(service.item, path)
    where = f"the {held.get('type')} at {held.get('target')}" if held else "the disk of the engine's machine"
    look_at = "`df -h`, `docker system df`; logs without a size limit and old images fill disks"
    return Remedy("manual", f"Make room on {where} ({look_at}), then start {service.label} again.")


def _schedule_remedy(look: Look, service: Service, path: str, written: str) -> Remedy:
    if service.item.get("read_only") and not mounted(service.item, path):
        return open_root(look, service, posixpath.dirname(path))
    new = f"--schedule={ROOM}"
    old = written or str(service.launch.subcommand if service.launch else "")
    risk = "The times of the last runs are lost whenever the container is made anew: an entry with a long "
    risk += "interval then counts from that start."
    changed = Changes()
    # A word more fits only into a command that is written as one text.
    if old and (written or any(" " in word for word in _texts(look, service))):
        place = (service, "command", old, new if written else f"{old} {new}")
        changed = changes(look.data("compose"), [place])
    done = changed.complete and bool(changed.edits or changed.commands)
    commands = recreate(look.stack, [service])
    summary = f"Let it keep its schedule where any user may write: {new}."
    moved = Option(
        "a file in /tmp",
        summary,
        (*changed.edits, *changed.texts),
        (*changed.commands, *commands) if done else commands,
    )
    targets = [str(mount.get("target") or "") for mount in service.item.get("mounts") or ()]
    target = next((one for one in targets if len(one) > 1 and path.startswith(one + "/")), "")
    if target:
        owner = shlex.join(["docker", "inspect", "-f", "{{.Config.User}}", service.name])
        keep = Option(
            "keep it on the volume",
            f"Give the folder {target} to the user of the image ({owner}), once, as root; then start "
            f"{service.label} again.",
        )
        return Remedy(
            "choice",
            f"{summary} Or make {target} writable.",
            question="Do entries with long intervals have to survive a new container?",
            options=(moved, keep),
            risk=risk,
        )
    return Remedy("exact" if done else "manual", summary, moved.edits, moved.commands, risk=risk)


def _texts(look: Look, service: Service) -> list[str]:
    """The command of a service where its Compose files write it as one text."""
    services = (look.data("compose") or {}).get("services") or {}
    nodes = (services.get(service.item.get("service") or "") or {}).get("command") or ()
    nodes = nodes if isinstance(nodes, list) else [nodes]
    return [node["value"] for node in nodes[-1:] if isinstance(node.get("value"), str)]

