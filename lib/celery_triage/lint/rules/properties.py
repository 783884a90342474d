"""What Compose refuses before it starts anything: unknown properties, values of a wrong kind."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from celery_triage.lint.reading import Node
from celery_triage.lint.rules.registry import found, static
from celery_triage.lint.rules.values import Told, circle, kind_of, told_of, unknown_key
from celery_triage.lint.subject import Subject
from celery_triage.model import Finding

#: The kinds of value that a property of a service may have, measured: each property was given a text, a
#: number, a truth value, a list, a mapping and lists of mappings and numbers, `docker compose config` 2.26.1.
#: Empty values are not judged, nor are numbers where a list is due.
_KINDS: dict[str, str] = {
    **dict.fromkeys(
        "image container_name hostname domainname user working_dir restart network_mode platform pid ipc "
        "runtime stop_signal stop_grace_period cgroup_parent cpuset isolation mac_address userns_mode uts "
        "cgroup pull_policy".split(),
        "text",
    ),
    **dict.fromkeys("command entrypoint dns dns_search tmpfs env_file label_file".split(), "text list"),
    **dict.fromkeys(
        "cap_add cap_drop ports expose volumes links external_links devices profiles security_opt group_add "
        "dns_opt device_cgroup_rules secrets configs volumes_from".split(),
        "list",
    ),
    **dict.fromkeys(
        "depends_on networks environment labels annotations extra_hosts sysctls".split(), "list mapping"
    ),
    **dict.fromkeys(
        "healthcheck deploy logging ulimits blkio_config storage_opt credential_spec develop".split(),
        "mapping",
    ),
    **dict.fromkeys("build extends".split(), "text mapping"),
}
#: Lists whose members are texts; others may hold mappings.
_OF_TEXT = frozenset(
    "command entrypoint dns dns_search tmpfs cap_add cap_drop links external_links profiles security_opt "
    "depends_on networks environment labels annotations extra_hosts sysctls".split()
)
#: Properties of a service whose kind is not judged here (Compose specification, "services", and the schema of
#: docker-compose 1.29 for files of version 2 and 3).
_OTHERS = frozenset(
    "attach cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus gpus "
    "init mem_limit mem_reservation mem_swappiness memswap_limit models oom_kill_disable oom_score_adj "
    "pids_limit post_start pre_stop privileged provider pull_refresh_after read_only scale shm_size "
    "stdin_open tty use_api_socket volume_driver net log_driver log_opt dockerfile".split()
)
_SERVICE = frozenset(_KINDS) | _OTHERS
_DEPLOY = frozenset(
    "mode replicas endpoint_mode labels resources restart_policy update_config rollback_config "
    "placement".split()
)
_MAPPINGS = ("volumes", "networks", "secrets", "configs")
_BUILD = frozenset(
    "context dockerfile dockerfile_inline args additional_contexts cache_from cache_to entitlements "
    "extra_hosts isolation labels network no_cache platforms privileged provenance pull sbom secrets "
    "shm_size ssh tags target ulimits".split()
)
_RESOURCES = frozenset("cpus memory pids devices generic_resources".split())
_BELOW = {
    ("build",): _BUILD,
    ("deploy",): _DEPLOY,
    ("deploy", "resources"): frozenset(("limits", "reservations")),
    ("deploy", "resources", "limits"): _RESOURCES,
    ("deploy", "resources", "reservations"): _RESOURCES,
}
_TOP = frozenset("version name services networks volumes configs secrets include models".split())
#: More are counted, not listed.
_MOST = 20


@static("CMP013", "property-refused", "critical")
def refused(subject: Subject) -> Iterator[Finding]:
    """A property that Compose does not know, or a value of a kind that it does not take.

    ## What
    A misspelt property (`enviroment`, `start-period`), a value of a wrong kind (`- NAME: value` in a list of
    variables, `depends_on: redis`, `command: 3`), a condition that there is not, a health check whose list
    does not begin with `CMD`, a service beside `services` instead of below it, a service that extends itself
    or one that is not there.

    ## Why
    Compose checks all files before it starts anything, and refuses them as a whole.

    ## Looks like
    `services.worker Additional property enviroment is not allowed`, `services.worker.environment.[0]:
    unexpected type map[string]interface {}`, `services.worker.depends_on must be a list` (Compose 2.26).

    ## Confirm
    `docker compose -f FILE config -q`

    ## Do
    Write the name or the value as the finding says.

    ## False alarms
    A property that is newer than this tool is only warned of, where its name is not like one that is known.
    Empty values are not judged: versions of Compose differ there.
    """
    project = subject.project
    told: list[tuple[str, str, Node, str, str, str]] = []
    for path in project.reads:
        if path not in project.legacy:
            told += _top(subject, path)
    for name, node in project.services.items():
        if project.legacy or not isinstance(node.value, dict):
            continue
        told += _of_service(subject, name, node)
    for service in subject.services:
        key, why = subject.known[service.label].unsplit
        if key:
            at, fix = subject.node(service, key), "Close it, or write the command as a list."
            told.append((service.label, key, at, f"{key} cannot be split: {why}", fix, "critical"))
    told += circle(subject)
    for name, at, why in project.broken:
        told.append((name, "extends", at, why, "Correct the name of the service in extends.", "critical"))
    several = list(dict.fromkeys(told))
    for name, key, at, why, fix, severity in several[:_MOST]:
        yield found(
            subject,
            "CMP013",
            "property-refused",
            severity,
            f"{name}: {why}: " + ("Docker refuses it" if key == "restart" else "Compose refuses the file"),
            [at],
            services=[name] if name in project.services else [],
            thing=key,
            fix=fix,
            detail=f"{len(several)} such properties are there." if len(several) > _MOST else "",
        )


def _top(subject: Subject, path: str) -> Told:
    root = subject.project.reads[path].root
    for key, node in (root.pairs() if root is not None else {}).items():
        if key == "version" and kind_of(node) == "number":
            fix = "Put it into quotes, or take it out: Compose v2 has no use for it."
            yield path, key, node, "version is a number, not a text", fix, "critical"
        if key in _MAPPINGS and kind_of(node) not in ("mapping", "") and not node.tag:
            why = f"{key} is a {kind_of(node)}, not a mapping"
            yield path, key, node, why, _wanted(key, "mapping", ""), "critical"
        if key in _TOP or key.startswith("x-"):
            continue
        if {"image", "build", "command"} & set(node.pairs()):
            why = "it stands beside services, not below it"
            yield key, key, node, why, f"Indent {key} so that it stands below services.", "critical"
        elif close := get_close_matches(key, sorted(_TOP), 1, 0.8):
            yield path, key, node, f"it knows no {key} at the top level", f"Write {close[0]}.", "critical"


def _of_service(subject: Subject, name: str, node: Node) -> Told:
    for key, value in node.pairs().items():
        yield from unknown_key(name, key, value, _SERVICE, "")
        kinds = _KINDS.get(key)
        if kinds is None or value.tag:
            continue
        kind = kind_of(value)
        if kind and kind not in kinds.split():
            allowed = kinds.replace(" ", " or a ")
            why = f"{key} is a {kind}, not a {allowed}"
            yield name, key, value, why, _wanted(key, kinds, value.text or ""), "critical"
        elif kind == "list" and key in _OF_TEXT:
            for item in value.items():
                kind = kind_of(item)
                if kind in ("", "text"):
                    continue
                why = f"a member of {key} is a {kind}"
                fix = (
                    f"Put {item.text} into quotes." if item.text else f"Write a text as each member of {key}."
                )
                if key in ("environment", "labels") and item.pairs():
                    pair = next(iter(item.pairs()))
                    why += ", by a colon where an equals sign belongs"
                    fix = f"Write - {pair}=value, or {pair}: value without the hyphen."
                yield name, key, item, why, fix, "critical"
                break
    yield from told_of(subject, name, node)
    for below, known in _BELOW.items():
        for key, value in (node.get(*below) or Node(None, "", 0)).pairs().items():
            yield from unknown_key(name, key, value, known, ".".join(below) + ".")
    for key, value in (node.get("environment") or Node(None, "", 0)).pairs().items():
        if isinstance(value.value, (dict, list)):
            why = f"the variable {key} is a {kind_of(value)}"
            yield name, "environment", value, why, f"Write {key} as a text in quotes.", "critical"
    mode, networks = node.get("network_mode"), node.get("networks")
    if mode is not None and mode.value and networks is not None and networks.value:
        why, fix = "network_mode and networks exclude each other", "Leave one of the two out."
        yield name, "network_mode", mode, why, fix, "critical"


def _wanted(key: str, kinds: str, text: str) -> str:
    if key == "stop_grace_period":
        return f"Write {key}: {text}s."
    if "text" in kinds:
        return "Put it into quotes." if kinds == "text" else f"Give {key} a text in quotes, or a list."
    form = "behind a hyphen" if "list" in kinds else "as name: value"
    return f"Write its members below {key}:, each {form}."
