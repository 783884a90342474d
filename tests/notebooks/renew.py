"""Makes the committed sample report anew from its own evidence, after a change of what is shown.

    python tests/notebooks/renew.py

No Docker is needed; the evidence stays as it was recorded (``make sample`` records it anew).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from celery_triage import bundle, report

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "reports" / "sample"


def renew(sample: Path = SAMPLE) -> report.Report:
    """Diagnose the sample's evidence, execute the runbooks and put the new report in the old one's place.

    A notebook that stopped is an error here: the sample is left as it was.
    """
    with tempfile.TemporaryDirectory(dir=sample.parent, prefix=".renew-") as folder:
        made = report.run(bundle.load(sample / "evidence"), Path(folder), progress=print)
        if made.stopped:
            raise SystemExit("; ".join(made.stopped))
        old = sample.rename(Path(folder) / "old")
        try:
            made.path.rename(sample)
        except OSError:
            old.rename(sample)
            raise
        shutil.rmtree(old)
    return made


if __name__ == "__main__":
    sys.exit(0 if renew() else 1)
