"""The recipe: every step against the library or formula it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from config.schema import Classifier, Training
from pipeline.errors import InputRejected
from pipeline.research import metrics
from pipeline.research.tables import design
from pipeline.research.training import calibration_fit, estimators, fitting, selection
from pipeline.research.training.train import train
from pipeline.signature import calibration, classifiers, prediction
from pipeline.signature.container import load, save, to_bytes
from tests.support.signature_tables import FAST, GROUPS, clinical, feature, frame, table, trained

RNG = np.random.default_rng(3)
POSITIVE = np.arange(60) % 2 == 0
VALUES = RNG.normal(size=(60, 12)) + POSITIVE[:, None] * 0.6


def test_the_same_table_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = save(trained(), tmp_path / "a.axsig"), save(trained(), tmp_path / "b.axsig")
    assert first.sha256 == second.sha256
    assert (tmp_path / "a.axsig").read_bytes() == (tmp_path / "b.axsig").read_bytes()


def test_another_seed_gives_another_file() -> None:
    other = FAST.model_copy(update={"seed": 7})
    assert to_bytes(trained()) != to_bytes(trained(recipe=other))


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("svm", SVC(C=1.0, gamma=1 / 12)),
        ("logistic", LogisticRegression(max_iter=10000)),
        ("forest", RandomForestClassifier(n_estimators=30, random_state=20210628)),
        ("boosting", GradientBoostingClassifier(random_state=20210628)),
    ],
)
def test_a_classifier_kept_as_arrays_decides_as_scikit_learn_does(kind: str, reference: object) -> None:
    model = estimators.fit(VALUES, POSITIVE, Training.model_validate({"classifier": kind, "trees": 30}))
    new = RNG.normal(size=(40, 12))
    reference.fit(VALUES, POSITIVE.astype(int))
    expected = reference.predict_proba(new)[:, 1] - 0.5 if kind == "forest" else reference.decision_function(new)
    np.testing.assert_allclose(classifiers.decision(model, new), expected, rtol=0, atol=1e-12)


def test_many_cases_at_once_decide_as_one_by_one() -> None:
    model = estimators.fit(VALUES, POSITIVE, Training())
    many = RNG.normal(size=(40000, 12))
    np.testing.assert_allclose(
        classifiers.decision(model, many)[:5], classifiers.decision(model, many[:5]), rtol=0, atol=1e-12
    )


def test_welch_is_scipys() -> None:
    expected = stats.ttest_ind(VALUES[POSITIVE], VALUES[~POSITIVE], equal_var=False).pvalue
    np.testing.assert_allclose(selection.welch_p(VALUES, POSITIVE), expected, rtol=1e-12)


def test_welch_of_a_class_of_one_case_tells_nothing() -> None:
    alone = np.arange(len(POSITIVE)) == 0
    assert selection.welch_p(VALUES, alone).tolist() == [1.0] * VALUES.shape[1]
    assert selection.welch_p(VALUES, ~alone).tolist() == [1.0] * VALUES.shape[1]


def test_welch_of_constant_classes_is_certain_or_nothing() -> None:
    values = np.column_stack([POSITIVE.astype(float), np.ones(60)])
    assert selection.welch_p(values, POSITIVE).tolist() == [0.0, 1.0]


def test_the_forest_keeps_the_columns_with_the_largest_decrease_in_gini() -> None:
    recipe = Training(trees=40, top=3, t_test_p=None)
    kept, evidence = selection.select(VALUES, POSITIVE, tuple("abcdefghijkl"), ("t1c.tumor",) * 12, recipe)
    forest = RandomForestClassifier(n_estimators=40, random_state=recipe.seed).fit(VALUES, POSITIVE.astype(int))
    assert set(kept) == set(np.argsort(-forest.feature_importances_)[:3])
    assert evidence["t1c.tumor"].model_dump() == {"candidates": 12, "passed": 12, "kept": 3}


def test_fewer_than_top_that_pass_are_all_kept() -> None:
    signature = trained(recipe=FAST.model_copy(update={"top": 30}))
    for evidence in signature.header.groups.values():
        assert evidence.kept == evidence.passed


def test_platts_sigmoid_is_scikit_learns() -> None:
    from sklearn.calibration import _sigmoid_calibration

    decisions = VALUES[:, 0] * 40
    a, b = _sigmoid_calibration(decisions, POSITIVE.astype(int))
    np.testing.assert_allclose(calibration_fit.platt(decisions, POSITIVE), (a, b), rtol=1e-3, atol=1e-4)


def test_platt_never_turns_the_classes_round() -> None:
    a, b = calibration_fit.platt(-VALUES[:, 0], POSITIVE)
    assert a == 0
    assert calibration.probability(np.array([5.0]), a, b)[0] == pytest.approx(0.5)


class _Recipe(ClassifierMixin, BaseEstimator):
    """The whole recipe as a scikit-learn estimator."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> _Recipe:
        columns = tuple(f"c{i}" for i in range(X.shape[1]))
        self.classes_ = np.unique(y)
        self.fitted_ = fitting.fit(X, y == 1, columns, ("t1c.tumor",) * X.shape[1], FAST)
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        return self.fitted_.decision(X)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return (self.decision_function(X) > 0).astype(int)


def test_calibration_is_calibrated_classifier_cv_with_selection_inside() -> None:
    data = frame(groups=("t1c.tumor",))
    signature = trained(data)
    cases = design.for_training(table(data), FAST)
    folds = StratifiedKFold(FAST.folds, shuffle=True, random_state=FAST.seed)
    reference = CalibratedClassifierCV(_Recipe(), ensemble=False, cv=folds).fit(
        cases.values, cases.positive.astype(int)
    )
    raw = design.matrix(table(data), signature.header.columns, ())
    _, ours = prediction.score(signature, raw)
    np.testing.assert_allclose(ours, reference.predict_proba(cases.values)[:, 1], atol=2e-4)


def test_youden_maximises_sensitivity_plus_specificity() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7])
    positive = np.array([False, False, False, True, False, True])
    assert calibration_fit.youden(scores, positive) == pytest.approx(0.35)


def test_scaling_twice_is_what_a_pipeline_of_two_scalers_does() -> None:
    fitted = fitting.fit(
        VALUES,
        POSITIVE,
        tuple("abcdefghijkl"),
        ("t1c.tumor",) * 12,
        FAST.model_copy(update={"t_test_p": None, "top": None}),
    )
    reference = make_pipeline(StandardScaler(), StandardScaler()).fit(VALUES)
    # scikit-learn divides by n, R's scale and we by n - 1
    np.testing.assert_allclose(
        fitted.scaling.apply(VALUES), reference.transform(VALUES) * np.sqrt(59 / 60), rtol=1e-10, atol=1e-12
    )


def test_a_case_is_scored_the_same_alone_and_in_company() -> None:
    data = frame()
    signature = trained(data)
    raw = design.matrix(table(data), signature.header.columns, ())
    together, _ = prediction.score(signature, raw)
    alone, _ = prediction.score(signature, raw[7:8])
    assert alone[0] == pytest.approx(together[7], abs=1e-12)


def test_a_planted_effect_is_found() -> None:
    signature = trained(frame(cases=120, effect=1.2))
    planted = {feature(j, g) for g in GROUPS for j in (0, 1)}
    assert planted <= set(signature.features)
    found = signature.header.out_of_fold
    assert found is not None
    assert found.auc > 0.9


def test_the_recipe_of_the_paper_cuts_by_resubstitution() -> None:
    data = frame(effect=0.5)
    signature = trained(data, FAST.model_copy(update={"recipe": "paper"}))
    raw = design.matrix(table(data), signature.header.columns, ())
    _, probabilities = prediction.score(signature, raw)
    assert signature.header.out_of_fold is None
    assert signature.header.cutoff == pytest.approx(
        calibration_fit.youden(probabilities, np.array(data["nodes"] == "R")), abs=1e-12
    )


def test_nothing_that_passes_is_refused_with_the_counts() -> None:
    with pytest.raises(
        InputRejected, match=r"no column passes Welch's t test at P < 1e-09 in any group \(t1c.tumor: 0"
    ):
        trained(frame(effect=0.0, groups=("t1c.tumor",)), FAST.model_copy(update={"t_test_p": 1e-9}))


def test_constant_columns_are_dropped_and_listed() -> None:
    data = frame().assign(**{"t2.tumor.original_glcm_MCC": 1.0})
    signature = trained(data)
    assert signature.header.constant_columns == ("t2.tumor.original_glcm_MCC",)
    assert "t2.tumor.original_glcm_MCC" not in signature.features


@pytest.mark.parametrize(
    ("changes", "inputs"),
    [
        ({"rois": ("lymph_nodes",)}, {"t1c.lymph_nodes", "t2.lymph_nodes", "adc.lymph_nodes"}),
        ({"sequences": ("t1c",)}, {"t1c.tumor", "t1c.lymph_nodes"}),
        ({"sequences": ("t1c", "adc"), "rois": ("tumor",)}, {"t1c.tumor", "adc.tumor"}),
    ],
)
def test_a_variant_reads_only_its_own_inputs(changes: dict[str, object], inputs: set[str]) -> None:
    assert trained(recipe=FAST.model_copy(update=changes)).inputs == inputs


def test_a_sequence_that_is_asked_for_and_absent_is_refused() -> None:
    recipe = FAST.model_copy(update={"sequences": ("t1c", "adc")})
    with pytest.raises(InputRejected, match="no features of adc"):
        trained(frame(groups=("t1c.tumor",)), recipe)


def test_exams_that_lack_an_unused_sequence_do_no_harm() -> None:
    data = frame()
    data.loc[:20, [c for c in data.columns if c.startswith("adc.")]] = np.nan
    assert trained(data, FAST.model_copy(update={"sequences": ("t1c", "t2")})).header.incomplete_cases_left_out == 0


def test_clinical_columns_join_after_their_own_test() -> None:
    recipe = FAST.model_copy(update={"clinical": ("age_years", "clinical_n", "ki67_percent", "molecular_subtype")})
    signature = trained(clinical(frame()), recipe)
    assert set(signature.header.clinical) == {"clinical_n", "ki67_percent", "molecular_subtype"}
    assert "molecular_subtype=triple-negative" in signature.header.columns
    assert {"clinical_n", "ki67_percent", "molecular_subtype"} <= signature.inputs


@pytest.mark.parametrize("kind", get_args(Classifier))
def test_every_classifier_goes_through_a_file(kind: str, tmp_path: Path) -> None:
    data = frame()
    signature = trained(data, FAST.model_copy(update={"classifier": kind}))
    save(signature, tmp_path / "s.axsig")
    raw = design.matrix(table(data), signature.header.columns, ())
    before, after = prediction.score(signature, raw)[0], prediction.score(load(tmp_path / "s.axsig"), raw)[0]
    np.testing.assert_array_equal(before, after)
    assert metrics.auc(after, np.array(data["nodes"] == "R")) > 0.9


@pytest.mark.cases
def test_the_papers_training_auc_is_reproduced(cases: Path) -> None:
    from pipeline.research.tables.feature_table import read

    published = read(cases / "paper" / "fig2b_training.csv", label="NR", positive="R", foreign_columns=True)
    signature = train(published, Training(recipe="paper", t_test_p=None, top=None))
    decisions, _ = prediction.score(signature, design.matrix(published, signature.header.columns, ()))
    assert metrics.auc(decisions, published.positive) == pytest.approx(0.877, abs=0.001)
