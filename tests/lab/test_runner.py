"""The fault runner's own judgement, without an engine: comparing a diagnosis, applying its edits."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.lab import cure, oracle, outside
from tests.lab.results import Comparison, Judgement, Result, as_json, compare, still_told

WORKERS = ["email_worker", "payment_worker"]


def finding(id, name, services, object="", state="active", **more):
    return {"id": id, "name": name, "services": services, "object": object, "state": state, **more}


def diagnosis(*findings, causes=None, verdict="critical", **more):
    ids = [item["id"] for item in findings] if causes is None else causes
    return {"schema": 1, "verdict": verdict, "findings": list(findings), "causes": ids, **more}


def expected(name, services, object="", state="active"):
    return {"name": name, "services": services, "object": object, "state": state}


OPTION = finding("f1", "unknown-option", WORKERS, "--queue")
EXPECT_OPTION = {"causes": [expected("unknown-option", WORKERS, "--queue")]}
DATABASE = finding("f2", "database-missing", WORKERS, "ai_backend", "latent")


def sha256(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


class TestCompare:
    def test_right_in_any_order(self):
        """The first N causes are compared as a set: their order and that of their services is free."""
        seen = compare(
            diagnosis(OPTION, DATABASE),
            {"causes": [expected("database-missing", WORKERS, "ai_backend", "latent"),
                        expected("unknown-option", WORKERS[::-1], "--queue")], "verdict": "critical"},
            exit_code=2,
        )
        assert seen.ok
        assert len(seen.right) == 2

    @pytest.mark.parametrize("other", [
        expected("unknown-command", WORKERS, "--queue"),
        expected("unknown-option", WORKERS[:1], "--queue"),
        expected("unknown-option", WORKERS, "--queues"),
        expected("unknown-option", WORKERS, "--queue", "latent"),
    ])
    def test_each_part_counts(self, other):
        """Another name, service, object or state makes a cause both wrong and missed."""
        seen = compare(diagnosis(OPTION), {"causes": [other]})
        assert (len(seen.right), len(seen.wrong), len(seen.missed)) == (0, 1, 1)
        assert not seen.ok

    def test_expected_but_too_late(self):
        """A right cause that comes after a wrong one, behind the first N, is missed."""
        seen = compare(diagnosis(DATABASE, OPTION), EXPECT_OPTION)
        assert seen.missed and seen.wrong
        assert not seen.right

    def test_more_causes_are_told(self):
        """Causes after the N expected ones are told, and do not make the fault fail."""
        seen = compare(diagnosis(OPTION, DATABASE), EXPECT_OPTION)
        assert seen.ok
        assert seen.others == ["database-missing ai_backend [email_worker, payment_worker] latent"]

    def test_no_cause_expected(self):
        """Where nothing is expected every cause is a false alarm."""
        seen = compare(diagnosis(OPTION), {"causes": [], "verdict": "critical"})
        assert len(seen.false_alarms) == 1
        assert not seen.ok

    def test_history_is_no_cause(self):
        """What is expected as history is looked for among the findings, and no cause may stand beside it."""
        healed = finding("f1", "database-missing", WORKERS, "ai_backend", "history")
        expect = {"causes": [expected("database-missing", WORKERS, "ai_backend", "history")], "verdict": "ok"}
        assert compare(diagnosis(healed, causes=[], verdict="ok"), expect, exit_code=0).ok
        assert compare(diagnosis(verdict="ok"), expect).missed
        assert "is listed as a cause" in compare(diagnosis(healed, verdict="ok"), expect).problems[0]
        unknown = compare(diagnosis(healed, causes=["f7"], verdict="ok"), expect)
        assert unknown.problems == ["cause f7 is not among the findings"]

    def test_forbidden_name(self):
        """A name under `not` is a false alarm while active or latent, even as a consequence."""
        expect = {**EXPECT_OPTION, "not": ["database-missing"]}
        assert compare(diagnosis(OPTION, DATABASE, causes=["f1"]), expect).false_alarms
        assert compare(diagnosis(OPTION, {**DATABASE, "state": "history"}, causes=["f1"]), expect).ok

    def test_state_for_each_service(self):
        """An expected state may be given for each service; the finding's state fills what it leaves out."""
        about = ("driver-not-installed", ["beat", "mail"], "psycopg2")
        mixed = finding("f1", *about, "active", service_states={"mail": "latent"})
        right = expected(*about, {"beat": "active", "mail": "latent"})
        wrong = expected(*about, {"beat": "latent", "mail": "latent"})
        assert compare(diagnosis(mixed), {"causes": [right]}).ok
        assert compare(diagnosis(mixed), {"causes": [wrong]}).missed

    def test_verdict_and_exit_code(self):
        """The verdict must be the expected one and the exit code must be that verdict's."""
        said = diagnosis(verdict="unknown", unknown=[{"section": "postgres", "why": "timed out"}])
        problems = compare(said, {"causes": [], "verdict": "ok"}, exit_code=0).problems
        assert problems == [
            "verdict unknown, expected ok (postgres: timed out)", "exit code 0 with verdict unknown",
        ]


    def test_schema(self):
        """Only the published schema is understood."""
        assert compare({**diagnosis(verdict="ok"), "schema": 2}, {"causes": []}).problems

    def test_still_told_after_the_cure(self):
        """A cured cause may be told as history afterwards; told as active or latent it is a false alarm."""
        told = diagnosis({**OPTION, "state": "history"}, {**DATABASE, "services": WORKERS[:1]})
        assert still_told(told, [OPTION, DATABASE]) == ["database-missing ai_backend [email_worker] latent"]
        assert still_told(told, [OPTION]) == []


class TestResult:
    def test_cured_needs_a_judgement(self):
        """A fault on which the oracle said nothing is not cured."""
        assert not Result("x").cured
        assert Result("x", judgements=[Judgement("a", True)]).cured
        assert not Result("x", judgements=[Judgement("a", True), Judgement("b", False)]).cured

    def test_a_refused_remedy_does_not_cure(self):
        """A stack that works although its remedy could not be carried out was not cured by the remedy."""
        assert not Result("x", judgements=[Judgement("a", True)], remedy="two edits overlap").cured

    def test_line_says_not_cured(self):
        """One line tells the numbers, the kinds of remedy and that the stack is not cured."""
        result = Result(
            "x", comparison=Comparison(right=["a"], missed=["b"]), kinds=("exact", "manual", "exact"),
            judgements=[Judgement("tasks", False, "no row")], seconds=12.4,
        )
        assert result.line.startswith("FAIL x ")
        assert "causes 1 right, 0 wrong, 1 missed; false alarms 0;" in result.line
        assert result.line.endswith("remedy exact+manual; not cured; 12 s")
        assert "not cured: tasks: no row" in result.details

    def test_no_result_is_not_ok(self):
        """Nothing run is no success."""
        assert as_json([])["ok"] is False
        assert as_json([Result("x", judgements=[Judgement("a", True)])])["ok"] is True


class TestPlan:
    EDIT = {"file": "a", "line": 1, "old": "b", "new": "c"}
    EXACT = {"kind": "exact", "edits": [EDIT], "commands": ["up", "one"]}

    def test_order_and_repetition(self):
        """All remedies' edits and commands are gathered in the order of the causes, each once."""
        other = {"kind": "exact", "edits": self.EXACT["edits"], "commands": ["two", "up"]}
        steps = cure.plan([{"name": "x", "remedy": self.EXACT}, {"name": "y", "remedy": other}])
        assert steps.steps == ("up", "one", "two")
        assert len(steps.edits) == 1
        assert steps.kinds == ("exact", "exact")

    def test_choice(self):
        """The fault's choice picks the option by its name; without one, or with another, nothing is done."""
        options = [{"name": "a", "commands": ["A"]}, {"name": "b", "commands": ["B"]}]
        remedy = {"kind": "choice", "options": options}
        assert cure.plan([{"name": "x", "remedy": remedy}], {"x": "b"}).steps == ("B",)
        for choice in ({}, {"x": "c"}):
            with pytest.raises(cure.Refused):
                cure.plan([{"name": "x", "remedy": remedy}], choice)

    def test_manual(self):
        """A manual remedy is left to a person, once for each finding, if the fault says what it is."""
        cause = {"name": "x", "remedy": {"kind": "manual", "summary": "build an image"}}
        steps = cure.plan([cause, cause], manual={"x": {}})
        assert (steps.kinds, steps.steps) == (("manual", "manual"), (cure.ByHand("x"),))
        with pytest.raises(cure.Refused):
            cure.plan([cause])

    @pytest.mark.parametrize("remedy", [None, {"kind": "magic"}, {"kind": "exact", "edits": []}])
    def test_no_remedy(self, remedy):
        """A cause without a remedy that does anything is refused."""
        with pytest.raises(cure.Refused):
            cure.plan([{"name": "x", "remedy": remedy}])


class TestEdits:
    LINE = "    command: celery worker --queue=mail"

    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "compose.yml"
        path.write_bytes(f"services:\n{self.LINE}\n    image: x\n".encode())
        return path

    def edit(self, **other):
        edit = {"file": "compose.yml", "line": 2, "old": "--queue=", "new": "--queues="}
        return {**edit, "sha256": sha256(self.LINE), **other}

    def test_applied(self, file, tmp_path):
        """An edit changes its fragment in its line and nothing else; its file may be named in full."""
        assert cure.apply_edits([self.edit(file=str(file))], tmp_path) == [str(file)]
        assert file.read_text() == "services:\n    command: celery worker --queues=mail\n    image: x\n"

    @pytest.mark.parametrize(("other", "why"), [
        ({"sha256": sha256("another line")}, "hash differs"),
        ({"sha256": sha256(LINE + "\n")}, "hash differs"),
        ({"line": 3}, "hash differs"),
        ({"line": 3, "sha256": ""}, "does not stand there"),
        ({"old": "--queues="}, "does not stand there"),
        ({"old": "e"}, "more than once"),
        ({"old": ""}, "needs an old"),
        ({"new": None}, "needs an old and a new"),
        ({"line": 0}, "no such line"),
        ({"line": 4}, "no such line"),
        ({"line": None}, "no such line"),
        ({"file": "missing.yml"}, "not a file"),
        ({"file": ""}, "names no file"),
        ({"file": "../compose.yml"}, "outside"),
        ({"file": "/etc/hostname", "line": 1, "sha256": ""}, "outside"),
    ])
    def test_refused(self, file, tmp_path, other, why):
        """A wrong hash or line, a fragment absent or ambiguous, a file outside: refused, unchanged."""
        before = file.read_bytes()
        with pytest.raises(cure.Refused, match=why):
            cure.apply_edits([self.edit(**other)], tmp_path)
        assert file.read_bytes() == before

    def test_all_or_none(self, file, tmp_path):
        """When one of several edits does not fit, none is applied."""
        before = file.read_bytes()
        with pytest.raises(cure.Refused):
            cure.apply_edits([self.edit(), self.edit(line=3, old="y", new="z", sha256="")], tmp_path)
        assert file.read_bytes() == before

    def test_overlap_counts_every_place(self, tmp_path):
        """A fragment that stands twice is ambiguous even where its two places overlap."""
        (tmp_path / "a").write_text("ababa\n")
        with pytest.raises(cure.Refused):
            cure.apply_edits([{"file": "a", "line": 1, "old": "aba", "new": "c"}], tmp_path)

    def test_several_in_one_file(self, file, tmp_path):
        """Edits of one file and one line refer to the original text, whatever others insert before them."""
        edits = [
            self.edit(new="--a\n    # b\n    --queues="),
            self.edit(line=3, old="x", new="y", sha256=sha256("    image: x")),
            self.edit(old="celery", new="exec celery"),
            self.edit(old="mail", new="post"),
        ]
        cure.apply_edits(edits, tmp_path)
        assert file.read_text() == (
            "services:\n    command: exec celery worker --a\n    # b\n    --queues=post\n    image: y\n"
        )

    def test_overlapping(self, file, tmp_path):
        """Two different edits of the same characters are refused, the same one twice is one."""
        with pytest.raises(cure.Refused):
            cure.apply_edits([self.edit(), self.edit(old="queue", new="Queue")], tmp_path)
        cure.apply_edits([self.edit(), self.edit()], tmp_path)
        assert "--queues=mail" in file.read_text()

    def test_line_ends_are_kept(self, file, tmp_path):
        """Files with CRLF keep them, in lines inserted too; the hash is of the line without its line end."""
        file.write_bytes(f"a\r\n{self.LINE}\r\nlast".encode())
        last = self.edit(line=3, old="last", new="end", sha256="")
        cure.apply_edits([self.edit(new="--queues=\n  "), last], tmp_path)
        assert file.read_bytes() == b"a\r\n    command: celery worker --queues=\r\n  mail\r\nend"

    def test_other_bytes_are_kept(self, file, tmp_path):
        """Form feeds, Unicode line separators and bytes that are no UTF-8 neither end a line nor get lost."""
        file.write_bytes(b"\x0c\xe2\x80\xa8\xff\n" + self.LINE.encode() + b"\n")
        cure.apply_edits([self.edit()], tmp_path)
        assert file.read_bytes() == b"\x0c\xe2\x80\xa8\xff\n    command: celery worker --queues=mail\n"


class TestCommands:
    def test_verbatim(self, tmp_path):
        """A command is bash's, runs in the lab's folder and keeps its quotes and dollars."""
        ran = cure.run_command("""[[ a == a ]] && pwd && x='$5 "q"' && echo "$x" >&2; exit 3""", tmp_path)
        assert (ran.exit_code, ran.output.splitlines()) == (3, [str(tmp_path), '$5 "q"'])
        assert not ran.ok

    def test_deadline(self, tmp_path):
        """A command that does not end is killed with its children, and that is told."""
        steps = cure.Plan(steps=("sleep 60 & echo begun; wait",))
        done = cure.carry_out(steps, tmp_path, tmp_path, seconds=0.5)
        assert done.ran[0].exit_code is None
        assert done.ran[0].seconds < 10
        assert not done.ok
        assert "killed at its deadline: begun" in done.why

    def test_failure_is_told(self, tmp_path):
        """After a failing command the others still run, and the cure as a whole has failed."""
        done = cure.carry_out(cure.Plan(steps=("echo no; exit 4", "touch made")), tmp_path, tmp_path)
        assert (tmp_path / "made").exists()
        assert not done.ok
        assert "gave exit code 4: no" in done.why

    def test_edits_come_first(self, tmp_path):
        """Commands and the person's part follow all edits in order; after a refused edit nothing is done."""
        (tmp_path / "a").write_text("x\n")
        edit = {"file": "a", "line": 1, "old": "x", "new": "y"}
        steps = cure.Plan(edits=(edit,), steps=("cat a", cure.ByHand("driver"), "cat a"))

        def by_hand(name):
            (tmp_path / "a").write_text((tmp_path / "a").read_text() + name)

        done = cure.carry_out(steps, tmp_path, tmp_path, by_hand)
        assert done.ok
        assert [ran.output for ran in done.ran] == ["y\n", "y\ndriver"]
        again = cure.carry_out(steps, tmp_path, tmp_path, by_hand)
        assert "does not stand there" in again.refused
        assert not again.ran
        assert (tmp_path / "a").read_text() == "y\ndriver"


class TestOracle:
    COMPOSE = """
services:
  beat: {command: celery -A a beat}
  mail:
    command: celery -A a worker --queues mail,post
    environment: {PROMETHEUS_PORT: "9091"}
    expose: ["9091"]
  bills: {command: [celery, -A, a, worker, --queues=bills]}
  more: {command: celery -A a worker -Q bills}
  flower: {command: celery flower, expose: ["5555"]}
"""

    def test_what_the_project_was_meant_to_be(self, tmp_path):
        """Services, queues, endpoints and the scheduler are read from the original Compose file."""
        file = tmp_path / "c.yml"
        file.write_text(self.COMPOSE)
        original = oracle.Original.read(file)
        assert original.services == ("beat", "mail", "bills", "more", "flower")
        assert original.queues == {"mail": ("mail",), "post": ("mail",), "bills": ("bills", "more")}
        assert original.ports == {"mail": ((9091, "/metrics"),), "flower": ((5555, "/"),)}
        assert original.scheduler

    def test_services_that_may_stand_still(self, tmp_path):
        """Of a service that may be stopped neither work nor an endpoint is expected, only its container."""
        file = tmp_path / "c.yml"
        file.write_text(self.COMPOSE)
        original = oracle.Original.read(file, ("mail", "beat"))
        assert original.services == ("bills", "more", "flower")
        assert original.stopped == ("mail", "beat")
        assert original.queues == {"bills": ("bills", "more")}
        assert "mail" not in original.ports
        assert not original.scheduler

    @pytest.mark.parametrize(("text", "seconds"), [
        ("2026-11-23T14:15:03Z", 1795443303.0),
        ("2026-11-23T14:15:03.5Z", 1795443303.5),
        ("2026-11-23T16:15:03.123456789+02:00", 1795443303.123456),
    ])
    def test_moment(self, text, seconds):
        """The engine's time stamps are read with any number of digits and any offset."""
        assert outside.moment(text) == pytest.approx(seconds)

    def test_change(self):
        """Gone, stopped, replaced and started again are told apart; the same life is no change."""
        life = outside.Life("a", "t1", 0, "running", 0, ())
        again = outside.Life("a", "t2", 1, "running", 0, ())
        other = outside.Life("b", "t3", 0, "running", 0, ())
        down = outside.Life("a", "t1", 0, "exited", 137, ())
        assert oracle._change([life], [life]) == ""
        assert oracle._change([life], []) == "is gone"
        assert oracle._change([life], [again]) == "was started again"
        assert oracle._change([life], [other]) == "was replaced"
        assert "exited (exit code 137" in oracle._change([down], [down])

    def test_stored_value_is_data_only(self):
        """A stored result is read as plain data: a pickle that would call something is not executed."""
        import pickle

        class Evil:
            def __reduce__(self):
                return (print, ("called",))

        assert oracle._value(pickle.dumps(42)) == oracle._value(b"42") == 42
        assert str(oracle._value(pickle.dumps(Evil()))).startswith("unreadable")

    def test_waits_are_bounded(self):
        """A question is asked once at least and not after its deadline; a failing engine is an answer."""
        asked = []

        def ask():
            asked.append(1)
            raise outside.Unanswered("no engine")

        judged = oracle._until(0.0, "x", ask)
        assert (judged.name, judged.ok, judged.why, len(asked)) == ("x", False, "no engine", 1)
