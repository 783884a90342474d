"""`celery-triage explain`: any pasted log, read in whatever form it comes, judged as what it says."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from celery_triage import cli
from celery_triage.explain import explain
from celery_triage.explain.prefixes import told
from celery_triage.explain.showing import page

DATA = Path(__file__).parent / "data" / "logs"
WORKER = "[2026-11-24 00:00:00,000: INFO/MainProcess] email_worker@0dfd1b61c619 ready."
REFUSED = (
    "[2026-11-24 00:00:01,000: ERROR/MainProcess] consumer: Cannot connect to redis://redis:6379/0: "
    "Error 111 connecting to redis:6379. Connection refused.."
)


def recorded(name: str) -> str:
    """A recorded log as a process wrote it."""
    lines = (DATA / f"{name}.log").read_text(encoding="utf-8").splitlines()
    return "\n".join(line.split(" ", 2)[2] for line in lines if not line.startswith("## ")) + "\n"


def judged(text: str | bytes):
    raw = text.encode() if isinstance(text, str) else text
    return explain([("stdin", io.BytesIO(raw))])


def causes(text: str | bytes) -> list[tuple[str, str, tuple[str, ...]]]:
    found = judged(text).judged
    return [(one.code, one.object, one.services) for one in found.findings if one.id in found.causes]


PASTES = {
    "plain": lambda text: text,
    "compose 1": lambda text: "".join(f"email_worker_1  | {line}\n" for line in text.splitlines()),
    "compose 2": lambda text: "".join(f"email-worker-1 | {line}\n" for line in text.splitlines()),
    "docker -t": lambda text: "".join(
        f"2026-11-24T00:00:00.123456789Z {line}\n" for line in text.splitlines()
    ),
    "cri": lambda text: "".join(
        f"2026-11-24T00:00:00.123456789Z stderr F {line}\n" for line in text.splitlines()
    ),
    "journald": lambda text: "".join(
        f"Nov 24 00:00:00 host worker[812]: {line}\n" for line in text.splitlines()
    ),
    "syslog": lambda text: "".join(
        f"<30>1 2026-11-24T00:00:00Z host worker 812 - - {line}\n" for line in text.splitlines()
    ),
    "kubectl": lambda text: "".join(f"[pod/worker-6d/worker] {line}\n" for line in text.splitlines()),
    "json-file": lambda text: "".join(
        json.dumps({"log": line + "\n", "stream": "stderr", "time": "2026-11-24T00:00:00Z"}) + "\n"
        for line in text.splitlines()
    ),
    "windows": lambda text: text.replace("\n", "\r\n"),
    "utf-16": lambda text: text.encode("utf-16"),
    "colours": lambda text: "".join(f"\x1b[31m{line}\x1b[0m\n" for line in text.splitlines()),
}
INCIDENTS = {
    "unknown-option_5.6": ("CMD001", "--queue"),
    "unknown-option_5.7": ("CMD001", "--queue"),
    "database-missing_5.7": ("DBS001", "ai_backend_missing"),
    "database-missing-psycopg2_5.7": ("DBS001", "ai_backend_missing"),
    "driver-not-installed_5.6": ("URL002", "psycopg2"),
    "app-module-missing_5.4": ("CMD003", "shared.infrastructure.celery_application"),
    "broker-wrong-host_5.7": ("URL003", "redis-wrong"),
    "broker-wrong-password_5.6": ("BRK002", ""),
}


@pytest.mark.parametrize("paste", PASTES)
@pytest.mark.parametrize("name", INCIDENTS)
def test_the_cause_is_the_same_in_whatever_form_it_is_pasted(name: str, paste: str) -> None:
    """A recorded incident with other people's prefixes before each line has the same one cause."""
    code, thing = INCIDENTS[name]
    found = causes(PASTES[paste](recorded(name)))
    assert [one[0] for one in found] == [code]
    assert not thing or found[0][1] == thing


def test_lines_are_numbered_as_they_were_pasted() -> None:
    """The proof is the very line of the paste."""
    finding = judged("a\nb\n" + REFUSED + "\n").judged.findings[0]
    assert [(proof.line, proof.text) for proof in finding.proof] == [(3, REFUSED)]
    assert finding.certainty == "reported"


@pytest.mark.parametrize(
    "name",
    ["healthy-worker_5.4", "healthy-worker_5.7", "healthy-beat_5.7", "healthy-flower_5.7"],
)
def test_a_healthy_log_is_ok(name: str) -> None:
    """Nothing but harmless words and the application's own exceptions."""
    found = judged(recorded(name))
    assert found.verdict == "ok" and not found.judged.causes and not found.judged.findings


def test_an_applications_own_exception_is_no_cause() -> None:
    """It is reported as what it is, and the worker is well."""
    found = judged(recorded("healthy-worker_5.7"))
    assert [(one.text, one.count) for one in found.judged.own] == [("RuntimeError: no-stock", 1)]


def test_what_a_task_quotes_at_length_is_no_cause_of_a_start_that_fails() -> None:
    """A worker whose tasks log error messages of everything never gets a cause that is critical."""
    for version in ("5.4", "5.6", "5.7"):
        found = judged(recorded(f"quoting-worker_{version}"))
        assert found.verdict in ("ok", "warning")


def test_what_was_overcome_is_history() -> None:
    """A broker that came back is no cause any more."""
    later = WORKER.replace("00:00:00", "00:00:09")
    found = judged(f"{REFUSED}\n{later}\n")
    assert found.verdict == "ok" and [one.state for one in found.judged.findings] == ["history"]


def test_what_a_server_wrote_is_history_once_its_client_works() -> None:
    """The database was made in between: the server's line stays in its log for ever."""
    text = (
        'postgres-1 | 2026-11-24 00:00:00.000 UTC [33] FATAL:  database "shop" does not exist\n'
        'worker-1   | psycopg2.OperationalError: connection failed: FATAL:  database "shop" does not exist\n'
        f"worker-1   | {WORKER}\n"
    )
    assert judged(text).verdict == "ok"


def test_a_lost_child_is_one_cause_however_often_it_is_said() -> None:
    """The process, its signal and the exception of its task belong together."""
    text = (
        f"{WORKER}\n"
        "[2026-11-24 00:00:05,000: ERROR/MainProcess] Process 'ForkPoolWorker-3' pid:31 exited with "
        "'signal 9 (SIGKILL)'\n"
        "[2026-11-24 00:00:05,100: ERROR/MainProcess] Task handler raised error: WorkerLostError('Worker "
        "exited prematurely: signal 9 (SIGKILL) Job: 12.')\n"
    )
    assert [one[:2] for one in causes(text)] == [("WRK001", "signal 9 (SIGKILL)")]


def test_an_old_rabbitmq_record_goes_on_in_the_next_line() -> None:
    """RabbitMQ up to 3.8 has no zone in its time and breaks its records."""
    text = (
        "2019-03-01 12:00:00.123 [error] <0.700.0> Error on AMQP connection <0.700.0>:\n"
        "PLAIN login refused: user 'guest' can only connect via localhost\n"
    )
    assert [one[:2] for one in causes(text)] == [("BRK011", "guest")]


def test_a_healthy_start_of_a_whole_stack_is_ok() -> None:
    """A server that was not ready at once, an application that logs an error, an access log: no cause."""
    text = (
        "postgres | 2026-11-24 00:00:00.500 UTC [28] FATAL:  the database system is starting up\n"
        "postgres | 2026-11-24 00:00:01.000 UTC [1] LOG:  database system is ready to accept connections\n"
        'web      | INFO:     127.0.0.1:50000 - "GET /error HTTP/1.1" 404 Not Found\n'
        "web      | 2026-11-24 00:00:05,000 ERROR app.views: payment failed for order 12\n"
        f"worker   | {WORKER}\n"
    )
    assert judged(text).verdict == "ok"


def test_services_in_one_paste_are_told_apart() -> None:
    """A PostgreSQL log beside a worker's: one cause, both as its witnesses, and noise is called noise."""
    head = "2026-11-24 00:00:00.000 UTC [33] "
    text = (
        f'postgres-1 | {head}FATAL:  role "root" does not exist\n'
        f'postgres-1 | {head}FATAL:  database "shop" does not exist\n'
        "worker-1   | sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) connection to server at "
        '"postgres" (10.0.0.2), port 5432 failed: FATAL:  database "shop" does not exist\n'
        "worker-1 exited with code 1\n"
    )
    assert causes(text) == [("DBS001", "shop", ("postgres", "worker"))]
    found = judged(text).judged
    assert [one.signature for one in found.harmless] == ["postgres-role-root-probe"]
    assert [one.code for one in found.findings if one.explained_by] == ["CTR051"]


def test_servers_are_told_apart_without_prefixes() -> None:
    """Two logs copied below each other."""
    text = recorded("server-postgres_15") + WORKER + "\n"
    assert {one.label for one in judged(text).subjects} == {"postgres", "stdin"}


def test_a_server_that_ends_explains_what_its_clients_say() -> None:
    """The full disk first; that nothing answers is its consequence."""
    text = (
        'db-1 | 2026-11-24 00:00:00.000 UTC [33] PANIC:  could not write to file "pg_wal/x": '
        "No space left on device\n"
        'worker-1 | psycopg2.OperationalError: connection to server at "db" (10.0.0.2), port 5432 failed: '
        "Connection refused\n"
    )
    assert [one[0] for one in causes(text)] == ["DBS057"]


def test_a_message_that_a_narrow_window_broke_is_read() -> None:
    """A line that goes on without a prefix belongs to the line before."""
    text = (
        "worker_1  | Traceback (most recent call last):\n"
        'worker_1  |   File "/app/x.py", line 1, in <module>\n'
        "worker_1  | psycopg2.OperationalError: connection to server failed: FATAL:  database \n"
        '"shop" does not exist\n'
    )
    assert [one[:2] for one in causes(text)] == [("DBS001", "shop")]


def test_partial_lines_of_a_container_runtime_are_put_together() -> None:
    """CRI marks the parts of a long line with P."""
    text = (
        "2026-11-24T00:00:00.1Z stderr P Error: No such option: --qu\n"
        "2026-11-24T00:00:00.1Z stderr F eue (Possible options: --queues)\n"
    )
    assert [one[:2] for one in causes(text)] == [("CMD001", "--queue")]


def test_structured_logs_are_read() -> None:
    """A JSON record of Celery's own logger, with its traceback inside."""
    line = json.dumps(
        {
            "timestamp": "2026-11-24T00:00:00Z",
            "level": "error",
            "logger": "celery.worker.consumer.consumer",
            "message": "consumer: Cannot connect to redis://redis:6379/0: Error 111 connecting to redis:6379."
            " Connection refused..",
        }
    )
    assert [one[:2] for one in causes(line)] == [("BRK001", "redis")]


def test_what_nothing_recognises_is_grouped_and_never_dropped() -> None:
    """Unknown last words make the log unknown; they are counted by their shape."""
    text = "".join(f"Error: frobnication {n} of 'c{n}' impossible\n" for n in range(7))
    found = judged(text)
    assert found.verdict == "unknown"
    assert [(one.count, len(one.lines)) for one in found.judged.strange] == [(7, 7)]


@pytest.mark.parametrize(
    ("line", "name", "text"),
    [
        ("email_worker_1  | x | y", "email_worker", "x | y"),
        ("email-worker-2 | x", "email-worker", "x"),
        ("redis1 | x", "redis1", "x"),
        (" id | name ", "", " id | name "),
        ("2026-11-24 00:00:00,000 INFO x", "", "2026-11-24 00:00:00,000 INFO x"),
        ("{not json", "", "{not json"),
        ("Nov 24 00:00:00 host docker/worker[1]: x", "worker", "x"),
    ],
)
def test_prefixes_are_taken_off_and_nothing_else(line: str, name: str, text: str) -> None:
    """What only looks like a prefix stays where it is."""
    found = told(line)
    assert (found.name, found.text) == (name, text)


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    code = cli.status([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_wrong_inputs_get_a_sentence_and_the_right_code(capsys, tmp_path) -> None:
    """A folder and a missing file are wrong use, an empty or binary one is unknown."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(os.urandom(4096))
    assert call(capsys, "explain", tmp_path)[0] == 64
    code, out, err = call(capsys, "explain", tmp_path / "nowhere")
    assert code == 64 and out == "" and "there is no file" in err
    code, out, _ = call(capsys, "explain", tmp_path / "empty")
    assert code == 3 and "is empty" in out
    code, out, _ = call(capsys, "explain", tmp_path / "binary")
    assert code == 3 and "is no text" in out


def test_json_has_the_findings_and_hides_secrets(capsys, tmp_path) -> None:
    """The same fields as `check --json` has for a finding; a password in the log is masked."""
    (tmp_path / "log").write_text(REFUSED.replace("redis://redis", "redis://:hunter22hunter@redis") + "\n")
    code, out, _ = call(capsys, "explain", "--json", tmp_path / "log")
    data = json.loads(out)
    assert code == 2 and data["verdict"] == "critical" and data["schema"] == 1
    assert data["findings"][0]["code"] == "BRK001" and data["causes"] == [data["findings"][0]["id"]]
    assert "hunter22" not in out


def test_own_signatures_come_first_and_are_checked(capsys, tmp_path) -> None:
    """A house's own message is named; a wrong entry is refused with its line."""
    (tmp_path / "log").write_text("Error: the flux capacitor 7 is empty\n")
    own = tmp_path / "own.yml"
    own.write_text(
        "- id: flux\n  code: OWN001\n  in: line\n  pattern: 'Error: the flux capacitor (?P<object>\\d+)'\n"
        "  needs: flux\n  says: The flux capacitor is empty.\n  sources: [us]\n"
    )
    code, out, _ = call(capsys, "explain", "--signatures", own, tmp_path / "log")
    assert code == 1 and "OWN001" in out and "The flux capacitor is empty: 7" in out
    own.write_text(own.read_text() + "- id: bad\n  code: OWN002\n")
    code, _, err = call(capsys, "explain", "--signatures", own, tmp_path / "log")
    assert code == 64 and "line 8, signature bad: in, needs, pattern, says, sources missing" in err


HOSTILE = {
    "one endless line": "for _ in range(300): w.write(b'x' * (1 << 20))",
    "escapes": "w.write((b'\\x1b[31m' * 50 + b'\\n') * 200000)",
    "many lines": "w.write(b'Task a.b[1] succeeded in 0.1s\\n' * 4000000)",
    "different errors": "[w.write(b'ERROR %x failed with code %d\\n' % (n**3, n)) for n in range(400000)]",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_logs_are_read_in_bounded_memory(kind: str) -> None:
    """Through a pipe, below 300 MB, with an answer at the end."""
    writer = subprocess.Popen(
        [sys.executable, "-c", f"import sys; w = sys.stdout.buffer; {HOSTILE[kind]}"], stdout=subprocess.PIPE
    )
    reader = subprocess.run(
        [sys.executable, "-m", "celery_triage.cli", "explain"],
        stdin=writer.stdout,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20)),
    )
    writer.stdout.close()
    writer.wait(timeout=30)
    assert reader.returncode in (0, 3) and reader.stderr == "" and reader.stdout


@pytest.mark.parametrize(
    ("rest", "verdict"), [(b" Traceback (most recent call last)", "unknown"), (b" and nothing else", "ok")]
)
def test_a_line_that_was_not_read_to_its_end_leaves_the_verdict_open(rest, verdict) -> None:
    """Where its rest may tell of trouble; within one piece of the input and over several."""
    for length in (70_000, 3_000_000):
        long = b"[2026-11-24 00:00:01,000: INFO/MainProcess] " + b"x" * length + rest
        log = WORKER.encode() + b"\n" + long + b"\n" + WORKER.encode() + b"\n"
        told = explain([("log", io.BytesIO(log))])
        assert told.verdict == verdict, length
        text = " ".join(line for line, _ in page(told))
        assert "1 line is longer than 64 KiB; what stands behind" in text
        assert ("may tell of trouble" in text) is (verdict == "unknown")


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_log_in_windows_unicode_is_read(codec) -> None:
    """With its mark or without."""
    log = (
        'Traceback (most recent call last):\n  File "x.py", line 1, in connect\n'
        "redis.exceptions.ConnectionError: Error 111 connecting to redis:6379. Connection refused.\n"
    )
    told = explain([("log", io.BytesIO(log.encode(codec)))])
    assert [(one.code, one.object) for one in told.judged.findings] == [("BRK001", "redis")]


def test_the_page_says_what_is_only_quoted() -> None:
    """A known text in a task's own record is no cause, and the page says that it is there."""
    quote = (
        "[2026-11-24 00:00:01,000: INFO/ForkPoolWorker-2] shared.tasks.quoting[46fd8d77]: a ticket says: "
        "Error 111 connecting to redis:6379. Connection refused."
    )
    explanation = judged(f"{WORKER}\n{quote}\n")
    text = "\n".join(line for line, _ in page(explanation))
    assert explanation.judged.quoted == 1 and not explanation.judged.causes
    assert "Only quoted" in text and "1 known message in what" in text
    assert "Only quoted" not in "\n".join(line for line, _ in page(judged(f"{WORKER}\n")))
