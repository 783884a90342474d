"""The diagnosis as Markdown: the same as everywhere, and nothing that was read is markup in it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hand_built import HOSTILE, diagnosis, evidence
from markdown_it import MarkdownIt

from celery_triage import bundle, cli
from celery_triage.causes import diagnose
from celery_triage.model import Proof
from celery_triage.report.message import CAUSES, message


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The incident built by hand, as a bundle."""
    folder = tmp_path_factory.mktemp("message") / "bundle"
    bundle.save(evidence(), folder)
    return folder


def fences(text: str) -> list[str]:
    """What stands in code blocks, as a reader of CommonMark finds it."""
    return [token.content.rstrip("\n") for token in MarkdownIt().parse(text) if token.type == "fence"]


def prose(text: str) -> str:
    """The words of the message, without markup."""
    tokens = MarkdownIt().parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    return " ".join(child.content for child in inline if child.content)


def test_the_message_tells_the_same_diagnosis():
    """Verdict, each cause in order with its state and certainty, each command whole, each risk, what is not
    known."""
    seen = evidence()
    judged = diagnose(seen)
    text = message(judged, seen, "reports/r/index.html")
    words, blocks = prose(text), fences(text)
    assert f"{judged.verdict.upper()} {judged.target}" in words and "reports/r/index.html" in words
    titles = [words.index(finding.title) for finding in judged.cause_findings]
    assert len(titles) >= 3 and titles == sorted(titles)
    for finding in judged.cause_findings[:CAUSES]:
        assert f"{finding.state}, {finding.certainty}, {finding.code} {finding.name}" in words
        assert finding.proof[0].text in blocks
        if finding.remedy.commands:
            assert "\n".join(finding.remedy.commands) in blocks
        assert finding.remedy.risk in words
    assert "logs/flower: denied, log driver none keeps no logs" in words


def test_nothing_that_was_read_is_markup():
    """A log line cannot close its fence, a title cannot open HTML, a heading, a link or a mention of its
    own."""
    judged = diagnosis()
    hostile = f"```\n# {HOSTILE}\n[x](http://evil.example) ![y](http://evil.example/p.png) <!channel>"
    bad = replace(
        judged.findings[0], title=" ".join(hostile.split()), proof=(Proof("logs/flower", hostile, 1),)
    )
    judged = replace(judged, findings=(bad, *judged.findings[1:]))
    tokens = MarkdownIt("commonmark", {"html": True}).parse(message(judged, evidence()))
    inline = [child for token in tokens for child in token.children or ()]
    assert hostile in [token.content.rstrip("\n") for token in tokens if token.type == "fence"]
    kinds = {token.type for token in (*tokens, *inline)}
    assert kinds.isdisjoint({"html_block", "html_inline", "link_open", "image"})
    headings = [token for token in tokens if token.type == "heading_open"]
    assert {token.tag for token in headings} == {"h3"}


def test_check_writes_markdown_or_json_and_ends_with_the_verdict(capsys, recorded):
    """``--format`` chooses among the three; ``--json`` is ``--format json``."""
    code = cli.status(["check", "--bundle", str(recorded), "--format", "markdown"])
    told = capsys.readouterr().out
    loaded = bundle.load(recorded)
    assert code == 2 and told == message(diagnose(loaded), loaded)
    assert cli.status(["check", "--bundle", str(recorded), "--format", "json"]) == 2
    as_json = capsys.readouterr().out
    assert cli.status(["check", "--bundle", str(recorded), "--json"]) == 2
    assert capsys.readouterr().out == as_json and json.loads(as_json)["verdict"] == "critical"


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "--json", "--format", "markdown"],
        ["check", "--format", "html"],
        ["run", "--scheduled", "--format", "markdown"],
    ],
)
def test_forms_that_exclude_each_other_are_wrong_use(capsys, arguments):
    """64 and one sentence, before anything is looked at."""
    assert cli.status(arguments) == 64
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_run_writes_the_message_in_place_of_the_path(capsys, recorded, tmp_path):
    """The report is made all the same, and the message names its first page."""
    common = ["run", "--bundle", str(recorded), "--reports", str(tmp_path), "--only", "40"]
    assert cli.status([*common, "--format", "markdown"]) == 2
    told = capsys.readouterr().out
    (page,) = tmp_path.glob("2*/index.html")
    assert f"Report: `{page}`" in told and told.startswith("**✕ CRITICAL ")
