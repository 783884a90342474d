"""Where a service's URLs come from: options of its command, its environment, the banner in its own log.

A variable is taken for what its value is, then for what its name says; no list of names decides. Order of
preference for one purpose: the command's option, a variable that the user named, the variables that Celery
itself reads, other variables named for it, the banner, and last a variable that only might be it. Celery
reads ``BROKER_URL`` and ``RESULT_BACKEND`` as if they were options of its command (5.0 to 5.7,
``celery/bin/celery.py``; measured with 5.7.0: they win over the others), then ``CELERY_BROKER_URL`` and
``CELERY_RESULT_BACKEND`` before the app's own settings (5.4 to 5.7, ``celery/app/utils.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from celery_triage.urls import ParsedUrl, Problem, guess_purpose, known, parse

_BROKER = {"BROKER", "BROKERS"}
_RESULT = {"RESULT", "RESULTS"}
_DATABASE = {"DATABASE", "DB", "SQLALCHEMY", "POSTGRES", "POSTGRESQL", "PG", "MYSQL", "DSN", "SQL", "ALEMBIC"}
_NEITHER = {"CACHE", "CACHES", "SESSION", "SESSIONS", "CHANNEL", "CHANNELS", "LOCK", "LOCKS", "LIMITER"}
_ORDER = ("broker", "result", "database", "other", "metrics")
#: The variables that Celery itself reads, by their order.
_OWN = {"BROKER_URL": 2, "RESULT_BACKEND": 2, "CELERY_BROKER_URL": 3, "CELERY_RESULT_BACKEND": 3}
_METRICS = {"METRICS", "METRIC", "PROMETHEUS", "PUSHGATEWAY"}
#: Variables that mean a URL even when their value does not look like one.
_SURE_NAME = re.compile(
    r"(?:\w*_)?(?:BROKER(?:_URL|_URI)?|RESULT_BACKEND(?:_URL|_URI)?|DATABASE_UR[LI]|BACKEND_UR[LI])$", re.I)


@dataclass(frozen=True)
class Url:
    """One URL of one service. ``purpose``: broker, result, database, metrics or other; ``source`` says
    where it stands (``env CELERY_BROKER_URL``, ``option --broker``, ``banner``), ``var`` is the variable's
    name. ``used`` is true for the one of each purpose that the service goes by; ``guessed`` when neither
    its name nor its scheme says what it is for. ``rank`` orders those of one purpose, smallest first."""

    purpose: str
    source: str
    var: str | None
    text: str = field(repr=False)
    parsed: ParsedUrl
    guessed: bool = False
    used: bool = False
    rank: int = 6

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.parsed.problems


def urls_of(
    env: Mapping[str, str],
    options: Mapping[str, Any],
    banner: Mapping[str, str],
    *,
    is_celery: bool,
    named: Mapping[str, Sequence[str]] | None = None,
    problems: Mapping[str, Iterable[Any]] | None = None,
) -> list[Url]:
    """All URLs, those in use first. ``options`` and ``banner`` map purposes to texts; ``named`` maps
    purposes to the variables that the user named for them; ``problems`` are those seen before masking, by
    source."""
    named = named or {}
    found = [Url(purpose, f"option {name}", None, text, parse(text, purpose), rank=0)
             for purpose, (name, text) in options.items()]
    found += list(_from_env(env, named, is_celery))
    found += list(_from_banner(banner))
    found = [_with_problems(url, (problems or {}).get(url.source)) for url in found]
    found = _settle_guesses(found, is_celery)
    found.sort(key=lambda url: url.rank)
    done: set[str] = set()
    result = []
    for url in found:
        settles = url.purpose in ("broker", "result") and (url.text.strip() or url.rank < 2)
        result.append(replace(url, used=bool(settles and url.purpose not in done)))
        if settles:
            done.add(url.purpose)
    return sorted(result, key=lambda url: (not url.used, _ORDER.index(url.purpose), url.rank, url.source))


def _from_env(env: Mapping[str, str], named: Mapping[str, Sequence[str]], is_celery: bool) -> Iterator[Url]:
    asked = {name: purpose for purpose, names in named.items() for name in names}
    for name, value in env.items():
        source = f"env {name}"
        if name in asked:
            yield Url(asked[name], source, name, value, parse(value, asked[name]), rank=1)
            continue
        looks = looks_like_url(value)
        if not looks and not (_SURE_NAME.match(name) and (is_celery or "://" in value or "$" in value)):
            continue
        purpose, guessed = purpose_of(name, value)
        if purpose == "metrics" or purpose == "other" and not looks:
            if purpose == "metrics":
                yield Url(purpose, source, name, value, parse(value), rank=5)
            continue
        rank = _OWN.get(name, 6 if guessed else 4)
        reads = purpose if purpose in ("broker", "result", "database") else ""
        yield Url(purpose, source, name, value, parse(value, reads), guessed, rank=rank)


def looks_like_url(value: str) -> bool:
    """Whether a value is a URL of a scheme that can be a broker, a result backend or a database."""
    body = value.strip().strip("'\"").strip()
    scheme, separator, _ = body.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][\w+.-]*", scheme):
        return False
    return known(scheme) and scheme.lower() not in ("file", "s3", "gs", "cache")


def purpose_of(name: str, value: str) -> tuple[str, bool]:
    """(purpose, guessed) of a variable, by the words of its name and the scheme of its value."""
    words = set(re.split(r"[^A-Z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()))
    scheme = value.strip().strip("'\"").partition("://")[0]
    by_scheme = guess_purpose(scheme)
    if words & _METRICS and scheme in ("http", "https"):
        return "metrics", False
    if scheme.startswith(("db+", "database+")):
        return ("broker" if words & _BROKER else "result"), False
    if words & _BROKER:
        return "broker", False
    if words & _RESULT or ("BACKEND" in words and ("CELERY" in words or by_scheme != "database")
                           and not words & (_NEITHER | _DATABASE)):
        return "result", False
    if by_scheme == "database" or (words & _DATABASE and not by_scheme and not scheme.startswith("redis")):
        return "database", not words & _DATABASE
    if by_scheme in ("broker", "result"):
        return by_scheme, by_scheme == "broker" and "CELERY" not in words
    return "other", True


def _settle_guesses(found: list[Url], is_celery: bool) -> list[Url]:
    """A Redis URL that nothing names (``REDIS_URL``) is taken for the broker of a Celery process that has no
    other, marked as a guess; the banner, where there is one, decides which of several it is."""
    if not is_celery:
        return found
    brokers = [url for url in found if url.purpose == "broker" and url.text.strip()]
    loose = [url for url in found if url.purpose == "other" and url.parsed.family == "redis"
             and not _NEITHER & set(url.var.upper().split("_"))]
    said = next((url for url in brokers if url.source == "banner"), None)
    if said is not None:
        same = [url for url in found if url.var and url.purpose in ("broker", "other")
                and url.parsed.server == said.parsed.server]
        if same:  # the banner hides the password; the variable that it came from has it
            return [replace(url, purpose="broker", guessed=False, rank=min(url.rank, 4),
                            parsed=parse(url.text, "broker")) if url is same[0] else url for url in found]
        return found
    if not brokers and loose:
        return [replace(url, purpose="broker", parsed=parse(url.text, "broker")) if url is loose[0] else url
                for url in found]
    return found


def _from_banner(banner: Mapping[str, str]) -> Iterator[Url]:
    for purpose, text in banner.items():
        # Celery prints a database backend without the db+ that its setting has (5.7, backends/base.py
        # as_uri).
        scheme = text.partition("://")[0]
        written = f"db+{text}" if purpose == "result" and guess_purpose(scheme) == "database" else text
        yield Url(purpose, "banner", None, text, parse(written, purpose), rank=5)


def read_banner(texts: Iterable[str]) -> dict[str, Any]:
    """What the start banners of worker, beat and Flower say in a log, the last one counting: ``role``,
    ``broker``, ``result`` (texts, passwords hidden by Celery), ``queues`` (list)."""
    found: dict[str, Any] = {}
    for text in texts:
        if ".>" in text:
            if match := re.search(r"\.> transport:\s+(\S+://\S*)", text):
                found = {"role": "worker", "broker": match[1]}
            elif match := re.search(r"\.> results:\s+(\S+://\S*)", text):
                if not match[1].startswith("disabled"):
                    found["result"] = match[1]
            elif match := re.search(r"\.> (\S+)\s+exchange=", text):
                found.setdefault("queues", []).append(match[1])
        elif match := re.search(r"\. broker -> (\S+://\S*)", text):
            found = {"role": "beat", "broker": match[1]}
        elif match := re.search(r"command:\d+\] Broker: (\S+://\S*)", text):
            found = {"role": "flower", "broker": match[1]}
    return found


def _with_problems(url: Url, seen: Iterable[Any] | None) -> Url:
    """The URL with the problems that were seen in it before it was masked (kind, text, stops, hint)."""
    if seen is None:
        return url
    told = tuple(Problem(**{key: entry[key] for key in ("kind", "text", "stops", "hint") if key in entry})
                 for entry in seen)
    return replace(url, parsed=replace(url.parsed, problems=told))
