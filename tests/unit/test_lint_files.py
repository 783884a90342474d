"""Compose files as Compose itself reads them: merged, extended, included, filled in."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import pairwise

import pytest
from linted import HEALTHY, found, judged

from celery_triage.lint import lint, output
from celery_triage.lint.containers import containers
from celery_triage.lint.project import load
from celery_triage.lint.variables import unknown

WORKER = "celery -A shop worker"


def compose_reads(folder, *files: str) -> dict | None:
    """What `docker compose config` makes of the files; None where there is no Compose here."""
    words = [part for name in files for part in ("-f", name)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    try:
        done = subprocess.run(
            ["docker", "compose", *words, "--profile", "*", "config", "--format", "json"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        return None
    if "is not a docker command" in done.stderr or "unknown shorthand flag" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def merged(lists: str) -> dict[str, str]:
    return {
        "a.yml": f"services: {{w: {{image: s, command: {WORKER}, {lists}}}}}\n",
        "b.yml": "services: {w: {command: [celery, beat], environment: {A: '2', B: b}, "
        "ports: ['81:80'], networks: [inner]}}\nnetworks: {inner: {}, outer: {}}\n",
    }


PROJECTS = {
    "two files, lists and mappings mixed": merged(
        "environment: [A=1, C=c], ports: ['80:80'], networks: {outer: {aliases: [x]}}"
    ),
    "reset and override": {
        "a.yml": "services: {w: {image: s, command: run, environment: {A: '1', B: '2'}, ports: ['80:80']}}\n",
        "b.yml": "services: {w: {command: !reset null, environment: !override {C: '3'}, ports: !reset []}}\n",
    },
    "anchors and merge keys": {
        "a.yml": "x-base: &base {image: s, environment: &env {A: '1'}}\n"
        "services:\n  w: {<<: *base, command: a}\n"
        "  v: {<<: *base, environment: {<<: *env, B: '2'}}\n"
    },
    "extends in the same and in another file": {
        "a.yml": "services:\n  base: {image: s, environment: [A=1], command: a}\n"
        "  w: {extends: base, environment: {B: '2'}}\n"
        "  v: {extends: {file: sub/common.yml, service: far}, command: [b, c]}\n",
        "sub/common.yml": "services:\n  near: {image: t, environment: {N: n}}\n"
        "  far: {extends: {service: near}, env_file: far.env, ports: ['90-91:90-91/udp']}\n",
        "sub/far.env": "FAR=1\nN=file\n",
    },
    "include with variables of its own folder": {
        "a.yml": "include: [sub/more.yml]\nservices: {w: {image: s, depends_on: [r]}}\n",
        "sub/more.yml": "services: {r: {image: redis, env_file: r.env}}\n",
        "sub/r.env": "R=1\n",
    },
    "env files, the later wins, environment above them": {
        "a.yml": "services: {w: {image: s, "
        "env_file: [one.env, {path: two.env}, {path: no.env, required: false}],"
        " environment: {C: own}}}\n",
        "one.env": "A=1\nB=1\nC=1\n# note\nexport D='x y'\n",
        "two.env": 'B=2\nE="q"\n',
    },
    "variables and their forms": {
        "a.yml": "services: {w: {image: 's:${TAG:-1}', command: 'run ${A} ${B-b} ${E:-e} ${A:+there} $$HOME',"
        " environment: {URL: 'redis://${HOST:-redis}:${PORT-6379}/0'}}}\n",
        ".env": "A=1\nE=\n",
    },
    "profiles, long and short ports": {
        "a.yml": "services:\n  w:\n    image: s\n    profiles: [x]\n"
        "    ports: [{target: 80, published: '8080', host_ip: 127.0.0.1}]\n"
        "  v: {image: s, ports: ['127.0.0.1:81:80', '82:80/udp', '83']}\n"
    },
    "text and list commands": {
        "a.yml": 'services:\n  w: {image: s, command: "sh -c \'a b\' \\"c d\\""}\n'
        "  v: {image: s, entrypoint: [x, 'y z']}\n"
        "  u:\n    image: s\n    command: >-\n      celery -A x\n      worker\n"
    },
}


@pytest.mark.parametrize("name", PROJECTS)
def test_files_are_merged_as_compose_merges_them(tmp_path, name):
    """Services, command, entrypoint, environment, networks and published ports are those that the real
    `docker compose config` gives."""
    files = PROJECTS[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    given = [path for path in files if "/" not in path and path.endswith(".yml")]
    theirs = compose_reads(tmp_path, *given)
    if theirs is None:
        pytest.skip("there is no docker compose here")
    project = load([str(tmp_path / path) for path in given])
    assert not project.doubts
    ours = {item["label"]: item for item in containers(project)[0]["items"]}
    assert set(ours) == set(theirs["services"])
    for label, their in theirs["services"].items():
        mine = ours[label]
        dollars = json.loads(json.dumps(their).replace("$$", "$"))
        assert mine["cmd"] == (dollars.get("command") or []), label
        assert mine["entrypoint"] == (dollars.get("entrypoint") or []), label
        assert mine["env"] == (dollars.get("environment") or {}), label
        assert set(mine["networks"]) == set(their.get("networks") or {}), label
        published = {
            (
                f"{port.get('host_ip', '0.0.0.0')}:{port['published']}" if port.get("published") else None,
                port["target"],
                port["protocol"],
            )
            for port in their.get("ports") or ()
        }
        assert {(port["host"], port["container"], port["protocol"]) for port in mine["ports"]} == published, (
            label
        )
        assert mine["image"] == their["image"]


def test_a_base_that_is_not_here_leaves_the_service_open(tmp_path):
    """`extends` of a file or a service that is missing: what is there is judged, names are not."""
    text = "services: {w: {extends: {file: %s, service: b}, command: %s, networks: [outer]}}\n"
    told = judged(tmp_path, {"docker-compose.yml": text % ("gone.yml", WORKER + " --concurency=2")})
    assert found(told) == {"CMD001": "critical"}
    assert told.unreadable == ((str(tmp_path / "gone.yml"), "there is no such file"),)


def test_extends_and_include_in_circles_end(tmp_path):
    """Two services that extend each other, two files that include each other: an answer, at once."""
    circle = "services: {a: {extends: b, image: x}, b: {extends: a, image: x}}\n"
    assert judged(tmp_path / "1", circle).services == ("a", "b")
    include = {
        "docker-compose.yml": "include: [b.yml]\n" + HEALTHY,
        "b.yml": "include: [docker-compose.yml]\n",
    }
    assert "worker" in judged(tmp_path / "2", include).services


def test_an_include_that_is_not_here_may_define_the_broker(tmp_path):
    """A host that the missing file may bear is unknown, not wrong."""
    told = judged(tmp_path, "include: [gone.yml]\n" + HEALTHY.replace("//redis:", "//broker:"))
    assert "URL003" not in found(told) and told.unreadable[0][0].endswith("gone.yml")
    assert any("gone.yml" in why for _, why, codes in told.notes if "URL003" in codes)


def test_services_of_different_profiles_are_not_held_against_each_other(tmp_path):
    """The same port and name under two profiles clash only when both start; without profiles they do."""
    both = (
        "services:\n  a: {image: s, %sports: ['80:80'], container_name: x}\n"
        "  b: {image: s, %sports: ['80:80'], container_name: x}\n"
    )
    assert not found(judged(tmp_path / "1", both % ("profiles: [dev], ", "profiles: [prod], ")))
    assert set(found(judged(tmp_path / "2", both % ("", "")))) == {"CMP002", "CMP003"}


def test_the_first_format_is_judged_and_said_to_be_old(tmp_path):
    """Services at the top level, links as names: the worker's option is found all the same."""
    text = "redis: {image: redis}\nworker:\n  build: .\n  links: ['redis:broker']\n"
    text += f"  command: {WORKER} --concurency=2\n"
    told = judged(tmp_path, text)
    assert found(told) == {"CMD001": "critical", "CMP008": "critical", "CMP005": "notice"}


def test_an_env_file_that_is_not_here_leaves_its_variables_open(tmp_path):
    """Without `-A` the missing file may hold CELERY_APP; with a file that does not, it is told."""
    text = HEALTHY.replace("-A shop ", "").replace("image: shop", "image: shop\n    env_file: w.env")
    told = judged(tmp_path / "1", text)
    assert "CMP004" not in found(told) and any(
        "w.env" in why for _, why, codes in told.notes if "CMP004" in codes
    )
    assert "CMP004" in found(judged(tmp_path / "2", {"docker-compose.yml": text, "w.env": "A=1\n"}))
    assert "CMP004" not in found(
        judged(tmp_path / "3", {"docker-compose.yml": text, "w.env": "CELERY_APP=shop\n"})
    )


def test_a_plain_null_is_no_text(tmp_path):
    """`null`, `~` and nothing are no value, with libyaml too; in quotes they are text."""
    (tmp_path / "a.yml").write_text(
        'services: {w: {image: s, environment: {A: null, B: ~, C: , D: "null"}}}\n'
    )
    project = load([str(tmp_path / "a.yml")])
    values = {name: node.value for name, node in project.services["w"].get("environment").pairs().items()}
    assert values == {"A": None, "B": None, "C": None, "D": "null"}
    env = containers(project)[0]["items"][0]["env"]
    assert env["D"] == "null" and env["A"] == "${A}" and not unknown(env["D"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("# nothing\n", "it is empty"),
        ("networks: {a: {}}\n", "it has no services"),
        ("services:\n", "it has no services"),
        ("x-common: {image: a}\nservices: {}\n", "it has no services"),
    ],
)
def test_a_file_without_services_is_not_called_sound(tmp_path, text, why):
    """Nothing was judged, so the verdict is unknown, with one sentence."""
    told = judged(tmp_path, text)
    path = str(tmp_path / "docker-compose.yml")
    assert told.unreadable == ((path, f"{why}, so there is nothing to judge"),)
    assert told.verdict == "unknown" and output.exit_code([told], None) == 3
    assert "UNKNOWN (nothing judged; 0 services" in list(output.lines(told))[-1][0]


def test_an_empty_pipe_is_not_called_sound(tmp_path):
    """As `lint <(cat nothing)`: the pipe is closed at once."""
    os.mkfifo(tmp_path / "pipe.yml")
    told = lint([str(tmp_path / "pipe.yml")])
    assert told.verdict == "unknown" and "it is empty" in told.unreadable[0][1]


def test_a_file_beside_one_with_services_needs_none_of_its_own(tmp_path):
    """Merged files are one project: an override may hold networks only, and services need not be Celery's."""
    files = {"docker-compose.yml": "services: {a: {image: b}}\n", "n.yml": "networks: {a: {}}\n"}
    told = judged(tmp_path, files, *files)
    assert told.verdict == "ok" and told.unreadable == ()


#: What `docker compose config` 2.26.1 refuses (exit code 15), below `services.w`, and what it takes.
REFUSED = [
    ("command: 3", "command is a number"),
    ("command: [celery, -A, shop, worker, -c, 4]", "a member of command is a number"),
    ("restart: true", "restart is a truth value"),
    ("user: 1000", "user is a number"),
    ("enviroment: {A: b}", "there is no property enviroment"),
    ("container-name: w", "there is no property container-name"),
    ("environment:\n      - A: b", "a member of environment is a mapping"),
    ("environment: A=b", "environment is a text"),
    ("depends_on: redis", "depends_on is a text"),
    ("depends_on: {v: service_healthy}", "depends_on.v is no mapping"),
    ("depends_on: {v: {condition: healthy}}", "there is no condition healthy"),
    ("ports: 80:80", "ports is a text"),
    ("volumes: ./a:/b", "volumes is a text"),
    ("env_file: {a: b}", "env_file is a mapping"),
    ("stop_grace_period: 30", "stop_grace_period is a number"),
    ("healthcheck: {test: x, start-period: 3s}", "there is no property healthcheck.start-period"),
    ("healthcheck: {test: [celery, ping]}", "begins with celery"),
    ("healthcheck: {test: x, interval: 30}", "healthcheck.interval is a number"),
    ("extends: nowhere", "has no service nowhere"),
    ("ports: ['abc:80']", "abc is no port"),
    ("mem_limit: lots", "mem_limit is no size (lots)"),
    ("build: {contex: .}", "there is no property build.contex"),
    ("pull_policy: sometimes", "there is no sometimes"),
    ("healthcheck: {test: x, retries: three}", "healthcheck.retries is no number"),
    ("ports: ['70000:80']", "70000 is no port"),
    ("ports: ['90-80:80']", "90-80 is no port"),
    ("environment: {A: [1]}", "the variable A is a list"),
    ("depends_on: [w]", "depends_on makes a circle (w → w)"),
    ("deploy: {resources: {limits: {cpu: 1}}}", "there is no property deploy.resources.limits.cpu"),
    ("{network_mode: host, networks: [default]}", "network_mode and networks exclude each other"),
]
TAKEN = [
    "restart: no",
    "command: '3'",
    "environment: {A: true, B: 3}",
    "depends_on: {v: {condition: service_started}}",
    "ports: [80, '81:81']",
    "cpus: 0.5",
    "healthcheck: {test: x, interval: 30s, retries: 3}",
    "x-anything: [1]",
    "ports: ['80', '127.0.0.1::82', '8000-8010:80-90', '83:83/udp', '[::1]:84:84']",
    "command: 'a $(b) $1 $. $'",
    "depends_on: [v]",
]


def with_line(line: str) -> str:
    """A file in which one service has these properties."""
    lines = line.strip("{}").split(", networks") if line.startswith("{") else [line]
    both = "\n    networks".join(lines)
    return f"services:\n  v: {{image: x}}\n  w:\n    image: x\n    {both}\n"


@pytest.mark.parametrize(("line", "why"), REFUSED)
def test_what_compose_refuses_is_critical_with_its_line(tmp_path, line, why):
    """Each was given to the real Compose."""
    told = judged(tmp_path, with_line(line))
    (one,) = [one for one in told.diagnosis.findings if one.code == "CMP013"]
    assert one.severity == "critical" and why in one.title and one.proof[0].line in (5, 6)


@pytest.mark.parametrize("line", TAKEN)
def test_what_compose_takes_is_quiet(tmp_path, line):
    """Each was given to the real Compose."""
    told = judged(tmp_path, with_line(line))
    assert not {"CMP013", "CMP010"} & set(found(told))
    assert "CMP013" not in found(told)


@pytest.mark.docker
@pytest.mark.parametrize("line", [line for line, _ in REFUSED] + TAKEN)
def test_compose_itself_says_the_same(tmp_path, line):
    """`docker compose config` refuses what is told and takes what is quiet."""
    file = tmp_path / "compose.yml"
    file.write_text(with_line(line))
    command = ["docker", "compose", "-f", str(file), "config", "--quiet"]
    refused = subprocess.run(command, capture_output=True).returncode != 0
    assert refused is (line not in TAKEN)


@pytest.mark.parametrize("version", ["3.8", "3", "'3.8'"])
def test_a_version_without_quotes_is_refused(tmp_path, version):
    """Compose 2.26: "version must be a string"."""
    told = judged(tmp_path, f"version: {version}\n{HEALTHY}")
    assert found(told) == ({} if version == "'3.8'" else {"CMP013": "critical"})


def test_a_restart_policy_that_docker_does_not_have_is_told(tmp_path):
    """Compose takes any text; the engine refuses the container."""
    told = judged(tmp_path, HEALTHY.replace("restart: always", "restart: allways"))
    (one,) = [one for one in told.diagnosis.findings if one.code == "CMP013"]
    assert "no restart policy allways: Docker refuses it" in one.title


def test_a_circle_of_services_that_wait_is_told_once(tmp_path):
    """Compose: "dependency cycle detected: b -> w -> b"."""
    text = "services:\n  w: {image: x, depends_on: [a, b]}\n  a: {image: x}\n"
    text += "  b: {image: x, depends_on: [w, a]}\n"
    (one,) = judged(tmp_path, text).diagnosis.findings
    assert (one.code, one.severity) == ("CMP013", "critical") and "w → b → w" in one.title


def test_services_that_wait_in_many_ways_end_at_once(tmp_path):
    """Forty layers of two services, each waiting for both of the next: 2**40 ways and no circle; one edge
    back makes one."""
    lines = [
        f"  {side}{layer}: {{image: x, depends_on: [a{layer + 1}, b{layer + 1}]}}\n"
        for layer in range(40)
        for side in "ab"
    ]
    text = "services:\n" + "".join(lines) + "  b40: {image: x}\n"
    assert not found(judged(tmp_path / "a", text + "  a40: {image: x}\n"))
    told = judged(tmp_path / "b", text + "  a40: {image: x, depends_on: [a39]}\n").diagnosis.findings
    assert [one.code for one in told] == ["CMP013"] and "a39 → a40 → a39" in told[0].title


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("services: {w: {image: x}}\nvolumes: [a]\n", "volumes is a list, not a mapping"),
        ("services: {'a b': {image: x}}\n", "a service's name has only"),
        ("services: {w: {image: x, volumes_from: [zz]}}\n", "names the service zz"),
    ],
)
def test_names_and_volumes_that_compose_refuses(tmp_path, text, why):
    """Each was given to the real Compose 2.26."""
    told = judged(tmp_path, text).diagnosis.findings
    assert any(one.severity == "critical" and why in one.title for one in told)


def test_what_compose_needs_and_is_not_here_is_said(tmp_path):
    """`${X:?}` without X, and an env file that is not there: Compose starts nothing without them."""
    told = judged(tmp_path / "a", HEALTHY.replace("image: shop", "image: shop:${TAG:?}"))
    assert any("unless the environment sets TAG" in why for _, why, _ in told.notes)
    told = judged(tmp_path / "b", HEALTHY.replace("image: shop", "image: shop\n    env_file: none.env"))
    assert any("none.env is not here; without it Compose starts nothing" in why for _, why, _ in told.notes)


def test_a_host_in_another_file_is_not_judged(tmp_path):
    """No server of that kind stands here, or an override file lies beside this one."""
    alone = HEALTHY.replace("  redis: {image: redis:7}\n", "")
    told = judged(tmp_path / "a", alone)
    assert not found(told) and any("no service here is such a server" in why for _, why, _ in told.notes)
    typo = HEALTHY.replace("//redis:6379", "//rediss:6379")
    assert found(judged(tmp_path / "b", typo)) == {"URL003": "warning"}
    files = {"docker-compose.yml": typo, "docker-compose.override.yml": "services: {}\n"}
    told = judged(tmp_path / "c", files)
    assert not found(told) and any("docker-compose.override.yml beside it" in why for _, why, _ in told.notes)


def test_a_service_beside_services_is_told(tmp_path):
    """An indentation that is lost."""
    told = judged(tmp_path, HEALTHY + "beat:\n  image: shop\n")
    (one,) = [one for one in told.diagnosis.findings if one.code == "CMP013"]
    assert "stands beside services" in one.title and "Indent beat" in one.remedy.summary


def test_a_circle_of_extends_is_told(tmp_path):
    """Compose: "Circular reference"."""
    text = "services:\n  a: {image: x, extends: b}\n  b: {image: x, extends: {service: a}}\n"
    told = judged(tmp_path, text)
    assert found(told)["CMP013"] == "critical" and "in a circle" in told.diagnosis.findings[0].title


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("services:\n  w: &a\n    image: x\n    x-y: *a\n", "a circle (line 4)"),
        (
            "x-a: &a [1,2,3,4,5,6,7,8]\n"
            + "".join(f"x-{n}: &{n} [{','.join(['*' + p] * 8)}]\n" for p, n in pairwise("abcdefghi"))
            + "services: {w: {image: x}}\n",
            "its aliases come to more than",
        ),
    ],
)
def test_aliases_in_circles_and_bombs_are_named(tmp_path, text, why):
    """Compose refuses both; here the file is said to be unreadable, with the line."""
    told = judged(tmp_path, text)
    assert told.verdict == "unknown" and why in told.unreadable[0][1]


def test_a_file_in_windows_unicode_is_read(tmp_path):
    """UTF-16 with its mark, as Notepad writes it and Compose reads it; without the mark it is named."""
    file = tmp_path / "docker-compose.yml"
    text = HEALTHY.replace("-c 4", "--concurency 4")
    file.write_bytes(text.encode("utf-16"))
    assert found(lint([str(file)])) == {"CMD001": "critical"}
    file.write_bytes(text.encode("utf-16-le"))
    assert "UTF-16" in lint([str(file)]).unreadable[0][1]
