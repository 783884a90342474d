"""The engine is only ever asked what is on the list, and every way in which it fails has its own word."""

from __future__ import annotations

import time

import docker
import pytest
import requests
from replayed_engine import EMAIL, engine, requests_made

from celery_triage.collect import docker as asked_by
from celery_triage.collect.docker import Engine, EngineError, Forbidden, NoEngine, NotFound, NotPermitted
from celery_triage.collect.probe import Emit, Source, Unavailable, run_sources


def client(address: str, messages: list | None = None, **more) -> Engine:
    found = messages if messages is not None else []
    return Engine(Emit(found.append), environment={"DOCKER_HOST": address}, **more)


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "/containers/x/start"),
        ("POST", "/containers/x/exec"),
        ("DELETE", "/containers/x"),
        ("PUT", "/containers/x/archive"),
        ("GET", "/containers/x/attach/ws"),
        ("GET", "/containers/x/export"),
        ("GET", "/containers/x/top"),
        ("GET", "/containers/../../info"),
        ("GET", "/containers/x/../../exec/json"),
        ("GET", "/containers/%2e%2e/json"),
        ("GET", "/images/get"),
        ("GET", "/secrets"),
        ("GET", "/swarm/unlockkey"),
        ("GET", "/exec/x/json"),
        ("HEAD", "/info"),
        ("PATCH", "/info"),
        ("GET", "/infox"),
        ("GET", "/v1.41/../secrets"),
    ],
)
def test_what_is_not_on_the_list_is_never_sent(tmp_path, method, path):
    """The one way out refuses before anything reaches the socket, and lists nothing as made."""
    messages: list = []
    with engine(tmp_path) as address:
        with pytest.raises(Forbidden):
            client(address, messages).request(method, "http+docker://localhost/v1.41" + path)
        assert requests_made(tmp_path) == []
    assert messages == []


@pytest.mark.parametrize(
    "change",
    [
        lambda api: api.start("x"),
        lambda api: api.stop("x"),
        lambda api: api.remove_container("x"),
        lambda api: api.exec_create("x", "ls"),
        lambda api: api.put_archive("x", "/", b""),
        lambda api: api.pull("x"),
        lambda api: api.kill("x"),
        lambda api: api.restart("x"),
        lambda api: api.create_network("x"),
        lambda api: api.prune_containers(),
        lambda api: api.rename("x", "y"),
        lambda api: api.update_container("x"),
    ],
)
def test_no_method_of_the_client_library_can_change_anything(tmp_path, change):
    """The list holds for everything that docker-py offers, not only for what this tool calls."""
    with engine(tmp_path) as address:
        with pytest.raises((Forbidden, docker.errors.DockerException)):
            change(client(address, api="1.41"))
        assert not [line for line in requests_made(tmp_path) if not line.startswith(("GET", "HEAD"))]


def test_a_body_is_never_sent(tmp_path):
    """Not even with a GET on a listed path."""
    with engine(tmp_path) as address, pytest.raises(Forbidden):
        client(address).request("GET", "http+docker://localhost/v1.41/info", data=b"x")


def test_redirects_are_not_followed(tmp_path):
    """Nobody who answers for the engine can send this tool somewhere else."""
    with engine(tmp_path, {"GET /info": {"status": 302, "json": {"message": "elsewhere"}}}) as address:
        with pytest.raises(EngineError, match="302"):
            client(address).ask("/info")


def test_every_call_is_listed_with_its_outcome(tmp_path):
    """What was asked of the engine and what is in the list are the same, refusals included."""
    messages: list = []
    with engine(tmp_path) as address:
        api = client(address, messages)
        api.settle_version()
        with pytest.raises(NotFound, match="No such thing"):
            api.ask("/containers/gone/json")
        made = requests_made(tmp_path)
    listed = [message["text"] for message in messages if message["kind"] == "asking"]
    outcomes = [message["outcome"] for message in messages if message["kind"] == "asked"]
    assert (listed, outcomes) == (made, ["200", "404"])


def test_the_api_version_is_the_newest_that_both_know(tmp_path):
    """An engine of today and one of 2020 are spoken to in a version that they have."""
    with engine(tmp_path) as address:
        api = client(address)
        assert api.settle_version()["Version"].startswith("20.10")
        assert api.api == "1.41"
    for theirs, spoken in (("1.52", "1.44"), ("1.12", "1.24"), ("x", "1.24")):
        folder = tmp_path / theirs
        folder.mkdir()
        with engine(folder, {"GET /version": {"status": 200, "json": {"ApiVersion": theirs}}}) as address:
            api = client(address)
            api.settle_version()
            assert api.api == spoken


@pytest.mark.parametrize(
    "address, kind",
    [
        ("unix:///nowhere/engine.sock", NoEngine),
        ("tcp://127.0.0.1:1", NoEngine),
        ("gopher://x", NoEngine),
    ],
)
def test_no_engine_is_told_as_such(address, kind):
    """A missing socket, a closed port and an address of no kind are no engine, at once."""
    start = time.monotonic()
    with pytest.raises(kind) as raised:
        client(address).settle_version()
    assert raised.value.status == "unreachable"
    assert time.monotonic() - start < 3


def test_a_socket_that_one_may_not_open_is_no_permission(tmp_path, monkeypatch):
    """The commonest reason for "no engine" is a user outside the group docker: it has its own word."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with engine(tmp_path) as address:
        monkeypatch.setattr("socket.socket.connect", refuse)
        with pytest.raises(NotPermitted) as raised:
            client(address).settle_version()
    assert raised.value.status == "denied"


@pytest.mark.parametrize("status, kind", [(401, NotPermitted), (403, NotPermitted), (500, EngineError)])
def test_refusals_of_the_engine_keep_its_message(tmp_path, status, kind):
    """An authorisation plug-in's refusal and an engine's own error are told apart."""
    with engine(tmp_path, {"GET /info": {"status": status, "json": {"message": "because"}}}) as address:
        with pytest.raises(kind, match="because"):
            client(address).ask("/info")


@pytest.mark.parametrize(
    "told",
    [
        {"status": 404, "raw": b"not here"},
        {"status": 200, "raw": b"<html>"},
        {"status": 200, "json": [1]},
        {"status": 200, "json": {}},
        {"status": 502, "raw": b"bad gateway"},
    ],
)
def test_somebody_else_at_that_address_is_no_engine(tmp_path, told):
    """A web server behind the address is not taken for an engine without containers."""
    with engine(tmp_path, {"GET /version": told}) as address, pytest.raises(NoEngine):
        client(address).settle_version()


def test_an_engine_that_hangs_is_given_up(tmp_path):
    """Each call has a deadline, and the source's own deadline cuts it shorter."""
    with engine(tmp_path, hang="GET /info") as address:
        start = time.monotonic()
        with pytest.raises(Unavailable) as raised:
            client(address, call_s=0.5).ask("/info")
        assert raised.value.status == "timeout"
        probed = run_sources(
            [
                Source(
                    "s",
                    ("one",),
                    lambda emit: Engine(emit, environment={"DOCKER_HOST": address}).ask("/info"),
                    deadline_s=0.5,
                )
            ],
            mask=str,
        )
        assert time.monotonic() - start < 4
    assert probed.sections["one"].status == "timeout"
    assert "GET /info" in probed.calls[0]


@pytest.mark.parametrize("size", [0, 1, 100])
def test_an_answer_that_is_cut_off_is_no_answer(tmp_path, size):
    """Half a list of containers must not read as a short one."""
    with engine(tmp_path, cut={"GET /containers/json": size}) as address:
        with pytest.raises((EngineError, NoEngine)):
            client(address).ask("/containers/json", all=1)


def test_an_answer_without_end_is_refused(tmp_path, monkeypatch):
    """The size of what is read as JSON has a limit."""
    monkeypatch.setattr(asked_by, "JSON_LIMIT", 100)
    with engine(tmp_path) as address, pytest.raises(EngineError, match="larger"):
        client(address).ask("/containers/json", all=1)


def test_links_inside_a_container_are_followed_to_the_file(tmp_path):
    """The real chain: python3 is a link to python3.11, which is a file."""
    with engine(tmp_path) as address:
        path, stat = client(address).follow(EMAIL, "/usr/bin/python3")
    assert (path, stat.is_file, stat.is_link) == ("/usr/bin/python3.11", True, False)


def test_a_ring_of_links_ends(tmp_path):
    """A link that leads to itself is nothing that stands there."""
    ring = {"status": 200, "stat": {"size": 1, "mode": 1 << 27 | 0o777, "linkTarget": "/a"}}
    with engine(tmp_path, {f"HEAD /containers/{EMAIL}/archive?path=/a": ring}) as address:
        assert client(address).follow(EMAIL, "/a") is None


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    """A GET on a folder would send everything below it: HEAD decides before."""
    answers = {}
    for name, size, mode in (
        ("folder", 4096, 1 << 31 | 0o755),
        ("large", 10**9, 0o644),
        ("pipe", 0, 1 << 25 | 0o644),
        ("device", 0, 1 << 26 | 0o644),
    ):
        answers[f"HEAD /containers/{EMAIL}/archive?path=/{name}"] = {
            "status": 200,
            "stat": {"size": size, "mode": mode, "linkTarget": ""},
        }
    with engine(tmp_path, answers) as address:
        api = client(address)
        assert [
            api.read_file(EMAIL, f"/{name}") for name in ("folder", "large", "pipe", "device", "none")
        ] == [None] * 5
        assert not [line for line in requests_made(tmp_path) if line.startswith("GET")]
        assert api.read_file(EMAIL, "/usr/local/bin/celery").startswith(b"#!/usr/bin/python3")


@pytest.mark.parametrize("header", ["", "!!", "e30=", "W10="])
def test_a_file_status_that_cannot_be_read_is_an_error(tmp_path, header, monkeypatch):
    """An engine that forgets the header, or a proxy that strips it, must not read as "no such file"."""

    class Answer:
        status_code, headers = 200, {"X-Docker-Container-Path-Stat": header}

        def close(self) -> None:
            pass

    monkeypatch.setattr(requests.Session, "send", lambda *_, **__: Answer())
    with pytest.raises(EngineError, match="status"):
        client("unix:///engine.sock").stat(EMAIL, "/x")


def test_the_current_context_names_the_engine(tmp_path, monkeypatch):
    """Without DOCKER_HOST the docker command's own choice counts, also when it is broken."""
    (tmp_path / "config.json").write_text('{"currentContext": "nowhere"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(NoEngine, match="nowhere"):
        Engine(Emit([].append), environment={"DOCKER_CONFIG": str(tmp_path)})


def test_an_engine_behind_ssh_is_told_with_what_to_do(monkeypatch):
    """Without paramiko: one sentence with the package and the tunnel, not the library's own."""
    monkeypatch.setattr(asked_by.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NoEngine) as told:
        client("ssh://root@build.example")
    assert "pip install 'docker[ssh]'" in str(told.value) and "ssh -nNT -L" in str(told.value)
    assert str(told.value).startswith("ssh://build.example ")


@pytest.mark.parametrize(
    "address",
    [
        "tcp://me:n0t-a-secret@127.0.0.1:1",
        "tcp://me:n0t-a-secret@h:1?x=1",
        "tcp://n0t-a-secret@127.0.0.1:1",
        "me:n0t-a-secret@127.0.0.1:1",
        "gopher://me:n0t-a-secret/x@h",
        "tcp://me:n0t-a-secret@h:port",
    ],
)
def test_the_address_that_was_tried_is_told_without_credentials(address):
    """Whether it cannot be used at all, or nobody answers there."""
    with pytest.raises(NoEngine) as told:
        client(address).ask("/info")
    assert "n0t" not in str(told.value) and "me:" not in str(told.value)


def test_the_local_socket_is_named_where_nothing_else_is(monkeypatch):
    """The sentence names what was tried."""
    monkeypatch.setattr(asked_by.os.path, "expanduser", lambda path: "/nowhere")
    with pytest.raises(NoEngine, match="at unix:///var/run/docker.sock: gone"):
        with asked_by._told(Engine(Emit(lambda one: None), environment={"PATH": "/"})._address):
            raise requests.exceptions.ConnectionError(OSError(2, "gone"))
