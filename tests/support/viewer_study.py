"""A study for viewers: a phantom exam, evaluated by `axrad run`, with everything that would be sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pydicom

from pipeline.phantom import PhantomSpec, write_exam
from pipeline.result import StudyResult


@dataclass(frozen=True)
class ViewerStudy:
    """`files`: the series that were used, the SEG, and the results."""

    uid: str
    result: StudyResult
    outputs: Path
    files: tuple[Path, ...]

    def title(self, kind: str) -> str:
        """The Series Description of one of the results, as viewers list it."""
        return str(pydicom.dcmread(self.outputs / f"{kind}.dcm", stop_before_pixels=True).SeriesDescription)


def study_of(folder: Path, seed: int = 2) -> ViewerStudy:
    """The demonstration's own way, offline; the series that no result refers to are left out."""
    exam = write_exam(folder / "exam", PhantomSpec(seed=seed))
    out = folder / "out"
    axrad = Path(sys.executable).parent / "axrad"
    what = json.dumps(["sr", "page", "pdf", "key_slices"])
    subprocess.run(
        [str(axrad), "run", str(folder / "exam"), "--out", str(out)],
        env={**os.environ, "AXRAD_REPORT__WHAT": what},
        check=True,
        capture_output=True,
    )
    result = StudyResult.from_json((out / "result.json").read_bytes())
    used = {choice.series_uid for choice in result.sequences.values()}
    images = [path for series in exam.series if series.series_uid in used for path in series.paths]
    assert exam.seg_path is not None
    return ViewerStudy(exam.study_uid, result, out, (*images, exam.seg_path, *sorted(out.glob("*.dcm"))))
