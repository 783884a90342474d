"""The form of a runbook, as DESIGN fixes it: a new runbook that breaks it is refused here, by name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "runbooks"
RUNBOOKS = sorted(FOLDER.glob("*.ipynb"))
#: What a person who reads a runbook must not have to understand.
LOGIC = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.If,
    ast.IfExp,
    ast.For,
    ast.While,
    ast.Try,
    ast.With,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)

each = pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def sources(path: Path) -> list[str]:
    return [cell.source for cell in cells(path, "code")]


def test_the_runbooks_of_the_design_are_there():
    """The steps that the incident needs each have their notebook."""
    names = {path.stem for path in RUNBOOKS}
    assert names >= {
        "00_triage",
        "10_restarts",
        "20_logs",
        "30_launch_commands",
        "40_database",
        "50_connection_strings",
    }


@each
def test_a_runbook_is_a_valid_notebook_with_stable_cell_names(path):
    """nbformat accepts it, and its cells are named by hand so that a change shows as one."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    names = [cell.id for cell in notebook.cells]
    assert len(set(names)) == len(names)
    assert names[:2] == ["title", "about"] and "parameters" in names and "setup" in names


@each
def test_a_runbook_stores_no_outputs(path):
    """What is committed shows nothing of anybody's stack."""
    assert not [cell for cell in cells(path, "code") if cell.outputs or cell.execution_count]


@each
def test_the_title_is_a_question_and_the_first_paragraphs_are_the_fixed_four(path):
    """Answers, use when, reads, changes nothing: so that the right runbook is found in ten seconds."""
    title, about = [cell.source for cell in cells(path, "markdown")[:2]]
    assert re.fullmatch(r"# .+\?", title)
    heads = re.findall(r"^\*\*(.+?)\*\*", about, flags=re.M)
    assert heads == ["Answers", "Use when", "Reads", "Changes nothing."]


@each
def test_there_is_one_parameters_cell_of_typed_commented_literals_without_secrets(path):
    """One parameter a line, `name: type = literal  # what it is`; evidence comes first and is empty, so
    live."""
    tagged = [cell for cell in cells(path, "code") if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for line in tagged[0].source.splitlines():
        assert re.fullmatch(r'[a-z_]+: (str|int|float|bool) = (?:"[^"]*"|[\d.]+|True|False)  # \S.*', line), (
            line
        )
        assert not re.search(r"password|secret|token", line.split("=")[0])
    assert tagged[0].source.splitlines()[0].startswith('evidence: str = ""')


@each
def test_only_the_setup_cell_imports_and_no_cell_holds_logic(path):
    """A runbook is prose and expressions; what it does is in the library, where it is tested."""
    for cell in cells(path, "code"):
        tree = ast.parse(cell.source)
        found = [type(node).__name__ for node in ast.walk(tree) if isinstance(node, LOGIC)]
        assert not found, f"{cell.id}: {found}"
        imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not imports or cell.id == "setup"


@each
def test_after_the_setup_each_cell_is_one_expression_with_prose_before_it(path):
    """Prose first, then one expression to look at; the last one leads on."""
    notebook = nbformat.read(path, as_version=4)
    at = [cell.id for cell in notebook.cells].index("setup")
    rest = notebook.cells[at + 1 :]
    assert [cell.cell_type for cell in rest] == ["markdown", "code"] * (len(rest) // 2)
    for cell in rest[1::2]:
        body = ast.parse(cell.source).body
        assert len(body) == 1 and isinstance(body[0], ast.Expr), cell.id
    assert rest[-2].source.startswith("## What to do next")
    assert f'here="{path.stem}"' in rest[-1].source


@each
def test_every_parameter_is_used(path):
    """A parameter that changes nothing is a promise broken."""
    first, *rest = sources(path)
    for name in re.findall(r"^(\w+):", first, flags=re.M):
        assert re.search(rf"\b{name}\b", "\n".join(rest)), name


@each
def test_a_runbook_has_a_picture(path):
    """Each answers its question also with a plot that a person would rather look at."""
    assert re.search(r"\.(plot|picture)\(", "\n".join(sources(path)))


@each
def test_a_runbook_says_which_codes_it_shows(path):
    """The links between causes and runbooks come from the notebook's own metadata."""
    prefixes = nbformat.read(path, as_version=4).metadata["celery_triage"]["prefixes"]
    assert (
        path.stem == "00_triage" or all(re.fullmatch(r"[A-Z]{3}", prefix) for prefix in prefixes) and prefixes
    )
