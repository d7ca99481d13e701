"""Logistic regression. Array `weights` (p); constant `intercept`."""

from __future__ import annotations

from typing import Final

from pipeline.signature.model import Model
from pipeline.signature.record import Floats

ARRAYS: Final = ("weights",)


def decision(model: Model, values: Floats) -> Floats:
    """Log odds of standardised cases (cases, p)."""
    return values @ model.array("weights") + model.constants["intercept"]


def contributions(model: Model, row: Floats) -> tuple[float, Floats]:
    """The intercept, and weight times standardised value per column: exact."""
    return model.constants["intercept"], model.array("weights") * row
