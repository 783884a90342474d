"""What is wrong with the files themselves."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.words import listed, shown, verb
from celery_triage.lint import variables
from celery_triage.lint.reading import Node
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding

#: More duplicates than that are counted, not listed.
_MOST = 20


@static("CMP007", "key-twice", "critical")
def duplicate_keys(subject: Subject) -> Iterator[Finding]:
    """The same key stands twice in one mapping.

    ## What
    A service, variable or option is written twice at the same place of a file.

    ## Why
    Compose v2 refuses such a file; docker-compose v1 takes the last one and forgets the first.

    ## Looks like
    `mapping key "environment" already defined at line 12`

    ## Confirm
    `docker compose -f FILE config -q`

    ## Do
    Make one of the two.

    ## False alarms
    None with Compose v2. Everything else here is judged with the last one, as v1 did.
    """
    several = subject.project.duplicates
    for one in several[:_MOST]:
        yield found(
            subject,
            "CMP007",
            "key-twice",
            "critical",
            f"{shown(one.key, 60)} stands twice in the same mapping (first in line "
            f"{one.first}): Compose v2 refuses "
            f"the file",
            [Node(None, one.file, one.line)],
            thing=one.key,
            fix="Make one of the two.",
            detail=f"{len(several)} keys stand twice." if len(several) > _MOST else "",
        )


@static("CMP008", "old-format", "critical")
def formats(subject: Subject) -> Iterator[Finding]:
    """A file of Compose's first format, or with a version that Compose never had.

    ## What
    Services stand at the top level, without `services:`; or `version:` says something else than 1, 2 or 3.

    ## Why
    Compose v2 does not read the first format at all. It ignores `version`.

    ## Looks like
    `(root) Additional property worker is not allowed` (Compose 2.26). A `version` of another number is only
    worth knowing.

    ## Confirm
    `docker compose -f FILE config -q`

    ## Do
    Put the services under `services:`, and take `version` out.

    ## False alarms
    docker-compose v1 reads the first format.
    """
    for path in subject.project.legacy:
        yield found(
            subject,
            "CMP008",
            "old-format",
            "critical",
            f"{path} is of Compose's first format (no services:), which Compose v2 does not read",
            [Node(None, path, 1)],
            thing="services",
            fix="Put the services under services:.",
        )
    for node in subject.project.odd_versions:
        yield found(
            subject,
            "CMP008",
            "old-format",
            "notice",
            f"version {shown(node.text or '', 30)} is none that Compose ever had; Compose v2 ignores it",
            [node],
            thing="version",
            fix="Take the line out.",
        )


@static("CMP009", "variable-unset", "notice")
def unset(subject: Subject) -> Iterator[Finding]:
    """A variable in a broker or result URL that the `.env` does not set.

    ## What
    The file has `${NAME}` in the environment or command of a Celery service, there is a `.env`, and it does
    not set NAME.

    ## Why
    Unless the environment of whoever starts the stack has it, Compose puts in nothing, and says so only as a
    warning: `redis://:@redis:6379/0`.

    ## Looks like
    `The "REDIS_PASSWORD" variable is not set. Defaulting to a blank string.`

    ## Confirm
    `docker compose config` shows what is put in.

    ## Do
    Set it in `.env`, or write `${NAME:?}` so that Compose refuses to start without it.

    ## False alarms
    The environment may have it: it is only worth knowing. Without a `.env` nothing is reported.
    """
    if required := sorted(subject.project.variables.required):
        why = f"Compose starts nothing unless the environment sets {listed(required, 6)} (`:?`)"
        subject.note(subject.project.paths[0], why, "CMP009")
    for service in subject.services:
        if (missing := subject.known[service.label].env_missing) and service.is_celery:
            subject.note(service.label, f"{missing}; without it Compose starts nothing", "CMP009")
    if not subject.project.dotenv:
        if subject.project.variables.asked:
            told = listed(sorted(subject.project.variables.asked), 6)
            subject.note(
                subject.project.paths[0],
                f"there is no .env here, so {told} "
                f"{verb(sorted(subject.project.variables.asked), 'is', 'are')} not known",
                "CMP009",
            )
        return
    pairs: dict[str, list[tuple[str, Node]]] = {}
    for service in subject.celery:
        known = subject.known[service.label]
        for url in service.urls:
            if not url.used or url.var is None or "${" not in url.text:
                continue
            node = known.env_at.get(url.var)
            if node is None or node.text is None or ":?" in node.text:
                continue
            text = subject.project.variables.put_in(node.text)
            for piece in text.split(variables.OPEN)[1:]:
                pairs.setdefault(piece.partition(variables.CLOSE)[0], []).append((service.label, node))
    for name, users in pairs.items():
        services = list(dict.fromkeys(label for label, _ in users))
        yield found(
            subject,
            "CMP009",
            "variable-unset",
            "notice",
            f"{listed(services)}: {name} is not set in .env; unless the environment has it, "
            f"Compose puts in nothing",
            [node for _, node in users],
            services=services,
            thing=name,
            fix=f"Set {name} in .env, or write ${{{name}:?}} so that Compose says so.",
        )


@static("CMP010", "reference-invalid", "critical")
def references(subject: Subject) -> Iterator[Finding]:
    """A `${…}` that is no reference to a variable.

    ## What
    `${` that is not closed, or something else than a name in it (`${a.b}`, `${NAME:=x}`). A dollar sign
    that is meant as such is written `$$`; one before what is no name (`$(`, `$1`) stays as it is (Compose
    2.26).

    ## Why
    Compose refuses the whole file: `invalid interpolation format`.

    ## Looks like
    `invalid interpolation format for services.worker.command: "…"`

    ## Confirm
    `docker compose -f FILE config -q`

    ## Do
    Write `$$` for a dollar sign.

    ## False alarms
    Only values that were looked at (commands, environment, health checks, ports, images …) are judged.
    """
    told = list(dict.fromkeys(subject.project.variables.refused))
    for text, why in told[:_MOST]:
        at = _where(subject, text)
        if at is None:
            continue
        yield found(
            subject,
            "CMP010",
            "reference-invalid",
            "critical",
            f"{why}: Compose refuses the file",
            [at],
            thing=shown(subject.redactor.text(text), 40),
            fix="Write $$ for a dollar sign.",
        )


def _where(subject: Subject, text: str) -> Node | None:
    """The first line that holds the text."""
    for path, told in subject.project.reads.items():
        for number, line in enumerate(told.lines, 1):
            if text.splitlines()[0] in line:
                return Node(None, path, number)
    return None
