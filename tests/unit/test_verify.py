"""Looking again: which stack, how long, what is written, and with which exit code."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from evidence import Incident, backend_reboot, without_section
from recorded_proof import compared, recorded, side

from celery_triage import bundle, cli, collect, verify
from celery_triage.collect import CannotCollect, NoTarget
from celery_triage.model import dumps
from celery_triage.report.compare import Side, compare
from celery_triage.summary import summary
from celery_triage.verify import LONGEST_S, MARGIN_S, PAUSE_S, exit_code, options_for, watch


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def looks(*given):
    """A look that gives these evidences one after the other, the last for ever; an exception is raised."""
    left = list(given)

    def look():
        one = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(one, Exception):
            raise one
        return one

    return look


@pytest.fixture(scope="module")
def before() -> Side:
    return side("before")


# --- Which stack ----------------------------------------------------------------------------------------


def test_the_same_target_is_looked_at_again():
    """The project that the evidence was of, and nothing that the user did not ask for."""
    options = options_for(recorded("before"), {})
    assert options.project == "ai_backend" and options.containers == () and options.since is None
    assert not options.reach_external and not options.no_broadcast


def test_containers_without_a_project_are_named():
    """A stack that no Compose file made is found by its containers."""
    evidence = recorded("before")
    section = evidence.section("containers")
    alone = replace(section, data={**section.data, "project": None})
    evidence = replace(evidence, sections={**evidence.sections, "containers": alone}, options={})
    assert options_for(evidence, {}).project is None
    assert "ai_backend_email_worker" in options_for(evidence, {}).containers
    assert "ai_infra_redis" not in options_for(evidence, {}).containers


def test_what_a_report_forbids_stays_forbidden_and_what_it_allows_is_asked_anew():
    """Somebody's file may keep this tool from sending, never make it send passwords to servers outside."""
    told = {"no_broadcast": True, "no_login": True, "reach_external": True, "project": "x"}
    options = options_for(replace(recorded("before"), options=told), {})
    assert options.no_broadcast and options.no_login and not options.reach_external
    assert options_for(recorded("before"), {"reach_external": True}).reach_external


@pytest.mark.parametrize("bad", [7, {"a": 1}, [1, None], "", None])
def test_options_of_another_kind_are_not_taken(bad):
    """A bundle comes from anywhere: what is no text names nothing."""
    told = {"containers": bad, "networks": bad, "broker_url_env": bad, "project": bad}
    options = options_for(replace(recorded("before"), options=told), {})
    assert options.project == "ai_backend" and options.containers == () and options.broker_url_env is None


# --- How long -------------------------------------------------------------------------------------------


def test_without_waiting_there_is_one_look(before):
    """One look, no sleep, whatever it shows."""
    clock = Clock()
    found = watch(before, looks(recorded("cured_young")), clock=clock, sleep=clock.sleep)
    assert found.result == "settling" and clock.slept == []


def test_waiting_ends_when_all_is_resolved(before):
    """Two looks at a young cure, then a proven one."""
    clock, lines = Clock(), []
    look = looks(recorded("cured_young"), recorded("cured_young"), recorded("cured"))
    found = watch(before, look, wait=True, progress=lines.append, clock=clock, sleep=clock.sleep)
    assert found.result == "resolved" and clock.slept == [PAUSE_S, PAUSE_S]
    assert len(lines) == 2 and "130 s left" in lines[0] and "looking again in 15 s" in lines[0]


def test_waiting_is_bounded_by_what_is_left(before, monkeypatch):
    """A stack that never gets older is given up after the seconds that are left and a margin, each time anew,
    and after fifteen minutes for good."""
    monkeypatch.setattr(verify, "PAUSE_S", 150.0)
    clock = Clock()
    found = watch(before, looks(recorded("cured_young")), wait=True, clock=clock, sleep=clock.sleep)
    assert found.result == "settling" and clock.now == LONGEST_S


def test_what_does_not_settle_is_given_up_soon(before):
    """Where no service is too young, only the margin is waited for: a worker may answer late."""
    clock = Clock()
    found = watch(before, looks(recorded("before")), wait=True, clock=clock, sleep=clock.sleep)
    assert found.result == "not_resolved" and clock.now == MARGIN_S


@pytest.mark.parametrize("longest", [0.0, 20.0, 2000.0])
def test_a_given_time_is_kept(before, longest, monkeypatch):
    """`--timeout` is the longest wait, shorter or longer than the default."""
    monkeypatch.setattr(verify, "PAUSE_S", 400.0)
    clock = Clock()
    watch(before, looks(recorded("cured_young")), wait=True, longest=longest, clock=clock, sleep=clock.sleep)
    assert clock.now == longest


def test_a_look_that_fails_is_tried_again(before):
    """The engine was restarted in between; the sentence is told as progress."""
    clock, lines = Clock(), []
    look = looks(CannotCollect("no Docker Engine answers"), recorded("cured"))
    found = watch(before, look, wait=True, progress=lines.append, clock=clock, sleep=clock.sleep)
    assert found.result == "resolved" and "this look failed: no Docker Engine answers" in lines[0]


def test_a_last_look_that_fails_is_no_result(before):
    """What was seen a minute ago does not stand in for now."""
    clock = Clock()
    look = looks(recorded("cured_young"), CannotCollect("no Docker Engine answers"))
    with pytest.raises(CannotCollect):
        watch(before, look, wait=True, longest=20, clock=clock, sleep=clock.sleep)


# --- Exit codes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "code"),
    [("cured", 0), ("cured_young", 1), ("incident_after", 2), ("incident_later", 2), ("before", 2)],
)
def test_exit_codes_are_those_of_monitoring_plugins(before, after, code):
    """0 resolved, 1 settling, 2 still there or removed."""
    assert exit_code(compared(after)) == code


def test_a_stack_that_could_not_be_seen_is_unknown():
    """The containers could not be read: neither gone nor still there."""
    after = without_section(Incident().evidence(), "containers")
    assert exit_code(compare(Side.of(backend_reboot().evidence()), Side.of(after))) == 3


def test_a_warning_that_is_left_is_a_warning(before):
    """Nothing critical is left of the incident, and what is left is said with 1."""
    finding = replace(before.diagnosis.cause_findings[0], severity="warning")
    others = [one for one in before.diagnosis.findings if one.id != finding.id]
    diagnosis = replace(before.diagnosis, findings=(finding, *others))
    after = side("cured")
    after = replace(after, diagnosis=replace(after.diagnosis, findings=(finding,), causes=(finding.id,)))
    found = compare(replace(before, diagnosis=diagnosis), after)
    assert found.result == "not_resolved" and exit_code(found) == 1


# --- The command ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The evidence of the incident as a bundle."""
    return bundle.save(recorded("before"), tmp_path_factory.mktemp("verify") / "before")


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command, in this process."""
    code = cli.status([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def seen(monkeypatch, evidence, secret: str = "") -> list:
    """Collecting gives this evidence; the options it was asked with are kept."""
    asked = []

    def fake(options, redactor):
        asked.append(options)
        redactor.learn(secret)
        if isinstance(evidence, Exception):
            raise evidence
        return evidence

    monkeypatch.setattr(collect, "collect", fake)
    return asked


def test_verify_looks_at_the_reports_target_and_judges_its_causes(capsys, monkeypatch, report):
    """Data on stdout, progress on stderr, the exit code of the result."""
    asked = seen(monkeypatch, recorded("cured"))
    code, out, err = call(capsys, "verify", report, "--no-broadcast")
    assert code == 0 and "RESOLVED" in out.splitlines()[0] and err.splitlines() == ["collecting evidence …"]
    assert asked[0].project == "ai_backend" and asked[0].no_broadcast


def test_verify_gives_json_and_keeps_what_it_saw(capsys, monkeypatch, report, tmp_path):
    """The second look as a bundle can be compared again and gives the same."""
    seen(monkeypatch, recorded("incident_after"))
    code, out, _ = call(capsys, "verify", report, "--json", "--evidence", tmp_path / "after")
    told = json.loads(out)
    assert code == 2 and {one["became"] for one in told["causes"]} == {"settling", "removed"}
    again, out, _ = call(capsys, "compare", report, tmp_path / "after", "--json")
    assert again == 2 and json.loads(out)["causes"] == told["causes"]


def test_a_folder_for_the_evidence_that_exists_is_refused_before_anything_is_asked(
    capsys, monkeypatch, report, tmp_path
):
    """64, and nothing was collected."""
    asked = seen(monkeypatch, recorded("cured"))
    code, out, err = call(capsys, "verify", report, "--evidence", tmp_path)
    assert code == 64 and out == "" and asked == [] and "exists already" in err


@pytest.mark.parametrize(
    "error", [CannotCollect("no Docker Engine answers"), NoTarget("there is no container")]
)
def test_a_stack_that_is_not_there_is_unknown(capsys, monkeypatch, report, error):
    """Perhaps it is gone, perhaps this is another machine: 3 and the sentence, never gone."""
    seen(monkeypatch, error)
    code, out, err = call(capsys, "verify", report)
    assert code == 3 and out == "" and str(error) in err


def test_a_secret_of_the_live_stack_is_never_written(capsys, monkeypatch, report, tmp_path):
    """A known secret in the summary: nothing is written, the sentence does not repeat it."""
    after = recorded("cured")
    containers = after.data("containers")
    items = [{**item, "cmd": [*item["cmd"], "n0t-a-real-passw0rd"]} for item in containers["items"]]
    section = replace(after.section("containers"), data={**containers, "items": items})
    seen(
        monkeypatch, replace(after, sections={**after.sections, "containers": section}), "n0t-a-real-passw0rd"
    )
    code, out, err = call(capsys, "verify", report, "--markdown", tmp_path / "r.md")
    assert code == 69 and list(tmp_path.iterdir()) == []
    assert "n0t-a-real" not in err and "holds the secret ***" in err


@pytest.mark.parametrize(
    "arguments", [["verify"], ["verify", "/nowhere"], ["compare", "x"], ["verify", "/", "--timeout", "-1"]]
)
def test_wrong_use_is_64(capsys, arguments):
    """Never click's 2, which means still there."""
    code, out, err = call(capsys, *arguments)
    assert code == 64 and out == "" and len(err.splitlines()) == 1


@pytest.mark.parametrize("inside", ["index.html", "summary.json", "evidence/manifest.json"])
def test_a_file_of_a_report_stands_for_the_report(capsys, tmp_path, inside):
    """The path that `run` prints, or any other below the folder, gives what the folder gives."""
    report = tmp_path / "report"
    bundle.save(recorded("before"), report / "evidence")
    told = dumps(summary(side("before").diagnosis, recorded("before")))
    (report / "summary.json").write_text(told)
    (report / "index.html").touch()
    told = call(capsys, "compare", report, report, "--json")
    assert call(capsys, "compare", report / inside, report, "--json") == told
    assert call(capsys, "compare", report, report / inside, "--json") == told


@pytest.mark.parametrize("command", ["verify", "compare"])
def test_the_help_tells_every_exit_code_and_they_are_true(capsys, monkeypatch, report, tmp_path, command):
    """What cannot be read, or looked at, is 3; what is meant otherwise 64; what cannot be written 69."""
    code, out, _ = call(capsys, command, "--help")
    assert code == 0 and all(f" {one} " in " ".join(out.split()) for one in (0, 1, 2, 3, 64, 69))
    seen(monkeypatch, NoTarget("there is no project ai_backend"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    second = [report] if command == "compare" else []
    assert call(capsys, command, tmp_path / "empty", *second)[0] == 3
    assert call(capsys, command, tmp_path / "nowhere", *second)[0] == 64
    assert call(capsys, command, report, *second, "--html", tmp_path / "file" / "x")[0] == 69
    if command == "verify":
        assert call(capsys, command, report)[0] == 3
