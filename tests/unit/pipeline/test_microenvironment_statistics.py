"""The statistics of the microenvironment against R: tests/support/microenvironment_golden.R made the values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from pipeline.errors import InputRejected
from pipeline.research.microenvironment import deconvolution, moderation
from pipeline.research.microenvironment.correlations import Candidates, correlations
from pipeline.research.microenvironment.differences import Differences, adjusted, differences
from pipeline.research.microenvironment.enrichment import over_represented
from pipeline.research.microenvironment.gene_sets import Collection, GeneSet
from pipeline.research.microenvironment.importance import mean_decreases_in_gini

GOLDEN = json.loads((Path(__file__).parent / "microenvironment_golden.json").read_text())
TWELVE_DIGITS = {"rel": 1e-9, "abs": 1e-11}


def names(count: int) -> tuple[str, ...]:
    return tuple(f"g{n}" for n in range(count))


def compared(case: str, first: list[int]) -> Differences:
    values = np.array(GOLDEN[case]["y"], dtype=float).T
    return differences(values, names(values.shape[1]), np.array(first, dtype=bool), shuffles=0)


# Moderated t


def test_the_moderated_t_is_limmas_on_the_example_of_its_help_page() -> None:
    result, golden = compared("lmfit", [0, 0, 0, 1, 1, 1]), GOLDEN["lmfit"]
    assert result.prior.df == pytest.approx(golden["df_prior"], rel=1e-9)
    assert result.prior.variance == pytest.approx(golden["s2_prior"], rel=1e-9)
    for column, key in (
        ("difference", "coefficient"),
        ("moderated_t", "t"),
        ("moderated_p", "p"),
        ("moderated_q", "q"),
    ):
        assert result.table[column].to_numpy() == pytest.approx(golden[key], **TWELVE_DIGITS), column


def test_the_moderated_t_is_limmas_where_genes_lack_cells() -> None:
    result, golden = compared("gaps", [0] * 6 + [1] * 6), GOLDEN["gaps"]
    assert (result.prior.df, result.prior.variance) == pytest.approx((golden["df_prior"], golden["s2_prior"]), rel=1e-9)
    assert result.table["moderated_t"].to_numpy() == pytest.approx(golden["t"], **TWELVE_DIGITS)
    assert result.table["moderated_p"].to_numpy() == pytest.approx(golden["p"], **TWELVE_DIGITS)


def test_genes_of_one_variance_have_a_prior_without_end_as_in_limma() -> None:
    result, golden = compared("equal", [0, 0, 0, 1, 1, 1]), GOLDEN["equal"]
    assert np.isinf(result.prior.df)
    assert result.prior.variance == pytest.approx(golden["s2_prior"], rel=1e-9)
    assert result.table["moderated_p"].to_numpy() == pytest.approx(golden["p"], **TWELVE_DIGITS)


def test_trigamma_is_inverted_as_limma_does() -> None:
    golden = GOLDEN["trigamma_inverse"]
    assert [moderation.inverse_trigamma(y) for y in golden["y"]] == pytest.approx(golden["x"], rel=1e-9)


@given(st.floats(1e-3, 1e4))
def test_the_inverse_of_trigamma_is_one(x: float) -> None:
    assert moderation.inverse_trigamma(float(special.polygamma(1, x))) == pytest.approx(x, rel=1e-6)


# Welch, Benjamini-Hochberg


def test_welchs_t_is_that_of_rs_t_test() -> None:
    result, golden = compared("welch", [0] * 6 + [1] * 6), GOLDEN["welch"]
    for column in ("t", "df", "p"):
        assert result.table[column].to_numpy() == pytest.approx(golden[column], **TWELVE_DIGITS), column


def test_q_values_are_those_of_rs_p_adjust() -> None:
    assert adjusted(np.array(GOLDEN["lmfit"]["p"])) == pytest.approx(GOLDEN["lmfit"]["q"], **TWELVE_DIGITS)


def test_an_undefined_p_has_no_q_and_does_not_count() -> None:
    q = adjusted(np.array([0.01, np.nan, 0.5]))
    assert np.isnan(q[1])
    assert q[[0, 2]] == pytest.approx([0.02, 0.5])


def test_a_patient_without_a_value_is_left_out_of_that_gene_alone() -> None:
    rng = np.random.default_rng(3)
    values, first = rng.normal(size=(20, 3)), np.arange(20) < 9
    values[[0, 12], 1] = np.nan
    result = differences(values, names(3), first, shuffles=0)
    expected = stats.ttest_ind(values[first, 1], values[~first, 1], equal_var=False, nan_policy="omit")
    assert result.table.loc["g1", "p"] == pytest.approx(expected.pvalue)
    assert list(result.table["n_first"]) == [9, 8, 9]


def test_constant_genes_and_those_with_too_few_values_are_listed_and_not_tested() -> None:
    rng = np.random.default_rng(4)
    values, first = rng.normal(1e6, 1, (12, 4)), np.arange(12) < 6
    values[:, 1] = 7.3
    values[:4, 2] = np.nan
    values[:, 3] = first  # one value in each group: no spread within
    result = differences(values, names(4), first, shuffles=0)
    assert (list(result.table.index), result.constant, result.too_few) == (["g0"], ("g1", "g3"), ("g2",))


def test_without_a_difference_one_p_in_twenty_is_small_and_the_moderated_ones_too() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(90, 4000)) * np.sqrt(1 / rng.gamma(3, 1 / 3, 4000))
    result = differences(values, names(4000), np.arange(90) < 40, seed=1, shuffles=50)
    assert (result.table["p"] < 0.05).mean() == pytest.approx(0.05, abs=0.012)
    assert (result.table["moderated_p"] < 0.05).mean() == pytest.approx(0.05, abs=0.012)
    low, middle, high = result.chance
    assert low <= result.below <= high
    assert middle == pytest.approx(200, rel=0.15)
    assert not (result.table["moderated_q"] < 0.05).any()


# Spearman


@pytest.mark.parametrize(("key", "column"), [("asymptotic", "b"), ("tied", "ties")])
def test_spearmans_correlation_is_that_of_rs_cor_test(key: str, column: str) -> None:
    spearman = GOLDEN["spearman"]
    a, b = pd.DataFrame(spearman["a"]), pd.DataFrame(spearman[column])
    table = correlations("cells", a, b).table.set_index(["a", "b"])
    for j in range(4):
        row = table.loc[(str(j), str(j))]
        assert [row["rho"], row["p"]] == pytest.approx([spearman[key][0][j], spearman[key][1][j]], **TWELVE_DIGITS)


def test_rs_exact_p_of_90_patients_differs_by_less_than_one_in_a_thousand() -> None:
    spearman = GOLDEN["spearman"]
    assert spearman["asymptotic"][1] == pytest.approx(spearman["exact"][1], abs=1e-3)


def test_a_gap_leaves_a_patient_out_of_that_pair_alone_and_one_value_has_no_correlation() -> None:
    rng = np.random.default_rng(6)
    a, b = pd.DataFrame(rng.normal(size=(30, 2))), pd.DataFrame(rng.normal(size=(30, 3)))
    a.iloc[3, 0] = np.nan
    b[2] = 1.0
    result = correlations("cells", a, b)
    assert result.constant == ("2",)
    assert list(result.table["n"]) == [29, 29, 30, 30]
    keep = a[0].notna()
    expected = stats.spearmanr(a.loc[keep, 0], b.loc[keep, 1])
    row = result.table.set_index(["a", "b"]).loc[("0", "1")]
    assert [row["rho"], row["p"]] == pytest.approx([expected.statistic, expected.pvalue])


def chosen_by_status(seed: int) -> tuple[pd.DataFrame, pd.DataFrame, Candidates]:
    """Features that go with node status, and of 2,000 markers of nothing the 30 with the largest t by node status."""
    rng = np.random.default_rng(seed)
    status = np.arange(60) % 2
    features = pd.DataFrame(rng.normal(size=(60, 4)) + 1.5 * status[:, None])
    candidates = rng.normal(size=(60, 2000))
    t = np.abs(stats.ttest_ind(candidates[status == 1], candidates[status == 0]).statistic)
    markers = pd.DataFrame(candidates).iloc[:, np.argsort(-t)[:30]]
    return features, markers, Candidates(candidates, status.astype(float))


def test_chosen_markers_have_the_q_of_all_they_were_chosen_from() -> None:
    features, markers, candidates = chosen_by_status(1)
    result = correlations("lncrna", features, markers, candidates=candidates).table.set_index(["a", "b"])
    everything = correlations("lncrna", features, pd.DataFrame(candidates.values)).table.set_index(["a", "b"])
    assert len(everything) == 8000
    assert result["q"].to_numpy() == pytest.approx(everything.loc[result.index, "q"].to_numpy())


def test_a_choice_by_node_status_alone_makes_no_small_q_though_many_small_p() -> None:
    results = [correlations("lncrna", f, m, candidates=c, seed=1) for f, m, c in map(chosen_by_status, range(2, 6))]
    assert all(result.below > 3 * result.expected for result in results), "circular: P alone deceives"
    assert sum(int((result.table["q"] < 0.05).sum()) for result in results) == 0
    for result in results:
        low, _, high = result.chance
        assert low <= result.below <= high, "the exchanges choose again, and give as many"


# Gene sets


def sets_of_the_golden_table() -> tuple[Collection, list[str], list[str]]:
    genes = [f"G{n}" for n in range(20_000)]
    selected, others = genes[:208], genes[208:]
    sets = [
        GeneSet("go", f"set{n}", frozenset([*selected[: row["overlap"]], *others[: row["size"] - row["overlap"]]]))
        for n, row in enumerate(GOLDEN["sets"])
    ]
    return Collection("go", "go.gmt", "", tuple(sets), ()), genes, selected


def test_over_representation_is_rs_phyper_with_q_over_all_sets() -> None:
    collection, genes, selected = sets_of_the_golden_table()
    result = over_represented([collection], selected[:100], selected[100:], genes)
    table = result.table.set_index("term")
    for n, row in enumerate(GOLDEN["sets"]):
        assert list(table.loc[f"set{n}", ["overlap", "size"]]) == [row["overlap"], row["size"]]
        assert table.loc[f"set{n}", "p"] == pytest.approx(row["p"], rel=1e-9)
        assert table.loc[f"set{n}", "q"] == pytest.approx(row["q"], rel=1e-9), "the set without overlap counts"
    assert table["genes"]["set1"] == "G0"


def test_genes_outside_the_background_count_nowhere() -> None:
    collection = Collection(
        "go", "go.gmt", "", (GeneSet("go", "a", frozenset("ABXY")), GeneSet("go", "b", frozenset("Z"))), ()
    )
    result = over_represented([collection], ["A", "X"], [], list("ABCDE"))
    assert list(result.table[["size", "overlap"]].iloc[0]) == [2, 1]
    assert (result.selected, result.background, result.without_genes) == (1, 5, 1)


@pytest.mark.parametrize(
    ("genes", "hint"), [("ENSG1 ENSG2", "Ensembl"), ("7157 672", "Entrez"), ("Tp53 Brca1", "capital letters")]
)
def test_a_collection_with_none_of_our_genes_is_refused_with_what_may_be_wrong(genes: str, hint: str) -> None:
    collection = Collection("go", "go.gmt", "", (GeneSet("go", "a", frozenset(genes.split())),), ())
    with pytest.raises(InputRejected, match=f"none of its 1 gene sets has a gene of the 2.*{hint}"):
        over_represented([collection], [], [], ["TP53", "BRCA1"])


# Deconvolution and forest


def test_the_fractions_are_those_of_e1071s_nu_regression() -> None:
    golden = GOLDEN["svr"]
    x = np.array(golden["x"])
    signature = deconvolution.CellSignature(names(80), ("a", "b", "c", "d", "e"), x)
    result = deconvolution.fractions_of(np.array([golden["mixture"]]), names(80), signature, permutations=0)
    assert result.fractions[0] == pytest.approx(golden["weights"], abs=2e-3)
    assert result.correlation[0] == pytest.approx(golden["correlation"], abs=1e-4)
    assert result.rmse[0] == pytest.approx(golden["rmse"], abs=1e-3)


def simulated_mixtures(noise: float) -> tuple[np.ndarray, np.ndarray, deconvolution.CellSignature]:
    rng = np.random.default_rng(7)
    signature = deconvolution.CellSignature(names(120), tuple("abcdef"), rng.lognormal(4, 1.5, (120, 6)))
    fractions = rng.dirichlet(np.full(6, 1.0), 12)
    return (fractions @ signature.values.T) * rng.lognormal(0, noise, (12, 120)), fractions, signature


def test_planted_fractions_come_out_with_the_smallest_p_there_is() -> None:
    mixtures, fractions, signature = simulated_mixtures(0.1)
    result = deconvolution.fractions_of(mixtures, names(120), signature, permutations=60, workers=2)
    assert np.abs(result.fractions - fractions).mean() < 0.02
    assert result.fractions.sum(axis=1) == pytest.approx(1)
    assert result.p == pytest.approx(1 / 61)


def test_mixtures_of_nothing_have_no_small_p_and_the_same_null_however_many_workers() -> None:
    mixtures, _, signature = simulated_mixtures(0.1)
    shuffled = np.random.default_rng(8).permuted(mixtures, axis=1)
    results = [
        deconvolution.fractions_of(shuffled, names(120), signature, permutations=60, workers=w, seed=3) for w in (1, 2)
    ]
    assert (results[0].null == results[1].null).all()
    assert results[0].p.mean() > 0.2
    assert (results[0].p < 0.05).sum() <= 3


def test_a_scale_of_a_mixture_changes_nothing_and_its_order_of_genes_neither() -> None:
    mixtures, _, signature = simulated_mixtures(0.1)
    order = np.random.default_rng(9).permutation(120)
    plain = deconvolution.fractions_of(mixtures[:2], names(120), signature, permutations=0)
    other = deconvolution.fractions_of(1000 * mixtures[:2, order], [f"g{n}" for n in order], signature, permutations=0)
    assert other.fractions == pytest.approx(plain.fractions, abs=2e-3)


def test_too_few_genes_of_the_signature_are_refused_with_figures() -> None:
    mixtures, _, signature = simulated_mixtures(0.1)
    with pytest.raises(InputRejected, match="59 of the 120 genes of the signature matrix"):
        deconvolution.fractions_of(mixtures[:, :59], names(59), signature, permutations=0)
    mixtures[0, 0] = np.nan
    with pytest.raises(InputRejected, match=r"59 of the 120 .*\(1 more have empty cells\)"):
        deconvolution.fractions_of(mixtures[:, :60], names(60), signature, permutations=0)


def test_quantile_normalisation_is_that_of_preprocesscore() -> None:
    values = np.array([[5, 2, 3, 4], [4, 1, 4, 2], [3, 4, 6, 8]], dtype=float)
    expected = np.array(GOLDEN["quantiles"]).T
    assert deconvolution.quantile_normalised(values) == pytest.approx(expected, rel=1e-9)


def test_mean_decreases_in_gini_have_the_scale_of_rs_random_forest() -> None:
    golden = GOLDEN["gini"]
    expected = np.array(golden["decrease"])
    decreases = mean_decreases_in_gini(np.array(golden["x"]), np.array(golden["class"], dtype=bool), trees=500, seed=1)
    assert set(np.argsort(decreases)[-3:]) == {0, 1, 2}
    assert decreases[:3] == pytest.approx(expected[:3], rel=0.12)
    assert decreases.sum() == pytest.approx(expected.sum(), rel=0.03)
