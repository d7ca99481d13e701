"""Change over treatment."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from daemon.cli.cohort import cohort as command
from pipeline.errors import InputRejected
from pipeline.prior.comparison import compare
from pipeline.research.change.paired_tests import delta, parts
from pipeline.research.change.pairs import read
from pipeline.research.change.responders import rank_test, responders

FEATURES = [
    "t1c.tumor.original_shape_MeshVolume",
    "t1c.tumor.original_glcm_Idmn",
    "t1c.tumor.wavelet-HLL_glcm_Idmn",
    "adc.lymph_nodes.original_firstorder_Mean",
    "adc.lymph_nodes.wavelet-LLL_ngtdm_Busyness",
]


def write(folder: Path, before: pd.DataFrame, after: pd.DataFrame) -> tuple[Path, Path]:
    paths = folder / "before.csv", folder / "after.csv"
    for path, table in zip(paths, (before, after), strict=True):
        table.rename_axis("id").to_csv(path)
    return paths


@pytest.fixture
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """20 patients; volume shrinks, ADC rises, one feature changes alike in everyone, the rest is noise."""
    rng = np.random.default_rng(1)
    before = pd.DataFrame(rng.normal(100, 10, (20, 5)), [f"{n:03d}" for n in range(20)], FEATURES)
    after = before + rng.normal(0, 1, (20, 5))
    after[FEATURES[0]] -= 20
    after[FEATURES[3]] += 20
    after[FEATURES[4]] = before[FEATURES[4]] + 1
    return before, after


def test_planted_changes_are_found_and_counted_by_class(
    tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    found = delta(read(*write(tmp_path, *tables)))
    assert found.features.loc[FEATURES[0], "direction"] == "down"
    assert found.features.loc[FEATURES[3], "direction"] == "up"
    assert found.untested == (FEATURES[4],)
    counts = found.by_class().set_index(["group", "class"])
    assert counts.loc[("t1c.tumor", "shape"), "down"] == 1
    assert counts.loc[("t1c.tumor", "glcm"), "features"] == 2
    assert counts.loc[("adc.lymph_nodes", "firstorder"), "up"] == 1


@pytest.mark.parametrize("test", ["t", "wilcoxon"])
def test_the_statistics_are_those_of_a_paired_test(
    tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame], test: str
) -> None:
    before, after = tables
    found = delta(read(*write(tmp_path, before, after)), test)  # type: ignore[arg-type]
    for name in FEATURES[:4]:
        x, y = after[name], before[name]
        expected = stats.ttest_rel(x, y) if test == "t" else stats.wilcoxon(x, y, method="exact")
        assert found.features.loc[name, "p"] == pytest.approx(expected.pvalue)
        assert found.features.loc[name, "statistic"] == pytest.approx(expected.statistic)


def test_rows_are_paired_by_id_whatever_their_order(tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    before, after = tables
    straight = delta(read(*write(tmp_path, before, after)))
    pairs = read(*write(tmp_path, before.iloc[1:], after.iloc[::-1]))
    assert (len(pairs), pairs.unpaired_before, pairs.unpaired_after) == (19, 0, 1)
    again = delta(read(*write(tmp_path, before, after.iloc[::-1])))
    assert np.allclose(straight.features["p"], again.features["p"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b, a: (b, a.drop(columns=FEATURES[1])), "same feature columns: t1c.tumor.original_glcm_Idmn"),
        (lambda b, a: (b, pd.concat([a, a.iloc[:1]])), "repeated, rows 1, 21"),
        (
            lambda b, a: (b, a.mask(a == a.iloc[2, 1])),
            "1 of 20 pairs have empty cells, in t1c.tumor.original_glcm_Idmn",
        ),
        (lambda b, a: (b, a.astype(str).mask(a == a.iloc[2, 1], "big")), "no numbers in t1c.tumor.original_glcm_Idmn"),
        (lambda b, a: (b.iloc[:2], a), "needs three"),
        (lambda b, a: (b.assign(settings_hash="x"), a.assign(settings_hash="y")), "2 different settings"),
    ],
)
def test_tables_that_do_not_belong_together_are_refused(  # type: ignore[no-untyped-def]
    tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame], spoil, message: str
) -> None:
    with pytest.raises(InputRejected, match=message):
        read(*write(tmp_path, *spoil(*tables)))


def test_complete_cases_leaves_out_pairs_and_says_how_many(
    tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    before, after = tables
    after = after.mask(after == after.iloc[2, 1])
    pairs = read(*write(tmp_path, before, after), complete_cases=True)
    assert (len(pairs), pairs.incomplete) == (19, 1)
    assert np.isfinite(pairs.after).all()


def test_the_command_writes_a_report_without_ids(tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    named = [t.set_axis([f"DOE-{n:03d}" for n in range(20)]) for t in tables]
    paths = [str(p) for p in write(tmp_path, *named)]
    result = CliRunner().invoke(
        command, ["delta", *paths, "--out", str(tmp_path / "out"), "--json"], catch_exceptions=False
    )
    found = json.loads(result.stdout)
    assert (found["pairs"], found["untested"]) == (20, [FEATURES[4]])
    assert found == json.loads((tmp_path / "out" / "delta.json").read_text())
    for path in (tmp_path / "out").iterdir():
        assert "DOE" not in path.read_text()
    assert (tmp_path / "out" / "report.html").read_text().count("data:image/png") == 2


def test_one_patients_main_measurements_are_compared() -> None:
    before = {"t1c.tumor.original_shape_MeshVolume": 1000.0, "t1c.tumor.original_glcm_Idmn": 1.0,
              "adc.tumor.original_firstorder_Mean": 0.0, "t2.tumor.original_firstorder_Mean": 5.0}  # fmt: skip
    after = {"t1c.tumor.original_shape_MeshVolume": 400.0, "adc.tumor.original_firstorder_Mean": 3.0}
    volume, adc = compare(before, after)
    assert volume.relative == pytest.approx(-0.6)
    assert (adc.after, adc.relative) == (3.0, None)


def test_a_features_name_tells_its_group_class_and_image() -> None:
    assert parts("t2.lymph_nodes.wavelet-HHL_glszm_ZoneEntropy") == ("t2.lymph_nodes", "glszm", "wavelet-HHL")
    assert parts("TT2FS44") == ("TT2FS", "other", "other")


@pytest.mark.cases
def test_the_papers_pairs_give_the_papers_counts(cases: Path, tmp_path: Path) -> None:
    before, after = cases / "paper" / "fig4a_before_neoadjuvant.csv", cases / "paper" / "fig4b_after_neoadjuvant.csv"
    with pytest.raises(InputRejected, match="TADC26, TADC267"):
        read(before, after, foreign_columns=True)
    spelled = tmp_path / "after.csv"
    spelled.write_text(after.read_text().replace(",TADC267,", ",TADC26,", 1))
    found = delta(read(before, spelled, foreign_columns=True))
    assert (found.up, found.down) == (70, 68)


# Responders


def with_response(tables: tuple[pd.DataFrame, pd.DataFrame], responses: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables with a response after treatment; the volume shrinks by 15 more in the first eight patients."""
    before, after = (table.copy() for table in tables)
    after.loc[after.index[:8], FEATURES[0]] -= 15
    return before, after.assign(response=responses)


def test_responders_are_compared_before_treatment_and_in_what_changed(
    tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    responses = ["pCR"] * 4 + ["PR"] * 4 + ["SD"] * 10 + ["", "NA"]
    pairs = read(*write(tmp_path, *with_response(tables, responses)), response="response")
    compared = responders(pairs, ("pCR", "PR"))
    assert (compared.responders, compared.others, compared.untold) == (8, 10, 2)
    rows = compared.table.set_index(["moment", "feature"])
    shrunk = rows.loc[("change", FEATURES[0])]
    assert shrunk["responder_larger"] == 0
    assert shrunk["p"] == pytest.approx(compared.least_p) == pytest.approx(2 / 43758)
    change = (pairs.after - pairs.before)[:18, 3]
    alike = stats.mannwhitneyu(change[:8], change[8:], method="exact")
    assert rows.loc[("change", FEATURES[3]), "p"] == pytest.approx(alike.pvalue, rel=1e-9)


@given(st.lists(st.integers(0, 4), min_size=6, max_size=8), st.integers(1, 5))
def test_the_rank_test_counts_every_way_to_deal_out_equal_values(values: list[int], m: int) -> None:
    group = np.arange(len(values)) < m
    ranks = stats.rankdata(values)
    away = abs(ranks[:m].sum() - m * (len(values) + 1) / 2)
    sums = [sum(some) for some in combinations(ranks, m)]
    counted = np.mean([abs(s - m * (len(values) + 1) / 2) >= away - 1e-9 for s in sums])
    assert rank_test(np.array(values, float), group)[1] == pytest.approx(counted)


def test_with_four_responders_nothing_is_compared_and_the_page_says_so(
    tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    paths = write(tmp_path, *with_response(tables, ["CR"] * 4 + ["SD"] * 16))
    arguments = ["delta", *map(str, paths), "--out", str(tmp_path / "out"), "--response", "response"]
    done = CliRunner().invoke(command, [*arguments, "--responder", "CR"], catch_exceptions=False)
    assert "with fewer than 5 of either nothing is compared" in done.stdout
    assert not (tmp_path / "out" / "responders.csv").exists()
    assert "4 responders (CR), 16 others" in (tmp_path / "out" / "report.html").read_text()


def test_responses_that_contradict_each_other_are_missing_or_unknown_are_refused(
    tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    before, after = with_response(tables, ["CR"] * 8 + ["SD"] * 12)
    paths = write(tmp_path, before.assign(response="SD"), after)
    with pytest.raises(InputRejected, match="another response of 8 patients"):
        read(*paths, response="response")
    with pytest.raises(InputRejected, match="Neither table has the column answer"):
        read(*paths, response="answer")
    with pytest.raises(InputRejected, match="No pair has the response pCR; the column has CR, SD"):
        responders(read(*write(tmp_path, before, after), response="response"), ("pCR",))


def test_the_command_writes_responders_and_a_response_is_no_feature_among_foreign_columns(
    tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    paths = write(tmp_path, *with_response(tables, ["1"] * 8 + ["0"] * 12))
    arguments = [
        "delta",
        *map(str, paths),
        "--out",
        str(tmp_path / "out"),
        "--response",
        "response",
        "--responder",
        "1",
    ]
    done = CliRunner().invoke(command, [*arguments, "--foreign-columns", "--json"], catch_exceptions=False)
    facts = json.loads(done.stdout)
    assert facts["features"] == len(FEATURES)
    assert facts["responders"]["change"]["q_below_0_05"] >= 1
    rows = pd.read_csv(tmp_path / "out" / "responders.csv")
    assert len(rows) == 2 * len(FEATURES)
    assert not set(rows.columns) & {"id", "patient_id"}
