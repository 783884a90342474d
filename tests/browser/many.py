"""A stack of 100 services with 1 000 findings, built by hand: what the pages must still carry."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from hand_built import APP, HOSTILE, TAKEN, evidence, iso, item

from celery_triage.model import Diagnosis, Edit, Evidence, Finding, Option, Outcome, Proof, Remedy, Section

SERVICES = [f"worker_{n:03}" for n in range(97)]
FILE = "/srv/ai_backend/docker-compose.yml"
CAUSES, CONSEQUENCES, OTHERS = 100, 500, 400


def stack() -> Evidence:
    """The evidence: 60 of 97 workers restart for ever, each with its events and its log; beat and two
    servers beside them."""
    small = evidence()
    looping = set(SERVICES[::5] + SERVICES[1::5] + SERVICES[2::5])
    items = [
        item(
            label,
            ["celery", "-A", APP, "worker", f"--queue=queue_{label}"],
            exit_code=2 if label in looping else None,
        )
        for label in SERVICES
    ]
    items += [entry for entry in small.data("containers")["items"] if entry["label"] in KEPT]
    events, sections = [], dict(small.sections)
    for n, label in enumerate(sorted(looping)):
        for life in range(10):
            at = 20 + n * 0.7 + life * 80
            told = {"container": f"ai_backend_{label}", "label": label, "signal": None, "health": None}
            events.append({**told, "t": iso(at), "action": "start", "exit_code": None})
            events.append({**told, "t": iso(at + 2.1), "action": "die", "exit_code": 2})
    for label in SERVICES:
        lines = [[iso(20 + n * 80), "err", f"Error: No such option: --queue {HOSTILE}"] for n in range(10)]
        sections[f"logs/{label}"] = Section(f"logs/{label}", "ok", {"lines": lines, "cut": None})
    whole = {**small.data("containers"), "items": items}
    sections["containers"] = replace(small.section("containers"), data=whole)
    ordered = sorted(events, key=lambda event: event["t"])
    sections["events"] = replace(small.section("events"), data={**small.data("events"), "items": ordered})
    calls = tuple(f"GET /containers/{n:012x}/json 200 1 ms" for n in range(3000))
    return replace(small, sections=sections, calls=calls)


KEPT = ("celery_beat", "postgres", "redis")


def findings() -> Diagnosis:
    """The diagnosis: 100 causes (a third of them latent), 500 consequences, 400 warnings beside them."""
    causes = [_cause(n) for n in range(CAUSES)]
    consequences = [
        Finding(
            "CTR001",
            "restart-loop",
            "critical",
            f"{label} restarts for ever: {10 + n} times so far, each life about 2 s, exit code 2",
            (label,),
            str(n),
            proof=(Proof("events", f"{label}: die, exit code 2, after 2.1 s", n + 1, TAKEN),),
            id=f"c{n}",
            explained_by=f"f{n % CAUSES}",
        )
        for n in range(CONSEQUENCES)
        for label in [SERVICES[n % len(SERVICES)]]
    ]
    others = [
        Finding(
            "HLT005",
            "capacity",
            "warning",
            f"{label} may use more memory than this host has left ({HOSTILE})",
            (label,),
            str(n),
            certainty="inferred",
            proof=(Proof(f"usage/{label}", "memory 480 MiB of 512 MiB", None, TAKEN),),
            id=f"o{n}",
        )
        for n in range(OTHERS)
        for label in [SERVICES[n % len(SERVICES)]]
    ]
    return Diagnosis(
        "ai_backend",
        TAKEN,
        "critical",
        (*causes, *consequences, *others),
        tuple(finding.id for finding in causes),
        tuple(Outcome(code, "rule", "unknown", "not told", ("postgres",)) for code in ("DBS001", "DBS002")),
    )


def _cause(n: int) -> Finding:
    label = SERVICES[n % len(SERVICES)]
    latent = n % 3 == 2
    command = f"docker compose -p ai_backend -f {FILE} up -d --no-deps {label}"
    exact = Remedy(
        "exact",
        "Write --queues instead of --queue.",
        (Edit(FILE, 10 + n, "--queue", "--queues", "ab" * 32),),
        (command,),
        risk=f"Makes the container of {label} anew, which does not stay up anyway.",
    )
    choice = Remedy(
        "choice",
        "The password differs.",
        question="Which of them is right?",
        options=(Option("the file's", "Set it.", commands=(command,)), Option("the server's", "Take it.")),
        risk="What runs there is cut off.",
    )
    return Finding(
        "URL002" if latent else "CMD001",
        "driver-not-installed" if latent else "unknown-option",
        "critical",
        f"{label} cannot start: Celery 5.6.3 knows no option --queue",
        (label, SERVICES[(n + 7) % len(SERVICES)]),
        f"--queue {n}",
        "latent" if latent else "active",
        "inferred" if latent else "confirmed",
        (
            Proof("containers", f"{label}: celery -A {APP} worker --queue=queue_{label}"),
            Proof(f"logs/{label}", f"Error: No such option: --queue {HOSTILE}", 9, iso(820)),
        ),
        choice if n % 7 == 0 else exact,
        ("docker ps  # up for more than 10 s", "Look again."),
        id=f"f{n}",
    )
