"""One exam: a probability with its reasons, or a refusal with its reason."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import Classifier, SignatureSettings, Training
from pipeline.errors import FeatureRejected, InputRejected, OutsideTraining
from pipeline.research.training import estimators
from pipeline.research.training.train import train
from pipeline.signature import classifiers, conformal, container, predict, prediction
from tests.support.signature_tables import FAST, GROUPS, clinical, feature, features, frame, trained

DATA = frame(cases=80)
SIGNATURE = trained(DATA, name="axilla", positive_class="ALN metastasis")
ONE = features(DATA, 0)


def test_a_prediction_names_its_class_and_its_signature() -> None:
    found = predict(SIGNATURE, ONE)
    assert (found.signature, found.positive_class) == ("axilla@1", "ALN metastasis")
    assert found.category == "high"
    assert found.in_training_range
    assert found.conformal_set == ("ALN metastasis",)
    assert predict(SIGNATURE, features(DATA, 1)).conformal_set == ("no ALN metastasis",)


def test_more_positive_cases_than_not_are_ranked_right() -> None:
    scores = np.array([predict(SIGNATURE, features(DATA, i)).probability for i in range(20)])
    assert scores[::2].min() > scores[1::2].max()


def test_a_missing_feature_is_not_evaluated_and_says_why() -> None:
    name = SIGNATURE.features[0]
    without = {k: v for k, v in ONE.items() if k != name}
    with pytest.raises(FeatureRejected, match=f"{name}: the region has one voxel"):
        predict(SIGNATURE, without, missing={name: "the region has one voxel"})


def test_a_feature_that_is_no_number_counts_as_missing() -> None:
    with pytest.raises(FeatureRejected):
        predict(SIGNATURE, {**ONE, SIGNATURE.features[0]: float("nan")})


def test_features_it_does_not_read_do_not_matter() -> None:
    assert predict(SIGNATURE, {**ONE, "t2.tumor.original_glcm_Other": 1e9}) == predict(SIGNATURE, ONE)


def test_a_little_outside_is_said() -> None:
    name = SIGNATURE.features[0]
    high = SIGNATURE.array("range_high")[0]
    found = predict(SIGNATURE, {**ONE, name: high + 0.01}, settings=SignatureSettings(max_outside=0.5))
    assert not found.in_training_range
    assert any(name in note for note in found.notes)


def test_many_features_outside_are_not_evaluated_and_named() -> None:
    out = {**ONE, **{n: h + 0.01 for n, h in zip(SIGNATURE.features[:4], SIGNATURE.array("range_high"), strict=False)}}
    with pytest.raises(OutsideTraining, match=r"outside what the signature was trained on: 4 of \d+ features") as error:
        predict(SIGNATURE, out)
    assert all(name in error.value.message for name in SIGNATURE.features[:4])


def test_far_away_is_not_evaluated_even_by_one_feature() -> None:
    name = SIGNATURE.features[0]
    with pytest.raises(OutsideTraining, match=rf"times the 99 % training distance.*most of all {name}"):
        predict(SIGNATURE, {**ONE, name: 1e6}, settings=SignatureSettings(max_outside=1))


def test_features_that_contradict_each_other_are_far_although_each_is_in_range() -> None:
    rng = np.random.default_rng(0)
    data = frame(cases=120, groups=("t1c.tumor",))
    data[feature(1)] = data[feature(0)] + rng.normal(0, 0.1, 120)
    signature = trained(data)
    odd = features(data, 0)
    odd[feature(0)] = float(data[feature(0)].max())
    odd[feature(1)] = float(data[feature(1)].min())
    with pytest.raises(OutsideTraining, match="training distance"):
        predict(signature, odd)


def test_an_unseen_protocol_is_said() -> None:
    data = DATA.assign(**{"manufacturer": "SIEMENS", "protocol.t1c.spacing_z_mm": 1.5, "field_strength_t": 3})
    signature = trained(data)
    seen = {"manufacturer": "Siemens", "protocol.t1c.spacing_z_mm": 1.5, "field_strength_t": 3.0}
    assert predict(signature, ONE, protocol=seen).in_training_range
    found = predict(signature, ONE, protocol={**seen, "manufacturer": "GE", "protocol.t1c.spacing_z_mm": 4.0})
    assert not found.in_training_range
    assert "manufacturer GE (trained on SIEMENS)" in found.notes[-1]
    assert "t1c.spacing_z_mm 4 (trained on 1.5 to 1.5)" in found.notes[-1]


def test_features_of_other_extraction_settings_are_refused() -> None:
    signature = trained(DATA.assign(extraction_hash="abc"))
    assert predict(signature, ONE, protocol={"extraction_hash": "abc"})
    with pytest.raises(FeatureRejected, match="other extraction settings"):
        predict(signature, ONE, protocol={"extraction_hash": "def"})


def test_a_demonstration_says_so_every_time() -> None:
    assert "demonstration" in predict(trained(DATA, demonstration=True), ONE).notes[0]


def test_another_positive_class_is_refused() -> None:
    SIGNATURE.require_positive("R")
    SIGNATURE.require_positive("ALN metastasis")
    with pytest.raises(InputRejected, match="the positive class of axilla@1 is ALN metastasis, not N"):
        SIGNATURE.require_positive("N")


def test_exchanging_the_classes_gives_the_complement() -> None:
    recipe = FAST.model_copy(update={"classifier": "logistic"})
    from tests.support.signature_tables import table

    one = predict(train(table(DATA), recipe), ONE).probability
    other = predict(train(table(DATA, positive="N"), recipe), ONE).probability
    assert one + other == pytest.approx(1, abs=1e-4)


def test_clinical_data_that_is_missing_is_named() -> None:
    data = clinical(DATA)
    signature = trained(data, FAST.model_copy(update={"clinical": ("clinical_n", "molecular_subtype")}))
    told = {"clinical_n": "N1", "molecular_subtype": "Triple negative"}
    found = predict(signature, ONE, clinical=told)
    assert found.clinical_used == ("clinical_n", "molecular_subtype")
    with pytest.raises(FeatureRejected, match="needs clinical data that are missing: clinical_n") as error:
        predict(signature, ONE, clinical={"molecular_subtype": "luminal A"})
    assert error.value.code == "missing-clinical"


@pytest.mark.parametrize("kind", get_args(Classifier))
def test_contributions_add_up_to_the_decision(kind: str) -> None:
    rng = np.random.default_rng(1)
    positive = np.arange(60) % 2 == 0
    values = rng.normal(size=(60, 7)) + positive[:, None]
    model = estimators.fit(values, positive, Training.model_validate({"classifier": kind, "trees": 20}))
    for row in rng.normal(size=(10, 7)) * 2:
        base, parts = classifiers.contributions(model, row)
        assert base + parts.sum() == pytest.approx(classifiers.decision(model, row[None])[0], abs=1e-9)


def test_a_column_that_makes_no_difference_contributes_nothing() -> None:
    rng = np.random.default_rng(1)
    positive = np.arange(60) % 2 == 0
    values = np.column_stack([rng.normal(size=60) + positive, np.zeros(60)])
    model = estimators.fit(values, positive, Training())
    _, parts = classifiers.contributions(model, np.array([1.5, 0.0]))
    assert parts[1] == 0
    assert parts[0] > 0


def test_the_five_largest_contributions_are_reported_in_order() -> None:
    found = predict(SIGNATURE, ONE).top_features
    assert len(found) == 5
    sizes = [abs(c.contribution) for c in found]
    assert sizes == sorted(sizes, reverse=True)
    assert found[0].value == ONE[found[0].name]


def test_a_category_contributes_under_its_own_name() -> None:
    assert prediction.by_variable(("a", "s=x", "s=y"), np.array([1.0, 2.0, -0.5])) == {"a": 1.0, "s": 1.5}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.floats(0.02, 0.5), st.integers(0, 1000))
def test_the_band_is_the_definition_of_conformal_p_values(cases: int, alpha: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    high, low = np.sort(rng.beta(3, 2, cases)), np.sort(rng.beta(2, 3, cases))
    signature = container.Signature(SIGNATURE.header, {**SIGNATURE.arrays, "oof_positive": high, "oof_negative": low})
    found = conformal.band(signature, alpha)
    if cases < conformal.cases_needed(alpha):
        assert isinstance(found, str)
        return
    assert isinstance(found, conformal.Band)
    for p in rng.random(20):
        p_positive = (1 + np.sum(high <= p)) / (cases + 1)
        p_negative = (1 + np.sum(low >= p)) / (cases + 1)
        assert found.classes(p) == (p_positive > alpha - 1e-12, p_negative > alpha - 1e-12) or (
            min(abs(p_positive - alpha), abs(p_negative - alpha)) < 1e-9
        )


def test_the_band_keeps_its_error_rate_on_new_cases() -> None:
    signature = trained(frame(cases=200, effect=0.35, groups=("t1c.tumor", "t2.tumor")))
    new = frame(cases=400, effect=0.35, groups=("t1c.tumor", "t2.tumor"), seed=9)
    band = conformal.band(signature, 0.2)
    assert isinstance(band, conformal.Band)
    raw = new[list(signature.header.columns)].to_numpy()
    _, p = prediction.score(signature, raw)
    positive = (new["nodes"] == "R").to_numpy()
    assert np.mean(p[positive] < band.lowest_positive) < 0.3
    assert np.mean(p[~positive] > band.highest_negative) < 0.3


def test_both_labels_and_no_label_are_indeterminate() -> None:
    wide = container.Signature(
        SIGNATURE.header,
        {**SIGNATURE.arrays, "oof_positive": np.linspace(0.1, 0.9, 40), "oof_negative": np.linspace(0.1, 0.9, 40)},
    )
    category, facts, _ = prediction._category(wide, 0.5, 0.1)
    assert category == "indeterminate"
    assert len(facts["conformal_set"]) == 2
    apart = container.Signature(
        SIGNATURE.header,
        {**SIGNATURE.arrays, "oof_positive": np.linspace(0.9, 1, 40), "oof_negative": np.linspace(0, 0.1, 40)},
    )
    category, facts, _ = prediction._category(apart, 0.5, 0.1)
    assert category == "indeterminate"
    assert facts["conformal_set"] == ()


def test_too_few_calibration_cases_refuse_the_band_and_leave_the_cutoff() -> None:
    found = predict(SIGNATURE, ONE, settings=SignatureSettings(alpha=0.01))
    assert found.conformal_set is None
    assert found.category == "high"
    assert "no conformal band at error rate 0.01: 40 positive cases, 99 are needed" in found.notes


@pytest.mark.parametrize(("alpha", "needed"), [(0.5, 1), (0.2, 4), (0.1, 9), (0.05, 19), (0.3, 3)])
def test_cases_needed_is_the_ceiling_of_one_over_alpha_less_one(alpha: float, needed: int) -> None:
    assert conformal.cases_needed(alpha) == needed


def test_all_groups_are_inputs() -> None:
    assert SIGNATURE.inputs == set(GROUPS)
