"""Shell lines that no shell reads, or not as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.commands.quoting import broken, sentence, whole, written
from celery_triage.checks.words import listed
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
            "notice" if script else "critical",
            f"{listed([one.label for one in services])}: {what}",
            [subject.command_node(one, word) for one in services],
            services=services,
            thing=word,
            fix=f"Write the line as one word for a shell: {whole(services[0])}."
            + (" Or leave the shell out." if kind == "lost" else ""),
            detail=f"Compose starts no shell by itself. It runs: {_first(services[0])}.",
        )


def _why(service: Service) -> str:
    return service.unwrapped.unreadable or ""


def _first(service: Service) -> str:
    return " ".join(f"[{word}]" for word in written(service)[:8])
