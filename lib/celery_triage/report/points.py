"""The verification list: what each service is seen to do after the cure, each point proven or not, and how.

A point that the evidence does not show is "not proven", never left out: an old log line is no proof where the
worker was asked a moment ago and did not answer, nor where something is found now that says the contrary. A
line of before the first look proves nothing of after it; an old one proves what was, and is told so. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from celery_triage.checks import RULES
from celery_triage.checks.course import Course
from celery_triage.core import SECTIONS, answered
from celery_triage.lives import Life, seconds_of
from celery_triage.model import Evidence, Finding
from celery_triage.report.lived import Lived
from celery_triage.report.side import Side
from celery_triage.show import units
from celery_triage.stack import Service, Url

_SENDING = re.compile(r"Scheduler: Sending due task \S+ \(([\w.\-]{1,200})\)")
_TAKEN = re.compile(r"MainProcess\] Task \S{1,200}\[[\w\-]{1,80}\] received")
#: A worker's connection that waits for work asks anew at least once a second (kombu's ``brpop_timeout``).
IDLE_S = 5
#: A log line that is older than this (seconds, at the look) tells what was, not what is.
RECENT_S = 30.0
#: Characters of a quotation.
QUOTED = 160
#: The findings that say the contrary of a point, beside those that strike at the step of its server.
_IDLE = ("WRK004", "WRK005", "WRK008", "BRK004", "BRK008", "BRK009", "BRK012")
_UNSENT = ("BEA003", "BRK007", "BRK008")
_UNTAKEN = (*_UNSENT, "BEA004", "BEA006", "BRK004")
_UNSERVED = ("MON002",)


@dataclass(frozen=True)
class Point:
    """One point of the list; ``what`` follows "it". ``needed``: without it nothing may be called resolved;
    ``life``: it says the same as the service's proof of life; ``contrary``: it is not merely unproven, the
    look shows the contrary. What ``why`` quotes stands in back ticks."""

    service: str
    what: str
    proven: bool
    why: str
    needed: bool = False
    life: bool = False
    contrary: bool = False


def points(before: Side, after: Side, stands: Iterable[Lived]) -> tuple[Point, ...]:
    """The points of every service of the target, in the order of its services."""
    by_label = {lived.label: lived for lived in stands}
    since = seconds_of(before.evidence.taken_at) or 0.0
    found: list[Point] = []
    for service in after.stack.members:
        lived = by_label.get(service.label)
        if lived is not None and lived.became != "as_before":
            found += _Points(after, service, lived, since).all()
    return tuple(found)


@dataclass(frozen=True)
class _Points:
    """The points of one service: ``since`` is when the first look was taken."""

    after: Side
    service: Service
    lived: Lived
    since: float

    @property
    def evidence(self) -> Evidence:
        return self.after.evidence

    @property
    def course(self) -> Course:
        return self.after.courses.of(self.service.label)

    def all(self) -> Iterator[Point]:
        service, lived = self.service, self.lived
        label, down = service.label, lived.became == "down"
        alive = lived.became == "proven"
        yield Point(label, "runs, and has outlived what ended it", alive, lived.why, life=True)
        check, health = service.item.get("healthcheck"), service.latest.get("health") or {}
        if check:
            status = health.get("status") or "not known"
            # What Docker says of a container that does not run, or is paused, is of before.
            said = lived.why if down else f"Docker says: {status}"
            healthy = status == "healthy" and not down
            yield Point(label, "passes its health check", healthy, said, life=True)
        life = self.course.lives[-1] if self.course.lives else None
        if life is None or not life.running or not service.is_celery:
            return
        broker, result = service.url("broker"), service.url("result")
        broker = broker if broker is not None and broker.parsed.networked else None
        if broker is not None and service.role != "flower":
            yield self._reaches(life, "broker", broker, f"its broker {broker.parsed.server}")
        if result is not None and result.parsed.family == "sql" and service.role != "flower":
            where = f"{result.parsed.server}/{result.parsed.database or ''}"
            yield self._reaches(life, "database", result, f"its result database {where}")
        if service.role == "worker":
            yield self._takes_work(life, broker)
        elif service.role == "beat":
            yield self._sends(life, broker)
            yield self._delivered(life, broker)
        elif service.role == "flower":
            yield self._serves(life)

    # what a point is made of

    def _point(self, what: str, proven: bool, why: str, **more: bool) -> Point:
        return Point(self.service.label, what, proven, why, **more)

    def _denied(self, what: str, found: Finding | str, **more: bool) -> Point:
        """A point of which the look shows the contrary."""
        why = found if isinstance(found, str) else f"{found.title} ({found.code})"
        return self._point(what, False, why, contrary=True, **more)

    def _told(self, now: str, past: str, at: float | None, iso: str, why: str, **more: bool) -> Point:
        """A point that a line of a log proves: of now where it is fresh, else of its own moment; of nothing
        where it was said before the first look."""
        if at is None or at < self.since:
            known = f" ({units.moment(iso)})" if at is not None else ""
            return self._point(now, False, f"what shows it is of before the first look{known}", **more)
        if (seconds_of(self.evidence.taken_at) or at) - at <= RECENT_S:
            return self._point(now, True, why, **more)
        return self._point(f"{past} at {units.moment(iso)}", True, why, **more)

    def _against(self, says: Callable[[Finding], bool]) -> Finding | str | None:
        """Something that is found on the service now, or that it does not run, by which a point cannot be
        true."""
        label = self.service.label
        if self.lived.became == "down":
            return self.lived.why
        return next(
            (
                one
                for one in self.after.diagnosis.findings
                if label in one.services
                and one.service_states.get(label, one.state) != "history"
                and says(one)
            ),
            None,
        )

    def _server(self, step: str, url: Url) -> Mapping[str, Any]:
        """What was seen of the server that a URL leads to; empty where nobody looked."""
        section = "postgres" if step == "database" else SECTIONS.get(url.parsed.family, "redis")
        entries = [
            one
            for one in _objects((self.evidence.data(section) or {}).get("servers"))
            if self.service.label in (*(one.get("services") or ()), *(one.get("unreached") or ()))
            and (step == "database" or "broker" in (one.get("purposes") or ["broker"]))
        ]
        same = [one for one in entries if one.get("key") == url.parsed.server]
        return next(iter(same or (entries if len(entries) == 1 else ())), {})

    def _unreachable(self, step: str, url: Url | None) -> Finding | str | None:
        """What says that the server of a URL cannot be reached now: a finding of that step, or that the
        container is down which the URL leads to."""
        if url is None:
            return None
        own = {url.parsed.server, self._server(step, url).get("key")}
        others = {
            one.get("key")
            for section in ("postgres", *SECTIONS.values())
            for one in _objects((self.evidence.data(section) or {}).get("servers"))
        } - own

        def says(one: Finding) -> bool:
            rule = RULES.get(one.code)
            elsewhere = one.object in others or (
                one.code == "DBS001" and one.object.rpartition("/")[2] != url.parsed.database
            )
            return rule is not None and rule.step_of(one.name) == step and not elsewhere

        if (found := self._against(says)) is not None:
            return found
        led = self.after.stack.resolve(self.service.label, url.parsed.host, url.parsed.port)
        leads = led.owner or led.elsewhere or led.host
        return f"{leads}, to which its URL leads, does not run" if led.running is False else None

    def _mute(self, step: str, url: Url | None) -> str:
        """The words that the server of a URL did not answer this tool either; empty where it did, or where
        nobody could ask it."""
        server = self._server("database" if step == "database" else "broker", url) if url is not None else {}
        mute = server.get("status") in ("unreachable", "timeout", "no_reply")
        return f"{server.get('key')}: {server.get('why')}" if mute else ""

    def _lost(self, life: Life, step: str, place: int) -> str:
        """The words of the running process, behind a line of its log, that it has lost the server again."""
        server = "database" if step == "database" else "broker"
        for one in self.course.matches(life):
            rule, last = RULES.get(one.code), one.lines[-1]
            behind = last > (life.first_line or 1) + place - 1
            if one.context == "running" and not one.harmless and rule and rule.step == server and behind:
                words = self.course.proof(one)
                return f"it said afterwards: {quotation(self.service.label, last, words.text)}"
        return ""

    def _ping(self) -> tuple[bool, Mapping[str, Any] | None, str]:
        """Whether a worker was asked by a ping, its reply (None without one), and why none came."""
        label = self.service.label
        asked = [
            (broker, reply)
            for broker in (self.evidence.data("celery") or {}).get("brokers") or ()
            if label in (broker.get("services") or ()) and broker.get("asked") is not None
            for reply in _replies(broker, label)
        ]
        heard = next((reply for _, reply in asked if reply), None)
        if heard is None and label in answered(self.evidence):
            heard = {}
        return bool(asked), heard, str((asked[0][0].get("why") if asked else "") or "no reply came")

    def _waits(self) -> str:
        """Where a connection of the worker waits for work now, as a sentence; empty without one."""
        for server in (self.evidence.data("redis") or {}).get("servers") or ():
            for client in _objects(server.get("consumers")):
                own = client.get("label") == self.service.label
                waits = own and client.get("command") in ("brpop", "blpop")
                if waits and _number(client.get("idle_s"), IDLE_S + 1) <= IDLE_S:
                    return f"a connection of it waits for work at {server.get('key')}"
        return ""

    # the points

    def _reaches(self, life: Life, step: str, url: Url, thing: str) -> Point:
        """Whether the present life reaches a server."""
        now, past = f"reaches {thing}", f"reached {thing}"
        if (found := self._unreachable(step, url)) is not None:
            return self._denied(now, found)
        if step == "broker":
            _, heard, _ = self._ping()
            if heard is not None or (words := self._waits()):
                return self._point(now, True, _answer(heard) if heard is not None else words)
        return self._step(life, step, now, past, url)

    def _step(self, life: Life, step: str, now: str, past: str, url: Url | None = None) -> Point:
        """Whether the present life is proven to have got past a step of its start."""
        course = self.course
        if not course.got(life, step):
            return self._point(now, False, "neither its log nor an answer of it shows that")
        reached = course.reached(life)
        # What is passed once, at the start, is not proven anew by later words: those are of the broker.
        told = reached.last if step in ("broker", "consuming") else reached.proofs
        outlived = "it has lived longer than a start that fails"
        place, words = told.get(step) or reached.proofs.get(step) or (None, outlived)
        if place is None:
            if (seconds_of(life.start) or 0.0) < self.since:
                return self._point(now, False, "what shows it is of before the first look")
            return self._point(f"{past} at its start", True, words)
        if lost := self._lost(life, step, place):
            return self._point(now, False, lost)
        time = course.lines(life)[place - 1][0]
        point = self._told(now, past, seconds_of(time), time, _quoted(course, life, place, words))
        mute = self._mute(step, url) if point.what != now else ""
        return self._point(now, False, mute) if mute else point

    def _takes_work(self, life: Life, broker: Url | None) -> Point:
        """Whether a worker is seen to take work, and the sentence how that is known."""
        service, queues = self.service, units.listed(self.service.queues)
        now, past = f"takes work from {queues}", f"was ready to take work from {queues}"

        def says(one: Finding) -> bool:
            return one.code in _IDLE or (one.code == "BRK003" and one.object in service.queues)

        if (found := self._against(says) or self._unreachable("broker", broker)) is not None:
            return self._denied(now, found, needed=True)
        asked, heard, why = self._ping()
        if heard is not None:
            consumed = heard.get("active_queues")
            known = consumed if isinstance(consumed, list) else service.queues
            if lacking := [name for name in service.queues if name not in known]:
                lacks = f"it answered a ping, and does not consume {units.listed(lacking)}"
                return self._point(now, False, lacks, needed=True)
            return self._point(now, True, _answer(heard), needed=True)
        if asked:
            return self._point(now, False, f"it did not answer a ping ({why})", needed=True)
        if words := self._waits():
            return self._point(now, True, words, needed=True)
        lines = self.course.lines(life)
        took = next((n for n in range(len(lines), 0, -1) if _TAKEN.search(lines[n - 1][2][:600])), None)
        ready = self.course.reached(life).last.get("consuming")
        if took is None and ready is None:
            never = "it was not asked, and its log does not show that it is ready"
            return self._point(now, False, never, needed=True)
        place = max(took or 0, ready[0] if ready else 0)
        if lost := self._lost(life, "broker", place):
            return self._point(now, False, lost, needed=True)
        if mute := self._mute("broker", broker):
            return self._point(now, False, mute, needed=True)
        time, _, text = lines[place - 1][:3]
        words = f"{_quoted(self.course, life, place, text)} (it was not asked now)"
        return self._told(now, past, seconds_of(time), time, words, needed=True)

    def _sends(self, life: Life, broker: Url | None) -> Point:
        """Whether beat's present life sends what is due."""
        now = "sends what is due"
        found = self._against(lambda one: one.code in _UNSENT) or self._unreachable("broker", broker)
        if found is not None:
            return self._denied(now, found)
        return self._step(life, "consuming", now, "sent what was due", broker)

    def _delivered(self, life: Life, broker: Url | None) -> Point:
        """Whether a worker was seen to take a task of a name that beat's present life sent, after it was sent
        and after the first look."""
        now, past = "has its tasks taken by a worker", "had its tasks taken by a worker"
        found = self._against(lambda one: one.code in _UNTAKEN) or self._unreachable("broker", broker)
        if found is not None:
            return self._denied(now, found)
        sent: dict[str, float] = {}
        for line in self.course.lines(life):
            if (named := _SENDING.search(line[2][:600])) and (at := seconds_of(line[0])) is not None:
                if at >= self.since:
                    sent.setdefault(named[1], at)
        if not sent:
            return self._point(now, False, "its log does not show that it sent a task since the first look")
        taken: list[tuple[float, str, str, str]] = []
        for worker in self.after.stack.workers:
            lines = (self.evidence.data(f"logs/{worker.label}") or {}).get("lines") or ()
            for number, line in reversed(list(enumerate(lines, 1))):
                name = next((name for name in sent if f"Task {name}[" in line[2][:600]), None)
                if name is not None and (at := seconds_of(line[0]) or 0.0) >= sent[name] - 1:
                    taken.append((at, line[0], worker.label, quotation(worker.label, number, line[2])))
                    break
        if taken:
            at, time, _, words = max(taken)
            return self._told(now, past, max(at, self.since), time, words)
        names = units.listed(sorted(sent), 3)
        return self._point(now, False, f"no worker's log shows that it took {names}")

    def _serves(self, life: Life) -> Point:
        if (found := self._against(lambda one: one.code in _UNSERVED)) is not None:
            return self._denied("answers over HTTP", found)
        http = self.evidence.data("http")
        for endpoint in _objects(http.get("endpoints") if isinstance(http, dict) else None):
            if endpoint.get("label") == self.service.label and endpoint.get("purpose") == "flower":
                code = _number(endpoint.get("code"), 0)
                why = str(endpoint.get("why") or "it did not answer")
                told = f"it answered with {code:g}" if code else why
                return self._point("answers over HTTP", 200 <= code < 400 or code == 401, told)
        return self._step(life, "app", "has started its server", "started its server")


def _quoted(course: Course, life: Life, place: int | None, words: str) -> str:
    if place is None or life.first_line is None:
        return words
    return quotation(course.label, life.first_line + place - 1, words)


def quotation(label: str, line: int, words: str) -> str:
    """A line of a log as the reason of a point."""
    words = words.strip().replace("`", "'")
    return f"logs/{label}, line {line}: `{words if len(words) <= QUOTED else words[:QUOTED] + ' …'}`"


def _answer(reply: Mapping[str, Any]) -> str:
    """The sentence that a worker answered a ping; of an empty reply nothing more is known."""
    return f"it answered a ping in {_number(reply.get('ms'), 0):.0f} ms" if reply else "it answered a ping"


def _replies(broker: Mapping[str, Any], label: str) -> list[Mapping[str, Any] | None]:
    replies = (broker.get("replies") or {}).values()
    return [reply for reply in replies if reply and reply.get("label") == label] or [None]


def _objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list of somebody's bundle."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _number(value: Any, otherwise: float) -> float:
    return value if isinstance(value, (int, float)) else otherwise


__all__ = ["Point", "points"]
