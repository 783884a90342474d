"""Last words: those that nobody knows, and those that only the catalogue knows."""

from __future__ import annotations

from evidence import NO_DRIVER_BEAT, OPTION, Incident, ready

from celery_triage.causes import diagnose

UNKNOWN = [
    "[tasks]",
    "Traceback (most recent call last):",
    '  File "/app/shared/tasks.py", line 3, in <module>',
    "    launch()",
    "shared.errors.ReactorTripped: pressure 17",
]
LOST = [
    "[2026-11-23 12:00:01,717: CRITICAL/MainProcess] Unrecoverable error: "
    "WorkerLostError('Worker exited prematurely: exitcode 1')",
]


def unknown():
    return Incident().loop("email_worker", 1, UNKNOWN)


def lost():
    return Incident().loop("email_worker", 1, LOST)


FIRES = {"LOG001": unknown, "LOG002": lost}


def test_last_words_that_nobody_knows_are_quoted_and_not_explained():
    """The exception is named, the lines are proof, the certainty is reported."""
    (cause,) = diagnose(unknown().evidence()).cause_findings
    assert (cause.name, cause.certainty) == ("unrecognised-death", "reported")
    assert "ReactorTripped" in cause.title and cause.proof[-1].text == UNKNOWN[-1]


def test_a_death_without_a_word_is_said_to_be_one():
    """Nothing in the log of any life."""
    (cause,) = diagnose(Incident().loop("email_worker", 1, []).evidence()).cause_findings
    assert cause.title == "email_worker ends with exit code 1 and says nothing"


def test_the_words_of_the_life_before_count_where_the_last_one_is_not_yet_in_the_log():
    """The log is read a moment before the state."""
    stack = unknown()
    stack.life("email_worker", 8100, 8102, 1)
    (cause,) = diagnose(stack.evidence()).cause_findings
    assert "ReactorTripped" in cause.title


def test_a_life_whose_words_were_cut_off_by_the_look_is_not_called_unknown():
    """The state was read a moment after the log: the last life had only said hello by then."""
    stack = Incident().url("CELERY_RESULT_BACKEND", "postgresql+psycopg", "postgresql", ("celery_beat",))
    stack.loop("celery_beat", 1, NO_DRIVER_BEAT)
    stack.life("celery_beat", 8100, 8102, 1, NO_DRIVER_BEAT[:2])
    names = [cause.name for cause in diagnose(stack.evidence()).cause_findings]
    assert names == ["driver-not-installed"]


def test_known_last_words_are_never_called_unknown():
    """The option is a cause by itself; no second finding speaks of its words."""
    stack = Incident().loop("email_worker", 2, OPTION)
    stack.replace_in_commands("--queues email_processing", "--queue=email_processing", ("email_worker",))
    assert "unrecognised-death" not in {f.name for f in diagnose(stack.evidence()).findings}


def test_a_known_message_that_no_rule_judges_is_reported_with_its_meaning():
    """The catalogue knows a pool process that is lost; only the log says so."""
    (cause,) = diagnose(lost().evidence()).cause_findings
    assert (cause.name, cause.object, cause.certainty) == ("known-death", "exitcode 1", "reported")


def test_a_process_that_was_killed_has_no_last_words():
    """What it said before means nothing for its end."""
    stack = Incident().loop("email_worker", 137, ready("email_worker"), lived=30)
    assert [c.name for c in diagnose(stack.evidence()).cause_findings] == ["restart-loop"]


def test_words_of_a_service_that_runs_are_not_looked_at():
    """An error in the log of a living worker is not its death."""
    assert diagnose(Incident().say("email_worker", *UNKNOWN).evidence()).findings == ()
