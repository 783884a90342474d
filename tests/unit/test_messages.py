"""The families of signatures: found where a process says them of itself, never where they are quoted."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml

import celery_triage
from celery_triage.checks import RULES
from celery_triage.explain.codes import code_of, log_codes, page
from celery_triage.redact import Redactor
from celery_triage.signatures import catalogue, load, match
from celery_triage.signatures.sieve import Sieve

DATA = Path(__file__).parent / "data"
#: Recorded from the real software (``messages/record.py``): the signature, and the case.
RECORDED = {path.stem: path.read_text(encoding="utf-8") for path in DATA.glob("messages/*.txt")}
WRITTEN = yaml.safe_load((DATA / "messages.yml").read_text(encoding="utf-8"))
MESSAGES = WRITTEN | {name: text.split("\n", 1)[1] for name, text in RECORDED.items()}
FAMILIES = sorted((Path(celery_triage.__file__).parent / "data" / "signatures").glob("*.yml"))
SIGNATURES = {one.id: one for path in FAMILIES for one in load(path.read_text(encoding="utf-8"))}
HEADS = {
    "PG": "2026-11-24 00:00:00.000 UTC [33] ",
    "R": "1:M 24 Nov 2026 00:00:00.000 ",
    "C": "[2026-11-24 00:00:00,000: ERROR/MainProcess] ",
    "Q": "2026-11-24 00:00:00.000000+00:00 ",
}
#: What only tasks raise.
OF_TASKS = ("memory-error",)


def lines(text: str) -> list[str]:
    return [
        re.sub(r"^(PG|R|C|Q) ", lambda found: HEADS[found[1]], line) for line in text.rstrip("\n").split("\n")
    ]


def test_each_signature_has_its_text() -> None:
    """A signature of a family without a text to show it is not admitted, and no text is left over."""
    recorded = {name.split(".")[0] for name in RECORDED}
    assert recorded | set(WRITTEN) == set(SIGNATURES)
    assert not recorded & set(WRITTEN), "what was recorded needs no written text"


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_recording_names_the_software(name: str) -> None:
    """Who said it stands above the words, and the signature names the recording among its sources."""
    by = RECORDED[name].split("\n", 1)[0]
    assert re.fullmatch(r"## by: \S.*\d.*", by)
    assert any(source.startswith("recorded") for source in SIGNATURES[name.split(".")[0]].sources)


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_no_source_is_claimed_that_nobody_saw(name: str) -> None:
    """A source is a recording, a file of a released version, a thread or page; else it says that it was not
    seen."""
    seen = re.compile(
        r"recorded|not seen: |https://|program \S+|\S+ (?:in|of) \S.* ?\d|\w.*C source|libpq\.so|the "
    )
    assert all(seen.match(source) for source in SIGNATURES[name].sources), SIGNATURES[name].sources


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_a_process_that_says_it_of_itself_is_heard(name: str) -> None:
    """The true positive: the very message, in the place where it is said."""
    said = [(one.signature, one.context) for one in match(lines(MESSAGES[name]))]
    roles = ("task",) if name in OF_TASKS else ("death", "running")
    name = name.split(".")[0]
    assert any(signature == name and context in roles for signature, context in said), said


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_a_task_that_quotes_it_is_not_taken_for_it(name: str) -> None:
    """The true negative: a healthy worker whose task logs the same words does not say them of itself."""
    text = " ".join(lines(MESSAGES[name]))
    log = [
        "[2026-11-24 00:00:00,000: INFO/MainProcess] email_worker@0dfd1b61c619 ready.",
        f"[2026-11-24 00:00:01,000: INFO/ForkPoolWorker-2] shared.quoting[46fd8d77]: a ticket says: {text}",
        "[2026-11-24 00:00:02,000: INFO/ForkPoolWorker-2] Task shared.tasks.quoting"
        "[46fd8d77-48a4-4340-9fb1-88bcdc598263] succeeded in 0.1s: None",
    ]
    assert {one.context for one in match(log)} <= {"quoted"}


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_a_signature_has_what_a_reader_needs(name: str) -> None:
    """A sentence, its sources, a code with a name and something to do; noise says why it is none."""
    one = SIGNATURES[name]
    assert one.says.endswith(".") and one.sources
    if one.code == "LOG000":
        assert one.harmless
        return
    code = code_of(one.code)
    assert code.name != "own-signature" and (one.do or code.do)


def test_no_code_has_two_names() -> None:
    """What a rule is called, the log's code is called: a code of a rule has no second entry."""
    assert not set(RULES) & set(log_codes())


@pytest.mark.parametrize("code", sorted(log_codes()))
def test_a_code_without_a_rule_has_a_page(code: str) -> None:
    """`celery-triage rules CODE` shows what it is, why it matters and what to do."""
    shown = page(code)
    assert all(heading in shown for heading in ("## What", "## Why", "## Do", "## False alarms"))
    assert log_codes()[code].severity in ("critical", "warning", "notice")


def test_the_sieve_lets_through_whatever_matches() -> None:
    """One pass over a text never loses a pattern that would have matched it."""
    sieve = Sieve(catalogue())
    for text in (line for one in MESSAGES.values() for line in (one, *lines(one))):
        through = {one.id for one in sieve.through(text)}
        assert {one.id for one in catalogue() if one.pattern.search(text)} <= through


def test_hostile_lines_take_linear_time() -> None:
    """Twice the text takes about twice the time, for all patterns at once."""

    def took(length: int) -> float:
        texts = [
            "(" * length,
            "a." * length,
            'exec: "' * length,
            "consumer: Cannot connect to x://" + "@a" * length,
        ]
        began = time.perf_counter()
        for text in texts:
            for one in catalogue():
                one.pattern.search(text)
        return time.perf_counter() - began

    took(100)
    short, long = min(took(1000) for _ in range(3)), min(took(4000) for _ in range(3))
    assert long < max(12 * short, 1.0)


@pytest.mark.parametrize("name", sorted(one.id for one in catalogue()))
def test_no_words_of_the_tool_look_like_secrets(name: str) -> None:
    """What the tool itself says is masked with the rest: it must have nothing that the masking would take."""
    one = next(one for one in catalogue() if one.id == name)
    code = code_of(one.code)
    told = [one.says, one.do, one.harmless, code.says, code.why, code.do]
    if one.code != "URL001":  # what is no port may be a part of a password
        told.append(f"{one.says.rstrip('.')}: guest")
    assert [Redactor().text(text) for text in told] == told
