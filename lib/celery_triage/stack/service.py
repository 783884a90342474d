"""One service of the stack: what its container says of its command, its role, its URLs and its addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

from celery_triage.commandline import Launch, Unwrapped, parse, unwrap
from celery_triage.stack import names, roles, sources
from celery_triage.stack.names import Resolution
from celery_triage.stack.sources import Url

#: States in which a container has no process, so no address and no name in Docker's DNS.
NOT_RUNNING = ("created", "exited", "dead", "restarting", "removing")
DEFAULT_QUEUE = "celery"
_URL_OPTIONS = {"-b": "broker", "--broker": "broker", "--result-backend": "result"}
#: Addresses that mean "on every address of the host", and the one to take.
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}


class Service:
    """One container. ``item`` is its raw entry of the ``containers`` section; ``files`` is the data of its
    ``files/<label>`` section, ``lines`` the lines of its ``logs/<label>``, ``options`` the user's; ``read``
    reads its command, as ``parse`` does."""

    def __init__(
        self,
        item: Mapping[str, Any],
        files: Mapping[str, Any] | None = None,
        lines: list | None = None,
        options: Mapping[str, Any] | None = None,
        read: Callable[..., Launch] = parse,
    ) -> None:
        self.item, self._read = item, read
        self._files, self._lines, self._options = files or {}, lines or [], options or {}
        self.label: str = item["label"]
        self.name: str = item.get("name") or item["label"]
        self.member: bool = bool(item.get("member", True))
        self.env: Mapping[str, str] = {name: value or "" for name, value in (item.get("env") or {}).items()}

    def __repr__(self) -> str:
        return f"Service({self.label}, {self.role})"

    # its command

    @cached_property
    def unwrapped(self) -> Unwrapped:
        """Its entrypoint and command, wrappers taken off; ``.unreadable`` says why where that is not
        possible."""
        return unwrap([*(self.item.get("entrypoint") or ()), *(self.item.get("cmd") or ())])

    @property
    def argv(self) -> list[str]:
        """The command itself; empty where it cannot be read."""
        return list(self.unwrapped.argv or ())

    @cached_property
    def launch(self) -> Launch | None:
        """The command as Celery of the image's version reads it; None when it is no Celery command."""
        if not self.unwrapped.is_celery:
            return None
        flower = self.packages.get("flower") or {}
        return self._read(self.argv, (self.packages.get("celery") or {}).get("version"),
                          env=self._environment, expands=self.unwrapped.expands,
                          flower=False if flower.get("present") is False else flower.get("version"))

    @property
    def packages(self) -> Mapping[str, Any]:
        """What ``files/<label>`` says of the packages in its image; empty when nobody looked."""
        return self._files.get("packages") or {}

    @property
    def _environment(self) -> dict[str, str]:
        """The environment of its process: the container's, and what its command line sets before it."""
        return {**self.env, **dict(self.unwrapped.env)}

    def _expanded(self, text: str) -> str:
        """Text with ``$NAME`` replaced where a shell does that and the variable is known."""
        if not self.unwrapped.expands:
            return text
        return re.sub(r"\$\{?(\w+)\}?", lambda match: self._environment.get(match[1], match[0]), text)

    @cached_property
    def banner(self) -> Mapping[str, Any]:
        """What its own start banner says in the log: ``role``, ``broker``, ``result``, ``queues``."""
        return sources.read_banner(line[2] for line in self._lines)

    @cached_property
    def role(self) -> str:
        """One of ``roles.ROLES``. A misspelt sub-command (``wroker``) counts as what it is most like."""
        command = self.launch.subcommand if self.launch else None
        for problem in self.launch.problems if self.launch else ():
            for meant in problem.candidates[:1] if problem.kind == "unknown_command" else ():
                if SequenceMatcher(None, problem.token, meant).ratio() > 0.7:
                    command = meant
        has_urls = any(sources.looks_like_url(value) and sources.purpose_of(name, value)[0] != "metrics"
                       for name, value in self.env.items())
        return roles.role_of(self.item, self.unwrapped.argv, command, has_urls=has_urls,
                             logged=self.banner.get("role"))

    @property
    def is_celery(self) -> bool:
        return self.role in roles.CELERY_ROLES

    @property
    def has_beat(self) -> bool:
        """Whether it sends what is due: beat, or a worker with ``-B``."""
        embedded = self.role == "worker" and bool(self.launch and self.launch.options.get("beat"))
        return self.role == "beat" or embedded

    # what it talks to

    @cached_property
    def urls(self) -> list[Url]:
        """Its broker, result, database and other URLs, those that it goes by first."""
        named = {"broker": _list(self._options.get("broker_url_env")), "result": [], "database": []}
        for name in _list(self._options.get("db_url_env")):
            purpose, _ = sources.purpose_of(name, self.env.get(name, ""))
            named["result" if purpose == "result" else "database"].append(name)
        told = self.banner if self.is_celery else {}
        banner = {key: told[key] for key in ("broker", "result") if key in told}
        return sources.urls_of(self._environment, self._option_urls(), banner, is_celery=self.is_celery,
                               named=named, problems=self.item.get("url_problems"))

    def url(self, purpose: str) -> Url | None:
        """The URL that it goes by for a purpose (``database``: the first)."""
        decided = purpose in ("broker", "result")
        return next((url for url in self.urls if url.purpose == purpose and (url.used or not decided)), None)

    def _option_urls(self) -> dict[str, tuple[str, str]]:
        """``-b`` and ``--result-backend``, also where they stand in a wrong place (then Celery refuses
        them, and still they say what was meant)."""
        found: dict[str, tuple[str, str]] = {}
        words = list(self.launch.argv) if self.launch else []
        for index, word in enumerate(words):
            name, equals, value = word.partition("=")
            if word.startswith("-b") and "://" in word and not equals:  # -bredis://…
                name, equals, value = "-b", "=", word[2:]
            if purpose := _URL_OPTIONS.get(name):
                text = value if equals else "".join(words[index + 1:index + 2])
                found[purpose] = (name, self._expanded(text))
        return found

    @cached_property
    def queues(self) -> list[str]:
        """The queues that a worker consumes, in the order given: by its option, also when that option is
        misspelt (``--queue=mail`` means mail, whatever Celery says of it), by its banner, else ``celery``.
        Empty for all but workers."""
        if self.role != "worker":
            return []
        if given := (self.launch.options.get("queues") if self.launch else None):
            return [self._expanded(name) for name in given]
        for problem in self.launch.problems if self.launch else ():
            if "--queues" not in problem.candidates[:1] or problem.index is None:
                continue
            _, equals, value = problem.token.partition("=")
            following = "".join(self.launch.argv[problem.index + 1:problem.index + 2])
            if not equals:
                value = "" if following.startswith("-") else following
            if value:
                return [part.strip() for part in self._expanded(value).split(",") if part.strip()]
        return list(self.banner.get("queues") or ()) or [DEFAULT_QUEUE]

    @property
    def app_module(self) -> str | None:
        """What ``-A`` (or ``CELERY_APP``) says: module, ``module:attribute`` or package."""
        return self.launch.app if self.launch else None

    @property
    def app_absent(self) -> bool:
        """Whether the module of ``-A`` was looked for in the image and is not there."""
        return (self._files.get("app") or {}).get("present") is False

    # its names and addresses

    @property
    def hostname(self) -> str:
        """The host name inside: the configured one, else the short id."""
        return self.item.get("hostname") or str(self.item.get("id") or "")[:12]

    @cached_property
    def nodename(self) -> str | None:
        """The name under which a worker answers (Celery 5.7, ``utils/nodenames.py``); None for other
        roles."""
        if self.role != "worker":
            return None
        given = str((self.launch.options.get("hostname") if self.launch else None) or "")
        if self.unwrapped.expands:
            given = re.sub(r"\$\{HOSTNAME\}|\$HOSTNAME\b|\$\(hostname\)|`hostname`", self.hostname, given)
        first, _, rest = given.partition("@") if "@" in given else ("", "", given)
        short, _, domain = self.hostname.partition(".")

        def spelt(text: str, name: str) -> str:
            known = {"%h": self.hostname, "%n": name, "%d": domain, "%i": "0", "%I": "", "%%": "%"}
            return re.sub(r"%[hndiI%]", lambda match: known[match[0]], text)

        first = first or "celery"
        return f"{spelt(first, short)}@{spelt(rest or '%h', first)}"

    @property
    def latest(self) -> Mapping[str, Any]:
        """The newest sample of its state; empty when there is none."""
        samples = self.item.get("samples") or ()
        return samples[-1] if samples else {}

    @property
    def running(self) -> bool:
        status = self.latest.get("status")
        return status is not None and status not in NOT_RUNNING and not self.item.get("vanished")

    @cached_property
    def networks(self) -> frozenset[str]:
        return frozenset(self.item.get("networks") or ())

    @property
    def ip(self) -> str | None:
        """Its address on the first of its networks that gives it one."""
        members = self.item.get("networks") or {}
        return next((ip for name in sorted(members) if (ip := (members[name] or {}).get("ip"))), None)

    @cached_property
    def own_names(self) -> frozenset[str]:
        """Container name, short id and Compose service, in lower case: its names whatever the network."""
        given = (self.name, str(self.item.get("id") or "")[:12], self.item.get("service"))
        return frozenset(name.lower() for name in given if name)

    def names_on(self, network: str) -> frozenset[str]:
        """All names, in lower case, that mean it on that network; none on the default bridge."""
        if network in names.NO_NAMES:
            return frozenset()
        member = (self.item.get("networks") or {}).get(network) or {}
        short = str(self.item.get("id") or "")[:12]
        given = (*(member.get("aliases") or ()), self.name, short)
        return frozenset(name.lower() for name in given if name)

    def ways(self, resolution: Resolution, port: int | None) -> list[tuple[str, int, str]]:
        """How the engine's machine reaches this container's ``port``: (address, port, sentence), best
        first: its own address on a shared network, on any other, then published ports."""
        members = self.item.get("networks") or {}
        found = []
        for network in (*resolution.shared, *sorted(set(members) - set(resolution.shared))):
            if port and (ip := (members.get(network) or {}).get("ip")):
                found.append((ip, port, f"the address of {self.label} on {network}"))
        for published in self.item.get("ports") or ():
            bound, _, number = str(published.get("host") or "").rpartition(":")
            through_host = not resolution.shared and number == str(port)
            if number.isdigit() and (published.get("container") == port or through_host):
                address = _ANYWHERE.get(bound.strip("[]"), bound.strip("[]"))
                found.append((address, int(number), f"the published port {number} of {self.label}"))
        return found


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())
