"""Known messages: found in recorded logs in their role, quoted ones told apart, nothing unknown dropped."""

from __future__ import annotations

import json
import random
import re
import time
from functools import cache
from pathlib import Path

import pytest
import yaml

import celery_triage
from celery_triage.signatures import CONTEXTS, Invalid, Match, blocks, catalogue, load, match, unrecognised

DATA = Path(__file__).parent / "data" / "logs"
EXPECTED = yaml.safe_load((DATA / "expected.yml").read_text(encoding="utf-8"))
RECORDED = sorted(path.stem for path in DATA.glob("*.log"))
CATALOGUE = Path(celery_triage.__file__).parent / "data" / "signatures.yml"
#: The signatures that were recorded; those of the families have their texts in messages.yml.
RECORDED_ONES = load(CATALOGUE.read_text(encoding="utf-8"))
IDS = [signature.id for signature in RECORDED_ONES]


@cache
def log(name: str) -> list[list[str]]:
    return [
        line.split(" ", 2)
        for line in (DATA / f"{name}.log").read_text(encoding="utf-8").splitlines()
        if not line.startswith("## ")
    ]


def head(name: str) -> dict[str, str]:
    lines = (DATA / f"{name}.log").read_text(encoding="utf-8").splitlines()
    return dict(line[3:].split(": ", 1) for line in lines if line.startswith("## "))


@cache
def matched(name: str) -> tuple[Match, ...]:
    return match(log(name))


def found(lines, **options) -> list[list[str]]:
    told = [[m.signature, m.object, m.context] for m in match(lines, **options)]
    return [item for place, item in enumerate(told) if item not in told[:place]]


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_logs_hold_exactly_these_messages(name: str) -> None:
    """Each recorded log of a real process yields its messages, in their roles, and no others."""
    assert found(log(name)) == EXPECTED[name]


@pytest.mark.parametrize("name", RECORDED)
def test_the_same_without_times(name: str) -> None:
    """A pasted log has no times: what a log says of its own process's death stays the same."""
    deaths = [item for item in EXPECTED[name] if item[2] == "death"]
    assert [item for item in found([line[2] for line in log(name)]) if item[2] == "death"] == deaths


@pytest.mark.parametrize("name", [name for name in RECORDED if head(name)["exit"] in ("1", "2", "73")])
def test_a_process_that_ended_by_itself_said_why(name: str) -> None:
    """Every recorded start that failed has known last words; the one without has a known word before them."""
    assert any(context == "death" for _, _, context in EXPECTED[name]) or name.startswith("beat-schedule")


@pytest.mark.parametrize("name", [name for name in RECORDED if "stopped by" in head(name)["exit"]])
def test_a_process_that_went_on_said_no_last_words(name: str) -> None:
    """A process that only the recording stopped has no last words, whatever its tasks raised or quoted."""
    assert all(context != "death" for _, _, context in found(log(name), running=True))
    assert all(context != "death" for _, _, context in EXPECTED[name])


@pytest.mark.parametrize("signature", IDS)
def test_each_signature_has_a_recorded_true_positive(signature: str) -> None:
    """A signature that no recorded log shows in its real role is not admitted."""
    roles = {context for name in RECORDED for known, _, context in EXPECTED[name] if known == signature}
    assert roles & {"death", "running"}, f"{signature}: no recorded log says it of its own process"


@pytest.mark.parametrize("signature", IDS)
def test_each_signature_has_a_recorded_true_negative(signature: str) -> None:
    """A healthy worker whose tasks log the very text of each message is never said to say it itself."""
    quotes = (DATA / "app" / "quotes.txt").read_text(encoding="utf-8").splitlines()
    known = next(known for known in catalogue() if known.id == signature)
    origins = [
        m.text
        for name in RECORDED
        if "quoting" not in name
        for m in matched(name)
        if m.signature == signature and m.context in ("death", "running")
    ]
    texts = {re.sub(r"^(\[[^\]]*\]|\d{4}-\d\d-\d\d \S+ UTC \[\d+\]) ", "", text)[:60] for text in origins}
    assert any(text in quote for quote in quotes for text in texts) or any(
        quote == known.pattern.pattern for quote in quotes
    ), f"{signature}: quotes.txt holds none of {texts}"
    for name in [name for name in RECORDED if name.startswith("quoting-worker")]:
        itself = [item for item in EXPECTED[name] if item[0] == signature and item[2] in ("death", "running")]
        assert itself in ([], [["superuser-warning", "", "running"]])


@pytest.mark.parametrize("signature", RECORDED_ONES, ids=IDS)
def test_a_signature_says_what_a_reader_needs(signature) -> None:
    """Each has a sentence, the versions on which it was seen, its sources; noise says why it is harmless."""
    assert signature.says.endswith(".") and signature.seen and signature.sources
    assert signature.code != "LOG000" or signature.harmless
    shown = [m for name in RECORDED for m in matched(name) if m.signature == signature.id]
    assert all(m.context in CONTEXTS and m.count >= len(m.lines) > 0 for m in shown)


@pytest.mark.parametrize("signature", RECORDED_ONES, ids=IDS)
def test_patterns_take_linear_time(signature) -> None:
    """On long hostile texts a pattern's time grows with the length, not with a power of it."""
    dice = random.Random(signature.id)
    pieces = [
        signature.needs,
        "'",
        '"',
        " ",
        "a.",
        "::",
        "/@",
        "FATAL: ",
        "Error -2 connecting to ",
        "x://",
        "((",
        "-",
    ]

    def took(length: int) -> float:
        text = "".join(dice.choice(pieces) for _ in range(length))
        texts = [
            text,
            signature.needs * length,
            signature.needs + " " * length * 4,
            "consumer: Cannot connect to " + "a" * length,
        ]
        began = time.perf_counter()
        for one in texts:
            signature.pattern.search(one)
        return time.perf_counter() - began

    took(10)
    assert min(took(2000) for _ in range(3)) < 0.25


def test_a_match_gives_object_lines_times_and_text() -> None:
    """A repeated message is one match with its count, its lines numbered in the whole log, and both times."""
    lines = log("broker-wrong-host_5.7")
    said = next(m for m in match(lines, running=True, first_line=101) if m.code == "URL003")
    assert (said.object, said.context, said.count) == ("redis-wrong", "running", 4)
    assert lines[said.line - 101][2] == said.text
    assert said.first == lines[said.lines[0] - 101][0] < said.last == lines[said.lines[-1] - 101][0]


def test_the_last_words_of_a_retry_count_as_death_only_once() -> None:
    """Celery 5.7 tries a missing database three times before it ends: three times running, then its death."""
    said = match(log("database-missing_5.7"))
    assert [(m.context, m.count) for m in said if m.code == "DBS001"] == [("running", 3), ("death", 1)]


def test_a_result_that_cannot_be_stored_is_the_workers_own_trouble() -> None:
    """Up to 5.4 a missing database shows only when a result is stored, and then not as a task's error."""
    said = [m for m in match(log("database-missing-with-task_5.4"), running=True) if m.code == "DBS001"]
    assert {m.context for m in said} == {"running"}
    assert said[0].object == "ai_backend_missing"


def test_a_traceback_of_a_running_process_did_not_end_it() -> None:
    """A traceback in a process that lives on, or that speaks afterwards, is no last word."""
    dead = log("tasks-import-error_5.7")
    assert {m.context for m in match(dead)} == {"death"}
    assert {m.context for m in match(dead, running=True)} == {"running"}
    after = [*dead, ["2026-11-23T22:00:00Z", "err", "[2026-11-23 22:00:00,000: INFO/MainProcess] w@h ready."]]
    assert {m.context for m in match(after)} == {"running"}


def test_the_cause_of_a_chain_is_found_wherever_it_stands() -> None:
    """The exception that was not handled counts, else the one that caused it: KeyError last, FATAL first."""
    assert EXPECTED["scheme-unknown-broker_5.7"][-1] == ["no-such-transport", "rediss2", "death"]
    assert EXPECTED["config-module-missing_5.7"] == [["package-missing", "shared.celeryconfig", "death"]]
    assert EXPECTED["url-bad-db-number_5.4"][-1] == ["url-bad-redis-database", "zero", "death"]


def test_a_log_whose_beginning_is_cut_off_still_tells() -> None:
    """The tail of a log may begin in the middle of a traceback, also of one that beat printed as records."""
    lines = log("driver-not-installed_5.6")
    tail = lines[-20:]
    assert not any("Traceback" in line[2] for line in tail)
    assert found(tail) == [["driver-not-installed", "psycopg2", "death"]]
    printed = log("driver-not-installed-beat_5.7")[-100:]
    assert found(printed) == [["driver-not-installed", "psycopg2", "death"]]


def test_a_word_before_a_traceback_is_no_cut_traceback() -> None:
    """Only frames without their beginning are what is left of one."""
    lines = ["starting", "Traceback (most recent call last):", '  File "x", line 1', "ValueError: no"]
    assert [block.kind for block in blocks([["", "", line] for line in lines])] == ["line", "traceback"]


def test_every_line_is_in_exactly_one_block() -> None:
    """Cutting into blocks loses no line and doubles none."""
    for name in RECORDED:
        lines = log(name)
        cut = blocks(lines)
        assert [place for block in cut for place in range(block.begin, block.end)] == list(
            range(len(lines))
        ), name


def test_unknown_errors_are_grouped_by_shape_with_their_count() -> None:
    """Errors that differ only in numbers, ids and quoted values are one shape; known ones are left out."""
    lines = [
        f"[2026-11-23 21:00:0{n},000: ERROR/MainProcess] charge {n}{n} of 'c{n}' refused by bank"
        for n in range(5)
    ]
    lines += [
        "[2026-11-23 21:00:09,000: CRITICAL/MainProcess] frobnication impossible",
        "all is well",
        "[2026-11-23 21:00:09,500: INFO/MainProcess] no error at all",
    ]
    lines += [line[2] for line in log("broker-refused_5.7")]
    shapes = unrecognised(lines, first_line=11)
    assert [(shape.count, shape.level, shape.lines[0]) for shape in shapes] == [
        (5, "ERROR", 11),
        (1, "CRITICAL", 16),
    ]
    assert shapes[0].shape == "charge # of '…' refused by bank"


def test_what_a_task_raised_is_marked_as_such() -> None:
    """An application's own exception in a task is not dropped, and not taken for the process's."""
    shapes = unrecognised(log("healthy-worker_5.7"))
    assert [(shape.shape, shape.context) for shape in shapes] == [("RuntimeError: no-stock", "task")]


@pytest.mark.parametrize(
    "name",
    [
        "healthy-worker_5.4",
        "healthy-worker_5.6",
        "healthy-worker_5.7",
        "healthy-beat_5.4",
        "healthy-beat_5.7",
        "healthy-flower_5.7",
    ],
)
def test_a_healthy_log_says_nothing_bad(name: str) -> None:
    """In the log of a healthy process there is only what is harmless."""
    assert {m.code for m in match(log(name), running=True)} <= {"LOG000"}
    assert all(shape.context == "task" for shape in unrecognised(log(name)))


OUTCOMES = json.loads((DATA.parent / "commandline" / "outcomes.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("minor", sorted(OUTCOMES))
def test_every_wording_of_a_refused_command_line_is_known(minor: str) -> None:
    """What each version from 5.0 on printed for each recorded command line is a message of the right rule."""
    for line, seen in OUTCOMES[minor]["lines"].items():
        error = seen["error"]
        option = re.search(r"[Nn]o such option:? '?(-{1,2}[\w-]+)", error)
        if option:
            said = match(
                ["Usage: celery worker [OPTIONS]", "Try 'celery worker --help' for help.", "", error]
            )
            assert [(m.code, m.object, m.context) for m in said] == [("CMD001", option[1], "death")], line
        elif "No such command" in error or "requires an argument" in error or "Invalid value for '-" in error:
            said = match(["Usage: celery [OPTIONS] COMMAND [ARGS]...", "", error])
            code = "CMD002" if "command" in error else "CMD001"
            assert [m.code for m in said] == [code] or "/ '--app'" in error, line


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["\x00\x1b[31m" * 1000],
        ["Traceback (most recent call last):"],
        ["Usage: celery"],
        ["Error:"],
        ["Traceback (most recent call last):"] * 50,
        ['  File "x", line 1'] * 50,
        ["[" * 5000],
        ["Usage: celery [OPTIONS]"] * 50,
        ["[2026-11-23 21:00:00,000: ERROR/MainProcess] "] * 50,
        ["The above exception was the direct cause of the following exception:"] * 9,
        ["x: " * 20000],
        [
            '[2026-11-23 21:00:00,000: WARNING/MainProcess]   File "x", line 1',
            "[2026-11-23 21:00:00,000: WARNING/Main",
        ],
    ],
)
def test_odd_logs_never_raise(lines: list[str]) -> None:
    """Cut, binary and repeated lines are read to their end."""
    assert match(lines) == () or all(m.code for m in match(lines))
    assert all(shape.count for shape in unrecognised(lines))
    assert sum(block.end - block.begin for block in blocks([["", "", line] for line in lines])) == len(lines)


def test_twenty_thousand_lines_are_read_in_a_few_seconds() -> None:
    """The largest log section is matched in bounded time."""
    part = log("quoting-worker_5.7") + log("database-missing_5.7") + log("driver-not-installed-beat_5.7")
    lines = (part * (20000 // len(part) + 1))[:20000]
    began = time.perf_counter()
    assert match(lines)
    assert time.perf_counter() - began < 6


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- 1\na: [", "line 2: no YAML"),
        (
            "- {id: x, code: CMD001, in: usage, pattern: a, needs: [1], says: b, sources: []}",
            "needs is no text",
        ),
        ("a: 1", "a list of signatures"),
        ("- 7", "line 1: a signature is a mapping"),
        ("- id: x", "line 1, signature x: code, in, needs, pattern, says, sources missing"),
        (
            "- {id: x, code: CMD001, in: usage, pattern: a, needs: a, says: b, sources: [], colour: red}",
            "colour unknown",
        ),
        ("- {id: x, code: CMD001, in: dream, pattern: a, needs: a, says: b, sources: []}", "in is dream"),
        ("- {id: x, code: cmd1, in: usage, pattern: a, needs: a, says: b, sources: []}", "code 'cmd1'"),
        ("\n- {id: x, code: CMD001, in: usage, pattern: '(', needs: a, says: b, sources: []}", "line 2"),
        (
            "- {id: x, code: CMD001, in: usage, pattern: '(?=a)b', needs: a, says: b, sources: []}",
            "line 1, signature x: invalid perl operator: (?= in (?=a)b",
        ),
        (
            "- &a {id: x, code: CMD001, in: usage, pattern: a, needs: a, says: b, sources: []}\n- *a",
            "two signatures",
        ),
    ],
)
def test_a_catalogue_that_is_none_is_refused_with_the_place(text: str, why: str) -> None:
    """A wrong entry is named with its line, so that a person can mend it."""
    with pytest.raises(Invalid, match=re.escape(why)):
        load(text)
