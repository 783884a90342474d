"""The target is found without being told, with those it talks to, and its state is seen twice."""

from __future__ import annotations

import copy
import time

import pytest
from replayed_engine import EMAIL, FLOWER, PASSWORD, POSTGRES, RECORDED, REDIS, engine

from celery_triage.collect import containers, target
from celery_triage.collect import engine as asked_by
from celery_triage.collect.docker import Engine
from celery_triage.collect.probe import run_sources
from celery_triage.model import dumps
from celery_triage.redact import Redactor
from celery_triage.stack import Stack

LISTED = RECORDED["GET /containers/json?all=1"]["json"]


def listed(
    name: str, project: str | None = None, service: str | None = None, command: str = "sleep", **more
) -> dict:
    """An entry of the engine's list."""
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": service}
    return {
        "Id": (name.encode().hex() + "0" * 64)[:64],
        "Names": [f"/{name}"],
        "Command": command,
        "Labels": {key: value for key, value in labels.items() if value},
        "NetworkSettings": {"Networks": {"net": {}}},
        **more,
    }


def inspected(id: str, **changes) -> dict:
    """A recorded container; ``Config__Env=...`` replaces a part of a part."""
    told = copy.deepcopy(RECORDED[f"GET /containers/{id}/json"]["json"])
    for path, value in changes.items():
        place = told
        *parts, last = path.split("__")
        for part in parts:
            place = place[part]
        place[last] = value
    return told


def discovered(tmp_path, answers: dict | None = None, options: dict | None = None, redactor=None, **how):
    with engine(tmp_path, answers, **how) as address:
        source = asked_by.discover(
            options or {},
            redactor or Redactor(),
            lambda emit: Engine(emit, environment={"DOCKER_HOST": address}),
        )
        return run_sources([source], mask=str)


def found_in(probed) -> asked_by.Found:
    return asked_by.Found(**probed.values["engine"]["found"])


def test_the_incidents_stack_is_found_without_being_told(tmp_path):
    """One project runs Celery; database and broker of the other project are its neighbours by host name."""
    probed = discovered(tmp_path)
    data = probed.sections["containers"].data
    assert probed.sections["engine"].data["version"].startswith("20.10")
    assert data["project"] == "ai_backend"
    assert [(item["label"], item["member"]) for item in data["items"]] == [
        ("email_worker", True),
        ("flower", True),
        ("postgres", False),
        ("redis", False),
    ]
    worker = data["items"][0]
    assert worker["cmd"][-4:] == ["--queue=email_processing", "--concurrency=4", "-n", "email_worker@%h"]
    assert worker["limits"] == {"memory": 512 * 2**20, "cpus": 0.5}
    assert worker["restart_policy"] == {"name": "unless-stopped", "max": 0}
    assert worker["samples"][0]["exit_code"] == 2 and worker["samples"][0]["restart_count"] > 10
    assert set(worker["networks"]["database-net"]["aliases"]) == {
        "ai_backend_email_worker",
        "email_worker",
        EMAIL,
    }
    assert data["config_files"] == ["/srv/ai_backend/docker-compose.yml"]
    networks = {item["name"]: item["members"] for item in probed.sections["networks"].data["items"]}
    assert "ai_infra_postgres" in networks["database-net"]


def test_no_secret_of_the_stack_is_in_any_section(tmp_path):
    """The password that a real engine showed in the environment is a token, host and database stay."""
    redactor = Redactor()
    probed = discovered(tmp_path, redactor=redactor)
    assert PASSWORD in dumps(probed.values)
    assert PASSWORD not in dumps(probed.sections) + "".join(probed.calls)
    url = probed.sections["containers"].data["items"][0]["env"]["CELERY_RESULT_BACKEND"]
    assert url == f"db+postgresql://postgres:{redactor.token(PASSWORD)}@postgres:5432/ai_backend"


def test_a_second_sample_completes_the_section(tmp_path):
    """Between two lives an engine resets its marks: two looks, more than a second apart, see both."""
    probed = discovered(tmp_path)
    assert probed.sections["containers"].status == "partial"
    later = {
        f"GET /containers/{EMAIL}/json": {
            "status": 200,
            "json": inspected(
                EMAIL,
                State__OOMKilled=True,
                NetworkSettings__Networks={"database-net": {"IPAddress": "172.18.0.9"}},
            ),
        }
    }
    found = found_in(probed)
    (tmp_path / "later").mkdir()
    with engine(tmp_path / "later", later) as address:
        source = asked_by.second_sample(
            found, Redactor(), lambda emit: Engine(emit, api="1.41", environment={"DOCKER_HOST": address})
        )
        told = run_sources([source], mask=str).sections["containers"]
    worker = told.data["items"][0]
    assert told.status == "ok" and len(worker["samples"]) == 2
    first, second = (sample["t"] for sample in worker["samples"])
    assert first < second and [sample["oom_killed"] for sample in worker["samples"]] == [False, True]
    assert worker["networks"]["database-net"]["ip"] == "172.18.0.9"
    assert time.time() - found.at > asked_by.BETWEEN_S


def test_a_container_that_vanishes_between_the_looks_is_kept(tmp_path):
    """What was seen of it stays, and the section says so."""
    found = found_in(discovered(tmp_path))
    (tmp_path / "later").mkdir()
    with engine(tmp_path / "later", {f"GET /containers/{FLOWER}/json": None}) as address:
        source = asked_by.second_sample(
            found, Redactor(), lambda emit: Engine(emit, api="1.41", environment={"DOCKER_HOST": address})
        )
        told = run_sources([source], mask=str).sections["containers"]
    flower = told.data["items"][1]
    assert told.status == "partial" and "flower" in told.why
    assert flower["vanished"] is True and flower["cmd"] and len(flower["samples"]) == 1


def test_a_container_that_vanishes_before_the_first_look_is_kept(tmp_path):
    """Of it there is only what the list had said."""
    told = discovered(tmp_path, {f"GET /containers/{FLOWER}/json": None}).sections["containers"]
    flower = next(item for item in told.data["items"] if item["label"] == "flower")
    assert flower["vanished"] is True and flower["samples"] == []


def test_events_of_the_target_oldest_first(tmp_path):
    """Deaths with their exit codes, as a real engine told them, and nothing of other stacks."""
    found = found_in(discovered(tmp_path))
    (tmp_path / "later").mkdir()
    with engine(tmp_path / "later") as address:
        source = asked_by.events(
            found,
            Redactor(),
            None,
            lambda emit: Engine(emit, api="1.41", environment={"DOCKER_HOST": address}),
        )
        data = run_sources([source], mask=str).sections["events"].data
    deaths = [item for item in data["items"] if item["action"] == "die"]
    assert deaths and {item["exit_code"] for item in deaths} == {2}
    assert {item["label"] for item in data["items"]} <= {"email_worker", "flower", "postgres", "redis"}
    assert [item["t"] for item in data["items"]] == sorted(item["t"] for item in data["items"])
    assert data["full"] is False and len(data["items"][0]["t"]) == len("2026-11-23T21:09:03.119043110Z")


def event(n: int, action: str, **attributes) -> dict:
    return {
        "Type": "container",
        "Action": action,
        "timeNano": (1795468143 + n) * 10**9 + 5,
        "Actor": {"ID": EMAIL + "0" * 52, "Attributes": attributes},
    }


def test_a_full_ring_is_told(tmp_path):
    """Of 256 events the oldest may have been forgotten: the check that counts lives has to know."""
    found = found_in(discovered(tmp_path))
    many = [event(n, "start") for n in range(300)]
    (tmp_path / "later").mkdir()
    with engine(tmp_path / "later", {"GET /events": {"status": 200, "json": many}}) as address:
        source = asked_by.events(
            found,
            Redactor(),
            "2026-11-23T21:10:00Z",
            lambda emit: Engine(emit, api="1.41", environment={"DOCKER_HOST": address}),
        )
        data = run_sources([source], mask=str).sections["events"].data
    assert data["full"] is True
    assert data["items"][0]["t"] >= "2026-11-23T21:10:00Z"


@pytest.mark.parametrize(
    "action, attributes, expected",
    [
        ("die", {"exitCode": "137", "signal": "9"}, ("die", 137, "9", None)),
        ("kill", {"signal": "15"}, ("kill", None, "15", None)),
        ("oom", {}, ("oom", None, None, None)),
        ("health_status: unhealthy", {}, ("health_status", None, None, "unhealthy")),
        ("exec_start: sh", {}, None),
        ("die", {"exitCode": "x"}, ("die", None, None, None)),
    ],
)
def test_each_kind_of_event_has_its_fields(action, attributes, expected):
    """Exit code, signal and health stand where they belong; other kinds are left out."""
    read = asked_by._event(dumps(event(0, action, **attributes)).encode())
    shown = asked_by._shown(read, {"name": "n", "label": "l"})
    assert (shown and tuple(shown[key] for key in ("action", "exit_code", "signal", "health"))) == expected


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"null", b'{"Type": "container"}', b'{"Type":"x","Action":"y","timeNano":"z"}']
)
def test_what_is_no_event_is_passed_over(line):
    """A broken line costs itself only."""
    assert asked_by._event(line) is None


def test_an_engine_whose_clock_is_ahead(tmp_path):
    """Times are told by the engine's clock, which its other times are of; a small difference is none."""
    info = RECORDED["GET /info"]["json"]
    probed = discovered(
        tmp_path, {"GET /info": {"status": 200, "json": {**info, "SystemTime": "2031-01-01T00:00:00.1Z"}}}
    )
    assert probed.sections["engine"].data["clock_skew_s"] > 10**6
    assert probed.sections["containers"].data["items"][0]["samples"][0]["t"].startswith("20")
    assert asked_by._skew({"SystemTime": "no time"}) == 0.0


def test_an_engine_that_hangs_in_the_middle_keeps_what_it_said(tmp_path, monkeypatch):
    """The section that was whole stays; the others are timeout, with the call that did not return."""
    monkeypatch.setattr("celery_triage.collect.docker.CALL_S", 1.0)
    with engine(tmp_path, hang=f"GET /containers/{FLOWER}") as address:
        source = asked_by.discover(
            {}, Redactor(), lambda emit: Engine(emit, environment={"DOCKER_HOST": address}, call_s=1.0)
        )
        probed = run_sources([source], mask=str)
    assert probed.sections["engine"].status == "ok"
    assert probed.sections["containers"].status == "timeout"


# Which containers are meant

ONE = [listed("w1", "shop", "worker", "celery -A shop worker"), listed("db", "infra", "db", "postgres")]


def test_the_one_project_that_runs_celery_is_meant():
    """Without any option, whatever else runs on this engine."""
    project, members = target.choose(ONE, None, (), ())
    assert (project, [target.name_of(entry) for entry in members]) == ("shop", ["w1"])


@pytest.mark.parametrize(
    "command",
    [
        "celery -A x worker",
        "/venv/bin/celery -A x worker",
        "sh -c 'exec celery -A x worker'",
        "python -m celery -A x beat",
        "tini -- celery worker",
    ],
)
def test_celery_is_seen_in_every_kind_of_command(command):
    """Behind paths, shells and wrappers."""
    assert target.choose([listed("a", "p", "s", command)], None, (), ())[0] == "p"


@pytest.mark.parametrize("command", ["redis-server", "python celeryx.py", "mycelery", "/app/entrypoint.sh"])
def test_other_programs_are_not_taken_for_celery(command):
    """Nor is a script whose name says nothing: its environment decides."""
    entries = [listed("a", "p", "s", command)]
    with pytest.raises(target.NoTarget, match="no container of this engine runs Celery"):
        target.choose(entries, None, (), ())
    assert target.choose(entries, None, (), (), [entries[0]["Id"]])[0] == "p"


def test_several_projects_are_listed_in_the_error():
    """The user chooses; nothing is guessed."""
    with pytest.raises(target.NoTarget, match="blog, shop.*-p"):
        target.choose([*ONE, listed("w2", "blog", "w", "celery worker")], None, (), ())


def test_a_project_that_is_not_there_is_told_with_those_that_are():
    """A typing error is seen at once."""
    with pytest.raises(target.NoTarget, match="'shopp'.*infra, shop"):
        target.choose(ONE, "shopp", (), ())


def test_without_compose_labels_the_error_says_how_to_choose():
    """Containers started by hand have to be named."""
    with pytest.raises(target.NoTarget, match="w1.*--container"):
        target.choose([listed("w1", command="celery worker")], None, (), ())


def test_containers_and_networks_can_be_named():
    """By name, by the beginning of an id, by the network that they share."""
    entries = [listed("w1"), listed("w2"), listed("other", NetworkSettings={"Networks": {"else": {}}})]
    assert [target.name_of(entry) for entry in target.choose(entries, None, ("w1",), ())[1]] == ["w1"]
    assert [
        target.name_of(entry) for entry in target.choose(entries, None, (entries[1]["Id"][:8],), ())[1]
    ] == ["w2"]
    assert [target.name_of(entry) for entry in target.choose(entries, None, ("other",), ("net",))[1]] == [
        "other",
        "w1",
        "w2",
    ]
    for names, networks in ((("nope",), ()), ((), ("nope",)), (("w",), ())):
        with pytest.raises(target.NoTarget, match="nope|'w'"):
            target.choose(entries, None, names, networks)


def test_one_off_containers_are_no_services():
    """What `docker compose run` leaves behind would be a worker that died."""
    left = listed("shop_worker_run_1", "shop", "worker", "celery -A shop migrate")
    left["Labels"]["com.docker.compose.oneoff"] = "True"
    assert len(target.choose([*ONE, left], None, (), ())[1]) == 1


def test_labels_are_services_numbered_where_there_are_several():
    """And never a path, whatever a hostile label says."""
    entries = [
        listed("a", "p", "worker"),
        listed("b", "p", "worker"),
        listed("c", "p", "beat"),
        listed("d"),
        listed("e", "p", "../../etc/passwd"),
        listed("f", "p", ".."),
        listed("g", "p", "a/b\x1b[31m"),
    ]
    for number, entry in enumerate(entries):
        entry["Labels"]["com.docker.compose.container-number"] = str(number + 1)
    assert list(target.member_labels(entries).values()) == [
        "worker-1",
        "worker-2",
        "beat",
        "d",
        "_.._.._etc_passwd".replace("_..", "_", 1),
        "_",
        "a_b__31m",
    ]


def test_a_neighbour_keeps_its_service_name_only_if_it_is_free():
    """Two services called postgres in two projects stay two."""
    entry = listed("infra_postgres", "infra", "postgres")
    assert target.neighbour_label(entry, set()) == "postgres"
    assert target.neighbour_label(entry, {"postgres"}) == "infra_postgres"
    assert target.neighbour_label(entry, {"postgres", "infra_postgres"}) == "infra_postgres-2"


# Neighbours


def stack_of(*items: dict) -> Stack:
    return Stack({"items": list(items)})


def plain(
    label: str, member: bool = True, env: dict | None = None, networks=("net",), cmd=(), ports=(), **more
) -> dict:
    entry = containers.item(inspected(EMAIL), label=label, member=member)
    entry.update(
        name=label,
        id=label,
        env=env or {},
        cmd=list(cmd),
        image=label,
        ports=list(ports),
        samples=[{"status": "running"}],
        networks={name: {"ip": f"10.0.0.{len(label)}", "aliases": [label]} for name in networks},
    )
    return {**entry, **more}


def test_neighbours_are_those_whose_host_is_named():
    """By a URL, by a host in a variable of its own, by nothing: only the first two talk to each other."""
    stack = stack_of(
        plain("worker", env={"BROKER": "redis://cache:6379/0", "DB_HOST": "db:5432"}),
        plain("cache", False),
        plain("db", False),
        plain("web", False),
    )
    assert target.neighbours(stack) == {"cache", "db"}


def test_a_container_of_that_name_on_another_network_is_a_neighbour():
    """It is why the name does not resolve: the finding needs to know of it."""
    stack = stack_of(
        plain("worker", env={"BROKER_URL": "redis://cache:6379/0"}), plain("cache", False, networks=("far",))
    )
    assert target.neighbours(stack) == {"cache"}


def test_without_any_url_the_servers_on_shared_networks_are_neighbours():
    """The broker may be set in code."""
    stack = stack_of(
        plain("worker", cmd=["celery", "-A", "x", "worker"]),
        plain("redis", False),
        plain("postgres", False, networks=("far",)),
        plain("nginx", False),
    )
    assert target.neighbours(stack) == {"redis"}


def test_a_published_port_is_found_behind_the_host():
    """host.docker.internal leads to whoever publishes that port."""
    worker = plain("worker", env={"BROKER_URL": "redis://host.docker.internal:6380/0"})
    far = listed(
        "far_redis",
        Ports=[{"PrivatePort": 6379, "PublicPort": 6380}],
        NetworkSettings={"Networks": {"far": {}}},
    )
    other = listed("other", Ports=[{"PrivatePort": 80, "PublicPort": 8080}])
    assert target.by_name_or_port([far, other], stack_of(worker)) == [far]
    published = plain(
        "far_redis",
        False,
        networks=("far",),
        ports=[{"container": 6379, "proto": "tcp", "host": "0.0.0.0:6380"}],
    )
    assert target.neighbours(stack_of(worker, published)) == {"far_redis"}


# One container


def test_a_container_of_unexpected_types_raises_nothing():
    """Another engine, a proxy or a broken answer: everything becomes empty."""
    for value in (None, "", 7, [], {}, [None], {"a": None}):
        told = {
            key: value for key in ("Config", "HostConfig", "State", "NetworkSettings", "Mounts", "Name", "Id")
        }
        told["Mounts"] = [value] if not isinstance(value, list) else value
        entry = containers.item(told, label="x", member=True)
        containers.sample(told, "now")
        assert entry["cmd"] == [] and entry["env"] == {}


def test_limits_health_and_ports_in_every_form():
    """CPU by quota, Docker's own health defaults, ports of a container that does not run."""
    entry = containers.item(
        inspected(
            POSTGRES,
            HostConfig__NanoCpus=0,
            HostConfig__CpuQuota=150_000,
            HostConfig__CpuPeriod=0,
            Config__Healthcheck={"Test": ["CMD", "x"], "Interval": 5 * 10**9},
            NetworkSettings__Ports={},
            HostConfig__PortBindings={"5432/tcp": [{"HostIp": "", "HostPort": "5433"}]},
        ),
        label="x",
        member=True,
    )
    assert entry["limits"]["cpus"] == 1.5
    assert entry["healthcheck"] == {
        "test": ["CMD", "x"],
        "interval_s": 5.0,
        "timeout_s": 30.0,
        "retries": 3,
        "start_period_s": 0.0,
    }
    assert {"container": 5432, "proto": "tcp", "host": "0.0.0.0:5433"} in entry["ports"]
    none = containers.item(inspected(REDIS, Config__Healthcheck={"Test": ["NONE"]}), label="x", member=True)
    assert none["healthcheck"] is None


def test_the_output_of_health_checks_is_masked_and_cut():
    """A failing check prints whatever it likes."""
    redactor = Redactor()
    entry = containers.item(inspected(REDIS), label="x", member=False)
    state = {
        "State": {
            "Health": {
                "Status": "unhealthy",
                "FailingStreak": 3,
                "Log": [
                    {
                        "Start": "a",
                        "End": "b",
                        "ExitCode": 1,
                        "Output": "redis-cli -a hunter2 \x1b[31m" + "x" * 9000,
                    }
                ],
            }
        }
    }
    entry["samples"] = [containers.sample(state, "now")]
    output = containers.masked(entry, redactor)["samples"][0]["health"]["log"][0]["output"]
    assert "hunter2" not in output and "\x1b" not in output and len(output) == 2000


def test_the_problems_of_a_url_are_told_before_it_is_masked():
    """That a password holds an unescaped sign cannot be seen once it is a token."""
    entry = containers.item(
        inspected(EMAIL, Config__Env=["CELERY_RESULT_BACKEND=db+postgresql://u:p@ss@h/d"]),
        label="x",
        member=True,
    )
    masked = containers.masked(entry, Redactor())
    problems = masked["url_problems"]["env CELERY_RESULT_BACKEND"]
    assert [problem["kind"] for problem in problems] == ["unescaped"]
    assert "p@ss" not in dumps(masked)


def test_public_words_of_the_stack_stay_readable():
    """A password equal to the user's or the database's name is masked in its place and nowhere else."""
    redactor = Redactor()
    entry = containers.item(
        inspected(POSTGRES, Config__Env=["POSTGRES_USER=backend_user", "POSTGRES_PASSWORD=backend_user"]),
        label="x",
        member=True,
    )
    containers.learn(redactor, [entry])
    assert redactor.known() == []
    assert containers.masked(entry, redactor)["env"]["POSTGRES_PASSWORD"].startswith("***")
    assert len(LISTED) == 4
