"""Parsing a broker, result or database URL the way that the program which gets it parses it.

Two grammars, both measured: SQLAlchemy's for databases (``sql.py``), kombu's for all others (``wire.py``).
What breaks one is often legal in the other (``@`` in a password, ``/`` in a password); only what breaks is
a problem.
"""

from __future__ import annotations

import re

from celery_triage.urls import schemes
from celery_triage.urls.model import ParsedUrl, Problem, unset_variables
from celery_triage.urls.sql import BROKER_PREFIXES, PREFIXES, RESULT_PREFIXES, parse_sql
from celery_triage.urls.wire import parse_wire

PURPOSES = ("broker", "result", "database", "")
_WHEN_EMPTY = {"broker": "Celery then takes its default, localhost:5672 by AMQP",
               "result": "Celery then keeps no results"}


def parse(text: str, purpose: str = "") -> ParsedUrl:
    """What ``text`` means to the program that uses it as ``purpose`` (broker, result, database; ``""``: as
    its scheme says). Never raises for a bad text; whatever cannot be read is told in ``problems``, and the
    parts are then filled with what was probably meant."""
    if purpose not in PURPOSES:
        raise ValueError(f"{purpose!r} is not one of {', '.join(PURPOSES)}")
    problems: list[Problem] = []
    body = _bare(text, problems)
    if not body:
        then = _WHEN_EMPTY.get(purpose, "there is nothing to connect to")
        problems.insert(0, Problem("empty", f"The value is empty; {then}."))
        return ParsedUrl(text, purpose, problems=tuple(problems))
    if unset := unset_variables(body):
        problems.append(Problem(
            "unset", f"{', '.join(unset)} was never replaced by a value: it stands there literally."))
    scheme, separator, rest = body.partition("://")
    if not separator or not re.fullmatch(r"[\w.+-]+", scheme):
        return _without_scheme(text, body, purpose, problems)
    first = scheme.partition("+")[0]
    purpose = purpose or guess_purpose(scheme)
    if schemes.is_sql(first) or first in PREFIXES:
        return parse_sql(text, purpose, scheme, rest, problems)
    return parse_wire(text, purpose, scheme, body, problems)


def guess_purpose(scheme: str) -> str:
    """The purpose that a scheme alone decides: broker, result, database, or ``""`` (redis can be either)."""
    first = scheme.partition("+")[0]
    if first in BROKER_PREFIXES or schemes.BROKERS.get(first.lower()) in ("amqp", "sqs", "kafka", "qpid"):
        return "broker"
    if first in RESULT_PREFIXES or first in ("rpc", "cache", "file"):
        return "result"
    return "database" if schemes.is_sql(first) else ""


def _bare(text: str, problems: list[Problem]) -> str:
    """The text without what does not belong to it: surrounding quotes and blanks."""
    body = text.strip()
    if len(body) > 1 and body[0] in "'\"" and body[-1] == body[0]:
        problems.append(Problem(
            "quoted", f"The quotes ({body[0]}) are part of the value: whoever set it quoted it twice."))
        return body[1:-1].strip()
    if body and body[0] in "'\"":
        problems.append(Problem("quoted", f"The value begins with a quote ({body[0]}) that is never closed."))
        return body[1:]
    if body and body != text:
        # A leading blank makes kombu 5.7 read the host as the path; a trailing one belongs to the last part.
        problems.append(Problem("space", "There is a blank or a line end before or after the URL."))
    return body


def _without_scheme(text: str, body: str, purpose: str, problems: list[Problem]) -> ParsedUrl:
    table = schemes.RESULTS if purpose == "result" else schemes.BROKERS
    if body in table:  # a bare name is legal: `result_backend = "rpc"`
        port = schemes.PORTS.get(body)
        if port:
            problems.append(Problem("empty_host", f"It names no host: Celery then connects to "
                                                  f"localhost:{port}, which is the container itself."))
        return ParsedUrl(text, purpose, scheme=body, family=table[body], transport=body, port=port,
                         hosts=(("localhost", port),) if port else (), problems=tuple(problems))
    slip = re.match(r"(\w[\w+-]*):?/{0,2}(?!/)", body)
    if unset_variables(body) and not slip:
        pass  # `${BROKER_URL}`: that it is unset says it all
    elif slip and schemes.known(slip[1]) and "://" not in body:
        problems.append(Problem("no_scheme", f"Behind {slip[1]} there should be ://, and it is not.",
                                hint=f"{slip[1]}://"))
    elif purpose == "broker":
        problems.append(Problem("no_scheme", "It has no scheme (such as redis:// or amqp://); kombu then "
                                             "takes all of it for the name of an AMQP host."))
    else:
        problems.append(Problem("no_scheme", "It has no scheme (such as redis:// or db+postgresql://)."))
    return ParsedUrl(text, purpose, problems=tuple(problems))
