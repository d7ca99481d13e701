"""How much each marker helps a random forest to tell two groups apart."""

from __future__ import annotations

import numpy as np

from pipeline.research.metrics import Bools
from pipeline.signature.record import Floats

TREES = 500


def mean_decreases_in_gini(
    values: Floats, positive: Bools, *, trees: int = TREES, seed: int = 0, workers: int = 1
) -> Floats:
    """The mean decrease in Gini impurity (markers,), as R's randomForest gives it.

    Each split takes off the impurity of its cases; summed over a tree's splits on a marker, averaged over the trees
    (Breiman 2001). Each split looks at √markers of them.

    Args:
        values: (patients, markers), finite.
        positive: (patients,), the group of each.
        seed: the same forest for the same seed, however many workers.
    """
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(n_estimators=trees, max_features="sqrt", random_state=seed, n_jobs=workers)
    forest.fit(values, positive)
    decreases = [tree.tree_.compute_feature_importances(normalize=False) for tree in forest.estimators_]
    return np.asarray(np.mean(decreases, axis=0) * len(values))
