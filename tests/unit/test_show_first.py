"""What the first page of a report shows beyond its cards: what follows from what, when, and since when."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest
from evidence import OPTION, Incident, backend_reboot
from hand_built import APP, HOSTILE, diagnosis, evidence, iso, item

from celery_triage import since
from celery_triage.causes import diagnose
from celery_triage.exits import meaning
from celery_triage.model import Diagnosis, Section
from celery_triage.notebook import Look
from celery_triage.report.archive import Earlier
from celery_triage.report.front import CARDS, since_earlier
from celery_triage.show import consequences, findings, logs, restarts, triage
from celery_triage.show.causal import Start
from celery_triage.show.output import Shown, table
from celery_triage.summary import summary


def svg(shown: Shown) -> str:
    return base64.b64decode(re.search(r"base64,([A-Za-z0-9+/=]+)", shown.html)[1]).decode()


def crosses(picture: str) -> int:
    """How many crosses in the colour of text a picture has."""
    path = re.search(r'<path class="n ink-l"[^>]* d="([^"]*)"', picture)
    return path[1].count("m-3.5 -3.5") if path else 0


def test_the_picture_of_consequences_draws_each_cause_with_what_follows_and_what_it_waits_for():
    """A latent cause names the active ones that stop the same services first; consequences of one rule stand
    in one box with all their services."""
    judged = diagnose(backend_reboot().evidence())
    shown = consequences.picture(judged)
    picture = svg(shown)
    for finding in judged.cause_findings:
        assert f"{finding.code} {finding.name}" in picture
    database = next(one for one in judged.cause_findings if one.code == "DBS001")
    hidden_by = [one.code for one in consequences.masking(judged, database)]
    assert database.state == "latent" and "CMD001" in hidden_by and "DBS001" not in hidden_by
    option = judged.cause_findings[0]
    following = {name for one in judged.consequences(option.id) for name in one.services}
    assert following and f"on {', '.join(sorted(following)[:2])}" in picture
    assert "1. CMD001, active" in shown.text and "from it follows CTR001 restart-loop" in shown.text


def test_the_picture_is_told_in_words_below_it():
    """The fold holds the same sentences as the description of the picture."""
    shown = consequences.picture(diagnose(backend_reboot().evidence()))
    assert "The same in words" in shown.html and shown.html.count("CMD001, active") == 2


def test_without_a_cause_there_is_a_sentence_instead_of_a_picture():
    """An empty frame would look like a page that is not done."""
    nothing = Diagnosis("ai_backend", iso(903), "ok")
    assert consequences.picture(nothing).text == "No cause was found, so nothing follows from one."


def test_many_causes_are_drawn_up_to_a_number_and_counted_beyond():
    """Thirty causes make no picture of thirty rows; the words tell all of them."""
    judged = diagnosis()
    one = judged.cause_findings[0]
    many = tuple(replace(one, id=f"m{n}", title=f"{HOSTILE} {n}") for n in range(30))
    shown = consequences.picture(replace(judged, findings=many, causes=tuple(f.id for f in many)))
    assert "18 more causes not drawn" in shown.html and "<script>" not in svg(shown) + shown.html
    assert re.search(r"30\. \w+, active", shown.html)


def test_the_time_line_marks_the_first_error_that_is_in_each_log():
    """Not the first line, and nothing for a log without errors."""
    lines = [[iso(100), "err", "starting"], [iso(200), "err", "Error: no"], [iso(300), "err", "Error: no"]]
    with_error = evidence(logs__redis=Section("logs/redis", "ok", {"lines": lines, "cut": None}))
    quiet = evidence(logs__redis=Section("logs/redis", "ok", {"lines": lines[:1], "cut": None}))
    marks = [crosses(svg(restarts.plot(Look(one)))) for one in (with_error, quiet)]
    assert marks[0] == marks[1] + 1 and marks[1] >= 4  # three workers, beat, and the legend


def test_starts_that_are_stopped_alike_are_one_row_and_those_that_stop_come_first():
    """A hundred workers with the same mistake are one line of the picture."""
    stopped = {"options": [("active", "CMD001")]}
    starts = [Start("beat", {}, {"app"}), *(Start(f"w{n}", stopped, {"app"}, "10 lives") for n in range(20))]
    joined = restarts.alike(starts)
    assert [one.label for one in joined] == ["w0 and 19 more", "beat"]
    assert joined[0].end == "20 services alike" and joined[0].marks == stopped


def test_a_table_names_each_value_and_keeps_its_roles_when_its_rows_become_cards():
    """Laid out as blocks, a row says what each value is, and is still a row to who hears it."""
    html = table(("Service", "State"), [("email", "up"), ("beat", None)], label="Services").html
    assert 'data-label="State"' in html and 'data-label="Service"' not in html
    assert html.count('role="row"') == 3 and 'aria-label="Services"' in html and "ct-none" in html


def test_a_cause_for_ten_seconds_holds_its_cure_and_risk_but_no_proof():
    """What, how sure, what to do, what it costs, and the way to the proof."""
    cause = diagnose(backend_reboot().evidence()).cause_findings[0]
    html = findings.first(cause, 1).html
    assert "confirmed" in html and cause.remedy.risk[:20] in html and "ct-copy" in html
    assert f'href="#{cause.id}"' in html and "ct-proof" not in html


def test_what_changed_is_what_the_comparison_of_reports_says():
    """Counts and titles of ``since.between``; what is still there leads to its card, what is gone is
    named."""
    judged = diagnose(backend_reboot().evidence())
    now = summary(judged, backend_reboot().evidence())
    first, *rest = now["findings"]
    before = {**now, "findings": [{**first, "object": "--other", "title": "gone"}, *rest]}
    compared = since.between(before, now)
    titles = {since.fingerprint(one): one["title"] for one in (*before["findings"], *now["findings"])}
    told = since_earlier(
        Earlier(
            "r",
            iso(0),
            "critical",
            True,
            **{kind: {key: titles[key] for key in found} for kind, found in compared.items()},
        ),
        judged,
    )
    assert told["sentence"].startswith("1 new, 1 resolved") and told["link"] == "../r/index.html"
    kinds = {kind["name"]: kind["items"] for kind in told["kinds"]}
    assert kinds["resolved"] == [{"title": "gone", "id": ""}]
    assert kinds["new"] == [{"title": first["title"], "id": first["id"]}]
    carded = {one["id"] for one in kinds["still there"] if one["id"]}
    assert carded == set(judged.causes[:CARDS]) - {first["id"]}
    assert since_earlier(None, judged) is None


def test_each_exit_code_is_explained_with_what_shows_it():
    """A code has its meaning; beside it the cause that concerns the service, or its last words."""
    stack = Incident().replace_in_commands("--queues ", "--queue=", ("email_worker",))
    stack.loop("email_worker", 2, OPTION).loop("flower", 3, ["Weird: 17"])
    shown = restarts.exit_codes(Look(stack.evidence())).frame().set_index("Service")
    assert shown.loc["email_worker", "Exit code"] == "2"
    assert "Refused its command line" in shown.loc["email_worker", "Means"]
    assert "CMD001 unknown-option: --queue" in shown.loc["email_worker", "Shown by"]
    assert "Only the application knows" in shown.loc["flower", "Means"]


@pytest.mark.parametrize("code", [1, 2, 64, 69, 70, 73, 125, 126, 127, 132, 134, 137, 139, 143])
def test_the_exit_codes_that_people_meet_have_a_meaning(code):
    """In a few words, and with what decides."""
    words, decides = meaning(code)
    assert words and decides.endswith(".") and len(words) < 40


def test_the_services_lead_to_the_cards_of_their_causes_where_these_are_on_the_page():
    """On the first page a number is a link; in a notebook, which has no such place, it is text."""
    look = Look(evidence(), given=diagnosis())
    cause = look.diagnosis.cause_findings[0]
    assert f'<a href="#{cause.id}">1\xa0{cause.code}</a>' in restarts.services(look, anchors={cause.id}).html
    assert "<a " not in restarts.services(look).html


def test_the_next_cause_is_said_to_wait_only_where_it_does():
    """Two causes side by side hide nothing from each other."""
    look = Look(evidence(), given=diagnosis())
    one, other = look.diagnosis.cause_findings[:2]
    apart = (replace(one, services=("a",)), replace(other, services=("b",)))
    beside = replace(look.diagnosis, findings=apart, causes=(one.id, other.id))
    assert "waits behind" not in triage.next_steps(Look(evidence(), given=beside), "00_triage").text
    masked = (replace(one, services=("a",)), replace(other, services=("a",), state="latent"))
    behind = replace(beside, findings=masked)
    assert "what waits behind it becomes active" in triage.next_steps(
        Look(evidence(), given=behind), "00_triage"
    ).text


def test_last_words_stay_last_words_while_the_container_runs_again():
    """A life that ended with a refused option did so, also when the next one has begun; counted together."""
    refused = "Error: No such option: --queue (Possible options: --exclude-queues, --queues)"
    label = "email_worker"
    lines = [[iso(at), "err", refused] for at in (20, 40)]
    logs_section = Section(f"logs/{label}", "ok", {"lines": lines, "cut": None})
    small = evidence(**{f"logs__{label}": logs_section})
    items = [one for one in small.data("containers")["items"] if one["label"] != label]
    up = item(label, ["celery", "-A", APP, "worker", "--queue=mail"])
    up["samples"] = [{**one, "started_at": iso(59), "restart_count": 2} for one in up["samples"]]
    events = [
        {"container": f"ai_backend_{label}", "label": label, "signal": None, "health": None, **told}
        for at in (19, 39, 59)
        for told in (
            {"t": iso(at), "action": "start", "exit_code": None},
            *([{"t": iso(at + 2), "action": "die", "exit_code": 2}] if at < 59 else []),
        )
    ]
    whole = {**small.data("containers"), "items": [*items, up]}
    given = {**small.data("events"), "items": events}
    look = Look(
        evidence(
            **{f"logs__{label}": logs_section},
            containers=Section("containers", "ok", whole),
            events=Section("events", "ok", given),
        )
    )
    assert look.lives_of(label)[-1].running and len(look.lives_of(label)) == 3
    (row,) = [row for row in logs.signatures(look, label).rows if row[1] == refused]
    assert row[3:5] == ("its last words", "2")
