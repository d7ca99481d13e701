"""Figures by patient: several cases of one patient make no interval narrower, and tests keep their level."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test
from statsmodels.discrete.discrete_model import Logit
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

from pipeline.research import calibration, logistic, metrics
from pipeline.research.evaluation import curves, scored_cohort, survival
from pipeline.research.evaluation.evaluate import Questions, evaluate
from tests.support.signature_tables import frame, table, trained

SIGNATURE = trained(frame(80, effect=0.8))


def _cohort(cases: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.05, 0.95, cases)
    return p, rng.random(cases) < p


def _copied(*values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Every case three times, and the number of its patient."""
    return (*(np.repeat(v, 3) for v in values), np.repeat(np.arange(len(values[0])), 3))


def _ends(estimate: metrics.Interval | None) -> tuple[float, float, float]:
    assert estimate is not None
    return estimate.value, estimate.low, estimate.high


def test_copies_of_a_case_make_no_interval_narrower() -> None:
    p, positive = _cohort()
    other = np.random.default_rng(1).permutation(p)
    p3, positive3, patients = _copied(p, positive)
    once, thrice = calibration.calibration(p, positive), calibration.calibration(p3, positive3, patients)
    assert once is not None
    assert thrice is not None
    # The sandwich is not the model's own covariance; on data that fit the model they are near each other.
    assert thrice.slope.high - thrice.slope.low == pytest.approx(once.slope.high - once.slope.low, rel=0.25)
    assert _ends(calibration.brier(p3, positive3, patients)) == pytest.approx(_ends(calibration.brier(p, positive)))
    called, called3 = p > 0.4, p3 > 0.4
    for name, expected in metrics.accuracy_table(called, positive).items():
        by_patient = metrics.accuracy_table(called3, positive3, patients)[name]
        assert _ends(by_patient) == pytest.approx(_ends(expected), abs=0.005)
    expected, _ = metrics.delong_difference(p, other, positive)
    by_patient, _ = metrics.delong_difference(p3, np.repeat(other, 3), positive3, patients)
    assert _ends(by_patient) == pytest.approx(_ends(expected), abs=1e-9)


def test_the_bands_of_copied_cases_are_those_of_the_cases() -> None:
    p, positive = _cohort()
    p3, positive3, patients = _copied(p, positive)
    once = calibration.smooth_curve(p, positive)
    thrice = calibration.smooth_curve(p3, positive3, patients)
    assert thrice.to_numpy() == pytest.approx(once.to_numpy(), abs=0.02)
    narrow = calibration.smooth_curve(p3, positive3)
    widths = [float((curve["observed_high"] - curve["observed_low"]).mean()) for curve in (narrow, thrice)]
    assert widths[0] < 0.75 * widths[1]


def test_the_net_benefit_of_copied_cases_has_the_band_of_the_cases() -> None:
    cohort = scored_cohort.score(SIGNATURE, "x", table(frame(60, effect=0.8, seed=5, prefix="x")), complete_cases=False)
    low, high = curves.net_benefit_band(cohort)
    p3, positive3, patients = _copied(cohort.probabilities, cohort.positive)
    copied = SimpleNamespace(name="copied", probabilities=p3, positive=positive3, patients=patients)
    assert np.array(curves.net_benefit_band(copied)) == pytest.approx(np.array((low, high)), abs=1e-12)


def test_without_repeats_each_sample_draws_the_rows_themselves() -> None:
    rng = np.random.default_rng(calibration.SEED)
    first = next(iter(calibration.resampled(np.arange(17))))
    assert first.tolist() == rng.integers(0, 17, 17).tolist()


def test_a_drawn_patient_comes_with_all_cases() -> None:
    patients = np.array([0, 1, 0, 2, 2, 2])
    for rows in calibration.resampled(patients):
        times = {case: int((rows == case).sum()) for case in range(6)}
        assert times[0] == times[2]
        assert times[3] == times[4] == times[5]


def test_the_sandwich_by_patient_is_statsmodels() -> None:
    rng = np.random.default_rng(1)
    patients = rng.integers(0, 60, 150)
    columns = np.column_stack([np.ones(150), rng.normal(size=(150, 2))])
    positive = rng.random(150) < 1 / (1 + np.exp(-columns @ [0.2, 1.0, -0.5] - rng.normal(size=60)[patients]))
    ours = logistic.fit(columns, positive, patients=patients)
    theirs = Logit(positive.astype(float), columns).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": patients, "use_correction": False}
    )
    count = len(np.unique(patients))
    assert ours is not None
    assert ours.covariance == pytest.approx(theirs.cov_params() * count / (count - 1), rel=1e-5)


def test_a_difference_of_proportions_is_newcombes() -> None:
    ours = metrics.difference(metrics.wilson(17, 23), metrics.wilson(8, 21))
    assert ours is not None
    theirs = confint_proportions_2indep(17, 23, 8, 21, method="newcomb", compare="diff")
    assert (ours.low, ours.high) == pytest.approx(theirs)
    assert metrics.difference(None, metrics.wilson(1, 2)) is None


def test_adjusted_p_values_are_holms() -> None:
    p = np.random.default_rng(0).random(9) ** 3
    assert metrics.holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1])
    assert metrics.holm([]) == []


def test_the_interval_of_a_share_holds_it_where_patients_have_several_cases() -> None:
    rng, held, held_by_case = np.random.default_rng(0), 0, 0
    patients = np.repeat(np.arange(40), 4)
    for _ in range(400):
        tendency = rng.beta(0.6, 0.6, 40)
        hits = rng.random(160) < tendency[patients]
        by_patient, by_case = metrics.share(hits, patients), metrics.share(hits)
        assert by_patient is not None
        assert by_case is not None
        held += by_patient.low <= 0.5 <= by_patient.high
        held_by_case += by_case.low <= 0.5 <= by_case.high
    assert held / 400 > 0.92
    assert held_by_case / 400 < 0.85


def test_the_curve_of_kaplan_and_meier_is_lifelines() -> None:
    rng = np.random.default_rng(0)
    times, events = rng.integers(1, 20, 60).astype(float), rng.random(60) < 0.6
    theirs = KaplanMeierFitter().fit(times, events).survival_function_
    ours = survival.kaplan_meier(times, events, theirs.index.to_numpy(dtype=float))
    assert ours == pytest.approx(theirs.to_numpy()[:, 0])


def test_the_robust_log_rank_test_is_near_the_plain_one_and_copies_change_nothing() -> None:
    rng = np.random.default_rng(3)
    high = np.arange(200) % 2 == 0
    times, events = rng.exponential(np.where(high, 8.0, 12.0)), rng.random(200) < 0.8
    plain = float(logrank_test(times[high], times[~high], events[high], events[~high]).p_value)
    robust = survival.robust_logrank(times, events, high, np.arange(200))
    assert np.log(robust) == pytest.approx(np.log(plain), rel=0.15)
    t3, e3, h3, patients = _copied(times, events, high)
    assert survival.robust_logrank(t3, e3, h3, patients) == pytest.approx(robust)
    assert survival.robust_logrank(t3, e3, h3, np.arange(600)) < robust / 10


def test_survival_of_patients_with_several_exams_is_by_patient() -> None:
    rng, cases = np.random.default_rng(0), 60
    data = frame(cases, effect=0.8, seed=5, prefix="x").assign(
        survival_time=rng.exponential(10, cases).round(2), survival_event=(rng.random(cases) < 0.7).astype(int)
    )
    named = data.assign(patient_key=[f"p{i // 3}" for i in range(cases)], patient_key_id="a" * 16)
    plain, by_patient = (evaluate(SIGNATURE, {"x": table(d)}, Questions(repeats=1)) for d in (data, named))
    a, b = (e.facts["cohorts"]["x"]["survival"] for e in (plain, by_patient))
    ratio = "hazard_ratio_high_against_low"
    assert a[ratio]["value"] == pytest.approx(b[ratio]["value"])
    assert a[ratio]["ci"] != b[ratio]["ci"]
    assert a["logrank_p"] != b["logrank_p"]
    for one, other in zip(plain.curves["x"], by_patient.curves["x"], strict=True):
        assert one.survival.tolist() == other.survival.tolist()
        assert one.low.tolist() != other.low.tolist()
        assert (other.low <= other.survival + 1e-9).all()
        assert (other.survival <= other.high + 1e-9).all()
