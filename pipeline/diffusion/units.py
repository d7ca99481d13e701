"""The unit of an ADC map, and its way to 10-6 mm2/s."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.errors import SequenceRejected
from pipeline.records import Volume

UNIT = "10-6 mm2/s"
# Where water diffuses in living tissue and in water itself, mm2/s; a map's typical value must come to lie here.
SLOWEST_MM2_S, FASTEST_MM2_S = 0.2e-3, 3.5e-3

_SPELLINGS = (
    # UCUM first, then what vendors and people write
    (re.compile(r"^(um2/s|10-6\.?mm2/s|[µμ]m2/s|mm2/s\*10-6)$"), 1.0),
    (re.compile(r"10\s*\^?\s*[-e]?\s*-?0?6|e-0?6|1e-0?6|x ?10-6|um\^?2/s|[µμ]m\^?[2²]/s"), 1.0),
    (re.compile(r"10\s*\^?\s*-?0?3|e-0?3|x ?10-3"), 1e3),
    (re.compile(r"10\s*\^?\s*-?0?5|e-0?5"), 10.0),
    (re.compile(r"^mm\^?[2²]/s$"), 1e6),
    (re.compile(r"^m\^?[2²]/s$"), 1e12),
    (re.compile(r"^cm\^?[2²]/s$"), 1e8),
)


class Scale(NamedTuple):
    """`factor` brings values (rescale applied) to 10-6 mm2/s."""

    factor: float
    why: str


def stated_scale(tags: Mapping[str, object]) -> Scale | None:
    """The factor that the header tells: the real world value mapping's unit, else Rescale Type, else Units.

    A real world value mapping maps stored values; its factor is stated for values with the modality rescale applied.
    """
    unit = str(tags.get("real_world_unit") or "")
    factor = factor_of(unit)
    slope, rescale = tags.get("real_world_slope"), tags.get("RescaleSlope")
    if factor is not None and isinstance(slope, (int, float)):
        divisor = float(rescale) if isinstance(rescale, (int, float)) and rescale else 1.0
        return Scale(factor * float(slope) / divisor, f"real world value mapping in {unit}")
    for keyword in ("RescaleType", "Units"):
        text = str(tags.get(keyword) or "")
        factor = factor_of(text)
        if factor is not None:
            return Scale(factor, f"{keyword} {text}")
    return None


def factor_of(unit: str) -> float | None:
    """From a unit as written to 10-6 mm2/s; None where it is no unit of diffusion."""
    text = unit.strip().lower().replace(" ", "").replace("**", "^")
    if not re.search(r"m(\^?2|²)/s", text) and not text.startswith(("10", "1e", "e-")):
        return None
    return next((factor for pattern, factor in _SPELLINGS if pattern.search(text)), None)


def guessed_scale(values: npt.NDArray[np.float64]) -> Scale:
    """The power of ten that brings the map's typical value into the range of tissue.

    Raises:
        SequenceRejected: no power of ten does, or more than one could.
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size == 0:
        raise SequenceRejected("the ADC map holds no positive value", code="adc-empty")
    typical = float(np.percentile(positive, 75))
    fitting = [f for f in (1.0, 1e3, 10.0, 1e6) if SLOWEST_MM2_S <= typical * f * 1e-6 <= FASTEST_MM2_S]
    if len(fitting) != 1:
        raise SequenceRejected(
            f"the ADC map does not tell its unit, and its upper quartile {typical:.4g} fits "
            f"{'none' if not fitting else 'several'} of the usual ones; set sequences.adc_scale",
            code="adc-unit-unknown",
        )
    return Scale(fitting[0], f"no unit told; the upper quartile {typical:.4g} only fits this one")


def adc_in_micro(volume: Volume, tags: Mapping[str, object] | None = None, scale: float | None = None) -> Volume:
    """An ADC map in 10-6 mm2/s (float32), with the unit given by `scale`, else by the header, else by the values.

    Raises:
        SequenceRejected: the unit cannot be told, or what the header tells is impossible for tissue.
    """
    if volume.unit == UNIT:
        return volume
    values = np.asarray(volume.voxels_zyx, dtype=np.float64)
    stated = Scale(scale, "given") if scale is not None else stated_scale(tags or {})
    unit_scale = stated if stated is not None else guessed_scale(values)
    scaled = values * unit_scale.factor
    positive = scaled[np.isfinite(scaled) & (scaled > 0)]
    typical = float(np.percentile(positive, 75)) if positive.size else 0.0
    if not SLOWEST_MM2_S * 0.1 <= typical * 1e-6 <= FASTEST_MM2_S * 3:
        raise SequenceRejected(
            f"the ADC map's unit ({unit_scale.why}) makes its upper quartile {typical:.4g} x 10-6 mm2/s, "
            "which no tissue has; set sequences.adc_scale",
            code="adc-unit-impossible",
        )
    return replace(volume, voxels_zyx=scaled.astype(np.float32), unit=UNIT)
