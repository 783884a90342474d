"""What runbook 80 shows: how long checks take, whom they ask, how full the limits are."""

from __future__ import annotations

from evidence import APP, Incident, hostname, without_section

from celery_triage.notebook import Look
from celery_triage.show import health

PING = f"celery -A {APP} inspect ping -d"


def look(stack):
    return Look(stack.evidence())


def checked():
    stack = Incident().health("email_worker", f"{PING} email_worker@$HOSTNAME", "healthy",
                              [(0, 1.2, "pong"), (-1, 10.0, "Health check exceeded timeout (10s)")])
    return stack.health("celery_beat", f"{PING} beat@$HOSTNAME", "starting", [])


def test_the_times_of_probes_are_told_against_the_time_out():
    """In words too; a check without a probe is not left out."""
    said = repr(health.plot(look(checked())))
    assert "email_worker: 1.2 to 10.0 s of 10 s." in said and "celery_beat: no probe yet." in said


def test_a_check_says_whom_it_asks_and_what_it_costs():
    """Its own worker or not; seconds of each interval."""
    said = repr(health.checks(look(checked())))
    assert f"email_worker@{hostname('email_worker')} (its own worker)" in said
    assert f"beat@{hostname('celery_beat')}  " in said
    assert "5.6 s every 36 s" in said and "1 of 3" in said


def test_one_service_can_be_shown_alone():
    """The parameter narrows every table and plot."""
    one = look(checked())
    for shown in (health.plot, health.checks, health.memory, health.limits):
        said = repr(shown(one, "email_worker"))
        assert "email_worker" in said and "celery_beat" not in said


def test_a_stack_without_health_checks_says_so():
    """The incident had none."""
    assert repr(health.plot(look(Incident()))) == "No service here has a health check."


def test_memory_is_told_as_a_part_of_its_limit():
    """And where nobody measured, that is said, with the reason."""
    stack = Incident()
    data = {"memory": 460 * 2**20, "memory_limit": 512 * 2**20}
    assert "email_worker: 460 MiB of 512 MiB, 90 %." in repr(
        health.memory(look(stack.section("usage/email_worker", "ok", "", data)))
    )
    blind = Look(without_section(Incident().evidence(), "usage/*"))
    assert "The use of memory is not known: the deadline passed." in repr(health.memory(blind))


def test_the_mark_of_a_nearly_full_limit_follows_the_parameter():
    """Nearly full is the reader's choice."""
    stack = Incident().section("usage/flower", "ok", "", {"memory": 2**20, "memory_limit": 2 * 2**20})
    html = [health.memory(look(stack), "flower", percent)._repr_html_() for percent in (85.0, 40.0)]
    assert html[0] != html[1]


def test_limits_show_policy_and_networks_of_every_service():
    """Neighbours too."""
    said = repr(health.limits(look(Incident())))
    assert "unless-stopped" in said and "database-net, monitoring-net" in said and "postgres" in said
