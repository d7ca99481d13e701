"""What is said of a signature: figures against their definitions, verdicts, and a report that stands alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from statsmodels.discrete.discrete_model import Logit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from config.schema import Training
from pipeline.errors import InputRejected, OutsideTraining
from pipeline.research import calibration, metrics
from pipeline.research.evaluation import evaluation_page, figures, scored_cohort, subgroups
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.research.tables.feature_table import Table
from pipeline.signature import card, model_card
from pipeline.signature.prediction import predict
from pipeline.signature.record import Signature
from tests.support.signature_tables import FAST, clinical, frame, table, trained

TRAINING = frame(cases=80, effect=0.8)
SIGNATURE = trained(TRAINING)
QUICK = Questions(repeats=2)


def _external(effect: float = 0.8, cases: int = 60, seed: int = 5, **columns: object) -> Table:
    data = frame(cases, effect=effect, seed=seed, prefix=f"external{seed}-").assign(**columns)
    return table(data, name="external.csv")


def _turned(seed: int = 6) -> Table:
    data = frame(60, effect=0.8, seed=seed, prefix="turned")
    return table(data.assign(nodes=np.where(data["nodes"] == "R", "N", "R")), name="turned.csv")


def _scored(signature: Signature = SIGNATURE, one: Table | None = None) -> scored_cohort.Scored:
    return scored_cohort.score(signature, "external", one or _external(), complete_cases=False)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_the_auc_is_scikit_learns_with_and_without_ties(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    positive = np.arange(30) % 3 == 0
    scores = rng.normal(size=30).round(1 if ties else 9)
    expected = roc_auc_score(positive, scores)
    assert metrics.auc(scores, positive) == pytest.approx(expected)
    assert metrics.delong(scores, positive).value == pytest.approx(expected)


def test_delongs_variance_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(40) % 2 == 0
    a = rng.normal(size=40).round(1) + positive
    b = rng.normal(size=40).round(1) + 0.5 * positive

    def psi(scores: np.ndarray) -> np.ndarray:
        x, y = scores[positive][:, None], scores[~positive][None, :]
        return (x > y) + 0.5 * (x == y)

    def error(matrix: np.ndarray) -> float:
        rows, columns = matrix.mean(axis=1), matrix.mean(axis=0)
        return float(np.sqrt(rows.var(ddof=1) / len(rows) + columns.var(ddof=1) / len(columns)))

    found = metrics.delong(a, positive)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error(psi(a)), rel=1e-5)
    difference, _ = metrics.delong_difference(a, b, positive)
    assert (difference.high - difference.low) / 2 == pytest.approx(1.959964 * error(psi(a) - psi(b)), rel=1e-5)


def test_delong_finds_no_difference_between_a_score_and_itself() -> None:
    one = _scored()
    assert metrics.delong_difference(one.decisions, one.decisions, one.positive)[1] == 1.0


def test_wilson_and_mcnemar_are_statsmodels() -> None:
    found = metrics.wilson(17, 23)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(proportion_confint(17, 23, method="wilson"))
    a, b = np.array([1, 1, 1, 0, 0, 1, 1, 1] * 4, bool), np.array([1, 0, 0, 1, 0, 1, 0, 1] * 4, bool)
    both = [[int((a & b).sum()), int((a & ~b).sum())], [int((~a & b).sum()), int((~a & ~b).sum())]]
    assert metrics.mcnemar(a, b) == (12, 4, pytest.approx(mcnemar(both, exact=True).pvalue))


def test_a_perfectly_calibrated_score_has_slope_one_and_intercept_nothing() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(40000)
    line = calibration.calibration(p, rng.random(40000) < p)
    assert line is not None
    assert line.slope.value == pytest.approx(1, abs=0.05)
    assert line.intercept.value == pytest.approx(0, abs=0.05)
    assert line.in_the_large.value == pytest.approx(0, abs=0.05)


def test_slope_and_intercepts_with_their_intervals_are_statsmodels() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(200)
    positive = rng.random(200) < 0.6 * p + 0.1
    line, x = calibration.calibration(p, positive), np.log(p / (1 - p))
    assert line is not None
    both = Logit(positive.astype(float), np.column_stack([x, np.ones(200)])).fit(disp=0)
    large = GLM(positive.astype(float), np.ones(200), family=Binomial(), offset=x).fit()
    for ours, theirs, k in ((line.slope, both, 0), (line.intercept, both, 1), (line.in_the_large, large, 0)):
        assert ours.value == pytest.approx(theirs.params[k], abs=1e-6)
        assert (ours.low, ours.high) == pytest.approx(tuple(theirs.conf_int()[k]), abs=1e-5)


@pytest.mark.parametrize("p", [np.full(8, 0.3), np.repeat([0.1, 0.9], 4)])
def test_equal_or_separating_probabilities_have_no_calibration_line(p: np.ndarray) -> None:
    assert calibration.calibration(p, np.arange(8) >= 4) is None


def test_the_smooth_curve_stays_near_the_truth_and_its_band_holds_it() -> None:
    rng = np.random.default_rng(4)
    p = rng.random(400)
    curve = calibration.smooth_curve(p, rng.random(400) < p)
    middle = curve[(curve["predicted"] > 0.1) & (curve["predicted"] < 0.9)]
    assert (middle["observed"] - middle["predicted"]).abs().max() < 0.15
    inside = (middle["observed_low"] <= middle["predicted"]) & (middle["predicted"] <= middle["observed_high"])
    assert inside.mean() > 0.8


def test_a_signature_that_gives_everyone_the_same_probability_has_its_figure_all_the_same() -> None:
    flat = replace(_scored(), probabilities=np.full(60, 0.5))
    assert calibration.smooth_curve(flat.probabilities, flat.positive).empty
    assert figures.calibration(flat).startswith("<svg")


def test_what_the_signature_was_fitted_to_is_shown_apart_and_never_in_parts() -> None:
    training = clinical(TRAINING).assign(reading=TRAINING["nodes"])
    signature = trained(training)
    found = evaluate(signature, {"training": table(training), "external": _external()}, QUICK)
    row = found.facts["cohorts"]["training"]
    assert "subgroups" not in row
    assert "reading" not in row
    assert not {
        name for name in found.tables if name.startswith(("calibration", "decision_curve")) and "training" in name
    }
    page = evaluation_page.page(found)
    assert page.index("nested cross-validation") < page.index("Cohort external") < page.index("resubstitution")


def test_the_band_of_the_net_benefit_holds_it() -> None:
    from pipeline.research.evaluation.curves import decision_curve_table

    curve = decision_curve_table(_scored())
    ours = curve[curve["model"] == "signature"]
    held = (ours["net_benefit_low"] <= ours["net_benefit"]) & (ours["net_benefit"] <= ours["net_benefit_high"])
    assert held.mean() > 0.95
    assert curve[curve["model"] != "signature"]["net_benefit_low"].isna().all()


def test_evaluation_has_the_shape_that_others_read() -> None:
    found = evaluate(SIGNATURE, {"training": table(TRAINING), "external": _external()}, QUICK)
    facts = json.loads(json.dumps(found.facts, allow_nan=False))
    assert 0.6 < facts["nested_cv"]["auc"] <= 1
    assert facts["nested_cv"]["ci"][0] < facts["nested_cv"]["auc"] < facts["nested_cv"]["ci"][1] + 1e-9
    row = facts["cohorts"]["external"]
    assert row["n"] == 60
    assert row["orientation"] == "as trained"
    assert row["auc"] == pytest.approx(roc_auc_score(_scored().positive, _scored().decisions))
    assert row["average_precision"] == pytest.approx(average_precision_score(_scored().positive, _scored().decisions))


def test_without_its_training_table_there_is_no_nested_auc() -> None:
    assert evaluate(SIGNATURE, {"external": _external()}, QUICK).facts["nested_cv"] is None


def test_the_cohort_it_was_trained_on_is_no_external_evidence() -> None:
    facts = evaluate(SIGNATURE, {"training": table(TRAINING)}, QUICK).facts
    assert card.external(facts) == {}


def test_a_turned_round_cohort_is_called_inverted_loudly() -> None:
    found = evaluate(SIGNATURE, {"turned": _turned()}, QUICK)
    assert [v for v, _ in card.verdicts(found.facts)] == ["inverted"]
    assert '<p class="loud">INVERTED on cohort turned' in evaluation_page.page(found)
    assert "INVERTED" in model_card.markdown(SIGNATURE, found.facts)


def test_a_cohort_of_noise_is_called_no_evidence() -> None:
    found = evaluate(SIGNATURE, {"noise": _external(effect=0.0, seed=8)}, QUICK)
    assert [v for v, _ in card.verdicts(found.facts)] == ["no evidence"]


def test_a_patient_in_two_cohorts_is_refused_with_the_rows() -> None:
    with pytest.raises(InputRejected, match="the same patient is in two cohorts: a row 1 and b row 1"):
        evaluate(SIGNATURE, {"a": _external(), "b": _external()}, QUICK)


def test_a_training_patient_in_another_cohort_is_refused() -> None:
    by_id = frame(60, effect=0.8, seed=5, prefix="external").assign(id=lambda d: ["case3", *d["id"][1:]])
    with pytest.raises(InputRejected, match="shares 1 patients with the training cohort: rows 1"):
        evaluate(SIGNATURE, {"external": table(by_id)}, QUICK)


def test_a_training_case_under_another_id_is_pointed_at_and_makes_the_cohort_no_evidence() -> None:
    renamed = pd.concat([frame(60, effect=0.8, seed=5, prefix="external"), TRAINING.iloc[[6]].assign(id="renamed")])
    found = evaluate(SIGNATURE, {"external": table(renamed)}, QUICK)
    assert found.facts["cohorts"]["external"]["rows_with_repeated_values"] == [61]
    told = card.limits(SIGNATURE, found.facts)
    assert any(sentence.startswith("NOT INDEPENDENT: 1 cases of cohort external have") for sentence in told)
    assert card.conclusions(found.facts)[-1].startswith("NOT INDEPENDENT: 1 cases of cohort external have")
    assert any("it cannot be activated" in sentence for sentence in told)


@pytest.mark.parametrize("given", [("training", "copy"), ("copy",), ("external", "copy")])
def test_a_cohort_that_was_saved_again_with_fewer_digits_and_new_ids_is_no_evidence(given: tuple[str, ...]) -> None:
    source = TRAINING if "external" not in given else frame(60, effect=0.8, seed=5, prefix="external")
    rounded = source.assign(id=[f"new{i}" for i in range(len(source))])
    columns = [c for c in source.columns if c.count(".") == 2]
    rounded[columns] = rounded[columns].map(lambda value: float(f"{value:.7g}"))
    tables = {"training": table(TRAINING), "external": _external(), "copy": table(rounded)}
    found = evaluate(SIGNATURE, {name: tables[name] for name in given}, QUICK)
    row = found.facts["cohorts"]["copy"]
    assert row["orientation"] == "as trained"
    assert len(row["rows_with_repeated_values"]) > 0.5 * len(source)
    assert not card.is_evidence(row)


def test_features_of_other_extraction_settings_are_refused() -> None:
    signature = trained(TRAINING.assign(extraction_hash="abc"))
    with pytest.raises(InputRejected, match="extracted with settings def"):
        evaluate(signature, {"external": _external(extraction_hash="def")}, QUICK)


def test_a_cohort_without_a_needed_column_is_refused_with_its_name() -> None:
    name = SIGNATURE.features[0]
    data = frame(60, effect=0.8, seed=5, prefix="x").drop(columns=name)
    with pytest.raises(InputRejected, match=f"missing columns: {name}"):
        evaluate(SIGNATURE, {"external": table(data)}, QUICK)


def test_incomplete_cases_are_refused_or_counted() -> None:
    data = frame(60, effect=0.8, seed=5, prefix="x")
    data.loc[2, SIGNATURE.features[0]] = np.nan
    with pytest.raises(InputRejected, match="rows 3"):
        evaluate(SIGNATURE, {"external": table(data)}, QUICK)
    found = evaluate(SIGNATURE, {"external": table(data)}, Questions(complete_cases=True))
    row = found.facts["cohorts"]["external"]
    assert (row["n"], row["incomplete_cases_left_out"]) == (59, 1)


def test_another_signature_is_compared_on_the_same_cases() -> None:
    other = trained(TRAINING, Training(trees=20, sequences=("adc",), rois=("tumor",)), name="single")
    found = evaluate(SIGNATURE, {"external": _external()}, QUICK, [other])
    (row,) = found.facts["cohorts"]["external"]["comparisons"]
    assert row["other"] == "single@1"
    assert row["difference"]["value"] > 0
    assert 0 < row["p"] < 1


def test_subgroups_cut_numbers_and_keep_categories() -> None:
    one = _scored(one=table(clinical(frame(60, effect=0.8, seed=5, prefix="x"))))
    ages = subgroups.by_column(SIGNATURE, one, "age_years")
    assert [r["level"] for r in ages] == ["< 50", ">= 50"]
    subtypes = subgroups.by_column(SIGNATURE, one, "molecular_subtype")
    assert sum(r["n"] for r in subtypes) == 60


def test_a_subgroup_of_one_class_has_no_auc_and_says_why() -> None:
    one = _scored(one=_external(site=["a"] * 59 + ["b"]))
    row = subgroups.by_column(SIGNATURE, one, "site")[1]
    assert row["auc"] is None
    assert row["why_not"] == "fewer than two cases of a class"


def test_the_number_of_positive_nodes_is_told_apart() -> None:
    nodes = np.where(np.arange(60) % 2 == 0, 1 + np.arange(60) % 5, 0)
    rows = subgroups.by_positive_nodes(_scored(one=_external(positive_nodes=nodes)))
    assert [r["positive_nodes"] for r in rows] == ["0", "1", "2", ">=3"]
    assert [r["n"] for r in rows] == [30, 6, 6, 18]


def test_a_reading_outside_the_vocabulary_is_refused_with_its_rows() -> None:
    readings = ["R"] * 59 + ["perhaps"]
    with pytest.raises(InputRejected, match=r"vocabulary \(R, N\): rows 60"):
        subgroups.against_reading(SIGNATURE, _scored(one=_external(reading=readings)), "reading")


def test_a_reader_who_is_always_right_beats_the_signature() -> None:
    one = _external(effect=0.2, reading=np.where(np.arange(60) % 2 == 0, "R", "N"))
    found = subgroups.against_reading(SIGNATURE, _scored(one=one), "reading")
    assert found["reader"]["accuracy"]["value"] == 1
    assert found["mcnemar"]["accuracy"]["only_signature_right"] == 0


def test_a_high_score_with_early_events_has_a_hazard_ratio_above_one() -> None:
    rng = np.random.default_rng(0)
    times = rng.exponential(np.where(np.arange(60) % 2 == 0, 5, 40))
    one = _external(survival_time=times, survival_event=[1, 1, 1, 0] * 15)
    found = evaluate(SIGNATURE, {"external": one}, QUICK)
    row = found.facts["cohorts"]["external"]["survival"]
    assert row["hazard_ratio_high_against_low"]["ci"][0] > 1
    assert row["logrank_p"] < 0.01
    assert [c.title for c in found.curves["external"]] == ["high score", "low score"]


def test_a_survival_event_that_is_neither_0_nor_1_is_refused_with_its_row() -> None:
    one = _external(survival_time=1.0, survival_event=[2] + [1] * 59)
    with pytest.raises(InputRejected, match="must be 0 or 1: rows 1"):
        evaluate(SIGNATURE, {"external": one}, QUICK)


def test_the_report_stands_alone_and_the_files_are_there(tmp_path: Path) -> None:
    found = evaluate(SIGNATURE, {"training": table(TRAINING), "external": _external()}, QUICK)
    evaluation_page.write_evaluation(found, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("<svg") == 10
    # It needs nothing to be seen; its links lead to files beside it.
    needs = re.sub(r'<a href="[\w.]+">', "", text)
    assert not re.search(r"<script|<link|<img|src=|href=\"(?!#)|url\((?!#)", needs)
    names = {p.name for p in tmp_path.iterdir()}
    assert {"evaluation.json", "card.json", "card.md", "nested_cv.csv", "roc_external.csv"} <= names
    scores = pd.read_csv(tmp_path / "scores_external.csv")
    assert roc_auc_score(scores["positive"], scores["probability"]) == pytest.approx(
        json.loads((tmp_path / "evaluation.json").read_text())["cohorts"]["external"]["auc"]
    )


def test_the_report_is_the_same_twice(tmp_path: Path) -> None:
    pages = [evaluation_page.page(evaluate(SIGNATURE, {"external": _external()}, QUICK)) for _ in range(2)]
    assert pages[0] == pages[1]


def test_names_in_the_report_cannot_inject_markup() -> None:
    found = evaluate(SIGNATURE, {"<b>x": _external(site="<i>here</i>")}, QUICK)
    page = evaluation_page.page(found)
    assert "<b>x" not in page
    assert "<i>here" not in page


def test_the_net_benefit_of_treating_everyone_is_its_formula() -> None:
    from pipeline.research.evaluation.curves import decision_curve_table

    curve = decision_curve_table(_scored())
    row = curve[(curve["model"] == "all") & (curve["threshold"] == 0.2)].iloc[0]
    assert row["net_benefit"] == pytest.approx(0.5 - 0.5 * 0.2 / 0.8)


def test_the_card_tells_what_limits_the_signature() -> None:
    signature = trained(
        TRAINING.assign(**{"adc.tumor.original_glcm_MCC": 1.0}),
        FAST.model_copy(update={"recipe": "paper"}),
        demonstration=True,
    )
    text = model_card.markdown(signature)
    assert "DEMONSTRATION" in text
    assert "No independent cohort of enough cases speaks for it" in text
    assert "the cutoff is from training scores" in text
    assert "adc.tumor.original_glcm_MCC" in text
    assert card.facts(signature)["constant_columns"] == ["adc.tumor.original_glcm_MCC"]


def _daemon_says(signature: Signature, cohort: scored_cohort.Scored, row: int) -> str:
    values = dict(zip(signature.header.columns, cohort.raw[row].tolist(), strict=True))
    try:
        return predict(signature, values).category
    except OutsideTraining:
        return "refused"


def test_a_cohort_is_answered_as_the_daemon_answers_each_of_its_cases() -> None:
    data = frame(60, effect=0.8, seed=5, prefix="external")
    # Every sixth case lies as far outside as another scanner would put it.
    data.loc[::6, list(SIGNATURE.features)] *= 4.0
    cohort = _scored(one=table(data))
    found = evaluate(SIGNATURE, {"external": table(data)}, QUICK).facts["cohorts"]["external"]["as_answered"]
    said = np.array([_daemon_says(SIGNATURE, cohort, row) for row in range(60)])
    assert found["refused"] == (said == "refused").sum() > 0
    assert [found[c] for c in ("high", "low", "indeterminate")] == [
        (said == c).sum() for c in ("high", "low", "indeterminate")
    ]
    wrong = ((said == "high") & ~cohort.positive) | ((said == "low") & cohort.positive)
    calls = (said == "high") | (said == "low")
    assert found["wrong_calls"] == wrong.sum()
    assert found["error_of_calls"]["value"] == pytest.approx(wrong.sum() / calls.sum())
    answered = said != "refused"
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(cohort.positive[answered], cohort.decisions[answered]))


def test_without_a_band_the_cutoff_answers() -> None:
    found = evaluate(SIGNATURE, {"external": _external()}, Questions(alpha=None)).facts["cohorts"]["external"][
        "as_answered"
    ]
    assert found["indeterminate"] == 0
    assert found["high"] + found["low"] + found["refused"] == 60
