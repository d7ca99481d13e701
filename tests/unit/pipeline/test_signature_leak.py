"""No information of a held-out case reaches the fit that scores it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from config.schema import Training
from pipeline.research.tables import design
from pipeline.research.training import fitting, nested
from tests.support.signature_tables import FAST, frame, table

RECIPE = Training(trees=15, top=8)


class _Watched:
    """A fit that remembers the cases it saw, by the unique value of their first column."""

    def __init__(self, fitted: fitting.Fit, seen: frozenset[float]) -> None:
        self.fitted, self.seen = fitted, seen

    def decision(self, values: Any) -> Any:
        assert self.seen.isdisjoint(values[:, 0]), "a held-out case was seen"
        return self.fitted.decision(values)

    @property
    def kept(self) -> Any:
        # Whoever takes the selection out of a fit uses it on the cases it has at hand: all of them.
        assert len(self.seen) < 60, "a held-out case was seen"
        return self.fitted.kept

    scaling = property(lambda self: self.fitted.scaling)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., fitting.Fit] = fitting.fit
    monkeypatch.setattr(fitting, "fit", lambda values, *rest: _Watched(real(values, *rest), frozenset(values[:, 0])))


def _cases(effect: float = 0.5) -> design.Design:
    return design.for_training(table(frame(effect=effect)), FAST)


@pytest.mark.usefixtures("watched")
def test_no_held_out_case_is_seen_by_the_fit_that_scores_it() -> None:
    cases = _cases()
    found = nested.nested_cv(cases, FAST, repeats=2)
    fitting.out_of_fold(cases.values, cases.positive, cases.columns, cases.groups, FAST)
    assert found.fold_aucs.shape == (2, 5)


@pytest.mark.usefixtures("watched")
def test_the_naive_recipe_fails_the_same_check() -> None:
    with pytest.raises(AssertionError, match="a held-out case was seen"):
        nested.naive_auc(_cases(), FAST)


def test_changing_held_out_cases_changes_nothing_that_was_fitted() -> None:
    cases = _cases()
    training, held_out = next(iter(fitting.folds(cases.positive, 5, 0)))
    poisoned, labels = cases.values.copy(), cases.positive.copy()
    poisoned[held_out] = 1e6 * labels[held_out, None]
    fits = [
        fitting.fit(values[training], labels[training], cases.columns, cases.groups, FAST)
        for values in (cases.values, poisoned)
    ]
    np.testing.assert_array_equal(fits[0].kept, fits[1].kept)
    np.testing.assert_array_equal(fits[0].scaling.z_mean, fits[1].scaling.z_mean)
    np.testing.assert_array_equal(fits[0].model.array("dual"), fits[1].model.array("dual"))


def test_on_shuffled_labels_nested_auc_is_chance_and_the_naive_recipe_shines() -> None:
    cases = design.for_training(
        table(frame(cases=80, per_group=120, effect=0.0, groups=("t1c.tumor", "t2.tumor"))), RECIPE
    )
    honest, naive = [], []
    for shuffle in range(20):
        labels = np.random.default_rng(shuffle).permutation(cases.positive)
        shuffled = dataclasses.replace(cases, positive=labels)
        honest.append(nested.nested_cv(shuffled, RECIPE, repeats=1, calibrate=False).auc.value)
        naive.append(nested.naive_auc(shuffled, RECIPE))
    assert abs(np.mean(honest) - 0.5) < 0.03
    assert np.mean(naive) > 0.8


def test_a_fold_in_which_nothing_is_selected_has_no_opinion() -> None:
    strict = FAST.model_copy(update={"t_test_p": 1e-12})
    found = nested.nested_cv(_cases(effect=0.0), strict, repeats=1)
    assert found.empty_folds == 5
    assert found.auc.value == 0.5
