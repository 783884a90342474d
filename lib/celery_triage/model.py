"""The words of the tool as plain frozen data: evidence, sections, findings, causes, diagnosis.

Nothing here touches the world, formats for people or decides. Everything can be turned into JSON and back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 1

#: What can become of a section. Only ``ok`` lets a check be quiet; ``partial`` lets it fire, never be quiet.
STATUSES = ("ok", "partial", "no_reply", "denied", "timeout", "unreachable", "vanished", "withheld")
READABLE = ("ok", "partial")

SEVERITIES = ("critical", "warning", "notice")
STATES = ("active", "latent", "history")
CERTAINTIES = ("confirmed", "inferred", "reported")
OUTCOMES = ("fired", "quiet", "unknown", "not_applicable", "broken")
VERDICTS = ("critical", "unknown", "warning", "ok")  # worst first; "settling" qualifies a verdict, it is none
EXIT_CODES = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}


@dataclass(frozen=True)
class Section:
    """One part of the evidence.

    ``data`` is plain JSON data, already masked; ``why`` is one sentence for every status but ``ok``;
    ``how`` says by which way it was seen (the call, from where); ``taken_at`` is ISO 8601 in UTC.
    """

    name: str
    status: str
    data: Any = None
    why: str = ""
    how: str = ""
    taken_at: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"section {self.name}: {self.status!r} is not one of {', '.join(STATUSES)}")
        if self.status != "ok" and not self.why:
            raise ValueError(f"section {self.name}: status {self.status} needs a sentence why")

    @property
    def readable(self) -> bool:
        return self.status in READABLE


@dataclass(frozen=True)
class Evidence:
    """What was seen of one stack. ``origin`` is ``live`` or the path of the bundle that it was read from."""

    target: str
    taken_at: str
    sections: Mapping[str, Section] = field(default_factory=dict)
    calls: tuple[str, ...] = ()
    origin: str = "live"
    #: Versions of this tool and of what it asked with.
    tool: Mapping[str, str] = field(default_factory=dict)
    #: What the user asked for (project, no_broadcast …).
    options: Mapping[str, Any] = field(default_factory=dict)

    def section(self, name: str) -> Section:
        """The section of that name; one that was never collected answers as ``no_reply``."""
        found = self.sections.get(name)
        if found is not None:
            return found
        return Section(name, "no_reply", why="this evidence does not hold the section")

    def data(self, name: str, default: Any = None) -> Any:
        """The data of a readable section, else ``default``."""
        section = self.sections.get(name)
        return section.data if section is not None and section.readable else default

    def under(self, prefix: str) -> dict[str, Section]:
        """All sections ``prefix/…`` by what follows the slash, in the order of their names."""
        head = prefix + "/"
        names = sorted(name for name in self.sections if name.startswith(head))
        return {name[len(head):]: self.sections[name] for name in names}


@dataclass(frozen=True)
class Proof:
    """A quotation: where it stands (section, 1-based line where there are lines), when it was, its text."""

    section: str
    text: str
    line: int | None = None
    time: str | None = None


@dataclass(frozen=True)
class Edit:
    """One fragment of one line of one file.

    ``sha256`` is of the whole original line without its line end; empty where the line holds a secret or the
    file could not be read."""

    file: str
    line: int | None
    old: str
    new: str
    sha256: str = ""


@dataclass(frozen=True)
class Option:
    """One way of a remedy that is a choice."""

    name: str
    summary: str
    edits: tuple[Edit, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remedy:
    """How to cure it. ``exact``: these edits, then these commands, cure it. ``choice``: ``question`` decides
    among ``options``. ``manual``: ``summary`` says what a person must do. ``risk`` says what the commands
    cost, in words."""

    kind: str
    summary: str
    edits: tuple[Edit, ...] = ()
    commands: tuple[str, ...] = ()
    question: str = ""
    options: tuple[Option, ...] = ()
    risk: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("exact", "choice", "manual"):
            raise ValueError(f"remedy kind {self.kind!r}")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    ``services`` are labels of the stack (see ``stack``), ``object`` is what it is about (option, database,
    host …). ``service_states`` gives the state for each service where they differ. ``explained_by`` is the id
    of the cause that explains it, None for a cause."""

    code: str
    name: str
    severity: str
    title: str
    services: tuple[str, ...] = ()
    object: str = ""
    state: str = "active"
    certainty: str = "confirmed"
    proof: tuple[Proof, ...] = ()
    remedy: Remedy | None = None
    verify: tuple[str, ...] = ()
    detail: str = ""
    id: str = ""
    explained_by: str | None = None
    service_states: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for value, allowed in (
            (self.severity, SEVERITIES), (self.state, STATES), (self.certainty, CERTAINTIES),
        ):
            if value not in allowed:
                raise ValueError(f"{self.code}: {value!r} is not one of {', '.join(allowed)}")

    @property
    def fingerprint(self) -> str:
        """The same finding in two diagnoses: code, services, object."""
        return "|".join((self.code, ",".join(sorted(self.services)), self.object))


@dataclass(frozen=True)
class Outcome:
    """What became of one check: one of OUTCOMES, with the sentence why for ``unknown`` and ``broken``."""

    code: str
    name: str
    outcome: str
    why: str = ""
    missing: tuple[str, ...] = ()  # the sections that could not be read


@dataclass(frozen=True)
class Diagnosis:
    """All findings with the ids of the causes in order, the outcome of every check, and the verdict."""

    target: str
    taken_at: str
    verdict: str
    findings: tuple[Finding, ...] = ()
    causes: tuple[str, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    settling: tuple[str, ...] = ()  # services younger than their proof needs, with the seconds left, in words
    origin: str = "live"

    def finding(self, id: str) -> Finding:
        return next(f for f in self.findings if f.id == id)

    @property
    def cause_findings(self) -> tuple[Finding, ...]:
        return tuple(self.finding(id) for id in self.causes)

    def consequences(self, id: str) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.explained_by == id)


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as JSON data (dicts, lists, strings, numbers)."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    return value


def worst(verdicts: Iterable[str]) -> str:
    """The worst of some verdicts, never a mean; ``ok`` for none."""
    return min(verdicts, key=VERDICTS.index, default="ok")


def dumps(value: Any) -> str:
    """JSON that is the same for the same value: sorted keys, two spaces, non-ASCII kept."""
    return json.dumps(plain(value), ensure_ascii=False, indent=2, sort_keys=True)


__all__ = [
    "CERTAINTIES", "EXIT_CODES", "OUTCOMES", "READABLE", "SCHEMA", "SEVERITIES", "STATES", "STATUSES",
    "VERDICTS", "Diagnosis", "Edit", "Evidence", "Finding", "Option", "Outcome", "Proof", "Remedy", "Section",
    "dumps", "plain", "worst",
]
