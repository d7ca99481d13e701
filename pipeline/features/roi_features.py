"""The features of one ROI on one image, and how PyRadiomics' answers become them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any  # Any: JSON that `to_json` wrote

import numpy as np

from pipeline.records import Json


@dataclass(frozen=True, slots=True)
class RoiFeatures:
    """Values by PyRadiomics' name, what is missing and why, diagnostics, and the number of grey-level bins.

    `refusal` says why the ROI was refused as a whole; then every feature is in `missing`.
    """

    values: Mapping[str, float]
    missing: Mapping[str, str] = field(default_factory=dict)
    diagnostics: Mapping[str, Json] = field(default_factory=dict)
    grey_levels: int | None = None
    refusal: str | None = None


def to_json(measured: RoiFeatures) -> Json:
    """Plain JSON, from which `from_json` makes the same again, number by number."""
    return [
        dict(measured.values),
        dict(measured.missing),
        dict(measured.diagnostics),
        measured.grey_levels,
        measured.refusal,
    ]


def from_json(document: Any) -> RoiFeatures:
    """What `to_json` wrote."""
    return RoiFeatures(*document)


def sort_out(name: str, value: object, values: dict[str, float], missing: dict[str, str]) -> None:
    """Put one answer of PyRadiomics where it belongs: a finite real number is a value, anything else is missing."""
    array = np.asarray(value)
    if array.size != 1:
        missing[name] = f"PyRadiomics gives {array.size} numbers instead of one."
    elif np.iscomplexobj(array):
        missing[name] = "PyRadiomics gives a complex number."
    elif not math.isfinite(number := float(array.reshape(()))):
        missing[name] = f"Not defined for this region: PyRadiomics gives {number}."
    else:
        values[name] = number


def refused(names: Iterable[str], reason: str) -> RoiFeatures:
    """No value at all, and the one reason for every name."""
    return RoiFeatures({}, dict.fromkeys(names, reason), refusal=reason)


def sentence(error: BaseException) -> str:
    """What a foreign error says, as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text.rpartition("sitk::ERROR: ")[2]  # without SimpleITK's own file and line
    return f"PyRadiomics refuses: {text}"
