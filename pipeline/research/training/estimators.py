"""The classifiers fitted by scikit-learn and kept as arrays, one function per kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any  # Any: trees of scikit-learn, which ships no types

import numpy as np
import numpy.typing as npt

from config.schema import Classifier, Training
from pipeline.signature.model import Model
from pipeline.signature.record import Floats

Classes = npt.NDArray[np.int64]


def fit(values: Floats, positive: npt.NDArray[np.bool_], recipe: Training) -> Model:
    """Fit `recipe.classifier` on standardised training cases (cases, p)."""
    return FITS[recipe.classifier](values, positive.astype(np.int64), recipe)


def _svm(values: Floats, classes: Classes, recipe: Training) -> Model:
    from sklearn.svm import SVC

    gamma = recipe.gamma or 1 / values.shape[1]
    svc = SVC(C=recipe.cost, kernel="rbf", gamma=gamma, cache_size=100).fit(values, classes)
    return Model(
        "svm",
        {"gamma": float(gamma), "intercept": float(svc.intercept_[0])},
        {"support": svc.support_vectors_.astype(np.float64), "dual": svc.dual_coef_[0].astype(np.float64)},
    )


def _logistic(values: Floats, classes: Classes, recipe: Training) -> Model:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=recipe.cost, max_iter=10000).fit(values, classes)
    return Model("logistic", {"intercept": float(model.intercept_[0])}, {"weights": model.coef_[0].astype(np.float64)})


def _forest(values: Floats, classes: Classes, recipe: Training) -> Model:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(n_estimators=recipe.trees, random_state=recipe.seed, n_jobs=-1).fit(values, classes)
    # The decision is the mean positive fraction, moved so that 0 is a toss-up.
    return Model(
        "forest",
        {"scale": 1 / len(model.estimators_), "intercept": -0.5},
        flatten(model.estimators_, regression=False),
    )


def _boosting(values: Floats, classes: Classes, recipe: Training) -> Model:
    from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(random_state=recipe.seed).fit(values, classes)
    share = classes.mean()
    return Model(
        "boosting",
        {"scale": float(model.learning_rate), "intercept": float(np.log(share / (1 - share)))},
        flatten(model.estimators_[:, 0], regression=True),
    )


FITS: Mapping[Classifier, Callable[[Floats, Classes, Training], Model]] = {
    "svm": _svm,
    "logistic": _logistic,
    "forest": _forest,
    "boosting": _boosting,
}


def flatten(trees: Iterable[Any], *, regression: bool) -> dict[str, npt.NDArray[np.generic]]:
    """Arrays of fitted scikit-learn trees, which have no types.

    Node values: the positive fraction, or the regression value.
    """
    roots, parts, start = [], [], 0
    for fitted in trees:
        tree = fitted.tree_
        leaf = tree.children_left < 0
        value = tree.value[:, 0, 0] if regression else tree.value[:, 0, 1] / tree.value[:, 0, :].sum(axis=1)
        parts.append(
            (
                np.where(leaf, -1, tree.feature),
                np.where(leaf, 0.0, tree.threshold),
                np.where(leaf, 0, tree.children_left + start),
                np.where(leaf, 0, tree.children_right + start),
                value,
            )
        )
        roots.append(start)
        start += tree.node_count
    feature, threshold, left, right, value = (np.concatenate(p) for p in zip(*parts, strict=True))
    return {
        "roots": np.array(roots, np.int32),
        "feature": feature.astype(np.int32),
        "threshold": threshold.astype(np.float64),
        "left": left.astype(np.int32),
        "right": right.astype(np.int32),
        "value": value.astype(np.float64),
    }
