"""Codes: what a signature's code is called, how bad it is, what to do. The rules' where there is a rule, else
those of ``data/codes.yml``: messages that nothing but a log can witness."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from celery_triage.checks import RULES
from celery_triage.model import Remedy
from celery_triage.signatures import Match, catalogue


@dataclass(frozen=True)
class Code:
    """``step`` is where in a start it strikes, ``heals`` whether a process that works afterwards has left it
    behind; ``do`` says what to do; ``explains`` are codes that follow from it."""

    code: str
    name: str
    severity: str
    step: str = ""
    heals: bool = True
    says: str = ""
    why: str = ""
    do: str = ""
    explains: tuple[str, ...] = ()


@cache
def log_codes() -> dict[str, Code]:
    """The codes without a rule, by code."""
    text = files("celery_triage").joinpath("data", "codes.yml").read_text(encoding="utf-8")
    found = {}
    for code, entry in yaml.safe_load(text).items():
        entry = {
            key: " ".join(value.split()) if isinstance(value, str) else value for key, value in entry.items()
        }
        entry["explains"] = tuple(entry.get("explains", ()))
        found[code] = Code(code, **entry)
    return found


@cache
def code_of(code: str) -> Code:
    """The code's name and weight: the rule's, else the log's; one that somebody's own signatures brought is
    called by itself."""
    rule, known = RULES.get(code), log_codes().get(code)
    if rule is not None:
        predicted = (one for prediction in rule.predicts for one in prediction.codes)
        explains = tuple(one for one in predicted if one in log_codes())
        return Code(
            code, rule.name, rule.severity, rule.step, rule.heals, do=_do(rule.page), explains=explains
        )
    return known or Code(code, "own-signature", "warning")


def page(code: str) -> str:
    """The page of a code without a rule, in the form of a rule's docstring; empty for an unknown one."""
    known = log_codes().get(code)
    if known is None:
        return ""
    messages = [one for one in catalogue() if one.code == code]
    seen = dict.fromkeys(f"* {one.says}" for one in messages)
    known_from = f"{len(messages)} message{'s' if len(messages) != 1 else ''}"
    return "\n\n".join(
        (
            known.says,
            f"## What\nKnown from logs only ({known_from}):\n" + "\n".join(seen) if seen else _TOGETHER,
            f"## Why\n{known.why}",
            f"## Do\n{known.do.replace('{}', 'what it names')}",
            "## False alarms\nOnly words are judged, so the certainty is never more than reported.",
        )
    )


#: Of a code that no single message shows.
_TOGETHER = "## What\nKnown from logs only, by several messages together."


def remedy_of(code: Code, match: Match, thing: str) -> Remedy:
    """What a person must do: the signature's own words, else those of its code."""
    own = next((one.do for one in catalogue() if one.id == match.signature), "")
    text = (own or code.do or "Correct what the message names, and start the service again.").replace(
        "{}", thing or "what it names"
    )
    return Remedy("manual", text)


def _do(page: str) -> str:
    """The part of a rule's page that says what to do."""
    _, _, behind = page.partition("## Do\n")
    return " ".join(behind.split("\n## ")[0].split())
