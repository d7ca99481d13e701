"""The benchmarks of whole exams compare what they say they compare."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from benchmarks import throughput
from benchmarks.exam import Run, compared, middle
from benchmarks.throughput import draw, growth

RESULT = {"features": {"a": 1.0, "b": 2.0}, "timings_s": {"total": 1.0}, "prediction": {"probability": 0.25}}


def test_time_processor_time_and_memory_are_compared_with_the_reference() -> None:
    reference = Run(30.0, 40.0, 900.0, RESULT)
    few = {**RESULT, "features": {"a": 1.001}}
    row = compared("exam", Run(2.0, 4.0, 700.0, few), reference)
    assert (row["ours"], row["reference"], row["ratio"], row["cpu_ratio"]) == (2.0, 30.0, 15.0, 10.0)
    assert row["max_rel_diff"] == pytest.approx(0.001)
    assert (row["peak_mib"], row["peak_mib_reference"]) == (700, 900)


def test_a_feature_that_the_reference_lacks_is_an_error() -> None:
    with pytest.raises(KeyError):
        compared("exam", Run(1.0, 1.0, 1.0, {**RESULT, "features": {"c": 1.0}}), Run(1.0, 1.0, 1.0, RESULT))


def test_neither_the_luckiest_nor_the_unluckiest_run_counts() -> None:
    assert middle([Run(s, 0.0, 0.0, RESULT) for s in (9.0, 1.0, 4.0)]).seconds == 4.0


def test_growth_is_told_against_the_smallest_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(1)

    def counted(work: object) -> float:
        return float(next(seconds))

    monkeypatch.setattr(throughput, "_seconds", counted)
    rows = list(growth((40, 80, 80)))
    images = [r for r in rows if str(r["name"]).startswith("N4")]
    assert [r["ratio"] for r in images] == [1.0, 2.0, 3.0, 4.0]
    assert images[-1]["voxels"] == 40 * 80 * 80
    assert [r["grown"] for r in images] == sorted(float(r["grown"]) for r in images)
    draw(rows, tmp_path / "scaling.png")
    assert 0 < (tmp_path / "scaling.png").stat().st_size < 100_000
