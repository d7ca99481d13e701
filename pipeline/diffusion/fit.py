"""The apparent diffusion coefficient, computed where no map exists.

Mono-exponential model S(b) = S(0) exp(-b ADC) (Stejskal and Tanner 1965; Le Bihan et al. 1986), fitted by least
squares on ln S. With two b-values this is ln(S1/S2)/(b2-b1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.diffusion.units import UNIT, adc_in_micro
from pipeline.errors import SequenceRejected
from pipeline.records import Volume

if TYPE_CHECKING:
    from pipeline.catalog import Selection

LEAST_SPREAD_B = 300.0
# Free water at body temperature diffuses at 3.0e-3 mm2/s; a fit beyond this is noise.
MOST_MICRO = 4000.0


def fit_adc(volumes_by_b: Mapping[float, Volume], noise_floor: float | None = None) -> Volume:
    """The ADC in 10-6 mm2/s, float32, on the grid of the images.

    Magnitude images never fall below their noise, so a signal under `noise_floor` says no more than "at most this":
    it is taken as the floor, which makes the ADC of such a voxel a lower bound, and 0 where every image is noise
    (outside the body, as scanners' own maps have it). `noise_floor` None: estimated with `noise_of` on the highest b,
    and never less than the smallest signal that image can tell from nothing. Fits are limited to 0..4000.

    Raises:
        SequenceRejected: fewer than two b-values, b-values less than 300 s/mm2 apart, or images on different grids.
    """
    b = np.array(sorted(volumes_by_b), dtype=np.float64)
    if b.size < 2 or b[-1] - b[0] < LEAST_SPREAD_B:
        raise SequenceRejected(
            f"an ADC needs two b-values at least {LEAST_SPREAD_B:g} s/mm2 apart, here: "
            + (", ".join(f"{v:g}" for v in b) or "none"),
            code="b-values-missing",
        )
    volumes = [volumes_by_b[v] for v in sorted(volumes_by_b)]
    first = volumes[0]
    if any(not first.geometry.same_grid(v.geometry) for v in volumes[1:]):
        raise SequenceRejected("the images of different b-values lie on different grids", code="dwi-grids-differ")
    signal = np.stack([np.asarray(v.voxels_zyx, dtype=np.float64) for v in volumes])
    adc = _slopes(b, signal, _floor(signal[-1]) if noise_floor is None else noise_floor)
    return Volume(
        adc.astype(np.float32),
        first.geometry,
        first.series_uid,
        UNIT,
        derived_from=tuple(dict.fromkeys(r for v in volumes for r in v.references)),
    )


def _floor(highest_b: npt.NDArray[np.float64]) -> float:
    positive = highest_b[highest_b > 0]
    if positive.size == 0:
        raise SequenceRejected("the images of the highest b-value hold no signal", code="dwi-empty")
    return max(noise_of(highest_b), float(positive.min()))


def _slopes(b: npt.NDArray[np.float64], signal: npt.NDArray[np.float64], floor: float) -> npt.NDArray[np.float64]:
    """Least-squares slope of -ln S over b per voxel, in 10-6 mm2/s; b along the first axis of `signal`."""
    logs = np.log(np.maximum(signal, floor))
    centred = b - b.mean()
    slope = -np.tensordot(centred, logs, axes=1) / float(centred @ centred)
    adc: npt.NDArray[np.float64] = np.clip(slope * 1e6, 0.0, MOST_MICRO)
    return adc


def noise_of(image: npt.NDArray[np.float64]) -> float:
    """The noise floor of a magnitude image from its background; 0 where it has none.

    Background magnitude is Rayleigh distributed (Gudbjartsson and Patz 1995): its mean is 1.25 times the noise's
    standard deviation. The darkest of the four corners is taken as background; images whose background was set to
    zero have a floor of 0.
    """
    edge = max(2, min(image.shape[-2:]) // 16)
    corners = [
        image[..., rows, columns]
        for rows in (slice(0, edge), slice(-edge, None))
        for columns in (slice(0, edge), slice(-edge, None))
    ]
    means = [float(np.mean(c[np.isfinite(c)])) if np.isfinite(c).any() else 0.0 for c in corners]
    return min(means)


def geometric_mean(volumes: Sequence[Volume]) -> Volume:
    """Directions or repetitions of one b-value averaged as diffusion averages: exp of the mean of ln S.

    A voxel that is not positive in every image is 0, which `fit_adc` takes as no signal.

    Raises:
        SequenceRejected: the images lie on different grids, or there are none.
    """
    if not volumes:
        raise SequenceRejected("no image of this b-value", code="b-values-missing")
    first = volumes[0]
    if len(volumes) == 1:
        return first
    if any(not first.geometry.same_grid(v.geometry) for v in volumes[1:]):
        raise SequenceRejected("the directions of one b-value lie on different grids", code="dwi-grids-differ")
    signal = np.stack([np.asarray(v.voxels_zyx, dtype=np.float64) for v in volumes])
    positive = (signal > 0).all(axis=0)
    mean = np.where(positive, np.exp(np.log(np.where(signal > 0, signal, 1.0)).mean(axis=0)), 0.0)
    references = tuple(dict.fromkeys(r for v in volumes for r in v.references))
    return replace(first, voxels_zyx=mean.astype(np.float32), sources_z=(), derived_from=references)


def adc_of(selection: Selection, load: Callable[[Selection], Volume]) -> Volume:
    """The ADC of a selection, in 10-6 mm2/s: its map with the unit told apart, or the fit to its images.

    `load` makes the volume of a selection that holds the frames of one. Directions and repetitions of one b-value are
    averaged geometrically first.

    Raises:
        SequenceRejected: see `fit_adc` and `adc_in_micro`; whatever `load` raises.
    """
    if selection.frames:
        return adc_in_micro(load(selection), selection.frames[0].instance.tags, selection.unit_scale)
    by_b: dict[float, Volume] = {}
    for b, frames in selection.frames_by_b.items():
        repeats = selection.repeats_by_b.get(b) or (frames,)
        by_b[b] = geometric_mean([load(selection.of(one)) for one in repeats])
    return fit_adc(by_b)
