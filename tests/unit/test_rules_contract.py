"""The contract of all rules: what a newcomer's rule must keep is tested here without being named.

Each ``test_checks_<subject>.py`` has a dictionary ``FIRES``: code → a function that builds evidence in which
the rule fires. A rule without one fails here.
"""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
from evidence import Incident, without_section

from celery_triage.checks import HEADINGS, RULES, STEPS, Look, judge, run
from celery_triage.checks.registry import Undeclared, check
from celery_triage.model import SEVERITIES, Section

MODULES = [path.stem for path in sorted(Path(__file__).parent.glob("test_checks_*.py"))]
FIRES = {code: build for name in MODULES for code, build in importlib.import_module(name).FIRES.items()}
#: What is healthy for a rule that does not apply to the incident's stack.
HEALTHY = {
    code: build
    for name in MODULES
    for code, build in getattr(importlib.import_module(name), "HEALTHY", {}).items()
}
CODES = sorted(RULES)

#: Codes are for ever: one that was given out is never given to another rule, and never taken back.
GIVEN_OUT = {
    "BEA001": "pid-file-exists",
    "BEA002": "schedule-file-unusable",
    "BEA003": "beat-silent",
    "BEA004": "beat-wrong-queue",
    "BEA005": "beat-twice",
    "BEA006": "scheduled-task-unregistered",
    "BRK001": "broker-down",
    "BRK002": "broker-login-refused",
    "BRK003": "queue-without-consumer",
    "BRK004": "broker-wrong-database",
    "BRK005": "backlog-growing",
    "BRK006": "broker-vhost-missing",
    "BRK007": "broker-alarm",
    "BRK008": "queue-declared-otherwise",
    "BRK009": "quorum-global-qos",
    "BRK010": "broker-no-permission",
    "BRK011": "broker-guest-remote",
    "BRK012": "acknowledgement-timeout",
    "BRK013": "task-redelivered",
    "CHG001": "edited-not-recreated",
    "CHG002": "old-image",
    "CHG003": "service-missing",
    "CHG004": "service-not-in-file",
    "CMD001": "unknown-option",
    "CMD002": "subcommand-not-available",
    "CMD003": "app-module-missing",
    "CMD004": "app-does-not-load",
    "CMD005": "executable-missing",
    "CMD006": "flower-wrong-command",
    "CMD007": "app-not-named",
    "CMD008": "entrypoint-swallows-command",
    "CMD009": "app-not-readable",
    "CMD010": "shell-line-broken",
    "CMD050": "root-with-pickle",
    "CMD051": "user-unknown",
    "CMD052": "exec-format",
    "CMD053": "not-executable",
    "CMD054": "settings-not-configured",
    "CTR001": "restart-loop",
    "CTR002": "killed-for-memory",
    "CTR003": "not-running",
    "CTR004": "exits-with-zero",
    "CTR005": "port-taken",
    "CTR006": "waits-for-dependency",
    "CTR007": "not-writable",
    "DBS001": "database-missing",
    "DBS002": "role-missing",
    "DBS003": "connections-exhausted",
    "DBS004": "database-server-down",
    "DBS005": "table-missing",
    "DBS052": "database-tls",
    "DBS054": "database-locks",
    "HLT007": "health-check-tool-missing",
    "LOG001": "unrecognised-death",
    "LOG002": "known-death",
    "MON001": "metrics-port-wrong",
    "MON002": "flower-down",
    "MON003": "metrics-port-taken",
    "PKG001": "package-missing",
    "PKG020": "known-upstream-fault",
    "PKG050": "packages-do-not-fit",
    "PKG051": "python-does-not-fit",
    "RDS050": "redis-out-of-memory",
    "RDS051": "redis-cannot-save",
    "RDS053": "redis-read-only",
    "RDS054": "redis-max-clients",
    "RDS055": "redis-protected-mode",
    "RDS056": "broker-tls",
    "RDS058": "redis-acl",
    "RDS059": "redis-eviction",
    "URL001": "url-does-not-parse",
    "URL002": "driver-not-installed",
    "URL003": "broker-host-unknown",
    "URL004": "login-refused",
    "URL005": "nothing-listens",
    "URL006": "broker-is-localhost",
    "WRK002": "time-limit",
    "WRK003": "unregistered-task",
    "WRK004": "worker-frozen",
    "WRK005": "consumer-cancelled",
    "WRK006": "solo-busy",
    "WRK007": "prefetch-holds-tasks",
    "WRK050": "content-refused",
    "WRK052": "duplicate-node-name",
}


def judged(code, evidence):
    """(findings, outcome) of one rule."""
    return judge(RULES[code], Look(evidence, RULES[code]))


def healthy(code):
    """A stack to which the rule applies and on which nothing is wrong."""
    return HEALTHY.get(code, Incident)().evidence()


def test_codes_keep_their_names_for_ever():
    """A report of years ago names codes; what they meant may not change."""
    assert {code: RULES[code].name for code in GIVEN_OUT if code in RULES} == GIVEN_OUT


def test_names_are_used_once():
    """Two rules that report under one name could not be told apart in an expectation."""
    names = [name for rule in RULES.values() for name in rule.names]
    assert len(names) == len(set(names))


def test_a_code_that_is_taken_is_refused():
    """Whoever adds a rule under an old code is told at once."""
    with pytest.raises(ValueError, match="CMD001 is taken by unknown-option"):
        check("CMD001", "another", severity="critical", needs=())(lambda look: iter(()))


def test_a_rule_with_a_step_or_severity_that_does_not_exist_is_refused():
    """A misspelt step would rank it wrongly, and say nothing."""
    with pytest.raises(ValueError, match="unknown"):
        check("ZZZ001", "another", severity="critical", needs=(), step="optoins")
        check("ZZZ001", "another", severity="critical", needs=(), step="optoins")(lambda look: iter(()))
    assert "ZZZ001" not in RULES


@pytest.mark.parametrize("code", CODES)
def test_code_name_severity_and_step_have_their_form(code):
    """Three letters and three digits; a name of lower-case words; a known severity and step."""
    rule = RULES[code]
    assert re.fullmatch(r"[A-Z]{3}\d{3}", code)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in rule.names)
    assert rule.severity in SEVERITIES
    assert all(step in STEPS for step in [rule.step, *rule.steps.values()] if step)
    assert set(rule.steps) <= set(rule.names)
    assert rule.needs


@pytest.mark.parametrize("code", CODES)
def test_the_docstring_is_a_page_with_all_headings_in_order(code):
    """A first sentence, then What, Why, Looks like, Confirm, Do, False alarms, each with text."""
    page = RULES[code].page
    parts = re.split(r"(?m)^## (.+)$", page)
    assert parts[0].strip().endswith(".")
    assert tuple(parts[1::2]) == HEADINGS
    assert all(len(text.split()) >= 3 for text in parts[2::2])


@pytest.mark.parametrize("code", CODES)
def test_the_rule_has_a_case_in_which_it_fires(code):
    """And nothing of it is missing then: title, services, proof, remedy, a way to verify."""
    assert code in FIRES, f"no FIRES entry for {code} in a test_checks_*.py"
    findings, outcome = judged(code, FIRES[code]().evidence())
    assert outcome.outcome == "fired"
    for finding in findings:
        if finding.state == "history":
            continue
        assert finding.title and finding.services and finding.proof
        assert finding.remedy is not None and finding.remedy.summary
        assert finding.verify
        if finding.remedy.kind == "exact":
            assert finding.remedy.edits or finding.remedy.commands
        if finding.remedy.kind == "choice":
            assert finding.remedy.question and finding.remedy.options


@pytest.mark.parametrize("code", CODES)
def test_its_commands_can_be_pasted_and_their_cost_is_told(code):
    """One line each, in words that a shell can read, without a mask of a secret; what they cost in words."""
    for finding in judged(code, FIRES[code]().evidence())[0]:
        remedy = finding.remedy
        if remedy is None:
            continue
        commands = [*remedy.commands, *(line for option in remedy.options for line in option.commands)]
        assert remedy.risk or not commands
        for line in commands:
            assert shlex.split(line) and "\n" not in line and "‹" not in line and "***" not in line


@pytest.mark.parametrize("code", CODES)
def test_the_rule_is_quiet_on_a_healthy_stack(code):
    """Quiet, not merely without a finding."""
    findings, outcome = judged(code, healthy(code))
    assert (findings, outcome.outcome) == ((), "quiet")


@pytest.mark.parametrize("code", CODES)
def test_without_containers_the_rule_is_unknown(code):
    """Nothing is known of any service; nothing is called quiet."""
    findings, outcome = judged(code, without_section(healthy(code), "containers"))
    assert (findings, outcome.outcome) == ((), "unknown")
    assert "containers" in outcome.missing and outcome.why


@pytest.mark.parametrize("code,needed", [(code, needed) for code in CODES for needed in RULES[code].needs])
def test_where_it_would_fire_the_rule_is_never_quiet_without_what_it_needs(code, needed):
    """The fault is there; whoever cannot see it may not say that it is not."""
    findings, outcome = judged(code, without_section(FIRES[code]().evidence(), needed))
    assert outcome.outcome in ("unknown", "fired")
    if outcome.outcome == "unknown":
        assert outcome.missing and outcome.why


@pytest.mark.parametrize(
    "code,needed", [(code, needed) for code in CODES for needed in RULES[code].needs if "*" not in needed]
)
def test_partial_evidence_may_fire_but_never_be_quiet(code, needed):
    """A healthy stack of which a part was seen is not healthy for that."""
    evidence = healthy(code)
    whole = evidence.section(needed)
    sections = {**evidence.sections, needed: Section(needed, "partial", whole.data, why="a part is missing")}
    _, outcome = judged(code, type(evidence)(evidence.target, evidence.taken_at, sections))
    assert outcome.outcome == "unknown"
    sections = dict(FIRES[code]().evidence().sections)
    sections[needed] = Section(needed, "partial", sections[needed].data, why="a part is missing")
    _, outcome = judged(code, type(evidence)(evidence.target, evidence.taken_at, sections))
    assert outcome.outcome == "fired"


@pytest.mark.parametrize("code", CODES)
def test_the_rule_reads_nothing_that_it_does_not_declare(code):
    """Only declared sections change what it says: without all others it says the same."""
    evidence = FIRES[code]().evidence()
    declared = (*RULES[code].needs, *RULES[code].uses)
    kept = {
        name: section
        for name, section in evidence.sections.items()
        if any(name == one or one.endswith("/*") and name.startswith(one[:-1]) for one in declared)
        or name.startswith(("files/", "logs/", "events", "celery"))
    }
    bare = type(evidence)(evidence.target, evidence.taken_at, kept)
    assert judged(code, bare) == judged(code, evidence)


def test_an_undeclared_section_is_refused():
    """A rule cannot read by accident what it does not declare."""
    look = Look(Incident().evidence(), RULES["BRK001"])
    with pytest.raises(Undeclared, match="BRK001 reads postgres"):
        look.data("postgres")


def test_a_rule_that_raises_is_broken_and_the_others_go_on(monkeypatch):
    """The exception is its outcome; it is never silent and never read as health."""
    from dataclasses import replace

    def broken(look):
        raise ZeroDivisionError("1/0")
        yield

    monkeypatch.setitem(RULES, "CMD001", replace(RULES["CMD001"], check=broken))
    findings, outcomes = run(FIRES["DBS001"]().evidence())
    told = {outcome.code: (outcome.outcome, outcome.why) for outcome in outcomes}
    assert told["CMD001"] == ("broken", "ZeroDivisionError: 1/0")
    assert told["DBS001"][0] == "fired" and any(finding.code == "DBS001" for finding in findings)


def test_a_rule_that_reports_under_a_foreign_code_is_broken(monkeypatch):
    """What it says would stand under another rule's page."""
    from dataclasses import replace

    def foreign(look):
        yield RULES["CMD002"].finding("x", services=("email_worker",))

    monkeypatch.setitem(RULES, "CMD001", replace(RULES["CMD001"], check=foreign))
    findings, outcome = judged("CMD001", Incident().evidence())
    assert outcome.outcome == "broken" and findings == ()


@pytest.mark.parametrize("code", CODES)
def test_the_sentence_of_a_finding_names_the_thing_and_stays_readable(code):
    """At three in the morning a title is one sentence, with the service in it."""
    findings, _ = judged(code, FIRES[code]().evidence())
    for finding in findings:
        assert len(finding.title) <= 300 and "\n" not in finding.title
        assert any(label in finding.title for label in finding.services) or finding.object in finding.title
