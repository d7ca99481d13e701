"""Patients, not exams: rows of one patient are never on both sides of a fold, and are not counted as several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputRejected
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.research.evaluation.scored_cohort import score
from pipeline.research.metrics import delong, newcombe
from pipeline.research.tables import design
from pipeline.research.tables.patients import key_of, patients_of
from pipeline.research.training import fitting
from pipeline.research.training.nested import nested_cv
from pipeline.research.training.train import Identity, train
from pipeline.signature import card, clustered, container, gate
from tests.support.signature_tables import FAST, frame, table, trained

ONE_KEY = "a" * 16


def _named(data: pd.DataFrame, patients: list[str], key: str = ONE_KEY) -> pd.DataFrame:
    return data.assign(patient_key=patients, patient_key_id=key)


def _twice(data: pd.DataFrame, change: float) -> pd.DataFrame:
    """Every exam again under another id, its features changed by so much, relatively."""
    again = data.assign(id=[f"again{i}" for i in data["id"]])
    features = [c for c in data.columns if c.count(".") == 2]
    again[features] = again[features] * (1 + change * np.random.default_rng(1).normal(size=again[features].shape))
    return pd.concat([data, again], ignore_index=True)


def test_rows_with_one_key_are_one_patient() -> None:
    found = patients_of(table(_named(frame(6), ["p", "q", "p", "", "", "q"])))
    assert found.tolist() == [0, 1, 0, 2, 3, 1]


@pytest.mark.parametrize("nobody", ["", "NA", "N/A", "#N/A", " NA "])
def test_rows_without_a_patient_are_not_one_patient_and_go_by_their_id(nobody: str) -> None:
    keys = ["p", nobody, nobody, nobody, "p", nobody]
    data = _named(frame(6), keys)
    assert patients_of(table(data)).tolist() == [0, 1, 2, 3, 0, 4]
    data = data.assign(patient_key_id=[ONE_KEY if key == "p" else nobody for key in keys])
    assert key_of(table(data)) == ONE_KEY
    # The same number at two sites is no one patient where the key says that they differ.
    data = data.assign(patient_id=["1", "7", nobody, "7", "2", "1"])
    assert patients_of(table(data)).tolist() == [0, 1, 2, 1, 0, 3]


def test_two_sides_of_an_exam_are_rows_of_their_own_and_one_patient() -> None:
    data = frame(8).assign(id=[f"exam{i // 2}" for i in range(8)], side=["L", "R"] * 4)
    found = table(data)
    assert found.ids[:3] == ("exam0/L", "exam0/R", "exam1/L")
    assert patients_of(found).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    with pytest.raises(InputRejected, match="the same id in column id in rows 1 and 2"):
        table(data.assign(side="L"))


@pytest.mark.parametrize(("change", "same"), [(0.0, True), (1e-9, True), (1e-3, False)])
def test_nearly_equal_rows_are_one_patient(change: float, same: bool) -> None:
    found = patients_of(table(_twice(frame(20), change)))
    assert len(np.unique(found)) == (20 if same else 40)


def test_equal_rows_of_few_features_or_with_much_that_differs_are_not() -> None:
    few = _twice(frame(20, per_group=1, groups=("t1c.tumor", "t2.tumor")), 0.0)
    assert len(np.unique(patients_of(table(few)))) == 40
    data = _twice(frame(20), 0.0)
    features = [c for c in data.columns if c.count(".") == 2]
    data.loc[20:, features[:5]] += 1.0
    assert len(np.unique(patients_of(table(data)))) == 40


@given(st.lists(st.integers(0, 12), min_size=30, max_size=60), st.integers(0, 5))
def test_no_patient_is_on_both_sides_of_a_fold(patients: list[int], seed: int) -> None:
    numbers = np.array(patients)
    positive = numbers % 2 == 0
    try:
        parts = list(fitting.folds(positive, 3, seed, numbers))
    except InputRejected:
        assert min(len(set(numbers[positive])), len(set(numbers[~positive]))) < 6
        return
    for training, held_out in parts:
        assert not set(numbers[training]) & set(numbers[held_out])
        assert 0 < positive[held_out].sum() < len(held_out)
    assert sorted(np.concatenate([held_out for _, held_out in parts]).tolist()) == list(range(len(numbers)))


@pytest.mark.parametrize("named", ["by their key", "by their values"])
def test_patients_with_two_exams_leak_no_label_into_the_folds(named: str) -> None:
    """Noise with labels by patient: each exam twice. By exam the folds know the answer; by patient they do not."""
    data = _twice(frame(60, per_group=20, effect=0.0, seed=3), 0.0 if named == "by their values" else 1e-3)
    if named == "by their key":
        data = _named(data, [f"p{i % 60}" for i in range(120)])
    data["nodes"] = np.tile(np.random.default_rng(4).permutation(["R", "N"] * 30), 2)
    cases = design.for_training(table(data), FAST)
    by_patient = nested_cv(cases, FAST, 2, calibrate=False).auc.value
    by_exam = nested_cv(replace(cases, patients=None), FAST, 2, calibrate=False).auc.value
    assert by_exam > 0.85
    assert abs(by_patient - 0.5) < 0.15


def test_folds_that_are_all_separated_do_not_make_the_nested_interval_a_point() -> None:
    found = nested_cv(design.for_training(table(frame(24, effect=9.0)), FAST), FAST, 1, calibrate=False).auc
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(gate.newcombe(1.0, 12, 12)[0])


def test_a_table_without_patients_is_trained_as_ever_and_under_any_key_alike() -> None:
    data = frame(60)
    names = [f"p{i // 2}" for i in range(60)]
    files = [
        container.to_bytes(train(replace(table(_named(data, [s + n for n in names], k)), sha256="0"), FAST, Identity()))
        for s, k in (("", ONE_KEY), ("other", "b" * 16))
    ]
    assert files[0] == files[1]
    alone = container.to_bytes(train(replace(table(_named(data, [f"p{i}" for i in range(60)])), sha256="0"), FAST))
    assert alone == container.to_bytes(train(replace(table(data), sha256="0"), FAST))


def test_the_same_patient_in_two_cohorts_under_other_ids_is_refused_where_the_key_is_one() -> None:
    signature = trained(frame(60))
    a = _named(frame(30, seed=5, prefix="a"), [f"p{i}" for i in range(30)])
    b = _named(frame(30, seed=6, prefix="b"), [f"q{i}" for i in range(29)] + ["p3"])
    with pytest.raises(InputRejected, match="the same patient is in two cohorts: a row 4 and b row 30"):
        evaluate(signature, {"a": table(a), "b": table(b)}, Questions(repeats=1))
    other = table(b.assign(patient_key_id="b" * 16))
    found = evaluate(signature, {"a": table(a), "b": other}, Questions(repeats=1))
    told = card.limits(signature, found.facts)
    assert any(sentence.startswith("Whether cohort a shares patients with b is not checked") for sentence in told)


def _clustered(patients: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(patients), each)
    positive = numbers % 2 == 0
    return (rng.normal(size=patients)[numbers] + positive * 0.8), positive, numbers


def test_equal_copies_of_a_case_tell_nothing_new() -> None:
    scores, positive, numbers = _clustered(40, each=4)
    assert clustered.design_effect(scores, positive, numbers) == pytest.approx(4, rel=0.06)
    once = newcombe(scores[::4], positive[::4])
    copied = newcombe(scores, positive, numbers)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), abs=0.01)
    found = gate.discrimination(scores, positive, numbers)
    assert (found.positives, found.negatives) == (20, 20)
    assert found.p_above == pytest.approx(gate.mann_whitney(scores[::4], positive[::4])[0], abs=0.01)


def test_cases_that_are_independent_have_the_effect_of_one() -> None:
    rng = np.random.default_rng(2)
    numbers = np.repeat(np.arange(200), 2)
    positive = np.arange(400) % 2 == 0
    scores = rng.normal(size=400) + positive
    assert clustered.design_effect(scores, positive, numbers) == pytest.approx(1, abs=0.25)


def test_perfect_scores_of_few_patients_with_many_cases_are_too_few() -> None:
    numbers = np.repeat(np.arange(4), 20)
    positive = numbers < 2
    found = gate.discrimination(positive.astype(float), positive, numbers)
    assert gate.verdict(found) == "too few"
    assert clustered.design_effect(positive.astype(float), positive, numbers) == 20
    assert found.p_above > 0.025


def test_a_cohort_by_patient_has_a_wider_interval_than_its_exams_would() -> None:
    signature = trained(frame(80, effect=0.8))
    data = _named(_twice(frame(40, effect=0.8, seed=5, prefix="x"), 1e-3), [f"p{i % 40}" for i in range(80)])
    row = evaluate(signature, {"external": table(data)}, Questions(repeats=1)).facts["cohorts"]["external"]
    cohort = score(signature, "external", table(data), complete_cases=False)
    by_exam = delong(cohort.decisions, cohort.positive)
    assert row["patients"] == 40
    assert row["ci"][1] - row["ci"][0] > 1.2 * (by_exam.high - by_exam.low)
