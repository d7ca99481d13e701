"""What may be concluded: what a signature has to beat, each site by the others, and how many cases it needs."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from statsmodels.discrete.discrete_model import Logit

from pipeline.research import logistic
from pipeline.research.change.paired_tests import delta
from pipeline.research.change.pairs import Pairs
from pipeline.research.evaluation import by_site, evaluation_page, forest
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.signature import card, model_card
from pipeline.signature.sample_size import cases_needed, cox_snell
from tests.support.signature_tables import FAST, clinical, feature, frame, table, trained

VOLUME = "t1c.tumor.original_shape_MeshVolume"
TRAINING = clinical(frame(80, effect=0.8))
SIGNATURE = trained(TRAINING)


def _external(cases: int = 120, **columns: object) -> pd.DataFrame:
    data = clinical(frame(cases, effect=0.8, seed=5, prefix="external"))
    rng = np.random.default_rng(7)
    return data.assign(**{VOLUME: rng.normal(size=cases) + 0.5 * (data["nodes"] == "R"), **columns})


def _row(data: pd.DataFrame) -> dict[str, object]:
    return evaluate(SIGNATURE, {"external": table(data)}, Questions(repeats=1)).facts["cohorts"]["external"]


def test_the_signature_stands_beside_volume_and_clinical_stage_on_the_same_cases() -> None:
    data = _external()
    volume, stage, together = _row(data)["baselines"]
    positive = data["nodes"] == "R"
    assert [r["variable"] for r in (volume, stage, together)] == ["tumour volume", "clinical N", "clinical facts"]
    assert volume["auc"]["value"] == pytest.approx(roc_auc_score(positive, data[VOLUME]))
    assert stage["auc"]["value"] == pytest.approx(roc_auc_score(positive, data["clinical_n"]))
    assert volume["difference"]["value"] == pytest.approx(volume["auc_signature"]["value"] - volume["auc"]["value"])


def test_a_baseline_without_values_says_so() -> None:
    data = _external(clinical_n="")
    nothing, few = "no case of one class has a value", "too few cases, or no finite fit"
    assert [r["why_not"] for r in _row(data)["baselines"]] == [None, nothing, few]


def test_what_the_table_does_not_have_is_named() -> None:
    judged = evaluate(SIGNATURE, {"x": table(frame(60, effect=0.8, seed=5, prefix="x"))}, Questions(repeats=1))
    row = judged.facts["cohorts"]["x"]
    assert row["baselines"] == []
    assert row["baselines_missing"] == ["tumour volume", "clinical N", "clinical facts"]
    page = evaluation_page.page(judged)
    assert "Not in the table, so not compared: tumour volume, clinical N, clinical facts." in page
    assert "Beyond clinical facts: the table has none." in page


def test_clinical_facts_stand_alone_and_with_the_signature_on_held_out_cases() -> None:
    data = _external(200, ki67_percent=15).drop(columns="molecular_subtype")
    row = _row(data)
    alone, held_out = row["baselines"][2], row["beyond_clinical"]["cross_validated"]
    assert alone["auc"]["value"] == pytest.approx(held_out["auc_clinical"]["value"])
    fitted = row["beyond_clinical"]["auc_clinical"]["value"]
    # Fitted and judged on the same cases it looks better than on held-out ones.
    assert fitted - 0.1 < held_out["auc_clinical"]["value"] <= fitted + 0.01
    benefits = held_out["net_benefit"]
    assert [b["threshold"] for b in benefits] == [0.1, 0.2, 0.3, 0.4, 0.5]
    for b in benefits:
        assert b["difference"]["value"] == pytest.approx(b["with_signature"] - b["clinical"])
        assert b["difference"]["ci"][0] <= b["difference"]["value"] <= b["difference"]["ci"][1]


def test_clinical_facts_of_noise_have_no_auc_on_held_out_cases() -> None:
    rng, data = np.random.default_rng(0), _external(200)
    noise = data.drop(columns=["molecular_subtype", "clinical_n"]).assign(ki67_percent=rng.integers(0, 100, 200))
    alone = next(r for r in _row(noise)["baselines"] if r["variable"] == "clinical facts")
    assert alone["auc"]["ci"][0] < 0.5


def test_beyond_clinical_facts_several_exams_of_a_patient_are_no_more_evidence() -> None:
    data = clinical(frame(120, effect=0.1, seed=5, prefix="external")).assign(ki67_percent=15, patient_key_id="a" * 16)
    data = data.assign(clinical_n=np.arange(120) % 3).drop(columns="molecular_subtype")
    once = data.assign(patient_key=[f"p{i}" for i in range(120)])
    features = [c for c in data.columns if c.count(".") == 2]
    again = once.assign(id=[f"again{i}" for i in range(120)], **{c: once[c] * (1 + 1e-4) for c in features})
    one, two = _row(once)["beyond_clinical"], _row(pd.concat([once, again], ignore_index=True))["beyond_clinical"]
    assert (one["test"], two["test"]) == ("likelihood ratio", "score test by patient")
    assert two["likelihood_ratio"] == pytest.approx(2 * one["likelihood_ratio"], rel=0.05)
    assert np.log(two["p"]) == pytest.approx(np.log(one["p"]), rel=0.15)


def test_the_score_test_by_patient_counts_copies_once_and_keeps_its_level() -> None:
    rng, hits = np.random.default_rng(0), 0
    patients = np.repeat(np.arange(60), 2)
    for draw in range(300):
        positive = rng.random(60) < 0.5
        columns = np.column_stack([np.ones(60), rng.normal(size=60)])
        more = rng.normal(size=(60, 2))
        copied = logistic.score_test(columns[patients], more[patients], positive[patients], patients)
        assert copied is not None
        hits += stats.chi2.sf(*copied) < 0.05
        if draw == 0:
            once = logistic.score_test(columns, more, positive, np.arange(60))
            assert once is not None
            assert copied == pytest.approx(once)
            # Independent cases: near the likelihood ratio of the same columns.
            wide, narrow = (logistic.fit(c, positive) for c in (np.column_stack([columns, more]), columns))
            assert wide is not None
            assert narrow is not None
            assert once[0] == pytest.approx(2 * (wide.log_likelihood - narrow.log_likelihood), abs=0.6)
    assert hits / 300 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_what_radiomics_adds_to_clinical_facts_is_a_likelihood_ratio() -> None:
    data = _external(ki67_percent=15).drop(columns="molecular_subtype")
    found = _row(data)["beyond_clinical"]
    assert found["why_not"] is None
    assert found["n"] == 120
    assert found["p"] == pytest.approx(stats.chi2.sf(found["likelihood_ratio"], 1))
    assert found["auc_with_signature"]["value"] >= found["auc_clinical"]["value"] - 0.02


def test_a_score_of_noise_adds_nothing_to_clinical_facts() -> None:
    data = clinical(frame(120, effect=0.0, seed=11, prefix="noise")).drop(columns="molecular_subtype")
    assert _row(data)["beyond_clinical"]["p"] > 0.01


def test_facts_that_tell_the_classes_apart_alone_leave_nothing_to_ask() -> None:
    assert _row(_external())["beyond_clinical"]["why_not"] == "the regression has no finite fit"


def test_few_cases_are_too_few_for_that_question() -> None:
    found = _row(_external(30))["beyond_clinical"]
    assert "too few" in found["why_not"]


def test_logistic_regression_is_statsmodels() -> None:
    rng = np.random.default_rng(1)
    columns = np.column_stack([np.ones(150), rng.normal(size=(150, 3))])
    positive = rng.random(150) < 1 / (1 + np.exp(-columns @ [0.2, 1.0, -0.5, 0.0]))
    ours, theirs = logistic.fit(columns, positive), Logit(positive.astype(float), columns).fit(disp=0)
    assert ours is not None
    assert ours.weights == pytest.approx(theirs.params, abs=1e-6)
    assert ours.log_likelihood == pytest.approx(theirs.llf)
    assert ours.covariance == pytest.approx(theirs.cov_params(), abs=1e-6)


def test_separated_classes_have_no_finite_fit() -> None:
    x = np.arange(20.0)
    assert logistic.fit(np.column_stack([np.ones(20), x - 9.5]), x > 9.5) is None


def test_each_site_is_judged_by_a_signature_of_the_others() -> None:
    data = frame(120, effect=1.5).assign(site=np.repeat(["A", "B", "C", "D"], 30))
    # At D the label goes the other way: what the others teach is wrong there.
    turned = data["site"] == "D"
    data.loc[turned, "nodes"] = np.where(data.loc[turned, "nodes"] == "R", "N", "R")
    found = by_site.leave_one_site_out(table(data), FAST)
    aucs = {row["site"]: row["auc"]["value"] for row in found["sites"]}
    assert sorted(aucs) == ["A", "B", "C", "D"]
    assert min(aucs[s] for s in "ABC") > 0.6
    assert aucs["D"] < 0.4


def test_a_site_of_one_class_has_no_auc_and_one_site_is_no_question() -> None:
    data = TRAINING.assign(site=np.where((np.arange(80) >= 70) & (TRAINING["nodes"] == "R"), "B", "A"))
    rows = {r["site"]: r for r in by_site.leave_one_site_out(table(data), FAST)["sites"]}
    assert rows["B"]["why_not"] == "the site has one class only"
    assert by_site.leave_one_site_out(table(TRAINING.assign(site="A")), FAST) is None
    assert by_site.leave_one_site_out(table(TRAINING), FAST) is None


def test_the_forest_plot_has_each_cohort_with_its_sites_and_each_site_left_out() -> None:
    sites = ["North"] * 60 + ["南方 $x$ & <b>"] * 59 + ["Tiny"]
    training = TRAINING.assign(site=np.repeat(["A", "B"], 40))
    cohorts = {
        "training": table(training),
        "x": table(_external(site=sites)),
        "y": table(frame(40, effect=0.8, seed=9, prefix="y")),
    }
    judged = evaluate(trained(training), cohorts, Questions(repeats=1))
    facts = judged.facts["cohorts"]
    rows = forest.external([(name, facts[name]) for name in ("x", "y")])
    assert [(r.name, r.part) for r in rows] == [
        ("x", False), ("North", True), ("Tiny", True), ("南方 $x$ & <b>", True), ("y", False),
    ]  # fmt: skip
    assert rows[0].auc == (facts["x"]["auc"], *facts["x"]["ci"])
    assert (rows[2].auc, rows[2].why_not) == (None, "fewer than two cases of a class")
    assert [r.name for r in forest.each_site_by_the_others(judged.facts["leave_one_site_out"])] == ["A", "B"]
    page = evaluation_page.page(judged)
    assert "AUC of external cohorts and their sites" in page
    assert "AUC of each site by the others" in page
    # Names stay text, whole and escaped, for a font that has their letters.
    assert "↳ 南方 $x$ &amp; &lt;b&gt; (30 of 59)" in page
    assert "<b> (30" not in page


def test_a_cohort_of_one_site_has_one_line() -> None:
    facts = _row(_external(site="North"))
    assert [r.name for r in forest.external([("x", facts)])] == ["x"]


def test_the_report_shows_sites_and_baselines() -> None:
    training = table(TRAINING.assign(site=np.repeat(["A", "B"], 40)))
    signature = trained(TRAINING.assign(site=np.repeat(["A", "B"], 40)))
    page = evaluation_page.page(
        evaluate(signature, {"training": training, "x": table(_external())}, Questions(repeats=1))
    )
    assert "Each site by the others" in page
    assert "What it has to beat" in page
    assert "Beyond clinical facts (120 cases)" in page


def test_r_squared_is_that_of_a_regression_on_very_many_such_cases() -> None:
    rng = np.random.default_rng(3)
    positive = rng.random(200_000) < 0.3
    x = rng.normal(size=200_000) + positive * np.sqrt(2) * stats.norm.ppf(0.8)
    model = LogisticRegression(C=np.inf).fit(x[:, None], positive)
    p = model.predict_proba(x[:, None])[:, 1]
    explained = np.mean(np.log(np.where(positive, p, 1 - p)))
    nothing = np.mean(np.log(np.where(positive, positive.mean(), 1 - positive.mean())))
    assert cox_snell(0.8, 0.3) == pytest.approx(1 - np.exp(2 * (nothing - explained)), abs=0.005)


def test_more_candidates_need_more_cases_and_a_better_model_fewer() -> None:
    # Riley's example: 24 parameters, R squared 0.288, shrinkage 0.9: 623 cases.
    assert np.ceil(24 / (-0.1 * np.log(1 - 0.288 / 0.9))) == 623
    assert cases_needed(50, 0.8, 0.4) > 2 * cases_needed(24, 0.8, 0.4) - 2
    assert cases_needed(24, 0.9, 0.4) < cases_needed(24, 0.7, 0.4)
    with pytest.raises(ValueError, match=r"between 0\.5 and 1"):
        cases_needed(24, 0.5, 0.4)


def test_the_card_tells_events_per_candidate() -> None:
    assert f"40 cases of the smaller class for {card.candidates(SIGNATURE)} candidate columns" in model_card.markdown(
        SIGNATURE
    )


def test_the_signed_rank_test_is_exact_where_it_can_be() -> None:
    rng = np.random.default_rng(2)
    before = rng.normal(size=(12, 3))
    after = before + rng.normal(size=(12, 3)) + 0.5
    after[0, 1], after[1, 1] = before[0, 1] + 1, before[1, 1] + 1  # two changes of one size
    columns = tuple(feature(j) for j in range(3))
    found = delta(Pairs(columns, before, after, 0, 0, 0, ("", "")), "wilcoxon").features["p"]
    for j in range(3):
        ranks = stats.rankdata(np.abs(after[:, j] - before[:, j]))
        signs = np.array(list(itertools.product((0, 1), repeat=12)))
        sums, seen = signs @ ranks, ranks[after[:, j] > before[:, j]].sum()
        least = min(seen, ranks.sum() - seen)
        assert found.iloc[j] == pytest.approx(min(1, 2 * np.mean(sums <= least + 1e-9)))


def test_the_signed_rank_test_is_exact_with_ties_of_more_patients_too() -> None:
    rng = np.random.default_rng(5)
    change = rng.integers(-3, 5, size=(40, 2)).astype(float)
    change[:, 0] = rng.normal(size=40) + 0.3
    columns = tuple(feature(j) for j in range(2))
    found = delta(Pairs(columns, np.zeros((40, 2)), change, 0, 0, 0, ("", "")), "wilcoxon").features
    expected = stats.wilcoxon(change[:, 0], method="exact")
    assert found["statistic"].iloc[0] == expected.statistic
    assert found["p"].iloc[0] == pytest.approx(expected.pvalue)
    tied = change[change[:, 1] != 0, 1]
    ranks = stats.rankdata(np.abs(tied))
    sums = np.where(rng.random((200_000, len(tied))) < 0.5, 1, -1) @ ranks
    drawn = float(np.mean(np.abs(sums) >= abs((np.sign(tied) * ranks).sum()) - 1e-9))
    assert found["p"].iloc[1] == pytest.approx(drawn, abs=0.004)
    assert abs(stats.wilcoxon(tied, method="approx").pvalue - drawn) > 0.004
