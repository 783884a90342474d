"""Rules about workers: alive is not yet at work."""

from __future__ import annotations

import pytest
from evidence import TAKEN_S, WORKERS, Incident, hostname, without_section

from celery_triage import causes
from celery_triage.checks import RULES, Look, judge
from celery_triage.model import Section

SILENT = "payment_worker"


class Frozen(Incident):
    """One worker got the ping and did not answer; ``idle`` is how long ago it asked for a task (s)."""

    def __init__(self, idle=40, blocked=0, asked=3):
        super().__init__()
        self.asked = asked
        self.redis["consumers"] = [
            {
                "address": "172.18.0.1",
                "label": label,
                "command": "brpop",
                "connections": 1,
                "blocked": blocked if label == SILENT else 1,
                "idle_s": idle if label == SILENT else 0,
            }
            for label in WORKERS
        ]

    def evidence(self):
        evidence = super().evidence()
        broker = evidence.section("celery").data["brokers"][0]
        broker["replies"].pop(f"{SILENT}@{hostname(SILENT)}", None)
        broker.update(
            asked=self.asked,
            status="no_reply",
            why=f"no answer from {SILENT}",
            services=sorted(evidence.section("redis").data["servers"][0]["services"]),
        )
        told = evidence.section("celery")
        sections = {**evidence.sections, "celery": Section("celery", "partial", told.data, why="no answer")}
        return type(evidence)(evidence.target, evidence.taken_at, sections, options=evidence.options)


FIRES = {"WRK004": Frozen}


def judged(stack):
    evidence = stack.evidence() if isinstance(stack, Incident) else stack
    return judge(RULES["WRK004"], Look(evidence, RULES["WRK004"]))


def test_a_worker_that_listens_and_does_not_answer_is_named():
    """With its silence on the broker as proof, and a restart as the cure."""
    (finding,), outcome = judged(Frozen())
    assert (finding.services, finding.certainty, finding.severity) == ((SILENT,), "confirmed", "critical")
    assert any("40 s ago" in proof.text for proof in finding.proof)
    assert finding.remedy.commands == (f"docker restart ai_backend_{SILENT}",)


def test_it_is_the_only_cause():
    """Nothing else is said of a stack in which one worker is frozen."""
    diagnosis = causes.diagnose(Frozen().evidence())
    assert [finding.name for finding in diagnosis.cause_findings] == ["worker-frozen"]
    assert (diagnosis.verdict, diagnosis.cause_findings[0].state) == ("critical", "active")


@pytest.mark.parametrize(
    ("stack", "why"),
    [
        (Frozen(idle=1), "still asks"),
        (Frozen(blocked=1), "still asks"),
        (Frozen(asked=2), "not known to listen"),
        (
            Frozen().command(SILENT, "celery -A x worker -Q payment_processing -P solo -n payment_worker@%h"),
            "solo",
        ),
    ],
)
def test_a_slow_worker_is_not_called_frozen(stack, why):
    """One that waits for tasks, that did not get the ping or that works in its main process: unknown."""
    findings, outcome = judged(stack)
    assert (findings, outcome.outcome) == ((), "unknown") and why in outcome.why


def test_a_worker_that_has_not_finished_its_start_is_not_frozen():
    """It cannot answer yet."""
    stack = Frozen()
    stack.lives[SILENT], stack.logs[SILENT] = [], []
    stack.life(SILENT, TAKEN_S - 2, None, lines=["celery worker v5.6.3"])
    findings, outcome = judged(stack)
    assert (findings, outcome.outcome) == ((), "unknown") and "its start" in outcome.why


def test_without_the_broker_it_is_only_inferred():
    """Silence alone could be slowness; the ping's own count still says that it listens."""
    (finding,), _ = judged(without_section(Frozen().evidence(), "redis"))
    assert finding.certainty == "inferred"


def test_a_worker_that_is_down_is_not_frozen():
    """Nobody expects an answer of it."""
    stack = Frozen(asked=2)
    stack.loop(SILENT, 1, ["it ends"])
    assert judged(stack)[0] == ()
