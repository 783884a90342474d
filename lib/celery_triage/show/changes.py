"""What differs from the Compose file and among replicas, and how old files, images and containers are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..checks.changes import differences
from ..checks.changes.missing import expected
from ..checks.changes.written import Files
from . import timeline, units
from .output import Cell, Shown, sentence, table

if TYPE_CHECKING:
    from ..notebook import Look
    from ..stack import Service

LEGEND = (
    ("calm", "d", "file changed"),
    ("soft", "x", "image built"),
    ("ok", "bar", "container, since it was made"),
    ("warning", "bar", "made before its file was changed, and differs"),
)


def _files(look: Look) -> Files:
    return Files(look.evidence.data("compose"), look.evidence.data("containers"))


def _made(look: Look, service: str = "") -> list[Service]:
    """The members that Compose made, all replicas of the named service (or the one of that name)."""
    found = [one for one in look.services(members=True) if one.item.get("service")]
    labels = look.labels(service)
    return [one for one in found if one.label in labels]


def _unread(look: Look, service: str = "") -> Shown:
    for name in ("containers", "compose"):
        section = look.evidence.section(name)
        if not section.readable:
            what = "containers" if name == "containers" else "Compose files"
            return sentence(f"The {what} could not be read: {section.why}.", "unknown")
    whole = "No container here was made by Compose."
    return sentence(look.none(service, whole, "has no container of this project that Compose made"))


def plot(look: Look, service: str = "", hours: float = 0.0) -> Shown:
    """When files were changed, images built and containers made, on one time axis."""
    taken = timeline.seconds(look.evidence.taken_at)
    made = _made(look, service)
    if not made or taken is None:
        return _unread(look, service)
    files = _files(look)
    rows = [_file_row(path, changed, taken) for path, changed in _changed(look)]
    rows += [_row(files, one, taken) for one in made]
    moments = [bar.start for row in rows for bar in row.bars]
    moments += [row.marks[0][0] for row in rows if row.marks and not row.bars]
    begin = taken - hours * 3600 if hours else min(moments, default=taken)
    begin -= 0.0 if hours else 0.03 * max(taken - begin, 10.0)
    alt = "Files, images and containers over time. " + " ".join(f"{row.label}: {row.end}." for row in rows)
    return timeline.timeline(
        rows, begin, taken, alt, "Times in UTC. What is older than the axis is told in words only.", LEGEND
    )


def _changed(look: Look) -> Iterator[tuple[str, float]]:
    """The files that Compose reads, each with the time of its last change."""
    told = look.evidence.data("compose") or {}
    for file in (*(told.get("files") or ()), told.get("dotenv") or {}, *(told.get("env_files") or ())):
        changed = timeline.seconds(file.get("modified"))
        if changed is not None:
            yield file["path"].rpartition("/")[2], changed


def _file_row(name: str, changed: float, taken: float) -> timeline.Row:
    return timeline.Row(name, marks=[(changed, "calm", "d")], end=f"changed {_ago(changed, taken)}")


def _row(files: Files, service: Service, taken: float) -> timeline.Row:
    made = timeline.seconds(service.item.get("created"))
    built = timeline.seconds(service.item.get("image_created"))
    old = any(one.after and one.sure for one in differences.of(files, service))
    words = [f"made {_ago(made, taken)}"] if made else []
    words += [f"image {units.duration(taken - built)} old"] if built else []
    return timeline.Row(
        service.label,
        [timeline.Bar(made, taken, "warning" if old else "ok", open=True)] if made else [],
        [(built, "soft", "x")] if built else [],
        ", ".join(words),
        "warning" if old else "soft",
    )


def _ago(moment: float, taken: float) -> str:
    """``2 h 5 min ago``."""
    return f"{units.duration(taken - moment)} ago"


def against_file(look: Look, service: str = "", all_differences: bool = False) -> Shown:
    """What each container has and its Compose files say otherwise."""
    files, rows = _files(look), []
    made = _made(look, service)
    if not made or not look.evidence.section("compose").readable:
        return _unread(look, service)
    for one in made:
        for found in differences.of(files, one):
            if found.after or all_differences:
                rows.append(
                    (
                        Cell(one.label, code=True),
                        found.what,
                        Cell(found.has, code=True),
                        Cell(found.says, code=True),
                        found.place,
                        "yes" if found.after else "no",
                        Cell("surely", tone="warning") if found.sure else Cell("by .env only", tone="quiet"),
                    )
                )
    columns = ("Container", "What", "Container has", "File says", "Where", "Changed since", "Differs")
    note = "By .env only: the shell that called Compose may have set the variable. Secrets: by token."
    count = units.count(len(made), "container has", "containers have")
    return table(columns, rows, empty=f"{count} what the Compose files say.", note=note)


def replicas(look: Look, service: str = "") -> Shown:
    """Image and age of each container; replicas of one service stand together."""
    made = sorted(_made(look, service), key=lambda one: (one.item["service"], one.item.get("number") or 0))
    if not made:
        return _unread(look, service)
    rows, taken = [], look.evidence.taken_at
    for one in made:
        item = one.item
        like = {other.item.get("image_id") for other in made if other.item["service"] == item["service"]}
        rows.append(
            (
                Cell(one.label, code=True),
                Cell(str(item.get("image") or ""), code=True),
                Cell(_id(item.get("image_id")), code=True, tone="warning" if len(like) > 1 else ""),
                _age(item.get("image_created"), taken),
                _means(item),
                _age(item.get("created"), taken),
                one.latest.get("status") or "gone",
            )
        )
    columns = ("Container", "Image", "Image id", "Image built", "The name means now", "Made", "State")
    return table(columns, rows)


def _id(text: Any) -> str:
    return str(text or "").removeprefix("sha256:")[:12]


def _age(moment: str | None, taken: str) -> str | None:
    seconds = units.between(moment, taken)
    return None if seconds is None else f"{units.duration(seconds)} ago"


def _means(item: Mapping[str, Any]) -> Cell:
    now = item.get("image_now")
    if not now:
        return Cell("not known", tone="quiet")
    return Cell("this image") if now == item.get("image_id") else Cell(f"another: {_id(now)}", tone="warning")


def services(look: Look) -> Shown:
    """The services of the Compose files beside the containers of the project."""
    if not look.evidence.section("compose").readable or not look.evidence.section("containers").readable:
        return _unread(look)
    files = _files(look)
    held: dict[str, list[Service]] = {}
    for one in _made(look):
        held.setdefault(str(one.item["service"]), []).append(one)
    rows = [
        (Cell(name, code=True), _where(files, name), _count(held.get(name, ())), _says(files, name, held))
        for name in sorted({*files.services, *held})
    ]
    columns = ("Service", "In the file", "Containers", "So")
    return table(columns, rows, empty="The Compose files have no service.")


def _where(files: Files, name: str) -> Cell:
    return Cell("yes") if name in files.services else Cell("no", tone="warning")


def _count(found: Sequence[Service]) -> str:
    running = sum(one.running for one in found)
    return f"{len(found)}, {running} running" if found else "none"


def _says(files: Files, name: str, held: Mapping[str, Sequence[Service]]) -> Cell:
    if name not in files.services:
        return Cell("no service of these files", tone="warning")
    if name in held:
        return Cell("it is there", tone="ok")
    why = expected(files, name)
    if why.startswith("? "):
        return Cell(f"not known: {why[2:]}", tone="quiet")
    return Cell(f"need not be there: {why}", tone="quiet") if why else Cell("missing", tone="critical")
