"""The benchmarks of the ledger and of what fills it run, with tiny numbers, and print what they say they print."""

from __future__ import annotations

import pytest

from benchmarks import indexing, ledger, year

COMPARISON = {"name", "ours", "reference", "unit", "ratio"}


def test_a_simulated_site_costs_something_at_every_stage_and_cleans() -> None:
    first, second = year.run(exams_per_day=2, days=4, month_days=2, keep_days=1)
    for row in (first, second):
        assert set(row) > COMPARISON
        stages = row["stages"]
        assert isinstance(stages, dict)
        assert set(stages) == set(year.STAGES)
        assert min(stages.values()) > 0
    assert second["ratio"] == 1.0
    assert str(second["name"]).endswith("month 2 of 2 days")


def test_indexing_is_compared_with_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "WARM", 5)
    monkeypatch.setattr(indexing, "binaries", lambda: None)
    (row,) = indexing.run(instances=40)
    assert set(row) > COMPARISON
    assert all(float(str(row[name])) > 0 for name in ("ours", "reference", "own_ms", "longest_write_ms"))


def test_standing_questions_are_asked_of_few_and_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "WITH_FILES", 100)
    rows = list(ledger.run(rows=200, postgresql=0))
    assert len(rows) > 5
    assert all(set(row) > COMPARISON and float(str(row["ours"])) >= 0 for row in rows)
