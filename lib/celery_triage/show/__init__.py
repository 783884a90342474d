"""Tables, cards and plots for notebooks, pages and the terminal. It shows what was decided elsewhere."""

from __future__ import annotations

import importlib
from types import ModuleType

#: One module for each runbook's subject; loaded when first asked for, because drawing takes 0.3 s to import.
SUBJECTS = (
    "beat",
    "changes",
    "connections",
    "database",
    "findings",
    "health",
    "launch_commands",
    "logs",
    "monitoring",
    "queues",
    "restarts",
    "triage",
    "workers",
)


def __getattr__(name: str) -> ModuleType:
    if name in SUBJECTS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"celery_triage.show has no {name}; it has {', '.join(SUBJECTS)}")
