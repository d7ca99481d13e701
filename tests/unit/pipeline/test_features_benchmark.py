from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks._peer_names import PICTOLOGICS, RADIOMICSJ, plain
from benchmarks.features import largest_difference, run
from config.schema import Features
from pipeline.features import from_settings


def test_the_benchmark_compares_equal_numbers_on_a_small_exam() -> None:
    rows = list(run(shrink=5, repeats=1))
    assert [row["name"] for row in rows] == ["features, all", "features, a signature's 180"]
    for row in rows:
        assert set(row) == {"name", "ours", "reference", "unit", "ratio", "max_rel_diff"}
        assert row["max_rel_diff"] == 0.0


def test_a_feature_on_one_side_only_is_no_agreement() -> None:
    assert largest_difference({"a": 1.0}, {"a": 1.0, "b": 2.0}) == float("inf")
    assert largest_difference({"a": 1.1}, {"a": 1.0}) > 0.09


def test_peers_names_stand_for_features_that_pyradiomics_has() -> None:
    names = {"_".join(parts) for parts in from_settings(Features()).names()}
    assert names >= set(PICTOLOGICS.values()) | set(RADIOMICSJ.values())
    assert len({plain(name) for name in names}) == len(names)
    assert peers._renamed("pictologics", {"t1c.tumor.Q4LE": 3.0, "t1c.tumor.25C7": 4.0}) == {
        "t1c.tumor.original_firstorder_Mean": 3.0
    }
    assert peers._renamed("fastrad", {"t2.tumor.original_firstorder:90th_percentile": 2.0}) == {
        "t2.tumor.original_firstorder_90Percentile": 2.0
    }


def test_a_peer_that_is_not_installed_is_said_to_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AXRAD_PEERS", str(tmp_path))
    assert peers._ask("fastrad", tmp_path) is None
    assert "fastrad is not installed here, so it is skipped" in capsys.readouterr().err
