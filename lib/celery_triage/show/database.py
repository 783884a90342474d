"""The result databases: do they exist, can the role use them, is there room for connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import units
from .drawing import Drawing
from .output import Cell, Shown, sentence, table

if TYPE_CHECKING:
    from ..notebook import Look

BAR_W, LABEL_W, ROW_H = 620, 200, 52


def servers(look: Look) -> list[dict[str, Any]]:
    """The PostgreSQL servers that were asked."""
    return (look.evidence.data("postgres") or {}).get("servers", [])


def wanted(look: Look) -> Shown:
    """Each database that a service wants, whether its server has it, and how that was asked."""
    rows = []
    for server in servers(look):
        for name, want in (server.get("wanted") or {}).items():
            rows.append(
                (
                    Cell(name, code=True),
                    Cell(server["key"], code=True),
                    _exists(want.get("exists"), server),
                    units.listed(want.get("services") or ()),
                    server.get("via"),
                )
            )
    return table(
        ("Database", "Server", "There?", "Wanted by", "Asked"),
        rows,
        empty=_nothing(look, "No service of this stack names a PostgreSQL database."),
    )


def _exists(value: bool | None, server: dict[str, Any]) -> Cell:
    if value is None:
        status = str(server.get("status", "")).replace("_", " ")
        return Cell(f"unknown: {server.get('why') or status}", tone="unknown")
    return Cell("yes", tone="ok") if value else Cell("no", tone="critical")


def _nothing(look: Look, otherwise: str) -> str:
    section = look.evidence.section("postgres")
    return otherwise if section.readable else f"PostgreSQL could not be asked: {section.why}."


def there(look: Look) -> Shown:
    """All databases of each server with owner, and whether the role may connect."""
    rows = []
    for server in servers(look):
        for name, one in sorted((server.get("databases") or {}).items()):
            may = one.get("can_connect")
            rows.append(
                (
                    Cell(server["key"], code=True),
                    Cell(name, code=True),
                    one.get("owner"),
                    Cell("yes", tone="ok") if may else Cell("no", tone="critical"),
                )
            )
    return table(
        ("Server", "Database", "Owner", "May connect"),
        rows,
        empty=_nothing(look, "No server listed its databases."),
    )


def roles(look: Look) -> Shown:
    """The roles that the URLs name: there, may log in, may create a database."""
    rows = []
    for server in servers(look):
        for name, role in sorted((server.get("roles") or {}).items()):
            rows.append(
                (
                    Cell(server["key"], code=True),
                    Cell(name, code=True),
                    *[_yes(role.get(key)) for key in ("exists", "can_login", "createdb", "superuser")],
                )
            )
    return table(
        ("Server", "Role", "Exists", "May log in", "May create databases", "Superuser"),
        rows,
        empty=_nothing(look, "No role was asked for."),
    )


def _yes(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def plot(look: Look) -> Shown:
    """Connections in use, by database, against what the server allows."""
    known = [server for server in servers(look) if (server.get("connections") or {}).get("max")]
    if not known:
        return sentence(_nothing(look, "No server told its connections."), "unknown")
    drawing = Drawing(LABEL_W + BAR_W + 150, 18 + ROW_H * len(known) + 26)
    said = []
    for n, server in enumerate(known):
        said.append(_row(drawing, server, 12 + ROW_H * n))
    y = 18 + ROW_H * len(known) + 8
    for x, role, words in (
        (8, "calm", "in use"),
        (90, "warning", "kept for superusers"),
        (250, "band", "free"),
    ):
        drawing.bar(x, y - 5, 14, 10, role, "grid")
        drawing.text(x + 20, y, words, "soft", 11)
    return drawing.finish(
        "Connections. " + " ".join(said), "Connections in use against the most that each server allows."
    )


def _row(drawing: Drawing, server: dict[str, Any], top: float) -> str:
    found = server["connections"]
    most, used, kept = found["max"], found.get("used") or 0, found.get("reserved") or 0
    drawing.text(8, top + 14, server["key"], size=12.5)
    drawing.bar(LABEL_W, top + 4, BAR_W, 20, "band", "grid")
    x = float(LABEL_W)
    by_database = sorted((found.get("by_database") or {}).items(), key=lambda pair: -pair[1])
    for name, number in by_database:
        wide = BAR_W * number / most
        drawing.bar(x, top + 4, wide, 20, "calm", "paper")
        if wide > 8 * len(name):
            drawing.text(x + 6, top + 14, name, "on", 10.5)
        x += wide
    if not by_database and used:
        drawing.bar(x, top + 4, BAR_W * used / most, 20, "calm")
    drawing.bar(LABEL_W + BAR_W * (most - kept) / most, top + 4, BAR_W * kept / most, 20, "warning")
    drawing.text(LABEL_W + BAR_W + 10, top + 14, f"{used} of {most}, {kept} kept", "soft", 11)
    inside = ", ".join(f"{name} {number}" for name, number in by_database)
    return (
        f"{server['key']}: {used} of {most} in use" + (f" ({inside})" if inside else "") + f", {kept} kept."
    )
