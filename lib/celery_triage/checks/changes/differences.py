"""What a container has and its Compose file says otherwise. Pure.

A difference is *sure* where no value of any variable could make both equal, *unsure* where they differ only
by what ``.env`` holds now: the shell that called Compose may have set the variable. What cannot be compared
(a value that only the shell has, a secret that is masked on one side only, a default of the image) is none.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from celery_triage.checks.changes import interpolation
from celery_triage.checks.changes.written import Files, Node, later, seconds
from celery_triage.stack import Service

_SEPARATOR = "\x1f"
#: A password's place in a URL, and nothing else masked before or behind it.
_PASSWORD = re.compile(r"[A-Za-z][\w+.\-]*://[^\s:/@*]*:\*\*\*[0-9a-f]{6}@[^*\s]*")
_NUMBER = re.compile(r"[-+]?[0-9][0-9._eExXobB:a-fA-F\-]*")
_TRUTH = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}
#: Characters at which a command in one text ends for Compose, or not, by its version.
_SHELL = re.compile(r"[;&|<>()`]")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True)
class Difference:
    """``what`` is ``command``, ``entrypoint``, ``image``, ``healthcheck`` or the name of a variable; ``has``
    and ``says`` are the container's and the file's, masked; ``place`` says where the file says it, ``line``
    in which line. ``after`` tells whether the file that says it was changed after the container was made."""

    what: str
    has: str
    says: str
    place: str
    line: int | None
    sure: bool
    after: bool


def of(files: Files, service: Service) -> list[Difference]:
    """All differences of one container that Compose made. One that is not ``after`` says little: a file that
    is older than the container may be one of several that were in use."""
    return list(_Container(files, service).differences())


class _Container:
    def __init__(self, files: Files, service: Service) -> None:
        self.files, self.item = files, service.item
        self.name = str(service.item.get("service") or "")
        self.values = files.values(service.item)

    def differences(self) -> Iterator[Difference]:
        for key, held in (("entrypoint", "entrypoint"), ("command", "cmd")):
            if (node := self.files.last(self.name, key)) is not None:
                yield from self.command(key, node, [str(word) for word in self.item.get(held) or ()])
        yield from self.image()
        yield from self.healthcheck()
        yield from self.environment()

    def told(self, what: str, has: str, says: str, answer: str, node: Node) -> Iterator[Difference]:
        """The difference of one thing, if it is one."""
        if answer == "same":
            return
        sure = answer == "different"
        after = later(self.files.file(node), self.item.get("created"))
        if not sure:  # only what .env says now speaks for it
            variables = interpolation.names(str(node.get("value")))
            if not variables or not variables <= (self.values or {}).keys():
                return
            after = later(self.files.dotenv, self.item.get("created"))
        yield Difference(what, has, says, self.files.where(node), node.get("line"), sure, after)

    def command(self, what: str, node: Node, has: list[str]) -> Iterator[Difference]:
        value = node.get("value")
        if value in (None, "", []):
            return  # what the image has, which nobody asked for
        try:
            known, holed = self.words(value)
        except ValueError:
            return  # a quote that is never closed: Compose's own splitting is not known
        masked = any(interpolation.TOKEN.search(word) for word in (*has, *holed))
        answer = "same" if known == has else _fit(holed, has)
        cut = isinstance(value, str) and _SHELL.search(_QUOTED.sub("", value))
        if answer == "different" and (masked or cut):
            return
        says = shlex.join(known) if known is not None else _shown(value)
        yield from self.told(what, shlex.join(has), says, answer, node)

    def words(self, value: Any) -> tuple[list[str] | None, list[str]]:
        """The words of a command with known values (None where one is not), and with holes."""
        if isinstance(value, list):
            known = [interpolation.known(str(word), self.values) for word in value]
            holed = [interpolation.holed(str(word)) for word in value]
            return None if None in known else known, holed
        known = interpolation.known(str(value), self.values)
        return None if known is None else shlex.split(known), shlex.split(interpolation.holed(str(value)))

    def image(self) -> Iterator[Difference]:
        node, has = self.files.last(self.name, "image"), str(self.item.get("image") or "")
        if node is None or not node.get("value") or re.fullmatch(r"(sha256:)?[0-9a-f]{12,64}", has):
            return
        written = str(node["value"])
        answer = interpolation.fits(written, self.values, has)
        yield from self.told("image", has, self.said(written), answer, node)

    def said(self, written: str) -> str:
        known = interpolation.known(written, self.values)
        return written if known is None else known

    def healthcheck(self) -> Iterator[Difference]:
        layers = self.files.layers(self.name, "healthcheck")
        says: dict[str, Any] = {}
        for node in layers:
            if not isinstance(node.get("value"), Mapping):
                return
            says.update(node["value"])
        if not says:
            return
        has, node, test = self.item.get("healthcheck"), layers[-1], says.get("test")
        test = ["CMD-SHELL", test] if isinstance(test, str) else test
        off = str(says.get("disable")).lower() == "true" or test == ["NONE"]
        if off or not has:
            if bool(has) == off and (off or test):
                shown, wanted = " ".join(has["test"]) if has else "none", "none" if off else " ".join(test)
                yield from self.told("healthcheck", shown, wanted, "different", node)
            return
        if test:
            known, holed = self.words(test)
            answer = "same" if known == has["test"] else _fit(holed, has["test"])
            if not any(interpolation.TOKEN.search(word) for word in (*has["test"], *holed)):
                shown = " ".join(known or test)
                yield from self.told("healthcheck", " ".join(has["test"]), shown, answer, node)
                if answer != "same":
                    return
        for key in ("interval", "timeout", "start_period"):
            wanted = seconds(says.get(key))
            if wanted and abs(wanted - float(has.get(f"{key}_s") or 0)) > 0.001:
                shown = f"{key} {has.get(f'{key}_s'):g}s"
                yield from self.told("healthcheck", shown, f"{key} {says[key]}", "different", node)
                return
        retries = str(says.get("retries") or "")
        if retries.isdigit() and int(retries) and int(retries) != has.get("retries"):
            yield from self.told(
                "healthcheck", f"retries {has.get('retries')}", f"retries {retries}", "different", node
            )

    def environment(self) -> Iterator[Difference]:
        env, named = self.item.get("env") or {}, self.files.variables(self.name)
        for name, node in named.items():
            value = node.get("value")
            if value is None:
                continue  # passed on from the shell
            has = env.get(name)
            written = str(value)
            answer = "different" if has is None else self.alike(written, str(has))
            if has is None and not self.said(written):
                continue
            shown = "not set" if has is None else str(has)
            yield from self.told(name, shown, self.said(written), answer, node)
        yield from self.in_env_files(env, set(named))

    def alike(self, written: str, has: str) -> str:
        """Whether a variable has the value that is written; ``same`` also where that cannot be told."""
        bare = written[1:-1] if written[:1] == written[-1:] and written[:1] in "\"'" else written
        if interpolation.TOKEN.fullmatch(written) and interpolation.TOKEN.fullmatch(has):
            return "same" if written == has else "different"  # different tokens are of different secrets
        answer = min((interpolation.fits(one, self.values, has) for one in (written, bare)), key=_ORDER.index)
        if answer == "unsure" and _PASSWORD.fullmatch(written) and _PASSWORD.fullmatch(has):
            return "different"
        if answer != "different":
            return answer
        if _NUMBER.fullmatch(written) and not re.fullmatch(r"0|[1-9][0-9]*", written):
            return "same"  # YAML reads it as a number or a date, Compose writes that in its own way
        if written.lower() in _TRUTH and _TRUTH[written.lower()] == _TRUTH.get(has.lower()):
            return "same"
        if interpolation.TOKEN.search(has) and not _PASSWORD.fullmatch(has):
            return "same"
        if interpolation.TOKEN.search(written) and not _PASSWORD.fullmatch(interpolation.holed(written)):
            return "same"
        return answer

    def in_env_files(self, env: Mapping[str, Any], named: set[str]) -> Iterator[Difference]:
        """Variables of the service's env files that nothing else sets."""
        held: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
        for file in self.files.env_files(self.name):
            for name, told in (file.get("values") or {}).items():
                held[name] = (file, told)
        for name, (file, told) in held.items():
            says, has = str(told.get("value") or ""), env.get(name)
            if name in named or "$" in says or interpolation.TOKEN.search(says + str(has)):
                continue
            if has is None and not says:
                continue
            # Version 1 of Compose kept quotes and comments as parts of the value.
            if has is not None and (has == says or str(has).strip("\"'").startswith(says)):
                continue
            line, created = told.get("line"), self.item.get("created")
            place = f"{file['path'].rpartition('/')[2]}, line {line}"
            shown = "not set" if has is None else str(has)
            yield Difference(name, shown, says, place, line, True, later(file, created))


_ORDER = ("same", "unsure", "different")


def _fit(holed: list[str], has: list[str]) -> str:
    """Whether some words with holes can come to these words. A word that is nothing but a hole may come to
    several words, or to none."""
    parts = [
        f"(?:{_SEPARATOR}.*)?" if word == interpolation.HOLE else _SEPARATOR + interpolation.pattern(word)
        for word in holed
    ]
    joined = "".join(_SEPARATOR + word for word in has)
    return "unsure" if re.fullmatch("".join(parts), joined, re.DOTALL) else "different"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return shlex.join(str(word) for word in value)
    return " ".join(str(value).split())
