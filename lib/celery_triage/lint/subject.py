"""What the static rules look at: the project, its services as a ``Stack``, and where each thing stands."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from celery_triage.commandline import Launch, minor
from celery_triage.commandline.alike import MOST_SHAPES
from celery_triage.lint.containers import containers
from celery_triage.lint.pins import FOUR, Pin, every, pin_of
from celery_triage.lint.project import Project
from celery_triage.lint.reading import Node
from celery_triage.model import Proof
from celery_triage.redact import Redactor
from celery_triage.stack import Service, Stack, Url

#: Longer lines are shown cut.
_SHOWN = 200


class Subject:
    """One project under judgement. ``notes`` collects what no static reading can know: (service or file, the
    sentence why, the codes that stay open for it). ``beyond``: why not every command was read, or empty."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.data, self.known = containers(project)
        self.stack = Stack(self.data)
        self.notes: dict[tuple[str, str], set[str]] = {}
        self.beyond = ""
        self.redactor = Redactor()
        for item in self.data["items"]:
            self.redactor.publish([item["label"], item["name"]])
            self.redactor.learn_env(item["env"])
            self.redactor.learn_argv([*item["entrypoint"], *item["cmd"]])

    @property
    def services(self) -> Sequence[Service]:
        """All services in the order of the file."""
        return self.stack.services

    @cached_property
    def celery(self) -> list[Service]:
        """The services whose command is certainly Celery's or Flower's. Those of Airflow's image are none:
        its entrypoint takes ``celery worker`` for a command of its own."""
        return [one for one in self.services if one.unwrapped.is_celery and not self._airflow(one)]

    def _airflow(self, service: Service) -> bool:
        if not (
            service.item["image"].find("airflow") >= 0 or any("AIRFLOW__" in name for name in service.env)
        ):
            return False
        self.note(service.label, "its image is Airflow's, whose entrypoint reads the command first", "CMD001")
        return True

    @cached_property
    def concerned(self) -> list[Service]:
        """Workers, beat, Flower, and what talks to their broker."""
        return [one for one in self.services if one.is_celery or one.url("broker") is not None]

    def note(self, about: str, why: str, *codes: str) -> None:
        self.notes.setdefault((about, why), set()).update(codes)

    def pin(self, service: Service) -> Pin:
        """The versions of Celery that this service's image can hold."""
        known = self.known[service.label]
        cache = self.__dict__.setdefault("_pins", {})
        key = (id(known.docker), service.item["image"])
        if key not in cache:
            cache[key] = pin_of(self.project, known.node, known.docker)
        return cache[key]

    def launches(self, service: Service) -> Mapping[str, Launch]:
        """The command as each possible version of Celery reads it; empty, and the verdict open, where there
        are more differing commands than can be read in a time that somebody waits."""
        cache = self.__dict__.setdefault("_launches", {})
        env = {name: value for name, value in service._environment.items() if "$" not in value}
        key = (tuple(service.argv), tuple(sorted(env.items())), self.pin(service).minors)
        if key not in cache:
            judged = tuple(version for version in self.pin(service).minors if version != FOUR)
            cache[key] = self.stack.alike.every(service.argv, judged, env=env, expands=True)
            if judged and not cache[key]:
                self.beyond = self.beyond or (
                    f"more than {MOST_SHAPES} commands differ; those from {service.label} on were not read"
                )
        return cache[key]

    def other_launches(self, service: Service) -> list[Mapping[str, Launch]]:
        """The same for further Celery commands in the same shell line (``worker & beat``)."""
        judged = tuple(version for version in self.pin(service).minors if version != FOUR)
        return [
            self.stack.alike.every(words, judged, env={}, expands=True) for words in service.unwrapped.others
        ]

    def flower(self, service: Service) -> tuple[str, str]:
        """(version of Flower in the image, by what it is known); both empty where nothing says it."""
        image = service.item["image"].partition("@")[0]
        name, _, tag = image.rpartition("/")[2].partition(":")
        if name == "flower" and minor(tag):
            return tag, f"the tag of the image {image}"
        version, how = self.pin(service).exact.get("flower", ("", ""))
        return version, f"flower=={version} in {how}" if version else ""

    def node(self, service: Service, *names: str) -> Node:
        """Where a part of a service stands; the service itself where that part does not stand."""
        node = self.known[service.label].node
        return node.get(*names) or node

    def command_node(self, service: Service, word: str) -> Node:
        """Where a word of the command stands."""
        for key in ("command", "entrypoint"):
            if (node := self.known[service.label].node.get(key)) is None:
                continue
            bare = word.partition("=")[0] if len(word) > 2 else word
            for item in node.items():
                if item.text is not None and (word in item.text or bare in item.text):
                    return self._within(item, bare)
        return self.node(service, "command")

    def _within(self, node: Node, word: str) -> Node:
        """The line of a text over several lines in which a word stands."""
        for line in range(node.line, min(node.end_line, node.line + 200) + 1):
            if word in self.project.line(node.file, line).split("#")[0]:
                return Node(node.value, node.file, line)
        return node

    def env_node(self, service: Service, variable: str | None) -> Node:
        """Where a variable of a service stands."""
        known = self.known[service.label]
        return known.env_at.get(variable or "") or known.node

    def url_node(self, service: Service, url: Url) -> Node:
        """Where a URL of a service stands: its variable, else the option of its command."""
        if url.var is not None:
            return self.env_node(service, url.var)
        return self.command_node(service, url.source.removeprefix("option "))

    def quote(self, node: Node) -> Proof:
        """A line of a file, masked."""
        line = self.project.line(node.file, node.line)
        shown = self.redactor.lines([line])[0].strip()
        return Proof(node.file, shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…", node.line)

    def quotes(self, nodes: Iterable[Node]) -> tuple[Proof, ...]:
        """The lines, each once, in order; at most eight."""
        seen = {(node.file, node.line): node for node in nodes}
        return tuple(self.quote(node) for node in list(seen.values())[:8])

    def sure(self, service: Service, variable: str | None) -> bool:
        """Whether nothing outside the files can change this variable (None: an option of the command)."""
        if variable is None:
            return not any("$" in word for word in service.argv)
        return variable in self.known[service.label].env_sure

    def application(self, service: Service) -> Hashable:
        """The build, else the image: services with the same one run the same application. None without."""
        return self._build(self.known[service.label].node) or service.item["image"] or None

    def profiles(self, service: Service) -> frozenset[str]:
        """The profiles of which one starts the service; none where it always starts."""
        return self.known[service.label].profiles

    def _build(self, node: Node) -> Any:
        build = node.get("build")
        if build is None:
            return None
        if build.text is not None:
            return (self.project.text(build), None, None)
        return tuple(self.project.text(build.get(name)) for name in ("context", "dockerfile", "target"))


def spread(versions: Sequence[str]) -> str:
    """``5.0 to 5.7``, ``5.6 and 5.7``: versions that stand side by side in the tables, joined."""
    known = list(every())
    runs: list[list[str]] = []
    for version in sorted(versions, key=known.index):
        if runs and known.index(version) == known.index(runs[-1][-1]) + 1:
            runs[-1].append(version)
        else:
            runs.append([version])
    told = [run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return " and ".join(filter(None, (", ".join(told[:-1]), *told[-1:])))
