"""Was it cured? Looks at the live stack of a report again, and judges each cause of that report.

Only looking: what the rules can prove themselves they prove; the steps of a remedy's verification stay text
for a person. Of the report's own options only those that choose the target or forbid something are taken
over: a report is somebody's file, and nobody's file may send this tool to servers outside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from celery_triage.collect import CannotCollect, CollectOptions
from celery_triage.model import EXIT_CODES, Evidence
from celery_triage.report.compare import Comparison, Side, compare

#: Seconds: the longest wait unless told otherwise, what is added to the seconds that are left (a look takes
#: some, and workers answer late), and the pause between two looks.
LONGEST_S, MARGIN_S, PAUSE_S = 900.0, 60.0, 15.0


def options_for(evidence: Evidence, given: Mapping[str, Any]) -> CollectOptions:
    """What to collect to see the target of this evidence again. ``given`` are the user's options of now:
    ``no_broadcast``, ``no_login``, ``reach_external``."""
    told, containers = evidence.options, evidence.data("containers") or {}
    names = {key: _texts(told.get(key)) for key in ("containers", "networks")}
    project = containers.get("project") or _text(told.get("project"))
    if any(names.values()):
        project = None
    elif project is None:
        names["containers"] = tuple(
            item["name"] for item in containers.get("items") or () if item.get("member")
        )
    return CollectOptions(
        project=project,
        **names,
        broker_url_env=_text(told.get("broker_url_env")),
        db_url_env=_text(told.get("db_url_env")),
        no_broadcast=bool(given.get("no_broadcast") or told.get("no_broadcast")),
        no_login=bool(given.get("no_login") or told.get("no_login")),
        reach_external=bool(given.get("reach_external")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, (list, tuple)) else ()


def watch(
    before: Side,
    look: Callable[[], Evidence],
    *,
    wait: bool = False,
    longest: float | None = None,
    progress: Callable[[str], None] = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Comparison:
    """Look until all is resolved or the time is up, at least once; the last look counts.

    Without ``longest`` the time is what is left for the services to settle and a margin, at most 15 minutes.
    A look that fails is told and tried again; CannotCollect where the last one failed, Swapped.
    """
    began = clock()
    end = began + (longest if longest is not None else MARGIN_S)
    while True:
        seen: Comparison | CannotCollect
        try:
            seen = compare(before, Side.of(look()))
        except CannotCollect as error:
            seen = error
        done = isinstance(seen, Comparison) and seen.result == "resolved"
        if longest is None and isinstance(seen, Comparison) and seen.left is not None:
            end = max(end, min(began + LONGEST_S, clock() + seen.left + MARGIN_S))
        pause = min(PAUSE_S, end - clock())
        if done or not wait or pause <= 0:
            if isinstance(seen, CannotCollect):
                raise seen
            return seen
        said = seen.headline if isinstance(seen, Comparison) else f"this look failed: {seen}"
        progress(f"{said}; looking again in {pause:.0f} s, for {end - clock():.0f} s at most")
        sleep(pause)


def exit_code(comparison: Comparison) -> int:
    """As monitoring plugins: 0 resolved, 1 settling, not yet proven or only warnings left, 2 still there,
    something critical is new, or a service was removed or is down, 3 the stack could not be seen."""
    if comparison.result == "resolved":
        return EXIT_CODES["ok"]
    bad = [one.now or one.finding for one in comparison.causes if one.became == "left"]
    bad += [one.finding for one in comparison.new]
    lost = any(one.became in ("removed", "down") for one in comparison.services)
    if lost or any(finding.severity == "critical" for finding in bad):
        return EXIT_CODES["critical"]
    return EXIT_CODES["unknown" if comparison.after.diagnosis.verdict == "unknown" else "warning"]


__all__ = ["exit_code", "options_for", "watch"]
