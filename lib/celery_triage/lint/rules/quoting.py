"""Shell lines that no shell reads, or not as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.commands.quoting import as_one_word, broken, sentence, whole, written
from celery_triage.checks.words import listed, shown
from celery_triage.commandline import unwrap
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding
from celery_triage.stack import Service


@static("CMD010", "shell-line-broken", "critical")
def shell_line(subject: Subject) -> Iterator[Finding]:
    """``sh -c celery …`` without quotes, and operators of the shell without a shell."""
    groups: dict[tuple[str, str, bool], list[Service]] = {}
    for service in subject.services:
        if kind := broken(service):
            # A script of one's own may put its words together again, and then all is well.
            script = kind == "unread" and (service.unwrapped.assumed or "script" in _why(service))
            groups.setdefault((kind, sentence(service), bool(script)), []).append(service)
    for (kind, what, script), services in groups.items():
        told = services[0].unwrapped
        word = told.operator if kind == "unread" else told.lost[0]
        yield found(
            subject,
            "CMD010",
            "shell-line-broken",
            "notice" if script else "warning" if kind == "unread" and "$" in word else "critical",
            f"{listed([one.label for one in services])}: {what}",
            [subject.command_node(one, word) for one in services],
            services=services,
            thing=word,
            fix=f"Write the line as one word for a shell: {whole(services[0])}."
            + (" Or leave the shell out." if kind == "lost" else ""),
            detail=f"Compose starts no shell by itself. It runs: {_first(services[0])}.",
        )


@static("CMD010", "shell-line-broken", "critical")
def dropped(subject: Subject) -> Iterator[Finding]:
    """What Compose v2 drops from a command that is one text: all behind the first operator of a shell."""
    for service in subject.services:
        rest = subject.known[service.label].dropped
        if not rest:
            continue
        told = unwrap(f"true {rest}")
        behind = told.is_celery or "celery" in rest.split()
        if not (behind or service.unwrapped.is_celery):
            continue
        launch = (
            next(reversed(subject.launches(service).values()), None) if service.unwrapped.is_celery else None
        )
        lost = behind if launch is None else launch.subcommand is None
        kept = shown(" ".join(written(service)), 60)
        word = rest.split()[0]
        yield found(
            subject,
            "CMD010",
            "shell-line-broken",
            "critical" if lost else "warning" if behind else "notice",
            f"{service.label}: Compose starts no shell and drops {shown(rest.strip(), 60)}; it runs only "
            f"{kept}",
            [subject.command_node(service, word)],
            services=[service],
            thing=word,
            fix=f"Write the line as one word for a shell: {_quoted(service, rest)}."
            if behind
            else f"Put the word with {word[0]} into quotes."
            if lost
            else f"Take {word} and what follows it out, or write the line as one word for sh -c.",
            detail="docker-compose v1 handed these words on to the program instead.",
        )


def _quoted(service: Service, rest: str) -> str:
    return as_one_word(f"{' '.join(written(service)).removeprefix('sh -c ')} {rest.strip()}")


def _why(service: Service) -> str:
    return service.unwrapped.unreadable or ""


def _first(service: Service) -> str:
    return " ".join(f"[{word}]" for word in written(service)[:8])
