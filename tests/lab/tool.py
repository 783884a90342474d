"""The tool's own image, built from the repository's Dockerfile as users build it, on a base of the lab's."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import tomllib
from pathlib import Path

from tests.lab import images

#: What the Dockerfile copies (``.dockerignore`` lets no more through).
PARTS = ("Dockerfile", ".dockerignore", "README.md", "pyproject.toml", "requirements.lock", "lib", "runbooks")


def image() -> str:
    """The name of the tool's image; builds it where it is missing. Raises ``images.BuildFailed``."""
    base = images.python_image()
    tag = f"ctlab-tool:{_digest(base)}"
    with images.to_build(tag) as missing:
        if missing:
            _build(tag, base)
    return tag


def _digest(base: str) -> str:
    digest = hashlib.sha256(base.encode())
    for part in PARTS:
        top = images.ROOT / part
        for path in sorted(top.rglob("*")) if top.is_dir() else (top,):
            if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path):
                digest.update(path.relative_to(images.ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _build(tag: str, base: str) -> None:
    with tempfile.TemporaryDirectory(prefix="lab-tool-") as folder:
        context = Path(folder)
        for part in PARTS:
            if (images.ROOT / part).is_dir():
                left = shutil.ignore_patterns("__pycache__", "*.egg-info", ".ipynb_checkpoints")
                shutil.copytree(images.ROOT / part, context / part, ignore=left)
            else:
                shutil.copy2(images.ROOT / part, context / part)
        arguments = ""
        if (wheels := images.fetch_wheels(_wanted(), base, images.ROOT / "requirements.lock")) is not None:
            shutil.copytree(wheels, context / "wheels")
            arguments = "--no-index --find-links /opt/celery-triage/wheels"
        images.docker_build(tag, context, BASE=base, PIP_ARGS=arguments)


def _wanted() -> tuple[str, ...]:
    project = tomllib.loads((images.ROOT / "pyproject.toml").read_text("utf-8"))
    return (*project["project"]["dependencies"], *project["build-system"]["requires"], "wheel")
