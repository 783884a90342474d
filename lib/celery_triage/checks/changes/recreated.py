"""Containers that were made before their Compose file was changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.changes import differences, shared
from celery_triage.checks.changes.differences import Difference
from celery_triage.checks.registry import RULES, Look, Prediction, check
from celery_triage.checks.restarts import looping
from celery_triage.checks.words import listed, shown, verb
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service, Stack

#: What the old command, environment, image or health check of a container can be the cause of.
_BLAMED = (
    *(f"CMD00{n}" for n in range(1, 6)),
    *(f"URL00{n}" for n in range(1, 6)),
    *(f"DBS00{n}" for n in range(1, 5)),
    *(f"BRK00{n}" for n in range(1, 5)),
    *(f"HLT00{n}" for n in range(1, 7)),
    "PKG001",
)
#: Rules about the kind of a URL: they name a driver or a word of the URL, not what stands in it.
_OF_THE_SCHEME = ("URL001", "URL002")
_SCHEME = re.compile(r"[A-Za-z][\w+.\-]*(?=://)")


def mended(cause: Finding, finding: Finding, stack: Stack, label: str) -> bool:
    """Whether what another finding is about stands in what the container has, and no longer in what the file
    says: then making the container anew cures that, too."""
    service = stack.get(label)
    if service is None:
        return False
    has = {one.text for one in cause.proof if one.section == "containers"}
    says = {one.text for one in cause.proof if one.section == "compose"}
    mine = [(_after(text), what) for text in has if (what := _what(text, label))]
    theirs = {what: _after(text) for text in says if (what := _what(text, label))}
    pairs = {what: (text, theirs.get(what, "")) for text, what in mine}
    return gone(finding.code, finding.object, pairs, service)


def gone(code: str, thing: str, pairs: Mapping[str, tuple[str, str]], service: Service) -> bool:
    """Whether a thing stands in what differs, as the container has it, and nowhere else. ``pairs`` are what
    the container has and what the file says, by what differs."""
    if code in _OF_THE_SCHEME:
        schemes = [(_SCHEME.match(has), _SCHEME.match(says)) for has, says in pairs.values()]
        if any(old and new and old[0] != new[0] for old, new in schemes):
            return True
    if not thing:
        return False
    fragment = re.compile(rf"(?<![\w-]){re.escape(thing)}(?![\w-])")
    if not any(fragment.search(has) for has, _ in pairs.values()):
        return False
    kept = [str(value) for name, value in service.env.items() if name not in pairs]
    if "command" not in pairs and "entrypoint" not in pairs:
        kept.append(" ".join(service.argv))
    return not any(fragment.search(text) for text in (*(says for _, says in pairs.values()), *kept))


def _what(text: str, label: str) -> str:
    """What a quotation of ours is about, if it is about that service: ``email_worker, command: …``."""
    head = f"{label}, "
    return text[len(head) :].partition(": ")[0] if text.startswith(head) else ""


def _after(text: str) -> str:
    return text.partition(": ")[2]


@check(
    "CHG001",
    "edited-not-recreated",
    severity="critical",
    needs=("containers", "compose"),
    uses=("logs/*", "events", "files/*"),
    predicts=(Prediction(_BLAMED, when=mended),),
)
def edited_not_recreated(look: Look) -> Iterator[Finding]:
    """The Compose file was changed after the container was made, and the container still has what was there.

    ## What
    Command, entrypoint, image, health check and environment of each container are held against what its
    Compose files say now, with variables from `.env`. Only what was changed after the container was made
    counts. A service that fails over something that the file no longer says is critical; a service that works
    with what it has is a warning; where only a value of `.env` differs, which the shell may have set
    otherwise, it is a notice.

    ## Why
    `docker restart` and `docker compose restart` start the same container again, with the old command. The
    file looks right, so the search goes on somewhere else.

    ## Looks like
    The error in the log quotes an option, a host or a name that the Compose file does not hold.

    ## Confirm
    `docker inspect -f '{{json .Config.Cmd}}' CONTAINER` and the same service in `docker compose config`.

    ## Do
    `docker compose up -d --no-deps SERVICE`: Compose sees that they differ and makes the container anew.

    ## False alarms
    A change of the file that is meant for the next deployment: then the service works, and it is a warning.
    Values that only the shell has, secrets that are masked on one side and what comes from the image are not
    compared.
    """
    files = shared.project(look)
    unread = [file for file in files.files if file.get("modified") is None]
    groups: dict[tuple[str, ...], list[tuple[Service, list[Difference]]]] = {}
    for service in shared.made_by_compose(look):
        found = differences.of(files, service)
        if unread and any(one.sure for one in found):
            look.note("compose", "when the file was changed is not known")
        found = [one for one in found if one.after]
        if not found:
            continue
        sure = [one for one in found if one.sure]
        blamed = _blamed(look, service, found)
        severity = "critical" if blamed else "warning" if sure else "notice"
        chosen = found if blamed else sure or found
        whats = ",".join(dict.fromkeys(one.what for one in chosen))
        key = (severity, whats, blamed, "confirmed" if sure else "inferred")
        groups.setdefault(key, []).append((service, chosen))
    for (severity, what, blamed, certainty), one in groups.items():
        yield _finding(look, one, blamed, severity=severity, object=what, certainty=certainty)


def _blamed(look: Look, service: Service, found: Sequence[Difference]) -> str:
    """What the service fails over that only the container still has: a word of its command that Celery
    refuses, or what its last words are about. Empty where there is nothing of the kind."""
    pairs = {one.what: (one.has, one.says) for one in found}
    course = look.course(service)
    failed = [life for life in course.lives if life.failed]
    if service.launch and (not service.running or (failed and looping(service, course, failed))):
        for problem in service.launch.problems:
            word = problem.option or problem.token
            if gone("CMD001", word, pairs, service):
                return word
    for rule in RULES.values():
        for said in course.says(rule.code, step=rule.step) if rule.code in _BLAMED else ():
            if service.is_celery and gone(rule.code, said.object, pairs, service):
                return said.object
    return ""


def _finding(
    look: Look, found: Sequence[tuple[Service, list[Difference]]], blamed: str, **facts: Any
) -> Finding:
    services = [service for service, _ in found]
    names = listed([service.label for service in services])
    proof = []
    for service, own in found:
        for one in own:
            head = f"{service.label}, {one.what}: "
            proof.append(Proof("containers", head + one.has, time=service.item["created"]))
            proof.append(Proof("compose", head + one.says, one.line))
    own = found[0][1]
    kinds = [one.what if one.what in _NAMED else f"value of {one.what}" for one in own]
    kinds = listed(list(dict.fromkeys(kinds)), 4)
    file = ".env" if facts["severity"] == "notice" else "the Compose file"
    what = f"{verb(services, 'has', 'have')} another {kinds} than {file} says"
    if blamed:
        what = f"{verb(services, 'fails', 'fail')} over {blamed}, which the Compose file no longer says"
    made = verb(services, "container was made", "containers were made")
    detail = f"What differs: {kinds}."
    if not own[0].sure:
        detail += " The value is that of .env; the shell that called Compose may have set another one."
    return look.finding(
        shown(f"{names} {what}: the file was changed after the {made}", 290),
        services=tuple(service.label for service in services),
        detail=detail,
        proof=proof,
        remedy=Remedy(
            "exact",
            f"Make the {verb(services, 'container', 'containers')} anew; the file need not be changed.",
            commands=recreate(look.stack, services, force=True),
            risk=f"Stops {names} and starts {verb(services, 'it', 'them')} with all that the file says now. "
            "Tasks that run are interrupted.",
        ),
        verify=(*_compared(services, own[0]), *alive(services)),
        **facts,
    )


_NAMED = ("command", "entrypoint", "image", "healthcheck")
_FIELDS = {"command": "Cmd", "entrypoint": "Entrypoint", "image": "Image", "healthcheck": "Healthcheck.Test"}


def _compared(services: Sequence[Service], first: Difference) -> tuple[str, ...]:
    """The command that shows what the container then has; none for a variable, which may be a secret."""
    if first.what not in _FIELDS:
        return ()
    field = _FIELDS[first.what]
    name = services[0].name
    return (f"docker inspect -f '{{{{json .Config.{field}}}}}' {name}  # as the Compose file says",)
