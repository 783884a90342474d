"""Shell lines that no shell reads, or not as a whole: Compose and Docker start no shell by themselves."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from celery_triage.checks.commands.shared import DEATHS, REFUSED, not_placed
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.words import listed, shown
from celery_triage.commandline import Problem, Unwrapped, composewords
from celery_triage.commandline.unwrapped import CELERY, base
from celery_triage.lives import Life
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, changes, recreate
from celery_triage.stack import Service

#: Longer lines are shown cut.
_SHOWN = 300


def broken(service: Service) -> str:
    """Which way the shell line of a service's command goes wrong: ``lost`` (``sh -c`` takes one word of it),
    ``unread`` (an operator without a shell); empty where it does not, or where Celery has no part in it."""
    told = service.unwrapped
    if told.lost and (told.is_celery or any(base(word) in CELERY for word in told.lost)):
        return "lost"
    parts = (part.strip(";`") for word in written(service) for part in word.split())
    if told.operator and any(base(part) in CELERY for part in parts):
        return "unread"
    return ""


def written(service: Service) -> list[str]:
    """All words of the command, wrappers among them."""
    return [*(service.item.get("entrypoint") or ()), *(service.item.get("cmd") or ())]


def after_operator(told: Unwrapped, problem: Problem) -> bool:
    """Whether a refused word stands where an operator without a shell has made nonsense of it."""
    if told.operator_at < 0 or problem.index is None:
        return False
    valued = problem.kind == "bad_value"  # `-l info;`
    return problem.index + valued >= told.operator_at


def sentence(service: Service) -> str:
    """What becomes of the words, as the end of a sentence."""
    told = service.unwrapped
    if broken(service) == "lost":
        shell = told.wrappers[-1] if told.wrappers else "sh -c"
        rest = shown(" ".join(told.lost), 60)
        return f"{shell} runs only the word behind it, {shown(_line(service)[0], 40)}, and drops {rest}"
    return f"no shell reads {told.operator} there, so it is handed on as a word"


def whole(service: Service) -> str:
    """The line as one word for a shell, quoted, cut where it is long."""
    return as_one_word(" ".join(_line(service)))


def _line(service: Service) -> list[str]:
    """The words of the line: behind `sh -c` where it takes only the first of them, else all."""
    words = written(service)
    return words[-len(service.unwrapped.lost) - 1 :] if broken(service) == "lost" else words


def as_one_word(line: str) -> str:
    """A line for a shell, quoted; for bash where the ``sh`` of Debian cannot read it."""
    bash = re.search(r"(?:^|[;&|] *)(?:source|\[\[) ", line)
    return f"{'bash' if bash else 'sh'} -c {shown(shlex.quote(line), _SHOWN)}"


@check(
    "CMD010",
    "shell-line-broken",
    severity="critical",
    needs=("containers",),
    uses=("logs/*", "events", "compose", "files/*"),
    step="subcommand",
    predicts=(Prediction((*DEATHS, "CTR004", "LOG001", "CMD001", "CMD002")),),
)
def shell_line_broken(look: Look) -> Iterator[Finding]:
    """The command is a line for a shell, and no shell reads it, or only its first word.

    ## What
    `sh -c celery -A app worker` without quotes: `sh -c` takes one word as its script, so `celery` runs alone,
    and the other words become parameters of the shell that nothing uses. An entrypoint `["sh", "-c"]` before
    a `command` of several words does the same. Or a command without any shell has `&&`, `|`, `;`, `>` in it:
    they are handed to the program as words.

    ## Why
    Compose splits a `command` into words and starts the first one; it starts no shell. `celery` alone prints
    its help and ends with exit code 0 (Celery 4: 64). Of a command that is one text Compose v2 drops all from
    the first operator on, without a word (measured, 2.26.1): `migrate && celery worker` only migrates, and
    ends with exit code 0. In a list an operator is a word, which Celery refuses (exit code 2).

    ## Looks like
    Celery's help, `Usage: celery [OPTIONS] COMMAND [ARGS]...`, again and again, with `Restarting (0)`; or
    `Error: Unable to parse extra configuration from command line.`

    ## Confirm
    `docker inspect -f '{{json .Config.Entrypoint}} {{json .Config.Cmd}}' CONTAINER` shows the words, each in
    its own quotes.

    ## Do
    Write the line as one word for a shell, `sh -c "migrate && exec celery -A app worker"`; or leave the shell
    out where it has nothing to do.

    ## False alarms
    A script among the words may put them together again (`sh -c "$*"`). A service that runs is never
    reported.
    """
    groups: dict[tuple[str, str, str], list[Service]] = {}
    for service in look.members:
        kind = broken(service)
        rest = "" if kind else dropped(look, service)
        step = "options" if kind == "unread" else "subcommand"
        if not (kind or rest) or look.course(service).past(step) or not _over(look, service):
            continue
        what = sentence(service)
        if rest:
            kept = shown(" ".join(written(service)), 60)
            what = f"Compose starts no shell and drops {shown(rest, 60)}, so only {kept} runs"
        groups.setdefault((kind or "dropped", what, rest), []).append(service)
    for (kind, what, rest), services in groups.items():
        ends = [_ended(look, service, kind) for service in services]
        proof = []
        for service, end in zip(services, ends, strict=True):
            words = " ".join(shlex.quote(word) for word in written(service)[:16])
            proof.append(Proof("containers", f"{service.label}: {words}"))
            if kind == "dropped":
                proof.append(Proof("compose", f"{service.label}: {' '.join(_text(look, service).split())}"))
            proof += end
        yield look.finding(
            f"{listed([one.label for one in services])} cannot work: {what}",
            services=tuple(one.label for one in services),
            object=_object(kind, services[0], rest),
            certainty="confirmed" if all(ends) else "inferred",
            proof=proof,
            remedy=_remedy(look, kind, services, rest),
            verify=alive(services),
        )


def dropped(look: Look, service: Service) -> str:
    """What Compose drops of the command that its file has for this service, where Celery is in it and not in
    what is left; empty where that is not so, or where the container runs other words."""
    if service.unwrapped.is_celery:
        return ""
    try:
        words, rest = composewords.split(_text(look, service).replace("$$", "$"))
    except composewords.Refused:
        return ""
    same = words == list(service.item.get("cmd") or ())
    return rest.strip() if same and any(base(word) in CELERY for word in rest.split()) else ""


def _text(look: Look, service: Service) -> str:
    """The command in the Compose file, where it is one text."""
    described = ((look.data("compose") or {}).get("services") or {}).get(service.item.get("service") or "")
    nodes = (described or {}).get("command") or ()
    value = nodes[-1].get("value") if nodes else None
    return value if isinstance(value, str) else ""


def _object(kind: str, service: Service, rest: str) -> str:
    if kind == "dropped":
        return rest.split()[0]
    return service.unwrapped.operator if kind == "unread" else service.unwrapped.lost[0]


def _over(look: Look, service: Service) -> list[Life]:
    """The lives that ended by themselves."""
    return [one for one in look.course(service).lives if not one.running and not one.asked]


def _ended(look: Look, service: Service, kind: str) -> list[Proof]:
    """The last life that ended as such a line ends: with 0 or 64 after the help, with 2 where Celery is
    handed an operator; any end where another program is."""
    over = _over(look, service)
    if kind == "lost":
        expected: tuple[int, ...] = (0, 64, REFUSED)
    else:
        expected = (1, REFUSED, 64) if service.unwrapped.is_celery else (over[-1].exit_code or 0,)
    if over[-1].exit_code not in expected:
        return []
    text = f"{service.label} ended by itself with exit code {over[-1].exit_code}"
    return [Proof("containers", text, time=over[-1].end)]


def _remedy(look: Look, kind: str, services: Sequence[Service], rest: str) -> Remedy:
    commands = recreate(look.stack, services)
    risk = f"Makes the containers of {listed([one.label for one in services])} anew; they do no work anyway."
    if kind == "lost":
        places = []
        for service in services:
            script, *lost = _line(service)
            entry = service.item.get("entrypoint") or ()
            needs_shell = any(set(word) & set("$`;|&<>*") for word in lost)
            if not entry and not needs_shell and service.unwrapped.wrappers:
                places.append((service, "command", f"{service.unwrapped.wrappers[-1]} {script}", script))
        changed = changes(look.data("compose"), places)
        if len(places) == len(services) and changed.complete:
            summary = f"Leave {services[0].unwrapped.wrappers[-1]} out: no shell is needed for this command."
            return Remedy("exact", summary, changed.edits, changed.commands + commands, risk=risk)
        where = not_placed(changed) if places else "where the command is set"
        summary = f"Write the whole line as one word, {whole(services[0])}, {where}; or leave the shell out."
        return Remedy("manual", summary, changed.texts, commands, risk=risk)
    line = as_one_word(" ".join([*_line(services[0]), rest] if rest else _line(services[0])))
    summary = f"Write the line as one word for a shell, {line}, with exec before the program that stays."
    return Remedy("manual", summary, commands=commands, risk=risk)
