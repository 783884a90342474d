"""What a pasted log says: causes in order, what is healed, harmless, the application's own, unrecognised.

One witness only: nothing is ever more than *reported*. What a process said of itself counts until it shows
that it got past it; a server's own trouble explains what its clients say of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from celery_triage.checks.reports import titled
from celery_triage.checks.steps import STEPS
from celery_triage.exits import MEANINGS
from celery_triage.explain.codes import Code, code_of, remedy_of
from celery_triage.explain.judged import Harmless, Judged, Own, Strange
from celery_triage.explain.records import shown
from celery_triage.explain.subjects import Said, Subject, Unrecognised
from celery_triage.model import Finding, Proof, Remedy, worst
from celery_triage.redact import Redactor
from celery_triage.signatures import Match, catalogue

#: What clients say when the server of that role does not answer or is not there.
_SERVER_GONE = {
    "postgres": ("URL003", "URL004", "URL005", "DBS004", "DBS053"),
    "mysql": ("URL003", "URL004", "URL005", "DBS004", "DBS053"),
    "redis": ("URL003", "BRK001", "BRK002", "URL005"),
    "rabbitmq": ("URL003", "BRK001", "BRK002", "URL005"),
}
#: Codes of servers that end or refuse everything: these explain their clients.
_SERVER_STOPS = ("DBS057", "DBS058", "DBS059", "RDS050", "RMQ060", "RMQ061", "CTR050")
#: What supervisors say of a program that ends.
_ENDS = ("SUP050", "SUP051", "SUP053")
#: How far a process must have got afterwards for its words to be history, by the step at which they strike.
_START = STEPS.index("database")
#: What a server says while it is not ready; its word that it is makes it history.
_OVER_WHEN_READY = ("DBS004", "DBS056", "DBS059", "RDS052", "RDS053", "RDS063", "RDS065", "RMQ060")
#: What a script's wait for a server is over with.
_WAITED_FOR = ("URL003", "URL005", "DBS004", "NET050", "BRK001")
#: What is no cause by itself where it is said less than AGAIN times.
_NOW_AND_THEN, AGAIN = ("WRK002", "WRK009"), 3
#: So many of the last lines may be a program's end also where its logger wrote them.
VERY_LAST = 2
_ENDING = re.compile(
    r"(?i)shut(?:ting)? ?down|\b(?:exit(?:ing|ed)|abort(?:ing|ed)|terminating|giving up|gave up)\b"
    r"|(?:cannot|could not|can't|unable to|failed to|while) start|getaddrinfo failed"
)
#: So many different questions of Flower's unanswered are all of them (it asks eight, Flower 0.9 to 2.0).
QUESTIONS = 6
#: Lines that are quoted of one finding.
QUOTED = 3
#: Codes of which one thing is said in several ways: by a process and its signal, by a server and its clients.
_ONE_EACH = ("WRK001", "RDS050", "RDS051", "RDS054", "RDS063", "RMQ060")
#: Of these each service has one of its own: servers end at their start of one thing.
_ONE_BY_SERVICE = ("WRK001", "RDS063", "RMQ060")
#: The signature tells two of these apart, and who says it does not: every worker tells of all others.
_BY_SIGNATURE = ("WRK053",)
#: What is said of a module that is not there, by what the log shows of the command.
_IMPORTED = "A module that the application imports is not there."
_ONE_OF_BOTH = "The module that -A names, or one that the application imports, is not there."
#: What Python says of arguments that are missing.
_ARGUMENTS = re.compile(r"missing \d+ required positional argument|takes (?:at least|exactly) \d+ argument")
#: What click says of a value that is empty.
_EMPTY_VALUE = re.compile(r"invalid choice: \.|: '' is not one of")
#: Redis's word where a connection gave no login.
_NO_PASSWORD = re.compile(r"NOAUTH|Authentication required")
_SIGNAL = re.compile(r"signal \d+ \(SIG\w+\)")
_HOME = re.compile(r"localhost$|127\.\d+\.\d+\.\d+$|\[?::1\]?$|0\.0\.0\.0$")


@dataclass
class _Case:
    """One thing that is wrong, with everybody who says so."""

    code: Code
    thing: str
    says: str
    told: list[tuple[Subject, Said, str]] = field(default_factory=list)
    by: _Case | None = None
    worse: bool = False  # more than what is said of it alone

    @property
    def state(self) -> str:
        clients = [state for subject, _, state in self.told if not subject.role]
        # A server writes what its clients met: where all of these got past it, it is over for the server too.
        states = clients if clients and self.code.heals else [state for _, _, state in self.told]
        return "active" if "active" in states or "task" in states else "history"

    @property
    def severity(self) -> str:
        if self.state == "history" or self.seldom:
            return "notice"
        if all(state != "active" for _, _, state in self.told) and self.code.severity == "critical":
            return "warning"  # only tasks failed of it; the process goes on
        ends = ((said, begin, end) for one, said, _ in self.told for begin, end in one.ends)
        if any(begin <= line <= end for said, begin, end in ends for line in said.lines):
            return "critical"  # Celery's main process says itself that it ends of it
        return "critical" if self.worse else self.code.severity

    @property
    def seldom(self) -> bool:
        """Whether it is what happens now and then to a worker that works on: a task that was too slow, a
        process that was replaced."""
        if self.code.code not in _NOW_AND_THEN or sum(said.count for _, said, _ in self.told) >= AGAIN:
            return False
        return all(subject.marks.get("working", 0) > said.end for subject, said, _ in self.told)

    @property
    def first(self) -> int:
        return min(said.lines[0] for _, said, _ in self.told)


def judge(subjects: Sequence[Subject]) -> Judged:
    """The judgement over all subjects."""
    judged = Judged("ok")
    cases: dict[tuple[str, str], _Case] = {}
    # Several sentinels tell of one primary: the word of any that it was replaced holds for all.
    over = [subject.marks.get("working", 0) for subject in subjects if subject.role == "redis"]
    replaced = max(over, default=0)
    for subject in subjects:
        for said in subject.said.values():
            match = said.match
            if match.context == "quoted" or "tests" in subject.marks:
                judged.quoted += said.count
            elif (
                match.context in ("task", "logged")
                and not match.harmless
                and _applications(code_of(match.code))
            ):
                judged.own.append(Own(subject.label, shown(said.last_text), said.count, tuple(said.lines)))
            elif match.harmless:
                judged.harmless.append(
                    Harmless(
                        subject.label,
                        match.signature,
                        match.says,
                        match.harmless,
                        said.count,
                        tuple(said.lines),
                    )
                )
            else:
                code = code_of(match.code)
                thing = _named(subject, match)
                key = (code.code, _thing(subject, match, thing))
                case = cases.setdefault(key, _Case(code, thing, _says(subject, match)))
                told = (subject, said, _state(subject, said, code, replaced))
                closer = match.object.startswith(("signal", "exitcode")) or match.signature in _special()
                if code.code in _ONE_EACH and closer:
                    case.thing, case.says = match.object or case.thing, match.says
                    case.told.insert(0, told)
                else:
                    case.told.append(told)
        for unknown in subject.unknown.values():
            _unrecognised(judged, subject, unknown)
    _unanswered(judged, subjects, cases)
    _other_processor(cases)
    ordered = sorted(_together(list(cases.values())), key=_rank)
    _explained(ordered)
    ordered.sort(key=lambda case: case.by is not None)
    ids = {id(case): f"f{number}" for number, case in enumerate(ordered, 1)}
    for case in ordered:
        finding = _finding(case, ids[id(case)])
        if case.by is not None:
            finding = replace(finding, explained_by=ids[id(case.by)])
        judged.findings.append(finding)
    judged.causes = [
        finding.id
        for finding in judged.findings
        if finding.state != "history" and finding.explained_by is None and finding.severity != "notice"
    ]
    judged.verdict = _verdict(judged)
    return judged


def _other_processor(cases: dict[tuple[str, str], _Case]) -> None:
    """An image for another processor mostly runs slowly; where its program cannot be executed, it is why."""
    by_code = {case.code.code: case for case in cases.values()}
    platform, program = by_code.get("CPS059"), by_code.get("CMD052")
    if platform is not None and program is not None:
        platform.worse = True


@cache
def _special() -> frozenset[str]:
    """The signatures that know better than others what it is."""
    return frozenset(one.id for one in catalogue() if one.special)


def _unanswered(judged: Judged, subjects: Sequence[Subject], cases: dict[tuple[str, str], _Case]) -> None:
    """One question of Flower's that nobody answered says nothing; all of them say that nobody is there, where
    no worker in the paste shows that it works."""
    if any(subject.marks.get("working") for subject in subjects):
        return
    for subject in subjects:
        asked = [said for said in subject.said.values() if said.match.signature == "flower-inspect-failed"]
        if len({said.match.object for said in asked}) >= QUESTIONS:
            judged.harmless = [one for one in judged.harmless if one.signature != "flower-inspect-failed"]
            code = code_of("MON055")
            case = cases.setdefault((code.code, ""), _Case(code, "", code.says))
            case.told += [(subject, said, "active") for said in asked]


def _thing(subject: Subject, match: Match, thing: str) -> str:
    """What tells two cases of one code apart."""
    if match.code in _ONE_EACH:
        return subject.label if match.code in _ONE_BY_SERVICE else ""
    if match.code in _BY_SIGNATURE:
        return match.signature
    return thing.lower()


def _says(subject: Subject, match: Match) -> str:
    """The sentence of a message. Celery 5.0 says of any module that it is not there; where the command shows
    what ``-A`` names, the two are told apart."""
    if match.signature != "app-module-missing":
        return match.says
    if subject.app and subject.app.split(".")[0] == match.object.split(".")[0]:
        return match.says if match.object.startswith(subject.app) else _IMPORTED
    return _IMPORTED if subject.app else _ONE_OF_BOTH


def _named(subject: Subject, match: Match) -> str:
    """What a message is about. An AMQP client names no host: it is the one of the banner."""
    if match.code in ("BRK001", "BRK002") and match.signature.startswith(
        ("kombu-", "broker-client-", "amqp-access-refused")
    ):
        # kombu told it that no host was given, and what it takes in place of one.
        known = (said.match for said in subject.said.values())
        home = next((one.object for one in known if one.signature == "no-hostname"), "")
        return subject.broker or match.object or home
    if match.signature == "child-killed" and (found := _SIGNAL.search(match.text)):
        return found[0]
    secret = match.object in match.text and match.object not in Redactor().text(match.text)
    return "" if secret else match.object


def _applications(code: Code) -> bool:
    """Whether it is the application's own affair when a task meets it: what would strike a start (a missing
    module, a setting) stops no worker that runs."""
    return code.step in STEPS[: STEPS.index("database")]


def _state(subject: Subject, said: Said, code: Code, replaced: int) -> str:
    """``active``, ``task`` (only tasks failed of it, or a Celery process logged it) or ``history`` (the
    process got past it). What another program logs of itself may well be what ended it."""
    if said.match.context == "task" or (said.match.context == "logged" and subject.celery):
        return "task"
    if not code.heals and not (subject.role and code.code in _OVER_WHEN_READY):
        return "active"
    working = subject.marks.get("working", 0)
    if code.code == "RDS065":
        working = max(working, replaced)
    if code.code in _WAITED_FOR:
        working = max(working, subject.marks.get("reached", 0))
    if subject.role:
        return "history" if code.code in _OVER_WHEN_READY and working > said.end else "active"
    if code.step in STEPS and STEPS.index(code.step) <= _START:
        return "history" if max(working, 0) > said.end else "active"
    return "history" if max(working, subject.marks.get("connected", 0)) > said.end else "active"


def _together(cases: list[_Case]) -> list[_Case]:
    """Words without an object belong to the same thing said with one, where there is exactly one."""
    kept: list[_Case] = []
    for case in cases:
        others = [one for one in cases if one.code is case.code and one.thing and one is not case]
        if not case.thing and len(others) == 1:
            others[0].told += case.told
        else:
            kept.append(case)
    return kept


def _rank(case: _Case) -> tuple[int, int, int, int, int]:
    """Active before healed, critical first, what stops servers before what stops their clients, then in the
    order of a start, then as the log says it."""
    severity = ("critical", "warning", "notice").index(case.severity)
    server = 0 if case.code.code in _SERVER_STOPS else 1
    step = STEPS.index(case.code.step) if case.code.step in STEPS else len(STEPS)
    own = 0 if any(state == "active" for _, _, state in case.told) else 1
    return (case.state == "history", severity, own, server, step * 1_000_000 + min(case.first, 999_999))


def _explained(cases: list[_Case]) -> None:
    """What a server says of its own end explains what its clients say of it."""
    lines = {id(case): _lines(case) for case in cases}
    for case in cases:
        if case.state == "history" or case.severity == "notice" or case.code.code == "CTR051":
            continue
        for effect in cases:
            if effect is case or effect.by is not None or effect.state == "history":
                continue
            roles = {subject.role for subject, _, _ in case.told if subject.role}
            gone = case.code.code in _SERVER_STOPS and any(
                effect.code.code in _SERVER_GONE.get(role, ()) for role in roles
            )
            waits = effect.code.code == "CPS055" and any(
                _is_of(subject, effect.thing) for subject, _, _ in case.told
            )
            # A child that its time limit ends, a user that the server does not have: one thing said twice.
            same = {subject.label for subject, _, _ in case.told} & {one.label for one, _, _ in effect.told}
            twice = (case.code.code, effect.code.code) == ("WRK002", "WRK001") and bool(same)
            absent = (case.code.code, effect.code.code) == ("DBS002", "URL004") and case.thing == effect.thing
            # A supervisor says that a program ends, the program why.
            supervised = effect.code.code in _ENDS and case.code.code not in _ENDS
            ended = supervised and bool(same) and case.severity == "critical"
            reread = lines[id(effect)] <= lines[id(case)]  # two things read from the very same lines
            follows = effect.code.code in case.code.explains or effect.code.code == "CTR051"
            if gone or waits or twice or absent or ended or reread or follows:
                if case.by is not effect:
                    effect.by = case


def _lines(case: _Case) -> set[tuple[str, str, int]]:
    return {(one.source, one.label, line) for one, said, _ in case.told for line in said.lines}


def _is_of(subject: Subject, container: str) -> bool:
    """Whether a container that Compose names is the one that speaks."""
    name = subject.name
    return bool(name) and bool(re.search(rf"(?:^|[-_]){re.escape(name)}(?:[-_]\d+)?$", container))


def _finding(case: _Case, id: str) -> Finding:
    names = tuple(dict.fromkeys(subject.label for subject, _, _ in case.told))
    proof: list[Proof] = []
    for subject, said, _ in case.told:
        wanted = dict.fromkeys([said.lines[0], said.lines[-1]])
        where = f"{subject.source}, {subject.name}" if subject.name else subject.source
        for number, text, time in zip(
            wanted, (said.text, said.last_text), (said.first, said.last), strict=False
        ):
            if all((one.section, one.line) != (where, number) for one in proof):
                proof.append(Proof(where, shown(text), number, time))
    count = sum(said.count for _, said, _ in case.told)
    times = f" It is said {count} times." if count > 1 else ""
    goes_on = all(state != "active" for _, _, state in case.told)
    of_task = any(said.match.context == "task" for _, said, _ in case.told)
    what = "Tasks failed of it; the process that ran them goes on."
    what = what if of_task else "The process logged it and goes on."
    title = titled(names, case.says, case.thing)
    detail = {"history": "The process got past it later in this log."}.get(
        case.state, what if goes_on else ""
    )
    if case.code.code == "DBS001" and all(subject.role == "postgres" for subject, _, _ in case.told):
        detail = (
            "Only the server says so: a health check with pg_isready -U and without -d asks for a database "
            "of its user's name, and harms nothing."
        )
    return Finding(
        case.code.code,
        case.code.name,
        case.severity,
        title,
        services=names,
        object=case.thing,
        state=case.state,
        certainty="reported",
        proof=tuple(proof[: 2 * QUOTED]),
        remedy=None if case.state == "history" else _remedy(case),
        detail=f"{detail}{times}".strip(),
        id=id,
    )


def _remedy(case: _Case) -> Remedy:
    """What to do; a server that is looked for at home is looked for in the wrong place first of all."""
    remedy = remedy_of(case.code, case.told[0][1].match, case.thing)
    first = ""
    text = case.told[0][1].text
    if case.code.code == "CMD001" and case.thing in ("-A", "--app"):
        first = "Celery 5 takes it before the sub-command: `celery -A proj worker …`. "
    elif case.code.code == "BEA053" and _ARGUMENTS.search(text):
        first = "The entry of the schedule lacks arguments of its task: give it `args` or `kwargs`. "
    elif case.code.code == "CMD001" and _EMPTY_VALUE.search(text):
        first = "Its value is empty: the variable that should give it is not set in this service. "
    elif case.code.code in ("BRK001", "URL005") and _HOME.match(case.thing):
        first = f"{case.thing} is the container itself: write the name of the Compose service into the URL. "
        if case.code.code == "BRK001":
            first += (
                "Without any broker URL Celery takes amqp://guest@localhost; look whether the variable "
                "reaches this service. "
            )
        first += "Otherwise: "
    elif case.code.code in ("BRK001", "URL005") and "refused" in text:
        first = "Where it is only starting: `depends_on` with `condition: service_healthy`. Otherwise: "
    elif case.code.code == "BRK002" and _NO_PASSWORD.search(text):
        first = "This connection gives no password at all: `redis://:PASSWORD@HOST:6379/0` in its URL. "
    elif case.code.code == "CTR051" and case.thing.isdigit() and int(case.thing) in MEANINGS:
        meaning, decides = MEANINGS[int(case.thing)]
        first = f"{case.thing}: {meaning}. {decides} "
    return replace(remedy, summary=f"{first}{remedy.summary}")


def _unrecognised(judged: Judged, subject: Subject, unknown: Unrecognised) -> None:
    shape = unknown.shape
    working = max(subject.marks.get(mark, 0) for mark in ("working", "connected", "reached"))
    if shape.context == "task":
        judged.own.append(Own(subject.label, shape.text, unknown.count, tuple(unknown.lines)))
        return
    # Servers write what their clients did wrong; what they say before they are ready is their own.
    own = not subject.role or (not working and (subject.role == "rabbitmq" or shape.level != "ERROR"))
    # An application goes on after most errors that it logs; its very last words may tell of its end.
    very_last = (
        not subject.celery
        and not set(list(subject.tail)[-VERY_LAST:]).isdisjoint(unknown.lines)
        and (shape.level in ("CRITICAL", "FATAL") or _ENDING.search(shape.text) is not None)
    )
    ends = (
        own
        and "tests" not in subject.marks
        and working < unknown.lines[-1]
        and shape.level in ("ERROR", "CRITICAL", "FATAL")
        and (not unknown.logged or very_last)
        and (unknown.deadly or unknown.end in subject.tail)
    )
    judged.strange.append(
        Strange(
            subject.label, shape.shape, shape.text, shape.level, unknown.count, tuple(unknown.lines), ends
        )
    )


def _verdict(judged: Judged) -> str:
    """The worst of the causes; words that nothing recognises make a log without causes unknown, unless the
    process worked on behind them."""
    causes = [finding for finding in judged.findings if finding.id in judged.causes]
    verdicts = ["critical" if finding.severity == "critical" else "warning" for finding in causes]
    if not causes and any(strange.ends for strange in judged.strange):
        verdicts.append("unknown")
    return worst(verdicts)
