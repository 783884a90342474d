"""Logs: the last words of a life that nothing else explains, and known messages that no rule judges."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.course import Course
from celery_triage.checks.registry import RULES, Look, Prediction, check
from celery_triage.checks.restarts import concerned, ended, looping
from celery_triage.checks.words import listed, shown
from celery_triage.lives import Life
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive
from celery_triage.signatures import unrecognised
from celery_triage.stack import Service

#: Ends by SIGINT, SIGKILL and SIGTERM: they come from outside.
SILENT = (130, 137, 143)
#: So many of the last lives that ended alike are looked at.
LOOKED_AT = 3
_ENDS = (Prediction(("CTR001", "CTR003")),)
_USERS = (Prediction(("BRK001", "URL003", "DBS004", "CTR001", "CTR003"), on="users"),)


def _down(look: Look, service: Service) -> bool:
    """Whether the service is down or restarting now, so that its last words matter."""
    status = service.latest.get("status")
    failed = [life for life in look.course(service).lives if life.failed]
    if not failed:
        return False
    return status in ("exited", "dead") or looping(service, look.course(service), failed)


def _last_words(course: Course) -> Life | None:
    """The failed life whose words tell most about the last one that failed.

    The log is read a moment before the state: of the very last life the end can be missing, or everything. So
    the newest of the last few that ended alike and says something known counts, else the newest that says
    something of an error, else the newest that says anything."""
    failed = [life for life in course.lives if life.failed]
    alike = [
        life for life in reversed(failed) if life.exit_code == failed[-1].exit_code and course.lines(life)
    ]
    alike = alike[:LOOKED_AT]
    for fits in (course.deaths, lambda life: unrecognised(course.lines(life)), course.lines):
        for life in alike:
            if fits(life):
                return life
    return failed[-1] if failed else None


@check(
    "LOG001",
    "unrecognised-death",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("events", "files/*"),
    predicts=(*_ENDS, *_USERS),
)
def unrecognised_death(look: Look) -> Iterator[Finding]:
    """A service ends with an error, and what it says last is no message that this tool knows.

    ## What
    The last words of the last life that ended with an error, where no signature knows them. They are shown as
    they are; nothing is concluded from them.

    ## Why
    Something stops the service, and these words are the nearest thing to its cause.

    ## Looks like
    Mostly a traceback: its last line names the exception, the line above it the place.

    ## Confirm
    `docker logs --tail 50 CONTAINER`.

    ## Do
    Read the lines before, too; look for the first error after the last start, not for the last one.

    ## False alarms
    The words may come from something that happened beside the end. With another finding that explains the
    exit code they are shown as its consequence.
    """
    for service in concerned(look):
        if not _down(look, service):
            continue
        section = look.section(f"logs/{service.label}")
        course = look.course(service)
        life = _last_words(course)
        if not section.readable or life is None or course.deaths(life) or life.exit_code in SILENT:
            continue  # a process that was killed or told to end has no last words
        lines = course.lines(life)
        shapes = unrecognised(lines, first_line=life.first_line or 1)
        last = max(shapes, key=lambda shape: shape.lines[-1], default=None)
        words = [(number, line) for number, line in enumerate(lines, life.first_line or 1) if line[2].strip()]
        if last is not None:
            said, number = last.text.split("\n")[0], last.lines[-1]
        elif words:
            number, said = words[-1][0], words[-1][1][2]
        else:
            number, said = None, ""
        title = (
            f"{service.label} ends with {ended(life)}, and its last words are no known message: {shown(said)}"
            if said
            else f"{service.label} ends with {ended(life)} and says nothing"
        )
        log = f"logs/{service.label}"
        quoted = [Proof(log, line[2], place, line[0]) for place, line in words[-5:]]
        if last is not None:  # put together again where a traceback was printed in fragments
            at = dict(words).get(number)
            quoted = [Proof(log, text, number, at[0] if at else None) for text in last.text.split("\n")[:5]]
        yield look.finding(
            title,
            severity="critical" if service.is_celery or not service.member else "warning",
            services=(service.label,),
            object=shown(said, 120),
            certainty="reported",
            proof=quoted,
            remedy=Remedy(
                "manual", f"Read the last lines of the log of {service.label}; this tool does not know them."
            ),
            verify=alive([service]),
        )


@check(
    "LOG002",
    "known-death",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("events", "files/*"),
    step="app",
    predicts=(*_ENDS, *_USERS),
)
def known_death(look: Look) -> Iterator[Finding]:
    """A service ends with a message that this tool knows, and that no rule can judge otherwise than by the
    log.

    ## What
    The last words of the last life are a known message whose meaning is in the catalogue of signatures; there
    is no rule yet that asks the thing itself.

    ## Why
    The process says itself what ended it.

    ## Looks like
    See the quoted line; the finding's title says what it means.

    ## Confirm
    `docker logs --tail 50 CONTAINER`.

    ## Do
    What the message asks for.

    ## False alarms
    Only words are judged, so the certainty is never more than reported.
    """
    found: dict[tuple[str, str], list] = {}
    for service in concerned(look):
        if not _down(look, service):
            continue
        section = look.section(f"logs/{service.label}")
        course = look.course(service)
        life = _last_words(course)
        if not section.readable or life is None:
            continue
        for said in course.deaths(life):
            if said.code not in RULES or said.code == look.rule.code:
                found.setdefault((said.object or said.signature, said.says), []).append((service, said))
    for (thing, says), pairs in found.items():
        names = tuple(dict.fromkeys(service.label for service, _ in pairs))
        yield look.finding(
            f"{listed(names)}: {says}",
            services=names,
            object=thing,
            certainty="reported",
            proof=[look.course(service).proof(said) for service, said in pairs],
            remedy=Remedy("manual", "Correct what the message names, and start the service again."),
            verify=alive([service for service, _ in pairs]),
        )
