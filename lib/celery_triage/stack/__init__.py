"""The stack as its containers describe it: services, roles, launch commands, URLs, and who can reach whom.

Pure: in goes the data of a ``containers`` section, masked or not (``collect`` uses the unmasked one to know
where to ask), and what else the evidence holds (versions in the images, logs, the user's options); out come
services.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from celery_triage.commandline.alike import Alike
from celery_triage.model import Evidence, plain
from celery_triage.stack import names
from celery_triage.stack.names import Resolution
from celery_triage.stack.service import Service
from celery_triage.stack.sources import Url


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
        #: Reads the commands of its services, each shape once.
        self.alike = Alike()
        services = [Service(item, (files or {}).get(item["label"]), (logs or {}).get(item["label"]), options,
                            self.alike.parse)
                    for item in self.data.get("items") or ()]
        self.services: list[Service] = sorted(services, key=lambda service: not service.member)
        self._by_label = {service.label: service for service in self.services}

    @classmethod
    def of(cls, evidence: Evidence) -> Stack:
        """The stack that an evidence describes; without a readable ``containers`` section it has no
        services."""
        def readable(prefix: str) -> dict[str, Any]:
            found = evidence.under(prefix).items()
            return {label: section.data for label, section in found if section.readable and section.data}

        logs = {label: data.get("lines") for label, data in readable("logs").items()}
        return cls(evidence.data("containers"), files=readable("files"), logs=logs, options=evidence.options)

    @property
    def project(self) -> str | None:
        """The Compose project of the target; None without Compose labels."""
        return self.data.get("project")

    def get(self, label: str) -> Service | None:
        return self._by_label.get(label)

    def __iter__(self) -> Iterator[Service]:
        return iter(self.services)

    @property
    def members(self) -> list[Service]:
        return [service for service in self.services if service.member]

    @cached_property
    def by_compose_name(self) -> dict[str, Service]:
        """The members by the names that their Compose file gives them; of replicas, the last one."""
        return {one.item["service"]: one for one in self.members if one.item.get("service")}

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
        """What ``host`` means inside ``service`` (a label): see ``names.Resolution``. With ``port``, a
        container that publishes it is found behind ``host.docker.internal`` and the host's own
        addresses."""
        asker = self._by_label[service]
        name = names.plain(asker, host)
        return names.resolve(asker, self._by_name.get(name, []) if name else self.services, host, port)

    @cached_property
    def _by_name(self) -> dict[str, list[Service]]:
        return names.by_name(self.services)


def url_problems(item: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The problems of every URL of one unmasked container, by source (``env NAME``), free of secrets.

    ``collect`` stores the result in the masked item as ``url_problems``: an unescaped ``@`` or ``/`` in a
    password can no longer be seen once the password is a token.
    """
    service = Service({**item, "url_problems": None})
    return {url.source: [plain(problem) for problem in url.problems] for url in service.urls}


__all__ = ["Resolution", "Service", "Stack", "Url", "url_problems"]
