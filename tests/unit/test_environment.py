"""One list of dependencies, told in three files: pyproject.toml leads, the others must agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]

# conda-forge's name where it differs (https://conda-forge.org/packages/)
CONDA_NAMES = {"docker": "docker-py", "playwright": "playwright-python", "redis": "redis-py"}


def _requirement(text: str) -> tuple[str, str]:
    """`celery[redis]>=5.5` as (`celery`, `>=5.5`), lower case, extras dropped."""
    name, _, minimum = re.fullmatch(r"([A-Za-z0-9_.-]+)(\[[^\]]*\])?(>=[0-9.]+)?", text).group(1, 2, 3)
    return name.lower(), minimum or ""


def _pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _wanted() -> dict[str, str]:
    project = _pyproject()
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    return dict(_requirement(text) for text in texts)


def test_environment_yml_lists_what_pyproject_lists():
    """The conda environment names the same packages with the same minimum versions as pyproject.toml."""
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    named = [text for text in (*conda, *pip) if isinstance(text, str) and not text.startswith("--")]
    found = dict(_requirement(text) for text in named)
    for extra in ("python", "make", "pip"):
        found.pop(extra)
    assert found == {CONDA_NAMES.get(name, name): minimum for name, minimum in _wanted().items()}


def test_environment_yml_has_the_same_python():
    """The conda environment asks for the Python that pyproject.toml asks for."""
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python{_pyproject()['requires-python']}" in conda


def test_lock_file_pins_every_dependency_and_meets_the_minimum():
    """requirements.lock pins each dependency exactly, at or above the minimum of pyproject.toml."""
    pins = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if match := re.match(r"([a-z0-9_.-]+)(?:\[[^\]]*\])?==([0-9.]+)", line):
            pins.setdefault(match[1], []).append(tuple(map(int, match[2].split(".")[:2])))
    for name, minimum in _wanted().items():
        assert name in pins, f"{name} is not pinned"
        least = tuple(map(int, minimum.removeprefix(">=").split(".")[:2]))
        assert min(pins[name]) >= least, f"{name} is pinned below {minimum}"


def test_lock_file_names_no_package_host():
    """The lock file can be used with any package index: it holds no address of one."""
    assert "://" not in (ROOT / "requirements.lock").read_text()
