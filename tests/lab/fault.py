"""What a fault file says. The format is described in README.md beside this file.

Faults are found by the files in a folder; nothing in the lab's code knows a fault by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tests.lab.names import USUAL, Names, renamed
from tests.lab.pairs import laid_over, together
from tests.lab.place import BROKERS
from tests.lab.waiting import CONDITIONS

FOLDER = Path(__file__).resolve().parent / "faults"

EDITABLE = ("backend", "infra", "env", "infra_env")
STEP_KINDS = ("sql", "task", "run", "wait", "compose")
_KEYS = {
    "title", "like", "edits", "infra", "image", "steps", "wait_for", "expect", "choice", "manual",
    "quiet_seconds", "stopped_ok", "gone_ok", "true_health", "long",
    "alone", "pair", "renamed", "broker", "broker_after",
}  # fmt: skip
_EXPECT_KEYS = {"causes", "verdict", "not"}
_CAUSE_KEYS = {"name", "services", "object", "state"}
_MANUAL_KEYS = {"image", "steps", "edits"}


class BadFault(ValueError):
    """A fault file that cannot be meant as it stands; the message names the file and the place."""


@dataclass(frozen=True)
class ExpectedCause:
    """A cause that the diagnosis must name. ``services`` is a set; ``object`` None means that any will do;
    ``state`` is one word or one for each service."""

    name: str
    services: frozenset[str]
    object: str | None
    state: str | Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """One way in which the stack is broken, what must be said of it, and what cures it.

    ``backend`` and ``infra`` are Compose overrides (empty where the fault needs none); ``image`` maps a
    service to its changes of the requirement set, ``None`` standing for all services; ``steps_before`` run
    when the infrastructure answers and the backend is not there, ``steps_after`` when the backend was
    started; ``wait_for`` is what must then hold. Times are in seconds.
    """

    name: str
    path: Path
    title: str
    backend: Mapping[str, Any] = field(default_factory=dict)
    infra: Mapping[str, Any] = field(default_factory=dict)
    edits: tuple[Mapping[str, Any], ...] = ()
    image: Mapping[str | None, Mapping[str, str | None]] = field(default_factory=dict)
    steps_before: tuple[Mapping[str, Any], ...] = ()
    steps_after: tuple[Mapping[str, Any], ...] = ()
    wait_for: Mapping[str, Any] = field(default_factory=dict)
    expected: tuple[ExpectedCause, ...] = ()
    verdict: str = "ok"
    unexpected: tuple[str, ...] = ()
    choice: Mapping[str, str] = field(default_factory=dict)
    manual: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quiet_seconds: float = 20
    stopped_ok: tuple[str, ...] = ()
    gone_ok: tuple[str, ...] = ()
    true_health: tuple[str, ...] = ()
    long: bool = False
    alone: bool = False
    broker_after: str = ""
    names: Names = USUAL
    broker: str = "redis"


def fault_names(folder: Path | str = FOLDER) -> list[str]:
    """The names of all faults in a folder, sorted."""
    return sorted(path.stem for path in Path(folder).glob("*.yml"))


def load_fault(fault: str | Path, folder: Path | str = FOLDER) -> Fault:
    """Reads a fault by its name in `folder`, or by the path of its file. Raises BadFault."""
    path = Path(fault)
    if path.suffix != ".yml":
        path = Path(folder) / f"{fault}.yml"
    if not path.is_file():
        there = ", ".join(fault_names(path.parent)) or "none"
        raise BadFault(f"there is no fault {fault} in {path.parent} (there: {there})")

    def bad(text: str) -> BadFault:
        return BadFault(f"{path.name}: {text}")

    content, spec = _read(path, bad)
    names = renamed() if spec.get("renamed") else USUAL
    content, spec = names.fault(content), names.fault(spec)
    _known(spec, _KEYS, bad, "x-fault")
    if not spec.get("title"):
        raise bad("x-fault.title is missing")
    steps = spec.get("steps") or {}
    _known(steps, {"before", "after"}, bad, "x-fault.steps")
    expect = spec.get("expect") or {}
    _known(expect, _EXPECT_KEYS, bad, "x-fault.expect")
    if "verdict" not in expect:
        raise bad("x-fault.expect.verdict is missing")
    if spec.get("broker", "redis") not in BROKERS:
        raise bad(f"x-fault.broker is one of {', '.join(BROKERS)}")
    manual = spec.get("manual") or {}
    for name, done in manual.items():
        _known(done, _MANUAL_KEYS, bad, f"x-fault.manual.{name}")
    return Fault(
        name=path.stem,
        path=path,
        title=spec["title"],
        backend=content,
        infra=spec.get("infra") or {},
        edits=_edits(spec.get("edits"), bad),
        image=_image(spec.get("image")),
        steps_before=_steps(steps.get("before"), bad),
        steps_after=_steps(steps.get("after"), bad),
        wait_for=_conditions(spec.get("wait_for") or {}, bad),
        expected=tuple(_cause(cause, bad) for cause in expect.get("causes") or ()),
        verdict=expect["verdict"],
        unexpected=tuple(expect.get("not") or ()),
        choice=spec.get("choice") or {},
        manual={
            name: {
                "image": _image(done.get("image")),
                "steps": _steps(done.get("steps"), bad),
                "edits": _edits(done.get("edits"), bad),
            }
            for name, done in manual.items()
        },
        quiet_seconds=float(spec.get("quiet_seconds", 20)),
        stopped_ok=tuple(spec.get("stopped_ok") or ()),
        gone_ok=tuple(spec.get("gone_ok") or ()),
        true_health=tuple(spec.get("true_health") or ()),
        long=bool(spec.get("long", False)),
        alone=bool(spec.get("alone", False)),
        broker_after=str(spec.get("broker_after") or ""),
        names=names,
        broker=spec.get("broker", "redis"),
    )


def _read(path: Path, bad) -> tuple[dict[str, Any], dict[str, Any]]:
    """The file's Compose override and its x-fault block, with those of the faults that it is ``like`` or a
    ``pair`` of."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("x-fault"), dict):
        raise bad("a fault is a Compose file with an x-fault block")
    spec = content.pop("x-fault")
    pair = spec.pop("pair", None)
    if pair is not None:
        if not isinstance(pair, list) or len(pair) != 2 or "like" in spec:
            raise bad("a pair is of two faults, and not like a third")
        parts = [_read(_beside(path, name, bad), bad) for name in pair]
        content = laid_over(laid_over(parts[0][0], parts[1][0]), content)
        return content, together([part[1] for part in parts], spec, bad)
    like = spec.pop("like", None)
    if like is None:
        return content, spec
    content_there, spec_there = _read(_beside(path, like, bad), bad)
    return content_there | content, spec_there | spec


def _beside(path: Path, name: str, bad) -> Path:
    other = path.with_name(f"{name}.yml")
    if not other.is_file() or other == path:
        raise bad(f"there is no other fault {name} beside it")
    return other


def _known(given: Mapping[str, Any], known: set[str], bad, where: str) -> None:
    if not isinstance(given, Mapping):
        raise bad(f"{where} is not a mapping")
    unknown = set(given) - known
    if unknown:
        raise bad(f"{where} has no {', '.join(sorted(unknown))} (it has: {', '.join(sorted(known))})")


def _conditions(given: Any, bad) -> Mapping[str, Any]:
    _known(given, CONDITIONS, bad, "wait_for")
    return given


def _edits(given: Any, bad) -> tuple[Mapping[str, Any], ...]:
    edits = tuple(given or ())
    for edit in edits:
        _known(edit, {"file", "old", "new", "count"}, bad, "an edit")
        if edit.get("file") not in EDITABLE or not edit.get("old") or not isinstance(edit.get("new"), str):
            raise bad(f"an edit needs file ({', '.join(EDITABLE)}), old and new: {dict(edit)}")
    return edits


def _steps(given: Any, bad) -> tuple[Mapping[str, Any], ...]:
    steps = tuple(given or ())
    for step in steps:
        if not isinstance(step, Mapping) or sum(kind in step for kind in STEP_KINDS) != 1:
            raise bad(f"a step is exactly one of {', '.join(STEP_KINDS)}: {step}")
        if isinstance(step.get("wait"), Mapping):
            _conditions(step["wait"], bad)
    return steps


def _image(given: Mapping[str, Any] | None) -> dict[str | None, dict[str, str | None]]:
    """`{package: version}` for all services, or `{service: {package: version}}` (``all`` for the rest)."""
    given = given or {}
    if given and all(isinstance(value, Mapping) for value in given.values()):
        return {None if service == "all" else service: dict(changes) for service, changes in given.items()}
    return {None: dict(given)} if given else {}


def _cause(given: Mapping[str, Any], bad) -> ExpectedCause:
    _known(given, _CAUSE_KEYS, bad, "an expected cause")
    if set(given) - {"object"} != _CAUSE_KEYS - {"object"}:
        raise bad(f"an expected cause needs name, services and state: {dict(given)}")
    return ExpectedCause(given["name"], frozenset(given["services"]), given.get("object"), given["state"])
