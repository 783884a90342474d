"""AMQP, spoken so that nothing but what is listed can be sent; and what a broker's refusals mean.

A reading client opens a connection with the login of a URL, asks for queues and exchanges passively (which
makes nothing) and closes it. The methods are those of AMQP 0-9-1; who tries another one is refused here,
before anything is sent.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import Any

import amqp
from amqp import spec

from celery_triage.collect.servers import Server

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 2.0
#: A client's greeting (AMQP 0-9-1). The server answers it with what it is, before any login.
GREETING = b"AMQP\x00\x00\x09\x01"

_TALK = frozenset({
    spec.Connection.StartOk, spec.Connection.TuneOk, spec.Connection.Open, spec.Connection.Close,
    spec.Connection.CloseOk, spec.Channel.Open, spec.Channel.Close, spec.Channel.CloseOk,
})
#: By the text of the server's refusal; each but ``full`` was seen with RabbitMQ 3.10.8.
_KINDS = (
    (r"Login was refused|invalid credentials", "denied", "auth"),
    (r"vhost .{0,300} not found", "denied", "vhost"),
    (r"access to vhost .{0,300} refused for user", "denied", "permission"),
    (r"connection limit|connection refused - .{0,100}limit", "denied", "full"),
    (r"ACCESS_REFUSED|NOT_ALLOWED", "denied", "other"),
    (r"Connection refused|No route to host|Network is unreachable", "unreachable", "refused"),
    (r"Name or service not known|Temporary failure in name resolution|No address associated",
     "unreachable", "dns"),
    (r"timed out|Timeout|Resource temporarily unavailable", "timeout", "timeout"),
    (r"SSL|wrong version number|certificate", "denied", "tls"),
    (r"Received .{0,80} while expecting|[Ff]rame|auth mechanism", "no_reply", "not_amqp"),
    (r"closed|Connection reset|Broken pipe", "no_reply", "closed"),
)


class RefusedHere(Exception):
    """A method that is not on the list: it never left this process."""


class _Passive:
    """What a connection and its channels share: they send nothing that could change anything."""

    def allowed(self, method: tuple[int, int], arguments: tuple) -> bool:
        if method in (spec.Queue.Declare, spec.Exchange.Declare):
            return bool(arguments[2 if method == spec.Queue.Declare else 3])  # passive
        return method in _TALK

    def send_method(self, sig: tuple[int, int], format: Any = None, args: Any = None, *rest: Any,
                    **options: Any) -> Any:
        if not self.allowed(sig, args or ()):
            raise RefusedHere(f"the method {sig} is not one of those that may be sent")
        return super().send_method(sig, format, args, *rest, **options)


class ReadingChannel(_Passive, amqp.Channel):
    """A channel that declares passively."""


class ReadingAmqp(_Passive, amqp.Connection):
    """A connection that opens, looks and closes."""

    Channel = ReadingChannel

    def shut(self) -> None:
        """Close it, whatever state it is in; a server that has stopped reading is not waited for."""
        try:
            self.close()
        except Exception:
            self.collect()


def connect(server: Server, way: tuple[str, int, str], client: type[ReadingAmqp] = ReadingAmqp) -> Any:
    """An open connection by one way, in the virtual host of the URL, with its login. TLS is used where the
    URL says so, without verifying: the authorities' certificates lie in the container, not here."""
    address, port, _ = way
    connection = client(
        host=f"[{address}]:{port}" if ":" in address else f"{address}:{port}",
        userid=server.user or "guest", password=server.password if server.user else "guest",
        virtual_host=server.database or "/", heartbeat=0,
        ssl={"cert_reqs": ssl.CERT_NONE} if server.tls else False,
        connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S, write_timeout=READ_TIMEOUT_S,
        client_properties={"product": "celery-triage"},
    )
    connection.connect()
    return connection


def greet(way: tuple[str, int, str]) -> str:
    """What answers a client's greeting, before any login: empty for AMQP 0-9-1, else what is there."""
    with socket.create_connection(way[:2], timeout=CONNECT_TIMEOUT_S) as plain:
        plain.settimeout(READ_TIMEOUT_S)
        plain.sendall(GREETING)
        first = plain.recv(11)
    # A method frame on channel 0: connection.start.
    return "" if first[:3] == b"\x01\x00\x00" else "what answers there is no AMQP 0-9-1"


def told(error: Exception, redactor: Any) -> dict[str, Any]:
    """Status, masked sentence and kind of a failure. Kinds: refused, dns, timeout, auth, vhost (it does not
    exist), permission (none in the virtual host), full, tls, not_amqp, closed, other."""
    text = " ".join(str(error).split()) or type(error).__name__
    why = redactor.text(f"{type(error).__name__}: {text}", 500)
    for pattern, status, kind in _KINDS:
        if re.search(pattern, text):
            return {"status": status, "why": why, "error_kind": kind}
    return {"status": "no_reply", "why": why, "error_kind": "other"}
