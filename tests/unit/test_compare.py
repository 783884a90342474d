"""Before and after: what is resolved, left, new or not proven, and how long a proof takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from evidence import (
    NO_DRIVER,
    OPTION,
    TAKEN_S,
    WORKERS,
    Incident,
    backend_reboot,
    iso,
    ready,
    without_section,
)
from recorded_proof import compared, recorded, side

import celery_triage
from celery_triage import bundle, cli
from celery_triage.checks import RULES
from celery_triage.lives import Life
from celery_triage.model import Section, dumps
from celery_triage.report import changes
from celery_triage.report import compare as comparing
from celery_triage.report.compare import Comparison, NotReadable, Side, Swapped, as_json, compare, read
from celery_triage.report.lived import left, longest_former, needs, stand
from celery_triage.report.risks import risks
from celery_triage.report.side import with_told
from celery_triage.summary import summary

FINDING = {"id": "f1", "code": "X", "name": "x", "severity": "critical", "title": "t", "object": "",
           "state": "active", "services": []}  # fmt: skip
CHECK = {"start_period_s": 30.0, "interval_s": 30.0, "timeout_s": 10.0, "retries": 3, "test": ["CMD", "true"]}


def judged(before, after) -> Comparison:
    """The comparison of two evidences."""
    return compare(Side.of(before), Side.of(after))


def fates(found: Comparison) -> dict[str, str]:
    """What became of each cause, by its code."""
    return {one.finding.code: one.became for one in found.causes}


def standing(found: Comparison) -> dict[str, str]:
    """What became of each service."""
    return {one.label: one.became for one in found.services}


# --- How long a service must have lived -----------------------------------------------------------------


@pytest.mark.parametrize(("age", "became"), [(9.9, "settling"), (10.0, "settling"), (10.1, "proven")])
def test_every_service_must_outlive_the_back_off(age, became):
    """At ten seconds Docker may still be counting the start as a failed one; after them it is not."""
    assert stand("running", None, age, needs(None, None, None))[0] == became


@pytest.mark.parametrize(("age", "became"), [(37.2, "settling"), (37.3, "proven")])
def test_a_service_must_outlive_its_longest_former_life(age, became):
    """A worker that used to die after 37.2 s proves nothing before that."""
    found, why = stand("running", None, age, needs(None, None, 37.2))
    assert found == became and "longest former life" in why


@pytest.mark.parametrize(
    ("age", "health", "became"),
    [
        (55.0, "healthy", "settling"),
        (120.0, "healthy", "settling"),
        (120.1, "healthy", "proven"),
        (120.1, "starting", "settling"),
        (150.0, "starting", "settling"),
        (150.1, "starting", "unproven"),
        (5000.0, "starting", "unproven"),
        (5.0, "unhealthy", "unproven"),
        (5000.0, "unhealthy", "unproven"),
    ],
)
def test_a_health_check_must_have_had_its_time_and_say_healthy(age, health, became):
    """Start period and interval times retries; a check that still judges may take its time-outs longer."""
    assert stand("running", health, age, needs(CHECK, health, None))[0] == became


def test_the_longest_need_decides():
    """A long former life is not hidden by a short health check, nor the other way round."""
    assert max(need.seconds for need in needs(CHECK, "healthy", 3600.0)) == 3600.0
    assert max(need.seconds for need in needs(CHECK, "healthy", 3.0)) == 120.0


@pytest.mark.parametrize(("age", "seconds"), [(48.08, 102), (149.0, 2), (150.0, 1), (150.5, 0)])
def test_the_seconds_left_are_whole_and_enough(age, seconds):
    """After so many seconds the age is more than the need, never just as much."""
    needed = needs(CHECK, "starting", None)
    assert left(age, needed) == seconds
    assert age + left(age, needed) > 150


def test_only_lives_that_ended_by_themselves_say_when_a_service_dies():
    """A life that somebody stopped, one whose end nobody told, and the present one count for nothing."""
    lives = [
        Life("w", 1, "a", exit_code=2, seconds=4.0),
        Life("w", 2, "a", exit_code=0, seconds=9.0, asked=True),
        Life("w", 3, "a", exit_code=None, seconds=900.0, told_by="log"),
        Life("w", 3, "a", exit_code=143, seconds=80000.0),
        Life("w", 4, "a", exit_code=None, seconds=12.0, oom=True),
        Life("w", 5, "a", seconds=5000.0, running=True),
    ]
    assert longest_former(lives) == 12.0
    assert longest_former(lives[1:4]) is None


def test_a_former_life_of_the_container_before_the_cure_counts():
    """Docker forgets the lives of a container that was made anew; the first look has not forgotten them."""
    before = Incident().loop("email_worker", 1, OPTION, lived=50.0)
    after = Incident()
    after.lives["email_worker"] = []
    after.life("email_worker", TAKEN_S - 40, None, lines=ready("email_worker"))
    lived = next(
        one for one in judged(before.evidence(), after.evidence()).services if one.label == "email_worker"
    )
    assert lived.became == "settling" and lived.needed == 50.0 and lived.left == 11


# --- The incident, as recorded --------------------------------------------------------------------------


def test_the_incidents_own_after_is_not_resolved():
    """Its author called it resolved after 56 s: beat is settling, and Flower was removed, not mended."""
    found = compared("incident_after")
    assert found.result == "not_resolved"
    assert fates(found) == {
        "CMD001": "settling",
        "URL002": "settling",
        "CMD002": "removed",
        "DBS001": "settling",
    }
    assert standing(found) == {
        "celery_beat": "settling", "data_sync_worker": "settling", "email_worker": "settling",
        "payment_worker": "settling", "flower": "removed",
    }  # fmt: skip
    assert found.left == 102
    assert any("flower" in line and "removed from the stack, not mended" in line for line in found.open)


def test_later_beats_health_check_is_named_as_what_is_not_proven():
    """Its ping can never succeed: unhealthy is never proven, and the causes on it stay open."""
    found = compared("incident_later")
    assert found.result == "not_resolved"
    assert standing(found)["celery_beat"] == "unproven" and standing(found)["email_worker"] == "proven"
    assert fates(found)["CMD001"] == "gone" and fates(found)["CMD002"] == "removed"
    assert fates(found)["URL002"] == "unproven"
    assert any(line.startswith("celery_beat: Docker calls it unhealthy") for line in found.open)


def test_a_young_cure_is_settling_and_an_old_one_resolved():
    """The same cure, 21 s and 135 s after its start: only the second one is proven."""
    young = compared("cured_young")
    assert young.result == "settling" and young.left == 130
    found = compared("cured")
    assert found.result == "resolved" and found.open == () and found.left is None
    assert set(fates(found).values()) == {"gone"} and set(standing(found).values()) == {"proven"}
    assert all(point.proven for point in found.points)


def test_nothing_done_leaves_every_cause():
    """The same look twice: all causes are still there, nothing is new, nothing was changed."""
    found = compared("before")
    assert found.result == "not_resolved" and set(fates(found).values()) == {"left"}
    assert found.new == () and found.changes.found == () and found.changes.diff == ()


def test_the_changes_name_what_was_done_and_no_secret():
    """Command, URL, image, package, health check and database, each with the services it was done for."""
    found = compared("cured")
    changes = {change.what: change for change in found.changes.found}
    assert (
        changes["environment CELERY_RESULT_BACKEND"].before
        == "db+postgresql://postgres:***@postgres:5432/ai_backend"
    )
    assert changes["environment CELERY_RESULT_BACKEND"].after.startswith("db+postgresql+psycopg://")
    assert len(changes["environment CELERY_RESULT_BACKEND"].services) == 5
    assert changes["package flower in the image"].after == "2.2.0"
    assert (
        changes["database ai_backend on postgres:5432"].before,
        changes["database ai_backend on postgres:5432"].after,
    ) == ("not there", "there")
    commands = [change for change in found.changes.found if change.what == "command"]
    assert {name for change in commands for name in change.services} == set(WORKERS)
    assert all("--queue=" in change.before and "--queues " in change.after for change in commands)
    assert "image" in changes and any(
        line.startswith("+") and "--queues data_sync" in line for line in found.changes.diff
    )
    assert "environment POSTGRES_PASSWORD" not in changes  # its token is another one in every look


def test_the_same_two_looks_give_the_same_answer():
    """Nothing of now or here is in a comparison."""
    first = dumps(as_json(judged(recorded("before"), recorded("cured_young"))))
    assert dumps(as_json(judged(recorded("before"), recorded("cured_young")))) == first


# --- What forbids the word ------------------------------------------------------------------------------


def test_a_rule_that_could_not_look_proves_nothing():
    """The database rule is unknown after the cure: its cause is not proven gone, so nothing is resolved."""
    after = without_section(Incident().evidence(), "postgres")
    found = judged(backend_reboot().evidence(), after)
    assert fates(found)["DBS001"] == "unproven" and fates(found)["CMD001"] == "gone"
    assert found.result == "not_proven" and "could not judge" in found.open[0]


def test_a_broken_rule_proves_nothing(monkeypatch):
    """A bug of ours must not look like a cure."""
    before = Side.of(backend_reboot().evidence())

    def broken(look):
        raise KeyError("oops")
        yield

    monkeypatch.setitem(RULES, "DBS001", replace(RULES["DBS001"], check=broken))
    found = compare(before, Side.of(Incident().evidence()))
    assert fates(found)["DBS001"] == "unproven" and found.result == "not_proven"


def test_a_rule_that_judged_before_and_cannot_now_is_a_doubt():
    """No cause hangs on it; still nobody can say that nothing new has come."""
    after = without_section(Incident().evidence(), "redis")
    found = judged(Incident().loop("flower", 2, OPTION).evidence(), after)
    assert any("could not judge this time" in doubt for doubt in found.doubts)
    assert found.result == "not_proven"


def test_a_lesser_rule_that_cannot_judge_is_a_risk_and_no_doubt():
    """The recorded looks hold no use of memory: the warning about it is open, and the incident resolved."""
    found = compared("cured")
    outcome = found.after.outcome("HLT005")
    assert outcome.outcome == "unknown" and RULES["HLT005"].severity == "warning"
    assert found.doubts == () and any("HLT005" in line for line in risks(found))


def test_a_new_cause_forbids_it():
    """The old causes are gone, and the cure brought another one."""
    after = Incident().package("flower", False).loop("flower", 2, OPTION)
    found = judged(
        Incident()
        .loop("email_worker", 2, OPTION)
        .replace_in_commands("--queues", "--queue", ("email_worker",))
        .evidence(),
        after.evidence(),
    )
    assert found.result == "not_resolved" and [one.finding.services for one in found.new]
    assert all(set(one.finding.services) == {"flower"} for one in found.new)


def test_a_mistake_in_the_cure_is_the_old_cause_gone_and_a_new_one():
    """The same rule about another object is another finding: the database is now misspelt."""
    before = Incident()
    del before.databases["ai_backend"]
    after = Incident().url("CELERY_RESULT_BACKEND", "/ai_backend", "/ai_bakend")
    found = judged(before.evidence(), after.evidence())
    assert [one.became for one in found.causes if one.finding.object == "ai_backend"] == ["gone"]
    assert [one.finding.object for one in found.new] == ["ai_bakend"]
    assert found.result == "not_resolved"


def test_a_consequence_without_its_cause_is_still_there():
    """The option was mended and the service restarts as before, nobody can read why: it had another cause."""
    before = Incident().replace_in_commands("--queues", "--queue", ("email_worker",))
    before.loop("email_worker", 2, OPTION)
    after = Incident().loop("email_worker", 2, []).section("logs/email_worker", "denied")
    found = judged(before.evidence(), after.evidence())
    lingering = [one for one in found.causes if one.finding.code == "CTR001"]
    assert [one.became for one in lingering] == ["left"] and "consequence" in lingering[0].why
    assert fates(found)["CMD001"] != "left" and found.result == "not_resolved"


def test_half_a_cure_is_told_as_half():
    """The option was mended, and the next cause stops the workers: the one is gone, the others are left."""
    after = backend_reboot()
    for label in WORKERS:
        after.replace_in_commands("--queue=", "--queues=", (label,)).loop(label, 1, NO_DRIVER)
    found = judged(backend_reboot().evidence(), after.evidence())
    assert fates(found) == {"CMD001": "gone", "URL002": "left", "CMD002": "left", "DBS001": "left"}
    assert "(1 of 4 causes gone)" in found.headline


def test_a_young_life_with_a_cause_on_it_proves_nothing():
    """On a slow machine a start that will fail takes longer than the back-off: alive, and not well."""
    after = Incident().url("CELERY_RESULT_BACKEND", "postgresql+psycopg", "postgresql", ("email_worker",))
    after.lives["email_worker"], after.logs["email_worker"] = [], []
    after.life("email_worker", TAKEN_S - 12, None)
    lived = next(
        one
        for one in judged(backend_reboot().evidence(), after.evidence()).services
        if one.label == "email_worker"
    )
    assert lived.became == "unproven" and "URL002" in lived.why


def test_a_stopped_service_is_no_cure():
    """Whoever stops what restarts for ever has a quiet rule and no service."""
    before = backend_reboot()
    after = Incident().item(
        "flower", sample={"status": "exited", "exit_code": 0, "finished_at": iso(TAKEN_S - 9)}
    )
    found = judged(before.evidence(), after.evidence())
    assert standing(found)["flower"] == "down" and found.result == "not_resolved"


def test_containers_that_could_not_be_seen_were_not_removed():
    """The engine did not answer in time: nothing is known of any service, and none is called removed."""
    found = judged(backend_reboot().evidence(), without_section(Incident().evidence(), "containers"))
    assert set(standing(found).values()) == {"unproven"} and found.result == "not_proven"
    assert {change.what for change in found.changes.found} == {"database ai_backend on postgres:5432"}
    assert "removed" not in found.headline
    found = judged(without_section(backend_reboot().evidence(), "containers"), Incident().evidence())
    assert found.result == "not_proven"


def test_a_removed_service_was_not_mended():
    """Everything that was about it alone is called removed; what others share is judged by the others."""
    after = Incident().evidence()
    items = [item for item in after.data("containers")["items"] if item["label"] != "flower"]
    section = replace(after.section("containers"), data={**after.data("containers"), "items": items})
    found = judged(
        backend_reboot().evidence(), replace(after, sections={**after.sections, "containers": section})
    )
    assert fates(found)["CMD002"] == "removed" and fates(found)["DBS001"] == "gone"
    assert standing(found)["flower"] == "removed" and found.result == "not_resolved"
    assert "flower was removed, not mended" in found.headline


def test_a_service_in_two_containers_is_the_same_service():
    """After the cure it was scaled: `email_worker` is `email_worker-1` and `email_worker-2` now."""
    after = Incident().evidence()
    items = []
    for item in after.data("containers")["items"]:
        if item["label"] == "email_worker":
            items += [
                {**item, "label": f"email_worker-{n}", "name": f"ai_backend_email_{n}", "number": n}
                for n in (1, 2)
            ]
        else:
            items.append(item)
    sections = {
        **after.sections,
        "containers": replace(after.section("containers"), data={**after.data("containers"), "items": items}),
    }
    for n in (1, 2):
        for kind in ("logs", "files"):
            sections[f"{kind}/email_worker-{n}"] = replace(
                after.section(f"{kind}/email_worker"), name=f"{kind}/email_worker-{n}"
            )
    found = judged(backend_reboot().evidence(), replace(after, sections=sections))
    assert "email_worker" not in standing(found)
    assert {standing(found)["email_worker-1"], standing(found)["email_worker-2"]} == {"proven"}


def test_a_worker_that_does_not_answer_is_not_proven_by_its_old_log():
    """Its log said ready two hours ago; asked now, it is silent."""
    after = Incident()
    celery = after.evidence().data("celery")
    broker = celery["brokers"][0]
    silent = {name: reply for name, reply in broker["replies"].items() if reply["label"] != "email_worker"}
    told = {
        "brokers": [
            {
                **broker,
                "services": list(WORKERS),
                "replies": silent,
                "status": "no_reply",
                "why": "one did not answer",
            }
        ]
    }
    after.sections["celery"] = Section("celery", "partial", told, why="one did not answer")
    found = judged(backend_reboot().evidence(), after.evidence())
    assert [point.service for point in found.unseen] == ["email_worker"]
    assert "answers no ping" in found.unseen[0].why and found.result != "resolved"


def test_another_target_is_a_doubt():
    """Two stacks can have the same services; the one does not cure the other."""
    found = judged(backend_reboot().evidence(), replace(Incident().evidence(), target="other"))
    assert found.result == "not_proven" and "different targets" in found.doubts[0]


def test_swapped_looks_are_refused():
    """The cure cannot be older than the incident."""
    with pytest.raises(Swapped, match="swapped"):
        judged(recorded("cured"), recorded("before"))


# --- Reports --------------------------------------------------------------------------------------------


@pytest.fixture
def report(tmp_path) -> Path:
    """The folder of a report of the incident: summary and evidence."""
    evidence = recorded("before")
    bundle.save(evidence, tmp_path / "report" / "evidence")
    told = summary(Side.of(evidence).diagnosis, evidence)
    (tmp_path / "report" / "summary.json").write_text(dumps(told))
    return tmp_path / "report"


def test_a_report_keeps_the_ids_that_its_readers_know(report):
    """f3 of the report is f3 here, although its evidence is diagnosed afresh."""
    told = json.loads((report / "summary.json").read_text())
    for number, finding in enumerate(told["findings"]):
        finding["id"] = f"old{number}"
    told["causes"] = [finding["id"] for finding in told["findings"] if finding["explained_by"] is None][:4]
    (report / "summary.json").write_text(json.dumps(told))
    look = read(report)
    assert list(look.diagnosis.causes) == told["causes"] and look.remarks == ()


def test_a_cause_that_only_the_report_told_is_not_lost(report):
    """The rule was renamed since: nothing looked for that cause, so nothing proves that it is gone."""
    told = json.loads((report / "summary.json").read_text())
    told["findings"].append({**told["findings"][0], "id": "f99", "code": "OLD001", "object": "x"})
    told["causes"].append("f99")
    (report / "summary.json").write_text(json.dumps(told))
    look = read(report)
    found = compare(look, side("cured"))
    lost = next(one for one in found.causes if one.finding.code == "OLD001")
    assert lost.became == "unproven" and "no rule OLD001" in lost.why and found.result == "not_proven"
    assert "OLD001" in look.remarks[0]


def test_a_report_without_a_summary_is_judged_by_its_evidence(report):
    """Its causes are worked out again, and that is said."""
    (report / "summary.json").unlink()
    look = read(report)
    assert len(look.diagnosis.causes) == 4 and "summary.json cannot be read" in look.remarks[0]


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"findings": [], "causes": "f1"},
        {"findings": {}, "causes": []},
        {"findings": [1], "causes": []},
        {"findings": [{"id": "f1"}], "causes": ["f1"]},
        {"findings": [{**FINDING, "severity": "worst"}], "causes": ["f1"]},
        {"findings": [{**FINDING, "id": 1}], "causes": ["f1"]},
        {"findings": [{**FINDING, "services": [None]}], "causes": ["f1"]},
    ],
)
def test_a_summary_that_is_not_as_it_should_be_is_one_sentence(told):
    """Whatever somebody wrote into it, no traceback."""
    with pytest.raises(NotReadable, match=r"summary\.json"):
        with_told(side("before"), told)


def test_control_characters_in_a_summary_do_not_reach_a_terminal():
    """A title with an escape sequence is shown without it."""
    finding = {**FINDING, "title": "\x1b[2Jgone\x07"}
    look = with_told(side("before"), {"findings": [finding], "causes": ["f1"]})
    title = look.diagnosis.finding("f1").title
    assert "gone" in title and not {"\x1b", "\x07"} & set(title)


# --- JSON and the command line --------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["before", "incident_after", "incident_later", "cured_young", "cured"])
def test_the_json_keeps_to_its_schema(after):
    """What is published is described, and nothing else is in it."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(celery_triage.__file__).parent / "data" / "comparison.schema.json").read_text())
    jsonschema.validate(as_json(compared(after)), schema)
    assert schema["properties"]["result"]["enum"] == list(comparing.RESULTS)


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command, in this process."""
    code = cli.status([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Path:
    """The recorded looks as bundles."""
    folder = tmp_path_factory.mktemp("proof")
    for name in ("before", "incident_after", "cured_young", "cured"):
        bundle.save(recorded(name), folder / name)
    return folder


@pytest.mark.parametrize(
    ("after", "code"), [("before", 2), ("incident_after", 2), ("cured_young", 1), ("cured", 0)]
)
def test_compare_ends_with_its_own_exit_codes(capsys, bundles, after, code):
    """0 resolved, 1 not yet proven, 2 not resolved."""
    found, out, err = call(capsys, "compare", bundles / "before", bundles / after)
    assert (
        found == code
        and err == ""
        and out.splitlines()[0][2:].startswith({0: "RESOLVED", 1: "SETTLING", 2: "NOT RESOLVED"}[code])
    )


def test_compare_takes_reports_and_gives_json(capsys, bundles, report):
    """For a script: the same result, the causes with what became of each."""
    code, out, _ = call(capsys, "compare", report, bundles / "cured", "--json")
    told = json.loads(out)
    assert code == 0 and told["result"] == "resolved" and len(told["causes"]) == 4


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [("nowhere", "cured", 64), ("cured", "before", 64), ("before", ".", 3), ("before", "cured/logs", 3)],
)
def test_what_cannot_be_compared_is_one_sentence(capsys, bundles, before, after, code):
    """No folder and swapped looks are wrong use; a folder that holds no evidence cannot be judged."""
    found, out, err = call(capsys, "compare", bundles / before, bundles / after)
    assert found == code and out == "" and len(err.splitlines()) == 1


def test_compare_writes_the_summary_whole_or_not_at_all(capsys, bundles, tmp_path):
    """Both files; and 69 where they cannot be written."""
    paths = [tmp_path / "r.md", tmp_path / "r.html"]
    code, _, err = call(
        capsys, "compare", bundles / "before", bundles / "cured", "--markdown", paths[0], "--html", paths[1]
    )
    assert code == 0 and all(path.stat().st_size > 1000 for path in paths) and "written" in err
    code, out, err = call(
        capsys, "compare", bundles / "before", bundles / "cured", "--html", tmp_path / "no" / "r"
    )
    assert code == 69 and out == "" and "could not be written" in err and not (tmp_path / "no").exists()


def test_tables_and_revisions_that_came_between_the_looks_are_what_was_changed():
    """A migration was applied: its table and Alembic's revision are named; where one look did not see all
    tables nothing is said."""

    def seen(*more, version=None, complete=True):
        evidence = Incident().evidence()
        (entry,) = evidence.data("results")["servers"]
        entry["relations"]["all"] += [f"public.{name}" for name in more]
        entry["relations"]["complete"] = complete
        entry["alembic"] = {"version": [version]} if version else None
        return evidence

    found = changes.between(seen(), seen("invoices", version="1975ea83b712")).found
    assert [(one.what, one.before, one.after) for one in found] == [
        ("tables in ai_backend (gone, come)", "none", "public.invoices"),
        ("tables in ai_backend: alembic_version", "", "1975ea83b712"),
    ]
    assert changes.between(seen(complete=False), seen("invoices")).found == ()
