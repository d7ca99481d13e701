"""The classifiers, one row each in `KINDS`: kept as arrays, evaluated with numpy, without scikit-learn.

A model has one decision value per case, larger for the positive class; there is no second column to mix it up with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from config.schema import Classifier
from pipeline.signature import linear, radial_svm, trees
from pipeline.signature.model import Model
from pipeline.signature.record import Floats, Signature


@dataclass(frozen=True, slots=True)
class Kind:
    """`arrays`: what the signature file holds of it. Both functions take standardised columns.

    `contributions`: baseline and one number per column of one case, which add up to its decision.
    """

    arrays: tuple[str, ...]
    decision: Callable[[Model, Floats], Floats]
    contributions: Callable[[Model, Floats], tuple[float, Floats]]


KINDS: Final[Mapping[Classifier, Kind]] = {
    "svm": Kind(radial_svm.ARRAYS, radial_svm.decision, radial_svm.contributions),
    "logistic": Kind(linear.ARRAYS, linear.decision, linear.contributions),
    "forest": Kind(trees.ARRAYS, trees.decision, trees.contributions),
    "boosting": Kind(trees.ARRAYS, trees.decision, trees.contributions),
}


def model_of(signature: Signature) -> Model:
    """The classifier inside a signature."""
    kind = signature.header.classifier
    return Model(kind, signature.header.constants, {name: signature.arrays[name] for name in KINDS[kind].arrays})


def decision(model: Model, values: Floats) -> Floats:
    """Decision values of standardised cases (cases, p); larger means more like the positive class."""
    return KINDS[model.kind].decision(model, values)


def contributions(model: Model, row: Floats) -> tuple[float, Floats]:
    """Baseline and contribution per column of one standardised case (p,), in units of the decision."""
    return KINDS[model.kind].contributions(model, row)
