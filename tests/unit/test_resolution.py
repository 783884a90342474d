"""The resolution summary: its parts, its honesty, and that nothing which was read can do anything in it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from evidence import TAKEN_S, Incident, backend_reboot, iso, ready
from hand_built import HOSTILE
from markdown_it import MarkdownIt
from recorded_proof import compared
from test_report import POLICY, Outline

from celery_triage.model import Section
from celery_triage.redact import Redactor
from celery_triage.report import archive, blocks, resolution
from celery_triage.report.blocks import Code, Grid, Heading, Points, Prose
from celery_triage.report.compare import Side, compare
from celery_triage.report.ps import ago, status
from celery_triage.report.timeline import events
from celery_triage.show.units import clock, moment

PARTS = ["Problem", "Root causes", "What was changed", "Results", "Verification",
         "Not proven, and open risks", "Time line", "Status"]  # fmt: skip
NASTY = [
    HOSTILE, "`", "``x``", "a | b", "**bold** _it_", "[x](javascript:alert(1))", "<img src=x onerror=f()>",
    "![x](http://evil.example/p.png)", "line\nbreak | `tick`", "```\n<script>alert(1)</script>\n```",
    "<http://evil.example>", "# no heading", "&lt;b&gt;", "\\`x", "~~~", "1. no list", "- no point",
]  # fmt: skip


def parsed(markdown: str) -> str:
    """Markdown as a careless reader would show it: with inline HTML, links and pictures."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)


# --- What it says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["before", "incident_after", "incident_later", "cured_young", "cured"])
def test_it_has_the_parts_of_an_engineers_summary(after):
    """As Markdown and as a page, the same headings in the same order."""
    found = compared(after)
    markdown, page = resolution.markdown(found), resolution.html(found)
    assert re.findall(r"^## (.*)$", markdown, re.M) == PARTS
    assert re.findall(r"<h2>(.*?)</h2>", page) == PARTS
    assert "### Before, 2026-11-23 21:40:27 UTC" in markdown and "### After, 2026-11-23" in markdown


def test_the_incidents_own_after_is_told_honestly():
    """What its author called resolved: the word is not there, and what is missing is named."""
    text = resolution.markdown(compared("incident_after"))
    assert "✕ NOT RESOLVED" in text and "✓ RESOLVED" not in text
    assert "flower was removed, not mended" in text
    assert "Up 48 seconds (health: starting)" in text and "102 s left" in text
    assert re.search(r"- \? flower: it was removed from the stack", text)
    assert re.search(r"- ▲ `celery_beat` passes its health check: not proven, Docker says: starting", text)
    assert re.search(r"- ✓ `email_worker` takes work from email_processing: it answered a ping", text)


def test_a_cure_that_is_proven_says_so_with_its_proof():
    """Each cause gone, each service with the line of its log or the answer that proves it."""
    text = resolution.markdown(compared("cured"))
    assert "✓ RESOLVED" in text
    assert (
        text.count("Now: gone. ") == 4 and "not proven" not in text.split("## Verification")[1].split("##")[0]
    )
    assert re.search(
        r"- ✓ `celery_beat` has its tasks taken by a worker: logs/data_sync_worker, line \d+", text
    )
    assert "--queues email_processing" in text and "CELERY_RESULT_BACKEND" in text
    assert "Cure " not in text, "there is nothing left to be cured first"


def test_the_table_before_shows_a_restart_loop_that_docker_ps_calls_up():
    """A container in a loop is `Up 2 seconds` between two starts: the restarts stand beside it."""
    before = resolution.markdown(compared("cured")).split("### Before")[1].split("###")[0]
    rows = [line for line in before.splitlines() if line.startswith("| `ai_backend_")]
    assert rows and all(re.search(r"\d+ restarts? \|$", row) for row in rows)


def test_steps_for_a_person_are_told_and_not_run():
    """The commands of the verification stand there as text, with the sentence that nobody ran them."""
    text = resolution.markdown(compared("cured"))
    assert "This tool ran none of them" in text and "```sh\ndocker inspect -f" in text


def test_the_time_line_is_in_order_and_begins_with_the_first_known_failure():
    """First failed start, first look, containers made anew, present lives, second look."""
    part = resolution.markdown(compared("cured")).split("## Time line")[1].split("##")[0]
    times = re.findall(r"2026-11-23 \d\d:\d\d:\d\d", part)
    assert times == sorted(times) and len(times) >= 5
    words = [
        "first failed start",
        "first look: critical",
        "container made anew",
        "present life began",
        "second look",
    ]
    assert [part.index(word) for word in words] == sorted(part.index(word) for word in words)


def test_starts_of_one_deed_stand_under_the_first_and_span_half_a_minute():
    """A chain of starts, each soon after the one before, is several deeds; each names its first and last."""
    after, labels = Incident(), ("email_worker", "payment_worker", "data_sync_worker", "celery_beat")
    for number, label in enumerate(labels):
        after.lives[label], after.logs[label] = [], []
        after.life(label, TAKEN_S - 300 + 20 * number, None, lines=ready(label))
    before = replace(Incident().evidence(), taken_at=iso(TAKEN_S - 600))
    told = events(compare(Side.of(before), Side.of(after.evidence())))
    ends = [clock(iso(TAKEN_S - ago)) for ago in (280, 240)]
    assert [(moment(at), text) for at, text in told if text.startswith("present life began: ")] == [
        (
            moment(iso(TAKEN_S - 300)),
            f"present life began: email_worker and payment_worker (the last of them at {ends[0]})",
        ),
        (
            moment(iso(TAKEN_S - 260)),
            f"present life began: celery_beat and data_sync_worker (the last of them at {ends[1]})",
        ),
    ]


def test_the_seconds_that_are_left_are_told_as_the_latest_moment():
    """A health check that judges sooner ends the wait sooner, so nothing is "not before" then."""
    text = resolution.markdown(compared("cured_young"))
    assert "At the latest 130 s after the second look" in text and "Not before" not in text
    assert "settling, at most 130 s left" in text


def test_what_was_masked_stays_masked_and_is_said():
    """No token, no secret; the reader learns that a changed secret would not show."""
    text = resolution.markdown(compared("cured"))
    assert "postgres:***@postgres" in text and not re.search(r"\*\*\*[0-9a-f]{6}", text)
    assert "a changed secret does not show" in text


def test_a_new_cause_is_told_with_its_proof():
    """What the cure brought along stands among the causes, and makes it not resolved."""
    after = Incident()
    del after.databases["ai_backend"]
    found = compare(Side.of(Incident().evidence()), Side.of(after.evidence()))
    text = resolution.markdown(found)
    assert "The first look found no cause." in text and "### New: " in text and "NOT RESOLVED: 1 new" in text


def test_the_terminal_shows_the_same_result_in_short():
    """First line the result with its mark, then causes, services and what is not proven, no back ticks."""
    lines = resolution.lines(compared("incident_after"), 100)
    assert lines[0][0].startswith("✕ NOT RESOLVED") and lines[0][1] == "red"
    heads = [line for line, colour in lines if colour == "bold"]
    assert [name for name in heads if name != "New"][:3] == [
        "Causes of the first look", "Services", "Not proven, and why"]  # fmt: skip
    assert not any("`" in line for line, _ in lines)


def test_fewer_containers_of_a_service_are_a_risk_that_is_told():
    """Two replicas before, one now: the service is there, and it is not the same."""
    before = Incident().evidence()
    items = before.data("containers")["items"]
    email = next(item for item in items if item["label"] == "email_worker")
    twice = [item for item in items if item is not email]
    twice += [{**email, "label": f"email_worker-{n}", "name": f"email_{n}"} for n in (1, 2)]
    section = replace(before.section("containers"), data={**before.data("containers"), "items": twice})
    found = compare(
        Side.of(replace(before, sections={**before.sections, "containers": section})), Side.of(before)
    )
    assert "email_worker has 1 of the 2 containers that it had" in resolution.markdown(found)


# --- That nothing in it can do anything -----------------------------------------------------------------


@pytest.mark.parametrize("nasty", NASTY)
def test_no_text_leaves_its_block(nasty):
    """Whatever stands in a heading, a paragraph, a list, a table or code: no element, link, picture or
    further block comes of it, in Markdown or in HTML."""
    made = [Heading(nasty), Prose(nasty), Prose(nasty, "ok"), Points((("ok", nasty), ("", nasty))),
            Grid(("A", nasty), ((nasty, Code(nasty)), ("x", "y"))), Code(nasty, "text")]  # fmt: skip
    page = parsed(blocks.markdown(made))
    outline = Outline(page)
    assert outline.offences == [] and not {"script", "img", "a", "del"} & set(outline.tags)
    kept = ("h1", "h2", "ul", "ol", "li", "table", "tr", "td", "pre")
    assert [tag for tag in outline.tags if tag in kept] == [
        "h2", "ul", "li", "li", "table", "tr", "tr", "td", "td", "tr", "td", "td", "pre"]  # fmt: skip
    outline = Outline(blocks.html(made))
    assert outline.offences == [] and not {"script", "img", "a"} & set(outline.tags)


@pytest.mark.parametrize(
    "words",
    ["a_b _c_ *d* [e] <f> #g | h ! $ & ~ \\ i", "1. x", "12) x", "- x", "+ x", "--queue", "---",
     "=== x", "-", "# x", "> x", "-5 s"],
)  # fmt: skip
def test_text_comes_through_markdown_as_it_was(words):
    """Escaping changes what a text does, not what it says."""
    page = parsed(blocks.markdown([Prose(words)]))
    shown = re.sub(r"<[^>]*>", "", page).strip()
    assert shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == words


def test_a_hostile_stack_makes_a_page_that_runs_and_loads_nothing():
    """Commands, variables, images, logs and databases of the second look are hostile."""
    after = Incident()
    after.say("email_worker", HOSTILE)
    after.item("email_worker", image=HOSTILE, name="<b>`x`|</b>")
    after.command("flower", f"celery -A app flower '{HOSTILE}'")
    after.env["celery_beat"][f"X{HOSTILE}"] = HOSTILE
    after.databases[HOSTILE] = "postgres"
    after.sections["engine"] = Section("engine", "denied", why=HOSTILE)
    found = compare(Side.of(backend_reboot().evidence()), Side.of(after.evidence()))
    page = resolution.html(found)
    assert (
        Outline(page).offences == []
        and POLICY in page
        and "evil.example" not in re.sub(r">[^<]*<", "><", page)
    )
    assert Outline(parsed(resolution.markdown(found))).offences == []


def test_a_known_secret_keeps_the_summary_from_being_written(tmp_path):
    """Plain or encoded: nothing lies in the folder afterwards."""
    redactor = Redactor()
    redactor.learn("n0t/a real-passw0rd")
    for text in ("x n0t/a real-passw0rd", "x n0t%2Fa%20real-passw0rd"):
        with pytest.raises(archive.Leak):
            resolution.write(tmp_path / "r.md", text, redactor)
    assert list(tmp_path.iterdir()) == []
    resolution.write(tmp_path / "r.md", "harmless", redactor)
    assert (tmp_path / "r.md").read_text() == "harmless"


# --- In the words of docker ps --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "Less than a second"), (1.9, "1 second"), (55, "55 seconds"), (60, "About a minute"),
        (119, "About a minute"), (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"),
        (5400, "2 hours"), (47 * 3600, "47 hours"), (49 * 3600, "2 days"), (15 * 86400, "2 weeks"),
        (70 * 86400, "2 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_durations_are_those_of_docker_ps(seconds, words):
    """The words that an engineer knows from the column STATUS."""
    assert ago(seconds) == words


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ({"status": "running", "health": {"status": "healthy"}}, "Up 55 seconds (healthy)"),
        ({"status": "running", "health": {"status": "starting"}}, "Up 55 seconds (health: starting)"),
        ({"status": "running", "health": None}, "Up 55 seconds"),
        ({"status": "paused"}, "Up 55 seconds (Paused)"),
        ({"status": "restarting", "exit_code": 2}, "Restarting (2) 4 seconds ago"),
        ({"status": "exited", "exit_code": 0}, "Exited (0) 4 seconds ago"),
        ({"status": "created"}, "Created"),
        ({"status": "dead"}, "Dead"),
    ],
)
def test_states_are_those_of_docker_ps(sample, words):
    """Running with its health, restarting and exited with their code and age."""
    times = {"started_at": "2026-11-23T12:00:00Z", "finished_at": "2026-11-23T12:00:51Z",
             "t": "2026-11-23T12:00:55.5Z"}  # fmt: skip
    assert status({**times, **sample}) == words
