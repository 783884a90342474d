"""What runbook 90 shows: who answers on which port, how fast, with how many metric families."""

from __future__ import annotations

from evidence import Incident, without_section
from test_checks_monitoring import flower, guess, metrics, serving, wrong_port

from celery_triage.notebook import Look
from celery_triage.show import monitoring


def look(stack):
    return Look(stack.evidence())


def test_the_plot_tells_who_answered_and_who_did_not():
    """In words too, with the port and the page."""
    said = repr(monitoring.plot(look(wrong_port())))
    assert "email_worker :9191/metrics: 200 after 4 ms, 4 metric families." in said
    assert "email_worker :9091/metrics: no answer (refused)." in said


def test_the_mark_of_a_slow_answer_follows_the_parameter():
    """Slow is the reader's choice, in milliseconds."""
    slow = look(serving(entries=[metrics("email_worker", 9091, ms=700.0)]))
    for shown in (monitoring.plot, monitoring.answered):
        html = [shown(slow, "email_worker", limit)._repr_html_() for limit in (500.0, 800.0)]
        assert html[0] != html[1]


def test_what_came_is_told_by_its_meaning():
    """A login is life, a page without metrics is none, a guess is called one."""
    entries = [
        metrics("email_worker", 9091, code=401),
        metrics("payment_worker", 9092, families=None),
        guess("celery_beat", 8000),
        *flower(503),
    ]
    said = repr(monitoring.answered(look(serving(entries=entries))))
    assert "asks for a login" in said and "no metrics in its answer" in said
    assert "exposed port 8000 (a guess)" in said and "an error" in said
    assert "4 metric families" in said and "env PROMETHEUS_PORT" in said


def test_one_service_can_be_shown_alone():
    """The parameter narrows the plot and both tables."""
    one = look(serving())
    for shown in (monitoring.plot, monitoring.answered, monitoring.ways):
        said = repr(shown(one, "email_worker"))
        assert "email_worker" in said and "payment_worker" not in said


def test_where_a_port_is_published_is_told_for_its_own_port_only():
    """And nowhere is said, too."""
    said = repr(monitoring.ways(look(serving(published=9091))))
    assert "127.0.0.1:9091" in said and "nowhere" in said


def test_nothing_to_ask_and_nobody_asked_are_told_apart():
    """No metrics port is no fault; a section that could not be had is said with its reason."""
    none = look(Incident().section("http", "ok", "", {"endpoints": []}))
    blind = Look(without_section(Incident().evidence(), "http"))
    for shown in (monitoring.plot, monitoring.answered, monitoring.ways):
        assert "names a metrics port" in repr(shown(none))
        assert "Nobody was asked: the deadline passed." in repr(shown(blind))


def test_what_could_not_be_asked_stands_below_the_table():
    """A container that does not run leaves its endpoint open."""
    entries = [metrics("email_worker", 9091, code=None, error_kind="not_running")]
    stack = Incident().section("http", "partial", "email_worker is not running", {"endpoints": entries})
    assert "Not all could be asked: email_worker is not running." in repr(monitoring.answered(look(stack)))
