"""What others write before a line: Compose, ``docker logs -t``, Kubernetes, the journal, syslog, JSON.

In: one line of text. Out: whose it is, when it was written, and the line as the process wrote it. Forms are
those of Docker Compose 1 and 2, Docker Desktop, Swarm, Docker's json-file driver, the Container Runtime
Interface (CRI), kubectl ``--prefix``, ``journalctl -o short`` and ``short-iso``, RFC 3164 and RFC 5424,
Heroku, honcho and foreman, a quotation (``> ``), a table's frame; other ones are learned (``learned``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from celery_triage.explain.records import from_json
from celery_triage.signatures.formats import head

_STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)"
_CRI = re.compile(rf"({_STAMP}) (stdout|stderr) ([FP])(?: (.*))?$")
_TIME = re.compile(rf"({_STAMP})(?:[ \t](.*)|)$")
#: Docker and Kubernetes write up to nine digits of a second, applications three or six.
_FINE = re.compile(r"[.]\d{7,9}[Z+-]")
_COMPOSE = re.compile(
    r"([A-Za-z0-9][\w.-]{0,100}?)(?:[-_](\d{1,4})|\.(\d{1,4})(?:\.[a-z0-9]{12,25})?(?:@\S{1,80})?)?"
    r"(?: *\|(?: (.*)|)|  +\|(\S.*))$"
)
#: Docker Desktop writes its own time before Compose's prefix, honcho and foreman only the time of day.
_DESKTOP = re.compile(r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d (?=[A-Za-z0-9][\w.-]{0,100} *\| )")
_HEROKU = re.compile(rf"({_STAMP}) (?:app|heroku)\[([a-z_-]+)(?:\.(\d+))?\]: ?(.*)$")
_QUOTATION = re.compile(r"(?!>>> ')(?:> ?){1,3}(?!>)")
#: A line that was pasted between backticks, with or without a name before them.
_TICKED = re.compile(r"(?:[\w.-]{1,60}: )?`([^`]+)`$")
_FRAME = re.compile(r"[│┃║] ?(.*?)\s*[│┃║]?$")
#: The right border of a table that a terminal shows.
_BORDER = re.compile(r"\s{2,}[│┃║]$")
#: Ruby's logger, with which foreman and its like wrap what they start.
_RUBY = re.compile(r"(?:[DIWEFU], \[[^\]]{1,60}\] +)?(?:DEBUG|INFO|WARN|ERROR|FATAL|ANY) -- [\w./-]{0,60}: ?")
#: Google's log explorer; the level is that of the stream.
_GOOGLE = re.compile(
    rf"(?:DEFAULT|DEBUG|INFO|NOTICE|WARNING|ERROR|CRITICAL) {_STAMP} "
    r"\[resource\.labels\.\w+: ([\w.-]{1,100})\] ?"
)
#: The container before Docker's time, as a log viewer joins them.
_NAMED = re.compile(rf"\[([\w.-]{{1,100}})\] (?={_STAMP} )")
_STREAM = re.compile(r"std(?:err|out): (?=.)")
_KUBECTL = re.compile(r"\[pod/([\w.-]+)/([\w.-]+)\] (.*)$")
_EXCEPTION = r"(?:[a-z_]\w*\.)*[A-Z]\w+(?:Error|Exception): "
#: Balena's log: the service, and two blanks.
_BALENA = re.compile(rf" ([a-z][\w.-]{{1,40}})  (?=\s*(?:Traceback |File \"|\[\d{{4}}-|{_EXCEPTION}))")
#: What only stands there and tells nothing: the stamps of runit's svlogd and of Rancher's log viewer, an
#: empty column before a JSON line.
_IDLE = re.compile(
    r"\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d\.\d{5} "
    r"|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.,]\d{3,6}(?:Z|[+-]\d\d:?\d\d)?[ \t]"
    rf"(?=Traceback |{_EXCEPTION})"
    r"|#\d{1,3} \d+\.\d+ ?"
    r"|(?:DBG|INF|WRN|ERR|debug|info|warning|error) *(?:\| *)?event="
    r"|[A-Z][a-z]{2}, [A-Z][a-z]{2} \d{1,2} \d{4} \d{1,2}:\d\d:\d\d(?: [ap]m)? \| ?"
    r"|[ |]+(?=\{\")"
)
#: What only the engine and Compose write, on the terminal from which they were called.
ENGINE = re.compile(
    r"Error response from daemon: |ERROR: (?:for|Service|Network|Volume|Encountered) "
    r"|dependency failed to start: |network \S+ (?:not found|declared as external)"
    r"|service \"[^\"]+\" (?:didn't complete|has no|depends)|OCI runtime |failed to (?:create|solve|start)"
    r"[ :]|exec: \"|exec /\S+: |docker: |Cannot (?:re)?start (?:service|container) |no configuration file "
    r"provided|(?: [✔✘⠿]|Container|Network|Volume) \S+ +(?:Err|Creat|Start|Healthy)"
)
_JOURNAL = re.compile(
    r"(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?|" + _STAMP + r") "
    r"[\w.:-]{1,80} ([\w./@-]{1,100})(?:\[(\d+)\])?: ?(.*)$"
)
#: A syslog tag whose time and host were not copied.
_TAG = re.compile(r"([a-z][\w.@/-]{1,60})\[(\d{2,7})\]: (?=\S)")
_RFC5424 = re.compile(r"<\d{1,3}>1 (\S+) \S+ (\S+) (\S+) \S+ (?:-|\[[^\]]*\]) ?(.*)$")
_NO_NAME = re.compile(r"(?:docker|dockerd|containerd|[0-9a-f]{12,64})(?:/|$)")
#: No service is called so: some loggers put a bar behind the level.
_LEVEL = re.compile(r"(?i)(?:debug|dbg|info|inf|warn(?:ing)?|wrn|error|err|crit(?:ical)?|fatal|trace)$")
_ENDED = re.compile(r"([A-Za-z0-9][\w.-]{0,100}?)(?:[-_](\d{1,4}))? exited with code \d+")
_FILE = re.compile(r"==> (\S.{0,200}?) <==$")
_PROMPT = re.compile(
    r"(?:\S{0,60}[$#%>] |PS \S{0,60}> )?(?:sudo )?(?:docker|podman|kubectl|docker compose|docker-compose)"
    r" (?:container )?logs (.{0,200})$"
)
_VALUED = ("--tail", "-n", "--since", "--until", "-c", "--namespace")
#: So many layers at most are taken off one line.
LAYERS = 5


@dataclass(frozen=True)
class Told:
    """A line without what others wrote before it: ``name`` whose it is (a service or container, empty where
    nothing says so), ``replica`` which one of them, ``partial`` where the line goes on in the next."""

    text: str
    name: str = ""
    replica: str = ""
    time: str = ""
    partial: bool = False
    more: tuple[str, ...] = ()
    names: str = ""  # a line that only says whose the following lines are


def told(text: str, learned: Sequence[re.Pattern[str]] = ()) -> Told:
    """One line, taken apart. Text that only looks like a prefix stays. ``learned``: further prefixes."""
    line = Told(_BORDER.sub("", text) if text[-1:] in ("│", "┃", "║") else text)
    for _ in range(LAYERS):
        after = _layer(line) or _unlearned(line, learned)
        if after is None:
            break
        line = after
    return line


def _unlearned(line: Told, learned: Sequence[re.Pattern[str]]) -> Told | None:
    for pattern in learned:
        if found := pattern.match(line.text):
            return replace(line, text=line.text[found.end() :])
    return None


def _layer(line: Told) -> Told | None:
    text = line.text
    first = text[:1]
    if first == "{":
        found = from_json(text)
        if found is None:
            return None
        lines = found.text.split("\n")
        return replace(
            line, text=lines[0], more=(*lines[1:], *line.more), name=line.name or found.name,
            time=line.time or found.time, partial=found.partial,
        )  # fmt: skip
    if first.isdigit():
        if found := _CRI.match(text):
            return replace(line, text=found[4] or "", time=line.time or found[1], partial=found[3] == "P")
        if (found := _TIME.match(text)) and _of_others(found[1], found[2] or ""):
            return replace(line, text=found[2] or "", time=line.time or found[1])
    if first == "[" and not line.name and (found := _NAMED.match(text)):
        return replace(line, text=text[found.end() :], name=found[1])
    if first == "[" and (found := _KUBECTL.match(text)):
        return replace(line, text=found[3], name=found[2], replica=found[1])
    if first == "<" and (found := _RFC5424.match(text)):
        return replace(line, text=found[4], name=line.name or _name(found[2], found[3]), time=found[1])
    if (first == "<" or first.isupper() or first.isdigit()) and (found := _JOURNAL.match(text)):
        return replace(line, text=found[3], name=line.name or _name(found[1], found[2] or ""))
    if first.isdigit() and (found := _HEROKU.match(text)):
        return replace(line, text=found[4], name=line.name or found[2], replica=found[3] or "", time=found[1])
    if first.isdigit() and not line.name and (found := _DESKTOP.match(text)):
        return replace(line, text=text[found.end() :])
    if not line.name and first.isalnum() and (found := _COMPOSE.match(text)) and not _LEVEL.match(found[1]):
        rest = found[4] or found[5] or ""
        return replace(line, text=rest, name=found[1], replica=found[2] or found[3] or "")
    if not line.name and first.islower() and (found := _TAG.match(text)):
        return replace(line, text=text[found.end() :], name=found[1])
    if text[-1:] == "`" and (found := _TICKED.match(text)):
        return replace(line, text=found[1])
    if first == ">" and (found := _QUOTATION.match(text)):
        return replace(line, text=text[found.end() :])
    if first == " " and not line.name and (found := _BALENA.match(text)):
        return replace(line, text=text[found.end() :], name=found[1])
    if first in ("│", "┃", "║") and (found := _FRAME.match(text)):
        return replace(line, text=found[1])
    if found := _IDLE.match(text):
        return replace(line, text=text[found.end() :])
    if first in "DINWEC" and first and " [resource." in text[:80] and (found := _GOOGLE.match(text)):
        return replace(line, text=text[found.end() :], name=line.name or found[1])
    if " -- " in text[:90] and (found := _RUBY.match(text)):
        return replace(line, text=text[found.end() :])
    if first == "s" and (found := _STREAM.match(text)):
        return replace(line, text=text[found.end() :])
    if not line.name and " exited with code " in text and (found := _ENDED.match(text)):
        return replace(line, name=found[1], replica=found[2] or "")
    if first == "=" and (found := _FILE.match(text)):
        return replace(line, text="", names=found[1])
    if "logs " in text[:80] and (found := _PROMPT.match(text)):
        return replace(line, text="", names=_asked(found[1]) or " ")
    return None


def _of_others(stamp: str, rest: str) -> bool:
    """Whether a time stamp was written by Docker or Kubernetes, not by the process itself."""
    return (
        bool(_FINE.search(stamp))
        or not rest
        or head(rest) is not None
        or rest.startswith(("Traceback", "  "))
    )


def _name(ident: str, number: str) -> str:
    """The name in a syslog tag; a container's id says nothing to anybody, but tells it from others."""
    if _NO_NAME.match(ident) and "/" in ident:
        ident = ident.split("/", 1)[1]
    return ident if ident != "-" else number


def _asked(words: str) -> str:
    """The container that a ``docker logs`` command asks for."""
    skip = False
    for word in words.split():
        if skip or word.startswith("-"):
            skip = not skip and word in _VALUED
            continue
        if word[:1] in "|>&2;":
            break
        return word
    return ""
