"""A bundle comes back as it was saved, and one that is not as it should be is refused with a sentence."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from celery_triage import bundle, shapes
from celery_triage.model import Evidence, Section

LABEL = "email_worker"
LINE = ["2026-11-23T21:11:05.854081830Z", "err", "Error: No such option: --queue"]


def evidence() -> Evidence:
    """Small, with every kind of section: a log, data, no data, and names that look alike as file names."""
    sections = [
        Section(
            f"logs/{LABEL}", "ok", {"driver": "json-file", "lines": [LINE, ["", "out", "ü €"]], "cut": None}
        ),
        Section("logs/postgres", "denied", why="log driver none keeps no logs"),
        Section(
            "engine", "ok", {"version": "20.10.24", "cpus": 2, "memory": 2**35}, how="API", taken_at="2026"
        ),
        Section("files/a", "ok", {"python": "3.11", "site_packages": []}),
        Section("files-a", "ok", {"other": [1, 2.5, None, True]}),
    ]
    return Evidence(
        target="ai_backend",
        taken_at="2026-11-23T14:15:03.123Z",
        sections={section.name: section for section in sections},
        calls=("2026-11-23T14:15:03.123Z engine: GET /version -> 200 (1 ms)", ""),
        tool={"docker": "7.2.0"},
        options={"project": "ai_backend", "no_broadcast": False, "containers": []},
    )


@pytest.fixture
def folder(tmp_path):
    """A saved bundle, to be spoilt."""
    return bundle.save(evidence(), tmp_path / "bundle")


def change(folder, **parts) -> None:
    """Other values in the manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **parts}))


def change_section(folder, section, parts) -> None:
    told = json.loads((folder / "manifest.json").read_text())["sections"]
    change(folder, sections=[{**entry, **parts} if entry["name"] == section else entry for entry in told])


def refused(folder) -> str:
    """The one sentence of the refusal."""
    with pytest.raises(bundle.BundleError) as raised:
        bundle.load(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_was_saved_comes_back(tmp_path):
    """Every part of the evidence survives the way through a folder; only its origin is now that folder."""
    folder = bundle.save(evidence(), tmp_path / "deep" / "bundle")
    loaded = bundle.load(folder)
    assert loaded.origin == str(folder)
    assert replace(loaded, origin="live") == evidence()


def test_the_same_evidence_gives_the_same_files(tmp_path):
    """Bundles can be compared and committed: nothing in them depends on the moment of saving."""
    one, two = (bundle.save(evidence(), tmp_path / name) for name in ("one", "two"))
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert [(one / file).read_bytes() for file in files] == [(two / file).read_bytes() for file in files]
    assert len(files) == 6


def test_a_bundle_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    """When writing fails in the middle there is neither a folder nor a rest of one."""

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(bundle, "dumps", fail)
    with pytest.raises(OSError, match="disk full"):
        bundle.save(evidence(), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_never_written_over(folder):
    """Evidence of an earlier run stays as it is."""
    with pytest.raises(FileExistsError):
        bundle.save(evidence(), folder)


def test_files_that_no_index_names_are_ignored(folder):
    """Notes and pictures beside the evidence are nobody's business."""
    (folder / "notes.txt").write_text("\x1b[31m")
    (folder / "sections" / "extra.json").write_text("{")
    assert replace(bundle.load(folder), origin="live") == evidence()


def test_no_folder_no_bundle(tmp_path):
    """A missing folder, a file and an empty folder are told apart from a bundle."""
    (tmp_path / "file").write_text("x")
    assert "is no folder" in refused(tmp_path / "missing")
    assert "is no folder" in refused(tmp_path / "file")
    assert "manifest.json is missing" in refused(tmp_path)


def test_a_newer_schema_is_refused(folder):
    """What a later version wrote is not read as if it were understood."""
    change(folder, schema=99)
    assert "schema 99" in refused(folder)


@pytest.mark.parametrize(
    "parts",
    [
        {"schema": "1"},
        {"schema": None},
        {"schema": True},
        {"target": 1},
        {"taken_at": "yesterday"},
        {"taken_at": None},
        {"taken_at": "2026-11-23T14:15:03Z/../../x"},
        {"sections": {}},
        {"sections": [1]},
        {"tool": []},
        {"tool": {"docker": 7}},
        {"options": "x"},
        {"sections": [{}]},
        {"sections": [{"name": "engine"}]},
        {"sections": [{"name": "engine", "status": "ok"}] * 2},
        {"sections": [{"name": "x"}] * 5000},
    ],
)
def test_a_manifest_of_wrong_types_is_refused(folder, parts):
    """Each value of the manifest has its type, and a sentence when it has another."""
    change(folder, **parts)
    assert refused(folder)


@pytest.mark.parametrize(
    "parts",
    [
        {"status": "fine"},
        {"status": "denied"},
        {"status": []},
        {"why": 1},
        {"name": "../engine"},
        {"name": "a/b/c"},
        {"name": ""},
        {"name": ".engine"},
        {"file": "../../etc/passwd"},
        {"file": "/etc/passwd"},
        {"file": 7},
        {"file": "sections/../manifest.json"},
        {"file": "calls.txt"},
        {"file": "sections/missing.json"},
        {"file": f"logs/{LABEL}.jsonl"},
        {"file": "sections/files-a.json"},
    ],
)
def test_a_section_that_cannot_be_is_refused(folder, parts):
    """Status, name and file of a section are checked before anything is opened."""
    change_section(folder, "engine", parts)
    assert refused(folder)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[1]",
        '{"cpus": NaN}',
        '{"cpus": Infinity}',
        '"x',
        "[" * 100_000,
        '{"cpus": "2"}',
        '{"version": 20}',
        '{"cpus": ' + "9" * 5000 + "}",
    ],
)
def test_data_that_is_no_json_or_of_wrong_types_is_refused(folder, content):
    """Broken, endless and mistyped data ends in the sentence, not in a check."""
    (folder / "sections" / "engine.json").write_text(content)
    assert "engine.json" in refused(folder) or "nested" in refused(folder)


@pytest.mark.parametrize("line", ["{}", "[1, 2, 3]", '["a", "b"]', '["a", "b", "c", "d"]', "x"])
def test_a_log_line_of_wrong_shape_is_refused(folder, line):
    """A line of a log is three texts."""
    with (folder / "logs" / f"{LABEL}.jsonl").open("a") as file:
        file.write(line + "\n")
    assert "line 3" in refused(folder)


def test_control_characters_are_gone_also_behind_escapes(folder):
    """JSON can write an escape sequence in plain letters; it never reaches a terminal."""
    (folder / "sections" / "engine.json").write_text(
        '{"version": "20\\u001b[31m.10\\u0007\\u202e", "o\\u0000s": "x"}'
    )
    (folder / "logs" / f"{LABEL}.jsonl").write_text('["t", "err", "a\\u001b]0;title\\u0007b\\nc"]\n')
    (folder / "calls.txt").write_text("one\x1b[2J\ntwo\n")
    change(folder, target="ai\u001b[2J_backend\nx")
    loaded = bundle.load(folder)
    assert loaded.data("engine") == {"version": "20.10", "os": "x"}
    assert loaded.data(f"logs/{LABEL}")["lines"] == [["t", "err", "ab c"]]
    assert (loaded.calls, loaded.target) == (("one", "two"), "ai_backend x")


def test_links_are_not_followed(folder, tmp_path):
    """Neither a file nor a folder inside a bundle may lead somewhere else."""
    secret = tmp_path / "secret.json"
    secret.write_text('{"version": "stolen"}')
    path = folder / "sections" / "engine.json"
    path.unlink()
    path.symlink_to(secret)
    assert "links are not followed" in refused(folder)
    path.unlink()
    (folder / "sections").rename(tmp_path / "elsewhere")
    (folder / "sections").symlink_to(tmp_path / "elsewhere")
    assert "cannot be read" in refused(folder)


def test_what_is_no_regular_file_is_refused(folder):
    """A pipe in the place of a file would wait for ever."""
    path = folder / "sections" / "engine.json"
    path.unlink()
    os.mkfifo(path)
    assert "no regular file" in refused(folder)


def test_sizes_are_capped(folder, monkeypatch):
    """One file and all together have a limit, whatever the manifest says."""
    monkeypatch.setattr(bundle, "SECTION_LIMIT", 30)
    assert "larger" in refused(folder)
    monkeypatch.undo()
    monkeypatch.setattr(bundle, "TOTAL_LIMIT", 900)
    assert "larger" in refused(folder)


def test_bytes_that_are_no_utf8_are_refused(folder):
    """A bundle is written in UTF-8."""
    (folder / "sections" / "engine.json").write_bytes(b'{"version": "\xff"}')
    assert "not UTF-8" in refused(folder)


@pytest.mark.parametrize(
    "section, data, where",
    [
        ("containers", {"items": [{"label": 1}]}, "items[0].label"),
        ("containers", {"items": {}}, "items"),
        ("containers", {"items": [{"label": "a", "samples": [{"health": {"log": "x"}}]}]}, "health"),
        ("events", {"items": [{"exit_code": "2"}]}, "exit_code"),
        ("networks", {"items": [{"members": []}]}, "members"),
        ("logs/x", {"lines": [[1]]}, "lines[0][0]"),
        ("files/x", {"packages": {"celery": []}}, "packages.celery"),
        ("compose", {"services": {"a": {"command": [{"line": "1"}]}}}, "command[0].line"),
        ("postgres", {"servers": [{"wanted": {"db": {"exists": 1}}}]}, "wanted"),
        ("redis", [], "the data"),
        ("celery", {"brokers": [{"replies": []}]}, "replies"),
        ("engine", {"cpus": True}, "cpus"),
    ],
)
def test_the_shape_of_each_section_is_checked(section, data, where):
    """A check may rely on the types of what it reads, also in a bundle that somebody else has written."""
    assert where in shapes.wrong(section, data)


def test_unknown_sections_and_keys_pass():
    """A later version may collect more; what is not known is not judged."""
    assert shapes.wrong("weather", {"rain": True}) == ""
    assert shapes.wrong("engine", {"version": "27", "new": [1]}) == ""
