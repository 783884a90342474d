"""What to write in place of a word that Celery refuses."""

from __future__ import annotations

from difflib import SequenceMatcher

from celery_triage.checks.commands.shared import surely
from celery_triage.checks.words import listed, shown
from celery_triage.commandline import Problem, versions
from celery_triage.commandline.refusals import GONE
from celery_triage.commandline.tables import table
from celery_triage.lint.subject import spread


def is_meant(problem: Problem) -> bool:
    """Whether an unknown option is so like one of Celery's own that it was meant, as a typo or as its
    beginning; others may well be the application's own."""
    word = problem.option.strip("-").lower()
    for candidate in problem.candidates[:1]:
        name = candidate.strip("-").lower()
        begins = len(word) >= 3 and name.startswith(word)
        return begins or SequenceMatcher(None, word, name).ratio() >= 0.75 or len(word) == 1
    return False


def having(problem: Problem, subcommand: str) -> tuple[str, ...]:
    """The versions of Celery whose sub-command has an option of exactly that name."""
    found = []
    for version in versions():
        root = table(version)["root"]
        below = root["commands"].get(subcommand) or {"params": ()}
        if any(problem.option in param.get("opts", ()) for param in [*root["params"], *below["params"]]):
            found.append(version)
    return tuple(found)


def fix_of(kind: str, problem: Problem, subcommand: str) -> str:
    """The sentence for people: what to write instead, or where."""
    if not problem.token.strip():
        return "Take the backslash before the end of the line away: YAML's | keeps both."
    if " " in problem.token.strip():
        return "Make each word a member of the list of its own."
    if kind == "misplaced_option":
        meant = problem.candidates[0] if problem.candidates else problem.option
        side = "behind" if problem.before_app else "before"
        own = "its own options" if problem.before_app else "options of Celery itself, as -A,"
        return f"Write {meant} {side} {subcommand}: {own} belong there."
    named = kind == "unknown_command" or (kind == "unknown_option" and is_meant(problem))
    if problem.candidates and named:
        first = problem.candidates[0]
        old = problem.option or problem.token
        if surely(old, problem.candidates):
            return f"Write {first} instead of {old}."
        return f"Write the one that was meant instead of {old}: {listed(problem.candidates[:3])}."
    if kind == "bad_value" and problem.token[:2] == problem.option and problem.token[2:3] == "=":
        return f"Write {problem.option} {problem.token[3:]}: behind a single dash stands no equals sign."
    if kind == "unexpected_argument" and problem.candidates:
        return f"Write {problem.candidates[0]}, with hyphens: the dash there is another sign."
    if kind == "bad_value" and problem.candidates:
        return f"One of: {', '.join(problem.candidates[:12])}."
    if kind == "unknown_option" and problem.option in GONE:
        return f"Take {problem.option} out, it is gone since Celery 4.0: {GONE[problem.option]}."
    if kind == "unknown_option" and (others := having(problem, subcommand)):
        return f"Take {problem.option} out: only Celery {spread(others)} has it."
    if kind == "unknown_option":
        return (
            f"Take {problem.option or problem.token} out, unless the application adds it (app.user_options)."
        )
    if kind == "no_command":
        return "Name what is to run: celery -A app worker (or beat, flower)."
    if kind == "unexpected_argument":
        return f"Take {shown(problem.token, 40)} out, or write the option that it belongs to."
    return ""
