"""A Docker Engine that only replays: recorded answers over a Unix socket, one process for each connection.

The answers are those of a real Engine 20.10 to this tool, looking at the incident's stack
(`recorded_engine.json`: names without the laboratory's prefix, paths and password replaced, files cut to
the lines that state a version). It can hang on a path or cut an answer at a byte, which no real engine does
when asked to.
"""

from __future__ import annotations

import base64
import http.server
import io
import json
import os
import re
import signal
import socketserver
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

RECORDED = json.loads(Path(__file__).with_name("recorded_engine.json").read_text("utf-8"))
PASSWORD = "n0t-a-real-passw0rd"
EMAIL, FLOWER, POSTGRES, REDIS = "a2db723ab46a", "083caae9cd04", "ffdf5a2b5a5f", "bdb80251dc44"


def frame(stream: int, text: bytes) -> bytes:
    """One frame of a multiplexed log stream: 1 is standard output, 2 standard error."""
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


def body_of(told: dict) -> bytes:
    """The body of one recorded answer."""
    if "frames" in told:
        return b"".join(frame(stream, text.encode()) for stream, text in told["frames"])
    if "file" in told:
        packed, content = io.BytesIO(), told["file"].encode()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            member = tarfile.TarInfo("file")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        return packed.getvalue()
    if "raw" in told:
        return told["raw"]
    if isinstance(told.get("json"), list) and told["json"] and "timeNano" in told["json"][0]:
        return b"".join(json.dumps(event).encode() + b"\n" for event in told["json"])
    return json.dumps(told.get("json")).encode()


def key_of(method: str, target: str) -> str:
    parts = urlsplit(target)
    path = re.sub(r"^/v[0-9.]+(?=/)", "", unquote(parts.path))
    path = re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1", path)
    query = sorted((name, value) for name, value in parse_qsl(parts.query) if name not in ("since", "until"))
    return f"{method} {path}" + ("?" + "&".join(f"{name}={value}" for name, value in query) if query else "")


@contextmanager
def engine(folder: Path, answers: dict | None = None, hang: str = "", cut: dict[str, int] | None = None):
    """Serve until the block ends; gives the address for ``DOCKER_HOST``. `answers` are laid over the
    recorded ones (None takes one away), `hang` is a pattern of requests that get no answer, `cut` gives for
    a pattern the number of bytes of the body after which the connection ends. What was asked is written to
    `folder`/asked."""
    told = {key: value for key, value in {**RECORDED, **(answers or {})}.items() if value is not None}
    path, asked = folder / "engine.sock", folder / "asked"

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            key = key_of(self.command, self.path)
            with asked.open("a") as file:
                file.write(key + "\n")
            if hang and re.search(hang, key):
                time.sleep(60)
            found = told.get(key)
            if found is None:
                found = {"status": 404, "json": {"message": f"No such thing: {key}"}}
            body = body_of(found) if self.command == "GET" else b""
            self.send_response(found["status"])
            if "stat" in found:
                stat = base64.b64encode(json.dumps(found["stat"]).encode()).decode()
                self.send_header("X-Docker-Container-Path-Stat", stat)
            limit = next((n for pattern, n in (cut or {}).items() if re.search(pattern, key)), None)
            if self.command == "HEAD":
                self.end_headers()
            elif limit is None:
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            else:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n%s" % (len(body), body[:limit]))
                self.wfile.flush()
                self.close_connection = True

        do_GET = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "local"

    class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
        request_queue_size = 64

    server = Server(str(path), Handler)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            server.serve_forever(poll_interval=0.05)
        finally:
            os._exit(0)
    server.socket.close()
    try:
        yield f"unix://{path}"
    finally:
        for kill, who in ((os.killpg, pid), (os.kill, pid)):
            try:
                kill(who, signal.SIGKILL)
            except ProcessLookupError:
                pass
        os.waitpid(pid, 0)


def requests_made(folder: Path) -> list[str]:
    """What was asked, in order."""
    path = folder / "asked"
    return path.read_text().splitlines() if path.exists() else []
