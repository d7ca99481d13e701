"""Forests and boosted trees as plain arrays, so that a signature needs no pickle.

Nodes of all trees lie in one run; `roots` has each tree's first node. `feature` is -1 at a leaf; a case goes left
where its value, rounded to float32 as scikit-learn does, is at most `threshold`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.signature.record import Floats

Arrays = Mapping[str, npt.NDArray[np.generic]]


def flatten(trees: Iterable[Any], *, regression: bool) -> dict[str, npt.NDArray[np.generic]]:
    """Arrays of fitted scikit-learn trees. Node values: the positive fraction, or the regression value."""
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
