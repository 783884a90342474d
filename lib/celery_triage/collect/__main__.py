"""`python -m celery_triage.collect`: collect for a process that has threads. JSON in, JSON out, for itself
only."""

from __future__ import annotations

import json
import os
import sys

from celery_triage.collect import CannotCollect, CollectOptions, collect
from celery_triage.model import plain
from celery_triage.redact import Redactor


def main() -> None:
    request = json.load(sys.stdin)
    given = request["options"].items()
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in given}
    options["only"] = None if options["only"] is None else frozenset(options["only"])
    redactor = Redactor()
    redactor.adopt(request["redactor"])
    try:
        evidence = collect(CollectOptions(**options), redactor)
        answer = {"evidence": plain(evidence), "redactor": redactor.export()}
    except CannotCollect as error:
        answer = {"error": type(error).__name__, "why": str(error)}
    with os.fdopen(1, "w", encoding="utf-8", closefd=False) as out:
        json.dump(answer, out)


if __name__ == "__main__":
    main()
