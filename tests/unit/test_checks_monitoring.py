"""Rules about monitoring: ports on which nobody answers, ports that several processes want, a silent Flower.

The logs in ``data/monitoring`` were recorded from Celery 5.7.0, Flower 2.2.0 and prometheus_client 0.26.0 in
containers of the lab, as ``docker logs -t`` prints them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from evidence import APP, CELERY, COMPOSE, TAKEN_S, Incident, digest, endpoint, without_section

from celery_triage.causes import diagnose
from celery_triage.checks import RULES, Look, judge

DATA = Path(__file__).parent / "data" / "monitoring"
PORTS = {"email_worker": 9091, "payment_worker": 9092, "data_sync_worker": 9093}


def recorded(name):
    """The lines of a recorded log, without their times."""
    return [line.split(" ", 1)[1] for line in (DATA / f"{name}.log").read_text("utf-8").splitlines()]


def metrics(label, port, **changed):
    """A metrics endpoint that a variable names, as it answered; ``code`` None: as it did not."""
    if changed.get("code", 200):
        changed = {"families": 4, **changed}
    return endpoint(label, "metrics", port, "/metrics", changed.pop("code", 200), **changed)


def guess(label, port, **changed):
    """What came of asking an exposed port that nothing else names."""
    given = {"code": None, "error_kind": "refused", **changed}
    return metrics(label, port, source=f"exposed port {port}", declared=False, **given)


def flower(code=200, **changed):
    return [endpoint("flower", "flower", 5555, "/healthcheck", code, **changed)]


def serving(ports=PORTS, exposed=PORTS, entries=(), published=None):
    """A stack whose workers serve metrics: on ``ports`` by their variable, with ``exposed`` in the Compose
    file, and ``published`` at the machine."""
    stack, told = Incident(), []
    for label in CELERY:
        held = [{"container": exposed[label], "proto": "tcp", "host": None}] if label in exposed else []
        held += [{"container": published, "proto": "tcp", "host": f"127.0.0.1:{published}"}] if (
            published and label == "email_worker"
        ) else []
        stack.item(label, ports=held)
        if label in ports:
            stack.env[label]["PROMETHEUS_PORT"] = str(ports[label])
            stack.written[label]["PROMETHEUS_PORT"] = f'"{ports[label]}"'
            told.append(metrics(label, ports[label]))
        if label in exposed and exposed[label] != ports.get(label):
            told.append(guess(label, exposed[label]))
    told += [*flower(), *entries]
    last = {(entry["label"], entry["port"], entry["purpose"]): entry for entry in told}
    return stack.section("http", "ok", "", {"endpoints": list(last.values())})


def wrong_port():
    return serving(ports={**PORTS, "email_worker": 9191})


def not_served():
    return serving(entries=[metrics("email_worker", 9091, code=None, error_kind="refused")])


def silent_flower(**changed):
    entries = flower(None, error_kind="refused", **changed)
    return Incident().section("http", "ok", "", {"endpoints": entries})


def in_each_child():
    """As recorded: three pool processes, each starts the endpoint."""
    stack = serving()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    lines = recorded("metrics-port-in-each-child_5.7")
    return stack.life("email_worker", 10.0, None, lines=[*lines, "email_worker@x ready."])


FIRES = {"MON001": wrong_port, "MON002": silent_flower, "MON003": in_each_child}


def judged(code, stack):
    evidence = stack.evidence() if isinstance(stack, Incident) else stack
    return judge(RULES[code], Look(evidence, RULES[code]))


# --- MON001: the port ---------------------------------------------------------------------------------------


def test_a_port_that_was_changed_in_one_place_is_named_with_both_numbers():
    """The scraper's port is the object, and the choice sets the variable back or declares the other."""
    (finding,), _ = judged("MON001", wrong_port())
    assert (finding.severity, finding.services, finding.object) == ("warning", ("email_worker",), "9091")
    assert "9191 (PROMETHEUS_PORT)" in finding.title and finding.certainty == "confirmed"
    serve, declare = finding.remedy.options
    assert [(edit.old, edit.new) for edit in serve.edits] == [("9191", "9091")]
    assert serve.edits[0].sha256 == digest('      PROMETHEUS_PORT: "9191"') and serve.edits[0].file == COMPOSE
    assert serve.commands[-1].endswith("up -d --no-deps email_worker")
    assert declare.commands == serve.commands[-1:]


def test_it_is_the_only_cause_of_a_stack_that_works():
    """A warning: the workers do their work."""
    diagnosis = diagnose(wrong_port().evidence())
    assert [finding.name for finding in diagnosis.cause_findings] == ["metrics-port-wrong"]
    assert (diagnosis.verdict, diagnosis.cause_findings[0].state) == ("warning", "active")


def test_a_published_port_at_which_nobody_answers_needs_no_company():
    """Whoever publishes a port means it."""
    entries = [guess("email_worker", 9091)]
    stack = serving(ports={"email_worker": 9191}, exposed={}, published=9091, entries=entries)
    (finding,), _ = judged("MON001", stack)
    assert (finding.severity, finding.object) == ("warning", "9091")
    assert any("published at 127.0.0.1:9091" in proof.text for proof in finding.proof)


def test_a_port_that_is_merely_exposed_and_lacks_company_is_a_notice():
    """It may be anything: a scraper on the same network needs no expose."""
    stack = serving(ports={"email_worker": 9191}, exposed={"email_worker": 8000})
    (finding,), _ = judged("MON001", stack)
    assert (finding.severity, finding.certainty) == ("notice", "inferred")


def test_flower_that_listens_elsewhere_than_it_is_published_is_found_too():
    """The option is corrected in the command."""
    stack = Incident().command("flower", f"celery -A {APP} flower --port=5556")
    stack.item("flower", ports=[{"container": 5555, "proto": "tcp", "host": "0.0.0.0:5555"}])
    entries = [
        endpoint("flower", "flower", 5556, "/healthcheck", source="option --port"),
        guess("flower", 5555),
    ]
    (finding,), _ = judged("MON001", stack.section("http", "ok", "", {"endpoints": entries}))
    assert finding.title.startswith("flower serves Flower on port 5556 (--port)")
    edits = finding.remedy.options[0].edits
    assert [(edit.old, edit.new) for edit in edits] == [("--port=5556", "--port=5555")]


def test_a_port_that_two_places_name_and_nobody_serves():
    """Something kept the endpoint from opening its port; only a person can see what."""
    (finding,), _ = judged("MON001", not_served())
    assert (finding.name, finding.severity, finding.object) == ("metrics-not-served", "warning", "9091")
    assert finding.remedy.kind == "manual" and finding.services == ("email_worker",)


def test_a_variable_alone_is_no_promise():
    """Many applications set it and serve metrics elsewhere: worth knowing, no more."""
    stack = serving(exposed={}, entries=[metrics("email_worker", 9091, code=None, error_kind="refused")])
    (finding,), _ = judged("MON001", stack)
    assert (finding.name, finding.severity) == ("metrics-not-served", "notice")


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [metrics("email_worker", 9091, code=401)],
        [metrics("email_worker", 9091, code=404)],
        [metrics("email_worker", 9091, code=302, location="http://login/")],
        [metrics("celery_beat", 9091, code=None, error_kind="refused")],
        [metrics("flower", 9091, code=None, error_kind="refused")],
        [guess("email_worker", 8000)],
        [metrics("email_worker", 9091, via="the published port 9091 of email_worker")],
        [metrics("email_worker", 9091, url="https://172.18.0.11:9091/metrics")],
    ],
)
def test_stacks_that_are_well_are_quiet(entries):
    """A login, another page, a redirect, TLS, variables that beat and Flower share with the workers, a port
    that only the image exposes."""
    findings, outcome = judged("MON001", serving(entries=entries))
    assert (findings, outcome.outcome) == ((), "quiet")


def test_a_service_that_only_exposes_a_port_is_quiet():
    """No variable, nobody listens: a leftover, and nobody misses it."""
    stack = serving(ports={}, exposed={"email_worker": 9091})
    assert judged("MON001", stack)[0] == ()


def test_a_port_that_the_image_exposes_on_all_its_containers_declares_nothing():
    """Workers share the image of a web server, and its EXPOSE 8000."""
    everywhere = {label: 8000 for label in CELERY}
    assert judged("MON001", serving(exposed=everywhere))[0] == ()


def test_a_stack_without_flower_and_metrics_is_quiet():
    """Monitoring is nobody's duty."""
    stack = Incident().section("http", "ok", "", {"endpoints": []})
    assert [judged(code, stack)[1].outcome for code in FIRES] == ["quiet"] * 3


def test_a_worker_that_has_only_just_started_is_not_judged():
    """Its port opens with the end of its start."""
    stack = not_served()
    stack.lives["email_worker"], stack.logs["email_worker"] = [], []
    stack.life("email_worker", TAKEN_S - 5, None, lines=["email_worker@x ready."])
    findings, outcome = judged("MON001", stack)
    assert (findings, outcome.outcome) == ((), "unknown") and "not finished its start" in outcome.why


def test_an_endpoint_that_hangs_is_no_wrong_port():
    """A frozen worker takes the connection and is silent: that is another rule's matter."""
    stack = serving()
    entries = [metrics("email_worker", 9091, code=None, error_kind="timeout"), *flower()]
    stack.section("http", "partial", "email_worker: no answer within 3 s", {"endpoints": entries})
    assert judged("MON001", stack)[0] == () and judged("MON001", stack)[1].outcome == "unknown"


# --- MON002: Flower -----------------------------------------------------------------------------------------


def test_a_flower_whose_port_is_closed_is_named_and_its_own_words_make_it_sure():
    """It had said that it listens there."""
    (finding,), _ = judged("MON002", silent_flower())
    assert (finding.name, finding.object, finding.certainty) == ("flower-down", "5555", "confirmed")
    assert finding.remedy.commands == ("docker restart ai_backend_flower",)
    assert diagnose(silent_flower().evidence()).verdict == "warning"


@pytest.mark.parametrize("code", [200, 302, 401, 403, 404])
def test_any_answer_but_an_error_of_the_server_is_life(code):
    """A Flower behind a login is well."""
    stack = Incident().section("http", "ok", "", {"endpoints": flower(code)})
    assert judged("MON002", stack)[1].outcome == "quiet"


def test_an_error_of_the_server_is_told_as_such():
    """It answers, and cannot do its work."""
    stack = Incident().section("http", "ok", "", {"endpoints": flower(503)})
    (finding,), _ = judged("MON002", stack)
    assert finding.name == "flower-failing" and "503" in finding.title


def test_a_flower_for_its_own_container_only_is_unreachable_where_the_stack_publishes_it():
    """Publishing it at 127.0.0.1 of the machine is something else, and well."""
    stack = silent_flower().command("flower", f"celery -A {APP} flower --port=5555 --address=127.0.0.1")
    assert judged("MON002", stack)[0] == ()
    stack.item("flower", ports=[{"container": 5555, "proto": "tcp", "host": "0.0.0.0:5555"}])
    (finding,), _ = judged("MON002", stack)
    assert finding.name == "flower-unreachable" and "127.0.0.1" in finding.title
    well = Incident().section("http", "ok", "", {"endpoints": flower()})
    well.item("flower", ports=[{"container": 5555, "proto": "tcp", "host": "127.0.0.1:5555"}])
    assert judged("MON002", well)[1].outcome == "quiet"


def test_a_flower_on_a_unix_socket_or_with_another_prefix_is_quiet():
    """It has no port, or answers under its prefix."""
    stack = silent_flower().command("flower", f"celery -A {APP} flower --unix_socket=/run/flower.sock")
    assert judged("MON002", stack)[0] == ()
    url = "https://172.18.0.14:5555/ops/healthcheck"
    entries = [endpoint("flower", "flower", 5555, "/ops/healthcheck", url=url)]
    stack = Incident().section("http", "ok", "", {"endpoints": entries})
    assert judged("MON002", stack)[1].outcome == "quiet"


def test_a_flower_that_says_another_port_than_was_asked_is_unknown():
    """A configuration file may name its port; nobody asked there."""
    stack = silent_flower()
    for line in stack.logs["flower"]:
        line[2] = line[2].replace(":5555", ":8888")
    findings, outcome = judged("MON002", stack)
    assert (findings, outcome.outcome) == ((), "unknown") and "8888" in outcome.why


def test_a_flower_that_was_not_asked_is_unknown():
    """Nobody looked, so nobody knows."""
    evidence = without_section(Incident().evidence(), "http")
    assert [judged(code, evidence)[1].outcome for code in ("MON001", "MON002")] == ["unknown"] * 2


# --- MON003: one port, several processes --------------------------------------------------------------------


def test_pool_processes_that_want_one_port_are_counted_as_recorded():
    """Two of three were refused; the port is the one that answers with metrics."""
    (finding,), _ = judged("MON003", in_each_child())
    assert (finding.services, finding.object) == (("email_worker",), "9091")
    assert "2 of its processes" in finding.title and finding.remedy.kind == "manual"
    assert all("Address already in use" in proof.text and proof.line for proof in finding.proof)


def test_an_address_in_use_that_a_task_logs_is_no_matter_of_metrics():
    """The same words in an application's own message, or of another server's port."""
    words = "Signal handler <function serve at 0x7f37d37462a0> raised: OSError(98, 'Address already in use')"
    stack = serving().say(
        "email_worker",
        f"[2026-11-24 00:20:06,833: ERROR/ForkPoolWorker-2] shared.tasks.note[0a1b]: {words}",
        '  File "/usr/local/lib/python3.11/dist-packages/prometheus_client/exposition.py", line 260',
        f"[2026-11-24 00:20:07,833: ERROR/ForkPoolWorker-2] {words}",
        '  File "/app/debug_server.py", line 12, in serve',
    )
    assert judged("MON003", stack)[1].outcome == "quiet"


def test_an_endpoint_in_each_child_of_a_former_life_is_over():
    """Only what the running process says counts."""
    stack = in_each_child()
    stack.lives["email_worker"][0].update(end=500.0, exit=0)
    stack.life("email_worker", 600.0, None, lines=["email_worker@x ready."])
    assert judged("MON003", stack)[0] == ()
