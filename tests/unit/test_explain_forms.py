"""`celery-triage explain`: the forms in which people paste logs, after threads that show them."""

# Log lines stand as they came.
# ruff: noqa: E501
from __future__ import annotations

import io
import json
import random
from itertools import islice

import pytest

from celery_triage.explain import explain
from celery_triage.explain.learned import learn
from celery_triage.explain.showing import as_json
from celery_triage.signatures import blocks

#: A worker that dies: the record, its traceback, the exception.
DEATH = """\
[2026-11-24 00:00:01,000: CRITICAL/MainProcess] Unrecoverable error: PreconditionFailed(406, 'x', (0, 0), '')
Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/celery/worker/worker.py", line 202, in start
    self.blueprint.start(self)
  File "/usr/lib/python3.11/site-packages/amqp/channel.py", line 293, in _on_close
    raise error_for_code(
amqp.exceptions.PreconditionFailed: (0, 0): (406) PRECONDITION_FAILED - delivery acknowledgement on channel \
1 timed out. Timeout value used: 1800000 ms. This timeout value can be configured
"""
READY = "[2026-11-24 00:00:00,000: INFO/MainProcess] celery@a1 ready."
NOT_LOADED = """\
Usage: celery [OPTIONS] COMMAND [ARGS]...
Try 'celery --help' for help.

Error: Invalid value for '-A' / '--app':
Unable to load celery application.
The module shop.tasks was not found.
"""
#: What people and tools write before a line.
BEFORE = {
    "quotation": "> ",
    "quotation of a code block": ">     ",
    "moved in": "    ",
    "heroku": "2026-11-24T00:00:00.597179+00:00 app[worker.1]: ",
    "cloud foundry": "   2026-11-24T00:00:00.92-0400 [APP/PROC/WEB/1] ERR ",
    "docker desktop": "2026-11-24 00:00:00 shop-worker-1  | ",
    "docker desktop, one container": "2026-11-24 00:00:00 ",
    "swarm": "shop_worker.1.vveh09qnlon5aaaaaaaaaaaaa@node-1    | ",
    "honcho": "00:00:00 worker.1 | ",
    "no blank behind the bar": "shop-worker-1   |",
    "a shell's name": "bash: ",
    "a stream's name": "stderr: ",
    "a logging agent": "[2026-11-24 00:00:00.942315] [ljeugk] [c2] ",
    "stern": "worker-6d5f7c9b8d-x2x7l worker ",
    "a time only": "2026-11-24T00:00:00Z ",
    "runit's logger": "2026-11-24_00:00:00.74706 ",
    "a logger's stamp alone": "2026-11-24 00:00:00.747 ",
    "a container's name before Docker's time": "[worker] 2026-11-24T00:00:00.798900294Z ",
    "Google's explorer": "INFO 2026-11-24T00:00:00.342089926Z [resource.labels.containerName: worker] ",
    "Ruby's logger": "ERROR -- : ",
    "an empty column": "  | ",
}


def causes(text: str) -> list[tuple[str, str]]:
    found = explain([("paste", io.BytesIO(text.encode()))]).judged
    return [(one.code, one.object) for one in found.findings if one.id in found.causes]


def verdict(text: str) -> str:
    return explain([("paste", io.BytesIO(text.encode()))]).verdict


def each(text: str, before: str, after: str = "") -> str:
    return "".join(f"{before}{line}{after}\n" for line in text.splitlines())


@pytest.mark.parametrize("before", BEFORE)
def test_a_death_is_read_behind_any_prefix(before: str) -> None:
    """Known prefixes are taken off, unknown ones are learned from the paste."""
    assert causes(each(DEATH, BEFORE[before])) == [("BRK012", "1800000 ms")]


@pytest.mark.parametrize("before", BEFORE)
def test_a_refused_start_is_read_behind_any_prefix(before: str) -> None:
    """The same for a usage error, which has no log head at all."""
    assert causes(each(NOT_LOADED, BEFORE[before])) == [("CMD003", "shop.tasks")]


def test_the_frame_of_a_terminal_table_is_taken_off() -> None:
    """k9s draws a box around what it shows."""
    assert causes(each(DEATH, "│ ", "     │")) == [("BRK012", "1800000 ms")]


def test_talk_is_no_prefix() -> None:
    """What an application logs before a quoted record is not taken for a wrapper's prefix."""
    assert not learn(["2026-11-24 00:00:00 ERROR shop: a ticket: [2026-11-24 00:00:00,000: INFO/Beat] x"])
    assert not learn(["the customer wrote to us that Traceback (most recent call last):"])


def test_a_traceback_without_its_indentation_is_read() -> None:
    """Some viewers show lines without the blanks before them."""
    assert causes("".join(f"{line.strip()}\n" for line in DEATH.splitlines())) == [("BRK012", "1800000 ms")]


def test_a_traceback_with_its_exception_first_is_read() -> None:
    """Monitoring services write the exception above the frames."""
    text = (
        "WorkerLostError: Worker exited prematurely: signal 15 (SIGTERM) Job: 11.\n"
        '  File "shop/tasks.py", line 9, in bill\n    rows()\n'
    )
    assert causes(text) == [("WRK001", "signal 15 (SIGTERM)")]


def test_the_parts_of_an_exception_group_are_read() -> None:
    """Each part of a group is a traceback of its own."""
    text = """\
  + Exception Group Traceback (most recent call last):
  |   File "/app/shop/prestart.py", line 9, in <module>
  |     asyncio.run(main())
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/usr/lib/python3.11/site-packages/asyncpg/connect_utils.py", line 601, in _connect_addr
    |     return await __connect_addr(params, False, *args)
    | asyncpg.exceptions.InvalidCatalogNameError: database "shop" does not exist
    +------------------------------------
"""
    assert causes(text) == [("DBS001", "shop")]


@pytest.mark.parametrize(
    "head",
    [
        "[2026-11-24 00:00:01,203] [ERROR] [celery.worker.consumer.consumer] ",
        "2026-11-24 00:00:01,203 ERROR celery.worker.consumer.consumer ",
        "2026-11-24 00:00:01,203 celery.worker.consumer.consumer ERROR    ",
        "ERROR 2026-11-24 00:00:01,203 celery.worker.consumer.consumer 8 140213 ",
        "ERROR:celery.worker.consumer.consumer:",
        "2026-11-24 00:00:01.920 | ERROR    | celery.worker.consumer.consumer:on_connection_error:592 - ",
        "00:00:01 [ERROR] celery.worker.consumer.consumer: ",
        "00:00:01,000: ERROR/MainProcess] ",
        "ERROR/MainProcess] ",
    ],
)
def test_celery_is_heard_in_an_applications_own_format(head: str) -> None:
    """Who speaks is told by the logger's name, whatever format the application chose."""
    said = "consumer: Cannot connect to redis://redis:6379/0: Error 111 connecting to redis:6379."
    text = f"{head}{said} Connection refused..\n"
    assert causes(text) == [("BRK001", "redis")]


def test_an_application_that_speaks_of_celery_is_not_celery() -> None:
    """The same words under the application's own logger say nothing of this process."""
    text = (
        "2026-11-24 00:00:01,203 INFO shop.views ticket: consumer: Cannot connect to redis://redis:6379/0: "
        "Error 111 connecting to redis:6379. Connection refused..\n"
    )
    assert verdict(text) == "ok"


def test_what_left_a_task_is_the_applications_own() -> None:
    """A traceback without a record that runs through Celery's tracer is a task's."""
    text = """\
Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/celery/app/trace.py", line 453, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/app/shop/tasks.py", line 9, in bill
    raise NoStock(9)
shop.errors.NoStock: 9
"""
    found = explain([("paste", io.BytesIO(text.encode()))])
    assert found.verdict == "ok" and [one.text for one in found.judged.own] == ["shop.errors.NoStock: 9"]


def test_a_client_without_a_host_names_that_of_the_banner() -> None:
    """The exception of an AMQP client says no host; the banner above it does."""
    text = """\
- ** ---------- .> transport:   amqp://shop:**@rabbit-1:5672//
Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/kombu/connection.py", line 476, in _reraise_as_library_errors
    raise ConnectionError(str(exc)) from exc
kombu.exceptions.OperationalError: [Errno 111] Connection refused
"""
    assert causes(text) == [("BRK001", "rabbit-1")]


def test_a_dependency_that_failed_is_explained_by_its_own_words() -> None:
    """Compose says only that the database is unhealthy; the database says why."""
    text = (
        "dependency failed to start: container shop-db-1 is unhealthy\n"
        'db-1  | 2026-11-24 00:00:00.000 UTC [33] FATAL:  role "docker" does not exist\n'
    )
    assert causes(text) == [("DBS002", "docker")]


def test_a_server_without_a_time_is_heard() -> None:
    """PostgreSQL's words as `psql` or an image's entrypoint shows them."""
    assert causes(
        "FATAL:  database files are incompatible with server\n"
        "DETAIL:  The data directory was initialized by PostgreSQL version 9.4, which is not compatible with "
        "this version 9.5.4.\n"
    ) == [("DBS058", "9.4")]
    text = 'initdb: could not change permissions of directory "/var/lib/pg": Operation not permitted\n'
    assert causes(text) == [("DBS058", "/var/lib/pg")]


def test_a_connection_that_broke_is_not_called_an_address_without_a_server() -> None:
    """A broker that was reached answers at its address: what broke is the connection."""
    text = (
        "[2026-11-24 00:00:01,000: CRITICAL/MainProcess] Couldn't ack 6, reason:error(104, 'reset')\n"
        "Traceback (most recent call last):\n"
        '  File "/usr/lib/python3.11/site-packages/amqp/transport.py", line 500, in _write\n'
        "    self.sock.sendall(s)\n"
        "ConnectionResetError: [Errno 104] Connection reset by peer\n"
    )
    assert causes(text) == [("WRK055", "broker")]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("consumer: Cannot connect to amqp://@mq:5672//: [Errno 111] Connection refused.", ("BRK001", "mq")),
        ("NOAUTH Authentication required.", ("BRK002", "NOAUTH")),
        ("(error) MISCONF Errors writing to the AOF file: No space left on device", ("RDS051", "AOF")),
        ('relation "orders" does not exist', ("DBS005", "orders")),
        (
            'connection to server at "db", port 5432 failed: FATAL:  database "shop" does not exist',
            ("DBS001", "shop"),
        ),
        (
            "OperationalError('(psycopg2.OperationalError) FATAL:  sorry, too many clients already\\n')",
            ("DBS003", ""),
        ),
        ("You are using `-A` as an option of the worker sub-command:", ("CMD001", "-A")),
    ],
)
def test_a_single_line_is_enough(text: str, cause: tuple[str, str]) -> None:
    """People paste the one line that they think matters."""
    assert causes(f"{text}\n") == [cause]


def test_a_refused_content_type_is_not_called_root_with_pickle() -> None:
    """Both speak of content that is refused; only one is about who runs the worker."""
    text = (
        "kombu.exceptions.ContentDisallowed: Refusing to deserialize untrusted content of type text/plain "
        "(text/plain)\n"
    )
    assert causes(text) == [("WRK050", "text/plain")]


def test_a_broker_that_did_not_come_up_is_not_called_ok() -> None:
    """RabbitMQ's errors before it is ready are its own, whether anybody knows them or not."""
    text = "2026-11-24 00:00:00.543668+00:00 [error] <0.131.0> something new went wrong at the start\n"
    assert verdict(text) == "unknown"
    later = "2026-11-24 00:00:09.543668+00:00 [info] <0.9.0>  Server startup complete; 3 plugins started.\n"
    assert verdict(text + later) == "ok"


def test_who_waits_is_not_called_unhealthy() -> None:
    """Compose 1 names the service that was not started, and the container that is unhealthy."""
    text = 'ERROR: for worker  Container "1b627a3a998f" is unhealthy.\n'
    assert causes(text) == [("CPS055", "1b627a3a998f")]


def test_a_pool_process_that_logs_an_error_is_a_task() -> None:
    """Airflow's executor logs what a task raised in words of its own."""
    text = (
        f"{READY}\n[2026-11-24 00:00:05,000: ERROR/ForkPoolWorker-1] [3c4ce8e8] Failed to execute task.\n"
        "Traceback (most recent call last):\n"
        '  File "/usr/lib/python3.12/subprocess.py", line 571, in run\n    raise CalledProcessError(\n'
        "subprocess.CalledProcessError: Command returned non-zero exit status 1.\n"
    )
    assert verdict(text) == "ok"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('    web_1       | django.db.utils.OperationalError: FATAL:  role "shop" does not exist\n'
         '    postgres_1  | FATAL:  role "shop" does not exist\n', ("DBS002", "shop")),
        ('`django.db.utils.OperationalError: FATAL:  password authentication failed for user "shop"`\n',
         ("URL004", "shop")),
        ("psql: error: could not connect to server: could not connect to server: No such file or directory\n"
         "\tIs the server running locally and accepting\n"
         '\tconnections on Unix domain socket "/tmp/.s.PGSQL.5432"?\n', ("URL005", "")),
    ],
    ids=["Compose's lines, moved in", "backticks", "psql before 14"],
)  # fmt: skip
def test_what_people_put_around_a_line_is_taken_off(text: str, cause: tuple[str, str]) -> None:
    """Out of threads: an indented block, inline code, the words of an older psql."""
    assert causes(text)[0] == cause


def test_rabbitmqs_old_reports_are_records() -> None:
    """RabbitMQ before 3.7 wrote a report per event, its head on a line of its own."""
    text = (
        "=ERROR REPORT==== 24-Nov-2026::00:00:00 ===\nclosing AMQP connection <0.392.0> "
        "(172.18.0.4:45678 -> 172.18.0.3:5672):\n{handshake_timeout,frame_header}\n"
    )
    assert verdict(text) != "ok"


def test_a_name_that_is_missing_is_laid_to_whose_module_it_is() -> None:
    """An application's own module, a package, Python's library: three different remedies."""
    shown = "ImportError: cannot import name 'Order' from 'shop.orders' ({}/shop/orders.py)\n"
    assert causes(shown.format("/srv")) == [("CMD004", "shop.orders")]
    assert causes(shown.format("/usr/lib/python3.12/site-packages")) == [("PKG050", "shop")]
    assert causes(shown.format("/usr/lib/python3.12")) == [("PKG051", "shop")]


def test_nginxs_errors_are_not_a_workers_last_words() -> None:
    """nginx writes its date with strokes; an upstream that was not yet there is not Celery's failure."""
    text = (
        f"worker-1 | {READY}\nnginx-1  | 2026/11/24 00:00:05 [error] 29#29: *1 connect() failed "
        "(111: Connection refused) while connecting to upstream, client: 10.0.0.1\n"
    )
    assert verdict(text) == "ok"


@pytest.mark.parametrize(
    "text",
    [
        "CRITICAL 2026-11-24 00:00:00,495 celery.beat 24069 celerybeat raised exception "
        "<class 'shop.Odd'>: Odd('x',)\n",
        "[2026-11-24 00:00:00,377: ERROR/Beat] Process Beat\nTraceback (most recent call last):\n"
        '  File "/srv/shop/beat.py", line 3, in run\n    odd()\nshop.Odd: x\n',
        "[2026-11-24 00:00:00,410: ERROR/Beat] Database error while sync: ProgrammingError('odd',)\n",
        "consumer: Connection to broker lost. Trying to re-establish the connection...\n",
    ],
    ids=["Celery 2's beat", "an embedded beat", "the database scheduler", "without its head"],
)
def test_an_end_that_nobody_knows_is_not_called_ok(text: str) -> None:
    """Beat that died of something unheard of; a connection that is not yet back."""
    assert verdict(text) != "ok"


# --- What public threads showed to be read wrongly ------------------------------

MAIN = '  File "/usr/local/bin/celery", line 8, in <module>\n    sys.exit(main())\n'
CRASH = f"Traceback (most recent call last):\n{MAIN}ModuleNotFoundError: No module named 'foo'\n"


@pytest.mark.parametrize(
    "before",
    ["WARNING:root:starting", "ERROR:root:x", "2026-11-24 00:00:00,000 WARNING settings: DEBUG is on",
     "[2026-11-24 00:00:00,000: WARNING/MainProcess] this setting is deprecated"],
)  # fmt: skip
def test_what_nobody_caught_ends_the_process_whatever_was_logged_before_it(before):
    """A traceback that goes up to the module that was started is no logger's."""
    assert causes(f"{before}\n{CRASH}") == [("PKG001", "foo")]
    caught = CRASH.replace(MAIN, '  File "/app/shop/mail.py", line 8, in send\n    import foo\n')
    assert causes(f"ERROR:root:x\n{caught}INFO:root:on\n") == []


def test_a_chain_is_uncaught_where_its_last_traceback_is():
    """The first part of a chain begins where its exception was caught."""
    chained = (
        'Traceback (most recent call last):\n  File "/app/shop/a.py", line 2, in load\n    import bar\n'
        "ModuleNotFoundError: No module named 'bar'\n\n"
        f"During handling of the above exception, another exception occurred:\n\n{CRASH}"
    )
    assert causes(f"WARNING:root:no bar, trying foo\n{chained}") == [("PKG001", "foo")]


SOCKET = '  File "/usr/lib/python3.11/socket.py", line 851, in create_connection\n    sock.connect(sa)\n'


@pytest.mark.parametrize(
    "file,found",
    [("/usr/lib/python3.11/site-packages/amqp/transport.py", [("BRK001", "")]),
     ("/usr/lib/python3.11/smtplib.py", [])],
)  # fmt: skip
def test_only_the_client_of_a_broker_tells_of_the_broker(file, found):
    """Python's socket module raises for whoever called it: a mail server that refuses is no broker."""
    frames = f'  File "{file}", line 341, in connect\n    self.sock = x\n{SOCKET}'
    text = f"Traceback (most recent call last):\n{frames}ConnectionRefusedError: [Errno 111] Connection refused\n"
    assert causes(text) == found


def test_a_task_whose_traceback_was_cut_tells_the_address_by_its_record():
    """What hangs behind it may show no more than the frames of Celery."""
    text = (
        "[2026-11-24 00:00:00,000: ERROR/ForkPoolWorker-1] Task shop.report[3021d442-7152-4841-992a-8671a58b6328] "
        "raised unexpected: ConnectionError('Error 111 connecting to 127.0.0.1:6379. Connection refused.')\n"
        'Traceback (most recent call last):\n  File "/x/redis/connection.py", line 539, in connect\n    sock = x\n'
    )
    assert causes(text) == [("BRK001", "127.0.0.1")]


def test_what_a_program_logs_of_its_own_start_is_no_task_that_failed():
    """A start script and an exporter run no tasks; of a worker's own log it is said that it goes on."""
    words = 'ERROR:__main__:(psycopg2.OperationalError) could not translate host name "db" to address: unknown'
    found = explain([("paste", io.BytesIO(words.encode()))]).judged
    (cause,) = found.findings
    assert (cause.severity, cause.object) == ("critical", "db") and "Tasks failed" not in cause.detail


@pytest.mark.parametrize(
    "text,found",
    [
        ("[2026-11-24 00:00:00,000: WARNING/Beat] _gdbm.error: [Errno 13] Permission denied: 'celerybeat-schedule'",
         ("BEA002", "celerybeat-schedule")),
        ("[2026-11-24 00:00:00,000: CRITICAL/MainProcess] beat raised exception <class '_gdbm.error'>: "
         "error(13, 'Permission denied')", ("BEA002", "")),
        ("2026-11-24 00:00:00.000000+00:00 [error] <0.8.0> PLAIN login refused: user 'ops' can only connect via "
         "localhost", ("BRK011", "ops")),
        ("python: can't open file '/shop/entrypoint.py': [Errno 13] Permission denied",
         ("CMD053", "/shop/entrypoint.py")),
        ('ERROR: for shop  Cannot start service shop: OCI runtime create failed: starting container process caused: '
         'exec: "/usr/local/bin/entry.sh": permission denied: unknown', ("CMD053", "/usr/local/bin/entry.sh")),
        ('ERROR: for shop  Cannot start service shop: invalid header field value "oci runtime error: starting '
         'container process caused \\"exec: \\\\\\"celery\\\\\\": executable file not found in $PATH\\"\\n"',
         ("CMD005", "celery")),
        ("2026-11-24 00:00:00 60400 -0500 - NODE5 - 19206/13 - celery/celery.worker.consumer - 3008 - WARNING - "
         "consumer: Connection to broker lost. Trying to re-establish the connection...", ("WRK055", "broker")),
        ("PreconditionFailed: {'exc_message': \"Queue.declare: (406) PRECONDITION_FAILED - parameters for queue "
         "'php_52' in vhost '/' not equivalent\", 'exc_type': 'PreconditionFailed'}", ("BRK008", "php_52")),
        ("critical event=Unrecoverable error: ContentDisallowed('Refusing to deserialize untrusted content of type "
         "pickle (application/x-python-serialize)')", ("WRK050", "pickle")),
        ('OperationalError connection failed: connection to server at "127.0.0.1", port 5432 failed: FATAL:  '
         'password authentication failed for user "ops"', ("URL004", "ops")),
        ('celery[203945]: sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) FATAL:  no pg_hba.conf entry '
         'for host "10.0.0.8", user "ops", database "shop", SSL off', ("URL004", "ops")),
        ("ModuleNotFoundError: No module named 'importlib_metadata'", ("PKG001", "importlib_metadata")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)  # fmt: skip
def test_a_form_that_a_public_thread_showed_is_read(text, found):
    """Printed by beat, by an old engine, an old library, a structured logger, a syslog without its date."""
    assert found in causes(text)


def test_beat_that_prints_its_end_piece_by_piece_is_heard_without_the_front_of_its_traceback():
    """Each write is a record of its own."""
    head = "[2026-11-24 00:00:00,000: WARNING/MainProcess] "
    text = "\n".join(head + part for part in ("ConnectionError", ":", "Error 111 connecting to cache:6379. Refused."))
    assert causes(text) == [("BRK001", "cache")]


def test_the_order_of_celery_4_is_told_by_celerys_own_sentence():
    """Also where an application logged before it, and the option is then called unknown."""
    text = (
        "INFO:__main__:Initializing\n\nYou are using `-A` as an option of the worker sub-command:\n\n"
        "celery worker -A shop <...>\n\nThe support for this usage was removed in Celery 5.0. Instead you should use "
        "`-A` as a global option:\n\ncelery -A shop worker <...>\n\nUsage: celery worker [OPTIONS]\n\n"
        "Try 'celery worker --help' for help.\n\n\nError: No such option: -A\n"
    )
    found = explain([("paste", io.BytesIO(text.encode()))]).judged
    (cause,) = [one for one in found.findings if one.id in found.causes]
    assert cause.code == "CMD001" and "behind the sub-command" in cause.title


def test_clocks_and_time_zones_are_told_apart_and_each_is_one_cause():
    """Every worker tells of all others: whole half hours are a zone's, odd seconds a clock's."""
    head = "[2026-11-24 00:00:00,000: WARNING/MainProcess] Substantial drift from "
    tail = " may mean clocks are out of sync.  Current drift is {} seconds.  [orig: a recv: b]"
    zone = "\n".join(f"{head}celery@{name}{tail.format(7201)}" for name in ("a", "b", "c"))
    (found,) = explain([("paste", io.BytesIO(zone.encode()))]).judged.findings
    assert "time zones" in found.title
    (found,) = explain([("paste", io.BytesIO(f"{head}celery@a{tail.format(41)}".encode()))]).judged.findings
    assert "clocks of two machines" in found.title


def test_a_program_that_supervisord_starts_again_is_a_warning():
    """Killed for memory or ended once; only what it gives up is critical."""
    head = "2026-11-24 00:00:00,000 INFO "
    for words, severity in (
        ("exited: mail (terminated by SIGKILL; not expected)", "warning"),
        ("exited: mail (exit status 1; not expected)", "warning"),
        ("gave up: mail entered FATAL state, too many start retries too quickly", "critical"),
    ):
        (found,) = explain([("paste", io.BytesIO((head + words).encode()))]).judged.findings
        assert (found.object, found.severity) == ("mail", severity)


def test_no_host_in_the_url_means_the_container_itself():
    """kombu says which one it takes in its place, and then that nobody answers."""
    text = (
        "WARNING:kombu.connection:No hostname was supplied. Reverting to default 'localhost'\n"
        'Traceback (most recent call last):\n  File "/x/kombu/connection.py", line 450, in _reraise\n    raise x\n'
        "kombu.exceptions.OperationalError: [Errno 111] Connection refused\n"
    )
    assert causes(text) == [("BRK001", "localhost")]


def judged(text: str):
    return explain([("paste", io.BytesIO(text.encode()))]).judged


@pytest.mark.parametrize(
    "words,code",
    [
        ('Error response from daemon: failed to create task: exec: "/shop/start.sh": stat /shop/start.sh: no such file '
         "or directory: unknown", "CMD005"),
        ("dependency failed to start: container shop-db-1 is unhealthy", "CPS055"),
        ("network shop_net declared as external, but could not be found", "CPS050"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "before",
    ["db-1  | 2026-11-24 00:00:00.170 UTC [1] LOG:  listening on port 5432",
     "redis-1  | 1:M 24 Nov 2026 00:00:00.000 * Ready to accept connections", "worker-1  | hello"],
)  # fmt: skip
def test_the_engines_own_words_are_never_part_of_a_servers_record(before, words, code):
    """They stand without a prefix below whatever was said last."""
    assert code in [found for found, _ in causes(f"{before}\n{words}\n")]


def test_ranchers_viewer_writes_its_time_before_each_line():
    """A traceback in it has lost its indentation."""
    before = "Mon, Nov 7 2022 08:43:12 | "
    words = ("Traceback (most recent call last):", 'File "/usr/local/bin/celery", line 8, in <module>',
             "sys.exit(main())", "ModuleNotFoundError: No module named 'foo'")  # fmt: skip
    assert causes("\n".join(before + word for word in words)) == [("PKG001", "foo")]


def test_the_last_words_of_a_program_that_runs_no_celery_are_not_called_well():
    """An error is the last thing that a server says; in the middle of its log it is one of many."""
    assert judged("INFO:server:up\nERROR:server:Exception while starting, shutting down!\n").verdict == "unknown"
    on = "ERROR:server:one request failed\n" + "INFO:server:served\n" * 5
    assert judged(on).verdict == "ok"


def test_another_programs_usage_error_says_nothing_of_celery():
    """Its sub-commands are its own."""
    text = "Usage: flask [OPTIONS] COMMAND [ARGS]...\nTry 'flask --help' for help.\n\nError: No such command 'db'.\n"
    assert causes(text) == [] and judged(text).verdict == "unknown"
    assert causes(text.replace("flask", "celery")) == [("CMD002", "db")]


def test_a_user_that_the_server_does_not_have_is_no_wrong_password_beside():
    """PostgreSQL tells clients less than it writes into its own log."""
    text = (
        'db-1  | 2026-11-24 00:00:00.170 UTC [33] FATAL:  password authentication failed for user "clerk"\n'
        'db-1  | 2026-11-24 00:00:00.170 UTC [33] DETAIL:  Role "clerk" does not exist.\n'
    )
    assert causes(text) == [("DBS002", "clerk")]


def test_a_child_that_its_time_limit_ends_is_not_killed_for_memory():
    """The worker tells both, one after the other."""
    head = "[2026-11-24 00:00:00,000: ERROR/MainProcess] "
    text = (
        f"{head}Hard time limit (110s) exceeded for shop.report[3021d442-7152-4841-992a-8671a58b6328]\n"
        f"{head}Process 'ForkPoolWorker-9' pid:30 exited with 'signal 9 (SIGKILL)'\n"
    )
    assert [code for code, _ in causes(text)] == ["WRK002"]


def test_what_celery_itself_ends_of_is_critical_whatever_it_is_elsewhere():
    """A table that is missing costs a task its result; beat it costs its life."""
    words = "relation \"schedule\" does not exist"
    dead = f"[2026-11-24 00:00:00,000: CRITICAL/MainProcess] beat raised exception <class 'x.ProgrammingError'>: " \
        f"ProgrammingError('{words}')\nTraceback (most recent call last):\n  File \"/x/beat.py\", line 3, in start\n" \
        f"    f()\npsycopg2.errors.UndefinedTable: {words}\n"  # fmt: skip
    (found,) = judged(dead).findings
    assert (found.code, found.severity) == ("DBS005", "critical")


JOINED = (
    'Traceback (most recent call last): File "/usr/local/bin/celery", line 8, in <module> sys.exit(main()) '
    'File "/app/shop/a.py", line 3, in main import foo ModuleNotFoundError: No module named \'foo\''
)


@pytest.mark.parametrize("before", ["", "worker-1  | ", "ERROR:root:it ended "])
def test_a_traceback_that_a_collector_joined_to_one_line_is_read(before):
    """Its frames and the exception behind them are told apart again."""
    assert causes(f"{before}{JOINED}\n") == [("PKG001", "foo")]


def test_a_chain_in_one_line_keeps_its_parts():
    """What ended the process is the last one."""
    first = JOINED.replace("foo", "bar")
    middle = "During handling of the above exception, another exception occurred:"
    assert causes(f"{first} {middle} {JOINED}\n") == [("PKG001", "foo")]


def test_ends_of_line_that_were_written_out_are_ends_of_line():
    """As JSON in JSON and some viewers show them."""
    whole = CRASH.rstrip().replace("\n", "\\n").replace('"', '\\"')
    assert causes(f"worker-1  | {whole}\n") == [("PKG001", "foo")]


def test_a_line_that_only_speaks_of_tracebacks_stays_as_it_is_written():
    """Talk of one is none."""
    assert judged("INFO:root:see the Traceback (most recent call last): above\n").verdict == "ok"


IMPORTING = """\
Traceback (most recent call last):
  File "/usr/local/bin/celery", line 8, in <module>
    sys.exit(main())
  File "/usr/local/lib/python3.11/site-packages/celery/app/utils.py", line 384, in find_app
    sym = symbol_by_name(app, imp=imp)
  File "<frozen importlib._bootstrap>", line 1206, in _gcd_import
  File "/app/shop/celery.py", line 5, in <module>
    from shop.settings import LEVEL
  File "/app/shop/settings.py", line 50, in <module>
    LEVEL = read("level")
  File "/usr/local/lib/python3.11/site-packages/frobnicate/core.py", line 9, in read
    raise Odd("quota")
frobnicate.Odd: quota
"""


def test_what_an_unknown_exception_kept_from_loading_is_named() -> None:
    """No signature knows the exception; that a module of the application cannot be imported shows all the
    same, and the module is the last one that was being imported, not the package that raised."""
    assert causes(IMPORTING) == [("CMD004", "/app/shop/settings.py")]


def test_a_package_that_does_not_import_is_named() -> None:
    """Where the module that raises is a package's, the package is what does not fit."""
    text = IMPORTING.replace("line 9, in read", "line 9, in <module>")
    assert causes(text) == [("PKG050", "frobnicate")]


def test_an_unknown_exception_of_a_running_process_stays_unknown() -> None:
    """Without an import nothing is known of it, and nothing is claimed."""
    text = IMPORTING.replace("in <module>", "in run")
    assert causes(text) == [] and verdict(text) == "unknown"


def test_what_compose_writes_behind_a_traceback_is_no_part_of_it() -> None:
    """The exit code stands in a line of its own, and is explained by the exception before it."""
    text = each(IMPORTING, "worker-1  | ") + "worker-1 exited with code 1\n"
    assert causes(text) == [("CMD004", "/app/shop/settings.py")]


@pytest.mark.parametrize("lines", [20, 60])
def test_a_long_traceback_is_the_last_words_too(lines: int) -> None:
    """However long it is: its end counts, not where it begins."""
    frame = '  File "/app/shop/run.py", line 5, in again\n    again()\n'
    text = IMPORTING.replace("in <module>", "in run").replace("frobnicate.Odd", frame * lines + "frobnicate.Odd")
    assert verdict(text) == "unknown"


def test_the_module_of_the_application_is_told_from_a_package() -> None:
    """Celery before 5 raises where later ones say that the module of -A was not found."""
    text = IMPORTING[: IMPORTING.index("  File \"/app")] + "ModuleNotFoundError: No module named 'shop_worker'\n"
    assert causes(text) == [("CMD003", "shop_worker")]


LEVELLESS = """\
multiprocessing: Process 'PoolWorker-1' pid:1234 exited with 'signal 11 (SIGSEGV)'
celery.worker.request: Task handler raised error: WorkerLostError('Worker exited prematurely: signal 11 (SIGSEGV).',)
Traceback (most recent call last):
  File "/usr/lib/python3.6/site-packages/billiard/pool.py", line 1223, in mark_as_worker_lost
    human_status(exitcode)),
billiard.exceptions.WorkerLostError: Worker exited prematurely: signal 11 (SIGSEGV).
"""


def test_a_record_without_a_level_is_celerys_by_its_logger() -> None:
    """Some applications format records as ``logger: message``."""
    assert causes(LEVELLESS) == [("WRK001", "signal 11 (SIGSEGV)")]


MYSQL = """\
2023-01-18T02:35:35.372775Z 0 [Note] InnoDB: The log sequence number 1 in ibdata files could not be found
2023-01-18T02:35:36.372775Z 0 [ERROR] [MY-012574] [InnoDB] Unable to lock ./ibdata1 error: 11
2023-01-18T02:35:36.372822Z 0 [ERROR] [MY-010119] [Server] Aborting
"""


def test_mysqls_records_are_read() -> None:
    """The server's own cause is named, and its notes are no errors."""
    assert causes(MYSQL) == [("DBS058", "./ibdata1")]
    assert verdict(MYSQL.splitlines()[0]) == "ok"


@pytest.mark.parametrize(
    "before",
    [
        "<pre>2021-12-15 07:31:14 [11] CRITICAL ",
        "2015-01-19 13:16:28.037 +0000 ERROR [__init__.start] ",
        "CRITICAL celery.worker ",
        "[DEBUG   ] stderr: ",
        "[CRITICAL/MainProcess] ",
        "[   ERROR/MainThread] ",
    ],
)
def test_celerys_own_words_are_heard_behind_any_head(before: str) -> None:
    """Only a worker says so, whatever the application's logger writes before it; never is that log ok."""
    known = f"{before}Unrecoverable error: OperationalError(2013, 'Lost connection to MySQL server')\n"
    assert [code for code, _ in causes(known)] == ["DBS053"]
    assert verdict(f"{before}Unrecoverable error: OddError('nobody knows this')\n") == "unknown"


def test_a_name_before_celerys_words_is_the_applications_talk() -> None:
    """A task or a view that quotes them says nothing of this process."""
    line = "a ticket says that Unrecoverable error: OperationalError(2013, 'Lost connection')"
    assert verdict(f"2026-11-24 00:00:01,203 ERROR shop.views {line}\n") == "ok"


@pytest.mark.parametrize("lines", [5, 40])
def test_a_worker_that_says_that_it_ends_is_never_ok(lines: int) -> None:
    """However much of its traceback was pasted."""
    text = "[2026-11-24 00:00:01,000: CRITICAL/MainProcess] Unrecoverable error: OddError('x')\n"
    text += "Traceback (most recent call last):\n" + '  File "/app/a.py", line 1, in a\n    a()\n' * lines
    assert verdict(text) == "unknown"


CUT = """\
[2026-11-24 00:00:01,000: ERROR/MainProcess] Unrecoverable error: OSError(13, 'Permission denied')
Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/celery/worker/worker.py", line 202, in start
    self.blueprint.start(self)
  File "/usr/lib/python3.11/site-packages/billiard/synchronize.py", line 157, in __init__
    SemLock.__init__(self, SEMAPHORE, 1, 1)
"""


def test_a_cut_traceback_still_says_where_it_came_from() -> None:
    """The record shows the exception, the traceback's last file what raised it."""
    assert causes(CUT) == [("WRK057", "Permission denied")]
    assert causes(CUT.replace("billiard/synchronize", "shop/views")) == []


def test_a_source_line_that_raises_says_the_exception() -> None:
    """Where the traceback ends with the line that raises, its last line is known."""
    text = (
        'Traceback (most recent call last):\n  File "/usr/lib/python3.4/django/apps/registry.py", line 78, in '
        "populate\n    raise RuntimeError(\"populate() isn't reentrant\")\n"
    )
    assert causes(text) == [("CMD004", "populate()")]


@pytest.mark.parametrize(
    ("source", "message", "object_"),
    [
        ("from kombu import virtual", "ImportError: cannot import name virtual", "kombu"),
        ("from tornado.log import pretty", "ImportError: No module named log", "tornado"),
    ],
)
def test_what_an_old_python_leaves_out_stands_in_the_source_line(source, message, object_) -> None:
    """Python 2 and 3.6 name only the last part of what could not be imported."""
    text = f'Traceback (most recent call last):\n  File "/app/a.py", line 1, in <module>\n    {source}\n{message}\n'
    assert causes(text) == [("PKG050", object_)]


def test_a_traceback_is_read_whatever_a_viewer_did_to_its_margins() -> None:
    """Frames without indentation, blank lines between them, an exception that is moved in, lines left out."""
    text = (
        'Traceback (most recent call last):\n[...]\nFile "/app/shop/a.py", line 51, in <module>\n\n'
        "from kombu import virtual\n  ImportError: cannot import name virtual\n"
    )
    assert causes(text) == [("PKG050", "kombu")]


def test_an_exception_that_was_printed_in_pieces_is_put_together() -> None:
    """Python 2 prints module, dot, name, colon and message with one write each."""
    head = "[2026-11-24 00:00:01,000: WARNING/MainProcess] "
    text = "".join(f"{head}{piece}\n" for piece in ("_dbm", ".", "error", ":", "cannot add item to database"))
    assert [code for code, _ in causes(text)] == ["BEA002"]


def test_the_end_of_a_line_that_was_lost_is_found_again() -> None:
    """A record and the traceback behind it, pasted into one line."""
    text = CUT.replace(")\nTraceback", ")Traceback")
    assert causes(text) == causes(CUT)


@pytest.mark.parametrize("before", ["#12 0.637 ", "`", "worker: `"])
def test_builds_and_backticks_are_prefixes_too(before: str) -> None:
    """BuildKit numbers its lines; people quote lines with backticks."""
    line = f"{before}ModuleNotFoundError: No module named 'frobnicate'{'`' if '`' in before else ''}\n"
    assert causes(line) == [("PKG001", "frobnicate")]


def test_an_exception_in_a_structured_record_is_read() -> None:
    """As structlog writes it: its representation under a key of its own."""
    text = (
        '{"event": "Task failure", "exc": "ReadOnlyError(\\"You can\'t write against a read only replica.\\")", '
        '"level": "warning", "logger": "shop"}\n'
    )
    assert [code for code, _ in causes(text)] == ["RDS053"]


def test_a_server_that_does_not_start_has_one_cause() -> None:
    """Its lines say one thing in several ways: the closest one names it, the others prove it."""
    text = (
        "*** FATAL CONFIG FILE ERROR (Redis 6.2.5) ***\nReading the configuration file, at line 1\n"
        ">>> 'unixsocket /run/redis.sock nport 1'\nwrong number of arguments\n"
    )
    assert causes(text) == [("RDS063", "unixsocket /run/redis.sock nport 1")]


def test_a_primary_that_is_replaced_is_history() -> None:
    """Sentinel's word that another took its place ends the trouble."""
    head = "1:X 24 Nov 2026 00:00:00.000 # "
    text = f"{head}+odown master mymaster 10.0.0.2 6379 #quorum 2/2\n"
    assert causes(text) == [("RDS065", "mymaster")]
    assert causes(text + f"{head}+switch-master mymaster 10.0.0.2 6379 10.0.0.3 6379\n") == []


def test_a_replica_that_sentinel_makes_is_no_intruders() -> None:
    """Only an address from outside is, and only where no Sentinel asked for it."""
    line = "1:S 24 Nov 2026 00:00:00.000 * REPLICAOF {} enabled (user request from 'id=5 name={} cmd=exec')\n"
    assert causes(line.format("194.40.243.61:8886", "")) == [("RDS061", "194.40.243.61:8886")]
    assert verdict(line.format("192.168.16.2:6379", "sentinel-da48-cmd")) == "ok"
    assert causes(line.format("192.168.16.2:6379", "")) == [("RDS053", "192.168.16.2:6379")]


def test_a_circle_of_imports_is_seen_without_pythons_word() -> None:
    """Before Python 3.8 only the frames show it: the module that is asked is being imported further up."""
    text = (
        'Traceback (most recent call last):\n  File "/app/manage.py", line 9, in <module>\n    main()\n'
        '  File "/app/shop/users/bulk.py", line 29, in <module>\n    from shop.views import View\n'
        '  File "/app/shop/views.py", line 55, in <module>\n    from shop.users.bulk import check\n'
        "ImportError: cannot import name 'check'\n"
    )
    assert causes(text) == [("CMD004", "shop.users.bulk")]
    assert causes(text.replace("/app/shop/users/bulk.py", "/app/shop/other.py")) != causes(text)


@pytest.mark.parametrize("level", ["info", "error"])
def test_who_cannot_connect_is_heard_at_any_level(level: str) -> None:
    """Some programs try again for ever and log it as information."""
    text = (
        '{"event": "Redis Connection failed, retrying... (Error -3 connecting to rediss:6379. Temporary failure '
        f'in name resolution.)", "level": "{level}", "logger": "shop.config"}}\n'
    )
    assert causes(text) == [("URL003", "rediss")]
    assert verdict(text.replace("Redis Connection failed, retrying...", "a ticket says:").replace("error", "info")) == "ok"


def test_a_record_with_a_cut_traceback_may_be_the_end() -> None:
    """Nobody knows what came of it: that log is not called ok."""
    text = (
        "ERROR:shop.app:Failed to create app\nTraceback (most recent call last):\n"
        '  File "/app/shop/app.py", line 61, in create_app\n    init()\n'
    )
    assert verdict(text) == "unknown"


def test_a_level_before_a_bar_is_no_service() -> None:
    """Some loggers write ``ERR | event=…``."""
    text = "ERR | event=consumer: Cannot connect to redis://r1:6379/0: Error 111 connecting to r1:6379. Connection refused..\n"
    found = explain([("paste", io.BytesIO(text.encode()))])
    assert causes(text) == [("BRK001", "r1")] and {one.label for one in found.subjects} == {"paste"}


def test_an_exit_code_is_told_in_words() -> None:
    """What 139 means need not be known at 3 am."""
    found = explain([("paste", io.BytesIO(b"web-1 exited with code 139\n"))]).judged.findings[0]
    assert found.remedy is not None and found.remedy.summary.startswith("139: ended by SIGSEGV")


@pytest.mark.parametrize("text", ["ContentDisallowed: Refusing to deserialize untrusted content of type pickle", "Killed"])
@pytest.mark.parametrize(
    "said",
    [
        "[2026-11-24 00:00:02,000: INFO/ForkPoolWorker-1] Task shop.check[46fd8d77] succeeded in 0.2s: '{}'",
        "[2026-11-24 00:00:02,000: INFO/MainProcess] Task shop.check[46fd8d77] received args=('{}',)",
        '{{"level": "error", "logger": "shop.tickets", "message": "ticket body: {}"}}',
        "2026-11-24 00:00:02,000 ERROR shop.tickets remote site says: {}",
        'ts=2026-11-24T00:00:02Z level=error logger=shop msg="imported {}"',
        "2026-11-24 00:00:02.000 | ERROR    | shop.hooks:deliver:44 - webhook 9 answered 500: <body>{}</body>",
    ],
)
def test_what_a_working_worker_handles_is_data(said: str, text: str) -> None:
    """Arguments, results, bodies of tickets and answers of other sites: none of it is the worker's own word."""
    after = "[2026-11-24 00:00:03,000: INFO/ForkPoolWorker-1] Task shop.check[46fd8d77] succeeded in 0.2s: None"
    assert verdict(f"{READY}\n{said.format(text)}\n{after}\n") == "ok"


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-24 00:00:02,000 ERROR shop.db: psycopg2.OperationalError: FATAL:  database \"shop\" does not exist",
        "2026-11-24 00:00:02,000 ERROR shop.db: Error running query: FATAL:  database \"shop\" does not exist",
        'Error running query: FATAL:  database "shop" does not exist',
    ],
)
def test_a_complaint_is_heard_behind_its_label(line: str) -> None:
    """A label that calls what follows an error does not make it somebody else's."""
    assert causes(line + "\n") == [("DBS001", "shop")]


@pytest.mark.parametrize(
    "end",
    [
        "web-1  | 2026-11-24 00:00:09 db:5432 is available after 8 seconds",
        'web-1  | 172.18.0.1 - - [24/Nov/2026:00:00:20 +0000] "GET /health HTTP/1.1" 200 2 "-" "curl/8"',
    ],
)
def test_a_wait_that_was_passed_is_history(end: str) -> None:
    """An entrypoint that waits for its database prints refusals until it is there."""
    text = (
        'web-1  | psycopg2.OperationalError: connection to server at "db" (172.18.0.3), port 5432 failed: '
        "Connection refused\n"
    )
    assert causes(text) == [("URL005", "db")]
    assert causes(f"{text}{end}\n") == []


def test_tests_that_passed_are_no_stack() -> None:
    """What pytest shows of the logs of its tests was meant to be."""
    text = (
        "ERROR    app.broker:broker.py:22 consumer: Cannot connect to redis://nowhere:6379/0: Error -2 connecting "
        "to nowhere:6379. Name or service not known.\n=================== 6 passed, 1 warning in 3.21s ====\n"
    )
    assert verdict(text) == "ok"


def test_the_statement_of_a_client_is_no_word_of_the_servers() -> None:
    """PostgreSQL logs what clients send; what stands in their SQL happened nowhere."""
    text = (
        "2026-11-24 00:00:00.000 UTC [33] LOG:  duration: 1203.221 ms  statement: SELECT * FROM t WHERE err = "
        "'FATAL:  sorry, too many clients already'\n"
    )
    assert verdict(text) == "ok"


ALL = ("stats", "active_queues", "registered", "scheduled", "active", "reserved", "revoked", "conf")


@pytest.mark.parametrize(("asked", "found"), [(ALL, [("MON055", "")]), (ALL[:2], [])])
def test_flower_without_any_answer_is_told(asked: tuple[str, ...], found: list[tuple[str, str]]) -> None:
    """One question that nobody answered is noise; all of them mean that no worker is there."""
    text = "".join(f"[W 261124 00:00:00 inspector:42] Inspect method {name} failed\n" for name in asked)
    assert causes(text) == found
    assert causes(f"worker-1  | {READY}\n" + each(text, "flower-1  | ")) == []


def test_a_traceback_whose_ends_of_line_were_written_out_is_read_without_its_beginning() -> None:
    """As some collectors and chat programs keep it."""
    text = (
        "conn = _connect(dsn, **kwasync)\\npsycopg2.OperationalError: could not translate host name \"pg\" to "
        "address: Temporary failure in name resolution\\n\\n\\nThe above exception was\n"
    )
    assert causes(text) == [("URL003", "pg")]


def test_the_time_that_stands_in_for_jsons_is_not_shown() -> None:
    """A quoted line holds nothing that the log does not."""
    text = '{"level": "error", "msg": "Failed to open: dial tcp 10.0.0.2:6379: i/o timeout", "time": "2026-11-24"}\n'
    found = explain([("paste", io.BytesIO(text.encode()))]).judged.findings[0]
    assert found.code == "NET050" and "2000-01-01" not in found.proof[0].text


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("celery -A shop.tasks worker", "The module that -A names is not there"),
        ("celery -A other.app worker", "A module that the application imports is not there"),
        ("", "or one that the application imports"),
    ],
)
def test_the_module_that_is_not_there_is_held_against_the_command(command: str, says: str) -> None:
    """Celery 5.0 says so of any module; the command, where the log shows it, tells which it is."""
    found = explain([("paste", io.BytesIO(f"$ {command}\n{NOT_LOADED}".encode()))]).judged.findings[0]
    assert found.code == "CMD003" and says in found.title


def test_a_traceback_with_blank_lines_between_everything_is_read() -> None:
    """As loguru writes it."""
    text = (
        "2025-07-31 09:26:30.891 | ERROR    | src.exporter:run:396 - exception, retrying in 0 seconds.\n"
        'Traceback (most recent call last):\n\n  File "kombu/transport/virtual/base.py", line 951, in create\n\n'
        "IndexError: pop from empty list\n\nDuring handling of the above exception, another exception occurred:\n\n"
        'Traceback (most recent call last):\n\n  File "redis/client.py", line 533, in execute_command\n\n'
        "redis.exceptions.AuthenticationError: Authentication required.\n"
    )
    assert [code for code, _ in causes(text)] == ["BRK002"]


@pytest.mark.parametrize("first", ["", "args, **kwargs)\n", "    return f(*args)\n", "cut off\nargs, **kwargs)\n"])
def test_a_tail_that_begins_within_a_frame_is_read_to_its_end(first: str) -> None:
    """Where a log was cut in the middle of a source line, that line is none of a frame's and no dead end."""
    text = (
        f'{first}  File "/usr/lib/python3.11/site-packages/psycopg2/__init__.py", line 122, in connect\n'
        "    conn = _connect(dsn)\npsycopg2.OperationalError: could not translate host name \"pg\" to address: "
        "Temporary failure in name resolution\n"
    )
    assert causes(text) == [("URL003", "pg")]


#: Lines of all kinds that a block may begin with, go on with or end at.
LINES = [
    '  File "/a/b.py", line 1, in c', 'File "b.py", line 2', "Traceback (most recent call last):", "ValueError: x", "a.b.Cd",
    "", "   ", "[...]", '    raise X("hello world")', "x()", "Usage: celery", "Error:", "Error: Unable", "    ^^^^",
    "During handling of the above exception, another exception occurred:", "2026-11-24 00:00:00 ERROR a: b",
    "[2026-11-24 00:00:00,000: WARNING/MainProcess] x", "Exception ignored in: <f>", "  ValueError: indented",
    "| Traceback (most recent call last):", "FATAL:  x y", "w-1 exited with code 1", "multiprocessing: x",
    "You are using `-A` as an option of the x", "+-+---------------- 1 ----------------",
]  # fmt: skip


def test_each_line_is_in_exactly_one_block() -> None:
    """Whatever stands beside whatever: reading goes on to the end, and leaves nothing out."""
    chance = random.Random(7)
    for _ in range(3000):
        lines = [["", "", chance.choice(LINES)] for _ in range(chance.randint(1, 7))]
        place = 0
        for block in islice(blocks(lines), len(lines) + 1):
            assert (block.begin, block.end > place) == (place, True), lines
            place = block.end
        assert place == len(lines), lines


def test_an_image_for_another_processor_comes_before_the_program_that_cannot_be_executed() -> None:
    """One cause, and the other follows from it; alone the platform is a warning."""
    platform = (
        "worker The requested image's platform (linux/arm64) does not match the detected host platform "
        "(linux/amd64/v3) and no specific platform was requested\n"
    )
    text = f"{platform}exec /usr/local/bin/celery: exec format error\n"
    assert causes(text) == [("CPS059", "linux/arm64")] and verdict(text) == "critical"
    assert verdict(platform) == "warning"


def test_google_clouds_records_are_read() -> None:
    """The message stands below `jsonPayload`, or each line is a `textPayload`."""
    refused = "Error 111 connecting to redis:6379. Connection refused."
    payload = {
        "message": f"consumer: Cannot connect to redis://redis:6379/0: {refused}.",
        "logger": "celery.worker.consumer.consumer",
        "levelname": "ERROR",
    }
    one = json.dumps({"insertId": "a", "timestamp": "2026-11-24T00:00:00Z", "jsonPayload": payload})
    assert causes(one + "\n") == [("BRK001", "redis")]
    raised = ("Traceback (most recent call last):", '  File "x.py", line 1, in connect')
    lines = (*raised, f"redis.exceptions.ConnectionError: {refused}")
    text = "".join(json.dumps({"insertId": "a", "textPayload": line}) + "\n" for line in lines)
    assert causes(text) == [("BRK001", "redis")]


def test_a_secret_that_is_no_port_is_no_object() -> None:
    """Python quotes what it took for the port; it may be the end of a password."""
    text = (
        'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\n'
        "ValueError: Port could not be cast to integer value as 'S3cr3tPa55'\n"
    )
    told = explain([("paste", io.BytesIO(text.encode()))])
    assert "S3cr3tPa55" not in json.dumps(as_json(told))
    assert causes(text) == [("URL001", "")]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("[2026-11-24 00:00:05,000: WARNING/MainProcess] Soft time limit (30s) exceeded for a.b[x1]", "WRK002"),
        (
            "[2026-11-24 00:00:05,000: WARNING/ForkPoolWorker-2] child process exiting after exceeding memory "
            "limit (410000KiB / 400000KiB)",
            "WRK009",
        ),
    ],
)
def test_what_happens_now_and_then_is_no_cause(line: str, code: str) -> None:
    """One task over its limit, one process replaced, and the worker works on: told as a notice; three times
    it is a cause."""
    after = "[2026-11-24 00:00:09,000: INFO/ForkPoolWorker-3] Task a.c[8d1f] succeeded in 0.1s: None\n"
    once, often = f"{READY}\n{line}\n{after}", f"{READY}\n" + f"{line}\n" * 3 + after
    assert not causes(once) and verdict(once) == "ok"
    assert [one for one, _ in causes(often)] == [code]


def test_errors_in_logfmt_are_listed() -> None:
    """Exporters and proxies write so; nothing is dropped."""
    told = explain([("paste", io.BytesIO(b'ts=2026-11-24T00:00:00Z level=error msg="frobnicator exploded"\n'))])
    assert [one.count for one in told.judged.strange] == [1] and told.verdict == "unknown"
