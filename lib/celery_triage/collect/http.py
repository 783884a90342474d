"""The section `http`: the target's metrics endpoints and Flower, one bounded GET each.

An endpoint is asked at its container's address, then at the published port; whatever no container of this
engine owns is not asked, and no name is looked up. Redirects are not followed; no user, password, cookie or
query is sent, and no proxy or ``.netrc`` of this machine is used. Of an answer its kind and its size are
kept, and the names of the metrics, never the body.
"""

from __future__ import annotations

import errno
import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any

from celery_triage.collect.endpoints import Endpoint, endpoints
from celery_triage.collect.probe import Emit, Source, now
from celery_triage.collect.servers import NOT_YET
from celery_triage.collect.together import together
from celery_triage.model import Section
from celery_triage.stack import Stack

DEADLINE_S = 12.0
#: Seconds for one endpoint, whatever it does.
ENDPOINT_S = 3.0
#: Bytes of a body that are read; more is cut. A worker of the lab sends 3 kB, its Flower 6 kB.
BODY = 2**20
BLOCK = 2**16
MOST_ENDPOINTS = 40
MOST_NAMES = 200
#: A line of metrics longer than this is not read.
LINE = 20_000
_TYPE = re.compile(r"# TYPE ([A-Za-z_:][\w:]{0,199}) \w+")
_SAMPLE = re.compile(r"([A-Za-z_:][\w:]{0,199})(?:\{.*\})? \S+(?: [0-9.eE+-]+)?(?: # .*)?")
#: Kinds of failure that say what is there, or that nothing is.
_ANSWERS = ("refused", "not_http", "closed", "tls")

Way = tuple[str, int, str]


def source(stack: Stack, options: Mapping[str, Any], redactor: Any) -> Source:
    """The section ``http``: every metrics endpoint and every Flower of the target."""
    asked = list(endpoints(stack))

    def run(emit: Emit) -> None:
        entries, jobs, numbers = [], [], []
        for endpoint in asked:
            ways, entry = _plan(stack, endpoint)
            entries.append(entry)
            if ways and len(jobs) >= MOST_ENDPOINTS:
                why = f"not asked: there are more than {MOST_ENDPOINTS} endpoints"
                entry.update(status="withheld", why=why, error_kind=None)
            elif ways:
                numbers.append(len(entries) - 1)
                jobs.append(lambda e=endpoint, w=ways, f=dict(entry): _look(e, w, f, emit, redactor))
        if jobs:
            emit.section(_section(entries, redactor))
        for number, told in together(jobs, max(0.1, emit.left() - 0.5)):
            entries[numbers[number]].update(_failed(told, redactor) if isinstance(told, Exception) else told)
        emit.section(_section(entries, redactor))

    return Source("http", ("http",), run, deadline_s=DEADLINE_S)


def _section(entries: list[dict[str, Any]], redactor: Any) -> Section:
    """``partial`` while an endpoint may yet be anything: a time-out, a container that does not run. A refused
    connection is an answer: nothing listens there."""
    shown = redactor.data(entries)
    open_ones = [entry for entry in shown if entry["status"] != "ok" and entry["error_kind"] not in _ANSWERS]
    why = "; ".join(f"{entry['url']} of {entry['label']}: {entry['why']}" for entry in open_ones)
    return Section("http", "partial" if why else "ok", {"endpoints": shown}, why=why, taken_at=now(),
                   how="one GET each from the engine's machine")


def _plan(stack: Stack, endpoint: Endpoint) -> tuple[list[Way], dict[str, Any]]:
    """The ways to an endpoint, best first, and its entry as it stands before anything was asked."""
    entry = _blank(endpoint)
    meaning = stack.resolve(endpoint.label, endpoint.host or "localhost", endpoint.port)
    owner = stack.get(meaning.owner or meaning.elsewhere or "")
    asker = stack.get(endpoint.label)
    ways: list[Way] = []
    if owner is None and endpoint.host is None and "host" in asker.networks:
        owner = asker
        ways = [("127.0.0.1", endpoint.port, f"{asker.label} is on the host's network")]
    elif owner is not None:
        ways = owner.ways(meaning, endpoint.port)
    if owner is None:
        kind = None if meaning.literal_ip else "dns"
        entry.update(status="withheld", error_kind=kind,
                     why=f"{meaning.how}; only containers of this engine are asked")
        return [], entry
    entry["owner"] = owner.label
    if meaning.elsewhere and not meaning.owner:
        entry["unreached"] = meaning.how
    if not owner.running:
        state = owner.latest.get("status") or "not there"
        entry.update(status="unreachable", error_kind="not_running",
                     why=f"the container {owner.label} is not running ({state})")
        return [], entry
    if not ways:
        entry.update(status="unreachable", error_kind="no_way",
                     why=f"{owner.label} has no address here and publishes no port {endpoint.port}")
        return [], entry
    entry["url"] = _address(endpoint, ways[0])
    return ways, entry


def _blank(endpoint: Endpoint) -> dict[str, Any]:
    host = endpoint.host or endpoint.label
    return {
        "label": endpoint.label, "owner": None, "purpose": endpoint.purpose, "source": endpoint.source,
        "declared": endpoint.declared, "port": endpoint.port, "path": endpoint.path,
        "url": _address(endpoint, (host, endpoint.port, "")), "via": "", "unreached": "", "status": "timeout",
        "why": NOT_YET, "error_kind": "timeout", "code": None, "ms": None, "content_type": None,
        "server": None, "location": None, "bytes": None, "cut": False, "families": None, "names": []}


def _address(endpoint: Endpoint, way: Way) -> str:
    host = f"[{way[0]}]" if ":" in way[0] else way[0]
    return f"{'https' if endpoint.tls else 'http'}://{host}:{way[1]}{endpoint.path}"


def _look(
    endpoint: Endpoint, ways: list[Way], entry: dict[str, Any], emit: Emit, redactor: Any,
) -> dict[str, Any]:
    """The entry of one endpoint, by the first way that leads to anybody."""
    begin = time.monotonic()
    for way in ways:
        start = time.monotonic()
        entry.update(url=_address(endpoint, way), via=way[2])
        try:
            with emit.asking(f"GET {entry['url']} ({endpoint.label})") as asked:
                _get(endpoint, way, entry, start + ENDPOINT_S if way is ways[0] else begin + 2 * ENDPOINT_S)
                asked.outcome = f"{entry['code']}, {entry['bytes']} bytes"
            entry.update(status="ok", why="", error_kind=None)
        except Exception as error:  # whatever answers there may send anything
            entry.update(_failed(error, redactor, entry["bytes"]))
        entry["ms"] = round(1000 * (time.monotonic() - start), 1)
        reached = entry["code"] is not None or entry["error_kind"] not in ("refused", "no_route", "timeout")
        if reached or time.monotonic() > begin + ENDPOINT_S:
            break
    return entry


def _get(endpoint: Endpoint, way: Way, entry: dict[str, Any], until: float) -> None:
    """One GET, its answer put into the entry as it comes."""
    with socket.create_connection(way[:2], timeout=max(0.1, until - time.monotonic())) as plain:
        if endpoint.tls:  # encrypted, not verified: the authorities' certificates lie in the container
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(plain) as encrypted:
                _talk(encrypted, endpoint, entry, until)
        else:
            _talk(plain, endpoint, entry, until)


def _talk(connection: socket.socket, endpoint: Endpoint, entry: dict[str, Any], until: float) -> None:
    # The host as Prometheus in the stack would name it: some servers answer only to names that they know.
    lines = (f"GET {endpoint.path} HTTP/1.1", f"Host: {endpoint.host or endpoint.label}:{endpoint.port}",
             "User-Agent: celery-triage", "Accept: text/plain, */*;q=0.5", "Connection: close", "", "")
    connection.sendall("\r\n".join(lines).encode("ascii", "replace"))
    with http.client.HTTPResponse(_Bounded(connection, until), method="GET") as response:
        response.begin()
        entry.update(code=response.status, bytes=0, content_type=_header(response, "Content-Type"),
                     server=_header(response, "Server"))
        if 300 <= response.status < 400:
            entry["location"] = (_header(response, "Location") or "").partition("?")[0]
        body = bytearray()
        while len(body) < BODY and (piece := response.read1(min(BLOCK, BODY - len(body)))):
            body += piece
            entry["bytes"] = len(body)
        more = not response.isclosed() if response.length is None else response.length > 0
        entry["cut"] = len(body) >= BODY and more
        if response.length and len(body) < BODY:
            raise http.client.IncompleteRead(b"", response.length)
    if endpoint.purpose == "metrics" and response.status == 200:
        entry["families"], entry["names"] = families(bytes(body), entry["content_type"] or "")


class _Bounded(io.RawIOBase):
    """A connection that can be read until a moment and no longer: a time-out of the socket alone would be
    renewed by each byte that drips in."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection, self._until = connection, until

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, BLOCK)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


def _header(response: http.client.HTTPResponse, name: str) -> str | None:
    value = response.getheader(name)
    return value[:200] if value else None


def families(body: bytes, content_type: str) -> tuple[int | None, list[str]]:
    """How many metrics a body holds, and the first of their names in order; None where it is no text of
    metrics (Prometheus text format 0.0.4, OpenMetrics 1.0). A last line without an end is left out."""
    text = body[:body.rfind(b"\n") + 1].decode("utf-8", "replace")
    declared, samples = set(), set()
    for line in text.split("\n"):
        line = line[:LINE].rstrip("\r")
        if found := _TYPE.fullmatch(line):
            declared.add(found[1])
        elif line and not line.startswith("#") and (found := _SAMPLE.fullmatch(line)):
            samples.add(found[1])
        elif line and not line.startswith("#") and len(line) < LINE:
            return None, []
    format_ = content_type.lower()
    said = format_.startswith("application/openmetrics-text") or "version=0.0.4" in format_
    names = sorted(declared or samples)
    if not names and not (said and not text.strip()):
        return None, []
    return len(names), names[:MOST_NAMES]


def _failed(error: Exception, redactor: Any, got: int | None = None) -> dict[str, Any]:
    """Status, masked sentence and kind: refused, no_route, timeout, closed (before or in the middle of an
    answer), not_http, tls, other. ``got`` are the bytes of a body that had come."""
    text = " ".join(str(error).split())
    if isinstance(error, TimeoutError):
        why = f"no answer within {ENDPOINT_S:g} s" if got is None else f"the answer stopped after {got} bytes"
        status, kind = "timeout", "timeout"
    elif isinstance(error, ConnectionRefusedError):
        status, kind, why = "unreachable", "refused", "refused: nothing listens there"
    elif isinstance(error, (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)) or got:
        status, kind = "no_reply", "closed"
        why = "it closed the connection without an answer"
        if got is not None:
            why = f"the answer broke off after {got} bytes"
    elif isinstance(error, ssl.SSLError):
        status, kind, why = "no_reply", "tls", f"TLS: {text}"
    elif isinstance(error, (http.client.HTTPException, ValueError)):
        status, kind = "no_reply", "not_http"
        why = f"what answers there is no HTTP: {type(error).__name__}: {text}"
    elif isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        status, kind, why = "unreachable", "no_route", "its address cannot be reached"
    else:
        status, kind, why = "no_reply", "other", f"{type(error).__name__}: {text}"
    return {"status": status, "error_kind": kind, "why": redactor.text(why, 200)}
