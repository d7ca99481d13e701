"""Forests and boosted trees as plain arrays, so that a signature needs no pickle.

Nodes of all trees lie in one run; `roots` has each tree's first node. `feature` is -1 at a leaf; a case goes left
where its value, rounded to float32 as scikit-learn does, is at most `threshold`. Constants `scale`, `intercept`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.signature.model import Model
from pipeline.signature.record import Floats

Arrays = Mapping[str, npt.NDArray[np.generic]]
ARRAYS: Final = ("roots", "feature", "threshold", "left", "right", "value")


def decision(model: Model, values: Floats) -> Floats:
    """Decision values of standardised cases (cases, p): the scaled sum of the leaf values."""
    return leaf_sums(model.arrays, values) * model.constants["scale"] + model.constants["intercept"]


def contributions(model: Model, row: Floats) -> tuple[float, Floats]:
    """The decision at the roots, and per column the scaled change of node value along one case's paths: exact."""
    base, steps = path_contributions(model.arrays, row)
    return base * model.constants["scale"] + model.constants["intercept"], steps * model.constants["scale"]


def leaf_sums(arrays: Arrays, values: Floats) -> Floats:
    """Sum of the leaf values over all trees, one number per row of `values` (rows, p)."""
    node = np.tile(np.asarray(arrays["roots"], np.int64), (len(values), 1))
    for step in _steps(arrays, values, node):
        node = step
    return np.asarray(np.asarray(arrays["value"])[node].sum(axis=1), dtype=np.float64)


def path_contributions(arrays: Arrays, row: Floats) -> tuple[float, Floats]:
    """The sum of the root values, and per column the change of node value at its splits along one case's paths.

    They add up to the sum of the leaf values exactly (A. Saabas 2014).
    """
    value, feature = np.asarray(arrays["value"], np.float64), np.asarray(arrays["feature"], np.int64)
    node = np.asarray(arrays["roots"], np.int64)[None, :]
    base, contributions = float(value[node].sum()), np.zeros(len(row))
    for step in _steps(arrays, row[None, :], node):
        moved = feature[node[0]] >= 0
        np.add.at(contributions, feature[node[0][moved]], (value[step] - value[node])[0][moved])
        node = step
    return base, contributions


def _steps(arrays: Arrays, values: Floats, node: npt.NDArray[np.int64]) -> Iterable[npt.NDArray[np.int64]]:
    feature, threshold = np.asarray(arrays["feature"], np.int64), np.asarray(arrays["threshold"], np.float64)
    left, right = np.asarray(arrays["left"], np.int64), np.asarray(arrays["right"], np.int64)
    rounded, rows = values.astype(np.float32), np.arange(len(values))[:, None]
    # A tree is at most as deep as it has nodes; a file whose links go in circles must not keep us for ever.
    for _ in range(len(feature)):
        inner = feature[node] >= 0
        if not inner.any():
            return
        goes_left = rounded[rows, np.maximum(feature[node], 0)] <= threshold[node]
        node = np.where(inner, np.where(goes_left, left[node], right[node]), node)
        yield node
