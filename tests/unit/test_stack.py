"""The stack as its containers describe it: roles, URLs, queues, node names, and who a host name means."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from celery_triage.model import Evidence, Section
from celery_triage.stack import Stack, url_problems
from celery_triage.stack.sources import purpose_of, read_banner

DATA = Path(__file__).parent / "data" / "stack"
WORKER = "celery -A shop.tasks worker".split()


def recorded(name, **more):
    """The stack of a recorded, masked ``containers`` section (``docker inspect`` of the lab's containers)."""
    return Stack(json.loads((DATA / f"{name}.json").read_text(encoding="utf-8")), **more)


def item(label, cmd=(), env=None, **more):
    """One running container on the network ``back``, as the ``containers`` section has it."""
    base = {
        "label": label, "name": f"shop-{label}-1", "id": (label.encode().hex() + "0" * 12)[:12],
        "service": label, "project": "shop", "number": 1, "member": True, "image": "shop:1", "entrypoint": [],
        "cmd": list(cmd), "env": env or {}, "networks": {"back": {"ip": None, "aliases": [label]}},
        "ports": [], "samples": [{"status": "running"}],
    }
    return {**base, **more}


def on(*networks, ip=None):
    """``networks`` of an item: names, each with the same address."""
    return {"networks": {network: {"ip": ip, "aliases": []} for network in networks}}


def only(**more):
    """The one service of a stack of one container."""
    return Stack({"items": [item("it", **more)]}, options=more.pop("options", None)).services[0]


def used(service):
    return {url.purpose: (url.source, url.parsed.server) for url in service.urls if url.used}


# The recorded incident

def test_recorded_incident():
    """The lab's real ``backend-reboot``: roles, queues (although the option is misspelt), node names,
    URLs."""
    stack = recorded("backend_reboot")
    assert {service.label: service.role for service in stack} == {
        "celery_beat": "beat", "data_sync_worker": "worker", "email_worker": "worker", "flower": "flower",
        "payment_worker": "worker", "postgres": "postgres", "redis": "redis"}
    assert {worker.label: worker.queues for worker in stack.workers} == {
        "data_sync_worker": ["data_sync"], "email_worker": ["email_processing"],
        "payment_worker": ["payment_processing"]}
    worker = stack.get("email_worker")
    assert worker.nodename == f"email_worker@{worker.item['id']}"
    assert worker.app_module == "shared.infrastructure.celery_app"
    assert [problem.kind for problem in worker.launch.problems] == ["unknown_option"]
    assert used(worker) == {"broker": ("env CELERY_BROKER_URL", "redis:6379/0"),
                            "result": ("env CELERY_RESULT_BACKEND", "postgres:5432")}
    assert not worker.running and stack.get("postgres").running
    assert stack.project == "ctlab_ai_backend"


def test_recorded_addresses():
    """In the recorded stack every URL's host is a neighbour on a shared network, with its address there."""
    stack = recorded("healthy")
    for service in stack.members:
        broker = stack.resolve(service.label, "redis", 6379)
        assert broker.owner == "redis" and broker.ip
        assert set(broker.shared) == {"ctlabh_database-net", "ctlabh_monitoring-net"}
        database = stack.resolve(service.label, "postgres")
        assert (database.owner, database.shared) == ("postgres", ("ctlabh_database-net",))
    ways = stack.get("postgres").ways(database, 5432)
    assert ways == [(database.ip, 5432, "the address of postgres on ctlabh_database-net")]


def test_an_evidence_gives_its_stack():
    """``Stack.of`` takes containers, versions, logs and options from the evidence; what is missing is
    empty."""
    data = {"items": [item("it", WORKER)]}
    versions = {"packages": {"celery": {"present": True, "version": "5.4.0"}}}
    banner = [["t", "out", "- ** ---------- .> transport:   redis://:**@queue:6379/3"]]
    evidence = Evidence("shop", "2026-11-23T21:00:00Z", {
        "containers": Section("containers", "ok", data),
        "files/it": Section("files/it", "ok", versions),
        "logs/it": Section("logs/it", "ok", {"driver": "json-file", "lines": banner}),
        "logs/other": Section("logs/other", "denied", why="log driver none keeps no logs")})
    service = Stack.of(evidence).get("it")
    assert service.launch.version_judged == "5.4"
    assert used(service) == {"broker": ("banner", "queue:6379/3")}
    assert Stack.of(Evidence("shop", "2026-11-23T21:00:00Z")).services == []


# Roles

@pytest.mark.parametrize(("more", "role"), [
    ({"cmd": WORKER}, "worker"),
    ({"cmd": ["sh", "-c", "sleep 1 && exec celery -A x beat -l info"]}, "beat"),
    ({"cmd": ["celery", "-A", "x", "flower", "--port=5555"]}, "flower"),
    ({"cmd": ["celery", "-A", "x", "wroker"]}, "worker"),
    ({"cmd": ["python", "-m", "celery", "-A", "x", "worker"]}, "worker"),
    ({"cmd": ["celery", "multi", "start", "w1"]}, "worker"),
    ({"entrypoint": ["docker-entrypoint.sh"], "cmd": ["postgres"], "image": "some/db:9"}, "postgres"),
    ({"cmd": ["redis-server", "--appendonly", "yes"], "image": "cache:1"}, "redis"),
    ({"cmd": ["sh", "-c", "exec redis-server --requirepass $$PW"], "image": "cache:1"}, "redis"),
    ({"cmd": ["rabbitmq-server"], "image": "queue:1"}, "rabbitmq"),
    ({"image": "postgres:16-alpine"}, "postgres"),
    ({"image": "pgvector/pgvector:pg16"}, "postgres"),
    ({"image": "bitnami/postgresql:15"}, "postgres"),
    ({"image": "timescale/timescaledb-ha:pg16"}, "postgres"),
    ({"image": "valkey/valkey:8"}, "redis"),
    ({"image": "redis/redis-stack-server@sha256:ab"}, "redis"),
    ({"image": "rabbitmq:4-management"}, "rabbitmq"),
    ({"image": "mher/flower:2.0"}, "flower"),
    ({"image": "oliver006/redis_exporter:v1"}, "other"),
    ({"image": "prometheuscommunity/postgres-exporter"}, "other"),
    ({"image": "edoburu/pgbouncer"}, "other"),
    ({"image": "dpage/pgadmin4", "ports": [{"container": 80}]}, "other"),
    ({"image": "ab12", "env": {"PGDATA": "/data"}}, "postgres"),
    ({"image": "ab12", "ports": [{"container": 5672, "proto": "tcp", "host": None}]}, "rabbitmq"),
    ({"image": "ab12", "ports": [{"container": 6379, "proto": "tcp", "host": "0.0.0.0:6380"}]}, "redis"),
    ({"cmd": ["gunicorn", "shop.web"], "env": {"DATABASE_URL": "postgresql://u:p@db/d"}}, "app"),
    ({"cmd": ["celery", "-A", "x", "inspect", "ping"]}, "app"),
    ({"cmd": ["nginx"], "image": "nginx"}, "other"),
    ({"cmd": ["/start-celeryworker"], "env": {"CELERY_BROKER_URL": "redis://r"}}, "worker"),
    ({"cmd": ["/app/run.sh"], "env": {"REDIS_URL": "redis://r"}, "service": "beat"}, "beat"),
    ({"cmd": ["/app/run.sh"], "service": "beat"}, "other"),
])
def test_roles(more, role):
    """A role is found from the command, the image, the settings or the ports, also under other names."""
    assert only(**more).role == role


def test_role_by_the_banner():
    """A start-up script that cannot be read is known by what it prints."""
    line = ["t", "out", "    . broker -> redis://:**@redis:6379/0"]
    stack = Stack({"items": [item("it", ["/run.sh"])]}, logs={"it": [line]})
    assert stack.services[0].role == "beat"


def test_members_come_first():
    """Neighbours stand behind the members of the target, whatever their order in the section."""
    stack = Stack({"items": [item("db", member=False), item("w", WORKER), item("b", ["celery", "beat"])]})
    assert [service.label for service in stack] == ["w", "b", "db"]
    assert [service.label for service in stack.members] == ["w", "b"]
    assert [service.label for service in stack.celery] == ["w", "b"]
    assert stack.with_role("worker") == stack.workers
    assert stack.get("nobody") is None


# URLs

@pytest.mark.parametrize(("name", "value", "purpose", "guessed"), [
    ("CELERY_BROKER_URL", "redis://r", "broker", False),
    ("BROKER", "amqp://r", "broker", False),
    ("APP__CELERY__BROKER_URL", "redis://r", "broker", False),
    ("celeryBrokerUrl", "redis://r", "broker", False),
    ("CELERY_RESULT_BACKEND", "redis://r", "result", False),
    ("RESULT_BACKEND", "redis://r", "result", False),
    ("CELERY_BACKEND", "redis://r", "result", False),
    ("CELERY_BACKEND", "postgresql://h/d", "result", False),
    ("RESULTS_DB", "db+postgresql://h/d", "result", False),
    ("ANYTHING", "db+postgresql://h/d", "result", False),
    ("DATABASE_URL", "postgresql://h/d", "database", False),
    ("SQLALCHEMY_DATABASE_URI", "mysql+pymysql://h/d", "database", False),
    ("BACKEND_DATABASE_URL", "postgresql://h/d", "database", False),
    ("PG_DSN", "postgres://h/d", "database", False),
    ("STORE", "postgresql://h/d", "database", True),
    ("AMQP_URL", "amqp://r", "broker", True),
    ("CLOUDAMQP_URL", "amqps://r", "broker", True),
    ("REDIS_URL", "redis://r", "other", True),
    ("CACHE_URL", "redis://r", "other", True),
    ("CACHE_BACKEND", "redis://r", "other", True),
    ("PUSHGATEWAY_URL", "http://p:9091", "metrics", False),
])
def test_purpose_of_a_variable(name, value, purpose, guessed):
    """What a variable is for is told by the words of its name and the scheme of its value."""
    assert purpose_of(name, value) == (purpose, guessed)


def test_urls_under_any_name():
    """Broker and result backend are found whatever their variables are called."""
    service = only(cmd=WORKER, env={"QUEUE_BROKER": "amqp://u:p@mq//", "RESULTS": "db+postgresql://u:p@db/x",
                                    "PATH": "/bin", "HOMEPAGE": "https://shop.example"})
    assert used(service) == {"broker": ("env QUEUE_BROKER", "mq:5672"), "result": ("env RESULTS", "db:5432")}
    assert len(service.urls) == 2


def test_the_command_wins():
    """``-b`` and ``--result-backend`` go before the environment; what they override is kept, unused."""
    service = only(cmd="celery -A x -b redis://cli:6379/1 --result-backend=rpc:// worker".split(),
                   env={"CELERY_BROKER_URL": "redis://env:6379/0", "CELERY_RESULT_BACKEND": "redis://env/1"})
    assert used(service) == {"broker": ("option -b", "cli:6379/1"),
                             "result": ("option --result-backend", "localhost")}
    assert [(url.source, url.used) for url in service.urls][2:] == [
        ("env CELERY_BROKER_URL", False), ("env CELERY_RESULT_BACKEND", False)]


@pytest.mark.parametrize("words", [
    "celery -A x --broker=redis://cli:1/0 worker", "celery -A x --broker redis://cli:1/0 worker",
    "celery -A x -bredis://cli:1/0 worker", "celery -A x worker -b redis://cli:1/0",
])
def test_spellings_of_the_broker_option(words):
    """The broker option is read in every spelling, and also where Celery refuses it."""
    assert used(only(cmd=words.split()))["broker"][1] == "cli:1/0"


def test_option_from_a_variable():
    """A shell replaces a variable in the option; without a shell it stands there as it is, and is marked."""
    env = {"QUEUE": "redis://real:6379/0"}
    words = "celery -A x -b $QUEUE worker"
    assert used(only(cmd=["sh", "-c", words], env=env))["broker"][1] == "real:6379/0"
    literal = only(cmd=words.split(), env=env).url("broker")
    assert [problem.kind for problem in literal.problems] == ["no_scheme"]


def test_celerys_own_variable_goes_first():
    """Celery's command takes BROKER_URL for its own option, then CELERY_BROKER_URL, then what the app may
    read."""
    service = only(cmd=WORKER, env={"BROKER_URL": "redis://a", "CELERY_BROKER_URL": "redis://b"})
    assert used(service)["broker"] == ("env BROKER_URL", "a:6379/0")
    service = only(cmd=WORKER, env={"MY_BROKER_URL": "redis://a", "CELERY_BROKER_URL": "redis://b"})
    assert used(service)["broker"] == ("env CELERY_BROKER_URL", "b:6379/0")


def test_the_user_names_a_variable():
    """``--broker-url-env`` and ``--db-url-env`` decide, whatever the names look like."""
    data = {"items": [item("it", WORKER, {"X1": "redis://a", "X2": "db+postgresql://u:p@b/c",
                                          "CELERY_BROKER_URL": "redis://wrong"})]}
    stack = Stack(data, options={"broker_url_env": "X1", "db_url_env": ["X2"]})
    assert used(stack.services[0]) == {"broker": ("env X1", "a:6379/0"), "result": ("env X2", "b:5432")}


def test_a_database_is_not_claimed_to_be_the_result_backend():
    """DATABASE_URL is the app's own database: there is no result backend in such a service."""
    service = only(cmd=WORKER, env={"CELERY_BROKER_URL": "redis://r", "DATABASE_URL": "postgresql://u:p@db/app"})
    assert service.url("result") is None
    assert service.url("database").parsed.database == "app"
    assert not service.url("database").used


def test_a_lone_redis_url_is_a_guess():
    """A Celery process with only REDIS_URL is taken to use it as broker, marked as guessed; a cache is
    not."""
    broker = only(cmd=WORKER, env={"REDIS_URL": "redis://r:6379/4"}).url("broker")
    assert (broker.parsed.server, broker.guessed, broker.used) == ("r:6379/4", True, True)
    assert only(cmd=WORKER, env={"CACHE_URL": "redis://r:6379/4"}).url("broker") is None
    assert only(cmd=["gunicorn"], env={"REDIS_URL": "redis://r:6379/4"}).url("broker") is None


def test_banner_of_a_broker_that_is_set_in_code():
    """Without any variable the worker's own banner says where it connects to; ``**`` is no password."""
    lines = [["t", "out", line] for line in (DATA / "worker_banner.txt").read_text().splitlines()]
    stack = Stack({"items": [item("it", WORKER)]}, logs={"it": lines})
    service = stack.services[0]
    assert used(service) == {"broker": ("banner", "redis:6379/0"), "result": ("banner", "postgres:5432")}
    assert service.url("result").parsed.database == "ai_backend"
    assert service.url("result").problems == ()
    assert service.queues == ["email_processing"]


def test_banner_decides_among_guesses():
    """Of two Redis URLs that nothing names, the banner tells which is the broker; its password is kept."""
    env = {"A_REDIS": "redis://:x@one:6379/0", "B_REDIS": "redis://:y@two:6379/0"}
    line = ["t", "out", "- ** ---------- .> transport:   redis://:**@two:6379/0"]
    service = Stack({"items": [item("it", WORKER, env)]}, logs={"it": [line]}).services[0]
    broker = service.url("broker")
    assert (broker.source, broker.parsed.password_token) == ("env B_REDIS", "y")


def test_banners_of_beat_and_flower():
    """Beat and Flower say their broker in their own words; the last start counts."""
    assert read_banner(["    . broker -> amqp://guest:**@mq:5672//"])["broker"] == "amqp://guest:**@mq:5672//"
    flower = "[I 261123 20:58:05 command:186] Broker: redis://:**@redis:6379/0"
    assert read_banner([flower]) == {"role": "flower", "broker": "redis://:**@redis:6379/0"}
    assert read_banner(["[I 261123 20:58:05 command:177] Visit me at http://127.0.0.1:5555"]) == {}
    two = [".> transport:   redis://old//", ".> old exchange=old(direct)", ".> transport:   redis://new//"]
    assert read_banner(two) == {"role": "worker", "broker": "redis://new//"}


def test_a_disabled_result_backend_is_none():
    """``disabled://`` in the banner means that no results are kept."""
    assert "result" not in read_banner([".> transport:   redis://r//", ".> results:     disabled://"])


@pytest.mark.parametrize(("value", "kind"), [
    ("", "empty"), ("${BROKER}", "unset"), ("redis:6379", "no_scheme"), ("redis://${HOST}:6379/0", "unset"),
])
def test_broken_values_are_kept_and_marked(value, kind):
    """An empty or unreplaced value of a broker's variable is not passed over: it is there, with its
    problem."""
    urls = only(cmd=WORKER, env={"CELERY_BROKER_URL": value}).urls
    assert [url.source for url in urls] == ["env CELERY_BROKER_URL"]
    assert kind in [problem.kind for problem in urls[0].problems]


def test_an_empty_variable_is_not_in_use():
    """An empty CELERY_BROKER_URL does not hide the variable that has a value."""
    service = only(cmd=WORKER, env={"CELERY_BROKER_URL": "", "BROKER_URL": "redis://r"})
    assert used(service)["broker"] == ("env BROKER_URL", "r:6379/0")


def test_problems_from_before_masking():
    """What is wrong with a password is told before it is masked, travels with the container and is seen
    again; it holds no secret."""
    raw = item("it", WORKER, {"CELERY_RESULT_BACKEND": "db+postgresql+psycopg://u:hunter2@x@db/d"})
    told = url_problems(raw)
    assert "hunter2" not in json.dumps(told)
    masked = {**raw, "env": {"CELERY_RESULT_BACKEND": "db+postgresql+psycopg://u:***0a1b2c@db/d"},
              "url_problems": told}
    problems = Stack({"items": [masked]}).services[0].url("result").problems
    assert [problem.kind for problem in problems] == ["unescaped"]


def test_variables_of_the_command_line():
    """``env NAME=value celery …`` counts like the container's environment."""
    service = only(cmd=["env", "CELERY_BROKER_URL=redis://inline/2", *WORKER])
    assert used(service)["broker"][1] == "inline:6379/2"


# Queues and node names

@pytest.mark.parametrize(("words", "queues"), [
    ("celery -A x worker", ["celery"]), ("celery -A x worker -Q a,b", ["a", "b"]),
    ("celery -A x worker --queues=a", ["a"]), ("celery -A x worker --queue=a,b", ["a", "b"]),
    ("celery -A x worker --queue a", ["a"]), ("celery -A x worker --queue --loglevel=info", ["celery"]),
    ("celery -A x beat", []),
])
def test_queues(words, queues):
    """The queues of a worker are those of its option, also of a misspelt one; without one, the default
    queue."""
    assert only(cmd=words.split()).queues == queues


@pytest.mark.parametrize(("cmd", "nodename"), [
    (WORKER, "celery@host.shop.local"),
    ([*WORKER, "-n", "mail@%h"], "mail@host.shop.local"),
    ([*WORKER, "--hostname=mail@%n.%d"], "mail@mail.shop.local"),
    ([*WORKER, "-n", "w1"], "celery@w1"),
    ([*WORKER, "-n", "%h"], "celery@host.shop.local"),
    ([*WORKER, "-n", "mail@$HOSTNAME"], "mail@$HOSTNAME"),
    (["sh", "-c", "celery -A x worker -n mail@$HOSTNAME"], "mail@host.shop.local"),
])
def test_nodenames(cmd, nodename):
    """The node name is what Celery makes of ``-n`` and the container's host name."""
    assert only(cmd=cmd, hostname="host.shop.local").nodename == nodename


def test_nodenames_are_those_of_celery():
    """Celery 5.7 itself makes the same names of the same options."""
    from celery.utils.nodenames import default_nodename, host_format, nodename, nodesplit

    for given in ("mail@%h", "mail@%n.%d", "w1", "%h", "mail"):
        name, host = nodesplit(default_nodename(given))
        if "@" not in given and given == "%h":
            host = "%h"
        theirs = nodename(host_format(name, "host.shop.local"), host_format(host, "host.shop.local", name))
        assert only(cmd=[*WORKER, "-n", given], hostname="host.shop.local").nodename == theirs


# Who a host name means

NET = {"networks": {"back": {"ip": "172.20.0.2", "aliases": ["postgres", "database"]}}}


def pair(mine, theirs, **more):
    """A worker with ``mine`` and a server ``db`` with ``theirs``."""
    server = item("db", image="postgres", member=False, **theirs, **more)
    return Stack({"items": [item("w", WORKER, **mine), server]})


@pytest.mark.parametrize("host", [
    "postgres", "database", "DATABASE", "shop-db-1", "646200000000", "postgres.back", "shop-db-1.back",
    "postgres.",
])
def test_names_on_a_shared_network(host):
    """A container answers to its aliases, its name, its short id, each also with the network's name behind
    it."""
    found = pair(on("back", "front"), NET).resolve("w", host)
    assert (found.owner, found.shared, found.ip, found.external) == ("db", ("back",), "172.20.0.2", False)


@pytest.mark.parametrize("host", ["db.front", "postgre", "shop-db", "postgres.internal"])
def test_names_that_nobody_bears(host):
    """A name that no container bears is outside, and nothing is guessed for it."""
    found = pair(on("back"), NET).resolve("w", host)
    assert (found.owner, found.elsewhere, found.external) == (None, None, True)


def test_elsewhere():
    """A container that bears the name on another network only is named, with both sides' networks."""
    found = pair(on("front"), NET).resolve("w", "postgres")
    assert (found.owner, found.elsewhere, found.external) == (None, "db", False)
    assert "back" in found.how and "front" in found.how


def test_service_name_without_the_alias():
    """A Compose service that has lost its networks is still known by the service's name, elsewhere."""
    assert pair(on("back"), {"networks": {}}).resolve("w", "db").elsewhere == "db"


def test_the_default_bridge_has_no_names():
    """Two containers on the default bridge do not find each other by name, only by address."""
    stack = pair(on("bridge"), {"networks": {"bridge": {"ip": "172.17.0.2", "aliases": ["postgres"]}}})
    by_name = stack.resolve("w", "shop-db-1")
    assert (by_name.owner, by_name.elsewhere) == (None, "db")
    assert "default bridge" in by_name.how
    assert stack.resolve("w", "172.17.0.2").owner == "db"


@pytest.mark.parametrize("host", [
    "localhost", "127.0.0.1", "::1", "127.8.8.8", "0.0.0.0", "", None, "x.localhost",
])
def test_localhost_is_the_container_itself(host):
    """localhost inside a container is that container, and this is said."""
    found = pair(on("back", ip="172.20.0.9"), NET).resolve("w", host)
    assert (found.owner, found.itself, found.ip) == ("w", True, "172.20.0.9")
    assert "inside a container" in found.how


def test_localhost_on_the_hosts_network():
    """With the host's network localhost is the machine, where published ports are found."""
    ports = [{"container": 5432, "proto": "tcp", "host": "127.0.0.1:15432"}]
    stack = pair(on("host"), NET, ports=ports)
    found = stack.resolve("w", "localhost", 15432)
    assert (found.owner, found.itself) == ("db", False)
    assert stack.get("db").ways(found, 15432)[-1][:2] == ("127.0.0.1", 15432)
    assert stack.resolve("w", "localhost", 5432).external
    assert "no container has a name" in stack.resolve("w", "postgres").how


@pytest.mark.parametrize("host", ["host.docker.internal", "gateway.docker.internal", "192.0.2.7"])
def test_the_machine_itself(host):
    """Names that lead to the machine, and its own addresses, find the container that publishes the port."""
    bound = "192.0.2.7" if host == "192.0.2.7" else "0.0.0.0"
    ports = [{"container": 5432, "proto": "tcp", "host": f"{bound}:15432"}]
    stack = pair(on("back"), {"networks": {"other": {"ip": "172.21.0.2", "aliases": []}}}, ports=ports)
    assert stack.resolve("w", host, 15432).owner == "db"
    assert stack.resolve("w", host, 5432).external


def test_a_network_shared_with_another_container():
    """With ``network_mode: service:…`` localhost is the other container, and its names are the other's."""
    sidecar = item("vpn", cmd=["vpn"], networks={"back": {"ip": "172.20.0.8", "aliases": ["vpn"]}})
    mine = item("w", WORKER, networks={}, network_mode=f"container:{sidecar['id']}ffff")
    stack = Stack({"items": [mine, sidecar, item("db", image="postgres", **NET)]})
    assert stack.resolve("w", "localhost").owner == "vpn"
    assert stack.resolve("w", "postgres").owner == "db"


def test_extra_hosts():
    """A name from extra_hosts goes where it says, to the host or to an address."""
    hosts = ["db:172.20.0.2", "box=host-gateway", "far:192.0.2.1"]
    ports = [{"container": 5432, "proto": "tcp", "host": "0.0.0.0:15432"}]
    stack = pair({**on("back"), "extra_hosts": hosts}, NET, ports=ports)
    assert stack.resolve("w", "db").owner == "db"
    assert stack.resolve("w", "box", 15432).owner == "db"
    assert "extra_hosts" in stack.resolve("w", "far").how


def test_literal_addresses():
    """An address is looked up among the containers of shared networks; on another network it is elsewhere."""
    stack = pair(on("back", "front"), {"networks": {"back": {"ip": "172.20.0.2", "aliases": []},
                                                    "third": {"ip": "172.22.0.2", "aliases": []}}})
    near = stack.resolve("w", "172.20.0.2")
    assert (near.owner, near.literal_ip, near.shared) == ("db", True, ("back",))
    far = stack.resolve("w", "172.22.0.2")
    assert (far.owner, far.elsewhere, far.external) == (None, "db", False)
    assert stack.resolve("w", "8.8.8.8").external


def test_a_stopped_owner():
    """A name of a container that does not run leads nowhere at this moment, and that is said."""
    stopped = {"networks": {"back": {"ip": "", "aliases": ["postgres"]}}, "samples": [{"status": "exited"}]}
    found = pair(on("back"), stopped).resolve("w", "postgres")
    assert (found.owner, found.running, found.ip) == ("db", False, None)
    assert "does not run" in found.how


def test_the_running_one_of_several_owners():
    """Of several containers with one alias the running one is the owner, the others are told."""
    def replica(label, status, ip):
        return item(label, samples=[{"status": status}], networks={"back": {"ip": ip, "aliases": ["db"]}})
    stack = Stack({"items": [item("w", WORKER, **on("back")), replica("db-1", "exited", ""),
                             replica("db-2", "running", "172.20.0.4")]})
    found = stack.resolve("w", "db")
    assert (found.owner, found.others, found.ip) == ("db-2", ("db-1",), "172.20.0.4")


def test_ways_from_the_machine():
    """A server is reached at its address on the shared network first, then on others, then by published
    ports."""
    ports = [{"container": 5432, "proto": "tcp", "host": "0.0.0.0:15432"},
             {"container": 5432, "proto": "tcp", "host": ":::15432"},
             {"container": 9187, "proto": "tcp", "host": "0.0.0.0:9187"}]
    stack = pair(on("front"), {"networks": {"admin": {"ip": "172.23.0.2", "aliases": []},
                                            "front": {"ip": "172.22.0.2", "aliases": []}}}, ports=ports)
    found = stack.resolve("w", "shop-db-1")
    assert [way[:2] for way in stack.get("db").ways(found, 5432)] == [
        ("172.22.0.2", 5432), ("172.23.0.2", 5432), ("127.0.0.1", 15432), ("::1", 15432)]


@pytest.mark.docker
def test_names_as_the_engine_answers_them():
    """Docker's own DNS gives the same answers: alias, name, short id and ``.network`` on a user-defined
    network, nothing on the default bridge, nothing for a stopped container."""
    from real_servers import docker, started

    with started("redis", alias="store") as server, started("redis", network=server.network) as asker:
        inspected = json.loads(docker("inspect", asker.name, server.name))
        from celery_triage.collect.containers import item as as_item
        from celery_triage.collect.containers import sample

        def stack():
            both = json.loads(docker("inspect", asker.name, server.name))
            return Stack({"items": [{**as_item(one, label=one["Name"][1:], member=True),
                                     "samples": [sample(one, "t")]} for one in both]})

        short = inspected[1]["Id"][:12]
        for host in ("store", server.name, short, f"store.{server.network}", "nobody", "localhost"):
            asked = subprocess.run(["docker", "exec", asker.name, "getent", "ahostsv4", host],
                                   capture_output=True, text=True, timeout=20, check=False)
            theirs = asked.stdout.split()[:1]
            ours = stack().resolve(asker.name, host)
            assert (ours.external, ours.itself) == (not theirs, host == "localhost"), host
            if host != "localhost":
                assert theirs == ([ours.ip] if ours.ip else [])
        docker("stop", "-t", "0", server.name)
        assert stack().resolve(asker.name, "store").ip is None
        words = ["docker", "exec", asker.name, "getent", "hosts", "store"]
        gone = subprocess.run(words, timeout=20, check=False)
        assert gone.returncode == 2
