"""Agreement and net reclassification: against figures worked out by hand and properties that must hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.research import agreement, metrics


def _calls(*counts: tuple[int, bool, bool, bool]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(count, first's call, the other's call, positive) as three arrays."""
    rows = [row for n, *row in counts for _ in range(n)]
    first, other, positive = np.array(rows, dtype=bool).T
    return first, other, positive


cases = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=4, max_size=60)


def test_kappa_is_that_of_a_table_worked_out_by_hand():
    first, other, _ = _calls(
        (20, True, True, True), (5, True, False, True), (10, False, True, True), (15, False, False, True)
    )
    found = agreement.kappa(first, other)
    # Observed 0.7, expected 0.5; standard error 0.1270.
    assert found.value == pytest.approx(0.4)
    assert (found.low, found.high) == (pytest.approx(0.1511, abs=1e-4), pytest.approx(0.6489, abs=1e-4))


def test_kappa_is_not_defined_where_both_call_everyone_the_same():
    everyone = np.ones(9, dtype=bool)
    assert agreement.kappa(everyone, everyone) is None


def test_net_reclassification_counts_each_class_in_its_own_direction():
    first, other, positive = _calls(
        (6, True, True, True), (3, True, False, True), (1, False, True, True),
        (8, False, False, False), (1, False, True, False), (1, True, False, False),
    )  # fmt: skip
    net = agreement.net_reclassification(other, first, positive)
    assert net["positives"].value == pytest.approx((1 - 3) / 10)
    assert net["negatives"].value == pytest.approx(0)
    assert net["both"].value == pytest.approx(-0.2)
    # Multinomial variance: (0.4 - 0.04) / 10 of the positives, 0.2 / 10 of the negatives.
    half = 1.959964 * np.sqrt(0.036 + 0.02)
    assert net["both"].high == pytest.approx(-0.2 + half, abs=1e-5)
    moved = agreement.reclassified(other, first, positive)
    assert moved["positives"] == {
        "n": 10, "high_stays_high": 6, "high_becomes_low": 3, "low_becomes_high": 1, "low_stays_low": 0,
    }  # fmt: skip


@given(cases)
def test_exchanging_the_two_turns_the_sign_and_keeps_the_agreement(rows):
    first, other, positive = np.array(rows, dtype=bool).T
    assume(positive.any() and not positive.all())
    there = agreement.comparison(other, first, positive)
    back = agreement.comparison(first, other, positive)
    assert there["agreement"] == back["agreement"]
    for name, one in there["net_reclassification"].items():
        low, high = one["ci"]
        assert one["value"] == pytest.approx(-back["net_reclassification"][name]["value"])
        assert back["net_reclassification"][name]["ci"] == [pytest.approx(-high), pytest.approx(-low)]
        assert low <= one["value"] <= high


@given(cases)
def test_who_is_called_the_same_by_both_is_not_reclassified(rows):
    first, _, positive = np.array(rows, dtype=bool).T
    assume(positive.any() and not positive.all())
    found = agreement.comparison(first, first, positive)
    assert found["agreement"]["value"] == 1
    assert found["net_reclassification"]["both"]["value"] == 0


def test_cases_of_one_patient_make_no_interval_narrower():
    rng = np.random.default_rng(2)
    once = np.array([rng.random(40) < 0.6, rng.random(40) < 0.4, rng.random(40) < 0.5])
    first, other, positive = np.repeat(once, 4, axis=1)
    alone = agreement.comparison(other[::4], first[::4], positive[::4])
    copied = agreement.comparison(other, first, positive, np.repeat(np.arange(40), 4))
    by_case = agreement.comparison(other, first, positive)
    parts = [("agreement",), ("kappa",), *(("net_reclassification", n) for n in ("positives", "negatives", "both"))]
    for part in parts:
        widths = []
        for row in (alone, copied, by_case):
            for key in part:
                row = row[key]
            widths.append(row["ci"][1] - row["ci"][0])
        assert widths[1] == pytest.approx(widths[0], rel=0.03), part
        assert widths[2] < 0.6 * widths[0], part


def test_mcnemars_test_exchanges_whole_patients():
    # Ten patients, each with three rows that only the signature gets right, two with three that only the reader does.
    ours, reader = np.repeat([True] * 10 + [False] * 2, 3), np.repeat([False] * 10 + [True] * 2, 3)
    patients = np.repeat(np.arange(12), 3)
    assert metrics.mcnemar(ours, reader, patients) == (30, 6, pytest.approx(metrics.mcnemar(ours[::3], reader[::3])[2]))
    assert metrics.mcnemar(ours, reader)[2] < 0.001
    # One right on either side within a patient says nothing for either.
    assert metrics.mcnemar(np.array([True, False]), np.array([False, True]), np.zeros(2, np.intp))[2] == 1


def test_aucs_that_differ_without_variance_have_an_interval_and_no_p():
    positive = np.array([True, False] * 4)
    found, p = metrics.delong_difference(positive.astype(float), np.zeros(8), positive)
    assert p is None
    assert found.value == 0.5
    assert found.high - found.low > 0.4
    assert metrics.delong_difference(np.zeros(8), np.zeros(8), positive)[1] == 1
    assert metrics.delong_difference(np.arange(3.0), np.zeros(3), np.array([False, False, True]))[1] is None
