"""Whether numbers and arrays of a signature file go together: what does not would end, or bend, a prediction.

An index below 0 reads from the other end, a distance that is no number is never too far, scores that are not sorted
give another band: no error would show them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from pipeline.signature import linear, radial_svm, scanner_groups, trees
from pipeline.signature.classifiers import KINDS
from pipeline.signature.record import Floats, HarmonisationFacts, Signature

CONSTANTS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    linear.ARRAYS: ("intercept",),
    radial_svm.ARRAYS: ("intercept", "gamma"),
    trees.ARRAYS: ("intercept", "scale"),
}


def check(signature: Signature) -> None:
    """Raises KeyError for what is lacking, and ValueError for what does not fit."""
    _check_columns(signature)
    _check_numbers(signature)
    _check_classifier(signature)
    _check_harmonisation(signature)
    for name in ("oof_positive", "oof_negative"):
        scores = signature.array(name)
        if scores.ndim != 1 or (len(scores) and (scores[0] < 0 or scores[-1] > 1)) or (np.diff(scores) < 0).any():
            raise ValueError(f"the array {name} is not of sorted probabilities")


def _check_columns(signature: Signature) -> None:
    p = len(signature.header.columns)
    for name in ("z_mean", "z_std", "s_mean", "s_std", "range_low", "range_high"):
        _require_shape(signature, name, (p,))
    if signature.arrays["precision"].shape != (p, p):
        raise ValueError("the precision matrix does not fit the columns")
    if min(signature.array("z_std").min(), signature.array("s_std").min()) <= 0:
        raise ValueError("a standard deviation is not positive")


def _check_numbers(signature: Signature) -> None:
    header = signature.header
    constants = [header.constants[name] for name in CONSTANTS[KINDS[header.classifier].arrays]]
    if not all(map(math.isfinite, (header.calibration.a, header.calibration.b, *constants))):
        raise ValueError("a constant of its classifier or of its calibration is no finite number")
    if not 0 < header.distance_quantiles["0.99"] < math.inf:
        raise ValueError("its largest distance in training is not a positive number")


def _check_classifier(signature: Signature) -> None:
    p, kind = len(signature.header.columns), KINDS[signature.header.classifier]
    if kind.arrays == linear.ARRAYS:
        _require_shape(signature, "weights", (p,))
    elif kind.arrays == radial_svm.ARRAYS:
        dual = signature.arrays["dual"]
        _require_shape(signature, "dual", (dual.size,))
        _require_shape(signature, "support", (dual.size, p))
    else:
        _check_trees(signature, p)


def _check_harmonisation(signature: Signature) -> None:
    facts, p = signature.header.harmonisation, len(signature.header.columns)
    if facts is None:
        if any(name.startswith("combat_") for name in signature.arrays):
            raise ValueError("it has estimates of a harmonisation that it does not tell of")
        return
    _check_scanners(facts)
    groups = len(facts.groups)
    shapes = {"centre": (p,), "scale": (p,), "effects": (len(facts.covariates), p)}
    for name, shape in (shapes | {"shift": (groups, p), "spread": (groups, p)}).items():
        _require_shape(signature, f"combat_{name}", shape)
    if min(signature.array("combat_scale").min(), signature.array("combat_spread").min()) <= 0:
        raise ValueError("a spread of its harmonisation is not positive")


def _check_scanners(facts: HarmonisationFacts) -> None:
    """What training refuses: a scanner group of two names, or by a fact that nobody has before a prediction."""
    reasons = [(column, scanner_groups.why_no_scanner(column)) for column in facts.columns]
    reasons += [(column, scanner_groups.why_no_covariate(column)) for column in facts.covariates]
    for column, why in reasons:
        if why:
            raise ValueError(f"it is harmonised by {column}, which {why}")
    if len({group.name for group in facts.groups}) < len(facts.groups):
        raise ValueError("two of its scanner groups have one name")


def _check_trees(signature: Signature, p: int) -> None:
    feature, roots = signature.array("feature"), signature.array("roots")
    nodes = feature.size
    _require_shape(signature, "roots", (roots.size,))
    for name in ("feature", "threshold", "left", "right", "value"):
        _require_shape(signature, name, (nodes,))
    inner = feature >= 0
    links = [roots, signature.array("left")[inner], signature.array("right")[inner]]
    if not (all(_lie_below(link, nodes) for link in links) and _lie_below(feature[inner], p)):
        raise ValueError("a tree has links to nodes, or asks for columns, that are not there")


def _lie_below(indices: Floats, end: int) -> bool:
    """Whether all are whole numbers from 0 to less than `end`."""
    return bool(((indices >= 0) & (indices < end) & (indices == np.floor(indices))).all())


def _require_shape(signature: Signature, name: str, shape: tuple[int, ...]) -> None:
    if signature.arrays[name].shape != shape:
        raise ValueError(f"the array {name} does not fit the {len(signature.header.columns)} columns")
