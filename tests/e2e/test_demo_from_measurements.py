"""`axrad demo --from-measurements`: real processes, an OHIF report and no segmentation in, a report out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pydicom

from pipeline.catalog.own_mark import has_mark
from pipeline.result import StudyResult


def test_measurements_become_a_proposal_that_is_accepted_and_reported(tmp_path: Path) -> None:
    axrad = Path(sys.executable).with_name("axrad")
    order = [str(axrad), "demo", "--from-measurements", "--out", str(tmp_path / "demo")]
    done = subprocess.run(order, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert has_mark(pydicom.dcmread(tmp_path / "demo" / "proposal.dcm"))
    result = StudyResult.from_json((tmp_path / "demo" / "result.json").read_bytes())
    assert result.status == "evaluated", result.reasons
    assert {(role, roi.origin, roi.unconfirmed) for role, roi in result.rois.items()} == {
        ("tumor", "measured", False),
        ("lymph_nodes", "measured", False),
    }
