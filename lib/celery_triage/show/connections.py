"""Each URL of each service: what it says, which driver it needs, where its host leads, whether one may
come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..urls import needed_driver
from . import units
from .drawing import Drawing
from .output import Cell, Shown, grouped, sentence, table

if TYPE_CHECKING:
    from ..notebook import Look
    from ..stack import Service, Url

LEFT_W, ROW_H, HEAD_H = 200, 40, 30


def urls(look: Look, service: str = "") -> Shown:
    """Every URL with where it stands, masked, and what is wrong with it."""
    rows = []
    for one, url in _urls(look, service):
        wrong = "\n".join(str(problem) for problem in url.problems)
        rows.append(
            (
                Cell(one.label, code=True),
                url.purpose,
                Cell(url.source, code=True),
                Cell(url.text, code=True),
                Cell(wrong, tone="critical") if wrong else Cell("parses", tone="ok"),
            )
        )
    return table(
        ("Services", "For", "Stands in", "URL (secrets masked)", "Reads as"),
        grouped(rows),
        empty=look.none(
            service,
            "No URL was found in the environment or the command of any service.",
            "has no URL in its environment or command",
        ),
    )


def drivers(look: Look, service: str = "") -> Shown:
    """The Python module that each URL needs, and whether the service's image has it."""
    rows = []
    for one, url in _urls(look, service):
        need = needed_driver(url.parsed, one.packages)
        if need is None:
            continue
        there = (
            Cell("unknown", tone="unknown")
            if need.present is None
            else Cell(f"yes, {need.version}" if need.version else "yes", tone="ok")
            if need.present
            else Cell("no", tone="critical")
        )
        rows.append(
            (
                Cell(one.label, code=True),
                Cell(url.parsed.scheme + "://", code=True),
                Cell(need.module, code=True),
                there,
                need.how,
            )
        )
    return table(
        ("Services", "Scheme", "Needs", "In the image", "Decided by"),
        grouped(rows),
        empty=look.none(service, "No URL needs a driver.", "has no URL that needs a driver"),
    )


def hosts(look: Look, service: str = "") -> Shown:
    """What each host name means inside its service, and on which networks they meet."""
    rows, seen = [], set()
    for one, url in _urls(look, service):
        host = url.parsed.host
        if not host or not url.parsed.networked or (one.label, host) in seen:
            continue
        seen.add((one.label, host))
        found = look.stack.resolve(one.label, host, url.parsed.port)
        owner = Cell(found.owner, code=True) if found.owner else Cell("no container", tone="critical")
        rows.append(
            (
                Cell(one.label, code=True),
                Cell(host, code=True),
                owner,
                units.listed(found.shared) if found.shared else None,
                found.how,
            )
        )
    return table(
        ("Services", "Host", "Leads to", "Shared networks", "Because"),
        grouped(rows),
        empty=look.none(service, "No URL names a host.", "has no URL that names a host"),
    )


def logins(look: Look) -> Shown:
    """What each server answered, and from where it was asked: not from inside the services."""
    rows = []
    for section, kind in (("postgres", "PostgreSQL"), ("redis", "Redis"), ("rabbitmq", "RabbitMQ")):
        for server in (look.evidence.data(section) or {}).get("servers", ()):
            ok = server.get("status") == "ok"
            word = "answers" if ok else str(server.get("status", "")).replace("_", " ")
            if server.get("why"):
                word += f": {server['why']}"
            rows.append(
                (
                    Cell(server["key"], code=True),
                    kind,
                    server.get("version"),
                    server.get("user"),
                    Cell(word, tone="ok" if ok else "critical"),
                    server.get("address"),
                    server.get("via"),
                    units.listed(server.get("services") or ()),
                )
            )
    return table(
        ("Server", "Is", "Version", "As", "Answer", "Asked at", "By way of", "Used by"),
        rows,
        empty="No server was asked.",
    )


def plot(look: Look, service: str = "") -> Shown:
    """Who reaches whom: services on the left, servers on the right, a broken line where the name leads
    nowhere."""
    links: dict[tuple[str, str], bool] = {}
    for one, url in _urls(look, service):
        if url.used and url.parsed.networked and url.parsed.host:
            found = look.stack.resolve(one.label, url.parsed.host, url.parsed.port)
            links[(one.label, url.parsed.server)] = bool(found.owner and found.running)
    if not links:
        whole = "No service names a server, so there is nothing to draw."
        return sentence(look.none(service, whole, "names no server, so there is nothing to draw"))
    left = list(dict.fromkeys(label for label, _ in links))
    right = list(dict.fromkeys(server for _, server in links))
    high = HEAD_H + ROW_H * max(len(left), len(right))
    drawing = Drawing(860, high + 34)
    drawing.text(8, 14, "service", "soft", 11.5)
    drawing.text(560, 14, "server that its URL names", "soft", 11.5)
    y_left = {label: _y(n, len(left), high) for n, label in enumerate(left)}
    y_right = {server: _y(n, len(right), high) for n, server in enumerate(right)}
    for (label, server), fine in links.items():
        drawing.line(
            [LEFT_W + 10, 550],
            [y_left[label], y_right[server]],
            "ok" if fine else "critical",
            1.6 if fine else 2,
            dashed=not fine,
        )
    for label, y in y_left.items():
        drawing.box(4, y - 13, LEFT_W, 26, "band")
        drawing.text(14, y, label[:28], size=12)
    answers = _answers(look)
    for server, y in y_right.items():
        said, role = answers.get(server, ("not asked", "warning"))
        drawing.box(556, y - 15, 296, 30, "band", "grid" if role == "ok" else role)
        drawing.text(566, y, server[:24], size=12)
        drawing.text(842, y, said[:22], role, 11, "right")
    for x, dashed, role, words in (
        (8, False, "ok", "the name leads to a running container"),
        (270, True, "critical", "it does not"),
    ):
        drawing.line([x, x + 26], [high + 18, high + 18], role, 2, dashed)
        drawing.text(x + 34, high + 18, words, "soft", 11)
    alt = "Who reaches whom. " + " ".join(
        f"{label} {'reaches' if fine else 'does not reach'} {server}."
        for (label, server), fine in links.items()
    )
    return drawing.finish(
        alt
        + " "
        + " ".join(f"{server} {answers.get(server, ('was not asked', ''))[0]}." for server in right),
        "Services and the servers that their URLs name.",
    )


def _y(n: int, total: int, high: float) -> float:
    return HEAD_H + (high - HEAD_H) * (n + 0.5) / total


def _answers(look: Look) -> dict[str, tuple[str, str]]:
    found = {}
    for section in ("postgres", "redis", "rabbitmq"):
        for server in (look.evidence.data(section) or {}).get("servers", ()):
            ok = server.get("status") == "ok"
            found[server["key"]] = (
                ("answers", "ok")
                if ok
                else (
                    str(server.get("error_kind") or server.get("status") or "unknown").replace("_", " "),
                    "critical",
                )
            )
    return found


def _urls(look: Look, service: str) -> list[tuple[Service, Url]]:
    return [(one, url) for one in look.services(service, members=True) for url in one.urls]
