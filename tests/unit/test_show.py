"""What is shown: readable numbers, full text, hostile text as text, pictures that are the same every time."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from hand_built import HOSTILE, diagnosis, evidence
from markupsafe import Markup

from celery_triage.model import Edit, Finding, Proof
from celery_triage.notebook import OF_REPORT, Look
from celery_triage.show import causal, findings, matrix, terminal, timeline, triage, units
from celery_triage.show.drawing import ROLES, Drawing
from celery_triage.show.output import Cell, grouped, sentence, source, stacked, table, ticks, unbroken


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (-1, "0 s"),
        (0, "0 s"),
        (0.42, "0.4 s"),
        (2, "2 s"),
        (9.96, "10 s"),
        (12.4, "12 s"),
        (59.7, "1 min"),
        (185, "3 min 5 s"),
        (8040, "2 h 14 min"),
        (3600, "1 h"),
        (273600, "3 d 4 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds, words):
    """Nobody divides 8040 seconds by 3600 at 3 am."""
    assert units.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (512 * 2**20, "512 MiB"),
        (3 * 2**40, "3 TiB"),
    ],
)
def test_a_size_is_in_binary_units(count, words):
    """512 MiB is what the Compose file says."""
    assert units.size(count) == words


@pytest.mark.parametrize(
    ("code", "oom", "words"),
    [
        (0, False, "ended without error (exit 0)"),
        (2, False, "refused its command line (exit 2)"),
        (137, True, "out of memory (exit 137)"),
        (137, False, "ended by SIGKILL (exit 137)"),
        (143, False, "ended by SIGTERM (exit 143)"),
        (159, False, "ended by SIGSYS (exit 159)"),
        (77, False, "exit 77"),
        (None, False, "unknown"),
    ],
)
def test_an_exit_code_is_told_in_words(code, oom, words):
    """137 alone does not say whether the kernel or a person killed it."""
    assert units.ending(code, oom) == words


def test_times_of_docker_are_read_and_its_zero_time_is_none():
    """Docker writes nanoseconds, and the year 1 for what has not happened."""
    assert units.moment("2026-11-23T14:15:03.123456789Z") == "2026-11-23 14:15:03 UTC"
    assert units.moment("0001-01-01T00:00:00Z") == "–"
    assert units.moment("2026-11-23T15:15:03+01:00") == "2026-11-23 14:15:03 UTC"
    assert units.when("yesterday") is None


def test_a_list_ends_with_and():
    """Names are listed as a sentence lists them."""
    assert [units.listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "none",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert units.listed("abcde", 2) == "a, b and 3 more"


def test_a_table_says_the_same_in_html_and_text_and_cuts_nothing():
    """A log line of 5000 letters is shown whole in both."""
    long = "x" * 5000
    shown = table(("A", "B"), [(long, 3), (None, Cell("two\nlines"))])
    assert long in shown.html and long in shown.text
    assert "ct-number" in shown.html and "two\nlines" in shown.html
    assert [line for line in shown.text.splitlines() if line.startswith("–")] == ["–".ljust(5000) + "  two"]


def test_a_table_without_rows_is_a_sentence():
    """An empty grid reads as a fault of the tool."""
    assert table(("A",), [], empty="No log was read.").text == "No log was read."


def test_hostile_text_stays_text_wherever_it_is_shown():
    """A log line can break out of no table, card or sentence."""
    finding = Finding(
        "CMD001",
        HOSTILE,
        "critical",
        HOSTILE,
        services=(HOSTILE,),
        object=HOSTILE,
        detail=HOSTILE,
        proof=(Proof("logs/" + HOSTILE, HOSTILE, 1, HOSTILE),),
        verify=(HOSTILE,),
        id="f1",
    )
    shown = stacked(
        findings.card(finding),
        table((HOSTILE,), [(HOSTILE,)], caption=HOSTILE, note=HOSTILE),
        sentence(HOSTILE),
    )
    assert "<script" not in shown.html and "<img" not in shown.html
    assert shown.html.count("&lt;script&gt;") >= 9


def test_back_ticks_become_code_and_nothing_else_does():
    """`celery flower` in a title is code; what it holds is escaped; a lone tick stays."""
    assert ticks("run `a<b` now") == Markup("run <code>a&lt;b</code> now")
    assert ticks("it`s <b>") == Markup("it`s &lt;b&gt;")


def words(html: Markup) -> str:
    """A card as it is read: without the marks that keep options whole."""
    return re.sub(r'<span class="ct-o">(.*?)</span>', r"\1", str(html))


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("knows no option --queue", ["--queue"]),
        ("(probably meant: --queues, --exclude-queues)", ["--queues", "--exclude-queues"]),
        ("psql -v ON_ERROR_STOP=1 -U postgres", ["-v", "-U"]),
        ("'--queue=mail'", ["--queue=mail"]),
        ("unless-stopped, 2026-11-23, - a point, 5 - 3, ai_backend-net", []),
        ("--" + "x" * 60, []),
        ("--a<b", ["--a"]),
    ],
)
def test_an_option_is_never_cut_at_the_end_of_a_line(text, whole):
    """Half of ``--queues`` is another option; a long one, or a hyphen in a word, may be broken."""
    html = unbroken(text)
    assert re.findall(r'<span class="ct-o">(.*?)</span>', html) == whole
    assert html.striptags() == " ".join(text.split()) and "<b" not in html.replace("<span", "")


def test_services_that_share_a_row_are_named_once_and_never_cut():
    """A service whose two URLs lead to the same stands there once; no line of names is broken."""
    rows = grouped([("celery_beat", "redis"), ("celery_beat", "redis"), ("flower", "redis")])
    assert [one.text for one in rows[0][:1]] == ["celery_beat\nflower"]
    assert 'class="ct-code ct-short"' in table(("Services", "Needs"), rows).html


def test_a_page_of_a_report_never_calls_a_live_stack_recorded():
    """Its notebooks read the evidence beside them, be it of a live stack; only what a person gave is said to
    be recorded."""
    now = units.when("2026-11-23T14:20:00Z")
    for origin, said in (
        ("live", "ai_backend, live."),
        (OF_REPORT, "ai_backend, the evidence of this report."),
        ("/srv/bundle", "ai_backend, recorded evidence, not live."),
    ):
        assert triage.looked(Look(replace(evidence(), origin=origin)), now).text.startswith(said)


def test_a_quotation_without_a_time_names_none():
    """Docker's zero time is no time."""
    paused = Proof("containers", "postgres: paused", None, "0001-01-01T00:00:00Z")
    assert source(paused) == "containers"


def test_a_card_holds_proof_remedy_and_verification_with_their_sources():
    """What, for whom, how sure, by what, how to cure, how to see it: nothing is left to another page."""
    shown = findings.card(diagnosis().findings[0], number=1)
    for text in (words(shown.html), shown.text):
        for part in (
            "logs/email_worker, line 30, 2026-11-23 14:13:54 UTC",
            "docker-compose.yml",
            "line 20",
            "- --queue=email_processing",
            "+ --queues=email_processing",
            "docker compose up -d",
            "they are down anyway",
            "Up for more than a minute",
            "active",
            "confirmed",
        ):
            assert part in text, part


def test_a_choice_shows_its_question_and_every_way():
    """A remedy that is a choice gives the question that decides."""
    shown = findings.card(diagnosis().findings[1])
    for text in (words(shown.html), shown.text):
        assert (
            "Is Flower wanted?" in text and "docker compose build flower" in text and "rm -sf flower" in text
        )


def test_the_state_of_each_service_is_shown_where_they_differ():
    """Active on beat and latent on the workers is two different things to do."""
    assert "email_worker (latent)" in findings.card(diagnosis().findings[2]).text


def test_the_verdict_line_counts_active_and_latent_causes():
    """One line says how many causes stop how many services, and what waits behind."""
    assert triage.verdict_line(diagnosis()) == (
        "ai_backend: 3 active causes on 5 services, 1 more waits behind, 1 check could not judge."
    )


def test_what_was_not_checked_names_section_status_reason_and_open_checks():
    """Could not look never reads as nothing there."""
    text = findings.unknown(diagnosis(), evidence()).text
    assert re.search(
        r"celery +no reply +no worker answered within 2 s; the broker knows no node +WRK001", text
    )
    assert re.search(r"logs/flower +denied +log driver none keeps no logs", text)


def test_the_terminal_page_has_verdict_causes_cure_and_unknown():
    """`check` tells in the terminal what the first page of a report tells."""
    text = "\n".join(line for line, _ in terminal.page(diagnosis(), evidence()))
    for part in (
        "✕ CRITICAL",
        "Causes, in the order in which to cure them",
        "4. PostgreSQL has no database",
        "explains restart-loop (email_worker)",
        "Also seen",
        "○ history",
        "Not checked, and why",
        "open for it: WRK001 node-silent",
        "$ docker compose up -d",
    ):
        assert part in text, part


def svg(shown) -> str:
    return base64.b64decode(re.search(r"base64,([^\"]+)", shown.html)[1]).decode()


def drawn(label: str = "email_worker"):
    return causal.picture(
        [
            causal.Start(
                label,
                {"options": [("active", "CMD001")], "driver": [("latent", "PKG001")]},
                {"app"},
                "15 lives, exit 2",
            )
        ],
        ("app", "options", "driver"),
    )


def test_a_picture_is_the_same_every_time_and_names_no_moment_of_its_making():
    """An archived notebook that is run again must show the very same picture."""
    assert drawn().html == drawn().html
    assert not re.search(r"date|0x[0-9a-f]{6}|\d{4}-\d\d-\d\d", svg(drawn()))


def test_a_picture_is_well_formed_for_any_text_in_it():
    """A name with markup, dollars or control characters is drawn as text."""
    root = ElementTree.fromstring(svg(drawn("<b>&$x$\x1b[31m\x00")))
    assert any("<b>&$x$" in (text.text or "") for text in root.iter("{http://www.w3.org/2000/svg}text"))


def test_a_picture_follows_light_and_dark_and_loads_nothing():
    """Every colour is a variable with a value for each theme; no address of a host stands in it."""
    text = svg(drawn())
    body = text.partition("</style>")[2]
    assert "prefers-color-scheme:dark" in text and "#" not in body
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r'class="([\w-]+)', body)) <= {*ROLES, "n"}


def test_a_picture_is_told_in_words_too():
    """Alt text and plain text say what is drawn: stop, what waits behind, how it ends."""
    shown = drawn()
    assert "email_worker stops at options (CMD001); behind it wait PKG001; 15 lives, exit 2" in shown.text
    assert f'alt="{shown.text.splitlines()[0]}"' in shown.html


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("role", ["ink", "soft", "critical", "warning", "ok", "calm"])
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_in_pictures_has_the_contrast_of_wcag_aa(role, theme):
    """4.5 to 1 on paper and on the bands, in both themes."""
    for ground in ("paper", "band"):
        assert contrast(ROLES[role][theme], ROLES[ground][theme]) >= 4.5


def test_a_time_line_stays_readable_for_a_hundred_services():
    """A hundred rows are lower each, with texts of the same size, and stay under 400 KB."""
    rows = [
        timeline.Row(
            f"worker-{n}", [timeline.Bar(60 * k, 60 * k + 2, "critical") for k in range(15)], (), "15"
        )
        for n in range(100)
    ]
    shown = timeline.timeline(rows, 0, 900, "many", "")
    assert 'viewBox="0 0 990 1738"' in svg(shown) and len(shown.html) < 400_000
    assert 'style="font-size:11px">worker-99</text>' in svg(shown)


def test_ticks_of_an_axis_are_round_and_few():
    """An axis of 15 minutes has ticks at whole minutes, at most eight."""
    ticks_ = timeline.Axis(1_800_000_007, 1_800_000_907).ticks()
    assert 4 <= len(ticks_) <= 8 and all(moment % 60 == 0 for moment, _ in ticks_)


def test_a_matrix_marks_unknown_as_unknown():
    """A question mark is neither a yes nor a no."""
    shown = matrix.matrix(
        [("worker", (("yes", ""), ("no", "--queue"), ("unknown", "")))], ("a", "b", "c"), "S", ""
    )
    assert shown.text.startswith("S. worker: a yes, b no (--queue), c unknown.")


def test_drawing_keeps_marks_of_one_kind_together():
    """Fifty marks are one path, so that a picture of many rows stays small."""
    drawing = Drawing(100, 100)
    for n in range(50):
        drawing.dots([n], [n], "ok")
    assert drawing.svg().count("<path") == 2
    assert len(Drawing(100, 100).svg()) < 1800


def test_the_step_that_a_fault_strikes_depends_on_the_celery_in_the_image():
    """Up to 5.4 a missing database is met by the first result; Flower meets it there too."""
    from celery_triage.checks.steps import met_at
    from celery_triage.stack import Stack

    assert met_at("database", Stack.of(evidence()).get("email_worker")) == "database"
    section = evidence().section("files/email_worker")
    old = {
        **section.data,
        "packages": {**section.data["packages"], "celery": {"present": True, "version": "5.4.0"}},
    }
    stack = Stack.of(evidence(files__email_worker=replace(section, data=old)))
    assert met_at("database", stack.get("email_worker")) == "results"
    assert met_at("database", stack.get("flower")) == "results"
    assert met_at("options", stack.get("flower")) == "options"


def test_a_table_can_be_worked_with_as_a_data_frame():
    """The frame of a shown table has its columns and the full text of each cell, in the same order."""
    frame = table(["service", "lives"], [[Cell("email_worker", code=True), 55], ["redis", None]]).frame()
    assert list(frame.columns) == ["service", "lives"]
    assert frame.values.tolist() == [["email_worker", "55"], ["redis", "–"]]
    assert frame[frame.service == "redis"].lives.item() == "–"


def test_a_notebook_has_the_style_sheet_once_in_its_first_output():
    """What was looked at brings it; no other output repeats it, so that archived notebooks stay small."""
    from celery_triage.notebook import Look

    look = Look(evidence(), given=diagnosis())
    assert look._repr_html_().count("<style>") == 1
    assert triage.causes(look)._repr_html_().startswith('<div class="ct">')


def test_an_edit_that_adds_a_line_shows_each_of_its_lines():
    """A line without a plus sign would read as one that was there."""
    edit = Edit("/srv/docker-compose.yml", 25, "image: app:1", "image: app:1\n    restart: unless-stopped")
    assert findings.edits_text([edit])[-2:] == ["     + image: app:1", "     +     restart: unless-stopped"]
