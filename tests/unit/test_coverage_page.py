"""What COVERAGE.md claims is there: each proof is a file, heard by the tool; the page is the newest."""

from __future__ import annotations

import pytest
import yaml
from tests import coverage_page

from celery_triage.signatures import match

PROOFS = [
    (family, item, kind, name, proofs.get("code"))
    for family, found in coverage_page.items().items()
    for item, proofs in found.items()
    for kind, name in proofs.items()
    if kind != "code"
]


def test_the_page_is_up_to_date() -> None:
    """COVERAGE.md is what its list gives now; `python -m tests.coverage_page` writes it."""
    assert coverage_page.PAGE.read_text(encoding="utf-8") == coverage_page.page()


@pytest.mark.parametrize(("family", "item", "kind", "name", "code"), PROOFS)
def test_a_proof_is_there_and_is_heard(family: str, item: str, kind: str, name: str, code: str) -> None:
    """A fault says what it expects; in a recording the catalogue hears the code, not only quoted."""
    path = coverage_page.proof(kind, name)
    assert path.is_file(), f"{family}, {item}: no {path.name}"
    text = path.read_text(encoding="utf-8")
    if kind == "fault":
        assert "expect" in yaml.safe_load(text)["x-fault"]
        return
    lines = [line for line in text.splitlines() if not line.startswith("## ")]
    if kind == "log":
        lines = [line.split(" ", 2)[2] for line in lines]
    heard = {one.code for one in match(lines) if one.context != "quoted"}
    assert code in heard, f"{family}, {item}: {path.name} gives {heard}"


def test_no_family_is_empty() -> None:
    """No family is empty, and the page counts what the list holds."""
    assert all(found for found in coverage_page.items().values())
    assert f"of {sum(map(len, coverage_page.items().values()))} items" in coverage_page.page()
