"""Logs come back by lines and times, whole at their end, whatever the stream does on the way."""

from __future__ import annotations

import time

import pytest
from replayed_engine import EMAIL, PASSWORD, engine, frame

from celery_triage.collect import logs
from celery_triage.collect.docker import Engine, EngineError
from celery_triage.collect.probe import Emit, run_sources
from celery_triage.redact import Redactor

KEY = f"GET /containers/{EMAIL}/logs?follow=0&stderr=1&stdout=1&tail=20000&timestamps=1"
T1, T2, T3 = (f"2026-11-23T21:10:48.12158365{n}Z" for n in (1, 2, 3))


def raw_answer(raw: bytes) -> dict:
    return {KEY: {"status": 200, "raw": raw}}


def section(
    tmp_path, answers: dict | None = None, *, redactor=None, size=logs.BYTES, options=None, entry=None, **how
):
    """The section that a log of these bytes becomes."""
    told = {"label": "email_worker", "id": EMAIL, "tty": False, "log_driver": "json-file", **(entry or {})}
    with engine(tmp_path, answers, **how) as address:
        source = logs.source(
            told,
            options or {},
            redactor or Redactor(),
            lambda emit: Engine(emit, api="1.41", environment={"DOCKER_HOST": address}),
            size,
        )
        return run_sources([source], mask=str).sections["logs/email_worker"]


def read(raw: bytes, tty: bool = False, block: int = 2**20, **limits) -> list:
    """What the bytes become when they arrive in blocks of that size."""
    frames, tail = logs.Frames(tty), logs.Tail(**limits)
    for at in range(0, len(raw), block):
        for stream, piece in frames.feed(raw[at : at + block]):
            tail.feed(stream, piece)
    for stream, piece in frames.rest():
        tail.feed(stream, piece)
    return [[stamp, stream, text.decode("utf-8", "backslashreplace")] for stamp, stream, text in tail.lines()]


def test_the_incidents_own_log(tmp_path):
    """The last words of a worker that refuses its option, as a real engine sent them."""
    told = section(tmp_path)
    assert (told.status, told.data["driver"], told.data["cut"]) == ("ok", "json-file", None)
    stamps, streams, texts = zip(*told.data["lines"], strict=True)
    assert texts[-4:] == (
        "Usage: celery worker [OPTIONS]",
        "Try 'celery worker --help' for help.",
        "",
        "Error: No such option: --queue (Possible options: --exclude-queues, --queues)",
    )
    assert set(streams) == {"err"} and list(stamps) == sorted(stamps) and stamps[0].startswith("2026-11-23T")


@pytest.mark.parametrize("block", [1, 2, 3, 7, 8, 9, 31, 40, 4096])
def test_blocks_may_end_anywhere(block):
    """Inside a header, a time stamp or a character: the lines are the same."""
    raw = (
        frame(1, f"{T1} ü€ one\n".encode()) + frame(2, f"{T2} two\n".encode()) + frame(1, f"{T3} \n".encode())
    )
    assert read(raw, block=block) == [[T1, "out", "ü€ one"], [T2, "err", "two"], [T3, "out", ""]]


def test_a_line_that_the_engine_split_is_one_line():
    """Split at 16 KiB, inside a character, the same time stamp before each part (measured on 20.10)."""
    text = "€" * 11000 + "END"
    data = text.encode()
    parts = [data[at : at + logs.SPLIT] for at in range(0, len(data), logs.SPLIT)]
    raw = b"".join(
        frame(1, f"{T1} ".encode() + part + (b"\n" if part is parts[-1] else b"")) for part in parts
    )
    assert len(parts) == 3
    assert read(raw) == [[T1, "out", text]]
    assert read(raw, block=1000) == [[T1, "out", text]]


def test_a_line_of_exactly_16_kib_is_one_line():
    """The engine sends such a line with its end in a frame of its own."""
    raw = frame(2, f"{T1} ".encode() + b"x" * logs.SPLIT) + frame(2, f"{T1} \n".encode())
    assert read(raw) == [[T1, "err", "x" * logs.SPLIT]]


def test_the_streams_do_not_mix_inside_a_line():
    """A long line of standard output goes on after a short one of standard error."""
    raw = (
        frame(1, f"{T1} ".encode() + b"a" * logs.SPLIT)
        + frame(2, f"{T2} short\n".encode())
        + frame(1, f"{T1} end\n".encode())
    )
    assert read(raw) == [[T1, "out", "a" * logs.SPLIT + "end"], [T2, "err", "short"]]


def test_the_last_word_of_a_life_is_not_glued_to_the_next():
    """A life may end without a line end; the next one begins with a later time stamp."""
    raw = (
        frame(2, f"{T1} dying".encode())
        + frame(2, f"{T2} starting\n".encode())
        + frame(2, f"{T3} up".encode())
    )
    assert read(raw) == [[T1, "err", "dying"], [T2, "err", "starting"], [T3, "err", "up"]]


@pytest.mark.parametrize("block", [5, 100, 2**20])
def test_a_terminal_has_no_frames(block):
    """Then the stream is plain, with time stamps also in the middle of long lines (measured on 20.10)."""
    long = b"x" * logs.SPLIT
    raw = f"{T1} ".encode() + long + f"{T1} ".encode() + b"end\r\n" + f"{T2} \x1b[31mred\x1b[0m\r\n".encode()
    assert read(raw, tty=True, block=block) == [
        [T1, "out", "x" * logs.SPLIT + "end"],
        [T2, "out", "\x1b[31mred\x1b[0m"],
    ]


def test_the_tail_is_kept_and_what_was_dropped_is_counted(tmp_path):
    """A cap on lines and bytes keeps the end, in whole lines."""
    raw = b"".join(frame(1, f"{T1} {n:04}\n".encode()) for n in range(100))
    assert [line[2] for line in read(raw, lines=3)] == ["0097", "0098", "0099"]
    told = section(tmp_path, raw_answer(raw), size=40)
    assert [line[2] for line in told.data["lines"]] == [f"{n:04}" for n in range(90, 100)]
    assert told.data["cut"]["bytes"] == 90 * 5 and "last" in told.data["cut"]["why"]


def test_one_endless_line_is_bounded():
    """A program that never writes a line end cannot fill the memory."""
    frames, tail = logs.Frames(False), logs.Tail(size=50_000)
    for _ in range(100):
        for stream, piece in frames.feed(frame(1, f"{T1} ".encode() + b"z" * logs.SPLIT)):
            tail.feed(stream, piece)
    lines = tail.lines()
    assert len(lines) == 1 and len(lines[0][2]) < 50_000 + 2 * logs.SPLIT and tail.dropped > 10**6


def test_an_empty_log_is_an_answer(tmp_path):
    """No words are something else than no log."""
    told = section(tmp_path, raw_answer(b""))
    assert (told.status, told.data["lines"], told.data["cut"]) == ("ok", [], None)


def test_driver_none_keeps_no_logs(tmp_path):
    """Nothing is asked, and the reason is told."""
    told = section(tmp_path, entry={"log_driver": "none"})
    assert (told.status, told.data) == ("denied", None) and "none keeps no logs" in told.why


def test_a_driver_that_cannot_be_read_is_told(tmp_path):
    """The answer of a real engine for a driver that only sends logs away."""
    answer = {KEY: {"status": 501, "json": {"message": "configured logging driver does not support reading"}}}
    told = section(tmp_path, answer, entry={"log_driver": "syslog"})
    assert told.status == "denied" and "does not support reading" in told.why


def test_a_container_that_vanished_is_told(tmp_path):
    """Removed between the list and the look at its log."""
    assert section(tmp_path, {KEY: None}).status == "vanished"


@pytest.mark.parametrize("size", [3, 70, 100])
def test_a_stream_that_is_cut_is_no_whole_log(tmp_path, size):
    """A lost connection must not read as the end of the log; the whole lines before it are kept."""
    raw = b"".join(frame(1, f"{T1} line {n}\n".encode()) for n in range(5))
    told = section(tmp_path, raw_answer(raw), cut={"/logs": size})
    assert told.status == "partial" and "cut off" in told.why
    assert [line[2] for line in told.data["lines"]] == [f"line {n}" for n in range(size // 46)]


def test_a_frame_without_its_end_is_told(tmp_path):
    """An answer that ends in an orderly way inside a frame has lost something, too."""
    raw = frame(1, f"{T1} whole\n".encode()) + frame(1, f"{T1} torn\n".encode())[:-3]
    told = section(tmp_path, raw_answer(raw))
    assert (told.status, told.why) == ("partial", "the stream ended inside a frame")
    assert [line[2] for line in told.data["lines"]] == ["whole"]


def test_what_is_no_log_stream_is_refused(tmp_path):
    """Bytes without frames are not guessed at."""
    with pytest.raises(EngineError):
        list(logs.Frames(False).feed(b"plain text without any frame"))
    assert section(tmp_path, raw_answer(b"plain text without any frame")).status == "no_reply"


def test_a_log_that_does_not_come_is_timeout(tmp_path, monkeypatch):
    """The source's deadline ends it, and the rest of the run goes on."""
    monkeypatch.setattr("celery_triage.collect.docker.CALL_S", 30)
    start = time.monotonic()
    with engine(tmp_path, hang="/logs") as address:
        source = logs.source(
            {"label": "a", "id": EMAIL, "tty": False, "log_driver": "local"},
            {},
            Redactor(),
            lambda emit: Engine(emit, api="1.41", environment={"DOCKER_HOST": address}),
        )
        probed = run_sources([source], mask=str, limit_s=1.0)
    assert probed.sections["logs/a"].status == "timeout"
    assert time.monotonic() - start < 4


def test_a_log_too_long_for_the_time_gives_its_newest_lines(tmp_path, monkeypatch):
    """What was read in time are the oldest of the lines asked for; the newest say why it died."""
    few = KEY.replace("tail=20000", f"tail={logs.FEW_LINES}")
    answers = {
        **raw_answer(frame(1, f"{T1} old\n".encode()) * 3),
        few: {"status": 200, "raw": frame(1, f"{T2} new\n".encode())},
    }
    monkeypatch.setattr(logs, "FIRST_PART", 0.0)
    told = section(tmp_path, answers)
    assert told.status == "partial" and "too long" in told.why
    assert [line[2] for line in told.data["lines"]] == ["new"]


def numbered(count: int, length: int) -> bytes:
    """So many lines of that length, each with its number."""
    return b"".join(
        frame(1, f"{T1} {n:06} ".encode() + b"x" * (length - 8) + b"\n") for n in range(count)
    )


@pytest.mark.parametrize("at_the_end", [1000, 20])
def test_of_long_lines_only_the_end_is_asked_for(tmp_path, monkeypatch, at_the_end):
    """Where bytes limit what is kept, fewer lines are asked for; if the newest are short, all."""
    monkeypatch.setattr(logs, "BLOCK", 2**14)
    few = KEY.replace("tail=20000", f"tail={logs.FEW_LINES}")
    newest = numbered(logs.FEW_LINES, at_the_end)
    raw = numbered(3000, 1000) + newest
    answers = {**raw_answer(raw), few: {"status": 200, "raw": newest}}
    monkeypatch.setattr(logs, "ENOUGH", 10**12)
    for name in ("whole", "end"):
        (tmp_path / name).mkdir()
    whole = section(tmp_path / "whole", answers, size=50_000)
    monkeypatch.setattr(logs, "ENOUGH", 10**6)
    told = section(tmp_path / "end", answers, size=50_000)
    assert (told.status, told.data["lines"]) == ("ok", whole.data["lines"])
    assert (told.data["cut"]["bytes"] < whole.data["cut"]["bytes"]) == (at_the_end == 1000)


def test_secrets_of_the_stack_do_not_pass(tmp_path):
    """In position, as a known value, and across the place where the engine splits a line."""
    redactor = Redactor()
    redactor.learn_env({"POSTGRES_PASSWORD": PASSWORD})
    long = "x" * (logs.SPLIT - 8) + PASSWORD + " and on"
    raw = (
        frame(1, f"{T1} connecting with {PASSWORD}\n".encode())
        + frame(1, f"{T2} ".encode() + long[: logs.SPLIT].encode())
        + frame(1, f"{T2} {long[logs.SPLIT :]}\n".encode())
        + frame(2, f"{T3} --requirepass abc\n".encode())
    )
    told = section(tmp_path, raw_answer(raw), redactor=redactor)
    text = "".join(line[2] for line in told.data["lines"])
    assert redactor.find_leaks(text) == [] and "abc" not in text and "n0t-a-re" not in text
    assert text.count(redactor.token(PASSWORD)) + text.count("(cut)") >= 2


def test_bytes_that_are_no_text_are_shown_as_escapes(tmp_path):
    """A log may hold anything."""
    told = section(tmp_path, raw_answer(frame(1, f"{T1} ".encode() + b"caf\xe9 \x1b[31m\x00red\n")))
    assert told.data["lines"] == [[T1, "out", "caf\\xe9 red"]]


def test_since_is_asked_of_the_engine(tmp_path):
    """Only the time that was asked for is read."""
    messages: list = []
    with engine(tmp_path, raw_answer(b"")) as address:
        logs.source(
            {"label": "a", "id": EMAIL, "tty": False, "log_driver": "local"},
            {"since": "2026-11-23T21:00:00Z"},
            Redactor(),
            lambda emit: Engine(emit, api="1.41", environment={"DOCKER_HOST": address}),
        ).run(Emit(messages.append, time.monotonic() + 20))
    assert any("since=1795467600.0" in message.get("text", "") for message in messages)
