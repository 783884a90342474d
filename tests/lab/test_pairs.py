"""Two faults at once, as their files make them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.lab.fault import BadFault, load_fault

OWN = "wait_for: {ready: all}, expect: {verdict: critical}"


def pair(tmp_path: Path, text: str):
    """A pair of two small faults."""
    (tmp_path / "a.yml").write_text(
        "x-fault:\n  title: A\n  image: {celery: '5.4.0'}\n  quiet_seconds: 30\n"
        "  edits: [{file: backend, old: x, new: y}]\n"
        "  expect: {verdict: critical, not: [b-cause],\n"
        "    causes: [{name: a-cause, services: [flower], state: active}]}\n"
        "services: {flower: {environment: {A: '1'}}}\n")
    (tmp_path / "b.yml").write_text(
        "x-fault:\n  title: B\n  image: {flower: null}\n  quiet_seconds: 25\n  long: true\n"
        "  edits: [{file: env, old: p, new: q}]\n  steps: {before: [{sql: DROP DATABASE ai_backend}]}\n"
        "  expect: {verdict: warning, causes: [{name: b-cause, services: [flower], state: active}]}\n"
        "services: {flower: {environment: {B: '2'}}}\n")
    (tmp_path / "p.yml").write_text(text)
    return load_fault(tmp_path / "p.yml")


def test_a_pair_is_both_faults(tmp_path):
    """Edits, images, overrides, steps and causes of both; the longer quiet; what one forbids may come."""
    fault = pair(tmp_path, f"x-fault: {{title: P, pair: [a, b], {OWN}}}\n")
    assert [edit["old"] for edit in fault.edits] == ["x", "p"]
    assert fault.image == {None: {"celery": "5.4.0", "flower": None}}
    assert fault.backend == {"services": {"flower": {"environment": {"A": "1", "B": "2"}}}}
    assert [cause.name for cause in fault.expected] == ["a-cause", "b-cause"]
    assert (fault.quiet_seconds, fault.long, fault.unexpected) == (30, True, ())
    assert len(fault.steps_before) == 1


def test_a_pair_says_what_is_hidden(tmp_path):
    """A state of the pair's own counts for its cause; the other cause keeps the one that it has alone."""
    text = ("x-fault: {title: P, pair: [a, b], wait_for: {ready: all}, "
            "expect: {verdict: critical, states: {b-cause: latent}}}\n")
    assert [cause.state for cause in pair(tmp_path, text).expected] == ["active", "latent"]


@pytest.mark.parametrize("text, told", [
    ("title: P, pair: [a], " + OWN, "a pair is of two faults"),
    ("title: P, pair: [a, b], like: a, " + OWN, "not like a third"),
    ("title: P, pair: [a, zz], " + OWN, "no other fault zz"),
    ("title: P, pair: [a, b], expect: {verdict: ok}", "what to wait for"),
    ("title: P, pair: [a, b], wait_for: {ready: all}, expect: {verdict: ok, states: {c: latent}}",
     "no cause of the two: c"),
])
def test_mistakes_are_told(tmp_path, text, told):
    """Each mistake of a pair is one sentence that names it."""
    with pytest.raises(BadFault, match=told):
        pair(tmp_path, f"x-fault: {{{text}}}\n")
