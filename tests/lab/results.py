"""What one fault came to: the diagnosis held against what was expected, the oracle's judgements, one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

#: Exit codes of `celery-triage check`, as the README promises them to a monitoring system.
EXIT_CODES = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
PRESENT = ("active", "latent")
SCHEMA = 1


@dataclass(frozen=True)
class Judgement:
    """One thing that was judged, whether it holds, and why (what was seen)."""

    name: str
    ok: bool
    why: str = ""


@dataclass
class Comparison:
    """Causes as sentences. ``others`` are causes after the expected ones: told, no failure by themselves."""

    right: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    false_alarms: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.wrong or self.missed or self.false_alarms or self.problems)


def compare(
    diagnosis: Mapping[str, Any], expect: Mapping[str, Any], exit_code: int | None = None
) -> Comparison:
    """Holds a diagnosis (the JSON of ``check --json``) against a fault's ``expect``.

    The first N causes must be, as a set, the N expected ones that are active or latent; what is expected as
    history must be among the findings as history. Where nothing active or latent is expected, every cause is
    a false alarm. A name under ``not`` may not be active or latent, be it as a cause or as a consequence.
    """
    findings = {finding["id"]: finding for finding in diagnosis.get("findings") or ()}
    seen = Comparison()
    causes = []
    for id in diagnosis.get("causes") or ():
        if id in findings:
            causes.append(findings[id])
        else:
            seen.problems.append(f"cause {id} is not among the findings")
    for cause in causes:
        if cause.get("state") not in PRESENT:
            seen.problems.append(f"{_told(cause)} is listed as a cause")

    wanted = list(expect.get("causes") or ())
    present = [item for item in wanted if item.get("state") != "history"]
    first, rest = causes[:len(present)], causes[len(present):]
    for item in present:
        match = next((cause for cause in first if _matches(cause, item)), None)
        if match is None:
            seen.missed.append(_told(item))
        else:
            first.remove(match)
            seen.right.append(_told(match))
    seen.wrong = [_told(cause) for cause in first]
    if present:
        seen.others = [_told(cause) for cause in rest]
    else:
        seen.false_alarms = [_told(cause) for cause in rest]

    for item in wanted:
        if item.get("state") == "history":
            healed = next((found for found in findings.values() if _matches(found, item)), None)
            (seen.missed if healed is None else seen.right).append(_told(healed or item))

    forbidden = set(expect.get("not") or ())
    for finding in findings.values():
        told = _told(finding)
        if finding["name"] in forbidden and finding.get("state") in PRESENT and told not in seen.false_alarms:
            seen.false_alarms.append(told)

    if diagnosis.get("schema") != SCHEMA:
        seen.problems.append(f"schema {diagnosis.get('schema')} of the diagnosis, {SCHEMA} is published")
    verdict = diagnosis.get("verdict")
    if "verdict" in expect and verdict != expect["verdict"]:
        seen.problems.append(f"verdict {verdict}, expected {expect['verdict']}{_unseen(diagnosis)}")
    if exit_code is not None and exit_code != EXIT_CODES.get(str(verdict)):
        seen.problems.append(f"exit code {exit_code} with verdict {verdict}")
    return seen


def still_told(diagnosis: Mapping[str, Any], causes: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a diagnosis made after the cure still calls active or latent of the causes that were cured."""
    cured = {(cause["name"], str(cause.get("object"))) for cause in causes}
    return [
        _told(finding) for finding in diagnosis["findings"]
        if finding.get("state") in PRESENT and (finding["name"], str(finding.get("object"))) in cured
    ]


def _matches(finding: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """An expectation without an object fits any object; its state is one word or one for each service."""
    if finding["name"] != item["name"]:
        return False
    if set(finding.get("services") or ()) != set(item.get("services") or ()):
        return False
    if item.get("object") is not None and str(finding.get("object")) != str(item["object"]):
        return False
    state = item.get("state", "active")
    if isinstance(state, Mapping):
        own = finding.get("service_states") or {}
        return all(own.get(service, finding.get("state")) == word for service, word in state.items())
    return finding.get("state") == state


def _told(item: Mapping[str, Any]) -> str:
    services = ", ".join(sorted(item.get("services") or ())) or "-"
    about = f" {item['object']}" if item.get("object") else ""
    state = item.get("state", "active")
    if isinstance(state, Mapping):
        state = ", ".join(f"{service} {word}" for service, word in sorted(state.items()))
    return f"{item['name']}{about} [{services}] {state}"


def _unseen(diagnosis: Mapping[str, Any]) -> str:
    sections = [f"{item.get('section')}: {item.get('why')}" for item in diagnosis.get("unknown") or ()]
    broken = [f"{item.get('code')} broke: {item.get('why')}" for item in diagnosis.get("checks") or ()
              if item.get("outcome") == "broken"]
    settling = [f"settling: {item}" for item in diagnosis.get("settling") or ()]
    said = "; ".join([*sections, *broken, *settling])
    return f" ({said})" if said else ""


@dataclass
class Result:
    """One fault: what was diagnosed, by which kinds of remedy it was cured, what the oracle judged."""

    fault: str
    title: str = ""
    comparison: Comparison = field(default_factory=Comparison)
    kinds: tuple[str, ...] = ()
    remedy: str = ""  # the sentence why the remedy could not be carried out
    judgements: list[Judgement] = field(default_factory=list)
    error: str = ""  # why the fault could not be run to its end
    seconds: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    diagnosis: dict[str, Any] | None = None
    ran: list[dict[str, Any]] = field(default_factory=list)

    @property
    def cured(self) -> bool:
        if self.error or self.remedy:
            return False
        return bool(self.judgements) and all(judged.ok for judged in self.judgements)

    @property
    def ok(self) -> bool:
        return self.comparison.ok and self.cured

    @property
    def line(self) -> str:
        """The one line for people; what is not as it should be is spelled out below it by ``details``."""
        found = self.comparison
        kinds = "+".join(dict.fromkeys(self.kinds)) or "none needed"
        told = "cured" if self.cured else "not cured"
        if self.cured and not self.kinds:
            told = "well"
        return (
            f"{'ok  ' if self.ok else 'FAIL'} {self.fault:<24} causes {len(found.right)} right, "
            f"{len(found.wrong)} wrong, {len(found.missed)} missed; false alarms {len(found.false_alarms)}; "
            f"remedy {kinds}; {told}; {self.seconds:.0f} s"
        )

    @property
    def details(self) -> list[str]:
        """What is not as it should be, a sentence each, worst first."""
        found = self.comparison
        return [
            *([f"error: {self.error}"] if self.error else []),
            *(f"missed: {told}" for told in found.missed),
            *(f"wrong: {told}" for told in found.wrong),
            *(f"false alarm: {told}" for told in found.false_alarms),
            *found.problems,
            *([f"remedy: {self.remedy}"] if self.remedy else []),
            *(f"not cured: {judged.name}: {judged.why}" for judged in self.judgements if not judged.ok),
            *(f"also: {told}" for told in found.others),
        ]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "cured": self.cured, "ok": self.ok}


def as_json(results: Iterable[Result]) -> dict[str, Any]:
    """All results as plain data: ``ok`` only if every fault was told right and cured."""
    results = list(results)
    return {"schema": 1, "ok": bool(results) and all(result.ok for result in results),
            "faults": [result.as_json() for result in results]}
