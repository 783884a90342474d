"""Services that may not write where they want to: a read-only container, a volume of somebody else."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.restarts.loops import concerned, weight
from celery_triage.checks.values import split, value_of
from celery_triage.model import Finding, Option, Proof, Remedy
from celery_triage.remedies import alive, recreate, restart
from celery_triage.signatures import Match
from celery_triage.stack import Service

_READ_ONLY = "Read-only file system"
_WORDS = (_READ_ONLY, "Permission denied")
#: The code of the messages (see ``data/codes.yml``).
SAID = "CPS060"


@check(
    "CTR007",
    "not-writable",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("events", "compose", "files/*"),
    step="app",
    predicts=(Prediction(("CTR001", "CTR003", "LOG001", "LOG002")),),
)
def not_writable(look: Look) -> Iterator[Finding]:
    """A service ends because it may not write where it wants to.

    ## What
    The last words of its last life are `Permission denied` or `Read-only file system` with a path. What the
    container says of that path decides which it is: a container with `read_only: true` and no `tmpfs` there,
    a mount that is read-only, a volume that belongs to another user, or a folder of the image.

    ## Why
    The process ends at each start. A new named volume belongs to root unless the image has that very folder
    with another owner; `read_only: true` takes `/tmp`, pid files and every cache away.

    ## Looks like
    `OSError: [Errno 30] Read-only file system: '/var/run/celery.pid'`,
    `PermissionError: [Errno 13] Permission denied: '/data/…'`.

    ## Confirm
    `docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.Config.User}} {{json .Mounts}}' CONTAINER`;
    `docker run --rm --volumes-from CONTAINER --entrypoint ls IMAGE -ld PATH`.

    ## Do
    A `tmpfs` for what may be lost, a volume that belongs to the user of the image for what may not.

    ## False alarms
    Only last words count: a task that may not write fails, and its worker goes on.
    """
    for service in concerned(look):
        course = look.course(service)
        told = course.told
        if told is None or not told.failed or service.item.get("vanished"):
            continue
        look.section(f"logs/{service.label}")
        # The file of a worker's --statedb is opened as beat's schedule is, and fails in the same words.
        codes = (SAID,) if service.has_beat else (SAID, "BEA002")
        said = [one for one in course.deaths(told) if one.code in codes and one.object.startswith("/")]
        said = [one for one in said if any(words in one.text for words in _WORDS)]
        if said:
            yield _finding(look, service, said[-1])


def _finding(look: Look, service: Service, said: Match) -> Finding:
    path, item = said.object, service.item
    line = look.course(service).proof(said)
    mount = mounted(item, path)
    folder = str(mount.get("target")) if mount else posixpath.dirname(path) or "/"
    user = str(item.get("user") or "") or "root"
    closed = _READ_ONLY in line.text or _READ_ONLY in said.text
    sure = False
    if closed and not mount and item.get("read_only"):
        why, sure = "its container is read-only, and no tmpfs or volume is there", True
        remedy = open_root(look, service, folder)
    elif closed and mount and not mount.get("rw"):
        why, sure = f"{_what(mount)} is mounted read-only there", True
        remedy = Remedy(
            "manual",
            f"Mount {_what(mount)} without `ro` (or `read_only: true`) at {folder}, or let "
            f"{service.label} write elsewhere; then make its container anew.",
        )
    elif closed:
        why = "the file system there is read-only"
        remedy = Remedy(
            "manual",
            f"Find out why the file system at {folder} is read-only (`dmesg` of the host "
            "tells of a disk that failed), or let the service write elsewhere.",
        )
    elif mount and user not in ("root", "0"):
        why, remedy = (
            f"{_what(mount)} is mounted there, and it runs as {user}",
            _own(look, service, mount, user),
        )
    else:
        why = f"it runs as {user}"
        remedy = Remedy(
            "manual",
            f"Give {folder} to {user} in the image (`RUN install -d -o {user} {folder}` in "
            "the Dockerfile), build it and make the container anew; or write elsewhere.",
        )
    facts = f"{service.label}: user {user}, read_only {bool(item.get('read_only'))}"
    told = f", {_what(mount)} at {folder}{'' if mount.get('rw') else ' (read-only)'}" if mount else ""
    return look.finding(
        f"{service.label} does not start: it may not write {path}; {why}",
        severity=weight(service),
        services=(service.label,),
        object=folder,
        certainty="confirmed" if sure else "reported",
        proof=[Proof("containers", facts + told), line],
        remedy=remedy,
        verify=alive([service]),
    )


def mounted(item: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The mount of a container below which a path stands, the nearest; empty where there is none. A tmpfs of
    the option of that name is one that can be written."""
    held = [*(item.get("mounts") or ())]
    held += [
        {"type": "tmpfs", "source": "", "target": target, "rw": True} for target in item.get("tmpfs") or ()
    ]
    fitting = [one for one in held if f"{path}/".startswith(str(one.get("target") or "").rstrip("/") + "/")]
    return max(fitting, key=lambda one: len(str(one.get("target"))), default={})


def _what(mount: Mapping[str, Any]) -> str:
    kind = {"volume": "the volume", "bind": "the folder"}.get(str(mount.get("type")), "the")
    return f"{kind} {mount.get('source') or mount.get('type')}"


def open_root(look: Look, service: Service, folder: str) -> Remedy:
    """How a read-only container gets a place that it may write: a tmpfs there, or all of it."""
    again = recreate(look.stack, [service])
    options = []
    for name, summary, key, value in (
        (
            "tmpfs",
            f"Put a tmpfs on {folder}: what is written there is lost at each start.",
            "tmpfs",
            f"[{folder}]",
        ),
        ("writable-root", "Let the container be written to: `read_only: false`.", "read_only", "false"),
    ):
        change = value_of(look, service, key, value)
        edits, instead = split([change])
        known = change is not None and (change.edit is None or change.edit.line is not None)
        by_hand = "" if known else f" Write `{key}: {value}` into its part of the Compose file."
        options.append(Option(name, summary + by_hand, edits, (*instead, *again) if known else ()))
    return Remedy(
        "choice",
        f"Give {service.label} a place at {folder} that it may write.",
        options=tuple(options),
        question=f"Is {service.label} read-only on purpose?",
    )


def _own(look: Look, service: Service, mount: Mapping[str, Any], user: str) -> Remedy:
    target, image = str(mount.get("target")), str(service.item.get("image_id") or service.item.get("image"))
    give = shlex.join(
        [
            "docker",
            "run",
            "--rm",
            "--user",
            "0",
            "--network",
            "none",
            "--volumes-from",
            service.name,
            "--entrypoint",
            "chown",
            image,
            "-R",
            user,
            target,
        ]
    )
    named = mount.get("type") == "volume"
    return Remedy(
        "exact" if named else "manual",
        f"Give {_what(mount)} to {user}, the user of the image, once, as root"
        + ("." if named else "; on the machine itself it then belongs to the number of that user."),
        commands=(give, *restart([service])),
        risk=f"Everything below {target} belongs to {user} afterwards, for all that use it.",
    )
