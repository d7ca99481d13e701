"""The classifiers behind one interface: fitted by scikit-learn, kept as arrays, evaluated with numpy.

A model has one decision value per case, larger for the positive class; there is no second column to mix it up with.
Arrays by kind: svm `support` (s, p), `dual` (s); logistic `weights` (p); forest and boosting: see `trees`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from config.schema import Training
from pipeline.signature import trees
from pipeline.signature.record import Floats

ARRAYS = {
    "svm": ("support", "dual"),
    "logistic": ("weights",),
    "forest": ("roots", "feature", "threshold", "left", "right", "value"),
    "boosting": ("roots", "feature", "threshold", "left", "right", "value"),
}


@dataclass(frozen=True)
class Model:
    """A fitted classifier on standardised columns."""

    kind: str
    constants: Mapping[str, float]
    arrays: Mapping[str, npt.NDArray[np.generic]]

    def array(self, name: str) -> Floats:
        return np.asarray(self.arrays[name], dtype=np.float64)


def fit(values: Floats, positive: npt.NDArray[np.bool_], recipe: Training) -> Model:
    """Fit `recipe.classifier` on standardised training cases (cases, p)."""
    return {"svm": _svm, "logistic": _logistic, "forest": _forest, "boosting": _boosting}[recipe.classifier](
        values, positive.astype(np.int64), recipe
    )


def decision(model: Model, values: Floats) -> Floats:
    """Decision values of standardised cases (cases, p); larger means more like the positive class."""
    if model.kind == "svm":
        return kernel(model, values) @ model.array("dual") + model.constants["intercept"]
    if model.kind == "logistic":
        return values @ model.array("weights") + model.constants["intercept"]
    return trees.leaf_sums(model.arrays, values) * model.constants["scale"] + model.constants["intercept"]


def kernel(model: Model, values: Floats) -> Floats:
    """exp(-gamma |z - s|^2) of every case with every support vector, (cases, s)."""
    support = model.array("support")
    squared = (
        ((values[:, None, :] - support[None, :, :]) ** 2).sum(axis=2) if len(values) * support.size < 2e7 else None
    )
    if squared is None:
        squared = np.stack([((row - support) ** 2).sum(axis=1) for row in values])
    return np.asarray(np.exp(-model.constants["gamma"] * squared))


def _svm(values: Floats, classes: npt.NDArray[np.int64], recipe: Training) -> Model:
    from sklearn.svm import SVC

    gamma = recipe.gamma or 1 / values.shape[1]
    svc = SVC(C=recipe.cost, kernel="rbf", gamma=gamma, cache_size=100).fit(values, classes)
    return Model(
        "svm",
        {"gamma": float(gamma), "intercept": float(svc.intercept_[0])},
        {"support": svc.support_vectors_.astype(np.float64), "dual": svc.dual_coef_[0].astype(np.float64)},
    )


def _logistic(values: Floats, classes: npt.NDArray[np.int64], recipe: Training) -> Model:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=recipe.cost, max_iter=10000).fit(values, classes)
    return Model("logistic", {"intercept": float(model.intercept_[0])}, {"weights": model.coef_[0].astype(np.float64)})


def _forest(values: Floats, classes: npt.NDArray[np.int64], recipe: Training) -> Model:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(n_estimators=recipe.trees, random_state=recipe.seed, n_jobs=-1).fit(values, classes)
    # The decision is the mean positive fraction, moved so that 0 is a toss-up.
    return Model(
        "forest",
        {"scale": 1 / len(model.estimators_), "intercept": -0.5},
        trees.flatten(model.estimators_, regression=False),
    )


def _boosting(values: Floats, classes: npt.NDArray[np.int64], recipe: Training) -> Model:
    from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(random_state=recipe.seed).fit(values, classes)
    share = classes.mean()
    return Model(
        "boosting",
        {"scale": float(model.learning_rate), "intercept": float(np.log(share / (1 - share)))},
        trees.flatten(model.estimators_[:, 0], regression=True),
    )
