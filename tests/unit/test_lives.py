"""Lives of containers, from samples, events and log lines as real engines gave them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from celery_triage.lives import Life, Lives, from_log, lives, reached, seconds_of, told
from celery_triage.model import Evidence, Section

BASE = datetime(2026, 11, 23, 21, 12, 0, tzinfo=UTC)


def at(seconds: float) -> str:
    return (BASE + timedelta(seconds=seconds)).isoformat(timespec="microseconds").replace("+00:00", "000Z")


def event(seconds: float, action: str, exit_code: int | None = None, signal: str | None = None) -> dict:
    return {
        "t": at(seconds),
        "container": "w1",
        "label": "w",
        "action": action,
        "exit_code": exit_code,
        "signal": signal,
        "health": None,
    }


def sample(
    seconds: float,
    status: str,
    start: float | None,
    end: float | None,
    code: int = 0,
    count: int = 0,
    oom: bool = False,
) -> dict:
    return {
        "t": at(seconds),
        "status": status,
        "exit_code": code,
        "oom_killed": oom,
        "restart_count": count,
        "started_at": at(start) if start is not None else "0001-01-01T00:00:00Z",
        "finished_at": at(end) if end is not None else "0001-01-01T00:00:00Z",
    }


def item(*samples: dict) -> dict:
    return {"label": "w", "name": "w1", "samples": list(samples)}


#: A container that ends every 0.45 s, as Engine 20.10 told it (seconds of the minute): start and die events
#: come a little after StartedAt and FinishedAt.
LOOP = [
    event(7.3844, "start"),
    event(7.8328, "die", 3),
    event(8.2735, "start"),
    event(8.7194, "die", 3),
    event(9.3418, "start"),
    event(9.8123, "die", 3),
    event(10.6459, "start"),
    event(11.1892, "die", 3),
]


def test_a_crash_loop_is_cut_into_its_lives() -> None:
    """Each pair of start and die is one life with its code, also with less than half a second between two."""
    found = lives(item(sample(11.9, "restarting", 10.6443, 11.1892, 3, count=4)), LOOP)
    assert [(life.number, life.exit_code, life.failed) for life in found] == [
        (n, 3, True) for n in (1, 2, 3, 4)
    ]
    assert [round(life.seconds, 2) for life in found] == [0.45, 0.45, 0.47, 0.54]
    assert [life.current for life in found] == [False, False, False, True]
    assert {life.told_by for life in found} == {"events"}


def test_two_samples_alone_tell_the_end_that_each_of_them_saw() -> None:
    """Without any event the first sample's end keeps its code though the second sample has lost it."""
    found = lives(
        item(
            sample(8.0, "restarting", 7.3812, 7.8328, 3, count=1),
            sample(8.5, "running", 8.2700, 7.8328, 0, count=1),
        )
    )
    assert [(life.number, life.exit_code, life.running) for life in found] == [(1, 3, False), (2, None, True)]
    assert found[1].seconds == pytest.approx(0.23)


def test_a_running_sample_still_tells_when_the_life_before_ended() -> None:
    """``FinishedAt`` of a running container is the end of the life before: known, without its code."""
    found = lives(item(sample(70, "running", 30, 20, count=5)))
    assert [(life.number, life.start, life.end, life.exit_code) for life in found] == [
        (5, None, at(20), None),
        (6, at(30), None, None),
    ]


def test_an_end_that_the_events_missed_is_taken_from_the_sample() -> None:
    """The last second of events can be cut off: the sample's end closes the life, once."""
    found = lives(item(sample(12, "restarting", 10.6443, 11.1892, 3, count=4)), LOOP[:-1])
    assert len(found) == 4
    assert (found[-1].exit_code, found[-1].end) == (3, at(11.1892))


def test_events_of_other_containers_are_left_out() -> None:
    """An event names its container; those of others do not make lives here."""
    other = dict(LOOP[0], container="w2", label="x")
    assert len(lives(item(sample(9, "running", 7.3812, None)), [other, LOOP[0]])) == 1


def test_a_container_that_never_started_has_no_life() -> None:
    """Docker's year 1 is no time."""
    assert lives(item(sample(5, "created", None, None))) == []
    assert lives(item()) == []
    assert seconds_of("0001-01-01T00:00:00Z") is None


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (137, "SIGKILL"),
        (143, "SIGTERM"),
        (139, "SIGSEGV"),
        (134, "SIGABRT"),
        (1, None),
        (0, None),
        (255, None),
        (126, None),
    ],
)
def test_an_exit_code_above_128_names_its_signal(code: int, name: str | None) -> None:
    """137 is SIGKILL, 255 is no signal."""
    found = lives(item(sample(12, "exited", 3, 10, code)))
    assert (found[0].exit_code, found[0].signal) == (code, name)


def test_a_life_that_was_stopped_by_hand_is_not_a_failure() -> None:
    """``docker stop`` sends a signal first: whatever the exit code then is, nobody failed."""
    found = lives(
        item(sample(40, "exited", 3, 20.2, 137)),
        [
            event(3, "start"),
            event(10, "kill", signal="15"),
            event(20, "kill", signal="9"),
            event(20.2, "die", 137),
            event(20.25, "stop"),
        ],
    )
    assert (found[0].asked, found[0].failed, found[0].signal) == (True, False, "SIGKILL")
    clean = lives(
        item(sample(40, "exited", 3, 12, 0)),
        [event(3, "start"), event(10, "kill", signal="15"), event(12, "die", 0), event(12.1, "stop")],
    )
    assert (clean[0].signal, clean[0].exit_code) == ("SIGTERM", 0)


def test_out_of_memory_is_told_by_event_or_flag_and_belongs_to_one_life() -> None:
    """An ``oom`` event marks the life that ends with it, or the life that goes on if only a child died."""
    events = [event(1, "start"), event(5, "oom"), event(5.1, "die", 137), event(6, "start")]
    found = lives(item(sample(30, "running", 6, 5.1, count=1)), events)
    assert [(life.oom, life.exit_code) for life in found] == [(True, 137), (False, None)]
    child = lives(item(sample(30, "running", 6, 5.1, count=1)), [*events[:1], *events[2:], event(20, "oom")])
    assert [(life.oom, life.running) for life in child] == [(False, False), (True, True)]
    flag = lives(item(sample(30, "exited", 6, 9, 137, oom=True)))
    assert flag[0].oom


def test_a_start_by_hand_keeps_the_numbers_above_zero() -> None:
    """``RestartCount`` is 0 again after a start by hand: then lives are numbered from the oldest known."""
    found = lives(
        item(sample(30, "running", 20, 15, count=0)),
        [event(1, "start"), event(5, "die", 1), event(6, "start"), event(15, "die", 1), event(20, "start")],
    )
    assert [life.number for life in found] == [1, 2, 3]


def lines(*told: tuple[float, str]) -> list[list[str]]:
    return [[at(seconds), "err", text] for seconds, text in told]


def test_log_lines_belong_to_the_life_in_which_they_were_said() -> None:
    """A line goes to the last life that began before it, also last words that come a moment late."""
    log = lines((7.79, "one"), (7.84, "one, late"), (8.68, "two"), (10.7, "four"), (11.19, "four, late"))
    found = lives(item(sample(12, "restarting", 10.6443, 11.1892, 3, count=4)), LOOP, log)
    assert [(life.first_line, life.last_line) for life in found] == [(1, 2), (3, 3), (None, None), (4, 5)]
    assert [text for _, _, text in found[0].of(log)] == ["one", "one, late"]
    assert list(found[2].of(log)) == []


def test_lines_older_than_all_events_are_lives_told_by_the_log() -> None:
    """Where events are lost, the log is cut at the first words of a process, and said to be only that."""
    usage = [
        "Usage: celery worker [OPTIONS]",
        "Try 'celery worker --help' for help.",
        "",
        "Error: No such option: --queue (Possible options: --exclude-queues, --queues)",
    ]
    log = lines(
        *[(start + n / 1000, text) for start in (1.0, 3.0, 5.0, 10.9) for n, text in enumerate(usage)]
    )
    found = lives(item(sample(12, "restarting", 10.6443, 11.1892, 2, count=40)), LOOP[-2:], log)
    assert [(life.told_by, life.first_line, life.last_line) for life in found] == [
        ("log", 1, 4),
        ("log", 5, 8),
        ("log", 9, 12),
        ("events", 13, 16),
    ]
    assert [life.number for life in found] == [37, 38, 39, 40]


def test_the_end_of_a_life_whose_start_is_lost_gets_its_lines() -> None:
    """A die event without its start closes the last of the lives that only the log tells."""
    log = lines((1, "Usage: celery worker [OPTIONS]"), (1.1, "Error: x"), (8.5, "second"))
    found = lives(item(sample(12, "running", 8.2735, 7.8328, count=1)), LOOP[1:3], log)
    assert [(life.exit_code, life.first_line, life.last_line) for life in found] == [(3, 1, 2), (None, 3, 3)]


DATA = Path(__file__).parent / "data" / "logs"


def recorded(name: str) -> list[list[str]]:
    return [
        line.split(" ", 2)
        for line in (DATA / f"{name}.log").read_text(encoding="utf-8").splitlines()
        if not line.startswith("## ")
    ]


def shifted(log: list[list[str]], seconds: float) -> list[list[str]]:
    return [
        [(datetime.fromisoformat(when) + timedelta(seconds=seconds)).isoformat(), stream, text]
        for when, stream, text in log
    ]


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.log")))
def test_a_recorded_log_said_twice_is_two_lives(name: str) -> None:
    """Every recorded life is one life, and the same life said again after a minute is a second one."""
    log = recorded(name)
    if not log:
        assert from_log("w", log) == []
        return
    assert len(from_log("w", log)) == 1, name
    twice = from_log("w", [*log, *shifted(log, 60)])
    assert [(life.first_line, life.last_line) for life in twice] == [
        (1, len(log)),
        (len(log) + 1, 2 * len(log)),
    ]


def test_what_is_told_about_now() -> None:
    """A life that has just begun says less than the failure before it, one that has outlived it says more."""
    dead = Life("w", 1, at(1), at(9), 1, seconds=8.0, first_line=1, last_line=3)
    young = Life("w", 2, at(10), seconds=1.0, running=True, current=True)
    old = Life("w", 2, at(10), seconds=60.0, running=True, current=True, first_line=4, last_line=9)
    assert told([dead, young]) is dead
    assert told([dead, old]) is old
    assert told([old]) is old
    assert told([]) is None


@pytest.mark.parametrize(
    ("read", "last_words", "about"),
    [(8.0, 4, 1), (8.9, 4, 1), (8.9, None, 1), (20.0, 4, 2), (20.0, None, 1), (None, 4, 2)],
)
def test_a_life_that_ended_after_its_log_was_read_leaves_the_word_to_the_one_before(
    read: float | None, last_words: int | None, about: int
) -> None:
    """Between the log and the second look at the containers a life can end: its last words are not there."""
    log = lines((1.2, "banner"), (2.0, "Error: Option 'port' requires a value"))
    log += lines((7.0, "banner")) if last_words else []
    sections = {
        "containers": Section(
            "containers", "ok", {"items": [item(sample(9, "restarting", 6.9, 8.8, 1, count=2))]}
        ),
        "events": Section("events", "ok", {"items": [event(1, "start"), event(2.1, "die", 1)]}),
        "logs/w": Section("logs/w", "ok", {"lines": log}, taken_at=at(read) if read is not None else ""),
    }
    found = Lives.of(Evidence("x", at(9), sections)).of_service("w")
    assert [life.exit_code for life in found] == [1, 1]
    assert told(found) is found[about - 1]


def test_lives_of_an_evidence_are_found_by_label() -> None:
    """Each container's lives come with its own log, and the last exit code is that of the last end."""
    evidence = Evidence(
        "x",
        at(12),
        {
            "containers": Section(
                "containers", "ok", {"items": [item(sample(8.5, "running", 8.2700, 7.8328, 0, count=1))]}
            ),
            "events": Section("events", "ok", {"items": LOOP[:3]}),
            "logs/w": Section("logs/w", "denied", why="log driver none keeps no logs"),
        },
    )
    found = Lives.of(evidence)
    assert found.last_exit("w") == 3
    assert [life.running for life in found.of_service("w")] == [False, True]
    assert found.of_service("nobody") == ()
    assert found.last_exit("nobody") is None


UP_TO_54 = {"app", "options", "url", "broker", "consuming"}
ALL = UP_TO_54 | {"driver", "database"}


@pytest.mark.parametrize(
    ("name", "role", "proven"),
    [
        ("healthy-worker_5.4", "worker", UP_TO_54),
        ("healthy-worker_5.6", "worker", ALL),
        ("healthy-worker_5.7", "worker", ALL),
        ("healthy-beat_5.4", "beat", UP_TO_54),
        ("healthy-beat_5.6", "beat", ALL),
        ("healthy-beat_5.7", "beat", ALL),
        ("healthy-flower_5.7", "flower", {"app", "options", "url", "broker"}),
        ("quoting-worker_5.7", "worker", ALL),
        ("unknown-option_5.4", "worker", set()),
        ("unknown-option_5.7", "worker", set()),
        ("app-module-missing_5.7", "worker", set()),
        ("tasks-import-error_5.7", "worker", set()),
        ("url-bad-port_5.7", "worker", set()),
        ("driver-not-installed_5.4", "worker", UP_TO_54),
        ("driver-not-installed_5.6", "worker", set()),
        ("driver-not-installed_5.7", "worker", set()),
        ("driver-not-installed-beat_5.4", "beat", UP_TO_54),
        ("driver-not-installed-beat_5.7", "beat", {"app", "options"}),
        ("database-missing_5.4", "worker", UP_TO_54),
        ("database-missing_5.5", "worker", set()),
        ("database-missing_5.6", "worker", set()),
        ("database-missing-beat_5.7", "beat", {"app", "options"}),
        ("broker-wrong-host_5.4", "worker", {"app", "options", "url"}),
        ("broker-wrong-host_5.7", "worker", ALL - {"broker", "consuming"}),
        ("broker-refused_5.6", "worker", ALL - {"broker", "consuming"}),
        ("broker-wrong-password_5.7", "worker", ALL - {"broker", "consuming"}),
        ("broker-wrong-host-beat_5.4", "beat", {"app", "options"}),
        ("broker-wrong-host-beat_5.7", "beat", {"app", "options"}),
        ("broker-wrong-password-flower_5.7", "flower", {"app", "options"}),
    ],
)
def test_what_a_recorded_life_proves(name: str, role: str, proven: set[str]) -> None:
    """Each recorded start proves exactly the steps that it had really passed."""
    found = reached(recorded(name), role)
    assert found.proven == proven
    assert all(place is not None for place, _ in found.proofs.values())


def test_a_pool_process_that_speaks_of_being_ready_proves_nothing() -> None:
    """Only the main process's own words count: an application may log anything."""
    quoted = lines(
        (1, "[2026-11-23 21:11:20,500: INFO/ForkPoolWorker-1] x@y ready."),
        (2, "[2026-11-23 21:11:20,500: INFO/MainProcess] ticket: Connected to redis://redis:6379/0"),
    )
    assert reached(quoted, "worker", version="5.7").proven == frozenset()


def test_other_log_formats_are_understood() -> None:
    """With a log format of its own a worker still says the same words."""
    own = lines((1, '{"level": "info", "msg": "Connected to redis://redis:6379/0"}'), (2, "INFO w@h ready."))
    assert reached(own, "worker", version="5.6.3").step == "consuming"


def test_a_ping_reply_proves_a_worker_without_any_log() -> None:
    """Where no log is kept, the reply to a ping proves that it consumes, and from 5.5 on its database too."""
    assert reached([], "worker", version="5.7.0", ping="pong").proven == ALL
    assert reached([], "worker", version="5.4.0", ping="pong").proven == UP_TO_54
    assert reached([], "worker", ping="pong").proven == UP_TO_54


def test_age_alone_proves_only_what_fails_at_once() -> None:
    """A life that is old enough has passed module and options, never the broker: its failure kills nobody."""
    assert reached([], "worker", seconds=61).proven == {"app", "options", "url"}
    assert reached([], "worker", seconds=61, longest_failure=40).proven == frozenset()
    assert reached([], "beat", seconds=300).proven == {"app", "options"}
    assert reached([], "worker").step is None


def test_a_result_backend_without_a_database_proves_no_database() -> None:
    """The banner names the result backend: with Redis there is no database to prove."""
    log = recorded("healthy-worker_5.7")
    log = [
        [when, stream, text.replace("results:     postgresql+psycopg://", "results:     redis://")]
        for when, stream, text in log
    ]
    assert reached(log, "worker").proven == ALL - {"database"}
