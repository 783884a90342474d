"""The healthy stack under real load for a while, looked at again and again: nothing may be alleged, ever.

    python -m tests.lab.soak [--minutes 15] [--every 20] [--prefix ctsoak_] [--page FILE]

Tasks flow through all queues (short ones, slow ones and some that fail by themselves, which is the
application's affair), beat ticks, and in the middle all workers are made anew. Every look is ``celery-triage
check --json`` as a process of its own. Any finding above notice, or any verdict but ok, fails the soak, as
does a load that did not flow: what nobody executed proves nothing. Exit code 0 if nothing was alleged, 1 if
something was, 2 if the lab could not work.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.lab import images, lab, table
from tests.lab.asking import NotDiagnosed, diagnose, tool_command
from tests.lab.fault import load_fault
from tests.lab.oracle import SCHEDULED
from tests.lab.place import DATABASE, Lab, StepFailed, docker, psql
from tests.lab.waiting import NotReached, wait_for

PREFIX = "ctsoak_"
WORKERS = ("email_worker", "payment_worker", "data_sync_worker")
#: Everything above a notice is an alarm.
ALARMS = ("critical", "warning")

#: Sends for a bounded time and ends by itself: three tasks a second, one in 20 slow, one in 50 failing.
LOAD = """
import sys, time
from celery import Celery
seconds, pause = float(sys.argv[1]), float(sys.argv[2])
app = Celery(broker="redis://redis:6379/0")
end, number = time.monotonic() + seconds, 0
while time.monotonic() < end:
    for queue in ("email_processing", "payment_processing", "data_sync"):
        number += 1
        if number % 50 == 0:
            app.send_task("shared.tasks.failing", args=["the application's own affair"], queue=queue)
        elif number % 20 == 0:
            app.send_task("shared.tasks.slow", args=[2], queue=queue)
        else:
            app.send_task("shared.tasks.quick", args=[number, 1], queue=queue)
    time.sleep(pause)
print(number)
"""


@dataclass
class Soak:
    """What came of it; ``alarms`` has a sentence for each finding above notice and each verdict but ok."""

    looks: int = 0
    settling: int = 0
    alarms: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    sent: int = 0
    done: int = 0
    beats: int = 0

    @property
    def ok(self) -> bool:
        return bool(self.looks and not self.alarms and self.done >= 0.95 * self.sent > 0 and self.beats)


def alarms_in(diagnosis: Mapping[str, Any], when: str) -> list[str]:
    """A sentence for each finding above notice that is not history, and one for a verdict that is not ok."""
    told = [
        f"{when}: {one['severity']} {one['code']} {one['name']} ({one['state']}): {one['title']}"
        for one in diagnosis["findings"] if one["severity"] in ALARMS and one["state"] != "history"
    ]
    if diagnosis["verdict"] != "ok" and not told:
        told.append(f"{when}: verdict {diagnosis['verdict']} without a finding")
    return told


def soak(place: Lab, minutes: float, every: float) -> Soak:
    """Loads a healthy stack that is up and looks at it. Raises StepFailed, NotReached, NotDiagnosed."""
    came, tool = Soak(), tool_command()
    name, seconds = f"{place.prefix}load", 60 * minutes
    docker(
        place, "run", "--detach", "--name", name, "--network", place.networks["database-net"],
        images.app_image(images.requirements()), "python3", "-c", LOAD, str(seconds), "1",
    )
    began, renewed = time.monotonic(), False
    try:
        while (passed := time.monotonic() - began) < seconds:
            if not renewed and passed > seconds / 2:
                lab.compose(place, "backend", "up", "--detach", "--no-deps", "--force-recreate", *WORKERS)
                renewed = True
            look = time.monotonic()
            diagnosis, _ = diagnose(place, tool)
            came.seconds.append(time.monotonic() - look)
            came.looks += 1
            came.settling += bool(diagnosis.get("settling"))
            told = alarms_in(diagnosis, f"after {passed:.0f} s")
            came.alarms += told
            _say(f"{passed:.0f} s: {diagnosis['verdict']}{''.join(f'; {one}' for one in told)}")
            time.sleep(max(0.0, every - (time.monotonic() - look)))
        docker(place, "wait", name)
        came.sent = int(docker(place, "logs", name).split()[-1])
    finally:
        docker(place, "rm", "--force", name)
    wait_for(place, {"ready": list(WORKERS)})
    came.done, came.beats = _executed(place, came.sent)
    return came


def _executed(place: Lab, sent: int) -> tuple[int, int]:
    """How many of our tasks and of beat's have a row among the results, once the queues are worked off."""
    end = time.monotonic() + 60
    while True:
        ours, beats = (
            int(psql(place, f"SELECT count(*) FROM celery_taskmeta WHERE name {how} '{SCHEDULED}'", DATABASE))
            for how in ("<>", "=")
        )
        if ours >= sent or time.monotonic() > end:
            return ours, beats
        time.sleep(2)


def page(came: Soak, minutes: float, every: float, versions: str) -> str:
    """The result as Markdown."""
    worst = "".join(f"\n- {one}" for one in came.alarms)
    middle = statistics.median(came.seconds) if came.seconds else 0.0
    slowest = max(came.seconds, default=0.0)
    figures = {
        "load": f"{minutes:g} minutes, {came.sent} tasks sent, {came.done} done, {came.beats} of beat",
        "looks": f"{came.looks}, every {every:g} s; {middle:.1f} s each (median), {slowest:.1f} s at most",
        "workers made anew": f"once, in the middle; {came.settling} looks said that something settles",
        "findings above notice": str(len(came.alarms)),
        "outcome": "ok" if came.ok else "**not ok**",
    }
    rows = "\n".join(f"| {what} | {figure} |" for what, figure in figures.items())
    return (
        "# The healthy stack under load\n\n"
        f"Written by `make soak` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {versions}.\n\n"
        f"| What | Figure |\n| --- | --- |\n{rows}\n{worst}"
    ).rstrip() + "\n"


def main(argv: list[str] | None = None) -> int:
    """The command line. The stack is removed whatever happens."""
    parser = argparse.ArgumentParser(prog="soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--every", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--prefix", default=PREFIX)
    parser.add_argument("--page", metavar="FILE", help="write the result there, as Markdown")
    given = parser.parse_args(argv)
    try:
        place = lab.up(load_fault("healthy"), given.prefix)
        try:
            came = soak(place, given.minutes, given.every)
        finally:
            lab.down(place)
    except (lab.Foreign, StepFailed, NotReached, NotDiagnosed, images.BuildFailed) as problem:
        _say(str(problem))
        return 2
    told = page(came, given.minutes, given.every, table.made_of(tool_command()))
    if given.page:
        Path(given.page).write_text(told, encoding="utf-8")
    print(told)
    return 0 if came.ok else 1


def _say(text: str) -> None:
    print(f"soak: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
