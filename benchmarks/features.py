"""Feature extraction against PyRadiomics' plain call, in turn, on the same arrays.

The exam: T1+C 448x448x160, T2 512x512x40, ADC 192x192x36, a tumour of 26 mm and three lymph nodes, as float32, which is
what the bias correction leaves. Everything about it is drawn from one seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from config.schema import Features
from pipeline.features import extract, from_settings, plain_extract
from pipeline.geometry import Geometry
from pipeline.records import SEQUENCES, Mask, Role, Sequence, Volume

FIELD_XYZ_MM = (340.0, 340.0, 160.0)
SHAPES_ZYX: dict[Sequence, tuple[int, int, int]] = {"t1c": (160, 448, 448), "t2": (40, 512, 512), "adc": (36, 192, 192)}
# centre (x, y, z) and radius in mm
TUMOR = (((110.0, 130.0, 80.0), 13.0),)
NODES = (((60.0, 200.0, 100.0), 6.0), ((48.0, 212.0, 110.0), 5.0), ((70.0, 215.0, 92.0), 4.5))
SIGNATURE_SIZE = 180
SEED = 20210628

Row = dict[str, str | float]


@dataclass(frozen=True)
class Scene:
    volumes: dict[Sequence, Volume]
    masks: dict[tuple[Sequence, Role], Mask]


def scene(shrink: int = 1) -> Scene:
    """The exam; `shrink` divides the size of every axis and keeps the field of view."""
    rng = np.random.default_rng(SEED)
    volumes: dict[Sequence, Volume] = {}
    masks: dict[tuple[Sequence, Role], Mask] = {}
    for sequence in SEQUENCES:
        z, y, x = (max(4, n // shrink) for n in SHAPES_ZYX[sequence])
        spacing = (FIELD_XYZ_MM[0] / x, FIELD_XYZ_MM[1] / y, FIELD_XYZ_MM[2] / z)
        grid = Geometry((z, y, x), spacing, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
        tumor, nodes = _balls(grid, TUMOR), _balls(grid, NODES)
        texture = ndimage.gaussian_filter(rng.standard_normal((z, y, x), np.float32), 1.0) * 450
        signal = 800 + texture + 45 * rng.standard_normal((z, y, x), np.float32) + 400 * tumor + 200 * nodes
        volumes[sequence] = Volume(signal.clip(0).astype(np.float32), grid, sequence)
        masks[sequence, "tumor"], masks[sequence, "lymph_nodes"] = Mask(tumor, grid), Mask(nodes, grid)
    return Scene(volumes, masks)


def _balls(grid: Geometry, balls: tuple[tuple[tuple[float, float, float], float], ...]) -> npt.NDArray[np.bool_]:
    z, y, x = np.ogrid[tuple(slice(n) for n in grid.shape_zyx)]
    sx, sy, sz = grid.spacing_xyz_mm
    inside = np.zeros(grid.shape_zyx, bool)
    for (cx, cy, cz), radius in balls:
        inside |= (x * sx - cx) ** 2 + (y * sy - cy) ** 2 + (z * sz - cz) ** 2 <= radius**2
    return inside


def plain_calls(exam: Scene) -> dict[str, float]:
    """PyRadiomics' plain call for each region on each sequence."""
    parameters = from_settings(Features())
    return {
        f"{sequence}.{role}.{name}": value
        for (sequence, role), mask in exam.masks.items()
        for name, value in plain_extract(exam.volumes[sequence], mask, parameters).values.items()
    }


def _fast(exam: Scene, wanted: frozenset[str] | None) -> Mapping[str, float]:
    return extract(exam.volumes, exam.masks, Features(), wanted).values


def run(shrink: int = 1, repeats: int = 3) -> Iterator[Row]:
    """All 6 x 863 (851 features and 12 diagnostics), then 180 features as a signature asks for."""
    exam = scene(shrink)
    reference_s, reference = _timed(partial(plain_calls, exam), 1)
    names = sorted(reference)
    picked = np.random.default_rng(SEED).choice(len(names), min(SIGNATURE_SIZE, len(names)), replace=False)
    asked: dict[str, frozenset[str] | None] = {
        "features, all": None,
        "features, a signature's 180": frozenset(names[i] for i in picked),
    }
    for label, wanted in asked.items():
        seconds, values = _timed(partial(_fast, exam, wanted), repeats)
        expected = reference if wanted is None else {name: reference[name] for name in wanted}
        yield {
            "name": label,
            "ours": round(seconds, 4),
            "reference": round(reference_s, 3),
            "unit": "s",
            "ratio": round(reference_s / seconds, 1),
            "max_rel_diff": largest_difference(values, expected),
        }


def largest_difference(values: Mapping[str, float], expected: Mapping[str, float]) -> float:
    """Relative; infinite where a name is on one side only."""
    if set(values) != set(expected):
        return float("inf")
    return max(abs(values[n] - e) / abs(e) if e else abs(values[n]) for n, e in expected.items())


def _timed(work: Callable[[], Mapping[str, float]], repeats: int) -> tuple[float, Mapping[str, float]]:
    """Median of the wall-clock times, and the last answer."""
    times = []
    answer: Mapping[str, float] = {}
    for _ in range(repeats):
        started = time.perf_counter()
        answer = work()
        times.append(time.perf_counter() - started)
    return float(np.median(times)), answer
