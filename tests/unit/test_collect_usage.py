"""What a container uses: docker's own figures, from two samples, bounded whatever the engine does."""

from __future__ import annotations

import copy
import time

import pytest
from real_servers import docker as command
from real_servers import started
from replayed_engine import EMAIL, FLOWER, POSTGRES, REDIS, engine, requests_made

from celery_triage import shapes
from celery_triage.collect import usage
from celery_triage.collect.docker import ONE_SAMPLE, Engine, Forbidden
from celery_triage.collect.probe import Emit, run_sources
from celery_triage.redact import Redactor

# One worker of the lab, Engine 20.10 on cgroup v1, a limit of 512 MiB and half a processor; without the
# parts that nobody reads.
V1 = {
    "read": "2026-11-23T21:50:13.333000845Z", "preread": "0001-01-01T00:00:00Z",
    "pids_stats": {"current": 8},
    "cpu_stats": {
        "cpu_usage": {"total_usage": 61920184319, "percpu_usage": [28877912171, 33042272148]},
        "system_cpu_usage": 10610930000000, "online_cpus": 2,
        "throttling_data": {"periods": 12405, "throttled_periods": 450, "throttled_time": 14265246829}},
    "precpu_stats": {
        "cpu_usage": {"total_usage": 0}, "throttling_data": {"periods": 0, "throttled_periods": 0,
                                                             "throttled_time": 0}},
    "memory_stats": {
        "usage": 214540288, "max_usage": 260866048, "limit": 536870912,
        "stats": {"cache": 2011136, "inactive_file": 32768, "rss": 208031744, "total_inactive_file": 32768}},
}
# The same without one-shot: the sample of a second before is in it.
PRIMED = {
    **V1, "read": "2026-11-23T21:50:16.351719879Z", "preread": "2026-11-23T21:50:15.346418533Z",
    "precpu_stats": {
        "cpu_usage": {"total_usage": 61910184319}, "system_cpu_usage": 10608930000000, "online_cpus": 2,
        "throttling_data": {"periods": 12395, "throttled_periods": 448, "throttled_time": 14065246829}},
}
# What Engine 20.10 answers at once for a container that does not run.
STOPPED = {
    "read": "0001-01-01T00:00:00Z", "preread": "0001-01-01T00:00:00Z", "pids_stats": {},
    "cpu_stats": {"cpu_usage": {"total_usage": 0}, "throttling_data": {"periods": 0, "throttled_periods": 0,
                                                                       "throttled_time": 0}},
    "precpu_stats": {}, "memory_stats": {}}
# As the Engine API documents cgroup v2: no maximum, no fail count, no figure for each processor.
V2 = {
    **V1, "pids_stats": {"current": 8, "limit": 18446744073709551615},
    "memory_stats": {"usage": 214540288, "limit": 536870912,
                     "stats": {"anon": 208031744, "file": 2011136, "inactive_file": 1540288}}}
ENTRY = {"label": "email_worker", "limits": {"memory": 536870912, "cpus": 0.5}}


def later(sample, seconds=1.0, used=0.05, periods=10, held=2):
    """The same container so much later, having used so many processor seconds."""
    after = copy.deepcopy(sample)
    after["read"] = "2026-11-23T21:50:14.333000845Z"
    after["cpu_stats"]["cpu_usage"]["total_usage"] += int(used * 1e9)
    after["cpu_stats"]["system_cpu_usage"] += int(2 * seconds * 1e9)
    after["cpu_stats"]["throttling_data"]["periods"] += periods
    after["cpu_stats"]["throttling_data"]["throttled_periods"] += held
    return after


def test_memory_as_docker_stats_shows_it():
    """``docker stats`` showed 204.6MiB / 512MiB, 39.96% for this sample: the cache that can be given back is
    not counted."""
    data = usage.usage(ENTRY, V1)
    assert round(data["memory"] / 2**20, 1) == 204.6 and data["cache"] == 32768
    assert (data["memory_limit"], data["memory_percent"], data["pids"]) == (536870912, 40.0, 8)
    assert (data["failed"], data["pids_limit"]) == (0, None)


def test_memory_of_the_second_cgroup_version():
    """There the inactive file cache has another name, and the fail count does not exist."""
    data = usage.usage(ENTRY, V2)
    assert data["memory"] == 214540288 - 1540288
    assert (data["failed"], data["pids_limit"]) == (None, None)


def test_a_cache_larger_than_all_of_it():
    """Figures that were read at different moments never make a negative use."""
    odd = copy.deepcopy(V1)
    odd["memory_stats"]["stats"]["total_inactive_file"] = 2**40
    assert usage.usage(ENTRY, odd)["memory"] == 214540288


def test_no_limit_is_no_percentage():
    """Without a memory limit the engine names the machine's memory: that is no limit of this container."""
    data = usage.usage({"label": "redis", "limits": {"memory": 0, "cpus": 0.0}}, V1)
    assert (data["memory_limit"], data["memory_percent"], data["cpus_limit"]) == (0, None, 0)


def test_the_processor_from_two_samples():
    """A twentieth of a second used in one second, on two processors, is five percent of one."""
    data = usage.usage(ENTRY, V1, later(V1))
    assert data["cpu_percent"] == 5.0
    assert data["throttled"] == {"periods": 12415, "throttled_periods": 452, "time_s": 14.265,
                                 "recent_periods": 10, "recent_throttled_periods": 2}


def test_the_processor_from_one_primed_sample():
    """An engine that does not know one-shot sends the sample before along."""
    data = usage.usage(ENTRY, PRIMED)
    assert data["cpu_percent"] == 1.0 and data["throttled"]["recent_throttled_periods"] == 2


@pytest.mark.parametrize("second", [
    None, later(V1, seconds=0.1), later(V1, used=-5), later(V1, seconds=-1), {**later(V1), "cpu_stats": {}}])
def test_no_figure_rather_than_a_wrong_one(second):
    """One sample, two that are too close, counters that went back (another life): no part of a processor."""
    assert usage.usage(ENTRY, V1, second)["cpu_percent"] is None


@pytest.mark.parametrize("sample", [{}, STOPPED])
def test_a_container_that_does_not_run_uses_nothing(sample):
    """It has no figures: none of them is nought."""
    data = usage.usage(ENTRY, sample)
    assert data["running"] is False
    assert {data[key] for key in ("memory", "cpu_percent", "pids", "throttled", "memory_percent")} == {None}
    assert (data["memory_limit"], data["cpus_limit"]) == (536870912, 0.5)


@pytest.mark.parametrize("sample", [
    {"read": 5}, {**V1, "memory_stats": None}, {**V1, "cpu_stats": [1]},
    {**V1, "pids_stats": {"current": "x"}},
    {**V1, "memory_stats": {"usage": True, "stats": "no"}}])
def test_samples_of_another_shape(sample):
    """Whatever answers there, the data has the shape of a section."""
    assert shapes.wrong("usage/x", usage.usage(ENTRY, sample, sample)) == ""


# Against a replayed engine

def items(**states):
    """Four containers; by default all run."""
    ids = {"email_worker": EMAIL, "flower": FLOWER, "postgres": POSTGRES, "redis": REDIS}
    return [{"label": label, "id": identity, "limits": {"memory": 0, "cpus": 0.0},
             "samples": [{"status": states.get(label, "running")}]} for label, identity in ids.items()]


def key(identity):
    return f"GET /containers/{identity}/stats?one-shot=true&stream=false"


def answers(**samples):
    """One answer for each container; the worker's sample where nothing else is said."""
    named = {"email_worker": EMAIL, "flower": FLOWER, "postgres": POSTGRES, "redis": REDIS}
    return {key(identity): {"status": 200, "json": samples.get(label, PRIMED)}
            for label, identity in named.items()}


def collected(folder, told, asked=None, deadline_s=None, **how):
    """The sections of one run in its own child, the calls, and the seconds."""
    with engine(folder, told, **how) as address:
        environment = {"DOCKER_HOST": address}
        source = usage.source(asked or items(), Redactor(), lambda emit: Engine(
            emit, api="1.41", environment=environment, call_s=2.0))
        begin = time.monotonic()
        probed = run_sources([source], mask=str, limit_s=deadline_s or 14)
        return probed.sections, probed.calls, time.monotonic() - begin


def test_each_container_once_and_nothing_else(tmp_path):
    """Engines that send both samples at once are asked once; every request is listed."""
    sections, calls, seconds = collected(tmp_path, answers())
    assert {name: section.status for name, section in sections.items()} == dict.fromkeys(
        ("usage/email_worker", "usage/flower", "usage/postgres", "usage/redis"), "ok")
    assert sorted(requests_made(tmp_path)) == sorted(map(key, (EMAIL, FLOWER, POSTGRES, REDIS)))
    assert len(calls) == 4 and seconds < 2


def test_a_second_sample_a_second_later(tmp_path):
    """Where the first brought no past, there is a second request for each, and the first one stands until
    then."""
    sections, calls, seconds = collected(tmp_path, answers(email_worker=V1))
    assert len(calls) == 5 and usage.BETWEEN_S <= seconds < 4
    assert sections["usage/email_worker"].status == "ok"
    assert sections["usage/email_worker"].data["cpu_percent"] is None  # both replayed samples are the same


def test_containers_that_do_not_run_are_not_asked(tmp_path):
    """A container in its restart loop has a section that says so."""
    sections, calls, _ = collected(tmp_path, answers(), items(email_worker="restarting", flower="exited"))
    assert len(calls) == 2
    section = sections["usage/email_worker"]
    assert (section.status, section.data["running"], section.data["memory"]) == ("ok", False, None)


def test_one_that_stopped_meanwhile(tmp_path):
    """The engine answers for it with noughts: that is not its use."""
    sections, _, _ = collected(tmp_path, answers(flower=STOPPED))
    assert sections["usage/flower"].status == "ok" and sections["usage/flower"].data["running"] is False


def test_one_that_vanished_and_one_that_the_engine_refuses(tmp_path):
    """Each says what became of it, the others are as they are."""
    told = {**answers(), key(FLOWER): {"status": 404, "json": {"message": "No such container"}},
            key(REDIS): {"status": 500, "json": {"message": "cgroups: password=hunter2hunter2 deleted"}}}
    sections, _, _ = collected(tmp_path, told)
    assert sections["usage/flower"].status == "vanished"
    assert sections["usage/redis"].status == "no_reply" and "cgroups" in sections["usage/redis"].why
    assert "hunter2hunter2" not in sections["usage/redis"].why
    assert sections["usage/postgres"].status == "ok"


def test_an_engine_that_hangs_on_one(tmp_path):
    """One answer that never comes costs its own section and nobody else's."""
    sections, _, seconds = collected(tmp_path, answers(), hang=EMAIL)
    assert sections["usage/email_worker"].status == "timeout" and sections["usage/redis"].status == "ok"
    assert seconds < 8


def test_an_engine_that_hangs_on_all(tmp_path):
    """The deadline of the run holds, and every section says it."""
    sections, _, seconds = collected(tmp_path, answers(), deadline_s=1.0, hang="stats")
    assert {section.status for section in sections.values()} == {"timeout"} and seconds < 3


def test_an_answer_cut_in_the_middle(tmp_path):
    """Half a sample is none."""
    sections, _, _ = collected(tmp_path, answers(), cut={FLOWER: 300})
    assert sections["usage/flower"].status == "no_reply" and sections["usage/flower"].data is None


def test_the_first_sample_stands_when_the_second_is_missing():
    """A container that stops between the two keeps its memory, and the section is partial."""
    first = usage._section({**ENTRY}, V1, None, Redactor(), "the second sample is missing")
    assert first.status == "partial" and first.data["memory"]
    stopped = usage._section({**ENTRY}, V1, STOPPED, Redactor())
    assert stopped.status == "partial" and "stopped" in stopped.why and stopped.data["memory"]


@pytest.mark.parametrize("query", [{}, {"stream": "true", "one-shot": "true"}, {"stream": "false"},
                                   {**ONE_SAMPLE, "all": "1"}])
def test_a_stream_of_samples_cannot_be_asked_for(tmp_path, query):
    """``/stats`` without these words would never end: the list of what may be asked refuses it."""
    with engine(tmp_path, answers()) as address:
        one = Engine(Emit([].append), api="1.41", environment={"DOCKER_HOST": address})
        with pytest.raises(Forbidden):
            one.ask(f"/containers/{EMAIL}/stats", **query)
        assert requests_made(tmp_path) == []
        assert one.ask(f"/containers/{EMAIL}/stats", **ONE_SAMPLE)["pids_stats"] == {"current": 8}


# With a real engine

@pytest.mark.docker
def test_a_busy_container_of_a_real_engine():
    """A loop under a limit of a fifth of a processor uses that and is held back; its memory is what
    ``docker stats`` says; two samples take about two seconds on Engine 20.10."""
    with started("redis", "sh", "-c", "while :; do :; done") as one:
        command("update", "--cpus", "0.2", "--memory", "64m", "--memory-swap", "64m", one.name)
        entry = {**one.item("busy"), "id": one.name, "limits": {"memory": 64 * 2**20, "cpus": 0.2}}
        begin = time.monotonic()
        probed = run_sources([usage.source([entry], Redactor(), lambda emit: Engine(emit, api="1.41"))],
                             mask=str)
        seconds = time.monotonic() - begin
        shown = command("stats", "--no-stream", "--format", "{{.MemUsage}}", one.name)
    section = probed.sections["usage/busy"]
    data = section.data
    assert section.status == "ok" and seconds < 4
    assert 5 < data["cpu_percent"] < 35 and data["throttled"]["recent_throttled_periods"] > 0
    assert data["memory_limit"] == 64 * 2**20 and 0 < data["memory_percent"] < 50 and data["pids"] == 1
    amount = shown.partition(" / ")[0].strip()
    factor = {"KiB": 2**10, "MiB": 2**20}[amount[-3:]]
    assert abs(data["memory"] - float(amount[:-3]) * factor) < 2**20
