"""The stack as its containers describe it: services, roles, launch commands, URLs, and who can reach whom.

Pure: in goes the data of a ``containers`` section, masked or not (``collect`` uses the unmasked one to know where
to ask), and what else the evidence holds (versions in the images, logs, the user's options); out come services.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from celery_triage.commandline import Launch, Unwrapped, parse, unwrap
from celery_triage.model import Evidence
from celery_triage.stack import names, roles, sources
from celery_triage.stack.names import Resolution
from celery_triage.stack.sources import Url, looks_like_url, purpose_of

#: States in which a container has no process, so no address and no name in Docker's DNS.
NOT_RUNNING = ("created", "exited", "dead", "restarting", "removing")
DEFAULT_QUEUE = "celery"


class Service:
    """One container. ``item`` is its raw entry of the ``containers`` section."""

    def __init__(self, item: Mapping[str, Any], stack: Stack) -> None:
        self.item = item
        self._stack = stack
        self.label: str = item["label"]
        self.name: str = item.get("name") or item["label"]
        self.member: bool = bool(item.get("member", True))
        self.env: Mapping[str, str] = {name: value or "" for name, value in (item.get("env") or {}).items()}

    def __repr__(self) -> str:
        return f"Service({self.label}, {self.role})"

    @cached_property
    def unwrapped(self) -> Unwrapped:
        """Its entrypoint and command, wrappers taken off; ``.unreadable`` says why where that is not possible."""
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
        packages = self.packages
        flower = packages.get("flower") or {}
        there = False if flower.get("present") is False else flower.get("version")
        env = {**self.env, **dict(self.unwrapped.env)}
        return parse(self.argv, (packages.get("celery") or {}).get("version"), env=env, flower=there,
                     expands=self.unwrapped.expands)

    @property
    def packages(self) -> Mapping[str, Any]:
        """What ``files/<label>`` says of the packages in its image; empty when nobody looked."""
        return (self._stack.files.get(self.label) or {}).get("packages") or {}

    @property
    def is_celery(self) -> bool:
        return self.role in roles.CELERY_ROLES

    @cached_property
    def role(self) -> str:
        launch = self.launch
        has_urls = any(looks_like_url(value) and purpose_of(name, value)[0] in ("broker", "result", "database")
                       for name, value in self.env.items())
        return roles.role_of(self.item, self.unwrapped.argv, launch.subcommand if launch else None, has_urls)

    @cached_property
    def banner(self) -> Mapping[str, Any]:
        """What its own start banner says in the log: ``broker``, ``result``, ``queues``."""
        lines = self._stack.logs.get(self.label) or ()
        return sources.read_banner(line[2] for line in lines)

    @cached_property
    def urls(self) -> list[Url]:
        """Its broker, result, database and other URLs, those that it goes by first."""
        options = self._stack.options
        named = {"broker": _list(options.get("broker_url_env")), "database": _list(options.get("db_url_env"))}
        named_results = [name for name in named["database"] if purpose_of(name, self.env.get(name, ""))[0] == "result"]
        named = {"broker": named["broker"], "result": named_results,
                 "database": [name for name in named["database"] if name not in named_results]}
        banner = {key: value for key, value in self.banner.items() if key != "queues"} if self.is_celery else {}
        env = {**self.env, **dict(self.unwrapped.env)}
        return sources.urls_of(env, self._option_urls(), banner, is_celery=self.is_celery, named=named,
                               problems=self.item.get("url_problems"))

    def url(self, purpose: str) -> Url | None:
        """The URL that it goes by for a purpose (``database``: the first)."""
        return next((url for url in self.urls if url.purpose == purpose and (url.used or purpose not in (
            "broker", "result"))), None)

    def _option_urls(self) -> dict[str, tuple[str, str]]:
        """``-b`` and ``--result-backend``, also where they stand in a wrong place (then Celery refuses them, and
        still they say what was meant)."""
        if self.launch is None:
            return {}
        found = {}
        words = list(self.launch.argv)
        for index, word in enumerate(words):
            name, equals, value = word.partition("=")
            purpose = {"-b": "broker", "--broker": "broker", "--result-backend": "result"}.get(name)
            if word.startswith("-b") and not word.startswith("--") and len(word) > 2 and "://" in word:
                name, purpose, equals, value = "-b", "broker", "=", word[2:]
            if purpose is None:
                continue
            text = value if equals else words[index + 1] if index + 1 < len(words) else ""
            found[purpose] = (name, self._expanded(text))
        return found

    def _expanded(self, text: str) -> str:
        """Text with ``$NAME`` replaced where a shell does that and the variable is known."""
        if not self.unwrapped.expands:
            return text
        return re.sub(r"\$\{?(\w+)\}?", lambda match: self.env.get(match[1], match[0]), text)

    @cached_property
    def queues(self) -> list[str]:
        """The queues that a worker consumes, in the order given: by its option, also when that option is
        misspelt (``--queue=mail`` means mail, whatever Celery says of it), by its banner, else ``celery``.
        Empty for everything but workers."""
        if self.role != "worker":
            return []
        given = self.launch.options.get("queues") if self.launch else None
        if given:
            return [self._expanded(name) for name in given]
        for problem in self.launch.problems if self.launch else ():
            if "--queues" in problem.candidates[:1] and problem.index is not None:
                _, equals, value = problem.token.partition("=")
                following = self.launch.argv[problem.index + 1:problem.index + 2]
                value = value if equals else next((word for word in following if not word.startswith("-")), "")
                if value:
                    return [part.strip() for part in value.split(",") if part.strip()]
        return list(self.banner.get("queues") or ()) or [DEFAULT_QUEUE]

    @property
    def app_module(self) -> str | None:
        """What ``-A`` (or ``CELERY_APP``) says: module, ``module:attribute`` or package."""
        return self.launch.app if self.launch else None

    @property
    def hostname(self) -> str:
        """The host name inside: the configured one, else the short id."""
        return self.item.get("hostname") or str(self.item.get("id") or "")[:12]

    @cached_property
    def nodename(self) -> str | None:
        """The name under which a worker answers (Celery 5.7, ``utils/nodenames.py``); None for other roles."""
        if self.role != "worker":
            return None
        given = str((self.launch.options.get("hostname") if self.launch else None) or "")
        host = self.hostname
        if self.unwrapped.expands:
            given = re.sub(r"\$\{HOSTNAME\}|\$HOSTNAME|\$\(hostname\)|`hostname`", host, given)
        first, _, rest = given.partition("@") if "@" in given else ("", "", given)
        first, rest = first or "celery", rest or "%h"
        short, _, domain = host.partition(".")

        def spelt(text: str, name: str) -> str:
            known = {"%h": host, "%n": name, "%d": domain, "%i": "0", "%I": "", "%%": "%"}
            return re.sub(r"%[hndiI%]", lambda match: known[match[0]], text)

        return f"{spelt(first, short)}@{spelt(rest, first)}"

    @property
    def latest(self) -> Mapping[str, Any]:
        """The newest sample of its state; empty when there is none."""
        samples = self.item.get("samples") or ()
        return samples[-1] if samples else {}

    @property
    def running(self) -> bool:
        return bool(self.latest) and self.latest.get("status") not in NOT_RUNNING and not self.item.get("vanished")

    @cached_property
    def networks(self) -> frozenset[str]:
        return frozenset(self.item.get("networks") or ())

    @property
    def ip(self) -> str | None:
        """Its address on the first of its networks that gives it one."""
        members = self.item.get("networks") or {}
        return next((members[name]["ip"] for name in sorted(members) if (members[name] or {}).get("ip")), None)

    def names_on(self, network: str) -> frozenset[str]:
        """All names, in lower case, that mean it on that network; none on the default bridge."""
        if network in names.NO_NAMES:
            return frozenset()
        member = (self.item.get("networks") or {}).get(network) or {}
        short = str(self.item.get("id") or "")[:12]
        return frozenset(name.lower() for name in (*(member.get("aliases") or ()), self.name, short) if name)

    def ways(self, resolution: Resolution, port: int | None) -> list[tuple[str, int, str]]:
        """How the machine of the engine reaches this container's ``port``: (address, port, sentence), best first:
        its own address on a shared network, on any other, then published ports."""
        if not port:
            return []
        found = []
        members = self.item.get("networks") or {}
        order = [*resolution.shared, *sorted(set(members) - set(resolution.shared))]
        for network in order:
            if ip := (members.get(network) or {}).get("ip"):
                found.append((ip, port, f"the address of {self.label} on {network}"))
        for published in self.item.get("ports") or ():
            bound, _, number = str(published.get("host") or "").rpartition(":")
            wanted = published.get("container") == port or (not resolution.shared and number == str(port))
            if number and wanted:
                address = bound.strip("[]")
                address = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(address, address)
                found.append((address, int(number), f"the published port {number} of {self.label}"))
        return found


class Stack:
    """The services of one target and its neighbours, members first.

    ``files`` and ``logs`` map labels to the data of ``files/<label>`` and to the lines of ``logs/<label>``;
    ``options`` are the user's (``broker_url_env``, ``db_url_env``: names of variables).
    """

    def __init__(
        self,
        containers_data: Mapping[str, Any] | None,
        *,
        files: Mapping[str, Mapping[str, Any]] | None = None,
        logs: Mapping[str, list] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.data: Mapping[str, Any] = containers_data or {}
        self.files, self.logs, self.options = files or {}, logs or {}, options or {}
        all_services = [Service(item, self) for item in self.data.get("items") or ()]
        self.services: list[Service] = sorted(all_services, key=lambda service: not service.member)
        self._by_label = {service.label: service for service in self.services}

    @classmethod
    def of(cls, evidence: Evidence) -> Stack:
        """The stack that an evidence describes; without a readable ``containers`` section it has no services."""
        return cls(
            evidence.data("containers"),
            files={label: section.data for label, section in evidence.under("files").items() if section.readable},
            logs={label: section.data["lines"] for label, section in evidence.under("logs").items()
                  if section.readable and section.data},
            options=evidence.options)

    @property
    def project(self) -> str | None:
        return self.data.get("project")

    def get(self, label: str) -> Service | None:
        return self._by_label.get(label)

    def __iter__(self) -> Iterable[Service]:
        return iter(self.services)

    @property
    def members(self) -> list[Service]:
        return [service for service in self.services if service.member]

    @property
    def workers(self) -> list[Service]:
        return [service for service in self.members if service.role == "worker"]

    @property
    def celery(self) -> list[Service]:
        """Workers, beat and Flower of the target."""
        return [service for service in self.members if service.is_celery]

    def with_role(self, role: str) -> list[Service]:
        return [service for service in self.services if service.role == role]

    def resolve(self, service: str, host: str | None, port: int | None = None) -> Resolution:
        """What ``host`` means inside ``service`` (a label): see ``names.Resolution``. With ``port``, a container
        that publishes it is found behind ``host.docker.internal`` and the host's own addresses."""
        return names.resolve(self._by_label[service], self.services, host, port)


def url_problems(item: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The problems of every URL of one unmasked container, by source (``env NAME``), free of secrets.

    ``collect`` stores the result in the masked item as ``url_problems``: an unescaped ``@`` or ``/`` in a password
    can no longer be seen once the password is a token.
    """
    service = Service({**item, "url_problems": None}, Stack({"items": []}))
    return {url.source: [{"kind": problem.kind, "text": problem.text, "stops": problem.stops, "hint": problem.hint}
                         for problem in url.problems] for url in service.urls}


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


__all__ = ["Resolution", "Service", "Stack", "Url", "url_problems"]
