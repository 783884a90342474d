"""What Docker or a script starts: files that may not be executed, or that no kernel can execute."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celery_triage.checks.commands.shared import DEATHS
from celery_triage.checks.registry import Look, Prediction, check
from celery_triage.checks.reports import healed, reported
from celery_triage.checks.words import listed, verb
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive, recreate
from celery_triage.signatures import Match
from celery_triage.stack import Service

#: What Docker (126, 127; 128 from newer engines), an init process (1, 255) and a shell (126, 127) end with
#: where a file cannot be executed.
ENDS = (1, 126, 127, 128, 255)
_DEATHS = (*DEATHS, "LOG001", "LOG002", "CMD005")
_ANYBODY, _OTHERS = 0o111, 0o001


def started(look: Look, service: Service) -> Sequence[Mapping[str, Any]]:
    """What was seen of the files that this service is started with; nothing where it got past them."""
    if service.launch is None and not service.is_celery or look.course(service).past("executable"):
        return ()
    return look.files(service).get("starts") or ()


def cannot_execute(entry: Mapping[str, Any]) -> str:
    """Why the kernel cannot execute a file, whatever its permissions say: the name of a finding of CMD052;
    empty where it can, or where that is not known."""
    if entry.get("kind") == "script" and entry.get("windows"):
        return "windows-line-ends"
    if entry.get("kind") == "script" and entry.get("present") is False:
        return "interpreter-missing"
    return "exec-format" if entry.get("kind") == "text" and entry.get("main") else ""


def words_about(look: Look, service: Service, path: str, word: str = "") -> list[Proof]:
    """The last words of the service that name a file, and Docker's own error where it names it."""
    course, found = look.course(service), []
    for code in ("CMD052", "CMD053", "CMD005"):
        said = [one for one in course.says(code, step="executable")]
        found += [course.proof(one) for one in said if path in one.text or (word and word in one.text)][-1:]
    told = course.told
    if not found and told is not None and told.failed and course.readable:
        lines = course.lines(told)
        named = [(number, line) for number, line in enumerate(lines, told.first_line or 1) if path in line[2]]
        found += [
            Proof(f"logs/{service.label}", line[2], number, line[0] or None) for number, line in named[-1:]
        ]
    error = str(service.latest.get("error") or "")
    if path in error or (word and word in error):
        found.append(Proof("containers", f"{service.label}: {error}"))
    return found


def on_the_host(service: Service, path: str) -> str:
    """Where a file lies on the host, where a folder or file of it is mounted there; empty otherwise."""
    best: tuple[int, str] = (0, "")
    for mount in service.item.get("mounts") or ():
        target, source = str(mount.get("target") or ""), str(mount.get("source") or "")
        inside = path == target or path.startswith(target.rstrip("/") + "/")
        if mount.get("type") == "bind" and target and source and inside and len(target) > best[0]:
            best = len(target), source + path[len(target) :]
    return best[1]


@check(
    "CMD053",
    "not-executable",
    severity="critical",
    needs=("containers", "files/*"),
    uses=("logs/*", "events", "compose"),
    step="executable",
    predicts=(Prediction(_DEATHS, exits=ENDS),),
)
def not_executable(look: Look) -> Iterator[Finding]:
    """The file that a service is started with is there and may not be executed.

    ## What
    The permission bits of the entrypoint, of the scripts around the command and of the command itself are
    asked for by `HEAD …/archive`: nobody may execute it, or not everybody, and the service says so.

    ## Why
    Docker cannot start the container (exit code 126, state `created`), or the shell in it ends with 126.
    Scripts lose the bit where they are checked out or copied on Windows, unpacked from an archive, or where a
    mount brings the file of the host in place of the one that the image made executable.

    ## Looks like
    `exec: "/app/entrypoint.sh": permission denied` in `docker inspect`, `sh: 1: exec: /app/entrypoint.sh:
    Permission denied` in the log.

    ## Confirm
    `docker run --rm --entrypoint ls IMAGE -l /app/entrypoint.sh`, with the same mounts.

    ## Do
    `chmod +x` on the host for a file that is mounted; else `RUN chmod +x SCRIPT` in the Dockerfile, or
    `git update-index --chmod=+x SCRIPT`, and build anew.

    ## False alarms
    A script that is run as `sh script.sh` needs no such bit and is not looked at. Where an access list or a
    `noexec` mount denies it, the bits do not show it: then only the log tells.
    """
    groups: dict[str, list[tuple[Service, Mapping[str, Any]]]] = {}
    judged = set()
    for service in look.members:
        if service.is_celery and not look.files(service):
            look.needs_file(service, "which file it is started with is not known")
        for entry in started(look, service):
            mode, path = entry.get("mode"), entry.get("path") or ""
            if mode is None or mode & _ANYBODY == _ANYBODY:
                continue
            if not mode & _ANYBODY or (not mode & _OTHERS and words_about(look, service, path)):
                groups.setdefault(path, []).append((service, entry))
                judged.add(service.label)
                break
    for path, found in groups.items():
        services = [service for service, _ in found]
        proof, seen = [], []
        for service, entry in found:
            proof.append(Proof(f"files/{service.label}", f"{path}: mode {entry['mode']:04o}"))
            words = words_about(look, service, path)
            proof += words
            seen.append(bool(words) or (service.latest.get("exit_code") == 126))
        yield look.finding(
            f"{listed([one.label for one in services])} cannot start: {path} may not be executed "
            f"(mode {found[0][1]['mode']:04o})",
            services=tuple(one.label for one in services),
            object=path,
            certainty="confirmed" if all(seen) else "inferred",
            proof=proof,
            remedy=_make_executable(look, path, services),
            verify=alive(services),
        )
    yield from reported(
        look,
        judged,
        "Only the log says this. Make {} executable (`chmod +x`, on the host for "
        "a file that is mounted, else in the Dockerfile), and make the container anew.",
    )
    yield from healed(look)


def _make_executable(look: Look, path: str, services: Sequence[Service]) -> Remedy:
    places = {on_the_host(service, path) for service in services}
    commands = recreate(look.stack, services)
    if len(places) == 1 and "" not in places:
        host = places.pop()
        return Remedy(
            "exact",
            f"Make {host}, which is mounted there, executable. In Git: git update-index --chmod=+x.",
            commands=(f"chmod +x {shlex.quote(host)}", *commands),
            risk=f"Makes the containers of {listed([one.label for one in services])} anew; they do not run "
            f"anyway.",
        )
    return Remedy(
        "manual",
        f"Make {path} executable where the image is built (`RUN chmod +x {path}` in the Dockerfile, or `git "
        f"update-index --chmod=+x`), build it anew, and make the containers anew.",
        commands=commands,
    )


@check(
    "CMD052",
    "exec-format",
    severity="critical",
    needs=("containers", "files/*"),
    uses=("engine", "logs/*", "events", "compose"),
    step="executable",
    predicts=(Prediction(_DEATHS, exits=ENDS),),
    also=("windows-line-ends", "interpreter-missing", "architecture-mismatch"),
)
def exec_format(look: Look) -> Iterator[Finding]:
    """The file that a service is started with is nothing that the kernel can execute.

    ## What
    The first line of the entrypoint, of the scripts around the command and of the command itself is read. It
    names no interpreter (`exec-format`), ends like a line of Windows (`windows-line-ends`), or names an
    interpreter that is not in the image (`interpreter-missing`). Where the log says `exec format error` and
    the image was made for another kind of processor than the host has, it is `architecture-mismatch`.

    ## Why
    The kernel refuses the file, and the container ends at once. A shell that is asked to run a script without
    a first line runs it all the same, so the same script works by hand. For the two others the words are "no
    such file or directory", although the script is there: it is the interpreter that is not.

    ## Looks like
    `exec /entrypoint.sh: exec format error`; `exec /entrypoint.sh: no such file or directory`;
    `/usr/bin/env: 'bash\\r': No such file or directory`; exit code 1, 126, 127 or 255.

    ## Confirm
    `docker run --rm --entrypoint head IMAGE -1 /entrypoint.sh | od -c | head -3`: `\\r` before `\\n` is a
    line of Windows.

    ## Do
    Write `#!/bin/sh` as the very first line, save the file with Unix line ends (`*.sh text eol=lf` in
    .gitattributes), install the interpreter that it names. A virtual environment that was copied from another
    image keeps the path of its old Python: make it in the image in which it runs. An image for another
    processor is built with `--platform`, mostly because it was built on another kind of laptop.

    ## False alarms
    An image for another processor that an emulator runs (binfmt, Rosetta) is not reported. A script that
    gets its interpreter by the command (`bash script.sh`) is not looked at. A service that got
    past its start is never reported.
    """
    groups: dict[tuple[str, str], list[tuple[Service, Mapping[str, Any]]]] = {}
    foreign = [service for service in look.members if _is_foreign(look, service)]
    judged = {service.label for service in foreign}
    if foreign:
        yield _for_another(look, foreign)
    for service in look.members:
        if service.label in judged:
            continue
        if service.is_celery and not look.files(service):
            look.needs_file(service, "which file it is started with is not known")
        for entry in started(look, service):
            if name := cannot_execute(entry):
                groups.setdefault((name, str(entry["path"])), []).append((service, entry))
                judged.add(service.label)
                break
    for (name, path), found in groups.items():
        yield _not_for_the_kernel(look, name, path, found)
    yield from reported(
        look,
        judged,
        "Only the log says this. Build the image for this kind of processor "
        "(`platform:`, `docker build --platform`), or give the script an interpreter line with "
        "Unix line ends, and make the container anew.",
    )
    yield from healed(look)


#: Processors as ``uname -m`` names them, and as Go and Docker do.
_PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386"}


def _host(look: Look) -> str:
    arch = str((look.data("engine") or {}).get("arch") or "")
    return _PROCESSORS.get(arch, arch)


def _is_foreign(look: Look, service: Service) -> bool:
    """Whether the kernel refused what it starts, and its image is for another processor than the host's."""
    image = str(service.item.get("image_arch") or "")
    if not image or image == (_host(look) or image) or look.course(service).past("executable"):
        return False
    return bool(_refusals(look, service)) or "exec format" in str(service.latest.get("error"))


def _refusals(look: Look, service: Service) -> list[Match]:
    """The kernel's refusals of what a service starts, by its log."""
    said = look.course(service).says("CMD052", step="executable")
    return [one for one in said if "exec format" in one.text]


def _for_another(look: Look, services: Sequence[Service]) -> Finding:
    images = {one.item.get("image"): one.item.get("image_arch") for one in services}
    labels, host = [one.label for one in services], _host(look)
    arch = listed(sorted({str(value) for value in images.values()}))
    proof = [
        Proof("containers", f"{name}: made for {value}; the host has {host}")
        for name, value in images.items()
    ]
    for service in services:
        proof += [look.course(service).proof(one) for one in _refusals(look, service)[-1:]]
    return look.finding(
        f"{listed(labels)} {verb(services, 'cannot', 'cannot')} start: "
        f"{listed([str(one) for one in images])} "
        f"{verb(list(images), 'is an image', 'are images')} for {arch}, and this host has {host}",
        name="architecture-mismatch",
        services=tuple(labels),
        object=arch,
        proof=proof,
        remedy=Remedy(
            "manual",
            f"Build or pull the image for this host (`docker buildx build --platform linux/{host}`, `docker "
            f"pull --platform linux/{host}`, or `platform: linux/{host}` in the Compose file where it is "
            "built there), then make the containers anew.",
            commands=recreate(look.stack, services),
        ),
        verify=alive(services),
    )


def _not_for_the_kernel(
    look: Look, name: str, path: str, found: Sequence[tuple[Service, Mapping[str, Any]]]
) -> Finding:
    services = [service for service, _ in found]
    interpreter = str(found[0][1].get("interpreter") or "")
    what = {
        "exec-format": f"{path} has no first line that names its interpreter",
        "windows-line-ends": f"the first line of {path} ends like a line of Windows, so that its interpreter "
        f"{interpreter} is not found",
        "interpreter-missing": f"{path} is to be run by {interpreter}, which is not in the image",
    }[name]
    proof, seen = [], []
    for service, _ in found:
        words = words_about(look, service, path, interpreter if name == "interpreter-missing" else "\\r")
        proof += [Proof(f"files/{service.label}", what), *words]
        seen.append(bool(words))
    return look.finding(
        f"{listed([one.label for one in services])} {verb(services, 'cannot', 'cannot')} start: {what}",
        name=name,
        services=tuple(one.label for one in services),
        object=path,
        certainty="confirmed" if all(seen) else "inferred",
        proof=proof,
        remedy=_mend_script(look, name, path, interpreter, services),
        verify=alive(services),
    )


def _mend_script(look: Look, name: str, path: str, interpreter: str, services: Sequence[Service]) -> Remedy:
    commands = recreate(look.stack, services)
    risk = f"Makes the containers of {listed([one.label for one in services])} anew; they do not run anyway."
    places = {on_the_host(service, path) for service in services}
    host = places.pop() if len(places) == 1 else ""
    if name == "interpreter-missing":
        what = (
            "install it in the image"
            if "python" not in posixpath.basename(interpreter)
            else ("make the virtual environment in the image in which it runs, with that image's Python")
        )
        return Remedy(
            "manual",
            f"{path} asks for {interpreter}: {what}, or correct its first line; build the "
            f"image anew and make the containers anew.",
            commands=commands,
        )
    do, how = {
        "exec-format": ("Write #!/bin/sh as the first line of {}.", "sed -i '1i #!/bin/sh' {}"),
        "windows-line-ends": (
            "Give {} Unix line ends; in Git: *.sh text eol=lf in .gitattributes.",
            "sed -i 's/\\r$//' {}",
        ),
    }[name]
    if host:
        command = how.format(shlex.quote(host))
        return Remedy(
            "exact",
            f"{do.format(host)} It is mounted into the container.",
            commands=(command, *commands),
            risk=risk,
        )
    return Remedy(
        "manual",
        f"{do.format(path)} Then build the image anew and make the containers anew.",
        commands=commands,
    )
