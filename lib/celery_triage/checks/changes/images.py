"""Containers that run an older image than their like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from celery_triage.checks.changes import shared
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.restarts import looping
from celery_triage.checks.words import listed, verb
from celery_triage.lives import seconds_of
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.stack import Service, Stack

#: What an old image can be the cause of: programs, modules and packages that are not in it.
_IN_THE_IMAGE = ("CMD001", "CMD002", "CMD003", "CMD004", "CMD005", "URL002", "PKG001")


def only_the_old(cause: Finding, finding: Finding, stack: Stack, label: str) -> bool:
    """Whether a finding about what is in the image spares all replicas with the newer image."""
    service = stack.get(label)
    mine = service.item.get("service") if service else None
    like = [one.label for one in stack.members if mine and one.item.get("service") == mine]
    newer = [other for other in like if other not in cause.services]
    return bool(newer) and not set(newer) & set(finding.services)


@check(
    "CHG002",
    "old-image",
    severity="warning",
    needs=("containers",),
    uses=("events", "logs/*", "files/*"),
    predicts=(Prediction(_IN_THE_IMAGE, when=only_the_old),),
)
def old_image(look: Look) -> Iterator[Finding]:
    """A container runs an older image than another one of the same image name.

    ## What
    Containers of the same service, or of services with the same image name, are compared by the id of the
    image that they really run. Where ids differ, those that do not have the newest image are named. It is a
    warning between Celery services; critical when such a replica restarts for ever; and a notice where no
    other container runs it, but the name means another image on this engine by now.

    ## Why
    A name like `app:latest` moves with every build or pull; a container keeps what it was made with. Two
    versions of the code then take tasks from the same queue: tasks fail on one of them, now and then.

    ## Looks like
    `docker ps` shows the image's id instead of its name for the old one; tasks end with `NotRegistered` on
    one worker and well on the other.

    ## Confirm
    `docker inspect -f '{{.Name}} {{.Image}} {{.Created}}' CONTAINER…`

    ## Do
    Make the old container anew: it takes the image that the name means now.

    ## False alarms
    A deployment that goes from replica to replica and is not finished.
    """
    seen: set[str] = set()
    for name, group in _by_image_name(look).items():
        newest = max(group, key=_age)
        ids = {service.item.get("image_id") for service in group}
        old = [one for one in group if one.item.get("image_id") != newest.item.get("image_id")]
        if len(ids) > 1:
            seen |= {service.label for service in group}
            yield _finding(look, name, old, newest)
    for service in shared.made_by_compose(look):
        now = service.item.get("image_now")
        if now and now != service.item.get("image_id") and service.label not in seen:
            yield _moved(look, service)


def _by_image_name(look: Look) -> Mapping[str, list[Service]]:
    """The services of the target by the name of their image, those with a known image id."""
    found: dict[str, list[Service]] = {}
    for service in shared.made_by_compose(look):
        name = str(service.item.get("image") or "")
        if name and service.item.get("image_id") and not name.startswith("sha256:"):
            found.setdefault(name, []).append(service)
    return found


def _age(service: Service) -> tuple[bool, float, float]:
    """What makes one image newer than another: that its name means it now, when it was built, when the
    container was made."""
    item = service.item
    return (
        item.get("image_now") == item.get("image_id"),
        seconds_of(item.get("image_created")) or 0.0,
        seconds_of(item.get("created")) or 0.0,
    )


def _loops(look: Look, service: Service) -> bool:
    course = look.course(service)
    failed = [life for life in course.lives if life.failed]
    return bool(failed) and looping(service, course, failed)


def _short(service: Service) -> str:
    return str(service.item.get("image_id")).removeprefix("sha256:")[:12]


def _quoted(services: Sequence[Service]) -> list[Proof]:
    found = []
    for service in services:
        item = service.item
        built = str(item.get("image_created") or "").partition(".")[0]
        text = f"{service.label}: {item.get('image')}, image {_short(service)}"
        text += f", built {built} UTC" if built else ""
        found.append(Proof("containers", text, time=item.get("created")))
    return found


def _finding(look: Look, name: str, old: Sequence[Service], newest: Service) -> Finding:
    names = listed([service.label for service in old])
    celery = any(service.is_celery for service in old)
    down = [service for service in old if service.is_celery and _loops(look, service)]
    spared = newest.running and not _loops(look, newest)
    title = f"{names} {verb(old, 'runs', 'run')} an older image {name} than {newest.label}"
    return look.finding(
        title,
        severity="critical" if down and spared else "warning" if celery else "notice",
        services=tuple(service.label for service in old),
        object=name,
        proof=_quoted([*old, newest]),
        remedy=_remedy(look, old, newest.item.get("image_id")),
        verify=(_ids([*old, newest]), *alive(old)),
    )


def _moved(look: Look, service: Service) -> Finding:
    """One whose image's name has moved on."""
    name = str(service.item.get("image"))
    return look.finding(
        f"{service.label} runs image {_short(service)}; by now {name} means another one on this engine",
        severity="notice",
        services=(service.label,),
        object=name,
        proof=_quoted([service]),
        remedy=_remedy(look, [service], service.item.get("image_now")),
        verify=(_ids([service]),),
    )


def _remedy(look: Look, old: Sequence[Service], wanted: str | None) -> Remedy:
    names = listed([service.label for service in old])
    commands = recreate(look.stack, old, force=True)
    risk = f"Makes the containers of {names} anew; of a service with several replicas, all of them."
    if commands and all(service.item.get("image_now") == wanted for service in old):
        return Remedy(
            "exact",
            f"Make {names} anew, with the image that the name means now.",
            commands=commands,
            risk=f"{risk} Tasks that run are interrupted.",
        )
    return Remedy(
        "manual",
        f"Give the image that is wanted its name again (docker tag, docker pull), then make {names} anew.",
        commands=commands,
        risk=risk,
    )


def _ids(services: Sequence[Service]) -> str:
    names = " ".join(dict.fromkeys(service.name for service in services))
    return f"docker inspect -f '{{{{.Name}}}} {{{{.Image}}}}' {names}  # the same image"
