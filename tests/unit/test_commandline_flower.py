"""Flower's command line: parsed as the real Flower of each version parsed it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from celery_triage.commandline import parse, tables

DATA = Path(__file__).parent / "data" / "commandline"
OUTCOMES = json.loads((DATA / "outcomes_flower.json").read_text(encoding="utf-8"))
#: What the command line alone does not decide: whether a file is there, and what ``flowerconfig.py`` adds.
OPEN = ("--conf=nothing.py", "--certfile=cert.pem")


def _read(line: str, minor: str):
    words, env = shlex.split(line), {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    recorded = OUTCOMES[minor]
    return parse(words, recorded["celery"], env=env, flower=recorded["flower"])


@pytest.mark.parametrize("minor", tables.versions("flower"))
def test_every_line_ends_as_the_real_flower_ended(minor: str) -> None:
    """Exit code and sentence of each recorded line; a bare ``flower`` is there in 0.9 only."""
    lines = OUTCOMES[minor]["lines"]
    assert len(lines) > 60
    for line, seen in lines.items():
        if line.endswith(OPEN):
            continue
        if line.startswith("flower "):
            assert (seen["exit_code"] == 127) == (minor != "0.9"), line
            if minor != "0.9":
                continue
        launch = _read(line, minor)
        assert launch.exit_code == seen["exit_code"], (minor, line, launch.problems, seen)
        if launch.exit_code == 1:
            assert seen["said"].endswith(launch.error), (minor, line)


@pytest.mark.parametrize("minor", tables.versions("flower"))
def test_the_table_holds_the_options_and_defaults_that_flower_prints(minor: str) -> None:
    """Names and defaults in the recorded list of options are those of the table."""
    text = (DATA / "help" / f"flower-{minor}.txt").read_text(encoding="utf-8")
    table = tables.table(minor, "flower")
    assert OUTCOMES[minor]["flower"] == table["flower"]
    blocks = re.split(r"\n(?=  --)", text)
    printed = {}
    for block in blocks[1:]:
        name = re.match(r"  --([\w-]+)", block)[1]
        said = re.search(r"\(default\s+(.*?)\)\s*$", block.split("\n\n")[0], re.S)
        printed[name.replace("_", "-")] = re.sub(r"\s+", "", said[1]) if said else None
    assert set(printed) == set(table["options"])
    for name, default in printed.items():
        declared = table["options"][name].get("default")
        if default in (None, "random", "[]"):
            assert declared is None or name == "help", name
        elif isinstance(declared, list):
            assert re.findall(r"[\d.]+|inf", default) == declared, name
        else:
            assert default == str(declared), name


def test_the_version_of_flower_is_named_and_how_it_is_known() -> None:
    """A launch of Flower says by which Flower it was judged; without a version what all of them refuse."""
    argv = ["celery", "flower", "--broker_api=rabbit:15672"]
    known, unknown = parse(argv, "5.7.0", flower="2.2.0"), parse(argv, "5.7.0")
    assert known.flower_how == "judged by the options of Flower 2.2 (2.2.0)" and known.exit_code == 1
    assert "Flower 0.9 to 2.2" in unknown.flower_how and not unknown.problems
    assert parse(["celery", "worker"], "5.7.0").flower_how == ""


@pytest.mark.parametrize("pattern", ["http://[x/api", "http:///api", "ftp://h/api"])
def test_a_broker_api_that_is_no_http_address_is_refused_and_raises_nothing(pattern: str) -> None:
    """Whatever stands there, the answer is a sentence."""
    (problem,) = parse(["celery", "flower", f"--broker-api={pattern}"], "5.7.0", flower="2.2.0").problems
    assert problem.message.startswith("Invalid '--broker-api' option: ")
