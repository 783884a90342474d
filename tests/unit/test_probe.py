"""The probe harness: bounded children that stream what they saw."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from celery_triage.collect import child
from celery_triage.collect.probe import Emit, Source, Unavailable, run_sources, single_threaded
from celery_triage.model import Section


def probe(run, *names: str, **more):
    return Source("here", names or ("one",), run, **more)


def gone(pid: int) -> bool:
    """Whether no such process is left (a zombie that somebody else must reap counts as gone)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_what_a_source_sent_before_its_deadline_is_kept_and_the_rest_is_timeout():
    """A source that hangs keeps its first section; the one it still owes says what it was waiting for."""

    def run(emit: Emit) -> None:
        emit.section(Section("one", "ok", data=[1]))
        with emit.asking("ask the dead server"):
            time.sleep(30)

    start = time.monotonic()
    probed = run_sources([probe(run, "one", "two", deadline_s=0.4)], mask=str)
    assert time.monotonic() - start < 2
    assert probed.sections["one"].status == "ok" and probed.sections["one"].data == [1]
    assert probed.sections["two"].status == "timeout"
    assert "ask the dead server" in probed.sections["two"].why
    assert probed.calls[0].endswith("here: ask the dead server -> no answer, given up")


def test_a_child_that_ignores_signals_is_killed_with_all_that_it_started():
    """At the deadline the whole process group goes, also a grandchild that was never waited for."""

    def run(emit: Emit) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
        emit.value("pids", [os.getpid(), grandchild.pid])
        while True:
            time.sleep(1)

    probed = run_sources([probe(run, deadline_s=1.0)], mask=str)
    pids = probed.values["here"]["pids"]
    until = time.monotonic() + 2
    while time.monotonic() < until and not all(map(gone, pids)):
        time.sleep(0.02)
    assert [gone(pid) for pid in pids] == [True, True]


def test_a_crash_is_told_by_its_class_and_masked_text():
    """The text of an exception goes through the mask; without a mask nothing of it is shown."""

    def run(emit: Emit) -> None:
        raise ConnectionError("password s3cret refused")

    probed = run_sources([probe(run)], mask=lambda text: text.replace("s3cret", "***"))
    assert (probed.sections["one"].status, probed.sections["one"].why) == (
        "no_reply",
        "ConnectionError: password *** refused",
    )
    assert "s3cret" not in run_sources([probe(run)]).sections["one"].why


def test_a_mask_that_fails_withholds_the_text():
    """A bug in masking must not be a way out for what it should have masked."""

    def run(emit: Emit) -> None:
        emit.call("GET s3cret")
        raise ValueError("s3cret")

    def broken(text: str) -> str:
        raise KeyError(text)

    probed = run_sources([probe(run)], mask=broken)
    assert "s3cret" not in probed.sections["one"].why + "".join(probed.calls)


def test_unavailable_gives_its_status_to_what_is_still_owed():
    """A source that knows why it cannot answer says so for all its open sections at once."""

    def run(emit: Emit) -> None:
        emit.section(Section("one", "ok"))
        raise Unavailable("denied", "this user may not")

    probed = run_sources([probe(run, "one", "two")], mask=str)
    assert [probed.sections[name].status for name in ("one", "two")] == ["ok", "denied"]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_child_that_dies_of_a_signal_is_told_by_its_name(number):
    """A crash inside a C library costs the sections of its own source only."""

    def run(emit: Emit) -> None:
        os.kill(os.getpid(), number)

    probed = run_sources(
        [probe(run), Source("other", ("well",), lambda e: e.section(Section("well", "ok")))], mask=str
    )
    assert probed.sections["one"].why == f"the probe was ended by {number.name}"
    assert probed.sections["well"].status == "ok"


def test_forgetting_a_section_is_told():
    """A source that ends without one of its sections leaves no hole in the evidence."""
    probed = run_sources([probe(lambda emit: None)], mask=str)
    assert probed.sections["one"].status == "no_reply"


def test_a_section_that_was_not_declared_is_refused():
    """Nothing enters the evidence that could not have been reported missing."""
    probed = run_sources([probe(lambda emit: emit.section(Section("other", "ok")))], mask=str)
    assert "other" not in probed.sections
    assert "was not declared" in probed.sections["one"].why


def test_memory_is_bounded():
    """Hostile input that multiplies ends in the child's MemoryError, not in the machine's."""

    def run(emit: Emit) -> None:
        grown = b"x"
        while True:
            grown += grown

    probed = run_sources([probe(run)], mask=str)
    assert probed.sections["one"].status == "no_reply"
    assert "MemoryError" in probed.sections["one"].why


def test_a_section_that_is_too_large_is_withheld(monkeypatch):
    """The cap on one message costs that section and no other."""
    monkeypatch.setattr(child, "MESSAGE_LIMIT", 1000)

    def run(emit: Emit) -> None:
        emit.section(Section("one", "ok", data="x" * 2000))
        emit.section(Section("two", "ok"))

    probed = run_sources([probe(run, "one", "two")], mask=str)
    assert [probed.sections[name].status for name in ("one", "two")] == ["withheld", "ok"]


def test_a_child_that_floods_is_ended(monkeypatch):
    """The cap on the sum of all messages ends the child long before its deadline."""
    monkeypatch.setattr(child, "TOTAL_LIMIT", 100_000)

    def run(emit: Emit) -> None:
        while True:
            emit.section(Section("one", "partial", data="x" * 1000, why="more to come"))

    start = time.monotonic()
    probed = run_sources([probe(run, "one", "two", deadline_s=20)], mask=str)
    assert time.monotonic() - start < 5
    assert probed.sections["one"].status == "partial"
    assert probed.sections["two"].status == "withheld"


def test_sources_are_asked_at_the_same_time():
    """Five that wait 0.4 s each take well under the 2 s that they would take one after the other."""

    def run(emit: Emit) -> None:
        time.sleep(0.4)

    start = time.monotonic()
    run_sources([Source(str(n), (str(n),), run) for n in range(5)], mask=str)
    assert time.monotonic() - start < 1.5


def test_sources_that_never_got_their_turn_are_timeout():
    """The limit of the whole run counts for those that wait for a free place, too."""

    def run(emit: Emit) -> None:
        time.sleep(5)

    start = time.monotonic()
    probed = run_sources([Source(str(n), (str(n),), run) for n in range(4)], mask=str, limit_s=0.5, at_once=2)
    assert time.monotonic() - start < 2
    assert {section.status for section in probed.sections.values()} == {"timeout"}
    assert "used up its time" in probed.sections["3"].why


def test_the_clean_up_runs_when_the_source_was_killed(tmp_path):
    """What a killed probe would leave behind is removed by a second child, which knows what the first had
    done."""

    def run(emit: Emit) -> None:
        (tmp_path / "reply-key").touch()
        emit.value("made", "reply-key")
        time.sleep(30)

    def finalise(emit: Emit, values) -> None:
        (tmp_path / values["made"]).unlink()
        emit.call("DEL reply-key")

    probed = run_sources([probe(run, deadline_s=0.5, finalise=finalise)], mask=str)
    assert not (tmp_path / "reply-key").exists()
    assert any("here clean-up: DEL reply-key" in line for line in probed.calls)


def test_the_clean_up_does_not_run_after_an_orderly_end(tmp_path):
    """A source that came to its end has cleaned up by itself."""
    probed = run_sources(
        [
            probe(
                lambda emit: emit.section(Section("one", "ok")),
                finalise=lambda emit, values: (tmp_path / "ran").touch(),
            )
        ],
        mask=str,
    )
    assert probed.sections["one"].status == "ok"
    assert not (tmp_path / "ran").exists()


def test_a_clean_up_that_hangs_is_bounded():
    """Cleaning up has a deadline of its own."""

    def hang(emit: Emit, *_) -> None:
        time.sleep(30)

    start = time.monotonic()
    run_sources([probe(hang, deadline_s=0.3, finalise=hang, finalise_s=0.3)], mask=str)
    assert time.monotonic() - start < 2


def test_an_interrupted_run_leaves_no_child(tmp_path):
    """Ctrl-C in the parent kills the children, which are in groups of their own, and cleans up."""

    def run(emit: Emit) -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(30)

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_sources([probe(run, finalise=lambda emit, values: (tmp_path / "cleaned").touch())], mask=str)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert gone(int((tmp_path / "pid").read_text()))
    assert (tmp_path / "cleaned").exists()


def test_a_child_says_nothing_on_the_standard_streams(capfd):
    """A library's warning may quote a password, and the tool's output is JSON."""

    def run(emit: Emit) -> None:
        print("s3cret")
        print("s3cret", file=sys.stderr)
        os.write(1, b"s3cret")
        os.write(2, b"s3cret")
        emit.section(Section("one", "ok"))

    assert run_sources([probe(run)], mask=str).sections["one"].status == "ok"
    assert "s3cret" not in "".join(capfd.readouterr())


def test_a_torn_message_is_not_taken():
    """A child killed in the middle of a message leaves the whole ones before it."""

    def run(emit: Emit) -> None:
        emit.section(Section("one", "ok", data="whole"))
        pipes = [fd for fd in range(3, 64) if _writable_pipe(fd)]
        os.write(pipes[-1], (5000).to_bytes(4, "big") + b'{"kind": "section", "name": "two"')
        os.kill(os.getpid(), signal.SIGKILL)

    probed = run_sources([probe(run, "one", "two")], mask=str)
    assert probed.sections["one"].data == "whole"
    assert probed.sections["two"].status == "no_reply"


def _writable_pipe(fd: int) -> bool:
    import fcntl
    import stat

    try:
        return (
            stat.S_ISFIFO(os.fstat(fd).st_mode)
            and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
        )
    except OSError:
        return False


def test_two_sources_cannot_owe_the_same_section():
    """Otherwise it would be chance whose answer stands."""
    with pytest.raises(ValueError, match="same section"):
        run_sources([probe(lambda emit: None), Source("other", ("one",), lambda emit: None)])


def test_calls_stand_in_the_order_of_their_start_with_outcome():
    """`calls.txt` reads as what happened, whichever source finished first."""

    def slow(emit: Emit) -> None:
        with emit.asking("first") as asked:
            time.sleep(0.4)
            asked.outcome = "14 rows"

    def quick(emit: Emit) -> None:
        time.sleep(0.2)
        emit.call("second", "200")

    calls = run_sources([Source("b", (), slow), Source("a", (), quick)], mask=str).calls
    assert ["b: first -> 14 rows" in calls[0], "a: second -> 200" in calls[1]] == [True, True]


def test_a_second_thread_is_seen():
    """Forking is refused to a process with threads; this says whether there are any."""
    code = (
        "import threading, time; from celery_triage.collect.probe import single_threaded as s;"
        "a = s(); threading.Thread(target=time.sleep, args=(2,), daemon=True).start(); print(a, s())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
    assert isinstance(single_threaded(), bool)
