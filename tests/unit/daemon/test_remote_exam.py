"""A worker without the spool takes over what the exam uses, and comes to the same result as one that has everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemon.share.exam_files import forget_old_copies
from pipeline.phantom import PhantomSpec, write_exam
from tests.support.remote_exam import evaluated, without_times

SECTIONS: dict[str, Any] = {
    "features": {"set": "signature"},
    "bias": {"sequences": []},
    "signature": {"max_outside": 1.0, "max_distance": 1e9},
}
ONE_SERIES = PhantomSpec(seed=7, preset="small", dce_layout="one_series", with_adc_map=False)


def direct(port: int) -> int:
    return port


@pytest.mark.parametrize(
    ("spec", "more"),
    [
        (PhantomSpec(seed=7, preset="small"), {}),
        (ONE_SERIES, {"sequences": {"phase": "peak"}}),
    ],
    ids=["a series per phase, an ADC map", "the brightest of one series, ADC computed"],
)
def test_only_what_is_used_is_fetched_once_and_the_result_is_the_same(
    spec: PhantomSpec, more: dict[str, Any], tmp_path: Path
) -> None:
    sections = {**SECTIONS, **more}
    exam = write_exam(tmp_path / "exam", spec)
    with evaluated(tmp_path / "here", exam.paths, sections, line=None) as here:
        assert here.copies == ()
    with evaluated(tmp_path / "away", exam.paths, sections, line=direct) as away:
        assert without_times(away.result) == without_times(here.result)
        assert away.result.status == "evaluated"
        assert 0 < len(away.copies) < 0.6 * len(exam.paths)
        # A revision needs nothing that is here already; what nobody used for as long as exams are kept goes.
        for path in (tmp_path / "away" / "spool").glob("instances/*/*/*.dcm"):
            path.unlink()
        exam_again, bring = away.exam
        bring(image for image in exam_again.images if image.path in away.copies)
        settings = away.context.settings
        used_at = max(path.stat().st_mtime for path in away.copies)
        assert forget_old_copies(settings, used_at + 29 * 86_400) == 0
        assert forget_old_copies(settings, used_at + 31 * 86_400) >= len(away.copies)
        assert list((settings.spool.path / "copies").rglob("*.dcm")) == []
