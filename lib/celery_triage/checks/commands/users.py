"""The user that a service runs as: not in the image, or root where Celery refuses it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from celery_triage.checks.commands.shared import DEATHS
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service

_NO_USER = re.compile(r"unable to find (user|group) (\S+?): no matching entries")


@check(
    "CMD050",
    "root-with-pickle",
    severity="critical",
    needs=("containers", "logs/*"),
    uses=("events", "files/*"),
    step="options",
    predicts=(Prediction((*DEATHS, "LOG001"), exits=(1,)),),
)
def root_with_pickle(look: Look) -> Iterator[Finding]:
    """Celery refuses to run as root while it accepts pickle.

    ## What
    The last words of the worker say it; as which user the container runs, and whether `C_FORCE_ROOT` is set,
    is read from the container.

    ## Why
    Whoever can write to the broker could then run anything as root, so the worker ends at its start, with
    exit code 1.

    ## Looks like
    `Running a worker with superuser privileges when the worker accepts messages serialized with pickle is a
    very bad idea!`

    ## Confirm
    `docker inspect -f '{{.Config.User}}' CONTAINER` is empty or root, and `accept_content` of the application
    holds `pickle`.

    ## Do
    Run the container as another user (`user:` in Compose, `USER` in the Dockerfile), or take pickle out of
    `accept_content`. `C_FORCE_ROOT=true` only where nobody else can write to the broker.

    ## False alarms
    Without pickle Celery only warns, which is not reported.
    """
    for service in look.celery:
        told = look.course(service).told
        if told is not None and told.failed:
            look.section(f"logs/{service.label}")
    services = [
        one for one in look.members if not look.course(one).past(look.rule.step) and look.seen(one).says()
    ]
    if services:
        rooted = [str(one.item.get("user") or "").partition(":")[0] in ("", "0", "root") for one in services]
        proof = []
        for service in services:
            proof += [
                Proof("containers", f"{service.label}: user {service.item.get('user') or 'root'}"),
                *look.seen(service).proof(),
            ]
        names = listed([one.label for one in services])
        yield look.finding(
            f"{names} cannot start: Celery refuses to run as root while it accepts pickle",
            services=tuple(one.label for one in services),
            object="root",
            certainty="confirmed" if all(rooted) else "reported",
            proof=proof,
            remedy=Remedy(
                "manual",
                f"Run {names} as a user other than root (`user:` in the Compose file, `USER` in the "
                f"Dockerfile), or take pickle out of accept_content; then make the containers anew.",
                commands=recreate(look.stack, services),
            ),
            verify=alive(services),
        )
    yield from healed(look)


@check(
    "CMD051",
    "user-unknown",
    severity="critical",
    needs=("containers",),
    uses=("logs/*", "events", "files/*", "compose"),
    step="container",
    predicts=(Prediction((*DEATHS, "LOG001", "LOG002")),),
)
def user_unknown(look: Look) -> Iterator[Finding]:
    """The user or group that a service is to run as is not in its image.

    ## What
    Docker itself says so when it starts the container (its error stands in the state of the container), or
    Celery does for `--uid` and `--gid`, or a program such as gosu.

    ## Why
    The container is made and never started; a restart policy does not try again.

    ## Looks like
    `unable to find user deploy: no matching entries in passwd file` in `docker inspect` and from `docker
    compose up`; the container stays `Created`.

    ## Confirm
    `docker run --rm --entrypoint cat IMAGE /etc/passwd`.

    ## Do
    Create the user in the image (`RUN useradd …`), write a user that it has, or leave `user:` out, so that
    the image's own user is taken. A number needs no entry: `user: "1000"`.

    ## False alarms
    None known where Docker says it; a log that says it is only reported.
    """
    groups: dict[tuple[str, str], list[Service]] = {}
    for service in look.members:
        if said := _NO_USER.search(str(service.latest.get("error") or "")):
            groups.setdefault((said[1], said[2]), []).append(service)
    for (kind, name), services in groups.items():
        names = listed([one.label for one in services])
        yield look.finding(
            f"{names} cannot start: the {kind} {name}, which it is to run as, is not in its image",
            services=tuple(one.label for one in services),
            object=name,
            certainty="confirmed",
            proof=[Proof("containers", f"{one.label}: {one.latest['error']}") for one in services],
            remedy=Remedy(
                "manual",
                f"Write a {kind} that the image {services[0].item.get('image')} has in place of {name} "
                f"(`user:` in the Compose file), leave it out for the image's own, or create {name} where "
                f"the image is built; then make the containers anew.",
                commands=recreate(look.stack, services),
            ),
            verify=alive(services),
        )
    yield from reported(
        look,
        {one.label for services in groups.values() for one in services},
        "Only the log says this. Create {} in the image, or write a user that it has.",
    )
    yield from healed(look)
