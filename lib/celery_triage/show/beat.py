"""Beat: its three verdicts, and what is due against what was sent and done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..checks.beat.schedule import Beat, Entry, beats
from ..checks.beat.verdicts import Verdict, alive, delivered, late, ticking
from ..checks.course import Courses
from . import units
from .drawing import Drawing
from .output import Cell, Shown, sentence, table
from .workers import replies

if TYPE_CHECKING:
    from ..notebook import Look

BAR_W, LABEL_W, ROW_H, END_W = 520, 230, 40, 250
TONES = {"yes": "ok", "no": "critical", "unknown": "unknown"}
#: Findings that say of an entry that it arrives nowhere.
LOST = ("BEA004", "BEA006")
#: More marks than that in one row are no marks any more.
MOST_MARKS = 200


def _beats(look: Look, service: str = "") -> list[Beat]:
    courses = Courses(look.evidence, look.stack)
    data = look.evidence.data
    found = beats(look.stack, lambda one: courses.of(one.label), data("celery"), data("results"))
    labels = look.labels(service)
    return [beat for beat in found if beat.label in labels]


def _nothing(look: Look, service: str) -> Shown:
    section = look.evidence.section("containers")
    if section.readable:
        whole = "No service here is a beat, nor a worker with -B."
        return sentence(look.none(service, whole, "is no beat, nor a worker with -B"))
    return sentence(f"The containers could not be read: {section.why}.", "unknown")


def _rows(beat: Beat) -> list[Entry]:
    """The entries of its schedule; where that is not known, those that it was seen to send."""
    if beat.entries is not None:
        return list(beat.entries)
    seen = dict.fromkeys((name, task) for _, name, task, _ in beat.sent)
    return [Entry(name, task, "not known", None, "") for name, task in sorted(seen)]


def verdicts(look: Look, service: str = "") -> Shown:
    """Each beat with its three verdicts: it lives, it ticks, what it sends is done."""
    found = _beats(look, service)
    if not found:
        return _nothing(look, service)
    rows = []
    for beat in found:
        lost = [
            finding.title
            for finding in look.diagnosis.findings
            if finding.code in LOST and beat.label in finding.services and finding.state != "history"
        ]
        three = (alive(beat), ticking(beat), delivered(beat, lost))
        rows.append((Cell(beat.label, code=True), *[_told(one) for one in three]))
    return table(
        ("Beat", "Process lives", "Ticks", "Delivered"),
        rows,
        note="A process may live and send nothing, and what it sends may reach nobody.",
    )


def _told(verdict: Verdict) -> Cell:
    return Cell(f"{verdict.answer}: {verdict.why}", tone=TONES[verdict.answer])


def plot(look: Look, service: str = "", minutes: float = 10.0) -> Shown:
    """What was due in the last minutes, or since beat started, against what was sent and done: one row for
    each entry."""
    found = [(beat, entry) for beat in _beats(look, service) for entry in _rows(beat)]
    if not found:
        some = _beats(look, service)
        return sentence(f"No schedule to draw: {some[0].unknown or 'it is empty'}.", "unknown") if some else (
            _nothing(look, service)
        )
    window = min(max(minutes, 0.1) * 60, max(60.0, *(beat.age for beat, _ in found)))
    drawing = Drawing(LABEL_W + BAR_W + END_W, 20 + ROW_H * len(found) + 46)
    said = [_row(drawing, beat, entry, 12 + ROW_H * n, window) for n, (beat, entry) in enumerate(found)]
    foot = 16 + ROW_H * len(found)
    drawing.text(LABEL_W, foot + 6, f"{units.duration(window)} ago", "soft", 11)
    drawing.text(LABEL_W + BAR_W, foot + 6, "now", "soft", 11, "right")
    for x, mark, role, words in ((8, "o", "calm", "sent"), (80, "d", "ok", "last done")):
        drawing.dots([x + 6], [foot + 30], role, 8, mark=mark)
        drawing.text(x + 18, foot + 30, words, "soft", 11)
    drawing.bar(180, foot + 25, 14, 10, "critical", "grid")
    drawing.text(200, foot + 30, "due, and not sent", "soft", 11)
    return drawing.finish(
        "Schedule. " + " ".join(said),
        "What is due, by the settings of a worker of the same application, against what beat logged and what "
        "the result table holds.",
    )


def _row(drawing: Drawing, beat: Beat, entry: Entry, top: float, window: float) -> str:
    middle, begin = top + 14, beat.now - window

    def place(at: float) -> float:
        return LABEL_W + BAR_W * min(1.0, max(0.0, (at - begin) / window))

    name = entry.name if len(entry.name) <= 30 else entry.name[:29] + "…"
    drawing.text(8, middle - 7, name, size=12.5)
    drawing.text(8, middle + 8, f"{entry.text} · {beat.label}"[:40], "soft", 11)
    born = place(beat.now - beat.age)  # before that this life of beat could send nothing
    drawing.bar(born, top + 4, LABEL_W + BAR_W - born, 20, "band", "grid")
    times = [at for at, sent, _, _ in beat.sent if sent == entry.name and at >= begin]
    if entry in (late(beat) or ()):
        since = place(beat.sent_at(entry) or beat.now - beat.age)
        drawing.bar(since, top + 4, LABEL_W + BAR_W - since, 20, "critical")
    shown = times[-MOST_MARKS:]
    drawing.dots([place(at) for at in shown], [middle] * len(shown), "calm", 6)
    done = beat.done_at(entry)
    if done is not None and done >= begin:
        drawing.dots([place(done)], [middle], "ok", 10, mark="d")
    words = _words(beat, entry, len(times), window)
    drawing.text(LABEL_W + BAR_W + 10, middle, words, "soft", 11.5)
    return f"{beat.label}, {entry.name}: {words}."


def _words(beat: Beat, entry: Entry, sent: int, window: float) -> str:
    """Due, sent and done in a few words; what is not known is said to be so."""
    due = f"{min(window, beat.age) // entry.period:.0f} due" if entry.period else "due at its hours"
    told = f"{sent} sent" if beat.tells else "sent: not told"
    done = beat.done_at(entry)
    if done is None or beat.asked is None:
        return f"{due} · {told} · done: not known"
    return f"{due} · {told} · done {units.duration(max(0.0, beat.asked - done))} ago"


def entries(look: Look, service: str = "") -> Shown:
    """Each entry of the schedule: when it is due, where it goes, when it was last sent and last done."""
    answers = replies(look)
    rows = []
    for beat in _beats(look, service):
        for entry in _rows(beat):
            takers = sorted(
                label for label, one in answers.items() if entry.queue in (one.get("active_queues") or ())
            )
            sent, done = beat.sent_at(entry), beat.done_at(entry)
            known = beat.done.get(entry.task) or {}
            rows.append(
                (
                    Cell(beat.label, code=True),
                    Cell(entry.name, code=True),
                    Cell(entry.task, code=True),
                    entry.text,
                    Cell(entry.queue, code=True) if entry.queue else "by the task",
                    _takers(entry, takers, bool(answers)),
                    f"{units.duration(max(0.0, beat.now - sent))} ago" if sent else _unsent(beat),
                    f"{units.duration(max(0.0, (beat.asked or done) - done))} ago" if done else "not known",
                    known.get("done"),
                    known.get("failed"),
                )
            )
    columns = ("Beat", "Entry", "Task", "Due", "Queue", "Taken by", "Last sent", "Last done",
               "Done in an hour", "Failed")  # fmt: skip
    if not rows:
        found = _beats(look, service)
        return sentence(f"No entry is known: {found[0].unknown or 'the schedule is empty'}.") if found else (
            _nothing(look, service)
        )
    return table(columns, rows, note="Last sent: by the log of its present life, where that tells it.")


def _takers(entry: Entry, takers: Sequence[str], asked: bool) -> Cell | str:
    if takers:
        return Cell(units.listed(takers), code=True)
    return Cell("nobody who answered", tone="quiet") if asked and entry.queue else "not known"


def _unsent(beat: Beat) -> str:
    return "never in this life" if beat.tells else "not told"


def told(look: Look, service: str = "") -> Shown:
    """How much can be known of each beat: its scheduler, whether its log tells what it sends, who told its
    schedule."""
    rows = []
    for beat in _beats(look, service):
        options = beat.service.launch.options if beat.service.launch else {}
        rows.append(
            (
                Cell(beat.label, code=True),
                "inside a worker (-B)" if beat.embedded else "of its own",
                Cell(beat.scheduler or "not known", code=True),
                Cell(str(options.get("schedule") or "celerybeat-schedule"), code=True),
                Cell("yes", tone="ok") if beat.tells else Cell(f"no: {beat.untold}", tone="quiet"),
                Cell(beat.unknown, tone="unknown") if beat.unknown else Cell(beat.teller, code=True),
                beat.conf.get("timezone"),
                units.duration(beat.age) if beat.runs else None,
            )
        )
    columns = ("Beat", "Runs", "Scheduler", "Schedule file", "Its log tells", "Schedule told by", "Time zone",
               "Up")  # fmt: skip
    return table(columns, rows) if rows else _nothing(look, service)
