"""The bench's own judgement: what a figure is held against, what is counted, and that a miss shows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench import __main__ as bench
from tests.bench import parts
from tests.bench.measure import Command, NotMeasured, Spread, memory, seconds, tree
from tests.bench.page import Figure, rendered

ENV = dict(os.environ)


def python(code: str, *words: str) -> Command:
    return Command((sys.executable, "-c", code, *words))


def test_the_middle_ratio_is_judged():
    """Repetition by repetition, the other side's time by ours; one slow repetition decides nothing."""
    figure = Figure("run", "x", 4.0, ours=(1.0, 1.0, 9.0), against=(4.5, 5.0, 9.0))
    assert figure.ratio == Spread(1.0, 4.5, 5.0)
    assert figure.reached
    assert not Figure("run", "x", 4.6, ours=figure.ours, against=figure.against).reached


def test_a_limit_is_a_limit():
    """Without another side the middle value itself may not be above the target."""
    figure = Figure("memory", "x", 250.0, "MiB", (120.0, 251.0, 300.0), compared=False)
    assert not figure.reached
    assert "120 / 251 / 300 MiB; at most 250 MiB: MISSED" in figure.line


def test_a_miss_is_shown_and_counted():
    """A page with a missed target says so at its top and in its row."""
    good = Figure("help", "x", 0.4, ours=(0.1,), compared=False)
    bad = Figure("log", "y | z", 1.0, why="no engine\nanswers")
    text = rendered([good, bad], ["on a machine"])
    assert "1 of 2 targets reached; **missed: log**" in text
    assert "| log | y \\| z | - | - | - | at least 1 times as fast | **MISSED**: not measured" in text


@pytest.mark.parametrize("limit, code", [(10.0, 0), (0.0, 1)])
def test_the_exit_code_tells_a_miss(monkeypatch, tmp_path, limit, code):
    """0 only when every target was reached; the page is written in both cases."""
    blank = dict(part="help", what="x", target=limit, compared=False)
    measure = lambda repetitions, prefix: iter([Figure(**blank, ours=(seconds([python("")], ENV),))])  # noqa: E731
    monkeypatch.setattr(parts, "PARTS", {"help": (blank, measure)})
    monkeypatch.setattr(parts, "circumstances", lambda: [])
    assert bench.main(["--table", str(tmp_path / "R.md")]) == code
    assert f"{1 - code} of 1 targets reached" in (tmp_path / "R.md").read_text()


def test_some_parts_do_not_write_the_page(tmp_path, monkeypatch):
    """A run of one part would leave a page without the others."""
    assert bench.main(["help", "--repetitions", "1", "--table", str(tmp_path / "R.md")]) in (0, 1)
    assert not (tmp_path / "R.md").exists()


@pytest.mark.parametrize("words", [["speed"], ["--repetitions", "0"]])
def test_wrong_use_is_64(words):
    """As everywhere here, never a code that could be a result."""
    assert bench.main(words) == 64


def test_what_cannot_be_measured_is_a_figure_that_says_why(monkeypatch):
    """No engine, no program, a command that fails: the part is missed, and the others still run."""
    blank = dict(part="x", what="y", target=1.0)

    def broken(repetitions, prefix):
        raise NotMeasured("there is no papermill")
        yield

    monkeypatch.setattr(parts, "PARTS", {"x": (blank, broken)})
    [figure] = parts.measured("x", 1, "ctbench_")
    assert not figure.reached
    assert figure.why == "there is no papermill"


def test_a_command_that_fails_is_no_measurement():
    """Its exit code and its last words are told; a good code of another kind counts as done."""
    with pytest.raises(NotMeasured, match="exit code 3: no such stack"):
        seconds([python("import sys; sys.exit('no such stack') if 0 else (print('no such stack', "
                        "file=sys.stderr), sys.exit(3))")], ENV)
    assert seconds([Command((sys.executable, "-c", "raise SystemExit(3)"), good=(0, 3))], ENV) > 0


def test_times_add_up():
    """Commands run one after another, and all of it counts."""
    assert 0.4 <= seconds([python("import time; time.sleep(0.2)")] * 2, ENV) < 10


#: Holds so many MiB for a while, in this process or in a child whose command line has the given word.
HOLD = """
import subprocess, sys, time
mine, child, word = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
kept = bytearray(b"x") * (mine * 1024 * 1024)
if child:
    subprocess.run([sys.executable, "-c", open(sys.argv[4]).read(), str(child), "0", word, ""])
else:
    time.sleep(1.0)
"""


def test_memory_is_of_the_whole_tree_but_what_is_left_out(tmp_path):
    """A child's memory counts, unless its command line holds the word that is left out."""
    script = tmp_path / "hold.py"
    script.write_text(HOLD)
    root = python(HOLD, "60", "80", "other_process", str(script))
    both = memory(root, ENV, "kernel_process")
    assert 140 < both.pss < 200
    assert both.processes == 2
    # The word stands in the root's command line, too: left out there, nothing at all would be counted.
    turned = HOLD.replace('word, ""', 'word[::-1], ""')
    alone = memory(python(turned, "60", "80", "ssecorp_lenrek", str(script)), ENV, "kernel_process")
    assert 60 < alone.pss < 100
    assert alone.processes == 1


def test_a_process_that_has_ended_is_in_no_tree():
    """Asking about it is no error."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert tree(ended.pid, "ipykernel_launcher") == []


def test_looking_does_not_outlive_the_command():
    """The measurement ends when its command does."""
    began = time.monotonic()
    assert memory(python("import time; time.sleep(0.3)"), ENV, "ipykernel_launcher").looks >= 2
    assert time.monotonic() - began < 10
