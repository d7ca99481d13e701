from __future__ import annotations

from benchmarks.features import largest_difference, run


def test_the_benchmark_compares_equal_numbers_on_a_small_exam() -> None:
    rows = list(run(shrink=5, repeats=1))
    assert [row["name"] for row in rows] == ["features, all", "features, a signature's 180"]
    for row in rows:
        assert set(row) == {"name", "ours", "reference", "unit", "ratio", "max_rel_diff"}
        assert row["max_rel_diff"] == 0.0


def test_a_feature_on_one_side_only_is_no_agreement() -> None:
    assert largest_difference({"a": 1.0}, {"a": 1.0, "b": 2.0}) == float("inf")
    assert largest_difference({"a": 1.1}, {"a": 1.0}) > 0.09
