"""The Docker Engine, asked by GET and HEAD on listed paths only.

One choke point: `Engine.send`, through which requests passes every request, redirects included. A request
that is not on the list is never sent. Each one is listed among the calls, also when it does not return.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import importlib.util
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import docker
import requests
from docker.errors import DockerException
from docker.tls import TLSConfig

from celery_triage.collect.child import Unavailable
from celery_triage.collect.probe import Emit

_ID = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,255}"
#: All that may be asked. The version prefix (``/v1.41``) is taken off first; queries are free, since no GET
#: of the Engine API changes anything (Docker Engine API v1.41 reference), but for ``/stats``, which would
#: stream for ever; ``/archive`` is GET for reading, PUT for writing.
ALLOWED = {
    "GET": re.compile(
        rf"/(?:_ping|version|info|events|networks|containers/json|networks/{_ID}|images/[^?#]{{1,300}}/json"
        rf"|containers/{_ID}/(?:json|logs|archive|stats))"
    ),
    "HEAD": re.compile(rf"/(?:_ping|containers/{_ID}/archive)"),
}
#: The one form of ``/stats``: one sample, without a second one of the engine's own a second later.
ONE_SAMPLE = {"stream": "false", "one-shot": "true"}
_VERSION_PREFIX = re.compile(r"/v[0-9]+\.[0-9]+(?=/)")
#: Where an engine is that nothing names otherwise.
LOCAL = "unix:///var/run/docker.sock"
NO_SSH = (
    "is an engine behind SSH, for which this Python lacks paramiko: `pip install 'docker[ssh]'` beside this "
    "tool, or lead its socket here (`ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST`) and set "
    "DOCKER_HOST=unix:///tmp/docker.sock"
)
#: Seconds for one answer to begin, and between two pieces of it. Every probe has its own deadline beside it.
CALL_S = 6.0
#: Largest answer that is read as JSON, and largest file that is read out of a container, in bytes.
JSON_LIMIT = 16 * 2**20
FILE_LIMIT = 256 * 2**10
#: Of Go's os.FileMode, which the stat header carries: folder, link, and every bit that means no regular file.
_DIRECTORY, _SYMLINK = 1 << 31, 1 << 27
_NOT_REGULAR = sum(1 << bit for bit in (31, 27, 26, 25, 24, 21, 19))


class Forbidden(RuntimeError):
    """A request that this tool must not make: a bug of ours, found before anything was sent."""


class NoEngine(Unavailable):
    """No Docker Engine answers where it should be."""

    def __init__(self, why: str) -> None:
        super().__init__("unreachable", why)


class NotPermitted(Unavailable):
    """There is an engine, and this user may not ask it."""

    def __init__(self, why: str) -> None:
        super().__init__("denied", why)


class NotFound(Exception):
    """The engine answers that there is no such thing (404)."""


class EngineError(Exception):
    """The engine answers with an error. The text is its own message."""


@dataclass(frozen=True)
class Stat:
    """What stands at a path inside a container. `target` is where a link leads, as an absolute path."""

    size: int
    mode: int
    target: str
    modified: str = ""

    @property
    def is_file(self) -> bool:
        return not self.mode & _NOT_REGULAR

    @property
    def is_link(self) -> bool:
        return bool(self.mode & _SYMLINK)

    @property
    def is_directory(self) -> bool:
        return bool(self.mode & _DIRECTORY)


class Engine(docker.APIClient):
    """A client of the engine that ``DOCKER_HOST`` names (with its TLS variables), else the local one.

    `emit` gets every call. `api` is the version to speak, if it is known already (`settle_version`).
    Nothing is asked before the first method is called.
    """

    def __init__(
        self, emit: Emit, *, api: str = "1.24", environment: dict[str, str] | None = None,
        call_s: float = CALL_S,
    ) -> None:
        self._emit = emit
        self._call_s = call_s
        connection = _connection(environment or dict(os.environ))
        given = str(connection["base_url"] or LOCAL)
        self._address = shown_address(given)
        if given.startswith("ssh://") and importlib.util.find_spec("paramiko") is None:
            raise NoEngine(f"{self._address} {NO_SSH}")
        try:
            super().__init__(version=api, timeout=call_s, **connection)
        except (DockerException, ValueError) as error:
            why = str(error).replace(given, self._address)
            raise NoEngine(f"the address of the engine cannot be used: {shown_address(why)}") from None
        except Exception as error:
            if not given.startswith("ssh://"):
                raise
            # The library connects here already, and paramiko has errors of its own.
            text = shown_address(str(error)) or type(error).__name__
            raise NoEngine(f"no Docker Engine answers at {self._address}: {text}") from None
        self.max_redirects = 0
        self.trust_env = False  # no proxy and no .netrc stands between this tool and its engine

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """The one way out. Forbidden when the request is not on the list."""
        parts = urlsplit(request.url)
        path = unquote(_VERSION_PREFIX.sub("", parts.path, count=1))
        pattern = ALLOWED.get(request.method)
        if pattern is None or not pattern.fullmatch(path) or "/../" in path + "/" or request.body:
            raise Forbidden(f"{request.method} {path} is not on the list of what may be asked")
        if path.endswith("/stats") and dict(parse_qsl(parts.query)) != ONE_SAMPLE:
            raise Forbidden(f"{request.method} {path} may only be asked for one sample")
        kwargs["allow_redirects"] = False
        kwargs["timeout"] = min(self._call_s, max(0.1, self._emit.left()))
        query = f"?{unquote(parts.query)}" if parts.query else ""
        with self._emit.asking(f"{request.method} {path}{query}") as asked, _told(self._address):
            response = super().send(request, **kwargs)
            asked.outcome = str(response.status_code)
        return response

    @property
    def api(self) -> str:
        """The version of the API that is spoken."""
        return self._version

    def ask(self, path: str, /, **query: Any) -> Any:
        """The JSON answer to one GET. NotFound, NotPermitted, EngineError."""
        with self.opened("GET", path, **query) as response, _told(self._address):
            return _json(_read(response, JSON_LIMIT))

    @contextlib.contextmanager
    def opened(self, method: str, path: str, /, **query: Any) -> Iterator[requests.Response]:
        """One answer whose body is still to be read, closed at the end of the block."""
        given = {name: value for name, value in query.items() if value is not None}
        url = f"{self.base_url}/v{self._version}{path}"
        with contextlib.closing(self.request(method, url, params=given, stream=True)) as response:
            if response.status_code == 404:
                raise NotFound(f"status 404{_message(response)}")
            if response.status_code in (401, 403):
                why = f"the engine refuses with status {response.status_code}{_message(response)}"
                raise NotPermitted(why)
            if response.status_code >= 300:
                raise EngineError(f"status {response.status_code}{_message(response)}")
            yield response

    def settle_version(self) -> dict[str, Any]:
        """The answer of ``/version``; from then on the newest API is used that both sides know."""
        try:
            version = self.ask("/version")
        except (NotFound, EngineError) as error:
            raise NoEngine(f"what answers there is no Docker Engine: {error}") from None
        if not isinstance(version, dict) or "ApiVersion" not in version:
            raise NoEngine("what answers there is no Docker Engine: it does not know its version")
        theirs = _number(version["ApiVersion"])
        self._version = ".".join(map(str, min(theirs, (1, 44)))) if theirs >= (1, 24) else "1.24"
        return version

    def stat(self, container: str, path: str) -> Stat | None:
        """What stands at an absolute path inside a container, also of one that does not run; None: nothing.

        HEAD ``/containers/{id}/archive`` (Engine API v1.41): base64 JSON in ``X-Docker-Container-Path-Stat``.
        """
        try:
            with self.opened("HEAD", f"/containers/{quote(container)}/archive", path=path) as response:
                header = response.headers.get("X-Docker-Container-Path-Stat", "")
        except NotFound:
            return None
        try:
            told = json.loads(base64.b64decode(header))
            return Stat(int(told["size"]), int(told["mode"]), str(told.get("linkTarget") or ""),
                        str(told.get("mtime") or ""))
        except (ValueError, KeyError, TypeError, binascii.Error):
            raise EngineError("the engine gave no file status that can be read") from None

    def follow(self, container: str, path: str) -> tuple[str, Stat] | None:
        """The path and status of the file or folder at the end of a chain of links; None when it is
        broken."""
        for _ in range(8):
            stat = self.stat(container, path)
            if stat is None or not stat.is_link:
                return (path, stat) if stat else None
            if not stat.target.startswith("/"):
                return None
            path = stat.target
        return None

    def read_file(self, container: str, path: str, limit: int = FILE_LIMIT) -> bytes | None:
        """The content of one regular file inside a container, at most `limit` bytes of it; None: no such
        file.

        Asked only after HEAD has said that it is a file and how large: GET on a folder would send all of it.
        """
        found = self.follow(container, path)
        return self.read_found(container, *found, limit) if found else None

    def read_found(self, container: str, path: str, stat: Stat, limit: int = FILE_LIMIT) -> bytes | None:
        """The content of what `follow` has found, if it is a regular file of at most `limit` bytes."""
        if not stat.is_file or stat.size > limit:
            return None
        place = f"/containers/{quote(container)}/archive"
        with self.opened("GET", place, path=path) as response, _told(self._address):
            raw = _read(response, limit + 64 * 2**10)
        try:
            with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
                member = archive.next()
                if member is None or not member.isfile():
                    return None
                return archive.extractfile(member).read(limit)
        except (tarfile.TarError, EOFError) as error:
            kind = type(error).__name__
            raise EngineError(f"the engine sent no archive that can be read: {kind}") from None


def _connection(environment: dict[str, str]) -> dict[str, Any]:
    """Address and TLS as the docker command takes them: ``DOCKER_HOST``, else the context, else the local
    socket. A broken context is not silently replaced by another engine."""
    host = environment.get("DOCKER_HOST")
    if host:
        if not (environment.get("DOCKER_TLS_VERIFY") or environment.get("DOCKER_CERT_PATH")):
            return {"base_url": host}
        path = environment.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
        files = [os.path.join(path, name) for name in ("cert.pem", "key.pem", "ca.pem")]
        verify = bool(environment.get("DOCKER_TLS_VERIFY"))
        tls = TLSConfig(client_cert=(files[0], files[1]), verify=verify, ca_cert=files[2] if verify else None)
        return {"base_url": re.sub(r"^tcp://", "https://", host), "tls": tls}
    name = environment.get("DOCKER_CONTEXT") or _current_context(environment)
    if name in ("", "default"):
        return {"base_url": None}
    context = docker.ContextAPI.get_context(name)
    if context is None or not context.Host:
        raise NoEngine(f"the Docker context {name} cannot be read")
    return {"base_url": context.Host, "tls": context.TLSConfig or False}


def _current_context(environment: dict[str, str]) -> str:
    folder = environment.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        return str(config.get("currentContext") or "") if isinstance(config, dict) else ""
    except (OSError, ValueError):
        return ""


def shown_address(text: str) -> str:
    """The address of an engine as it may be shown: without user and password, and without a query."""
    if text.startswith(("unix:", "npipe:", "http+unix:")):
        return text
    return re.sub(r"^(.*//)?\S*@", r"\1", text).partition("?")[0]


@contextlib.contextmanager
def _told(address: str) -> Iterator[None]:
    """Errors of the connection to that address as what they mean."""
    try:
        yield
    except requests.exceptions.RequestException as error:
        cause = _os_error(error)
        if cause is not None and cause.errno in (errno.EACCES, errno.EPERM):
            why = "this user may not open the engine's socket (is it in the group docker?)"
            raise NotPermitted(why) from None
        if isinstance(error, requests.exceptions.ReadTimeout) or isinstance(cause, TimeoutError):
            raise Unavailable("timeout", "the engine did not answer a call in time") from None
        if isinstance(error, requests.exceptions.ChunkedEncodingError):
            raise EngineError("the answer of the engine was cut off") from None
        text = cause.strerror if cause is not None and cause.strerror else type(error).__name__
        raise NoEngine(f"no Docker Engine answers at {address}: {text}") from None


def _os_error(error: BaseException | None) -> OSError | None:
    """The system's error at the bottom of what requests and urllib3 made of it."""
    seen: list[BaseException] = []
    queue: list[BaseException | None] = [error]
    while queue and len(seen) < 20:
        current = queue.pop(0)
        if not isinstance(current, BaseException) or current in seen:
            continue
        seen.append(current)
        if isinstance(current, OSError) and not isinstance(current, requests.exceptions.RequestException):
            return current
        queue += [current.__cause__, current.__context__, getattr(current, "reason", None)]
        queue += [part for part in current.args if isinstance(part, BaseException)]
    return None


def _read(response: requests.Response, limit: int) -> bytes:
    """The body, at most `limit` bytes; EngineError beyond."""
    pieces, total = [], 0
    for piece in response.iter_content(2**16):
        total += len(piece)
        if total > limit:
            raise EngineError(f"the engine's answer is larger than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        raise EngineError("the engine's answer is no JSON") from None


def _message(response: requests.Response) -> str:
    """What the engine says in an error's body, as the end of a sentence; a HEAD has none."""
    with contextlib.suppress(Exception):
        raw = _read(response, 2**16)
        told = json.loads(raw)
        return ": " + " ".join(str(told["message"]).split())[:300]
    return ""


def _number(version: Any) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,3})", str(version))
    return (int(found[1]), int(found[2])) if found else (1, 24)
