"""What a Dockerfile beside the Compose file says of the image: entrypoint, command, environment, packages.

Only what is written is used: a base image may set an entrypoint of its own, so its absence proves nothing.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass, field

from celery_triage.lint import variables
from celery_triage.lint.project import Project
from celery_triage.lint.reading import Node, Unreadable, text_of

_SIZE = 2**20
_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)


@dataclass(frozen=True)
class Dockerfile:
    """One stage of a Dockerfile with the stages that it is built from. ``entrypoint`` and ``cmd`` are words
    or None; ``text`` is all of the file, ``path`` its place, ``context`` the folder that it is built in."""

    path: str
    context: str
    text: str = ""
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: dict[str, str] = field(default_factory=dict)


def dockerfile_of(project: Project, service: Node) -> Dockerfile | None:
    """The Dockerfile of a service with ``build``, None where there is none here."""
    build = service.get("build")
    if build is None:
        return None
    cache = project.__dict__.setdefault("_dockerfiles", {})
    inline = build.get("dockerfile_inline")
    context = project.text(build if build.text is not None else build.get("context")) or "."
    file = project.text(build.get("dockerfile")) or "Dockerfile"
    target = project.text(build.get("target")) or ""
    if any(map(variables.unknown, (context, file, target))) or "://" in context or context.startswith("git@"):
        return None
    folder = project.folder if build.file in project.paths else os.path.dirname(build.file)
    place = os.path.normpath(os.path.join(folder or ".", context))
    path = os.path.normpath(os.path.join(place, file))
    key = (path, place, target, inline.text if inline is not None else None)
    if key not in cache:
        try:
            text = inline.text or "" if inline is not None else text_of(path, _SIZE)
            cache[key] = _parse(path, place, text, target)
        except Unreadable:
            cache[key] = None
    return cache[key]


def _parse(path: str, context: str, text: str, target: str) -> Dockerfile:
    stages: dict[str, dict] = {}
    current: dict = {"env": {}}
    last = current
    for name, rest in _instructions(text):
        if name == "FROM":
            words = [word for word in rest.split() if not word.startswith("--")]
            base = stages.get(words[0].lower() if words else "", {"env": {}})
            current = {**base, "env": dict(base["env"])}
            stages[str(len(stages))] = current
            if len(words) == 3 and words[1].upper() == "AS":
                stages[words[2].lower()] = current
            last = current
        elif name in ("ENTRYPOINT", "CMD"):
            current[name] = _words(rest)
            if name == "ENTRYPOINT" and "CMD" in current and current.get("cmd_of") != id(current):
                current.pop("CMD")
        elif name == "ENV":
            current["env"].update(_pairs(rest))
        if name == "CMD":
            current["cmd_of"] = id(current)
    chosen = stages.get(target.lower(), last) if target else last
    return Dockerfile(path, context, text, chosen.get("ENTRYPOINT"), chosen.get("CMD"), chosen["env"])


def _instructions(text: str):
    """(name, rest) of each instruction, lines that are continued joined, comments left out."""
    joined: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        if line.rstrip().endswith("\\"):
            joined.append(line.rstrip()[:-1])
            continue
        found = _INSTRUCTION.match("".join([*joined, line]))
        joined = []
        if found:
            yield found[1].upper(), found[2].strip()


def _words(rest: str) -> list[str]:
    """The exec form as it is, the shell form as Docker runs it."""
    if rest.startswith("["):
        try:
            told = json.loads(rest)
            if isinstance(told, list) and all(isinstance(word, str) for word in told):
                return told
        except ValueError:
            pass
    return ["/bin/sh", "-c", rest]


def _pairs(rest: str) -> dict[str, str]:
    try:
        words = shlex.split(rest)
    except ValueError:
        return {}
    if words and "=" not in words[0]:
        return {words[0]: " ".join(words[1:])} if "$" not in rest else {}
    found = dict(word.split("=", 1) for word in words if "=" in word)
    return {name: value for name, value in found.items() if "$" not in value}
